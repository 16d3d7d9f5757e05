"""Retries: `Retry` has the schedule, and :func:`retrying` is the loop of every retried request and every poll."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from attrs import Attribute, field, frozen

from hfclient.errors import APIStatusError, Cancelled, ConnectError, HFClientError, InvalidInputError, TransportTimeout
from hfclient.transport.deadline import Clock
from hfclient.values import Value

__all__ = ["ONCE", "Attempt", "Polling", "Retry", "Schedule", "retrying"]

_log = logging.getLogger("hfclient")


def _not_negative(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if value is None and attribute.name == "resume":
        return
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and value >= 0):
        raise InvalidInputError(f"Retry.{attribute.name} must not be negative: {value!r}")


def _statuses(value: Iterable[int]) -> frozenset[int]:
    found = frozenset(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else None
    if found is None or not all(isinstance(status, int) for status in found):
        raise InvalidInputError(f"Retry.statuses are several HTTP status codes, such as {{429, 503}}, not {value!r}")
    return found


class Schedule(Protocol):
    """How long to wait between attempts."""

    def wait_before(self, attempt: int, error: HFClientError | None) -> float | None:
        """Return the seconds to wait before attempt number *attempt* (2 is the first retry); None to give up.

        Args:
            attempt: Counted since the start, or since :meth:`Attempt.restart`.
            error: The error of the previous attempt; None after :meth:`Attempt.again`.
        """


@frozen(kw_only=True, eq=False, repr=False)
class Retry(Value):
    """When and how often a request is retried.

    Reads are retried, and inference before its first token. All other requests, such as a chat message, are retried
    only if the server cannot have received them.

    Attributes:
        attempts: Maximum number of attempts; 1 disables retries.
        backoff: Seconds before the second attempt; doubled for each further one, with jitter of up to half.
        max_wait: Maximum seconds of one wait. If a server asks for a longer one, its error is raised.
        statuses: Status codes that are retried, besides failed connections.
        resume: Seconds without progress after which a chat gives up resuming a broken stream, or looking for a message
            whose connection broke while it was being sent. At least two attempts are made. None never gives up;
            ``Timeouts.total`` may end it earlier.
    """

    attempts: int = field(default=3, validator=_not_negative)
    backoff: float = field(default=0.5, validator=_not_negative)
    max_wait: float = field(default=30.0, validator=_not_negative)
    statuses: frozenset[int] = field(default=frozenset({408, 429, 502, 503, 504}), converter=_statuses)
    resume: float | None = field(default=20.0, validator=_not_negative)

    def wait_before(self, attempt: int, error: HFClientError | None) -> float | None:
        """Return the seconds to wait before attempt number *attempt* (2 is the first retry); None to give up."""
        if attempt > self.attempts:
            return None
        if isinstance(error, APIStatusError):
            if error.status_code not in self.statuses:
                return None
            if error.retry_after is not None:
                return error.retry_after if error.retry_after <= self.max_wait else None
        elif isinstance(error, TransportTimeout):
            if error.deadline != "connect":
                return None
        elif not isinstance(error, ConnectError):
            return None
        wait = min(self.max_wait, self.backoff * 2.0 ** min(attempt - 2, 64))
        import random  # most calls need no retry

        return wait * (0.5 + random.random() / 2)  # noqa: S311 (jitter, not a secret)


ONCE = Retry(attempts=1)
"""For requests that the caller retries in its own loop."""


class Polling:
    """Growing pauses, for a loop that polls.

    Args:
        first: Seconds before the second poll.
        growth: Factor for each further pause.
        max_wait: Most seconds of one pause.
        patience: Seconds after which to give up, counted from the first poll without news; None never.
        at_least: Minimum number of polls.
        errors: Whether a failed poll is retried, too; otherwise its error is raised.
    """

    def __init__(
        self,
        first: float,
        *,
        growth: float = 2.0,
        max_wait: float,
        patience: float | None = None,
        at_least: int = 2,
        errors: bool = True,
    ) -> None:
        self._first = first
        self._growth = growth
        self._max_wait = max_wait
        self._patience = math.inf if patience is None else patience
        self._at_least = at_least
        self._errors = errors
        self._since = 0.0

    def wait_before(self, attempt: int, error: HFClientError | None) -> float | None:
        """Return the seconds to wait before poll number *attempt*; None to give up."""
        if error is not None and not self._errors:
            return None
        now = time.monotonic()
        if attempt <= 2:
            self._since = now
        if attempt > self._at_least and now - self._since >= self._patience:
            return None
        return min(self._max_wait, self._first * self._growth ** min(attempt - 2, 64))


class Attempt:
    """One attempt of a loop, as a context manager; see :func:`retrying`.

    Attributes:
        number: 1 for the first attempt.
        wait: Seconds until the next one; None if this one succeeded, or its error is raised.
    """

    __slots__ = ("_wait_before", "number", "wait")

    def __init__(self, number: int, wait_before: Callable[[int, HFClientError | None], float | None]) -> None:
        self.number = number
        self.wait: float | None = None
        self._wait_before = wait_before

    def again(self, *, at_least: float = 0.0) -> None:
        """Poll again after a pause of *at_least* so many seconds: the result is not there yet."""
        wait = self._wait_before(self.number + 1, None)
        self.wait = None if wait is None else max(wait, at_least)

    def restart(self) -> None:
        """Progress was made: count attempts, pauses and patience from here."""
        self.number = 1

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if error is None:
            return False
        self.wait = None
        if isinstance(error, HFClientError) and not isinstance(error, Cancelled):
            self.wait = self._wait_before(self.number + 1, error)
        return self.wait is not None


def retrying(
    schedule: Schedule, clock: Clock, *, on: Callable[[HFClientError], bool] | None = None, what: object = "a call"
) -> Iterator[Attempt]:
    """Yield attempts until one succeeds. An error that is not retryable, or the last one, is raised unchanged.

        for attempt in retrying(session.retry, clock):
            with attempt:
                response = session.send(request)
        return response

    Polling is the same loop: an attempt without a result yet calls :meth:`Attempt.again`.

        for attempt in retrying(Polling(0.5, growth=1.3, max_wait=5.0), clock):
            with attempt:
                state = look()
                if state != "done":
                    attempt.again()

    An attempt also ends the loop without a ``return`` or ``break`` in its body. Pauses are made between the attempts, so a
    generator can yield from inside one.

    Args:
        schedule: `Retry`, `Polling`, or another schedule.
        clock: Of the call. If no time is left for the next attempt, the error is raised; polling continues until the
            deadline.
        on: Whether *error* is retryable; None lets the schedule decide for every `HFClientError` but `Cancelled`.
        what: The operation, for the log.

    Raises:
        Cancelled: The call was cancelled during a pause.
        TransportTimeout: ``Timeouts.total`` passed during a pause between two polls.
    """

    def wait_before(attempt: int, error: HFClientError | None) -> float | None:
        if error is not None and on is not None and not on(error):
            return None
        wait = schedule.wait_before(attempt, error)
        if error is None or wait is None:
            return wait
        left = clock.remaining()
        if wait and left is not None and wait >= left:
            return None
        _log.info("%s: %s; again in %.2f s", what, error.message, wait)
        return wait

    number = 1
    while True:
        attempt = Attempt(number, wait_before)
        yield attempt
        if attempt.wait is None:
            return
        clock.pause(attempt.wait)
        number = attempt.number + 1
