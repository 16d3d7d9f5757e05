"""The writer of a relay: what is written to the store, and how often."""

from __future__ import annotations

import time

import pytest

from hfclient.web.relay import Relay, Write
from hfclient.web.relay.log import EventLog
from tests.chat.replay import wait_until
from tests.web.relay_sources import Scripted, read, texts


def test_a_run_that_is_about_to_end_is_not_written_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a run ends, the writer waits for it. Under gevent a writer that asks again and again never lets it end."""
    relay = Relay()
    writes: list[Write] = []
    write, finish = relay.store.write, EventLog.finish
    monkeypatch.setattr(relay.store, "write", lambda batch, bounds: (writes.extend(batch), write(batch, bounds))[1])
    monkeypatch.setattr(EventLog, "finish", lambda log, end: (time.sleep(0.3), finish(log, end))[1])
    run = relay.start("thread", Scripted("Hello", None).open)
    assert texts(read(relay, run.id)) == "Hello"
    wait_until(lambda: run.id not in relay.writer.generations)
    assert relay.get(run.id).status == "completed"
    assert len(writes) < 20
    relay.close(1)
