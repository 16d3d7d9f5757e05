"""What the server stores, as values: conversations, their trees of messages, runs."""

from __future__ import annotations

import secrets
import time
from typing import Any

from attrs import define, field, frozen

__all__ = ["Conversation", "Message", "Run", "StoredFile", "new_id", "now"]


def now() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """Return a fresh id of a conversation: 24 hex digits, the time in seconds first, as databases make them."""
    return f"{int(time.time()):08x}{secrets.token_hex(8)}"


@frozen(kw_only=True)
class StoredFile:
    """A file of a message: its name as the client said it, its type, and the hash that it is kept under."""

    name: str
    mime: str
    sha: str


@define(kw_only=True)
class Message:
    """A message as it is stored. Times are milliseconds since 1970; ``interrupted`` is None until a run has ended well."""

    id: str
    role: str
    parent_id: str | None = None
    content: str = ""
    files: tuple[StoredFile, ...] = ()
    updates: list[dict[str, Any]] = field(factory=list)
    created_at: int = 0
    updated_at: int = 0
    interrupted: bool | None = None
    generation_id: str | None = None
    materialized: int | None = None


@define(kw_only=True)
class Conversation:
    """A conversation; ``messages`` are all of its tree in order of creation, each after its parent."""

    id: str
    title: str
    model: str
    preprompt: str
    root_id: str
    updated_at: int = 0
    from_share: str | None = None
    messages: list[Message] = field(factory=list)

    def message(self, message_id: str) -> Message | None:
        """Return the message with that id, or None."""
        return next((message for message in self.messages if message.id == message_id), None)

    def path_to(self, message_id: str) -> list[Message]:
        """Return the messages from the root to *message_id*, root first."""
        by_id = {message.id: message for message in self.messages}
        path: list[Message] = []
        step: str | None = message_id
        while step is not None and step in by_id and len(path) <= len(by_id):
            path.append(by_id[step])
            step = by_id[step].parent_id
        return path[::-1]


@frozen(kw_only=True)
class Run:
    """One generation that was recorded: ``status`` is running, completed, interrupted or error."""

    number: int
    conversation_id: str
    generation_id: str
    message_id: str
    status: str
