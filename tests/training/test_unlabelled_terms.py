"""Terms on unlabelled images, and their state from step to step, against independent loops."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import betaincinv
from torch import Tensor, nn

from trigan.datasets.augmentation import NoAugmentation
from trigan.datasets.inputs import Input
from trigan.datasets.mixing import MixUp
from trigan.errors import ConfigError
from trigan.losses.imbalance_losses import Focal
from trigan.rng import Draws, hash64, permutation
from trigan.training.balance import ClassWeights
from trigan.training.fit import TrainerSettings
from trigan.training.objectives import FeatureMatching
from trigan.training.optimizers import EMA
from trigan.training.players import PlayersModule
from trigan.training.step import TrainingStep
from trigan.training.terms.loss_terms import FixMatch, LossTerm
from trigan.training.terms.mixmatch import MixMatch
from trigan.training.terms.smoothness import VAT, MeanTeacher
from trigan.training.terms.thresholds import UDA, FlexMatch, FreeMatch, SoftMatch

from .tiny import SPEC, TURNED, PlainClassifier, built, classifier_stage, fitted, inputs_for, joint_stage

DOUBLE = TrainerSettings(precision="64-true")
STEPS = 5


def _images(count: int = 40) -> Tensor:
    """Real digits, so that C's confidence differs between them."""
    return inputs_for(classifier_stage())["labelled"].images[:count]


def _module(term: LossTerm, count: int = 40, **recipe: Any) -> PlayersModule:
    """A fit of C without batch norm, whose weights are large, so that some predictions are confident."""
    stage = classifier_stage(20, classifier=PlainClassifier(), terms=(term,), **recipe)
    module = built(stage, {**inputs_for(stage), "unlabelled": Input(_images(count))}, DOUBLE)
    module.networks.requires_grad_(True)
    with torch.no_grad():  # a mean teacher keeps the weights from before
        for weight in module.networks["classifier"].parameters():
            weight *= 4.0
    return module


def _losses(module: PlayersModule, term: LossTerm) -> list[tuple[Tensor, TrainingStep, nn.Module]]:
    """The term's loss in consecutive steps, between which C's weights change."""
    network: nn.Module = module.networks["classifier"]
    recipe = classifier_stage(20, classifier=PlainClassifier(), terms=())
    bare = built(recipe, inputs_for(recipe), DOUBLE)
    found = []
    for index in range(STEPS):
        step = TrainingStep(module.step_context, index, 0, False)
        whole = module.updates[0].loss(step)
        if not term.replaces_labelled:
            bare.networks["classifier"].load_state_dict(network.state_dict())
            whole = whole - bare.updates[0].loss(TrainingStep(bare.step_context, index, 0, False))
        found.append((whole.detach(), step, _copy(network)))
        with torch.no_grad():
            for weight in network.parameters():
                weight *= 1.1
    return found


def _copy(network: nn.Module) -> nn.Module:
    copied = PlainClassifier()(SPEC).double()
    copied.load_state_dict(network.state_dict())
    return copied


def _views(step: TrainingStep, *names: str) -> list[Tensor]:
    batch = step.batch("unlabelled")
    return [TURNED(batch.images, batch.draws, name) for name in names]


def _cross_entropy(logits: Tensor, label: int) -> float:
    return -float(logits.log_softmax(0)[label])


def test_flexmatch_by_hand() -> None:
    """20 images in batches of 32: most steps show an image twice, and the last confident prediction counts."""
    term = FlexMatch(NoAugmentation(), TURNED, threshold=0.5, weight=0.5)
    module = _module(term, 20)
    last, lowered = {number: -1 for number in range(20)}, 0
    for loss, step, network in _losses(module, term):
        counts = [sum(label == k for label in last.values()) for k in range(10)]
        most = max(*counts, sum(label == -1 for label in last.values()))
        total, now = 0.0, dict(last)
        (strong,) = _views(step, "strong")
        for image, view, number in zip(
            step.batch("unlabelled").images, strong, step.image_numbers("unlabelled"), strict=True
        ):
            p = network(image[None])[0].softmax(0).detach()
            label = int(p.argmax())
            beta = counts[label] / most
            if float(p.max()) >= 0.5 * beta / (2 - beta):
                total += _cross_entropy(network(view[None])[0], label)
                lowered += float(p.max()) < 0.5
            if float(p.max()) >= 0.5:
                now[int(number)] = label
        last = now
        assert float(loss) == pytest.approx(0.5 * total / 32)
    assert lowered > 0, "some images are below FixMatch's threshold"
    assert len(set(last.values()) - {-1}) > 1


def test_freematch_by_hand() -> None:
    term = FreeMatch(NoAugmentation(), TURNED, momentum=0.6, fairness=0.3, weight=0.5)
    tau, mean, histogram = 0.1, np.full(10, 0.1), np.full(10, 0.1)
    left_out = 0
    for loss, step, network in _losses(_module(term), term):
        q = network(step.batch("unlabelled").images).softmax(1).detach().numpy()
        strong = network(_views(step, "strong")[0]).detach()
        tau = 0.6 * tau + 0.4 * q.max(1).mean()
        mean = 0.6 * mean + 0.4 * q.mean(0)
        histogram = 0.6 * histogram + 0.4 * np.bincount(q.argmax(1), minlength=10) / len(q)
        selected = q.max(1) >= tau * mean[q.argmax(1)] / mean.max()
        left_out += (~selected).sum()
        rows = [_cross_entropy(logits, int(label)) for logits, label in zip(strong, q.argmax(1), strict=True)]
        p = strong.softmax(1).numpy()[selected]
        shares = np.bincount(p.argmax(1), minlength=10) / len(p)
        b = np.divide(p.mean(0), shares, out=np.zeros(10), where=shares > 0)
        a = mean / histogram
        fairness = (a / a.sum() * np.log(b / b.sum() + 1e-12)).sum()
        assert float(loss) == pytest.approx(0.5 * ((np.array(rows) * selected).mean() + 0.3 * fairness))
    assert left_out > 0


def test_softmatch_by_hand() -> None:
    term = SoftMatch(NoAugmentation(), TURNED, momentum=0.6, weight=0.5)
    average, mu, variance = None, 0.1, 1.0
    for loss, step, network in _losses(_module(term), term):
        q = network(step.batch("unlabelled").images).softmax(1).detach().numpy()
        strong = network(_views(step, "strong")[0]).detach()
        average = q.mean(0) if average is None else 0.6 * average + 0.4 * q.mean(0)
        aligned = q * (0.1 + 1e-6) / (average + 1e-6)
        confidence = (aligned / aligned.sum(1, keepdims=True)).max(1)
        mu, variance = 0.6 * mu + 0.4 * confidence.mean(), 0.6 * variance + 0.4 * confidence.var(ddof=1)
        weights = np.exp(-(np.minimum(confidence - mu, 0) ** 2) / (2 * variance / 4))
        rows = [_cross_entropy(logits, int(label)) for logits, label in zip(strong, q.argmax(1), strict=True)]
        assert float(loss) == pytest.approx(0.5 * (np.array(rows) * weights).mean(), rel=1e-6)


def test_uda_by_hand() -> None:
    term = UDA(NoAugmentation(), TURNED, threshold=0.5, temperature=0.4, weight=0.5)
    for loss, step, network in _losses(_module(term), term):
        weak = network(step.batch("unlabelled").images).detach()
        log_p = network(_views(step, "strong")[0]).detach().log_softmax(1)
        target = (weak / 0.4).softmax(1)
        rows = (target * (target.log() - log_p)).sum(1)
        assert float(loss) == pytest.approx(0.5 * float(rows[weak.softmax(1).amax(1) > 0.5].sum()) / 32)


def test_the_mean_teacher_by_hand() -> None:
    term = MeanTeacher(TURNED, weight=4.0, ramp_up=0.15, average=EMA(40, 0.5))
    teacher: dict[str, Tensor] | None = None
    for index, (loss, step, network) in enumerate(_losses(_module(term), term)):
        weights = {name: weight.detach() for name, weight in network.named_parameters()}
        decay = 0.5 ** (16 / min(40, 0.5 * 16 * index)) if index else 0.0
        teacher = {
            name: weight / 4 if teacher is None else decay * teacher[name] + (1 - decay) * weight
            for name, weight in weights.items()
        }
        other = _copy(network)
        other.load_state_dict(teacher)
        own, taught = _views(step, "augment", "teacher")
        squares = (network(own).softmax(1) - other(taught).softmax(1)).square().mean()
        ramp = math.exp(-5 * (1 - min(1, index / 20 / 0.15)) ** 2)
        assert float(loss) == pytest.approx(4.0 * ramp * float(squares))
        assert index == 0 or float(squares) > 0


def test_vat_perturbs_in_the_direction_of_most_change() -> None:
    """The leading eigenvector of the divergence's Hessian at 0, sum_k p_k (grad log p_k)^T grad log p_k (eq. 10)."""
    term = VAT(NoAugmentation(), radius=0.05, difference=1e-4, power_steps=30, weight=0.5)
    loss, step, network = _losses(_module(term), term)[0]
    total = 0.0
    for image in step.batch("unlabelled").images:
        log_p = network(image[None])[0].log_softmax(0)
        jacobian = torch.func.jacrev(lambda x: network(x[None])[0].log_softmax(0))(image).detach().view(10, -1)
        hessian = jacobian.T @ (log_p.exp().detach()[:, None] * jacobian)
        direction = torch.linalg.eigh(hessian)[1][:, -1].view_as(image)
        found = []
        for sign in (1, -1):
            other = network((image + sign * 0.05 * 8 * direction)[None])[0].log_softmax(0)
            found.append(float((log_p.exp() * (log_p - other)).sum()))
        total += sum(found) / 2  # the sign is that of the random start
    assert float(loss) == pytest.approx(0.5 * total / 32, rel=0.3)


def test_vat_in_single_precision_finds_the_direction_of_double_precision() -> None:
    """With the authors' difference of 1e-6 the least cosine is below 0 here."""
    term = VAT(NoAugmentation())
    module = _module(term)
    network, batch = module.networks["classifier"], TrainingStep(module.step_context, 0, 0, False).batch("unlabelled")
    start = batch.draws.normal("direction", 64).view_as(batch.images).double()
    images, single = batch.images, _copy(network).float()
    exact = term._adversarial_direction(network, images, network(images).detach(), start)
    rounded = term._adversarial_direction(single, images.float(), single(images.float()).detach(), start.float())
    cosines = (exact * rounded).flatten(1).sum(1)
    assert float(cosines.min()) > 0.99


def test_vat_takes_the_entropy_into_its_loss() -> None:
    bare, whole = (VAT(NoAugmentation(), weight=0.5, entropy=entropy) for entropy in (0.0, 2.0))
    pairs = zip(_losses(_module(bare), bare), _losses(_module(whole), whole), strict=True)
    for (one, step, network), (other, _, _) in pairs:
        p = network(step.batch("unlabelled").images).softmax(1)
        assert float(other - one) == pytest.approx(-float((p * p.log()).sum(1).mean()))


def test_mixmatch_by_hand() -> None:
    term = MixMatch(TURNED, temperature=0.5, alpha=0.75, weight=8.0, ramp_up=0.1)
    for index, (loss, step, network) in enumerate(_losses(_module(term, augmentation=TURNED), term)):
        labelled, unlabelled = step.batch("labelled"), step.batch("unlabelled")
        views = _views(step, "one", "other")
        guess = sum(network(view).softmax(1).detach() for view in views) / 2
        guess = guess**2 / (guess**2).sum(1, keepdim=True)
        images = torch.cat([TURNED(labelled.images, labelled.draws, "augment"), *views])
        labels = torch.cat([F.one_hot(labelled.known_labels, 10).double(), guess, guess])
        partners = permutation(48, unlabelled.draws.seed, "partners", 0, index)
        uniforms = [labelled.draws.uniform("mix/share", dtype=torch.float64)]
        for view in ("one", "other"):
            draws = Draws(hash64(unlabelled.draws.seed, view), index, 16, 0, 16)
            uniforms.append(draws.uniform("mix/share", dtype=torch.float64))
        lam = torch.from_numpy(betaincinv(0.75, 0.75, torch.cat(uniforms).numpy()))
        lam = torch.maximum(lam, 1 - lam)
        assert len(lam.unique()) == 48
        mixed = lam[:, None, None, None] * images + (1 - lam)[:, None, None, None] * images[partners]
        targets = lam[:, None] * labels + (1 - lam)[:, None] * labels[partners]
        p = network(mixed).softmax(1).detach()
        cross_entropy = -(targets[:16] * p[:16].log()).sum(1).mean()
        squares = (targets[16:] - p[16:]).square().mean()
        assert float(loss) == pytest.approx(float(cross_entropy + 8.0 * min(1, index / 20 / 0.1) * squares))


TERMS: dict[str, Callable[[], LossTerm]] = {
    "flexmatch": lambda: FlexMatch(NoAugmentation(), TURNED),
    "freematch": lambda: FreeMatch(NoAugmentation(), TURNED),
    "softmatch": lambda: SoftMatch(NoAugmentation(), TURNED),
    "uda": lambda: UDA(NoAugmentation(), TURNED, threshold=0.1),
    "vat": lambda: VAT(TURNED),
    "mean teacher": lambda: MeanTeacher(TURNED),
    "mixmatch": lambda: MixMatch(TURNED),
}


@pytest.mark.parametrize("name", TERMS)
def test_every_term_changes_the_weights_and_is_charged_for_its_images(name: str) -> None:
    term = TERMS[name]()
    inputs = {**inputs_for(classifier_stage()), "unlabelled": Input(_images())}
    bare, _ = fitted(classifier_stage())
    module, ending = fitted(classifier_stage(terms=(term,)), inputs=inputs)
    assert ending.status == "finished"
    assert module.images["classifier"] == bare.images["classifier"] + 6 * term.forward_images(16)
    pairs = list(zip(bare.networks.parameters(), module.networks.parameters(), strict=True))
    assert any(not torch.equal(one, other) for one, other in pairs)
    assert all(other.isfinite().all() for _, other in pairs)


@pytest.mark.parametrize("name", [name for name in TERMS if name != "mixmatch"])
def test_every_term_but_mixmatch_goes_with_joint_training(name: str) -> None:
    term: Any = replace(TERMS[name](), stream="consistency")  # type: ignore[type-var]
    _, ending = fitted(joint_stage(FeatureMatching(), consistency=term), inputs=_joint_inputs())
    assert ending.status == "finished"


def _joint_inputs() -> dict[str, Input]:
    inputs = dict(inputs_for(classifier_stage()))
    return {**inputs, "unlabelled": Input(inputs["labelled"].images)}


def test_the_terms_of_fixmatchs_family_share_its_gradients() -> None:
    """Where every pseudo-label is used with weight 1 all are FixMatch without a threshold."""
    fixmatch = FixMatch(NoAugmentation(), TURNED, threshold=0.0)
    flexmatch = FlexMatch(NoAugmentation(), TURNED, threshold=0.0)
    for (one, _, _), (other, _, _) in zip(
        _losses(_module(fixmatch), fixmatch), _losses(_module(flexmatch), flexmatch), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "change",
    [{"mix": MixUp()}, {"criterion": Focal()}, {"balance": ClassWeights()}],
    ids=lambda change: next(iter(change)),
)
def test_mixmatch_refuses_what_is_for_the_loss_of_labelled_images(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^strategy.unlabelled=mixmatch has its own loss .* balance=none or a re"):
        classifier_stage(terms=(MixMatch(TURNED),), **change)


def test_mixmatch_is_no_term_of_a_game() -> None:
    with pytest.raises(ConfigError, match=r"^consistency: this term has C's loss of labelled images in it"):
        joint_stage(FeatureMatching(), consistency=MixMatch(TURNED, stream="consistency"))


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (lambda: FlexMatch(TURNED, TURNED, threshold=1.0), "threshold: 1.0 must be a probability in [0, 1)"),
        (lambda: FreeMatch(TURNED, TURNED, momentum=1.0), "momentum: 1.0 must be a probability in [0, 1)"),
        (lambda: FreeMatch(TURNED, TURNED, fairness=-1.0), "fairness: -1.0 must be at least 0"),
        (lambda: SoftMatch(TURNED, TURNED, sigmas=0.0), "sigmas: 0.0 must be above 0"),
        (lambda: UDA(TURNED, TURNED, temperature=0.0), "temperature: 0.0 must be above 0"),
        (lambda: VAT(TURNED, radius=0.0), "radius: 0.0 must be above 0"),
        (lambda: VAT(TURNED, power_steps=0), "power_steps: 0 must be an integer of at least 1"),
        (lambda: MeanTeacher(TURNED, ramp_up=0.0), "ramp_up: 0.0 must be in (0, 1]"),
        (lambda: MixMatch(TURNED, alpha=0.0), "alpha: 0.0 must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(bad: Callable[[], object], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bad()
    assert str(caught.value) == line
