"""Fixtures of the tests of web applications."""

from __future__ import annotations

import pytest

from hfclient.web.relay import generation, relay
from tests.clock import FakeTime


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """The time for which a run has had no followers; it stands still until the test advances it."""
    fake = FakeTime()
    monkeypatch.setattr(relay, "time", fake)
    monkeypatch.setattr(generation, "time", fake)
    return fake
