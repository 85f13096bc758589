"""Counted cost: floating-point operations by torch's counter, and images by player."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

_counters: list[FlopCounterMode] = []  # those that are counting


@dataclass(frozen=True)
class Cost:
    """The cost of a fit.

    Attributes:
        flops: floating-point operations, 2 per multiply-add.
        images: images in the updates of each player, real and generated alike, each augmented view counted. An image
            counts for the player that is updated, not for other networks that process it: the generated images of a
            D update are not counted for G.
    """

    flops: int = 0
    images: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Cost") -> "Cost":
        """The sum, player by player; ``sum(costs, Cost())`` adds many."""
        players = sorted({*self.images, *other.images})
        images = {player: self.images.get(player, 0) + other.images.get(player, 0) for player in players}
        return Cost(self.flops + other.flops, images)


def count_flops(work: Callable[[], object]) -> int:
    """Run ``work`` once and count its operations, those of backward passes included.

    Counted are convolutions, matrix products and attention (torch's FlopCounterMode), 2 per multiply-add; elementwise
    work, normalisation and optimizers are not.
    """
    # The counter would take SiLU's backward function apart, which rounds differently: a resumed fit, whose first step
    # is counted anew, would then differ from one that was not interrupted.
    counted: Any = {
        torch.ops.aten.convolution_backward: _backward_of_conv,
        torch.ops.aten.silu_backward.default: lambda *shapes, **keywords: 0,
    }
    counter = FlopCounterMode(display=False, custom_mapping=counted)
    # No tracker of modules: totals need none, and its hooks fail under autograd.grad with respect to a module's input,
    # as in a gradient penalty (pytorch issue 131753).
    tracker: Any = nullcontext()
    tracker.parents = {"Global"}
    counter.mod_tracker = tracker
    _counters.append(counter)
    try:
        with counter:
            work()
    finally:
        _counters.pop()
    return int(counter.get_total_flops())


@contextmanager
def uncounted() -> Iterator[None]:
    """Leave out of `count_flops` what is done within the body: checks that are no part of a method."""
    before = [(counter.flop_counts["Global"], dict(counter.flop_counts["Global"])) for counter in _counters]
    yield
    for counts, kept in before:
        counts.clear()
        counts.update(kept)


def _backward_of_conv(*given: Any, out_shape: Any) -> int:
    """A gradient of a convolution, by input or by weight, costs what its forward pass costs.

    torch's own formula says so too, but counts the weights of grouped convolutions as if each met all channels.
    """
    (grad_out, x, weight), transposed, output_mask = given[:3], given[7], given[10]
    return int(conv_flop_count(x, weight, grad_out, transposed)) * sum(map(bool, output_mask[:2]))
