"""The wait for content in a chat: keep-alives do not extend it, and time of the caller does not count."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hfclient import Client, events
from hfclient.errors import TransportTimeout
from hfclient.transport import Timeouts
from tests.chat.recordings import recording
from tests.chat.replay import FINISHED, JSONL, STARTED, ChatUI, final, lines, token, wait_until
from tests.chat.test_elicitation import BLOCKS, CALL, RESOLVED, RESULT
from tests.chat.test_resume import KEEP_ALIVE
from tests.clock import FakeTime
from tests.server import LAST_CHUNK, PATIENCE, UNTIL_GONE, Recorded, Script, Step, chunk, head

SHORT = 0.3
PATIENT: dict[str, float] = dict.fromkeys(("connect", "first_token", "next_token", "idle"), PATIENCE)
PROGRESS = {"type": "tool", "subtype": "progress", "uuid": "t", "progress": 1}


def stalls(*updates: dict[str, Any]) -> Script:
    """A stream that begins with *updates* and then sends keep-alives until the client closes it."""

    def steps(request: Recorded) -> Iterator[Step]:
        yield head(200, JSONL, "Transfer-Encoding: chunked")
        yield chunk(lines(*updates))
        while True:
            yield 0.02
            yield chunk(lines(KEEP_ALIVE))

    return [steps]


def timeouts(**changed: float) -> Timeouts:
    return Timeouts(**{**PATIENT, **changed})


@pytest.mark.parametrize("updates", [[token("a")], [token("a"), CALL], [token("a"), CALL, PROGRESS]])
def test_a_model_that_stalls(ui: ChatUI, any_client: Client, updates: list[dict[str, Any]]) -> None:
    """An answer that continues with keep-alives alone ends with ``next_token``; the partial answer is kept and the run is stopped."""
    ui.says(lines(STARTED, *updates), stalls(STARTED, *updates))
    stream = any_client.chat("Hi", timeouts=timeouts(next_token=SHORT))
    with pytest.raises(TransportTimeout) as caught:
        stream.result()
    assert (caught.value.deadline, caught.value.seconds) == ("next_token", SHORT)
    assert caught.value.partial is not None
    assert (caught.value.partial.text, caught.value.partial.interrupted) == ("a", True)
    wait_until(lambda: [stop["generationId"] for stop in ui.stops] == [stream.generation_id])


def test_a_slow_answer_is_whole(ui: ChatUI, any_client: Client, clock: FakeTime) -> None:
    """Content that comes slowly, or a tool that reports progress, does not count as silence."""
    updates = [STARTED, token("a"), CALL, *[PROGRESS] * 4, RESULT, token("b"), final("ab"), FINISHED]
    read = threading.Semaphore(0)

    def steps(request: Recorded) -> Iterator[Step]:
        yield head(200, JSONL, "Transfer-Encoding: chunked")
        for update in updates:
            yield chunk(lines(update))
            assert read.acquire(timeout=PATIENCE)
            clock.advance(0.6 * PATIENCE)
            yield chunk(lines(KEEP_ALIVE))
        yield LAST_CHUNK

    ui.says(lines(*updates), [steps])
    stream = any_client.chat("Hi", timeouts=timeouts(first_token=2 * PATIENCE))
    for _ in stream:
        read.release()
    assert stream.text == "ab"


def test_a_title_that_is_late(ui: ChatUI, any_client: Client) -> None:
    """Once the answer is complete, a missing title does not raise."""
    ui.says(lines(STARTED, token("a"), final("a")), stalls(STARTED, token("a"), final("a")))
    assert any_client.chat("Hi", timeouts=timeouts(next_token=SHORT)).text == "a"


@pytest.mark.parametrize("start", [[STARTED], [STARTED, {"type": "title", "title": "T"}]])
def test_silence_before_content(ui: ChatUI, any_client: Client, start: list[dict[str, Any]]) -> None:
    """Without keep-alives only ``first_token`` ends the wait for content, whatever other events came."""
    rest = lines(token("a"), final("a"), FINISHED)
    body: list[Step] = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(*start)), 0.6, chunk(rest), LAST_CHUNK]
    ui.says(lines(*start) + rest, body)
    assert any_client.chat("Hi", timeouts=timeouts(idle=SHORT)).text == "a"
    assert ui.count("log") == 0


def test_keep_alives_that_stop(ui: ChatUI, any_client: Client) -> None:
    """When keep-alives stop before any content, the connection is dead: the answer resumes from the log."""
    body: list[Step] = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED, KEEP_ALIVE)), UNTIL_GONE]
    ui.says(recording("plain"), body)
    assert any_client.chat("Hi", timeouts=timeouts(idle=1)).text == "Hello, world!"
    assert ui.count("log") >= 1  # a log that takes longer than ``idle`` is opened again


def test_a_question_takes_its_time(ui: ChatUI, any_client: Client, clock: FakeTime) -> None:
    """While a tool waits for the user's answer, no deadline for content runs."""
    updates = [STARTED, CALL, BLOCKS, RESOLVED, RESULT, token("a"), final("a"), FINISHED]
    asked = threading.Event()

    def steps(request: Recorded) -> Iterator[Step]:
        yield head(200, JSONL, "Transfer-Encoding: chunked")
        yield chunk(lines(*updates[:3]))
        yield asked
        for _ in range(3):
            clock.advance(PATIENCE)
            yield chunk(lines(KEEP_ALIVE))
            yield 0.02
        yield chunk(lines(*updates[3:]))
        yield LAST_CHUNK

    ui.says(lines(*updates), [steps])
    stream = any_client.chat("Hi", mcp=["booking"], timeouts=timeouts())
    for event in stream:
        if isinstance(event, events.Elicitation):
            asked.set()
    assert stream.text == "a"


@pytest.mark.parametrize("which", ["first_token", "next_token"])
def test_a_caller_that_does_not_read(ui: ChatUI, any_client: Client, clock: FakeTime, which: str) -> None:
    """Time in which the caller does not read is not counted, before the first event and between two events."""
    updates = [STARTED, token("a"), {"type": "title", "title": "T"}, token("b"), final("ab"), FINISHED]
    ui.says(lines(*updates))
    stream = any_client.chat("Hi", timeouts=timeouts(**{which: PATIENCE}))
    clock.advance(2 * PATIENCE)
    texts = []
    for event in stream:
        if isinstance(event, (events.Token, events.Title)):
            texts.append(getattr(event, "text", ""))
            clock.advance(2 * PATIENCE)
    assert "".join(texts) == "ab"
