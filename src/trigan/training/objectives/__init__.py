"""Joint objectives of G, D and C."""

from trigan.component_ids import component
from trigan.networks.gans.gan import Architecture
from trigan.training.objectives.generated_pseudo_labels import GeneratedPseudoLabels as GeneratedPseudoLabels
from trigan.training.objectives.k_plus_one import BadGAN as BadGAN
from trigan.training.objectives.k_plus_one import FeatureMatching as FeatureMatching
from trigan.training.objectives.k_plus_one import Matching as Matching
from trigan.training.objectives.k_plus_one import VariationalBadGAN as VariationalBadGAN
from trigan.training.objectives.objective import ObjectiveFactory as ObjectiveFactory
from trigan.training.objectives.shared_network import ACGAN as ACGAN
from trigan.training.objectives.shared_network import SharedNetwork as SharedNetwork
from trigan.training.objectives.triple_gan import Conditional as Conditional
from trigan.training.objectives.triple_gan import TripleGAN as TripleGAN


@component("objective/auto@1")
def default_objective(architecture: Architecture, matching: Matching = "squares") -> ObjectiveFactory:
    """The default: Triple-GAN's base form for a label-conditional architecture, else feature matching."""
    return Conditional() if architecture.conditional else FeatureMatching(matching=matching)
