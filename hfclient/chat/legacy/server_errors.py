"""Errors in the forms of servers before February 2026.

Reference: docs/protocol/huggingchat ("errors", "older servers"); the texts are the server's own, seen 2026-11-21.
"""

from __future__ import annotations

import re

from hfclient.errors import (
    APIStatusError,
    BadRequestError,
    HFClientError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
)
from hfclient.transport.status_errors import restated

__all__ = ["is_missing_route", "legacy_error"]

# Before February 2026 the v2 API answers every error with 500; its plain text says which one it is.
_TEXTS: tuple[tuple[re.Pattern[str], type[APIStatusError]], ...] = (
    (re.compile(r"Invalid (conversation|model|message) ID( format)?"), BadRequestError),
    (re.compile(r"[\w ]+ not found\.?"), NotFoundError),
    (re.compile(r"You don't have access to .*"), PermissionDeniedError),
)
_NO_ROUTE = "NOT_FOUND"
_NO_PAGE = re.compile(r"Page \S+ not found")  # 0.10 answers 500 to a path that it does not know
_NO_API = "API is disabled"  # up to 0.9.4, unless the server exposes it


def legacy_error(error: APIStatusError) -> APIStatusError | None:
    """Return the error that a 404 or a 500 of an older server means, or None if it has no such form."""
    body = (error.body or "").lstrip()
    if (error.status_code, body) == (404, _NO_ROUTE) or (error.status_code == 500 and _NO_PAGE.fullmatch(error.message)):
        return restated(NotFoundError, error, "this server is too old for that: it does not know the path")
    if error.status_code != 500 or body.startswith(("{", "<")):
        return None
    cls = next((cls for pattern, cls in _TEXTS if pattern.fullmatch(error.message)), None)
    return None if cls is None else restated(cls, error, error.message)


def is_missing_route(error: HFClientError) -> bool:
    """Return whether *error* is an old server's answer to an unknown path, rather than to a wrong id.

    Seen: its page for any path, with status 200 (0.9.5), 404 or 500 (0.10); ``NOT_FOUND``; ``API is disabled``.
    """
    if isinstance(error, PermissionDeniedError):
        return error.message == _NO_API
    if isinstance(error, NotFoundError):
        body = (error.body or "").lstrip()
        return body == _NO_ROUTE or body.startswith("<")
    return isinstance(error, ProtocolError)
