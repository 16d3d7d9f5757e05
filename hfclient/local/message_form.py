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
from typing import Annotated, Any

import msgspec
from attrs import field, frozen
from msgspec import UNSET, UnsetType

from hfclient.decoding.utf16 import repair_surrogates
from hfclient.local.error_responses import HTTPError, internal_error
from hfclient.local.records import ConversationRecord, FileRecord, MessageRecord, now

__all__ = ["FormFile", "MessageForm", "clean_text", "new_messages", "parse_file", "parse_form"]

_MAX_FILE = 10 * 1024 * 1024
_MIME = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,80}/[A-Za-z0-9!#$&^_.+-]{1,80}")
_SHA = re.compile(r"[0-9a-f]{64}")
_NAMES = {
    "generation_id": "generationId",
    "resume_elicitation_id": "resumeElicitationId",
    "mcp_server_names": "selectedMcpServerNames",
    "mcp_servers": "selectedMcpServers",
}
_Id = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")]


class MessageForm(msgspec.Struct, kw_only=True, rename=_NAMES.get):
    """The JSON field ``data`` of the form. A field is absent or of its type, never null.

    Attributes:
        inputs: The user's text.
        id: Parent of a new message, or the message to retry or edit.
        is_retry: Retry or edit the message *id*.
        generation_id: Id of the new generation.
    """

    inputs: Annotated[str, msgspec.Meta(min_length=1)] | UnsetType = UNSET
    id: _Id | UnsetType = UNSET
    is_retry: bool = False
    is_continue: bool = False
    timezone: str = ""
    generation_id: _Id = msgspec.field(default_factory=lambda: str(uuid.uuid4()))
    resume_elicitation_id: _Id | UnsetType = UNSET
    mcp_server_names: list[Any] = []
    mcp_servers: list[Any] = []
    files: list[Any] = []


@frozen(kw_only=True)
class FormFile:
    """A file of the form: new content, or (data None) the hash of a file that the conversation already has."""

    file: FileRecord
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
        # Not msgspec.json.decode(): it rejects lone surrogates, which JavaScript sends.
        form = msgspec.convert(json.loads(data), MessageForm)
    except (ValueError, RecursionError):
        raise internal_error() from None
    if form.inputs:
        form.inputs = clean_text(form.inputs.replace("\r\n", "\n"))
    return form


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
        return FormFile(file=FileRecord(name=name, mime=mime, sha=sha if _SHA.fullmatch(sha) else "0" * 64))
    content = _decode_base64(body)
    if len(content) > _MAX_FILE:
        raise HTTPError(413, "File too large, should be <10MB")
    # As chat-ui computes it: the hash of the content decoded as UTF-8, which for binary files is not the SHA-256 of the bytes.
    sha = hashlib.sha256(content.decode("utf-8", "replace").encode()).hexdigest()
    return FormFile(file=FileRecord(name=name, mime=mime, sha=sha), data=content)


def _decode_base64(body: bytes) -> bytes:
    kept = re.sub(rb"[^A-Za-z0-9+/]", b"", body)  # other characters are skipped, as Node's decoder does
    if len(kept) % 4 == 1:
        kept = kept[:-1]
    try:
        return base64.b64decode(kept + b"=" * (-len(kept) % 4))
    except binascii.Error:
        raise internal_error() from None


def new_messages(conversation: ConversationRecord, form: MessageForm, files: tuple[FileRecord, ...]) -> list[MessageRecord]:
    """Return the messages to add, the (still empty) assistant message last.

    A new prompt adds a user message and its answer below the message *id*. A retry of an answer adds a sibling of that answer.
    A retry of a user message with new text (an edit) adds a sibling of that message, and its answer.

    Raises:
        HTTPError: The message does not exist (404 for a retry, else 500), or nothing would be created (500).
    """
    time = now()

    def message(role: str, parent: str | None, **fields: Any) -> MessageRecord:
        return MessageRecord(id=str(uuid.uuid4()), role=role, parent_id=parent, created_at=time, updated_at=time, **fields)

    def answer(parent: str) -> MessageRecord:
        return message("assistant", parent, generation_id=form.generation_id)

    if form.is_retry:
        if not form.id:
            raise internal_error()
        target = conversation.message(form.id)
        if target is None:
            raise HTTPError(404, "Message not found")
        if target.role == "assistant" and target.parent_id is not None:
            return [answer(target.parent_id)]
        if target.role != "user" or not form.inputs:
            raise HTTPError(500, "Failed to create message")
        parent = target.parent_id
    elif not form.id:
        if conversation.messages:
            raise internal_error()
        parent = None
    else:
        if conversation.message(form.id) is None:
            raise internal_error()
        parent = form.id
    question = message("user", parent, content=form.inputs or "", files=files)
    return [question, answer(question.id)]
