"""C as it was along a fit: what a curve of test error over training is drawn from, once the seal is broken."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trigan.training.selection import Recalibrate


class Snapshots(nn.Module):
    """Classifiers, ready for evaluation, and after how many images each was taken, int64 (n,); 0: not yet.

    Part of a checkpoint, so that a resumed fit keeps the same ones. Nothing is chosen among them, and taking one is
    charged to nobody: like the evaluation that they are for, it is no part of the method.
    """

    images: Tensor

    def __init__(self, networks: Sequence[nn.Module], due: Sequence[int] = (), batch: int = 0) -> None:
        """Room for as many snapshots as ``networks``, each after its step in ``due``; none is taken yet."""
        super().__init__()
        self.networks = nn.ModuleList(networks).requires_grad_(False)
        self.register_buffer("images", torch.zeros(len(networks), dtype=torch.int64))
        self.due_steps, self._batch = tuple(due), batch

    @classmethod
    def evenly_spaced(cls, network: nn.Module, count: int, steps: int, batch: int) -> "Snapshots":
        """Room for ``count`` of ``network``, evenly spaced over a fit and the last at its end."""
        due = [round(steps * (k + 1) / count) for k in range(count)]
        return cls([copy.deepcopy(network) for _ in due], due, batch)

    @torch.no_grad()
    def record(self, network: nn.Module, recalibrate: Recalibrate, step: int) -> None:
        """Keep ``network``, recalibrated for evaluation, as it is after ``step`` steps, one of those in ``due``."""
        recalibrated, index = copy.deepcopy(network), self.due_steps.index(step)
        recalibrate(recalibrated)
        self.networks[index].load_state_dict(recalibrated.state_dict())
        self.images[index] = step * self._batch

    def map_networks(self, part: Callable[[Any], nn.Module]) -> "Snapshots":
        """The same moments of a part of the network."""
        kept = Snapshots([part(network) for network in self.networks])
        kept.images.copy_(self.images)
        return kept

    def by_images_seen(self) -> dict[int, nn.Module]:
        """Those that the fit came to, by the images that it had seen."""
        pairs = zip(self.images.tolist(), self.networks, strict=True)
        return {images: network.eval() for images, network in pairs if images}
