"""What makes two runs the same run."""

import json
import re
from dataclasses import asdict

import pytest

from trigan.config import run_hash as run_hash_file
from trigan.config.compose import Composer
from trigan.config.settings import Evaluation
from trigan.errors import ConfigError
from trigan.scores import EVALUATION_DEFAULTS, SPECIFICITY


def run_hash(composer: Composer, *overrides: str, fingerprint: str = "f") -> str:
    return composer.compose(overrides).run_hash(fingerprint)


@pytest.mark.parametrize(
    "override",
    [
        "study=demo",
        "row='a row'",
        "paths.outputs=elsewhere",
        "runtime.threads=2",
        "runtime.allow=[mine]",
        "logger.project=other",
        "data.root=/somewhere",
        "trainer=ddp_cpu",
        "trial=0",
        "seed=0",
        "tuned.trials=3",
        "evaluation.specificity=0.95",
    ],
)
def test_observers_and_places_do_not_count(composer: Composer, override: str) -> None:
    assert run_hash(composer, override) == run_hash(composer)


@pytest.mark.parametrize(
    "override",
    [
        "trial=1",
        "seed=1",
        "architecture=large",
        "strategy.steps=11",
        "data.size=16",
        "trainer.precision=bf16",
        "debug=fast",
        "strategy.matched_flops=1",
        "evaluation.specificity=0.9",
    ],
)
def test_all_else_counts(composer: Composer, override: str) -> None:
    assert run_hash(composer, override) != run_hash(composer)


def test_a_search_that_chose_the_settings_counts(composer: Composer) -> None:
    found = ["tuned.search=mine", "tuned.trials=3", "tuned.labels=40"]
    hashes = {run_hash(composer), run_hash(composer, *found), run_hash(composer, *found, "tuned.trial=1")}
    assert len(hashes) == 3


def test_a_config_from_before_the_evaluation_keeps_its_hash(composer: Composer) -> None:
    config = composer.compose([]).config
    older = {key: value for key, value in config.items() if key != "evaluation"}
    assert run_hash_file.run_hash(older, "f") == run_hash_file.run_hash(config, "f")
    assert Evaluation().specificity == SPECIFICITY


@pytest.mark.parametrize("value", ["0", "1", "-0.5", "95"])
def test_a_specificity_is_a_share(composer: Composer, value: str) -> None:
    with pytest.raises(ConfigError, match=f"evaluation.specificity={value}.*: expected above 0 and below 1"):
        composer.compose([f"evaluation.specificity={value}"])


def test_data_and_protocol_count(composer: Composer, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_hash(composer)
    assert run_hash(composer, fingerprint="other") != before
    monkeypatch.setattr(run_hash_file, "PROTOCOL_VERSION", -1)
    assert run_hash(composer) != before


def test_form(composer: Composer) -> None:
    assert re.fullmatch(r"[0-9a-f]{20}", run_hash(composer))
    assert run_hash(composer, "architecture.slope=1") == run_hash(composer, "architecture.slope=1.0")


def test_tables_know_the_defaults_of_the_evaluation() -> None:
    assert json.loads(json.dumps(asdict(Evaluation()))) == EVALUATION_DEFAULTS
