import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trigan.errors import DataError
from trigan.networks.batchnorm import BatchNorm2d, frozen_statistics, recalibrate_batch_norm

torch.set_num_threads(1)


def images(n: int = 12, channels: int = 3) -> Tensor:
    return torch.randn(n, channels, 4, 5, generator=torch.Generator().manual_seed(n)) * 3 + 2


def test_it_is_torchs_batch_norm_in_one_process() -> None:
    ours, reference = BatchNorm2d(3), nn.BatchNorm2d(3)
    reference.weight.data, ours.weight.data = torch.rand(3).repeat(2, 1)
    for _ in range(3):
        assert torch.equal(ours(images()), reference(images()))
    assert torch.equal(ours.running_mean, reference.running_mean)
    assert torch.equal(ours.running_var, reference.running_var)
    ours.eval(), reference.eval()
    assert torch.equal(ours(images(7)), reference(images(7)))


def test_the_state_has_the_usual_names() -> None:
    assert list(BatchNorm2d(3).state_dict()) == ["weight", "bias", "running_mean", "running_var"]


def test_frozen_statistics_normalise_by_the_batch_without_an_update() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(BatchNorm2d(3), nn.Conv2d(3, 2, 1), BatchNorm2d(2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with frozen_statistics(network), frozen_statistics(network):
        frozen = network(images())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(frozen, network(images()))
    assert not torch.equal(network[0].running_mean, before["0.running_mean"])


def test_statistics_are_updated_again_after_an_error() -> None:
    layer = BatchNorm2d(3)

    with pytest.raises(ZeroDivisionError), frozen_statistics(layer):
        _ = 1 / 0
    layer(images())
    assert layer.running_mean.any()


def test_recalibration_pools_uneven_batches() -> None:
    layer = BatchNorm2d(3)
    layer.running_mean += 100
    batches = [images(4), images(9) * 5, images(2) - 7]
    recalibrate_batch_norm(layer, iter(batches))
    rows = torch.cat(batches).double().numpy()
    np.testing.assert_allclose(layer.running_mean, rows.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(layer.running_var, rows.var((0, 2, 3), ddof=1), rtol=1e-6)
    assert not layer.training


def test_recalibration_normalises_by_the_batch_with_all_else_in_eval_mode() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(BatchNorm2d(3), nn.Dropout(0.9), nn.Conv2d(3, 2, 1), BatchNorm2d(2))
    network[0].running_var += 50  # must have no effect
    recalibrate_batch_norm(network, [images()], network)
    x = images()
    normalized = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
    second = network[2](normalized)
    torch.testing.assert_close(network[3].running_mean, second.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network[3].running_var, second.var((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert not any(module.training for module in network.modules())
    network.train()
    before = network[0].running_mean.clone()
    network(images(5))
    assert not torch.equal(network[0].running_mean, before)  # they are updated again


def test_recalibration_of_a_part_of_the_network_and_of_no_images() -> None:
    network = nn.ModuleDict({"used": BatchNorm2d(3), "unused": BatchNorm2d(3)})
    recalibrate_batch_norm(network, [images()], lambda x: network["used"](x))
    assert network["used"].running_mean.any()
    assert not network["unused"].running_mean.any()
    with pytest.raises(DataError, match="no images"):
        recalibrate_batch_norm(network, [])
