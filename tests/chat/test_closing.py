"""Leaving an answer early stops the generation or detaches from it, quickly, and the conversation stays usable."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.chat.conversations import run_tracker
from hfclient.chat.conversations import stream as chat_stream
from hfclient.chat.conversations.conversation import ChatStream
from hfclient.errors import Cancelled, ConversationBusy, HFClientError, StreamConsumed
from hfclient.events import Elicitation, Reasoning, Token
from tests.chat.recordings import recording
from tests.chat.replay import (
    FINISHED,
    JSONL,
    SSE,
    STARTED,
    ChatUI,
    final,
    form_data,
    lines,
    served_log,
    token,
    wait_until,
)
from tests.clock import Pauses
from tests.server import LAST_CHUNK, PATIENCE, RST, SOON, UNTIL_GONE, Recorded, chunk, head, json_answer, plain

HELLO = "Hello, world!"
SILENCE, BUDGET = chat_stream._SILENCE, chat_stream.STOP_BUDGET


def silent(*updates: dict[str, Any]) -> list[Any]:
    """An answer whose server sends nothing more from its middle on."""
    return [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(*updates)), UNTIL_GONE]


def ends_when_stopped(ui: ChatUI, *updates: dict[str, Any], text: str) -> Any:
    """An answer that continues until it is stopped, and then ends with an interrupted final answer, as chat-ui's do."""

    def steps(request: Recorded) -> Iterator[Any]:
        yield head(200, JSONL, "Transfer-Encoding: chunked")
        for update in updates:
            yield chunk(lines(update))
        own = form_data(request)["generationId"]
        while not any(stop["generationId"] == own for stop in ui.stops):
            yield 0.01
            yield chunk(lines({"type": "status", "status": "keepAlive"}))
        yield chunk(lines(final(text, interrupted=True)) + b" " * 4096)
        yield chunk(lines(FINISHED))
        yield LAST_CHUNK

    return [steps]


@pytest.fixture
def begun(ui: ChatUI, any_client: Client) -> ChatStream:
    """A stream of which two tokens have been read; the server is silent."""
    ui.says(lines(STARTED), silent(STARTED, token("Hel"), token("lo 😀")))
    stream = any_client.chat("Hi")
    assert [next(stream), next(stream), next(stream)][1:] == [Token("Hel"), Token("lo 😀")]
    return stream


@pytest.fixture
def broken(ui: ChatUI, any_client: Client) -> ChatStream:
    """A stream whose connection has broken off after its first event, which has been read."""
    read = threading.Event()
    ui.says(recording("slow"), [*silent(STARTED)[:-1], read, RST])
    stream = any_client.chat("Hi")
    assert next(stream)
    read.set()
    return stream


def goes_on(ui: ChatUI, stream: ChatStream) -> None:
    """Check that the conversation can be used again."""
    ui._next.clear()
    ui.says(recording("plain"))
    assert stream.conversation.ask("again").text == HELLO
    assert [message["content"] for message in ui.chat.users] == ["Hi", "again"]


@pytest.fixture
def time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that still sends has as much time to end the answer as a busy machine may need."""
    monkeypatch.setattr(chat_stream, "_SILENCE", PATIENCE)
    monkeypatch.setattr(chat_stream, "STOP_BUDGET", PATIENCE)


def test_how_long_leaving_takes() -> None:
    """At most half a second on a silent stream and two on one that still sends, as documented; other tests show that nothing else is waited for."""
    assert (SILENCE, BUDGET) == (0.4, 2.0)


def test_close_on_a_silent_stream(ui: ChatUI, begun: ChatStream) -> None:
    """`close` returns soon, and the generation is stopped with the number of UTF-16 units that were read."""
    started = time.monotonic()
    begun.close()
    begun.close()
    assert time.monotonic() - started < SOON
    wait_until(lambda: ui.stops == [{"generationId": begun.generation_id, "seenContentLength": 8}])
    assert ui.client_gone.wait(PATIENCE)
    assert (begun.partial.text, begun.partial.interrupted) == ("Hello 😀", True)
    for again in (begun.result, lambda: iter(begun)):
        with pytest.raises(StreamConsumed) as caught:
            again()
        assert caught.value.partial == begun.partial
    goes_on(ui, begun)


def leave_by_break(stream: ChatStream) -> None:
    for event in stream:
        if event == Token("lo 😀"):
            break


def leave_by_with(stream: ChatStream) -> None:
    with stream:
        for event in stream:
            if event == Token("lo 😀"):
                return


def leave_by_error(stream: ChatStream) -> None:
    with contextlib.suppress(ZeroDivisionError):
        for event in stream:
            if event == Token("lo 😀"):
                raise ZeroDivisionError


def leave_by_error_in_with(stream: ChatStream) -> None:
    with contextlib.suppress(ZeroDivisionError), stream:
        for event in stream:
            if event == Token("lo 😀"):
                raise ZeroDivisionError


def leave_by_generator(stream: ChatStream) -> None:
    def mine() -> Iterator[Any]:
        yield from stream

    events = mine()
    while next(events) != Token("lo 😀"):
        pass
    events.close()  # type: ignore[attr-defined]


def leave_iter_text(stream: ChatStream) -> None:
    for piece in stream.iter_text():
        if piece == "lo 😀":
            break


def leave_unread(stream: ChatStream) -> None:
    with stream:
        pass


def leave_by_callback(stream: ChatStream) -> None:
    def callback(event: Any) -> None:
        if event == Token("lo 😀"):
            raise KeyError("mine")

    stream._on_event = callback
    with pytest.raises(KeyError, match="mine"):
        stream.result()


WAYS_TO_LEAVE = [
    leave_by_break, leave_by_with, leave_by_error, leave_by_error_in_with, leave_by_generator, leave_iter_text,
    leave_unread, leave_by_callback,
]  # fmt: skip


@pytest.mark.usefixtures("time_to_end")
@pytest.mark.parametrize("leave", WAYS_TO_LEAVE)
def test_ways_to_leave(
    ui: ChatUI, any_client: Client, leave: Callable[[ChatStream], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way to leave stops the generation, reads how the answer ended, and frees the conversation."""
    monkeypatch.setattr(run_tracker, "_STOP_MARK", PATIENCE)
    ui.says(lines(STARTED), ends_when_stopped(ui, STARTED, token("Hel"), token("lo 😀"), text="Hello 😀"))
    stream = any_client.chat("Hi")
    leave(stream)
    (stop,) = ui.stops
    assert stop["generationId"] == stream.generation_id
    assert stop["seenContentLength"] == (0 if leave is leave_unread else 8)
    assert (stream.partial.text, stream.partial.interrupted) == ("Hello 😀", True)
    assert not stream._run.stop_unconfirmed
    goes_on(ui, stream)
    assert stream.conversation._runs._not_before == 0.0  # a confirmed stop does not delay the next message


@pytest.mark.parametrize("leave", WAYS_TO_LEAVE)
def test_detaching(ui: ChatUI, any_client: Client, leave: Callable[[ChatStream], None]) -> None:
    """With ``detach`` the run continues, and any client can attach to it by its id."""
    item = recording("slow")
    ui.says(item, silent(STARTED, token("Hel"), token("lo 😀")))
    stream = any_client.conversation().send("Hi", on_close="detach")
    leave(stream)
    assert ui.client_gone.wait(PATIENCE)
    assert ui.stops == []
    state = stream.conversation.to_dict()
    reply = any_client.restore(state).attach(state["generation_id"]).result()
    assert reply.text == item.answer.content
    goes_on(ui, stream)


def test_a_dropped_stream(ui: ChatUI, any_client: Client) -> None:
    """A stream without references stops its generation, read or unread, and frees its conversation."""
    ui.says(lines(STARTED), silent(STARTED, token("a")))
    conversation = any_client.conversation()
    stream = conversation.send("Hi")
    run = stream.generation_id
    del stream
    gc.collect()
    wait_until(lambda: [stop["generationId"] for stop in ui.stops] == [run])
    stream = conversation.send("again")
    assert next(iter(stream))
    del stream
    gc.collect()
    wait_until(lambda: len(ui.stops) == 2)
    ui._next.clear()
    ui.says(recording("plain"))
    assert conversation.ask("third").text == HELLO


def test_seen_text_is_what_the_reader_got(ui: ChatUI, client: Client) -> None:
    """Tokens of the same block that the reader has not got yet are not counted as seen; neither is half a tag."""
    updates = [
        STARTED,
        token("one "),
        token("two "),
        token("<think>hm "),
        token("hm</think>"),
        token("three"),
        token("<th"),
    ]
    ui.says(lines(*updates), silent(*updates))
    for count, seen in ((2, 4), (3, 8), (99, len("one two <think>hm hm</think>three"))):
        stream = client.conversation().send("Hi")
        for number, event in enumerate(stream, 1):
            if number == count or event == Token("three"):
                break
        wait_until(lambda run=stream.generation_id: bool(ui.stops) and ui.stops[-1]["generationId"] == run)  # type: ignore[misc]
        assert ui.stops[-1]["seenContentLength"] == seen


def test_reasoning_that_was_not_seen(ui: ChatUI, client: Client) -> None:
    """Reasoning inside the tokens is part of the text that the server cuts."""
    updates = [STARTED, token("<think>"), token("one "), token("two "), token("</think>"), token("three")]
    ui.says(lines(*updates), silent(*updates))
    for event in client.chat("Hi"):
        if event == Reasoning("one "):
            break
    wait_until(lambda: bool(ui.stops))
    assert len("<think>one ") <= ui.stops[-1]["seenContentLength"] <= len("<think>one </think>")


@pytest.mark.usefixtures("time_to_end")
def test_closing_in_the_loop_ends_it(ui: ChatUI, any_client: Client) -> None:
    """A loop that closes its own stream ends without an error, even if it continues."""
    ui.says(lines(STARTED), ends_when_stopped(ui, STARTED, token("a"), text="a"))
    stream = any_client.chat("Hi")
    for event in stream:
        if event == Token("a"):
            stream.close()
    assert len(ui.stops) == 1
    goes_on(ui, stream)


# From other threads


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def once_it_reads(stream: ChatStream, call: Callable[[], object]) -> threading.Thread:
    def wait_and_call() -> None:
        wait_until(lambda: stream._pulling)
        call()

    return in_thread(wait_and_call)


@pytest.mark.parametrize("way", ["cancel", "close"])
def test_from_another_thread(ui: ChatUI, begun: ChatStream, way: str) -> None:
    """A waiting reader raises `Cancelled`; the generation is stopped."""
    thread = once_it_reads(begun, getattr(begun, way))
    started = time.monotonic()
    with pytest.raises(Cancelled) as caught:
        next(begun)
    assert time.monotonic() - started < SOON
    thread.join(PATIENCE)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hello 😀"
    wait_until(lambda: ui.stops == [{"generationId": begun.generation_id, "seenContentLength": 8}])
    with pytest.raises(Cancelled):
        begun.result()
    goes_on(ui, begun)


@pytest.mark.parametrize("way", ["cancel", "close"])
def test_a_reader_between_two_events(ui: ChatUI, begun: ChatStream, way: str) -> None:
    """A stream whose reader is between two events is closed at once; the reader raises when it continues."""
    started = time.monotonic()
    in_thread(getattr(begun, way)).join(PATIENCE)
    assert time.monotonic() - started < SOON
    wait_until(lambda: [stop["generationId"] for stop in ui.stops] == [begun.generation_id])
    assert ui.client_gone.wait(PATIENCE)
    with pytest.raises(Cancelled):
        next(begun)
    goes_on(ui, begun)


def test_readers_that_take_turns(ui: ChatUI, any_client: Client) -> None:
    """Each event may be read in another thread, and the stream closed in yet another, as web servers do."""
    ui.says(lines(STARTED), silent(STARTED, token("a"), token("b")))
    stream = any_client.chat("Hi")
    events: list[Any] = []
    for _ in range(2):
        in_thread(lambda: events.append(next(stream))).join(PATIENCE)
    assert events[1] == Token("a")
    started = time.monotonic()
    in_thread(stream.close).join(PATIENCE)
    assert time.monotonic() - started < SOON
    wait_until(lambda: len(ui.stops) == 1)
    goes_on(ui, stream)


def test_cancel_before_reading(ui: ChatUI, any_client: Client) -> None:
    """Cancelling a stream that is not read yet closes it."""
    ui.says(lines(STARTED), silent(STARTED))
    stream = any_client.chat("Hi")
    in_thread(stream.cancel).join(PATIENCE)
    wait_until(lambda: len(ui.stops) == 1)
    with pytest.raises(HFClientError):
        stream.result()
    goes_on(ui, stream)


def test_cancel_in_the_loop(ui: ChatUI, begun: ChatStream) -> None:
    """A loop that cancels its own stream raises `Cancelled`, too."""
    begun.cancel()
    with pytest.raises(Cancelled):
        next(begun)
    goes_on(ui, begun)


def test_cancel_while_resuming(ui: ChatUI, broken: ChatStream, pauses: Pauses) -> None:
    """`cancel` ends the pause before the next request of a log."""
    for kind in ("log", "read"):
        ui.always(kind, [RST])

    def cancel() -> None:
        assert pauses.begun.wait(PATIENCE)
        broken.cancel()

    thread = in_thread(cancel)
    started = time.monotonic()
    with pytest.raises(Cancelled):
        broken.result()
    assert time.monotonic() - started < SOON
    thread.join(PATIENCE)


@pytest.mark.parametrize("kind", ["log", "read"])
def test_cancel_while_waiting_for_a_head(ui: ChatUI, broken: ChatStream, kind: str) -> None:
    """`cancel` ends the wait for a server that does not begin to answer."""
    ui.always("log", [plain(b"", 404)])
    ui.always(kind, [lambda _: threading.Timer(0.05, broken.cancel).start(), UNTIL_GONE])
    started = time.monotonic()
    with pytest.raises(Cancelled):
        broken.result()
    assert time.monotonic() - started < SOON
    assert ui.client_gone.wait(PATIENCE)


def test_cancel_while_a_log_is_read(ui: ChatUI, broken: ChatStream) -> None:
    """`cancel` ends the wait for a log that sends nothing."""
    begins = [head(200, SSE, "Transfer-Encoding: chunked"), chunk(b": heartbeat\n\n")]
    ui.always("log", [*begins, lambda _: threading.Timer(0.05, broken.cancel).start(), UNTIL_GONE])
    started = time.monotonic()
    with pytest.raises(Cancelled):
        broken.result()
    assert time.monotonic() - started < SOON


def test_cancels_and_closes_that_race(ui: ChatUI, any_client: Client) -> None:
    """In every order nothing blocks, nothing is released twice, and the next message is sent."""
    conversation = any_client.conversation()
    go = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED, token("a"))), 0.003]
    go += [chunk(lines(token("b"), final("ab"), FINISHED)), LAST_CHUNK]
    ui.says(lines(STARTED), go)
    for number in range(12):
        stream = conversation.send(f"{number}")
        threads = [in_thread(stream.cancel if (number + i) % 2 else stream.close) for i in range(3)]
        with contextlib.suppress(Cancelled, StreamConsumed):
            for _ in stream:
                pass
        for thread in threads:
            thread.join(PATIENCE)
        assert not conversation._runs.lock.locked()
    assert len(ui.chat.users) == 12


def test_partial_from_another_thread(ui: ChatUI, client: Client) -> None:
    """Reading `partial` from many threads, repeatedly, loses no text."""
    updates = [token(f"{number} ") for number in range(2000)]
    text = "".join(update["token"] for update in updates)
    ui.says(lines(STARTED, *updates, FINISHED))
    stream = client.chat("Hi")
    done = threading.Event()
    odd: list[str] = []

    def look() -> None:
        while not done.wait(0.0003):
            partial = stream.partial.text
            if not text.startswith(partial):
                odd.append(partial)

    lookers = [in_thread(look) for _ in range(2)]
    assert "".join(stream.iter_text()) == text
    done.set()
    for looker in lookers:
        looker.join(PATIENCE)
    assert odd == []
    assert stream.result().text == text


# Stopping without leaving


def test_stop_and_read_on(ui: ChatUI, any_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `stop` from any thread the answer ends early; the reply has all the text that came, whatever the server stored."""
    monkeypatch.setattr(run_tracker, "_STOP_MARK", PATIENCE)
    ui.says(lines(STARTED), ends_when_stopped(ui, STARTED, token("one "), token("two"), text="one t"))
    conversation = any_client.conversation()
    stream = conversation.send("Hi")
    for event in stream:
        if event == Token("two"):
            in_thread(conversation.stop)
    reply = stream.result()
    assert (reply.text, reply.interrupted) == ("one two", True)
    assert ui.stops == [{"generationId": stream.generation_id, "seenContentLength": 7}]
    goes_on(ui, stream)
    assert stream.conversation._runs._not_before == 0.0


def test_leaving_while_a_stop_is_on_its_way(ui: ChatUI, any_client: Client) -> None:
    """The server gets one stop, also if the reader goes on and leaves before it is answered, and cuts the text where it said."""
    answered = threading.Event()
    ui.says(lines(STARTED), silent(STARTED, token("one "), token("two")))
    ui.always("stop", [answered, head(200)])
    stream = any_client.chat("Hi")
    assert [next(stream), next(stream)][1] == Token("one ")
    stopping = threading.Thread(target=stream.stop)
    stopping.start()
    wait_until(lambda: ui.count("stop") == 1)
    assert next(stream) == Token("two")
    stream.close()
    answered.set()
    stopping.join(PATIENCE)
    assert [json.loads(request.body)["seenContentLength"] for request in ui.of("stop")] == [4]


def test_a_stop_that_the_server_refuses(ui: ChatUI, client: Client) -> None:
    """`stop` raises the refusal; leaving does not, so that it never replaces an exception."""
    ui.says(lines(STARTED), silent(STARTED, token("a")))
    ui.always("stop", json_answer({"message": "An error occurred"}, 500))
    stream = client.chat("Hi")
    with pytest.raises(HFClientError):
        stream.stop()
    with pytest.raises(ZeroDivisionError), stream:
        raise ZeroDivisionError
    goes_on(ui, stream)


@pytest.mark.parametrize("script", [[UNTIL_GONE], [RST], [head(200), UNTIL_GONE]], ids=["silent", "reset", "half"])
def test_a_stop_that_is_not_answered(ui: ChatUI, begun: ChatStream, script: Any) -> None:
    """Leaving does not wait for the response to its stop."""
    ui.always("stop", script)
    started = time.monotonic()
    begun.close()
    assert time.monotonic() - started < SOON
    goes_on(ui, begun)


@pytest.mark.usefixtures("time_to_end")
def test_a_stop_that_came_too_late(ui: ChatUI, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop that came after the end of its run would hit the next one, so the next message waits."""
    monkeypatch.setattr(run_tracker, "_STOP_MARK", 0.3)
    whole_at_once = [
        head(200, JSONL, "Transfer-Encoding: chunked"),
        chunk(lines(STARTED, token("a"), token("b"))),
        lambda _: wait_until(lambda: bool(ui.stops)),
    ]
    whole_at_once += [chunk(lines(final("ab"), FINISHED)), LAST_CHUNK]
    ui.says(lines(STARTED), whole_at_once)
    stream = client.chat("Hi")
    leave = iter(stream)
    assert [next(leave), next(leave)][1] == Token("a")
    stream.close()
    assert len(ui.stops) == 1
    assert stream._run.stop_unconfirmed
    not_before = stream.conversation._runs._not_before
    goes_on(ui, stream)
    assert time.monotonic() >= not_before > 0


def test_a_stop_that_the_conversation_shows(ui: ChatUI, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the conversation shows that the run was stopped, the next message does not wait."""
    monkeypatch.setattr(run_tracker, "_STOP_MARK", PATIENCE)
    monkeypatch.setattr(run_tracker, "_STOP_LOOK", 0.02)
    stored = {"content": "a", "interrupted": True, "updates": [final("a", interrupted=True)]}
    ui.says(lines(STARTED), silent(STARTED, token("a")), stored=stored, unfinished_reads=2)
    with client.chat("Hi") as stream:
        next(stream)
    assert stream._run.stop_unconfirmed
    before = ui.count("read")
    assert stream.conversation._runs._not_before > 0.0
    goes_on(ui, stream)
    assert stream.conversation._runs._not_before == 0.0
    assert ui.count("read") >= before + 3


def test_no_stop_after_the_end(ui: ChatUI, client: Client) -> None:
    """After the final answer no stop is sent, although a title may still come."""
    ui.says(lines(STARTED), silent(STARTED, token("a"), final("a")))
    with client.chat("Hi") as stream:
        for event in stream:
            if getattr(event, "interrupted", None) is False:
                break
    assert ui.stops == []
    goes_on(ui, stream)


# Temporary conversations


def test_a_temporary_conversation(ui: ChatUI, any_client: Client) -> None:
    """It is deleted when its stream has ended, before another message can be sent to it."""
    ui.says(recording("plain"))
    stream = any_client.chat("Hi", temporary=True)
    assert len(ui.chats) == 1
    assert stream.text == HELLO
    assert ui.chats == {}
    assert stream.conversation.id is None
    assert [kind for kind, _ in ui.seen][-1] == "delete"


@pytest.mark.usefixtures("time_to_end")
@pytest.mark.parametrize("leave", [leave_by_break, leave_by_with, leave_by_error])
def test_leaving_a_temporary_conversation(ui: ChatUI, any_client: Client, leave: Callable[[ChatStream], None]) -> None:
    """It is also deleted when the stream was left early or failed."""
    ui.says(lines(STARTED), ends_when_stopped(ui, STARTED, token("lo 😀"), text="lo"))
    leave(any_client.chat("Hi", temporary=True))
    assert ui.chats == {}


def test_a_temporary_conversation_that_cannot_be_deleted(
    ui: ChatUI, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is returned, and the failure is logged."""
    ui.says(recording("plain"))
    ui.always("delete", json_answer({"message": "no"}, 500))
    assert client.chat("Hi", temporary=True).text == HELLO
    assert "could not be deleted" in caplog.text


# Questions of tools


QUESTION = {
    "elicitationId": "6cff0873-9b03-4a86-9147-c142d6aabb6f",
    "server": "booking",
    "mode": "form",
    "message": "How many?",
}
ASKS = {"type": "elicitation", "subtype": "request", "request": QUESTION, "expiresAt": 1795235814881}


@pytest.mark.usefixtures("time_to_end")
def test_closing_in_a_callback(ui: ChatUI, any_client: Client) -> None:
    """A callback may close the stream that calls it."""
    ui.says(lines(STARTED), ends_when_stopped(ui, STARTED, ASKS, text=""))
    box: list[ChatStream] = []

    def on_elicitation(question: Elicitation) -> bool:
        box[0].close()
        return False

    box.append(any_client.chat("Hi", on_elicitation=on_elicitation))
    events = list(box[0])
    assert [type(event).__name__ for event in events] == ["Status", "Elicitation"]
    goes_on(ui, box[0])


@pytest.mark.parametrize("status", [409, 404])
def test_a_question_that_was_answered_elsewhere(ui: ChatUI, client: Client, status: int) -> None:
    """Another client may answer first, on the server's own page: the answer continues."""
    ui.says(lines(STARTED, ASKS, token("a"), final("a"), FINISHED))
    ui.always("answer", json_answer({"message": "Already answered."}, status))
    assert client.chat("Hi", on_elicitation=lambda question: {"seats": 2}).text == "a"


# Ctrl-C


SCRIPT = """
from hfclient import Client, Timeouts
from hfclient.chat.conversations import background
from hfclient.chat.conversations.run import Run
from tests.conftest import make_transport
background.STOP_BUDGET = 30
try_stop = Run.try_stop
Run.try_stop = lambda run, seen, budget=30: try_stop(run, seen, 30)
client = Client({url!r}, token="", transport=make_transport({name!r}), timeouts=Timeouts(next_token=300, idle=300))
stream = client.chat("Hi")
try:
    for event in stream:
        print(type(event).__name__, flush=True)
except KeyboardInterrupt:
    print("interrupted", stream.partial.text, flush=True)
    raise
"""


@pytest.mark.parametrize("on_close", ["stop", "detach"])
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_while_waiting_for_the_head(ui: ChatUI, any_client: Client, on_close: Any) -> None:
    """The message has arrived but nothing of its answer: its run is stopped, because it has no reader."""

    def interrupt(_: Any) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    ui.says(lines(STARTED, token("Fine"), final("Fine"), FINISHED))
    ui.fault("send", [ui.store, interrupt, UNTIL_GONE])
    conversation = any_client.conversation()
    with pytest.raises(KeyboardInterrupt):
        conversation.send("Hi", on_close=on_close)
    if on_close == "stop":
        wait_until(lambda: bool(ui.stops))
        assert ui.stops == [{"generationId": ui.chat.messages[-1]["generationId"], "seenContentLength": 0}]
    else:
        assert ui.stops == []
    assert conversation.ask("Again").text == "Fine"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_on_a_silent_stream(ui: ChatUI, transport_name: str) -> None:
    """The process ends at once, the generation is stopped, and the partial answer is available."""
    updates = [STARTED, token("a😀")]
    ui.says(lines(STARTED), silent(*updates))
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(url=ui.url, name=transport_name)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        for _ in updates:
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=2 * PATIENCE)  # less than the deadlines of the silent stream
    assert out == "interrupted a😀\n"
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode in (-signal.SIGINT, 130, 1)
    assert ui.stops == [{"generationId": ui.chat.messages[-1]["generationId"], "seenContentLength": 3}]


BREAK = """
import sys, time
from hfclient import Client
from hfclient.chat.conversations import background
from hfclient.chat.conversations.run import Run
background.STOP_BUDGET = 30
stop = Run.stop
Run.stop = lambda run, seen, budget: (time.sleep(0.7), stop(run, seen, 30))
for event in Client({url!r}, token="").chat("Hi"):
    break
print("left", flush=True)
"""


def test_a_process_that_ends_waits_for_its_stop(ui: ChatUI) -> None:
    """A stop that is slow to send is not lost when the process ends."""
    ui.says(lines(STARTED), silent(STARTED))
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", BREAK.format(url=ui.url)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=root,
        timeout=2 * PATIENCE,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert (done.stdout, done.stderr) == ("left\n", "")
    assert len(ui.stops) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_stop_the_parents_run(ui: ChatUI, any_client: Client) -> None:
    """A child may drop or close its copy of an open stream without stopping the parent's run."""
    go = threading.Event()
    rest = [chunk(lines(token("b"), final("ab"), FINISHED)), LAST_CHUNK]
    ui.says(
        lines(STARTED), [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED, token("a"))), go, *rest]
    )
    stream = any_client.chat("Hi")
    assert [next(stream), next(stream)][1] == Token("a")
    child = os.fork()
    if not child:
        try:
            stream.close()
            del stream
            gc.collect()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    go.set()
    assert stream.result().text == "ab"
    assert ui.stops == []


# Busy


@pytest.mark.usefixtures("time_to_end")
def test_left_streams_free_their_conversation(ui: ChatUI, client: Client) -> None:
    """While a stream is open its thread cannot send; once it is closed it can."""
    ui.says(lines(STARTED), ends_when_stopped(ui, STARTED, token("a"), text="a"))
    stream = client.chat("Hi")
    next(stream)
    with pytest.raises(ConversationBusy):
        stream.conversation.send("again")
    stream.close()
    goes_on(ui, stream)


@pytest.mark.usefixtures("time_to_end")
def test_an_old_reader_does_not_free_a_new_send(ui: ChatUI, client: Client) -> None:
    """Closing a stream twice, or late, does not release the lock that another thread holds."""
    ui.says(recording("plain"))
    conversation = client.conversation()
    old = conversation.send("one")
    old.result()
    ui._next.clear()
    ui.says(lines(STARTED), ends_when_stopped(ui, STARTED, token("a"), text="a"))
    new = conversation.send("two")
    old.close()
    old.cancel()
    with pytest.raises(ConversationBusy):
        conversation.send("three")
    new.close()


def test_attached_streams_do_not_hold_the_conversation(ui: ChatUI, client: Client) -> None:
    """An attached stream neither waits for the lock of the conversation nor takes it."""
    ui.says(recording("plain"))
    conversation = client.conversation()
    conversation.ask("one")
    looking = conversation.attach()
    assert conversation.ask("two").text == HELLO
    assert looking.text == HELLO
    looking.close()
    assert ui.stops == []


def test_leaving_an_attached_stream(ui: ChatUI, any_client: Client) -> None:
    """Its run continues by default; with ``on_close="stop"`` it is stopped by its id."""
    item = recording("slow")
    ui.says(item)
    conversation = any_client.conversation()
    run = conversation.ask("Hi").generation_id
    ui.always("log", [lambda request: served_log((item.log or "")[:300], 0, UNTIL_GONE)])
    for on_close, stops in (("detach", 0), ("stop", 1)):
        started = time.monotonic()
        with conversation.attach(run, on_close=on_close) as stream:  # type: ignore[arg-type]
            assert next(stream)
        assert time.monotonic() - started < SOON
        wait_until(lambda stops=stops: len(ui.stops) == stops)  # type: ignore[misc]
    assert ui.stops[0]["generationId"] == run


def test_stop_requests_that_get_a_page(ui: ChatUI, client: Client) -> None:
    """A server without the path responds with a page, which leaving ignores."""
    ui.says(lines(STARTED), silent(STARTED, token("a")))
    ui.always("stop", plain(b"<!doctype html>", 404, "Content-Type: text/html"))
    with client.chat("Hi") as stream:
        next(stream)
    wait_until(lambda: len(ui.stops) == 1)
