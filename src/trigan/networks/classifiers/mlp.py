"""A multilayer perceptron with Gaussian noise: the MNIST classifier of Salimans et al. 2016 (1606.03498).

Widths, ReLU, noise and the weight norm of the hidden layers are those of the paper's released code. That code
initialises scales and biases from a first batch and trains no hidden scales; here they start as in He et al. 2015, so
that the first weights are a function of the seed alone, and all are trained. The last layer has no weight norm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from trigan.checks import require, require_at_least, require_std
from trigan.component_ids import component
from trigan.networks.classifiers.classifier import Classifier
from trigan.networks.random_layers import GaussianNoise, NoisyLinear
from trigan.networks.shapes import ImageSpec, require_supported
from trigan.networks.weight_norm import WeightNormLinear


@component("classifier/mlp@1")
@dataclass(frozen=True)
class MLP:
    """Pixels -> hidden layers with ReLU -> logits; ``embed`` is the last hidden layer, before its noise.

    Attributes:
        widths: of the hidden layers, input side first, each >= 1.
        input_noise: standard deviation of the noise on the pixels in training, >= 0; 0.6 on [-1, 1] equals the paper's
            0.3 on [0, 1].
        hidden_noise: standard deviation of the noise after each hidden layer, >= 0.
        direction_std: standard deviation of the weights' initial directions, > 0; 0.1 in the paper's code.
    """

    widths: Sequence[int] = (1000, 500, 250, 250, 250)
    input_noise: float = 0.6
    hidden_noise: float = 0.5
    direction_std: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        require(bool(self.widths), "classifier.widths", [], "the widths of one hidden layer or more")
        for width in self.widths:
            require_at_least("classifier.widths", width, 1)
        for name in ("input_noise", "hidden_noise"):
            std = getattr(self, name)
            require(0 <= std < float("inf"), f"classifier.{name}", std, "a standard deviation of at least 0")
        require_std("classifier.direction_std", self.direction_std)

    def __call__(self, spec: ImageSpec) -> Classifier:
        """A new network, 1.54 M parameters by default on 28x28 grey images."""
        require_supported(spec)
        layers: list[nn.Module] = [nn.Flatten(), GaussianNoise(self.input_noise)]
        inputs = spec.channels * spec.size**2
        for number, width in enumerate(self.widths):
            if number:
                layers.append(GaussianNoise(self.hidden_noise))
            layers += [WeightNormLinear(inputs, width, self.direction_std), nn.ReLU()]
            inputs = width
        head = NoisyLinear(inputs, spec.classes, self.hidden_noise)
        nn.init.normal_(head.weight, 0.0, 0.01)
        nn.init.zeros_(head.bias)
        return Classifier(nn.Sequential(*layers), head)
