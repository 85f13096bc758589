"""Ways to train C on labels of which some are wrong, beside the losses of `trigan.losses.label_noise_losses`."""
