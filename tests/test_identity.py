"""Equal objects have equal digests, different ones do not, and objects without a canonical form are refused."""

import functools
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trigan.component_ids import component
from trigan.identity import canonical_form, canonical_json, digest, tensor_digest, weights_digest


@component("test/loss@1")
@dataclass(frozen=True)
class Loss:
    weight: float = 1.0
    betas: tuple[float, float] = (0.5, 0.999)
    workers: int = field(default=0, metadata={"identity": False})


@component("test/penalty@1")
@dataclass(frozen=True)
class Penalty(Loss):
    pass


def content(path: str) -> str:
    return path.upper()


@component("test/reader@1")
@dataclass(frozen=True)
class Reader:
    file: str = field(default="a", metadata={"identity": content})
    loss: Loss = field(default_factory=Loss)


@dataclass(frozen=True)
class Confusing:
    type: str


class Plain(Loss):
    pass


class Parent:
    @classmethod
    def make(cls) -> None: ...

    def method(self) -> None: ...


class Child(Parent):
    pass


def test_what_equals_a_default_is_left_out() -> None:
    assert canonical_form(Loss()) == {"type": "test/loss@1"}
    assert canonical_form(Loss(weight=2, betas=(0.5, 0.999))) == {"type": "test/loss@1", "weight": 2}
    assert canonical_form(Reader(loss=Loss(2))) == {
        "type": "test/reader@1",
        "file": "A",
        "loss": {"type": "test/loss@1", "weight": 2},
    }


def test_true_is_not_the_default_1() -> None:
    assert canonical_form(Loss(weight=True)) == {"type": "test/loss@1", "weight": True}


def test_a_config_node_counts_as_the_object_that_it_builds() -> None:
    node = {"_target_": f"{__name__}.Reader", "loss": {"_target_": f"{__name__}.Loss", "workers": 3, "weight": 1.0}}
    assert canonical_form(node) == {"type": "test/reader@1"}
    assert (
        canonical_form({**node, "file": "b"}) == canonical_form(Reader("b")) == {"type": "test/reader@1", "file": "B"}
    )


def test_a_base_classs_identifier_does_not_count() -> None:
    assert canonical_form(Plain())["type"]["path"] == f"{__name__}.Plain"


def test_canonical_text() -> None:
    value = {"b": [1, 2.5, None, True], "a": Path("x/y"), "loss": Loss(2)}
    assert canonical_json(value) == ('{"a":"x/y","b":[1,2.5,null,true],"loss":{"type":"test/loss@1","weight":2}}')
    assert digest({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"  # by sha256sum
    assert digest({"a": 1}, 8) == "015abd7f"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([1, 2], (1, 2)),
        (1.0, 1),
        (Loss(1), Loss(1.0)),
        (Loss(workers=0), Loss(workers=8)),
        (0.1, float(np.float64(0.1))),
        (functools.partial(torch.nn.Linear, 2, bias=False), functools.partial(torch.nn.Linear, 2, bias=False)),
    ],
)
def test_same(one: Any, two: Any) -> None:
    assert digest(one) == digest(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (1, True),
        (1, "1"),
        (0.1, 0.1 + 1e-17 + 1e-16),
        (None, "None"),
        (float("inf"), float("-inf")),
        (float("nan"), "nan"),
        ([[1], 2], [1, [2]]),
        (Loss(), Loss(weight=2)),
        (Loss(), Penalty()),
        (torch.relu, torch.tanh),
        (torch.nn.ReLU, torch.nn.Tanh),
        (functools.partial(torch.nn.Linear, 2), functools.partial(torch.nn.Linear, 3)),
        (functools.partial(torch.nn.Linear, 2), functools.partial(torch.nn.Linear, in_features=2)),
        (Parent.make, Child.make),
    ],
)
def test_different(one: Any, two: Any) -> None:
    assert digest(one) != digest(two)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        torch.zeros(1),
        np.int64(1),
        {1, 2},
        lambda x: x,
        functools.partial(lambda x: x, 1),
        Parent().method,
        [].append,
        torch.nn.ReLU(),
        functools.partial(torch.nn.ReLU()),
        {1: "a", "1": "b"},
        {(1, 2): "a"},
        Confusing("x"),
        functools.partial(dict, call=1),
        functools.partial(dict, args=1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    """Two lambdas, or two objects' methods, share a name: taking the name would share their trained weights."""
    with pytest.raises(TypeError, match=r"canonical form|identity"):
        canonical_form({"deep": [value]})


def test_local_functions_are_refused() -> None:
    def local() -> None: ...

    with pytest.raises(TypeError, match="identity"):
        canonical_form(local)


def test_the_same_in_another_process() -> None:
    code = (
        "import torch, functools; from trigan.identity import digest;"
        "print(digest({'x': functools.partial(torch.nn.Linear, 2, bias=False), 'y': torch.relu}))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert output == digest({"y": torch.relu, "x": functools.partial(torch.nn.Linear, 2, bias=False)})


def test_tensor_digest_depends_on_values_shape_and_type() -> None:
    x = torch.arange(6.0)
    others = [
        x.clone().index_fill_(0, torch.tensor(5), -5),
        x.reshape(2, 3),
        x.double(),
        x.half(),
        x.bfloat16(),
        x.int(),
        x.flip(0),
    ]
    digests = {tensor_digest(other) for other in [x, *others]}
    assert len(digests) == 8
    assert tensor_digest(torch.tensor(1.0)) != tensor_digest(torch.tensor([1.0]))
    assert tensor_digest(torch.empty(0, 3)) != tensor_digest(torch.empty(3, 0))
    assert tensor_digest(x, None) != tensor_digest(x)
    assert tensor_digest(x, x) != tensor_digest(torch.cat([x, x]))


def test_tensor_digest_ignores_strides_and_offset() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    assert tensor_digest(x.t().contiguous().t()) == tensor_digest(x)
    assert tensor_digest(x.clone().requires_grad_()) == tensor_digest(x)
    assert tensor_digest(torch.cat([x, x])[2:]) == tensor_digest(x)


def test_weights_digest() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    state = network.state_dict()
    assert weights_digest(state) == weights_digest(dict(reversed(list(state.items()))))
    renamed = {f"x{name}": tensor for name, tensor in state.items()}
    halved = {name: tensor.bfloat16() for name, tensor in state.items()}
    moved = {**state, "0.bias": state["0.bias"] + 1e-7}
    assert len({weights_digest(s) for s in (state, renamed, halved, moved)}) == 4
    # half-precision weights differ from single-precision weights of the same values
    assert weights_digest(halved) != weights_digest({name: tensor.float() for name, tensor in halved.items()})
