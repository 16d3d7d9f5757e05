"""Every path and form of chat-ui's API in one place: pure functions from arguments to a `Request`.

The caller's terms are translated here: a prompt is ``inputs``, a system prompt is ``preprompt``.

Reference: docs/protocol/huggingchat; chat-ui's src/routes, seen 2026-11-21.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import msgspec
from attrs import evolve

from hfclient.chat.wire.server_errors import refine
from hfclient.credentials import Secret, host_origin, normalize_url, origin_of
from hfclient.errors import InvalidInputError
from hfclient.transport import Clock, Multipart, Part, Request
from hfclient.transport.request import safe_url

__all__ = ["Endpoints", "own_id", "path_segment", "readable_id"]

_CONVERSATION_ID = re.compile(r"[0-9a-fA-F]{24}")
_SHARE_ID = re.compile(r"[A-Za-z0-9_-]{7}")


class Endpoints:
    """Builds the requests for one chat-ui.

    Args:
        base_url: The server's base URL, such as ``"https://huggingface.co/chat"``.

    Raises:
        InvalidInputError: *base_url* is not an absolute http(s) URL.
    """

    def __init__(self, base_url: str) -> None:
        self.origin = origin_of(base_url)
        if "?" in base_url or "#" in base_url:
            raise InvalidInputError("a base URL has no query and no fragment")
        self.base = base_url.rstrip("/")
        self.api_conversations = f"{self.base}/api/v2/conversations"
        # The header Origin of a form. A chat-ui refuses forms with any other origin than its own.
        self.form_origin = host_origin(base_url)
        self.refine = functools.partial(refine, base=safe_url(normalize_url(self.base)))

    def __repr__(self) -> str:
        return f"Endpoints({self.origin!r})"

    # Reading

    def models(self) -> Request:
        return self.read("/api/v2/models")

    def model(self, model_id: str) -> Request:
        return self.read(f"/api/v2/models/{'/'.join(map(path_segment, model_id.split('/')))}")

    def user(self) -> Request:
        return self.read("/api/v2/user")

    def conversations(self, page: int) -> Request:
        return self.read("/api/v2/conversations", params={"p": page})

    def conversation(self, conversation_id: str) -> Request:
        return self.read(f"/api/v2/conversations/{readable_id(conversation_id)}")

    def file_url(self, conversation_id: str, sha: str) -> str:
        return f"{self.base}/conversation/{readable_id(conversation_id)}/output/{path_segment(sha)}"

    def resume(self, conversation_id: str, generation_id: str | None, after: int, clock: Clock) -> Request:
        """The event log of a run, from the event after number *after* on (server-sent events)."""
        return Request(
            method="GET",
            url=f"{self.base}/conversation/{own_id(conversation_id)}/stream",
            params={"generationId": generation_id, "fromSeq": after},
            # Not text/event-stream alone: errors would come as HTML pages.
            headers={"Accept": "text/event-stream, application/json, */*;q=0.1"},
            stream=True,
            retryable=True,
            clock=clock,
            refine=self.refine,
        )

    def settings(self) -> Request:
        return self.read("/api/v2/user/settings")

    def features(self) -> Request:
        return self.read("/api/v2/feature-flags")

    def public_config(self) -> Request:
        return self.read("/api/v2/public-config")

    def mcp_servers(self) -> Request:
        return self.read("/api/mcp/servers")

    def health(self) -> Request:
        return self.read("/healthcheck")

    def page(self) -> Request:
        """The page itself, as a browser gets it."""
        return Request(method="GET", url=f"{self.base}/", headers={"Accept": "text/html"})

    def live(self) -> Request:
        """The feed of running generations (server-sent events)."""
        return Request(
            method="GET",
            url=f"{self.base}/api/v2/generations/live",
            headers={"Accept": "text/event-stream, application/json, */*;q=0.1"},
            retryable=True,
            refine=self.refine,
        )

    # Writing

    def create(self, model: str, system_prompt: str | None, assistant_id: str | None = None) -> Request:
        # Keys that are not set are left out: the server answers 500 to a null.
        data = {"model": model, "preprompt": system_prompt, "assistantId": assistant_id}
        return self.write("POST", "/conversation", {key: value for key, value in data.items() if value is not None})

    def send(self, conversation_id: str, data: dict[str, Any], files: Iterable[Part], clock: Clock) -> Request:
        """One turn: *data* is the form's JSON field, *files* are its file parts."""
        field = Part(name="data", content=_json(data))
        return Request(
            method="POST",
            url=f"{self.base}/conversation/{own_id(conversation_id)}",
            # Without Origin a form is refused; to a browser's Accept the server answers with its page.
            headers={"Origin": self.form_origin, "Accept": "application/json"},
            body=Multipart((field, *files)),
            stream=True,
            clock=clock,
            refine=self.refine,
        )

    def stop(self, conversation_id: str, generation_id: str, seen: int, clock: Clock) -> Request:
        """Stop a run; *seen* is how many UTF-16 units of the answer the caller has."""
        data = {"generationId": generation_id, "seenContentLength": seen}
        return self.write("POST", f"/conversation/{own_id(conversation_id)}/stop-generating", data, clock=clock)

    def answer(self, conversation_id: str, elicitation_id: str, action: str, content: dict[str, Any] | None) -> Request:
        """The answer to a tool's question."""
        data: dict[str, Any] = {"elicitationId": elicitation_id, "action": action}
        if content is not None:
            data["content"] = content
        return self.write("POST", f"/conversation/{own_id(conversation_id)}/elicitation", data)

    def rename(self, conversation_id: str, title: str) -> Request:
        return self.write("PATCH", f"/api/v2/conversations/{own_id(conversation_id)}", {"title": title})

    def set_model(self, conversation_id: str, model: str) -> Request:
        return self.write("PATCH", f"/api/v2/conversations/{own_id(conversation_id)}", {"model": model})

    def delete(self, conversation_id: str) -> Request:
        return self.write("DELETE", f"/api/v2/conversations/{own_id(conversation_id)}")

    def delete_all(self) -> Request:
        return self.write("DELETE", "/api/v2/conversations")

    def delete_message(self, conversation_id: str, message_id: str) -> Request:
        path = f"/api/v2/conversations/{own_id(conversation_id)}/message/{path_segment(message_id)}"
        return self.write("DELETE", path)

    def share(self, conversation_id: str) -> Request:
        return self.write("POST", f"/conversation/{own_id(conversation_id)}/share")

    def import_share(self, share_id: str) -> Request:
        return self.write("POST", "/api/v2/conversations/import-share", {"shareId": share_id})

    def logout(self) -> Request:
        return evolve(self.write("POST", "/logout"), refine=None)  # success is a redirect

    def write_settings(self, data: dict[str, Any]) -> Request:
        return self.write("POST", "/api/v2/user/settings", data)

    def transcribe(self, audio: bytes, content_type: str) -> Request:
        return Request(
            method="POST",
            url=f"{self.base}/api/transcribe",
            headers={"Accept": "application/json", "Origin": self.form_origin, "Content-Type": content_type},
            body=audio,
            refine=self.refine,
        )

    def read(self, path: str, **fields: Any) -> Request:
        return Request.read(self.base + path, refine=self.refine, **fields)

    def write(self, method: str, path: str, data: Any = None, *, clock: Clock | None = None) -> Request:
        headers = {"Accept": "application/json", "Origin": self.form_origin}
        if data is not None:
            headers["Content-Type"] = "application/json"
        return Request(
            method=method,
            url=self.base + path,
            headers=headers,
            body=None if data is None else _json(data),
            clock=clock,
            refine=self.refine,
        )


def _json(data: Any) -> bytes:
    try:
        return msgspec.json.encode(data, enc_hook=_revealed)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as exc:
        what = "half of a character (a lone surrogate)" if isinstance(exc, UnicodeEncodeError) else str(exc)
        raise InvalidInputError(f"this cannot be sent as JSON: {what}") from None


def _revealed(value: Any) -> str:
    if isinstance(value, Secret):  # a header for a tool's server
        return value.reveal()
    raise TypeError(f"a {type(value).__name__} cannot be encoded")


def path_segment(name: str) -> str:
    """Return *name* quoted as one segment of a path."""
    if name in ("", ".", ".."):
        raise InvalidInputError(f"{name!r} is not an id")
    return quote(name, safe="", errors="replace")


def own_id(conversation_id: str) -> str:
    """Return the id of a conversation of the caller; raises `InvalidInputError` for any other text."""
    if _SHARE_ID.fullmatch(conversation_id):
        raise InvalidInputError(
            "a shared conversation can only be read; client.conversations.import_share() makes a copy to write in"
        )
    if not _CONVERSATION_ID.fullmatch(conversation_id):
        raise InvalidInputError(f"a conversation's id is 24 hex digits, not {conversation_id[:60]!r}")
    return conversation_id


def readable_id(conversation_id: str) -> str:
    """Return the id of a conversation or a share; raises `InvalidInputError` for any other text."""
    return conversation_id if _SHARE_ID.fullmatch(conversation_id) else own_id(conversation_id)
