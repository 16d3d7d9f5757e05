"""Conversations: create, list, read, change, delete, share.

Reference: docs/protocol/huggingchat ("endpoints").
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import msgspec
from flask import Blueprint, Response, redirect, request

from hfclient.chat.wire import superjson
from hfclient.local import documents
from hfclient.local.front import as_json, as_superjson, json_body, owner
from hfclient.local.parts import SHARE_ID, Parts, is_id
from hfclient.local.records import Conversation, Message, new_id, now
from hfclient.local.refusals import Refused, broken
from hfclient.local.turns import clean

__all__ = ["conversation_routes"]

_NOT_YOURS = (
    "You don't have access to this conversation. If someone gave you this link, ask them to use the 'share' feature "
    "instead."
)


def conversation_routes(parts: Parts) -> Blueprint:
    """Return the routes of conversations."""
    routes = Blueprint("conversations", __name__)
    store = parts.store

    @routes.get("/conversation")
    def start_page() -> Any:
        return redirect(f"{request.script_root}/", 302)

    @routes.post("/conversation")
    def create() -> Response:
        body = json_body()
        model_id, preprompt, share_id = (_text(body, key) for key in ("model", "preprompt", "fromShare"))
        model = None if model_id is None else parts.model(model_id)
        if model is None:
            raise Refused(400, "Invalid request")
        if share_id is not None:
            new = _copied(_shared(parts, share_id), None)
        else:
            prompt = model.default_prompt or "" if preprompt is None else preprompt
            time = now()
            root = Message(id=str(uuid.uuid4()), role="system", content=prompt, created_at=time, updated_at=time)
            new = Conversation(
                id=new_id(), title="New Chat", model=model.id, preprompt=prompt, root_id=root.id, messages=[root]
            )
        new.updated_at = now()
        store.create(owner(), new)
        document = msgspec.json.encode(superjson.encode(documents.conversation(new))).decode()
        return as_json({"conversationId": new.id, "conversation": document})

    # Lists

    @routes.get("/api/v2/conversations")
    def page() -> Response:
        found, more = store.page(owner(), _page_number(lenient=True))
        return as_superjson({"conversations": [documents.list_entry(entry) for entry in found], "hasMore": more})

    @routes.get("/api/conversations")
    def old_page() -> Response:
        found, _ = store.page(owner(), _page_number(lenient=False))
        return as_json([{key: documents.plain(value) for key, value in documents.list_entry(e).items()} for e in found])

    @routes.delete("/api/v2/conversations")
    def delete_all() -> Response:
        return as_superjson(store.delete(owner()))

    @routes.delete("/api/conversations")
    def old_delete_all() -> Response:
        store.delete(owner())
        return Response()

    # One conversation

    @routes.get("/api/v2/conversations/<conversation_id>")
    def read(conversation_id: str) -> Response:
        if SHARE_ID.fullmatch(conversation_id):
            return as_superjson(documents.conversation(_shared(parts, conversation_id), shared=True))
        if not is_id(conversation_id):
            raise Refused(400, "Invalid conversation ID format")
        if not store.owns(owner(), conversation_id.lower()) and store.exists(conversation_id.lower()):
            raise Refused(403, _NOT_YOURS)
        found = parts.own(conversation_id, "Conversation not found.")
        shared = found.from_share is not None and request.args.get("fromShare") == found.from_share
        return as_superjson(documents.conversation(found, shared=shared))

    @routes.get("/api/conversation/<conversation_id>")
    def old_read(conversation_id: str) -> Response:
        return as_json(documents.legacy_conversation(parts.own(conversation_id)))

    @routes.patch("/api/v2/conversations/<conversation_id>")
    def change(conversation_id: str) -> Response:
        _need_id(conversation_id)
        title, model = _changes()
        if isinstance(title, Refused):
            raise title
        _change(parts, conversation_id, title, model)
        return as_superjson({"success": True})

    @routes.patch("/conversation/<conversation_id>")
    def old_change(conversation_id: str) -> Response:
        title, model = _changes()
        if isinstance(title, Refused):
            raise broken()
        _change(parts, conversation_id, title, model)
        return Response()

    @routes.delete("/api/v2/conversations/<conversation_id>")
    def delete(conversation_id: str) -> Response:
        _need_id(conversation_id)
        store.delete(owner(), parts.check_own(conversation_id))
        return as_superjson({"success": True})

    @routes.delete("/conversation/<conversation_id>")
    def old_delete(conversation_id: str) -> Response:
        store.delete(owner(), parts.check_own(conversation_id))
        return Response()

    @routes.delete("/api/v2/conversations/<conversation_id>/message/<message_id>")
    def delete_message(conversation_id: str, message_id: str) -> Response:
        _need_id(conversation_id)
        if not store.delete_message(parts.check_own(conversation_id), message_id):
            raise Refused(404, "Message not found")
        return as_superjson({"success": True})

    @routes.delete("/api/conversation/<conversation_id>/message/<message_id>")
    def old_delete_message(conversation_id: str, message_id: str) -> Response:
        store.delete_message(parts.check_own(conversation_id), message_id)
        return Response()

    # Sharing

    @routes.post("/conversation/<conversation_id>/share")
    def share(conversation_id: str) -> Response:
        found = parts.own(conversation_id)
        snapshot = msgspec.json.encode(msgspec.to_builtins(_as_dict(found))).decode()
        content = [found.title, found.model, found.preprompt, [_as_dict(message) for message in found.messages]]
        fingerprint = hashlib.sha256(msgspec.json.encode([found.id, content])).hexdigest()
        share_id, is_new = store.share(fingerprint, snapshot)
        if is_new:
            store.copy_files(found.id, share_id)
        return as_json({"shareId": share_id})

    @routes.post("/api/v2/conversations/import-share")
    def import_share() -> Response:
        body = json_body()
        share_id = _text(body, "shareId")
        if not share_id:
            raise Refused(400, "shareId is required")
        known = store.imported(owner(), share_id)
        if known is None:
            new = _copied(_shared(parts, share_id), share_id)
            store.create(owner(), new)
            store.copy_files(share_id, new.id)
            known = new.id
        return as_superjson({"conversationId": known})

    return routes


def _text(body: Any, key: str) -> str | None:
    """Return a text of a JSON body, None if it is absent; refuses other types."""
    if not isinstance(body, dict):
        raise Refused(400, "Invalid request")
    value = body.get(key)
    if key in body and not isinstance(value, str):
        raise Refused(400, "Invalid request")
    return None if value is None else clean(value)


def _page_number(*, lenient: bool) -> int:
    text = request.args.get("p", "0") or "0"
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    if not lenient:
        raise broken()
    return 0


def _need_id(conversation_id: str) -> None:
    if not is_id(conversation_id):
        raise Refused(400, "Invalid conversation ID")


def _changes() -> tuple[str | Refused | None, str | None]:
    """Return title and model of a change; a title that cannot be is returned as its refusal."""
    body = json_body()
    if not isinstance(body, dict):
        raise broken()
    title, model = body.get("title"), body.get("model")
    wrong = Refused(400, "Title must be a string between 1 and 100 characters")
    if "title" in body and not (isinstance(title, str) and 1 <= len(title) <= 100):
        return wrong, None
    if "model" in body and not isinstance(model, str):
        raise Refused(400, "Invalid model ID")
    if title is not None:
        title = clean(title).replace("<think>", "").replace("</think>", "").strip()
    return title, model


def _change(parts: Parts, conversation_id: str, title: str | None, model: str | None) -> None:
    own = parts.check_own(conversation_id)
    if model is not None and parts.model(model) is None:
        raise Refused(400, "Invalid model ID")
    parts.store.change(own, title=title, model=model)


def _as_dict(value: Conversation | Message) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(value)
    return data


def _shared(parts: Parts, share_id: str) -> Conversation:
    """Return the snapshot of a share, under the share's id."""
    document = parts.store.shared(share_id)
    if document is None:
        raise Refused(404, "Conversation not found")
    found = msgspec.json.decode(document, type=Conversation)
    found.id = share_id
    return found


def _copied(found: Conversation, share_id: str | None) -> Conversation:
    """Return a conversation of one's own with a share's messages, under their ids."""
    found.id = new_id()
    found.from_share = share_id
    found.updated_at = now()
    return found
