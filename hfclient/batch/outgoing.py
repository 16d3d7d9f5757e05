"""Results on their way to the caller."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import TypeAlias

from hfclient.batch.items import Item
from hfclient.batch.jobs import Job
from hfclient.batch.outcomes import result_of
from hfclient.batch.results import BatchResult

__all__ = ["Entry", "Outgoing"]

Entry: TypeAlias = tuple[Item, str, BatchResult]
"""A result, and its item and key."""


class Outgoing:
    """Results until the caller has them, in the order of the items or as they come.

    Ctrl-C may come at any call. A result is always in one place, and on its way from one place to the next there is no call.

    Attributes:
        is_cut: Ctrl-C came while what was taken last was on its way to the caller.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._next = 0  # number of the next result in order
        self._early: dict[int, Entry] = {}  # by number, ended before an earlier item
        self._ready: collections.deque[Entry] = collections.deque()
        self._handed: Entry | None = None  # the last one, until the caller certainly has it
        self.is_cut = False

    def __len__(self) -> int:
        return len(self._early) + len(self._ready)

    def add(self, number: int, entry: Entry) -> None:
        """Add the result of the item with this number."""
        if self._ordered:
            self._early[number] = entry
        else:
            self._ready += (entry,)
        self._sort()

    def add_jobs(self, jobs: collections.deque[Job], count: Callable[[BatchResult], None]) -> None:
        """Move the results of *jobs*, which have ended, from there to here, and call *count* with each."""
        while jobs:
            job = jobs[0]
            entry = job.item, job.key, result_of(job)
            count(entry[2])
            if self._ordered:
                self._early[job.number] = entry
            else:
                self._ready += (entry,)
            del jobs[0]
        self._sort()

    def _sort(self) -> None:
        while self._next in self._early:
            self._ready += (self._early[self._next],)
            del self._early[self._next]
            self._next += 1

    def take(self) -> Entry | None:
        """Return the next result, or None if it has not ended. It is kept until :meth:`received`."""
        if not self._ready:
            return None
        self._handed = entry = self._ready[0]
        del self._ready[0]
        return entry

    def received(self) -> None:
        """The caller has what was taken last; if its way was cut, it is the next one again."""
        entry, self._handed = self._handed, None
        if self.is_cut and entry is not None:
            self._ready.appendleft(entry)
        self.is_cut = False

    def left(self) -> list[Entry]:
        """Return what the caller does not have, in order."""
        handed = [] if self._handed is None else [self._handed]
        return [*handed, *self._ready, *(self._early[number] for number in sorted(self._early))]
