import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trigan.data.sources import cache as room
from trigan.data.sources.cache import cached
from trigan.data.types import ImageDataset
from trigan.errors import DataError


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


@pytest.mark.parametrize("map_from", [0, 2**30])
def test_built_once_and_equal(
    tmp_path: Path, with_test: ImageDataset, map_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_MAP_FROM", map_from)
    build = Builder(with_test)
    first, second = cached(tmp_path, ["a"], build), cached(tmp_path, ["a"], build)
    assert build.calls == 1
    assert same(first, second)
    assert torch.equal(second.official_test, with_test.official_test)
    cached(tmp_path, ["b"], build)
    assert build.calls == 2
    cached(None, ["a"], build)
    assert build.calls == 3
    assert not [path for path in (tmp_path / "decoded").iterdir() if path.name.startswith(".")]


def test_writing_to_a_mapped_source_leaves_the_file_alone(
    tmp_path: Path, digits: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_MAP_FROM", 0)
    cached(tmp_path, ["a"], lambda: digits)
    cached(tmp_path, ["a"], lambda: digits).images.zero_()
    build = Builder(digits)
    assert same(cached(tmp_path, ["a"], build), digits)
    assert build.calls == 0


def damage_flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "digests.npy", "dataset.json"])
@pytest.mark.parametrize(
    "damage", [damage_flip, Path.unlink, lambda p: p.write_bytes(p.read_bytes()[:40]), lambda p: p.write_bytes(b"")]
)
def test_a_damaged_entry_is_rebuilt(tmp_path: Path, digits: ImageDataset, name: str, damage: object) -> None:
    build = Builder(digits)
    cached(tmp_path, ["a"], build)
    damage(next((tmp_path / "decoded").glob(f"*/{name}")))  # type: ignore[operator]
    assert same(cached(tmp_path, ["a"], build), digits)
    assert same(cached(tmp_path, ["a"], build), digits)
    assert build.calls == 2


def test_a_failing_build_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> ImageDataset:
        raise DataError("no such images")

    with pytest.raises(DataError, match="no such images"):
        cached(tmp_path, ["a"], fail)
    assert not [path for path in (tmp_path / "decoded").iterdir() if path.suffix != ".lock"]


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, digits: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room.np, "save", full)
    with pytest.raises(DataError, match="No space left on device"):
        cached(tmp_path, ["a"], lambda: digits)
    assert not [path for path in (tmp_path / "decoded").iterdir() if path.suffix != ".lock"]


def test_what_a_killed_process_left_is_swept(tmp_path: Path, digits: ImageDataset) -> None:
    cached(tmp_path, ["a"], lambda: digits)
    entry = next((tmp_path / "decoded").glob("*/dataset.json")).parent
    entry.rename(entry.with_name(f".{entry.name}-torn"))
    cached(tmp_path, ["a"], lambda: digits)
    assert {path.name for path in (tmp_path / "decoded").iterdir()} == {entry.name, f"{entry.name}.lock"}


def test_an_impossible_folder_is_one_line(tmp_path: Path, digits: ImageDataset) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot keep decoded images"):
        cached(tmp_path / "file", ["a"], lambda: digits)


def test_two_processes_build_once(tmp_path: Path) -> None:
    script = f"""
import pathlib, time
from trigan.data.sources.cache import cached
from trigan.data.sources.digits import Digits
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
