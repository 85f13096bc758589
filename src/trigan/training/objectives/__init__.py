"""The games that G, D and C can play together; one file each."""

from trigan.components import component
from trigan.networks.gans.gan import Architecture
from trigan.training.objectives.bad_gan import BadGAN
from trigan.training.objectives.conditional import Conditional
from trigan.training.objectives.feature_matching import FeatureMatching
from trigan.training.objectives.generated_pseudo_labels import GeneratedPseudoLabels
from trigan.training.objectives.objective import ObjectiveContext, ObjectiveFactory
from trigan.training.objectives.shared_network import ACGAN, SharedNetwork
from trigan.training.objectives.triple_gan import TripleGAN

__all__ = [
    "ACGAN",
    "BadGAN",
    "Conditional",
    "FeatureMatching",
    "GeneratedPseudoLabels",
    "ObjectiveContext",
    "ObjectiveFactory",
    "SharedNetwork",
    "TripleGAN",
    "default_objective",
]


@component("objective/auto@1")
def default_objective(architecture: Architecture) -> ObjectiveFactory:
    """The game that fits: three players on pairs where G and D take labels, K+1 with feature matching elsewhere."""
    return Conditional() if architecture.conditional else FeatureMatching()
