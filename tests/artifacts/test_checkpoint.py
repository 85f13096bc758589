"""Checkpoints are atomic, verified and plain data, and the previous one is kept."""

import errno
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from trigan.artifacts.checkpoint import AtomicCheckpointIO, checkpoint_path, load_latest
from trigan.errors import ArtifactError


def content(step: int) -> dict[str, Any]:
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {"step": step, "state_dict": network.state_dict(), "optimizer": optimizer.state_dict(), "betas": (0.5, 0.9)}


def save(directory: Path, *steps: int) -> None:
    for step in steps:
        AtomicCheckpointIO().save_checkpoint(content(step), checkpoint_path(directory, step))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_loaded_checkpoint_equals_the_saved_one(tmp_path: Path) -> None:
    expected = content(7)
    path = checkpoint_path(tmp_path / "new", 7)
    assert path.name == "step-000000007.ckpt"
    AtomicCheckpointIO().save_checkpoint(expected, path)
    got = AtomicCheckpointIO().load_checkpoint(str(path))
    assert got["step"] == 7
    assert got["betas"] == (0.5, 0.9)
    torch.testing.assert_close(dict(got["state_dict"]), dict(expected["state_dict"]), rtol=0, atol=0)
    torch.testing.assert_close(got["optimizer"]["state"], expected["optimizer"]["state"], rtol=0, atol=0)
    torch.load(path, weights_only=True)


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    save(tmp_path, 500, 1000, 1500)
    AtomicCheckpointIO().save_checkpoint(content(1), tmp_path / "last.ckpt")  # not numbered: not rotated
    assert names(tmp_path) == [
        "last.ckpt",
        "last.ckpt.sha256",
        "step-000001000.ckpt",
        "step-000001000.ckpt.sha256",
        "step-000001500.ckpt",
        "step-000001500.ckpt.sha256",
    ]
    latest = load_latest(tmp_path)
    assert latest is not None
    assert latest["step"] == 1500


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "harm", ["flip", "cut", "no checksum", "empty checksum", "flipped checksum", "another step", "another stage"]
)
def test_a_damaged_checkpoint_falls_back_with_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    save(tmp_path, 10, 20)
    newest = checkpoint_path(tmp_path, 20)
    sidecar = newest.with_name(newest.name + ".sha256")
    if harm == "flip":
        flip(newest)
    elif harm == "cut":
        newest.write_bytes(newest.read_bytes()[:100])
    elif harm == "no checksum":
        sidecar.unlink()
    elif harm == "flipped checksum":
        sidecar.write_bytes(b"\xff" + sidecar.read_bytes()[1:])
    elif harm.startswith("another"):
        other = (
            checkpoint_path(tmp_path / "b" / "checkpoints", 20) if "stage" in harm else checkpoint_path(tmp_path, 10)
        )
        if "stage" in harm:
            save(other.parent, 20)
        newest.write_bytes(other.read_bytes())
        sidecar.write_bytes(other.with_name(other.name + ".sha256").read_bytes())
    else:
        sidecar.write_text("")
    with caplog.at_level(logging.WARNING):
        latest = load_latest(tmp_path)
    assert latest is not None
    assert latest["step"] == 10
    assert len(caplog.records) == 1
    assert newest.name in caplog.text
    with pytest.raises(ArtifactError):
        AtomicCheckpointIO().load_checkpoint(newest)


def test_no_valid_checkpoint_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_latest(tmp_path) is None
    assert load_latest(tmp_path / "absent") is None
    save(tmp_path, 10, 20)
    for step in (10, 20):
        flip(checkpoint_path(tmp_path, step))
    assert load_latest(tmp_path) is None
    assert len(caplog.records) == 2


def test_disk_full_leaves_the_previous_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 10, 20)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(ArtifactError, match="disk is full"):
            save(tmp_path, 30)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    latest = load_latest(tmp_path)
    assert latest is not None
    assert latest["step"] == 20


@pytest.mark.parametrize("foreign", [np.float64(1.0), Path("x"), np.zeros(2), object(), lambda: 1])
def test_what_weights_only_refuses_is_refused_on_saving(tmp_path: Path, foreign: object) -> None:
    with pytest.raises(TypeError, match=r"checkpoint\['a'\]\[1\]\['b'\]"):
        AtomicCheckpointIO().save_checkpoint({"a": [0, {"b": foreign}]}, checkpoint_path(tmp_path, 1))
    assert names(tmp_path) == []


class Tiny(LightningModule):
    """One layer trained by Lightning itself, so that its own checkpoint uses this plugin."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        return self.layer(batch).pow(2).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def collate(rows: list[tuple[torch.Tensor]]) -> torch.Tensor:
    return torch.stack([row for (row,) in rows])


def test_lightning_saves_and_resumes_through_it(tmp_path: Path) -> None:
    def trainer(epochs: int) -> Trainer:
        return Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            plugins=[AtomicCheckpointIO()],
        )

    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 2)), collate_fn=collate)
    first = trainer(1)
    first.fit(Tiny(), batches)
    path = checkpoint_path(tmp_path, 4)
    first.save_checkpoint(path)
    assert names(tmp_path) == [path.name, path.name + ".sha256"]
    second = trainer(2)
    second.fit(Tiny(), batches, ckpt_path=str(path))
    assert second.global_step == 8
    flip(path)
    with pytest.raises(ArtifactError, match="checksum"):
        trainer(2).fit(Tiny(), batches, ckpt_path=str(path))
