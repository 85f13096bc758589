"""A sample set: so many of each class, from any source, through filters, and no more than was asked for."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trigan.errors import ConfigError
from trigan.samples.collect import MAX_CANDIDATES_PER_IMAGE, CollectedSamples, collect_sets, wanted_counts
from trigan.samples.filters import (
    AgreementFilter,
    ConfidenceFilter,
    DiscriminatorFilter,
    Filter,
    ScoringModels,
    outputs,
)
from trigan.samples.samplers import GeneratorSampler, LabelledSampler, NoiseSampler, Sampler, UnlabelledSampler

from ..training.tiny import CGAN8, DCGAN8, SPEC, view


def collect(*arguments: Any) -> CollectedSamples:
    """A single set."""
    return collect_sets(*arguments, 1)


def _brute(counts: list[int], total: int) -> list[int]:
    """One image after the other to the class that then has the fewest."""
    level = list(counts)
    for _ in range(total):
        level[level.index(min(level))] += 1
    return [after - before for after, before in zip(level, counts, strict=True)]


@pytest.mark.parametrize("counts", [[5, 5, 5], [1, 10, 100], [0, 3, 3, 7], [100, 1], [4, 2, 9, 2, 1]])
@pytest.mark.parametrize("total", [1, 2, 7, 30, 100])
def test_wanted_counts(counts: list[int], total: int) -> None:
    deficit = wanted_counts(torch.tensor(counts), total, True)
    assert deficit.tolist() == _brute(counts, total)
    assert int(deficit.sum()) == total
    balanced = wanted_counts(torch.tensor(counts), total, False)
    assert int(balanced.sum()) == total
    assert int(balanced.max() - balanced.min()) <= 1
    raised = torch.tensor(counts) + deficit
    touched = raised[deficit > 0]
    assert int(touched.max() - touched.min()) <= 1
    assert bool((raised[deficit == 0] >= touched.max() - 1).all()), "a class was passed over that had fewer"


class _FirstPixelClassifier(nn.Module):
    """Predicts the first pixel as the class; the second pixel lowers the confidence."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.classes = classes

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        pixels = ((images + 1) * 127.5).round().flatten(1)
        if labels is not None:
            return pixels[:, 1] * self.scale
        logits = nn.functional.one_hot(pixels[:, 0].long(), self.classes).float() * 20
        return logits / (1 + pixels[:, 1:2])


def _image(label: int, doubt: int) -> Tensor:
    image = torch.zeros(1, 8, 8, dtype=torch.uint8)
    image[0, 0, 0], image[0, 0, 1] = label, doubt
    return image


@dataclass(frozen=True)
class _Listed(Sampler):
    """Candidates from a list, each once, with the label that is drawn on them or with the one asked for."""

    images: Tensor
    conditional: bool = False

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.images)

    def sample(self, indices: Tensor, labels: Tensor | None, seed: int) -> Tensor:
        return self.images[indices]


def _listed(pairs: list[tuple[int, int]], chooses: bool = False) -> _Listed:
    return _Listed(torch.stack([_image(*pair) for pair in pairs]), chooses)


MODELS = ScoringModels(_FirstPixelClassifier(), _FirstPixelClassifier())


def test_first_confident_candidates_of_each_class_are_taken_in_order() -> None:
    """Doubt 50 leaves a probability of 0.43 to the right class, which the threshold turns down."""
    pairs = [(0, 0), (0, 1), (1, 50), (0, 2), (2, 0), (1, 0), (2, 50), (2, 1), (1, 1), (2, 2)]
    found = collect(_listed(pairs), 0, torch.tensor([2, 1, 2]), (), MODELS, 0.9)
    assert [tuple(image.flatten()[:2].tolist()) for image in found.data.images] == [
        (0, 0),
        (0, 1),
        (2, 0),
        (1, 0),
        (2, 1),
    ]
    assert found.data.known_labels.tolist() == [0, 0, 2, 1, 2]
    assert (found.n_candidates, found.n_missing) == (8, 0)


@pytest.mark.parametrize(("wanted", "short", "lacking"), [([1, 1, 1], 2, [1, 2]), ([3, 0, 1], 2, [2])])
def test_missing_images_are_counted(wanted: list[int], short: int, lacking: list[int]) -> None:
    """A class of which some are there, or none was wanted, is not lacking."""
    found = collect(_listed([(0, 0), (0, 1), (1, 50)]), 0, torch.tensor(wanted), (), MODELS, 0.9)
    assert found.data.known_labels.tolist() == [0, 0][: wanted[0]]
    assert (found.n_candidates, found.n_missing, found.empty_classes) == (3, short, lacking)


def test_no_passing_candidate_gives_an_empty_set() -> None:
    for pairs in ([(1, 50)], []):
        source = _listed(pairs) if pairs else _Listed(torch.zeros(0, 1, 8, 8, dtype=torch.uint8), False)
        found = collect(source, 0, torch.tensor([1, 1, 1]), (), MODELS, 0.9)
        assert found.data.images.shape == (0, 1, 8, 8)
        assert found.data.known_labels.shape == (0,)
        assert found.n_missing == 3


def test_number_of_candidates_is_limited() -> None:
    """An endless source whose candidates never pass the filter."""
    sizes: list[int] = []

    class _Endless(Sampler):
        def sample(self, indices: Tensor, labels: Tensor | None, seed: int) -> Tensor:
            assert labels is not None
            sizes.append(len(labels))
            return torch.stack([_image(int(label), 200) for label in labels])

    found = collect(_Endless(), 0, torch.tensor([5, 5, 5]), (ConfidenceFilter(0.99),), MODELS, 0.0)
    assert len(found.data) == 0
    assert found.n_missing == 15
    assert found.n_candidates == sum(sizes) == MAX_CANDIDATES_PER_IMAGE * 15


def test_filters_are_applied_in_order() -> None:
    filtered: list[tuple[str, int]] = []

    @dataclass(frozen=True)
    class _Even:
        name: str
        pixel: int
        min_candidates: int = 1
        required_networks: tuple[str, ...] = ()

        def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
            filtered.append((self.name, len(images)))
            return images.flatten(1)[:, self.pixel] % 2 == 0

    pairs = [(0, 0), (1, 0), (0, 2), (0, 1), (2, 1), (2, 2)]
    filters: tuple[Filter, ...] = (_Even("doubt", 1), _Even("label", 0))
    found = collect(_listed(pairs), 0, torch.tensor([2, 2, 2]), filters, MODELS, 0.5)
    assert filtered[:2] == [("doubt", 6), ("label", 4)]
    assert sorted(found.data.known_labels.tolist()) == [0, 0, 2]


def test_confidence_is_that_of_the_samples_own_label() -> None:
    images = torch.stack([_image(0, 0), _image(1, 0), _image(1, 50)])
    labels = torch.tensor([0, 0, 1])
    assert ConfidenceFilter(0.9).keep(images, labels, MODELS).tolist() == [True, False, False]
    assert ConfidenceFilter(0.0).keep(images, labels, MODELS).tolist() == [True, True, True]


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_fraction_holds_for_rare_classes(share: float) -> None:
    """Portions shrink as the set fills up; of one or two candidates of a class, the best would pass whatever it is."""

    class _OneInFifty(Sampler):
        conditional = False

        def sample(self, indices: Tensor, labels: Tensor | None, seed: int) -> Tensor:
            return torch.stack([_image(int(row % 50 == 0), row * 37 % 101) for row in indices.tolist()])

    found = collect(_OneInFifty(), 0, torch.tensor([60, 60]), (DiscriminatorFilter(share),), MODELS, 0.0)
    rare = int((found.data.known_labels == 1).sum())
    assert rare > 0
    assert rare <= 1.25 * share * found.n_candidates / 50


@pytest.mark.parametrize(("share", "kept"), [(0.5, [1, 3, 4]), (1.0, list(range(6))), (0.01, [1, 4])])
def test_discriminator_filter_keeps_the_highest_logits_of_each_class(share: float, kept: list[int]) -> None:
    images = torch.stack([_image(0, doubt) for doubt in (3, 9, 1, 8, 5, 4)])
    labels = torch.tensor([0, 0, 0, 0, 1, 1])
    found = DiscriminatorFilter(share).keep(images, labels, MODELS).nonzero().squeeze(1).tolist()
    assert found == kept
    assert DiscriminatorFilter(share).keep(images, labels, ScoringModels(_FirstPixelClassifier())).all()


def test_filters_out_of_range_are_refused() -> None:
    for bad in (
        lambda: ConfidenceFilter(1.1),
        lambda: ConfidenceFilter(-0.1),
        lambda: DiscriminatorFilter(0.0),
        lambda: DiscriminatorFilter(1.1),
    ):
        with pytest.raises(ConfigError, match=r"must be a .* in [\[(]0, 1\]"):
            bad()
    with pytest.raises(ConfigError, match="min_candidates: 0 must be an integer of at least 1"):
        DiscriminatorFilter(min_candidates=0)


class _Pairs(nn.Module):
    """How far an image's first pixel is from its label."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.scale * (((images[:, 0, 0, 0] + 1) * 127.5).round() - labels)


def test_outputs_pair_each_image_with_its_label() -> None:
    """Also where there are more than one batch holds."""
    labels = torch.arange(600) % 7
    images = torch.stack([_image(int(label), 0) for label in labels])
    torch.testing.assert_close(outputs(_Pairs(), images, labels), torch.zeros(600))


def test_outputs_are_those_of_the_network_in_batches_of_any_size() -> None:
    images = torch.stack([_image(i % 3, i % 7) for i in range(520)])
    network = _FirstPixelClassifier()
    whole = network(images.float() / 127.5 - 1).detach()
    torch.testing.assert_close(outputs(network, images), whole)
    labels = torch.zeros(520, dtype=torch.int64)
    torch.testing.assert_close(outputs(network, images, labels), images.flatten(1)[:, 1].float())


def _samplers() -> dict[str, Sampler]:
    torch.manual_seed(0)
    seen = view()
    return {
        "conditional": GeneratorSampler(CGAN8.generator(SPEC).eval()),
        "unconditional": GeneratorSampler(DCGAN8.generator(SPEC).eval()),
        "unlabelled": UnlabelledSampler(seen.unlabelled),
        "labelled": LabelledSampler(seen.labelled),
        "noise": NoiseSampler((1, 8, 8)),
    }


class _Spread(nn.Module):
    """Spreads images over ten classes by their pixels, and is always sure."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        numbers = ((images + 1) * 127.5).round().long().flatten(1)
        answer = (numbers * torch.arange(1, 65)).sum(1) % 10
        return nn.functional.one_hot(answer, 10).float() * 100 * self.scale


@pytest.mark.parametrize("name", _samplers())
def test_every_source_gives_the_same_count(name: str) -> None:
    wanted = torch.tensor([7, 3, 0, 5, 5, 5, 5, 5, 5, 2])
    scoring_models = ScoringModels(_Spread())
    found = collect(_samplers()[name], 1, wanted, (), scoring_models, 0.9)
    assert torch.equal(torch.bincount(found.data.known_labels, minlength=10), wanted)
    assert found.n_missing == 0
    assert found.data.images.shape == (42, 1, 8, 8)
    again = collect(_samplers()[name], 1, wanted, (), scoring_models, 0.9)
    assert torch.equal(found.data.images, again.data.images)


class _OtherLastClass(_FirstPixelClassifier):
    """Agrees with :class:`_FirstPixelClassifier` on the classes below its last."""

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = super().forward(images, labels)
        return logits.roll(1, 1) if bool((logits.argmax(1) == self.classes - 1).all()) else logits


def test_agreement_compares_two_classifiers_and_the_label() -> None:
    pairs, labels = [(0, 0), (1, 0), (0, 50), (1, 3)], torch.tensor([0, 0, 0, 1])
    images = torch.stack([_image(*pair) for pair in pairs])
    twice = ScoringModels(_FirstPixelClassifier(), second=_FirstPixelClassifier())
    assert AgreementFilter().keep(images, labels, twice).tolist() == [True, False, True, True]
    last = torch.stack([_image(2, 0)] * 2)
    assert AgreementFilter().keep(last, torch.tensor([2, 0]), twice).tolist() == [True, False]
    disagreeing = ScoringModels(_FirstPixelClassifier(), second=_OtherLastClass())
    assert AgreementFilter().keep(last, torch.tensor([2, 0]), disagreeing).tolist() == [False, False]
    with pytest.raises(ValueError, match="second classifier"):
        AgreementFilter().keep(images, labels, ScoringModels(_FirstPixelClassifier()))


@pytest.mark.parametrize("name", _samplers())
def test_sets_share_no_candidates(name: str) -> None:
    wanted, scoring_models, source = (
        torch.tensor([2, 1, 0, 1, 1, 1, 1, 1, 1, 1]),
        ScoringModels(_Spread()),
        _samplers()[name],
    )
    found = collect_sets(source, 1, wanted, (), scoring_models, 0.9, 3)
    assert found.data.parts == (10, 10, 10)
    for sets in (1, 2):  # more sets do not change the first ones
        fewer = collect_sets(source, 1, wanted, (), scoring_models, 0.9, sets)
        assert fewer.n_candidates < found.n_candidates
        assert torch.equal(found.data.images[: 10 * sets], fewer.data.images)
        assert torch.equal(found.data.known_labels[: 10 * sets], fewer.data.known_labels)
    if name in ("conditional", "unconditional", "unlabelled", "noise"):
        assert len(found.data.images.unique(dim=0)) == 30, "no image comes twice"


def test_labels_that_are_seldom_predicted_cost_few_passes() -> None:
    """Sets follow one another in the order of the candidates, and end with the last one they need."""
    drawn: list[int] = []

    class _OneIn(Sampler):
        conditional = False

        def sample(self, indices: Tensor, labels: Tensor | None, seed: int) -> Tensor:
            drawn.append(len(indices))
            return torch.stack([_image(int(row % 50 == 49), row % 5) for row in indices.tolist()])

    models = ScoringModels(_FirstPixelClassifier(2))
    found = collect_sets(_OneIn(), 0, torch.tensor([20, 2]), (ConfidenceFilter(0.0),), models, 0.0, 20)
    assert (found.data.parts, found.n_missing) == ((22,) * 20, 0)
    assert found.n_candidates == 20 * 100  # the second of the rare class is the last one of each set
    assert (found.data.known_labels.view(20, 22) == torch.tensor([0] * 20 + [1, 1])).all()
    assert (found.before.tolist(), found.passed.tolist()) == ([1960, 40], [1960, 40])
    assert len(drawn) <= 10
    assert found.n_candidates <= sum(drawn) < found.n_candidates + 1024


def test_an_exhausted_source_leaves_later_sets_out() -> None:
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)]
    found = collect_sets(_listed(pairs), 0, torch.tensor([1, 1]), (), ScoringModels(_FirstPixelClassifier(2)), 0.5, 4)
    assert found.data.known_labels.tolist() == [0, 1, 1, 0]
    assert found.data.parts == (2, 2)
    assert (found.n_candidates, found.n_missing) == (5, 4)
