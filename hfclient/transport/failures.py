"""A failed answer becomes an exception: one door for every status and every shape of error body.

Reference: docs/protocol/huggingchat ("errors"), docs/protocol/inference ("errors").
"""

from __future__ import annotations

import re
import time
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import msgspec

from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    CloudflareChallenge,
    ConflictError,
    CreditsExhausted,
    ModelGone,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
)
from hfclient.masking import masked
from hfclient.transport.base import Headers, Response

__all__ = ["error_for", "is_bot_check", "message_in", "restated", "retry_after", "safe_url"]

_E = TypeVar("_E", bound=APIStatusError)

_CLASSES: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: CreditsExhausted,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    410: ModelGone,
    413: RequestTooLargeError,
    422: BadRequestError,
    429: RateLimitError,
}
_BOT_CHECK = (
    'a bot check answered instead of the service: Client(impersonate="chrome") passes most of them '
    '(pip install "hfclient[impersonate]"); one that wants to see a person is passed in a browser on this machine, '
    "whose cookies then go along as Client(cookies=...)"
)
_READ = 64 * 1024
_LOGIN = re.compile(r"log-?in|sign-?in|sso|oauth|authori[sz]e", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_CHALLENGE = re.compile(rb"challenge-platform|cf-chl|cf_chl|Just a moment\.\.\.|Attention Required! \| Cloudflare")


def safe_url(url: str) -> str:
    """Return *url* without user name, password, query and fragment: what may stand in a log or an exception."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(unreadable URL)"
    return f"{parts.scheme}://{host}{port}{parts.path}"


def error_for(response: Response) -> APIStatusError:
    """Return the exception for an answer with a status of 300 or more; reads and closes it."""
    status, headers = response.status, response.headers
    if 300 <= status < 400:
        response.close()
        return _redirect(response)
    body = response.read_start(_READ)
    text = body.decode("utf-8", "replace")
    data = _json(body)
    message = message_in(data) or _text_message(text, headers) or f"HTTP status {status}"
    cls = _CLASSES.get(status) or (ServerError if status >= 500 else APIStatusError)
    if _is_challenge(status, headers, body):
        cls = CloudflareChallenge
        message = _BOT_CHECK
    return cls(
        message,
        status=status,
        method=response.method,
        url=response.url,
        request_id=response.request_id,
        body=masked(text)[:2000] or None,
        code=_code_in(data) or headers.get("x-error-code"),  # the Hub's
        retry_after=retry_after(headers, data),
    )


def restated(cls: type[_E], error: APIStatusError, message: str) -> _E:
    """Return *error* as another class with another message, all else as it was."""
    return cls(
        message,
        status=error.status,
        method=error.method,
        url=error.url,
        request_id=error.request_id,
        body=error.body,
        code=error.code,
        retry_after=error.retry_after,
        attempts=error.attempts,
    )


def _redirect(response: Response) -> APIStatusError:
    location = response.headers.get("location", "")
    cls = APIStatusError
    try:
        target = urljoin(response.url, location)
        here, there = urlsplit(response.url), urlsplit(target)
    except ValueError:
        location = ""
    if not location:
        message = f"HTTP status {response.status} that leads nowhere"
    elif there.hostname == here.hostname and (here.scheme, there.scheme) == ("http", "https"):
        message = f"the server wants https: use {safe_url(target)}"
    else:
        message = f"the server redirects to {safe_url(target)} instead of answering; that is usually a login page"
        if _LOGIN.search(f"{there.netloc}{there.path}"):
            cls = AuthenticationError
    return cls(
        message,
        status=response.status,
        method=response.method,
        url=response.url,
        request_id=response.request_id,
    )


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def message_in(data: Any, *, _depth: int = 8) -> str | None:
    """Return the human sentence in an error object of any known shape, or None.

    >>> message_in({"error": {"message": "too long", "code": 400}})
    'too long'
    >>> message_in({"detail": [{"loc": ["body", "x"], "msg": "field required"}]})
    'body.x: field required'
    """
    if isinstance(data, str):
        return data.strip() or None
    if not _depth or not isinstance(data, (list, dict)):
        return None
    if isinstance(data, list):
        found = [text for item in data if (text := message_in(item, _depth=_depth - 1))]
        return "; ".join(found) or None
    if isinstance(data.get("msg"), str) and data["msg"].strip():
        place = data.get("loc")
        where = ".".join(map(str, place)) if isinstance(place, list) else ""
        return f"{where}: {data['msg']}" if where else data["msg"]
    for key in ("error", "message", "detail", "details", "errors", "error_description", "reason", "title"):
        if text := message_in(data.get(key), _depth=_depth - 1):
            return text
    return None


def _code_in(data: Any) -> str | None:
    if not isinstance(data, dict):
        return None
    inner = data.get("error")
    for place in (inner if isinstance(inner, dict) else {}, data):
        for key in ("code", "error_type", "type", "errorId"):
            if isinstance(place.get(key), (str, int)) and not isinstance(place[key], bool):
                return str(place[key])
    return None


def _text_message(text: str, headers: Headers) -> str | None:
    if "x-error-message" in headers:
        return headers["x-error-message"]
    if found := _TITLE.search(text):
        from html import unescape  # a table of two thousand names, for pages of error

        return unescape(" ".join(found[1].split()))
    text = text.strip()
    return None if text in ("", "null") or text.startswith(("<", "{", "[")) else text[:300]


def is_bot_check(headers: Headers) -> bool:
    """Whether these are the headers of a bot check: Cloudflare's, or that of AWS, whose status is 202 or 405."""
    return headers.get("cf-mitigated") == "challenge" or headers.get("x-amzn-waf-action") in ("challenge", "captcha")


def _is_challenge(status: int, headers: Headers, body: bytes) -> bool:
    if is_bot_check(headers):
        return True
    return status in (403, 429, 503) and b"<" in body[:200] and bool(_CHALLENGE.search(body))


def retry_after(headers: Headers, data: Any = None) -> float | None:
    """Return how many seconds the server asks to wait, or None; nonsense counts as nothing.

    Reads ``retry-after-ms``, ``Retry-After`` (seconds or a date) and ``estimated_time`` of a loading model.
    """
    try:
        if "retry-after-ms" in headers:
            milliseconds = float(headers["retry-after-ms"])
            return _bounded(milliseconds / 1000) if milliseconds >= 0 else None
        if "retry-after" in headers:
            value = headers["retry-after"].strip()
            if value.replace(".", "", 1).isdigit():
                return _bounded(float(value))
            from email.utils import parsedate_to_datetime  # nearly all servers say seconds

            return _bounded(parsedate_to_datetime(value).timestamp() - time.time())
        if isinstance(data, dict) and isinstance(data.get("estimated_time"), (int, float)):
            return _bounded(float(data["estimated_time"]))
    except (ValueError, TypeError, OverflowError):
        pass
    return None


def _bounded(seconds: float) -> float | None:
    return None if seconds != seconds or abs(seconds) == float("inf") else max(0.0, seconds)
