"""A line at least every half minute where there is no progress bar."""

import logging
import time

import pytest
from rich.console import Console

from trigan.execution import progress
from trigan.execution.progress import Heartbeat, ProgressBar


def wait_for(count: int, caplog: pytest.LogCaptureFixture, since: int = 0) -> list[str]:
    until = time.monotonic() + 10
    while len(caplog.messages) - since < count and time.monotonic() < until:
        time.sleep(0.01)
    return caplog.messages[since:]


def test_the_last_message_again_where_nothing_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Heartbeat, "interval", 0.05)
    monkeypatch.setattr(progress, "shows_bars", lambda console: False)
    caplog.set_level("INFO", "trigan")
    with Heartbeat():
        assert wait_for(1, caplog)[0] == "working for 0 s since: start"
        logging.getLogger("trigan.somewhere").info("reads images")
        told = wait_for(3, caplog, caplog.messages.index("reads images") + 1)
        assert set(told) == {"working for 0 s since: reads images"}
    count = len(caplog.messages)
    time.sleep(0.2)
    assert len(caplog.messages) <= count + 1, "after the context it ends"


def test_other_lines_and_bars_are_enough(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level("INFO", "trigan")
    monkeypatch.setattr(progress, "shows_bars", lambda console: False)
    assert Heartbeat.interval < 30
    monkeypatch.setattr(Heartbeat, "interval", 1.0)
    with Heartbeat(), ProgressBar("jobs", 2, console=Console(quiet=True)) as bar:
        for _ in range(12):
            bar.say("one more")
            time.sleep(0.1)
    monkeypatch.setattr(Heartbeat, "interval", 0.05)
    monkeypatch.setattr(progress, "shows_bars", lambda console: True)
    with Heartbeat():
        time.sleep(0.2)
    assert caplog.messages == []
