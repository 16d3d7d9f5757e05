"""`conversation_lock`: one answer at a time in a conversation, across processes and machines.

A row lock is a lock of the database. It belongs to a transaction, and so to the thread of the view: it is for code that waits for
its answer. A cache lock is a key with a time to live that a thread renews. It may be released by another thread, so an answer that is
streamed can hold it. When a process is killed, its row locks end with its connection, its cache locks after their time to live.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, overload

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, models, router, transaction

from hfclient import ConversationBusy, InvalidInputError
from hfclient.web.django.connections import without_connections
from hfclient.web.errors import StoreUnavailable
from hfclient.web.forks import reset_after_fork

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CacheLock", "conversation_lock"]

_log = logging.getLogger("hfclient.web")
_POLL = (0.02, 0.25)  # seconds between two attempts: the first, and the longest
_ROUNDING = 1.0  # seconds: Memcached and DatabaseCache count whole ones
_UNFIT = {
    "LocMemCache": "each process has its own",
    "DummyCache": "it keeps nothing",
    "FileBasedCache": "its add() is not atomic",
}


@overload
def conversation_lock(what: str | int, *, wait: float | None = ..., cache: str = ..., ttl: float = ...) -> CacheLock: ...
@overload
def conversation_lock(what: Any, *, wait: float | None = ..., cache: str, ttl: float = ...) -> CacheLock: ...
@overload
def conversation_lock(what: Any, *, wait: float | None = ...) -> AbstractContextManager[Any]: ...
def conversation_lock(what: Any, *, wait: float | None = 0.0, cache: str | None = None, ttl: float = 30.0) -> Any:
    """Return a lock that one process holds at a time, as a context manager.

        with conversation_lock(thread, wait=5) as thread:       # the row, read again now that it is locked
            conversation = thread.state.restore()
            reply = conversation.ask(prompt)
            thread.state = conversation
            thread.save()

        lock = conversation_lock(f"thread-{thread.pk}")         # the cache
        return stream_response(request, lambda: conversation.send(prompt), lock=lock)

    Args:
        what: A model instance, or a queryset of one row: its row is locked with ``SELECT ... FOR UPDATE`` in a transaction that ends
            with the block. Or a text or number that names the conversation: the cache is used.
        wait: Seconds to wait for another holder; 0 does not wait, None waits without limit.
        cache: Alias of the cache; naming one locks a model instance by the cache, too. The default is ``"default"``. It must be
            shared by all processes: Redis, Memcached or the database.
        ttl: Seconds after which the cache forgets a lock whose process has died. A thread renews it while it is held.

    Raises:
        ConversationBusy: Another process or thread still holds it after *wait* (409).
        StoreUnavailable: The cache cannot be reached (503).
        ImproperlyConfigured: The cache is of one process, or the database has no row locks (SQLite).
    """
    if cache is None and isinstance(what, (models.Model, models.QuerySet)):
        return _row_lock(what, _seconds(wait))
    return CacheLock(_name(what), wait=_seconds(wait), cache=cache or "default", ttl=ttl)


def _seconds(wait: float | None) -> float:
    seconds = math.inf if wait is None else float(wait)
    if not seconds >= 0:
        raise InvalidInputError(f"wait is a number of seconds, or None to wait without limit, not {wait!r}")
    return seconds


def _name(what: Any) -> str:
    if isinstance(what, models.Model):
        if what.pk is None:
            raise InvalidInputError("this model instance is not saved yet, so it has no name to lock")
        return f"{what._meta.label_lower}:{what.pk}"
    if isinstance(what, (str, int)) and what != "":
        return str(what)
    raise InvalidInputError(f"a lock is of a model instance, a queryset of one row, or a text that names the conversation, not {what!r}")


def _pauses(wait: float) -> Iterator[None]:
    """Yield for each attempt, with pauses between them, until *wait* seconds have passed."""
    end, pause = time.monotonic() + wait, _POLL[0]
    yield
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(pause * (0.75 + secrets.randbelow(500) / 1000), left))
        pause = min(2 * pause, _POLL[1])
        yield


# Rows


@contextlib.contextmanager
def _row_lock(what: Any, wait: float) -> Iterator[Any]:
    queryset, using = _rows(what)
    _check_row_locks(using)
    if isinstance(what, models.QuerySet):  # of several rows it would lock any that is free
        queryset = queryset.filter(pk=queryset.order_by().values_list("pk", flat=True).get())
    locked = queryset.order_by().select_related(None).select_for_update(
        skip_locked=True, of=("self",) if connections[using].features.has_select_for_update_of else ()
    )
    for _ in _pauses(wait):
        with transaction.atomic(using=using):
            # Not nowait: its error would end a transaction around this one, and fill the log of the database.
            row = locked.first()
            if row is not None:
                yield row
                return
            if not queryset.exists():
                raise queryset.model.DoesNotExist(f"there is no {queryset.model._meta.object_name} to lock")
    raise ConversationBusy(_busy(wait))


def _rows(what: Any) -> tuple[Any, str]:
    if isinstance(what, models.QuerySet):
        using = what._db or router.db_for_write(what.model)
        return what.using(using), using
    using = router.db_for_write(type(what), instance=what)
    if what.pk is None:
        raise InvalidInputError("this model instance is not saved yet, so it has no row to lock")
    return type(what)._base_manager.using(using).filter(pk=what.pk), using


def _check_row_locks(using: str) -> None:
    features = connections[using].features
    if not features.has_select_for_update_skip_locked:
        raise ImproperlyConfigured(
            f'the database "{using}" ({connections[using].display_name}) has no row locks that can be waited for; '
            'lock by the cache: conversation_lock(thread, cache="default")'
        )


def _busy(wait: float) -> str:
    return f"another answer in this conversation has not ended{f' within {wait:g} s' if wait else ''}"


# The cache


class CacheLock:
    """A lock in the cache. See `conversation_lock`.

    ``with lock:`` holds it during the block; `acquire` until `release` is called, from any thread. In coroutines:
    ``async with``, and `aacquire`.

    Attributes:
        key: The key in the cache.
        lost: Whether the cache has forgotten the lock, or given it to another process, while it was held.
    """

    def __init__(self, name: str, *, wait: float, cache: str, ttl: float) -> None:
        if not 2 <= ttl < math.inf:
            raise InvalidInputError(f"ttl is a number of seconds, at least 2, not {ttl!r}")
        self._cache = cache
        self._wait = wait
        self._ttl = math.ceil(ttl)
        self._token: str | None = None
        self._process = 0
        self._valid_until = 0.0
        self._changing = threading.Lock()
        self.key = f"hfclient:lock:{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"
        self.lost = False
        _check_cache(cache)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._token is not None and self._process == os.getpid() and not self.lost

    def acquire(self) -> Self:
        """Acquire the lock and return it.

        Raises:
            ConversationBusy: It is held after the time to wait.
            StoreUnavailable: The cache cannot be reached.
        """
        if self.held:
            raise ConversationBusy("this lock is held already")
        token = secrets.token_hex(16)
        for _ in _pauses(self._wait):
            asked = time.monotonic()
            # DatabaseCache can give an expired key to two processes that ask at once; only one of them then reads its own token.
            if self._call("add", token) and self._call("get") == token:
                self._token, self._process, self.lost = token, os.getpid(), False
                self._valid_until = asked + self._ttl - _ROUNDING
                _renewals.add(self)
                return self
        raise ConversationBusy(_busy(self._wait))

    def release(self) -> None:
        """Release the lock if this process still holds it; idempotent. A cache that cannot be reached forgets it by itself."""
        if self._process != os.getpid():  # a fork: the lock is the parent's
            return
        with self._changing:
            token, self._token = self._token, None
            if token is None:
                return
            _renewals.discard(self)
            if self.lost:
                return
            try:
                # A cache has no "delete if it is mine". With less time left than this may take, the key expires by itself.
                if self._valid_until - time.monotonic() > 0.1 * self._ttl and self._call("get") == token:
                    self._call("delete")
            except StoreUnavailable as error:
                _log.warning("a lock could not be released; it ends within %d s: %s", self._ttl, error)

    def renew(self) -> None:
        """Extend the lock by its time to live; the thread of `_Renewals` calls this."""
        with self._changing:
            if self._token is None or self.lost:
                return
            asked = time.monotonic()
            try:
                if self._valid_until > asked and self._call("get") == self._token and self._call("touch"):
                    self._valid_until = asked + self._ttl - _ROUNDING
                    return
            except StoreUnavailable as error:
                _log.warning("a lock could not be renewed: %s", error)
                if self._valid_until > time.monotonic():
                    return
            self.lost = True
            _renewals.discard(self)
            _log.error("the lock of a conversation was lost: the cache has forgotten it, or the process was stopped for too long")

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    async def aacquire(self) -> Self:
        """Acquire the lock as `acquire` does, without blocking the event loop."""
        await _in_thread(self.acquire)
        return self

    async def __aenter__(self) -> Self:
        return await self.aacquire()

    async def __aexit__(self, *exc_info: object) -> None:
        await _in_thread(self.release)

    def _call(self, method: str, *values: Any) -> Any:
        options = {"timeout": self._ttl} if method in ("add", "touch") else {}

        def call() -> Any:
            return getattr(caches[self._cache], method)(self.key, *values, **options)

        try:
            return _outside_of_transactions(call) if _is_in_transaction(caches[self._cache]) else call()
        except Exception as error:
            raise StoreUnavailable(f'the cache "{self._cache}" cannot be reached ({type(error).__name__})') from error


def _is_in_transaction(cache: Any) -> bool:
    """Whether *cache* is a table, and a transaction of this thread would hide a change of it from other processes until its end."""
    table = getattr(cache, "cache_model_class", None)
    return table is not None and bool(connections[router.db_for_write(table)].in_atomic_block)


def _outside_of_transactions(call: Callable[[], Any]) -> Any:
    """Return what *call* returns in a thread, which has connections of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(without_connections(call)).result()


async def _in_thread(call: Callable[[], Any]) -> Any:
    from asgiref.sync import sync_to_async

    return await sync_to_async(without_connections(call), thread_sensitive=False)()


class _Renewals:
    """Renews the cache locks of this process, in one thread that ends when none is held."""

    def __init__(self) -> None:
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        # Weak: a lock that the application has lost is not renewed, and so ends after its time to live.
        self._locks: weakref.WeakSet[CacheLock] = weakref.WeakSet()
        self._thread: threading.Thread | None = None

    def add(self, lock: CacheLock) -> None:
        with self._changed:
            self._locks.add(lock)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="hfclient-locks", daemon=True)
                self._thread.start()
            self._changed.notify()

    def discard(self, lock: CacheLock) -> None:
        with self._changed:
            self._locks.discard(lock)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                pause = min((lock._ttl for lock in self._locks), default=None)
                if pause is None:
                    self._thread = None
                    return
                self._changed.wait(pause / 4)
                due = [lock for lock in self._locks if lock._valid_until - time.monotonic() < 0.8 * lock._ttl]
            for lock in due:
                lock.renew()
            if due:
                connections.close_all()  # those of this thread: a cache may be a table
            del due[:]


_renewals = _Renewals()


def _check_cache(alias: str) -> None:
    cache: Any = caches[alias]  # an unknown alias raises InvalidCacheBackendError, which names it
    why = next((_UNFIT[cls.__name__] for cls in type(cache).__mro__ if cls.__name__ in _UNFIT), None)
    from django.conf import settings

    if why is not None and not (settings.DEBUG and "own" in why):
        raise ImproperlyConfigured(
            f'the cache "{alias}" ({type(cache).__name__}) cannot lock a conversation: {why}. Use Redis, Memcached or the database '
            "in CACHES, or lock a row of PostgreSQL: conversation_lock(thread)"
        )
