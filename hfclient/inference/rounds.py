"""Calls that take several requests: they share one total deadline, and one word from another thread ends them all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from attrs import evolve

from hfclient.errors import HFClientError, TransportTimeout
from hfclient.stream import Stream
from hfclient.transport import Cancellation, Timeouts

__all__ = ["Ask", "RoundClock"]

# That of the call whose next request is being sent in this thread. Not an argument, because who asks may be a wrapper of
# somebody's around `chat`, and passes on what `chat` has.
_CALL: ContextVar[Cancellation | None] = ContextVar("hfclient_call", default=None)


class Ask(Protocol):
    """`InferenceClient.chat`, as far as calls of several requests need it."""

    def __call__(self, prompt: Any, **options: Any) -> Stream: ...


class RoundClock:
    """Deals out the deadlines of one call's requests: ``total`` is for all of them together, the others for each.

    Args:
        timeouts: Of the whole call. The clock starts now.

    Attributes:
        cancellation: Ends whatever one of the requests waits for, from any thread. A call that is one of another call's
            rounds shares that one's.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self.cancellation = _CALL.get() or Cancellation()
        self._timeouts = timeouts
        self._end = None if timeouts.total is None else time.monotonic() + timeouts.total

    def remaining(self) -> float | None:
        """Return the seconds left, never below zero; None if there is no end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def next_timeouts(self) -> Timeouts:
        """Return the deadlines of the next request.

        Raises:
            TransportTimeout: There is no time left for one.
        """
        left = self.remaining()
        if left is None:
            return self._timeouts
        if left <= 0:
            raise self.expired()
        return evolve(self._timeouts, total=left)

    @contextmanager
    def round(self) -> Iterator[Timeouts]:
        """While this lasts, requests belong to the call; gives the deadlines of the next one.

        Raises:
            TransportTimeout: There is no time left for one.
            Cancelled: The call was cancelled.
        """
        self.cancellation.check()
        before = _CALL.set(self.cancellation)
        try:
            yield self.next_timeouts()
        finally:
            _CALL.reset(before)

    def expired(self) -> TransportTimeout:
        """Return the error for a call that took too long."""
        seconds = self._timeouts.total or 0.0
        return TransportTimeout(_no_answer(seconds), deadline="total", seconds=seconds)

    def restate(self, error: HFClientError) -> None:
        """Let the error of one request, which had what was left of the call's ``total``, speak of all of it."""
        if isinstance(error, TransportTimeout) and error.deadline == "total":
            seconds = self._timeouts.total or 0.0
            error.message = error.message.replace(_no_answer(error.seconds), _no_answer(seconds))
            error.seconds, error.args = seconds, (error.message,)


def _no_answer(seconds: float | None) -> str:
    return f"no complete answer within {seconds or 0.0:g} s (Timeouts.total)"  # as `Deadline.expired` says it
