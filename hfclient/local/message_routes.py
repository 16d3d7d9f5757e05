"""Routes of messages: send, stop, resume, the live feed of running generations, files.

Reference: docs/protocol/huggingchat ("send a message", "stop", "resume", "live feed", "download a file").
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, request

from hfclient.errors import NotFoundError
from hfclient.files.media_types import sniff
from hfclient.local import event_encoding, prompts
from hfclient.local.backend import SHARE_ID, Backend
from hfclient.local.error_responses import HTTPError, internal_error, prefers_html
from hfclient.local.generations import Generation
from hfclient.local.message_form import FormFile, MessageForm, new_messages, parse_file, parse_form
from hfclient.local.records import MessageRecord
from hfclient.local.request_hooks import json_body, owner
from hfclient.local.upstream import EventStream, UpstreamModel

__all__ = ["message_routes"]

_FEED_INTERVAL = 2.0
_MAX_FEED_SECONDS = 300.0
_SSE_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
_SHA = re.compile(r"[0-9a-f]{64}")
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "text/plain": "txt"}


def message_routes(backend: Backend) -> Blueprint:
    """Return the blueprint."""
    routes = Blueprint("messages", __name__)
    store, generations = backend.store, backend.generations

    @routes.post("/conversation/<conversation_id>")
    def send(conversation_id: str) -> Response:
        if (accept := request.headers.get("Accept")) and prefers_html(accept) and "text/html" in accept:
            # For a browser's Accept header chat-ui routes to its page, which has no form action.
            return Response(b"<!doctype html><title>Method not allowed</title>", 405, content_type="text/html")
        found = backend.conversation_or_404(conversation_id)
        model = backend.model(found.model)
        if model is None:
            raise HTTPError(410, "Model not available anymore")
        form, uploads = _parse_request()
        added = new_messages(found, form, tuple(upload.file for upload in uploads))
        for upload in uploads:
            if upload.data is not None:
                store.add_file(found.id, upload.file.sha, upload.file.mime, upload.data)
        title = prompts.title_of(added[0].content) if found.title == "New Chat" and len(added) > 1 else None
        if title is not None:
            store.update(found.id, title=title)
        number = store.add_messages(found.id, added, form.generation_id)
        generation = Generation(number, owner(), found.id, form.generation_id, added[-1], store)
        found.messages.extend(added)
        path = found.path_to(added[-1].parent_id or "")
        generations.start(generation, lambda: _request_answer(backend, found.id, path, model), title)
        return Response(generation.live_lines(), content_type="application/jsonl", headers={"X-Accel-Buffering": "no"})

    @routes.post("/conversation/<conversation_id>/stop-generating")
    def stop(conversation_id: str) -> Response:
        own_id = backend.conversation_id_or_404(conversation_id)
        generation_id, seen = _stop_point()
        for generation in generations.of_conversation(own_id):
            generation.stop(seen if generation.generation_id == generation_id else None)
        return Response()

    @routes.get("/conversation/<conversation_id>/stream")
    def resume(conversation_id: str) -> Response:
        own_id = backend.conversation_id_or_404(conversation_id)
        generation_id = request.args.get("generationId") or None
        after = _number(request.headers.get("Last-Event-ID")) or _number(request.args.get("fromSeq")) or 0
        running = generations.find(own_id, generation_id)
        frames = running.log_frames(after) if running is not None else _stored_log(backend, own_id, generation_id, after)
        return Response(frames, content_type="text/event-stream", headers=_SSE_HEADERS)

    @routes.get("/api/v2/generations/live")
    def live() -> Response:
        return Response(_live_feed(backend, owner()), content_type="text/event-stream", headers=_SSE_HEADERS)

    @routes.get("/conversation/<conversation_id>/output/<sha>")
    def download(conversation_id: str, sha: str) -> Response:
        if SHARE_ID.fullmatch(conversation_id):
            holder = conversation_id
            if store.shared(holder) is None:
                raise HTTPError(404, "Conversation not found")
        else:
            holder = backend.conversation_id_or_404(conversation_id)
        found = store.file(holder, sha) if _SHA.fullmatch(sha) else None
        if found is None:
            raise HTTPError(404, "File not found")
        mime, data = found
        mime = sniff(data) or mime
        name = f"{sha[:8]}.{_EXTENSIONS.get(mime, 'bin')}"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return Response(data, content_type=mime, headers=headers)

    @routes.post("/conversation/<conversation_id>/elicitation")
    def answer_question(conversation_id: str) -> Response:
        backend.conversation_id_or_404(conversation_id)
        body = json_body()
        if not isinstance(body, dict) or body.get("action") not in ("accept", "decline", "cancel"):
            raise HTTPError(400, "Invalid elicitation response")
        raise HTTPError(404, "Unknown elicitation.")  # this server has no tools, so nothing asked

    return routes


def _parse_request() -> tuple[MessageForm, list[FormFile]]:
    """Return the data and the files of the request's form."""
    if request.mimetype not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise internal_error()
    fields = request.form.getlist("data")
    if len(fields) != 1:
        raise HTTPError(400, "Invalid request")
    form = parse_form(fields[0])
    uploads: list[FormFile] = []
    for part in request.files.getlist("files"):
        if "filename*" in part.headers.get("Content-Disposition", ""):
            raise internal_error()
        upload = parse_file(part.filename or "", part.content_type or "", part.stream.read())
        if upload is not None:
            uploads.append(upload)
    return form, uploads


def _request_answer(
    backend: Backend, conversation_id: str, path: list[MessageRecord], model: UpstreamModel
) -> EventStream:
    def read(sha: str) -> bytes | None:
        found = backend.store.file(conversation_id, sha)
        if found is None:
            raise NotFoundError(f"the conversation has no file {sha}", status_code=404)
        return found[1]

    return backend.upstream.answer(prompts.build_messages(path, model, read), model)


def _stop_point() -> tuple[str | None, int | None]:
    """Return the generation to stop and the number of UTF-16 units seen; None for missing or malformed values."""
    try:
        body = json_body()
    except HTTPError:
        return None, None
    body = body if isinstance(body, dict) else {}
    generation_id, seen = body.get("generationId"), body.get("seenContentLength")
    is_count = isinstance(seen, int) and not isinstance(seen, bool) and seen >= 0
    return (generation_id if isinstance(generation_id, str) else None), (seen if is_count else None)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def _stored_log(backend: Backend, conversation_id: str, generation_id: str | None, after: int) -> Iterator[bytes]:
    """Yield the log of a generation that has ended."""
    generation = backend.store.generation(conversation_id, generation_id)
    if generation is not None:
        events = backend.store.events(generation.number, after)
        if events and events[0][0] == after + 1:
            yield b"".join(event_encoding.log_frame(number, data) for number, data in events)
    yield event_encoding.sse_frame("end", {"status": "gone" if generation is None else generation.status})


def _live_feed(backend: Backend, session: str) -> Iterator[bytes]:
    """Yield every two seconds the running generations and those that have ended since; ends after two empty frames."""
    until = time.monotonic() + _MAX_FEED_SECONDS
    seen: dict[tuple[str, str], Any] = {}
    idle = 0
    while time.monotonic() < until and not backend.generations.closed:
        running = {(one.conversation_id, one.generation_id): one for one in backend.generations.of_owner(session)}
        entries = [_feed_entry(backend, session, key[0]) for key in running]
        ended = [
            {**_feed_entry(backend, session, key[0]), "status": one.status}
            for key, one in seen.items()
            if key not in running
        ]
        seen = dict(running)
        yield event_encoding.sse_frame("sync", {"running": entries, "ended": ended})
        idle = 0 if running else idle + 1
        if idle >= 2:
            yield event_encoding.sse_frame("idle", {})
            return
        backend.generations.wait_closed(_FEED_INTERVAL)


def _feed_entry(backend: Backend, session: str, conversation_id: str) -> dict[str, Any]:
    return {"conversationId": conversation_id, "title": backend.store.title(session, conversation_id) or ""}
