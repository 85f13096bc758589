"""The audit: a planted difference in C's training is found, and what a row says itself is declared."""

import copy
from typing import Any

import pytest

from trigan.component_ids import with_identifiers
from trigan.config.compose import compose
from trigan.tables.classifier_differences import AuditedRow, compare_rows, settings_of_c, undeclared

BASELINE = ("strategy=baseline", "strategy.unlabelled=fixmatch")
JOINT = ("strategy=joint", "strategy/consistency=fixmatch")


def row(*given: str, fixed: tuple[str, ...] = (), **changes: Any) -> AuditedRow:
    config = with_identifiers(compose([*given, *fixed, "logger=none"]).config)
    return AuditedRow(" ".join(given), config, given, **changes)


def planted(one: AuditedRow, path: str, value: object) -> AuditedRow:
    """The row with another value deep inside its strategy, which no setting of the row names."""
    config = copy.deepcopy(dict(one.config))
    *parents, last = path.split(".")
    node: Any = config
    for name in parents:
        node = node[name]
    assert last in node
    node[last] = value
    return AuditedRow(one.name, config, one.given, one.declares, one.counted, one.unlabelled)


def found(one: AuditedRow, other: AuditedRow) -> list[str]:
    return [difference.setting for difference in undeclared(compare_rows(one, other))]


def test_every_strategy_has_the_recipe_of_the_others() -> None:
    rows = [
        row(*words)
        for words in (
            ("strategy=baseline",),
            BASELINE,
            JOINT,
            ("strategy=joint", "architecture=cgan", "strategy.objective=triple_gan"),
            ("strategy=augment", "strategy/schedule=pretrain"),
            ("strategy=features", "strategy.probe=fine_tune"),
            ("strategy=features",),
        )
    ]
    assert [found(one, other) for one in rows for other in rows] == [[]] * len(rows) ** 2
    assert len(settings_of_c(rows[0].config)) > 20


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        ("strategy.joint.recipe.optimizer.betas", [0.9, 0.999], "recipe.optimizer.betas"),
        ("strategy.joint.recipe.optimizer.schedule", {"_id_": "schedule/cosine@1"}, "recipe.optimizer.schedule._id_"),
        ("strategy.joint.recipe.ema", None, "recipe.ema"),
        ("strategy.joint.recipe.steps", 9, "recipe.steps"),
        ("strategy.joint.recipe.classifier.dropout", 0.5, "recipe.classifier.dropout"),
        ("strategy.joint.recipe.augmentation.rotate", 45, "recipe.augmentation.rotate"),
        ("trainer.precision", "bf16-mixed", "trainer.precision"),
    ],
)
def test_a_planted_setting_is_found(path: str, value: object, name: str) -> None:
    assert name in found(planted(row(*JOINT), path, value), row(*BASELINE))


def test_another_augmentation_of_unlabelled_images_is_found() -> None:
    game = row("strategy=joint", "strategy/consistency=fixmatch")
    changed = planted(game, "strategy.joint.consistency.strong.cutout", 0.9)
    assert found(changed, game) == ["strong.cutout"]
    named = row(*game.given, "strategy.joint.consistency.strong.cutout=0.9")
    assert found(named, game) == []


def test_the_views_of_one_method_in_two_strategies_are_compared() -> None:
    """FixMatch as a baseline and as a term of a game."""
    changed = planted(row(*JOINT), "strategy.joint.consistency.strong.cutout", 0.9)
    assert found(row(*JOINT), row(*BASELINE)) == []
    assert found(changed, row(*BASELINE)) == ["strong.cutout"]


@pytest.mark.parametrize(
    "setting",
    [
        "recipe=cosine",
        "recipe.optimizer.learning_rate=0.1",
        "recipe.steps=7",
        "data.suggested.steps=7",
        "classifier.dropout=0.5",
        "classifier=mlp",
        "augmentation=none",
        "mix=mixup",
        "balance=resampling",
        "selection.rule=last",
    ],
)
def test_what_a_row_sets_itself_is_declared(setting: str) -> None:
    differences = compare_rows(row("strategy=joint", setting), row("strategy=baseline"))
    assert differences
    assert all(one.declared for one in differences)
    fixed = row("strategy=joint", fixed=(setting,))
    assert found(fixed, row("strategy=baseline")) != [], "set by neither row"
    assert found(fixed, row("strategy=baseline", fixed=(setting,))) == []


def test_a_study_declares_by_name_what_no_row_sets() -> None:
    changed = planted(row(*JOINT), "strategy.joint.recipe.ema", None)
    named = AuditedRow("joint", changed.config, changed.given, ("recipe.ema",))
    assert found(named, row(*BASELINE)) == []


def test_counts_are_compared() -> None:
    """Another source of batch-norm statistics is a difference, unless the rows use other unlabelled images anyway."""
    counts = {"images of C's batch-norm statistics": "100", "updates of C": "50", "operations": "7"}
    one = row("strategy=joint", counted=counts, unlabelled=100)
    same = row("strategy=baseline", counted={**counts, "operations": "9"}, unlabelled=100)
    assert found(one, same) == []
    assert [d.setting for d in compare_rows(one, same)] == ["operations"]
    other = row("strategy=baseline", counted={**counts, "images of C's batch-norm statistics": "10"}, unlabelled=100)
    assert found(one, other) == ["images of C's batch-norm statistics"]
    labels_only = AuditedRow(other.name, other.config, other.given, (), other.counted, 0)
    assert found(one, labels_only) == []
    longer = row("strategy=baseline", counted={**counts, "updates of C": "60"}, unlabelled=100)
    assert found(one, longer) == ["updates of C"]
