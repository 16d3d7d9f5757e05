"""A Starlette application of tests/deploy/test_asgi.py. ``UPSTREAM`` is the URL of a chat-ui."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from hfclient import Client
from hfclient.events import Token
from hfclient.web import asgi_events, sse
from tests.web.sources import Scripted

client = Client(os.environ.get("UPSTREAM", "http://127.0.0.1:1"), token="", session="")
sources: list[Any] = []
turns = [0]


class Endless(Scripted):
    """Says a token of a kilobyte each time that it is asked, for ever."""

    pending = 0  # type: ignore[assignment]

    def ticks(self, seconds: float) -> Iterator[Any]:
        try:
            while not self.closed.is_set():
                self.read += 1
                yield Token("x" * 1000)
        finally:
            self.close()


async def chat(request: Request) -> StreamingResponse:
    """Answer with server-sent events."""
    prompt = request.query_params["prompt"]
    source: Any
    if prompt in ("silent", "endless"):
        source = Scripted(end=False) if prompt == "silent" else Endless()
        sources.append(source)
    else:
        source = lambda: client.chat(prompt)  # noqa: E731
    body = sse(source, heartbeat=0.2)
    return StreamingResponse(body.asgi(), body.status, body.headers)


async def words(request: Request) -> StreamingResponse:
    """Answer with the text of the events."""

    async def texts() -> Any:
        async for event in asgi_events(lambda: client.chat(request.query_params["prompt"])):
            if isinstance(event, Token):
                yield event.text

    return StreamingResponse(texts(), media_type="text/plain")


async def state(request: Request) -> JSONResponse:
    """Show what the loop and the sources have done."""
    read, closed = sum(source.read for source in sources), sum(source.closed.is_set() for source in sources)
    return JSONResponse({"turns": turns[0], "read": read, "closed": closed, "sources": len(sources)})


async def count(_: Any) -> Any:
    """Count the turns of the loop."""

    async def counting() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0.01)

    task = asyncio.create_task(counting())
    yield
    task.cancel()


app = Starlette(
    routes=[Route("/chat", chat), Route("/words", words), Route("/state", state)],
    lifespan=count,  # type: ignore[arg-type]
)
