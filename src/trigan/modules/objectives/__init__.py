"""The games that G, D and C can play together; one file each."""

from trigan.modules.objectives.conditional import Conditional
from trigan.modules.objectives.feature_matching import FeatureMatching
from trigan.modules.objectives.game import Game, Table
from trigan.modules.objectives.pseudo_label import PseudoLabel

__all__ = ["Conditional", "FeatureMatching", "Game", "PseudoLabel", "Table"]
