"""Any convolutional or transformer network of the package timm, from random weights, as a classifier.

timm is optional (``pip install 'trigan[timm]'``). Pretrained weights are not offered: they were trained on other data.
"""

import difflib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.networks.classifiers.classifier import Classifier
from trigan.networks.foreign_layers import check_training_pass, with_our_layers
from trigan.networks.shapes import ImageSpec, require_supported


def _timm() -> Any:
    """Import timm, or raise a `ConfigError` with the reason why it cannot be imported."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ConfigError(f"classifier=timm needs the package {error.name}: pip install 'trigan[timm]'") from error
    except Exception as error:  # timm imports torchvision, which fails in many ways with another build of torch
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"classifier=timm: timm cannot be imported ({reason}); install the torchvision that matches this torch"
        ) from error
    return timm


def _norms_with_activation() -> tuple[type[nn.Module], ...]:
    """The batch norms of timm with dropout and an activation as children."""
    from timm.layers import BatchNormAct2d

    return (BatchNormAct2d,)


@component("classifier/timm@1")
@dataclass(frozen=True)
class TimmModel:
    """timm's network ``name``, with a linear head of ours instead of its last layer.

    Attributes:
        name: as in ``timm.list_models()``, without a tag of pretrained weights.
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
        """A new network with timm's initial weights.

        Raises:
            ConfigError: it cannot take images of this size, has a batch norm that cannot be replaced, or draws random
                numbers in training, which a resumed fit could not repeat.
        """
        require_supported(spec)
        timm, setting = _timm(), f"classifier.name={self.name}"
        sized = {"img_size": spec.size} if timm.get_pretrained_cfg(self.name).fixed_input_size else {}
        try:
            raw = timm.create_model(self.name, pretrained=False, in_chans=spec.channels, num_classes=0, **sized)
            body = with_our_layers(setting, raw, _norms_with_activation())
            features = _embedding_width(setting, body, torch.zeros(2, spec.channels, spec.size, spec.size))
        except (RuntimeError, AssertionError, ValueError, TypeError, IndexError, ZeroDivisionError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(f"{setting} cannot take images of {spec.size} pixels ({reason})") from error
        head = nn.Linear(features, spec.classes)
        nn.init.normal_(head.weight, 0.0, 0.01)
        nn.init.zeros_(head.bias)
        return Classifier(body, head)


def _embedding_width(setting: str, body: nn.Module, images: Tensor) -> int:
    """F of the embeddings (N, F)."""
    embedded = check_training_pass(setting, body, images)
    if not isinstance(embedded, Tensor) or embedded.ndim != 2:
        raise ConfigError(f"{setting} gives no vector for an image, as a classifier's head needs")
    return int(embedded.shape[1])
