"""Labelled samples for use outside: so many of each class, drawn in portions, so that any number fits into memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trigan.networks.gans.gan import ImageGenerator
from trigan.samples.collect import MAX_CANDIDATES_PER_IMAGE
from trigan.samples.filters import outputs
from trigan.samples.generate import BLOCK, UNCHANGED_LATENTS, LatentTransform, generate

#: Candidates that are drawn and judged at once.
_PORTION = 4 * BLOCK


@dataclass
class Quota:
    """``per_class`` images of each of ``classes``: counts what has been taken, and of how many candidates."""

    per_class: int
    classes: int
    taken: Tensor = field(init=False)
    n_candidates: int = 0

    def __post_init__(self) -> None:
        self.taken = torch.zeros(self.classes, dtype=torch.int64)

    @property
    def missing(self) -> list[int]:
        """By class, how many images are still wanted."""
        return (self.per_class - self.taken).tolist()

    def take(self, labels: Tensor) -> Tensor:
        """Of candidates with these ``labels`` (n,), the rows (m,) that are wanted, in order; they count as taken."""
        rows = []
        for row, label in enumerate(labels.tolist()):
            if self.taken[label] < self.per_class:
                self.taken[label] += 1
                rows.append(row)
        return torch.tensor(rows, dtype=torch.int64)


def labelled_samples(
    generator: ImageGenerator,
    classifier: nn.Module,
    seed: int,
    quota: Quota,
    threshold: float | None,
    latent_transform: LatentTransform = UNCHANGED_LATENTS,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images uint8 (n, C, S, S) and labels int64 (n,), until the quota is full or the patience is at an end.

    Candidate i is a function of (generator, seed, latent_transform, i) alone. A conditional generator is told the label
    ``i % K``, and its candidate counts if the classifier gives that label a probability of ``threshold`` (None:
    always). The candidate of an unconditional one gets the classifier's label, and counts if its probability is
    ``threshold``. About ``MAX_CANDIDATES_PER_IMAGE`` candidates are looked at for each image wanted, at the most.
    """
    conditional = bool(generator.classes)
    wanted = quota.per_class * quota.classes
    limit = wanted if conditional and threshold is None else MAX_CANDIDATES_PER_IMAGE * wanted
    limit = -(-limit // BLOCK) * BLOCK  # whole blocks: a batch of another size may differ in the last bit
    while any(quota.missing) and quota.n_candidates < limit:
        start = quota.n_candidates
        count = min(_PORTION, limit - start)
        labels = torch.arange(start, start + count) % quota.classes if conditional else None
        images = generate(generator, seed, count, labels, start, latent_transform).images
        quota.n_candidates += count
        if threshold is not None or labels is None:
            probabilities = outputs(classifier, images).softmax(1)
            labels = probabilities.argmax(1) if labels is None else labels
            sure = probabilities.gather(1, labels[:, None]).squeeze(1) >= (threshold or 0.0)
            images, labels = images[sure], labels[sure]
        rows = quota.take(labels)
        if len(rows):
            yield images[rows], labels[rows]
