"""The printed table against a script that shares no line with it, from the same record files, to the last digit."""

from pathlib import Path

import numpy as np
import pytest
from recompute import recompute
from record_makers import make_record

from trigan.records.record import find_records, write_record
from trigan.tables.layout.text import render_markdown
from trigan.tables.table import Family, TableSpec, build_table

ROWS = ("bare", "classic", "augment", "features", "joint")


@pytest.mark.parametrize("redrawn", [False, True], ids=["official test set", "redrawn test set"])
@pytest.mark.parametrize("trials", [5, 10, 13])
def test_an_independent_script_prints_the_same_digits(tmp_path: Path, trials: int, redrawn: bool) -> None:
    rng = np.random.default_rng(trials)
    shared = 0.02 * rng.normal(size=trials)
    for index, row in enumerate(ROWS):
        for trial in range(trials):
            accuracy = 0.85 + 0.006 * index + float(shared[trial] + 0.008 * rng.standard_t(3))
            split = {"test_redrawn": redrawn, "n_train": 1258, "n_test": 539}
            record = make_record(accuracy, trial, tags={"row": row}, split=split)
            write_record(tmp_path / "runs" / record["run"][:20] / "record.json", record)
    places: dict[tuple[str, str], list] = {}
    for record in find_records(tmp_path)[0]:
        places.setdefault((str(record["tags"]["row"]), "digits"), []).append(record)
    family = Family(ROWS[2:], ROWS[:2])
    spec = TableSpec("T", ROWS, ("digits",), tuple(range(trials)), reference="classic", family=family)
    page = render_markdown(build_table(places, spec))
    printed = page.replace("**", "").replace(" †", "").replace("\\<", "<")

    lines = recompute(tmp_path, "classic", list(ROWS[2:]), list(ROWS[:2]))
    assert len(lines) == len(ROWS) + 3
    for line in lines:
        row, *cells = line.split(" | ")
        if len(cells) == 6:  # a primary comparison with p: the table has the sign-flip p between these two
            *start, p, holm = cells
            (found,) = [
                text for text in printed.splitlines() if text.startswith(f"| {row} | {' | '.join(start)} | {p} |")
            ]
            assert found.endswith(f"| {holm} |")
        else:
            assert f"| {' | '.join([row, *cells])} |" in printed
