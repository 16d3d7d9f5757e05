"""Tests that every store of a relay passes. A test class for a store inherits `StoreTests` and has a fixture ``store``."""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any

import pytest
from attrs import evolve

from hfclient.web.errors import StoreUnavailable
from hfclient.web.relay.store import Batch, Bounds, Record, Store, Write
from tests.chat.replay import wait_until

BOUNDS = Bounds(ttl=60.0, keep=60.0, max_events=1000, max_bytes=100_000)


def new_id() -> str:
    return secrets.token_urlsafe(12)


def batch(first: int, count: int = 1, size: int = 0) -> Batch:
    """A batch whose data names its events."""
    return Batch(first, count, f"{first}+{count}".encode().ljust(size, b"."))


class Notified:
    """Collects what a watch is notified of."""

    def __init__(self) -> None:
        self.calls: list[Batch | None] = []

    def __call__(self, new: Batch | None) -> None:
        self.calls.append(new)

    def wait(self, since: int = 0) -> None:
        wait_until(lambda: len(self.calls) > since)


class StoreTests:
    """The tests; each method gets the fixture ``store``."""

    short = 0.3
    """A time to live, or lease, that tests wait for; seconds."""

    @pytest.fixture
    def run_id(self, store: Store) -> str:
        """A new run: fence 1, a lease of a minute."""
        run_id = new_id()
        store.create(run_id, key="k", owner="o", state=b"s", lease=60.0, bounds=BOUNDS)
        return run_id

    def one(self, store: Store, run_id: str, *batches: Batch, bounds: Bounds = BOUNDS, fence: int = 1, lease: float = 60.0, **more: Any) -> Record | None:
        """Write one change."""
        (record,) = store.write([Write(run_id=run_id, fence=fence, batches=batches, lease=lease, **more)], bounds)
        return record

    def test_a_new_run(self, store: Store) -> None:
        """A new run is queued, has the lease, no events, and the texts that it was created with."""
        run_id = new_id()
        key, owner = "thread {1}:\N{SNOWMAN}\n", "user {2}"
        made = store.create(run_id, key=key, owner=owner, state=b"\0\xff", lease=60.0, bounds=BOUNDS)
        found = store.get(run_id)
        assert found is not None
        assert evolve(made, lease_left=0) == evolve(found, lease_left=0)
        assert 50 < found.lease_left <= 60
        assert found.created > 1.6e9
        assert evolve(found, created=0, lease_left=0) == Record(id=run_id, key=key, owner=owner, state=b"\0\xff")
        assert run_id in store.active()
        other = new_id()
        store.create(other, key="", owner=None, state=None, lease=60.0, bounds=BOUNDS)
        found = store.get(other)
        assert found is not None
        assert (found.key, found.owner, found.state, found.end) == ("", None, None, None)

    def test_an_unknown_run(self, store: Store) -> None:
        """Nothing can be done to a run that does not exist."""
        run_id = new_id()
        assert store.get(run_id) is None
        assert store.read(run_id, 0, 100) is None
        assert self.one(store, run_id, batch(1)) is None
        assert store.take_over(run_id, lease=1.0) is None
        assert store.stop(run_id) is None
        store.attend(run_id)
        store.drop(run_id, 1)
        assert store.get(run_id) is None

    def test_creating_again_changes_nothing(self, store: Store, run_id: str) -> None:
        """A repeated create returns the run as it is."""
        self.one(store, run_id, batch(1), status="running")
        again = store.create(run_id, key="other", owner=None, state=None, lease=1.0, bounds=BOUNDS)
        assert (again.key, again.owner, again.status, again.last, again.state) == ("k", "o", "running", 1, b"s")
        assert again.lease_left > 50

    def test_a_lost_run_is_created_behind_its_events(self, store: Store) -> None:
        """A run can be created with a fence and behind events that the store does not have."""
        run_id = new_id()
        store.create(run_id, key="k", owner=None, state=None, lease=60.0, bounds=BOUNDS, fence=7, last=10)
        record = self.one(store, run_id, batch(11, 2), fence=7)
        assert record is not None
        assert (record.fence, record.first, record.last) == (7, 11, 12)
        found = store.read(run_id, 3, 100)
        assert found is not None
        assert found[1] == [batch(11, 2)]

    def test_events_are_read_behind_any_number(self, store: Store, run_id: str) -> None:
        """A read returns the batches with later events, the first of which may begin before."""
        batches = [batch(1, 3), batch(4), batch(5, 2)]
        self.one(store, run_id, *batches)
        for after, expected in [(0, batches), (1, batches), (3, batches[1:]), (4, batches[2:]), (5, batches[2:]), (6, []), (99, [])]:
            found = store.read(run_id, after, 10_000)
            assert found is not None
            assert found[1] == expected
            assert (found[0].first, found[0].last) == (1, 6)

    def test_reads_are_bounded(self, store: Store, run_id: str) -> None:
        """A read returns as many batches as fit, and at least one."""
        self.one(store, run_id, *(batch(number, size=100) for number in range(1, 6)))
        for size, expected in [(1, 1), (100, 1), (199, 1), (200, 2), (1000, 5)]:
            found = store.read(run_id, 0, size)
            assert found is not None
            assert [b.first for b in found[1]] == list(range(1, expected + 1))
            assert found[0].last == 5

    def test_data_is_kept_as_it_is(self, store: Store, run_id: str) -> None:
        """Data may be any bytes."""
        data = bytes(range(256)) * 20
        self.one(store, run_id, Batch(1, 1, data))
        found = store.read(run_id, 0, 1)
        assert found is not None
        assert found[1][0].data == data

    def test_a_repeated_write_changes_nothing(self, store: Store, run_id: str) -> None:
        """Batches that the log has are skipped, new ones among them are added."""
        self.one(store, run_id, batch(1, 2), batch(3))
        record = self.one(store, run_id, batch(1, 2), batch(3), batch(4))
        assert record is not None
        assert record.last == 4
        found = store.read(run_id, 0, 1000)
        assert found is not None
        assert found[1] == [batch(1, 2), batch(3), batch(4)]

    def test_a_gap_is_not_written(self, store: Store, run_id: str) -> None:
        """A batch that does not follow is skipped, with all behind it and with the end; the lease is renewed."""
        self.one(store, run_id, batch(1), lease=1.0)
        record = self.one(store, run_id, batch(3), batch(4), status="completed", end=b"e")
        assert record is not None
        assert (record.last, record.status) == (1, "queued")
        assert record.lease_left > 50
        found = store.get(run_id)
        assert found is not None
        assert found.end is None
        record = self.one(store, run_id, batch(2), batch(4))
        assert record is not None
        assert record.last == 2

    def test_writes_of_several_runs(self, store: Store) -> None:
        """Each write of a call is applied on its own, and has its own result."""
        runs = [new_id() for _ in range(3)]
        for run_id in runs:
            store.create(run_id, key="k", owner=None, state=None, lease=60.0, bounds=BOUNDS)
        writes = [
            Write(run_id=runs[0], fence=1, batches=[batch(1)], lease=60.0),
            Write(run_id=runs[1], fence=2, batches=[batch(1)], lease=60.0),
            Write(run_id=new_id(), fence=1, lease=60.0),
            Write(run_id=runs[2], fence=1, lease=60.0, status="completed"),
            Write(run_id=runs[0], fence=1, batches=[batch(2)], lease=60.0),
        ]
        results = store.write(writes, BOUNDS)
        assert [result and (result.last, result.status) for result in results] == [
            (1, "queued"), (0, "queued"), None, (0, "completed"), (2, "queued"),
        ]  # fmt: skip
        assert store.write([], BOUNDS) == []

    def test_a_log_is_trimmed_by_events(self, store: Store, run_id: str) -> None:
        """The oldest batches are removed when there are too many events; the newest stays."""
        bounds = evolve(BOUNDS, max_events=5)
        for first in (1, 3, 5, 7):
            record = self.one(store, run_id, batch(first, 2), bounds=bounds)
        assert record is not None
        assert (record.first, record.last) == (5, 8)
        found = store.read(run_id, 0, 1000)
        assert found is not None
        assert found[1] == [batch(5, 2), batch(7, 2)]
        record = self.one(store, run_id, batch(9, 50), bounds=bounds)
        assert record is not None
        assert (record.first, record.last) == (9, 58)

    def test_a_log_is_trimmed_by_bytes(self, store: Store, run_id: str) -> None:
        """The oldest batches are removed when there are too many bytes; the newest stays."""
        bounds = evolve(BOUNDS, max_bytes=250)
        for first in range(1, 6):
            record = self.one(store, run_id, batch(first, size=100), bounds=bounds)
        assert record is not None
        assert (record.first, record.last) == (4, 5)
        record = self.one(store, run_id, batch(6, size=900), bounds=bounds)
        assert record is not None
        assert (record.first, record.last) == (6, 6)

    def test_status_state_and_end(self, store: Store, run_id: str) -> None:
        """A write sets the status, the state and the end; an ended run takes no further write."""
        self.one(store, run_id, status="running")
        self.one(store, run_id, batch(1), state=b"new")
        found = store.get(run_id)
        assert found is not None
        assert (found.status, found.state, found.ended) == ("running", b"new", False)
        record = self.one(store, run_id, batch(2), status="interrupted", end=b"end")
        assert record is not None
        assert record.ended
        assert record.lease_left == 0
        for _ in range(2):
            record = self.one(store, run_id, batch(3), status="completed", end=b"other")
            assert record is not None
            assert (record.status, record.last) == ("interrupted", 2)
        found = store.get(run_id)
        assert found is not None
        assert (found.end, found.state) == (b"end", b"new")
        assert run_id not in store.active()

    @pytest.mark.parametrize("fence", [0, 2])
    def test_another_fence_writes_nothing(self, store: Store, run_id: str, fence: int) -> None:
        """A write with another fence changes neither the log nor the lease."""
        before = store.get(run_id)
        record = self.one(store, run_id, batch(1), fence=fence, lease=0.0, status="failed", end=b"e", state=b"x")
        after = store.get(run_id)
        assert before is not None
        assert after is not None
        assert record is not None
        assert record.fence == 1
        assert evolve(before, lease_left=0) == evolve(after, lease_left=0)
        assert after.lease_left > 50

    def test_a_lease_that_is_held_is_not_taken(self, store: Store, run_id: str) -> None:
        """A run with a lease cannot be taken over, nor can one that has ended."""
        assert store.take_over(run_id, lease=60.0) is None
        self.one(store, run_id, status="completed")
        assert store.take_over(run_id, lease=60.0) is None

    def test_an_expired_lease_is_taken_once(self, store: Store) -> None:
        """One of many callers takes a run whose lease has expired; the old holder writes nothing from then on."""
        run_id = new_id()
        store.create(run_id, key="k", owner=None, state=None, lease=self.short, bounds=BOUNDS)
        self.one(store, run_id, batch(1), lease=self.short)
        wait_until(lambda: (record := store.get(run_id)) is not None and record.lease_left == 0)
        record = self.one(store, run_id, batch(2), lease=self.short)  # the holder still may
        assert record is not None
        assert record.last == 2
        wait_until(lambda: (record := store.get(run_id)) is not None and record.lease_left == 0)
        taken: list[Record | None] = []
        start = threading.Barrier(8)

        def take() -> None:
            start.wait()
            taken.append(store.take_over(run_id, lease=60.0))

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = [record for record in taken if record is not None]
        assert (winner.fence, winner.last) == (2, 2)
        assert winner.lease_left > 50
        record = self.one(store, run_id, batch(3), fence=1)
        assert record is not None
        assert (record.last, record.fence) == (2, 2)
        record = self.one(store, run_id, batch(3), fence=2)
        assert record is not None
        assert record.last == 3

    def test_a_lease_that_is_given_back_is_taken_at_once(self, store: Store, run_id: str) -> None:
        """A write with lease 0 gives the lease back and notifies the watches."""
        notified = Notified()
        watch = store.watch(run_id, notified)
        calls = len(notified.calls)
        self.one(store, run_id, lease=0.0)
        notified.wait(calls)
        taken = store.take_over(run_id, lease=60.0)
        assert taken is not None
        assert taken.fence == 2
        watch.close()

    def test_a_reserved_run_is_taken_once(self, store: Store) -> None:
        """A run with fence 0 has no holder: one caller that names the fence gets it before its lease expires."""
        run_id = new_id()
        store.create(run_id, key="k", owner=None, state=None, lease=60.0, bounds=BOUNDS, fence=0)
        assert store.take_over(run_id, lease=60.0) is None
        taken = [store.take_over(run_id, lease=60.0, fence=0) for _ in range(3)]
        assert taken[0] is not None
        assert (taken[0].fence, taken[0].status, taken[1:]) == (1, "queued", [None, None])
        record = self.one(store, run_id, batch(1))
        assert record is not None
        assert record.last == 1

    def test_a_stop_is_noted_and_notified(self, store: Store, run_id: str) -> None:
        """A stop sets the mark and notifies; repeated it changes nothing; of an ended run it does nothing."""
        notified = Notified()
        watch = store.watch(run_id, notified)
        calls = len(notified.calls)
        record = store.stop(run_id)
        assert record is not None
        assert record.stop
        notified.wait(calls)
        record = store.stop(run_id)
        assert record is not None
        assert record.stop
        watch.close()
        other = new_id()
        store.create(other, key="k", owner=None, state=None, lease=60.0, bounds=BOUNDS)
        self.one(store, other, status="completed")
        record = store.stop(other)
        assert record is not None
        assert (record.stop, record.status) == (False, "completed")

    def test_followers_are_noted(self, store: Store, run_id: str) -> None:
        """The record has the time since a follower was last noted; a write returns it, too."""
        record = store.get(run_id)
        assert record is not None
        assert record.attended is None
        store.attend(run_id)
        record = self.one(store, run_id, batch(1))
        assert record is not None
        assert record.attended is not None
        assert 0 <= record.attended < 10
        first = record.attended
        wait_until(lambda: (found := store.get(run_id)) is not None and (found.attended or 0) > first)

    def test_a_dropped_run_never_was(self, store: Store, run_id: str) -> None:
        """A run is dropped only by its fence."""
        store.drop(run_id, 2)
        assert store.get(run_id) is not None
        store.drop(run_id, 1)
        store.drop(run_id, 1)
        assert store.get(run_id) is None
        assert run_id not in store.active()

    def test_a_run_leaves_a_tombstone_and_then_nothing(self, store: Store) -> None:
        """After the time to live only the tombstone is left, and after its own time nothing."""

        def ended(keep: float) -> str:
            run_id = new_id()
            store.create(run_id, key="k", owner="o", state=b"s", lease=60.0, bounds=BOUNDS)
            self.one(store, run_id, batch(1), bounds=evolve(BOUNDS, ttl=self.short, keep=keep), status="completed", end=b"e")
            return run_id

        run_id = ended(60.0)
        wait_until(lambda: (record := store.get(run_id)) is None or record.gone)
        found = store.read(run_id, 0, 1000)
        assert found is not None
        record, batches = found
        assert batches == []
        assert (record.key, record.owner, record.status, record.gone, record.last) == ("k", "o", "completed", True, 1)
        assert (record.end, record.state) == (None, None)
        again = store.create(run_id, key="k", owner="o", state=None, lease=60.0, bounds=BOUNDS)
        assert again.gone
        forgotten = ended(self.short)
        wait_until(lambda: store.get(forgotten) is None)

    def test_a_write_begins_the_time_to_live_anew(self, store: Store) -> None:
        """Renewals keep a run; without them it is gone, and takes no writes even from its holder."""
        ttl = 4 * self.short
        while (run_id := self._renewed(store, ttl)) is None:  # this process was stopped for longer than that
            ttl *= 2
        bounds = evolve(BOUNDS, ttl=self.short)
        self.one(store, run_id, bounds=bounds)
        wait_until(lambda: (record := store.get(run_id)) is None or record.gone)
        record = self.one(store, run_id, batch(2), bounds=bounds)
        assert record is not None
        assert record.gone
        assert store.take_over(run_id, lease=1.0) is None

    def _renewed(self, store: Store, ttl: float) -> str | None:
        """Return a run that was renewed for twice its time to live; None if a pause between two renewals was longer than that time."""
        run_id, bounds = new_id(), evolve(BOUNDS, ttl=ttl)
        begun = written = time.monotonic()
        store.create(run_id, key="k", owner="o", state=None, lease=60.0, bounds=bounds)
        while time.monotonic() < begun + 2 * ttl:
            threading.Event().wait(ttl / 4)
            before = time.monotonic()
            record = self.one(store, run_id, bounds=bounds)
            assert record is not None
            if record.gone:
                assert time.monotonic() - written >= ttl
                return None
            written = before
        return run_id

    def test_watches_see_batches_in_order(self, store: Store, run_id: str) -> None:
        """A watch is notified of each change: with the batches, or to read."""
        notified = Notified()
        watch = store.watch(run_id, notified)
        seen = 0
        for first in range(1, 6):
            self.one(store, run_id, batch(first))
            notified.wait(seen)
            seen = len(notified.calls)
        carried = [call for call in notified.calls if call is not None]
        assert carried == sorted(carried, key=lambda call: call.first)
        self.one(store, run_id, status="completed", end=b"e")
        notified.wait(seen)
        watch.close()
        watch.close()

    def test_a_closed_watch_is_silent(self, store: Store, run_id: str) -> None:
        """A closed watch is not notified, other watches of the run are; a watch of another run is not."""
        closed, kept, other = Notified(), Notified(), Notified()
        other_id = new_id()
        store.create(other_id, key="k", owner=None, state=None, lease=60.0, bounds=BOUNDS)
        watches = [store.watch(run_id, closed), store.watch(run_id, kept), store.watch(other_id, other)]
        self.one(store, run_id, batch(1))
        closed.wait()
        kept.wait()
        watches[0].close()
        calls, others = len(closed.calls), len(other.calls)
        seen = len(kept.calls)
        self.one(store, run_id, batch(2))
        kept.wait(seen)
        assert len(closed.calls) <= calls + 1  # a call that was under way
        assert batch(2) not in other.calls[others:]
        for watch in watches:
            watch.close()

    def test_a_line_has_one_first(self, store: Store) -> None:
        """A queue admits up to its limit, in order; a run that is in it stays where it is."""
        key = "queue {" + new_id() + "}"
        assert store.queue(key) == ()
        assert store.join(key, "a", limit=1, ttl=60.0) == ("a",)
        assert store.join(key, "b", limit=1, ttl=60.0) == ("a",)
        assert store.join(key, "a", limit=1, ttl=60.0) == ("a",)
        assert store.join(key, "b", limit=3, ttl=60.0) == ("a", "b")
        assert store.join(key, "c", limit=3, ttl=60.0) == ("a", "b", "c")
        assert store.join(key, "d", limit=3, ttl=60.0) == ("a", "b", "c")
        store.leave(key, "b")
        store.leave(key, "x")
        assert store.queue(key) == ("a", "c")
        store.leave(key, "a")
        store.leave(key, "c")
        assert store.queue(key) == ()

    def test_a_line_expires(self, store: Store) -> None:
        """A queue whose runs are not renewed is empty after its time."""
        key = new_id()
        store.join(key, "a", limit=1, ttl=self.short)
        wait_until(lambda: store.queue(key) == ())
        assert store.join(key, "b", limit=1, ttl=60.0) == ("b",)

    def test_one_of_many_gets_a_line(self, store: Store) -> None:
        """Of many runs that join at once exactly one is admitted by a limit of 1."""
        key = new_id()
        start = threading.Barrier(8)
        results: list[tuple[str, ...]] = []

        def join(name: str) -> None:
            start.wait()
            results.append(store.join(key, name, limit=1, ttl=60.0))

        threads = [threading.Thread(target=join, args=(str(number),)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 8
        assert len(set(results)) == 1

    def test_a_name_belongs_to_its_first_run(self, store: Store) -> None:
        """A name is given once; it expires, and its run can free it."""
        name = "name {" + new_id() + "}"
        assert store.find(name) is None
        assert store.claim(name, "a", ttl=60.0) == "a"
        assert store.claim(name, "b", ttl=60.0) == "a"
        assert store.find(name) == "a"
        store.release(name, "b")
        assert store.find(name) == "a"
        store.release(name, "a")
        assert store.claim(name, "b", ttl=self.short) == "b"
        wait_until(lambda: store.find(name) is None)
        assert store.claim(name, "c", ttl=60.0) == "c"

    def test_a_closed_store_refuses(self, store: Store, run_id: str) -> None:
        """Every method of a closed store raises StoreUnavailable."""
        store.close()
        store.close()
        calls = [
            lambda: store.get(run_id),
            lambda: store.read(run_id, 0, 1),
            lambda: self.one(store, run_id),
            lambda: store.create(run_id, key="", owner=None, state=None, lease=1.0, bounds=BOUNDS),
            lambda: store.take_over(run_id, lease=1.0),
            lambda: store.stop(run_id),
            lambda: store.attend(run_id),
            lambda: store.drop(run_id, 1),
            store.active,
            lambda: store.join("k", run_id, limit=1, ttl=1.0),
            lambda: store.leave("k", run_id),
            lambda: store.queue("k"),
            lambda: store.claim("n", run_id, ttl=1.0),
            lambda: store.find("n"),
            lambda: store.release("n", run_id),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable):
                call()
