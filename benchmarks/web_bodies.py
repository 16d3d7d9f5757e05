"""The CPU that an event costs in a body of `hfclient.web`, compared with iterating over the stream.

    python -m benchmarks.web_bodies          # microseconds for each event, and the ratio to iterating; a minute

The ways of reading take turns, and the median of the rounds is shown. See README.md for the forms ``framed``, ``each`` and ``paced``.
"""

from __future__ import annotations

import asyncio
import functools
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from benchmarks.clients import HFClient
from benchmarks.server import ReplayServer
from hfclient.web import asgi_events, ndjson, sse, text
from hfclient.web.formats import ChatCompletionChunks, UIMessageStream

_COUNTS = {"framed": 20_000, "each": 5_000, "paced": 400}
_ROUNDS = 5


def _drain(items: Iterator[Any]) -> None:
    for _ in items:
        pass


def _drain_async(items: AsyncIterator[Any]) -> None:
    async def drain() -> None:
        async for _ in items:
            pass

    asyncio.run(drain())


WAYS: dict[str, Callable[[Any], None]] = {
    "iterate": lambda stream: _drain(iter(stream)),
    "ticks": lambda stream: _drain(stream.ticks(1.0)),
    "sse": lambda stream: _drain(sse(stream)),
    "ndjson": lambda stream: _drain(ndjson(stream)),
    "text": lambda stream: _drain(text(stream)),
    "sse, chat completion chunks": lambda stream: _drain(sse(stream, format=functools.partial(ChatCompletionChunks, "m"))),
    "sse, UI message stream": lambda stream: _drain(sse(stream, format=UIMessageStream)),
    "asgi_events": lambda stream: _drain_async(asgi_events(stream)),
    "sse, asgi()": lambda stream: _drain_async(sse(stream).asgi()),
}


def main() -> None:
    """Measure and print the table."""
    costs: dict[tuple[str, str], list[float]] = {}
    with ReplayServer() as server:
        client = HFClient(server.origin)
        for _ in range(_ROUNDS):
            for form, count in _COUNTS.items():
                for name, read in WAYS.items():
                    stream = client.events("chat", server.url("chat", form, count))
                    begin = time.process_time()
                    read(stream)
                    costs.setdefault((name, form), []).append((time.process_time() - begin) / count * 1e6)
        client.close()
    print(f"{'us of CPU for each event':30}", *(f"{form:>16}" for form in _COUNTS))
    for name in WAYS:
        cells = []
        for form in _COUNTS:
            cost, base = (statistics.median(costs[way, form]) for way in (name, "iterate"))
            cells.append(f"{cost:8.1f} ({cost / base:4.2f}x)")
        print(f"{name:30}", *(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
