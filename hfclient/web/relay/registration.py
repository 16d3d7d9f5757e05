"""A new run in the store: its record, its idempotency key and its place in the queue of its key.

Also runs that one process announces and another one generates: a web worker and a Celery task, say.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

from attrs import evolve

from hfclient.errors import InvalidInputError
from hfclient.web.errors import InvalidRequest, RunBusy, RunGone, RunNotFound, StoreUnavailable, WebError
from hfclient.web.relay.generation import Generation, OnEnd
from hfclient.web.relay.runs import Run, pack_state, unpack_state, valid_id
from hfclient.web.relay.store import Record
from hfclient.web.source import Opener

if TYPE_CHECKING:
    from hfclient.web.relay.relay import Relay

__all__ = ["RESERVED", "Registration"]

RESERVED = 0
"""The fence of a run that is reserved: no process has generated it yet."""
_JOINING, _PAUSE = 2.0, 0.01  # seconds for which a run may be on its way into its queue, and between two looks
_STOPPING = 5.0  # seconds for which an interrupted `run` waits until the end of the run is written


class Registration:
    """New runs of one relay.

    Args:
        relay: The relay.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.reset()

    def reset(self) -> None:
        """Forget all, as in a forked child."""
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}  # idempotency keys of runs that the store does not have yet

    def named(self, name: str, key: str) -> Run | None:
        """Return the run that was started under an idempotency key, if there is one."""
        try:
            run_id = self._relay.store.find(name)
        except StoreUnavailable:
            if not self._relay.memory_only:
                raise
            run_id = None
        if run_id is None:
            with self._lock:
                run_id = self._names.get(name)
        return None if run_id is None else self._started(name, run_id, key)

    def _started(self, name: str, run_id: str, key: str) -> Run | None:
        """Return the run that has this name; None if it has lost it meanwhile, because its key was busy: it is as if it had never been started."""
        relay, end = self._relay, time.monotonic() + _JOINING
        while True:
            try:
                run = self.run_of(run_id, key)
            except RunGone:
                if relay.store.find(name) != run_id:
                    return None
                raise
            # Until it has its place in the queue it may be refused. If its process dies before, its lease runs out.
            if run.status != "queued" or run_id in relay.writer.generations or time.monotonic() > end or run_id in relay.store.queue(key):
                return run
            time.sleep(_PAUSE)
            if relay.store.find(name) != run_id:
                return None

    def run_of(self, run_id: str, key: str) -> Run:
        """Return a run of this key."""
        generation = self._relay.writer.generations.get(run_id)
        if generation is not None:
            run = generation.run()
        else:
            record = self._relay.store.get(run_id)
            if record is None or record.gone:
                raise RunGone("the answer to this request is no longer kept; it is not generated again")
            run = Run.of(record)
        if run.key != key:
            raise InvalidRequest("this idempotency key was used for another conversation")
        return run

    def register(
        self, key: str, owner: str | None, name: str | None, *, may_wait: bool, state: Any, lease: float, fence: int = 1
    ) -> tuple[Record, tuple[str, ...], bool] | Run:
        """Put a new run into the store; return its record, its queue, and whether the store has it. A Run: of the same name, started meanwhile."""
        relay = self._relay
        store = relay.store
        run_id = secrets.token_urlsafe(18)
        try:
            packed = None if callable(state) else _packed(state)
            record = store.create(run_id, key=key, owner=owner, state=packed, lease=lease, bounds=relay.bounds, fence=fence)
            record = evolve(record, state=packed)  # a store may leave it out
            try:
                while name is not None and (winner := store.claim(name, run_id, ttl=relay.bounds.ttl + relay.bounds.keep)) != run_id:
                    if (started := self._started(name, winner, key)) is not None:
                        store.drop(run_id, fence)
                        return started
            except WebError:
                store.drop(run_id, fence)
                raise
            try:
                return record, relay.queues.join(key, run_id, may_wait), True
            except RunBusy:
                if name is not None:
                    store.release(name, run_id)
                store.drop(run_id, fence)
                raise
        except StoreUnavailable:
            if not relay.memory_only or fence == RESERVED:
                raise
        queue = relay.queues.local(key, run_id)
        if name is not None:
            with self._lock:
                self._names = {known: other for known, other in self._names.items() if other in relay.writer.generations}
                self._names[name] = run_id
        return Record(id=run_id, key=key, owner=owner, created=time.time()), queue, False

    def run(self, run_id: str, opener: Opener, state: Any, on_end: OnEnd | None) -> Run:
        """Generate a reserved run; see `Relay.run`."""
        relay = self._relay
        with contextlib.ExitStack() as starting:
            starting.enter_context(relay.intake)
            relay.check_capacity()
            record = relay.store.get(run_id) if valid_id(run_id) else None
            if record is None:
                raise RunNotFound("this run does not exist")
            if record.gone:
                raise RunGone("this answer is no longer kept")
            if record.ended:
                return Run.of(record)
            taken = relay.store.take_over(run_id, lease=relay.lease, fence=RESERVED) if record.fence == RESERVED else None
            if taken is None:
                raise RunBusy("another process generates this run", run_id=run_id)
            if taken.stop:
                return self._stopped(taken)
            if state is None:
                state, _ = unpack_state(taken.state)
            generation = Generation(taken, opener, state=state, on_end=on_end or relay.on_end, changed=relay.writer.changed, most=relay.most)
            queue = relay.queues.join(taken.key, run_id, may_wait=True)
            try:
                relay.launch(generation, queue)
                starting.close()
                generation.over.wait()
            except BaseException:  # Ctrl-C, or the time limit of a Celery task
                generation.stop()
                generation.over.wait(_STOPPING)
                raise
        if generation.lost:  # another process had to continue it
            record = relay.store.get(run_id)
            return Run.of(record) if record is not None else generation.run()
        return generation.run()

    def stop(self, record: Record) -> Record:
        """End a run that is still reserved; return its record."""
        if record.fence == RESERVED and not record.ended:
            taken = self._relay.store.take_over(record.id, lease=self._relay.lease, fence=RESERVED)
            if taken is not None:
                self._stopped(taken)
            return self._relay.store.get(record.id) or record
        return record

    def _stopped(self, taken: Record) -> Run:
        self._relay.recovery.end(taken, "interrupted")
        record = self._relay.store.get(taken.id)
        return Run.of(record or taken)


def _packed(state: Any) -> bytes | None:
    try:
        return pack_state(state)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"state= takes plain JSON types, or a function that returns them ({type(error).__name__})") from None
