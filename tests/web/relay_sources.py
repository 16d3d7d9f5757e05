"""Sources for tests of relays: answers that a test sends piece by piece."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

from hfclient import Reply
from hfclient.events import AnyEvent, Token
from hfclient.web.errors import StoreUnavailable
from hfclient.web.relay import Follower, Relay, Store, Watch
from hfclient.web.relay.store import Notify
from hfclient.web.source import Entry
from tests.server import PATIENCE


class Scripted:
    """A source whose events the test sends; `open` is what a relay calls.

    Attributes:
        opened: How often it was opened.
        stopped, detached, cancelled, closed: How often.
    """

    def __init__(self, *events: AnyEvent | str | BaseException | None) -> None:
        self.opened = self.stopped = self.detached = self.cancelled = self.closed = 0
        self._queue: queue.Queue[Any] = queue.Queue()
        self.sent: list[AnyEvent] = []
        self.send(*events)

    def send(self, *events: AnyEvent | str | BaseException | None) -> None:
        """Send events (a text is a token); None ends the answer, an exception fails it."""
        for event in events:
            self._queue.put(Token(event) if isinstance(event, str) else event)

    def open(self) -> Scripted:
        self.opened += 1
        return self

    def ticks(self, seconds: float) -> Iterator[AnyEvent | None]:
        while (event := self._queue.get(timeout=PATIENCE)) is not None:
            if isinstance(event, BaseException):
                raise event
            self.sent.append(event)
            yield event

    @property
    def partial(self) -> Reply:
        return Reply(text="".join(event.text for event in self.sent if isinstance(event, Token)))

    def stop(self) -> None:
        self.stopped += 1

    def detach(self) -> None:
        self.detached += 1

    def cancel(self) -> None:
        self.cancelled += 1
        self._queue.put(None)

    def close(self) -> None:
        self.closed += 1


def texts(entries: list[Entry] | list[AnyEvent]) -> str:
    """The text of entries or events."""
    events = [entry.event if isinstance(entry, Entry) else entry for entry in entries]
    return "".join(event.text for event in events if isinstance(event, Token))


def read(relay: Relay, run_id: str, after: str | None = None, **options: Any) -> list[Entry]:
    """Follow a run to its end."""
    with relay.follow(run_id, after, **options) as follower:
        return list(follower)


def numbers(entries: list[Entry]) -> list[int]:
    return [int(entry.id.rpartition(":")[2]) for entry in entries]


def take(follower: Follower, count: int) -> list[Entry]:
    """Read some entries."""
    iterator = follower.ticks(PATIENCE)
    found = []
    for _ in range(count):
        entry = next(iterator)
        assert entry is not None
        found.append(entry)
    return found


class Partition:
    """A view of a store that one relay has: it can be cut off from the store, as a process on a machine without network.

    Attributes:
        is_shared: Each relay is a process of its own, as far as the store can tell.
        down: Every call raises StoreUnavailable, and watches are silent. A call that has begun is completed before.
        calls: The names of the methods that were called.
    """

    is_shared = True

    def __init__(self, store: Store) -> None:
        self._store = store
        self._down = False
        self._calling = threading.RLock()
        self.calls: list[str] = []
        self._notifies: list[Notify] = []

    @property
    def down(self) -> bool:
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        with self._calling:
            self._down = down
        if not down:
            for notify in list(self._notifies):
                notify(None)

    def watch(self, run_id: str, notify: Notify) -> Watch:
        self._notifies.append(notify)
        return self._store.watch(run_id, lambda batch: None if self._down else notify(batch))

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self.calls.append(name)
            with self._calling:
                if self._down:
                    raise StoreUnavailable("the store is down")
                return getattr(self._store, name)(*args, **options)

        return call
