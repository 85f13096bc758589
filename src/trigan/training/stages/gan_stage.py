"""The GAN stage: G against D, on images alone or on images with their labels."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trigan import distributed
from trigan.checks import require, require_clip, require_length
from trigan.component_ids import component
from trigan.datasets.augmentation import Augmentation, NoAugmentation
from trigan.datasets.discriminator_augmentation import AdaptiveAugment, DiffAugment, for_images
from trigan.datasets.inputs import Inputs
from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError
from trigan.evaluation.generators.collapse import discriminator_signals
from trigan.losses.gan_losses import AdversarialLoss
from trigan.losses.label_transitions import NoTransition, Transition
from trigan.networks.batchnorm import batch_statistics, frozen_statistics
from trigan.networks.diffusion.edm import refuse_diffusion
from trigan.networks.gans.gan import Architecture, Discriminator
from trigan.rng import Draws
from trigan.training.collapse_watch import CollapseWatch, Critic, WatchState
from trigan.training.optimizers import EMA, OptimizerFactory
from trigan.training.players import Player, PlayersModule, Update
from trigan.training.recalibration import recalibrate_discriminator, recalibrate_generator
from trigan.training.stage import StageContext
from trigan.training.stages.gan_memories import AugmentationController, LogitAverages, StepMeans
from trigan.training.stages.gan_regularizers import R1, DiscriminatorPass, GANRegularizer, GradientPenalty, LeCam, TopK
from trigan.training.step import Batch, TrainingStep


@component("stage/gan_settings@1")
@dataclass(frozen=True)
class GANObjective:
    """The adversarial loss and its regularisers, with ``loss.discriminator_steps`` updates of D per update of G.

    D normalises generated images by their own batch statistics, and only real ones update its running statistics. All
    images, real or generated, reach D through ``discriminator_augmentation`` (Zhao et al. 2020, arXiv 2006.10738), and
    then through the regularisers. ``stream`` is the name of the stream of real images. ``averages`` is the state of
    LeCam. A cure of ``watch`` adds DiffAugment, or R1.

    Where row i of the real images has no label (-1), D sees row i of the generated ones without its label, too: a game
    on images beside the one on pairs of image and label, as in StackGAN++ (Zhang et al. 2018, 1710.10916). With a share
    s of labelled rows the loss is E over rows, s L(D(x, y), D(G(z, y), y)) + (1 - s) L(D(x), D(G(z, y))).

    With a ``transition`` T, float64 (K, K), D sees an image of G with a label that passed through the noise of the real
    ones, (G(z, y), y~) with y~ from T_y: RCGAN (Thekumparampil et al. 2018, 1811.03205, section 3), whose G gives
    images of the class y although real labels are wrong.
    """

    loss: AdversarialLoss
    batch: int
    discriminator_augmentation: Augmentation
    stream: str = "real"
    averages: LogitAverages | None = None
    watch: WatchState | None = None
    transition: Tensor | None = None

    def updates(self) -> tuple[Update, ...]:
        """D in every step, then G where it is due."""
        seen = 2 + sum(term.further_images for term in self.loss.regularizers.values())
        return (
            Update("discriminator", self._discriminator_loss, images=seen * self.batch),
            Update("generator", self._generator_loss, images=self.batch, every=self.loss.discriminator_steps),
        )

    def due_terms(self, index: int) -> dict[str, GANRegularizer]:
        """The terms of D's loss in step ``index``, by name."""
        penalty = {"gradient_penalty": GradientPenalty(self.loss.gradient_penalty)}
        terms = (penalty if self.loss.gradient_penalty > 0.0 else {}) | dict(self.loss.regularizers)
        if doublings := self._cured_by("penalty"):
            terms["cure"] = R1(self.watch.settings.penalty * 2.0 ** (doublings - 1))  # type: ignore[union-attr]
        return {name: term for name, term in terms.items() if index % term.every == 0}

    def _cured_by(self, cure: str) -> int:
        return 0 if self.watch is None else self.watch.cured_by(cure)

    def _fakes(self, step: TrainingStep) -> Batch:
        """Generated images with the labels that D sees."""
        fakes, real = step.fakes(self.stream if self.loss.pairs else None), step.batch(self.stream)
        if fakes.labels is None or real.labels is None:
            return fakes
        labels = fakes.labels
        if self.transition is not None:
            labels = noisy_labels(labels, self.transition, fakes.draws)
        return fakes._replace(labels=torch.where(real.labels < 0, -1, labels))

    def _view(self, step: TrainingStep, batch: Batch, needs_gradient: bool = False) -> Tensor:
        """The images of a batch as D sees them; new leaves if D's loss needs their gradient."""
        images = self.discriminator_augmentation(batch.images, batch.draws, "view")
        if step.decided(lambda now: self._cured_by("diffaugment") > 0):
            images = DiffAugment()(images, batch.draws, "cure")
        for term in self.loss.regularizers.values():
            images = term.view(images, batch, step)
        return images.detach().requires_grad_() if needs_gradient else images

    def _discriminator_loss(self, step: TrainingStep) -> Tensor:
        discriminator, real, fakes = step.network("discriminator"), step.batch(self.stream), self._fakes(step)
        memories = [one for one in (self.discriminator_augmentation, self.averages) if isinstance(one, StepMeans)]
        for memory in memories:
            memory.begin(step)
            if isinstance(memory, AugmentationController):
                step.log("train/augmentation_probability", memory.probability)
        terms = step.decided(lambda now: self.due_terms(now.index))
        slopes = {term.slopes for term in terms.values()}
        real = real._replace(images=self._view(step, real, "real" in slopes))
        fakes = fakes._replace(images=self._view(step, fakes.detached, "fake" in slopes))
        real_logits = discriminator(real.images, real.labels)
        with frozen_statistics(discriminator):
            fake_logits = discriminator(fakes.images, fakes.labels)
        loss = self.loss.discriminator_loss(self._compared(real_logits), self._compared(fake_logits))
        step.log("train/discriminator_loss", loss)
        step.log("train/real_logit", real_logits.mean())
        step.log("train/fake_logit", fake_logits.mean())
        averages = None if self.averages is None else self.averages.value.to(real_logits.dtype)
        seen = DiscriminatorPass(discriminator, real, fakes, real_logits, fake_logits, averages)
        for name, term in terms.items():
            if (value := term.discriminator_term(seen)) is not None:
                step.log(f"train/{name}", value)
                loss = loss + term.factor * value
        for memory in memories:
            memory.observe(real_logits, fake_logits)
        return loss

    def _generator_loss(self, step: TrainingStep) -> Tensor:
        discriminator, fakes = step.network("discriminator"), self._fakes(step)
        images, real = self._view(step, fakes), step.batch(self.stream)
        with frozen_statistics(discriminator):
            logits = self._compared(discriminator(images, fakes.labels))
            if self.loss.pairs:
                with torch.no_grad():
                    real_logits = self._compared(discriminator(self._view(step, real), real.labels))
                loss = self.loss.generator_loss(real_logits, logits)
            else:
                for term in self.loss.regularizers.values():
                    logits = term.generator_logits(logits, step)
                loss = self.loss.generator_loss(logits)
        step.log("train/generator_loss", loss)
        for name, term in self.loss.regularizers.items():
            if (value := term.generator_term(step, lambda: self._view(step, real), images)) is not None:
                step.log(f"train/{name}", value)
                loss = loss + term.factor * value
        return loss

    def _compared(self, logits: Tensor) -> Tensor:
        """The logits (N,) that the loss compares: this process's, or those of all ranks."""
        across = self.loss.pairs or any(isinstance(term, TopK) for term in self.loss.regularizers.values())
        return distributed.all_gather(logits[:, None]).squeeze(1) if across else logits


def noisy_labels(labels: Tensor, transition: Tensor, draws: Draws) -> Tensor:
    """Labels (n,) after noise: j with probability T_ij for label i, with T float64 (K, K).

    Example:
        >>> swapped = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
        >>> noisy_labels(torch.tensor([0, 0, 1]), swapped, Draws(0, 0, 3, 0, 3))
        tensor([1, 1, 0])
    """
    upper = transition.cumsum(1)[labels]
    drawn = draws.uniform("label noise", dtype=torch.float64)
    return (drawn[:, None] * upper[:, -1:] >= upper).sum(1)


def check_regularizers(architecture: Architecture, loss: AdversarialLoss) -> None:
    """Raise a ConfigError for regularisers that D or the loss does not allow.

    The gradient with respect to an image needs a D whose output for an image does not depend on the others.
    """
    for term in loss.regularizers.values():
        term.check(loss)
    slopes = [name for name, term in loss.regularizers.items() if term.slopes]
    if (slopes or loss.gradient_penalty > 0.0) and architecture.discriminator_norm == "batch":
        what = f"loss.regularizers={slopes[0]}, a penalty on D's gradient," if slopes else "a gradient penalty"
        raise ConfigError(
            f"architecture.discriminator_norm=batch: {what} needs a D whose output for an image does not "
            "depend on the others (Gulrajani et al. 2017, sec. 4); set architecture.discriminator_norm=none or spectral"
        )


def _critic(loss: AdversarialLoss, discriminator: Discriminator) -> Critic:
    """The signals of D for the collapse watch: its accuracies, and the gradient of G's loss for generated images."""

    def critic(real: Tensor, known: Tensor | None, fake: Tensor, labels: Tensor | None) -> dict[str, float]:
        seen = fake.detach().requires_grad_()
        with batch_statistics(discriminator), torch.enable_grad():
            with torch.no_grad():
                real_logits = discriminator(real, known)
            logits = discriminator(seen, labels)
            value = loss.generator_loss(*((real_logits, logits) if loss.pairs else (logits,)))
            gradient = torch.autograd.grad(value, seen)[0]
        return discriminator_signals(real_logits.detach(), logits.detach(), gradient)

    return critic


@component("stage/gan@1")
@dataclass(frozen=True)
class GANStage:
    """Train a GAN on the input ``real``: unconditional on images, or label-conditional on labelled images.

    ``optimizer`` maps "generator" and "discriminator" to their factories. The moving average of G's weights is kept.
    ``flops``: counted operations that the fit may cost, in place of ``steps``; a strategy turns them into steps.
    Images without a label (-1) train a conditional GAN, too (`GANObjective`); at least a share ``labelled_share`` of a
    batch has a label, for which images are drawn with replacement where fewer have one. ``transition`` is the noise of
    the real labels, through which those of generated images pass before D sees them.
    """

    architecture: Architecture
    loss: AdversarialLoss
    optimizer: dict[str, OptimizerFactory]
    steps: int
    batch: int = 64
    ema: EMA | None = field(default_factory=EMA)
    discriminator_augmentation: Augmentation = field(default_factory=NoAugmentation)
    clip: float | None = None
    flops: float | None = None
    watch: CollapseWatch = field(default_factory=CollapseWatch)
    labelled_share: float = 0.5
    transition: Transition = field(default_factory=NoTransition)

    kind = "gan"

    def __post_init__(self) -> None:
        refuse_diffusion(self.architecture)
        require(0.0 <= self.labelled_share < 1.0, "labelled_share", self.labelled_share, "in [0, 1)")
        require_length(self.steps, self.batch, least_steps=0)
        require_clip(self.clip)
        require(self.flops is None or self.flops > 0, "strategy.gan.flops", self.flops, "above 0, or null")
        players = {"generator", "discriminator"}
        require(
            players <= set(self.optimizer), "optimizer", sorted(self.optimizer), "those of generator and discriminator"
        )
        check_regularizers(self.architecture, self.loss)
        self._check_transition()
        penalized = self.watch.action == "cure" and self.watch.cure == "penalty"
        if penalized and self.architecture.discriminator_norm == "batch":
            raise ConfigError(
                "watch.cure=penalty: R1 needs a D whose output for an image does not depend on the others; set "
                "architecture.discriminator_norm=none or spectral, or watch.cure=diffaugment"
            )

    def _check_transition(self) -> None:
        if isinstance(self.transition, NoTransition):
            return
        if not self.architecture.conditional:
            raise ConfigError(
                "strategy.gan.transition: an unconditional GAN has no labels; set architecture=cgan, projection or "
                "another with labels"
            )
        if self.loss.pairs:
            raise ConfigError(
                "strategy.gan.transition: a relativistic loss compares images of equal labels; set loss=hinge"
            )

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        """See `trigan.training.stage.Stage`."""
        architecture, spec = self.architecture, context.spec
        generator = context.build_network("generator", lambda: architecture.generator(spec))
        discriminator = context.build_network("discriminator", lambda: architecture.discriminator(spec))
        players = {
            "discriminator": Player(discriminator, self.optimizer["discriminator"], clip=self.clip),
            "generator": Player(generator, self.optimizer["generator"], self.ema, self.clip),
        }
        real, weights = inputs["real"], None
        if architecture.conditional:
            if real.labels is None or not bool((real.labels >= 0).any()):
                raise ConfigError("architecture: a conditional GAN needs images with labels; take an unconditional one")
            weights = real.weights_with_labels(self.labelled_share)
        streams = {"real": context.stream("real", real, self.batch, weights)}
        augmentation = for_images(self.discriminator_augmentation, len(real))
        if isinstance(augmentation, AdaptiveAugment):
            augmentation = AugmentationController(augmentation, self.batch)
        decays = [term.decay for term in self.loss.regularizers.values() if isinstance(term, LeCam)]
        averages = LogitAverages(decays[0]) if decays else None
        plan = context.plan(self.steps, self.batch)
        critic = _critic(self.loss, discriminator)
        watch = WatchState(self.watch, plan, inputs["real"], spec.classes, critic)
        matrix = self.transition.matrix(spec.classes)
        matrix = None if matrix is None else matrix.to(context.settings.device)
        objective = GANObjective(self.loss, self.batch, augmentation, "real", averages, watch, matrix)

        def phase(progress: float) -> Hashable:
            return tuple(objective.due_terms(round(progress * plan.steps)))

        module = PlayersModule(players, objective.updates(), streams, plan, phase)
        module.watch = watch
        module.memories.extend(one for one in (augmentation, averages) if isinstance(one, StepMeans))
        return module

    @property
    def cycle(self) -> int:
        """The number of steps after which the updates and their terms repeat."""
        return math.lcm(self.loss.discriminator_steps, *(term.every for term in self.loss.regularizers.values()))

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        """``generator`` and ``discriminator``, recalibrated."""
        networks = {name: module.evaluation_network(name) for name in ("generator", "discriminator")}
        recalibrate_generator(networks["generator"], module.plan.seed)
        recalibrate_discriminator(networks["discriminator"], inputs["real"].images, module.plan.seed)
        return networks

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        """See `trigan.training.stage.Stage`."""
        generator, discriminator = self.architecture.generator(spec), self.architecture.discriminator(spec)
        return {"generator": generator.eval(), "discriminator": discriminator.eval()}
