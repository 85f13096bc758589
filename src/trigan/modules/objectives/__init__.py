"""The games that G, D and C can play together; one file each."""

from trigan.modules.objectives.bad_gan import BadGAN
from trigan.modules.objectives.conditional import Conditional
from trigan.modules.objectives.feature_matching import FeatureMatching
from trigan.modules.objectives.game import Game, Table
from trigan.modules.objectives.pseudo_label import PseudoLabel
from trigan.modules.objectives.triple_gan import TripleGAN
from trigan.modules.objectives.two_heads import ACGAN, SharedTrunk
from trigan.networks.adversaries import Architecture

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


def base_form(architecture: Architecture) -> Game:
    """The game that fits: three players on pairs where G and D take labels, K+1 with feature matching elsewhere."""
    return Conditional() if architecture.conditional else FeatureMatching()
