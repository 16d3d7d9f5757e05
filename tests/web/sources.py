"""A source of events that a test writes by hand."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

from hfclient.errors import Cancelled
from hfclient.events import AnyEvent
from hfclient.web.source import Entry

_END, _CLOSED = object(), object()


class Scripted:
    """Yields what the test gives; ``close()`` from another thread ends a reader with `Cancelled`, as that of a stream does."""

    def __init__(self, *events: AnyEvent | Entry, end: bool = True) -> None:
        self.queue: queue.Queue[Any] = queue.Queue()
        self.closes = 0
        self.closed = threading.Event()
        self.read = 0
        self.reading = threading.Event()
        self.say(*events)
        if end:
            self.end()

    def say(self, *events: AnyEvent | Entry | Exception) -> None:
        """Let these events come now, or this error."""
        for event in events:
            self.queue.put(event)

    def end(self) -> None:
        """Let the answer be complete."""
        self.queue.put(_END)

    @property
    def pending(self) -> int:
        """The number of events that can be read without waiting."""
        items = list(self.queue.queue)
        return next((number for number, item in enumerate(items) if item in (_END, _CLOSED) or isinstance(item, Exception)), len(items))

    def ticks(self, seconds: float) -> Iterator[Any]:
        """Yield the events, and None each time nothing came for *seconds*."""
        self.reading.set()
        try:
            while True:
                try:
                    item = self.queue.get(timeout=seconds)
                except queue.Empty:
                    yield None
                    continue
                if item is _CLOSED:
                    raise Cancelled("closed")
                if item is _END:
                    return
                if isinstance(item, Exception):
                    raise item
                self.read += 1
                yield item
        finally:
            self.close()

    def close(self) -> None:
        """Leave the answer."""
        if not self.closed.is_set():
            self.closes += 1
            self.closed.set()
            self.queue.put(_CLOSED)


def parsed(data: bytes) -> list[dict[str, str]]:
    """Return server-sent events as a browser reads them: fields of each event; comments are left out.

    Reference: the HTML standard, section 9.2.6
    """
    found: list[dict[str, str]] = []
    event: dict[str, str] = {}
    for line in data.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not line:
            if event:
                found.append(event)
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            event[name] = f"{event[name]}\n{value}" if name in event else value
    assert event == {}
    return found
