"""timm's networks as classifiers, and the errors without timm."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import timm_package
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from trigan.errors import ConfigError
from trigan.identity import canonical_form
from trigan.networks.batchnorm import BatchNorm2d, recalibrate_batch_norm
from trigan.networks.classifiers.pretrained import load_pretrained_weights, pretrained_weights
from trigan.networks.classifiers.timm_model import TimmModel, weights_digest

torch.set_num_threads(1)


@dataclass(frozen=True)
class Spec:
    channels: int = 3
    size: int = 32
    classes: int = 7


def test_without_timm_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"^classifier=timm needs the package timm: pip install 'trigan\[timm\]'$"):
        TimmModel()


def test_a_timm_that_does_not_match_torch_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist\\nand more')\n")
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"cannot be imported \(operator torchvision::nms does not exist\);"
    ) as caught:
        TimmModel()
    assert "\n" not in str(caught.value)


class _Embeds(nn.Module):
    """Replaces a network of timm where timm is not installed."""

    def __init__(self, channels: int, *after: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.after = nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Sequential(*after)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.norm(self.conv(x)).relu()).mean((2, 3))


class _Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


def _fake_timm(monkeypatch: pytest.MonkeyPatch, *after: nn.Module) -> None:
    """A ``timm`` that has one network, ``tiny``: the adapter alone is tested."""

    @dataclass
    class Config:
        fixed_input_size: bool = False

    timm = ModuleType("timm")
    timm.is_model = lambda name: name == "tiny"  # type: ignore[attr-defined]
    timm.list_models = lambda: ["tiny"]  # type: ignore[attr-defined]
    timm.get_pretrained_cfg = lambda name: Config()  # type: ignore[attr-defined]
    timm.create_model = lambda name, in_chans, **_: _Embeds(in_chans, *after)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", timm)
    layers = ModuleType("timm.layers")
    layers.BatchNormAct2d = type("BatchNormAct2d", (nn.BatchNorm2d,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm.layers", layers)


def test_batch_norms_become_ours_with_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_timm(monkeypatch)
    network, x = TimmModel("tiny")(Spec()), torch.randn(5, 3, 8, 8)
    assert [type(module) for module in network.modules()].count(BatchNorm2d) == 1
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert torch.equal(network.body.norm.running_mean, torch.zeros(4))  # the pass that finds the width changed nothing
    assert torch.equal(network(x), network.head(network.embed(x)))
    recalibrate_batch_norm(network, [x])
    assert network.body.norm.running_mean.any()


def test_unsupported_networks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_timm(monkeypatch, _Noise())
    with pytest.raises(ConfigError, match=r"classifier\.name=tiny draws random numbers in training"):
        TimmModel("tiny")(Spec())
    _fake_timm(monkeypatch, nn.SyncBatchNorm(4))
    with pytest.raises(ConfigError, match=r"classifier\.name=tiny: its layer after\.0 is a SyncBatchNorm"):
        TimmModel("tiny")(Spec())
    _fake_timm(monkeypatch, nn.Conv2d(4, 4, 9))
    with pytest.raises(ConfigError, match=r"classifier\.name=tiny cannot take images of 8 pixels \(.*[Kk]ernel"):
        TimmModel("tiny")(Spec(size=8))
    with pytest.raises(ConfigError, match=r"classifier\.name=tinny: timm has no network .* nearest: tiny;"):
        TimmModel("tinny")


# With the package itself --------------------------------------------------------------------------------------------

NAMES = ["test_resnet", "test_efficientnet", "test_vit", "resnet18", "mobilenetv3_small_050"]


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("name", NAMES)
def test_timms_networks_are_classifiers(name: str, size: int) -> None:
    timm_package.make_importable()
    torch.manual_seed(0)
    network = TimmModel(name)(Spec(1, size)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(4, 1, size, size)
    network(x).logsumexp(1).mean().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    recalibrate_batch_norm(network, [x])
    assert network(x).shape == (4, 7)
    assert torch.equal(network(x), network.head(network.embed(x)))
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    torch.manual_seed(0)
    again = TimmModel(name)(Spec(1, size))
    torch.manual_seed(0)
    assert torch.equal(TimmModel(name)(Spec(1, size)).head.weight, again.head.weight)


def test_timms_resnet_has_the_published_size_and_unknown_names_are_refused() -> None:
    timm_package.make_importable()
    network = TimmModel("resnet18")(Spec(3, 64, 1000))
    assert sum(weight.numel() for weight in network.parameters()) == 11_689_512
    with pytest.raises(ConfigError, match=r"classifier\.name=resnet19: timm has no network .*; nearest: resnet"):
        TimmModel("resnet19")
    with pytest.raises(ConfigError, match=r"classifier\.name=convnext_atto cannot take images of 8 pixels"):
        TimmModel("convnext_atto")(Spec(1, 8))


# Pretrained weights -------------------------------------------------------------------------------------------------


def their_network(name: str, seed: int = 0) -> nn.Module:
    """timm's own network, whose batch norms have statistics of their own."""
    timm_package.make_importable()
    import timm

    torch.manual_seed(seed)
    network: nn.Module = timm.create_model(name, pretrained=False)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def write_weights(network: nn.Module, file: Path) -> Path:
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)
    return file


def loaded(model: TimmModel, spec: Spec) -> nn.Module:
    network = model(spec).eval()
    load_pretrained_weights(network)
    return network


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_pretrained_weights_embed_images_as_timm_does(name: str, tmp_path: Path) -> None:
    """Of colour images of the weights' size: equal to timm's features of images normalised as its config says."""
    theirs = their_network(name)
    network = loaded(TimmModel(name, str(write_weights(theirs, tmp_path / "a.safetensors"))), Spec(3, 160))
    x = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    config = theirs.pretrained_cfg  # type: ignore[union-attr]
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features((x - mean) / std), pre_logits=True)  # type: ignore[operator]
        torch.testing.assert_close(network.embed(2 * x - 1), expected, atol=1e-4, rtol=1e-4)
    assert network(2 * x - 1).shape == (2, 7)


def test_images_are_resized_and_grey_ones_get_three_channels(tmp_path: Path) -> None:
    file = str(write_weights(their_network("test_resnet"), tmp_path / "a.safetensors"))
    network = loaded(TimmModel("test_resnet", file), Spec(1, 28))
    grey = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(1)) * 2 - 1
    large = F.interpolate(grey, (160, 160), mode="bilinear").expand(-1, 3, -1, -1)  # test_resnet's own interpolation
    with torch.no_grad():
        torch.testing.assert_close(network(grey), network.head(network.body.body(large)), atol=1e-5, rtol=1e-5)
        small = loaded(TimmModel("test_resnet", file, input_size=64), Spec(1, 28))
        assert small.body.size == 64
        assert not torch.allclose(small.embed(grey), network.embed(grey), atol=1e-3)
    with pytest.raises(ConfigError, match=r"^classifier\.input_size: 64 must be null without classifier\.weights"):
        TimmModel("test_resnet", None, 64)


def test_other_formats_of_a_file_give_the_same_weights_and_other_content_another_identity(tmp_path: Path) -> None:
    theirs = their_network("test_resnet")
    files = [write_weights(theirs, tmp_path / name) for name in ("a.safetensors", "copy.safetensors")]
    torch.save({"state_dict": {f"module.{key}": one for key, one in theirs.state_dict().items()}}, tmp_path / "b.pth")
    first, second = (loaded(TimmModel("test_resnet", str(f)), Spec()) for f in (files[0], tmp_path / "b.pth"))
    for name, value in first.body.state_dict().items():
        assert torch.equal(value, second.body.state_dict()[name]), name
    same, copied = (canonical_form(TimmModel("test_resnet", str(file))) for file in files)
    assert same == copied
    assert same["weights"] == weights_digest(str(files[0])) == pretrained_weights(first)[0]
    write_weights(their_network("test_resnet", seed=1), files[1])
    assert canonical_form(TimmModel("test_resnet", str(files[1]))) != same
    assert canonical_form(TimmModel("test_resnet")) == {"type": "classifier/timm@1", "name": "test_resnet"}


def test_a_loaded_state_dict_needs_no_file(tmp_path: Path) -> None:
    """So that a finished run opens where its file of pretrained weights is not."""
    file = write_weights(their_network("test_resnet"), tmp_path / "a.safetensors")
    model = TimmModel("test_resnet", str(file))
    trained = loaded(model, Spec())
    with torch.no_grad():
        next(trained.body.parameters()).fill_(0.5)
    file.unlink()
    opened = model(Spec()).eval()
    opened.load_state_dict(trained.state_dict())
    load_pretrained_weights(opened)
    assert torch.equal(next(opened.body.parameters()), next(trained.body.parameters()))
    with pytest.raises(ConfigError, match=r"^classifier\.weights=.*a\.safetensors: no such file; give a "):
        load_pretrained_weights(model(Spec()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("conv1.weight"), r"lacks 1 \(conv1\.weight\)"),
        (lambda state: state.update(extra=torch.zeros(1)), r"has, but the network has not, 1 \(extra\)"),
        (
            lambda state: state.update({"bn1.weight": torch.zeros(3)}),
            r"has in another shape 1 \(bn1\.weight \(3,\) for \(\d+,\)\)",
        ),
        (lambda state: state["bn1.bias"].fill_(torch.nan), r"has with values that are not finite 1 \(bn1\.bias\)"),
    ],
)
def test_a_file_of_another_network_is_refused_in_one_line(change: Any, message: str, tmp_path: Path) -> None:
    theirs = their_network("resnet18")
    state = {name: value.clone() for name, value in theirs.state_dict().items()}
    change(state)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(
        ConfigError, match=rf"^classifier\.weights=.*: of \d+ tensors the file {message}; take"
    ) as caught:
        load_pretrained_weights(TimmModel("resnet18", str(tmp_path / "a.safetensors"), 32)(Spec()))
    assert "\n" not in str(caught.value)


def test_what_is_no_file_of_weights_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm_package.make_importable()
    (tmp_path / "a.safetensors").write_bytes(b"no weights")
    (tmp_path / "a.pth").write_bytes(b"no weights")
    torch.save({"weight": Path("x")}, tmp_path / "b.pth")  # a pickled object, which would run code
    for name in ("a.safetensors", "a.pth", "b.pth"):
        with pytest.raises(ConfigError, match=r"^classifier\.weights=.*: not a file of weights \(") as caught:
            load_pretrained_weights(TimmModel("test_resnet", str(tmp_path / name))(Spec()))
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"^classifier\.name=resnet18\.a1_in1k: .* without classifier\.weights"):
        TimmModel("resnet18.a1_in1k")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"^classifier\.weights=hf-hub:timm/none: model\.safetensors cannot be read"):
        weights_digest("hf-hub:timm/none")
