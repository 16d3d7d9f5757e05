"""`Stream.ticks` over a real connection: a tick in each wait, and nothing is lost when the reader leaves at one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import hfclient
from hfclient import Client, Timeouts
from hfclient.chat.conversations import stream as chat_stream
from hfclient.chat.conversations.conversation import ChatStream
from hfclient.errors import Cancelled, InvalidInputError, StreamConsumed, TransportTimeout
from hfclient.events import Token
from tests.chat.recordings import recording
from tests.chat.replay import FINISHED, JSONL, STARTED, ChatUI, cut, final, lines, log_of, token, wait_until
from tests.clock import FakeTime
from tests.server import LAST_CHUNK, PATIENCE, SOON, UNTIL_GONE, Recorded, chunk, head, plain

TICK = 0.02


def helpers() -> list[threading.Thread]:
    """The helper threads that run."""
    return [thread for thread in threading.enumerate() if thread.name == "hfclient-ticks"]


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    wait_until(lambda: not helpers())


def silent(*updates: dict[str, Any]) -> list[Any]:
    """An answer whose server sends nothing more from its middle on."""
    return [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(*updates)), UNTIL_GONE]


def kept_alive(ui: ChatUI, *updates: dict[str, Any], text: str) -> Any:
    """An answer that sends keep-alives until it is stopped, and then ends with an interrupted final answer."""

    def steps(request: Recorded) -> Iterator[Any]:
        yield head(200, JSONL, "Transfer-Encoding: chunked")
        yield chunk(lines(*updates))
        while not ui.stops:
            yield 0.01
            yield chunk(lines({"type": "status", "status": "keepAlive"}))
        yield chunk(lines(final(text, interrupted=True), FINISHED))
        yield LAST_CHUNK

    return [steps]


def read_to_tick(stream: ChatStream) -> Iterator[Any]:
    """Read *stream* up to its first tick after a token; return the iterator."""
    events = stream.ticks(TICK)
    while type(next(events)) is not Token:
        pass
    while next(events) is not None:
        pass
    return events


def test_events_are_the_same_as_without_ticks(ui: ChatUI, any_client: Client) -> None:
    """Without its None values a stream with ticks has the events of one without, and the same result."""
    ui.says(recording("plain"))
    plain = any_client.chat("Hi")
    expected = list(plain)
    ticking = any_client.chat("Hi")
    assert [event for event in ticking.ticks(PATIENCE) if event is not None] == expected
    assert ticking.result().text == plain.result().text


def test_ticks_while_the_server_is_silent(ui: ChatUI, any_client: Client) -> None:
    """A silent server gives ticks until it goes on; text before and after is complete."""
    go = threading.Event()
    answer = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED, token("a"))[:-9]), go,
              chunk(lines(STARTED, token("a"))[-9:] + lines(token("b"), final("ab"), FINISHED)), LAST_CHUNK]  # fmt: skip
    ui.says(lines(STARTED), answer)
    stream, heard, ticks = any_client.chat("Hi"), [], 0
    for event in stream.ticks(TICK):
        ticks += event is None
        if ticks == 3:
            go.set()
        heard.append(event)
    assert [event.text for event in heard if isinstance(event, Token)] == ["a", "b"]
    assert stream.result().text == "ab"
    assert ui.stops == []


def test_ticks_during_resume(ui: ChatUI, make_client: Any, transport_name: str) -> None:
    """While a broken stream resumes there are ticks, and the text has no gap."""
    go = threading.Event()
    stream_bytes = lines(STARTED, token("one "), token("two"), final("one two"), FINISHED)
    log = log_of(STARTED, token("one "), token("two"), final("one two"), FINISHED)
    ui.says(stream_bytes, cut(len(lines(STARTED, token("one ")))), log=log)
    ui.fault("log", [go, lambda request: ui._log(request, ui.chat)])
    client = make_client(transport_name)
    stream = client.chat("Hi")
    for event in stream.ticks(TICK):
        if event is None and ui.count("log"):
            go.set()
    assert stream.result().text == "one two"


@pytest.mark.parametrize("leave", ["close", "drop", "close the iterator", "cancel", "exception", "thread"])
def test_leaving_at_a_tick(ui: ChatUI, any_client: Client, leave: str) -> None:
    """Each way of leaving at a tick stops the generation once, with the text that was read, and frees the connection."""
    ui.says(lines(STARTED), silent(STARTED, token("Hel"), token("lo 😀")))
    stream = any_client.chat("Hi")
    events = read_to_tick(stream)
    started = time.monotonic()
    match leave:
        case "close":
            stream.close()
        case "drop":
            del events
        case "close the iterator":
            events.close()  # type: ignore[attr-defined]
        case "cancel":
            stream.cancel()
            with pytest.raises(Cancelled) as caught:
                list(events)
            assert caught.value.partial is not None
            assert caught.value.partial.text == "Hello 😀"
        case "exception":
            with pytest.raises(ZeroDivisionError):
                events.throw(ZeroDivisionError)  # type: ignore[attr-defined]
        case "thread":
            thread = threading.Thread(target=stream.close)
            thread.start()
            thread.join()
            with pytest.raises(Cancelled):
                list(events)
    assert time.monotonic() - started < SOON
    wait_until(lambda: ui.stops == [{"generationId": stream.generation_id, "seenContentLength": 8}])
    assert ui.client_gone.wait(PATIENCE)
    assert stream.partial.text == "Hello 😀"
    assert stream.partial.interrupted
    wait_until(lambda: not helpers())
    ui._next.clear()
    ui.says(recording("plain"))
    assert stream.conversation.ask("again").text == "Hello, world!"


def test_leaving_a_server_that_still_sends(ui: ChatUI, any_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving at a tick reads the end of the stopped answer, so the connection is used again."""
    monkeypatch.setattr(chat_stream, "_SILENCE", PATIENCE)
    monkeypatch.setattr(chat_stream, "STOP_BUDGET", PATIENCE)
    ui.says(lines(STARTED), kept_alive(ui, STARTED, token("abc"), text="abcdef"))
    stream = any_client.chat("Hi")
    events = read_to_tick(stream)
    del events
    assert stream.partial.text == "abcdef"
    assert not stream._run.stop_unconfirmed


def test_detaching_at_a_tick(ui: ChatUI, any_client: Client) -> None:
    """With ``on_close="detach"`` nothing is stopped."""
    ui.says(lines(STARTED), silent(STARTED, token("a")))
    stream = any_client.chat("Hi", on_close="detach")
    events = read_to_tick(stream)
    del events
    assert ui.client_gone.wait(PATIENCE)
    assert ui.stops == []


def test_an_event_that_came_after_the_tick_is_undelivered(
    ui: ChatUI, any_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that came while the loop handled a tick does not count as read when the loop then leaves."""
    monkeypatch.setattr(chat_stream, "STOP_BUDGET", PATIENCE)
    go, sent = threading.Event(), threading.Event()
    answer = [*silent(STARTED, token("abc"))[:-1], go, chunk(lines(token("def"))), lambda _: sent.set(), UNTIL_GONE]
    ui.says(lines(STARTED), answer)
    stream = any_client.chat("Hi")
    events = read_to_tick(stream)
    go.set()
    assert sent.wait(PATIENCE)
    del events
    wait_until(lambda: [stop["seenContentLength"] for stop in ui.stops] == [3])
    assert stream.partial.text == "abcdef"


def test_no_thread_can_start(ui: ChatUI, any_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can start, the stream is read without ticks."""
    ui.says(recording("plain"))
    stream = any_client.chat("Hi")

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        heard = list(stream.ticks(PATIENCE))
    assert heard[-1] is not None
    assert stream.result().text == "Hello, world!"


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "1", None])
def test_bad_seconds(ui: ChatUI, client: Client, seconds: Any) -> None:
    """Anything but a positive number of seconds is an error, after which the stream can be read."""
    ui.says(recording("plain"))
    stream = client.chat("Hi")
    with pytest.raises(InvalidInputError, match=r"ticks\(\)"):
        stream.ticks(seconds)
    assert stream.text == "Hello, world!"


def test_changing_between_next_and_ticks(ui: ChatUI, any_client: Client) -> None:
    """`next` may be followed by ticks, and those by a loop without ticks; each event comes once."""
    ui.says(recording("plain"))
    expected = list(any_client.chat("Hi"))
    stream = any_client.chat("Hi")
    heard: list[Any] = [next(stream), next(stream)]
    for event in stream.ticks(PATIENCE):
        heard.append(event)
        break
    heard.append(next(stream))
    heard.extend(stream)
    assert heard == expected
    with pytest.raises(StreamConsumed):
        stream.ticks(1)


def test_reading_twice(ui: ChatUI, client: Client) -> None:
    """A second iterator of a stream that is read with ticks is an error."""
    ui.says(lines(STARTED), silent(STARTED, token("a")))
    stream = client.chat("Hi")
    events = read_to_tick(stream)
    for again in (lambda: iter(stream), lambda: stream.ticks(1), stream.result):
        with pytest.raises(StreamConsumed):
            again()
    del events


def test_keep_alives_are_not_events(ui: ChatUI, any_client: Client) -> None:
    """Ticks come on time although the server sends keep-alives all the time."""
    ui.says(lines(STARTED), kept_alive(ui, STARTED, token("abc"), text="abc"))
    stream = any_client.chat("Hi")
    events = stream.ticks(0.1)
    while type(next(events)) is not Token:
        pass
    assert [next(events) for _ in range(3)] == [None] * 3
    del events


@pytest.mark.parametrize("name", ["idle", "next_token", "total"])
def test_deadlines_pass_in_spite_of_ticks(ui: ChatUI, any_client: Client, clock: FakeTime, name: str) -> None:
    """A deadline that is longer than the time between two ticks ends the stream as without ticks."""
    read = threading.Event()

    def time_passes(request: Recorded) -> Iterator[Any]:
        yield read
        for _ in range(3000):
            yield 0.01
            clock.advance(PATIENCE / 20)

    ui.says(lines(STARTED), [*silent(STARTED, token("abc"))[:-1], time_passes, UNTIL_GONE])
    ui.always("log", [UNTIL_GONE])
    limits: dict[str, Any] = {**dict.fromkeys(("first_token", "next_token", "idle", "total")), name: PATIENCE}
    stream = any_client.chat("Hi", timeouts=Timeouts(**limits))
    while type(next(stream)) is not Token:
        pass
    read.set()
    heard: list[Any] = []
    if name == "idle":  # the connection is dead, so it resumes
        for event in stream.ticks(TICK):
            heard.append(event)
            if ui.count("log"):
                break
    else:
        with pytest.raises(TransportTimeout) as caught:
            heard.extend(stream.ticks(TICK))
        assert (caught.value.deadline, caught.value.seconds) == (name, PATIENCE)
        assert caught.value.partial is not None
        assert caught.value.partial.text == "abc"
    stream.close()


def test_the_time_of_the_loop_is_not_silence(ui: ChatUI, any_client: Client, clock: FakeTime) -> None:
    """A loop that takes longer than all deadlines for its work at a tick, while bytes arrive, reads on."""
    go, sent = threading.Event(), threading.Event()
    rest = [chunk(lines(token("b"), final("ab"), FINISHED)), LAST_CHUNK, lambda _: sent.set()]
    ui.says(lines(STARTED), [*silent(STARTED, token("a"))[:-1], go, *rest])
    stream = any_client.chat("Hi", timeouts=Timeouts(**dict.fromkeys(("connect", "first_token", "idle", "next_token"), PATIENCE)))
    events = read_to_tick(stream)
    go.set()
    assert sent.wait(PATIENCE)
    clock.advance(2 * PATIENCE)
    assert [event.text for event in events if isinstance(event, Token)] == ["b"]
    assert ui.count("log") == 0


def test_a_question_has_ticks(ui: ChatUI, any_client: Client) -> None:
    """While the caller's function thinks about a question, in the helper thread, there are ticks; afterwards none is needed."""
    asks = {"type": "elicitation", "subtype": "request", "toolUuid": "t", "expiresAt": 1795235814881,
            "request": {"elicitationId": "e", "server": "s", "mode": "form", "message": "?", "fields": []}}  # fmt: skip
    answered, go, threads = threading.Event(), threading.Event(), []
    ui.always("answer", [lambda request: answered.set(), plain(b"{}", 200, "Content-Type: application/json")])
    answer = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED, asks)), answered,
              chunk(lines(token("yes"), final("yes"), FINISHED)), LAST_CHUNK]  # fmt: skip
    ui.says(lines(STARTED), answer)

    def reply(question: Any) -> dict[str, Any]:
        threads.append(threading.current_thread().name)
        assert go.wait(PATIENCE)
        return {}

    stream, ticks = any_client.chat("Hi", mcp=["s"], on_elicitation=reply), 0
    for event in stream.ticks(TICK):
        ticks += event is None
        if threads and ticks > 2:
            go.set()
    assert threads == ["hfclient-ticks"]
    assert stream.result().text == "yes"


def test_a_stream_that_is_only_read_needs_no_thread(ui: ChatUI, any_client: Client) -> None:
    """Waits for the body start no thread: hundreds of streams with ticks have hundreds of sockets, and nothing more."""
    ui.says(lines(STARTED), silent(STARTED, token("abc")))
    stream = any_client.chat("Hi")
    events = read_to_tick(stream)
    assert helpers() == []
    del events


def test_a_later_helper_thread_waits_for_the_earlier_answer(ui: ChatUI, client: Client) -> None:
    """A message that a helper thread sends waits for the answer of another one, also if both threads have the same id."""
    go = threading.Event()
    answer = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED, token("one"))), go,
              chunk(lines(final("one"), FINISHED)), LAST_CHUNK]  # fmt: skip
    ui.says(lines(STARTED), answer, log=log_of(STARTED, final("one"), FINISHED))
    conversation = client.conversation()
    first = hfclient.ticks(lambda: conversation.send("1"), TICK)
    while type(next(first)) is not Token:
        pass
    second = hfclient.ticks(lambda: conversation.send("2"), TICK)
    for _ in range(3):
        assert next(second) is None
    go.set()
    assert [event.text for event in first if isinstance(event, Token)] == []
    assert [event.text for event in second if isinstance(event, Token)] == ["one"]


@pytest.mark.parametrize("leave", ["drop", "close", "cancel", "thread"])
def test_leaving_while_a_log_is_opened(ui: ChatUI, any_client: Client, leave: str) -> None:
    """Leaving while the helper thread waits for the log of a broken answer stops the generation and ends the thread."""
    ui.says(lines(STARTED, token("one ")), cut(len(lines(STARTED, token("one ")))))
    ui.always("log", [UNTIL_GONE])
    stream = any_client.chat("Hi")
    events = stream.ticks(TICK)
    while next(events) is not None or not ui.count("log"):
        pass
    assert len(helpers()) == 1
    if leave == "drop":
        del events
    elif leave == "close":
        stream.close()
    elif leave == "cancel":
        stream.cancel()
    else:
        thread = threading.Thread(target=stream.close)
        thread.start()
        thread.join()
    wait_until(lambda: len(ui.stops) == 1 and not helpers())
    assert ui.client_gone.wait(PATIENCE)
    assert stream.partial.text == "one "
    assert stream._released._lock.locked()
    assert not stream.conversation._runs.lock.locked()
