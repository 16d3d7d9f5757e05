"""`Lane`: how many requests one server takes at a time and how fast, as its answers show.

It begins with a few requests and doubles them in each round, as TCP does, so that a server with a limit does not get 64 at once. While
answers take long and nothing was refused, it doubles them each quarter of a second: a refusal comes at once, an answer does not. Then there are two kinds of limits, and what a refusal looks like tells which one it is:

- A 429 with a time to wait (``Retry-After``, ``RateLimit``) is a limit of requests in a window. All requests of the lane wait
  until then. What was answered between two refusals, divided by that time with its wait, is the rate that the server allows; from
  then on requests start evenly at nine tenths of it.
- 503, and 429 without a time, are a server that is busy. If one request in seven is refused so, a tenth fewer run at a time; if none
  is answered, after a pause that grows.

Both values come back to where they were refused in 30 seconds, stay near it, and then grow faster and faster, as TCP CUBIC's window:
so a limit is tested about once a minute, and one that was lifted is found within two minutes. The time that an answer takes is
not a sign: it depends on the answer's length, and servers with continuous batching answer each request later but all of them sooner.

Failures of the connection and of the server, several in a row without a success between them, are an outage. One request at a time
then looks whether the server is back, with growing pauses.

Reference: RFC 5681 (slow start, multiplicative decrease); RFC 9438 (CUBIC)
"""

from __future__ import annotations

import collections
import math
import random
from collections.abc import Callable

__all__ = ["Lane"]

_FIRST = 4.0  # requests at a time in the first round
_DOUBLED = 0.25  # seconds in which they double, also without an answer
_RETURN = 30.0  # seconds until a value is again what it was at the refusal
_KEPT = 0.9  # of a value after a refusal
_EARLY_KEPT = 0.85  # of a known rate that is refused at once
_GATHERED = 10.0  # seconds of answers that tell the present rate
_ENOUGH = 2.0  # seconds of answers without which they do not
_FASTER = 0.1  # of the first rate, in a second, until that is refused
_SLACK = 0.02  # seconds that a start may come late without the next one being later, too: timers are not exact
_FIRST_PAUSE, _MAX_PAUSE = 0.02, 60.0  # seconds, after a refusal without a time
_SPREAD = 0.1  # of a pause, and at most _MAX_SPREAD seconds: so that several processes do not come back at the same moment
_MAX_SPREAD = 5.0
_OUTAGE = 5  # failures in a row
_FIRST_PROBE, _MAX_PROBE = 1.0, 30.0  # seconds between two attempts in an outage
_NOISE = 0.15  # a smaller part of refused requests, without a time to wait, is not a limit
_SMOOTHED = 32  # requests, of that part
_PATIENCE, _FIRST_PATIENCE = 600.0, 60.0  # seconds without an answer, and without the first one
_SMALL = 2.0  # requests at a time: if so few are refused, the limit is one of a rate


class _Ceiling:
    """A value that was too large at *best*: from a part of that it grows back, slowly near *best*, then faster and faster.

    Args:
        best: The value that was refused.
        since: When it begins to grow.
        is_first: It is a first guess, which grows evenly.
    """

    def __init__(self, best: float, since: float, *, is_first: bool = False) -> None:
        self.best = best
        self._since = since
        self._scale = _RETURN / math.pow(1.0 - _KEPT, 1 / 3)
        self._is_first = is_first

    def at(self, now: float) -> float:
        since = max(0.0, now - self._since)
        if self._is_first:
            return self.best * (1.0 + _FASTER * since)
        after = (since - _RETURN) / self._scale
        return self.best * (1.0 + after * after * after)


class _Answers:
    """How many answers came in the last seconds."""

    def __init__(self) -> None:
        self.count = 0
        self._marks: collections.deque[tuple[float, int]] = collections.deque()

    def add(self, now: float) -> None:
        marks = self._marks
        if not marks or now - marks[-1][0] >= _GATHERED / 16:
            marks.append((now, self.count))
            if now - marks[0][0] > _GATHERED:
                marks.popleft()
        self.count += 1

    def rate(self, now: float, since: float) -> float | None:
        """Return the answers in a second, of those that came after *since*; None if that time is too short."""
        mark = next((mark for mark in self._marks if mark[0] >= since), None)
        if mark is None or now - mark[0] < _ENOUGH:
            return None
        return (self.count - mark[1]) / (now - mark[0])


class Lane:
    """One server, as the pace knows it. Its methods are called under the lock of the pace, with the time of its clock.

    Args:
        most: Most requests at a time.
        draw: Returns a random number from 0 to 1, for jitter.
        patience: Seconds for which a server that does not answer is asked again; see `Pace`.

    Attributes:
        running: Requests at this time.
        refused: Refusals for a limit so far.
        held_until: No request starts before.
        failing_since: When the present failures began, without the times that the server asked to wait; None after a success.
        is_out: Whether there is an outage.
    """

    def __init__(self, most: int, draw: Callable[[], float] = random.random, patience: float | None = None) -> None:
        self.most = most
        self.running = 0
        self.refused = 0
        self.held_until = -math.inf
        self.failing_since: float | None = None
        self.is_out = False
        self._draw = draw
        self._patience = patience
        self._has_succeeded = False
        self._window = min(_FIRST, float(most))
        self._window_limit: _Ceiling | None = None
        self._rate_limit: _Ceiling | None = None
        self._next = -math.inf  # start of the next request, at the known rate
        self._began: float | None = None  # the first request
        self._grows_from: float | None = None  # the first request after the start, or after an outage, until there is a refusal
        self._event = -math.inf  # the last refusal that counted: requests that began before it tell nothing new
        self._answers = _Answers()
        self._answers_before = 0  # the last refusal
        self._pauses = 0  # without a success
        self._failures = 0  # in a row
        self._seconds = _FIRST_PAUSE  # that an answer takes, smoothed
        self._refused = 0.0  # the part of requests that is refused, smoothed

    def admit(self, now: float) -> float | None:
        """Return 0 if a request may start now, the seconds until one may, or None if one has to end before."""
        if now < self.held_until:
            return self.held_until - now
        if self.running >= (1 if self.is_out else int(self.window(now))):
            return self._until_doubled(now)
        return max(0.0, self._next - now)

    def start(self, now: float) -> None:
        """Count the start of a request."""
        self.running += 1
        if self._began is None:
            self._began = now
        if self._grows_from is None and not self.is_limited:
            self._grows_from = now
        if self._rate_limit is not None:
            self._next = max(self._next, now - _SLACK) + 1.0 / self._rate_limit.at(now)

    def window(self, now: float) -> float:
        """Return how many requests may run at a time."""
        if self._window_limit is not None:
            return min(float(self.most), max(1.0, self._window_limit.at(now)))
        if self._grows_from is not None:
            return min(float(self.most), max(self._window, _FIRST * math.pow(2.0, min(32.0, (now - self._grows_from) / _DOUBLED))))
        return self._window

    def _until_doubled(self, now: float) -> float | None:
        """Return the seconds until one more request may run while nothing was refused; None if only an end admits one."""
        if self._grows_from is None or self.is_limited or self.running >= self.most:
            return None
        return max(0.001, self._grows_from + _DOUBLED * math.log2((self.running + 1) / _FIRST) - now)

    def rate(self, now: float) -> float | None:
        """Return how many requests may start in a second; None if no limit is known."""
        return None if self._rate_limit is None else self._rate_limit.at(now)

    @property
    def is_limited(self) -> bool:
        """Whether the server has refused, or is out: more requests than now would not be answered."""
        return self.refused > 0 or self.is_out

    @property
    def patience(self) -> float:
        """Seconds of failures after which the server is not asked any more."""
        if self._patience is not None:
            return self._patience
        return _PATIENCE if self._has_succeeded else _FIRST_PATIENCE

    def left(self, now: float) -> None:
        """A request ended without an answer that tells anything about the server."""
        self.running -= 1

    def succeeded(self, began: float, now: float) -> None:
        """A request was answered."""
        self.running -= 1
        self._has_succeeded = True
        self._answers.add(now)
        self._seconds += 0.1 * (now - began - self._seconds)
        self._refused -= self._refused / _SMOOTHED
        self._pauses = 0
        self._is_there()

    def answered(self, now: float) -> None:
        """A request was refused for a reason of its own: the server is there."""
        self.running -= 1
        self._is_there()

    def _is_there(self) -> None:
        self._failures = 0
        self.failing_since = None
        if self.is_out:
            self.is_out = False
            self._pauses = 0
            self._window = min(_FIRST, float(self.most))  # the server has just begun
            self._grows_from = None
            self._window_limit = None
        elif self._window_limit is None:
            self._window = min(float(self.most), self._window + 1.0)

    def limited(self, began: float, now: float, told: float | None, *, is_busy: bool) -> None:
        """The server refused a request for its limits.

        Args:
            began: When it started.
            told: The seconds that the server asks to wait.
            is_busy: Whether that says that the server is busy (503), not that the client was too fast.
        """
        at_a_time = self.running
        self.running -= 1
        self.refused += 1
        was_growing, self._grows_from = self._grows_from is not None, None
        self._failures = 0
        self.is_out = False
        if self.failing_since is None:
            self.failing_since = now
        self._refused += (1.0 - self._refused) / _SMOOTHED
        is_new = began >= self._event
        before = self.held_until
        had_answers = self._answers.count > self._answers_before or now - self._event <= 2.0 * self._seconds
        if told is not None:
            end = now + told + self._spread(told)
            self.failing_since += max(0.0, end - max(now, before))
            self.held_until = max(before, end)
        elif is_new and not (self.running and had_answers):
            pause = max(_FIRST_PAUSE, min(1.0, self._seconds)) * 2.0 ** min(self._pauses, 32)
            self._pauses += 1
            self._pause(now, self.failing_since, min(_MAX_PAUSE, pause))
        if not is_new:
            if told is None and self._window_limit is not None:  # one more of a round that had too many
                self._window_limit.best = max(1.0, self._window_limit.best - 1.0)
            return
        if told is not None and not is_busy:
            self._learn_rate(now, told, before)
        elif self._refused < _NOISE and had_answers:
            self._next = max(self._next, now + self._seconds / self.window(now))  # when an answer is due
            return
        elif self.window(now) >= _SMALL:
            best = max(1.0, at_a_time - 1.0) if had_answers or was_growing else self.window(now) / 2.0
            self._window_limit = _Ceiling(best, max(now, self.held_until))
        elif had_answers:
            self._learn_rate(now, 0.0, before)
        self._refused = 0.0
        self._event = now
        self._answers_before = self._answers.count
        self._next = max(self._next, self.held_until)

    def _learn_rate(self, now: float, told: float, before: float) -> None:
        """Set the rate by what was answered before a refusal at *now*; the lane was held until *before*."""
        known = self._rate_limit
        if known is None:
            since = self._event if self._event > 0 else self._began
            count = self._answers.count - self._answers_before
            if count and since is not None and (told or self._event > 0):
                self._rate_limit = _Ceiling(count / max(_FIRST_PAUSE, now + told - since), max(now, self.held_until), is_first=True)
            return
        recent = self._answers.rate(now, before)
        if recent is None:
            best = max(known.best * _EARLY_KEPT, self._answers.rate(now, -math.inf) or 0.0)
        else:
            best = (recent + known.at(now)) / 2
        self._rate_limit = _Ceiling(min(best, known.at(now)), max(now, self.held_until))

    def failed(self, now: float) -> None:
        """The connection or the server failed."""
        self.running -= 1
        self._grows_from = None
        self._failures += 1
        if self.failing_since is None:
            self.failing_since = now
        if self._failures >= _OUTAGE:
            if not self.is_out:
                self.is_out = True
                self._pauses = 0
            elif self.running:  # begun before the outage
                return
            self._pause(now, self.failing_since, min(_MAX_PROBE, _FIRST_PROBE * 2.0 ** min(self._pauses, 32)))
            self._pauses += 1

    def hold(self, now: float, wait: float) -> None:
        """No request starts for *wait* seconds: a successful answer says that nothing is left, or the caller's own limit does."""
        self.held_until = max(self.held_until, now + wait + self._spread(wait))

    def _pause(self, now: float, since: float, seconds: float) -> None:
        """No request starts for about *seconds*; but one does at the end of the patience with failures since *since*, to look once more."""
        end = min(now + seconds * (0.5 + self._draw() / 2), since + self.patience)
        self.held_until = max(self.held_until, end)

    def _spread(self, wait: float) -> float:
        return self._draw() * min(_MAX_SPREAD, _SPREAD * wait)
