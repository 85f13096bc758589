import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from trigan.datasets.sources import cache as room
from trigan.datasets.sources.cache import cached
from trigan.datasets.types import ImageDataset
from trigan.errors import ArtifactError, DataError, DiskFullError


def same(a: ImageDataset, b: ImageDataset) -> bool:
    tests = (a.official_test is None) == (b.official_test is None)
    tensors = torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and torch.equal(a.digests, b.digests)
    return tests and tensors and (a.name, a.class_names, a.fingerprint) == (b.name, b.class_names, b.fingerprint)


class Builder:
    def __init__(self, source: ImageDataset) -> None:
        self.source, self.calls = source, 0

    def __call__(self) -> ImageDataset:
        self.calls += 1
        return self.source


def test_built_once_and_equal(tmp_path: Path, with_test: ImageDataset) -> None:
    build = Builder(with_test)
    first, second = cached(tmp_path, ["a"], build), cached(tmp_path, ["a"], build)
    assert build.calls == 1
    assert same(first, second)
    assert torch.equal(second.official_test, with_test.official_test)
    cached(tmp_path, ["b"], build)
    assert build.calls == 2
    cached(None, ["a"], build)
    assert build.calls == 3
    assert {path.suffix for path in (tmp_path / "decoded").iterdir()} == {".lock", ".safetensors"}


def test_writing_to_a_mapped_source_leaves_the_file_alone(tmp_path: Path, digits: ImageDataset) -> None:
    cached(tmp_path, ["a"], lambda: digits)
    cached(tmp_path, ["a"], lambda: digits).images.zero_()
    build = Builder(digits)
    assert same(cached(tmp_path, ["a"], build), digits)
    assert build.calls == 0


def flip(path: Path, position: float) -> None:
    """Change one bit at a fraction of the file."""
    data = bytearray(path.read_bytes())
    data[int(position * (len(data) - 1))] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "damage",
    [
        *(lambda path, position=position: flip(path, position) for position in (0.0, 0.0005, 0.1, 0.5, 0.9, 1.0)),
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[:40]),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
    ],
)
def test_a_damaged_entry_is_rebuilt(tmp_path: Path, digits: ImageDataset, damage: object) -> None:
    build = Builder(digits)
    cached(tmp_path, ["a"], build)
    damage(next((tmp_path / "decoded").glob("*.safetensors")))  # type: ignore[operator]
    assert same(cached(tmp_path, ["a"], build), digits)
    assert same(cached(tmp_path, ["a"], build), digits)
    assert build.calls == 2


def test_an_entry_whose_fingerprint_is_not_its_own_is_rebuilt(tmp_path: Path, digits: ImageDataset) -> None:
    build = Builder(replace(digits, fingerprint="0" * 64))
    cached(tmp_path, ["a"], build)
    build.source = digits
    assert same(cached(tmp_path, ["a"], build), digits)


def test_a_failing_build_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> ImageDataset:
        raise DataError("no such images")

    with pytest.raises(DataError, match="no such images"):
        cached(tmp_path, ["a"], fail)
    assert not [path for path in (tmp_path / "decoded").iterdir() if path.suffix != ".lock"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), SafetensorError("I/O error: No space left on device")]
)
def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, digits: ImageDataset, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(room, "save_file", full)
    with pytest.raises(DiskFullError, match="the disk is full"):
        cached(tmp_path, ["a"], lambda: digits)
    assert not [path for path in (tmp_path / "decoded").iterdir() if path.suffix != ".lock"]


def test_what_a_killed_process_left_is_overwritten(tmp_path: Path, digits: ImageDataset) -> None:
    cached(tmp_path, ["a"], lambda: digits)
    entry = next((tmp_path / "decoded").glob("*.safetensors"))
    entry.rename(entry.with_suffix(".partial"))
    cached(tmp_path, ["a"], lambda: digits)
    assert {path.name for path in (tmp_path / "decoded").iterdir()} == {entry.name, f"{entry.stem}.lock"}


def test_an_impossible_folder_is_one_line(tmp_path: Path, digits: ImageDataset) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="a file is where a directory is needed"):
        cached(tmp_path / "file", ["a"], lambda: digits)


def test_two_processes_build_once(tmp_path: Path) -> None:
    script = f"""
import pathlib, time
from trigan.datasets.sources.cache import cached
from trigan.datasets.sources.digits import Digits
def build():
    (pathlib.Path({str(tmp_path)!r}) / f"built-{{time.time_ns()}}").touch()
    time.sleep(0.3)
    return Digits().load()
print(cached(pathlib.Path({str(tmp_path)!r}), ["a"], build).fingerprint)
"""
    jobs = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    prints = {job.communicate(timeout=120)[0] for job in jobs}
    assert [job.returncode for job in jobs] == [0, 0]
    assert len(prints) == 1
    assert len(list(tmp_path.glob("built-*"))) == 1
