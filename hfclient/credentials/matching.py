"""Cookies with their place and time, and which of them a chat server would get from a browser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen

from hfclient.credentials.places import belongs_to_host, belongs_to_path, is_this_machine
from hfclient.credentials.secret import Secret
from hfclient.errors import CredentialsError

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

__all__ = ["COOKIE_NAME", "SESSION_COOKIE", "Cookie", "cookies_for", "from_jar"]

SESSION_COOKIE = "hf-chat"
"""chat-ui's default for its setting COOKIE_NAME."""

COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What may be a name at all (RFC 6265, section 4.1.1)."""


@frozen
class Cookie:
    """A cookie as a browser keeps it.

    Attributes:
        name, value: What is sent.
        domain: The host that set it, perhaps with a dot before it; empty if it is not known.
        path: Paths below this one get it.
        expires: Seconds since 1970; None for a cookie that lives as long as the browser.
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


def cookies_for(chat_url: str, cookies: Iterable[Cookie], source: str) -> dict[str, Secret]:
    """Return what a browser would send to the chat server of *cookies*; of two with one name, the more special one.

    Args:
        chat_url: The chat server's base URL.
        cookies: All of an export, of a jar, of a browser.
        source: What they came from, for the message of an error.

    Raises:
        CredentialsError: None is left; or its session cookie has expired.
    """
    parts = urlsplit(chat_url)
    host = (parts.hostname or "").lower()
    plain = parts.scheme != "https" and not is_this_machine(host)
    everything = list(cookies)
    belonging = [
        cookie
        for cookie in everything
        if cookie.value
        and belongs_to_host(cookie.domain, host, host_only=cookie.host_only)
        and belongs_to_path(cookie.path, parts.path.rstrip("/") or "/")
    ]
    sent = [cookie for cookie in belonging if not (cookie.secure and plain)]
    if belonging and not sent:
        raise CredentialsError(f"the cookies of {host} in {source} go out over https only; the server's URL says http")
    now = time.time()
    fresh = [cookie for cookie in sent if cookie.expires is None or cookie.expires > now]
    expired = [cookie for cookie in sent if cookie not in fresh]
    if not sent:
        raise CredentialsError(
            f"none of the {len(everything)} cookies in {source} belongs to {host}; was it exported from that site?"
            if everything
            else f"{source} holds no cookies"
        )
    lost = SESSION_COOKIE in {cookie.name for cookie in expired} - {cookie.name for cookie in fresh}
    if lost or not fresh:
        last = max(cookie.expires or 0.0 for cookie in expired)
        when = time.strftime("%Y-%m-%d", time.gmtime(min(last, 253_402_300_799.0)))
        raise CredentialsError(
            f"the login in {source} has expired (its cookies for {host} ended on {when} or before): "
            "log in with the browser and take them again"
        )
    fresh.sort(key=lambda cookie: (len(cookie.path), len(cookie.domain.lstrip(".")), cookie.host_only))
    return {cookie.name: cookie.value for cookie in fresh}


def from_jar(jar: CookieJar) -> list[Cookie]:
    """Return the cookies of a jar of the standard library, or of one of the many that derive from it."""
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
