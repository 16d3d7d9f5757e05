"""Bodies: what is written, when, and what happens when the browser leaves."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest

import hfclient
from hfclient import Client, errors, events
from hfclient.web import errors as web
from hfclient.web import ndjson, problem, sse, text
from hfclient.web.bodies import Body
from hfclient.web.formats import ChatCompletionChunks, EventStream
from hfclient.web.source import Entry
from tests.chat.replay import FINISHED, JSONL, STARTED, ChatUI, final, lines, token, wait_until
from tests.processes.helpers import PromptedChatUI
from tests.server import LAST_CHUNK, chunk, head
from tests.web.sources import Scripted, parsed

Token = events.Token
HOSTILE = [
    "a\nb",
    "a\r\nb\rc",
    "\n\ndata: x\n\nevent: end\ndata: {}\n\n",
    "id: 7\n",
    "\x00\x01\x7f\ufeff",
    "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e",
    "\ud800 lone \udfff",
    ": comment",
    "[DONE]",
    "</script><img src=x onerror=alert(1)>",
    "\U0001f600" * 3,
    "x" * 2_000_000,
    "",
]


def _told(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(event["data"]) for event in parsed(data) if "event" not in event and "data" in event]


def test_headers() -> None:
    """The headers let no proxy keep, compress or collect the pieces, and no browser take text for HTML."""
    for body, media_type in (
        (sse(Scripted()), "text/event-stream; charset=utf-8"),
        (ndjson(Scripted()), "application/x-ndjson; charset=utf-8"),
        (text(Scripted()), "text/plain; charset=utf-8"),
    ):
        assert body.status == 200
        assert body.headers == {
            "Content-Type": media_type,
            "Cache-Control": "no-cache, no-transform",
            "X-Accel-Buffering": "no",
            "X-Content-Type-Options": "nosniff",
        }
        body.close()


def test_wire() -> None:
    """``retry:`` first, each event with an id that counts, ``end`` with its status last."""
    source = Scripted(events.Status("started"), Token("Hi"), events.FinalAnswer("Hi"))
    assert b"".join(sse(source, retry=2.5)) == (
        b"retry: 2500\n\n"
        b'id: 1\ndata: {"event":"Status","status":"started"}\n\n'
        b'id: 2\ndata: {"event":"Token","text":"Hi"}\n\n'
        b'id: 3\ndata: {"event":"FinalAnswer","interrupted":false,"text":"Hi"}\n\n'
        b'event: end\ndata: {"status":"completed"}\n\n'
    )
    assert source.closes == 1


def test_the_first_piece_comes_before_the_first_event() -> None:
    """The head of the response leaves before the model says anything."""
    body = sse(Scripted(end=False))
    assert next(body) == b"retry: 1000\n\n"
    body.close()


def test_every_event_can_be_read_back() -> None:
    """`events.from_dict` of each event returns the event, whatever fields are set."""
    given: list[Any] = [
        Token("a", id=3, logprob=-0.5, special=False),
        Token("b", extra={"new": [1, {"x": None}]}),
        events.Reasoning("r"),
        events.ToolCall("u", "search", {"q": "x"}, arguments='{"q":"x"}', extra={"thought_signature": "s"}),
        events.Sources((events.Source("https://a.example/", title="A"),)),
        events.Elicitation("e", "s", "form", "m", fields=[{"name": "n"}]),
        events.Usage(1, 2, 3),
        events.Unknown("strange", {"type": "strange"}),
    ]
    assert [events.from_dict(data) for data in _told(b"".join(sse(Scripted(*given), details=True)))] == given
    lines = [json.loads(line) for line in b"".join(ndjson(Scripted(*given), details=True)).decode().split("\n") if line]
    assert [events.from_dict(data) for data in lines[:-1]] == given
    assert lines[-1] == {"event": "End", "status": "completed"}


@pytest.mark.parametrize("said", HOSTILE, ids=range(len(HOSTILE)))
def test_a_model_cannot_break_the_framing(said: str) -> None:
    """Nothing that a model writes ends an event, adds a field, or ends a line for any reader; it arrives unchanged."""
    given = [Token(said), events.Title(said), events.ToolCall(said, said, {said: said}), events.Unknown(said, {said: [said]})]
    data = b"".join(sse(Scripted(*given), details=True))
    found = parsed(data)
    assert [sorted(event) for event in found] == [["retry"], *[["data", "id"]] * 4, ["data", "event"]]
    assert _told(data) == [events.to_dict(event) for event in given]
    assert data.decode().split("\n") == [*data.decode().splitlines(), ""]
    lines = b"".join(ndjson(Scripted(*given), details=True))
    assert [json.loads(line) for line in lines.decode().splitlines()][:-1] == [events.to_dict(event) for event in given]
    told = b"".join(text(Scripted(*given)))
    assert told.decode() == said.encode("utf-8", "replace").decode()


def test_ids_of_a_run() -> None:
    """Entries have their own ids; an id that could break the framing is left out."""
    given = [Entry("r1:7", Token("a")), Entry("r1:8\ndata: x", Token("b")), Entry("r\u2028", Token("c")), Entry("\ud800", Token("d"))]
    found = parsed(b"".join(sse(Scripted(*given))))
    assert [event.get("id") for event in found[1:-1]] == ["r1:7", None, None, None]
    lines = [json.loads(line) for line in b"".join(ndjson(Scripted(*given))).decode().splitlines()]
    assert lines[0] == {"event_id": "r1:7", "event": "Token", "text": "a"}
    assert [line["event_id"] for line in lines[:-1]] == [entry.id for entry in given]


def test_events_that_came_together_are_one_piece() -> None:
    """Events that can be read without waiting are written together; the first of them does not wait for later ones."""
    source = Scripted(*[Token(str(number)) for number in range(100)], end=False)
    body = sse(source)
    next(body)
    assert len(parsed(next(body))) == 100
    source.say(Token("late"))
    assert b"late" in next(body)
    body.close()


def test_heartbeats() -> None:
    """A comment is sent each time nothing came for so long; without one nothing is."""
    source = Scripted(end=False)
    body = sse(source, heartbeat=0.05)
    assert [next(body) for _ in range(4)] == [b"retry: 1000\n\n", *[b": ping\n\n"] * 3]
    source.say(Token("a"))
    assert any(b'"a"' in next(body) for _ in range(50))
    body.close()
    source = Scripted(end=False)
    body = ndjson(source, heartbeat=0.05)
    assert json.loads(next(body)) == {"event": "Ping"}
    body.close()
    source = Scripted(end=False)
    threading.Timer(0.3, source.end).start()
    assert list(sse(source, heartbeat=None)) == [b"retry: 1000\n\n", b'event: end\ndata: {"status":"completed"}\n\n']
    source = Scripted(end=False)
    threading.Timer(0.3, source.end).start()
    assert list(text(source, heartbeat=0.05)) == []


def test_heartbeats_while_a_format_writes_nothing() -> None:
    """Events that a format leaves out do not count as bytes."""

    class Silent(EventStream):
        def event(self, event: events.AnyEvent, event_id: str | None) -> bytes:
            return b""

    source = Scripted(end=False)
    body = sse(source, format=Silent, heartbeat=0.1)
    next(body)
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.02):
            source.say(Token("x"))

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        assert next(body) == b": ping\n\n"
    finally:
        stop.set()
        thread.join()
        body.close()


def test_a_failure_in_mid_answer(caplog: pytest.LogCaptureFixture) -> None:
    """What came is written, then the problem without internals, then the end; the log has the text of the error."""
    source = Scripted(Token("a"), end=False)
    source.say(errors.RateLimitError("http://10.0.0.1 says no", status_code=429, retry_after=2.5))
    data = b"".join(sse(source))
    found = parsed(data)
    assert [event.get("event") for event in found[1:]] == [None, "problem", "end"]
    assert json.loads(found[2]["data"]) == problem(errors.RateLimitError("", retry_after=2.5)).body
    assert json.loads(found[3]["data"]) == {"status": "failed"}
    assert b"10.0.0.1" not in data
    assert "10.0.0.1" in caplog.text
    assert source.closed.is_set()
    source = Scripted(end=False)
    source.say(RuntimeError("a bug"))
    assert [json.loads(line) for line in b"".join(ndjson(source, details=True)).splitlines()] == [
        {"event": "Problem", **problem(RuntimeError("a bug"), details=True).body},
        {"event": "End", "status": "failed"},
    ]
    assert "a bug" in caplog.text


def test_text_breaks_off() -> None:
    """Text cannot express an error, so the error reaches the server, which breaks the connection off."""
    source = Scripted(Token("half"), end=False)
    source.say(errors.StreamInterrupted("gone"))
    body = text(source)
    assert next(body) == b"half"
    with pytest.raises(errors.StreamInterrupted):
        next(body)
    assert source.closed.is_set()


def test_stopped_answers() -> None:
    """An answer that was stopped ends with the status "interrupted", and is not a problem."""
    source = Scripted(Token("a"), events.FinalAnswer("a", interrupted=True))
    assert parsed(b"".join(sse(source)))[-1] == {"event": "end", "data": '{"status":"interrupted"}'}
    source = Scripted(Token("a"), end=False)
    source.say(errors.Cancelled("stopped"))
    assert [event.get("event") for event in parsed(b"".join(sse(source)))[1:]] == [None, "end"]


class Followed(Scripted):
    """A follower of a run, which knows how the run has ended."""

    status = "interrupted"


def test_the_end_of_a_run() -> None:
    """The last event is that of the run, also for a follower that has all events already."""
    assert parsed(b"".join(sse(Followed())))[-1] == {"event": "end", "data": '{"status":"interrupted"}'}


def test_a_run_that_continues_elsewhere() -> None:
    """Without the end of its run a body ends without ``end``, so that a browser reconnects; other formats end with a failure."""
    source = Followed(Entry("r:1", Token("a")))
    source.status = "running"
    assert [sorted(event) for event in parsed(b"".join(sse(source)))] == [["retry"], ["data", "id"]]
    source = Followed(Entry("r:1", Token("a")))
    source.status = "running"
    assert b'{"error":' in b"".join(sse(source, format=ChatCompletionChunks))
    source = Followed(Entry("r:1", Token("a")))
    source.status = "running"
    body = text(source)
    assert next(body) == b"a"
    with pytest.raises(errors.StreamInterrupted):
        next(body)


def test_close_before_the_first_piece() -> None:
    """A body that is closed before it was read leaves the source; a function is not called."""
    source = Scripted(end=False)
    body = sse(source)
    body.close()
    body.close()
    assert source.closes == 1
    assert list(body) == []
    calls: list[int] = []
    body = sse(lambda: calls.append(1))  # type: ignore[arg-type, return-value, func-returns-value]
    body.close()
    assert calls == []
    assert list(body) == []


def test_close_between_pieces() -> None:
    """A body that is closed between two pieces leaves the source and ends without anything more."""
    source = Scripted(Token("a"), end=False)
    ended: list[int] = []
    body = sse(source, on_close=lambda: ended.append(1))
    next(body)
    next(body)
    body.close()
    assert (source.closes, ended, list(body)) == (1, [1], [])


def test_close_while_another_thread_reads() -> None:
    """A close from another thread ends the reader at once, without an error and without an event."""
    source = Scripted(end=False)
    ended: list[int] = []
    body = sse(source, heartbeat=None, on_close=lambda: ended.append(1))
    pieces: list[bytes] = []
    thread = threading.Thread(target=lambda: pieces.extend(body))
    thread.start()
    assert source.reading.wait(5)
    body.close()
    thread.join(5)
    assert not thread.is_alive()
    assert pieces == [b"retry: 1000\n\n"]
    assert (source.closes, ended) == (1, [1])


def test_close_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    """An error while an answer is left goes into the log, not into the server."""

    class Broken(Scripted):
        def close(self) -> None:
            super().close()
            raise errors.ConnectError("no way")

    body = sse(Broken(end=False), on_close=lambda: 1 / 0)
    next(body)
    body.close()
    assert "no way" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_interrupts_pass_through() -> None:
    """Ctrl-C and the end of a worker pass through, and the source is left."""
    source = Scripted(end=False)

    class Interrupted(Scripted):
        def ticks(self, seconds: float) -> Any:
            raise KeyboardInterrupt
            yield

    source = Interrupted()
    body = sse(source)
    next(body)
    with pytest.raises(KeyboardInterrupt):
        next(body)
    assert source.closes == 1


def test_wait_for_a_refusal() -> None:
    """With ``wait`` a refusal that comes in time is raised, so that it can be the status; a slow answer is not affected."""
    source = Scripted(end=False)
    source.say(errors.CreditsExhausted("no", status_code=402))
    ended: list[int] = []
    with pytest.raises(errors.CreditsExhausted):
        sse(source, wait=30, on_close=lambda: ended.append(1))
    assert source.closed.is_set()
    assert ended == [1]
    source = Scripted(events.Status("started"), events.Title("t"), events.Route(model="m"), end=False)
    source.say(errors.GenerationError("no", status_code=429))
    with pytest.raises(errors.GenerationError):
        sse(source, wait=30)
    source = Scripted(events.Status("started"), end=False)
    body = sse(source, wait=0.05)
    source.say(Token("a"))
    source.end()
    assert [event["event"] for event in _told(b"".join(body))] == ["Status", "Token"]
    source = Scripted(Token("a"), Token("b"))
    assert [event["text"] for event in _told(b"".join(sse(source, wait=30)))] == ["a", "b"]
    source = Scripted(end=False)
    body = sse(source, wait=0.05)
    source.say(errors.CreditsExhausted("no", status_code=402))
    assert [event.get("event") for event in parsed(b"".join(body))[1:]] == ["problem", "end"]
    assert list(sse(Scripted(), wait=0.05))[-1].startswith(b"event: end")


def test_an_event_that_cannot_be_written() -> None:
    """An event that nests too deeply ends the answer as an error; events before it are written."""
    raw: dict[str, Any] = {}
    for _ in range(100_000):
        raw = {"a": raw}
    data = b"".join(sse(Scripted(Token("a"), events.ToolCall("u", "n", raw))))
    assert [event.get("event") for event in parsed(data)[1:]] == [None, "problem", "end"]


def test_mistakes() -> None:
    """Arguments that cannot work are refused with their name."""
    with pytest.raises(errors.InvalidInputError, match="heartbeat="):
        sse(Scripted(), heartbeat=0)
    with pytest.raises(errors.InvalidInputError, match="wait="):
        sse(Scripted(), wait=-1)
    for retry in (-1.0, float("inf"), float("nan")):
        with pytest.raises(errors.InvalidInputError, match="retry="):
            sse(Scripted(), retry=retry)
    with pytest.raises(errors.InvalidInputError, match="not a list"):
        sse([Token("a")])  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidInputError, match="one of its own"):
        sse(Scripted(), format=EventStream())  # type: ignore[arg-type]


def test_problem_of_ones_own() -> None:
    """Titles can be translated for a body."""
    source = Scripted(end=False)
    source.say(web.RunGone("gone"))
    data = b"".join(sse(source, problem=lambda error, **options: problem(error, titles={"run-gone": "Weg."}, **options)))
    assert json.loads(parsed(data)[1]["data"])["title"] == "Weg."


def test_a_mistake_in_ones_own_function(caplog: pytest.LogCaptureFixture) -> None:
    """A function for problems that fails is logged; the browser gets the usual problem."""
    source = Scripted(end=False)
    source.say(web.RunGone("gone"))
    data = b"".join(sse(source, problem=lambda error, **options: 1 / 0))
    assert json.loads(parsed(data)[1]["data"])["code"] == "run-gone"
    assert "ZeroDivisionError" in caplog.text


def test_what_browsers_do_not_see() -> None:
    """Texts of the server about failures, its URLs and unknown objects are left out, unless they are asked for."""
    url = "http://10.0.0.1/internal"
    given: list[Any] = [
        events.Status("error", url, 500),
        events.Failover("a", "b", url, 500),
        events.File("f.png", "5a", "image/png", url),
        events.Unknown("new", {"url": url}),
        events.Token("a", extra={"url": url}),
        events.ToolCall("u", "n", extra={"url": url}),
        events.Status("started"),
    ]
    for write in (sse, ndjson):
        assert b"10.0.0.1" not in b"".join(write(Scripted(*given)))
        assert b"".join(write(Scripted(*given), details=True)).count(b"10.0.0.1") == 6
    assert [data["event"] for data in _told(b"".join(sse(Scripted(*given))))] == [
        *("Status", "Failover", "File", "Unknown", "Token", "ToolCall", "Status")
    ]
    assert given[0].message == url


def test_repr_and_log_names(caplog: pytest.LogCaptureFixture) -> None:
    """A body says what it is."""
    body = sse(Scripted())
    assert repr(body) == "<Body EventStream>"
    body.close()
    assert repr(body) == "<Body EventStream closed>"
    assert isinstance(body, Body)
    assert caplog.records == []
    assert logging.getLogger("hfclient.web").handlers == []


def test_heartbeats_while_the_answer_is_awaited() -> None:
    """A function is called apart from the reader: there are heartbeats until it returns, and a refusal is a problem."""
    go = threading.Event()
    source = Scripted(Token("a"))
    called: list[threading.Thread] = []

    def answer() -> Scripted:
        called.append(threading.current_thread())
        go.wait(30)
        return source

    body = sse(answer, heartbeat=0.05)
    assert [next(body) for _ in range(3)] == [b"retry: 1000\n\n", b": ping\n\n", b": ping\n\n"]
    go.set()
    assert [data["text"] for data in _told(b"".join(body))] == ["a"]
    assert called != [threading.current_thread()]
    assert source.closes == 1

    def refuse() -> Scripted:
        raise errors.RateLimitError("no", status_code=429)

    assert [event.get("event") for event in parsed(b"".join(sse(refuse)))[1:]] == ["problem", "end"]
    with pytest.raises(errors.RateLimitError):
        sse(refuse, wait=30)


@pytest.mark.parametrize("is_read", [True, False], ids=["while it is read", "between two pieces"])
def test_close_while_the_answer_is_awaited(is_read: bool) -> None:
    """A body that is closed before the server has answered cancels the call; what it returns later is left."""
    with PromptedChatUI() as ui, Client(ui.url, token="", session="") as client:
        body = sse(lambda: client.chat("mute a"), heartbeat=0.05)
        next(body)
        next(body)
        thread = threading.Thread(target=lambda: list(body))
        if is_read:
            thread.start()
        ui.wait_for_prompt("mute a")
        body.close()
        if is_read:
            thread.join(10)
            assert not thread.is_alive()
        assert list(body) == []
        wait_until(lambda: len(ui.stops_for("mute a")) == 1)
        ui.go.set()


def test_close_stops_or_detaches() -> None:
    """A body that is closed while the model is silent stops the generation, or leaves it running, as the stream says."""
    for how, stops in (("stop", 1), ("detach", 0)):
        with PromptedChatUI() as ui, Client(ui.url, token="", session="") as client:
            body = sse(client.chat("hold a", on_close=how), heartbeat=0.05)
            while b": ping" not in next(body):
                pass
            body.close()
            assert len(ui.stops_for("hold a")) == stops
            ui.go.set()


def test_a_deadline_covers_the_call() -> None:
    """The deadline of the block in which a body is created covers its call, although the block has ended."""
    with PromptedChatUI() as ui, Client(ui.url, token="", session="") as client:
        with hfclient.deadline(0.3):
            body = sse(lambda: client.chat("mute a"))
        found = parsed(b"".join(body))
        assert json.loads(found[1]["data"])["code"] == "timeout"
        ui.go.set()


def test_blocks_of_a_stream_are_pieces() -> None:
    """Events of a real stream that arrived in one read are one piece, and `Stream.pending` counts those that are left."""
    ui = ChatUI()
    with ui, Client(ui.url, token="", session="") as client:
        answer = lines(STARTED, *[token(str(number)) for number in range(50)], final("x"), FINISHED)
        ui.says(answer, lambda stream: [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(stream), LAST_CHUNK])
        stream = client.chat("hi")
        assert stream.pending == 0
        body = sse(stream)
        pieces = list(body)
        assert len(_told(b"".join(pieces))) == 53
        assert len(pieces) <= 4
        assert stream.pending == 0
