"""Common corruptions at five severities (Hendrycks & Dietterich 2019, arXiv 1903.12261), for images of 8 to 128 pixels.

The parameters are those of the authors' CIFAR-10-C, whose images have 32 pixels. Lengths are shares of the image here:
a blur or a displacement of p pixels there is one of p S / 32 pixels, so that a severity means the same at every size.
Amplitudes of noise, brightness and contrast are those of a pixel and do not depend on the size. Of the paper's 15, the
three that need photographs or a sequential pass over pixels are missing: frost, snow and glass blur.

Every function takes images float (N, C, S, S) in [0, 1], C = 1 or 3, a severity 1 to 5 and the random numbers of the
rows; what it returns may leave [0, 1], and `corrupt` clips it. An image's random numbers are its own, and the same at
every severity.
"""

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from trigan.rng import Draws

SEVERITIES = (1, 2, 3, 4, 5)
#: The size for which the parameters were chosen.
_REFERENCE = 32
#: Points per pixel and axis, from which a disk becomes a kernel.
_SUBPIXELS = 8

Corruption = Callable[[Tensor, int, Draws], Tensor]


def gaussian_noise(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Normal noise with standard deviation .04 to .10."""
    scale = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return images + scale * draws.normal("gaussian_noise", *images.shape[1:])


def shot_noise(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Poisson(c x) / c for c = 500 to 50 photons of a white pixel, by the inverse distribution function."""
    from scipy.stats import poisson  # takes most of a second to import

    photons = (500, 250, 100, 75, 50)[severity - 1]
    most = int(poisson.ppf(1.0 - 1e-12, photons)) + 1
    tables = poisson.cdf(np.arange(most), np.arange(256)[:, None] / 255.0 * photons)
    # one sorted list for all 256 levels: that of level k lies in 2k..2k + 1
    table = torch.from_numpy(np.minimum(tables, 1.0) + 2.0 * np.arange(256)[:, None]).flatten()
    level = (images * 255.0).round().long()
    uniform = draws.uniform("shot_noise", *images.shape[1:], dtype=torch.float64)
    count = torch.searchsorted(table, uniform + 2.0 * level) - level * most
    return count.clamp(min=0, max=most).float() / photons


def impulse_noise(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """A share of 1 to 7 % of the values becomes 0 or 1, each as often."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    drawn = draws.uniform("impulse_noise", *images.shape[1:])
    return torch.where(drawn < share / 2, 0.0, torch.where(drawn >= 1.0 - share / 2, 1.0, images))


def defocus_blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Convolution with a disk that a Gaussian has softened."""
    radius, sigma = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))[severity - 1]
    scale = images.shape[-1] / _REFERENCE
    kernel = _disk_kernel(radius * scale, sigma * scale)
    reach = len(kernel) // 2
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    return F.conv2d(padded.flatten(0, 1)[:, None], kernel[None, None]).view(images.shape)


def motion_blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Mean along a line at a random angle within 45 degrees of the horizontal, with half-Gaussian weights."""
    reach, sigma = ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))[severity - 1]
    angle = (2.0 * draws.uniform("motion_blur") - 1.0) * math.pi / 4
    places = torch.arange(0.0, reach + 0.25, 0.5)  # in pixels of the reference size
    weights = (-places.square() / (2 * sigma**2)).exp()
    total = torch.zeros_like(images)
    for place, weight in zip(places.tolist(), (weights / weights.sum()).tolist(), strict=True):
        shift = torch.stack([angle.cos(), angle.sin()], 1) * place * 2.0 / _REFERENCE
        total += weight * _resampled(images, _identity(len(images)) + F.pad(shift[:, :, None], (2, 0)))
    return total


def zoom_blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Mean of the image and of copies that are enlarged by 1 to 5 %, ..., 25 %, in steps of 1 %."""
    most = (6, 11, 16, 21, 26)[severity - 1]
    total = images.clone()
    for percent in range(most):
        total += _resampled(images, _identity(len(images)) / (1.0 + percent / 100))
    return total / (most + 1)


def fog(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """A cloud of 0 to 1, added with weight .2 to 1.5 and scaled back to the image's largest value.

    The cloud is a sum of noise on grids of 2, 4, ... points, each ``decay`` times weaker than the one before: such a
    fractal as the authors make by the diamond-square algorithm.
    """
    weight, decay = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))[severity - 1]
    size = images.shape[-1]
    cloud = torch.zeros(len(images), 1, size, size)
    for octave in range(1, max(2, math.ceil(math.log2(size))) + 1):
        grid = draws.uniform(f"fog/{octave}", 1, 2**octave, 2**octave)
        cloud += F.interpolate(grid, size=size, mode="bilinear", align_corners=True) / decay**octave
    low, high = cloud.amin((1, 2, 3), keepdim=True), cloud.amax((1, 2, 3), keepdim=True)
    most = images.amax((1, 2, 3), keepdim=True)
    return (images + weight * (cloud - low) / (high - low).clamp(min=1e-6)) * most / (most + weight)


def brightness(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """The value of hue, saturation and value is raised by .05 to .3."""
    shift = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    value = images.amax(1, keepdim=True)
    raised = (value + shift).clamp(max=1.0)
    return torch.where(value > 0.0, images * raised / value.clamp(min=1e-6), raised)


def contrast(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """The distances to each channel's mean are multiplied by .75 to .15."""
    factor = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    means = images.mean((2, 3), keepdim=True)
    return (images - means) * factor + means


def elastic_transform(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """A random affine map of three points, and a smooth field of displacements."""
    strength, sigma, jitter = (
        (0.0, 0.0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    )[severity - 1]
    # coordinates in -1..1: three corners of a square of two thirds of the image, each moved by up to 2 x jitter
    corners = torch.tensor([[2 / 3, 2 / 3, 1.0], [2 / 3, -2 / 3, 1.0], [-2 / 3, -2 / 3, 1.0]])
    moved = corners[:, :2] + (2.0 * draws.uniform("elastic", 3, 2) - 1.0) * 2.0 * jitter
    affine = torch.linalg.solve(corners, moved).transpose(1, 2)
    if not strength:
        return _resampled(images, affine)
    noise = 2.0 * draws.uniform("elastic_field", 2, _REFERENCE, _REFERENCE) - 1.0
    line = _gaussian_weights(sigma * _REFERENCE)
    reach = len(line) // 2
    padded = F.pad(noise, (reach,) * 4, mode="reflect").flatten(0, 1)[:, None]
    smooth = F.conv2d(F.conv2d(padded, line[None, None, None]), line[None, None, :, None]).view(noise.shape)
    field = F.interpolate(smooth * 2.0 * strength, size=images.shape[-1], mode="bilinear", align_corners=False)
    return _resampled(images, affine, field.permute(0, 2, 3, 1))


def pixelate(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Reduced to 95 to 65 % of the size by means of areas, and enlarged again by the nearest pixel."""
    share, size = (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1], images.shape[-1]
    return F.interpolate(F.interpolate(images, size=int(share * size), mode="area"), size=size, mode="nearest-exact")


def jpeg_compression(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """JPEG of quality 80 to 40."""
    quality = (80, 65, 58, 50, 40)[severity - 1]
    found = []
    for image in (images * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(buffer, "JPEG", quality=quality)
        decoded = np.array(Image.open(buffer))
        found.append(torch.from_numpy(decoded.reshape(image.shape)).permute(2, 0, 1))
    return torch.stack(found).float() / 255.0


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
}


def corrupt(name: str, images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Corrupted images, uint8 (N, C, S, S) on the CPU, of uint8 ``images``; ``draws`` has a row for each.

    Example:
        >>> image = torch.full((1, 1, 8, 8), 51, dtype=torch.uint8)
        >>> corrupt("brightness", image, 5, Draws.of_rows(0, 0, 1)).unique().item()  # .2 + .3 = .5
        128
    """
    changed = CORRUPTIONS[name](images.cpu().float() / 255.0, severity, draws)
    return (changed.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)


def _identity(count: int) -> Tensor:
    """The map of every point to itself for `_resampled`, (N, 2, 3)."""
    return torch.eye(2, 3).expand(count, 2, 3)


def _resampled(images: Tensor, affine: Tensor, field: Tensor | None = None) -> Tensor:
    """Each image at the points ``affine`` (N, 2, 3) of its coordinates in -1..1, plus ``field`` (N, S, S, 2)."""
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    grid = grid if field is None else grid + field
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _gaussian_weights(sigma: float) -> Tensor:
    """The weights of a Gaussian on whole numbers up to 3 sigma, as the authors cut it, with sum 1."""
    places = torch.arange(-max(1, int(3 * sigma + 0.5)), max(1, int(3 * sigma + 0.5)) + 1, dtype=torch.float64)
    weights = (-places.square() / (2 * sigma**2)).exp()
    return (weights / weights.sum()).float()


def _disk_kernel(radius: float, sigma: float) -> Tensor:
    """The mean of the bilinearly interpolated image over a disk of ``radius`` pixels with a soft edge, as a kernel."""
    reach = math.ceil(radius + 3 * sigma) + 1
    pixels = torch.arange(-reach, reach + 1, dtype=torch.float64)
    fine = torch.arange(-reach, reach + 0.01, 1 / _SUBPIXELS, dtype=torch.float64)
    distance = (fine[:, None].square() + fine[None].square()).sqrt()
    disk = torch.special.ndtr((radius - distance) / sigma)  # its edge is as soft as the Gaussian
    bilinear = (1.0 - (pixels[:, None] - fine[None]).abs()).clamp(min=0.0)
    kernel: Tensor = bilinear @ disk @ bilinear.T
    return (kernel / kernel.sum()).float()
