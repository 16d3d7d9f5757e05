"""`conversation_lock` in SQLite and in caches. Locks of PostgreSQL and Redis, across processes: tests/deploy/test_django_postgres.py."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from hfclient import ConversationBusy, InvalidInputError
from hfclient.web.errors import StoreUnavailable
from tests.chat.replay import wait_until
from tests.clock import FakeTime
from tests.processes.helpers import in_child, needs_fork, succeeded
from tests.web.django_site import django_database, set_up

set_up()

from django.core.cache import caches  # noqa: E402
from django.core.cache.backends import base, db  # noqa: E402
from django.core.cache.backends.base import InvalidCacheBackendError  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import override_settings  # noqa: E402

from hfclient.web.django import conversation_lock, locks  # noqa: E402
from hfclient.web.django.connections import without_connections  # noqa: E402
from tests.web.django_site.models import Thread  # noqa: E402

__all__ = ["django_database"]

BACKENDS = "django.core.cache.backends."
CACHES = {
    "default": {"BACKEND": BACKENDS + "db.DatabaseCache", "LOCATION": "site_cache"},
    "local": {"BACKEND": BACKENDS + "locmem.LocMemCache"},
    "none": {"BACKEND": BACKENDS + "dummy.DummyCache"},
    "files": {"BACKEND": BACKENDS + "filebased.FileBasedCache", "LOCATION": "/nonexistent"},
    "down": {"BACKEND": BACKENDS + "redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"},
}


@pytest.fixture
def cache(django_database: None) -> Iterator[Any]:
    """A cache in the database."""
    with override_settings(CACHES=CACHES):
        call_command("createcachetable", verbosity=0)
        caches["default"].clear()
        yield caches["default"]
    wait_until(lambda: not any(thread.name == "hfclient-locks" for thread in threading.enumerate()))


def test_one_holder(cache: Any) -> None:
    """A second lock of the same name is refused until the first one is released; other names are free."""
    first = conversation_lock("a")
    with first as held:
        assert held is first
        assert first.held
        with pytest.raises(ConversationBusy):
            conversation_lock("a").acquire()
        with pytest.raises(ConversationBusy, match="held already"):
            first.acquire()
        with conversation_lock("b"), conversation_lock(1), conversation_lock(Thread(pk=1), cache="default"):
            pass
    assert not first.held
    first.release()
    with conversation_lock("a"):
        pass


def test_waiting(cache: Any) -> None:
    """A lock waits for its time, and takes over as soon as the other holder has released."""
    first = conversation_lock("a").acquire()
    with pytest.raises(ConversationBusy, match=r"within 0\.1 s"):
        conversation_lock("a", wait=0.1).acquire()
    timer = threading.Timer(0.2, without_connections(first.release))
    timer.start()
    for wait in (20, None):
        with conversation_lock("a", wait=wait):
            assert not first.held
    timer.join()


def test_a_long_answer_keeps_the_lock(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock is renewed while it is held, longer than its time to live."""
    clock = FakeTime()
    monkeypatch.setattr(locks, "time", clock)
    monkeypatch.setattr(base, "time", SimpleNamespace(time=clock.monotonic))
    monkeypatch.setattr(db, "tz_now", lambda: datetime.fromtimestamp(clock.monotonic(), timezone.utc))
    with conversation_lock("a", ttl=2) as lock:
        for _ in range(5):
            end = lock._valid_until
            clock.advance(0.6)
            wait_until(lambda end=end: lock._valid_until > end)  # type: ignore[misc]
        with pytest.raises(ConversationBusy):
            conversation_lock("a").acquire()
    assert cache.get(lock.key) is None


def test_a_lock_that_was_dropped_ends(cache: Any) -> None:
    """A lock without references is not renewed: it ends after its time to live, and so does the thread."""
    lock = conversation_lock("a", ttl=2).acquire()
    del lock
    gc.collect()
    with conversation_lock("a", wait=20):
        pass


def test_only_the_owner_releases(cache: Any) -> None:
    """A holder that has lost its lock, because it was stopped for too long, does not release that of the next one."""
    first = conversation_lock("a").acquire()
    cache.delete(first.key)
    second = conversation_lock("a").acquire()
    first.renew()
    assert (first.lost, first.held) == (True, False)
    first.release()
    with pytest.raises(ConversationBusy):
        conversation_lock("a").acquire()
    second.release()
    third = conversation_lock("a", ttl=60).acquire()
    third._valid_until = time.monotonic()  # nearly expired: another process may hold it before the delete arrives
    third.release()
    assert cache.get(third.key) is not None


@needs_fork
def test_a_fork(cache: Any) -> None:
    """The lock belongs to the process that acquired it; a forked child neither holds nor releases it."""
    lock = conversation_lock("a").acquire()

    def child() -> None:
        assert not lock.held
        lock.release()
        assert not locks._renewals._locks

    assert succeeded(in_child(child))
    assert lock.held
    with pytest.raises(ConversationBusy):
        conversation_lock("a").acquire()
    lock.release()


def test_threads_take_turns(cache: Any) -> None:
    """Many threads that want one lock hold it one at a time."""
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        from django.db import connections

        try:
            with conversation_lock("a", wait=60):
                inside.append(os.getpid())
                most.append(len(inside))
                time.sleep(0.01)
                inside.pop()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4


def test_coroutines(cache: Any) -> None:
    """A coroutine acquires and releases it without blocking the loop."""

    async def main() -> None:
        async with conversation_lock("a") as lock:
            with pytest.raises(ConversationBusy):
                await conversation_lock("a").aacquire()
            assert lock.held
        await (await conversation_lock("a").aacquire()).__aexit__()

    asyncio.run(main())
    conversation_lock("a").acquire().release()


def test_caches_that_cannot_lock(cache: Any) -> None:
    """A cache of one process, without memory, or without an atomic add() is refused; that of one process is enough for runserver."""
    for alias, why in (("local", "each process has its own"), ("none", "keeps nothing"), ("files", "not atomic")):
        with pytest.raises(ImproperlyConfigured, match=why):
            conversation_lock("a", cache=alias)
    with override_settings(DEBUG=True):
        with conversation_lock("a", cache="local"), pytest.raises(ConversationBusy):
            conversation_lock("a", cache="local").acquire()
        with pytest.raises(ImproperlyConfigured):
            conversation_lock("a", cache="none")
    with pytest.raises(InvalidCacheBackendError, match="unknown"):
        conversation_lock("a", cache="unknown")


def test_a_cache_that_is_down(cache: Any) -> None:
    """Without its cache a lock is refused with an error of hfclient, which names the alias and no address."""
    with pytest.raises(StoreUnavailable, match='"down"') as caught:
        conversation_lock("a", cache="down").acquire()
    assert "127.0.0.1" not in str(caught.value)


def test_a_cache_that_goes_down(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the cache cannot be reached a held lock stays until its time is over; a release does not raise."""
    lock = conversation_lock("a").acquire()
    monkeypatch.setattr(lock, "_cache", "down")
    lock.renew()
    assert lock.held
    lock._valid_until = time.monotonic() - 1
    lock.renew()
    assert lock.lost
    other = conversation_lock("b").acquire()
    monkeypatch.setattr(other, "_cache", "down")
    other.release()
    assert not other.held


def test_rows_of_sqlite(django_database: None) -> None:
    """SQLite has no row locks, and the error says what to do."""
    thread = Thread.objects.create()
    for what in (thread, Thread.objects.filter(pk=thread.pk)):
        with pytest.raises(ImproperlyConfigured, match=r'SQLite.*cache="default"'), conversation_lock(what):
            pass


def test_mistakes(cache: Any) -> None:
    """What cannot be locked, a negative wait and a short time to live are errors at the call."""
    for call in (
        lambda: conversation_lock(None),
        lambda: conversation_lock(""),
        lambda: conversation_lock(["a"]),
        lambda: conversation_lock(Thread(), cache="default"),
        lambda: conversation_lock("a", wait=-1),
        lambda: conversation_lock("a", ttl=1.5),
    ):
        with pytest.raises(InvalidInputError):
            call()
    with pytest.raises(InvalidInputError, match="not saved yet"), conversation_lock(Thread()):
        pass
