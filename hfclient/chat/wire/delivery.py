"""Whether a message was delivered although its request failed."""

from __future__ import annotations

from typing import Literal

from hfclient.decoding.json_values import json_or_none
from hfclient.errors import APIStatusError, ServerError

__all__ = ["fate_after"]


def fate_after(error: APIStatusError) -> Literal["refused", "doubtful", "unknown"]:
    """Return what a status says about the message that it answers.

    ``refused``: it was not taken. ``unknown``: a gateway gave up waiting, or its connection to the server broke; the
    message may be stored. ``doubtful``: the server's own failure, which it hardly had after storing it.

    Reference: chat-ui, src/routes/conversation/[id]/+server.ts, seen 2026-11-28: what it refuses, it refuses before it
    stores; it never says 502, 503 or 504 itself. 499 is nginx's, 520 to 527 and 530 are Cloudflare's.
    """
    if error.status in (408, 499):
        return "unknown"
    if not isinstance(error, ServerError):  # a bot check, too, whatever its status
        return "refused"
    if error.status in (500, 503):
        return "doubtful" if _is_the_servers_own(error.body) else "unknown"
    return "doubtful" if error.status in (501, 505, 507, 508, 511) else "unknown"


def _is_the_servers_own(body: str | None) -> bool:
    """Whether a body is an error as chat-ui writes it, in JSON."""
    data = json_or_none(body)
    return isinstance(data, dict) and any(isinstance(data.get(name), str) for name in ("message", "error"))
