"""`MemoryStore`: runs in the memory of one process."""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from attrs import define, field

from hfclient.web.errors import StoreUnavailable
from hfclient.web.forks import reset_after_fork
from hfclient.web.relay.store import Batch, Bounds, Notify, Record, Status, Watch, Write

__all__ = ["MemoryStore"]

_MOST_ACTIVE = 10_000  # ids that active() returns


@define(eq=False)
class _Stored:
    """A run. A record of it is made for each call: a run is written far more often than read."""

    id: str
    key: str
    owner: str | None
    created: float
    fence: int
    first: int
    last: int
    state: bytes | None
    lease_until: float
    expires: float
    forgotten: float
    batches: list[Batch] = field(factory=list)
    size: int = 0
    attended: float | None = None
    status: Status = "queued"
    stop: bool = False
    end: bytes | None = None
    gone: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it has not ended and is not gone."""
        return not self.gone and self.status in ("queued", "running")


@define(eq=False)
class _Queue:
    ids: list[str]
    expires: float


class MemoryStore:
    """A store in the memory of this process, for one worker, for development and for tests.

    Threads and greenlets share it. Each forked worker has an empty one of its own: with several workers, use `RedisStore`.
    It starts no thread: what has expired is removed by the next call.

    Args:
        max_runs: Maximum number of runs in all, with tombstones. The oldest that have ended are removed first.
        clock: Returns seconds; for tests.
    """

    is_shared = False

    def __init__(self, *, max_runs: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_runs = max_runs
        self._clock = clock
        self._reset()
        reset_after_fork(self._reset)

    def __repr__(self) -> str:
        return f"<MemoryStore with {len(self._runs)} runs>"

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, _Stored] = OrderedDict()  # in the order of their last write
        self._tombs: OrderedDict[str, _Stored] = OrderedDict()  # those whose time to live has passed
        self._active: dict[str, None] = {}
        self._watches: dict[str, list[_Watch]] = {}
        self._queues: OrderedDict[str, _Queue] = OrderedDict()
        self._names: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._closed = False

    # Runs

    def create(
        self,
        run_id: str,
        *,
        key: str,
        owner: str | None,
        state: bytes | None,
        lease: float,
        bounds: Bounds,
        fence: int = 1,
        last: int = 0,
    ) -> Record:
        with self._lock:
            now = self._now()
            self._purge(now)
            if (stored := self._find(run_id, now)) is None:
                expires = now + bounds.ttl
                stored = self._runs[run_id] = _Stored(
                    run_id, key, owner, time.time(), fence, last + 1, last, state, now + lease, expires, expires + bounds.keep
                )
                self._active[run_id] = None
            return self._seen(stored, now)

    def get(self, run_id: str) -> Record | None:
        with self._lock:
            now = self._now()
            stored = self._find(run_id, now)
            return self._seen(stored, now) if stored is not None else None

    def read(self, run_id: str, after: int, max_bytes: int) -> tuple[Record, list[Batch]] | None:
        with self._lock:
            now = self._now()
            stored = self._find(run_id, now)
            if stored is None:
                return None
            found: list[Batch] = []
            size = 0
            for batch in reversed(stored.batches):
                if batch.last <= after:
                    break
                found.append(batch)
            found.reverse()
            for index, batch in enumerate(found):
                size += len(batch.data)
                if size > max_bytes and index:
                    del found[index:]
                    break
            return self._seen(stored, now), found

    def write(self, writes: Sequence[Write], bounds: Bounds) -> list[Record | None]:
        results: list[Record | None] = []
        news: list[tuple[str, list[Batch], bool]] = []
        with self._lock:
            now = self._now()
            for write in writes:
                stored = self._find(write.run_id, now)
                if stored is None:
                    results.append(None)
                    continue
                if stored.is_open and stored.fence == write.fence:
                    news.append((write.run_id, *self._apply(stored, write, bounds, now)))
                results.append(self._seen(stored, now, whole=False))
        for run_id, batches, changed in news:
            self._notify(run_id, batches, changed)
        return results

    def _apply(self, stored: _Stored, write: Write, bounds: Bounds, now: float) -> tuple[list[Batch], bool]:
        """Return the batches that are new, and whether there is another change to notify."""
        added: list[Batch] = []
        complete, last = True, stored.last
        for batch in write.batches:
            if batch.last <= last:
                continue
            if batch.first != last + 1:
                complete = False
                break
            added.append(batch)
            last = batch.last
            stored.size += len(batch.data)
        kept = stored.batches
        kept += added
        first = kept[0].first if kept else last + 1
        while len(kept) > 1 and (stored.size > bounds.max_bytes or last - first + 1 > bounds.max_events):
            stored.size -= len(kept.pop(0).data)
            first = kept[0].first
        stored.first, stored.last = first, last
        if complete and write.status is not None:
            stored.status = write.status
        if complete and write.end is not None:
            stored.end = write.end
        if write.state is not None:
            stored.state = write.state
        stored.lease_until = now + write.lease
        stored.expires = now + bounds.ttl
        stored.forgotten = stored.expires + bounds.keep
        self._runs.move_to_end(write.run_id)
        if not stored.is_open:
            self._active.pop(write.run_id, None)
        changed = complete and (write.status is not None or write.end is not None)
        return added, changed or write.lease <= 0

    def take_over(self, run_id: str, *, lease: float, fence: int | None = None) -> Record | None:
        with self._lock:
            now = self._now()
            stored = self._find(run_id, now)
            if stored is None or not stored.is_open or (stored.lease_until > now and stored.fence != fence):
                return None
            stored.fence += 1
            stored.lease_until = now + lease
            return self._seen(stored, now)

    def stop(self, run_id: str) -> Record | None:
        with self._lock:
            now = self._now()
            stored = self._find(run_id, now)
            if stored is None:
                return None
            if stopping := stored.is_open:
                stored.stop = True
            record = self._seen(stored, now)
        if stopping:
            self._notify(run_id, [], True)
        return record

    def attend(self, run_id: str) -> None:
        with self._lock:
            now = self._now()
            stored = self._find(run_id, now)
            if stored is not None and stored.is_open:
                stored.attended = now

    def drop(self, run_id: str, fence: int) -> None:
        with self._lock:
            stored = self._find(run_id, self._now())
            if stored is not None and stored.fence == fence:
                self._remove(run_id)

    def watch(self, run_id: str, notify: Notify) -> Watch:
        watch = _Watch(self, run_id, notify)
        with self._lock:
            self._watches.setdefault(run_id, []).append(watch)
        return watch

    def active(self) -> list[str]:
        with self._lock:
            self._now()
            return list(self._active)[:_MOST_ACTIVE]

    # Queues

    def join(self, key: str, run_id: str, *, limit: int, ttl: float) -> tuple[str, ...]:
        with self._lock:
            now = self._now()
            queue = self._queue(key, now)
            if run_id not in queue.ids and len(queue.ids) < limit:
                queue.ids.append(run_id)
            if run_id in queue.ids:
                queue.expires = now + ttl
                self._queues[key] = queue
                self._queues.move_to_end(key)
            return tuple(queue.ids)

    def leave(self, key: str, run_id: str) -> None:
        with self._lock:
            queue = self._queue(key, self._now())
            if run_id in queue.ids:
                queue.ids.remove(run_id)
            if not queue.ids:
                self._queues.pop(key, None)

    def queue(self, key: str) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._queue(key, self._now()).ids)

    def _queue(self, key: str, now: float) -> _Queue:
        queue = self._queues.get(key)
        return queue if queue is not None and queue.expires > now else _Queue([], now)

    # Names

    def claim(self, name: str, run_id: str, *, ttl: float) -> str:
        with self._lock:
            now = self._now()
            found = self._names.get(name)
            if found is None or found[1] <= now or found[0] == run_id:
                found = self._names[name] = run_id, now + ttl
                self._names.move_to_end(name)
            return found[0]

    def find(self, name: str) -> str | None:
        with self._lock:
            now = self._now()
            found = self._names.get(name)
            return found[0] if found is not None and found[1] > now else None

    def release(self, name: str, run_id: str) -> None:
        with self._lock:
            self._now()
            if self._names.get(name, ("",))[0] == run_id:
                del self._names[name]

    def close(self) -> None:
        with self._lock:
            watches = [watch for group in self._watches.values() for watch in group]
        for watch in watches:
            watch.close()
        self._reset()
        self._closed = True

    # Helpers; the caller holds the lock

    def _now(self) -> float:
        if self._closed:
            raise StoreUnavailable("the store was closed")
        return self._clock()

    def _find(self, run_id: str, now: float) -> _Stored | None:
        stored = self._runs.get(run_id)
        if stored is not None and stored.expires <= now:
            self._bury(run_id, stored)
        elif stored is not None:
            return stored
        stored = self._tombs.get(run_id)
        if stored is not None and stored.forgotten <= now:
            del self._tombs[run_id]
            return None
        return stored

    def _bury(self, run_id: str, stored: _Stored) -> None:
        self._remove(run_id)
        stored.gone, stored.state, stored.end, stored.first = True, None, None, stored.last + 1
        stored.batches, stored.size = [], 0
        self._tombs[run_id] = stored

    def _purge(self, now: float) -> None:
        for run_id, stored in list(itertools.takewhile(lambda item: item[1].expires <= now, self._runs.items())):
            self._bury(run_id, stored)
        for run_id in [run_id for run_id, _ in itertools.takewhile(lambda item: item[1].forgotten <= now, self._tombs.items())]:
            del self._tombs[run_id]
        if len(self._runs) + len(self._tombs) >= self._max_runs:
            if self._tombs:
                self._tombs.popitem(last=False)
            elif ended := next((run_id for run_id, stored in self._runs.items() if not stored.is_open), None):
                self._remove(ended)
        for name in [name for name, _ in itertools.takewhile(lambda item: item[1][1] <= now, self._names.items())]:
            del self._names[name]
        for key in [key for key, _ in itertools.takewhile(lambda item: item[1].expires <= now, self._queues.items())]:
            del self._queues[key]

    def _remove(self, run_id: str) -> None:
        self._runs.pop(run_id, None)
        self._active.pop(run_id, None)

    def _seen(self, stored: _Stored, now: float, *, whole: bool = True) -> Record:
        return Record(
            id=stored.id, key=stored.key, owner=stored.owner, created=stored.created, status=stored.status, fence=stored.fence,
            lease_left=max(0.0, stored.lease_until - now) if stored.is_open else 0.0, stop=stored.stop, first=stored.first, last=stored.last,
            attended=None if stored.attended is None else now - stored.attended, state=stored.state if whole else None,
            end=stored.end if whole else None, gone=stored.gone,
        )  # fmt: skip

    def _notify(self, run_id: str, batches: list[Batch], changed: bool) -> None:
        for watch in list(self._watches.get(run_id, ())):
            for batch in batches:
                watch.notify(batch)
            if changed:
                watch.notify(None)

    def _forget(self, watch: _Watch) -> None:
        with self._lock:
            group = self._watches.get(watch.run_id)
            if group is not None and watch in group:
                group.remove(watch)
                if not group:
                    del self._watches[watch.run_id]


class _Watch:
    """A watch of a `MemoryStore`."""

    def __init__(self, store: MemoryStore, run_id: str, notify: Notify) -> None:
        self._store = store
        self.run_id = run_id
        self.notify = notify

    def close(self) -> None:
        """End it."""
        self._store._forget(self)
