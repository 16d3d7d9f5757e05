"""`Mirror`: the newest events of a run that another process generates, for all followers in this process.

The store notifies it of new batches; it reads only what it has missed. It holds a window: a follower that is further behind
reads the store itself until it reaches the window.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from hfclient.web.errors import RunGone, RunNotFound, StoreUnavailable, WebError
from hfclient.web.relay.encoding import decode
from hfclient.web.relay.log import EventLog
from hfclient.web.relay.runs import End
from hfclient.web.relay.scheduler import Scheduler
from hfclient.web.relay.store import Batch, Record, Store, Watch

__all__ = ["PAGE_BYTES", "Mirror", "Mirrors"]

_log = logging.getLogger("hfclient.web")
PAGE_BYTES = 256 * 1024
"""Bytes of data that one read of a store returns."""
_WINDOW = 4096  # events; twice as many before the older half is forgotten
_LINGER = 5.0  # seconds between looks at a run that has ended
_MARGIN = 0.05  # seconds behind the end of a lease before it is looked at
_PAUSES = (0.1, 0.3, 1.0, 2.0)  # seconds between attempts to read a store that is down


class Mirror:
    """A run of another process.

    Args:
        record: The run as it was.
        store, scheduler: Of the relay.
        patience: Seconds for which followers wait for a store that is down, or has lost the run: its process writes it again.
        attend: Seconds between two notes in the store that the run has followers here; None: none.
        lost: Called, in the scheduler's thread, when the lease has expired; returns seconds until the next look.
        unused: Called, in the scheduler's thread, when it has no followers.
    """

    def __init__(
        self,
        record: Record,
        store: Store,
        scheduler: Scheduler,
        *,
        patience: float,
        attend: float | None,
        lost: Callable[[Record], float],
        unused: Callable[[Mirror], object],
    ) -> None:
        self.run_id = record.id
        self.log = EventLog(record.last)
        self.waiters: list[Callable[[], object]] = []  # runs that wait for the end of this one
        self.status = record.status
        self._store, self._scheduler, self._patience, self._attend = store, scheduler, patience, attend
        self._lost, self._unused = lost, unused
        self._inbox: deque[Batch | None] = deque()
        self._is_due = False
        self._closed = False
        self._failing_since: float | None = None
        self._failures = 0
        self._look_at = 0.0
        self._watch: Watch | None = None

    def open(self) -> None:
        """Watch the run."""
        self._watch = self._store.watch(self.run_id, self._notified)
        self._notified(None)  # what has changed since the record was read
        if self._attend is not None:
            self._scheduler.soon(self._note)

    def check_use(self) -> None:
        """Close it if neither a follower nor a waiting run needs it. For the scheduler's thread."""
        if not (self.log.followers or self.waiters or self._closed):
            self._unused(self)

    def close(self) -> None:
        """End it; its followers, also one that has just come, look for the run elsewhere."""
        self._closed = True
        if self._watch is not None:
            self._watch.close()
        self.log.leave()

    def _notified(self, batch: Batch | None) -> None:
        self._inbox.append(batch)
        if not self._is_due:
            self._is_due = True
            self._scheduler.soon(self._update)
        else:
            self._scheduler.check()

    def _update(self) -> None:
        self._is_due = False
        unread = False
        while self._inbox:
            batch = self._inbox.popleft()
            if batch is None or batch.first > self.log.last + 1:
                unread = True
            elif not unread and not self._closed:
                self._add([batch])
        if unread:
            self._read()

    def _add(self, batches: list[Batch]) -> None:
        log = self.log
        for batch in batches:
            if batch.last <= log.last:
                continue
            if batch.first > log.last + 1:  # older ones were trimmed
                log.trim(log.last + 1)
                log.base = batch.first - 1
            log.add(decode(batch.data)[log.last + 1 - batch.first :])
            if len(log.events) > 2 * _WINDOW:
                log.trim(log.last + 1 - _WINDOW)

    def _read(self) -> None:
        if self._closed or self.log.end is not None or self.log.error is not None:
            return
        try:
            while True:
                found = self._store.read(self.run_id, self.log.last, PAGE_BYTES)
                if found is None:
                    raise RunNotFound("the store no longer has this run")
                record, batches = found
                if record.gone:
                    raise RunGone("the time to live of this run has passed")
                self._add(batches)
                if not batches or self.log.last >= record.last:
                    break
        except (RunNotFound, StoreUnavailable) as error:
            self._failed(error)
            return
        except RunGone as error:
            self.log.fail(error)
            self.tell()
            return
        self._failing_since, self._failures = None, 0
        self.status = record.status
        if record.ended:
            self.log.finish(End.of(record))
            self.tell()
        else:
            self._watch_lease(record)

    @property
    def is_over(self) -> bool:
        """Whether nothing can follow."""
        return self.log.end is not None or self.log.error is not None

    def tell(self) -> None:
        """Call the runs that wait for the end of this one."""
        waiters, self.waiters = self.waiters, []
        for call in waiters:
            call()
        self._end()

    def _end(self) -> None:
        """Close it when its followers have read the rest: not all of them say when they leave."""
        self.check_use()
        if not self._closed:
            self._scheduler.later(_LINGER, self._end)

    def _failed(self, error: WebError) -> None:
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if now - self._failing_since > self._patience:
            self.log.fail(error)
            self.tell()
            return
        pause = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._failures += 1
        self._scheduler.later(pause, lambda: self._notified(None))

    def _watch_lease(self, record: Record) -> None:
        seconds = record.lease_left + _MARGIN
        if record.lease_left <= 0:
            try:
                seconds = self._lost(record)
            except StoreUnavailable:
                seconds = _PAUSES[-1]
        when = time.monotonic() + seconds
        if self._look_at > time.monotonic() and self._look_at <= when:
            return  # it is looked at earlier
        self._look_at = when
        self._scheduler.later(seconds, self._look)

    def _look(self) -> None:
        if not self._closed and time.monotonic() >= self._look_at - _MARGIN:
            self._look_at = 0.0
            self.check_use()
            self._notified(None)

    def _note(self) -> None:
        if self._closed or self.log.end is not None or self._attend is None:
            return
        try:
            if self.log.followers:
                self._store.attend(self.run_id)
        except StoreUnavailable:
            _log.debug("the follower of run %s could not be noted", self.run_id)
        self._scheduler.later(self._attend, self._note)


class Mirrors:
    """The mirrors of one relay, one for each run that is followed here.

    Args:
        store, scheduler, patience, attend, lost: Those of each `Mirror`.
    """

    def __init__(
        self, store: Store, scheduler: Scheduler, *, patience: float, attend: float | None, lost: Callable[[Record], float]
    ) -> None:
        self._store, self._scheduler, self._patience, self._attend, self._lost = store, scheduler, patience, attend, lost
        self._lock = threading.Lock()
        self._mirrors: dict[str, Mirror] = {}

    def __bool__(self) -> bool:
        return bool(self._mirrors)

    def get(self, run_id: str) -> Mirror | None:
        """Return the mirror of a run, if there is one."""
        return self._mirrors.get(run_id)

    def of(self, record: Record, waiter: Callable[[], object] | None = None) -> Mirror:
        """Return the mirror of a run.

        Args:
            record: The run, not ended.
            waiter: Called once when the run has ended.
        """
        with self._lock:
            mirror = self._mirrors.get(record.id)
            if new := mirror is None or mirror.is_over:
                mirror = Mirror(
                    record, self._store, self._scheduler, patience=self._patience, attend=self._attend, lost=self._lost, unused=self._unused
                )
                self._mirrors[record.id] = mirror
            assert mirror is not None
            if waiter is not None:
                mirror.waiters.append(waiter)
        if new:
            mirror.open()
        elif waiter is not None and mirror.is_over:  # meanwhile
            self._scheduler.soon(mirror.tell)
        return mirror

    def pop(self, run_id: str) -> Mirror | None:
        """Remove and return the mirror of a run, if there is one."""
        with self._lock:
            return self._mirrors.pop(run_id, None)

    def _unused(self, mirror: Mirror) -> None:
        with self._lock:
            if mirror.log.followers or mirror.waiters:
                return
            if self._mirrors.get(mirror.run_id) is mirror:
                del self._mirrors[mirror.run_id]
        mirror.close()

    def close(self) -> None:
        """Close all; their followers look for their runs elsewhere."""
        with self._lock:
            mirrors, self._mirrors = list(self._mirrors.values()), {}
        for mirror in mirrors:
            mirror.close()
