"""Connections cut at every byte: of a recorded chat, of a recorded completion, and of requests."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hfclient import Client, errors
from hfclient.chat.conversations import resume, run, run_tracker
from hfclient.events import AnyEvent, Finish, Token
from hfclient.inference.completions import answer_reader
from hfclient.stream import Stream
from hfclient.transport import Retry, Timeouts
from tests.chat.recordings import Recording, joined, recording
from tests.chat.replay import whole
from tests.clock import FakeTime
from tests.conftest import TRANSPORTS, make_transport
from tests.faults.proxy import WAYS, Proxy
from tests.faults.server import CHAT_ID, TEXT, FaultServer
from tests.server import LAST_CHUNK, PATIENCE, RST, Recorded, chunk, head

PATIENT = Timeouts(connect=PATIENCE, first_token=PATIENCE, idle=PATIENCE, total=2 * PATIENCE)
FIXTURES = Path(__file__).parents[1] / "fixtures" / "inference"
SHARDS = 4  # tests that share the bytes of one response, to run in parallel


@pytest.fixture(autouse=True)
def _no_real_time(monkeypatch: pytest.MonkeyPatch, clock: FakeTime, polls: FakeTime, silence: None) -> None:
    monkeypatch.setattr(resume, "_POLL", 0.01)
    monkeypatch.setattr(resume, "_MAX_PAUSE", 0.002)
    monkeypatch.setattr(run, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(run_tracker, "_POLL", 0.01)
    monkeypatch.setattr(run_tracker, "_PAUSE", 0.01)
    monkeypatch.setattr(answer_reader, "_DRAIN", 0.1)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def proxy(server: FaultServer) -> Iterator[Proxy]:
    with Proxy(server.port) as running:
        yield running


@pytest.fixture(params=TRANSPORTS)
def client(request: pytest.FixtureRequest, server: FaultServer, proxy: Proxy) -> Iterator[Client]:
    """A client that uses the server through the proxy."""
    client = Client(
        proxy.url,
        inference_url=proxy.url,
        hub_url=proxy.url,
        token="",
        transport=make_transport(request.param),
        timeouts=PATIENT,
        retry=Retry(attempts=2, backoff=0.001, resume=1.0),
    )
    yield client
    client.close()
    server.wait_for_connections(most=0)  # after every cut, no connection stays open
    assert proxy.open_connections == 0


def read(stream: Stream) -> tuple[list[AnyEvent], errors.HFClientError | None]:
    """Return the events of a stream, and the error that it raised."""
    events: list[AnyEvent] = []
    try:
        events.extend(stream)  # keeps the events before an exception
    except errors.HFClientError as error:
        return events, error
    return events, None


def ask(client: Client) -> tuple[list[AnyEvent], errors.HFClientError | None]:
    """Send a message to the empty conversation."""
    return read(client.restore({"version": 1, "id": CHAT_ID, "model": "org/first", "leaf": "root"}).send("Hi"))


def text_of(events: list[AnyEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


def says(server: FaultServer, item: Recording) -> bytes:
    """Let the server respond as recorded, without the trailing spaces; return the bytes on the wire."""
    wire = b"".join(step for step in whole(re.sub(rb" {100,}", b"", item.stream)) if isinstance(step, bytes))
    server._next.clear()
    server.says(item, [wire])
    return wire


# Chats


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_chat_at_every_byte(server: FaultServer, proxy: Proxy, client: Client, shard: int) -> None:
    """Wherever the response is cut, no event is missing or repeated, and the server has one message."""
    wire = says(server, recording("plain"))
    events, error = ask(client)
    assert (text_of(events), error) == ("Hello, world!", None)
    events = joined(events)
    for at in range(shard, len(wire), SHARDS):
        server.reset()
        how = WAYS[at // SHARDS % len(WAYS)]
        proxy.cut(b"POST ", at=at, how=how)
        again, error = ask(client)
        where = f"{how} after {at} of {len(wire)} bytes"
        assert (joined(again), error) == (events, None), where
        assert server.count("send") == 1, where
    assert proxy.done == len(range(shard, len(wire), SHARDS))


def test_a_long_chat_somewhere(server: FaultServer, proxy: Proxy, client: Client) -> None:
    """The same for a thousand events, and for other kinds of events."""
    for name, count in (("many", 4), ("tool_echo", 12), ("unicode", 12)):
        wire = says(server, recording(name))
        server.reset()
        events, error = ask(client)
        for at in random.Random(name).sample(range(len(wire)), count):
            server.reset()
            proxy.cut(b"POST ", at=at, how=WAYS[at % len(WAYS)])
            again, raised = ask(client)
            assert (joined(again), repr(raised)) == (joined(events), repr(error)), f"{name}, {at} of {len(wire)} bytes"
            assert server.count("send") == 1


def test_a_chat_whose_log_is_cut_too(server: FaultServer, proxy: Proxy, client: Client) -> None:
    """The log may break anywhere, too, repeatedly."""
    wire = says(server, recording("plain"))
    events = joined(ask(client)[0])
    for at in range(0, len(wire), 29):
        server.reset()
        proxy.cut(b"POST ", at=at, how="reset")
        for further in (at % 97, 80 + at % 300, 500):
            proxy.cut(b"GET /conversation/", at=further, how=WAYS[at % len(WAYS)])
        again, error = ask(client)
        proxy.forget()
        assert (joined(again), error) == (events, None), at
        assert server.count("send") == 1


def test_a_chat_without_its_log(server: FaultServer, proxy: Proxy, client: Client, polls: FakeTime) -> None:
    """If the log is not available, the error has the events so far, which are the start of the answer."""
    wire = says(server, recording("plain"))
    events, _ = ask(client)
    for at in range(0, len(wire), 29):
        server.reset()
        for kind in ("log", "read"):
            server.always(kind, [lambda request: polls.advance(1), RST])
        server.fault("read", None)  # the first read looks up the parent message
        proxy.cut(b"POST ", at=at, how=WAYS[at % len(WAYS)])
        if at < wire.index(b"\r\n\r\n") + 4:  # whether it arrived cannot be looked up
            with pytest.raises(errors.StreamInterrupted) as raised:
                ask(client)
            assert raised.value.generation_id
            continue
        again, error = ask(client)
        assert again == events[: len(again)], at
        if error is not None:
            assert isinstance(error, errors.StreamInterrupted)
            assert error.partial is not None
            assert error.partial.text == text_of(again)
            assert error.generation_id
        else:
            assert text_of(again) == text_of(events)
    server.clear_faults()


# Completions


@pytest.mark.parametrize(
    ("name", "text", "shard", "stride"),
    [
        *(("cerebras", "Hello", shard, SHARDS) for shard in range(SHARDS)),
        ("openai", "Hello — «wörld", 3, 11),
        ("tgi", "Hello", 5, 11),
    ],
)
def test_a_completion_at_every_byte(
    server: FaultServer, proxy: Proxy, client: Client, name: str, text: str, shard: int, stride: int
) -> None:
    """Text that arrived is kept; nothing is raised after the last event; an answer without content is requested again."""
    body = (FIXTURES / f"{name}.sse").read_bytes()
    wire = head(200, "Content-Type: text/event-stream", "Transfer-Encoding: chunked")
    wire += b"".join(chunk(event + b"\n\n") for event in body.split(b"\n\n")[:-1]) + LAST_CHUNK
    server.always("completions", [wire])
    events, error = read(client.inference.chat("Hi", model="m"))
    assert (text_of(events)[: len(text)], error) == (text, None)
    for at in range(shard, len(wire), stride):
        server.reset()
        proxy.cut(b"POST ", at=at, how=WAYS[at // stride % len(WAYS)])
        again, error = read(client.inference.chat("Hi", model="m"))
        where = f"after {at} of {len(wire)} bytes"
        if server.count("completions") == 2:
            assert (again, error) == (events, None), where
            continue
        assert again == events[: len(again)], where
        assert text_of(again), where
        if error is not None:
            assert isinstance(error, errors.StreamInterrupted), where
            assert error.partial is not None
            assert error.partial.text == text_of(again), where
        assert (error is None) == any(isinstance(event, Finish) for event in again), where


# Requests


def test_a_message_cut_during_the_upload(server: FaultServer, proxy: Proxy, client: Client, polls: FakeTime) -> None:
    """An incomplete message is sent again if it cannot have arrived, else it is an error; it is never stored twice."""

    def read_later(request: Recorded) -> bytes:
        polls.advance(1)
        return server._read(request, server.chat)

    server.always("read", [read_later])
    size = 96_000
    places = [*range(0, 700, 61), *(random.Random(1).sample(range(700, size), 6))]
    for number, at in enumerate(places):
        server.reset()
        proxy.cut(b"POST ", at=at + 1, how=WAYS[number % 2], of_request=True)
        conversation = client.restore({"version": 1, "id": CHAT_ID, "model": "org/first", "leaf": "root"})
        lost: errors.StreamInterrupted | None = None
        try:
            assert conversation.send("Hi", files=[("notes.txt", b"a note\n" * 10_000)]).text == TEXT, at
        except errors.StreamInterrupted as error:
            lost = error
        if lost is not None:
            assert (bool(lost.generation_id), server.count("send")) == (True, 0), at
            assert conversation.send("Hi").text == TEXT, at
        assert (server.count("send"), len(server.chat.users)) == (1, 1), at
    assert proxy.done == len(places)


@pytest.mark.parametrize("how", [*WAYS[:2], "stall"])
def test_other_requests_cut_during_the_upload(server: FaultServer, proxy: Proxy, client: Client, how: str) -> None:
    """Requests that may be repeated are sent again; a conversation only if it cannot have been created."""
    made = 0
    for at in (1, 50, 200):
        proxy.cut(b"POST ", at=at, how=how, of_request=True)
        if how == "stall":
            with pytest.raises(errors.TransportTimeout):
                client.inference.embed(["Hi"], model="m")
        else:
            assert client.inference.embed(["Hi"], model="m") == [[0.5, 0.25]]
        proxy.cut(b"POST /conversation", at=at, how=how, of_request=True)
        sent = False
        try:
            client.conversation(model="org/first").create()
        except (errors.ConnectError, errors.TransportTimeout) as error:
            sent = error.sent
        else:  # the rest of the request met a reset connection: it cannot have arrived
            sent, made = True, made + 1
        assert (sent, server.count("create")) == (True, made)


def test_a_stall_during_an_answer(server: FaultServer, proxy: Proxy, client: Client) -> None:
    """A stalled connection is closed after the deadline for silence, at every place."""
    wire = says(server, recording("plain"))
    events = joined(ask(client)[0])
    for at in (len(wire) // 2, len(wire) - 20):
        server.reset()
        proxy.cut(b"POST ", at=at, how="stall")
        again, error = ask(client)
        assert (joined(again), error) == (events, None)
