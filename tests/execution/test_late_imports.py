"""torch's compiler and torchmetrics are imported late by the command line, and are whole once they are."""

import subprocess
import sys

_BEGIN = """
import sys
from trigan.execution.late_imports import install
install()
import torch
from pytorch_lightning import LightningModule
from torch.utils.flop_counter import FlopCounterMode
network = torch.nn.Linear(2, 2)
optimizer = torch.optim.Adam(network.parameters())
def step(module):
    optimizer.zero_grad()
    with FlopCounterMode(display=False) as counter:
        module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return counter.get_total_flops()
counted = step(network)
assert counted > 0
"""


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-c", _BEGIN + code], check=True)


def test_a_step_with_lightning_imports_neither() -> None:
    _run("""
names = ("torch._dynamo.convert_frame", "sympy", "torchmetrics.functional", "matplotlib")
assert not [name for name in names if name in sys.modules]
""")


def test_the_compiler_is_whole_when_it_is_needed() -> None:
    _run("""
from lightning_fabric.wrappers import OptimizedModule
early = torch._dynamo.disable(lambda: torch.compiler.is_compiling())
assert early() is False
assert not isinstance(network, OptimizedModule)
import torch._dynamo.config
assert torch._dynamo.config is sys.modules["torch._dynamo.config"]
assert torch._dynamo.config.__spec__.loader is not None
compiled = torch.compile(network, backend="eager")
assert isinstance(compiled, OptimizedModule) and not isinstance(network, OptimizedModule)
assert torch.equal(compiled(torch.ones(1, 2)), network(torch.ones(1, 2)))
step(compiled)
asked = torch.compile(lambda: early(), backend="eager")
assert asked() is False  # still disabled: it runs outside the compiled code
""")


def test_torchmetrics_is_whole_when_it_is_needed() -> None:
    _run("""
from torchmetrics.functional.classification import multiclass_accuracy
import torchmetrics
assert multiclass_accuracy(torch.tensor([0, 1]), torch.tensor([0, 1]), 2) == 1
metric = torchmetrics.MeanMetric()
assert isinstance(metric, torchmetrics.Metric) and torchmetrics.Metric is torchmetrics.metric.Metric
metric.update(3.0)
assert metric.compute() == 3.0
figure, axes = metric.plot()
assert type(figure).__module__ == "matplotlib.figure"
""")
