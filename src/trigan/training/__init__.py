"""Training: players (networks with optimizers), objectives and the fit loop, on thin LightningModules."""
