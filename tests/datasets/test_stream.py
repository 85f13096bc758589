import pytest
import torch

from trigan import rng
from trigan.datasets.stream import BatchStream, to_float
from trigan.errors import DataError

IMAGES = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 1, 8, 8).contiguous()
LABELS = torch.arange(10)


def test_to_float_spans_minus_one_to_one() -> None:
    values = to_float(torch.arange(256, dtype=torch.uint8))
    assert torch.allclose(values.double(), torch.arange(256).double() / 127.5 - 1, atol=2e-7, rtol=0)
    assert values[0] == -1
    assert values[-1] == 1
    assert torch.equal(values, -values.flip(0))


@pytest.mark.parametrize("batch", [1, 3, 4, 10, 27])
def test_rows_follow_the_documented_positions(batch: int) -> None:
    stream = BatchStream(IMAGES, LABELS, batch, seed=5)
    for step in (0, 7, 1, 100):
        images, labels = stream.at(step)
        expected = []
        for p in range(step * batch, (step + 1) * batch):
            expected.append(int(rng.permutation(10, "batches", 5, p // 10)[p % 10]))
        assert labels.tolist() == expected
        assert torch.equal(images, to_float(IMAGES[labels]))


def test_each_epoch_shows_each_image_once_in_another_order() -> None:
    stream = BatchStream(IMAGES, LABELS, 5, seed=0)
    epochs = [torch.cat([stream.at(2 * e)[1], stream.at(2 * e + 1)[1]]).tolist() for e in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("weights", [None, torch.arange(10.0)])
def test_two_ranks_equal_one_process(weights: torch.Tensor | None) -> None:
    whole = BatchStream(IMAGES, LABELS, 16, 3, weights)
    for step in (0, 3):
        halves = [BatchStream(IMAGES, LABELS, 16, 3, weights).at(step, *rows) for rows in ((0, 8), (8, 16))]
        assert torch.equal(whole.at(step)[0], torch.cat([half[0] for half in halves]))
        assert torch.equal(whole.at(step)[1], torch.cat([half[1] for half in halves]))
        assert torch.equal(whole.at(step, 4, 9)[1], whole.at(step)[1][4:9])


def test_weights_are_the_rates() -> None:
    weights = torch.tensor([0.0, 1.0, 3.0] + [0.0] * 7)
    seen = torch.cat([BatchStream(IMAGES, LABELS, 500, 0, weights).at(step)[1] for step in range(20)])
    counts = torch.bincount(seen, minlength=10)
    assert counts[1] + counts[2] == 10000
    assert int(counts[2]) == pytest.approx(7500, abs=150)


def test_without_labels_and_with_empty_slices() -> None:
    stream = BatchStream(IMAGES, None, 4, 0)
    assert stream.at(0)[1] is None
    assert stream.at(0, 2, 2)[0].shape == (0, 1, 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": IMAGES[:0], "labels": None}, "1 or more"),
        ({"batch": 0}, "1 or more"),
        ({"labels": LABELS[:3]}, "10 images but 3 labels"),
        ({"weights": torch.zeros(10)}, "finite sum"),
        ({"weights": torch.ones(9)}, "10 numbers"),
        ({"weights": -torch.ones(10)}, "none negative"),
    ],
)
def test_bad_streams_are_refused(change: dict[str, object], message: str) -> None:
    settings = {"images": IMAGES, "labels": LABELS, "batch": 4, "seed": 0, "weights": None} | change
    with pytest.raises(DataError, match=message):
        BatchStream(**settings)  # type: ignore[arg-type]


def test_rows_outside_the_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="not inside"):
        BatchStream(IMAGES, LABELS, 4, 0).at(0, 2, 5)


def test_parts_come_in_order() -> None:
    """Each is shuffled for itself, in another order in every epoch; the first as it would be alone."""
    stream = BatchStream(IMAGES, LABELS, 5, seed=2, parts=(3, 1, 6))
    epochs = [torch.cat([stream.at(2 * e)[1], stream.at(2 * e + 1)[1]]).tolist() for e in range(4)]
    for epoch in epochs:
        assert sorted(epoch[:3]) == [0, 1, 2]
        assert epoch[3] == 3
        assert sorted(epoch[4:]) == [4, 5, 6, 7, 8, 9]
    assert len({tuple(epoch) for epoch in epochs}) > 2
    assert epochs[1][:3] == rng.permutation(3, "batches", 2, 1).tolist()
    one = BatchStream(IMAGES, LABELS, 5, seed=2, parts=(10,))
    assert torch.equal(one.at(3)[1], BatchStream(IMAGES, LABELS, 5, seed=2).at(3)[1])


@pytest.mark.parametrize("parts", [(3, 6), (3, 0, 7), (11, -1)])
def test_parts_that_do_not_add_up_are_refused(parts: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="must be sizes that add up to 10"):
        BatchStream(IMAGES, LABELS, 5, 0, parts=parts)
    with pytest.raises(DataError, match="go without weights"):
        BatchStream(IMAGES, LABELS, 5, 0, torch.ones(10), parts=(4, 6))


@pytest.mark.parametrize("weights", [None, torch.arange(10.0)])
def test_any_rows_of_a_batch_can_be_picked(weights: torch.Tensor | None) -> None:
    stream = BatchStream(IMAGES, LABELS, 8, 3, weights)
    whole, rows = stream.at(4), torch.tensor([7, 0, 0, 3])
    picked = stream.pick(4, rows)
    assert torch.equal(picked[0], whole[0][rows])
    assert torch.equal(picked[1], whole[1][rows])
