"""`Stream` and `ReplyBuilder` without a socket: one reader, one answer, and no lost content."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hfclient.errors import (
    Cancelled,
    ConnectError,
    GenerationError,
    HFClientError,
    StreamConsumed,
    StreamInterrupted,
    TransportTimeout,
)
from hfclient.events import (
    AnyEvent,
    Elicitation,
    File,
    FinalAnswer,
    Finish,
    Reasoning,
    Route,
    Source,
    Sources,
    Status,
    Title,
    Token,
    ToolCall,
    ToolError,
    ToolResult,
    Usage,
    from_dict,
    to_dict,
)
from hfclient.reply_builder import ReplyBuilder, reply_from_events
from hfclient.stream import Stream
from hfclient.transport import Clock, Deadline, Response, Timeouts
from hfclient.transport.response import Headers
from hfclient.types import Reply
from tests.server import PATIENCE


class Body:
    """Yields chunks; an exception among them is raised, a function is called."""

    def __init__(self, *pieces: bytes | Exception | Callable[[], bytes]) -> None:
        self.pieces = list(pieces)
        self.closed = 0
        self.aborted = False

    def read_some(self) -> bytes:
        if self.aborted:
            raise Cancelled("cancelled")
        if self.closed:
            raise ConnectError("closed")
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return piece if isinstance(piece, bytes) else piece()

    def close(self) -> None:
        self.closed += 1

    def abort(self) -> None:
        self.aborted = True


class Words:
    """A decoder that reads each word as a token, ``t:`` as a title, and ``!`` as the end."""

    def __init__(self) -> None:
        self.ended = False

    def feed(self, data: bytes) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        for word in data.decode().split():
            if word == "!":
                self.ended = True
            else:
                events.append(Title(word[2:]) if word.startswith("t:") else Token(word))
        return events

    def finish(self) -> list[AnyEvent]:
        return [Token("(end)")] if self.ended else []

    def check_end(self) -> None:
        if not self.ended:
            raise StreamInterrupted("cut")


class WordStream(Stream):
    def _blocks(self) -> Iterator[list[AnyEvent]]:
        words = Words()
        try:
            for data in self._response.chunks("stream"):
                yield words.feed(data)
        except ConnectError as error:
            raise StreamInterrupted(f"the answer broke off: {error.message}") from error
        yield words.finish()
        words.check_end()


def stream(*pieces: Any, on_event: Any = None, timeouts: Timeouts = Timeouts(), **fields: Any) -> tuple[Stream, Body]:  # noqa: B008
    body = Body(*pieces)
    deadline = Deadline(Clock(timeouts), stream=True)
    response = Response(200, Headers([("x-request-id", "r")]), body, method="POST", url="https://x", deadline=deadline)
    return WordStream(response, on_event=on_event, fields=fields or None), body


# Reading


def test_a_complete_answer() -> None:
    """Events are read by the chunk and returned one by one; the end closes the response."""
    found, body = stream(b"a b", b"t:T", b"c !", model="m")
    assert repr(found) == "<WordStream open>"
    assert list(found) == [Token("a"), Token("b"), Title("T"), Token("c"), Token("(end)")]
    assert repr(found) == "<WordStream done>"
    assert body.closed
    assert found.result() == found.partial == Reply("abc(end)", title="T", model="m", request_id="r")


def test_nothing_is_read_ahead() -> None:
    """A chunk is read after the events of the previous one were returned."""
    found, body = stream(b"a b", b"c", b"!")
    assert next(found) == Token("a")
    assert len(body.pieces) == 2
    assert next(found) == Token("b")
    assert len(body.pieces) == 2
    assert next(found) == Token("c")
    assert len(body.pieces) == 1


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ConnectError("reset"), StreamInterrupted),
        (TransportTimeout("late", deadline="idle"), TransportTimeout),
        (GenerationError("boom"), GenerationError),
        (Cancelled("x"), Cancelled),
    ],
)
def test_errors(error: HFClientError, raised: type[HFClientError]) -> None:
    """An error has the partial reply, is kept, and is raised again by `result`."""
    found, body = stream(b"a b", error)
    events = []
    with pytest.raises(raised) as caught:
        events.extend(found)
    assert events == [Token("a"), Token("b")]
    assert caught.value.partial == found.partial == Reply("ab", request_id="r")
    assert body.closed
    assert repr(found) == "<WordStream failed>"
    with pytest.raises(raised) as again:
        found.result()
    assert again.value is caught.value
    with pytest.raises(StreamConsumed):
        iter(found)


def test_an_answer_that_is_cut() -> None:
    """The decoder's error about the end is raised after all events."""
    found, _ = stream(b"a")
    assert next(found) == Token("a")
    with pytest.raises(StreamInterrupted, match="cut"):
        next(found)


def test_a_callback() -> None:
    """It gets each event before the reader does; its exceptions are raised in the reader."""
    seen: list[AnyEvent] = []
    found, _ = stream(b"a b", b"!", on_event=seen.append)
    for event in found:
        assert seen[-1] is event

    def fails(event: AnyEvent) -> None:
        raise ValueError("mine")

    found, body = stream(b"a b", on_event=fails)
    with pytest.raises(ValueError, match="mine"):
        next(found)
    assert body.closed


def test_two_threads_cannot_read_one_stream() -> None:
    """The second thread gets an error."""
    inside, leave = threading.Event(), threading.Event()

    def wait() -> bytes:
        inside.set()
        leave.wait(PATIENCE)
        return b"a !"

    found, _ = stream(wait)
    results: list[AnyEvent] = []
    reader = threading.Thread(target=lambda: results.append(next(found)))
    reader.start()
    inside.wait(PATIENCE)
    with pytest.raises(StreamConsumed, match="two threads"):
        next(found)
    leave.set()
    reader.join(PATIENCE)
    assert results == [Token("a")]


# The first content


def test_first_token_is_kept_by_content_only() -> None:
    """Only content counts as a first token: a title does not."""
    found, _ = stream(b"t:T", b"a", b"b !", timeouts=Timeouts(first_token=100, idle=30))
    deadline = found._response.deadline
    next(found)
    assert deadline._content_at is not None
    next(found)
    assert deadline._content_at is None


# Leaving


def test_leaving_closes() -> None:
    """A break, an exception, the end of a with, and a dropped reference close the response at once."""
    found, body = stream(b"a b", b"!")
    for _ in found:
        break
    assert (body.closed, repr(found)) == (1, "<WordStream closed>")
    found, body = stream(b"a b", b"!")
    with pytest.raises(ZeroDivisionError), found:
        raise ZeroDivisionError
    assert body.closed == 1
    found, body = stream(b"a b", b"!")
    del found
    gc.collect()
    assert body.closed == 1
    found, body = stream(b"a b", b"!")
    next(found)
    weak = weakref.ref(found)
    del found
    gc.collect()
    assert weak() is None
    assert body.closed


def test_after_leaving() -> None:
    """The received part is available; reading on is an error."""
    found, _ = stream(b"a b", b"!")
    for _ in found:
        break
    assert found.partial.text == "ab"
    for again in (found.result, lambda: found.text, lambda: iter(found)):
        with pytest.raises(StreamConsumed, match="left before its end") as caught:
            again()
        assert caught.value.partial == found.partial


def test_closing_twice_and_late() -> None:
    """Closing is idempotent, and does not affect a complete answer."""
    found, body = stream(b"a !")
    found.result()
    closed = body.closed
    found.close()
    found.close()
    assert body.closed == closed
    assert found.result().text == "a(end)"


def test_closing_in_the_loop() -> None:
    """A loop that closes its own stream ends after the events that were decoded."""
    found, body = stream(b"a b", b"c !")
    seen = []
    for event in found:
        seen.append(event)
        found.close()
    assert seen == [Token("a"), Token("b")]
    assert body.closed


def test_closing_from_another_thread_between_two_events() -> None:
    """The reader gets an error with its next step."""
    found, body = stream(b"a b", b"c !")
    assert next(found) == Token("a")
    closer = threading.Thread(target=found.close)
    closer.start()
    closer.join(PATIENCE)
    assert body.closed
    assert next(found) == Token("b")
    with pytest.raises(Cancelled):
        next(found)
    with pytest.raises(Cancelled):
        found.result()


def test_closing_from_another_thread_while_it_reads() -> None:
    """It wakes the reader and does not read itself."""
    inside, body_of = threading.Event(), []

    def wait() -> bytes:
        inside.set()
        while not body_of[0].aborted:
            pass
        raise Cancelled("x")

    found, body = stream(wait)
    body_of.append(body)
    closer = threading.Thread(target=lambda: (inside.wait(PATIENCE), found.close()))
    closer.start()
    with pytest.raises(Cancelled):
        next(found)
    closer.join(PATIENCE)
    assert body.closed


def test_generators_over_a_stream() -> None:
    """Closing a generator closes the stream below it."""
    found, body = stream(b"a b", b"!")

    def upper() -> Iterator[str]:
        for event in found:
            if isinstance(event, Token):
                yield event.text.upper()

    texts = upper()
    assert next(texts) == "A"
    texts.close()  # type: ignore[attr-defined]
    assert body.closed


# What has come so far


def add(*events: AnyEvent) -> Reply:
    builder = ReplyBuilder()
    for event in events:
        builder.add([event])
    return builder.reply()


@pytest.mark.parametrize("kept", ["<think>h", "<think>hm</think>a", ""])
def test_received_text_stays(kept: str) -> None:
    """The text of an interrupted final answer is the stored one; other received parts stay, including reasoning."""
    reply = add(Reasoning("hmm"), Token("abc"), File("f", "n", "m"), FinalAnswer(kept, interrupted=True))
    assert (reply.text, reply.reasoning, len(reply.files), reply.interrupted) == ("abc", "hmm", 1, True)


def test_text_after_leaving() -> None:
    """Text that was received and not returned may be cut to the stored text, and no further."""
    for kept, text in (("one ", "one "), ("one two", "one two"), ("on", "one two three")):
        builder = ReplyBuilder()
        builder.add([Token("one "), Token("two "), Token("three")])
        builder.reader_left([Token("two "), Token("three")])
        builder.add([FinalAnswer(kept, interrupted=True)])
        assert builder.reply().text == text


CALL = ToolCall("u", "echo")


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([Token("a"), Token("b")], "ab"),
        ([Token("a "), FinalAnswer("a")], "a"),
        ([Token("one two "), Token("one two three"), FinalAnswer("one two three")], "one two three"),
        ([FinalAnswer("a")], "a"),
        ([Token("a"), FinalAnswer("")], ""),
        ([Token("abc"), FinalAnswer("ab", interrupted=True)], "abc"),
        ([Token("ab"), FinalAnswer("abc", interrupted=True)], "abc"),
        ([Token("ab"), FinalAnswer("", interrupted=True)], "ab"),
        ([Token("Let me check. "), CALL, Token("Done."), FinalAnswer("Done.")], "Let me check. Done."),
        ([CALL, FinalAnswer("Done.")], "Done."),
        ([Token("Do"), CALL, FinalAnswer("Done.")], "Done."),
        ([Token("First."), CALL, FinalAnswer("Second.")], "First.\n\nSecond."),
        ([Token("First.\n\n"), CALL, FinalAnswer("Second.")], "First.\n\nSecond."),
        ([Token("First."), CALL, Token("Sec"), FinalAnswer("First.Se", interrupted=True)], "First.Sec"),
    ],
)
def test_text_of_an_answer(events: list[AnyEvent], text: str) -> None:
    """The final answer replaces the tokens; with tools it is the last round, and is merged as the server does it."""
    assert add(*events).text == text


def test_reasoning_of_an_answer() -> None:
    """Reasoning of the final answer is used, else that of the events."""
    assert add(Reasoning("a"), Token("b"), FinalAnswer("<think>A</think>b")).reasoning == "A"
    assert add(Reasoning("a"), Token("b"), FinalAnswer("b")).reasoning == "a"
    assert add(FinalAnswer("<think>never closed")).reasoning == "never closed"


def test_all_events_in_a_reply() -> None:
    """Each kind of event has its field."""
    result, failed, file = ToolResult("u", "success"), ToolError("v", "no"), File("n", "s", "m")
    question = Elicitation("e", "s", "form", "m")
    usage, source = Usage(1, 2, 3), Source("https://a")
    reply = add(
        Status("started"), Title("old"), Title("T"), CALL, result, failed, file, question, usage, Sources((source,)),
        Sources((source,)), Route("r", "m"), Route("", "", "p"), Finish("stop"), Token("x"), FinalAnswer("x", interrupted=True),
    )  # fmt: skip
    assert reply == Reply(
        "x", title="T", interrupted=True, finish_reason="stop", sources=(source, source), files=(file,), tool_calls=(CALL,),
        tool_results=(result,), tool_errors=(failed,), elicitations=(question,), usage=usage, route=Route("r", "m", "p"),
    )  # fmt: skip


def test_what_is_content() -> None:
    """Text, reasoning, tools, files and a final answer; not titles, statuses and routes."""
    for event, content in ((Token("a"), True), (Reasoning("a"), True), (CALL, True), (File("n", "s", "m"), True),
                           (FinalAnswer(""), True), (Title("t"), False), (Status("started"), False), (Route(), False)):  # fmt: skip
        assert ReplyBuilder().add([event]) is content


def test_partial_is_cheap() -> None:
    """Reading the partial reply does not change it, and its cost does not grow with each read."""
    builder = ReplyBuilder()
    for number in range(1000):
        builder.add([Token(str(number % 10))])
        assert builder.text() == builder.text()
    assert len(builder.text()) == 1000
    assert len(builder._text.pieces) == 1


def test_memory_of_a_long_answer() -> None:
    """Tokens are joined as they arrive, text and reasoning separately, so that memory grows with the text only."""
    builder = ReplyBuilder()
    for number in range(200):
        assert builder.add([Token(f"{number}.{piece} ") for piece in range(100)])
        assert builder.add([Reasoning(f"{number}:{piece} ") for piece in range(100)])
    assert len(builder._text.pieces) + len(builder._reasoning.pieces) < 10_000
    assert builder.text() == "".join(f"{number}.{piece} " for number in range(200) for piece in range(100))
    assert builder.thoughts() == "".join(f"{number}:{piece} " for number in range(200) for piece in range(100))


# Closed readers


def test_closing_in_the_loop_reads_no_more() -> None:
    """The rest of the block is returned, then the loop ends: nothing more is read."""
    asked: list[int] = []

    def more() -> bytes:
        asked.append(1)
        return b"c !"

    found, body = stream(b"a b", more)
    events = []
    for event in found:
        events.append(event)
        if event == Token("a"):
            found.close()
            body.closed = 0  # although it is closed
    assert events == [Token("a"), Token("b")]
    assert not asked
    assert found.partial.text == "ab"


def test_closing_from_another_thread_reads_no_more() -> None:
    """The reader ends with its next step, before it reads anything."""
    asked: list[int] = []

    def more() -> bytes:
        asked.append(1)
        return b"c !"

    found, body = stream(b"a", more)
    assert next(found) == Token("a")
    thread = threading.Thread(target=found.close)
    thread.start()
    thread.join(PATIENCE)
    body.closed = 0
    with pytest.raises(Cancelled, match="closed while") as caught:
        next(found)
    assert not asked
    assert caught.value.partial is not None
    assert caught.value.partial.text == "a"


@pytest.mark.parametrize(
    ("limit", "content", "unread"), [(1, b"a", 2), (3, b"abc", 2), (5, b"abcde", 1), (6, b"abcdef", 1), (7, b"abcdefg", 0), (99, b"abcdefghi", 0)]
)
def test_read_at_most(limit: int, content: bytes, unread: int) -> None:
    """The requested number of bytes, from any number of chunks; chunks after them are not read."""
    body = Body(b"abc", b"def", b"ghi")
    deadline = Deadline(Clock(Timeouts()))
    response = Response(200, Headers([]), body, method="GET", url="https://x", deadline=deadline)
    assert response.read_at_most(limit) == content
    assert len(body.pieces) == unread
    assert body.closed


def test_unknown_fields_reach_the_reply() -> None:
    """Further fields of the final answer and of the route are in the reply."""
    builder = ReplyBuilder()
    builder.add([Route("a", extra={"x": 1}), Route(model="m", extra={"y": 2}), FinalAnswer("Hi", extra={"z": [3]})])
    reply = builder.reply(extra={"id": "c1"})
    assert reply.route == Route("a", "m", extra={"x": 1, "y": 2})
    assert reply.extra == {"id": "c1", "z": [3]}
    assert type(reply).from_dict(reply.to_dict()) == reply


def test_a_reply_from_stored_events() -> None:
    """Events that were kept as JSON give the reply of their stream; a final answer among them says itself how it ended."""
    kept = [Token("He"), Reasoning("hm"), Token("llo"), Title("Hi")]
    reply = reply_from_events(from_dict(json.loads(json.dumps(to_dict(event)))) for event in kept)
    assert (reply.text, reply.reasoning, reply.title, reply.interrupted) == ("Hello", "hm", "Hi", False)
    assert reply_from_events(kept, interrupted=True).interrupted
    assert reply_from_events([*kept, FinalAnswer("Hello!")], interrupted=True) == reply_from_events([*kept, FinalAnswer("Hello!")])
