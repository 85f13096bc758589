"""Two gloo processes give the outputs, gradients and running statistics of one process at the same global batch.

Each process runs this file as a script, so nothing depends on how pytest imports it.
"""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trigan.losses.regularizers import gradient_penalty
from trigan.networks.batchnorm import frozen_statistics, recalibrate_batch_norm
from trigan.networks.classifiers.cnn import SmallCNN
from trigan.networks.gans.dcgan import DCGAN

torch.set_num_threads(1)
ROWS = 10


@dataclass(frozen=True)
class Spec:
    channels: int = 1
    size: int = 8
    classes: int = 3


def build() -> nn.ModuleDict:
    torch.manual_seed(0)
    architecture = DCGAN(width=4, latent=6)
    players = {
        "generator": architecture.generator(Spec()),
        "discriminator": architecture.discriminator(Spec()),
        "classifier": SmallCNN(width=4)(Spec()),
        "critic": DCGAN(width=4, discriminator_norm="none").discriminator(Spec()),
    }
    return nn.ModuleDict(players).double()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    shapes = (ROWS, 6), (ROWS, 1, 8, 8), (ROWS, 1, 1, 1)
    z, real, eps = (torch.randn(*shape, generator=draws, dtype=torch.float64) for shape in shapes)
    return z, real * 2 + 1, eps.sigmoid()


def step(players: nn.ModuleDict, rows: slice) -> dict[str, Tensor]:
    """Outputs for these rows; every weight gets the gradient of their share of the global mean loss."""
    z, real, eps = (value[rows] for value in inputs())
    fake = players["generator"](z)
    with frozen_statistics(players["discriminator"]):
        fake_logits = players["discriminator"](fake)
    outputs = {
        "fake": fake.flatten(1),
        "fake_logits": fake_logits[:, None],
        "real_logits": players["discriminator"](real)[:, None],
        "logits": players["classifier"](real),
    }
    penalty = gradient_penalty(players["critic"], real, fake, eps)
    loss = penalty + sum((value * value.exp()).sum(1).mean() for value in outputs.values())
    loss = loss + players["critic"](real).square().mean()
    (loss * len(z) / ROWS).backward()
    return {name: value.detach() for name, value in outputs.items()}


def work(rank: int, port: str, folder: Path, split: int) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    players = build()
    outputs = step(players, slice(0, split) if rank == 0 else slice(split, ROWS))
    gradients = {name: weight.grad for name, weight in players.named_parameters()}
    for gradient in gradients.values():
        dist.all_reduce(gradient)
    buffers = {name: value.clone() for name, value in players.named_buffers()}
    if rank == 0:  # one rank alone may re-estimate: no collective is called
        recalibrate_batch_norm(players["classifier"], [inputs()[1]])
    torch.save({"outputs": outputs, "gradients": gradients, "buffers": buffers}, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("split", [5, 4], ids=["even", "uneven"])
def test_two_processes_equal_one(tmp_path: Path, split: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, str(port), str(tmp_path), str(split)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    workers = [subprocess.Popen([*command, rank], env=environment) for rank in "01"]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]

    players = build()
    for name, whole in step(players, slice(0, ROWS)).items():
        torch.testing.assert_close(torch.cat([half["outputs"][name] for half in halves]), whole, rtol=1e-9, atol=1e-11)
    for name, weight in players.named_parameters():
        torch.testing.assert_close(halves[0]["gradients"][name], weight.grad, rtol=1e-8, atol=1e-10)
    for name, value in players.named_buffers():
        for half in halves:
            torch.testing.assert_close(half["buffers"][name], value, rtol=1e-9, atol=1e-11)


if __name__ == "__main__":
    work(int(sys.argv[4]), sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
