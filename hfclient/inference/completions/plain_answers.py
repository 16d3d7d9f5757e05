"""The plain answer: one document with a text, a usual end and no new field, as nearly every server sends it without ``stream``.

Its events and fields are those that `DeltaReader` finds when it reads the document piece by piece, which takes several times as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from hfclient.inference.completions.field_merging import has_content

__all__ = ["PlainAnswer", "plain_answer"]

_ENDS = ("stop", "length")
_TEXTS = frozenset({"id", "object", "model", "system_fingerprint", "service_tier", "provider"})  # kept as they are
_QUIET = frozenset({"id", "object", "created", "model"})  # of these the reply has all, and no event one


@frozen
class PlainAnswer:
    """A plain answer.

    Attributes:
        text: The content.
        finish_reason: ``"stop"`` or ``"length"``.
        usage: The object of that name, or None.
        extra: The other fields of its root that have a value.
        waiting: Those of them that belong on an event.
    """

    text: str
    finish_reason: str
    usage: dict[str, Any] | None
    extra: dict[str, Any]
    waiting: dict[str, Any]


def plain_answer(document: Mapping[str, Any]) -> PlainAnswer | None:
    """Return the parts of a chat completion that came as one document, or None if it is not plain."""
    extra: dict[str, Any] = {}
    choices = usage = None
    for name, value in document.items():
        if name == "choices":
            choices = value
        elif name == "usage":
            usage = value
        elif name in _TEXTS and type(value) is str:
            if not value.isascii():
                return None
            if value:
                extra[name] = value
        elif name == "created" and type(value) is int:
            extra[name] = value
        elif has_content(value):
            return None
    if type(choices) is not list or len(choices) != 1 or type(choice := choices[0]) is not dict:
        return None
    message = reason = None
    for name, value in choice.items():
        if name == "message":
            message = value
        elif name == "finish_reason":
            reason = value
        elif has_content(value) and not (name == "index" and type(value) is int and value == 0):
            return None
    if reason not in _ENDS or type(message) is not dict or not (usage is None or type(usage) is dict):
        return None
    text = None
    for name, value in message.items():
        if name == "content":
            text = value
        elif has_content(value) and not (name == "role" and type(value) is str):
            return None
    if type(text) is not str or not text or "<" in text or not _is_whole(text):
        return None
    return PlainAnswer(text, reason, usage, extra, {name: value for name, value in extra.items() if name not in _QUIET})


def _is_whole(text: str) -> bool:
    """Return whether *text* has no half of a character."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False
