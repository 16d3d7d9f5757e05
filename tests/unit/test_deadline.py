"""Five deadlines; an error names the one that passed."""

from __future__ import annotations

import math
import pickle
import time

import pytest

from hfclient.errors import Cancelled, InvalidInputError, TransportTimeout
from hfclient.transport import Clock, Deadline, Timeouts
from tests.clock import FakeTime


def _rings(deadline: Deadline, cause: str) -> None:
    with pytest.raises(TransportTimeout) as caught:
        deadline.read_wait()
    assert caught.value.deadline == cause


def test_defaults_are_finite() -> None:
    """A call without any settings ends."""
    assert Timeouts() == Timeouts(connect=5.0, first_token=120.0, next_token=120.0, idle=30.0, total=None)


@pytest.mark.parametrize("name", ["connect", "first_token", "next_token", "idle", "total"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, -math.inf, "5", [], 1e300])
def test_invalid_values(name: str, value: object) -> None:
    """Only positive, finite numbers of seconds are valid; None means no limit."""
    with pytest.raises(InvalidInputError, match=f"Timeouts.{name}"):
        Timeouts(**{name: value})
    assert getattr(Timeouts(**{name: None}), name) is None
    assert getattr(Timeouts(**{name: 1}), name) == 1


def test_timeouts_are_values() -> None:
    """Equal by value, hashable, picklable."""
    assert Timeouts(idle=1) == Timeouts(idle=1.0)
    assert len({Timeouts(), Timeouts()}) == 1
    assert pickle.loads(pickle.dumps(Timeouts(total=3))) == Timeouts(total=3)


def test_an_answer_that_is_not_a_stream(clock: FakeTime) -> None:
    """Each byte has ``idle``, and ``first_token`` does not apply."""
    deadline = Deadline(Clock(Timeouts(idle=30, first_token=1)))
    clock.advance(100)
    assert deadline.read_wait() == 30
    deadline.content_arrived()
    assert deadline.read_wait() == 30
    error = deadline.expired()
    assert (error.deadline, error.seconds) == ("idle", 30)
    assert str(error) == "no byte within 30 s (Timeouts.idle)"


def test_a_stream(clock: FakeTime) -> None:
    """A stream has ``first_token`` for its first content, and then ``idle`` for each byte."""
    deadline = Deadline(Clock(Timeouts(idle=30, first_token=120)), stream=True)
    assert deadline.read_wait() == 120
    clock.advance(20)
    assert deadline.read_wait() == 100
    deadline.count_bytes()
    assert deadline.read_wait() == 30
    clock.advance(95)
    assert deadline.read_wait() == 5
    assert deadline.expired().deadline == "first_token"
    clock.advance(5)
    _rings(deadline, "first_token")
    deadline.content_arrived()
    assert deadline.read_wait() == 30


def test_more_content(clock: FakeTime) -> None:
    """``next_token`` begins with the first read after content, and keep-alives do not extend it."""
    deadline = Deadline(Clock(Timeouts(idle=None, first_token=10, next_token=5)), stream=True)
    deadline.content_arrived()
    clock.advance(60)  # the caller processes the content
    assert deadline.read_wait() == 5
    clock.advance(4)
    assert deadline.read_wait() == 1
    deadline.content_arrived()
    assert deadline.read_wait() == 5
    clock.advance(5)
    _rings(deadline, "next_token")
    assert str(deadline.expired()) == "no more content within 5 s (Timeouts.next_token)"


def test_the_earlier_of_both(clock: FakeTime) -> None:
    """After content, ``idle`` applies to a server without keep-alives, and ``next_token`` to one with them."""
    deadline = Deadline(Clock(Timeouts(idle=3, next_token=5)), stream=True)
    deadline.content_arrived()
    assert (deadline.read_wait(), deadline.expired().deadline) == (3, "idle")
    clock.advance(3)  # a keep-alive came just in time
    assert (deadline.read_wait(), deadline.expired().deadline) == (2, "next_token")


def test_waiting_for_the_user(clock: FakeTime) -> None:
    """While a tool waits for an answer, only ``idle`` applies, until the next content."""
    deadline = Deadline(Clock(Timeouts(idle=30, next_token=5)), stream=True)
    deadline.content_arrived()
    deadline.pause_content()
    assert deadline.read_wait() == 30
    clock.advance(3000)
    assert deadline.read_wait() == 30
    deadline.content_arrived()
    assert deadline.read_wait() == 5


def test_a_slow_reader(clock: FakeTime) -> None:
    """Time in which the caller does not read does not count, before the first content and after it."""
    deadline = Deadline(Clock(Timeouts(first_token=10, next_token=10)), stream=True)
    clock.advance(4)
    deadline.pause()
    clock.advance(100)
    deadline.pause()  # once more: the first one counts
    clock.advance(100)
    assert deadline.read_wait() == 6
    clock.advance(6)
    _rings(deadline, "first_token")
    deadline.content_arrived()
    deadline.pause()  # no effect: the deadline begins with the next read
    clock.advance(100)
    assert deadline.read_wait() == 10


def test_no_limit_between_content(clock: FakeTime) -> None:
    """``next_token=None`` waits for content as long as bytes arrive."""
    deadline = Deadline(Clock(Timeouts(next_token=None, idle=30)), stream=True)
    deadline.content_arrived()
    clock.advance(10_000)
    assert deadline.read_wait() == 30


def test_total_is_over_all(clock: FakeTime) -> None:
    """``total`` counts from the start, for all requests of a call."""
    call = Clock(Timeouts(idle=30, first_token=120, total=50))
    deadline = Deadline(call, stream=True)
    assert (call.remaining(), call.elapsed) == (50, 0)
    clock.advance(45)
    deadline.content_arrived()
    assert deadline.read_wait() == 5
    deadline = Deadline(call, stream=True)
    assert (deadline.read_wait(), deadline.connect_wait(), call.remaining()) == (5, 5, 5)
    clock.advance(10)
    _rings(deadline, "total")
    assert (call.remaining(), call.elapsed) == (0, 55)
    with pytest.raises(TransportTimeout):
        deadline.connect_wait()


def test_a_new_attempt(clock: FakeTime) -> None:
    """Another request of a call has its own ``first_token``, and its own silence before the first byte."""
    call = Clock(Timeouts(idle=1, first_token=10))
    Deadline(call, stream=True).count_bytes()
    clock.advance(9)
    assert Deadline(call, stream=True).read_wait() == 10


def test_a_part_of_a_call(clock: FakeTime) -> None:
    """It has its own deadlines, ends with the call, and is cancelled with it; errors name the deadline that applied."""
    call = Clock(Timeouts(idle=30, total=50))
    clock.advance(20)
    for part, seconds in ((call.part(Timeouts(idle=2, total=10)), 10), (call.part(Timeouts(idle=2)), 50)):
        assert part.timeouts.idle == 2
        assert part.remaining() == min(seconds, 30)
        error = part.expired()
        assert (error.deadline, error.seconds) == ("total", seconds)
        assert str(error) == f"no complete answer within {seconds} s (Timeouts.total)"
    assert Clock(Timeouts()).part(Timeouts()).remaining() is None
    part = call.part(Timeouts())
    call.cancellation.cancel()
    with pytest.raises(Cancelled):
        part.pause(60)


def test_pauses_end_with_the_call(clock: FakeTime) -> None:
    """A pause ends at the end of the call, and none begins after it."""
    call = Clock(Timeouts(total=50))
    call.check()
    clock.advance(49.99)
    call.pause(0)
    clock.advance(0.02)
    with pytest.raises(TransportTimeout, match="within 50 s"):
        call.pause(60)
    with pytest.raises(TransportTimeout):
        call.check()
    with pytest.raises(TransportTimeout):
        call.pause(60)


def test_connecting(clock: FakeTime) -> None:
    """Connecting has its own limit, within the others."""
    assert Deadline(Clock(Timeouts(connect=5))).connect_wait() == 5
    assert Deadline(Clock(Timeouts(connect=5, first_token=3)), stream=True).connect_wait() == 3
    deadline = Deadline(Clock(Timeouts(connect=5, total=2)))
    assert deadline.connect_wait() == 2
    assert deadline.expired().deadline == "total"
    deadline = Deadline(Clock(Timeouts(connect=None, total=None, first_token=None, idle=None)), stream=True)
    assert (deadline.connect_wait(), deadline.read_wait(), deadline.clock.remaining()) == (None, None, None)


def test_winding_down(clock: FakeTime) -> None:
    """The time for reading after the last content is short, and within the remaining time."""
    deadline = Deadline(Clock(Timeouts(idle=30, total=100)), stream=True)
    deadline.content_arrived()
    deadline.limit_rest(idle=0.5, total=2)
    assert deadline.read_wait() == 0.5
    clock.advance(1.8)
    assert deadline.read_wait() == pytest.approx(0.2)
    clock.advance(1)
    with pytest.raises(TransportTimeout):
        deadline.read_wait()
    short = Deadline(Clock(Timeouts(total=1)))
    short.limit_rest(idle=5, total=5)
    assert short.read_wait() == 1


def test_all_deadlines_have_messages(clock: FakeTime) -> None:
    """For each deadline, the error says what was not received and names the setting."""
    for timeouts, wait in (
        (Timeouts(connect=1), Deadline.connect_wait),
        (Timeouts(first_token=1), Deadline.read_wait),
        (Timeouts(idle=1, first_token=None), Deadline.read_wait),
        (Timeouts(total=1), Deadline.read_wait),
    ):
        deadline = Deadline(Clock(timeouts), stream=timeouts.first_token is not None)
        wait(deadline)
        error = deadline.expired()
        assert f"Timeouts.{error.deadline}" in str(error)
        assert error.seconds == 1


def test_real_time() -> None:
    """The deadlines also work with the real clock."""
    deadline = Deadline(Clock(Timeouts(total=0.02)))
    time.sleep(0.03)
    _rings(deadline, "total")
