"""`trigan study NAME --tuned N` finds a search space for every row of every study that comes with trigan."""

import itertools
from collections.abc import Iterator

import pytest
import yaml
from few_steps import composer

from trigan.config.run_hash import run_hash
from trigan.config.settings_file import dotted_key
from trigan.search.space import check_defaults
from trigan.search.tuned_study import row_space
from trigan.studies.study_file import find_study, read_study

STUDIES = sorted(find_study("demo").parents[1].glob("*/study.yaml"))
#: Settings on which no search space depends: data sets, numbers of labels, lengths, widths, latents, and what has no
#: dimension in any space.
_WITHOUT_EFFECT = (
    "data",
    "regime",
    "trial",
    "selection.",
    "evaluation.",
    "classifier.width",
    "architecture.width",
    "architecture.latent",
    "balance",
    "mix",
    "recipe.criterion",
    "recipe.adversary",
    "strategy.head",
    "strategy.noisy_labels",
    "strategy.post_hoc",
    "strategy.gan.flops",
    "strategy.gan.transition",
)
#: Study, whether it is the study's first scale, place, and settings.
Row = tuple[str, bool, str, tuple[str, ...]]


def every_row() -> Iterator[Row]:
    """The rows of all studies, scales and columns."""
    for path in STUDIES:
        for number, scale in enumerate(yaml.safe_load(path.read_text()).get("scales") or [None]):
            study = read_study(path, scale)
            for row, column in itertools.product(study.rows, study.columns):
                place = f"{scale}: {row.name}, {column.name}"
                yield study.name, number == 0, place, (*study.fixed, *column.set, *row.set)


def what_counts(row: Row) -> frozenset[str]:
    return frozenset(word for word in row[3] if not dotted_key(word).startswith(_WITHOUT_EFFECT))


#: One row of all those with the same settings in this respect, of a first scale if there is one.
DIFFERENT = list({what_counts(row): row for row in sorted(every_row(), key=lambda row: row[1])}.values())
#: Studies whose first scale is part of the quick tests.
QUICK = ("demo", "ssl_labels", "transfer")
CASES = [
    pytest.param(*case, marks=[] if case[1] and case[0] in QUICK else pytest.mark.slow)
    for case in sorted({row[:2] for row in DIFFERENT})
]


@pytest.mark.parametrize(("study", "first_scale"), CASES)
def test_every_row_of_a_study_has_a_space(study: str, first_scale: bool) -> None:
    """Its first trial is the row itself, and it searches nothing without effect."""
    for place, words in ((place, words) for *case, place, words in DIFFERENT if case == [study, first_scale]):
        space = row_space(composer(), words)
        row = composer().compose([*words, *space.strategy])
        check_defaults(space, row)
        first = composer().compose([*words, *space.strategy, *space.overrides(space.default_point)])
        assert run_hash(first.config, "") == run_hash(row.config, ""), place
        assert not set(first.unused) & {one.key for one in space.dimensions}, place


def space_of(*words: str) -> tuple[str, set[str]]:
    found = row_space(composer(), ["data=digits", *words])
    return found.name, {one.key for one in found.dimensions}


def test_controls_are_searched_without_what_has_no_effect_in_them() -> None:
    """All that the row and its control have in common is searched in both."""
    name, whole = space_of("strategy=augment")
    of_gan = {"loss.learning_rate", "strategy.samples.truncation", "strategy.samples.latent_scale"}
    for source, less in (("unlabelled", set[str]()), ("labelled", {"strategy.label_threshold"})):
        assert space_of("strategy=augment", f"strategy.source={source}") == (name, whole - of_gan - less)
    assert space_of("strategy=augment", "architecture=cgan") == (name, whole - {"strategy.label_threshold"})
    quantile = space_of("strategy=augment", "strategy/filter=class_quantile")
    assert quantile == (name, whole - {"strategy/filter", "strategy.label_threshold"})
    _, trained = space_of("strategy=features", "strategy/probe=fine_tune")
    control = space_of("strategy=features", "strategy/probe=fine_tune", "strategy.backbone=untrained")
    assert control == ("features_fine_tune", trained - {"loss.learning_rate"})


def test_another_choice_of_the_same_class_has_the_same_space() -> None:
    """Without the terms that it switches off."""
    _, whole = space_of("strategy=joint", "architecture=cgan", "strategy/objective=triple_gan")
    cifar10 = space_of("strategy=joint", "architecture=cgan", "strategy/objective=triple_gan_cifar10")
    objective = "strategy.joint.objective"
    assert cifar10 == ("joint_triple_gan", whole - {f"{objective}.entropy", f"{objective}.uniform_marginal"})
    pseudo_label = space_of("strategy=joint", "strategy/objective=pseudo_label")
    assert pseudo_label[0] == "joint_pseudo_label"
    assert space_of("strategy=joint", "strategy/objective=ec_gan") == pseudo_label
    _, of_c = space_of("strategy=baseline")
    assert space_of("strategy=baseline", "classifier=mlp") == ("baseline", of_c - {"classifier.dropout"})
