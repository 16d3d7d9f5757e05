"""What a status means when a chat-ui sends it: more precise than HTTP, with what to do about it.

Reference: docs/protocol/huggingchat ("errors"); the texts are the server's own, seen 2026-11-21.
"""

from __future__ import annotations

import re

from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    CloudflareChallenge,
    ConversationLimit,
    HFClientError,
    ModelGone,
    NotAChatServer,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
)
from hfclient.transport.failures import restated

__all__ = ["HOW_TO_LOG_IN", "is_missing_route", "not_a_chat_server", "refine"]

HOW_TO_LOG_IN = (
    'run "hfclient login" (with --url for a server other than HuggingChat), or copy the cookies of a browser that is '
    "logged in, 'hf-chat' and on HuggingChat 'token' too, and pass Client(cookies={\"hf-chat\": ..., \"token\": ...}) "
    'or set HFCLIENT_COOKIE to "hf-chat=...; token=..."'
)

_PLAIN = (APIStatusError, NotFoundError, ServerError)  # not a CloudflareChallenge, say

# Before February 2026 the v2 API answers 500 to whatever is wrong, and only its plain text says what.
_TEXTS: tuple[tuple[re.Pattern[str], type[APIStatusError]], ...] = (
    (re.compile(r"Invalid (conversation|model|message) ID( format)?"), BadRequestError),
    (re.compile(r"[\w ]+ not found\.?"), NotFoundError),
    (re.compile(r"You don't have access to .*"), PermissionDeniedError),
)
_NO_ROUTE = "NOT_FOUND"
_NO_PAGE = re.compile(r"Page \S+ not found")  # 0.10 answers 500 to a path that it does not know
_NO_API = "API is disabled"  # up to 0.9.4, unless the server exposes it


def not_a_chat_server(url: str | None, frame: str | None = None) -> NotAChatServer:
    """Return the error for something that answers, but not as a chat-ui does."""
    return NotAChatServer(
        f"{url} answers, but not as a chat-ui does; is the base URL right? "
        "HuggingChat is https://huggingface.co/chat, a self-hosted server usually http://host:3000",
        frame=frame,
    )


def refine(error: APIStatusError) -> HFClientError:
    """Return the error that says what *error* means on a chat-ui; *error* itself where there is nothing to add."""
    text = error.message
    if isinstance(error, CloudflareChallenge):  # whatever its status, it is not this server's
        return error
    if 300 <= error.status < 400 and not text.startswith(("the server wants https", "more than")):
        return restated(AuthenticationError, error, f"this server wants a login: {HOW_TO_LOG_IN}")
    if error.status == 401:
        return restated(AuthenticationError, error, f"{text.rstrip('.')}: {HOW_TO_LOG_IN}")
    if error.status == 410:
        return restated(ModelGone, error, f"{text}; move the conversation to another one with set_model()")
    if error.status == 413:
        return restated(RequestTooLargeError, error, f"{text} (10 MB a file, and the server limits the sum of all)")
    if error.status == 429:
        return _limit(error)
    body = (error.body or "").lstrip()
    if (error.status, body) == (404, _NO_ROUTE) or (error.status == 500 and _NO_PAGE.fullmatch(text)):
        return restated(NotFoundError, error, "this server is too old for that: it does not know the path")
    if error.status == 500 and not body.startswith(("{", "<")):
        cls = next((cls for pattern, cls in _TEXTS if pattern.fullmatch(text)), None)
        return error if cls is None else restated(cls, error, text)
    # A chat-ui says why in JSON; a page, or a bare "Not Found", comes from something else (or from a wrong base path).
    if error.status in (404, 405, 501) and not body.startswith("{") and type(error) in _PLAIN:
        return not_a_chat_server(error.url, body[:200] or None)
    return error


def is_missing_route(error: HFClientError) -> bool:
    """Return whether *error* is what an old server says to a path that it does not know, rather than to a wrong id.

    Seen: its page for any path, with status 200 (0.9.5), 404 or 500 (0.10); ``NOT_FOUND``; ``API is disabled``.
    """
    if isinstance(error, PermissionDeniedError):
        return error.message == _NO_API
    if isinstance(error, NotFoundError):
        body = (error.body or "").lstrip()
        return body == _NO_ROUTE or body.startswith("<")
    return isinstance(error, ProtocolError)


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
        rate.retry_after = rate.retry_after or 60.0  # a sliding minute that each further try prolongs
    return rate
