"""`MemoryStore`: the tests of all stores, and its own bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from attrs import evolve

from hfclient.web.relay.memory import MemoryStore
from hfclient.web.relay.store import Store, Write
from tests.processes.helpers import in_child, needs_fork, succeeded
from tests.web.store_tests import BOUNDS, StoreTests, batch


class TestMemoryStore(StoreTests):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = MemoryStore()
        yield store
        store.close()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _full(store: MemoryStore, number: int) -> None:
    for index in range(number):
        run_id = f"r{index}"
        store.create(run_id, key=run_id, owner=None, state=b"s" * 100, lease=1.0, bounds=BOUNDS)
        store.write([Write(run_id=run_id, fence=1, batches=[batch(1, size=1000)], lease=1.0, status="completed", end=b"e")], BOUNDS)
        store.claim(run_id, run_id, ttl=100.0)


def test_expired_runs_are_removed_without_a_thread() -> None:
    """The next run removes all logs, tombstones, names and queues whose time has passed."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    _full(store, 50)
    store.join("k", "r1", limit=1, ttl=10.0)
    clock.now = BOUNDS.ttl + 1
    store.create("next", key="", owner=None, state=None, lease=1.0, bounds=BOUNDS)
    assert (len(store._runs), len(store._tombs), len(store._names), len(store._queues)) == (1, 50, 50, 0)
    assert all(not stored.batches for stored in store._tombs.values())
    clock.now = BOUNDS.ttl + BOUNDS.keep + 2
    store.create("last", key="", owner=None, state=None, lease=1.0, bounds=BOUNDS)
    assert (len(store._runs), len(store._tombs), len(store._names)) == (1, 1, 0)


def test_the_number_of_runs_is_bounded() -> None:
    """The oldest runs that have ended make place for new ones; active ones stay."""
    store = MemoryStore(max_runs=10)
    store.create("active", key="", owner=None, state=None, lease=1.0, bounds=BOUNDS)
    _full(store, 30)
    assert len(store._runs) + len(store._tombs) == 10
    assert store.get("active") is not None
    assert store.get("r29") is not None
    assert store.get("r5") is None


def test_the_oldest_write_expires_first() -> None:
    """A write moves a run behind all others, so a purge never misses one."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    for name in ("a", "b"):
        store.create(name, key="", owner=None, state=None, lease=1.0, bounds=BOUNDS)
    clock.now = 50.0
    store.write([Write(run_id="a", fence=1, lease=1.0)], BOUNDS)
    clock.now = BOUNDS.ttl + 1
    store.create("c", key="", owner=None, state=None, lease=1.0, bounds=evolve(BOUNDS, ttl=1.0))
    assert list(store._runs) == ["a", "c"]
    assert list(store._tombs) == ["b"]


@needs_fork
def test_a_forked_child_has_an_empty_store() -> None:
    """A child does not see its parent's runs, and can use the store although a thread held its lock."""
    store = MemoryStore()
    store.create("a", key="", owner=None, state=None, lease=1.0, bounds=BOUNDS)
    with store._lock:

        def child() -> None:
            assert store.get("a") is None
            store.create("b", key="", owner=None, state=None, lease=1.0, bounds=BOUNDS)

        pid = in_child(child)
    assert succeeded(pid)
    assert store.get("b") is None
    assert os.getpid() != pid
