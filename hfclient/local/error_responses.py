"""Error responses in the form that chat-ui gives them.

An error of a handler is ``{"message": ...}``, or an HTML page if the ``Accept`` header prefers HTML or is absent. Everything
unexpected is a 500 with an ``errorId``; for chat-ui that includes most malformed input.

Reference: docs/protocol/huggingchat ("errors", "Accept negotiation").
"""

from __future__ import annotations

import html
import uuid

import msgspec

__all__ = ["HTTPError", "error_body", "html_page", "internal_error", "prefers_html"]


class HTTPError(Exception):
    """Ends the handling of a request with an error status.

    Attributes:
        status: HTTP status.
        message: Text of the response.
        error_id: A new id, for errors that chat-ui counts as unexpected.
    """

    def __init__(self, status: int, message: str, *, error_id: str | None = None) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.error_id = error_id


def internal_error(status: int = 500) -> HTTPError:
    """Return the error for malformed input."""
    return HTTPError(status, "An error occurred", error_id=str(uuid.uuid4()))


def prefers_html(accept: str | None) -> bool:
    """Return whether an ``Accept`` header prefers HTML to JSON.

    The rule is SvelteKit's: werkzeug's ``best_match`` does not accept ``application/json; charset=utf-8`` for JSON.

    >>> prefers_html("*/*"), prefers_html(None), prefers_html("application/jsonl")
    (False, True, True)
    """
    json_quality, html_quality = (_quality(accept or "", kind) for kind in ("application/json", "text/html"))
    return json_quality == (0.0, 0) or html_quality > json_quality


def _quality(accept: str, kind: str) -> tuple[float, int]:
    """Return the quality of a media type in an ``Accept`` header, and how specific its entry is."""
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


def error_body(error: HTTPError, accept: str | None) -> tuple[bytes, str]:
    """Return body and content type of an error response."""
    if prefers_html(accept):
        return html_page(error.status, error.message), "text/html; charset=utf-8"
    fields = {"message": error.message}
    if error.error_id is not None:
        fields["errorId"] = error.error_id
    return msgspec.json.encode(fields), "application/json"


def html_page(status: int, message: str) -> bytes:
    """Return an HTML page with the message as its title."""
    text = html.escape(message)
    heading = f"{status}: {text}" if status >= 400 else text
    return f"<!doctype html>\n<html><head><title>{text}</title></head><body><h1>{heading}</h1></body></html>\n".encode()
