"""A classifier with a second batch norm for synthetic images."""

from dataclasses import dataclass

from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.networks.batchnorm import batch_norms
from trigan.networks.classifiers.classifier import Classifier, ClassifierFactory
from trigan.networks.shapes import ImageSpec


@component("classifier/separate_batch_norm@1")
@dataclass(frozen=True)
class SeparateBatchNorm:
    """``classifier``, whose batch norms also have auxiliary weights and biases (Xie et al. 2020, arXiv 1911.09665).

    The classifier's own weights are those that it has alone. `trigan.networks.batchnorm.auxiliary_batch_norm` switches
    to the auxiliary ones; outside training they are never used.
    """

    classifier: ClassifierFactory

    def __call__(self, spec: ImageSpec) -> Classifier:
        """A new classifier for images of shape ``spec``."""
        network = self.classifier(spec)
        layers = batch_norms(network)
        if not layers:
            raise ConfigError(
                "strategy.samples.batch_norm=separate: this classifier has no batch norm; set it to shared, or take "
                "another classifier"
            )
        for layer in layers:
            layer.add_auxiliary()
        return network
