"""What a client sends for a turn, checked, and which messages it adds to the tree.

Reference: docs/protocol/huggingchat ("send a message", "retry, edit").
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from hfclient.decoding.utf16 import mend_surrogates
from hfclient.local.records import Conversation, Message, StoredFile, now
from hfclient.local.refusals import Refused, broken

__all__ = ["Turn", "Upload", "clean", "parse_turn", "parse_upload", "plan"]

MAX_FILE = 10 * 1024 * 1024
_MIME = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,80}/[A-Za-z0-9!#$&^_.+-]{1,80}")
_SHA = re.compile(r"[0-9a-f]{64}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@frozen(kw_only=True)
class Turn:
    """What a client asks for.

    Attributes:
        inputs: The user's text, or None.
        message_id: The parent of a new message, or the message to retry or edit.
        is_retry: *message_id* is to be done again.
        generation_id: Of the run to come.
    """

    inputs: str | None = None
    message_id: str | None = None
    is_retry: bool = False
    generation_id: str = field(factory=lambda: str(uuid.uuid4()))


@frozen(kw_only=True)
class Upload:
    """A file of a turn: new content, or (data None) one that the conversation has already."""

    file: StoredFile
    data: bytes | None = field(default=None, repr=False)


def clean(text: str) -> str:
    """Return *text* fit to be stored: halves of characters, which JSON can carry, cannot be written as UTF-8."""
    return text if text.isascii() else mend_surrogates(text)


def parse_turn(data: str) -> Turn:
    """Return the turn in the form's field ``data``.

    Raises:
        Refused: 500, as chat-ui answers to everything malformed: no JSON, wrong types, null for a key that may be absent.
    """
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise broken() from None
    if not isinstance(values, dict):
        raise broken()
    inputs = _optional(values, "inputs", str)
    if inputs == "":
        raise broken()
    fields: dict[str, Any] = {
        "inputs": None if inputs is None else clean(inputs.replace("\r\n", "\n")),
        "message_id": _uuid(values, "id"),
        "is_retry": _optional(values, "is_retry", bool) or False,
    }
    _optional(values, "is_continue", bool)
    _optional(values, "timezone", str)
    for key in ("selectedMcpServerNames", "selectedMcpServers", "files"):
        _optional(values, key, list)
    _uuid(values, "resumeElicitationId")
    if (generation_id := _uuid(values, "generationId")) is not None:
        fields["generation_id"] = generation_id
    return Turn(**fields)


def _optional(values: Mapping[str, Any], key: str, kind: type) -> Any:
    if key not in values:
        return None
    value = values[key]
    if not isinstance(value, kind):
        raise broken()
    return value


def _uuid(values: Mapping[str, Any], key: str) -> str | None:
    value: str | None = _optional(values, key, str)
    if value is not None and not _UUID.fullmatch(value):
        raise broken()
    return value


def parse_upload(filename: str, mime: str, body: bytes) -> Upload | None:
    """Return the file in one part of the form; None if it is empty, which chat-ui drops.

    Args:
        filename: ``base64;NAME`` or ``hash;NAME``.
        mime: The part's media type.
        body: Base64 text, or the hash of a file.

    Raises:
        Refused: 500 for a name without its prefix, 413 for more than 10 MiB.
    """
    kind, found, name = clean(filename).partition(";")
    if not found or kind not in ("base64", "hash"):
        raise broken()
    if not body.strip():
        return None
    mime = mime.partition(";")[0].strip().lower() or "text/plain"
    mime = mime if _MIME.fullmatch(mime) else "application/octet-stream"
    if kind == "hash":
        sha = body.decode("ascii", "replace").strip()
        return Upload(file=StoredFile(name=name, mime=mime, sha=sha if _SHA.fullmatch(sha) else "0" * 64))
    content = _decode_base64(body)
    if len(content) > MAX_FILE:
        raise Refused(413, "File too large, should be <10MB")
    # The hash of the content read as UTF-8, as chat-ui has it: of a binary file it is not the SHA-256 of its bytes.
    sha = hashlib.sha256(content.decode("utf-8", "replace").encode()).hexdigest()
    return Upload(file=StoredFile(name=name, mime=mime, sha=sha), data=content)


def _decode_base64(body: bytes) -> bytes:
    kept = re.sub(rb"[^A-Za-z0-9+/]", b"", body)  # what is no base64 is skipped, as JavaScript's decoder does
    if len(kept) % 4 == 1:
        kept = kept[:-1]
    try:
        return base64.b64decode(kept + b"=" * (-len(kept) % 4))
    except binascii.Error:
        raise broken() from None


def plan(conversation: Conversation, turn: Turn, files: tuple[StoredFile, ...]) -> list[Message]:
    """Return the messages that *turn* adds, the assistant's (empty as yet) last.

    A normal turn hangs a user message and its answer below *message_id*. A retry of an answer adds another answer beside
    it; a retry of a user message with new text adds another question beside it, with its answer.

    Raises:
        Refused: There is no such message (404 for a retry, else 500), or nothing would be created (500).
    """
    time = now()

    def message(role: str, parent: str | None, **fields: Any) -> Message:
        return Message(id=str(uuid.uuid4()), role=role, parent_id=parent, created_at=time, updated_at=time, **fields)

    def answer(parent: str) -> Message:
        return message("assistant", parent, generation_id=turn.generation_id)

    if turn.is_retry:
        if turn.message_id is None:
            raise broken()
        target = conversation.message(turn.message_id)
        if target is None:
            raise Refused(404, "Message not found")
        if target.role == "assistant" and target.parent_id is not None:
            return [answer(target.parent_id)]
        if target.role != "user" or turn.inputs is None:
            raise Refused(500, "Failed to create message")
        parent = target.parent_id
    elif turn.message_id is None:
        if conversation.messages:
            raise broken()
        parent = None
    else:
        if conversation.message(turn.message_id) is None:
            raise broken()
        parent = turn.message_id
    question = message("user", parent, content=turn.inputs or "", files=files)
    return [question, answer(question.id)]
