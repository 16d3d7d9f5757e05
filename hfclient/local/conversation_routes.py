"""Routes of conversations: create, list, read, update, delete, share.

Reference: docs/protocol/huggingchat ("endpoints").
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import msgspec
from flask import Blueprint, Response, redirect, request

from hfclient.chat.wire import superjson
from hfclient.local import serialization
from hfclient.local.backend import SHARE_ID, Backend, is_id
from hfclient.local.error_responses import HTTPError, internal_error
from hfclient.local.message_form import clean_text
from hfclient.local.records import ConversationRecord, MessageRecord, new_id, now
from hfclient.local.request_hooks import as_json, as_superjson, json_body, owner

__all__ = ["conversation_routes"]

_NO_ACCESS = (
    "You don't have access to this conversation. If someone gave you this link, ask them to use the 'share' feature "
    "instead."
)


def conversation_routes(backend: Backend) -> Blueprint:
    """Return the blueprint."""
    routes = Blueprint("conversations", __name__)
    store = backend.store

    @routes.get("/conversation")
    def start_page() -> Any:
        return redirect(f"{request.script_root}/", 302)

    @routes.post("/conversation")
    def create() -> Response:
        body = json_body()
        model_id, preprompt, share_id = (_text(body, key) for key in ("model", "preprompt", "fromShare"))
        model = None if model_id is None else backend.model(model_id)
        if model is None:
            raise HTTPError(400, "Invalid request")
        if share_id is not None:
            new = _copy(_share_or_404(backend, share_id), None)
        else:
            prompt = model.default_prompt or "" if preprompt is None else preprompt
            time = now()
            root = MessageRecord(id=str(uuid.uuid4()), role="system", content=prompt, created_at=time, updated_at=time)
            new = ConversationRecord(
                id=new_id(), title="New Chat", model=model.id, preprompt=prompt, root_id=root.id, messages=[root]
            )
        new.updated_at = now()
        store.create(owner(), new)
        document = msgspec.json.encode(superjson.encode(serialization.conversation(new))).decode()
        return as_json({"conversationId": new.id, "conversation": document})

    # Lists

    @routes.get("/api/v2/conversations")
    def page() -> Response:
        found, more = store.page(owner(), _page_number(strict=False))
        return as_superjson({"conversations": [serialization.list_entry(entry) for entry in found], "hasMore": more})

    @routes.get("/api/conversations")
    def legacy_page() -> Response:
        found, _ = store.page(owner(), _page_number(strict=True))
        return as_json([{key: serialization.plain(value) for key, value in serialization.list_entry(e).items()} for e in found])

    @routes.delete("/api/v2/conversations")
    def delete_all() -> Response:
        return as_superjson(store.delete(owner()))

    @routes.delete("/api/conversations")
    def legacy_delete_all() -> Response:
        store.delete(owner())
        return Response()

    # One conversation

    @routes.get("/api/v2/conversations/<conversation_id>")
    def read(conversation_id: str) -> Response:
        if SHARE_ID.fullmatch(conversation_id):
            return as_superjson(serialization.conversation(_share_or_404(backend, conversation_id), shared=True))
        if not is_id(conversation_id):
            raise HTTPError(400, "Invalid conversation ID format")
        if not store.owns(owner(), conversation_id.lower()) and store.exists(conversation_id.lower()):
            raise HTTPError(403, _NO_ACCESS)
        found = backend.conversation_or_404(conversation_id, "Conversation not found.")
        shared = found.from_share is not None and request.args.get("fromShare") == found.from_share
        return as_superjson(serialization.conversation(found, shared=shared))

    @routes.get("/api/conversation/<conversation_id>")
    def legacy_read(conversation_id: str) -> Response:
        return as_json(serialization.legacy_conversation(backend.conversation_or_404(conversation_id)))

    @routes.patch("/api/v2/conversations/<conversation_id>")
    def update(conversation_id: str) -> Response:
        _check_id(conversation_id)
        title, model = _update_values()
        if isinstance(title, HTTPError):
            raise title
        _update(backend, conversation_id, title, model)
        return as_superjson({"success": True})

    @routes.patch("/conversation/<conversation_id>")
    def legacy_update(conversation_id: str) -> Response:
        title, model = _update_values()
        if isinstance(title, HTTPError):
            raise internal_error()
        _update(backend, conversation_id, title, model)
        return Response()

    @routes.delete("/api/v2/conversations/<conversation_id>")
    def delete(conversation_id: str) -> Response:
        _check_id(conversation_id)
        store.delete(owner(), backend.conversation_id_or_404(conversation_id))
        return as_superjson({"success": True})

    @routes.delete("/conversation/<conversation_id>")
    def legacy_delete(conversation_id: str) -> Response:
        store.delete(owner(), backend.conversation_id_or_404(conversation_id))
        return Response()

    @routes.delete("/api/v2/conversations/<conversation_id>/message/<message_id>")
    def delete_message(conversation_id: str, message_id: str) -> Response:
        _check_id(conversation_id)
        if not store.delete_message(backend.conversation_id_or_404(conversation_id), message_id):
            raise HTTPError(404, "Message not found")
        return as_superjson({"success": True})

    @routes.delete("/api/conversation/<conversation_id>/message/<message_id>")
    def legacy_delete_message(conversation_id: str, message_id: str) -> Response:
        store.delete_message(backend.conversation_id_or_404(conversation_id), message_id)
        return Response()

    # Sharing

    @routes.post("/conversation/<conversation_id>/share")
    def share(conversation_id: str) -> Response:
        found = backend.conversation_or_404(conversation_id)
        content = [found.title, found.model, found.preprompt, found.messages]
        fingerprint = hashlib.sha256(msgspec.json.encode([found.id, content])).hexdigest()
        share_id, is_new = store.share(fingerprint, msgspec.json.encode(found).decode())
        if is_new:
            store.copy_files(found.id, share_id)
        return as_json({"shareId": share_id})

    @routes.post("/api/v2/conversations/import-share")
    def import_share() -> Response:
        body = json_body()
        share_id = _text(body, "shareId")
        if not share_id:
            raise HTTPError(400, "shareId is required")
        known = store.imported(owner(), share_id)
        if known is None:
            new = _copy(_share_or_404(backend, share_id), share_id)
            store.create(owner(), new)
            store.copy_files(share_id, new.id)
            known = new.id
        return as_superjson({"conversationId": known})

    return routes


def _text(body: Any, key: str) -> str | None:
    """Return a string of a JSON body, None if it is absent; other types are a 400."""
    if not isinstance(body, dict):
        raise HTTPError(400, "Invalid request")
    value = body.get(key)
    if key in body and not isinstance(value, str):
        raise HTTPError(400, "Invalid request")
    return None if value is None else clean_text(value)


def _page_number(*, strict: bool) -> int:
    text = request.args.get("p", "0") or "0"
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    if strict:
        raise internal_error()
    return 0


def _check_id(conversation_id: str) -> None:
    if not is_id(conversation_id):
        raise HTTPError(400, "Invalid conversation ID")


def _update_values() -> tuple[str | HTTPError | None, str | None]:
    """Return title and model of an update; an invalid title is returned as the error of the newer API."""
    body = json_body()
    if not isinstance(body, dict):
        raise internal_error()
    title, model = body.get("title"), body.get("model")
    invalid = HTTPError(400, "Title must be a string between 1 and 100 characters")
    if "title" in body and not (isinstance(title, str) and 1 <= len(title) <= 100):
        return invalid, None
    if "model" in body and not isinstance(model, str):
        raise HTTPError(400, "Invalid model ID")
    if title is not None:
        title = clean_text(title).replace("<think>", "").replace("</think>", "").strip()
    return title, model


def _update(backend: Backend, conversation_id: str, title: str | None, model: str | None) -> None:
    checked_id = backend.conversation_id_or_404(conversation_id)
    if model is not None and backend.model(model) is None:
        raise HTTPError(400, "Invalid model ID")
    backend.store.update(checked_id, title=title, model=model)


def _share_or_404(backend: Backend, share_id: str) -> ConversationRecord:
    """Return the snapshot of a share, with the share's id."""
    document = backend.store.shared(share_id)
    if document is None:
        raise HTTPError(404, "Conversation not found")
    found = msgspec.json.decode(document, type=ConversationRecord)
    found.id = share_id
    return found


def _copy(found: ConversationRecord, share_id: str | None) -> ConversationRecord:
    """Return a new conversation with the messages of a share; the messages keep their ids."""
    found.id = new_id()
    found.from_share = share_id
    found.updated_at = now()
    return found
