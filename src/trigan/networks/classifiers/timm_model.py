"""Any convolutional or transformer network of the package timm, from random weights, as one of our classifiers.

timm is optional (``pip install 'trigan[timm]'``). Pretrained weights are not offered: they know other data.
"""

import difflib
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trigan.components import component
from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d, frozen_statistics, local_statistics
from trigan.networks.classifiers.classifier import Classifier
from trigan.networks.shapes import ImageSpec, require_supported


def _timm() -> ModuleType:
    """The package, or a :class:`ConfigError` that says what is wrong with it."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ConfigError(f"classifier=timm needs the package {error.name}: pip install 'trigan[timm]'") from error
    except Exception as error:  # torchvision, which it imports, fails in many ways beside another build of torch
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"classifier=timm: timm cannot be imported ({reason}); take a torchvision that is made for this torch"
        ) from error
    return timm


def _with_our_batch_norm(setting: str, module: nn.Module) -> nn.Module:
    """``module`` with every batch norm in it replaced by ours, which ranks share and which can be re-estimated."""
    for name, child in module.named_children():
        setattr(module, name, _with_our_batch_norm(setting, child))
    if not isinstance(module, _BatchNorm):
        return module
    known = isinstance(module, nn.BatchNorm2d) and module.affine and module.track_running_stats
    if not known or module.momentum is None:
        raise ConfigError(f"{setting} has a {type(module).__name__}, which cannot be replaced by trigan's batch norm")
    ours = BatchNorm2d(module.num_features, module.momentum, module.eps)
    with torch.no_grad():
        ours.weight.copy_(module.weight)
        ours.bias.copy_(module.bias)
    # timm's own class drops values and applies the activation after it; torch's has no children
    after = list(module.children())
    return nn.Sequential(ours, *after) if after else ours


@component("classifier/timm@1")
@dataclass(frozen=True)
class TimmModel:
    """timm's network ``name``, without its own last layer; the one behind it is ours.

    Attributes:
        name: as in ``timm.list_models()``, without a tag of weights.
    """

    name: str = "resnet18"

    def __post_init__(self) -> None:
        timm = _timm()
        if not timm.is_model(self.name) or "." in self.name:
            near = difflib.get_close_matches(self.name.partition(".")[0], timm.list_models(), 1)
            raise ConfigError(
                f"classifier.name={self.name}: timm has no network of that name"
                f"{f'; nearest: {near[0]}' if near else ''}; timm.list_models() has them all"
            )

    def __call__(self, spec: ImageSpec) -> Classifier:
        """A new network, drawn from torch's global random numbers as timm does.

        Raises:
            ConfigError: it can't take images of this size, has a batch norm of a kind of its own, or draws random
                numbers in training, which a resumed fit could not repeat.
        """
        require_supported(spec)
        timm, setting = _timm(), f"classifier.name={self.name}"
        sized = {"img_size": spec.size} if timm.get_pretrained_cfg(self.name).fixed_input_size else {}
        try:
            raw = timm.create_model(self.name, pretrained=False, in_chans=spec.channels, num_classes=0, **sized)
            body = _with_our_batch_norm(setting, raw)
            features = _tried(setting, body, torch.zeros(2, spec.channels, spec.size, spec.size))
        except (RuntimeError, AssertionError, ValueError, TypeError, IndexError, ZeroDivisionError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(f"{setting} cannot take images of {spec.size} pixels ({reason})") from error
        head = nn.Linear(features, spec.classes)
        nn.init.normal_(head.weight, 0.0, 0.01)
        nn.init.zeros_(head.bias)
        return Classifier(body, head)


@torch.no_grad()
def _tried(setting: str, body: nn.Module, images: Tensor) -> int:
    """The number of values that ``body`` embeds an image in, after a pass in training mode that leaves no trace."""
    with torch.random.fork_rng(devices=[]), frozen_statistics(body), local_statistics(body):
        before = torch.get_rng_state()
        embedded = body.train()(images)
        drawn = not torch.equal(before, torch.get_rng_state())
    if drawn:
        raise ConfigError(f"{setting} draws random numbers in training that a resumed fit could not repeat")
    if not isinstance(embedded, Tensor) or embedded.ndim != 2:
        raise ConfigError(f"{setting} gives no vector for an image, which a classifier's head needs")
    return int(embedded.shape[1])
