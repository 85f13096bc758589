"""The figures of a run's generator: in its record, of training images alone, in tables beside the scores."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from few_steps import composer, small
from record_makers import canonical_result_bytes, make_record

from trigan.config.run_hash import run_hash
from trigan.config.settings import Evaluation
from trigan.datasets.sources.digits import Digits
from trigan.datasets.splits.sealed_test import SealedTest
from trigan.datasets.types import LabelledImages
from trigan.errors import ConfigError
from trigan.evaluation.generators.embeddings import random_conv
from trigan.evaluation.generators.image_figures import Reference, compare_sets, reference_from
from trigan.records.record import Record, read_record
from trigan.runs.final_evaluation import HIDDEN_LABELS
from trigan.runs.generators import record_figures as room
from trigan.runs.generators.standard_classifiers import StandardClassifiers
from trigan.runs.run import run
from trigan.runs.run_words import run_words
from trigan.scores import GENERATOR_METRICS
from trigan.tables.layout.text import render_terminal
from trigan.tables.table import TableSpec, build_table, table_data


def record_of(outputs: Path, *words: str) -> Record:
    return read_record(run(composer().compose(small(*words, f"paths.outputs={outputs}"))) / "record.json")


@pytest.mark.parametrize("words", [("strategy=joint",), ("strategy=augment", "architecture=cgan")])
def test_a_record_has_the_generators_figures_and_the_same_bytes_again(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Reference, torch.Tensor]] = []
    compare = room.compare_sets
    test: list[LabelledImages] = []
    opened = SealedTest.open

    def watch(embedding: Any, reference: Reference, generated: torch.Tensor) -> Any:
        seen.append((reference, generated))
        return compare(embedding, reference, generated)

    def watch_test(sealed: SealedTest, frozen: str) -> LabelledImages:
        test.append(opened(sealed, frozen))
        return test[-1]

    monkeypatch.setattr(room, "compare_sets", watch)
    monkeypatch.setattr(SealedTest, "open", watch_test)
    record: Any = record_of(tmp_path / "a", *words)
    found = record["result"]["generator"]
    assert (found["embedding"], found["images"]) == ("random_conv@1", 629)  # half of 1258 training images
    assert found["fingerprint"] == record["result"]["data"]["fingerprint"]
    assert set(found["figures"]) == set(found["floor"])
    assert found["figures"]["fid"] > found["floor"]["fid"]
    (reference, generated), *_ = seen
    assert generated.shape == reference.real.shape
    used = {bytes(one.numpy().data) for part in (reference.real, reference.other, reference.seen) for one in part}
    assert not used & {bytes(one.numpy().data) for one in test[0].images}
    again = record_of(tmp_path / "b", *words)
    assert canonical_result_bytes(again) == canonical_result_bytes(record)


def test_a_validation_only_run_has_the_same_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = small("strategy=augment", "regime.validation=large", "selection.rule=val", f"paths.outputs={tmp_path}")
    record: Any = read_record(run(composer().compose(words)) / "record.json")

    def refuse(sealed: SealedTest, frozen: str) -> LabelledImages:
        raise AssertionError("a validation-only run opened the test set")

    monkeypatch.setattr(SealedTest, "open", refuse)
    found = run(composer().compose(words), validation_only=True) / "validation.json"
    assert json.loads(found.read_text())["result"]["generator"] == record["result"]["generator"]


def test_a_run_without_a_generator_or_with_the_setting_0_has_none(tmp_path: Path) -> None:
    assert "generator" not in record_of(tmp_path, "strategy=baseline")["result"]
    assert "generator" not in record_of(tmp_path, "strategy=joint", "evaluation.generator_images=0")["result"]
    fewer = record_of(tmp_path, "strategy=joint", "evaluation.generator_images=100")["result"]["generator"]
    assert fewer["images"] == 100


def test_hashes_of_runs_from_before_the_setting_stay() -> None:
    config: dict[str, Any] = {"trial": 0, "evaluation": {"specificity": 0.9}}
    now = {**config, "evaluation": {"specificity": 0.9, "generator_images": Evaluation().generator_images}}
    now["evaluation"]["generator_classifiers"] = False
    other = {**config, "evaluation": {"specificity": 0.9, "generator_images": 7}}
    assert run_hash(config, "f") == run_hash(now, "f") != run_hash(other, "f")


@pytest.mark.parametrize("words", [("strategy=joint",), ("strategy=augment", "architecture=cgan")])
def test_classifiers_are_trained_on_samples_where_the_setting_says_so(words: tuple[str, ...], tmp_path: Path) -> None:
    few = "evaluation.generator_images=100"
    plain: Any = record_of(tmp_path, *words, few)["result"]
    record: Any = record_of(tmp_path, *words, few, "evaluation.generator_classifiers=true")
    result = record["result"]
    figures = {"gan_train", "gan_test", "nas_100"}
    assert set(result["generator"]["figures"]) - set(plain["generator"]["figures"]) == figures
    assert len({result["generator"]["floor"][name] for name in figures}) == 1  # real images
    assert all(0 <= result["generator"]["figures"][name] <= 1 for name in figures)
    assert set(result["stamps"]) - set(plain["stamps"]) == {HIDDEN_LABELS}
    for part in set(plain) - {"generator", "stamps"}:  # the run itself is as it was
        assert result[part] == plain[part], part
    table = build_table({("r", "c"): [record]}, TableSpec("t", ("r",), ("c",), metric="generator_gan_train"))
    assert table.cells["r", "c"].values == {0: result["generator"]["figures"]["gan_train"]}
    assert "labels that were hidden" in render_terminal(table).replace("\n", " ")
    assert table_data(table)[0]["generator_nas_100"] == result["generator"]["figures"]["nas_100"]


def test_real_images_in_the_place_of_samples_are_as_good_as_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Perfect:
        """Gives the labelled images of the classifier that it is compared with."""

        def __init__(self, generator: object) -> None: ...

        def first(self, count: int, labels: torch.Tensor, seed: int) -> LabelledImages:
            real = made[-1]._labelled
            assert (len(real), count) == (100, 100)
            assert torch.equal(real.labels, labels)
            return real

    made: list[StandardClassifiers] = []
    monkeypatch.setattr(room, "generator_figures", lambda *_: None)
    monkeypatch.setattr(room, "GeneratorSampler", Perfect)
    build = StandardClassifiers.__init__
    monkeypatch.setattr(StandardClassifiers, "__init__", lambda one, *given: (made.append(one), build(one, *given))[1])
    monkeypatch.setattr(
        "trigan.runs.final_evaluation.generator_figures",
        lambda *_: {key: {"copies": 0.0} for key in ("figures", "floor")} | {"copying": False},
    )
    monkeypatch.setattr("trigan.runs.final_evaluation.write_record", lambda path, record: kept.append(record))
    kept: list[Any] = []
    words = ("strategy=joint", "evaluation.generator_images=100", "evaluation.generator_classifiers=true")
    run(composer().compose(small(*words, f"paths.outputs={tmp_path}")))
    found = kept[0]["result"]["generator"]
    assert found["figures"]["gan_train"] == found["floor"]["gan_train"]


def test_several_devices_are_refused_before_they_start() -> None:
    words = ["evaluation.generator_classifiers=true", "trainer.devices=2", "logger=none"]
    with pytest.raises(ConfigError, match=r"generator_classifiers=true: trains on one device; set trainer\.devices=1"):
        run_words(words)


def figured(accuracy: float, trial: int, fid: float, copying: bool = False, images: int = 9) -> Record:
    names = ("fid", "kid", "precision", "recall", "density", "coverage", "authenticity", "copies", "duplicates")
    figures = {name: 0.25 for name in names} | {"fid": fid}
    stamp = {"embedding": "random_conv@1", "images": images, "fingerprint": "ab"}
    made = make_record(accuracy, trial)
    made["result"]["generator"] = {  # type: ignore[typeddict-item]
        **stamp,
        "figures": figures,
        "floor": {**figures, "fid": 0.5},
        "copying": copying,
    }
    return made


def test_tables_show_quality_beside_the_score_and_as_metric() -> None:
    cells = {
        ("g", "c"): [figured(0.9, t, 3.0 + t) for t in range(3)],
        ("b", "c"): [make_record(0.8, t) for t in range(3)],
    }
    table = build_table(cells, TableSpec("t", ("g", "b"), ("c",)))
    page = render_terminal(table)
    assert "Generators against training images (random_conv@1, 9 images)" in page
    assert next(line for line in page.splitlines() if line.startswith("real images")).split()[2] == "0.5"
    by_row = {one["row"]: one for one in table_data(table)}
    assert (by_row["g"]["mean"], by_row["g"]["generator_fid"]) == (pytest.approx(0.9), 4.0)
    assert by_row["b"]["generator_fid"] is None
    quality = build_table(cells, TableSpec("t", ("g", "b"), ("c",), metric="generator_fid"))
    assert "FID of the generator" in render_terminal(quality)
    assert quality.cells["g", "c"].values == {0: 3.0, 1: 4.0, 2: 5.0}
    assert quality.cells["b", "c"].absence == "no generator's figures"


def test_a_copying_generator_gets_no_figure_that_copies_improve() -> None:
    cells = {("g", "c"): [figured(0.9, 0, 0.1, copying=True)], ("h", "c"): [figured(0.9, 0, 3.0)]}
    by_metric = {
        name: build_table(cells, TableSpec("t", ("g", "h"), ("c",), metric=name))
        for name in ("generator_fid", "generator_authenticity")
    }
    assert by_metric["generator_fid"].cells["g", "c"].absence == "copies training images"
    assert by_metric["generator_fid"].best == {("h", "c")}
    assert by_metric["generator_authenticity"].cells["g", "c"].values == {0: 0.25}
    page = render_terminal(by_metric["generator_fid"], width=200)
    (line,) = (one for one in page.splitlines() if one.startswith("g (copies in 1 of 1)"))
    assert line.removeprefix("g (copies in 1 of 1)").split() == ["copies"] * 6 + ["0.25", "0.25", "copies"]
    rows = {one["row"]: one for one in table_data(by_metric["generator_authenticity"])}
    assert [rows[row]["generator_copying"] for row in "gh"] == [1, 0]
    assert (rows["g"]["generator_fid"], rows["h"]["generator_fid"]) == (None, 3.0)


def test_a_mean_over_trials_of_which_one_copies_is_no_figure() -> None:
    records = [figured(0.9, 0, 0.1, copying=True), figured(0.9, 1, 3.0), figured(0.9, 2, 3.0)]
    (row,) = table_data(build_table({("g", "c"): records}, TableSpec("t", ("g",), ("c",))))
    assert (row["generator_fid"], row["generator_authenticity"], row["generator_copying"]) == (None, 0.25, 1)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 1.0])
def test_no_printed_score_rewards_copies(share: float) -> None:
    """A sampler of which a share are training images, beside an honest one with the same other samples."""
    pixels = Digits().load(None).images  # type: ignore[arg-type]
    reference = reference_from(pixels[:800], 400, "digits")
    noise = torch.randn(400, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 20.0
    honest = (pixels[800:1200] + noise).round().clamp(0, 255).byte()
    copied, cells = round(share * 400), {}
    for row, images in (("honest", honest), ("cheat", torch.cat([reference.seen[:copied], honest[copied:]]))):
        record: Any = make_record(0.9, 0)
        record["result"]["generator"] = compare_sets(random_conv(), reference, images)
        cells[row, "c"] = [record]
    figures = {row: one[0]["result"]["generator"]["figures"] for (row, _), one in cells.items()}
    assert figures["cheat"]["fid"] < figures["honest"]["fid"], "the distance itself rewards copies"
    for name, metric in GENERATOR_METRICS.items():
        table = build_table(cells, TableSpec("t", ("honest", "cheat"), ("c",), metric=name))
        (fair,) = table.cells["honest", "c"].values.values()
        for value in (*table.cells["cheat", "c"].values.values(), table_data(table)[1][name]):
            assert value is None or metric.sign * float(value) <= metric.sign * fair, name
        assert table_data(table)[1]["generator_copying"] == 1
        assert table_data(table)[0]["generator_copying"] == 0


def test_figures_with_different_stamps_share_no_column() -> None:
    cells = {("g", "c"): [figured(0.9, 0, 3.0)], ("h", "c"): [figured(0.9, 0, 3.0, images=10)]}
    with pytest.raises(ConfigError, match=r"column c: .*different stamps"):
        build_table(cells, TableSpec("t", ("g", "h"), ("c",), metric="generator_fid"))
    page = render_terminal(build_table(cells, TableSpec("t", ("g", "h"), ("c",))))
    block = page.partition("Generators against")[2].partition("Data used")[0]
    assert "\ng " in block
    assert "\nh " not in block
