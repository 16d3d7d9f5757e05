"""A stream that breaks anywhere resumes: no gap, no repetition, and one message on the server."""

from __future__ import annotations

import itertools
import pickle
import random
import threading
import time
from typing import Any

import pytest

from hfclient import Client
from hfclient.chat.conversations import resume as resuming
from hfclient.errors import APIStatusError, ProtocolError, StreamInterrupted, TransportTimeout
from hfclient.events import AnyEvent, FinalAnswer, Reasoning, Status, Token, Unknown
from hfclient.transport import Timeouts
from hfclient.types import Reply
from tests.chat.conftest import GIVES_UP
from tests.chat.recordings import Recording, joined, recording
from tests.chat.replay import (
    FINISHED,
    JSONL,
    KEEP_ALIVE,
    SSE,
    STARTED,
    WAYS,
    ChatUI,
    broken_logs,
    cut,
    final,
    lines,
    log_of,
    served_log,
    token,
    wait_until,
)
from tests.clock import FakeTime
from tests.server import CLOSE, LAST_CHUNK, PATIENCE, RST, SOON, UNTIL_GONE, Recorded, chunk, head, json_answer, plain
from tests.unit.test_updates import escaped, read

CUT_UP = ["reasoning", "tool_echo", "unicode", "stopped", "empty"]  # "plain" is cut at every byte in tests/faults


def run(client: Client, prompt: str = "Hi") -> tuple[list[AnyEvent], Reply, Any]:
    """Return the events of an answer, its reply, and what it raised."""
    stream = client.chat(prompt)
    events: list[AnyEvent] = []
    error: Exception | None = None
    try:
        events.extend(stream)  # keeps what came before an exception
    except Exception as exc:
        error = exc
    return joined(events), stream.partial, repr(error)


def places(item: Recording) -> list[int]:
    """Every end of a line, and 40 random places."""
    ends = list(itertools.accumulate(map(len, item.lines)))
    lot = random.Random(str(item))
    return [0, *ends[:-1], *(lot.randrange(1, len(item.stream)) for _ in range(40))]


def without_ids(reply: Reply) -> dict[str, Any]:
    return {key: value for key, value in reply.to_dict().items() if not key.endswith("_id")}


@pytest.mark.parametrize("name", CUT_UP)
def test_a_cut_anywhere(ui: ChatUI, any_client: Client, name: str) -> None:
    """Cut at every event and at forty other bytes, an answer has the same events, the same text, and one user message."""
    item = recording(name)
    ui.says(item)
    events, reply, ended = run(any_client)
    complete = item.stream.find(b'"type":"finalAnswer"') if name != "empty" else item.stream.find(b'"error"')
    for number, place in enumerate(places(item)):
        how = WAYS[number % len(WAYS)]
        if place > complete and how in ("ended", "delimited"):
            how = "fin"  # a regular end of the body counts as the end: old servers send no `finished`
        ui._next.clear()
        ui.says(item, cut(place, how))
        before = ui.count("send")
        again = run(any_client)
        where = f"cut after {place} bytes, {how}"
        assert again[0] == events, where
        assert without_ids(again[1]) == without_ids(reply), where
        assert again[2].replace(again[1].conversation_id or "-", "") == ended.replace(
            reply.conversation_id or "-", ""
        ), where
        assert ui.count("send") == before + 1, where
        assert all(len(chat.users) == 1 for chat in ui.chats.values()), where


# The log


SLOW = recording("slow")


@pytest.mark.parametrize("name", ["plain", "tool_echo", "stopped", "unicode"])
def test_a_log_that_breaks_again_and_again(ui: ChatUI, any_client: Client, name: str) -> None:
    """Each further connection requests the events after the last one that was received."""
    item = recording(name)
    ui.says(item)
    events, reply, _ = run(any_client)
    ui._next.clear()
    ui.says(item, cut(60))
    ui.fault(
        "log", *broken_logs(item.log or "", 0, 10, 100, 260, how=RST), *broken_logs(item.log or "", 90, 200, how=CLOSE)
    )
    again = run(any_client)
    assert (again[0], again[2]) == (events, "None")
    assert without_ids(again[1]) == without_ids(reply)
    asked = [int(request.query["fromSeq"]) for request in ui.of("log")]
    assert len(asked) == 7
    assert asked == sorted(asked)
    assert asked[-1] > 0
    assert {request.query["generationId"] for request in ui.of("log")} == {again[1].generation_id}


def test_a_log_that_ends_without_its_last_frame(ui: ChatUI, any_client: Client) -> None:
    """Only the last frame ends a log; one that is closed regularly (after five minutes) is opened again."""
    ui.says(SLOW, cut(300))
    log = SLOW.log or ""
    half = log[: log.index("id: 5")]
    ui.fault(
        "log", [lambda request: served_log(half)], [lambda request: served_log(half, int(request.query["fromSeq"]))]
    )
    _events, reply, ended = run(any_client)
    assert (reply.text, ended) == (SLOW.answer.content, "None")
    assert [request.query["fromSeq"] for request in ui.of("log")] == ["0", "4", "4"]


def test_a_log_that_repeats_itself(ui: ChatUI, client: Client) -> None:
    """Events that were read are skipped by their number, even if the server starts from the first one each time."""
    ui.says(SLOW, cut(300))
    log = SLOW.log or ""
    ui.fault("log", [lambda request: served_log(log[: log.index("id: 5")])], [lambda request: served_log(log)])
    events, _reply, _ = run(client)
    assert "".join(event.text for event in events if isinstance(event, Token)).strip() == SLOW.answer.content


def test_a_log_that_is_followed_live(ui: ChatUI, any_client: Client) -> None:
    """The log of a run in progress is followed live, with its heartbeats."""
    go = threading.Event()
    frames = (SLOW.log or "").split("\n\n")

    def steps(request: Recorded) -> Any:
        yield head(200, SSE, "Transfer-Encoding: chunked")
        yield chunk("\n\n".join(frames[:4]).encode() + b"\n\n")
        yield chunk(b": heartbeat\n\n")
        yield go
        yield chunk("\n\n".join(frames[4:]).encode())
        yield LAST_CHUNK

    ui.says(SLOW, cut(200))
    ui.fault("log", [steps])
    stream = any_client.chat("Hi")
    seen = []
    for event in stream:
        seen.append(event)
        if event == Token("slow-2 "):
            go.set()
    assert stream.result().text == SLOW.answer.content
    assert joined(seen) == joined(read([SLOW.stream])[0])


def test_a_log_outlives_first_token(ui: ChatUI, any_client: Client, clock: FakeTime) -> None:
    """Content that came before the break counts: ``first_token`` does not bound the rest."""
    frames = (SLOW.log or "").split("\n\n")

    def steps(request: Recorded) -> Any:
        yield head(200, SSE, "Transfer-Encoding: chunked")
        for frame in frames:
            yield chunk(frame.encode() + b"\n\n")

    ui.says(SLOW, cut(200))
    ui.fault("log", [steps])
    stream = any_client.chat("Hi", timeouts=Timeouts(first_token=PATIENCE, idle=PATIENCE))
    for event in stream:
        if isinstance(event, Token):
            clock.advance(PATIENCE)
    assert stream.result().text == SLOW.answer.content
    assert ui.count("log") == 1


def test_a_silent_log_is_opened_again(ui: ChatUI, any_client: Client) -> None:
    """Silence on the log, where heartbeats should come, counts as a broken connection."""
    ui.says(SLOW, cut(200))
    ui.fault("log", [head(200, SSE, "Transfer-Encoding: chunked"), UNTIL_GONE])
    stream = any_client.chat("Hi", timeouts=Timeouts(first_token=PATIENCE, idle=1))
    assert stream.result().text == SLOW.answer.content
    assert ui.count("log") >= 2  # the second one may be slower than ``idle``, too


def test_frames_that_are_not_json(ui: ChatUI, client: Client) -> None:
    """Events before a broken frame are not lost, and the frame is requested again."""
    item = recording("plain")
    log = item.log or ""
    ui.says(item, cut(0))
    broken = log[: log.index("id: 5")] + "id: 5\nevent: update\ndata: {oops\n\n"
    ui.fault("log", [lambda request: served_log(broken)])
    events, _reply, ended = run(client)
    assert (events, ended) == (joined(read([item.stream])[0]), "None")
    assert [request.query["fromSeq"] for request in ui.of("log")] == ["0", "4"]


REASONING = [
    STARTED,
    *({"type": "reasoning", "subtype": "stream", "token": text} for text in ("Let ", "me ", "think.")),
    {"type": "reasoning", "subtype": "status", "status": "Done in 3s."},
    {"type": "title", "title": "T"},
    token("42"),
    final("42"),
    FINISHED,
]


@pytest.mark.parametrize("count", range(len(REASONING)))
def test_reasoning_updates_that_the_log_merges(ui: ChatUI, client: Client, count: int) -> None:
    """The log merges pieces of reasoning like those of text, so they are skipped by length, not by number."""
    merged = [STARTED, {"type": "reasoning", "subtype": "stream", "token": "Let me think."}, *REASONING[4:]]
    ui.says(lines(*REASONING), cut(len(lines(*REASONING[:count]))), log=log_of(*merged))
    events, reply, ended = run(client)
    assert (events, ended) == (joined(read([lines(*REASONING)])[0]), "None")
    assert reply.reasoning == "Let me think."


@pytest.mark.parametrize("count", range(5))
def test_halves_of_characters_and_tags_at_the_break(ui: ChatUI, client: Client, count: int) -> None:
    """A stream that breaks within a character or within a tag continues with the other half."""
    pieces = ["a\ud83d", "\ude00<th", "ink>b\ud83d", "\ude01</think", ">c"]
    live = [escaped(piece) for piece in pieces]
    log = log_of(token("".join(pieces[:3])), token("".join(pieces[3:])), final("a😀<think>b😁</think>c"), FINISHED)
    ui.says(b"".join(live), cut(len(b"".join(live[:count]))), log=log)
    events, reply, _ = run(client)
    assert events == [
        Token("a😀"),
        Reasoning("b😁"),
        Token("c"),
        FinalAnswer("a😀<think>b😁</think>c"),
        Status("finished"),
    ]
    assert (reply.text, reply.reasoning) == ("a😀c", "b😁")


def test_no_requests_after_the_last_event(ui: ChatUI, any_client: Client) -> None:
    """After ``finished`` nothing is missing when the connection breaks."""
    item = recording("plain")
    ui.says(item, cut(len(item.stream)))
    events, _reply, ended = run(any_client)
    assert (events, ended) == (joined(read([item.stream])[0]), "None")
    assert ui.count("log") == ui.count("read") == 0


def test_an_answer_that_is_complete_is_not_waited_for(ui: ChatUI, any_client: Client) -> None:
    """After ``finished`` the end of the body is waited for shortly, not for all of ``idle``."""
    item = recording("plain")
    ui.says(item, [*cut(len(item.stream))(item.stream)[:-1], UNTIL_GONE])
    started = time.monotonic()
    _events, reply, ended = run(any_client)
    assert (reply.text, ended) == ("Hello, world!", "None")
    assert time.monotonic() - started < SOON


@GIVES_UP
def test_only_the_title_is_missing(ui: ChatUI, client: Client) -> None:
    """A complete answer is returned even if its title can no longer be read."""
    ui.says(lines(STARTED, token("a"), final("a")), cut(10_000, "fin"))
    for kind in ("log", "read"):
        ui.always(kind, plain(b"{}", 500))
    _events, reply, ended = run(client)
    assert (reply.text, ended) == ("a", "None")


# Without the log


@pytest.mark.parametrize("name", ["plain", "reasoning", "tool_echo", "unicode", "stopped", "empty", "upstream_500"])
def test_a_server_without_the_log(ui: ChatUI, any_client: Client, name: str) -> None:
    """From a server without the log the finished message is read: the same answer, with its title."""
    ui.has_log = False
    item = recording(name)
    ui.says(item)
    events, reply, ended = run(any_client)
    for place in places(item)[::6]:
        ui._next.clear()
        ui.says(item, cut(place), unfinished_reads=2)
        again = run(any_client)
        assert without_ids(again[1]) == without_ids(reply), f"cut after {place} bytes"
        assert again[2].replace(again[1].conversation_id or "-", "") == ended.replace(reply.conversation_id or "-", "")
        assert not [event for event in again[0] if isinstance(event, Unknown)]
        others = [event for event in events if not isinstance(event, (Token, Reasoning))]
        assert [event for event in again[0] if not isinstance(event, (Token, Reasoning))] == others, (
            f"cut after {place}"
        )
        assert all(len(chat.users) == 1 for chat in ui.chats.values())


@pytest.mark.parametrize("name", ["plain", "reasoning", "slow", "web_search", "upstream_500"])
def test_an_older_server(ui: ChatUI, client: Client, name: str) -> None:
    """Version 0.10: no run ids, no log, no ``finished``, a title that comes last."""
    ui.has_log = False
    item = recording(name, "0.10")
    ui.says(item)
    _events, reply, ended = run(client)
    for place in places(item)[::5]:
        ui._next.clear()
        ui.says(item, cut(place), unfinished_reads=1)
        again = run(client)
        assert without_ids(again[1]) == without_ids(reply), f"cut after {place} bytes"
        assert again[2].replace(again[1].conversation_id or "-", "") == ended.replace(reply.conversation_id or "-", "")
        assert all(len(chat.users) == 1 for chat in ui.chats.values())


def test_separate_reasoning_of_the_message(ui: ChatUI, client: Client) -> None:
    """Servers that stream reasoning apart store it in a field of the message."""
    ui.has_log = False
    stored = {
        "content": "42", "reasoning": "Let me think.", "interrupted": False,
        "updates": [STARTED, *REASONING[4:6], {**final("42"), "webSources": None}],
    }  # fmt: skip
    for count in range(len(REASONING) - 1):
        ui._next.clear()
        ui.says(lines(*REASONING[:-1]), cut(len(lines(*REASONING[:count]))), stored=stored)
        _events, reply, ended = run(client)
        assert (reply.text, reply.reasoning, reply.title, ended) == ("42", "Let me think.", "T", "None")


def test_a_message_that_stores_less_than_was_streamed(ui: ChatUI, client: Client) -> None:
    """Updates that were streamed but not stored do not hide others."""
    ui.has_log = False
    call = {"type": "tool", "subtype": "call", "uuid": "u", "call": {"name": "n", "parameters": {}}}
    progress = {"type": "tool", "subtype": "progress", "uuid": "u", "progress": 1}
    result = {"type": "tool", "subtype": "result", "uuid": "u", "result": {"status": "success", "outputs": []}}
    live = lines(STARTED, call, progress, progress)
    updates = [STARTED, call, result, final("a"), FINISHED, None, 5]
    ui.says(live, cut(len(live)), stored={"content": "a", "interrupted": False, "updates": updates})
    events, reply, ended = run(client)
    kinds = [type(event).__name__ for event in events]
    assert kinds == [
        "Status",
        "ToolCall",
        "ToolProgress",
        "ToolProgress",
        "ToolResult",
        "Token",
        "FinalAnswer",
        "Status",
    ]
    assert (reply.text, len(reply.tool_results), ended) == ("a", 1, "None")


@pytest.mark.parametrize("name", ["plain", "stopped", "tool_echo"])
@pytest.mark.parametrize("end", ["gone", "completed", "interrupted", "something new"])
def test_a_log_that_was_forgotten(ui: ChatUI, client: Client, name: str, end: str) -> None:
    """After a day a log holds its last frame only; the conversation still has the answer and how it ended."""
    item = recording(name)
    ui.says(item)
    _, reply, _ = run(client)
    ui._next.clear()
    ui.says(item, cut(150), log=log_of(end=end))
    _events, again, ended = run(client)
    assert ended == "None"
    assert without_ids(again) == without_ids(reply)


def test_a_log_with_a_hole(ui: ChatUI, client: Client) -> None:
    """Where a log stops in the middle the stored message continues, without repetition."""
    item = recording("tool_echo")
    log = item.log or ""
    ui.says(item, cut(100), log=log[: log.index("id: 4")] + 'event: end\ndata: {"status":"completed"}\n\n')
    events, _reply, _ = run(client)
    assert joined(events) == joined(read([item.stream])[0])


def test_a_server_that_died(ui: ChatUI, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of a server that died is the stored part, marked as interrupted."""
    monkeypatch.setattr(resuming, "_LATE_SAVE", PATIENCE)
    stored = {
        "content": "half an",
        "updates": [STARTED, {"type": "stream", "token": "", "len": 7}],
        "interrupted": True,
    }
    live = lines(STARTED, token("half "))
    ui.says(
        live, cut(len(live)), log=log_of(STARTED, token("half "), end="interrupted"), stored=stored, unfinished_reads=2
    )
    _events, reply, ended = run(client)
    assert (reply.text, reply.interrupted, ended) == ("half an", True, "None")


def test_a_server_that_died_without_a_mark(ui: ChatUI, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says that the run was interrupted, which the stored answer never does, as after an earlier one was stopped."""
    monkeypatch.setattr(resuming, "_LATE_SAVE", 0.05)
    live = lines(STARTED, token("half "))
    stored = {"content": "", "updates": []}
    log = log_of(STARTED, token("half "), token("an"), end="interrupted")
    ui.says(live, cut(len(live)), log=log, stored=stored, unfinished_reads=1_000)
    _events, reply, ended = run(client)
    assert (reply.text, reply.interrupted, ended) == ("half an", True, "None")


@GIVES_UP
def test_a_log_that_always_fails(ui: ChatUI, client: Client) -> None:
    """If the log only gives errors, the stored answer is used."""
    item = recording("plain")
    ui.says(item, cut(150))
    ui.always("log", json_answer({"message": "An error occurred", "errorId": "x"}, 500))
    _events, reply, ended = run(client)
    assert (reply.text, reply.title, ended) == ("Hello, world!", "Hello, world!", "None")


def test_reads_that_fail_once(ui: ChatUI, client: Client) -> None:
    """Waiting for a finished message survives a server that restarts."""
    ui.has_log = False
    ui.says(recording("plain"), cut(150), unfinished_reads=1)
    ui.fault("read", [RST], [RST], plain(b"", 503), plain(b"", 503), None, [RST])
    _events, reply, ended = run(client)
    assert (reply.text, ended) == ("Hello, world!", "None")


def test_an_answer_that_never_ends(
    ui: ChatUI, client: Client, clock: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that no longer grows is not waited for without limit."""
    monkeypatch.setattr(resuming, "time", clock)
    ui.has_log = False
    ui.says(recording("plain"), cut(150), unfinished_reads=10_000)
    stream = client.chat("Hi", timeouts=Timeouts(first_token=PATIENCE, idle=PATIENCE))
    ui.fault("read", *[[lambda _: clock.advance(0.4 * PATIENCE), lambda request: ui._read(request, ui.chat)]] * 9)
    before = ui.count("read")
    with pytest.raises(StreamInterrupted, match="no longer writes to it"):
        stream.result()
    assert ui.count("read") == before + 4  # the first one is compared with the three that follow


# When resuming fails


@GIVES_UP
@pytest.mark.parametrize("how", [[RST], [CLOSE], plain(b"", 503), json_answer({"message": "no"}, 401)], ids=str)
def test_everything_fails(ui: ChatUI, any_client: Client, how: Any) -> None:
    """The error has the partial answer and the ids of the run, and the conversation can be used again."""
    ui.says(recording("slow"), cut(700))
    for kind in ("log", "read"):
        ui.always(kind, how)
    stream = any_client.chat("Hi")
    with pytest.raises(StreamInterrupted) as caught:
        stream.result()
    error = caught.value
    assert error.partial is not None
    assert error.partial.text.startswith("slow-0 ")
    assert (error.conversation_id, error.generation_id) == (ui.chat.id, stream.generation_id)
    assert error.partial == stream.partial
    assert "attach(" in error.message
    assert pickle.loads(pickle.dumps(error)).to_dict() == error.to_dict()
    ui._always.clear()
    ui._next.clear()
    ui.says(recording("plain"))
    assert stream.conversation.ask("again").text == "Hello, world!"
    assert stream.conversation.attach(error.generation_id).result().text == SLOW.answer.content


@pytest.mark.parametrize(
    "refusal",
    [
        json_answer({"message": "no"}, 403),
        json_answer({"message": "no"}, 401),
        json_answer({"message": "too many"}, 429),
        head(302, "Location: https://huggingface.co/login", "Content-Length: 0"),
    ],
    ids=["403", "401", "429", "login"],
)
@pytest.mark.parametrize("came", [0, 1, 3])
def test_an_attached_log_that_is_refused(ui: ChatUI, any_client: Client, refusal: bytes, came: int) -> None:
    """A log that breaks off and is then refused raises an error with the partial answer."""
    pieces = ["half ", "of ", "it"]
    log = "".join(log_of(*map(token, pieces), end=None).split("\n\n")[n] + "\n\n" for n in range(came))
    ui.says(lines(STARTED, token("whole"), final("whole"), FINISHED))
    conversation = any_client.conversation()
    run_id = conversation.ask("Hi").generation_id
    assert run_id
    ui.fault("log", [lambda request: served_log(log)])
    ui.always("log", refusal)
    ui.always("read", refusal)
    stream = conversation.attach(run_id)
    events: list[AnyEvent] = []
    with pytest.raises(StreamInterrupted, match="the log of the answer cannot be read") as caught:
        events.extend(stream)
    assert events == [Token(piece) for piece in pieces[:came]]
    assert caught.value.partial is not None
    assert caught.value.partial.text == "".join(pieces[:came])
    assert caught.value.generation_id == run_id
    assert isinstance(caught.value.__cause__, APIStatusError)


@GIVES_UP
def test_the_server_is_gone(make_client: Any) -> None:
    """A server that stops in the middle of an answer raises `StreamInterrupted`."""
    with ChatUI() as ui:
        client = make_client(base_url=ui.url)
        ui.says(SLOW, [*cut(300, "rst")(SLOW.stream)[:-1], lambda request: ui.vanish(), RST])
        stream = client.chat("Hi")
        with pytest.raises(StreamInterrupted, match="could not be resumed"):
            stream.result()


# Deadlines


def test_idle_silence_is_resumed(ui: ChatUI, any_client: Client) -> None:
    """If keep-alives stop, the connection is closed and the run is read from its log."""
    item = recording("plain")
    ui.says(item, [*cut(250)(item.stream)[:-1], UNTIL_GONE])
    stream = any_client.chat("Hi", timeouts=Timeouts(first_token=PATIENCE, idle=1))
    assert joined(stream) == joined(read([item.stream])[0])
    assert ui.count("log") >= 1  # a log that takes longer than ``idle`` is opened again


class Endless:
    """A stream that sends only keep-alives after *updates*; once `read` is set, the deadline passes."""

    def __init__(self, clock: FakeTime, *updates: dict[str, Any]) -> None:
        self.read, self.left = threading.Event(), threading.Event()
        self._clock, self._updates = clock, updates

    def __call__(self, request: Recorded) -> Any:
        try:
            yield head(200, JSONL, "Transfer-Encoding: chunked")
            yield chunk(lines(*self._updates))
            yield self.read
            for number in range(1000):
                yield chunk(lines(KEEP_ALIVE))
                yield 0.02
                if number < 2:  # no longer: the request that stops the run has a deadline, too
                    self._clock.advance(0.6 * PATIENCE)
        finally:  # the client has closed the connection
            self.left.set()


@pytest.mark.parametrize(
    ("timeouts", "deadline", "updates"),
    [
        (Timeouts(first_token=PATIENCE, idle=2 * PATIENCE), "first_token", [STARTED]),
        (Timeouts(first_token=2 * PATIENCE, idle=2 * PATIENCE, total=PATIENCE), "total", [STARTED]),
        (Timeouts(first_token=2 * PATIENCE, idle=2 * PATIENCE, total=PATIENCE), "total", [STARTED, token("a")]),
    ],
)
def test_deadlines_behind_keep_alives(
    ui: ChatUI, any_client: Client, clock: FakeTime, timeouts: Timeouts, deadline: str, updates: list[dict[str, Any]]
) -> None:
    """Keep-alives do not count as content, so the deadline passes; the run is then stopped."""
    live = Endless(clock, *updates)
    ui.says(lines(*updates), [live])  # type: ignore[list-item]
    stream = any_client.chat("Hi", timeouts=timeouts)
    for _ in updates:
        next(stream)
    live.read.set()
    with pytest.raises(TransportTimeout) as caught:
        stream.result()
    assert live.left.wait(PATIENCE)
    assert (caught.value.deadline, caught.value.seconds) == (deadline, PATIENCE)
    assert caught.value.partial == stream.partial
    assert stream.partial.interrupted
    wait_until(lambda: ui.stops == [{"generationId": stream.generation_id, "seenContentLength": len(updates) - 1}])
    ui._next.clear()
    ui.says(recording("plain"))
    assert stream.conversation.ask("again").text == "Hello, world!"


def test_garbage_in_mid_stream(ui: ChatUI, any_client: Client) -> None:
    """A line that is not JSON raises an error with the partial answer; the run is stopped, and the conversation stays usable."""
    live = lines(STARTED, token("a")) + b"<html>504 Gateway Timeout</html>\n"
    ui.says(live, [*cut(10_000)(live)[:-1], UNTIL_GONE])
    stream = any_client.chat("Hi")
    with pytest.raises(ProtocolError) as caught:
        stream.result()
    assert caught.value.frame == "<html>504 Gateway Timeout</html>"
    assert caught.value.partial is not None
    assert caught.value.partial.text == "a"
    wait_until(lambda: [stop["generationId"] for stop in ui.stops] == [stream.generation_id])
    ui._next.clear()
    ui.says(recording("plain"))
    assert stream.conversation.ask("again").text == "Hello, world!"


def test_a_deadline_that_detaches(ui: ChatUI, client: Client, clock: FakeTime) -> None:
    """With ``detach`` a deadline does not stop the run."""
    live = Endless(clock, STARTED)
    ui.says(lines(STARTED), [live])  # type: ignore[list-item]
    before = set(threading.enumerate())  # a stop of another test may still run
    stream = client.chat("Hi", on_close="detach")
    next(stream)
    live.read.set()
    with pytest.raises(TransportTimeout):
        stream.result()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "hfclient-stop"]
    assert ui.stops == []


@pytest.mark.parametrize("has_log", [True, False])
def test_the_total_deadline_holds_while_resuming(
    ui: ChatUI, any_client: Client, clock: FakeTime, has_log: bool
) -> None:
    """``Timeouts.total`` does not start again with each connection."""
    ui.has_log = has_log
    ui.says(SLOW, cut(300), unfinished_reads=10_000)
    kind = "log" if has_log else "read"
    stream = any_client.chat("Hi", timeouts=Timeouts(first_token=9 * PATIENCE, idle=PATIENCE, total=2 * PATIENCE))
    before = ui.count(kind)
    ui.fault(kind, *[[lambda _: clock.advance(PATIENCE), RST]] * 3)
    with pytest.raises(TransportTimeout) as caught:
        stream.result()
    assert (caught.value.deadline, caught.value.seconds) == ("total", 2 * PATIENCE)
    assert ui.count(kind) == before + 2


def test_a_slow_log_and_the_total_deadline(ui: ChatUI, any_client: Client, clock: FakeTime) -> None:
    """The error names the deadline that the caller has set."""
    ui.says(SLOW, cut(300))
    beats = [chunk(b": heartbeat\n\n"), 0.02]
    late = [*beats * 3, lambda _: clock.advance(PATIENCE), *beats * 1000]
    ui.always("log", [head(200, SSE, "Transfer-Encoding: chunked"), *late])
    stream = any_client.chat("Hi", timeouts=Timeouts(first_token=PATIENCE, idle=PATIENCE, total=PATIENCE))
    with pytest.raises(TransportTimeout) as caught:
        stream.result()
    assert (caught.value.deadline, caught.value.seconds) == ("total", PATIENCE)


def test_a_thousand_keep_alives_first(ui: ChatUI, any_client: Client) -> None:
    """Keep-alives before the first content give no events."""
    stream = lines(STARTED, *[KEEP_ALIVE] * 1000, token("a"), final("a"), FINISHED)
    ui.says(stream)
    events, _reply, _ended = run(any_client)
    assert events == [Status("started"), Token("a"), FinalAnswer("a"), Status("finished")]
