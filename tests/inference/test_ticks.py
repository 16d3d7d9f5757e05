"""Ticks of inference streams and of `hfclient.ticks`, in every wait, on both transports."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import define

import hfclient
from hfclient.credentials import Credentials
from hfclient.errors import AuthenticationError, Cancelled, InvalidInputError, StreamInterrupted
from hfclient.events import Token, ToolResult
from hfclient.inference import CompletionStream, InferenceClient
from hfclient.transport import Retry, Session, Timeouts, Transport
from hfclient.types import Reply
from tests.chat.replay import wait_until
from tests.clock import Pauses
from tests.inference.answers import CHAT, DONE, SSE, begun, call, calls, data, delta, says
from tests.server import (
    CERTIFICATE,
    CLOSE,
    LAST_CHUNK,
    PATIENCE,
    UNTIL_GONE,
    Script,
    Server,
    chunk,
    gzip_pieces,
    head,
    json_answer,
)

TICK = 0.02
Make = Callable[..., InferenceClient]


def helpers() -> list[threading.Thread]:
    """The helper threads that run."""
    return [thread for thread in threading.enumerate() if thread.name == "hfclient-ticks"]


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    wait_until(lambda: not helpers())


@pytest.fixture
def make(server: Server, transport: Transport) -> Make:
    """Make a client whose server plays the given scripts."""

    def make(*scripts: Script, **options: Any) -> InferenceClient:
        server.on(CHAT, *scripts)
        timeouts = Timeouts(connect=PATIENCE, first_token=PATIENCE, idle=PATIENCE, total=2 * PATIENCE)
        options = {"retry": Retry(attempts=2, backoff=0.01), "timeouts": timeouts, **options}
        session = Session(transport, Credentials(), **options)
        return InferenceClient(session, base_url=f"{server.url}/v1")

    return make


def silent(text: str) -> Script:
    """An answer of which only the beginning comes."""
    return [*begun(delta(content=text)), UNTIL_GONE]


def test_ticks_of_a_completion(make: Make, server: Server) -> None:
    """Ticks come while the model is silent, and the text is complete; leaving at one frees the connection."""
    go = threading.Event()
    inference = make([*begun(delta(content="a")), go, chunk(delta(content="b")), chunk(delta("stop") + DONE)], silent("c"))
    stream, ticks = inference.chat("Hi", model="m"), 0
    for event in stream.ticks(TICK):
        ticks += event is None
        if ticks > 2:
            go.set()
    assert stream.result().text == "ab"
    left = inference.chat("Hi", model="m")
    for event in left.ticks(TICK):
        if event is None and left.partial.text:
            break
    assert server.client_gone.wait(PATIENCE)
    assert left.partial.text == "c"


def ticks_until_over(stream: CompletionStream, pauses: Pauses) -> int:
    """Read *stream*, and return its ticks in the pause before a retry."""
    ticks = 0
    for event in stream.ticks(TICK):
        ticks += event is None and pauses.begun.is_set()
        if ticks > 2:
            pauses.over.set()
    return ticks


def test_ticks_before_a_retry(make: Make, pauses: Pauses) -> None:
    """The pause before a retry has ticks, too: the answer broke before it began."""
    stream = make([*begun(), CLOSE], says("Hello")).chat("Hi", model="m")
    assert ticks_until_over(stream, pauses) > 2
    assert stream.result().text == "Hello"


@pytest.mark.parametrize("status", [503, 429])
def test_ticks_after_an_error_in_the_answer(make: Make, pauses: Pauses, status: int) -> None:
    """So has the pause after an error that came inside of the answer, before its content."""
    failure = data({"error": {"message": "busy", "code": status}})
    stream = make([*begun(failure), UNTIL_GONE], says("Hello")).chat("Hi", model="m")
    assert ticks_until_over(stream, pauses) > 2
    assert stream.result().text == "Hello"


@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip"])
def test_ticks_of_a_compressed_stream(make: Make, transport_name: str, coding: str) -> None:
    """A compressed stream has ticks, too, also where a library decodes it that cannot be interrupted; no byte is lost."""
    if transport_name == "impersonate" and coding != "gzip":
        pytest.skip("libcurl does not decode it")
    go = threading.Event()
    first, second = gzip_pieces(delta(content="a"), delta("stop", content="b") + DONE)
    if coding != "gzip":
        first, second = gzip_pieces(first, second)
    answer = [head(200, SSE, "Transfer-Encoding: chunked", f"Content-Encoding: {coding}"), chunk(first), go, chunk(second), LAST_CHUNK]
    stream, ticks = make(answer).chat("Hi", model="m"), 0
    for event in stream.ticks(TICK):
        ticks += event is None
        if ticks > 2:
            go.set()
    assert stream.result().text == "ab"


def test_ticks_over_tls(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of a TLS connection that a tick interrupts is continued, also in the middle of a record's text."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with Server(tls=True) as server:
        go = threading.Event()
        server.on(CHAT, [*begun(delta(content="a")), go, chunk(delta(content="b") + delta("stop") + DONE), LAST_CHUNK])
        session = Session(transport, Credentials(), timeouts=Timeouts(first_token=PATIENCE, idle=PATIENCE))
        inference = InferenceClient(session, base_url=f"https://localhost:{server.port}/v1")
        stream, ticks = inference.chat("Hi", model="m"), 0
        for event in stream.ticks(TICK):
            ticks += event is None
            if ticks > 2:
                go.set()
        assert stream.result().text == "ab"


def test_errors_keep_their_traceback_and_the_partial_answer(make: Make) -> None:
    """An error of the helper thread is raised in the loop, with the answer so far and the frames that raised it."""
    stream = make([*begun(delta(content="half")), 0.05, CLOSE]).chat("Hi", model="m")
    with pytest.raises(StreamInterrupted) as caught:
        list(stream.ticks(PATIENCE))
    assert caught.value.partial is not None
    assert caught.value.partial.text == "half"
    assert {"_work", "_answer"} <= {entry.name for entry in caught.traceback}


def test_a_tool_runs_in_the_helper_thread(make: Make) -> None:
    """A slow tool has ticks; it sees the reader's context variables."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user")
    user.set("ada")
    go, seen = threading.Event(), []

    def look() -> str:
        """Look."""
        seen.append((user.get(), threading.current_thread().name))
        go.wait(PATIENCE)
        return "found"

    stream = make(calls(call("look", {}, "c1")), says("Done")).run_tools("Hi", [look], model="m")
    kinds = []
    for event in stream.ticks(TICK):
        kinds.append(type(event))
        if event is None and seen:
            go.set()
    assert seen == [("ada", "hfclient-ticks")]
    assert ToolResult in kinds
    assert stream.result().text == "Done"


@pytest.mark.parametrize("how", ["cancel", "leave"])
def test_leaving_while_a_tool_hangs(make: Make, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that hangs does not keep the loop; its thread frees the connection when it returns."""
    monkeypatch.setattr("hfclient.ticking._LEAVE", 0.05)
    go, running = threading.Event(), threading.Event()

    def hang() -> str:
        """Hang."""
        running.set()
        go.wait(PATIENCE)
        return "late"

    stream = make(calls(call("hang", {}, "c1")), says("Done")).run_tools("Hi", [hang], model="m")
    events = stream.ticks(TICK)
    while next(events) is not None or not running.is_set():
        pass
    try:
        if how == "leave":
            del events
        else:
            threading.Thread(target=stream.cancel).start()
            with pytest.raises(Cancelled):
                list(events)
        assert helpers()
        assert not stream._released._lock.locked()
    finally:
        go.set()
    wait_until(stream._released._lock.locked)


@define
class City:
    name: str


def test_ticks_of_an_object(make: Make) -> None:
    """`parse_stream` has ticks: in the answer, and while a repaired one is requested."""
    first, second = threading.Event(), threading.Event()
    inference = make(
        [*begun(delta(content='{"name": "Par')), first, chunk(delta(content='is", "x": 1}') + delta("stop") + DONE)],
        [second, *says('{"name": "Rome"}')],
    )
    stream, drafts = inference.parse_stream("Hi", into=City, model="m"), []
    for draft in stream.ticks(TICK):
        if draft is not None:
            drafts.append(draft)
        elif stream.attempts == 1:
            first.set()
        else:
            second.set()
    assert drafts[0] == {"name": "Par"}
    assert stream.result() == City("Rome")


def test_leaving_an_object_while_it_is_requested_again(make: Make, server: Server) -> None:
    """Leaving at a tick before the repaired answer cancels its request."""
    stream = make(says('{"x": 1}'), [UNTIL_GONE]).parse_stream("Hi", into=City, model="m")
    for draft in stream.ticks(TICK):
        if draft is None and stream.attempts == 2 and len(server.requests) == 2:
            break
    assert server.client_gone.wait(PATIENCE)


# hfclient.ticks


def test_ticks_before_the_head(make: Make) -> None:
    """There are ticks until the call returns its stream, and the stream's events after them."""
    go = threading.Event()
    inference = make([go, *says("Hello")])
    heard = []
    for event in hfclient.ticks(lambda: inference.chat("Hi", model="m"), TICK):
        heard.append(event)
        if heard.count(None) > 2:
            go.set()
    assert heard[:3] == [None, None, None]
    assert Token("Hello") in heard


def test_an_error_of_the_call(make: Make) -> None:
    """The error of the call is raised by the iterator."""
    inference = make(json_answer({"error": "no"}, 401))
    with pytest.raises(AuthenticationError):
        list(hfclient.ticks(lambda: inference.chat("Hi", model="m"), PATIENCE))


@pytest.mark.parametrize("leave", ["close", "drop", "scope"])
def test_leaving_before_the_head(make: Make, server: Server, leave: str) -> None:
    """Leaving while the call waits for the head of its answer cancels it at once."""
    inference = make([UNTIL_GONE])
    with hfclient.deadline() as scope:
        events = hfclient.ticks(lambda: inference.chat("Hi", model="m"), TICK)
    assert next(events) is None
    server.wait_for(1)
    if leave == "close":
        events.close()  # type: ignore[attr-defined]
    elif leave == "drop":
        del events
    else:
        threading.Thread(target=scope.cancel).start()
        with pytest.raises(Cancelled):
            list(events)
    assert server.client_gone.wait(PATIENCE)


def test_a_stream_that_comes_after_leaving_is_closed(make: Make, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that cannot be cancelled returns its stream too late: that stream is closed."""
    monkeypatch.setattr("hfclient.ticking._LEAVE", 0.05)
    inference, go, made = make(silent("a")), threading.Event(), []

    def opened() -> Any:
        made.append(inference.chat("Hi", model="m"))
        go.wait(PATIENCE)
        return made[0]

    events = hfclient.ticks(opened, TICK)
    while not made:
        assert next(events) is None
    events.close()  # type: ignore[attr-defined]
    go.set()
    wait_until(lambda: made[0]._state != "open" and server.client_gone.is_set())


def test_the_context_is_that_of_the_call(make: Make) -> None:
    """The function sees the context variables of the place where `ticks` was called."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="")
    inference, seen = make(says("Hello")), []

    def opened() -> Any:
        seen.append(user.get())
        return inference.chat("Hi", model="m")

    token = user.set("ada")
    events = hfclient.ticks(opened, PATIENCE)
    user.reset(token)
    assert seen == []
    assert Token("Hello") in list(events)
    assert seen == ["ada"]


def test_what_is_not_a_stream(make: Make) -> None:
    """Bad arguments are errors that say what is expected."""
    with pytest.raises(InvalidInputError, match="positive number"):
        hfclient.ticks(lambda: None, 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(InvalidInputError, match="a function that returns a stream"):
        hfclient.ticks("chat", 1)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="returns Reply"):
        list(hfclient.ticks(lambda: Reply(text=""), 1))  # type: ignore[arg-type, return-value]


def test_nothing_is_sent_before_the_first_step(make: Make, server: Server) -> None:
    """An iterator that is not used sends nothing and starts no thread."""
    inference = make(says("Hello"))
    del inference
    events = hfclient.ticks(lambda: pytest.fail("it was called"), 1.0)
    del events
    time.sleep(0.05)
    assert server.requests == []
    assert helpers() == []
