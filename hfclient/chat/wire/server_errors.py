"""Errors of a chat-ui: its statuses and texts as precise exceptions, with advice.

Reference: docs/protocol/huggingchat ("errors"); the texts are the server's own, seen 2026-11-21.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from hfclient.chat.legacy.server_errors import legacy_error
from hfclient.decoding.html_pages import BOT_CHECK, describe_body, is_challenge_page
from hfclient.decoding.json_values import json_or_none
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    CloudflareChallenge,
    ConversationLimit,
    HFClientError,
    ModelGone,
    NotAChatServer,
    NotFoundError,
    PasswordRequired,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
)
from hfclient.transport.status_errors import restated

__all__ = ["HOW_TO_LOG_IN", "is_foreign_origin", "not_a_chat_server", "refine"]

HOW_TO_LOG_IN = (
    'run "hfclient login" (with --url for a server other than HuggingChat), or copy the cookies of a browser that is '
    "logged in, 'hf-chat' and on HuggingChat 'token' too, and pass Client(cookies={\"hf-chat\": ..., \"token\": ...}) "
    'or set HFCLIENT_COOKIE to "hf-chat=...; token=..."'
)

_PLAIN = (APIStatusError, AuthenticationError, PermissionDeniedError, NotFoundError, ServerError)  # no subclasses
_EVERYWHERE = re.compile(r"/api/v2/(models|user|user/settings|feature-flags|public-config|conversations)|/healthcheck|/conversation")
_MISSING = re.compile(r"(Assistant|Conversation|Model|Share) not found", re.IGNORECASE)
"""Texts of a chat-ui's own 404, such as that of POST /conversation for a deleted share."""

_ORIGIN = re.compile(
    r"Invalid referer for POST request|form requests need to have an origin|Cross-site \w+ form submissions are forbidden"
)


def not_a_chat_server(url: str | None, frame: str | None = None) -> NotAChatServer | CloudflareChallenge:
    """Return the error for a server that is not a chat-ui; *frame* is the start of its answer."""
    if frame is not None and is_challenge_page(frame):
        return CloudflareChallenge(BOT_CHECK, status_code=200, url=url, method="GET")
    start = (frame or "").encode("utf-8", "replace")
    page = f" with {describe_body(start)}" if start.lstrip()[:1] == b"<" else ""
    return NotAChatServer(
        f"{url} answers{page}, but not as a chat-ui does; is the base URL right? HuggingChat is "
        "https://huggingface.co/chat, a self-hosted server usually http://host:3000, and an OpenAI-compatible server goes "
        'into inference_url=, as in Client(inference_url="http://host:8000/v1").inference.chat(...)',
        frame=frame and frame[:200],
    )


def refine(error: APIStatusError, base: str = "") -> HFClientError:
    """Return the error that *error* means on a chat-ui; *error* itself if it is already specific.

    Args:
        error: The error by its HTTP status.
        base: The server's base URL.
    """
    text = error.message
    if isinstance(error, (CloudflareChallenge, PasswordRequired)):  # not the chat server's own error
        return error
    if isinstance(error, AuthenticationError) and 300 <= error.status_code < 400:
        return restated(AuthenticationError, error, f"this server requires a login: {HOW_TO_LOG_IN}")
    if error.location is not None and (moved := _moved(error, base)):
        return moved
    if error.status_code in (401, 403, 404, 405) and type(error) in _PLAIN and _is_other_api(error, base):
        return not_a_chat_server(error.url, error.body)
    if error.status_code == 401:
        return restated(AuthenticationError, error, f"{text.rstrip('.')}: {HOW_TO_LOG_IN}")
    if error.status_code == 410:
        return restated(ModelGone, error, f"{text}; move the conversation to another one with set_model()")
    if error.status_code == 413:
        return restated(RequestTooLargeError, error, f"{text} (10 MB a file, and the server limits the sum of all)")
    if error.status_code == 429:
        return _limit(error)
    if error.status_code in (404, 500) and (old := legacy_error(error)):
        return old
    body = (error.body or "").lstrip()
    # A chat-ui's errors are JSON; a page, or a bare "Not Found", comes from another server (or from a wrong base path).
    if error.status_code in (404, 405, 501) and not body.startswith("{") and type(error) in _PLAIN:
        return not_a_chat_server(error.url, body or None)
    return error


def is_foreign_origin(error: HFClientError) -> bool:
    """Return whether *error* refuses a form because its header Origin names another host than the server's own.

    Seen: chat-ui's own texts, and those of SvelteKit, whose own check a fork or an older server may use.
    """
    return isinstance(error, PermissionDeniedError) and bool(_ORIGIN.search(error.message))


def _moved(error: APIStatusError, base: str) -> APIStatusError | None:
    """Return the error that names the base URL where the server is now, if the redirect keeps the rest of the path."""
    path, target = (error.url or "").removeprefix(base), error.location or ""
    if not base or path == error.url or not target.endswith(path) or not path.strip("/"):
        return None
    new = target.removesuffix(path)
    if new == base:
        message = f"{base} redirects to itself: a gateway sets a cookie first, or the server does not know that https is used"
        return restated(APIStatusError, error, message)
    old_parts, new_parts = urlsplit(base), urlsplit(new)
    wants_tls = (old_parts.scheme, new_parts.scheme) == ("http", "https") and old_parts.hostname == new_parts.hostname
    if (old_parts.scheme, new_parts.scheme) == ("https", "http"):
        message = (
            f"{base} redirects to {new}, which is not encrypted: the server may not know that https is used (the proxy in "
            "front of it should say so in X-Forwarded-Proto)"
        )
        return restated(APIStatusError, error, message)
    why = "the server wants https" if wants_tls else "the server has moved"
    return restated(APIStatusError, error, f"{why}: {base} redirects to {new}; use {new} as the base URL")


def _is_other_api(error: APIStatusError, base: str) -> bool:
    """Whether an error in JSON comes from another API: by its shape, or because every chat-ui has that path.

    A chat-ui sends ``{"message": "..."}`` or ``{"error": "..."}``. OpenAI-compatible servers have an object in ``error`` (llama.cpp,
    vLLM, LiteLLM), or FastAPI's ``detail``; Nest and its like add ``statusCode``. Seen on 2026-11-28.
    """
    data = json_or_none(error.body)
    if not isinstance(data, dict):
        return False
    if isinstance(data.get("error"), dict) or data.get("object") == "error":
        return True
    if error.status_code not in (404, 405):
        return False
    if "detail" in data or "statusCode" in data:
        return True
    if error.status_code != 404 or _MISSING.match(error.message):
        return False
    return _EVERYWHERE.fullmatch((error.url or "").removeprefix(base)) is not None


def _limit(error: APIStatusError) -> APIStatusError:
    if "maximum number of conversations" in error.message:
        limit = restated(ConversationLimit, error, error.message)
        limit.scope = "conversations"
        return limit
    if "Start a new one" in error.message:
        limit = restated(ConversationLimit, error, error.message)
        limit.scope = "conversation_length"
        return limit
    rate = restated(RateLimitError, error, error.message)
    if "too many messages" in error.message:
        rate.scope = "messages_per_minute"
        rate.retry_after = rate.retry_after or 60.0  # each retry prolongs the wait
    return rate
