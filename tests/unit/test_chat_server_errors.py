"""The meaning of a status on a chat-ui; the texts are the server's own."""

from __future__ import annotations

from typing import Any

import pytest

from hfclient.chat.wire.server_errors import not_a_chat_server, refine
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    CloudflareChallenge,
    ConflictError,
    ConversationLimit,
    HFClientError,
    ModelGone,
    NotAChatServer,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
)


def error(
    cls: type[APIStatusError], status: int, message: str, body: str | None = None, **fields: Any
) -> APIStatusError:
    body = f'{{"message":"{message}"}}' if body is None else body
    return cls(message, status_code=status, method="POST", url="https://h/chat/x", request_id="r", body=body, **fields)


CASES: list[tuple[APIStatusError, type[HFClientError]]] = [
    (error(AuthenticationError, 302, "leads to a login", ""), AuthenticationError),
    (error(APIStatusError, 303, "leads elsewhere", ""), APIStatusError),
    (error(APIStatusError, 302, "the server wants https: use https://h/chat", ""), APIStatusError),
    (error(AuthenticationError, 401, "You have to be logged in."), AuthenticationError),
    (error(PermissionDeniedError, 403, "Invalid referer for POST request"), PermissionDeniedError),
    (error(NotFoundError, 404, "Conversation not found"), NotFoundError),
    (error(NotFoundError, 404, "Not found", "Not found"), NotAChatServer),
    (error(NotFoundError, 404, "404", "<!doctype html>"), NotAChatServer),
    (error(NotFoundError, 404, "404", ""), NotAChatServer),
    (error(APIStatusError, 405, "POST method not allowed", "POST method not allowed"), NotAChatServer),
    (error(APIStatusError, 405, "You need to accept the welcome modal first"), APIStatusError),
    (error(ServerError, 501, "Unsupported method", "<html>"), NotAChatServer),
    (error(ConflictError, 409, "Already answered."), ConflictError),
    (error(APIStatusError, 410, "Model not available anymore"), ModelGone),
    (error(APIStatusError, 413, "File too large, should be <10MB"), RequestTooLargeError),
    (error(RateLimitError, 429, "You are sending too many messages. Try again later."), RateLimitError),
    (
        error(RateLimitError, 429, "You have reached the maximum number of conversations. Delete some."),
        ConversationLimit,
    ),
    (
        error(RateLimitError, 429, "This conversation has more than 4 messages. Start a new one to continue"),
        ConversationLimit,
    ),
    (error(BadRequestError, 400, "Message too long."), BadRequestError),
    (error(ServerError, 500, "An error occurred"), ServerError),
    (error(ServerError, 502, "Bad Gateway", "<html>"), ServerError),
    (error(CloudflareChallenge, 403, "a bot check", "<html>"), CloudflareChallenge),
    (error(CloudflareChallenge, 404, "a bot check", "<html>"), CloudflareChallenge),
]


@pytest.mark.parametrize(("given", "cls"), CASES, ids=[f"{given.status_code} {given.message[:30]}" for given, _ in CASES])
def test_each_status(given: APIStatusError, cls: type[HFClientError]) -> None:
    """Each status becomes a class that says what to do, and keeps the data of the request."""
    found = refine(given)
    assert type(found) is cls
    if isinstance(found, APIStatusError):
        kept = ("status_code", "method", "url", "request_id", "body", "code", "attempts")
        assert [getattr(found, name) for name in kept] == [getattr(given, name) for name in kept]


def test_limits() -> None:
    """The scope names the limit; retry_after is set only if waiting helps."""
    minute = refine(error(RateLimitError, 429, "You are sending too many messages. Try again later."))
    assert isinstance(minute, RateLimitError)
    assert (minute.scope, minute.retry_after) == ("messages_per_minute", 60.0)
    told = refine(error(RateLimitError, 429, "You are sending too many messages.", retry_after=3.0))
    assert isinstance(told, RateLimitError)
    assert told.retry_after == 3.0
    full = refine(error(RateLimitError, 429, "This conversation has more than 4 messages. Start a new one to continue"))
    assert isinstance(full, ConversationLimit)
    assert (full.scope, full.retry_after) == ("conversation_length", None)
    other = refine(error(RateLimitError, 429, "slow down"))
    assert isinstance(other, RateLimitError)
    assert other.scope is None


def test_advice() -> None:
    """Each message says what would help."""
    for given, words in (
        (error(AuthenticationError, 401, "You have to be logged in."), "HFCLIENT_COOKIE"),
        (error(AuthenticationError, 302, "x", ""), "HFCLIENT_COOKIE"),
        (error(APIStatusError, 410, "Model not available anymore"), "set_model"),
        (error(NotFoundError, 404, "x", "<html>"), "base URL"),
    ):
        assert words in str(refine(given))


def test_another_server() -> None:
    """The error shows the start of the answer."""
    found = not_a_chat_server("https://h/x", "<html>")
    assert found.frame == "<html>"
    assert "https://h/x" in found.message
