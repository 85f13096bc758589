"""Random layers: their effect in training, the source of their numbers, and evaluation without randomness."""

import copy

import pytest
import torch
from torch import nn

from trigan.networks.random_layers import (
    Dropout,
    GaussianNoise,
    NoisyLinear,
    RandomLayer,
    random_layers,
    use_random_source,
)
from trigan.rng import Draws

torch.set_num_threads(1)
ROWS = torch.linspace(-1, 1, 24).view(8, 3)


def draws(start: int = 0, stop: int = 8, step: int = 0) -> Draws:
    return Draws(seed=5, step=step, total=8, start=start, stop=stop)


def numbers(layer: RandomLayer, rows: slice = slice(0, 8), step: int = 0) -> torch.Tensor:
    with use_random_source({"c.layer": layer}, lambda name, n: draws(rows.start, rows.stop, step)):
        return layer(ROWS[rows])


@pytest.mark.parametrize("layer", [GaussianNoise(0.5), Dropout(0.5)], ids=["noise", "dropout"])
def test_a_row_has_the_same_numbers_in_any_share_of_the_batch(layer: RandomLayer) -> None:
    expected = numbers(layer)
    assert torch.equal(torch.cat([numbers(layer, slice(0, 3)), numbers(layer, slice(3, 8))]), expected)
    assert torch.equal(numbers(layer), expected)
    assert not torch.equal(numbers(layer, step=1), expected)


def test_noise_is_std_times_the_draws() -> None:
    expected = ROWS + 0.5 * draws().normal("layer", 3)
    torch.testing.assert_close(numbers(GaussianNoise(0.5)), expected, rtol=0, atol=0)


def test_dropout_keeps_the_mean_and_drops_the_share() -> None:
    layer, ones = Dropout(0.3), torch.ones(200, 500)
    torch.manual_seed(0)
    dropped = layer(ones)
    assert torch.equal(dropped.unique(), torch.tensor([0.0, 1 / 0.7]))
    assert float((dropped == 0).float().mean()) == pytest.approx(0.3, abs=0.005)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.01)


def test_without_a_source_the_numbers_are_torchs() -> None:
    torch.manual_seed(3)
    noisy = GaussianNoise(2.0)(ROWS)
    torch.manual_seed(3)
    torch.testing.assert_close(noisy, ROWS + 2.0 * torch.randn(8, 3))


@pytest.mark.parametrize("layer", [GaussianNoise(0.5), Dropout(0.5), NoisyLinear(3, 2, 0.5)])
def test_evaluation_and_strength_zero_add_no_noise(layer: nn.Module) -> None:
    state = torch.get_rng_state()
    first, again = layer.eval()(ROWS), layer(ROWS)
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
    assert GaussianNoise(0.0)(ROWS) is ROWS
    assert Dropout(0.0)(ROWS) is ROWS


def test_the_noise_of_a_linear_layer_is_on_its_input() -> None:
    layer = NoisyLinear(3, 2, 0.5)
    with use_random_source(random_layers({"c": layer}), lambda name, n: draws()):
        torch.testing.assert_close(layer(ROWS), (ROWS + 0.5 * draws().normal("layer", 3)) @ layer.weight.T + layer.bias)


def test_layers_have_names_and_no_source_after_an_error() -> None:
    network = nn.Sequential(GaussianNoise(0.1), nn.Sequential(Dropout(0.1), nn.ReLU()))
    layers = random_layers({"classifier": network})
    assert list(layers) == ["classifier.0", "classifier.1"]
    calls = []

    def source(name: str, rows: int) -> Draws:
        calls.append((name, rows))
        return draws()

    with pytest.raises(RuntimeError, match="shape"), use_random_source(layers, source):
        nn.Sequential(network, nn.Linear(5, 1))(ROWS)
    assert calls == [("classifier.0", 8), ("classifier.1", 8)]
    assert all(layer.source is None for layer in layers.values())
    assert all(layer.source is None for layer in copy.deepcopy(network).modules() if isinstance(layer, RandomLayer))


def test_half_precision_stays_half() -> None:
    rows = ROWS.bfloat16()
    assert GaussianNoise(1.0)(rows).dtype == Dropout(0.5)(rows).dtype == torch.bfloat16
