"""The multipart form of a sent message: parsing, validation, and the messages that it adds to the tree.

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

from hfclient.decoding.utf16 import repair_surrogates
from hfclient.local.error_responses import HTTPError, internal_error
from hfclient.local.records import StoredConversation, StoredFile, StoredMessage, now

__all__ = ["FormFile", "MessageForm", "clean_text", "new_messages", "parse_file", "parse_form"]

_MAX_FILE = 10 * 1024 * 1024
_MIME = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,80}/[A-Za-z0-9!#$&^_.+-]{1,80}")
_SHA = re.compile(r"[0-9a-f]{64}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@frozen(kw_only=True)
class MessageForm:
    """The JSON field ``data`` of the form.

    Attributes:
        inputs: The user's text, or None.
        message_id: Parent of a new message, or the message to retry or edit.
        is_retry: Retry or edit *message_id*.
        generation_id: Id of the new generation.
    """

    inputs: str | None = None
    message_id: str | None = None
    is_retry: bool = False
    generation_id: str = field(factory=lambda: str(uuid.uuid4()))


@frozen(kw_only=True)
class FormFile:
    """A file of the form: new content, or (data None) the hash of a file that the conversation already has."""

    file: StoredFile
    data: bytes | None = field(default=None, repr=False)


def clean_text(text: str) -> str:
    """Return *text* with U+FFFD for lone surrogates: JSON can carry them, UTF-8 and SQLite cannot."""
    return text if text.isascii() else repair_surrogates(text)


def parse_form(data: str) -> MessageForm:
    """Parse the form's field ``data``.

    Raises:
        HTTPError: 500, as chat-ui answers malformed data: invalid JSON, a wrong type, null for an optional key.
    """
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise internal_error() from None
    if not isinstance(values, dict):
        raise internal_error()
    inputs = _optional(values, "inputs", str)
    if inputs == "":
        raise internal_error()
    fields: dict[str, Any] = {
        "inputs": None if inputs is None else clean_text(inputs.replace("\r\n", "\n")),
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
    return MessageForm(**fields)


def _optional(values: Mapping[str, Any], key: str, kind: type) -> Any:
    if key not in values:
        return None
    value = values[key]
    if not isinstance(value, kind):
        raise internal_error()
    return value


def _uuid(values: Mapping[str, Any], key: str) -> str | None:
    value: str | None = _optional(values, key, str)
    if value is not None and not _UUID.fullmatch(value):
        raise internal_error()
    return value


def parse_file(filename: str, mime: str, body: bytes) -> FormFile | None:
    """Return the file in one part of the form; None if it is empty: chat-ui drops those.

    Args:
        filename: ``base64;NAME`` or ``hash;NAME``.
        mime: The part's media type.
        body: Base64 text, or the hash of a stored file.

    Raises:
        HTTPError: 500 for a name without a prefix, 413 for more than 10 MiB.
    """
    kind, found, name = clean_text(filename).partition(";")
    if not found or kind not in ("base64", "hash"):
        raise internal_error()
    if not body.strip():
        return None
    mime = mime.partition(";")[0].strip().lower() or "text/plain"
    mime = mime if _MIME.fullmatch(mime) else "application/octet-stream"
    if kind == "hash":
        sha = body.decode("ascii", "replace").strip()
        return FormFile(file=StoredFile(name=name, mime=mime, sha=sha if _SHA.fullmatch(sha) else "0" * 64))
    content = _decode_base64(body)
    if len(content) > _MAX_FILE:
        raise HTTPError(413, "File too large, should be <10MB")
    # As chat-ui computes it: the hash of the content decoded as UTF-8, which for binary files is not the SHA-256 of the bytes.
    sha = hashlib.sha256(content.decode("utf-8", "replace").encode()).hexdigest()
    return FormFile(file=StoredFile(name=name, mime=mime, sha=sha), data=content)


def _decode_base64(body: bytes) -> bytes:
    kept = re.sub(rb"[^A-Za-z0-9+/]", b"", body)  # other characters are skipped, as Node's decoder does
    if len(kept) % 4 == 1:
        kept = kept[:-1]
    try:
        return base64.b64decode(kept + b"=" * (-len(kept) % 4))
    except binascii.Error:
        raise internal_error() from None


def new_messages(conversation: StoredConversation, form: MessageForm, files: tuple[StoredFile, ...]) -> list[StoredMessage]:
    """Return the messages to add, the (still empty) assistant message last.

    A new prompt adds a user message and its answer below *message_id*. A retry of an answer adds a sibling of that answer.
    A retry of a user message with new text (an edit) adds a sibling of that message, and its answer.

    Raises:
        HTTPError: The message does not exist (404 for a retry, else 500), or nothing would be created (500).
    """
    time = now()

    def message(role: str, parent: str | None, **fields: Any) -> StoredMessage:
        return StoredMessage(id=str(uuid.uuid4()), role=role, parent_id=parent, created_at=time, updated_at=time, **fields)

    def answer(parent: str) -> StoredMessage:
        return message("assistant", parent, generation_id=form.generation_id)

    if form.is_retry:
        if form.message_id is None:
            raise internal_error()
        target = conversation.message(form.message_id)
        if target is None:
            raise HTTPError(404, "Message not found")
        if target.role == "assistant" and target.parent_id is not None:
            return [answer(target.parent_id)]
        if target.role != "user" or form.inputs is None:
            raise HTTPError(500, "Failed to create message")
        parent = target.parent_id
    elif form.message_id is None:
        if conversation.messages:
            raise internal_error()
        parent = None
    else:
        if conversation.message(form.message_id) is None:
            raise internal_error()
        parent = form.message_id
    question = message("user", parent, content=form.inputs or "", files=files)
    return [question, answer(question.id)]
