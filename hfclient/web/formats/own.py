"""hfclient's own formats: server-sent events, JSON lines, plain text.

Reference: the HTML standard, section 9.2 (server-sent events); https://github.com/ndjson/ndjson-spec
"""

from __future__ import annotations

from typing import ClassVar

from hfclient.events import AnyEvent, Token
from hfclient.web.formats.base import event_json, json_line
from hfclient.web.problems import Problem

__all__ = ["EventStream", "JsonLines", "Text"]


class EventStream:
    """Server-sent events: ``id:`` and ``data:`` for each event of the answer.

    ``retry:`` comes first. A failure is an event ``problem`` with the JSON of `problem` (the name ``error`` belongs to
    EventSource itself). The last is always ``end`` with a ``status``; a browser closes its EventSource then.

    Args:
        retry: Seconds that a browser waits before it reconnects.
    """

    headers: ClassVar[dict[str, str]] = {"Content-Type": "text/event-stream; charset=utf-8"}
    heartbeat = b": ping\n\n"
    can_resume = True

    def __init__(self, retry: float = 1.0) -> None:
        self._retry = max(0, round(retry * 1000))
        self._count = 0

    def begin(self) -> bytes:
        """Return the line ``retry:``."""
        return b"retry: %d\n\n" % self._retry

    def event(self, event: AnyEvent, event_id: str | None) -> bytes:
        """Return the event with its id. Events without an id of their own are counted from 1."""
        data = _token(event) if type(event) is Token else event_json(event)
        if event_id is None:
            self._count += 1
            return b"id: %d\ndata: %b\n\n" % (self._count, data)
        if not event_id.isprintable():  # a line end would begin a field of its own
            return b"data: %b\n\n" % data
        return b"id: %b\ndata: %b\n\n" % (event_id.encode(), data)

    def problem(self, problem: Problem, error: Exception) -> bytes:
        """Return the event ``problem``."""
        return b"event: problem\ndata: %b\n\n" % problem.json().encode()

    def end(self, status: str) -> bytes:
        """Return the event ``end``."""
        return b"event: end\ndata: %b\n\n" % json_line({"status": status})


class JsonLines:
    """A JSON object on each line: the events of the answer, and ``Ping``, ``Problem``, ``End``.

    The heartbeat is an object, because not every reader accepts an empty line.
    """

    headers: ClassVar[dict[str, str]] = {"Content-Type": "application/x-ndjson; charset=utf-8"}
    heartbeat = b'{"event":"Ping"}\n'
    can_resume = True

    def begin(self) -> bytes:
        """Return nothing."""
        return b""

    def event(self, event: AnyEvent, event_id: str | None) -> bytes:
        """Return the event; one of a run has the member ``event_id`` first."""
        data = _token(event) if type(event) is Token else event_json(event)
        if event_id is None:
            return data + b"\n"
        return b'{"event_id":%b,%b\n' % (json_line(event_id), data[1:])

    def problem(self, problem: Problem, error: Exception) -> bytes:
        """Return the line ``Problem``."""
        return json_line({"event": "Problem", **problem.body}) + b"\n"

    def end(self, status: str) -> bytes:
        """Return the line ``End``."""
        return json_line({"event": "End", "status": status}) + b"\n"


class Text:
    """The text of the answer alone. It has no heartbeat; an error breaks the connection off, because text cannot express it."""

    headers: ClassVar[dict[str, str]] = {"Content-Type": "text/plain; charset=utf-8"}
    heartbeat = None
    can_resume = False

    def begin(self) -> bytes:
        """Return nothing."""
        return b""

    def event(self, event: AnyEvent, event_id: str | None) -> bytes:
        """Return the text of a token, and nothing for other events."""
        return event.text.encode("utf-8", "replace") if type(event) is Token else b""

    def problem(self, problem: Problem, error: Exception) -> bytes:
        """Raise *error*: the server ends the connection without the end of the body, so that a reader notices."""
        raise error

    def end(self, status: str) -> bytes:
        """Return nothing."""
        return b""


def _token(event: Token) -> bytes:
    """Return a token in JSON: half of the work of the general way."""
    if event.id is None and event.logprob is None and event.special is None and event.extra is None:
        return b'{"event":"Token","text":%b}' % json_line(event.text)
    return event_json(event)
