"""Early-learning regularisation: its averages for each image, against a plain loop."""

import pytest
import torch
import torch.nn.functional as F

from trigan.datasets.augmentation import NoAugmentation
from trigan.datasets.inputs import Input
from trigan.datasets.mixing import MixUp
from trigan.datasets.stream import BatchStream
from trigan.errors import ConfigError
from trigan.losses.label_noise_losses import EarlyLearning
from trigan.rng import hash64
from trigan.training.fit import TrainerSettings
from trigan.training.optimizers import SGD, Constant
from trigan.training.stages.label_memory import TargetAverages

from .tiny import built, classifier_stage, fitted, inputs_for, recipe

DOUBLE = TrainerSettings(precision="64-true")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_fit_equals_a_plain_loop(accumulate: int) -> None:
    """18 images in batches of 16: some batches have an image twice, whose average moves by its mean prediction."""
    optimizer = SGD(0.1, momentum=0.0, weight_decay=0.0, schedule=Constant())
    stage = classifier_stage(
        7, criterion=EarlyLearning(2.0, 0.6), augmentation=NoAugmentation(), optimizer=optimizer, ema=None
    )
    labelled = inputs_for(stage)["labelled"]
    labelled = Input(labelled.images[:18], labelled.known_labels[:18])
    network = built(stage, {"labelled": labelled}, DOUBLE).networks["classifier"]
    network.requires_grad_(True).train()
    stream = BatchStream(labelled.images, labelled.labels, 16, hash64(0, "labelled"))
    targets = torch.zeros(len(labelled), 10).double()
    twice = 0
    for step in range(7):
        images, labels = stream.at(step)
        numbers, shown = stream.indices(step), []
        twice += len(numbers) - len(numbers.unique())
        network.zero_grad()
        for part in range(accumulate):
            rows = slice(16 // accumulate * part, 16 // accumulate * (part + 1))
            logits = network(images[rows].double())
            p = logits.softmax(1).clamp(1e-4, 1 - 1e-4)
            shown.append((p / p.sum(1, keepdim=True)).detach())
            moved = 0.6 * targets[numbers[rows]] + 0.4 * shown[-1]
            loss = F.cross_entropy(logits, labels[rows]) + 2.0 * (1 - (moved * p).sum(1)).log().mean()  # type: ignore[index]
            (loss / accumulate).backward()
        with torch.no_grad():
            for weight in network.parameters():
                weight -= 0.1 * weight.grad  # type: ignore[operator]
        p = torch.cat(shown)
        for number in numbers.unique():
            targets[number] = 0.6 * targets[number] + 0.4 * p[numbers == number].mean(0)
    assert twice > 0
    module, _ = fitted(stage, TrainerSettings(precision="64-true", accumulate=accumulate), {"labelled": labelled})
    for name, weight in network.named_parameters():
        torch.testing.assert_close(dict(module.networks["classifier"].named_parameters())[name], weight)
    (memory,) = module.memories
    assert isinstance(memory, TargetAverages)
    memory._update()  # what the last step showed
    torch.testing.assert_close(memory.values, targets)


def test_other_criteria_keep_no_state_and_mixtures_are_refused() -> None:
    module = built(classifier_stage(), inputs_for(classifier_stage()))
    assert len(module.memories) == 0
    with pytest.raises(ConfigError, match=r"early_learning .* set mix=none"):
        recipe(criterion=EarlyLearning(), mix=MixUp(0.5))
