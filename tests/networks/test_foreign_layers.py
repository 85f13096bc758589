"""torch's layers in a user's network: replaced by ours or refused, so that averages, recalibration and resumes hold."""

import pytest
import torch
from torch import Tensor, nn

from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d, BatchNormNd, recalibrate_batch_norm
from trigan.networks.foreign_layers import check_training_pass, with_our_layers
from trigan.networks.random_layers import Dropout
from trigan.networks.weight_norm import apply_spectral_norm

torch.set_num_threads(1)


def trained_norm(norm: nn.Module) -> nn.Module:
    """With weights and statistics of its own."""
    with torch.no_grad():
        for value in norm.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=torch.Generator().manual_seed(3)) + 0.5)
    return norm


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.BatchNorm1d(3), (6, 3)),
        (nn.BatchNorm1d(3, eps=1e-3), (6, 3, 7)),
        (nn.BatchNorm2d(3, momentum=0.3), (6, 3, 4, 4)),
        (nn.BatchNorm3d(3), (6, 3, 2, 4, 4)),
    ],
    ids=str,
)
def test_a_batch_norm_becomes_ours_with_the_same_outputs(norm: nn.Module, shape: tuple[int, ...]) -> None:
    theirs, x = nn.Sequential(trained_norm(norm)), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    reference = nn.Sequential(norm)
    expected = reference(x), reference.eval()(x)
    reference.train()
    names = [name for name in theirs.state_dict() if not name.endswith("num_batches_tracked")]
    with torch.no_grad():  # the reference has moved its statistics once
        ours = with_our_layers("classifier", nn.Sequential(trained_norm(type(norm)(3, norm.eps, norm.momentum))))
    assert isinstance(ours[0], BatchNorm2d)
    assert list(ours.state_dict()) == names
    torch.testing.assert_close(ours(x), expected[0])
    torch.testing.assert_close(ours.eval()(x), expected[1])
    recalibrate_batch_norm(ours, [x[:4], x[4:]])
    dims = [0, *range(2, x.ndim)]
    torch.testing.assert_close(ours[0].running_mean, x.mean(dims))
    torch.testing.assert_close(ours[0].running_var, x.var(dims))


def test_nested_shared_and_outermost_layers() -> None:
    shared = nn.BatchNorm2d(2)
    network = with_our_layers("x", nn.Sequential(shared, nn.Sequential(nn.Dropout(0.3), shared), nn.Conv2d(2, 2, 1)))
    assert network[0] is network[1][1]
    assert isinstance(network[1][0], Dropout)
    assert network[1][0].p == 0.3
    assert isinstance(with_our_layers("x", nn.BatchNorm1d(2)), BatchNormNd)
    plain = nn.Sequential(nn.Linear(2, 2), BatchNorm2d(2), nn.GroupNorm(1, 2), nn.InstanceNorm2d(2), nn.Dropout2d(0.0))
    layers = list(plain.modules())
    assert with_our_layers("x", plain) is plain
    assert list(plain.modules()) == layers


class NormAndReLU(nn.BatchNorm2d):
    """Like timm's: batch norm and activation in one module."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


def test_a_known_batch_norm_with_an_activation_keeps_it() -> None:
    theirs = trained_norm(NormAndReLU(3))
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(with_our_layers("", theirs, (NormAndReLU,))(x), theirs(x))


def hooked() -> nn.Module:
    norm = nn.BatchNorm2d(2)
    norm.register_forward_hook(lambda layer, inputs, output: output + 1)
    return norm


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.SyncBatchNorm(2), "is a SyncBatchNorm, which cannot be replaced"),
        (nn.LazyBatchNorm2d(), "is a LazyBatchNorm2d, which cannot be replaced"),
        (nn.BatchNorm2d(2, affine=False), "is a BatchNorm2d, which cannot be replaced"),
        (nn.BatchNorm2d(2, track_running_stats=False), "is a BatchNorm2d, which cannot be replaced"),
        (nn.BatchNorm1d(2, momentum=None), "is a BatchNorm1d, which cannot be replaced"),
        (NormAndReLU(2), "is a NormAndReLU, which cannot be replaced"),
        (hooked(), "is a BatchNorm2d with hooks"),
        (nn.InstanceNorm2d(2, track_running_stats=True), "is an InstanceNorm2d with running statistics"),
        (nn.Dropout2d(0.1), "is a Dropout2d, whose random numbers"),
        (nn.AlphaDropout(0.1), "is a AlphaDropout, whose random numbers"),
        (nn.RReLU(), "is a RReLU, whose random numbers"),
        (nn.LSTM(2, 2, 2, dropout=0.1), "is a LSTM with dropout of its own"),
        (nn.MultiheadAttention(2, 1, dropout=0.1), "is a MultiheadAttention with dropout of its own"),
    ],
    ids=lambda case: case if isinstance(case, str) else type(case).__name__,
)
def test_what_cannot_be_replaced_is_refused_by_its_name(layer: nn.Module, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^classifier: its layer 1.0 {message}") as caught:
        with_our_layers("classifier", nn.Sequential(nn.ReLU(), nn.Sequential(layer)))
    assert "\n" not in str(caught.value)


class Own(nn.Module):
    """A layer that torch does not have."""

    def __init__(self, draws: bool) -> None:
        super().__init__()
        self.draws = draws
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.draws:
            return nn.functional.dropout(x, 0.5, self.training)
        if self.training:
            self.mean.lerp_(x.mean(), 0.1)
        return x - self.mean


def test_randomness_and_state_outside_of_our_layers_are_found() -> None:
    x = torch.linspace(-1, 2, 24).view(2, 3, 2, 2)
    good = nn.Sequential(nn.Conv2d(3, 2, 1), BatchNorm2d(2), Dropout(0.5))
    spectral = nn.Sequential(nn.Conv2d(3, 40, 2))
    apply_spectral_norm(spectral)  # the average has the network's singular vectors
    before = torch.get_rng_state()
    state = {name: value.clone() for name, value in good.state_dict().items()}
    assert check_training_pass("classifier", good, x).shape == (2, 2, 2, 2)
    assert all(torch.equal(value, state[name]) for name, value in good.state_dict().items())
    with pytest.raises(ConfigError, match=r"^classifier draws random numbers in training"):
        check_training_pass("classifier", nn.Sequential(Own(draws=True)), x)
    with pytest.raises(ConfigError, match=r"^classifier changes its buffer 0\.mean in training"):
        check_training_pass("classifier", nn.Sequential(Own(draws=False)), x)
    assert check_training_pass("classifier", spectral, x).shape == (2, 40, 1, 1)
    assert torch.equal(before, torch.get_rng_state())
