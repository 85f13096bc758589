"""Residual GANs for every size, with and without labels, against formulas written out here."""

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.errors import ConfigError
from trigan.networks.batchnorm import ConditionalBatchNorm2d, frozen_statistics, recalibrate_batch_norm
from trigan.networks.gans.biggan import BigGANSmall
from trigan.networks.gans.gan import Discriminator, Generator
from trigan.networks.gans.r3gan import R3GAN, halve_bilinearly
from trigan.networks.gans.residual import SelfAttention, double, halve
from trigan.networks.gans.sngan import SNGAN, Projection
from trigan.networks.pretext_heads import Autoencoder
from trigan.networks.shapes import map_sizes
from trigan.networks.weight_norm import fold_spectral_norm

torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {
    "sngan": SNGAN(4, 8),
    "projection": Projection(4, 8),
    "biggan_small": BigGANSmall(4, 8, label_embedding_dim=3),
    "biggan_small without labels": BigGANSmall(4, 8, conditional=False),
    "r3gan": R3GAN(4, 8),
    "r3gan with labels": R3GAN(4, 8, blocks=2, conditional=True),
}
CONDITIONAL = [name for name, architecture in SMALL.items() if architecture.conditional]
CLASSES = 5


@dataclass(frozen=True)
class Spec:
    channels: int = 1
    size: int = 8
    classes: int = CLASSES


def pair(name: str, spec: Spec = Spec()) -> tuple[Generator, Discriminator]:
    """G and D in which no weight is exactly 0: some start there, and would pass no gradient on."""
    torch.manual_seed(0)
    networks = SMALL[name].generator(spec), SMALL[name].discriminator(spec)
    with torch.no_grad():
        for network in networks:
            for weight in network.parameters():
                if not weight.any():
                    nn.init.normal_(weight, 0.0, 0.2)
    return networks


def some_labels(n: int) -> Tensor:
    return torch.arange(n) % CLASSES


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 9, 13, 28, 32, 64, 128])
@pytest.mark.parametrize("name", SMALL)
def test_shapes_ranges_gradients_and_features(name: str, size: int, channels: int) -> None:
    (generator, discriminator), y = pair(name, Spec(channels, size)), some_labels(CLASSES)
    images = generator(torch.randn(CLASSES, 8), y)
    assert images.shape == (CLASSES, channels, size, size)
    assert images.abs().max() <= 1
    logits = discriminator(images, y)
    assert logits.shape == (CLASSES,)
    logits.square().sum().backward()
    for network in (generator, discriminator):
        for where, weight in network.named_parameters():
            assert weight.grad is not None, where
            assert weight.grad.abs().sum() > 0, where
    chain = map_sizes(size)
    features = discriminator.eval().features(images)
    assert list(features) == [f"block{level}" for level in range(1, len(chain) + 1)]
    assert [tuple(f.shape[2:]) for f in features.values()] == [(s, s) for s in (*chain[1:], chain[-1])]
    last = list(features.values())[-1]
    assert torch.equal(last, discriminator.backbone(images))
    assert last[0].numel() == discriminator.backbone.num_features


@pytest.mark.parametrize("name", SMALL)
def test_labels_change_images_and_logits_of_conditional_pairs_alone(name: str) -> None:
    generator, discriminator = (network.eval() for network in pair(name))
    z, y = torch.randn(6, 8), some_labels(6)
    images, conditional = generator(z, y).detach(), name in CONDITIONAL
    assert generator.classes == (CLASSES if conditional else 0)
    assert torch.equal(images, generator(z, y.flip(0))) != conditional
    assert torch.equal(discriminator(images, y), discriminator(images, y.flip(0))) != conditional
    if conditional:
        with pytest.raises(ConfigError, match="generator needs labels"):
            generator(z)
        assert not torch.equal(discriminator(images), discriminator(images, y))
    else:
        assert torch.equal(images, generator(z))
        assert torch.equal(discriminator(images), discriminator(images, y))


@pytest.mark.parametrize("name", CONDITIONAL)
def test_an_image_without_a_label_has_a_logit_and_moves_no_embedding(name: str) -> None:
    discriminator = pair(name)[1].double().eval()
    images, y = torch.randn(6, 1, 8, 8, dtype=torch.float64), some_labels(6)
    free, missing = discriminator(images), torch.full((6,), -1)
    assert free.unique().numel() == 6
    torch.testing.assert_close(discriminator(images, missing), free)
    mixed = torch.tensor([1, 0, 1, 0, 0, 1]).bool()
    logits = discriminator(images, torch.where(mixed, y, missing))
    torch.testing.assert_close(logits, torch.where(mixed, discriminator(images, y), free))
    discriminator(images, missing).square().sum().backward()
    for where, weight in discriminator.named_parameters():
        assert (weight.grad is not None and bool(weight.grad.any())) == ("head.label" not in where), where


def test_the_logits_without_a_label_by_hand() -> None:
    """psi(phi) of the projection, and for r3gan the product with a constant vector of an embedding's length."""
    images = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    discriminator = pair("projection")[1].double().eval()
    head: Any = discriminator.head
    psi = head.logit(discriminator.features(images)["block3"].sum((2, 3))).squeeze(1)
    torch.testing.assert_close(discriminator(images), psi)
    discriminator = pair("r3gan with labels")[1].double()
    head = discriminator.head
    sums = (discriminator.features(images)["block3"] * head.basis).sum((2, 3))
    channels = sums.shape[1]
    torch.testing.assert_close(discriminator(images), head.project(sums).sum(1) / (CLASSES * channels) ** 0.5)
    embedding = R3GAN(64, 8, conditional=True).discriminator(Spec()).head.label
    length = embedding.weight.detach().norm(dim=1).mean().item()
    assert length == pytest.approx(CLASSES**-0.5, rel=0.1)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_logits_for_every_label_take_one_pass_of_a_label_free_backbone(name: str) -> None:
    discriminator = pair(name)[1].eval()
    images, passes = torch.rand(6, 1, 8, 8) * 2 - 1, []
    discriminator.backbone.register_forward_hook(lambda *given: passes.append(given[2]))
    of_all = discriminator.logits_for_every_label(images, CLASSES)
    assert len(passes) == 1
    one_by_one = [discriminator(images, torch.full((6,), label)) for label in range(CLASSES)]
    torch.testing.assert_close(of_all, torch.stack(one_by_one, 1))
    assert len({tensor.sum() for tensor in one_by_one}) == CLASSES
    assert all(torch.equal(passes[0], other) for other in passes)


@pytest.mark.parametrize("name", ["projection", "biggan_small"])
def test_the_projection_is_miyato_and_koyamas(name: str) -> None:
    """Equation 10, with phi the sum over the pixels of the last map after ReLU, and spectral norm of every weight."""
    discriminator = pair(name)[1].double().eval()
    images, y = torch.randn(6, 1, 8, 8, dtype=torch.float64), some_labels(6)
    phi = discriminator.features(images)["block3"].sum((2, 3))
    assert phi.min() >= 0
    head: Any = discriminator.head
    psi = phi @ head.logit.weight[0] + head.logit.bias
    one_hot = F.one_hot(y, CLASSES).double()
    torch.testing.assert_close(discriminator(images, y), psi + (one_hot @ head.label.weight * phi).sum(1))


def test_the_head_of_r3gan_by_hand() -> None:
    """Authors' code: a depthwise convolution to one pixel, a linear layer, the product with the label's embedding."""
    discriminator = pair("r3gan with labels")[1].double()
    images, y = torch.randn(6, 1, 8, 8, dtype=torch.float64), some_labels(6)
    last, head = discriminator.features(images)["block3"], discriminator.head
    depthwise: Any = F.conv2d(last, head.basis[:, None], groups=last.shape[1]).flatten(1)
    expected = (head.project(depthwise) * head.label.weight[y]).sum(1)
    torch.testing.assert_close(discriminator(images, y), expected)


@pytest.mark.parametrize("name", ["sngan", "projection", "biggan_small", "biggan_small without labels"])
def test_spectral_norms_are_at_most_one(name: str) -> None:
    generator, discriminator = pair(name, Spec(1, 16))
    y = some_labels(6)
    for _ in range(30):
        discriminator(generator(torch.randn(6, 8), y), y)
    kinds = (nn.Conv2d, nn.Linear, nn.Embedding)
    networks = [discriminator, generator] if "biggan" in name else [discriminator]
    for network in networks:
        network.eval()
        for where, module in network.named_modules():
            if isinstance(module, kinds) and where != "input_layer.label":
                norm = torch.linalg.matrix_norm(module.weight.flatten(1), 2).item()
                assert norm == pytest.approx(1.0, abs=0.02), where
    images = generator.eval()(torch.randn(6, 8), y)
    torch.testing.assert_close(fold_spectral_norm(discriminator)(images, y), discriminator(images, y))
    plain = replace(SMALL[name], discriminator_norm="none").discriminator(Spec(1, 16))
    assert not any("parametrizations" in key for key in plain.state_dict())


def test_self_attention_pixel_by_pixel() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(8).double()
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    assert torch.equal(layer(x), x), "the scale starts at 0"
    nn.init.constant_(layer.scale, 0.7)
    key, value = (F.max_pool2d(conv(x), 2) for conv in (layer.key, layer.value))
    query, expected = layer.query(x), x.clone()
    for n in range(2):
        for i in range(5):
            for j in range(5):
                places = [(k, m) for k in range(2) for m in range(2)]
                weights = torch.stack([query[n, :, i, j] @ key[n, :, k, m] for k, m in places]).softmax(0)
                mean = sum(w * value[n, :, k, m] for w, (k, m) in zip(weights, places, strict=True))
                expected[n, :, i, j] += 0.7 * (layer.output.weight[:, :, 0, 0] @ mean)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("training", [True, False])
def test_conditional_batch_norm_has_weights_per_class(training: bool) -> None:
    """Statistics are of all rows together; each row is then scaled by its class."""
    torch.manual_seed(0)
    layer = ConditionalBatchNorm2d(3, CLASSES).double().train(training)
    x, y = torch.randn(10, 3, 4, 4, dtype=torch.float64) * 3 + 1, some_labels(10)
    codes = F.one_hot(y, CLASSES).double()
    plain = F.batch_norm(x, torch.zeros(3).double(), torch.ones(3).double(), training=training)
    torch.testing.assert_close(layer(x, codes), plain)  # gain and shift start at 0
    assert layer.gain is not None
    assert layer.shift is not None
    layer.running_mean.zero_(), layer.running_var.fill_(1.0)
    for weight in (layer.weight, layer.bias, layer.gain.weight, layer.shift.weight):
        nn.init.normal_(weight)
    for label in range(CLASSES):
        mean, var = torch.zeros(3).double(), torch.ones(3).double()
        weight, bias = layer.weight + layer.gain.weight[:, label], layer.bias + layer.shift.weight[:, label]
        expected = F.batch_norm(x, mean, var, weight, bias, training=training)
        with frozen_statistics(layer):
            torch.testing.assert_close(layer(x, codes)[y == label], expected[y == label])
    frozen = layer.running_mean.clone()
    layer(x, codes)
    assert torch.equal(layer.running_mean, frozen) != training


@pytest.mark.parametrize("name", ["sngan", "projection", "biggan_small"])
def test_g_is_recalibrated(name: str) -> None:
    """With the statistics of one batch, evaluation of that batch equals training on it."""
    generator = pair(name)[0].double()
    z, y = torch.randn(50, 8, dtype=torch.float64), some_labels(50)
    recalibrate_batch_norm(generator, [(z, y)], lambda batch: generator(*batch))
    recalibrated = generator(z, y)
    for module in generator.modules():
        module.train("BatchNorm2d" in type(module).__name__)
    torch.testing.assert_close(recalibrated, generator(z, y), rtol=0.05, atol=0.02)  # unbiased against biased variance
    assert not torch.allclose(recalibrated, pair(name)[0].double().eval()(z, y), rtol=0.05, atol=0.02)


def test_resampling_of_even_and_odd_maps() -> None:
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(halve(double(x, 12)), x)
    assert halve(x[..., :5, :5]).shape == double(x[..., :2, :2], 3).shape == (2, 3, 3, 3)
    torch.testing.assert_close(halve(x[..., :5, :5])[..., 2, 2], x[..., 4, 4])
    # 3 : 1 weights of neighbours are the adjoint of doubling by bilinear interpolation, a quarter of it
    inner, outer = torch.zeros_like(x), torch.randn(2, 3, 12, 12, dtype=torch.float64)
    inner[..., 2:4, 2:4] = x[..., 2:4, 2:4]
    up = F.interpolate(inner, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close((halve_bilinearly(outer) * inner).sum(), (outer * up).sum() / 4)


def test_r3gan_starts_without_its_residuals_and_has_no_normalisation() -> None:
    """Fixup: at first every block is the identity; the scale of the others falls with the depth."""
    torch.manual_seed(0)
    shallow, deep = (R3GAN(32, blocks=blocks).discriminator(Spec(1, 32)) for blocks in (1, 16))
    blocks = [module for module in deep.modules() if type(module).__name__ == "_InvertedBottleneck"]
    assert len(blocks) == 16 * 4
    x = torch.randn(2, blocks[-1].expand.in_channels, 4, 4)
    assert torch.equal(blocks[-1](x), x)
    assert blocks[-1].group.groups == 256 // 16
    std = [network.backbone.stages[-1][0].expand.weight.std().item() for network in (shallow, deep)]
    assert std[0] / std[1] == pytest.approx((64 / 4) ** 0.25, rel=0.05)
    assert not list(deep.buffers())


@pytest.mark.parametrize("name", SMALL)
def test_g_is_the_decoder_of_the_autoencoder(name: str) -> None:
    discriminator = SMALL[name].discriminator(Spec())
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    assert Autoencoder(discriminator, SMALL[name], Spec())(images).shape == images.shape


@pytest.mark.parametrize("name", SMALL)
def test_initialization_is_the_callers_seed_alone(name: str) -> None:
    first, again = (pair(name) for _ in range(2))
    for network, same in zip(first, again, strict=True):
        assert all(map(torch.equal, network.state_dict().values(), same.state_dict().values()))


def test_the_latent_is_cut_into_a_part_for_the_map_and_one_for_each_block() -> None:
    generator = pair("biggan_small without labels")[0]
    body: Any = generator.body
    assert body.parts == (3, 3, 2)
    assert [block.norm1.gain.in_features for block in body.blocks] == [3, 2]
    with pytest.raises(ConfigError, match=r"architecture\.latent=2: .* 3 parts .*to at least 3"):
        BigGANSmall(4, 2).generator(Spec())


@pytest.mark.parametrize(
    ("architecture", "setting", "value"),
    [
        *((architecture, name, 0) for architecture in (SNGAN, BigGANSmall, R3GAN) for name in ("width", "latent")),
        *((architecture, "discriminator_norm", "batch") for architecture in (SNGAN, Projection, BigGANSmall)),
        *((BigGANSmall, name, 0) for name in ("label_embedding_dim", "attention")),
        (R3GAN, "blocks", 0),
    ],
)
def test_settings_out_of_range_are_named(architecture: type[Any], setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"architecture\.{setting}: "):
        architecture(**{setting: value})


@pytest.mark.parametrize("name", CONDITIONAL)
def test_data_without_classes_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"architecture=\w+: the data have no classes to condition on"):
        SMALL[name].generator(Spec(classes=0))


@pytest.mark.slow
def test_the_page_has_the_table_that_its_command_prints() -> None:
    spec = importlib.util.spec_from_file_location("architectures", ROOT / "benchmarks" / "architectures.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.table() in (ROOT / "docs" / "gan_architectures.md").read_text()
