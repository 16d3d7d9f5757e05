"""Blocking calls while an event loop runs: in a coroutine, in threads of the loop, in a notebook's cell."""

from __future__ import annotations

import ast
import asyncio
import types
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hfclient import ChatStream, Client
from hfclient.errors import Cancelled
from hfclient.events import AnyEvent, Token
from hfclient.web import asgi_events
from tests.chat.replay import wait_until
from tests.processes.helpers import PromptedChatUI, text_for


@pytest.fixture
def any_client(prompted: PromptedChatUI, make_client: Callable[..., Client], transport_name: str) -> Client:
    """A client over each transport."""
    return make_client(transport_name, base_url=prompted.url)


EventsOf = Callable[[ChatStream], AsyncIterator[AnyEvent]]


@pytest.fixture
def events_of() -> EventsOf:
    """What the page on processes shows."""
    return asgi_events


def test_in_a_coroutine(prompted: PromptedChatUI, any_client: Client) -> None:
    """A plain call works while a loop runs: it blocks that loop, and needs no loop of its own."""

    async def main() -> str:
        with any_client.chat("count one") as stream:
            return "".join(stream.iter_text())

    assert asyncio.run(main()) == text_for("count one")


def test_in_threads_of_the_loop(prompted: PromptedChatUI, any_client: Client) -> None:
    """`asyncio.to_thread` does not block the loop; five calls run at the same time."""
    prompted.together = 5

    async def main() -> tuple[list[str], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        calls = [asyncio.to_thread(lambda number=number: any_client.chat(f"count {number}").text) for number in range(5)]  # type: ignore[misc]
        texts = await asyncio.gather(*calls)
        ticking.cancel()
        return texts, ticks

    texts, ticks = asyncio.run(main(), debug=False)
    assert texts == [text_for(f"count {number}") for number in range(5)]
    assert ticks > 20


def test_async_for(prompted: PromptedChatUI, any_client: Client, events_of: EventsOf) -> None:
    """The documented recipe yields the events one by one, and several streams can run in one loop."""
    prompted.together = 3

    async def read(prompt: str) -> str:
        stream = await asyncio.to_thread(any_client.chat, prompt)
        return "".join([event.text async for event in events_of(stream) if isinstance(event, Token)])

    async def main() -> list[str]:
        return await asyncio.gather(*(read(f"count {number}") for number in range(3)))

    assert asyncio.run(main()) == [text_for(f"count {number}") for number in range(3)]
    assert prompted.stops == []


@pytest.mark.parametrize("way", ["break", "task cancelled", "timeout"])
def test_leaving_async_for(prompted: PromptedChatUI, any_client: Client, events_of: EventsOf, way: str) -> None:
    """However the coroutine ends, the generation is stopped and no thread of the loop is left."""
    prompt = "hold this" if way == "task cancelled" else "endless one"

    async def read(stream: ChatStream) -> None:
        events = events_of(stream)
        async for event in events:
            if isinstance(event, Token) and way == "break":
                break
        await events.aclose()  # type: ignore[attr-defined]

    async def main() -> ChatStream:
        stream = await asyncio.to_thread(any_client.chat, prompt)
        task = asyncio.create_task(read(stream))
        if way == "break":
            await task
        elif way == "timeout":
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(task, 0.3)
        else:
            while not stream.partial.text:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises((asyncio.CancelledError, Cancelled)):
                await task
        return stream

    stream = asyncio.run(main())
    wait_until(lambda: len(prompted.stops_for(prompt)) == 1)
    assert stream.partial.interrupted


def test_in_a_notebook(prompted: PromptedChatUI, any_client: Client) -> None:
    """A notebook runs its cells inside a running loop, with or without ``await`` in them."""
    cells = [
        "stream = client.chat('count one')\nfirst = next(stream)",
        "import asyncio\nawait asyncio.sleep(0)\nrest = stream.text",
        "stream.partial.text == rest == (await asyncio.to_thread(stream.result)).text",
    ]
    space: dict[str, Any] = {"client": any_client}

    async def kernel() -> Any:
        value = None
        for cell in cells:
            tree = ast.parse(cell)
            last = tree.body[-1]
            if isinstance(last, ast.Expr):
                tree.body[-1] = ast.copy_location(ast.Assign([ast.Name("_", ast.Store())], last.value), last)
                ast.fix_missing_locations(tree)
            code = compile(tree, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            value = types.FunctionType(code, space)()
            if asyncio.iscoroutine(value):
                await value
        return space["_"]

    assert asyncio.run(kernel()) is True
    assert space["rest"] == text_for("count one")
