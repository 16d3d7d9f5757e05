"""Each test of batches ends its threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.server import PATIENCE


@pytest.fixture(autouse=True)
def _no_threads_are_left() -> Iterator[None]:
    before = _threads()
    yield
    end = time.monotonic() + PATIENCE
    while (left := _threads() - before) and time.monotonic() < end:
        time.sleep(0.01)
    assert left == set()


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("hfclient-batch")}
