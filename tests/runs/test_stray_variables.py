"""Variables of torchrun that another program left in the environment."""

import pytest

from trigan.config.compose import compose
from trigan.execution.ranks import is_rank
from trigan.runs.run import _process_group


@pytest.mark.parametrize("size", ["2", "", "1", "many"])
def test_a_single_run_waits_for_no_other_process(
    size: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in (("WORLD_SIZE", size), ("RANK", "0"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29617")):
        monkeypatch.setenv(name, value)
    with _process_group(compose([])):
        pass
    assert (f"WORLD_SIZE={size} in the environment is ignored" in caplog.text) == (size in ("2", "many"))


def test_a_process_is_a_rank_of_its_own_run_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert is_rank(4)
    assert not is_rank(2)
