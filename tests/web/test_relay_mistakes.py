"""Functions and sources of the application that raise what they should not: the run ends, its key is free, other runs are not touched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hfclient.events import Token, Unknown
from hfclient.web.errors import RunFailed
from hfclient.web.relay import MemoryStore, Relay
from tests.chat.replay import wait_until
from tests.clock import FakeTime
from tests.web.relay_sources import Partition, Scripted, read, texts


class Abort(BaseException):
    """Such as `gevent.Timeout`."""


class Odd(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Unreadable(Scripted):
    @property
    def partial(self) -> Any:
        raise ValueError("no answer")


def raising(error: BaseException) -> Callable[..., Any]:
    def function(*_: object) -> Any:
        raise error

    return function


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    monkeypatch.setattr(threading, "excepthook", lambda args: None)  # a thread of a run ends with what it was ended by
    relay = Relay()
    yield relay
    relay.close(0)


@pytest.mark.parametrize(
    ("status", "opener", "options"),
    [
        ("completed", Scripted("a", None).open, {"on_end": raising(SystemExit(3))}),
        ("completed", Scripted("a", None).open, {"on_end": raising(Abort())}),
        ("failed", Scripted("a", None).open, {"state": raising(Abort())}),
        ("failed", Scripted("a", Abort()).open, {}),
        ("completed", Unreadable("a", None).open, {}),
        ("failed", raising(Odd()), {}),
        ("failed", raising(SystemExit()), {}),
    ],
)
def test_a_run_ends(relay: Relay, status: str, opener: Any, options: dict[str, Any]) -> None:
    """Whatever is raised, followers get an end and the key is free."""
    run = relay.start("k", opener, **options)
    wait_until(lambda: relay.get(run.id).ended)
    assert relay.get(run.id).status == status
    assert texts(read(relay, relay.start("k", Scripted("b", None).open).id)) == "b"


def test_a_stop_whose_on_end_is_aborted(relay: Relay) -> None:
    """The caller of stop() gets what on_end raised; the run has ended, and its source is left."""
    source = Scripted("a")
    run = relay.start("k", source.open, on_end=raising(Abort()))
    wait_until(lambda: relay.get(run.id).last == 1)
    with pytest.raises(Abort):
        relay.stop(run.id)
    assert relay.get(run.id).status == "interrupted"
    wait_until(lambda: source.stopped == 1)


def test_start_does_not_end_the_worker(relay: Relay) -> None:
    """SystemExit of the call is not raised in the thread of a request."""
    with pytest.raises(RunFailed, match="SystemExit"):
        relay.start("k", raising(SystemExit()), wait=10)


def test_an_event_that_no_store_can_keep() -> None:
    """It is replaced in the store by an unknown event; the rest of its run, and other runs, are stored."""
    relay = Relay(coalesce=0.2)
    other_process = Relay(Partition(relay.store))  # type: ignore[arg-type]
    first = relay.start("a", Scripted("a", Unknown("x", {"value": object()}), Token("b", extra={"value": object()}), "c", None).open)
    second = relay.start("b", Scripted("d", None).open)
    wait_until(lambda: other_process.get(first.id).ended and other_process.get(second.id).ended)
    assert [entry.event for entry in read(other_process, first.id)] == [Token("a"), Unknown("Unknown", {}), Token("b"), Token("c")]
    assert texts(read(other_process, second.id)) == "d"
    relay.close(0)
    other_process.close(0)


def test_a_system_without_threads(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run fails if no thread can start; when threads can start again, its end is written, and others run."""
    other_process = Relay(Partition(relay.store))  # type: ignore[arg-type]

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without_threads:
        without_threads.setattr(threading.Thread, "start", refuse)
        run = relay.start("k", Scripted("a", None).open)
        assert relay.get(run.id).status == "failed"
    assert texts(read(relay, relay.start("other", Scripted("b", None).open).id)) == "b"
    wait_until(lambda: other_process.get(run.id).status == "failed")
    assert texts(read(relay, relay.start("k", Scripted("c", None).open).id)) == "c"
    other_process.close(0)


def test_a_slow_on_end_does_not_delay_the_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """on_end of a queued run whose process is lost is not called in the thread that renews the leases."""
    names: list[str] = []
    clock = FakeTime()  # of the leases
    store = MemoryStore(clock=clock.monotonic)
    view: Any = Partition(store)
    lost = Relay(view, lease=0.5)
    relay = Relay(Partition(store), lease=0.5, on_end=lambda *_: names.append(threading.current_thread().name))  # type: ignore[arg-type]
    for prompt in "ab":
        lost.start("k", Scripted(prompt).open, busy="queue")
    run = relay.start("k", Scripted("c", None).open, busy="queue")
    view.down = True
    clock.advance(0.5)
    assert texts(read(relay, run.id)) == "c"
    assert len(names) == 3
    assert not any(name.startswith("hfclient-relay") and name != "hfclient-relay-stop" for name in names)
    view._down = False
    lost.close(0)
    relay.close(0)
