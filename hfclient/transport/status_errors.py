"""Turns a failed response into an exception, for every status and every shape of error body.

Reference: docs/protocol/huggingchat ("errors"), docs/protocol/inference ("errors").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from hfclient.decoding.html_pages import BOT_CHECK, is_challenge_page, title_in
from hfclient.decoding.json_values import json_or_none
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    CloudflareChallenge,
    ConflictError,
    CreditsExhausted,
    ModelGone,
    NotFoundError,
    PasswordRequired,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
)
from hfclient.redaction.masking import masked
from hfclient.transport.request import safe_url
from hfclient.transport.response import Headers, Response
from hfclient.transport.retry_after import retry_after

__all__ = [
    "error_for",
    "is_bot_check",
    "leads_to_login",
    "message_in",
    "restated",
]

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
_READ = 64 * 1024
_LOGIN = re.compile(
    r"log[-_]?[io]n(?![a-z])|sign[-_]?in(?![a-z])|(?<![a-z])sso(?![a-z])|oauth|openid|saml|authori[sz]e|authenticat|"
    r"authelia|authentik|(?<![a-z])auth(?![a-z])|cloudflareaccess\.com",
    re.IGNORECASE,
)
_RETURN = re.compile(
    r"(?:^|&)(?:next|rd|return_?(?:to|ur[il]|path)|redirect_ur[il]|callback_?url|service|goto|client_id|samlrequest)=",
    re.IGNORECASE,
)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)  # to the end if it is not closed, or each quote looks for one
_SCHEME = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?!\s*=)(?:\s|$)")
_MAX_CHALLENGE = 4096
_OTHER_PASSWORDS = ("digest", "negotiate", "ntlm", "kerberos", "scram-sha-1", "scram-sha-256")


def error_for(response: Response, *, with_password: bool = False) -> APIStatusError:
    """Return the exception for an answer with a status of 300 or more; reads and closes it.

    Args:
        response: The response.
        with_password: Whether a user name and a password were sent.
    """
    status, headers = response.status, response.headers
    if 300 <= status < 400:
        response.close()
        return _redirect(response)
    body = response.read_start(_READ)
    text = body.decode("utf-8", "replace")
    data = json_or_none(body)
    message = message_in(data) or _text_message(text, headers) or f"HTTP status {status}"
    cls = _CLASSES.get(status) or (ServerError if status >= 500 else APIStatusError)
    if _is_challenge(status, headers, text):
        cls = CloudflareChallenge
        message = BOT_CHECK
    elif status in (401, 407) and (asked := _asked_for(headers, status, with_password, response.deadline.address)):
        cls, message = asked
    return cls(
        message,
        status_code=status,
        method=response.method,
        url=response.url,
        request_id=response.request_id,
        body=masked(text)[:2000] or None,
        code=_code_in(data) or headers.get("x-error-code"),  # the Hub's
        retry_after=retry_after(headers, data, status=status),
    )


def restated(cls: type[_E], error: APIStatusError, message: str) -> _E:
    """Return *error* as another class with another message; all other fields are kept."""
    return cls(
        message,
        status_code=error.status_code,
        method=error.method,
        url=error.url,
        request_id=error.request_id,
        body=error.body,
        code=error.code,
        retry_after=error.retry_after,
        attempts=error.attempts,
        location=error.location,
    )


def _redirect(response: Response) -> APIStatusError:
    target = _target(response)
    cls: type[APIStatusError] = APIStatusError
    if target is None:
        message = f"HTTP status {response.status} that leads nowhere"
    else:
        here, there, shown = urlsplit(response.url), urlsplit(target), safe_url(target)
        if leads_to_login(response.url, target):
            cls = AuthenticationError
            message = f"the server redirects to {shown} instead of answering: that is a login page"
        elif there.hostname == here.hostname and (here.scheme, there.scheme) == ("http", "https"):
            message = f"the server wants https: use {shown}"
        elif _is_same_path(here.path, there.path):
            message = f"the server has moved: it redirects to {shown}; use a base URL of that place"
        else:
            message = f"the server redirects to {shown} instead of answering"
    return cls(
        message,
        status_code=response.status,
        method=response.method,
        url=response.url,
        request_id=response.request_id,
        location=None if target is None else safe_url(target),
    )


def _target(response: Response) -> str | None:
    try:
        location = response.headers.get("location", "")
        target = urljoin(response.url, location)
        return target if location and urlsplit(target).hostname else None
    except ValueError:
        return None


def leads_to_login(url: str, target: str) -> bool:
    """Whether a redirect from *url* to *target* (absolute) leads to a login page rather than to the server's new URL.

    A redirect that keeps the last name of the path has moved the resource, under any new name. A
    login page has one of the usual names, or gets the address to send the browser back to.
    """
    here, there = urlsplit(url), urlsplit(target)
    if _is_same_path(here.path, there.path) and not _RETURN.search(there.query):
        return False
    return bool(_LOGIN.search(f"{there.netloc}{there.path}") or _RETURN.search(there.query))


def _is_same_path(here: str, there: str) -> bool:
    return here.rstrip("/").rpartition("/")[2] == there.rstrip("/").rpartition("/")[2]


def _asked_for(headers: Headers, status: int, with_password: bool, where: str) -> tuple[type[APIStatusError], str] | None:
    """Return the message for a challenge for a user name and a password; None for other challenges.

    *where* names host, port and proxy.
    """
    schemes = _schemes(headers.all("proxy-authenticate" if status == 407 else "www-authenticate"))
    if status == 407:
        return APIStatusError, (
            f"the proxy wants a user name and a password ({', '.join([where, *schemes])}): put them in its URL, "
            "proxy=\"http://user:password@host:port\""
        )
    if "basic" in (scheme.lower() for scheme in schemes):
        if with_password:
            return PasswordRequired, "the server does not accept the user name and the password of the URL"
        return PasswordRequired, (
            "the server, or what stands in front of it, wants a user name and a password (HTTP Basic): put them in the URL, "
            "https://user:password@host"
        )
    if unknown := [scheme for scheme in schemes if scheme.lower() in _OTHER_PASSWORDS]:
        return PasswordRequired, (
            f"the server, or what stands in front of it, wants a user name and a password by way of {', '.join(unknown)}, "
            "which hfclient does not speak: of passwords it speaks HTTP Basic only, https://user:password@host"
        )
    return None


def _schemes(challenges: Iterable[str]) -> list[str]:
    """Return the names of the schemes in the values of a WWW-Authenticate header (RFC 9110, section 11.6.1)."""
    found = []
    for challenge in challenges:
        for part in _QUOTED.sub('""', challenge[:_MAX_CHALLENGE]).split(","):
            name = _SCHEME.match(part.strip())
            if name:
                found.append(name[1])
    return list(dict.fromkeys(found))


def message_in(data: Any, *, _depth: int = 8) -> str | None:
    """Return the message in an error object of any known shape, or None.

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
    if title := title_in(text):
        return title
    text = text.strip()
    return None if text in ("", "null") or text.startswith(("<", "{", "[")) else text[:300]


def is_bot_check(headers: Headers) -> bool:
    """Whether these are the headers of a bot check: Cloudflare's, or AWS's, which has status 202 or 405."""
    return headers.get("cf-mitigated") == "challenge" or headers.get("x-amzn-waf-action") in ("challenge", "captcha")


def _is_challenge(status: int, headers: Headers, text: str) -> bool:
    return is_bot_check(headers) or (status in (403, 429, 503) and is_challenge_page(text))
