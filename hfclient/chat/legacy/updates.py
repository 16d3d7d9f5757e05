"""Types of updates that only servers before September 2025 send: web search, sources, and the forms of early 2024.

Reference: docs/protocol/huggingchat; recordings of chat-ui 0.9.5 and 0.10 (2026-11-21).
"""

from __future__ import annotations

from typing import Any

from hfclient.chat.wire.update_fields import UpdateFields
from hfclient.events import AnyEvent, FinalAnswer, Source, Sources, Status, Title, WebSearch

__all__ = ["read_legacy_update", "web_sources"]


def read_legacy_update(fields: UpdateFields) -> AnyEvent | None:
    """Return the event of an update of a type that today's servers do not send, or None.

    Raises:
        KeyError: A required field is missing.
    """
    match fields.raw.get("type"):
        case "webSearch":
            return _read_web_search(fields)
        case "error":  # agent experiments of early 2024
            return Status("error", fields.text("message"), extra=fields.extra())
        case "status" if fields.raw.get("status") == "title":  # before May 2024
            fields.text("status")
            return Title(fields.text("message").strip(), extra=fields.extra())
    return None


def _read_web_search(fields: UpdateFields) -> AnyEvent | None:
    kind = fields.text_or_none("subtype") or fields.text_or_none("messageType")  # the second before May 2024
    if kind == "sources":
        fields.text_or_none("message")
        return Sources(tuple(_source(item) for item in fields.items("sources")), extra=fields.extra())
    if kind in ("update", "error", "finished"):
        args = tuple(str(arg) for arg in fields.items("args"))
        return WebSearch(fields.text_or_none("message") or "", args, kind, extra=fields.extra())
    return None


def _source(item: Any) -> Source:
    fields = UpdateFields(item if isinstance(item, dict) else {"link": item})
    link = fields.text_or_none("link") or fields.text("uri")
    return Source(link, fields.text_or_none("title"), fields.text_or_none("hostname"), fields.text_or_none("text"))


def web_sources(event: FinalAnswer) -> Sources | None:
    """Return the sources in a final answer's ``extra``, and remove them there; servers of 2024 and 2025 send them, often as null."""
    found = (event.extra or {}).get("webSources")
    if found is not None and not isinstance(found, list):
        return None
    try:
        sources = tuple(map(_source, found or ()))
    except KeyError:
        return None
    event.extra = {key: value for key, value in (event.extra or {}).items() if key != "webSources"} or None
    return Sources(sources) if sources else None
