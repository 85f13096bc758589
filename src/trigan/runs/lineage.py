"""The artifacts a run made and used (GAN -> samples -> classifier), each named by its content, for the tracker."""

import logging
from collections.abc import Iterator
from typing import Any

from trigan.artifacts.manifest import Manifest
from trigan.errors import TriganError
from trigan.identity import digest
from trigan.runs.trained_run import TrainedRun
from trigan.strategies.stage_runner import TrainedStage
from trigan.tracking import TrackedArtifact
from trigan.training.callbacks import SPEED_NAME

_log = logging.getLogger("trigan")


def log_lineage(trained: TrainedRun, weights: dict[str, str]) -> None:
    """Log the run's artifacts; a stage whose manifest cannot be read (the store was cleaned) is only a warning."""
    try:
        for artifact in _artifacts(trained, weights):
            trained.tracker.log_artifact(artifact)
    except TriganError as error:
        _log.warning("the artifacts of this run are not all logged: %s", error)


def _artifacts(trained: TrainedRun, weights: dict[str, str]) -> Iterator[TrackedArtifact]:
    """The stages in order of use, the classifier's extra samples before it, and the final classifier last.

    A probe is not a stage and is identified by its weights alone.
    """
    outcome = trained.outcome
    manifests = {stage.digest: Manifest.read(stage.directory) for stage in trained.stages}
    last = next((s for s in trained.stages if s.networks.get("classifier") is outcome.classifier), None)
    earlier = [stage for stage in trained.stages if stage is not last]
    sources = [_name(stage.kind, stage.digest) for stage in earlier]
    yield from (_stage(stage, manifests[stage.digest], used=True) for stage in earlier)
    extra = manifests[last.digest].description["inputs"].get("extra") if last is not None else None
    if extra is not None:
        samples = outcome.notes.get("samples", {})
        about = {"digest": extra, "samples": samples, "stands_on": sources}
        metadata = {"kept": samples.get("kept"), "n_candidates": samples.get("n_candidates")}
        sources = [*sources, _name("samples", extra)]
        yield TrackedArtifact(sources[-1], "samples", metadata, about, {}, used=True)
    if last is not None:
        yield _stage(last, manifests[last.digest], used=False)
    else:
        name = _name("classifier", digest(weights["classifier"]))
        about = {"weights": weights["classifier"], "stands_on": sources}
        yield TrackedArtifact(name, "classifier", {"rule": outcome.rule}, about, {}, used=False)


def _stage(stage: TrainedStage, manifest: Manifest, used: bool) -> TrackedArtifact:
    """``about`` has no date and no duration: the same stage is the same artifact, whichever run trained it."""
    content: dict[str, Any] = {key: value for key, value in manifest.content.items() if key != "seconds"}
    about = {"digest": manifest.digest, "kind": manifest.kind, "stage": manifest.description, **content}
    about["files"] = {name: list(sizes) for name, sizes in manifest.files.items() if name != SPEED_NAME}
    files = {name: stage.directory / name for name in manifest.files if name.endswith(".safetensors")}
    metadata = {"digest": manifest.digest, "status": stage.status, "step": stage.step, "flops": stage.cost.flops}
    return TrackedArtifact(_name(stage.kind, stage.digest), stage.kind, metadata, about, files, used)


def _name(kind: str, key: str) -> str:
    return f"{kind}-{key[:12]}"
