"""Labelled samples for other programs: a number per class, drawn in portions, so that any number fits into memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trigan.networks.gans.gan import ImageGenerator
from trigan.samples.collect import MAX_CANDIDATES_PER_IMAGE, first_of_each
from trigan.samples.filters import outputs
from trigan.samples.generate import BLOCK, UNCHANGED_LATENTS, LatentTransform, generate

#: Candidates drawn at once.
_PORTION = 4 * BLOCK


@dataclass
class Quota:
    """``per_class`` images of each of ``classes``: counts the images taken and the candidates drawn."""

    per_class: int
    classes: int
    taken: Tensor = field(init=False)
    n_candidates: int = 0

    def __post_init__(self) -> None:
        self.taken = torch.zeros(self.classes, dtype=torch.int64)

    @property
    def missing(self) -> list[int]:
        """Images still missing, by class."""
        return (self.per_class - self.taken).tolist()

    def take(self, labels: Tensor) -> Tensor:
        """Rows (m,) of the candidates with these ``labels`` (n,) that are still missing, in order; counts them."""
        rows = first_of_each(labels, self.per_class - self.taken)
        self.taken += torch.bincount(labels[rows], minlength=self.classes)
        return rows


def labelled_samples(
    generator: ImageGenerator,
    classifier: nn.Module,
    seed: int,
    quota: Quota,
    threshold: float | None,
    latent_transform: LatentTransform = UNCHANGED_LATENTS,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images uint8 (n, C, S, S) and labels int64 (n,), until the quota or the limit of candidates is reached.

    Candidate i is a function of (generator, seed, latent_transform, i) alone. The label of a conditional generator's
    candidate is ``i % K``, that of an unconditional one's is the classifier's prediction. A candidate counts if the
    classifier gives its label a probability of ``threshold`` (None: always). The limit is about
    ``MAX_CANDIDATES_PER_IMAGE`` candidates for each image.
    """
    conditional = bool(generator.classes)
    limit = quota.per_class * quota.classes
    if threshold is not None or not conditional:
        limit *= MAX_CANDIDATES_PER_IMAGE
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
            confident = probabilities.gather(1, labels[:, None]).squeeze(1) >= (threshold or 0.0)
            images, labels = images[confident], labels[confident]
        rows = quota.take(labels)
        if len(rows):
            yield images[rows], labels[rows]
