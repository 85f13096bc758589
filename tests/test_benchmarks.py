"""`make bench` runs to its end, every part at its smallest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_every_part_runs(tmp_path: Path) -> None:
    """Its rows have ratios above 0 with their quartiles around them, and are in the page beside the plot."""
    words = [sys.executable, str(ROOT / "benchmarks" / "bench.py"), "--quick", "--rounds", "1", "--out", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)
    parts = {path.stem: json.loads(path.read_text())["results"] for path in tmp_path.glob("*.json")}
    assert {"step", "loader", "figures", "workers", "ranks", "growth"} <= set(parts)
    page = (tmp_path / "README.md").read_text()
    for row in (row for rows in parts.values() for row in rows):
        assert row["name"].removeprefix("growth, ") in page
        if "ratio" in row:
            assert 0 < row["quartiles"][0] <= row["ratio"] <= row["quartiles"][1]
            assert row["n"] == 1
        else:
            assert min(row["cpu_seconds"]) > 0
            assert row["peak_mb"] == sorted(row["peak_mb"])
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
