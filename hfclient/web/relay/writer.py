"""`Writer`: brings the runs that this process generates into the store, and keeps their leases.

All runs share one thread and one timer: what has come within *coalesce* seconds is written by one call. If the store cannot be reached, the
events stay in memory, within the bounds of each run, and are written in order when it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from hfclient.web.errors import StoreUnavailable
from hfclient.web.relay.generation import Generation
from hfclient.web.relay.scheduler import Scheduler
from hfclient.web.relay.store import Batch, Bounds, Record, Store, Watch, Write

__all__ = ["Writer"]

_log = logging.getLogger("hfclient.web")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between attempts to reach the store


class Writer:
    """Writes runs into a store.

    Args:
        store: The store.
        scheduler: Its thread does all the work.
        lease: Seconds of a lease; it is renewed after a third of that.
        bounds: Of each run.
        coalesce: Seconds to wait for further events before a write.
        checked: Called with each run and its record after a write, and when its record may have changed.
    """

    def __init__(
        self,
        store: Store,
        scheduler: Scheduler,
        *,
        lease: float,
        bounds: Bounds,
        coalesce: float,
        checked: Callable[[Generation, Record], object],
    ) -> None:
        self._store, self._scheduler = store, scheduler
        self._lease, self._bounds, self._coalesce, self._checked = lease, bounds, coalesce, checked
        self.reset()

    def reset(self) -> None:
        """Forget all runs, as in a forked child."""
        self.generations: dict[str, Generation] = {}
        self.finished = threading.Condition(threading.Lock())  # notified when a run leaves *generations*
        self._lock = threading.Lock()
        self._lingering: list[Generation] = []
        self._dirty: dict[str, Generation] = {}
        self._flush_due = False
        self._flush_soon = False
        self._sweeping = False
        self._pause = 0.0  # of a store that is down
        self._watches: dict[str, Watch] = {}

    def add(self, generation: Generation) -> None:
        """Write this run from now on."""
        if self._store.is_shared:
            generation.log.stored = generation.log.base
        with self._lock:
            self.generations[generation.id] = generation
            self._watches[generation.id] = self._store.watch(generation.id, lambda batch: self._notified(generation, batch))
            start, self._sweeping = not self._sweeping, True
        if start:
            self._scheduler.later(self._lease / 3, self._sweep)

    def remove(self, generation: Generation) -> None:
        """Write it no longer."""
        with self._lock:
            if not generation.is_left:
                self._lingering = [*self.lingering, generation]
            self._dirty.pop(generation.id, None)
            if self.generations.get(generation.id) is generation:
                del self.generations[generation.id]
            watch = self._watches.pop(generation.id, None)
        if watch is not None:
            watch.close()
        generation.over.set()
        with self.finished:
            self.finished.notify_all()

    def count(self) -> int:
        """Return the number of runs, with those that have ended but not left their thread."""
        return len(self.generations) + len(self.lingering)

    @property
    def lingering(self) -> list[Generation]:
        """Runs that have ended and whose threads have not: they wait for a call, or stop the generation."""
        return [generation for generation in self._lingering if not generation.is_left]

    def changed(self, generation: Generation, at_once: bool) -> None:
        """Note that *generation* has something to write."""
        with self._lock:
            self._dirty[generation.id] = generation
            is_due = bool(self._pause) or (self._flush_soon if at_once else self._flush_due)
            if at_once and not is_due:
                self._flush_soon = True
            elif not is_due:
                self._flush_due = True
        if is_due:
            self._scheduler.check()
        elif at_once:
            self._scheduler.soon(self._flush_now)
        else:
            self._scheduler.later(self._coalesce, self._flush_later)

    def _flush_now(self) -> None:
        self._flush_soon = False
        self.flush()

    def _flush_later(self) -> None:
        # The next one is due without a call of `changed`, which would wake up this thread once more.
        with self._lock:
            self._flush_due = bool(self._dirty) and not self._pause
        if self._flush_due:
            self.flush()
            self._scheduler.later(self._coalesce, self._flush_later)

    def _retry(self) -> None:
        self.flush(retry=True)

    def flush(self, *, retry: bool = False) -> None:
        """Write what there is. For the thread of the scheduler."""
        if self._pause and not retry:
            return
        with self._lock:
            dirty = list(self._dirty.values())
            self._dirty.clear()
        for generation in dirty:
            if generation.abandoned:
                generation.prepare(self._lease, self._bounds, drop=True)
                if generation.end is not None:
                    self.remove(generation)
        dirty = [generation for generation in dirty if not (generation.lost or generation.abandoned)]
        if not dirty and not retry:
            return
        writes = [(generation, generation.prepare(self._lease, self._bounds, drop=bool(self._pause))) for generation in dirty]
        try:
            for generation in dirty:
                if not generation.in_store:
                    self._create(generation)
            records = self._store.write([write for _, write in writes], self._bounds)
        except StoreUnavailable as error:
            self._failed(dirty, error)
            return
        if self._pause:
            _log.info("the store of the relay is back")
            self._pause = 0.0
        for (generation, write), record in zip(writes, records, strict=True):
            self._written(generation, write, record)

    def _failed(self, dirty: list[Generation], error: StoreUnavailable) -> None:
        if not self._pause:
            _log.warning("the store of the relay cannot be reached; answers continue in this process: %s", error)
        with self._lock:
            for generation in dirty:
                self._dirty.setdefault(generation.id, generation)
            self._pause = min(2 * self._pause or _FIRST_PAUSE, _LONGEST_PAUSE)
        for generation in dirty:
            if generation.end is not None and time.monotonic() - generation.ended_at > self._bounds.ttl:
                generation.abandoned = True
                self.remove(generation)
        self._scheduler.later(self._pause, self._retry)

    def _create(self, generation: Generation) -> None:
        self._store.create(
            generation.id, key=generation.key, owner=generation.owner, state=generation.packed_state(), lease=self._lease,
            bounds=self._bounds, fence=generation.fence, last=generation.log.base,
        )  # fmt: skip
        self._store.join(generation.key, generation.id, limit=1, ttl=self._bounds.ttl)
        if generation.name is not None:
            self._store.claim(generation.name, generation.id, ttl=self._bounds.ttl + self._bounds.keep)
        generation.in_store = True

    def _written(self, generation: Generation, write: Write, record: Record | None) -> None:
        if record is None:  # the store has lost the run
            _log.warning("the store of the relay has lost run %s; it is written again", generation.id)
            generation.recreated()
            generation.in_store = False
            self.changed(generation, at_once=True)
            return
        if record.gone or record.fence != generation.fence or (record.ended and generation.end is None):
            if record.gone:
                self._abandon(generation)
            else:
                self._lost(generation)
            return
        if not record.ended and not generation.written(write, record):
            _log.warning("the store of the relay has lost events of run %s that are no longer in memory", generation.id)
            self._abandon(generation)
            return
        if record.ended or generation.complete:
            self._over(generation)
            return
        self._checked(generation, record)
        if generation.unwritten:
            self.changed(generation, at_once=True)

    def _abandon(self, generation: Generation) -> None:
        """Write it no longer: it lives on in this process only, until its end."""
        generation.abandoned = True
        self.changed(generation, at_once=True)

    def _lost(self, generation: Generation) -> None:
        _log.warning("run %s is continued by another process; this one no longer writes it", generation.id)
        generation.detach()
        self.remove(generation)

    def _over(self, generation: Generation) -> None:
        try:
            self._store.leave(generation.key, generation.id)
        except StoreUnavailable:
            _log.info("the queue of run %s could not be left; the next run removes it", generation.id)
        self.remove(generation)

    def _notified(self, generation: Generation, batch: Batch | None) -> None:
        if batch is None:
            self._scheduler.soon(lambda: self._look(generation))

    def _look(self, generation: Generation) -> None:
        """See whether a stop was requested, or another process has the run."""
        if generation.lost or generation.end is not None or generation.abandoned or not generation.in_store:
            return
        try:
            record = self._store.get(generation.id)
        except StoreUnavailable:
            return  # the next write sees it
        if record is None:
            self.changed(generation, at_once=True)
        elif record.fence != generation.fence:
            self._lost(generation)
        else:
            self._checked(generation, record)

    def _sweep(self) -> None:
        """Renew leases and queues, a third of a lease after the last time."""
        now = time.monotonic()
        with self._lock:
            generations = list(self.generations.values())
            self._sweeping = bool(generations)
            for generation in generations:
                if now - generation.written_at > self._lease / 4:
                    self._dirty[generation.id] = generation
        if generations:
            self._scheduler.later(self._lease / 3, self._sweep)
            self.flush()
        for generation in generations:
            if now - generation.queue_renewed > self._bounds.ttl / 3 and not self._pause and generation.in_store:
                try:
                    self._store.join(generation.key, generation.id, limit=0, ttl=self._bounds.ttl)
                    generation.queue_renewed = now
                except StoreUnavailable:
                    return

    def hand_over(self, generation: Generation) -> bool:
        """Give a run to another process: write its last events and give its lease back. For the thread of the scheduler."""
        generation.lease_back = True
        generation.detach()
        write = generation.prepare(self._lease, self._bounds)
        try:
            (record,) = self._store.write([write], self._bounds)
        except StoreUnavailable as error:
            _log.warning("run %s could not be handed over: %s", generation.id, error)
            record = None
        self.remove(generation)
        return record is not None and record.fence == generation.fence
