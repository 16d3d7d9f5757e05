"""Short functions for the answers of a chat-completions server."""

from __future__ import annotations

import json
from typing import Any

from tests.clock import FakeTime
from tests.server import PATIENCE, UNTIL_GONE, Step, chunk, chunked, head

CHAT = "/v1/chat/completions"
SSE = "Content-Type: text/event-stream"
STREAM = head(200, "Transfer-Encoding: chunked", SSE)
DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"
SHORT = 0.3
"""Seconds of a deadline that passes in real time."""


def data(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(reason: str | None = None, **fields: Any) -> bytes:
    """One chunk."""
    return data({"choices": [{"index": 0, "delta": fields, "finish_reason": reason}]})


def usage(prompt: int, completion: int) -> bytes:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return data({"choices": [], "usage": counts})


def call(name: str, arguments: Any = None, id: str | None = None, index: int = 0) -> dict[str, Any]:
    """A whole tool call as an entry of ``tool_calls``; arguments that are not a string are encoded as JSON."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    named = {} if id is None else {"id": id}
    return {"index": index, **named, "type": "function", "function": {"name": name, "arguments": written}}


def says(*pieces: str, reason: str | None = "stop", counts: tuple[int, int] | None = None) -> list[Step]:
    """An answer with text."""
    chunks = [delta(content=piece) for piece in pieces]
    return chunked(*chunks, delta(reason), *([usage(*counts)] if counts else []), DONE, headers=[SSE])


def calls(
    *entries: dict[str, Any],
    text: str = "",
    thought: str = "",
    reason: str | None = "tool_calls",
    counts: tuple[int, int] | None = None,
) -> list[Step]:
    """An answer that calls tools, several of them at once."""
    first = ([delta(reasoning_content=thought)] if thought else []) + ([delta(content=text)] if text else [])
    numbered = [{**entry, "index": number} for number, entry in enumerate(entries)]
    chunks = [*first, delta(tool_calls=numbered), delta(reason), *([usage(*counts)] if counts else []), DONE]
    return chunked(*chunks, headers=[SSE])


def begun(*events: bytes) -> list[Step]:
    """The start of an answer without its end."""
    return [STREAM, *map(chunk, events)]


def silence(clock: FakeTime, seconds: float = PATIENCE, last: bytes = chunk(PING)) -> list[Step]:
    """The end of an answer: after *last*, which has no text, no byte comes for *seconds*.

    They pass by the test's clock, only the last of them (`SHORT`) in real time: what the client does before that may take long.
    """
    return [lambda _: clock.advance(seconds - SHORT), last, UNTIL_GONE]
