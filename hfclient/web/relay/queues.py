"""The queue of a key: one run at a time, the others refused or queued."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfclient.web.errors import RunBusy, StoreUnavailable
from hfclient.web.relay.generation import Generation, apart

if TYPE_CHECKING:
    from hfclient.web.relay.relay import Relay

__all__ = ["Queues"]

_RETRY = 1.0  # seconds until a queue is looked at again when the store is down


class Queues:
    """The queues of one relay. A run that waits follows the one before it, so no process polls.

    Args:
        relay: The relay.
        max_queue: Maximum number of runs that wait for one key.
    """

    def __init__(self, relay: Relay, max_queue: int) -> None:
        self._relay = relay
        self._max_queue = max_queue

    def join(self, key: str, run_id: str, may_wait: bool) -> tuple[str, ...]:
        """Put a run into its queue, after removing those at its start that are over; return the queue.

        Raises:
            RunBusy: Another run is active, or the queue is full.
        """
        store, ttl = self._relay.store, self._relay.bounds.ttl
        limit = 1 + self._max_queue if may_wait else 1
        queue = store.join(key, run_id, limit=limit, ttl=ttl)
        while queue[0] != run_id and self.is_over(queue[0]):
            store.leave(key, queue[0])
            queue = store.join(key, run_id, limit=limit, ttl=ttl)
        if run_id in queue:
            return queue
        what = f"{self._max_queue} runs wait for" if may_wait else "another run is active for"
        raise RunBusy(f"{what} this key", run_id=queue[0])

    def local(self, key: str, run_id: str) -> tuple[str, ...]:
        """Return the queue of a run while the store is down: only the runs of this process are known."""
        for generation in list(self._relay.writer.generations.values()):
            if generation.key == key and generation.end is None:
                raise RunBusy("another run is active for this key", run_id=generation.id)
        return (run_id,)

    def is_over(self, run_id: str) -> bool:
        """Whether a run in a queue is no longer active; one that has lost its process is ended, or continued here."""
        relay = self._relay
        if (generation := relay.writer.generations.get(run_id)) is not None and not generation.lost:
            return generation.end is not None
        record = relay.store.get(run_id)
        if record is not None and relay.recovery.take(record):
            record = relay.store.get(run_id)
        return record is None or record.gone or record.ended

    def wait(self, generation: Generation, queue: tuple[str, ...]) -> None:
        """Launch a queued run when those before it have ended."""
        relay = self._relay

        def advance() -> None:
            if relay.on_end is None:
                self._advance(generation)
            else:  # it may end a run before this one, and the scheduler's thread renews the leases
                apart(lambda: self._advance(generation))

        record = relay.store.get(queue[queue.index(generation.id) - 1])
        if record is None or record.gone or record.ended:
            relay.scheduler.soon(advance)
        else:
            relay.mirrors.of(record, advance)

    def _advance(self, generation: Generation) -> None:
        """The run before this one has ended. For the scheduler's thread."""
        if generation.end is not None or generation.lost or self._relay.closing:
            return
        try:
            queue = self.join(generation.key, generation.id, may_wait=True)
            if queue[0] == generation.id:
                generation.launch()
            else:
                self.wait(generation, queue)
        except (StoreUnavailable, RunBusy):
            self._relay.scheduler.later(_RETRY, lambda: self._advance(generation))
