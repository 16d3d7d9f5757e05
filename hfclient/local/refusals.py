"""Requests that are refused, in chat-ui's own words and shapes.

A handler's refusal is ``{"message": ...}``, or a page of HTML where the caller's ``Accept`` prefers that (or is absent).
Everything unexpected, which for chat-ui includes most malformed input, is a 500 with an ``errorId``.

Reference: docs/protocol/huggingchat ("errors", "Accept negotiation").
"""

from __future__ import annotations

import html
import uuid

import msgspec

__all__ = ["Refused", "broken", "error_body", "page", "prefers_html"]


class Refused(Exception):
    """Ends the handling of a request with an error status.

    Attributes:
        status: HTTP status.
        message: The text for the caller.
        error_id: A fresh id, for what chat-ui counts as unexpected.
    """

    def __init__(self, status: int, message: str, *, error_id: str | None = None) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.error_id = error_id


def broken(status: int = 500) -> Refused:
    """Return the refusal of something malformed."""
    return Refused(status, "An error occurred", error_id=str(uuid.uuid4()))


def prefers_html(accept: str | None) -> bool:
    """Tell whether HTML wins over JSON for a caller with this ``Accept`` header.

    >>> prefers_html("*/*"), prefers_html(None), prefers_html("application/jsonl")
    (False, True, True)
    """
    json_quality, html_quality = (_quality(accept or "", kind) for kind in ("application/json", "text/html"))
    return json_quality == (0.0, 0) or html_quality > json_quality


def _quality(accept: str, kind: str) -> tuple[float, int]:
    """Return how welcome a media type is: its quality, and how precisely it was named."""
    best = (0.0, 0)
    for entry in accept.split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        precision = {kind: 3, kind.partition("/")[0] + "/*": 2, "*/*": 1}.get(name)
        if precision is None:
            continue
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if quality > 0:
            best = max(best, (quality, precision))
    return best


def error_body(refusal: Refused, accept: str | None) -> tuple[bytes, str]:
    """Return body and content type of a refusal."""
    if prefers_html(accept):
        return page(refusal.status, refusal.message), "text/html; charset=utf-8"
    fields = {"message": refusal.message}
    if refusal.error_id is not None:
        fields["errorId"] = refusal.error_id
    return msgspec.json.encode(fields), "application/json"


def page(status: int, message: str) -> bytes:
    """Return a small HTML page whose title is the message."""
    text = html.escape(message)
    heading = f"{status}: {text}" if status >= 400 else text
    return f"<!doctype html>\n<html><head><title>{text}</title></head><body><h1>{heading}</h1></body></html>\n".encode()
