"""`RedisStore`: runs in Redis Streams, for several workers and machines."""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
import zlib
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from hfclient.errors import InvalidInputError
from hfclient.web.errors import StoreUnavailable
from hfclient.web.forks import reset_after_fork
from hfclient.web.relay import redis_scripts as scripts
from hfclient.web.relay.redis_commands import RedisCommands, Script
from hfclient.web.relay.redis_reader import BlockedReader, WatchedRun
from hfclient.web.relay.store import Batch, Bounds, Notify, Record, Watch, Write

__all__ = ["RedisStore"]

_CLUSTER_SLOTS = 8
_ENDS = frozenset({"completed", "failed", "interrupted"})
_MOST_ACTIVE = 10_000
_MOST_WRITES = 50
"""Writes in one script: Redis does nothing else while a script runs."""
_FORGOTTEN = 86_400_000
"""Milliseconds in the index beyond a run's times: a run that was never ended properly."""


class RedisStore:
    """A store in Redis, or in a server with the same commands, such as Valkey.

    Every key expires: what a killed worker leaves behind disappears by itself. All values are numbers, ids, the texts that the
    application gave (key, owner) and the bytes of the relay; nothing is unpickled.

    Args:
        server: A URL (``redis://``, ``rediss://``, ``unix://``) or a client: ``redis.Redis``, also one that a
            ``redis.Sentinel`` returned, or ``redis.RedisCluster``. A client's own timeouts and pool apply; the store does not
            close it.
        prefix: Start of the name of each key; all processes of an application use the same.
        timeout: Seconds for a connection and for an answer, before `StoreUnavailable` is raised.
        connections: Maximum number of connections of this process, besides one that waits for changes.
        slots: Number of groups of keys, which a cluster spreads over its servers; all processes use the same. Each group that
            is followed needs a waiting connection and a thread. Default: 1, and 8 in a cluster.

    Raises:
        InvalidInputError: The URL, the prefix or *slots* cannot be used.
        TypeError: *server* is neither a URL nor a client of redis-py.
        MissingDependencyError: The package redis is not installed (extra ``redis``).
    """

    is_shared = True

    def __init__(
        self, server: str | Any, prefix: str = "hfclient", *, timeout: float = 5.0, connections: int = 16, slots: int | None = None
    ) -> None:
        if not prefix or "{" in prefix or "}" in prefix:
            raise InvalidInputError("prefix: braces select the slot in a cluster, so give a text without them, and not an empty one")
        if slots is not None and slots < 1:
            raise InvalidInputError(f"slots: at least 1, not {slots}")
        self._commands = RedisCommands(server, timeout=timeout, connections=connections)
        self._slots = slots or (_CLUSTER_SLOTS if self._commands.is_cluster else 1)
        self._prefix = prefix
        self._closed = False
        self._reset()
        reset_after_fork(self._reset)

    def __repr__(self) -> str:
        return f"<RedisStore {self._commands.address} prefix={self._prefix!r}>"

    def _reset(self) -> None:
        self._name = uuid4().hex  # of the holder of a run: this store in this process
        self._lock = threading.Lock()
        self._readers: dict[int, BlockedReader] = {}
        self._watched: dict[str, WatchedRun] = {}
        self._held: set[str] = set()

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
        self._run(scripts.INDEX, [self._index], run_id, _ms(bounds.ttl + bounds.keep) + _FORGOTTEN)
        reply = self._run(
            scripts.CREATE, self._keys(run_id), _encoded(key), _optional(None if owner is None else _encoded(owner)), _optional(state),
            _ms(lease), fence, last, _ms(bounds.ttl), _ms(bounds.keep), self._name if fence else "",
        )  # fmt: skip
        return self._record(run_id, reply)

    def get(self, run_id: str) -> Record | None:
        reply = self._run(scripts.GET, self._keys(run_id))
        return self._record(run_id, reply) if reply else None

    def read(self, run_id: str, after: int, max_bytes: int) -> tuple[Record, list[Batch]] | None:
        reply = self._run(scripts.READ, self._keys(run_id), after, max_bytes)
        if not reply:
            return None
        batches = []
        for number, events, data in reply[1]:
            count = int(events)
            batches.append(Batch(int(number.partition(b"-")[0]) - count + 1, count, data))
        return self._record(run_id, reply[0]), batches

    def write(self, writes: Sequence[Write], bounds: Bounds) -> list[Record | None]:
        self._open()
        results: list[Record | None] = [None] * len(writes)
        groups: dict[int, list[int]] = {}
        for index, write in enumerate(writes):
            groups.setdefault(self._slot(write.run_id), []).append(index)
        for group in groups.values():
            for start in range(0, len(group), _MOST_WRITES):
                part = group[start : start + _MOST_WRITES]
                for index, record in zip(part, self._write([writes[index] for index in part], bounds), strict=True):
                    results[index] = record
        return results

    def _write(self, writes: list[Write], bounds: Bounds) -> list[Record | None]:
        """Apply writes to runs of one slot."""
        keys: list[str] = []
        arguments: list[str | bytes | float] = [_ms(bounds.ttl), _ms(bounds.keep), bounds.max_events, bounds.max_bytes, self._name]
        for write in writes:
            keys += self._keys(write.run_id)
            arguments += (
                write.fence, _ms(write.lease), write.status or "", _optional(write.state), _optional(write.end), len(write.batches),
            )  # fmt: skip
            for batch in write.batches:
                arguments += (batch.first, batch.count, batch.data)
        replies = self._run(scripts.WRITE, keys, *arguments)
        records = [self._record(write.run_id, reply) if reply else None for write, reply in zip(writes, replies, strict=True)]
        for write, record in zip(writes, records, strict=True):
            if record is None:  # the server has lost it
                self._hold(write.run_id, held=False)
        ended = [record.id for record in records if record is not None and record.ended]
        if ended:
            with contextlib.suppress(StoreUnavailable):  # a hint only, and the writes were carried out
                self._send("ZREM", self._index, *ended)
        for write, record in zip(writes, records, strict=True):
            run = self._watched.get(write.run_id)
            if run is not None and record is not None and record.fence == write.fence:
                for batch in write.batches:
                    if batch.last <= record.last:
                        run.notify(batch)
                if write.status is not None or write.end is not None or write.lease <= 0:
                    run.notify(None)
        return records

    def take_over(self, run_id: str, *, lease: float, fence: int | None = None) -> Record | None:
        reply = self._run(scripts.TAKE_OVER, self._keys(run_id), _ms(lease), self._name, "" if fence is None else fence)
        return self._record(run_id, reply) if reply else None

    def stop(self, run_id: str) -> Record | None:
        reply = self._run(scripts.STOP, self._keys(run_id))
        if not reply:
            return None
        record = self._record(run_id, reply)
        holder = reply[0].decode().rpartition(" ")[2]
        if holder == self._name:
            if run := self._watched.get(run_id):
                run.notify(None)
        elif holder and record.stop and not record.ended:
            self._reader(self._slot(run_id)).post(holder, run_id)
        return record

    def attend(self, run_id: str) -> None:
        self._run(scripts.ATTEND, self._keys(run_id)[:1])

    def drop(self, run_id: str, fence: int) -> None:
        if self._run(scripts.DROP, self._keys(run_id), fence):
            self._hold(run_id, held=False)
            self._send("ZREM", self._index, run_id)

    def watch(self, run_id: str, notify: Notify) -> Watch:
        self._open()
        with self._lock:
            run = self._watched.get(run_id)
            if new := run is None:
                run = self._watched[run_id] = WatchedRun(run_id, self._keys(run_id)[1], held=run_id in self._held)
            run.notifies.append(notify)
        if new:
            self._reader(self._slot(run_id)).add(run)
        return _Watch(self, run, notify)

    def _unwatch(self, run: WatchedRun, notify: Notify) -> None:
        with self._lock:
            with contextlib.suppress(ValueError):
                run.notifies.remove(notify)
            reader = self._readers.get(self._slot(run.run_id))
            if not run.notifies and self._watched.get(run.run_id) is run:
                del self._watched[run.run_id]
                if reader is not None:
                    reader.remove(run)

    def active(self) -> list[str]:
        return [run_id.decode() for run_id in self._send("ZRANGE", self._index, 0, _MOST_ACTIVE - 1)]

    # Queues

    def join(self, key: str, run_id: str, *, limit: int, ttl: float) -> tuple[str, ...]:
        return _ids(self._run(scripts.JOIN, [self._named("queue", key)], run_id, limit, _ms(ttl)))

    def leave(self, key: str, run_id: str) -> None:
        self._run(scripts.LEAVE, [self._named("queue", key)], run_id)

    def queue(self, key: str) -> tuple[str, ...]:
        return _ids(self._send("LRANGE", self._named("queue", key), 0, -1))

    # Names

    def claim(self, name: str, run_id: str, *, ttl: float) -> str:
        found: bytes = self._run(scripts.CLAIM, [self._named("name", name)], run_id, _ms(ttl))
        return found.decode()

    def find(self, name: str) -> str | None:
        found: bytes | None = self._send("GET", self._named("name", name))
        return None if found is None else found.decode()

    def release(self, name: str, run_id: str) -> None:
        self._run(scripts.RELEASE, [self._named("name", name)], run_id)

    def close(self) -> None:
        self._closed = True
        with self._lock:
            readers = list(self._readers.values())
            self._readers.clear()
            self._watched.clear()
        for reader in readers:
            reader.close()
        self._commands.close()

    # Keys

    @property
    def _index(self) -> str:
        return f"{self._prefix}:active"

    def _slot(self, run_id: str) -> int:
        return zlib.crc32(run_id.encode()) % self._slots

    def _tag(self, slot: int) -> str:
        return f"{{{self._prefix}:{slot}}}"

    def _keys(self, run_id: str) -> list[str]:
        start = f"{self._tag(self._slot(run_id))}:"
        return [f"{start}run:{run_id}", f"{start}log:{run_id}", f"{start}data:{run_id}"]

    def _named(self, kind: str, text: str) -> str:
        # A digest: any text, of any length, with braces or not, is a short key.
        return f"{self._prefix}:{kind}:{hashlib.sha256(_encoded(text)).hexdigest()}"

    # Commands

    def _open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store was closed")

    def _run(self, script: Script, keys: Sequence[str], *arguments: str | bytes | float) -> Any:
        self._open()
        return self._commands.run(script, keys, *arguments)

    def _send(self, *command: str | bytes | float) -> Any:
        self._open()
        return self._commands.send(*command)

    def _reader(self, slot: int) -> BlockedReader:
        with self._lock:
            if slot not in self._readers:
                self._readers[slot] = BlockedReader(self._commands, f"{self._tag(slot)}:inbox:", self._name)
            return self._readers[slot]

    def _record(self, run_id: str, reply: list[Any]) -> Record:
        """Return the record of a reply, and take note whether this store generates the run."""
        numbers, key, owner, *more = reply
        now, created, status, fence, lease, stop, first, last, attended, dead, holder = numbers.decode().split(" ")
        gone = int(dead) <= int(now)
        over = gone or status in _ENDS
        self._hold(run_id, held=not over and holder == self._name)
        return Record(
            id=run_id,
            key=_decoded(key),
            owner=None if owner is None else _decoded(owner),
            created=int(created) / 1000,
            status=status,
            fence=int(fence),
            lease_left=0.0 if over else max(0, int(lease) - int(now)) / 1000,
            stop=stop == "1",
            first=int(last) + 1 if gone else int(first),
            last=int(last),
            attended=max(0, int(now) - int(attended)) / 1000 if attended else None,
            state=more[0] if more and not gone else None,
            end=more[1] if more and not gone else None,
            gone=gone,
        )

    def _hold(self, run_id: str, *, held: bool) -> None:
        if held == (run_id in self._held):
            return
        with self._lock:
            (self._held.add if held else self._held.discard)(run_id)
            run = self._watched.get(run_id)
            if run is None or run.held == held:
                return
            run.held, run.position = held, None
        if not held:
            self._reader(self._slot(run_id)).wake()


class _Watch:
    """A watch of a `RedisStore`."""

    def __init__(self, store: RedisStore, run: WatchedRun, notify: Notify) -> None:
        self._store = store
        self._run = run
        self._notify = notify

    def close(self) -> None:
        """End it."""
        self._store._unwatch(self._run, self._notify)


def _ms(seconds: float) -> int:
    """Return whole milliseconds: 0 only for 0."""
    return math.ceil(seconds * 1000)


def _optional(value: bytes | None) -> bytes:
    """Return the argument of a script for a value that may be None."""
    return b"" if value is None else b"+" + value


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a text from JSON may have half of a pair


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")


def _ids(found: Sequence[bytes]) -> tuple[str, ...]:
    return tuple(run_id.decode() for run_id in found)
