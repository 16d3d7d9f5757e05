"""Deadlines that mean the same on every transport.

A `Clock` belongs to one call, however many requests that takes: it starts once, has the call's `Timeouts` and its
`Cancellation`, and gives the rest of ``Timeouts.total``. A `Deadline` belongs to one request of the call: it gives a
transport the timeout of each read.

A socket timeout alone does not detect a stalled model, because chat-ui writes a keep-alive line every 100 ms. So a
deadline distinguishes content from other bytes. Content is text, reasoning, a tool's call, progress and result, a file,
a source. Keep-alives are not content, and neither is a chunk with nothing but the role.
"""

from __future__ import annotations

import math
import time
from typing import Any

from attrs import Attribute, field, frozen

from hfclient.errors import InvalidInputError, TransportTimeout
from hfclient.transport.cancellation import Cancellation
from hfclient.values import Value

__all__ = ["Clock", "Deadline", "Tick", "Timeouts"]

_MAX_SECONDS = 1e8  # three years; a socket's timeout cannot be infinite


def _positive(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not (isinstance(value, (int, float)) and 0 < value <= _MAX_SECONDS):
        raise InvalidInputError(
            f"Timeouts.{attribute.name} must be a positive number of seconds, or None for no limit, not {value!r}"
        )


@frozen(kw_only=True, eq=False, repr=False)
class Timeouts(Value):
    """How long to wait, in seconds; None waits without limit.

    Attributes:
        connect: For a connection, TLS included.
        first_token: For the first content of a stream, counted from the request. Until then ``idle`` does not apply,
            except for chat-ui, which sends keep-alives: if they stop, the connection is dead.
        next_token: For more content of a stream after the first; keep-alives do not count. Time in which the caller
            does not read is not counted, nor time in which a tool waits for the answer to its question. A tool that
            runs on the server without progress events counts as silence.
        idle: For the next byte of a stream that has begun, keep-alives included; for each byte of a response that is
            not a stream.
        total: For the whole call, retries included.
    """

    connect: float | None = field(default=5.0, validator=_positive)
    first_token: float | None = field(default=120.0, validator=_positive)
    next_token: float | None = field(default=120.0, validator=_positive)
    idle: float | None = field(default=30.0, validator=_positive)
    total: float | None = field(default=None, validator=_positive)


class Clock:
    """The clock of one call, shared by all its requests and pauses.

        clock = session.clock(timeouts)                 # starts now
        for attempt in retrying(session.retry, clock):  # see `retrying`
            with attempt:
                response = session.send(Request.read(url, clock=clock))
        clock.pause(0.5)                                # ends early when the call is cancelled

    Args:
        timeouts: Of the whole call. ``total`` is for all of its requests together, the others are for each.
        cancellation: Ends all waits of the call, from any thread; None creates one.

    Attributes:
        total: Seconds that the call may take, None for no limit. Error messages have this number.
        limit: The name of that limit, for error messages.
    """

    __slots__ = ("_started", "cancellation", "end", "limit", "timeouts", "total")

    def __init__(self, timeouts: Timeouts, cancellation: Cancellation | None = None) -> None:
        self.timeouts = timeouts
        self.cancellation = Cancellation() if cancellation is None else cancellation
        self.total = timeouts.total
        self._started = time.monotonic()
        self.end = None if timeouts.total is None else self._started + timeouts.total
        self.limit = "Timeouts.total"
        scope = self.cancellation.scope
        if scope is not None and scope.end is not None and (self.end is None or scope.end < self.end):
            self.end, self.total, self.limit = scope.end, scope.seconds, scope.name

    def part(self, timeouts: Timeouts) -> Clock:
        """Return the clock of a part of the call, with its own deadlines, within those of the call."""
        part = Clock(timeouts, self.cancellation)
        if self.end is not None and (part.end is None or self.end < part.end):
            part.end, part.total, part.limit = self.end, self.total, self.limit
        return part

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def remaining(self) -> float | None:
        """Return the rest of ``total``, at least 0; None if it is unlimited."""
        return None if self.end is None else max(0.0, self.end - time.monotonic())

    def check(self) -> None:
        """Raise `Cancelled` if the call was cancelled, `TransportTimeout` if ``total`` has passed."""
        self.cancellation.check()
        if self.end is not None and time.monotonic() >= self.end:
            raise self.expired()

    def pause(self, seconds: float) -> None:
        """Wait for *seconds*, but at most until the deadline of the call.

        Raises:
            Cancelled: The call was cancelled before or during the wait.
            TransportTimeout: ``total`` passed before or during the wait.
        """
        self.check()
        left = self.remaining()
        self.cancellation.pause(seconds if left is None else min(seconds, left))
        self.check()

    def expired(self) -> TransportTimeout:
        """Return the error for a call that took longer than ``total``."""
        seconds = self.total or 0.0
        return TransportTimeout(f"no complete answer within {seconds:g} s ({self.limit})", deadline="total", seconds=seconds)


class Tick(Exception):
    """Nothing came in time for the next tick of a stream; the read can be continued."""


class Deadline:
    """The deadlines of one request, started when it is made.

    Args:
        clock: Of the call that the request belongs to.
        stream: Whether the answer is a stream of events.

    Attributes:
        tick: Seconds after which a read of the body raises `Tick`; None for no ticks.
    """

    __slots__ = (
        "_away_at",
        "_cause",
        "_content_at",
        "_counts_bytes",
        "_has_content",
        "_idle",
        "_is_tick",
        "_read_cause",
        "_read_until",
        "_stream",
        "_tick_at",
        "_ticked_at",
        "_total",
        "_total_at",
        "address",
        "clock",
        "tick",
        "timeouts",
    )

    def __init__(self, clock: Clock, *, stream: bool = False) -> None:
        self.clock = clock
        self.timeouts = timeouts = clock.timeouts
        self.address = ""  # host and port, for messages; set by a transport
        self._stream = stream
        self._idle = timeouts.idle
        self._total, self._total_at = clock.total, clock.end
        self._cause = "total"
        first_token = timeouts.first_token
        self._content_at = time.monotonic() + first_token if stream and first_token is not None else None
        self._counts_bytes = not stream
        self._has_content = False
        self._away_at: float | None = None
        self.tick: float | None = None
        self._tick_at: float | None = None
        self._ticked_at = 0.0  # when the last tick was raised
        self._read_until: float | None = None  # the deadline of a read that a tick has interrupted
        self._read_cause = "idle"
        self._is_tick = False  # the last returned timeout is that of a tick

    def count_bytes(self) -> None:
        """Apply ``idle`` from now on: the server sends keep-alives, or the answer is not a stream."""
        self._counts_bytes = True

    def content_arrived(self) -> None:
        """Content came: ``next_token`` begins with the next read."""
        self._content_at = None
        self._has_content = self._counts_bytes = True

    def pause_content(self) -> None:
        """A tool asked a question, and content comes only after the answer: no deadline for content until then."""
        self._content_at = time.monotonic() + _MAX_SECONDS

    def pause(self) -> None:
        """The caller has the content; time until its next read does not count as a wait for content."""
        if self._content_at is not None and self._away_at is None:
            self._away_at = time.monotonic()

    def limit_rest(self, *, idle: float, total: float) -> None:
        """The content is complete: wait at most *idle* seconds for each further byte and *total* for all."""
        end = time.monotonic() + total
        if self._total_at is None or end < self._total_at:
            self._total, self._total_at = total, end
        self._idle = idle
        self._counts_bytes = True
        self._read_until = None

    def connect_wait(self) -> float | None:
        """Return the timeout for connecting."""
        return self._least("connect", self.timeouts.connect)

    def read_wait(self) -> float | None:
        """Return the timeout of the next read; None for no limit.

        Raises:
            TransportTimeout: A deadline has passed.
        """
        if self._content_at is None:
            if self._has_content and self._stream and (next_token := self.timeouts.next_token) is not None:
                self._content_at, self._away_at = time.monotonic() + next_token, None
                if self._total_at is None:  # most reads: after content, without ``total``
                    if self._idle is None or next_token < self._idle:
                        self._cause = "next_token"
                        return next_token
                    self._cause = "idle"
                    return self._idle
        elif self._away_at is not None:
            self._content_at += time.monotonic() - self._away_at
            self._away_at = None
        return self._least("idle", self._idle if self._counts_bytes else None)

    def begin_tick(self, seconds: float | None) -> None:
        """Let the reads from now on raise `Tick` after *seconds* in all; None for no ticks.

        The time since the last tick is the caller's and does not count as silence.
        """
        self.tick = seconds
        self._tick_at = None  # set by the first read, so that its timeout is always the same
        if seconds is None:
            self._read_until = None
        elif self._read_until is not None:
            now = time.monotonic()
            self._read_until, self._ticked_at = self._read_until + now - self._ticked_at, now

    def tick_wait(self, wait: float | None) -> float:
        """Return the timeout of a read with ticks; *wait* is what :meth:`read_wait` has returned.

        A read that a tick interrupted is continued: its deadline stays.

        Raises:
            Tick: It is time for one, although bytes came: keep-alives, say.
            TransportTimeout: A deadline has passed.
        """
        now, tick = time.monotonic(), self.tick or 0.0
        if self._tick_at is None:
            self._tick_at = now + tick
        elif (tick := self._tick_at - now) <= 0:
            raise self._new_tick()
        if self._read_until is None:
            self._read_until, self._read_cause = math.inf if wait is None else now + wait, self._cause
        left = self._read_until - now
        if wait is not None and wait < left:
            left = wait
        else:
            self._cause = self._read_cause
        if left <= 0:
            raise self.expired()
        self._is_tick = tick < left
        return tick if self._is_tick else left

    def bytes_came(self) -> None:
        """A read with ticks has returned bytes."""
        self._read_until = None

    def timed_out(self) -> Exception:
        """Return the error for the last returned timeout: `Tick`, or that of :meth:`expired`."""
        return self._new_tick() if self.tick is not None and self._is_tick else self.expired()

    def _new_tick(self) -> Tick:
        self._ticked_at = time.monotonic()
        return Tick()

    def _least(self, cause: str, wait: float | None) -> float | None:
        if self._content_at is not None or self._total_at is not None:
            now = time.monotonic()
            if self._content_at is not None and (wait is None or self._content_at - now < wait):
                cause, wait = "next_token" if self._has_content else "first_token", self._content_at - now
            if self._total_at is not None and (wait is None or self._total_at - now < wait):
                cause, wait = "total", self._total_at - now
        self._cause = cause
        if wait is not None and wait <= 0:
            raise self.expired()
        return wait

    def expired(self) -> TransportTimeout:
        """Return the error for the last returned timeout, which has passed."""
        seconds = {"idle": self._idle, "total": self._total}.get(self._cause) or getattr(self.timeouts, self._cause) or 0.0
        what = {
            "connect": "no connection",
            "first_token": "no content",
            "next_token": "no more content",
            "idle": "no byte",
            "total": "no complete answer",
        }[self._cause]
        where = f" ({self.address})" if self.address else ""
        limit = self.clock.limit if self._cause == "total" else f"Timeouts.{self._cause}"
        return TransportTimeout(
            f"{what} within {seconds:g} s ({limit}){where}", deadline=self._cause, seconds=seconds
        )
