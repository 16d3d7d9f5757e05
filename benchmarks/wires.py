"""The bytes that the replay server sends, and what has to be found in them.

Three wires: chat-ui's lines, chat completions and text-generation-inference (both server-sent events). The texts are
the same on all of them, so that counts of characters can be held against each other.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator

__all__ = ["FORMS", "WIRES", "characters", "frame", "frames", "head", "tail", "texts"]

WIRES = ("chat", "sse", "tgi")
FORMS = ("big", "framed", "each", "paced")

# Words, pieces of words, marks, quotes and line ends that JSON escapes, and text beyond ASCII, as tokens come.
_PIECES = (
    "The",
    " sky",
    " is",
    " blue",
    ",",
    " be",
    "cause",
    ' "air"',
    " scatters",
    " naïve",
    " light",
    ".\n",
    " 光",
    "!",
)
_PADDED = 16  # chat-ui fills each token with NUL up to so many characters


def texts(count: int) -> Iterator[str]:
    """Return *count* pieces of text."""
    return (_PIECES[number % len(_PIECES)] for number in range(count))


@functools.cache
def characters(count: int) -> int:
    """Return how many characters *count* pieces hold."""
    return sum(map(len, texts(count)))


def frame(wire: str, text: str) -> bytes:
    """Return the event that carries *text*, with its end."""
    if wire == "chat":
        return _line({"type": "stream", "token": text.ljust(_PADDED, "\0")})
    if wire == "sse":
        return _chunk([{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}])
    token = {"id": 4242, "text": text, "logprob": -0.123, "special": False}
    return _event({"index": 1, "token": token, "generated_text": None, "details": None})


def head(wire: str) -> list[bytes]:
    """Return what comes before the first text."""
    if wire == "chat":
        return [_line({"type": "status", "status": "started"})]
    if wire == "sse":
        return [_chunk([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])]
    return []


def tail(wire: str, count: int) -> list[bytes]:
    """Return what comes after the last text."""
    if wire == "chat":
        whole = "".join(texts(count))
        return [
            _line({"type": "finalAnswer", "text": whole, "interrupted": False}),
            _line({"type": "status", "status": "finished"}),
        ]
    if wire == "sse":
        return [
            _chunk([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]),
            _chunk([], usage={"prompt_tokens": 7, "completion_tokens": count, "total_tokens": count + 7}),
            b"data: [DONE]\n\n",
        ]
    end = {"id": 2, "text": "</s>", "logprob": -0.1, "special": True}
    details = {"finish_reason": "eos_token", "generated_tokens": count, "seed": None}
    return [_event({"index": count, "token": end, "generated_text": "".join(texts(count)), "details": details})]


@functools.cache
def frames(wire: str, count: int) -> list[bytes]:
    """Return the whole answer, event by event."""
    made = {text: frame(wire, text) for text in _PIECES}
    return [*head(wire), *(made[text] for text in texts(count)), *tail(wire, count)]


def _chunk(choices: list[object], **more: object) -> bytes:
    return _event(
        {
            "id": "chatcmpl-0123456789abcdef",
            "object": "chat.completion.chunk",
            "created": 1795000000,
            "model": "org/model",
            "choices": choices,
            **more,
        }
    )


def _event(data: object) -> bytes:
    return b"data: " + _json(data) + b"\n\n"


def _line(data: object) -> bytes:
    return _json(data) + b"\n"


def _json(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
