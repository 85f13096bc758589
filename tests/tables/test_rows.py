"""Ad-hoc rows: named by the settings that differ, except trial and seed."""

from collections.abc import Callable

from record_makers import make_record

from trigan.records.record import Record
from trigan.tables.rows import rows_from_records, settings

Make = Callable[..., Record]


def test_trials_are_one_row_and_settings_name_it(record: Make) -> None:
    found = [
        record(
            0.8,
            trial,
            tags={"strategy": "joint", "loss": loss},
            config={
                "loss": {"_target_": loss, "weight": w},
                "strategy": {"gan": {"loss": {"_target_": loss, "weight": w}}, "inner": {"seed": trial}},
            },
        )
        for trial in (0, 1)
        for loss, w in (("hinge", 1.0), ("least_squares", 1.0))
    ]
    places, rows, columns = rows_from_records(found)
    assert rows == ("joint (loss=hinge)", "joint (loss=least_squares)")
    assert columns == ("digits, 50 labels per class",)
    assert {row: {r["tags"]["trial"] for r in places[row, columns[0]]} for row in rows} == {row: {0, 1} for row in rows}


def test_settings_of_unused_networks_make_no_row(record: Make) -> None:
    """Every config contains an architecture; for a run without G and D it is not a setting."""

    def made(strategy: str, width: int, trial: int) -> Record:
        node = {"width": width}
        holds = {"stages": [{"architecture": node}]} if strategy == "joint" else {"steps": 5}
        return record(
            0.8,
            trial,
            tags={"strategy": strategy, "architecture": f"gan{width}"},
            config={"architecture": node, "strategy": holds},
        )

    _, rows, _ = rows_from_records([made(s, w, t) for s in ("baseline", "joint") for w in (8, 16) for t in (0, 1)])
    assert set(rows) == {"baseline", "joint (architecture=gan8)", "joint (architecture=gan16)"}


def test_the_shortest_set_of_settings_is_found(record: Make) -> None:
    """Width and depth vary together, so one of them and the ratio distinguish the four; the shorter key is used."""
    configs = [
        {"net": {"width": size, "layers": size}, "ratio": ratio, "same": 0} for size in (1, 2) for ratio in (1, 2)
    ]
    _, rows, _ = rows_from_records([record(0.8, config=config) for config in configs])
    assert rows == tuple(f"baseline (ratio={ratio}, width={size})" for ratio in (1, 2) for size in (1, 2))


def test_four_independent_switches_need_all_four(record: Make) -> None:
    configs = [{f"s{i}": bool(n >> i & 1) for i in range(4)} for n in range(16)]
    _, rows, _ = rows_from_records([record(0.8, config=config) for config in configs])
    assert len(set(rows)) == 16
    assert "baseline (s0=true, s1=false, s2=true, s3=false)" in rows


def test_what_is_outside_the_run_hash_makes_no_row(record: Make) -> None:
    found = [
        record(0.8, 0, config={"logger": {"kind": "csv"}, "paths": {"outputs": "a"}, "data": {"root": "a", "size": 8}}),
        record(0.8, 1, config={"logger": None, "paths": {"outputs": "b"}, "data": {"root": "b", "size": 8}}),
    ]
    places, rows, _ = rows_from_records(found)
    assert rows == ("baseline",)
    assert len(places) == 1


def test_columns_are_data_and_label_budget_in_natural_order(record: Make) -> None:
    found = [
        record(0.8, tags={"data": data}, config={"regime": {"per_class": n}})
        for data, n in (("mnist", 10), ("mnist", 5), ("digits", 5))
    ]
    for one, n in zip(found, (10, 5, 5), strict=True):
        one["result"]["labels"] = {"training": 2 * n - 1, "selection": 1}
    places, rows, columns = rows_from_records(found)
    assert rows == ("baseline",)
    assert columns == ("digits, 5 labels per class", "mnist, 5 labels per class", "mnist, 10 labels per class")
    assert len(places) == 3


def test_regimes_of_the_same_budget_are_different_columns(record: Make) -> None:
    found = [record(0.8, config={"regime": {"noise": noise}}) for noise in (0.0, 0.2)]
    _, _, columns = rows_from_records(found)
    assert columns == ("digits, 50 labels per class (noise=0.0)", "digits, 50 labels per class (noise=0.2)")


def test_strategies_are_in_a_fixed_order(record: Make) -> None:
    found = [record(0.8, tags={"strategy": name}) for name in ("joint", "own", "features", "augment", "baseline")]
    assert rows_from_records(found)[1] == ("baseline", "augment", "features", "joint", "own")


def test_the_order_of_records_does_not_matter(record: Make) -> None:
    found = [record(0.8, t, tags={"strategy": s}) for t in range(3) for s in ("joint", "baseline")]
    assert rows_from_records(found) == rows_from_records(reversed(found))


def test_a_row_that_follows_the_data_is_one_row_over_data_sets(record: Make) -> None:
    """Steps and augmentation follow each data set's suggestion; a run with other values is another row."""

    def config(suggested: int, steps: int) -> dict:
        proposal = {"gan_steps": suggested, "augmentation": {"rotate": suggested}}
        return {
            "data": {"suggested": proposal},
            "strategy": {"gan": {"steps": steps}, "other": {"steps": 7}},
            "augmentation": {"rotate": suggested},
        }

    found = [
        record(0.8, tags={"data": "digits"}, config=config(30, 30)),
        record(0.8, tags={"data": "mnist"}, config=config(50, 50)),
        record(0.8, tags={"data": "mnist"}, config=config(50, 90)),
    ]
    places, rows, columns = rows_from_records(found)
    assert rows == ("baseline (steps=suggested)", "baseline (steps=90)")
    assert {column for row, column in places if row == rows[0]} == set(columns)
    # Within one data set the number says more.
    assert rows_from_records(found[1:])[1] == ("baseline (steps=50)", "baseline (steps=90)")


def test_other_images_are_another_column(record: Make) -> None:
    """Two folders have one config, but not one data set."""
    both = [record(0.9, trial=trial, split={"fingerprint": mark * 16}) for trial, mark in enumerate(("4b00", "fe49"))]
    _, rows, columns = rows_from_records(both)
    assert len(rows) == 1
    assert len(columns) == 2
    assert all("fingerprint=" in name for name in columns)


def test_records_from_before_and_after_a_field_share_a_row() -> None:
    old, new = make_record(0.5, 0), make_record(0.6, 1)
    for record in (old, new):
        record["config"]["strategy"] = {"_id_": "augmentation/classic@1", "rotate": 15.0}
    new["config"]["strategy"]["color_jitter"] = 0.0
    assert settings(old) == settings(new)
    new["config"]["strategy"]["color_jitter"] = 0.3
    assert settings(old) != settings(new)
