"""A GAN's samples beside the real images, and the controls that replace them."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.drawn import generate
from trigan.datasets.inputs import Input
from trigan.datasets.types import LabelledImages
from trigan.errors import ConfigError
from trigan.networks.gans.gan_ensembles import DiscriminatorEnsemble, GeneratorMixture, PerClassGenerators
from trigan.rng import hash64
from trigan.samples.collect import wanted_counts
from trigan.samples.filters import AgreementFilter, ConfidenceFilter, DiscriminatorFilter, ManifoldFilter, ScoringModels
from trigan.samples.samplers import LatentTransform
from trigan.strategies.baseline import Baseline
from trigan.strategies.sample_schedules import MixedSchedule, PretrainSchedule
from trigan.strategies.sample_settings import SampleSettings
from trigan.strategies.stage_runner import StageRunner, TrainedStage
from trigan.training.balance import Resampling, class_counts
from trigan.training.optimizers import Adam
from trigan.training.selection import Selection
from trigan.training.stage import Stage
from trigan.training.terms.loss_terms import ExtraImages

from ..training.tiny import TURNED, classifier_stage, gan_stage, same, view, with_parts
from .recipes import CGAN_STAGE, SAMPLES, augment, make_runner, parameters


class _Stages:
    """A runner, and the stages, inputs and seeds that it was given."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runner = make_runner(root)
        self.given: dict[str, tuple[Any, dict[str, Input]]] = {}
        self.seeds: dict[str, int | None] = {}
        self.trained: dict[str, TrainedStage] = {}
        train = StageRunner.train

        def recording(
            runner: StageRunner, name: str, stage: Stage, inputs: dict[str, Input], seed: int | None = None
        ) -> TrainedStage:
            self.given[name], self.seeds[name] = (stage, inputs), seed
            self.trained[name] = train(runner, name, stage, inputs, seed)
            return self.trained[name]

        monkeypatch.setattr(StageRunner, "train", recording)


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Stages:
    return _Stages(tmp_path, monkeypatch)


def test_a_conditional_gan_is_trained_with_labels_and_gives_labels(stages: _Stages) -> None:
    recipe = augment(gan=CGAN_STAGE, samples=SampleSettings(ratio=2.5, weight=0.25, per_step=0.5))
    outcome = recipe.run(view(), stages.runner)
    labelled = view().labelled
    _, inputs = stages.given["gan"]
    assert torch.equal(inputs["real"].images, labelled.images)
    assert torch.equal(inputs["real"].known_labels, labelled.labels)
    stage, inputs = stages.given["classifier"]
    assert stage.terms == (ExtraImages(TURNED, 0.25, 0.5),)
    assert torch.bincount(inputs["extra"].known_labels).tolist() == [10] * 10
    assert outcome.notes["samples"]["kept"] == 100
    assert outcome.notes["samples"]["n_candidates"] == 200
    assert "teacher" not in stages.given, "no filter needs a classifier"
    assert outcome.generator is not None
    redrawn = generate(outcome.generator, hash64(0, "samples"), 200, torch.arange(10).repeat_interleave(20)).images
    assert torch.equal(inputs["extra"].images, redrawn.view(10, 20, 1, 8, 8)[:, :10].reshape(100, 1, 8, 8))


def test_an_unconditional_gan_uses_all_images_and_a_classifier_labels_its_samples(stages: _Stages) -> None:
    augment(samples=replace(SAMPLES, filters=())).run(view(), stages.runner)
    _, inputs = stages.given["gan"]
    assert torch.equal(inputs["real"].images, view().training_images)
    assert inputs["real"].labels is None
    assert set(stages.given) == {"gan", "teacher", "classifier"}
    assert set(stages.given["teacher"][1]) == {"labelled"}


def test_one_gan_a_class_uses_the_images_of_its_class(stages: _Stages) -> None:
    outcome = augment(labels="per_class").run(view(), stages.runner)
    labelled = view().labelled
    for label in range(10):
        _, inputs = stages.given[f"gan-{label}"]
        assert torch.equal(inputs["real"].images, labelled.images[labelled.labels == label])
    generator = outcome.generator
    assert isinstance(generator, PerClassGenerators)
    first, second = (member.state_dict()["body.image.weight"] for member in list(generator.generators)[:2])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("source", ["generator", "unlabelled", "labelled", "noise"])
def test_controls_have_as_many_samples_as_the_row_they_control(source: str, stages: _Stages) -> None:
    gan = CGAN_STAGE if source == "generator" else gan_stage()
    augment(gan=gan, source=source).run(view(), stages.runner)
    _, inputs = stages.given["classifier"]
    counts = torch.bincount(inputs["extra"].known_labels, minlength=10)
    if source != "unlabelled":
        assert counts.tolist() == [4] * 10
        return
    # An untrained teacher may predict some class for none of 200 images.
    assert int(counts.max()) <= 4
    pool = {image.numpy().tobytes() for image in view().unlabelled}
    assert {image.numpy().tobytes() for image in inputs["extra"].images} <= pool


@pytest.mark.parametrize("source", ["unlabelled", "labelled", "noise"])
def test_controls_pass_through_the_same_filters(source: str, stages: _Stages) -> None:
    outcome = augment(source=source, samples=replace(SAMPLES, filters=(ConfidenceFilter(1.0),))).run(
        view(), stages.runner
    )
    assert outcome.stamps == ("no-samples",)
    assert "gan" not in stages.given


def test_deficits_are_filled(stages: _Stages) -> None:
    labelled = view().labelled
    keep = torch.cat([(labelled.labels == k).nonzero().squeeze(1)[: 1 + k % 4] for k in range(10)])
    seen = with_parts(view(), labelled=LabelledImages(labelled.images[keep], labelled.labels[keep]))
    samples = SampleSettings(ratio=1.0, fill="deficit")
    augment(gan=CGAN_STAGE, samples=samples).run(seen, stages.runner)
    _, inputs = stages.given["classifier"]
    counts = class_counts(seen.labelled.labels, 10)
    expected = wanted_counts(counts, len(keep), True)
    assert torch.bincount(inputs["extra"].known_labels, minlength=10).tolist() == expected.tolist()
    after = counts + expected
    assert int(after.max() - after.min()) <= 1


def test_without_any_sample_the_row_is_the_bare_classifier(
    stages: _Stages, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """C is trained on the real images, with batch-norm statistics over U, which the GAN used; the row is stamped."""
    with caplog.at_level(logging.WARNING):
        outcome = augment(label_threshold=1.0).run(view(), stages.runner)
    assert outcome.stamps == ("no-samples",)
    notes = dict(outcome.notes["samples"])
    assert sum(notes.pop("candidates_per_class")) == 800
    expected = {"kept": 0, "per_class": [0] * 10, "n_candidates": 800, "n_missing": 40}
    assert notes == {**expected, "pass_share": 0.0, "passed_per_class": [0] * 10}
    assert "none of 800 candidates passed the filters" in caplog.text
    bare = Baseline(classifier_stage()).run(view(), make_runner(tmp_path))
    assert same(parameters(outcome.classifier), parameters(bare.classifier))


def test_missing_samples_are_logged(stages: _Stages, caplog: pytest.LogCaptureFixture) -> None:
    """The warning has their number and the classes without any."""
    filters = (*SAMPLES.filters, _Only((2, 5)))
    outcome = augment(gan=CGAN_STAGE, samples=replace(SAMPLES, filters=filters)).run(view(), stages.runner)
    counts = [4 if label in (2, 5) else 0 for label in range(10)]
    assert outcome.notes["samples"]["per_class"] == counts
    assert outcome.stamps == ("missing-classes",)
    line = "only 8 of the 40 requested samples passed the filters, none of them in classes 0, 1, 3, 4, 6, 7, 8, 9 ("
    assert caplog.messages[-1].startswith(line)


@dataclass(frozen=True)
class _Only:
    """A filter that keeps some classes only."""

    min_candidates, required_networks = 1, ()

    classes: tuple[int, ...]

    def keep(self, images: Tensor, labels: Tensor, scoring_models: ScoringModels) -> Tensor:
        return torch.isin(labels, torch.tensor(self.classes))


def test_a_discriminator_filter_without_a_discriminator_is_logged(
    stages: _Stages, caplog: pytest.LogCaptureFixture
) -> None:
    samples = replace(SAMPLES, filters=(DiscriminatorFilter(0.5),))
    for source, logged in (("noise", True), ("generator", False)):
        caplog.clear()
        augment(gan=CGAN_STAGE, source=source, samples=samples).run(view(), stages.runner)
        line = "strategy.samples.filters: DiscriminatorFilter keeps every sample, as strategy.source=noise has no D"
        assert (line in caplog.messages) == logged


def test_the_discriminator_filter_uses_the_discriminator(stages: _Stages) -> None:
    filters = (DiscriminatorFilter(0.5),)
    with_filter = augment(gan=CGAN_STAGE, samples=replace(SAMPLES, filters=filters)).run(view(), stages.runner)
    assert "discriminator" in with_filter.weights
    assert with_filter.notes["samples"]["kept"] == 40
    kept = stages.given["classifier"][1]["extra"].images
    augment(gan=CGAN_STAGE, samples=replace(SAMPLES, filters=())).run(view(), stages.runner)
    assert not torch.equal(kept, stages.given["classifier"][1]["extra"].images)


@pytest.mark.parametrize(
    ("source", "filters", "trained"),
    [
        ("generator", (DiscriminatorFilter(0.5),), False),
        ("labelled", (DiscriminatorFilter(0.5),), False),
        ("generator", (DiscriminatorFilter(0.5), ConfidenceFilter(0.0)), True),
    ],
)
def test_a_teacher_is_trained_only_if_it_is_needed(
    source: Any, filters: tuple[Any, ...], trained: bool, stages: _Stages
) -> None:
    augment(gan=CGAN_STAGE, source=source, samples=replace(SAMPLES, filters=filters)).run(view(), stages.runner)
    assert ("teacher" in stages.given) == trained


def test_sampling_is_charged(stages: _Stages) -> None:
    augment(gan=CGAN_STAGE, samples=SAMPLES).run(view(), stages.runner)
    assert stages.runner.task_costs["sampling"].flops > 0
    spent = sum(trained.cost.flops for trained in stages.runner.trained_stages)
    assert stages.runner.total_cost().flops == spent + stages.runner.task_costs["sampling"].flops


def test_several_gans_of_different_seeds_make_one_generator(stages: _Stages, tmp_path: Path) -> None:
    """The first equals the GAN of a run with one; each sample is one member's, and D is the ensemble of all Ds."""
    filters = (DiscriminatorFilter(0.5, min_candidates=1),)
    samples = SampleSettings(ratio=1.0, filters=filters)
    single = augment(gan=CGAN_STAGE, samples=samples).run(view(), stages.runner)
    outcome = augment(gan=CGAN_STAGE, samples=samples, generators=2).run(view(), stages.runner)
    assert {name for name in stages.given if name.startswith("gan")} == {"gan", "gan-seed1"}
    assert stages.seeds["gan"] == stages.runner.seed
    assert stages.seeds["gan-seed1"] == hash64(stages.runner.seed, "gan", 1)
    generator, ensemble = outcome.generator, outcome.weights["discriminator"]
    assert isinstance(generator, GeneratorMixture)
    assert isinstance(ensemble, DiscriminatorEnsemble)
    assert single.generator is not None
    assert same(generator.members[0].state_dict(), single.generator.state_dict())
    assert not same(generator.members[1].state_dict(), single.generator.state_dict())
    assert len(ensemble.members) == 2
    drawn = generate(generator, hash64(0, "samples"), 80, torch.arange(10).repeat_interleave(8))
    rows = {image.numpy().tobytes() for image in drawn.images}
    assert {image.numpy().tobytes() for image in stages.given["classifier"][1]["extra"].images} <= rows
    assert [t.name for t in stages.runner.trained_stages if t.kind == "gan"] == ["gan", "gan", "gan-seed1"]
    skeleton = augment(gan=CGAN_STAGE, generators=2).skeleton(view().spec, {})
    skeleton["generator"].load_state_dict(generator.state_dict())


@pytest.mark.slow
def test_several_gans_a_class(stages: _Stages) -> None:
    recipe = augment(gan=gan_stage(2), labels="per_class", generators=2)
    generator = recipe.run(view(), stages.runner).generator
    assert isinstance(generator, GeneratorMixture)
    assert all(isinstance(member, PerClassGenerators) for member in generator.members)
    seeds = [seed for name, seed in stages.seeds.items() if name.startswith("gan")]
    assert len(set(seeds)) == len(seeds) == 20
    assert seeds[3] == hash64(stages.runner.seed, "class", 3), "as where there is one GAN a class"
    recipe.skeleton(view().spec, {})["generator"].load_state_dict(generator.state_dict())


def test_sample_sets_are_used_one_after_the_other(stages: _Stages) -> None:
    """Each set has further candidates; the first set equals that of a run with one set."""
    settings = SampleSettings(ratio=1.0, sets=3)
    outcome = augment(gan=CGAN_STAGE, samples=settings).run(view(), stages.runner)
    extra = stages.given["classifier"][1]["extra"]
    assert extra.parts == (40, 40, 40)
    assert outcome.notes["samples"]["sets"] == [40, 40, 40]
    assert outcome.notes["samples"]["n_candidates"] == 3 * 80
    assert torch.bincount(extra.known_labels).tolist() == [12] * 10
    augment(gan=CGAN_STAGE, samples=replace(settings, sets=1)).run(view(), stages.runner)
    one = stages.given["classifier"][1]["extra"]
    assert one.parts == ()
    assert torch.equal(one.images, extra.images[:40])
    assert torch.equal(one.known_labels, extra.known_labels[:40])


def test_latents_are_narrowed_and_spread(stages: _Stages) -> None:
    wanted = torch.arange(10).repeat_interleave(8)
    for samples in (SampleSettings(ratio=1.0, truncation=0.5), SampleSettings(ratio=1.0, latent_scale=2.0)):
        outcome = augment(gan=CGAN_STAGE, samples=samples).run(view(), stages.runner)
        spread = LatentTransform(samples.truncation, samples.latent_scale)
        assert outcome.generator is not None
        redrawn = generate(outcome.generator, hash64(0, "samples"), 80, wanted, latent_transform=spread).images
        kept = redrawn.view(10, 8, 1, 8, 8)[:, :4].reshape(40, 1, 8, 8)
        assert torch.equal(stages.given["classifier"][1]["extra"].images, kept)


def test_the_agreement_filter_has_a_second_teacher(stages: _Stages) -> None:
    """Trained as the first, from another seed, and charged."""
    augment(gan=CGAN_STAGE, samples=replace(SAMPLES, filters=(AgreementFilter(),))).run(view(), stages.runner)
    (stage, inputs), (other, seen) = stages.given["teacher"], stages.given["teacher-second"]
    assert stage == other
    assert inputs.keys() == seen.keys() == {"labelled"}
    assert stages.seeds["teacher-second"] == hash64(stages.runner.seed, "second teacher")
    one, two = (parameters(stages.trained[name].networks["classifier"]) for name in ("teacher", "teacher-second"))
    assert not same(one, two)
    assert "teacher-second" in {trained.name for trained in stages.runner.trained_stages}


@pytest.mark.parametrize("one", [AgreementFilter(), ManifoldFilter(1)])
def test_every_source_passes_through_every_filter(one: Any, stages: _Stages) -> None:
    for source in ("generator", "unlabelled", "labelled", "noise"):
        recipe = augment(gan=gan_stage(1), classifier=classifier_stage(1), source=source)
        outcome = replace(recipe, samples=replace(SAMPLES, filters=(one,), sets=2)).run(view(), stages.runner)
        kept = outcome.notes["samples"]["kept"]
        assert ("no-samples" in outcome.stamps) == (kept == 0)
        if source == "labelled":
            assert kept == 80 if isinstance(one, ManifoldFilter) else kept < 80, "a real image lies in its own ball"


def test_samples_first_and_real_images_after(stages: _Stages) -> None:
    """In as many steps together as side by side; the second part begins with what the first one kept."""
    plain = augment(gan=CGAN_STAGE, samples=replace(SAMPLES, filters=()))
    recipe = replace(plain, schedule=PretrainSchedule(share=0.7, learning_rate_factor=0.25))
    outcome = recipe.run(view(), stages.runner)
    (first, samples), (second, real) = stages.given["classifier-synthetic"], stages.given["classifier"]
    assert (first.recipe.steps, second.recipe.steps) == (4, 2)
    assert recipe.classifier.recipe.steps == 6 == outcome.selected_step
    assert first.terms == second.terms == ()
    assert set(real) == {"labelled"}
    assert torch.equal(real["labelled"].images, view().labelled.images)
    assert torch.equal(samples["statistics"].images, view().labelled.images)
    plain.run(view(), stages.runner)
    assert torch.equal(samples["labelled"].images, stages.given["classifier"][1]["extra"].images)
    assert first.recipe.optimizer == recipe.classifier.recipe.optimizer
    assert second.recipe.optimizer == replace(Adam(1e-2, (0.9, 0.999)), learning_rate=0.25 * 1e-2)
    kept = stages.trained["classifier-synthetic"].networks["classifier"].state_dict()
    assert same(second.recipe.classifier(view().spec).state_dict(), kept)
    assert not same(parameters(outcome.classifier), dict(kept))


def test_the_curve_of_a_fit_in_two_parts_counts_the_images_of_both(stages: _Stages) -> None:
    stage = classifier_stage(selection=Selection("auto", snapshots=2))
    mixed, parted = (
        augment(source="noise", classifier=stage, schedule=schedule).run(view(), stages.runner)
        for schedule in (MixedSchedule(), PretrainSchedule(0.5))
    )
    assert max(mixed.snapshots) == max(parted.snapshots) == 6 * 16
    assert min(parted.snapshots) > 3 * 16


def test_only_the_second_part_uses_validation_images(stages: _Stages) -> None:
    stage = classifier_stage(selection=Selection("val"))
    augment(source="noise", classifier=stage, schedule=PretrainSchedule()).run(view(validation=True), stages.runner)
    (first, shown), (second, real) = stages.given["classifier-synthetic"], stages.given["classifier"]
    assert (first.recipe.selection.rule, second.recipe.selection.rule) == ("last", "val")
    assert ("validation" in shown, "validation" in real) == (False, True)


def test_a_fit_of_one_step_has_no_two_parts(stages: _Stages) -> None:
    recipe = augment(source="noise", classifier=classifier_stage(1), schedule=PretrainSchedule())
    with pytest.raises(ConfigError, match=r"recipe.steps: 1 must be 2 or more"):
        recipe.run(view(), stages.runner)
    assert [PretrainSchedule(share).steps_on_samples(10) for share in (0.01, 0.5, 0.99)] == [1, 5, 9]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: SampleSettings(sets=0), "strategy.samples.sets: 0 must be 1 or more, or auto"),
        (lambda: SampleSettings(until=0.0), "strategy.samples.until: 0.0 must be a share in (0, 1]"),
        (lambda: SampleSettings(targets="x"), "strategy.samples.targets: x must be one of hard, soft"),  # type: ignore[arg-type]
        (lambda: augment(teacher_folds=1), "strategy.teacher_folds: 1 must be 2 or more, or 0"),
        (
            lambda: augment(samples=SampleSettings(targets="soft"), schedule=PretrainSchedule()),
            "strategy.samples.targets=soft goes with strategy.schedule=mixed; with others set it to hard",
        ),
        (lambda: SampleSettings(truncation=0.0), "strategy.samples.truncation: 0.0 must be above 0, or null"),
        (lambda: SampleSettings(latent_scale=0.0), "strategy.samples.latent_scale: 0.0 must be above 0"),
        (lambda: PretrainSchedule(share=1.0), "strategy.schedule.share: 1.0 must be between 0 and 1"),
        (
            lambda: PretrainSchedule(learning_rate_factor=0.0),
            "strategy.schedule.learning_rate_factor: 0.0 must be above 0",
        ),
        (lambda: augment(generators=0), "strategy.generators: 0 must be 1 or more"),
        (
            lambda: augment(generators=2, source="noise"),
            "strategy.generators=2: applies to a generator, and strategy.source=noise has none; leave it at 1",
        ),
        (
            lambda: augment(source="labelled", samples=SampleSettings(truncation=1.0)),
            "strategy.samples.truncation=1.0: applies to a generator, and strategy.source=labelled has none; leave "
            "it at null",
        ),
        (
            lambda: augment(
                schedule=PretrainSchedule(),
                samples=SampleSettings(sets=2),
                classifier=classifier_stage(balance=Resampling()),
            ),
            "strategy.samples.sets=2: a fit on samples alone with balance=resampling draws samples at random, not "
            "set by set; set strategy.samples.sets=1 or another balance",
        ),
    ],
)
def test_settings_out_of_range_are_one_line(make: Any, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "condition"}, r"strategy.labels=condition .*architecture=cgan"),
        ({"gan": CGAN_STAGE, "labels": "classifier"}, r"strategy.labels=classifier .*architecture=dcgan"),
        ({"gan": CGAN_STAGE, "labels": "per_class"}, r"strategy.labels=per_class .*architecture=dcgan"),
    ],
)
def test_combinations_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        augment(**changes)
    with pytest.raises(ConfigError, match=r"strategy.samples.ratio: 0.0 must be above 0"):
        SampleSettings(ratio=0.0)


def test_without_unlabelled_images_the_control_is_refused(tmp_path: Path) -> None:
    seen = with_parts(view(), unlabelled=view().unlabelled[:0])
    with pytest.raises(ConfigError, match=r"strategy.source=unlabelled needs unlabelled images"):
        augment(source="unlabelled").run(seen, make_runner(tmp_path))


def test_auto_is_one_set_where_c_draws_samples_at_random() -> None:
    row = augment(schedule=PretrainSchedule(), samples=SampleSettings(sets="auto", ratio=0.1))
    assert row.wanted_samples(view())[1] > 1
    resampled = replace(row, classifier=classifier_stage(balance=Resampling()))
    assert resampled.wanted_samples(view())[1] == 1
