"""Images on the host: choosing rows reads nothing, and whatever reads gives what a plain tensor gives."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from trigan.datasets import host_images
from trigan.datasets.host_images import HostImages, TensorRows
from trigan.datasets.inputs import image_batches
from trigan.datasets.stream import BatchStream
from trigan.errors import DataError
from trigan.identity import tensor_digest

PLAIN = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class CountedRows(TensorRows):
    """Counts the images that were read."""

    read_images = 0

    def read(self, rows: np.ndarray) -> Tensor:
        self.read_images += len(rows)
        return super().read(rows)


@pytest.fixture
def rows() -> CountedRows:
    return CountedRows(PLAIN)


@pytest.fixture
def images(rows: CountedRows) -> HostImages:
    return HostImages(rows, PLAIN.shape[1:])


ORDER = torch.randperm(50, generator=torch.Generator().manual_seed(1))
CHOICES: dict[str, Callable[[Tensor], Tensor]] = {
    "order": lambda x: x[ORDER],
    "mask": lambda x: x[ORDER > 20],
    "list": lambda x: x[[4, 1, 1, -1]],
    "slice": lambda x: x[10:40:3],
    "index_select": lambda x: x.index_select(0, ORDER[:7]),
    "choice of a choice": lambda x: x[ORDER][5:30][ORDER[ORDER < 25]],
    "cat": lambda x: torch.cat([x[30:], x[:0], x[:10]]),
    "cat beside nothing of another origin": lambda x: torch.cat([x[:9], torch.empty(0, 3, 8, 8, dtype=torch.uint8)]),
    "split": lambda x: x.split(7)[-1],
    "tensor_split": lambda x: x.tensor_split(4)[1],
    "device": lambda x: x.to("cpu").cpu().detach().contiguous() if isinstance(x, HostImages) else x,
}
READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "float": lambda x: x.float(),
    "one image": lambda x: x[3],
    "pixels": lambda x: x[:, 0, 2:4],
    "flipped": lambda x: x.flip(-1),
    "flat": lambda x: x.flatten(1),
    "numpy": lambda x: torch.from_numpy(x.movedim(1, 3).numpy()),
    "cat with others": lambda x: torch.cat([x, PLAIN]),
    "clone": lambda x: x.clone(),
}


@pytest.mark.parametrize("name", CHOICES)
def test_rows_are_chosen_without_reading(name: str, images: HostImages, rows: CountedRows) -> None:
    chosen = CHOICES[name](images)
    assert isinstance(chosen, HostImages)
    assert rows.read_images == 0
    assert chosen.shape == CHOICES[name](PLAIN).shape
    assert torch.equal(chosen.read(), CHOICES[name](PLAIN))


@pytest.mark.parametrize("name", READINGS)
def test_other_operations_read(name: str, images: HostImages) -> None:
    result = READINGS[name](images)
    assert type(result) is Tensor
    assert torch.equal(result, READINGS[name](PLAIN))


def test_batches_and_digest_are_those_of_a_tensor(images: HostImages, rows: CountedRows) -> None:
    given, plain = BatchStream(images, None, 12, 0), BatchStream(PLAIN, None, 12, 0)
    for step in range(6):
        assert torch.equal(given.at(step, 3, 9)[0], plain.at(step, 3, 9)[0])
    assert rows.read_images == 6 * 6
    for one, other in zip(
        *(image_batches(x, torch.device("cpu"), torch.float32) for x in (images, PLAIN)), strict=True
    ):
        assert torch.equal(one, other)
    assert tensor_digest(images) == tensor_digest(PLAIN)


def test_one_reading_is_bounded(images: HostImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_images, "LARGEST_READ", 20 * 3 * 8 * 8)
    assert len(images[:20].float()) == 20
    with pytest.raises(DataError, match=r"21 images of 0\.0 GB would be read into memory at once"):
        images[:21].float()
