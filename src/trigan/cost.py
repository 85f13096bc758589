"""Counted cost: floating-point operations by torch's counter, and images by player."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch.utils.flop_counter import FlopCounterMode


class _NoModules:
    """Stands in for torch's tracker of modules, whose hooks fail under ``autograd.grad`` with respect to a module's
    input (pytorch issue 131753), which is what a gradient penalty does. Totals need no modules."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        return None


@dataclass(frozen=True)
class Cost:
    """What a fit cost: ``flops`` (2 per multiply-add), and ``images`` in the updates that moved each player.

    Real and generated images count alike, each view of one for itself. An image counts for the player that moves,
    though others look at it too: D's batch of generated images is not charged to G, which drew it.
    """

    flops: int = 0
    images: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Cost") -> "Cost":
        """Both costs together, player by player; ``sum(costs, Cost())`` adds many."""
        players = sorted({*self.images, *other.images})
        images = {player: self.images.get(player, 0) + other.images.get(player, 0) for player in players}
        return Cost(self.flops + other.flops, images)

    def times(self, count: int) -> "Cost":
        """The cost of ``count`` such steps."""
        return Cost(self.flops * count, {player: n * count for player, n in self.images.items()})

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the record: ``{"flops": int, "images": {player: int}}``."""
        return {"flops": self.flops, "images": dict(sorted(self.images.items()))}


def count_flops(work: Callable[[], object]) -> int:
    """Operations of one call of ``work``, forward and backward passes included if it does both.

    Counts what torch's FlopCounterMode counts: convolutions, matrix products and attention, 2 per multiply-add;
    elementwise work, normalisation and optimizers are left out. The call itself takes place, with its effects.
    """
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()  # type: ignore[assignment]
    with counter:
        work()
    return int(counter.get_total_flops())
