"""Streams in an event loop: nothing blocks it, memory is bounded, and every way of leaving leaves the answer."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from hfclient import Client, errors, events
from hfclient.web import Guard, asgi_events, ndjson, sse, text
from hfclient.web.source import Entry
from tests.chat.replay import wait_until
from tests.processes.helpers import PromptedChatUI, text_for
from tests.server import PATIENCE
from tests.web.sources import Scripted, parsed

Token = events.Token


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("hfclient-asgi")]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    wait_until(lambda: not _threads())


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine for at most a minute and a half."""

    async def limited() -> Any:
        return await asyncio.wait_for(main, 90)

    return asyncio.run(limited())


async def _all(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


class Endless(Scripted):
    """Says a token each time that it is asked, for ever."""

    pending = 0  # type: ignore[assignment]

    def ticks(self, seconds: float) -> Iterator[Any]:
        try:
            while not self.closed.is_set():
                self.read += 1
                yield Token("x" * 1000)
        finally:
            self.close()


def test_events_in_their_order() -> None:
    """All events come, in their order, each once; then the iterator ends, and stays ended."""
    given = [Token(str(number)) for number in range(1000)]

    async def main() -> None:
        items = asgi_events(Scripted(*given))
        assert await _all(items) == given
        assert await _all(items) == []

    run(main())


def test_errors_come_behind_the_events() -> None:
    """The error that ended the answer is raised after the events before it, once; a follower's entries stay entries."""
    source = Scripted(Entry("r:1", Token("a")), end=False)
    source.say(errors.GenerationError("no"))

    async def main() -> None:
        items = asgi_events(source)
        assert await anext(items) == Entry("r:1", Token("a"))
        with pytest.raises(errors.GenerationError):
            await anext(items)
        assert await _all(items) == []

    run(main())


def test_ticks() -> None:
    """With ``seconds`` None comes each time that nothing came; without it the iterator only waits."""
    source = Scripted(end=False)

    async def main() -> None:
        items = asgi_events(source, 0.05)
        assert [await anext(items), await anext(items)] == [None, None]
        source.say(Token("a"))
        source.end()
        assert [item for item in await _all(items) if item is not None] == [Token("a")]

    run(main())


def test_the_loop_is_woken_once_for_many_events() -> None:
    """A thousand events that are there cost a few wake-ups."""
    wakes = 0

    async def main() -> None:
        nonlocal wakes
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def counted(*args: Any, **options: Any) -> Any:
            nonlocal wakes
            wakes += 1
            return wake(*args, **options)

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
        assert len(await _all(asgi_events(Scripted(*[Token("x")] * 1000)))) == 1000

    run(main())
    assert wakes < 20


def test_a_slow_reader_slows_the_source() -> None:
    """What a reader does not take is not read from the source either, except for a bounded number of events."""
    source, bytes_source = Endless(), Endless()

    async def main() -> None:
        items = asgi_events(source)
        pieces = sse(bytes_source).asgi()
        await anext(items)
        await anext(pieces)
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert source.read <= 2 * 128 + 2
        assert bytes_source.read * 1000 <= 2 * 65_536 + 2_000
        await items.aclose()  # type: ignore[attr-defined]
        await pieces.aclose()  # type: ignore[attr-defined]

    run(main())
    assert source.closes == bytes_source.closes == 1


def test_a_fast_source_leaves_the_loop_to_others() -> None:
    """A source that is always ahead lets other tasks run."""
    source = Endless()

    async def main() -> None:
        others = 0

        async def other() -> None:
            nonlocal others
            while True:
                others += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        items = asgi_events(source)
        for _ in range(2000):
            await anext(items)
        assert others > 5  # at least once for each full buffer
        task.cancel()
        await items.aclose()  # type: ignore[attr-defined]

    run(main())


async def _leave_by_aclose(items: Any) -> None:
    await items.aclose()


async def _leave_by_close(items: Any) -> None:
    items.close()


async def _leave_by_cancelling(items: Any) -> None:
    while True:
        task = asyncio.create_task(anext(items))
        await asyncio.sleep(0.01)
        if not task.done():
            break
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _leave_by_timeout(items: Any) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        while True:
            await asyncio.wait_for(anext(items), 0.02)


async def _leave_by_dropping(items: Any) -> None:
    del items


@pytest.mark.parametrize("opened", [True, False], ids=["read", "unread"])
@pytest.mark.parametrize("make", [asgi_events, lambda source: sse(source).asgi()], ids=["events", "bytes"])
@pytest.mark.parametrize(
    "leave", [_leave_by_aclose, _leave_by_close, _leave_by_cancelling, _leave_by_timeout, _leave_by_dropping], ids=lambda leave: leave.__name__
)
def test_leaving_while_the_model_is_silent(leave: Callable[[Any], Any], make: Callable[[Any], Any], opened: bool) -> None:
    """Each way of leaving leaves the source at once, while its thread waits for the next event, and ends the thread."""
    source = Scripted(end=False)

    async def main() -> None:
        items = [make(source)]
        if opened:
            source.say(Token("a"))
            await anext(items[0])
        await leave(items.pop())
        gc.collect()
        assert await asyncio.to_thread(source.closed.wait, 20)

    run(main())
    assert source.closes == 1


def test_the_loop_ends() -> None:
    """A loop that is closed without a word ends the thread: at the next event, or while the buffer is full."""
    for source in (Scripted(Token("a"), end=False), Endless()):
        loop = asyncio.new_event_loop()
        items = asgi_events(source)
        loop.run_until_complete(anext(items))  # type: ignore[arg-type]
        loop.close()
        source.say(*[Token("b")] * 10)
        wait_until(source.closed.is_set)


def test_closing_does_not_block_the_loop() -> None:
    """A source that takes long to leave, as for a stop request, does not hold the loop."""
    go = threading.Event()

    class Slow(Scripted):
        def close(self) -> None:
            assert threading.current_thread() is not threading.main_thread()
            go.wait(20)
            super().close()

    source = Slow(Token("a"), end=False)

    async def main() -> None:
        items: Any = asgi_events(source)
        await anext(items)
        items.close()
        assert not source.closed.is_set()
        go.set()
        await items.aclose()
        await asyncio.to_thread(source.closed.wait, 20)

    run(main())


def test_a_call_runs_in_the_thread() -> None:
    """A function is called apart from the loop, in a copy of the context, and its refusal is raised."""
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    seen: list[Any] = []

    def answer() -> Scripted:
        seen.append((threading.current_thread() is threading.main_thread(), name.get()))
        return Scripted(Token("a"))

    def refuse() -> Scripted:
        raise errors.RateLimitError("no", status_code=429)

    async def main() -> None:
        name.set("n")
        assert await _all(asgi_events(answer)) == [Token("a")]
        with pytest.raises(errors.RateLimitError):
            await _all(asgi_events(refuse))
        assert [event.get("event") for event in parsed(b"".join(await _all(sse(refuse).asgi())))[1:]] == ["problem", "end"]

    run(main())
    assert seen == [(False, "n")]


def test_bytes() -> None:
    """The bytes are those of WSGI, and heartbeats come from the loop."""
    given = [events.Status("started"), *[Token(str(number)) for number in range(300)], events.FinalAnswer("x")]

    async def main() -> None:
        for write in (sse, ndjson, text):
            written = b"".join(write(Scripted(*given), heartbeat=None))
            assert b"".join(await _all(write(Scripted(*given), heartbeat=None).asgi())) == written
        source = Scripted(end=False)
        pieces: Any = sse(source, heartbeat=0.05).asgi()
        assert [await anext(pieces) for _ in range(3)] == [b"retry: 1000\n\n", b": ping\n\n", b": ping\n\n"]
        await pieces.aclose()
        pieces = sse(Scripted(Token("a"), end=False), wait=PATIENCE, heartbeat=0.05).asgi()
        while b'"a"' not in await anext(pieces):
            pass
        assert await anext(pieces) == b": ping\n\n"
        await pieces.aclose()

    run(main())


def test_a_hundred_streams_on_one_loop() -> None:
    """A hundred chats at once, on one loop, none of which is completed before all have begun: all are complete."""

    async def main() -> None:
        async def one(number: int) -> str:
            prompt = f"count {number}"
            items = asgi_events(lambda: client.chat(prompt))
            return "".join([event.text async for event in items if isinstance(event, Token)])

        told = await asyncio.gather(*map(one, range(100)))
        assert told == [text_for(f"count {number}") for number in range(100)]

    with PromptedChatUI() as ui, Client(ui.url, token="", session="") as client:
        ui.together = 100
        run(main())


def test_the_generation_is_stopped() -> None:
    """A chat that is left while the model is silent is stopped on its server."""

    async def main() -> None:
        items: Any = asgi_events(client.chat("hold a"))
        while not isinstance(await anext(items), Token):
            pass
        await asyncio.to_thread(ui.wait_for_prompt, "hold a")
        await items.aclose()

    with PromptedChatUI() as ui, Client(ui.url, token="", session="") as client:
        run(main())
        wait_until(lambda: len(ui.stops_for("hold a")) == 1)
        ui.go.set()


@pytest.mark.parametrize("is_watched", [True, False], ids=["watched by a guard", "plain"])
def test_the_call_is_cancelled(is_watched: bool) -> None:
    """A call that the service has not answered yet is cancelled when its reader leaves, also the call of a guard."""
    guard = Guard(requests="10/day")

    async def main() -> None:
        call: Any = lambda: client.chat("mute a")  # noqa: E731
        pieces: Any = sse(guard.watch(call, user="u") if is_watched else call, heartbeat=0.05).asgi()
        for _ in range(3):
            await anext(pieces)
        await asyncio.to_thread(ui.wait_for_prompt, "mute a")
        await pieces.aclose()
        assert ui.go.is_set() is False

    with PromptedChatUI() as ui, Client(ui.url, token="", session="") as client:
        run(main())
        wait_until(lambda: len(ui.stops_for("mute a")) == 1)
        ui.go.set()


def test_asyncio_is_imported_late() -> None:
    """Importing the bodies imports no event loop."""
    code = "import sys, hfclient.web; hfclient.web.sse; hfclient.web.asgi_events; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.strip().lower()) is False
