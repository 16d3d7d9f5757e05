"""`Follower`: a reader of a run, from any of its events on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol

from hfclient.errors import InvalidInputError
from hfclient.events import AnyEvent
from hfclient.web.relay.log import EventLog
from hfclient.web.relay.position import Rest, numbered
from hfclient.web.relay.runs import error_of, event_id
from hfclient.web.source import Entry

__all__ = ["Follower", "Home"]


class Home(Protocol):
    """What a follower needs of its relay."""

    def enter(self, run_id: str) -> EventLog | None:
        """Return the log of the run in this process; None if the relay was closed."""

    def left(self, run_id: str) -> None:
        """Note that a follower has left."""

    def locate(self, run_id: str, log: EventLog, number: int, had: tuple[int, int, int]) -> tuple[int, Rest | None]:
        """Return behind which number to read that log, and what removes the events that a reader has had."""

    def stored(self, run_id: str, number: int) -> list[AnyEvent]:
        """Return events behind *number* from the store."""


class Follower:
    """The events of a run from one of them on, live as they come: a source for bodies, and an iterator over `Entry` objects.

    A follower that is slow, or left, affects neither the run nor other followers. It has one reader; :meth:`close` may be called from any thread.

    Args:
        home: The relay.
        run_id: The run.
        number: Number of the event after which it begins.
        log: The log of the run.
        rest: Removes what its reader has had.

    Attributes:
        run_id: The run.
    """

    def __init__(self, home: Home, run_id: str, number: int, log: EventLog, rest: Rest | None = None) -> None:
        self.run_id = run_id
        self._rest = rest
        self._last_id = event_id(run_id, number)
        self._home, self._log, self._number = home, log, number
        log.followers[id(self)] = None
        self._page: Iterator[AnyEvent] = iter(())
        self._pending = 0
        self._behind: tuple[int, int, int] | None = None  # the position of the last event that was read, if known
        self._closed = self._has_left = False
        self._iterator: Iterator[Entry | None] | None = None

    def __repr__(self) -> str:
        return f"<Follower of {self.run_id[:6]}... after {self._last_id.rpartition(':')[2]}: {self.status}>"

    @property
    def last_id(self) -> str:
        """The id of the last event that was read: the ``Last-Event-ID`` that continues behind it."""
        return self._last_id

    @property
    def status(self) -> str:
        """How the run ended, ``"completed"``, ``"interrupted"`` or ``"failed"``, as far as this process knows; else ``"running"``."""
        end = self._log.end
        return end.status if end is not None else "running"

    @property
    def at_end(self) -> bool:
        """Whether the run has ended, not with an error, and no event follows: a browser that has its last event needs no further body."""
        end = self._log.end
        return end is not None and end.status != "failed" and self._number >= end.last

    @property
    def pending(self) -> int:
        """The number of events that can be read without waiting: those that came together with the last one."""
        return self._pending

    def ticks(self, seconds: float) -> Iterator[Entry | None]:
        """Yield the events with their ids; None each time that nothing came for *seconds*.

        It ends when the run has ended, or when this process shuts down while another one continues the run: then `status` is ``"running"``, and
        the reader can follow again from `last_id`.

        Raises:
            RunFailed: The run failed.
            RunGone: Events that would follow are no longer kept.
            StoreUnavailable: The store cannot be reached.
        """
        if self._iterator is None:
            self._iterator = self._each(self.pages(seconds))
        return self._iterator

    def pages(self, seconds: float) -> Iterator[list[Entry]]:
        """As :meth:`ticks`, in lists of the entries that have come together; an empty list each time that nothing came."""
        if isinstance(seconds, bool) or not (isinstance(seconds, (int, float)) and seconds > 0):
            raise InvalidInputError(f"ticks() takes a positive number of seconds, not {seconds!r}")
        return self._read(min(float(seconds), 1e6))

    def __iter__(self) -> Iterator[Entry]:
        """Yield the events with their ids. Raises as :meth:`ticks`."""
        return (entry for entry in self.ticks(1e6) if entry is not None)

    def _each(self, pages: Iterator[list[Entry]]) -> Iterator[Entry | None]:
        for page in pages:
            if not page:
                yield None
                continue
            for self._pending in range(len(page) - 1, -1, -1):
                entry = page[-1 - self._pending]
                self._last_id = entry.id
                yield entry
                if self._closed:
                    return

    def _read(self, seconds: float) -> Iterator[list[Entry]]:
        gates: list[threading.Lock] = []
        try:
            while not self._closed:
                try:
                    events = self._log.page(self._number, seconds, gates)
                except LookupError:
                    events = self._home.stored(self.run_id, self._number)
                if events is None:
                    yield []
                elif events:
                    if page := self._entries(events):
                        yield page
                elif not self._continue():
                    break
        except GeneratorExit:  # perhaps by the garbage collector, which must not wait for a lock
            raise
        except BaseException:
            self._leave()
            raise
        else:
            self._leave()
        finally:
            self._pending = 0
            self._closed = True
            self._release()

    def _entries(self, events: list[AnyEvent]) -> list[Entry]:
        """Return *events* with their ids, without those that the reader has had."""
        log, first = self._log, self._number + 1
        self._number += len(events)
        if self._rest is not None:
            entries = self._rest.entries(first, events)
            if self._rest.is_over:
                self._rest = None
            return entries
        if self._number <= log.stored or (position := self._behind or log.position(first - 1)) is None:
            prefix, self._behind = f"{self.run_id}:", None
            return [Entry(f"{prefix}{number}", event) for number, event in enumerate(events, first)]
        entries, self._behind = numbered(self.run_id, first, events, position, log.stored)
        return entries

    def _continue(self) -> bool:
        """Whether more may come, after a page without events."""
        log = self._log
        if log.end is not None:
            if log.end.status == "failed":
                raise error_of(log.end) from log.cause
            return False
        if log.error is not None:
            raise log.error
        if log.left:
            new = self._home.enter(self.run_id)
            if new is None:
                return False
            new.followers[id(self)] = None
            self._release()
            self._log, self._behind = new, None
            if self._number > log.stored and (had := self._had(log)) is not None:
                self._number, self._rest = self._home.locate(self.run_id, new, self._number, had)
        return True

    def _had(self, log: EventLog) -> tuple[int, int, int] | None:
        """Return the position of the last event that was read from *log*."""
        return self._rest.had if self._rest is not None else log.position(self._number)

    def close(self) -> None:
        """Leave the run; idempotent, from any thread. A reader that waits ends."""
        self._closed = True
        self._log.wake()
        self._leave()

    def _leave(self) -> None:
        """Tell the relay once that this follower has left: nothing is kept for it any longer."""
        if not self._has_left:
            self._has_left = True
            self._release()
            self._home.left(self.run_id)

    def _release(self) -> None:
        self._log.followers.pop(id(self), None)  # takes no lock: the garbage collector may call this at any moment

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_log"):
            self._release()
