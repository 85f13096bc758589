"""What a run made and stands on, told to its tracker: GAN -> samples -> classifier, each named by its content."""

import logging
from collections.abc import Iterator
from typing import Any

from trigan.artifacts.manifest import Manifest
from trigan.errors import TriganError
from trigan.identity import digest
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.strategies.strategy import Outcome
from trigan.tracking import TrackedArtifact, Tracker

_log = logging.getLogger("trigan")

#: Letters of a digest in a name.
_SHORT = 12


def log_lineage(outcome: Outcome, runner: StageRunner, weights: dict[str, str], tracker: Tracker) -> None:
    """Tell the tracker; a stage whose manifest can't be read (somebody has cleaned the store) costs no result."""
    try:
        for product in products(outcome, runner, weights):
            tracker.log_artifact(product)
    except TriganError as error:
        _log.warning("what this run stands on is not told in full: %s", error)


def products(outcome: Outcome, runner: StageRunner, weights: dict[str, str]) -> Iterator[TrackedArtifact]:
    """The stages in the order that they were needed, C's further samples before C, and what classifies last.

    ``weights``: digests of the outcome's networks by player. A probe is no stage, and is known by its weights alone.
    """
    stages = list({trained.digest: trained for trained in runner.trained_stages}.values())
    manifests = {trained.digest: Manifest.read(trained.directory) for trained in stages}
    last = next((one for one in stages if one.networks.get("classifier") is outcome.classifier), None)
    sources = [_name(one.kind, one.digest) for one in stages if one is not last]
    yield from (_stage(one, manifests[one.digest], used=True) for one in stages if one is not last)
    extra = manifests[last.digest].description["inputs"].get("extra") if last is not None else None
    if extra is not None:
        about = {"digest": extra, "samples": outcome.notes.get("samples", {}), "stands_on": sources}
        facts = {"kept": about["samples"].get("kept"), "n_candidates": about["samples"].get("n_candidates")}
        sources = [*sources, _name("samples", extra)]
        yield TrackedArtifact(sources[-1], "samples", facts, about, {}, used=True)
    if last is not None:
        yield _stage(last, manifests[last.digest], used=False)
    else:
        key = digest(weights["classifier"])
        about = {"weights": weights["classifier"], "stands_on": sources}
        yield TrackedArtifact(_name("classifier", key), "classifier", {"rule": outcome.rule}, about, {}, used=False)


def _stage(trained: TrainedStage, manifest: Manifest, used: bool) -> TrackedArtifact:
    """``about`` has no date and no seconds: the same stage is the same thing, whoever trained it."""
    content: dict[str, Any] = {key: value for key, value in manifest.content.items() if key != "seconds"}
    about = {"digest": manifest.digest, "kind": manifest.kind, "stage": manifest.description, **content}
    about["files"] = {name: list(sizes) for name, sizes in manifest.files.items()}
    files = {name: trained.directory / name for name in manifest.files if name.endswith(".safetensors")}
    facts = {"digest": manifest.digest, "status": trained.status, "step": trained.step, "flops": trained.cost.flops}
    return TrackedArtifact(_name(trained.kind, trained.digest), trained.kind, facts, about, files, used)


def _name(kind: str, key: str) -> str:
    return f"{kind}-{key[:_SHORT]}"
