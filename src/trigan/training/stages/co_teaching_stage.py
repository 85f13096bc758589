"""Co-teaching (Han et al. 2018, 1804.06872): two classifiers, each trained on images that the other one chooses."""

from dataclasses import dataclass, field
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from trigan import distributed
from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.inputs import Inputs
from trigan.errors import ConfigError
from trigan.training.players import Player, PlayersModule, Update
from trigan.training.stage import StageContext
from trigan.training.stages.classifier_stage import ClassifierStage, register_classifier_selection
from trigan.training.stages.labelled_loss import LabelledLoss
from trigan.training.step import TrainingStep

_PLAYERS = ("classifier", "second")


@component("co_teaching/forget_rate@1")
@dataclass(frozen=True)
class ForgetRate:
    """The share of a batch that is left out: ``rate`` min(t / ``gradual``, 1) after share t of the fit (algorithm 1).

    ``rate`` is tau, for which the authors take the rate of the noise; ``gradual`` is T_k, 10 of 200 epochs there.
    """

    rate: float
    gradual: float = 0.05

    def __post_init__(self) -> None:
        require(0 <= self.rate < 1, "rate", self.rate, "in [0, 1)")
        require(0 < self.gradual <= 1, "gradual", self.gradual, "a share of the fit in (0, 1]")

    def kept(self, progress: float, images: int) -> int:
        """How many of the images are used after share ``progress`` of the fit; at least one.

        Example:
            >>> ForgetRate(0.4, gradual=0.5).kept(0.25, images=10)
            8
        """
        share = 1.0 - self.rate * min(progress / self.gradual, 1.0)
        return max(1, int(share * images + 1e-9))


@component("stage/co_teaching@1")
@dataclass(frozen=True)
class CoTeachingStage(ClassifierStage):
    """Train two classifiers of different initial weights by ``recipe``, and keep the first.

    In each step both see the same images, and each is updated on those that have the smallest losses in the other one:
    algorithm 1 of the paper, with all losses from before the updates. The choice is among the images of a batch of all
    processes; with trainer.accumulate, among those of each micro-batch.
    """

    forget_rate: ForgetRate = field(default_factory=lambda: ForgetRate(0.2))

    def __post_init__(self) -> None:
        recipe = self.recipe
        if recipe.mix is not None or recipe.criterion.momentum is not None or recipe.adversary is not None:
            raise ConfigError(
                "strategy.noisy_labels=co_teaching chooses single images by their loss; set mix=none, another "
                "recipe.criterion than early_learning, and recipe.adversary=null"
            )

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        """See `trigan.training.stage.Stage`."""
        recipe, labelled = self.recipe, inputs["labelled"]
        averages = {"classifier": recipe.ema, "second": None}
        players = {}
        for name in _PLAYERS:
            network = context.build_network(name, lambda: recipe.classifier(context.spec))
            players[name] = Player(network, recipe.optimizer, averages[name], recipe.clip)
        game = _Game(recipe.labelled_loss(context, labelled), self.forget_rate)
        updates = tuple(Update(name, partial(game.loss, name), recipe.batch) for name in _PLAYERS)
        streams = {"labelled": recipe.labelled_stream(context, labelled)}
        module = PlayersModule(players, updates, streams, context.plan(recipe.steps, recipe.batch))
        return register_classifier_selection(module, recipe.selection, inputs)


class _Game:
    """The losses of both classifiers, from one pass of each in a step."""

    def __init__(self, labelled_loss: LabelledLoss, forget_rate: ForgetRate) -> None:
        self._labelled_loss, self._forget_rate = labelled_loss, forget_rate
        self._losses: WeakKeyDictionary[TrainingStep, dict[str, Tensor]] = WeakKeyDictionary()

    def loss(self, player: str, step: TrainingStep) -> Tensor:
        """The mean loss of ``player`` on the images that the other one chooses."""
        if step not in self._losses:
            self._losses[step] = self._pass(step)
        losses = self._losses[step]
        (other,) = set(_PLAYERS) - {player}
        images = len(losses[player]) * distributed.world_size()
        count = step.decided(lambda now: self._forget_rate.kept(now.progress, images))
        chosen = chosen_images(losses[other].detach(), count)
        loss = losses[player][chosen].sum() * distributed.world_size() / count
        step.log(f"train/{player}_loss", loss)
        return loss

    def _pass(self, step: TrainingStep) -> dict[str, Tensor]:
        """The loss of each image in each classifier, (n,), with the graph of its own weights."""
        labelled = step.batch("labelled")
        labelled_loss = self._labelled_loss.at(step)
        images, losses = labelled.augmented(labelled_loss.augmentation, "augment"), {}
        for player in _PLAYERS:
            with step.gradients_of(player) as network:
                losses[player] = labelled_loss.rows(network(images), labelled.known_labels)
        kept = step.decided(lambda now: self._forget_rate.kept(now.progress, len(images)))
        step.log("train/kept_share", images.new_ones(()) * (kept / len(images)))
        return losses


def chosen_images(losses: Tensor, count: int) -> Tensor:
    """Which of this process's rows are among the ``count`` smallest losses of all processes: (n,) -> bool (n,)."""
    everywhere = distributed.all_gather(losses[:, None]).squeeze(1)
    chosen = torch.zeros_like(everywhere, dtype=torch.bool)
    chosen[everywhere.argsort(stable=True)[:count]] = True
    return chosen.view(distributed.world_size(), -1)[distributed.rank()]
