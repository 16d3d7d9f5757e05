"""`EventLog`: the events of one run in this process, for any number of readers."""

from __future__ import annotations

import threading

from hfclient.events import AnyEvent
from hfclient.web.errors import WebError
from hfclient.web.relay.runs import End

__all__ = ["EventLog"]

_PAGE = 512  # events that a reader takes at once


class EventLog:
    """A list of events with one writer and any number of readers in other threads, which wait for more.

    The writer appends to `events` and then calls :meth:`wake` if `waiting` is set: no lock is taken for an event that no
    reader waits for. A reader sets `waiting` before it looks for events, so one of the two sees the other.

    Attributes:
        base: Number of the event before the first one that is here.
        events: The events.
        end: The end of the run; later events do not count.
        cause: The exception of a run that failed in this process.
        error: The log cannot be continued; readers get this error.
        left: The run is no longer written here: readers look for it again (or end, if the relay is closed).
        waiting: A reader waits.
        followers: The followers, by their ids.
    """

    __slots__ = ("_changed", "base", "cause", "end", "error", "events", "followers", "left", "waiting")

    def __init__(self, base: int = 0) -> None:
        self._changed = threading.Condition(threading.Lock())
        self.base = base
        self.events: list[AnyEvent] = []
        self.end: End | None = None
        self.cause: BaseException | None = None
        self.error: WebError | None = None
        self.left = False
        self.waiting = False
        self.followers: dict[int, None] = {}

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self.base + len(self.events) if self.end is None else self.end.last

    def add(self, events: list[AnyEvent]) -> None:
        """Append *events*."""
        self.events += events
        if self.waiting:
            self.wake()

    def wake(self) -> None:
        """Wake up the readers."""
        with self._changed:
            self.waiting = False
            self._changed.notify_all()

    def finish(self, end: End) -> None:
        """End the run."""
        self.end = end
        self.wake()

    def fail(self, error: WebError) -> None:
        """Make readers raise *error*."""
        self.error = error
        self.wake()

    def leave(self) -> None:
        """Make readers look for the run again."""
        self.left = True
        self.wake()

    def trim(self, first: int) -> None:
        """Forget the events before number *first*."""
        with self._changed:
            count = first - 1 - self.base
            if count > 0:
                del self.events[:count]
                self.base += count

    def since(self, number: int) -> list[AnyEvent]:
        """Return the events behind *number*, for the writer of a store."""
        with self._changed:
            events = self.events[max(0, number - self.base) :]
            return events if self.end is None else events[: max(0, self.end.last - max(number, self.base))]

    def page(self, number: int, seconds: float | None) -> list[AnyEvent] | None:
        """Return the next events behind *number*; an empty list if something else may have changed; None if nothing came in time.

        Raises:
            LookupError: They are no longer, or not yet, here: they are before *base*.
        """
        with self._changed:
            for is_last in (False, True):
                start = number - self.base
                if start < 0:
                    raise LookupError(number)
                stop = start + _PAGE
                if self.end is not None:
                    stop = min(stop, max(start, self.end.last - self.base))
                if (events := self.events[start:stop]) or is_last:
                    return events
                if self.end is not None or self.error is not None or self.left:
                    return []
                self.waiting = True
                if len(self.events) > start:  # it came just before
                    continue
                if not self._changed.wait(seconds):
                    return None
        raise AssertionError
