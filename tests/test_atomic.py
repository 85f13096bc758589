"""A refused write leaves the old file, no temporary one, and an error of one line."""

import errno
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from trigan.atomic import (
    atomic_write,
    file_lock,
    full_disk_interrupts,
    is_locked,
    make_folder,
    remove_partial_files,
    write_bytes,
    write_json,
    write_text,
)
from trigan.errors import ArtifactError, DiskFullError


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*"))


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.txt"
    write_text(path, "one")
    write_text(path, "zwei ü")
    assert path.read_text(encoding="utf-8") == "zwei ü"
    assert names(tmp_path) == ["a.txt", "deep", "er"]


def test_json_is_canonical(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"b": 1, "a": [1.5, None]})
    write_json(tmp_path / "b", {"a": [1.5, None], "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_text()) == {"a": [1.5, None], "b": 1}


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_the_group_may_do_what_it_may_do_with_the_folder(tmp_path: Path) -> None:
    """As in a folder that several people share: files, folders, locks, whatever the umask is."""
    shared, own = tmp_path / "shared", tmp_path / "own"
    old = os.umask(0o077)
    try:
        for folder, mode in ((shared, 0o770), (own, 0o700)):
            folder.mkdir()
            folder.chmod(mode)
            write_text(folder / "runs" / "a" / "b.json", "x")
            make_folder(folder / "logs" / "study")
            with file_lock(folder / "runs" / ".locks" / "a.lock"):
                assert is_locked(folder / "runs" / ".locks" / "a.lock")
            assert not is_locked(folder / "runs" / ".locks" / "a.lock")
    finally:
        os.umask(old)
    for folder, folders, files in ((shared, 0o770, 0o660), (own, 0o700, 0o600)):
        for path in folder.rglob("*"):
            assert path.stat().st_mode & 0o777 == (folders if path.is_dir() else files), path
        assert len(list(folder.rglob("*"))) == 7


def test_what_a_killed_process_left_is_removed_at_the_next_writing(tmp_path: Path) -> None:
    old, young, other = (tmp_path / f".{name}.0123abcd.partial" for name in ("a.json", "a.json", "b.json"))
    young = tmp_path / ".a.json.4567abcd.partial"
    for path in (old, young, other):
        path.write_text("half")
    hour = time.time() - 3600
    for path in (old, other):
        os.utime(path, (hour, hour))
    write_text(tmp_path / "a.json", "x")
    assert names(tmp_path) == sorted([young.name, other.name, "a.json"])


def test_a_full_disk_interrupts(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="cannot write there: the disk is full"), full_disk_interrupts():
        raise OSError(errno.ENOSPC, "No space left on device", "there")
    with pytest.raises(PermissionError), full_disk_interrupts():
        raise PermissionError(errno.EACCES, "no")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "disk is full: free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_refusals_are_one_line_and_leave_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ArtifactError, match=words) as caught:
        write_bytes(path, b"new")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["a.bin"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_body_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def half() -> None:
        with atomic_write(tmp_path / "a") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        half()
    assert names(tmp_path) == []


def test_a_file_in_the_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("")
    with pytest.raises(ArtifactError, match=r"outputs.*a file"):
        write_text(tmp_path / "outputs" / "a", "x")
    with pytest.raises(ArtifactError, match=r"outputs.*a file"):
        write_text(tmp_path / "outputs" / "runs" / "a", "x")


def test_a_real_write_beyond_the_limit(tmp_path: Path) -> None:
    """The kernel itself refuses the bytes (RLIMIT_FSIZE), in a process of its own."""
    code = f"""
        import resource
        from pathlib import Path
        from trigan.atomic import write_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        write_bytes(Path({str(tmp_path / "a")!r}), b"x" * 100_000)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ArtifactError: cannot write" in done.stderr
    assert names(tmp_path) == []


def test_only_partial_files_are_removed(tmp_path: Path) -> None:
    for name in ("keep.txt", ".hidden", ".a.txt.0123abcd.partial", "sub/.b.9999.partial"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    remove_partial_files(tmp_path)
    assert names(tmp_path) == [".hidden", "keep.txt", "sub"]
