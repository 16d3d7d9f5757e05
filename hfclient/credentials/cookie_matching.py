"""Cookies with their attributes, and the selection of those that a browser would send to a chat server."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import evolve, frozen

from hfclient.credentials.origins import (
    base_path,
    cookie_host,
    domain_matches,
    is_hugging_face,
    is_loopback,
    path_matches,
)
from hfclient.credentials.secret import Secret
from hfclient.errors import CredentialsError
from hfclient.values import Value

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

__all__ = [
    "COOKIE_NAME",
    "NEVER_IN_VALUES",
    "SESSION_COOKIE",
    "Cookie",
    "cookies_for",
    "cookies_from_jar",
    "display_name",
    "parse_set_cookie",
    "sendable_cookies",
]

_log = logging.getLogger("hfclient")
_MAX_LENGTH = 8192  # characters of one cookie that a server sets; browsers accept half of that
_MAX_SHOWN_NAME = 32
_MAX_NAMED = 10
_ONE_SITE = 50  # more cookies than this come from a whole browser, most of them for other sites

SESSION_COOKIE = "hf-chat"
"""The default of chat-ui's setting COOKIE_NAME."""

COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Names that are allowed (RFC 6265, section 4.1.1)."""

NEVER_IN_VALUES = re.compile(r"[^\x20-\x3a\x3c-\x7e\x80-\xff]")
"""Characters that end a cookie, or that a header cannot carry."""


@frozen(eq=False, repr=False)
class Cookie(Value):
    """A cookie as a browser stores it.

    Attributes:
        name, value: The pair that is sent.
        domain: The host that set it, with or without a leading dot; empty if unknown.
        path: It is sent to this path and those below.
        expires: Seconds since 1970; None for a cookie of the browser session.
        secure: Not sent over plain http.
        host_only: Not sent to subdomains of *domain*.
    """

    name: str
    value: Secret
    domain: str = ""
    path: str = "/"
    expires: float | None = None
    secure: bool = False
    host_only: bool = False


def cookies_for(chat_url: str, cookies: Iterable[Cookie], source: str) -> list[Cookie]:
    """Return those of *cookies* that a browser would send to the chat server; of the same name, the most specific one.

    A cookie of the server that cannot be sent is ignored with a warning that names it.

    Args:
        chat_url: The chat server's base URL.
        cookies: All cookies of an export, a jar or a browser.
        source: Their source, for messages.

    Raises:
        CredentialsError: No cookie is left; or the session cookie cannot be sent, or has expired.
    """
    host = cookie_host(chat_url)
    below = base_path(chat_url)
    everything = list(cookies)
    matching = [
        cookie
        for cookie in everything
        if cookie.value
        and domain_matches(cookie.domain, host, host_only=cookie.host_only)
        and (cookie.path.startswith(below) or path_matches(cookie.path, below))
    ]
    if not matching:
        raise CredentialsError(
            f"none of the {len(everything)} cookies in {source} belongs to {host}; was it exported from that site?"
            if everything
            else f"{source} has no cookies"
        )
    plain = _is_plain(chat_url)
    sent = [cookie for cookie in matching if not (plain and (cookie.secure or _is_secure_name(cookie.name)))]
    if not sent or SESSION_COOKIE in _names(matching) - _names(sent):
        what = f"the cookie {SESSION_COOKIE!r}" if sent else "the cookies"
        verb = "is" if sent else "are"
        raise CredentialsError(f"{what} of {host} in {source} {verb} sent over https only; the server's URL has http")
    now = time.time()
    fresh = [cookie for cookie in sent if cookie.expires is None or cookie.expires > now]
    if not fresh or SESSION_COOKIE in _names(sent) - _names(fresh):
        last = max(cookie.expires or 0.0 for cookie in sent if cookie not in fresh)
        when = time.strftime("%Y-%m-%d", time.gmtime(min(last, 253_402_300_799.0)))
        raise CredentialsError(
            f"the login in {source} has expired (its cookies for {host} ended on {when} or before): "
            "log in with the browser and export them again"
        )
    why = dict.fromkeys(_names(sent) - _names(fresh), "it has expired")
    others = _names(cookie for cookie in everything if cookie.value)
    if len(everything) > _ONE_SITE:
        others &= {SESSION_COOKIE}
    why |= dict.fromkeys(others - _names(matching), "it belongs to another site or path")
    why |= dict.fromkeys(_names(matching) - _names(sent), "it is sent over https only")
    accepted = sendable_cookies([(cookie.name, cookie.value) for cookie in fresh], source, chat_url=chat_url, ignored=why)
    fresh.sort(key=lambda cookie: (len(cookie.path), len(cookie.domain.lstrip(".")), cookie.host_only))
    found = {(cookie.name, cookie.path if cookie.path.startswith(below) else ""): cookie for cookie in fresh}
    return [
        cookie if path and cookie.path != below else evolve(cookie, path="/")
        for (name, path), cookie in found.items()
        if name in accepted
    ]


def sendable_cookies(
    pairs: Iterable[tuple[str, str]],
    source: str,
    *,
    chat_url: str | None = None,
    ignored: Mapping[str, str] | None = None,
) -> dict[str, Secret]:
    """Return those of *pairs* of names and values that a header can carry; a warning names the others.

    Args:
        pairs: Names and values; a pair without a value is skipped.
        source: Their source, for messages.
        chat_url: The chat server, if known; over plain http, ``__Host-`` cookies are not sent.
        ignored: Names of cookies that were ignored before, with the reasons, for the same warning.

    Raises:
        CredentialsError: A cookie of the login cannot be sent, or none of several cookies can.
    """
    accepted: dict[str, Secret] = {}
    rejected = dict(ignored or {})
    plain = chat_url is not None and _is_plain(chat_url)
    # HuggingChat needs the Hub's cookie and its own.
    needed = (SESSION_COOKIE, "token") if chat_url is None or is_hugging_face(chat_url) else (SESSION_COOKIE,)
    for name, value in pairs:
        if not name or not value:
            continue
        problem = _problem(name, value, plain)
        if problem is None:
            accepted[name] = Secret(value)
        elif name in needed:
            raise CredentialsError(f"the cookie {name!r} in {source} cannot be sent: {problem}")
        else:
            rejected[name] = problem
    rejected = {name: problem for name, problem in rejected.items() if name not in accepted}
    if rejected and not accepted:
        # Shown only if it looks like a name: the text may be something else that was pasted.
        name, problem = next(((name, rejected[name]) for name in rejected if COOKIE_NAME.fullmatch(name)), ("", ""))
        if not name or len(name) > _MAX_SHOWN_NAME:
            raise CredentialsError(f"no cookie in {source} can be sent: they have characters that a cookie never has; "
                                   "was something else pasted?")
        raise CredentialsError(f"the cookie {name!r} in {source} cannot be sent: {problem}")
    if rejected:
        shown = [f"{display_name(name)} ({problem})" for name, problem in rejected.items()]
        more = f" and {len(shown) - _MAX_NAMED} more" if len(shown) > _MAX_NAMED else ""
        _log.warning("cookies in %s that are ignored: %s%s", source, ", ".join(shown[:_MAX_NAMED]), more)
    return accepted


def display_name(name: str) -> str:
    """Return a cookie's name for a message; only its length if it may be something else."""
    if len(name) > _MAX_SHOWN_NAME or re.search(r"\s|hf_", name):
        return f"a cookie with a name of {len(name)} characters"
    return repr(name)


def _problem(name: str, value: str, plain: bool) -> str | None:
    """Return why a header cannot carry a cookie; None if it can."""
    if not COOKIE_NAME.fullmatch(name):
        return "its name has characters that the name of a cookie cannot have"
    if NEVER_IN_VALUES.search(value):
        return "its value has characters that a header cannot carry"
    if plain and _is_secure_name(name):
        return "it is sent over https only"
    return None


def _names(cookies: Iterable[Cookie]) -> set[str]:
    return {cookie.name for cookie in cookies}


def _is_plain(chat_url: str) -> bool:
    """Whether a browser would not send a secure cookie to *chat_url*; this machine counts as secure."""
    return urlsplit(chat_url).scheme.lower() != "https" and not is_loopback(cookie_host(chat_url))


def _is_secure_name(name: str) -> bool:
    return name.lower().startswith(("__host-", "__secure-"))


def parse_set_cookie(line: str, chat_url: str) -> tuple[Cookie | None, str]:
    """Return the cookie in a Set-Cookie header and why a browser would reject it; no cookie for another path.

    A cookie that has expired, which is how a server deletes a cookie, has an empty value.

    A header without a path applies to all paths, because servers renew the session cookie below ``/api/``, too. (A browser
    would use the folder of the request's path.)

    Reference: RFC 6265bis, sections 5.6 and 5.7
    """
    first, *rest = line.split(";")
    name, _, value = (part.strip() for part in first.partition("="))
    pairs = (attribute.partition("=") for attribute in rest)
    given = {key.strip().lower(): text.strip() for key, _, text in pairs}
    below = base_path(chat_url)
    path = given.get("path", "")
    plain = _is_plain(chat_url)
    secure = "secure" in given
    if not (path.startswith(below) or path_matches(path, below)):
        return None, ""
    ended = _has_expired(given)
    problem = None if ended else _problem(name, value, plain)
    if len(name) + len(value) > _MAX_LENGTH:
        problem = "it is too long"
    elif not domain_matches(given.get("domain", ""), cookie_host(chat_url)):
        problem = "it is for another domain"
    elif plain and secure:
        problem = "it is sent over https only"
    elif _is_secure_name(name) and not (secure and (name[:7].lower() != "__host-" or (path == "/" and not given.get("domain")))):
        problem = "its attributes do not meet the requirements of its prefix"
    return Cookie(name, Secret("" if ended else value), path=path if path.startswith(below) and path != below else "/"), problem or ""


def _has_expired(attributes: Mapping[str, str]) -> bool:
    if "max-age" in attributes:  # has precedence over Expires
        return attributes["max-age"].startswith("-") or attributes["max-age"] == "0"
    if "expires" not in attributes:
        return False
    from email.utils import parsedate_to_datetime  # the HTTP library has imported it already

    try:
        return parsedate_to_datetime(attributes["expires"]).timestamp() <= time.time()
    except (ValueError, TypeError, OverflowError):
        return False


def cookies_from_jar(jar: CookieJar) -> list[Cookie]:
    """Return the cookies of a cookie jar of the standard library or of a subclass."""
    return [
        Cookie(
            cookie.name,
            Secret(cookie.value or ""),
            cookie.domain or "",
            cookie.path or "/",
            None if not cookie.expires else float(cookie.expires),
            bool(cookie.secure),
            host_only=not (cookie.domain or "").startswith("."),
        )
        for cookie in jar
    ]
