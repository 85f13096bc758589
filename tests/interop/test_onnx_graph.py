"""The traced form of each special part gives what the part itself gives."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trigan.datasets.types import DataSpec
from trigan.interop.onnx_file import (
    OnnxSignature,
    classifier_signature,
    generator_signature,
    max_pool_by_slices,
    onnx_exportable,
    write_onnx,
)
from trigan.networks.classifiers.cnn import SmallCNN
from trigan.networks.gans.dcgan import DCGAN
from trigan.networks.gans.gan_ensembles import GeneratorMixture, PerClassGenerators
from trigan.strategies.backbones import FeatureExtractor, ProbedBackbone
from trigan.strategies.baseline import Ensemble
from trigan.strategies.probes import MLPHead, NearestNeighboursHead

torch.set_num_threads(1)

SPEC = DataSpec(3, 14, 5)


@pytest.mark.parametrize("size", range(3, 17))
@pytest.mark.parametrize("grid", [1, 3, 4])
def test_pooling_is_adaptive_max_pooling(size: int, grid: int) -> None:
    feature = torch.randn(2, 3, size, size)
    expected = F.adaptive_max_pool2d(feature, grid) if size > grid else feature
    assert torch.equal(max_pool_by_slices(feature, grid), expected)


def probed(layers: tuple[str, ...] = (), norm: str = "spectral") -> nn.Module:
    """Nearest neighbours of features of a discriminator, with numbers that matter everywhere."""
    extractor = FeatureExtractor(DCGAN(width=4, discriminator_norm=norm).discriminator(SPEC), layers, 4).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        kept = extractor(torch.rand(30, 3, 14, 14) * 2 - 1)
    head = NearestNeighboursHead.of(kept.double().numpy(), (torch.arange(30) % 5).numpy(), 5, 3)
    head.temperature.fill_(0.7)
    return ProbedBackbone(extractor, head, kept.shape[1])


def perceptron() -> nn.Module:
    """A hidden layer behind a discriminator's features."""
    extractor = FeatureExtractor(DCGAN(width=4).discriminator(SPEC), (), 4).eval()
    with torch.no_grad():
        width = extractor(torch.zeros(1, 3, 14, 14)).shape[1]
    return ProbedBackbone(extractor, MLPHead(width, 6, 5), width).eval()


def generators() -> nn.Module:
    return PerClassGenerators([DCGAN(width=4, latent=8).generator(SPEC) for _ in range(5)])


def mixture() -> nn.Module:
    return GeneratorMixture([DCGAN(width=4, latent=8).generator(SPEC) for _ in range(3)])


IMAGES, LATENTS = classifier_signature(3, 14), generator_signature(8, 5)
NETWORKS = {
    "neighbours": (probed, IMAGES),
    "perceptron": (perceptron, IMAGES),
    "one layer": (lambda: probed(("conv1",), "batch"), IMAGES),
    "ensemble": (lambda: Ensemble([SmallCNN(width=4)(SPEC) for _ in range(3)]), IMAGES),
    "one generator a class": (generators, LATENTS),
    "several generators": (mixture, generator_signature(9, 0)),
    "several a class": (lambda: GeneratorMixture([generators() for _ in range(2)]), generator_signature(9, 5)),
    "double precision": (lambda: SmallCNN(width=4)(SPEC).double(), IMAGES),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_gives_the_networks_numbers(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build, port = NETWORKS[name]
    network = build().eval()
    before = copy.deepcopy(network.state_dict())
    difference = write_onnx(network, port, tmp_path / "network.onnx")
    assert difference is not None
    assert difference < 1e-4
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_form_gives_the_networks_numbers(name: str) -> None:
    torch.manual_seed(1)
    build, port = NETWORKS[name]
    network = build().eval()
    wide: list[Tensor] = [row.double() if name == "double precision" else row for row in port.examples]
    with torch.no_grad():
        torch.testing.assert_close(
            onnx_exportable(network)(*port.examples).double(), network(*wide).double(), rtol=1e-4, atol=1e-5
        )


def test_a_network_that_cannot_be_traced_is_one_line(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.linalg.eigvals(images[:, 0]).real

    from trigan.errors import ArtifactError

    with pytest.raises(ArtifactError, match="has no form in ONNX") as caught:
        write_onnx(Odd(), OnnxSignature(("images",), "logits", (torch.randn(37, 3, 14, 14),)), tmp_path / "odd.onnx")
    assert "\n" not in str(caught.value)
