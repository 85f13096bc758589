"""timm's networks as classifiers, and the errors without timm."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import timm_package
import torch
from torch import Tensor, nn

from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d, recalibrate_batch_norm
from trigan.networks.classifiers.timm_model import TimmModel

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
