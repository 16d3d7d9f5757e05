"""Values that the server stores: conversations, trees of messages, files, generations."""

from __future__ import annotations

import secrets
import time
from typing import Any

from attrs import define, field, frozen

__all__ = ["ConversationRecord", "FileRecord", "GenerationRecord", "MessageRecord", "new_id", "now"]


def now() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """Return a new id of a conversation in the form of MongoDB's ObjectId: 24 hex digits, the first 8 the seconds since 1970."""
    return f"{int(time.time()):08x}{secrets.token_hex(8)}"


@frozen(kw_only=True)
class FileRecord:
    """A file of a message: the name that the client gave, its media type, and the hash under which it is stored."""

    name: str
    mime: str
    sha: str


@define(kw_only=True)
class MessageRecord:
    """A message. Times are milliseconds since 1970; ``interrupted`` is None while the answer is generated and after an error."""

    id: str
    role: str
    parent_id: str | None = None
    content: str = ""
    files: tuple[FileRecord, ...] = ()
    updates: list[dict[str, Any]] = field(factory=list)
    created_at: int = 0
    updated_at: int = 0
    interrupted: bool | None = None
    generation_id: str | None = None
    materialized: int | None = None


@define(kw_only=True)
class ConversationRecord:
    """A conversation; ``messages`` holds its whole tree in order of creation, so each parent comes before its children."""

    id: str
    title: str
    model: str
    preprompt: str
    root_id: str
    updated_at: int = 0
    from_share: str | None = None
    messages: list[MessageRecord] = field(factory=list)

    def message(self, message_id: str) -> MessageRecord | None:
        """Return the message with that id, or None."""
        return next((message for message in self.messages if message.id == message_id), None)

    def path_to(self, message_id: str) -> list[MessageRecord]:
        """Return the messages from the root to *message_id*, root first."""
        by_id = {message.id: message for message in self.messages}
        path: list[MessageRecord] = []
        step: str | None = message_id
        while step is not None and step in by_id and len(path) <= len(by_id):
            path.append(by_id[step])
            step = by_id[step].parent_id
        return path[::-1]


@frozen(kw_only=True)
class GenerationRecord:
    """A generation in the store; ``status`` is running, completed, interrupted or error."""

    number: int
    status: str
