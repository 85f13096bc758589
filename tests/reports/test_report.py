"""The report: a pure function of records and files; whatever is left out is named."""

import itertools
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from html_outline import Outline
from report_fixture import COLUMNS, NAMES, ROWS, small_study

from trigan.errors import ArtifactError
from trigan.evaluation.calibration import expected_calibration_error
from trigan.records.file_index import FileIndex
from trigan.records.record import Record
from trigan.reports import classifier_section, report_page, score_section, training_section
from trigan.reports.figures import Axis, images_axis, linear_axis, number
from trigan.reports.report_data import ReportData, median_run, read_features, read_metrics, read_predictions
from trigan.reports.report_page import render_report
from trigan.tables.cell import Cell
from trigan.tables.published import PublishedResult
from trigan.tables.statistics import t_interval
from trigan.tables.table import TableSpec, build_table, table_intervals


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return small_study(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(material: ReportData) -> str:
    return render_report(material)


def cell(material: ReportData, row: str, column: str = COLUMNS[0]) -> Cell:
    return material.table.cells[row, column]


def test_the_page_is_valid_and_accessible(page: str) -> None:
    outline = Outline(page)
    assert not outline.crossed
    assert not outline.open
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for tag, attributes in outline.tags:
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
    ids = Counter(attributes["id"] for _, attributes in outline.tags if "id" in attributes)
    assert set(ids.values()) == {1}
    aims = [str(a["href"]) for tag, a in outline.tags if tag == "a"]
    assert aims[0] == "#main"
    assert {aim[1:] for aim in aims} <= set(ids)


def test_the_page_fetches_nothing_and_escapes_names(page: str) -> None:
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)|url\(|@import|<link|https?:""", page)
    assert "<b>short" not in page
    assert "&lt;b&gt;short&lt;/b&gt; &amp; co" in page
    assert "A &lt;small&gt; study" in page
    assert "nothing is shown &amp; nothing is hidden" in page


def test_the_same_records_give_the_same_bytes(material: ReportData, page: str) -> None:
    assert render_report(material) == page


def test_a_run_shows_the_sampling_error_of_its_test_set(material: ReportData, tmp_path: Path) -> None:
    sampling = table_intervals(material.table, material.folders, FileIndex(tmp_path))
    page = render_report(replace(material, table=replace(material.table, sampling=sampling)))
    for cell in material.table.cells.values():
        for record in cell.records:
            one, trial = sampling[record["run"]], record["tags"]["trial"]
            ends = f"{100 * cell.values[trial]:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"
            assert page.count(f"{ends} on 20 images") >= 1, "beside the run"
            assert page.count(ends) >= 2, "and in the table of every trial"


def test_an_unfinished_study_says_so_on_top(page: str) -> None:
    top = page.partition("<nav")[0]
    assert "This study is not finished" in top
    assert "&lt;b&gt;short&lt;/b&gt; &amp; co on 5 labels: trials 2, 3 and 4" in top


def test_a_finished_study_has_no_warning(tmp_path: Path) -> None:
    finished = small_study(tmp_path, trials=2)
    assert not report_page.missing(finished)
    assert "not finished" not in render_report(finished)


def test_each_number_links_to_its_runs(material: ReportData, page: str) -> None:
    record = cell(material, "joint", COLUMNS[1]).records[3]
    part = page.partition(f'<div id="{report_page.anchor(1, 1)}">')[2].partition("</details>")[0]
    assert f'href="#{report_page.anchor(1, 1)}"' in page
    for digest in (record["run"], report_page.config_digest(record), "13" * 32, "3a" * 32, "f" * 64):
        assert f"<code>{digest}</code>" in part
    assert "trigan run regime.labels_per_class=20" in part
    assert "1, seed 1: " in part
    assert part.count("diverged") == 1


def test_published_results_beside_a_column_move_no_link(tmp_path: Path) -> None:
    report = small_study(tmp_path)
    known = PublishedResult("joint", COLUMNS[0], "50.0", "", "", "2001.00001", "", "", "", {})
    table = replace(report.table, published=(known,))
    page = render_report(replace(report, table=table))
    for i, row in enumerate(ROWS):
        for j, column in enumerate(COLUMNS):
            number = report.text_format.cell(table.cells[row, column]).partition(";")[0]
            link = rf'<a href="#{report_page.anchor(i, j)}">(<strong>)?{re.escape(number)}'
            assert re.search(link, page), (row, column)


def test_the_config_digest_is_of_what_is_computed(material: ReportData) -> None:
    record = cell(material, "bare").records[0]
    moved = {**record, "config": {**record["config"], "paths": {"outputs": "elsewhere"}}}
    other = {**record, "config": {**record["config"], "trial": 9}}
    assert report_page.config_digest(moved) == report_page.config_digest(record)  # type: ignore[arg-type]
    assert report_page.config_digest(other) != report_page.config_digest(record)  # type: ignore[arg-type]


def test_failures_are_listed(material: ReportData) -> None:
    body = report_page.failures(material).body
    diverged = [r["run"] for c in COLUMNS for r in cell(material, "joint", c).records if r["tags"]["trial"] == 1]
    assert all(f"trial 1: run {run}" in body for run in diverged)
    assert body.count("trials 2, 3 and 4") == 2
    assert "no predictions.npz" not in body


def test_a_run_without_files_is_named_and_not_drawn(material: ReportData) -> None:
    bare = ReportData(material.words, material.table, {})
    assert cell(material, "bare").records[0]["run"] in report_page.failures(bare).body
    assert "No probabilities, or the file is not here: bare; joint" in classifier_section.reliability(bare).body
    assert "No loss was logged, or the file is not here: bare; joint" in training_section.curves(bare).body
    assert "No run has sample grids" in training_section.samples(bare).body
    assert "No predictions are here" in classifier_section.feature_map(bare).body
    assert "<svg" in score_section.scores(bare).body


def test_the_median_trial_represents_a_cell(material: ReportData) -> None:
    values = cell(material, "bare").values
    chosen = median_run(cell(material, "bare"))["tags"]["trial"]
    assert values[chosen] == np.median(list(values.values()))
    short = cell(material, ROWS[2])
    assert median_run(short)["tags"]["trial"] == min(short.values, key=lambda trial: short.values[trial])


def test_intervals_depend_on_n(material: ReportData, tmp_path: Path) -> None:
    bare = cell(material, "bare")
    found = t_interval(list(bare.values.values()))
    assert score_section.interval(bare) == (found.low, found.high)
    assert score_section.interval(cell(material, ROWS[2])) is None
    three = cell(small_study(tmp_path, trials=3), "bare")
    assert score_section.interval(three) == (min(three.values.values()), max(three.values.values()))
    assert "not an interval" in score_section.explain_marks([three])
    assert "95 % t interval" in score_section.explain_marks([bare])


def test_scores_are_drawn_against_labels_if_columns_differ_in_them(material: ReportData, tmp_path: Path) -> None:
    body = score_section.scores(material).body
    assert "against the number of labels" in body
    for row in ROWS[:2]:
        for budget in (10, 40):
            for trial in range(5):
                assert f"<title>{row}, {budget} labels, trial {trial}: " in body
    one = score_section.scores(small_study(tmp_path, COLUMNS[:1])).body
    assert "against the number of labels" not in one
    assert all(f"<title>joint, trial {trial}: " in one for trial in range(5))
    assert "a cross is a diverged trial; hollow dots belong to a row with missing trials" in one


def test_gains_are_differences_within_trials(material: ReportData) -> None:
    found = classifier_section.recall_gains(cell(material, "joint"), cell(material, "bare"))
    assert found[0] == pytest.approx([0.0] * 5)
    assert found[1] == pytest.approx([-20.0] * 5)
    body = classifier_section.gains(material)
    assert body is not None
    assert "zero +0.0, one -20.0" in body.body


def test_a_class_without_images_has_no_gain(material: ReportData) -> None:
    bare = cell(material, "bare")
    record = {**bare.records[0], "result": {**bare.records[0]["result"], "test": {**bare.records[0]["result"]["test"]}}}
    record["result"]["test"]["recall"] = [None, 0.5]  # type: ignore[index]
    one = Cell((record,), (0,), bare.metric)  # type: ignore[arg-type]
    assert list(classifier_section.recall_gains(one, bare)) == [1]


def test_confusion_is_the_mean_share_over_runs(material: ReportData) -> None:
    share = classifier_section.confusion_shares(cell(material, "bare"))
    assert share.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert share[0, 0] == pytest.approx(np.mean([0.8, 0.9, 1.0, 0.8, 0.9]))
    assert (
        "Most often confused: zero as one (12\u00a0%), one as zero (10\u00a0%)"
        in classifier_section.confusion(material).body
    )


def test_test_error_while_training_is_drawn_where_there_are_snapshots(tmp_path: Path) -> None:
    material = small_study(tmp_path)
    assert training_section.errors(material) is None
    for record in cell(material, "joint").records:
        final = record["result"]["test"]["accuracy"]
        record["result"]["curve"] = [
            {"images": 640, "accuracy": 0.25, "weights": "a"},
            {"images": 6400, "accuracy": final, "weights": "b"},
        ]
    material = ReportData(material.words, build_table(places(material), material.table.spec), material.folders)
    section = training_section.errors(material)
    assert section is not None
    last = 100 - 100 * np.mean([record["result"]["test"]["accuracy"] for record in cell(material, "joint").records])
    assert f"joint from 75 after 640 images to {last:.2g} after 6400" in section.body
    assert section.body.count("<svg") == 2, "a chart and its key's line"
    assert "Error while training" in render_report(material)
    assert "Error on test images in % over images seen" in section.body, "records before curve_images"
    for record in cell(material, "joint").records:
        record["result"]["curve_images"] = "hidden_labels"
    material = ReportData(material.words, build_table(places(material), material.table.spec), material.folders)
    section = training_section.errors(material)
    assert section is not None
    assert "Error on training images with hidden labels in % over images seen" in section.body


def places(material: ReportData) -> dict[tuple[str, str], list[Record]]:
    return {place: list(cell.records) for place, cell in material.table.cells.items() if cell.records}


def with_classes(material: ReportData, names: list[str]) -> ReportData:
    """One run, which is always right, of that many classes."""
    k = len(names)
    record = cell(material, "bare").records[0]
    test = {**record["result"]["test"], "confusion": np.eye(k, dtype=int).tolist(), "recall": [1.0] * k}
    made = {**record, "result": {**record["result"], "test": test, "data": {"classes": names}}}
    table = build_table({("bare", "x"): [made]}, TableSpec("t", ("bare",), ("x",)))  # type: ignore[list-item]
    return ReportData(material.words, table, {})


@pytest.mark.parametrize(("names", "slanted"), [(["cat", "dog"], False), (["airplane", "automobile"], True)])
def test_names_under_a_matrix_are_as_long_as_those_beside_it(
    material: ReportData, names: list[str], slanted: bool
) -> None:
    drawn = classifier_section.confusion(with_classes(material, names)).body
    assert [drawn.count(f">{name}</text>") for name in names] == [2, 2]
    assert ("rotate(-45" in drawn) == slanted


def test_many_classes_become_a_picture_of_pixels(material: ReportData) -> None:
    drawn = classifier_section.confusion(with_classes(material, [str(k) for k in range(30)])).body
    assert '<img class="pixels" src="data:image/png;base64,' in drawn
    assert "Most often confused: nothing" in drawn


def test_bins_are_those_of_the_evaluation() -> None:
    random = np.random.default_rng(0)
    values, labels = random.normal(size=(200, 4)) * 2, random.integers(0, 4, 200)
    expected = expected_calibration_error(torch.from_numpy(values).softmax(dim=1), torch.from_numpy(labels))
    counts, confidence, accuracy = classifier_section.bins(values, labels).T
    assert (counts * abs(accuracy - confidence)).sum() / 200 == pytest.approx(expected)


def test_outputs_that_are_not_finite_are_cut_off() -> None:
    found = classifier_section.log_probabilities(np.array([[0.0, -np.inf], [1.0, 1.0]]))
    assert found == pytest.approx(np.array([[0.0, -30.0], [-np.log(2)] * 2]))


def test_the_map_uses_outputs_without_stored_features(material: ReportData) -> None:
    body = classifier_section.feature_map(material).body
    assert "by the outputs of bare" in body
    assert "by the features of" not in body
    assert "Symbols: 0 zero, 1 one." in body


def test_the_map_uses_stored_features(tmp_path: Path) -> None:
    kept = small_study(tmp_path, trials=1)
    folder = kept.folders[cell(kept, "bare").records[0]["run"]]
    labels = read_predictions(folder / "predictions.npz")[1]
    index = np.arange(0, len(labels), 2)
    spread = np.random.default_rng(0).normal(0, 0.01, (len(index), 3)) + labels[index, None]
    np.savez(folder / "features.npz", features=spread, index=index)
    body = classifier_section.feature_map(kept).body
    assert f"Map of {len(index)} test images by the features of bare" in body
    assert read_features(folder / "features.npz", len(labels))[0].shape == (len(index), 3)
    np.savez(folder / "features.npz", features=spread, index=index + len(labels))
    with pytest.raises(ArtifactError, match=r"features\.npz: features .* do not belong together"):
        classifier_section.feature_map(kept)


def test_the_embedding_fills_the_unit_square() -> None:
    places = classifier_section.embedding(np.random.default_rng(0).normal(size=(30, 4)))
    assert (places.min(), places.max()) == (0, 1)


def test_curves_are_thinned_and_mark_what_is_not_finite(material: ReportData) -> None:
    body = training_section.curves(material).body
    assert "generator: 1 values not finite" in body
    assert "the run of the trial with the median score" in body
    longest = max(len(path.split("L")) for path in re.findall(r' d="(M[^"]*)"', body))
    assert longest == training_section.MAX_POINTS


def test_sample_grids_are_shown_once_and_up_to_a_size_limit(
    material: ReportData, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = training_section.samples(material).body
    # every run has the same pictures, and each column shows them once
    assert body.count("data:image/jpeg") == body.count("data:image/png") == 2
    assert "joint, trial" in body
    monkeypatch.setattr(training_section, "MAX_BYTES", 10)
    full = training_section.samples(material).body
    assert "<img" not in full
    assert "left out to keep the page small" in full


def test_the_cost_axis_has_a_position_for_zero(material: ReportData) -> None:
    body = score_section.cost(material).body
    assert "for 0 FLOP" in body
    assert "for 10 GFLOP" in body


def test_numbers_beside_points_do_not_hide_each_other() -> None:
    places = [(100.0, 100.0), (104.0, 100.0), (100.0, 104.0), (300.0, 50.0)]
    found = score_section._beside(places)
    boxes = [(x, y - 9, x + 7, y) for x, y in found]
    assert not any(score_section._overlap(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


@pytest.mark.parametrize("values", [[0.0], [0.5, 0.5], [90.1, 97.4], [-3e-7, 2e-7], [1.0, 1e6]])
def test_axes_contain_their_values_and_have_round_ticks(values: list[float]) -> None:
    axis = linear_axis(values, "x")
    assert axis.low < min(values) <= max(values) < axis.high
    assert 2 <= len(axis.ticks) <= 8
    assert all(axis.low <= value <= axis.high for value, _ in axis.ticks)
    assert len({text for _, text in axis.ticks}) == len(axis.ticks)


def test_axes_of_images_and_of_logarithms() -> None:
    assert [text for _, text in images_axis(64_000, "images").ticks] == ["0", "20k", "40k", "60k"]
    assert Axis(1, 100, (), "x", log=True).share(10) == pytest.approx(0.5)
    assert (number(-0.01), number(3.0), number(2.55)) == ("0", "3", "2.5")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"stage": "a"}\n{"st')
    with pytest.raises(ArtifactError, match=r"metrics\.jsonl: cannot be read .*--force"):
        read_metrics(tmp_path / "metrics.jsonl")
    (tmp_path / "predictions.npz").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(ArtifactError, match=r"predictions\.npz: cannot be read .*--force"):
        read_predictions(tmp_path / "predictions.npz")
    np.savez(tmp_path / "odd.npz", scores=np.zeros((3, 2)), labels=np.zeros(2))
    with pytest.raises(ArtifactError, match="do not belong together"):
        read_predictions(tmp_path / "odd.npz")
    (tmp_path / "samples-a.png").write_bytes(b"no picture")
    with pytest.raises(ArtifactError, match=r"samples-a\.png: cannot be read"):
        training_section.encode_image(tmp_path / "samples-a.png")


def test_names_of_classes(material: ReportData) -> None:
    from trigan.reports.report_data import class_names

    assert class_names(cell(material, "bare").records[0]) == NAMES
