"""The protocol of a store: where a relay keeps its runs, so that every process can follow them.

A store keeps four kinds of data. No operation needs two of them at once, so in a Redis Cluster each may have a slot of its own:

* a **run**: its record and its log, a list of batches of events. All operations on one run are atomic (one hash tag: the run's id);
* a **queue** of a key: the ids of the runs with that key, the active one first (one hash tag: the key);
* a **name**: an idempotency key with the id of its run;
* the **index** of the runs that have not ended: a hint, which may name runs that have ended or vanished.

The relay needs no transaction across them. A run's record exists before a name or a queue has its id, so an id that is found in a
name or a queue belongs to a run, or to one whose time has passed. A run that has ended never becomes active again, so an id in a
queue whose run has ended may be removed by any process at any time. A process that dies between two operations leaves a record
whose lease runs out.

**Leases.** The process that generates a run holds its lease: a *fence* (a number that grows with each holder) and a time, measured
by the clock of the store only. An expired lease changes nothing by itself: the holder may still write, until another process takes
the run over and gets the next fence. From then on every write with the old fence is refused.

**Time to live.** Each write sets it anew. After *ttl* seconds without a write, the log, the state and the end of a run are gone;
its record (id, key, owner, status) stays for *keep* seconds as a tombstone, so that the run is known to be gone. Then it is unknown.

**Threads, forks, errors.** All methods may be called from any thread or greenlet at any time. A store made before a fork works in the
child: with new connections, locks and threads, without the watches of the parent. Every method returns within a few seconds, or
raises `hfclient.web.errors.StoreUnavailable`, chained to the cause; no other exception leaves a store. Any call may be repeated after
StoreUnavailable, because it may have been carried out: each method says what a repetition does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeAlias

from attrs import field, frozen

__all__ = ["Batch", "Bounds", "Notify", "Record", "Status", "Store", "Watch", "Write"]

Status: TypeAlias = Literal["queued", "running", "completed", "interrupted", "failed"]
"""The state of a run: *queued* until it is first in its queue, *running*, and one of three ends."""


@frozen
class Batch:
    """Consecutive events of a run, encoded. A store keeps *data* as it is.

    Attributes:
        first: Number of the first event; the events of a run count from 1.
        count: Number of events, at least 1.
        data: The events, as bytes.
    """

    first: int
    count: int
    data: bytes = field(repr=False)

    @property
    def last(self) -> int:
        """Number of the last event."""
        return self.first + self.count - 1


@frozen(kw_only=True)
class Record:
    """A run as the store has it at one moment.

    Attributes:
        id: The run's id: up to 64 letters, digits, ``-`` and ``_``.
        key: The application's key; any text.
        owner: The run's owner, or None; any text.
        created: When it was created: seconds since 1970, by the store's clock.
        status: The state.
        fence: Number of the present holder of the lease: 1 for the first, 0 for a run that is reserved and has none yet.
        lease_left: Seconds until the lease expires, by the store's clock; 0.0 if it has expired or the run has ended.
        stop: A stop was requested.
        first: Number of the oldest event in the log; ``last + 1`` if it has none.
        last: Number of the newest event that was ever written; 0 before the first.
        attended: Seconds since the last call of `Store.attend`; None before the first.
        state: What another process needs to continue the run, and what the application keeps with it; or None.
        end: How the run ended, or None.
        gone: The time to live has passed: only the tombstone is left.
    """

    id: str
    key: str
    owner: str | None = None
    created: float = 0.0
    status: Status = "queued"
    fence: int = 1
    lease_left: float = 0.0
    stop: bool = False
    first: int = 1
    last: int = 0
    attended: float | None = None
    state: bytes | None = field(default=None, repr=False)
    end: bytes | None = field(default=None, repr=False)
    gone: bool = False

    @property
    def ended(self) -> bool:
        """Whether the run has one of the three ends."""
        return self.status in ("completed", "interrupted", "failed")


@frozen(kw_only=True)
class Write:
    """A change of one run by the holder of its lease.

    Attributes:
        run_id: The run.
        fence: The holder's fence.
        batches: New events, in order.
        lease: Seconds for which the lease is renewed; 0.0 gives it back: another process may take the run over at once.
        status: The new state, or None. One of the three ends ends the run and its lease.
        state: Replaces the record's, unless None.
        end: Replaces the record's, unless None.
    """

    run_id: str
    fence: int
    batches: Sequence[Batch] = ()
    lease: float
    status: Status | None = None
    state: bytes | None = field(default=None, repr=False)
    end: bytes | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Bounds:
    """How long and how much of each run a store keeps.

    Attributes:
        ttl: Seconds from the last write until the log, the state and the end are gone.
        keep: Seconds from then until the tombstone is gone, too.
        max_events: Maximum number of events in a log. The oldest batches are removed first; the newest always stays.
        max_bytes: Maximum size of a log: the sum of the sizes of its batches' *data*. As *max_events*.
    """

    ttl: float
    keep: float
    max_events: int
    max_bytes: int


Notify: TypeAlias = Callable[[Batch | None], object]
"""Called by a store when a watched run has changed: with a batch that was just written, or with None: "read it again"."""


class Watch(Protocol):
    """The registration of a `Notify`."""

    def close(self) -> None:
        """End it: idempotent, without waiting; a call of *notify* that is under way may still finish."""


class Store(Protocol):
    """A store of runs. The module's docstring has what is common to all methods.

    Attributes:
        is_shared: Other processes see the runs, so one of them may have to continue a run of this process.
    """

    is_shared: bool

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
        """Create a run without events: status ``"queued"``, a lease of *lease* seconds. Adds it to the index.

        Returns the record. If the id exists already, it changes nothing and returns the record as it is (a repetition; ids are
        random, so another run never has it). *fence* and *last* are other than 1 and 0 when a store that has lost a run gets it
        again: the next batch then begins at ``last + 1``. A *fence* of 0 reserves the run for another process.
        """

    def get(self, run_id: str) -> Record | None:
        """Return the record, or None if the id is unknown."""

    def read(self, run_id: str, after: int, max_bytes: int) -> tuple[Record, list[Batch]] | None:
        """Return the record and the batches with events behind number *after*, of the same moment; None if the id is unknown.

        The first batch may begin before *after*, or behind ``after + 1`` if events were trimmed. As many batches as fit into *max_bytes* of data, at
        least one if there are any: if the last of them ends before ``record.last``, the caller reads again.
        """

    def write(self, writes: Sequence[Write], bounds: Bounds) -> list[Record | None]:
        """Apply each of *writes*, and return for each the record after it (*state* and *end* may be None), None if the id is unknown.

        Each is atomic on its own; Redis may send them as one pipeline. For each, if the record is unknown or gone, has ended, or has another
        fence, nothing changes. The caller sees that in the record. Otherwise:

        * A batch that the log has already (``batch.last <= record.last``) is skipped, so a repetition changes nothing. One
          that does not follow immediately (``batch.first != record.last + 1``) is skipped, too, with all that follow, and with *status* and *end*: the
          store has lost events, and the caller sees in ``record.last`` where to continue.
        * The log is trimmed to *bounds* by whole batches; ``record.first`` is set.
        * Lease, status, state and end are set; the time to live begins anew.
        * Watches of the run are notified if a batch, a status or an end was written, or the lease was given back.
        * An end removes the run from the index.
        """

    def take_over(self, run_id: str, *, lease: float, fence: int | None = None) -> Record | None:
        """Take a run whose lease has expired, or one that has the fence *fence*: exactly one of any number of callers gets it.

        Returns the record with the caller's new fence; None if the run is unknown or gone, has ended, or its lease has not expired. A repetition
        after StoreUnavailable may return None although the caller has the lease: the lease then expires again.
        """

    def stop(self, run_id: str) -> Record | None:
        """Request a stop: sets ``stop`` and notifies the watches, unless the run has ended. Returns the record; None if unknown."""

    def attend(self, run_id: str) -> None:
        """Note that the run has a follower now (see ``attended``). Does not notify; does nothing for an unknown or ended run."""

    def drop(self, run_id: str, fence: int) -> None:
        """Remove a run that was never announced: record, log and entry of the index, if its fence is *fence*."""

    def watch(self, run_id: str, notify: Notify) -> Watch:
        """Call *notify* after each change of the run, from now on. Returns at once, also while the store is down.

        *notify* is called at least once after each change that comes after this call returned, soon and without polling; it may be called
        more often, from any thread, also before this method returns. A store that loses its connection calls it with None when the connection is back,
        because changes may have been missed. With a batch it is called only right after that batch was written; the caller
        checks its number. It must not block, and must not raise. Any number of watches of one process share one connection.
        """

    def active(self) -> list[str]:
        """Return the index: ids of runs that have not ended, oldest first, at most 10,000. Some may have ended or be unknown."""

    # Queues: one run at a time

    def join(self, key: str, run_id: str, *, limit: int, ttl: float) -> tuple[str, ...]:
        """Append *run_id* to the queue of *key* unless it is in it or the queue has *limit* entries. Returns the queue.

        The run has joined if its id is in the result; the first id is the active run. Renews the queue's own time to live, *ttl*
        seconds, if the run is in it.
        """

    def leave(self, key: str, run_id: str) -> None:
        """Remove *run_id* from the queue, if it is in it."""

    def queue(self, key: str) -> tuple[str, ...]:
        """Return the queue, without renewing it."""

    # Names: idempotency

    def claim(self, name: str, run_id: str, *, ttl: float) -> str:
        """Give *name* to *run_id* for *ttl* seconds unless another run has it. Returns the id of the run that has it now."""

    def find(self, name: str) -> str | None:
        """Return the id of the run with this name, or None."""

    def release(self, name: str, run_id: str) -> None:
        """Free *name* if *run_id* has it."""

    def close(self) -> None:
        """Close connections and end threads, idempotent. Afterwards every method raises StoreUnavailable."""
