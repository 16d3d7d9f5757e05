"""Whether a message was delivered although its request failed."""

from __future__ import annotations

from typing import Literal

from hfclient.decoding.json_values import json_or_none
from hfclient.errors import APIStatusError, ServerError

__all__ = ["delivery_after"]


def delivery_after(error: APIStatusError) -> Literal["refused", "unlikely", "unknown"]:
    """Return whether the message that was answered with *error* may be on the server all the same.

    ``refused``: it was not taken. ``unlikely``: the server itself failed, which rarely happens after it stored the message.
    ``unknown``: a gateway gave up waiting, or its connection to the server broke; the message may be stored.

    Reference: chat-ui, src/routes/conversation/[id]/+server.ts, seen 2026-11-28: refusals come before the message is stored;
    it does not send 502, 503 or 504 itself. 499 is nginx's, 520 to 527 and 530 are Cloudflare's.
    """
    if error.status_code in (408, 499):
        return "unknown"
    if not isinstance(error, ServerError):  # a bot check too, with any status
        return "refused"
    if error.status_code in (500, 503):
        return "unlikely" if _is_the_servers_own(error.body) else "unknown"
    return "unlikely" if error.status_code in (501, 505, 507, 508, 511) else "unknown"


def _is_the_servers_own(body: str | None) -> bool:
    """Whether a body is an error as chat-ui writes it, in JSON."""
    data = json_or_none(body)
    return isinstance(data, dict) and any(isinstance(data.get(name), str) for name in ("message", "error"))
