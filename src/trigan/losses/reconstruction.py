"""How far restored images are from the clean ones."""

from torch import Tensor


def squared_error(restored: Tensor, clean: Tensor) -> Tensor:
    """E ||r - x||^2 / (C S S): a denoising autoencoder's loss (Vincent et al. 2008, ICML) in its Gaussian form.

    Args:
        restored: images (N, C, S, S) that were decoded from noisy ones.
        clean: the images as they were before the noise; no gradient flows into them.
    """
    return (restored - clean.detach()).square().mean()
