"""A classifier that begins with given weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from trigan.components import component
from trigan.identity import weights_digest
from trigan.networks.classifiers.classifier import Classifier, ClassifierFactory
from trigan.networks.shapes import ImageSpec


@component("classifier/pretrained@1")
@dataclass(frozen=True)
class PretrainedClassifier:
    """Classifier factory: ``factory``'s network with the weights of ``state``; identified by their digest."""

    factory: ClassifierFactory
    weights: str
    state: Mapping[str, Tensor] = field(metadata={"identity": False}, compare=False)

    @staticmethod
    def of(factory: ClassifierFactory, network: Classifier) -> "PretrainedClassifier":
        """A factory of networks like ``network``, which came from ``factory``."""
        state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
        return PretrainedClassifier(factory, weights_digest(state), state)

    def __call__(self, spec: ImageSpec) -> Classifier:
        network = self.factory(spec)
        network.load_state_dict(self.state)
        return network
