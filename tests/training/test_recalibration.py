"""Which images give C's batch-norm statistics when the classes of unlabelled images have other frequencies."""

import copy

import torch
from torch import Tensor, nn

from trigan.cost import count_flops, uncounted
from trigan.datasets.inputs import Input
from trigan.datasets.stream import to_float
from trigan.networks.batchnorm import BatchNorm2d
from trigan.training.recalibration import recalibrate_classifier, recalibrate_on_real

DARK, BRIGHT = 50, 200


class Threshold(nn.Module):
    """Class 1 above half a standard deviation over the mean brightness of the statistics' images."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.weigh = BatchNorm2d(1), nn.Linear(1, 2)
        self.weigh.weight.data, self.weigh.bias.data = torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.0])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.weigh(self.norm(x).mean((2, 3)))
        return logits


def images(dark: int, bright: int) -> Tensor:
    levels = torch.tensor([DARK] * dark + [BRIGHT] * bright, dtype=torch.uint8)
    return levels[:, None, None, None].expand(-1, 1, 8, 8).clone()


LABELLED = Input(images(20, 20), torch.tensor([0] * 20 + [1] * 20))


def test_statistics_are_of_all_real_images_where_classes_have_equal_frequencies() -> None:
    network, pool = Threshold(), images(300, 310)
    assert recalibrate_on_real(network, pool, LABELLED, 0) == 610
    expected = Threshold()
    recalibrate_classifier(expected, pool, 0)
    assert torch.equal(network.norm.running_mean, expected.norm.running_mean)
    assert torch.equal(network.norm.running_var, expected.norm.running_var)


def test_statistics_are_of_labelled_images_where_a_class_of_the_pool_is_common() -> None:
    network, pool = Threshold(), images(15, 285)
    recalibrate_classifier(network, pool, 0)
    assert network(to_float(images(0, 1))).argmax() == 0, "a bright image is no longer of class 1"
    assert recalibrate_on_real(network, pool, LABELLED, 0) == 40
    assert network(to_float(images(0, 1))).argmax() == 1
    expected = Threshold()
    recalibrate_classifier(expected, LABELLED.images, 0)
    assert torch.equal(network.norm.running_mean, expected.norm.running_mean)
    assert not network.training


def test_sampled_images_give_no_statistics() -> None:
    samples = Input(LABELLED.images, LABELLED.labels, sampled=True)
    assert recalibrate_on_real(Threshold(), images(15, 285), samples, 0) == 300


def test_the_check_is_not_counted() -> None:
    network, pool = Threshold(), images(15, 285)
    other = copy.deepcopy(network)
    alone = count_flops(lambda: recalibrate_classifier(network, pool, 0))
    assert alone == count_flops(lambda: recalibrate_on_real(other, pool, LABELLED, 0)) > 0


def test_uncounted_work_between_counted_work() -> None:
    matrix = torch.ones(4, 4)

    def work() -> None:
        matrix @ matrix
        with uncounted():
            matrix @ matrix
        matrix @ matrix

    assert count_flops(work) == 2 * count_flops(lambda: matrix @ matrix)
