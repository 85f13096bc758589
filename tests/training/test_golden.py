"""The same program gives the same weights on every machine under one protocol version."""

import pytest

from trigan.version import PROTOCOL_VERSION

from . import golden

RULE = (
    "numbers moved: where that was meant, raise PROTOCOL_VERSION in src/trigan/__init__.py and run "
    "'python -m tests.training.golden'"
)


def test_the_file_has_this_protocol_version() -> None:
    assert golden.read()["protocol"] == PROTOCOL_VERSION, "run 'python -m tests.training.golden'"


@pytest.mark.parametrize("case", golden.CASES)
def test_weights_in_double_precision_equal_the_file(case: str) -> None:
    assert golden.moved(golden.sums_and_norms(case), golden.read()["weights"][case]) == [], RULE


@pytest.mark.parametrize("case", golden.CASES)
def test_weights_in_single_precision_are_the_same_bits_on_the_same_machine(case: str) -> None:
    known = golden.read()["digests"].get(golden.machine())
    if known is None:
        pytest.skip(f"no bits were written down on this machine ({golden.machine()})")
    assert golden.digests(case) == known[case], RULE


def test_a_small_change_is_found() -> None:
    then = golden.read()["weights"]["classifier"]
    for place, factor in ((0, 1e-4), (1, 1e-5)):
        now = {player: {name: list(pair) for name, pair in state.items()} for player, state in then.items()}
        pair = now["classifier"]["head.weight"]
        pair[place] += factor * pair[1]
        assert golden.moved(now, then) == ["classifier/head.weight"]
    assert golden.moved({"classifier": {}}, {"classifier": {"a": [0.0, 0.0]}}) == ["classifier/a"]
