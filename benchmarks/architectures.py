"""Parameters of G and D, and their operations per image, of every architecture: the table of docs/gan_architectures.md.

    python benchmarks/architectures.py

prints it in seconds; ``tests/networks/test_residual_gans.py`` compares it with the page.
"""

import torch

from trigan.config.compose import compose
from trigan.cost import count_flops
from trigan.datasets.types import DataSpec

#: Overrides of each row, and the image sizes with their channels.
ROWS = {
    "`dcgan`": ("architecture=dcgan",),
    "`cgan`": ("architecture=cgan",),
    "`sngan`": ("architecture=sngan",),
    "`projection`": ("architecture=projection",),
    "`biggan_small`": ("architecture=biggan_small",),
    "`biggan_small`, no labels": ("architecture=biggan_small", "architecture.conditional=false"),
    "`r3gan`": ("architecture=r3gan",),
    "`r3gan` with labels": ("architecture=r3gan", "architecture.conditional=true"),
}
SIZES = {8: 1, 28: 1, 32: 3, 64: 3}
BATCH = 4


def cell(words: tuple[str, ...], size: int, channels: int) -> str:
    """Thousands of parameters and millions of operations (2 per multiply-add) per image: G / D."""
    given = ("strategy=features", *words, "architecture.width=32", "architecture.latent=64", "logger=none")
    architecture = compose(list(given)).build().strategy.gan.architecture
    spec = DataSpec(channels, size, 10)
    generator, discriminator = architecture.generator(spec).eval(), architecture.discriminator(spec).eval()
    y = torch.arange(BATCH)
    with torch.no_grad():
        images = generator(torch.randn(BATCH, generator.latent), y)
        flops = [
            count_flops(lambda: generator(torch.randn(BATCH, generator.latent), y)),
            count_flops(lambda: discriminator(images, y)),
        ]
    counts = [sum(weight.numel() for weight in network.parameters()) for network in (generator, discriminator)]
    operations = " / ".join(f"{one / BATCH / 1e6:.1f}" for one in flops)
    return f"{' / '.join(f'{one / 1e3:.0f}' for one in counts)}; {operations}"


def table() -> str:
    """The table in Markdown."""
    lines = ["| | " + " | ".join(f"{size} px" for size in SIZES) + " |", "|---" * (len(SIZES) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(cell(words, size, channels) for size, channels in SIZES.items()) + " |"
        for name, words in ROWS.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
