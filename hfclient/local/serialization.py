"""Serialization of stored values and models for the API: for superjson (with dates) and for the older plain JSON.

Reference: docs/protocol/huggingchat ("endpoints", "messages and the tree").
"""

from __future__ import annotations

import datetime
from typing import Any

from hfclient.chat.wire.superjson import UNDEFINED, ObjectId
from hfclient.local.records import ConversationRecord, MessageRecord
from hfclient.local.upstream import UpstreamModel

__all__ = ["conversation", "date", "legacy_conversation", "legacy_model", "list_entry", "model", "model_detail", "plain"]


def date(milliseconds: int | None) -> datetime.datetime | None:
    """Return a stored time as a date."""
    return None if milliseconds is None else _date(milliseconds)


def _date(milliseconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(milliseconds / 1000, tz=datetime.timezone.utc)


def _messages(conversation: ConversationRecord) -> list[dict[str, Any]]:
    children: dict[str | None, list[str]] = {}
    ancestors: dict[str | None, list[str]] = {None: []}
    for message in conversation.messages:
        parent = message.parent_id
        children.setdefault(parent, []).append(message.id)
        # Parents come before children. The children of a deleted message have no ancestors.
        above = ancestors.get(parent)
        ancestors[message.id] = [] if parent is None or above is None else [*above, parent]
    return [_message(item, ancestors[item.id], children.get(item.id, [])) for item in conversation.messages]


def _message(message: MessageRecord, ancestors: list[str], children: list[str]) -> dict[str, Any]:
    document: dict[str, Any] = {"id": message.id, "from": message.role, "content": message.content}
    if message.role == "user":
        document["files"] = [
            {"type": "hash", "value": file.sha, "mime": file.mime, "name": file.name} for file in message.files
        ]
    document |= {
        "createdAt": _date(message.created_at),
        "updatedAt": _date(message.updated_at),
        "ancestors": ancestors,
        "children": children,
        "updates": message.updates,
    }
    optional = {
        "generationId": message.generation_id,
        "interrupted": message.interrupted,
        "materializedSeq": message.materialized,
    }
    return document | {key: value for key, value in optional.items() if value is not None}


def conversation(found: ConversationRecord, *, shared: bool = False) -> dict[str, Any]:
    """Return a conversation with its messages."""
    return {
        "messages": _messages(found),
        "title": found.title,
        "model": found.model,
        "preprompt": found.preprompt,
        "rootMessageId": found.root_id,
        "id": found.id,
        "updatedAt": _date(found.updated_at),
        "modelId": found.model,
        "shared": shared,
        "deployedSpaces": UNDEFINED,
    }


def legacy_conversation(found: ConversationRecord) -> dict[str, Any]:
    """Return a conversation in the first version of the API, without the tree."""
    keys = ("content", "from", "id", "createdAt", "updatedAt", "files", "updates")
    return {
        "id": found.id,
        "title": found.title,
        "updatedAt": plain(_date(found.updated_at)),
        "modelId": found.model,
        "messages": [{key: plain(document[key]) for key in keys if key in document} for document in _messages(found)],
    }


def plain(value: Any) -> Any:
    """Return dates and ids as text, and other values unchanged, for plain JSON."""
    if isinstance(value, ObjectId):
        return "".join(value)
    if not isinstance(value, datetime.datetime):
        return value
    return value.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def list_entry(found: ConversationRecord) -> dict[str, Any]:
    """Return a conversation as an entry of the list."""
    key = ObjectId(found.id)
    return {
        "_id": key,
        "id": key,
        "title": found.title,
        "updatedAt": _date(found.updated_at),
        "model": found.model,
        "modelId": found.model,
    }


def model(known: UpstreamModel) -> dict[str, Any]:
    """Return an LLM as an entry of the list."""
    return {
        "id": known.id,
        "name": known.id,
        "websiteUrl": UNDEFINED,
        "modelUrl": UNDEFINED,
        "datasetName": UNDEFINED,
        "datasetUrl": UNDEFINED,
        "displayName": known.id,
        "description": known.description or UNDEFINED,
        "logoUrl": UNDEFINED,
        "promptExamples": UNDEFINED,
        "preprompt": known.default_prompt or "",  # never undefined: some clients send it back as null
        "multimodal": known.multimodal,
        "multimodalAcceptedMimetypes": ["image/*"] if known.multimodal else UNDEFINED,
        "supportsTools": False,
        "supportsReasoning": False,
        "supportsArtifacts": False,
        "unlisted": False,
        "hasInferenceAPI": False,
        "isRouter": False,
    }


def model_detail(known: UpstreamModel) -> dict[str, Any]:
    """Return an LLM with its providers and parameters."""
    return {
        **model(known),
        "providers": known.providers or UNDEFINED,
        "parameters": {"stop_sequences": UNDEFINED},
    }


def legacy_model(known: UpstreamModel) -> dict[str, Any]:
    """Return an LLM in the first version of the API: defaults instead of nulls, unset keys absent."""
    defaults = {
        "websiteUrl": "https://huggingface.co",
        "modelUrl": "https://huggingface.co",
        "description": "",
        "promptExamples": [],
        "preprompt": "",
    }
    document = {
        key: defaults.get(key) if value is UNDEFINED else value
        for key, value in model(known).items()
        if key not in ("multimodalAcceptedMimetypes", "isRouter")
    }
    return {key: value for key, value in document.items() if value is not None}
