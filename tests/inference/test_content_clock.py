"""The wait for content: roles and keep-alives are not content, pieces of a long tool call are."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from hfclient import events
from hfclient.credentials import Credentials
from hfclient.errors import TransportTimeout
from hfclient.inference.client import InferenceClient
from hfclient.transport import Retry, Session, Timeouts, Transport
from hfclient.transport.deadline import Deadline
from tests.chat.replay import wait_until
from tests.clock import FakeTime
from tests.inference.answers import CHAT, DONE, PING, SHORT, SSE, begun, call, delta, says, usage
from tests.server import LAST_CHUNK, PATIENCE, Script, Server, Step, chunk, head, json_answer

EMPTY = delta(content="")
Make = Callable[..., InferenceClient]


@pytest.fixture
def make(server: Server, transport: Transport) -> Make:
    """Make clients with their own deadlines, for each transport."""

    def make(**changed: float) -> InferenceClient:
        clocks = dict.fromkeys(("connect", "first_token", "next_token", "idle"), PATIENCE) | changed
        session = Session(transport, Credentials(), timeouts=Timeouts(**clocks), retry=Retry(attempts=1))
        return InferenceClient(session, base_url=server.url)

    return make


def stalls(*pieces: bytes, keep_alive: bytes = PING) -> Script:
    """An answer that begins with *pieces* and then sends only keep-alives, for longer than any deadline here."""
    return [head(200, SSE, "Transfer-Encoding: chunked"), *map(chunk, pieces), *[0.02, chunk(keep_alive)] * 2000]


def pausing(pause: float, *pieces: bytes) -> Script:
    """An answer with a pause after each of its *pieces*."""
    steps: list[Step] = [head(200, SSE, "Transfer-Encoding: chunked")]
    for piece in pieces:
        steps += [chunk(piece), pause]
    return [*steps, LAST_CHUNK]


@pytest.mark.parametrize("keep_alive", [PING, b"\n", EMPTY, usage(3, 1), b'event: ping\ndata: {"type": "ping"}\n\n'])
def test_stalled_model(server: Server, make: Make, keep_alive: bytes) -> None:
    """An answer that continues with keep-alives only ends with ``next_token`` and keeps its text so far."""
    server.on(CHAT, stalls(delta(role="assistant", content=""), delta(content="one"), keep_alive=keep_alive))
    with pytest.raises(TransportTimeout) as caught:
        make(next_token=SHORT).chat("hi", model="m").result()
    assert (caught.value.deadline, caught.value.seconds) == ("next_token", SHORT)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "one"


@pytest.mark.parametrize("keep_alive", [PING, b"\n", EMPTY, delta(role="assistant", content="")])
def test_keep_alives_before_content(server: Server, make: Make, keep_alive: bytes) -> None:
    """Keep-alives are not the first content: ``first_token`` ends that wait."""
    server.on(CHAT, stalls(delta(role="assistant"), keep_alive=keep_alive))
    with pytest.raises(TransportTimeout) as caught:
        make(first_token=SHORT, next_token=PATIENCE).chat("hi", model="m").result()
    assert caught.value.deadline == "first_token"


@pytest.mark.parametrize(
    "start",
    [
        [delta(role="assistant")],
        [delta(role="assistant", content="")],
        [delta(role="assistant", content=None)],
        [b": processing\n\n"],
        [b"\n", delta(role="assistant"), EMPTY],
        [usage(5, 0)],
    ],
)
def test_silence_before_content(server: Server, make: Make, start: list[bytes]) -> None:
    """``idle`` does not start before the first content, because a long prompt takes time."""
    server.on(CHAT, pausing(0.1, *start, delta("stop", content="Hi") + DONE))
    assert make(idle=0.05).chat("a long prompt", model="m").text == "Hi"


def test_silence_after_content(server: Server, make: Make) -> None:
    """After content, ``idle`` ends a silence without any byte."""
    server.on(CHAT, pausing(2 * PATIENCE, delta(content="H")))
    with pytest.raises(TransportTimeout) as caught:
        make(idle=SHORT).chat("hi", model="m").result()
    assert caught.value.deadline == "idle"


def test_a_long_argument_is_content(
    server: Server, make: Make, clock: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of a tool call restart ``next_token``, although its event comes at its end."""
    arrived: list[Deadline] = []
    content_arrived = Deadline.content_arrived

    def note(deadline: Deadline) -> None:
        content_arrived(deadline)
        arrived.append(deadline)

    monkeypatch.setattr(Deadline, "content_arrived", note)
    pieces = ['{"text": "', *"abcdefghijkl", '"}']
    deltas = [delta(tool_calls=[call("write", pieces[0], id="c")])]
    deltas += [delta(tool_calls=[{"index": 0, "function": {"arguments": piece}}]) for piece in pieces[1:]]
    steps: list[Step] = [head(200, SSE, "Transfer-Encoding: chunked")]
    for number, piece in enumerate(deltas, 1):
        steps += [chunk(piece), lambda _, number=number: wait_until(lambda: len(arrived) >= number)]
        steps += [lambda _: clock.advance(0.4 * PATIENCE)]
    server.on(CHAT, [*steps, chunk(delta("tool_calls") + DONE), LAST_CHUNK])
    reply = make(next_token=PATIENCE).chat("hi", model="m").result()
    assert [made.parameters for made in reply.tool_calls] == [{"text": "abcdefghijkl"}]


def test_stalled_tool_call(server: Server, make: Make) -> None:
    """A tool call that stops arriving raises ``next_token``, and is not a call."""
    server.on(CHAT, stalls(delta(content="a"), delta(tool_calls=[call("write", '{"text": "', id="c")])))
    with pytest.raises(TransportTimeout) as caught:
        make(next_token=SHORT).chat("hi", model="m").result()
    assert caught.value.deadline == "next_token"
    assert caught.value.partial is not None
    assert (caught.value.partial.text, caught.value.partial.tool_calls) == ("a", ())


def test_slow_function(server: Server, make: Make, clock: FakeTime) -> None:
    """A tool's function may run for longer than ``next_token``."""

    def slow() -> str:
        """Take longer than the clock."""
        clock.advance(2 * PATIENCE)
        return "done"

    server.on(CHAT, pausing(0, delta(tool_calls=[call("slow", {}, id="c")]), delta("tool_calls") + DONE), says("ok"))
    assert make(next_token=PATIENCE).run_tools("hi", [slow], model="m").result().text == "ok"


def test_stall_in_a_later_round(server: Server, make: Make, clock: FakeTime) -> None:
    """A stall in a later round ends it."""
    go = threading.Event()
    stall: list[Step] = [go, *[chunk(PING), lambda _: clock.advance(PATIENCE / 2), 0.02] * 2000]

    def quick() -> str:
        """Take no time."""
        return "done"

    calls = pausing(0, delta(tool_calls=[call("quick", {}, id="c")]), delta("tool_calls") + DONE)
    server.on(CHAT, calls, [*begun(delta(content="half")), *stall])
    with pytest.raises(TransportTimeout) as caught:  # noqa: PT012
        for event in make(next_token=PATIENCE).run_tools("hi", [quick], model="m"):
            if event == events.Token("half"):
                go.set()
    assert caught.value.deadline == "next_token"
    assert caught.value.partial is not None
    assert caught.value.partial.text == "half"


def test_stalled_text_generation(server: Server, make: Make) -> None:
    """The same holds for text generation."""
    piece = b'data: {"token": {"id": 1, "text": "a", "logprob": -1.0, "special": false}}\n\n'
    server.on("/info", json_answer({"model_id": "m", "version": "3.3.0", "max_total_tokens": 4096}))
    server.on("/generate_stream", stalls(piece))
    with pytest.raises(TransportTimeout) as caught:
        make(next_token=SHORT).text("hi", model="m").result()
    assert caught.value.deadline == "next_token"


@pytest.mark.parametrize("which", ["first_token", "next_token"])
def test_slow_reader(server: Server, make: Make, clock: FakeTime, which: str) -> None:
    """Time between two reads of the caller does not count."""
    server.on(CHAT, says("a", "b"))
    stream = make(**{which: PATIENCE}).chat("hi", model="m")
    clock.advance(2 * PATIENCE)
    texts = []
    for event in stream:
        if isinstance(event, events.Token):
            texts.append(event.text)
            clock.advance(2 * PATIENCE)
    assert "".join(texts) == "ab"
