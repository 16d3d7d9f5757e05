"""What a format is, and JSON that stays on one line."""

from __future__ import annotations

import json
from typing import Any, Protocol

import msgspec

from hfclient.events import AnyEvent, to_dict
from hfclient.web.problems import Problem

__all__ = ["Format", "event_json", "json_line"]

# JSON leaves them as they are, and readers that cut text with `str.splitlines` take them for the end of a line.
_LINE_ENDS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


class Format(Protocol):
    """Writes the events of one answer as bytes. An object is used for one body, so it may keep a state.

    Attributes:
        headers: Headers beside those of all bodies, with ``Content-Type``.
        heartbeat: What is sent while nothing comes, or None if the format cannot express it.
        can_resume: Whether a reader continues behind the last event that it has, if a body ends without :meth:`end`.
    """

    @property
    def headers(self) -> dict[str, str]:
        """Headers beside those of all bodies, with ``Content-Type``."""
        ...

    @property
    def heartbeat(self) -> bytes | None:
        """What is sent while nothing comes, or None if the format cannot express it."""
        ...

    @property
    def can_resume(self) -> bool:
        """Whether a reader continues behind the last event that it has, if a body ends without :meth:`end`."""
        ...

    def begin(self) -> bytes:
        """Return what comes before the first event, or nothing. It is sent at once."""
        ...

    def event(self, event: AnyEvent, event_id: str | None) -> bytes:
        """Return an event, or nothing. *event_id* is that of an `Entry`, or None."""
        ...

    def problem(self, problem: Problem, error: Exception) -> bytes:
        """Return the error that ended the answer. Only `Problem` is meant for the browser. May raise *error* instead."""
        ...

    def end(self, status: str) -> bytes:
        """Return the end: *status* is ``"completed"``, ``"interrupted"`` or ``"failed"``."""
        ...


def json_line(value: Any) -> bytes:
    """Return *value* as JSON in UTF-8, on one line for every reader; lone surrogates are escaped."""
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(value).encode()
    if not data.isascii():
        for end, escaped in _LINE_ENDS:
            if end in data:
                data = data.replace(end, escaped)
    return data


def event_json(event: AnyEvent) -> bytes:
    """Return an event as :func:`hfclient.events.to_dict` describes it, in JSON on one line.

    Raises:
        ProtocolError: The event is nested too deeply for the stack that is left.
    """
    return json_line(to_dict(event))
