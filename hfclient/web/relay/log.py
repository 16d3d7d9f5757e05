"""`EventLog`: the events of one run in this process, for any number of readers."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque

from hfclient.events import AnyEvent
from hfclient.web.errors import WebError
from hfclient.web.relay.encoding import count
from hfclient.web.relay.runs import End

__all__ = ["EventLog"]

_PAGE = 512  # events that a reader takes at once


class EventLog:
    """A list of events with one writer and any number of readers in other threads, which wait for more.

    The writer appends to `events` and then calls :meth:`wake` if `waiting` is not empty: no lock is taken for an event that no
    reader waits for. A reader puts its gate into `waiting` before it looks for events, so one of the two sees the other. A gate is a
    lock, which wakes up another thread in half the time of a condition.

    Attributes:
        base: Number of the event before the first one that is here.
        before: What `lengths_before` says of the first one, or None.
        stored: Number of the last event that the store has; infinite if it need not be known.
        events: The events.
        end: The end of the run; later events do not count.
        cause: The exception of a run that failed in this process.
        error: The log cannot be continued; readers get this error.
        left: The run is no longer written here: readers look for it again (or end, if the relay is closed).
        waiting: The gates of the readers that wait.
        followers: The followers, by their ids.
    """

    __slots__ = ("_lock", "_mark", "base", "before", "cause", "end", "error", "events", "followers", "left", "stored", "waiting")

    def __init__(self, base: int = 0) -> None:
        self._lock = threading.Lock()  # of *base* and *events* together
        self.base = base
        self.before = None if base else (0, 0, 0)
        self.stored: float = math.inf
        self._mark: tuple[int, tuple[int, int, int]] | None = None  # the event whose position was asked for last
        self.events: list[AnyEvent] = []
        self.end: End | None = None
        self.cause: BaseException | None = None
        self.error: WebError | None = None
        self.left = False
        self.waiting: deque[threading.Lock] = deque()
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
        waiting = self.waiting
        while waiting:
            try:
                gate = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            gate.release()

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
        with self._lock:
            behind = first - 1 - self.base
            if behind > 0:
                if self.stored != math.inf:
                    self.before = self._position(first - 1)
                del self.events[:behind]
                self.base += behind
                self._mark = None

    def note_stored(self, last: int) -> None:
        """Note the number of the last event that the store has."""
        if self.stored != math.inf:
            self.stored = last

    def position(self, number: int) -> tuple[int, int, int] | None:
        """Return what `lengths_before` would say of the event behind *number*; None if that is not known here."""
        with self._lock:
            if self.stored == math.inf or not self.base <= number <= self.base + len(self.events):
                return None
            return self._position(number)

    def _position(self, number: int) -> tuple[int, int, int] | None:
        start, position = self.base, self.before
        if position is None:
            return None
        if self._mark is not None and self.base <= self._mark[0] <= number:
            start, position = self._mark  # most calls are for the newest events
        position = count(position, self.events[start - self.base : number - self.base])
        self._mark = number, position
        return position

    def since(self, number: int) -> list[AnyEvent]:
        """Return the events behind *number*, for the writer of a store."""
        with self._lock:
            events = self.events[max(0, number - self.base) :]
            return events if self.end is None else events[: max(0, self.end.last - max(number, self.base))]

    def page(self, number: int, seconds: float | None, gates: list[threading.Lock]) -> list[AnyEvent] | None:
        """Return the next events behind *number*; an empty list if something else may have changed; None if nothing came in time.

        Args:
            number: Of the last event that the reader has.
            seconds: The longest wait; None: no limit.
            gates: A list of the reader's own, empty at first: it keeps the gate for the next wait.

        Raises:
            LookupError: They are no longer, or not yet, here: they are before *base*.
        """
        if self.base + len(self.events) != number and (events := self._next(number)) is not None:
            return events
        if gates:
            gate = gates.pop()
        else:
            gate = threading.Lock()
            gate.acquire()
        self.waiting.append(gate)
        events = self._next(number)  # what came just before
        if events is None and gate.acquire(timeout=-1 if seconds is None else seconds):
            gates.append(gate)  # taken again
            return self._next(number) or []
        with contextlib.suppress(ValueError):  # the writer has it, and opens it
            self.waiting.remove(gate)
            gates.append(gate)
        return events

    def _next(self, number: int) -> list[AnyEvent] | None:
        """Return the next events; an empty list if the log has ended; None if nothing has come yet."""
        with self._lock:
            start = number - self.base
            if start < 0:
                raise LookupError(number)
            stop = start + _PAGE
            if self.end is not None:
                stop = min(stop, max(start, self.end.last - self.base))
            if events := self.events[start:stop]:
                return events
            return [] if self.end is not None or self.error is not None or self.left else None
