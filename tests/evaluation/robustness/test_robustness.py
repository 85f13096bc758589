"""Robustness in a run: what is attacked, its record, tables and page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from few_steps import composer, small
from record_makers import make_record
from report_fixture import small_study
from torch import Tensor, nn

from trigan.config.run_hash import run_hash
from trigan.config.settings import Evaluation
from trigan.errors import ConfigError
from trigan.evaluation.robustness.attacks import Ball, cross_entropy, pgd
from trigan.evaluation.robustness.robustness import (
    RobustnessSettings,
    robustness_answers,
    robustness_line,
    robustness_scores,
)
from trigan.records.record import Record, read_record
from trigan.reports.report_page import render_report
from trigan.reports.robustness_section import curves_of
from trigan.runs.run import run
from trigan.tables.table import Table, TableSpec, build_table


class Edges(nn.Module):
    """Three classes by two pixels: logits linear in the image."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0, 0, 0], x[:, 0, 3, 3], -x.mean((1, 2, 3))], 1) * self.scale


@pytest.fixture
def images() -> Tensor:
    return torch.randint(0, 256, (300, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_answers_are_those_of_the_attack_on_the_first_images_by_hash(images: Tensor) -> None:
    network = Edges()
    settings = RobustnessSettings(("pgd", "pgd_l2", "auto"), (0.05, 0.2), (0.1,), 5, False, 40)
    found = robustness_answers(network, images, settings)
    assert len(found.rows) == len(set(found.rows.tolist())) == 40
    assert found.rows.max() >= 40  # by hash, not the first ones
    assert list(found.attacked) == [("pgd", 0.05), ("pgd", 0.2), ("pgd_l2", 0.1), ("auto", 0.05), ("auto", 0.2)]
    clean = images[found.rows].float() / 127.5 - 1.0
    classes = network(clean).argmax(1)
    ball = Ball("linf", 0.05)
    from_scratch = pgd(network, clean, cross_entropy(classes), ball, 5)
    assert torch.equal(found.clean, classes)
    held, expected = found.attacked["pgd", 0.05] == classes, network(from_scratch).argmax(1) == classes
    assert int((held != expected).sum()) <= 2  # a linear classifier: the random start does not matter
    again = robustness_answers(network, images, settings)
    assert all(torch.equal(again.attacked[key], value) for key, value in found.attacked.items())


def test_an_image_counts_if_it_is_right_before_and_after(images: Tensor) -> None:
    settings = RobustnessSettings(("fgsm",), (0.3,), corruptions=True, images=50)
    found = robustness_answers(Edges(), images, settings)
    labels = torch.zeros(300, dtype=torch.int64)
    scores = robustness_scores(found, labels)
    right = found.clean == 0
    assert scores["clean"] == pytest.approx(float(right.float().mean()))
    (attack,) = scores["attacks"]
    assert attack["accuracy"] == pytest.approx(float((right & (found.attacked["fgsm", 0.3] == 0)).float().mean()))
    assert attack["accuracy"] < float((found.attacked["fgsm", 0.3] == 0).float().mean())
    assert len(scores["corruptions"]) == 12
    values = [value for by_severity in scores["corruptions"].values() for value in by_severity]
    assert len(values) == 60
    assert scores["corruption_accuracy"] == pytest.approx(sum(values) / 60)
    assert f"accuracy on 50 test images: clean {100 * scores['clean']:.1f} %, fgsm 0.3 " in robustness_line(scores)


def test_a_run_has_them_in_its_record(tmp_path: Path) -> None:
    words = ["evaluation.attacks=[fgsm,auto]", "evaluation.corruptions=true", "evaluation.robustness_images=30"]
    words += ["evaluation.attack_steps=3", f"paths.outputs={tmp_path}"]
    record: Any = read_record(run(composer().compose(small("strategy=baseline", *words))) / "record.json")
    found = record["result"]["robustness"]
    assert (found["images"], found["steps"]) == (30, 3)
    assert [one["attack"] for one in found["attacks"]] == ["fgsm", "auto"]
    assert max(one["accuracy"] for one in found["attacks"]) <= found["clean"]
    plain: Any = read_record(run(composer().compose(small("strategy=baseline", words[-1]))) / "record.json")
    assert "robustness" not in plain["result"]
    assert plain["result"]["weights"] == record["result"]["weights"]  # nothing else depends on it
    assert plain["result"]["predictions"] == record["result"]["predictions"]


def test_defaults_leave_hashes_and_other_values_do_not() -> None:
    older: dict[str, Any] = {"trial": 0, "evaluation": {"specificity": 0.9}}
    lists = {"attacks": [], "eps": [0.1], "eps_l2": [1.0], "attack_steps": 20, "corruptions": False}
    now = {**older, "evaluation": {"specificity": 0.9, **lists, "robustness_images": 1000}}
    assert run_hash(older, "f") == run_hash(now, "f")
    assert run_hash({"trial": 0}, "f") == run_hash({"trial": 0, "evaluation": lists}, "f")
    attacked = {**older, "evaluation": {"specificity": 0.9, "attacks": ["pgd"]}}
    assert run_hash(attacked, "f") != run_hash(older, "f")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("evaluation.attacks=[pdg]", r"evaluation\.attacks.*each one of fgsm, pgd"),
        ("evaluation.eps=[]", r"evaluation\.eps=\[\]: expected one or more sizes above 0, e\.g\. \[0\.1\]"),
        ("evaluation.eps_l2=[-1.0]", r"evaluation\.eps_l2=\[-1\.0\]: expected one or more sizes above 0"),
        ("evaluation.robustness_images=0", r"evaluation\.robustness_images.*>= 1"),
    ],
)
def test_wrong_settings_are_refused_before_training(word: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        composer().compose([word])
    assert Evaluation(attacks=["pgd"]).attacks == ("pgd",)  # type: ignore[arg-type]


def robust(accuracy: float, trial: int, eps: float = 0.1, **block: Any) -> Record:
    found = {"images": 100, "clean": 0.9, "steps": 20, "corruption_accuracy": accuracy - 0.1, **block}
    attacks = [{"attack": "pgd", "eps": size, "accuracy": accuracy - size} for size in (eps, 2 * eps)]
    corruptions = {"fog": [0.9, 0.8, 0.7, 0.6, 0.5], "contrast": [0.7, 0.6, 0.5, 0.4, 0.3]}
    return make_record(0.9, trial, robustness={**found, "attacks": attacks, "corruptions": corruptions})


def table(metric: str, make: Callable[[int], list[Record]]) -> Table:
    return build_table({("a", "c"): make(0), ("b", "c"): make(1)}, TableSpec("T", ("a", "b"), ("c",), metric=metric))


def test_a_table_shows_the_first_size_and_names_it() -> None:
    shown = table("robust_pgd", lambda index: [robust(0.5 + 0.1 * index, trial) for trial in range(3)])
    assert shown.metric.heading == "test accuracy under PGD, eps 0.1, %"
    assert shown.cells["b", "c"].values == pytest.approx({0: 0.5, 1: 0.5, 2: 0.5})
    assert shown.cells["a", "c"].resolution == 0.01  # of a hundred images, not of the test set
    corrupted = table("corruption_accuracy", lambda index: [robust(0.5, trial) for trial in range(3)])
    assert corrupted.cells["a", "c"].values == pytest.approx({0: 0.4, 1: 0.4, 2: 0.4})
    missing = table("robust_auto", lambda index: [robust(0.5, trial) for trial in range(3)])
    assert missing.cells["a", "c"].absence == "not in the record"


@pytest.mark.parametrize("other", [{"eps": 0.2}, {"steps": 40}])
def test_a_table_refuses_rows_that_were_attacked_otherwise(other: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"column c: robust_pgd of .* are not comparable; choose runs"):
        table("robust_pgd", lambda index: [robust(0.5, 0, **(other if index else {}))])


def test_the_page_draws_accuracy_against_size_and_severity(tmp_path: Path) -> None:
    material = small_study(tmp_path)
    assert 'id="robustness"' not in render_report(material)
    found: Any = robust(0.5, 0)["result"]
    for cell in material.table.cells.values():
        for record in cell.records:
            record["result"]["robustness"] = found["robustness"]
    page = render_report(material)
    assert 'id="robustness"' in page
    assert "Accuracy in % under corruptions over its severity: bare 90.0 at 0, 80.0 at 1, 70.0 at 2" in page
    assert "Accuracy in % under pgd over its size of the attack: bare 90.0 at 0, 40.0 at 0.1, 30.0 at 0.2" in page
    assert curves_of(found["robustness"])["pgd"] == pytest.approx({0.0: 0.9, 0.1: 0.4, 0.2: 0.3})
