"""A disk that fills up interrupts a study: nothing fails, nothing is lost, and the same command ends it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_study import STUDY, results, start_study, written

from trigan.execution.job import DISK_FULL

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]
#: Shares of what the study takes that the disk still has; without anything the logs of the jobs cannot be written.
SHARES = (0.0, 0.02, 0.15, 0.4, 0.7)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a size that tests change."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here (needs root)")
    (folder / "other").write_bytes(bytes(2**16))  # size 0 would be any size
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def resized(folder: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", folder], check=True)


def used(folder: Path) -> int:
    """Kilobytes on the disk."""
    return int(
        subprocess.run(["df", "-k", "--output=used", folder], capture_output=True, check=True).stdout.split()[-1]
    )


def test_a_full_disk_interrupts_a_study(small_disk: Path, tmp_path: Path) -> None:
    study, log = written(tmp_path / "tiny", rows=STUDY["rows"][:1]), tmp_path / "log"
    outputs = small_disk / "whole"
    assert start_study(study, outputs, log).wait() == 0
    whole, size = results(outputs), used(small_disk)
    assert len(whole) == 2
    shutil.rmtree(outputs)
    for number, share in enumerate(SHARES):
        outputs = small_disk / str(number)
        before = used(small_disk)
        resized(small_disk, before + int(share * size))
        code = start_study(study, outputs, log).wait()
        said = log.read_text()
        assert code in (1, DISK_FULL), f"{share}: exit {code}\n{said}"
        assert not list(outputs.rglob("failure.json")), f"{share}: a full disk is no failure\n{said}"
        resized(small_disk, 64_000)
        assert start_study(study, outputs, log).wait() == 0, log.read_text()
        assert results(outputs) == whole
        assert not list(outputs.rglob(".*.partial")), "nothing is left over"
        shutil.rmtree(outputs)
    assert "Traceback" not in log.read_text()
