"""`hfclient.deadline`: all calls of a block share one deadline and one cancellation."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import hfclient
from hfclient import Client, Timeouts
from hfclient.errors import (
    Cancelled,
    ConversationBusy,
    HFClientError,
    InvalidInputError,
    StreamConsumed,
    TransportTimeout,
)
from hfclient.events import Token
from hfclient.transport import Cancellation, Clock, Retry
from hfclient.transport import scope as scopes
from tests.chat.recordings import recording
from tests.chat.replay import JSONL, STARTED, ChatUI, lines, token, too_late, wait_until
from tests.clock import FakeTime
from tests.server import PATIENCE, UNTIL_GONE, chunk, head, plain

SHORT = 0.3
MakeClient = Callable[..., Client]


def silent(*updates: dict[str, Any]) -> list[Any]:
    """An answer whose server sends nothing more from its middle on."""
    return [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(*updates)), UNTIL_GONE]


def check(error: TransportTimeout, seconds: float = SHORT) -> None:
    """Check that *error* names the block."""
    assert (error.deadline, error.seconds) == ("total", seconds)
    assert f"(hfclient.deadline({seconds:g}))" in str(error)


def test_a_stream_keeps_the_deadline_after_its_block(ui: ChatUI, any_client: Client, clock: FakeTime) -> None:
    """A stream that was opened in the block raises at the deadline; the generation is stopped although the time is over."""
    ui.says(lines(STARTED), silent(STARTED, token("Hel")))
    with hfclient.deadline(PATIENCE):
        stream = any_client.chat("Hi")
    assert [next(stream), next(stream)][1] == Token("Hel")
    clock.advance(PATIENCE - SHORT)
    with pytest.raises(TransportTimeout) as caught:
        stream.result()
    check(caught.value, PATIENCE)
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Hel"
    wait_until(lambda: len(ui.stops) == 1)


def test_two_calls_share_the_time(ui: ChatUI, any_client: Client, clock: FakeTime) -> None:
    """The second call has the rest of the time, whatever its own deadlines are; after it no call begins."""
    ui.says(recording("plain"))
    ui.always("read", too_late(clock))
    with hfclient.deadline(PATIENCE) as scope:
        conversation = any_client.chat("Hi", timeouts=Timeouts(total=2 * PATIENCE)).conversation
        with pytest.raises(TransportTimeout) as caught:
            conversation.messages()
        check(caught.value, PATIENCE)
        assert scope.remaining() == 0
        before = ui.count("models")
        with pytest.raises(TransportTimeout) as caught:
            any_client.models.list(fresh=True)
        check(caught.value, PATIENCE)
        assert ui.count("models") == before
    ui._always.clear()
    assert any_client.models.list(fresh=True)


def test_the_nearer_end_counts() -> None:
    """Of nested blocks, and of a call's own total, the nearest end is the deadline and names itself."""
    with hfclient.deadline(10) as outer, hfclient.deadline(20) as inner:
        assert (inner.end, inner.name) == (outer.end, "hfclient.deadline(10)")
        with hfclient.deadline(5) as nearest:
            clock = Clock(Timeouts(total=30))
            assert (clock.end, clock.total, clock.limit) == (nearest.end, 5, "hfclient.deadline(5)")
            assert clock.part(Timeouts(total=1)).limit == "Timeouts.total"
            assert clock.part(Timeouts(total=40)).limit == "hfclient.deadline(5)"
        assert Clock(Timeouts(total=1)).limit == "Timeouts.total"
        with hfclient.deadline() as no_limit:
            assert no_limit.end == outer.end
    assert Clock(Timeouts()).end is None


def test_retries_and_pauses(ui: ChatUI, make_client: MakeClient) -> None:
    """A pause before a retry ends with the block."""
    ui.always("models", plain(b"busy", 503, "Retry-After: 20"))
    client = make_client(retry=Retry(attempts=5, max_wait=30))
    with hfclient.deadline(SHORT), pytest.raises(HFClientError):
        client.models.list()
    with hfclient.deadline(SHORT):
        cancellation = Cancellation()
    with pytest.raises(TransportTimeout) as caught:
        cancellation.pause(PATIENCE)
    check(caught.value)


def test_waiting_for_another_thread(ui: ChatUI, client: Client) -> None:
    """A message that waits for an answer that another thread reads gives up at the deadline, or when it is cancelled."""
    ui.says(lines(STARTED), silent(STARTED, token("Hel")))
    conversation = client.conversation()
    stream = conversation.send("Hi")
    caught: list[BaseException] = []

    def send(scope: scopes.Scope) -> None:
        with scopes.in_scope(scope):
            try:
                conversation.send("and")
            except (HFClientError, ConversationBusy) as error:
                caught.append(error)

    for seconds in (SHORT, None):
        scope = scopes.Scope(seconds)
        thread = threading.Thread(target=send, args=[scope])
        thread.start()
        if seconds is None:
            time.sleep(0.05)
            scope.cancel()
        thread.join(PATIENCE)
    timeout, cancelled = caught
    assert isinstance(timeout, TransportTimeout)
    check(timeout)
    assert isinstance(cancelled, Cancelled)
    stream.close()


def test_cancel_from_another_thread(ui: ChatUI, any_client: Client) -> None:
    """`cancel` ends a call that waits for its headers, a stream that is read, one that is not, and all to come."""
    ui.says(lines(STARTED), silent(STARTED, token("Hel")))
    with hfclient.deadline() as scope:
        idle = any_client.chat("Hi")
        read = any_client.chat("Hi")
        ui.always("models", [UNTIL_GONE])
        ended: list[str] = []

        def run(call: Callable[[], object]) -> None:
            with pytest.raises(Cancelled):
                call()
            ended.append("cancelled")

        calls = (lambda: any_client.models.list(fresh=True), lambda: list(read), lambda: Clock(Timeouts()).pause(PATIENCE))
        threads = []
        for call in calls:
            context = contextvars.copy_context()
            threads.append(threading.Thread(target=context.run, args=(run, call)))
            threads[-1].start()
        wait_until(lambda: read._pulling and ui.count("models") > 1)
        scope.cancel()
        scope.cancel()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(ended) == len(calls)
        with pytest.raises(StreamConsumed):  # as after its own cancel()
            list(idle)
        with pytest.raises(Cancelled):
            any_client.chat("again")
        with hfclient.deadline(5) as inner, pytest.raises(Cancelled):
            inner.check()
    wait_until(lambda: len(ui.stops) == 2)
    ui._always.clear()
    assert any_client.models.list(fresh=True)


def test_a_block_as_decorator_and_in_a_generator(ui: ChatUI, client: Client) -> None:
    """The block works as a decorator, each call with time of its own; a generator may be closed in another context."""

    @hfclient.deadline(5)
    def view() -> float | None:
        scope = scopes.current_scope()
        assert scope is not None
        return scope.end

    first, second = view(), view()
    assert first is not None
    assert second is not None
    assert first < second
    assert scopes.current_scope() is None

    def body() -> Any:
        with hfclient.deadline(5):
            yield 1

    generator = body()
    contextvars.copy_context().run(next, generator)
    generator.close()
    assert scopes.current_scope() is None


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "25"])
def test_bad_seconds(seconds: Any) -> None:
    """Anything but a positive number of seconds or None is an error."""
    with pytest.raises(InvalidInputError, match=r"deadline\(\)"), hfclient.deadline(seconds):
        pass


def test_the_block_does_not_keep_calls(ui: ChatUI, client: Client) -> None:
    """A long block holds no call that has ended."""
    ui.says(recording("plain"))
    with hfclient.deadline(PATIENCE) as scope:
        for _ in range(3):
            assert client.chat("Hi").text
        wait_until(lambda: len(scope._calls) < 3)
