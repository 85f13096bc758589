"""Labelled images from a finished run's generator, written as a folder or a Parquet file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from trigan.atomic import MARKER_FILE, atomic_folder, write_json
from trigan.config.settings import LABEL_THRESHOLD
from trigan.errors import ArtifactError, ConfigError
from trigan.runs.finished_run import FinishedRun
from trigan.samples.collect import Quota, labelled_samples
from trigan.samples.sample_files import folder_writer, parquet_writer
from trigan.samples.samplers import UNCHANGED_LATENTS, LatentTransform


@dataclass(frozen=True)
class SampleRequest:
    """Which samples to write: ``per_class`` images of each class.

    ``threshold`` is the least probability that the run's classifier gives the label. None: ``LABEL_THRESHOLD`` for an
    unconditional generator, whose labels are the classifier's; no check for a conditional one.
    """

    per_class: int
    seed: int = 0
    threshold: float | None = None
    latent_transform: LatentTransform = UNCHANGED_LATENTS
    file_format: Literal["folder", "parquet"] = "folder"


def write_samples(
    finished: FinishedRun,
    folder: Path,
    request: SampleRequest,
    force: bool = False,
    on_progress: Callable[[int], None] = lambda images: None,
) -> tuple[dict[str, int], str]:
    """Write ``folder/CLASS/000123.png`` or ``folder/samples.parquet``, complete or not at all.

    The same run, seed and number give the same images; a larger number begins with those of a smaller one. ``force``
    replaces a folder that trigan wrote; ``on_progress`` is called with the number of images since its last call.

    Returns:
        How many images are missing, by class, and advice on how to get them.

    Raises:
        ConfigError: the run has no generator, its logits give no probabilities for the threshold, or the folder exists.
        ArtifactError: not one image reached the threshold, or the file cannot be written.
    """
    sampler, threshold = finished.sampler(request.latent_transform), request.threshold
    if threshold is None and not sampler.conditional:
        threshold = LABEL_THRESHOLD
    if threshold and not finished.probabilistic:
        raise ConfigError(
            f"--threshold {threshold}: the scores of run {finished.run[:12]} are not probabilities; add --threshold 0 "
            "to use its classifier's label without a threshold"
        )
    quota = Quota(torch.full((finished.spec.classes,), request.per_class))
    with atomic_folder(folder, force) as new:
        writing = folder_writer if request.file_format == "folder" else parquet_writer
        samples = labelled_samples(sampler, finished.classifier, request.seed, quota, threshold)
        with writing(new, finished.classes) as writer:
            for images, labels in samples:
                writer.write(images, labels)
                on_progress(len(labels))
        taken = (request.per_class - quota.missing).tolist()
        if not any(taken):
            raise ArtifactError(f"not one image was written: {_advice(quota, threshold)}")
        marker = {
            "what": "samples",
            "run": finished.run,
            "seed": request.seed,
            "truncation": request.latent_transform.truncation,
            "latent_scale": request.latent_transform.scale,
            "threshold": threshold,
            "labels": "condition" if sampler.conditional else "classifier",
            "per_class": dict(zip(finished.classes, taken, strict=True)),
            "n_candidates": quota.n_candidates,
        }
        write_json(new / MARKER_FILE, marker)
    missing = {name: count for name, count in zip(finished.classes, quota.missing.tolist(), strict=True) if count}
    return missing, _advice(quota, threshold)


def _advice(quota: Quota, threshold: float | None) -> str:
    if not threshold:
        return f"the run's classifier found no more in {quota.n_candidates} samples; choose a run trained for longer"
    return (
        f"the run's classifier was confident of no more in {quota.n_candidates} samples; "
        f"lower --threshold (now {threshold:g}), or choose a run trained for longer"
    )
