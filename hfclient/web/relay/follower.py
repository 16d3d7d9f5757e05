"""`Follower`: a reader of a run, from any of its events on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from hfclient.errors import InvalidInputError
from hfclient.events import AnyEvent
from hfclient.web.relay.log import EventLog
from hfclient.web.relay.runs import error_of
from hfclient.web.source import Entry

__all__ = ["Follower", "Home"]


class Home(Protocol):
    """What a follower needs of its relay."""

    def enter(self, run_id: str) -> EventLog | None:
        """Return the log of the run in this process; None if the relay was closed."""

    def left(self, run_id: str) -> None:
        """Note that a follower has left."""

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

    Attributes:
        run_id: The run.
    """

    def __init__(self, home: Home, run_id: str, number: int, log: EventLog) -> None:
        self.run_id = run_id
        self._home, self._log, self._number = home, log, number
        log.followers[id(self)] = None
        self._page: Iterator[AnyEvent] = iter(())
        self._pending = 0
        self._closed = False
        self._iterator: Iterator[Entry | None] | None = None

    def __repr__(self) -> str:
        return f"<Follower of {self.run_id[:6]}... after {self._number}: {self.status}>"

    @property
    def last_id(self) -> str:
        """The id of the last event that was read: the ``Last-Event-ID`` that continues behind it."""
        return f"{self.run_id}:{self._number}"

    @property
    def status(self) -> str:
        """How the run ended, ``"completed"``, ``"interrupted"`` or ``"failed"``, as far as this process knows; else ``"running"``."""
        end = self._log.end
        return end.status if end is not None else "running"

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
            self._number -= len(page)  # none of them was read yet
            for self._pending in range(len(page) - 1, -1, -1):
                self._number += 1
                yield page[-1 - self._pending]
                if self._closed:
                    return

    def _read(self, seconds: float) -> Iterator[list[Entry]]:
        prefix = f"{self.run_id}:"
        try:
            while not self._closed:
                try:
                    events = self._log.page(self._number, seconds)
                except LookupError:
                    events = self._home.stored(self.run_id, self._number)
                if events is None:
                    yield []
                elif events:
                    page = [Entry(f"{prefix}{number}", event) for number, event in enumerate(events, self._number + 1)]
                    self._number += len(page)
                    yield page
                elif not self._continue():
                    return
        finally:
            self._pending = 0
            self._closed = True
            self._release()

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
            self._log = new
        return True

    def close(self) -> None:
        """Leave the run; idempotent, from any thread. A reader that waits ends."""
        if self._closed:
            return
        self._closed = True
        self._release()
        self._log.wake()
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
