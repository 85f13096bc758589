"""The audit: a planted difference in C's training is found, and what a row says itself is declared."""

import copy
from typing import Any

import pytest
from record_makers import make_record

from trigan.component_ids import with_defaults, with_identifiers
from trigan.config.compose import compose
from trigan.tables.classifier_differences import (
    AuditedRow,
    audited_row,
    compare_rows,
    counts,
    settings_of_c,
    undeclared,
)

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


def classic(**fields: Any) -> dict[str, Any]:
    return {"_id_": "augmentation/classic@1", "rotate": 15.0, "translate": 0.0, **fields}


def counted_record(strategy: dict[str, Any], streams: dict[str, Any], name: str = "classifier") -> Any:
    """A record whose C was shown 100 images of each stream, and these augmentations of them: (view, node, images)."""
    augmented = {
        stream: [{"view": view, "augmentation": node, "images": images} for view, node, images in views]
        for stream, views in streams.items()
    }
    counts = {"updates": 5, "images": dict.fromkeys(streams, 100), "statistics": 100, "augmented": augmented}
    record: Any = make_record(0.5)
    record["config"]["strategy"] = strategy
    record["result"]["stages"] = [{"hash": "h", "kind": name, "name": name, "flops": 1, "images": {}}]
    record["result"]["stages"][0]["classifier"] = counts
    return record


def fixmatch_record(weak: int = 100, strong: int = 100, rotate: float = 30.0) -> Any:
    """A FixMatch row by its settings, and how many unlabelled images each augmentation changed."""
    recipe, node = {"_id_": "recipe/recipe@1", "augmentation": classic()}, classic(rotate=rotate)
    method = {"_id_": "baseline/fixmatch@1", "weak": classic(), "strong": classic(rotate=30.0), "weight": 1.0}
    strategy = {"_id_": "strategy/baseline@1", "classifier": {"recipe": recipe}, "unlabelled": method}
    unlabelled = [("weak", classic(), weak), ("strong", node, strong)]
    return counted_record(strategy, {"labelled": [("augment", classic(), 100)], "consistency": unlabelled})


def audit(record: Any, other: Any, *given: str, against: tuple[str, ...] = BASELINE) -> dict[str, tuple[str, str]]:
    """The undeclared differences of two records' rows, by name."""
    rows = audited_row(record, "row", given or BASELINE, ()), audited_row(other, "other", against, ())
    return {one.setting: (one.value, one.other) for one in undeclared(compare_rows(*rows))}


@pytest.mark.parametrize("view", ["weak", "strong"])
def test_an_augmentation_that_is_off_behind_the_settings_is_found(view: str) -> None:
    """From the counts alone: the settings of the two rows are equal, or another strategy's."""
    whole, off = fixmatch_record(), fixmatch_record(**{view: 0})
    setting = f"augmentation of unlabelled images by unlabelled.{view}"
    assert audit(whole, whole) == {}
    assert audit(whole, off)[setting] == ("as its settings say", "applied to none")
    found = audit(off, whole)
    assert found[setting] == ("applied to none", "as its settings say")
    kept = {"weak": "strong: classic(rotate=30.0) x 1.00", "strong": "weak: classic(rotate=15.0) x 1.00"}[view]
    both = "strong: classic(rotate=30.0) x 1.00, weak: classic(rotate=15.0) x 1.00"
    assert found["augmentation of unlabelled images"] == (kept, both)
    recipe = {"_id_": "recipe/recipe@1", "augmentation": classic()}
    plain = counted_record({"classifier": {"recipe": recipe}}, {"labelled": [("augment", classic(), 100)]})
    assert set(audit(off, plain, against=("strategy=baseline",))) == {setting}
    declared = audited_row(off, "row", BASELINE, (setting, "augmentation of unlabelled images"))
    assert undeclared(compare_rows(declared, audited_row(whole, "other", BASELINE, ()))) == []


def test_another_strength_or_half_of_the_images_is_found() -> None:
    whole = fixmatch_record()
    assert "augmentation of unlabelled images" in audit(fixmatch_record(strong=50), whole)
    assert len(audit(fixmatch_record(rotate=10.0), whole)) == 2
    assert "labelled images shown to C" not in audit(whole, whole)


def test_what_a_row_chooses_itself_declares_its_augmentation() -> None:
    whole, game = fixmatch_record(), fixmatch_record(weak=0, strong=0)
    game["config"]["strategy"] = {"joint": {"recipe": {"_id_": "recipe/recipe@1", "augmentation": classic()}}}
    assert audit(game, whole, "strategy=joint") == {}
    plain = {"classifier": {"recipe": {"_id_": "recipe/recipe@1", "augmentation": {"_id_": "augmentation/none@1"}}}}
    bare = counted_record(plain, {"labelled": [("augment", {"_id_": "augmentation/none@1"}, 0)]})
    assert set(audit(bare, whole, "strategy=joint")) >= {"augmentation of labelled images"}
    assert audit(bare, whole, "strategy=joint", "augmentation=none") == {}


def test_samples_are_a_kind_of_their_own() -> None:
    """Whatever their stream is called; beside pseudo-labels, which have the stream ``extra`` then."""
    recipe = {"recipe": {"_id_": "recipe/recipe@1", "augmentation": classic()}}
    streams = {"labelled": [("augment", classic(), 100)], "extra": [("augment", classic(), 100)]}
    samples = audited_row(counted_record({"classifier": recipe}, streams), "row", (), ()).counted
    assert samples["samples shown to C"] == "100"
    assert samples["augmentation of samples"] == "augment: classic(rotate=15.0) x 1.00"
    assert samples["unlabelled images shown to C"] == samples["pseudo-labelled images shown to C"] == "0"
    trained = {"classifier": recipe, "unlabelled": {"_id_": "baseline/self_training@1"}}
    beside = counted_record(trained, {**streams, "samples": [("augment", classic(), 0)]})
    counted = audited_row(beside, "row", (), ())
    assert counted.counted["pseudo-labelled images shown to C"] == counted.counted["samples shown to C"] == "100"
    assert counted.not_applied == ("augmentation of samples by recipe.augmentation",)


def test_a_record_of_before_these_counts_is_compared_by_its_settings() -> None:
    old = fixmatch_record()
    del old["result"]["stages"][0]["classifier"]["augmented"]
    assert audit(old, fixmatch_record(strong=0)) == {
        "augmentation of unlabelled images by unlabelled.strong": ("as its settings say", "applied to none")
    }
    assert not any(key.startswith("augmentation") for key in audited_row(old, "row", (), ()).counted)


def test_a_field_that_a_record_is_too_old_for_has_its_default() -> None:
    old, same, other = fixmatch_record(), fixmatch_record(), fixmatch_record()
    same["config"]["strategy"]["classifier"]["recipe"]["augmentation"]["color_jitter"] = 0.0
    other["config"]["strategy"]["classifier"]["recipe"]["augmentation"]["color_jitter"] = 0.3
    assert not audit(old, same)
    assert audit(old, other)["recipe.augmentation.color_jitter"] == ("0.0", "0.3")


def test_a_setting_that_came_later_is_no_difference_to_a_record_of_before() -> None:
    now = row("strategy=baseline", fixed=("balance=class_weights",))
    before = copy.deepcopy(dict(now.config))
    recipe = before["strategy"]["classifier"]["recipe"]
    del recipe["balance"]["start"], recipe["selection"]["metric"], recipe["criterion"]
    old = AuditedRow("before", with_defaults(before))
    assert found(now, old) == []
    assert found(planted(now, "strategy.classifier.recipe.selection.metric", "balanced_accuracy"), old) == [
        "recipe.selection.metric"
    ]


def test_the_updates_of_a_new_head_count_and_are_declared_by_its_choice() -> None:
    shown = {"updates": 100, "statistics": 90, "images": {"labelled": 6400}, "augmented": {}}
    head = {**shown, "updates": 50, "images": {"labelled": 3200}}
    first, second = (
        {"name": name, "kind": "classifier", "classifier": one}
        for name, one in (("classifier", shown), ("classifier-head", head))
    )
    config = with_identifiers(compose(["strategy=baseline", "logger=none"]).config)
    plain, refitted = (make_record(0.9, config=config, stages=stages) for stages in ([first], [first, second]))
    bare = audited_row(plain, "bare", (), ())
    assert counts(refitted)["updates of C"] == "150"
    silent = audited_row(refitted, "silent", (), ())
    assert {"updates of C", "labelled images shown to C"} <= set(found(silent, bare))
    said = audited_row(refitted, "said", ("strategy/head=refit",), ())
    assert not {"updates of C", "labelled images shown to C"} & set(found(said, bare))
