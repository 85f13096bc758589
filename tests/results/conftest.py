"""Small records as fixtures."""

from collections.abc import Callable

import pytest
from record_makers import make_record, make_records

from trigan.records.record import Record


@pytest.fixture
def record() -> Callable[..., Record]:
    """`make_record`."""
    return make_record


@pytest.fixture
def records() -> Callable[..., list[Record]]:
    """`make_records`."""
    return make_records
