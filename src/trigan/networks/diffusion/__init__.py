"""Diffusion models: a denoising network and the sampler that turns noise into images."""
