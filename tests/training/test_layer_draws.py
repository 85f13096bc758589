"""The noise of a network's own layers depends on the step, the row and the pass alone."""

from dataclasses import replace

import torch

from trigan.networks.classifiers.mlp import MLP
from trigan.training.fit import TrainerSettings
from trigan.training.step import TrainingStep

from .tiny import DESCENT, built, classifier_stage, copied, fitted, same

NOISY = MLP((12, 8))


def test_a_fit_does_not_use_torchs_global_generator() -> None:
    ends = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        module, _ = fitted(classifier_stage(3, classifier=NOISY))
        assert torch.equal(torch.get_rng_state(), before)
        ends.append(copied(module.state_dict()))
    assert same(*ends)
    quiet, _ = fitted(classifier_stage(3, classifier=replace(NOISY, input_noise=0.0, hidden_noise=0.0)))
    assert not same(copied(quiet.state_dict()), ends[0])


def test_micro_batches_have_the_noise_of_the_whole_batch() -> None:
    """Without batch norm, gradients summed over micro-batches are those of the batch, noise and all."""
    stage = classifier_stage(2, classifier=NOISY, optimizer=DESCENT)
    ends = [fitted(stage, TrainerSettings("64-true", accumulate=parts))[0] for parts in (1, 2, 4)]
    whole, *parts = [copied(module.networks["classifier"].state_dict()) for module in ends]
    for part in parts:
        for name, value in whole.items():
            torch.testing.assert_close(part[name], value, rtol=0, atol=1e-9)


def test_each_pass_layer_and_step_has_numbers_of_its_own() -> None:
    module = built(classifier_stage(classifier=NOISY))

    def numbers(step: TrainingStep, layer: str = "classifier.a") -> torch.Tensor:
        return step.layer_draws(layer, 16).normal("layer", 5)

    step = TrainingStep(module.step_context, 0, 0, False)
    first, second, other = numbers(step), numbers(step), numbers(step, "classifier.b")
    later = numbers(TrainingStep(module.step_context, 1, 0, False))
    assert len({tuple(draw.flatten().tolist()) for draw in (first, second, other, later)}) == 4
    assert torch.equal(numbers(TrainingStep(module.step_context, 0, 0, False)), first)
