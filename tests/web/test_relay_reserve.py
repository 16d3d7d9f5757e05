"""Runs that one relay announces and another one generates, as a web worker and a Celery task do."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hfclient.web.errors import RunBusy, RunFailed, RunNotFound, StoreUnavailable
from hfclient.web.relay import MemoryStore, Relay, Run
from tests.chat.replay import wait_until
from tests.processes.helpers import needs_signals
from tests.web.relay_sources import Scripted, read, texts


@pytest.fixture
def relays() -> Iterator[Callable[..., Relay]]:
    """Return a function that makes relays on one store: of the web worker, and of others."""
    store = MemoryStore()
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Relay:
            relay = Relay(store, **options)
            stack.callback(relay.close, 0)
            return relay

        yield make


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    return thread, results


def test_another_process_generates(relays: Callable[..., Relay]) -> None:
    """A reserved run is followed before it begins; `run` returns at its end, and once more changes nothing."""
    web, task = relays(), relays()
    source = Scripted(*"abc")
    run = web.reserve("thread", owner="u", state={"prompt": "p"})
    assert (run.status, run.owner, run.state) == ("queued", "u", {"prompt": "p"})
    assert web.running("thread") == run
    with pytest.raises(RunBusy):
        web.reserve("thread")
    ends: list[Any] = []
    follower, entries = in_thread(lambda: read(web, run.id, owner="u"))
    thread, results = in_thread(lambda: task.run(run.id, source.open, on_end=lambda *told: ends.append(told)))
    wait_until(lambda: web.get(run.id, owner="u").status == "running")
    with pytest.raises(RunBusy, match="another process"):
        task.run(run.id, source.open)
    source.send("d", None)
    thread.join()
    follower.join()
    assert texts(entries[0]) == "abcd"
    assert (results[0].status, results[0].state, len(ends)) == ("completed", {"prompt": "p"}, 1)
    assert task.run(run.id, source.open).status == "completed"
    assert source.opened == 1
    assert web.running("thread") is None


def test_a_repeated_request_reserves_once(relays: Callable[..., Relay]) -> None:
    """The idempotency key returns the same run before, during and after its generation."""
    web, task = relays(), relays()
    run = web.reserve("k", idempotency_key="m1")
    assert web.reserve("k", idempotency_key="m1") == run
    assert task.run(run.id, Scripted(*"a", None).open).status == "completed"
    assert web.reserve("k", idempotency_key="m1").status == "completed"
    assert web.start("k", Scripted(None).open, idempotency_key="m1").id == run.id


def test_no_process_begins(relays: Callable[..., Relay]) -> None:
    """A run that was reserved for nothing fails after the patience, and its key is free again."""
    web = relays()
    run = web.reserve("k", patience=0.1)
    with pytest.raises(RunFailed) as caught:
        read(web, run.id)
    assert caught.value.problem["code"] == "generator-lost"
    source = Scripted()
    assert web.run(run.id, source.open).status == "failed"
    assert source.opened == 0
    assert web.reserve("k").id != run.id


def test_a_reserved_run_is_stopped(relays: Callable[..., Relay]) -> None:
    """A stop ends it at once, although no process has it; the task that comes later generates nothing."""
    web, task = relays(), relays()
    run = web.reserve("k")
    follower, entries = in_thread(lambda: read(web, run.id))
    assert web.stop(run.id).status == "interrupted"
    follower.join()
    assert entries == [[]]
    source = Scripted()
    assert task.run(run.id, source.open).status == "interrupted"
    assert source.opened == 0


def test_a_queued_reservation_waits_in_its_task(relays: Callable[..., Relay]) -> None:
    """A run behind another one of its key begins when that one has ended."""
    web, task = relays(busy="queue"), relays()
    first, second = Scripted("a"), Scripted("b", None)
    run = web.start("k", first.open)
    behind = web.reserve("k")
    thread, results = in_thread(lambda: task.run(behind.id, second.open))
    wait_until(lambda: task.store.get(behind.id).fence == 1)  # type: ignore[union-attr]
    assert second.opened == 0
    first.send(None)
    thread.join(30)
    assert (results[0].status, web.get(run.id).status, second.opened) == ("completed", "completed", 1)


def test_a_failure_is_the_runs(relays: Callable[..., Relay]) -> None:
    """`run` returns a failed run; the readers get the error."""
    web, task = relays(), relays()
    run = web.reserve("k")
    found: Run = task.run(run.id, Scripted("a", RuntimeError("broken")).open)
    assert found.status == "failed"
    with pytest.raises(RunFailed):
        read(web, run.id)
    with pytest.raises(RunNotFound):
        task.run("unknown", Scripted().open)


@needs_signals
def test_a_time_limit_stops_the_run(relays: Callable[..., Relay]) -> None:
    """An exception in the thread that waits, such as Celery's soft time limit, ends the run with the answer so far."""
    web, task = relays(), relays()
    source = Scripted("a")
    run = web.reserve("k")

    def limit(*_: object) -> None:
        raise TimeoutError("soft time limit")

    before = signal.signal(signal.SIGUSR1, limit)
    try:
        main = threading.get_ident()
        timer = threading.Thread(target=lambda: (wait_until(lambda: source.sent != []), signal.pthread_kill(main, signal.SIGUSR1)))
        timer.start()
        with pytest.raises(TimeoutError, match="soft"):
            task.run(run.id, source.open)
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (texts(read(web, run.id)), web.get(run.id).status) == ("a", "interrupted")
    wait_until(lambda: source.stopped == 1)


def test_the_reader_does_not_overtake_a_stop(relays: Callable[..., Relay]) -> None:
    """The source is not closed, which may only detach from it, while a stop of it is on its way."""
    order: list[str] = []

    class Slow(Scripted):
        def stop(self) -> None:
            self.send("late")  # the reader sees that the run has ended
            wait_until(lambda: len(self.sent) == 2 or order != [])
            order.append("stopped")

        def close(self) -> None:
            order.append("closed")

        def cancel(self) -> None:
            order.append("cancelled")
            super().cancel()

    relay, source = relays(), Slow("a")
    run = relay.start("k", source.open)
    wait_until(lambda: len(source.sent) == 1)
    relay.stop(run.id)
    wait_until(lambda: "cancelled" in order)
    assert order[:2] == ["stopped", "cancelled"]


def test_a_reservation_needs_the_store() -> None:
    """With *memory_only*, too: another process could not find the run."""
    store = MemoryStore()
    relay = Relay(store, memory_only=True)
    store.close()
    with pytest.raises(StoreUnavailable):
        relay.reserve("k")
