"""Every kind of network gives the same numbers in ONNX as in torch, at any batch size."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from trigan.networks.classifiers.cnn import AllCNN, SmallCNN
from trigan.networks.classifiers.mlp import MLP
from trigan.networks.classifiers.resnet import ResNet18, WideResNet
from trigan.networks.diffusion.edm import EDM, Heun
from trigan.networks.gans.biggan import BigGANSmall
from trigan.networks.gans.dcgan import CGAN, DCGAN
from trigan.networks.gans.r3gan import R3GAN
from trigan.networks.gans.sngan import SNGAN, Projection
from trigan.networks.weight_norm import fold_spectral_norm

torch.set_num_threads(1)


@dataclass(frozen=True)
class Spec:
    channels: int = 3
    size: int = 13
    classes: int = 10


def image(n: int) -> tuple[Tensor, ...]:
    return (torch.randn(n, 3, 13, 13),)


def latent(n: int) -> tuple[Tensor, ...]:
    return (torch.randn(n, 8),)


def labelled_latent(n: int) -> tuple[Tensor, ...]:
    return torch.randn(n, 8), torch.arange(n) % 10


def noise(n: int) -> tuple[Tensor, ...]:
    return torch.randn(n, 3 * 13 * 13), torch.arange(n) % 10


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], tuple[Tensor, ...]]]] = {
    "small_cnn": (lambda: SmallCNN(width=4, dropout=0.2)(Spec()), image),
    "resnet18": (lambda: ResNet18(width=4)(Spec()), image),
    "wide_resnet": (lambda: WideResNet(depth=10, width=4, dropout=0.2)(Spec()), image),
    "all_cnn": (lambda: AllCNN(width=4)(Spec()), image),
    "mlp": (lambda: MLP(widths=(12, 8))(Spec()), image),
    "backbone": (lambda: DCGAN(width=4, latent=8).discriminator(Spec()).backbone, image),
    "spectral": (
        lambda: fold_spectral_norm(DCGAN(width=4, discriminator_norm="spectral").discriminator(Spec())),
        image,
    ),
    "generator": (lambda: DCGAN(width=4, latent=8).generator(Spec()), latent),
    "diffusion": (lambda: EDM(width=4, sampler=Heun(steps=2, guidance=2.0)).generator(Spec()), noise),
    "conditional": (lambda: CGAN(width=4, latent=8).generator(Spec()), labelled_latent),
    "sngan": (lambda: SNGAN(4, 8).generator(Spec()), latent),
    "projection": (lambda: Projection(4, 8).generator(Spec()), labelled_latent),
    "biggan_small": (lambda: fold_spectral_norm(BigGANSmall(4, 8).generator(Spec())), labelled_latent),
    "r3gan": (lambda: R3GAN(4, 8).generator(Spec()), latent),
    "r3gan with labels": (lambda: R3GAN(4, 8, conditional=True).generator(Spec()), labelled_latent),
    "backbone of biggan_small": (
        lambda: fold_spectral_norm(BigGANSmall(4, 8).discriminator(Spec()).backbone),
        image,
    ),
    "backbone of r3gan": (lambda: R3GAN(4, 8).discriminator(Spec()).backbone, image),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_gives_the_same_numbers(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build, inputs = NETWORKS[name]
    network = build().eval()
    names = ["first", "second"][: len(inputs(2))]
    torch.onnx.export(
        network,
        inputs(2),
        tmp_path / "network.onnx",
        input_names=names,
        dynamic_axes={key: {0: "n"} for key in names},
        dynamo=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    fed = inputs(5)
    (result,) = session.run(None, {key: value.numpy() for key, value in zip(names, fed, strict=True)})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(result), network(*fed), rtol=1e-4, atol=1e-5)
