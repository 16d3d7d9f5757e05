"""Encoding of chat-ui's events: JSON lines of the live stream, server-sent events of the event log, stored updates.

The padding is part of the protocol. A token of the live stream is padded with NUL to 16 UTF-16 units, so that the length of
a TLS record does not reveal the token. The final answer is followed by 4,096 spaces without a line end, so that proxies do
not buffer it. The event log has neither.

Reference: docs/protocol/huggingchat ("the event stream", "resume").
"""

from __future__ import annotations

from typing import Any

import msgspec

from hfclient.decoding.utf16 import utf16_length

__all__ = [
    "HEARTBEAT",
    "KEEP_ALIVE",
    "PADDING",
    "clamp_utf16",
    "live_line",
    "log_frame",
    "sse_frame",
    "stored_update",
    "token",
]

_TOKEN_UNITS = 16
PADDING = b" " * 4096
KEEP_ALIVE = b'{"type":"status","status":"keepAlive"}\n'
HEARTBEAT = b": heartbeat\n\n"


def token(text: str) -> dict[str, Any]:
    """Return the event of a token."""
    return {"type": "stream", "token": text}


def live_line(event: dict[str, Any]) -> bytes:
    """Return *event* as a line of the live stream.

    >>> live_line(token("Hello"))[:41]
    b'{"type":"stream","token":"Hello\\\\u0000\\\\u00'
    """
    if event["type"] == "stream":
        missing = _TOKEN_UNITS - utf16_length(event["token"])
        if missing > 0:
            event = {**event, "token": event["token"] + "\0" * missing}
    return msgspec.json.encode(event) + b"\n"


def stored_update(event: dict[str, Any]) -> dict[str, Any]:
    """Return the form of *event* in a stored message: a token is replaced by its length in UTF-16 units."""
    if event["type"] == "stream":
        return {"type": "stream", "token": "", "len": utf16_length(event["token"])}
    return event


def log_frame(number: int, event: bytes) -> bytes:
    """Return the server-sent event for entry *number* of a log."""
    return b"id: %d\nevent: update\ndata: %s\n\n" % (number, event)


def sse_frame(name: str, data: Any) -> bytes:
    """Return a server-sent event without a number."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))


def clamp_utf16(text: str, units: int) -> str:
    """Return the start of *text* that has at most *units* UTF-16 units; a character is never split.

    >>> clamp_utf16("a😀b", 2)
    'a'
    """
    if text.isascii():
        return text[: max(0, units)]
    return text.encode("utf-16-le", "surrogatepass")[: max(0, 2 * units)].decode("utf-16-le", "ignore")
