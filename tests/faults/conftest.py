"""The time of polls in tests of faults."""

from __future__ import annotations

import pytest

from hfclient.chat.conversations import resume
from hfclient.transport import retry
from tests.clock import FakeTime


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """The time after which polls without news give up."""
    time = FakeTime()
    for module in (retry, resume):
        monkeypatch.setattr(module, "time", time)
    return time
