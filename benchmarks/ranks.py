"""One flat all-reduce per update, which trigan uses, over DistributedDataParallel with find_unused_parameters=True.

    python benchmarks/ranks.py [--rounds 9] [--quick]

Two processes on gloo play the same G+D game by hand, with the weights, batches and noise of each step the same in both
ways: once with plain networks and `trigan.distributed.average_gradients`, once with both networks wrapped by torch's
DistributedDataParallel, which must look for unused parameters, as an update of G leaves those of D without a gradient.
The weights of both ways must agree after the steps, else the run ends.
Of rank 0, wall clock, in which it also waits for the other one, and processor time.
"""

import functools
import json
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from paired import Row, Size, compare, interleave, run_part
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trigan.config.compose import Composer
from trigan.datasets.types import DataSpec
from trigan.distributed import average_gradients
from trigan.losses.gan_losses import minimax_discriminator, non_saturating_generator

RANKS, BATCH = 2, 32
CASES = {"digits 8x8": (DataSpec(1, 8, 10), 20), "32x32 colour": (DataSpec(3, 32, 10), 5)}


@dataclass(frozen=True)
class Game:
    """A number of steps of a GAN of this shape; each rank has a batch of its own."""

    spec: DataSpec
    steps: int

    def networks(self) -> tuple[Any, Any]:
        """G and D, with the same weights on every call and every rank; without batch norm, which would couple rows."""
        torch.manual_seed(0)
        architecture = Composer().compose(["strategy=features", "logger=none"]).build().strategy.gan.architecture
        networks = architecture.generator(self.spec), architecture.discriminator(self.spec)
        return tuple(network.eval() for network in networks)  # running statistics: rows do not depend on each other

    def play(self, wrapped: bool) -> tuple[tuple[float, float], list[Tensor]]:
        """Wall-clock and processor seconds per step, and the weights at the end."""
        generator, discriminator = self.networks()
        latent, of_g, of_d = generator.latent, list(generator.parameters()), list(discriminator.parameters())
        optimizers = [torch.optim.SGD(weights, lr=1e-2) for weights in (of_g, of_d)]
        if wrapped:
            wrap = functools.partial(DistributedDataParallel, find_unused_parameters=True)
            generator, discriminator = wrap(generator), wrap(discriminator)

        def update(loss: Tensor, optimizer: torch.optim.Optimizer, weights: list[nn.Parameter]) -> None:
            loss.backward()
            if not wrapped:
                average_gradients(weights)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        source = torch.Generator().manual_seed(dist.get_rank())
        shape = (BATCH, self.spec.channels, self.spec.size, self.spec.size)
        dist.barrier()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(self.steps):
            real, z = torch.rand(shape, generator=source) * 2 - 1, torch.randn(BATCH, latent, generator=source)
            fake = generator(z)
            update(
                minimax_discriminator(*discriminator(torch.cat([real, fake.detach()])).chunk(2)), optimizers[1], of_d
            )
            discriminator.requires_grad_(False)
            update(non_saturating_generator(discriminator(fake)), optimizers[0], of_g)
            discriminator.requires_grad_(True)
        seconds = (time.perf_counter() - wall) / self.steps, (time.process_time() - cpu) / self.steps
        return seconds, [weight.detach() for weight in of_g + of_d]


def rank(number: int, port: int, size: Size, folder: str) -> None:
    """One of the two processes; that of rank 0 writes the rows."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=number, world_size=RANKS)
    rows = []
    for name, (spec, steps) in CASES.items():
        game = Game(spec, size.of(steps, 2))
        flat, wrapped = (game.play(way)[1] for way in (False, True))
        torch.testing.assert_close(flat, wrapped, rtol=1e-5, atol=1e-6)
        found = interleave(
            {"flat": lambda g=game: g.play(False)[0], "ddp": lambda g=game: g.play(True)[0]}, size.rounds
        )
        for clock, which in (("wall", 0), ("cpu", 1)):
            flat_seconds, ddp_seconds = ([one[which] for one in found[way]] for way in ("flat", "ddp"))
            rows.append(compare(f"2 ranks, {name}, flat all-reduce over DDP", flat_seconds, ddp_seconds, "<= 1", clock))
    if number == 0:
        (Path(folder) / "rows.json").write_text(json.dumps(rows))
    dist.destroy_process_group()


def measure(size: Size) -> list[Row]:
    """A row for each case."""
    with socket.socket() as probe, TemporaryDirectory() as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        mp.spawn(rank, (port, size, folder), RANKS)
        rows: list[Row] = json.loads((Path(folder) / "rows.json").read_text())
        return rows


if __name__ == "__main__":
    run_part(__doc__, "ranks", measure)
