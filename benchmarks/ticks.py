"""The CPU that an event costs with ticks, compared with iterating over the stream, on both transports.

    python -m benchmarks.ticks               # microseconds for each event, and the ratio to iterating; a minute

``hfclient.ticks`` opens the stream in a helper thread, whose start is part of the cost. The ways of reading take turns, and the median
of the rounds is shown. See README.md for the forms ``framed``, ``each`` and ``paced``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import hfclient
from benchmarks.clients import HFClient
from benchmarks.server import ReplayServer

_COUNTS = {"framed": 20_000, "each": 5_000, "paced": 400}
_ROUNDS = 5
_WIRES = ("chat", "sse")

Open = Callable[[], Any]

WAYS: dict[str, Callable[[Open], Iterator[Any]]] = {
    "iterate": lambda open_stream: iter(open_stream()),
    "stream.ticks": lambda open_stream: open_stream().ticks(1.0),
    "hfclient.ticks": lambda open_stream: hfclient.ticks(open_stream, 1.0),
}


def _measure(client: HFClient, server: ReplayServer) -> dict[tuple[str, str, str], list[float]]:
    costs: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(_ROUNDS):
        for wire in _WIRES:
            for form, count in _COUNTS.items():
                url = server.url(wire, form, count)
                for name, read in WAYS.items():
                    begin = time.process_time()
                    for _event in read(lambda url=url, wire=wire: client.events(wire, url)):  # type: ignore[misc]
                        pass
                    costs.setdefault((name, wire, form), []).append((time.process_time() - begin) / count * 1e6)
    return costs


def main() -> None:
    """Measure and print the tables."""
    columns = [(wire, form) for wire in _WIRES for form in _COUNTS]
    for transport, options in (("default transport", {}), ("impersonate", {"impersonate": "chrome"})):
        with ReplayServer() as server:
            client = HFClient(server.origin, **options)
            costs = _measure(client, server)
            client.close()
        print(f"{transport + ', us of CPU':28}", *(f"{wire + ' ' + form:>16}" for wire, form in columns))
        for name in WAYS:
            cells = []
            for wire, form in columns:
                cost, base = (statistics.median(costs[way, wire, form]) for way in (name, "iterate"))
                cells.append(f"{cost:8.1f} ({cost / base:4.2f}x)")
            print(f"{name:28}", *(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
