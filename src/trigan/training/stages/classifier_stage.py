"""The classifier stage: C on labelled images, with further terms on unlabelled or extra images."""

import copy
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress

import torch
from torch import Tensor, nn

from trigan.component_ids import component
from trigan.datasets.inputs import Inputs
from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError
from trigan.training.players import Player, PlayersModule, Update
from trigan.training.recalibration import recalibrate_on_real
from trigan.training.recipe import Recipe
from trigan.training.selection import Selection, Selector, Snapshots, evenly_spaced_steps
from trigan.training.stage import StageContext
from trigan.training.stages.labelled_loss import LabelledLoss
from trigan.training.step import TrainingStep
from trigan.training.terms.loss_terms import FitData, LossTerm, TermInFit

_log = logging.getLogger(__name__)


@component("stage/classifier@2")
@dataclass(frozen=True)
class ClassifierStage:
    """Train C by ``recipe`` on cross-entropy plus ``terms``; keep its average, recalibrated on real images.

    The inputs are ``labelled``, ``validation`` if any, and one for each term's stream.
    """

    recipe: Recipe
    terms: tuple[LossTerm, ...] = ()

    kind = "classifier"

    def __post_init__(self) -> None:
        for term in self.terms:
            if conflict := term.conflict(self.recipe):
                raise ConfigError(conflict)

    def with_recipe(self, recipe: Recipe) -> "ClassifierStage":
        """This stage with another recipe."""
        return replace(self, recipe=recipe)

    @property
    def on_clean_images(self) -> "ClassifierStage":
        """This stage without an adversary: teachers label clean images (Carmon et al. 2019, 1905.13736, section 4)."""
        return self.with_recipe(replace(self.recipe, adversary=None))

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        """See `trigan.training.stage.Stage`."""
        recipe, labelled = self.recipe, inputs["labelled"]
        network = context.build_network("classifier", lambda: recipe.classifier(context.spec))
        streams = {"labelled": recipe.labelled_stream(context, labelled)}
        terms = []
        for term in self.terms:
            size, data = term.stream_batch_size(recipe.batch), inputs[term.stream]
            streams[term.stream] = context.stream(term.stream, data, size)
            terms.append(term.in_fit(FitData(context.spec.classes, len(data), recipe.batch, network)))
        labelled_loss = recipe.labelled_loss(context, labelled)
        loss = partial(self._loss, labelled_loss, terms)
        update = Update("classifier", loss, recipe.batch, further_images=self._term_images)
        player = Player(network, recipe.optimizer, recipe.ema, recipe.clip)
        plan = context.plan(recipe.steps, recipe.batch)
        module = PlayersModule({"classifier": player}, (update,), streams, plan, self._phase)
        module.memories.extend([*labelled_loss.memories, *(one for term in terms for one in term.memories)])
        return register_classifier_selection(module, recipe.selection, inputs)

    def _loss(self, labelled_loss: LabelledLoss, terms: list[TermInFit], step: TrainingStep) -> Tensor:
        network = step.network("classifier")
        losses = [] if any(term.replaces_labelled for term in self.terms) else [labelled_loss(step, network)]
        active = step.decided(lambda now: self._phase(now.progress))
        losses += [term.loss(step, network) for term in compress(terms, active)]
        loss: Tensor = functools.reduce(torch.add, losses)
        step.log("train/classifier_loss", loss)
        return loss

    def _phase(self, progress: float) -> tuple[bool, ...]:
        return tuple(term.active(progress) for term in self.terms)

    def _term_images(self, progress: float) -> int:
        active = compress(self.terms, self._phase(progress))
        return sum(term.forward_images(self.recipe.batch) for term in active)

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        """See `final_classifiers`."""
        return final_classifiers(module)

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        """See `trigan.training.stage.Stage`."""
        return skeleton_classifiers(self.recipe.selection, lambda: self.recipe.classifier(spec).eval())


def register_classifier_selection(module: PlayersModule, selection: Selection, inputs: Inputs) -> PlayersModule:
    """Give ``module`` the selector and the snapshots that ``selection`` needs; returns ``module``.

    Batch-norm statistics come from all real training images of the row, which are the input ``statistics`` of a fit
    that trains on a part of them, unless C needs those of the labelled ones (`recalibrate_on_real`).
    """
    network, steps = module.evaluation_network("classifier"), module.plan.steps
    if selection.resolve("validation" in inputs) == "val":
        module.selector = Selector(network, inputs["validation"], steps, selection)
    if selection.snapshots is not None:
        due = evenly_spaced_steps(steps, selection.snapshots)
        module.snapshots = Snapshots([copy.deepcopy(network) for _ in due], due, module.plan.batch)
    images = next(inputs[name] for name in ("statistics", "unlabelled", "labelled") if name in inputs).images
    module.statistics_images, said = len(images), False

    def recalibrate(network: nn.Module) -> None:
        nonlocal said
        module.statistics_images = recalibrate_on_real(network, images, inputs["labelled"], module.plan.seed)
        if module.statistics_images < len(images) and not said:
            _log.warning(
                "C has batch-norm statistics of its %d labelled images: with those of all %d real ones it gets images "
                "wrong that it has learnt, as where classes have other frequencies among unlabelled images",
                module.statistics_images,
                len(images),
            )
            said = True

    module.recalibrate = recalibrate
    return module


def final_classifiers(module: PlayersModule) -> dict[str, nn.Module]:
    """The selected ``classifier``, recalibrated and in evaluation mode, and ``snapshots`` if there are any.

    A fit that diverged before its first evaluation on validation images keeps its last finite weights.
    """
    network: nn.Module = module.evaluation_network("classifier")
    if module.selector is not None and int(module.selector.step) > 0:
        network = module.selector.best.eval()
        module.recalibrate(copy.deepcopy(network))  # for the number of images of its statistics
    else:
        module.recalibrate(network)
    snapshots = {} if module.snapshots is None else {"snapshots": module.snapshots}
    return {"classifier": network, **snapshots}


def skeleton_classifiers(selection: Selection, build: Callable[[], nn.Module]) -> dict[str, nn.Module]:
    """Networks from ``build`` of the same shapes as those of `final_classifiers`, to load weights into."""
    networks = {"classifier": build()}
    if selection.snapshots is not None:
        networks["snapshots"] = Snapshots([build() for _ in range(selection.snapshots)])
    return networks
