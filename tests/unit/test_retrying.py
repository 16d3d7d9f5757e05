"""The loop of all retries and polls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hfclient.errors import APIStatusError, Cancelled, ConnectError, HFClientError, TransportTimeout
from hfclient.transport import Clock, Polling, Retry, Timeouts, retrying
from hfclient.transport import retry as module
from hfclient.transport.retry import Schedule
from tests.clock import FakeTime

NO_WAIT = Retry(backoff=0)


class _Pauses:
    """A schedule that records its calls."""

    def __init__(self, *waits: float | None) -> None:
        self._waits = iter(waits)
        self.asked: list[tuple[int, HFClientError | None]] = []

    def wait_before(self, attempt: int, error: HFClientError | None) -> float | None:
        self.asked.append((attempt, error))
        return next(self._waits)


def _clock(total: float | None = None) -> FakeTime:
    return Clock(Timeouts(total=total))


def test_the_first_success_ends_it() -> None:
    """A failure is retried, and the loop ends with the first body that raises nothing."""
    numbers = []
    for attempt in retrying(NO_WAIT, _clock()):
        with attempt:
            numbers.append(attempt.number)
            if attempt.number < 3:
                raise ConnectError("x")
    assert numbers == [1, 2, 3]


def _fail(error: BaseException, schedule: Schedule = NO_WAIT, clock: FakeTime | None = None, **options: Any) -> None:
    for attempt in retrying(schedule, clock or _clock(), **options):
        with attempt:
            raise error


def test_the_last_error_is_raised() -> None:
    """If the schedule gives up, or the error is not retried, that error is raised."""
    schedule = _Pauses(0.0, 0.0, None)
    with pytest.raises(ConnectError, match="x"):
        _fail(ConnectError("x"), schedule)
    assert [number for number, _ in schedule.asked] == [2, 3, 4]
    schedule = _Pauses()
    with pytest.raises(APIStatusError, match="no"):
        _fail(APIStatusError("no", status_code=503), schedule, on=lambda error: not isinstance(error, APIStatusError))
    assert schedule.asked == []


def test_others_pass() -> None:
    """Foreign exceptions, Ctrl-C and Cancelled are never retried."""
    for error in (ZeroDivisionError(), KeyboardInterrupt(), Cancelled()):
        schedule = _Pauses()
        with pytest.raises(type(error)):
            _fail(error, schedule)
        assert schedule.asked == []


def test_no_wait_beyond_the_end(clock: FakeTime) -> None:
    """An error is raised at once if the next try would be too late."""
    with pytest.raises(ConnectError):
        _fail(ConnectError("x"), _Pauses(5.0), _clock(total=5))


def test_polling() -> None:
    """`again` polls once more, after the schedule's pause or a longer one; the loop ends if the schedule gives up."""
    schedule = _Pauses(0.0, 0.0, None)
    waits = []
    for attempt in retrying(schedule, _clock()):
        with attempt:
            attempt.again(at_least=0.001 * attempt.number)
        waits.append(attempt.wait)
    assert waits == [0.001, 0.002, None]
    assert schedule.asked == [(2, None), (3, None), (4, None)]


def test_polling_ends_with_the_call(clock: FakeTime) -> None:
    """When the time is over, the error has the call's own seconds."""

    def poll() -> None:
        for attempt in retrying(Polling(0, max_wait=0), _clock(total=5)):
            with attempt:
                clock.advance(2)
                attempt.again()

    with pytest.raises(TransportTimeout, match="within 5 s"):
        poll()


def test_progress_restarts_the_count() -> None:
    """After progress the next failure counts as the first one."""
    schedule = _Pauses(0.0, 0.0, None)

    def run() -> None:
        for attempt in retrying(schedule, _clock()):
            with attempt:
                if len(schedule.asked) == 1:
                    attempt.restart()
                raise ConnectError("x")

    with pytest.raises(ConnectError):
        run()
    assert [number for number, _ in schedule.asked] == [2, 2, 3]


def test_inside_a_generator() -> None:
    """A generator may yield from an attempt; closing it there is not a failure."""

    def pieces() -> Iterator[int]:
        for attempt in retrying(NO_WAIT, _clock()):
            with attempt:
                yield attempt.number
                if attempt.number == 1:
                    raise ConnectError("x")

    assert list(pieces()) == [1, 2]
    left = pieces()
    next(left)
    left.close()


def test_pauses_of_polling(clock: FakeTime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses grow to the maximum; after *patience* without progress, but not before a number of polls, the schedule gives up."""
    monkeypatch.setattr(module, "time", clock)
    polling = Polling(0.5, growth=2, max_wait=3, patience=10, at_least=3)
    assert [polling.wait_before(number, None) for number in (2, 3, 4, 5, 5000)] == [0.5, 1, 2, 3, 3]
    clock.advance(11)
    assert polling.wait_before(3, ConnectError("x")) == 1
    assert polling.wait_before(4, ConnectError("x")) is None
    assert polling.wait_before(2, None) == 0.5
    clock.advance(9)
    assert polling.wait_before(4, None) == 2
    assert Polling(1, max_wait=1).wait_before(10**6, ConnectError("x")) == 1
    assert Polling(1, max_wait=1, errors=False).wait_before(2, ConnectError("x")) is None
