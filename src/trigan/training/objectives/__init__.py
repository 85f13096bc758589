"""The games that G, D and C can play together; one file each."""

from trigan.components import component
from trigan.networks.gans.gan import Architecture
from trigan.training.objectives.bad_gan import BadGAN
from trigan.training.objectives.conditional import Conditional
from trigan.training.objectives.feature_matching import FeatureMatching
from trigan.training.objectives.generated_pseudo_labels import PseudoLabel
from trigan.training.objectives.objective import Game, Table
from trigan.training.objectives.shared_network import ACGAN, SharedTrunk
from trigan.training.objectives.triple_gan import TripleGAN

__all__ = [
    "ACGAN",
    "BadGAN",
    "Conditional",
    "FeatureMatching",
    "Game",
    "PseudoLabel",
    "SharedTrunk",
    "Table",
    "TripleGAN",
    "base_form",
]


@component("objective/auto@1")
def base_form(architecture: Architecture) -> Game:
    """The game that fits: three players on pairs where G and D take labels, K+1 with feature matching elsewhere."""
    return Conditional() if architecture.conditional else FeatureMatching()
