"""Any convolutional or transformer network of the package timm as a classifier, from random or pretrained weights.

timm is optional (``pip install 'trigan[timm]'``). Pretrained weights were trained on other data: a row that uses them
has the mark X.
"""

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trigan.checks import require
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.networks.classifiers.classifier import Classifier
from trigan.networks.classifiers.frozen_body import FrozenBody
from trigan.networks.classifiers.pretrained import PretrainedBody
from trigan.networks.foreign_layers import check_training_pass, with_our_layers
from trigan.networks.shapes import ImageSpec, require_supported

#: Before the name of a repository of the Hugging Face hub, as in timm's own model names.
_HUB = "hf-hub:"


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


def weights_digest(weights: str | None) -> str | None:
    """Identity of ``classifier.weights`` in a hash: SHA-256 of the file, wherever it lies; None without weights."""
    if weights is None:
        return None
    path = _weights_file(weights)
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache
def _sha256(path: Path, *stamps: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights_file(weights: str) -> Path:
    """The file of ``classifier.weights``, downloaded if it names a repository of the hub."""
    if not weights.startswith(_HUB):
        path = Path(weights).expanduser()
        if not path.is_file():
            raise ConfigError(
                f"classifier.weights={weights}: no such file; give a .safetensors file, a file of torch with a state "
                f"dict, or {_HUB}timm/NAME"
            )
        return path
    from huggingface_hub import hf_hub_download

    repository, _, revision = weights.removeprefix(_HUB).partition("@")
    try:
        return Path(hf_hub_download(repository, "model.safetensors", revision=revision or None))
    except Exception as error:  # of names, of the network, of the hub: all that a user can change is the name
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"classifier.weights={weights}: model.safetensors cannot be read from the hub ({reason}); download it and "
            "give the file"
        ) from error


@component("classifier/timm@1")
@dataclass(frozen=True)
class TimmModel:
    """timm's network ``name``, with a linear head of ours instead of its last layer.

    Attributes:
        name: as in ``timm.list_models()``; with ``weights`` also with a tag (``resnet18.a1_in1k``), by which timm knows
            how the weights want their images.
        weights: a file with the weights of the network (safetensors, or torch's with nothing but tensors), or
            ``hf-hub:OWNER/NAME`` with ``@REVISION`` if wanted; its head is not used. In hashes its content counts.
            None: timm's initial weights.
        input_size: with ``weights``, the side in pixels to which images are resized; None: that of the weights.
        frozen: with ``weights``, whether the head alone is trained, on features as the weights give them.
    """

    name: str = "resnet18"
    weights: str | None = field(default=None, metadata={"identity": weights_digest})
    input_size: int | None = None
    frozen: bool = False

    def __post_init__(self) -> None:
        timm = _timm()
        if not timm.is_model(self.name) or ("." in self.name and self.weights is None):
            near = difflib.get_close_matches(self.name.partition(".")[0], timm.list_models(), 1)
            tag = " without classifier.weights" if timm.is_model(self.name) else ""
            raise ConfigError(
                f"classifier.name={self.name}: timm has no network of that name{tag}"
                f"{f'; nearest: {near[0]}' if near else ''}; timm.list_models() has them all"
            )
        if self.input_size is not None:
            require(
                self.weights is not None, "classifier.input_size", self.input_size, "null without classifier.weights"
            )
            require(8 <= self.input_size <= 1024, "classifier.input_size", self.input_size, "in 8..1024")
        valid = self.weights is not None or not self.frozen
        require(valid, "classifier.frozen", self.frozen, "false without classifier.weights: its features are untrained")

    def __call__(self, spec: ImageSpec) -> Classifier:
        """A new network with timm's initial weights; pretrained ones are read where its training begins.

        Raises:
            ConfigError: it cannot take images of this size, has a batch norm that cannot be replaced, or draws random
                numbers in training, which a resumed fit could not repeat.
        """
        require_supported(spec)
        setting = f"classifier.name={self.name}"
        try:
            body = self._body(spec)
            if self.weights is not None:
                known = _timm().get_pretrained_cfg(self.name)
                read, digest = partial(self._read, spec), partial(weights_digest, self.weights)
                images = known.mean, known.std, self._size(spec), known.interpolation
                body = PretrainedBody(body, read, digest, *images)
            features = _embedding_width(setting, body, torch.zeros(2, spec.channels, spec.size, spec.size))
        except (RuntimeError, AssertionError, ValueError, TypeError, IndexError, ZeroDivisionError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(f"{setting} cannot take images of {self._size(spec)} pixels ({reason})") from error
        head = nn.Linear(features, spec.classes)
        nn.init.normal_(head.weight, 0.0, 0.01)
        nn.init.zeros_(head.bias)
        return Classifier(FrozenBody(body, keep_statistics=True).eval() if self.frozen else body, head)

    def _size(self, spec: ImageSpec) -> int:
        """The side of the images that the network takes."""
        if self.weights is None:
            return spec.size
        return self.input_size or int(_timm().get_pretrained_cfg(self.name).input_size[-1])

    def _body(self, spec: ImageSpec, state: Mapping[str, Tensor] | None = None) -> nn.Module:
        """The network without its head, with weights of a file if they are given."""
        timm, channels = _timm(), spec.channels if self.weights is None else 3
        sized = {"img_size": self._size(spec)} if timm.get_pretrained_cfg(self.name).fixed_input_size else {}
        raw = timm.create_model(self.name, pretrained=False, in_chans=channels, num_classes=0, **sized)
        if state is not None:
            require_same_tensors(f"classifier.weights={self.weights}", raw.state_dict(), state)
            raw.load_state_dict(state)
        body: nn.Module = with_our_layers(f"classifier.name={self.name}", raw, _norms_with_activation())
        return body

    def _read(self, spec: ImageSpec) -> dict[str, Tensor]:
        """The state dict of a body that has the file's weights."""
        path, heads = _weights_file(str(self.weights)), _timm().get_pretrained_cfg(self.name).classifier or ()
        try:
            state = _timm().models.load_state_dict(str(path), device="cpu", weights_only=True)
        except Exception as error:  # a file of another format fails in many ways
            reason = str(error).strip().partition("\n")[0]
            raise ConfigError(
                f"classifier.weights={self.weights}: not a file of weights ({reason}); give a .safetensors file, or a "
                "file of torch with a state dict"
            ) from error
        head = tuple(f"{name}." for name in ((heads,) if isinstance(heads, str) else heads))
        kept = {name: value for name, value in state.items() if not (head and name.startswith(head))}
        return self._body(spec, kept).state_dict()


def require_same_tensors(setting: str, own: Mapping[str, Tensor], given: Mapping[str, Any]) -> None:
    """Refuse weights that lack a tensor, have another one, or one of another shape, in one line."""
    faults = {
        "lacks": [name for name in own if name not in given],
        "has, but the network has not,": [name for name in given if name not in own],
        "has in another shape": [
            f"{name} {tuple(given[name].shape)} for {tuple(own[name].shape)}"
            for name in own
            if name in given and getattr(given[name], "shape", None) != own[name].shape
        ],
        "has with values that are not finite": [
            name for name, value in given.items() if isinstance(value, Tensor) and not bool(torch.isfinite(value).all())
        ],
    }
    told = [f"{fault} {len(names)} ({', '.join(names[:2])})" for fault, names in faults.items() if names]
    if told:
        raise ConfigError(f"{setting}: of {len(own)} tensors the file {'; '.join(told)}; take weights of this network")


def _embedding_width(setting: str, body: nn.Module, images: Tensor) -> int:
    """F of the embeddings (N, F)."""
    embedded = check_training_pass(setting, body, images)
    if not isinstance(embedded, Tensor) or embedded.ndim != 2:
        raise ConfigError(f"{setting} gives no vector for an image, as a classifier's head needs")
    return int(embedded.shape[1])
