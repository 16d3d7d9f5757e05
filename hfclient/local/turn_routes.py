"""Turns: send, stop, resume, the feed of what is running, and files.

Reference: docs/protocol/huggingchat ("send a message", "stop", "resume", "live feed", "download a file").
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, request

from hfclient.errors import NotFoundError
from hfclient.local import prompts, wire
from hfclient.local.front import json_body, owner
from hfclient.local.generation import Run
from hfclient.local.parts import SHARE_ID, Parts
from hfclient.local.records import Message
from hfclient.local.refusals import Refused, broken, prefers_html
from hfclient.local.turns import Turn, Upload, parse_turn, parse_upload, plan
from hfclient.local.upstream import Answer, UpstreamModel

__all__ = ["turn_routes"]

_TICK = 2.0
_FEED_LIFE = 300.0
_SSE = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
_SHA = re.compile(r"[0-9a-f]{64}")
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "text/plain": "txt"}


def turn_routes(parts: Parts) -> Blueprint:
    """Return the routes of turns."""
    routes = Blueprint("turns", __name__)
    store, runs = parts.store, parts.runs

    @routes.post("/conversation/<conversation_id>")
    def send(conversation_id: str) -> Response:
        if (accept := request.headers.get("Accept")) and prefers_html(accept) and "text/html" in accept:
            # A browser's Accept asks for the page of that name, which takes no forms.
            return Response(b"<!doctype html><title>Method not allowed</title>", 405, content_type="text/html")
        found = parts.own(conversation_id)
        model = parts.model(found.model)
        if model is None:
            raise Refused(410, "Model not available anymore")
        turn, uploads = _form()
        added = plan(found, turn, tuple(upload.file for upload in uploads))
        for upload in uploads:
            if upload.data is not None:
                store.add_file(found.id, upload.file.sha, upload.file.mime, upload.data)
        title = prompts.first_title(added[0].content) if found.title == "New Chat" and len(added) > 1 else None
        if title is not None:
            store.change(found.id, title=title)
        number = store.add_turn(found.id, added, turn.generation_id)
        run = Run(number, owner(), found.id, turn.generation_id, added[-1], store)
        found.messages.extend(added)
        path = found.path_to(added[-1].parent_id or "")
        runs.start(run, lambda: _ask(parts, found.id, path, model), title)
        return Response(run.live(), content_type="application/jsonl", headers={"X-Accel-Buffering": "no"})

    @routes.post("/conversation/<conversation_id>/stop-generating")
    def stop(conversation_id: str) -> Response:
        own = parts.check_own(conversation_id)
        generation_id, seen = _stop_point()
        for run in runs.of_conversation(own):
            run.stop(seen if run.generation_id == generation_id else None)
        return Response()

    @routes.get("/conversation/<conversation_id>/stream")
    def resume(conversation_id: str) -> Response:
        own = parts.check_own(conversation_id)
        generation_id = request.args.get("generationId") or None
        after = _number(request.headers.get("Last-Event-ID")) or _number(request.args.get("fromSeq")) or 0
        running = runs.find(own, generation_id)
        frames = running.log(after) if running is not None else _old_log(parts, own, generation_id, after)
        return Response(frames, content_type="text/event-stream", headers=_SSE)

    @routes.get("/api/v2/generations/live")
    def live() -> Response:
        return Response(_feed(parts, owner()), content_type="text/event-stream", headers=_SSE)

    @routes.get("/conversation/<conversation_id>/output/<sha>")
    def download(conversation_id: str, sha: str) -> Response:
        if SHARE_ID.fullmatch(conversation_id):
            holder = conversation_id
            if store.shared(holder) is None:
                raise Refused(404, "Conversation not found")
        else:
            holder = parts.check_own(conversation_id)
        found = store.file(holder, sha) if _SHA.fullmatch(sha) else None
        if found is None:
            raise Refused(404, "File not found")
        mime, data = found
        mime = _sniffed(data) or mime
        name = f"{sha[:8]}.{_EXTENSIONS.get(mime, 'bin')}"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return Response(data, content_type=mime, headers=headers)

    @routes.post("/conversation/<conversation_id>/elicitation")
    def answer_question(conversation_id: str) -> Response:
        parts.check_own(conversation_id)
        body = json_body()
        if not isinstance(body, dict) or body.get("action") not in ("accept", "decline", "cancel"):
            raise Refused(400, "Invalid elicitation response")
        raise Refused(404, "Unknown elicitation.")  # there are no tools here that could have asked

    return routes


def _form() -> tuple[Turn, list[Upload]]:
    """Return what the form holds."""
    if request.mimetype not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise broken()
    fields = request.form.getlist("data")
    if len(fields) != 1:
        raise Refused(400, "Invalid request")
    turn = parse_turn(fields[0])
    uploads: list[Upload] = []
    for part in request.files.getlist("files"):
        if "filename*" in part.headers.get("Content-Disposition", ""):
            raise broken()
        upload = parse_upload(part.filename or "", part.content_type or "", part.stream.read())
        if upload is not None:
            uploads.append(upload)
    return turn, uploads


def _ask(parts: Parts, conversation_id: str, path: list[Message], model: UpstreamModel) -> Answer:
    def read(sha: str) -> bytes | None:
        found = parts.store.file(conversation_id, sha)
        if found is None:
            raise _missing_file(sha)
        return found[1]

    return parts.upstream.answer(prompts.build(path, model, read), model)


def _missing_file(sha: str) -> NotFoundError:
    return NotFoundError(f"the conversation has no file {sha}", status=404)


def _stop_point() -> tuple[str | None, int | None]:
    """Return which run is meant, and how much of it was seen; whatever is missing or malformed counts as absent."""
    try:
        body = json_body()
    except Refused:
        return None, None
    body = body if isinstance(body, dict) else {}
    generation_id, seen = body.get("generationId"), body.get("seenContentLength")
    is_count = isinstance(seen, int) and not isinstance(seen, bool) and seen >= 0
    return (generation_id if isinstance(generation_id, str) else None), (seen if is_count else None)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def _old_log(parts: Parts, conversation_id: str, generation_id: str | None, after: int) -> Iterator[bytes]:
    """Yield the log of a run that has ended."""
    run = parts.store.run(conversation_id, generation_id)
    if run is not None:
        events = parts.store.events(run.number, after)
        if events and events[0][0] == after + 1:
            yield b"".join(wire.log_frame(number, data) for number, data in events)
    yield wire.sse_frame("end", {"status": "gone" if run is None else run.status})


def _feed(parts: Parts, session: str) -> Iterator[bytes]:
    """Yield every two seconds what is running, and what has ended since; ends after two silent ticks."""
    leave = time.monotonic() + _FEED_LIFE
    seen: dict[tuple[str, str], Any] = {}
    silent = 0
    while time.monotonic() < leave and not parts.runs.closed:
        running = {(run.conversation_id, run.generation_id): run for run in parts.runs.of_owner(session)}
        entries = [_feed_entry(parts, session, key[0]) for key in running]
        ended = [
            {**_feed_entry(parts, session, key[0]), "status": run.status}
            for key, run in seen.items()
            if key not in running
        ]
        seen = dict(running)
        yield wire.sse_frame("sync", {"running": entries, "ended": ended})
        silent = 0 if running else silent + 1
        if silent >= 2:
            yield wire.sse_frame("idle", {})
            return
        parts.runs.wait_closed(_TICK)


def _feed_entry(parts: Parts, session: str, conversation_id: str) -> dict[str, Any]:
    return {"conversationId": conversation_id, "title": parts.store.title(session, conversation_id) or ""}


def _sniffed(data: bytes) -> str | None:
    """Return the type that the content shows itself, for the few that do so beyond doubt."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for start, mime in _SIGNATURES if data.startswith(start)), None)
