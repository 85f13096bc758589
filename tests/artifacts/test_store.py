"""A stage is trained once, survives kills, and is never used if its bytes have changed."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from trigan.artifacts.store import InUseError, StageHandle, Store
from trigan.errors import ArtifactError

DIGEST = "0123456789abcdef"
OTHER = "fedcba9876543210"


def fill(store: Store, digest: str = DIGEST, text: str = "weights") -> Path:
    with store.stage(digest, {"loss": "hinge"}, "gan") as slot:
        assert not slot.ready
        (slot.directory / "sub").mkdir()
        (slot.directory / "model.bin").write_text(text)
        (slot.directory / "sub" / "curves.jsonl").write_text("{}\n")
        slot.checkpoints.mkdir()
        (slot.checkpoints / "step-000000001.ckpt").write_text("x" * 1000)
        slot.commit({"flops": 12, "by_class": {10: 1, 2: 3}})
        assert slot.ready
        return slot.directory


def reopen(store: Store, digest: str = DIGEST) -> StageHandle:
    with store.stage(digest, {"loss": "hinge"}, "gan") as slot:
        return slot


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def test_commit_then_reuse(tmp_path: Path) -> None:
    store = Store(tmp_path / "artifacts")
    final = fill(store)
    assert final == tmp_path / "artifacts" / DIGEST
    assert sorted(path.name for path in final.rglob("*")) == ["curves.jsonl", "manifest.json", "model.bin", "sub"]
    assert not (tmp_path / "artifacts" / ".partial" / DIGEST).exists()
    slot = reopen(store)
    assert slot.ready
    assert slot.directory == final
    assert slot.manifest == {"flops": 12, "by_class": {"10": 1, "2": 3}}
    with pytest.raises(RuntimeError, match="already"):
        slot.commit({})


def test_an_error_keeps_the_partial_directory_and_unlocks(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def attempt() -> None:
        with store.stage(DIGEST, {}, "gan") as slot:
            slot.checkpoints.mkdir()
            (slot.checkpoints / "step-000000005.ckpt").write_text("kept")
            (slot.directory / ".model.bin.01234567.partial").write_text("half-written")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt()
    slot = reopen(store)
    assert not slot.ready
    assert sorted(path.name for path in slot.directory.rglob("*")) == ["checkpoints", "step-000000005.ckpt"]
    assert [entry.state for entry in store.entries()] == ["unfinished"]


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "manifest cut", "manifest edited", "manifest gone"])
def test_a_damaged_stage_is_trained_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str) -> None:
    store = Store(tmp_path)
    final = fill(store)
    model, manifest = final / "model.bin", final / "manifest.json"
    if harm == "flip":
        model.write_text("weighty")  # the same length
    elif harm == "cut":
        model.write_text("")
    elif harm == "gone":
        model.unlink()
    elif harm == "manifest cut":
        manifest.write_text(manifest.read_text()[:50])
    elif harm == "manifest edited":
        manifest.write_text(manifest.read_text().replace('"flops": 12', '"flops": 13'))
    else:
        manifest.unlink()
    store.add_user(DIGEST, "run1")
    with caplog.at_level(logging.WARNING):
        slot = reopen(store)
    assert not slot.ready
    assert len(caplog.records) == 1
    assert "trained again" in caplog.text
    assert str(final) in caplog.text
    assert list(slot.directory.iterdir()) == []
    fill(store)
    assert reopen(store).ready
    assert store.users(DIGEST) == ("run1",)


def test_unreadable_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of file handles, or no permission: an error, and no trained weights are deleted."""
    store = Store(tmp_path)
    final = fill(store)

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(ArtifactError, match="cannot read"):
            reopen(store)
    assert (final / "model.bin").exists()
    assert reopen(store).ready


def test_a_crash_between_manifest_and_rename_is_completed_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)

    def crash(self: StageHandle) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(StageHandle, "_finish", crash)
        with pytest.raises(MemoryError):
            fill(store)
    assert (tmp_path / ".partial" / DIGEST / "manifest.json").exists()
    slot = reopen(store)
    assert slot.ready
    assert slot.manifest["flops"] == 12
    assert not (slot.directory / "checkpoints").exists()


def test_disk_full_at_commit_keeps_what_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(ArtifactError, match="disk is full"):
            fill(store)
    slot = reopen(store)
    assert not slot.ready
    assert (slot.directory / "model.bin").read_text() == "weights"
    assert (slot.checkpoints / "step-000000001.ckpt").exists()
    assert not list(tmp_path.rglob("*.json"))
    assert not (tmp_path / DIGEST).exists()


def test_entries_users_and_removal(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.entries() == []
    fill(store)
    fill(store, OTHER)
    for run in ("run2", "run1", "run1"):
        store.add_user(DIGEST, run)
    store.add_user(OTHER, "run3")
    first, second = store.entries()
    assert (first.digest, first.kind, first.users, first.state) == (DIGEST, "gan", ("run1", "run2"), "ready")
    assert first.bytes == sum(path.stat().st_size for path in (tmp_path / DIGEST).rglob("*") if path.is_file())
    assert abs(first.created - time.time()) < 60
    assert second.digest == OTHER
    assert store.stages_used_by("run3") == (OTHER,)
    store.discard(DIGEST)
    store.discard(DIGEST)
    assert not reopen(store).ready
    assert store.users(DIGEST) == ("run1", "run2")
    store.remove(OTHER)
    assert store.users(OTHER) == ()
    with pytest.raises(ArtifactError, match="no stage"):
        store.remove(OTHER)
    assert [entry.digest for entry in store.entries()] == [DIGEST]


@pytest.mark.parametrize("digest", ["../../etc", "", "abc", "0123456789ABCDEF", ".partial"])
def test_only_hashes_name_stages(tmp_path: Path, digest: str) -> None:
    with pytest.raises(ArtifactError, match="no stage's hash"):
        Store(tmp_path).remove(digest)


def test_an_unwritable_root_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    with pytest.raises(ArtifactError, match="outputs") as caught:
        reopen(Store(tmp_path / "outputs"))
    assert "\n" not in str(caught.value)


HOLD = f"""
    import sys, time
    from pathlib import Path
    from trigan.artifacts.store import Store
    with Store(Path(sys.argv[1])).stage("{DIGEST}", {{}}, "gan") as slot:
        slot.checkpoints.mkdir()
        (slot.checkpoints / "step-000000100.ckpt").write_text("half way")
        print("holding", flush=True)
        time.sleep(60)
"""


def test_busy_then_killed_then_resumed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    holder = start(HOLD, tmp_path)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "holding\n"
        with pytest.raises(InUseError, match="in use"):
            store.remove(DIGEST)
        waits = []

        def on_wait() -> None:
            waits.append(1)
            holder.send_signal(signal.SIGKILL)  # only now, so that this process really waited

        with store.stage(DIGEST, {}, "gan", on_wait) as slot:
            assert waits == [1]
            assert not slot.ready
            assert (slot.checkpoints / "step-000000100.ckpt").read_text() == "half way"
    finally:
        holder.kill()
        holder.communicate()


def test_discard_waits_for_a_stage_in_use(tmp_path: Path) -> None:
    store = Store(tmp_path)
    holder = start(HOLD, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holding\n"
    waits = []

    def on_wait() -> None:
        waits.append(1)
        holder.kill()

    store.discard(DIGEST, on_wait)
    holder.communicate()
    assert waits == [1]
    assert store.entries() == []


RACE = f"""
    import os, sys, time
    from pathlib import Path
    from trigan.artifacts.store import Store
    root = Path(sys.argv[1])
    while not (root / "go").exists():
        time.sleep(0.001)
    with Store(root / "store").stage("{DIGEST}", {{}}, "gan") as slot:
        if not slot.ready:
            with open(root / "trained", "a") as file:
                file.write(f"{{os.getpid()}}\\n")
            time.sleep(0.2)
            (slot.directory / "model.bin").write_text("trained once")
            slot.commit({{"by": os.getpid()}})
        print(slot.manifest["by"], (slot.directory / "model.bin").read_text())
"""


def test_of_racing_processes_exactly_one_trains(tmp_path: Path) -> None:
    racers = [start(RACE, tmp_path) for _ in range(4)]
    time.sleep(0.5)
    (tmp_path / "go").write_text("")
    said = [racer.communicate(timeout=30)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 4
    (trainer,) = (tmp_path / "trained").read_text().split()
    assert said == [f"{trainer} trained once\n"] * 4
