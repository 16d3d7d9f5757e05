"""`hfclient.deadline` in calls of inference: tools in threads, repaired answers, failover, jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define

import hfclient
from hfclient.credentials import Credentials
from hfclient.errors import TransportTimeout
from hfclient.events import Token, ToolResult
from hfclient.inference import InferenceClient
from hfclient.transport import Retry, Session, Timeouts, Transport
from hfclient.transport.scope import current_scope
from tests.clock import FakeTime
from tests.inference.answers import CHAT, SHORT, begun, call, calls, delta, says
from tests.server import PATIENCE, UNTIL_GONE, Script, Server, plain

Make = Callable[..., InferenceClient]


@pytest.fixture
def make(server: Server, transport: Transport) -> Make:
    """Make a client whose server plays the given scripts."""

    def make(*scripts: Script, **options: Any) -> InferenceClient:
        server.on(CHAT, *scripts)
        timeouts = Timeouts(connect=PATIENCE, first_token=2 * PATIENCE, idle=2 * PATIENCE, total=3 * PATIENCE)
        session = Session(transport, Credentials(), timeouts=timeouts, **{"retry": Retry(attempts=2, backoff=0.01), **options})
        return InferenceClient(session, base_url=f"{server.url}/v1")

    return make


def expires(call: Callable[[], object], seconds: float = SHORT) -> TransportTimeout:
    """Check that *call* ends with the error of the block."""
    with pytest.raises(TransportTimeout) as caught:
        call()
    assert (caught.value.deadline, caught.value.seconds) == ("total", seconds)
    assert f"hfclient.deadline({seconds:g})" in str(caught.value)
    return caught.value


@pytest.mark.parametrize("ticks", [False, True])
def test_tools_in_threads_are_in_the_block(make: Make, clock: FakeTime, ticks: bool) -> None:
    """Calls that tools make, in the threads of parallel tools as well, are in the block; the wait for them ends with it."""
    seen, go, both = [], threading.Event(), threading.Barrier(2, timeout=PATIENCE)

    def look(number: int) -> str:
        """Look."""
        seen.append(current_scope())
        both.wait()
        if number == 4:
            go.wait(PATIENCE)
        return "found"

    round_ = [calls(call("look", {"number": first}, "a"), call("look", {"number": first + 1}, "b")) for first in (1, 3)]
    inference = make(*round_)
    with hfclient.deadline(PATIENCE) as scope:
        stream = inference.run_tools("Hi", [look], model="m")

        def read() -> None:
            for event in stream.ticks(0.05) if ticks else stream:
                if isinstance(event, ToolResult) and len(seen) == 4:  # one tool has returned, the other one hangs
                    clock.advance(PATIENCE - SHORT)

        try:
            expires(read, PATIENCE)
        finally:
            go.set()
    assert seen == [scope] * 4


def test_no_content(make: Make, clock: FakeTime) -> None:
    """A silent answer, and one whose head does not come, end with the block."""
    inference = make([*begun(delta(content="half")), UNTIL_GONE], [UNTIL_GONE])
    with hfclient.deadline(PATIENCE):
        stream = inference.chat("Hi", model="m")
    assert next(stream) == Token("half")
    clock.advance(PATIENCE - SHORT)
    error = expires(stream.result, PATIENCE)
    assert error.partial is not None
    assert error.partial.text == "half"
    with hfclient.deadline(SHORT):
        expires(lambda: inference.chat("Hi", model="m"))


def test_a_retry_that_would_come_too_late(make: Make, server: Server) -> None:
    """A pause that is longer than the rest of the block is not made: the error is raised at once."""
    inference = make(plain(b"busy", 503), retry=Retry(attempts=3, backoff=3 * PATIENCE, max_wait=3 * PATIENCE))
    with hfclient.deadline(PATIENCE), pytest.raises(hfclient.ServerError):
        inference.chat("Hi", model="m")
    assert len(server.requests) == 1


@define
class City:
    name: str


def test_a_repaired_answer(make: Make, clock: FakeTime) -> None:
    """The second request of a parse has the rest of the block, also when it is read after it."""
    inference = make(says('{"x": 1}'), [lambda _: clock.advance(PATIENCE), *begun(), UNTIL_GONE])
    with hfclient.deadline(PATIENCE):
        stream = inference.parse_stream("Hi", into=City, model="m")
    expires(stream.result, PATIENCE)
