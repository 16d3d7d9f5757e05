"""An ASGI application of tests/deploy/test_handover.py, as docs/web-deploying.rst describes it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from hfclient import Client
from hfclient.web import RedisStore, Relay, sse

client = Client(os.environ.get("UPSTREAM", "http://127.0.0.1:1"), token="", session="private")
relay = Relay(RedisStore(os.environ.get("STORE", "redis://127.0.0.1:1")), lease=100, recover=client)


async def app(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """Start a run at /start, and follow one at /<id>. The header ``worker`` says which process answers, also at /worker."""
    if scope["type"] != "http":
        return
    start: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": [(b"worker", str(os.getpid()).encode())]}
    if scope["path"] == "/start":
        run = await asyncio.to_thread(relay.start, "key", lambda: client.chat("hold on"))
        await send(start)
        await send({"type": "http.response.body", "body": run.id.encode()})
        return
    if scope["path"] == "/worker":
        await send({**start, "headers": [*start["headers"], (b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        return
    body = sse(await asyncio.to_thread(relay.follow, scope["path"][1:]))
    await send(start)
    async for piece in body.asgi():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


if "STORE" in os.environ:
    relay.close_on_sigterm(0.6)  # longer than uvicorn needs without connections
