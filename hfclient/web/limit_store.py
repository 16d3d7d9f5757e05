"""Counters of limits in a store of the library *limits*: memory, Redis, MongoDB.

A window is a fixed span of the clock: a minute begins with the full minute, a day at 00:00 UTC. The number of the window is a part of
the counter's key, so one command counts a request, an answer is corrected in the window that admitted it, and the time of the
next window is known without a question to the store. The store's own expiry removes a counter at most one window after its end.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from hashlib import blake2b
from typing import Any, TypeVar
from urllib.parse import urlsplit

from attrs import frozen

from hfclient.errors import InvalidInputError, MissingDependencyError
from hfclient.web.errors import StoreUnavailable
from hfclient.web.forks import reset_after_fork

__all__ = ["CREDIT", "Counter", "Limit", "LimitStore", "hashed", "parse_limits"]

_log = logging.getLogger("hfclient.web")
_T = TypeVar("_T")

CREDIT = 1_000_000
"""Units of a counter for one credit: stores count whole numbers."""
_PAUSE = 1.0  # seconds without a question to a store that has failed
_MOST_AT_ONCE = 32  # commands, and so connections, of a process
_PATIENCE = 2.0  # seconds for an answer of Redis
_RATE = re.compile(r"\s*(?P<amount>[0-9][0-9_]*(?:\.[0-9]+)?)(?P<rest>\s*/.+|\s+per\s.+)", re.IGNORECASE | re.DOTALL)


@frozen
class Limit:
    """One limit: how much of a quantity a window admits.

    Attributes:
        scope: ``"requests"``, ``"tokens"`` or ``"credits"``.
        per: ``"user"``, ``"key"`` or ``"total"``.
        amount: In units of the counter (for credits: `CREDIT`).
        window: Seconds.
    """

    scope: str
    per: str
    amount: int
    window: int

    @property
    def name(self) -> str:
        """Its name in the header fields, such as ``"requests-user-60"``."""
        return f"{self.scope}-{self.per}-{self.window}"

    def __str__(self) -> str:
        amount = f"{self.amount / CREDIT:g}" if self.scope == "credits" else str(self.amount)
        whose = "in all" if self.per == "total" else f"for each {self.per}"
        return f"{amount} {self.scope} in {self.window} seconds {whose}"


@frozen
class Counter:
    """A limit's counter in one window.

    Attributes:
        limit: The limit.
        owner: Hash of the user or key, or ``""``.
        number: The window's number.
        key: Its key in the store.
    """

    limit: Limit
    owner: str
    number: int
    key: str

    @property
    def end(self) -> float:
        """The time when its window ends, in seconds since the epoch."""
        return float((self.number + 1) * self.limit.window)


def parse_limits(scope: str, per: str, text: str) -> list[Limit]:
    """Return the limits in *text*, such as ``"5/second; 20/minute"``; credits may have a fraction.

    Raises:
        InvalidInputError: The text is not a list of limits.

    Reference: https://limits.readthedocs.io/en/stable/quickstart.html (rate limit string notation)
    """
    library = _library()
    found = []
    for part in re.split(r"[;,|]", text) if isinstance(text, str) else [""]:
        rate = _RATE.fullmatch(part)
        try:
            if rate is None:
                raise ValueError
            item = library.parse(f"1{rate['rest']}")
            amount = float(rate["amount"]) * (CREDIT if scope == "credits" else 1)
            if amount != int(amount) and scope != "credits":
                raise ValueError
            window = int(item.get_expiry())
        except ValueError:
            raise InvalidInputError(
                f'{scope}={text!r} ({per}) is not a limit: write an amount and a time, such as "20/minute", "1000 per 12 hours" '
                'or "5/second; 200/hour"'
            ) from None
        if amount < 1 or amount > 2**53:
            raise InvalidInputError(f"{scope}={text!r} ({per}): the amount is out of range")
        found.append(Limit(scope, per, int(amount), window))
    return found


def hashed(owner: object) -> str:
    """Return a short key for the name of a user: of one length, without special characters and personal data."""
    return blake2b(str(owner).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class LimitStore:
    """Counters by key. Opened at the first use; threads share it, and a forked child may use it.

    Args:
        url: ``"memory://"``, ``"redis://..."``, or another URL that *limits* knows.
        prefix: The first part of all keys.

    Raises:
        InvalidInputError: The URL is not one of a store that can count down.
        MissingDependencyError: The package limits, or redis, is not installed.
    """

    def __init__(self, url: str, *, prefix: str) -> None:
        library = _library()
        self.scheme = urlsplit(url).scheme if isinstance(url, str) else ""
        schemes = [name for name in library.storage.SCHEMES if not name.startswith(("async+", "memcached"))]
        if self.scheme not in schemes:
            # The URL may have a password, so it is not shown.
            raise InvalidInputError(
                f"the store of the limits is a URL such as memory:// or redis://localhost:6379/1; {self.scheme!r} is not one of "
                f"the schemes {', '.join(schemes)}"
            )
        self._url = url
        self._prefix = prefix
        self._options = self._redis_options() if self.scheme.startswith("redis") else {}
        self._storage: Any = None
        self._reset()
        reset_after_fork(self._reset)
        self._down_until = -math.inf
        self.is_down = False

    def _reset(self) -> None:
        self._opening = threading.Lock()
        # Counters of limits.storage.MemoryStorage are read after their lock is released.
        self._counting: Any = threading.Lock() if self.scheme == "memory" else nullcontext()
        # redis-py refuses more than 100 connections at a time by default, and that would look like a store that is down.
        self._slots = threading.BoundedSemaphore(_MOST_AT_ONCE)

    def counter(self, limit: Limit, owner: str, now: float) -> Counter:
        """Return the counter of *limit* for *owner* at the time *now*."""
        number = int(now // limit.window)
        parts = (self._prefix, limit.per, owner, limit.scope, str(limit.window), str(number))
        return Counter(limit, owner, number, "/".join(part for part in parts if part))

    def add(self, counter: Counter, amount: int) -> int:
        """Add *amount*, which may be negative, and return the sum."""

        def run(storage: Any) -> int:
            with self._counting:
                total = int(storage.incr(counter.key, counter.limit.window, amount=amount))
                if total < 0:  # the store has lost the counter meanwhile
                    total = int(storage.incr(counter.key, counter.limit.window, amount=-total))
                return total

        return self._ask(run)

    def read(self, counter: Counter) -> int:
        """Return the sum."""
        return self._ask(lambda storage: int(storage.get(counter.key)))

    def clear(self, counters: Iterable[Counter]) -> None:
        """Set the counters to zero."""
        for counter in counters:
            self._ask(lambda storage, key=counter.key: storage.clear(key))  # type: ignore[misc]

    def _ask(self, run: Callable[[Any], _T]) -> _T:
        with self._slots:
            return self._answer(run)

    def _answer(self, run: Callable[[Any], _T]) -> _T:
        if time.monotonic() < self._down_until:
            raise StoreUnavailable("the store of the limits did not answer a moment ago")
        try:
            found = run(self._storage or self._open())
        except MissingDependencyError:
            raise
        except Exception as exc:  # each store has its own classes of errors
            self._down_until = time.monotonic() + _PAUSE
            if not self.is_down:
                self.is_down = True
                _log.warning("the store of the limits (%s) does not answer: %s", self.scheme, type(exc).__name__)
            # The text of the store's error may have its address and password.
            raise StoreUnavailable("the store of the limits cannot be reached") from exc
        if self.is_down:
            self.is_down = False
            _log.warning("the store of the limits (%s) answers again", self.scheme)
        return found

    def _open(self) -> Any:
        with self._opening:
            if self._storage is None:
                library = _library()
                try:
                    self._storage = library.storage.storage_from_string(self._url, **self._options)
                except library.errors.ConfigurationError as exc:
                    raise MissingDependencyError(
                        f"the store {self.scheme}:// of the limits needs a package that is not installed: {exc}"
                    ) from exc
            return self._storage

    def _redis_options(self) -> dict[str, Any]:
        try:
            import redis.exceptions
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as exc:
            raise MissingDependencyError("limits in Redis need the package redis: pip install 'hfclient[redis]'") from exc
        options: dict[str, Any] = {"socket_timeout": _PATIENCE, "socket_connect_timeout": _PATIENCE}
        if self.scheme in ("redis", "rediss", "redis+unix"):
            # An idle connection may have been closed by a restart. A command that got no answer may have counted already.
            options["retry"] = Retry(NoBackoff(), 1, supported_errors=(redis.exceptions.ConnectionError,))
        return options


def _library() -> Any:
    try:
        import limits
        import limits.errors
        import limits.storage
    except ImportError as exc:
        raise MissingDependencyError("limits and budgets need the package limits: pip install 'hfclient[web]'") from exc
    return limits
