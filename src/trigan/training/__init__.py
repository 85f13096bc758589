"""Thin LightningModules: players, the games they play, and the fits that move them."""
