"""Any game with one more summand in C's loss: a consistency term on unlabelled images."""

from collections.abc import Hashable
from dataclasses import dataclass, replace

from torch import Tensor

from trigan.training.players import Objective, Update
from trigan.training.stages.criteria import LossTerm
from trigan.training.step import TrainingStep


@dataclass(frozen=True)
class ObjectiveWithTerm:
    """``objective``, whose updates of C descend on ``term`` as well; ``batch`` is what the term's rows go by."""

    objective: Objective
    term: LossTerm
    batch: int

    def updates(self) -> tuple[Update, ...]:
        return tuple(map(self._with_term, self.objective.updates()))

    def phase(self, progress: float) -> Hashable:
        return self.objective.phase(progress)

    def _with_term(self, update: Update) -> Update:
        if update.player != "classifier":
            return update

        def loss(step: TrainingStep) -> Tensor:
            return update.loss(step) + self.term(step, step.network("classifier"))

        return replace(update, loss=loss, images=update.images + self.term.forward_images(self.batch))
