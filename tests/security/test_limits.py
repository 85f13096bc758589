"""Small files and settings that ask for too much, or that are nested without end, are refused in one line at once."""

import io
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hostile import Attack

from trigan.commands.main import main
from trigan.config.compose import Composer, unresolved
from trigan.config.nodes import walk
from trigan.config.settings import LIMITS
from trigan.datasets.sources.npz import npz_arrays
from trigan.errors import DataError

SMALL = ("debug=fast", "logger=none")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["trainer.devices=3000"], "trainer.devices=3000: expected at most 1024"),
        (["trainer.devices=9223372036854775808"], "trainer.devices=9223372036854775808: expected at most 1024"),
        (["runtime.threads=100000"], "runtime.threads=100000: expected at most 1024"),
        (["strategy=augment", "strategy.generators=1000000"], "strategy.generators=1000000: expected at most 1024"),
        (["recipe.batch=18446744073709551616"], "recipe.batch=18446744073709551616: expected at most 65536"),
        (["classifier.width=99999999999"], "classifier.width=99999999999: expected at most 65536"),
        (["trial=9223372036854775808"], "trial=9223372036854775808: expected at most 9223372036854775807"),
        ([f"seed={10**300}"], "seed=a number of over 30 digits: expected at most"),
        (["runtime=abc"], "runtime=abc: expected its settings, runtime.NAME=VALUE"),
        (["paths=null"], "paths=null: expected its settings"),
        (["runtime.allow=1"], "runtime.allow=1: expected a list, each a string"),
        (["runtime.allow=1.5"], "runtime.allow=1.5: expected a list, each a string"),
        (["+balance=bool(0)"], "Config group override must be a string or a list"),
        (["strategy=augment", "strategy.gan.optimizer={}"], "must be those of generator and discriminator"),
        (["-paths.outputs=D"], "-paths.outputs=D: settings are written without a dash: paths.outputs=D"),
        (["-m", "trial=range(1000000000)"], "--multirun: 1000000000 jobs, and 10000 are the most"),
        (["-m", "trial=glob(*)"], "--multirun: these values give no job"),
        (["+data=[null]"], "these choices and their files cannot be composed"),
        (["-trial=3"], "-trial=3: settings are written without a dash: trial=3"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_settings(words: list[str], line: str, attack: Attack) -> None:
    assert line in attack.refused("run", *SMALL, *words)
    assert not (attack.folder / "outputs").exists()
    assert not (attack.folder / "D").exists()


def test_every_limit_is_above_what_trigan_sets() -> None:
    composer, seen = Composer(), set()
    for strategy in composer.groups["strategy"]:
        for key, value in walk(unresolved(composer.base(composer.parse([f"strategy={strategy}"])))):
            name = key.rpartition(".")[2]
            if name in LIMITS and isinstance(value, int | float):
                seen.add(name)
                assert value <= LIMITS[name] / 10, key
    assert {"devices", "threads", "batch", "width"} <= seen


def archive(path: Path, shape: tuple[int, ...], stored: int, method: int = zipfile.ZIP_DEFLATED) -> None:
    """An npz file whose header promises ``shape`` and which has ``stored`` bytes of zeros."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", method) as file, file.open("train_images.npy", "w") as member:
        member.write(header.getvalue() + bytes(stored))


@pytest.mark.parametrize(
    ("shape", "stored", "method"),
    [
        ((20_000_000, 32, 32), 2**20, zipfile.ZIP_DEFLATED),
        ((20_000_000, 32, 32), 2**20, zipfile.ZIP_STORED),
        ((2**62, 2**62), 1000, zipfile.ZIP_STORED),
        ((3, 1024, 1024), 3 * 2**20, zipfile.ZIP_BZIP2),
    ],
)
def test_archives(
    shape: tuple[int, ...], stored: int, method: int, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trigan.datasets.sources.npz._LEAST_SUSPECT", 2**20)
    archive(attack.folder / "x.npz", shape, stored, method)
    asked = int(np.prod([float(one) for one in shape]))
    started = time.monotonic()
    with pytest.raises(DataError, match=r"x\.npz: train_images\.npy asks for [\d,]+ bytes and has [\d,]+, as no real"):
        list(npz_arrays(attack.folder / "x.npz"))
    assert time.monotonic() - started < 20
    if asked == 20_000_000 * 1024:
        assert "20,480,000,000 bytes" in attack.refused("run", *SMALL, "data=npz", "data.root=x.npz")


def test_compressed_images_are_read(tmp_path: Path) -> None:
    images = np.zeros((40_000, 28, 28), dtype=np.uint8)
    np.savez_compressed(tmp_path / "x.npz", train_images=images)
    ((_, found),) = npz_arrays(tmp_path / "x.npz")
    assert found.shape == images.shape


def test_memory_that_is_not_there_is_one_line(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (MemoryError("Unable to allocate 19 GiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory")):

        def fail(words: list[str], error: Exception = error) -> int:
            raise error

        monkeypatch.setattr("trigan.commands.main._dispatch", fail)
        assert "out of memory (" in attack.refused("run")
    monkeypatch.setattr("trigan.commands.main._dispatch", lambda words: int(words[0]))
    with pytest.raises(ValueError, match="invalid literal"):
        main(["x"])


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b"])
def test_paths_that_no_file_can_have(path: str, attack: Attack) -> None:
    attack.refused("run", "--settings", path)
    attack.refused("run", "--config-dir", path)
    attack.refused("study", path)
    attack.refused("search", f"{path}.yaml")
    attack.refused("predict", path, ".")
    attack.refused("predict", "ab", path)


@pytest.mark.parametrize("content", ["", "[", "[" * 100_000, "{}", "null", '{"run": NaN}'])
def test_damaged_records_are_not_done(content: str, attack: Attack) -> None:
    attack.write("one/study.yaml", {"trials": 1, "rows": [{"name": "bare", "set": ["strategy=baseline"]}]})
    words = ("study", "./one", "paths.outputs=out")
    assert main([*words, "--dry-run"]) == 0
    run = attack.capsys.readouterr().out.split()[2]
    attack.write(f"out/runs/{run}/record.json", content)
    for option in ("--status", "--dry-run"):
        assert main([*words, option]) == 0
        out = attack.capsys.readouterr().out
        assert "0 of 1 jobs done" in out
    attack.refused("table", "./one", "paths.outputs=out")
    attack.refused("report", "./one", "paths.outputs=out")
    attack.refused("compare", "--outputs", "out")
    attack.refused("predict", f"out/runs/{run}", "evil.npy")
