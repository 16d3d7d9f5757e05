"""HTML pages in place of an answer: bot checks, login pages, captive portals, maintenance pages."""

from __future__ import annotations

import re

from hfclient.decoding.frames import excerpt
from hfclient.errors import CloudflareChallenge, ProtocolError

__all__ = ["BOT_CHECK", "describe_body", "is_challenge_page", "title_in", "unexpected_content"]

BOT_CHECK = (
    'a bot check answered instead of the service: Client(impersonate="chrome") passes most of them '
    '(pip install "hfclient[impersonate]"); for an interactive check, pass it in a browser on this machine, and pass the '
    "browser's cookies as Client(cookies=...)"
)
_START = 16 * 1024  # bytes that are searched
_MAX_TITLE = 80
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{0,500})", re.IGNORECASE)
_CHALLENGE = re.compile(r"challenge-platform|cf-chl|cf_chl|Just a moment\.\.\.|Attention Required! \| Cloudflare")
_PASSWORD = re.compile(r"""<input[^>]{0,500}type\s{0,5}=\s{0,5}["']?password""", re.IGNORECASE)


def title_in(page: str) -> str | None:
    """Return the title of a page, or None.

    >>> title_in("<html><head><title> Back &amp; soon </title>")
    'Back & soon'
    """
    found = _TITLE.search(page)
    if found is None:
        return None
    from html import unescape  # imports a table of two thousand names

    return unescape(" ".join(found[1].split())) or None


def is_challenge_page(page: str) -> bool:
    """Return whether a page, or its start, is Cloudflare's bot check."""
    return "<" in page[:200] and bool(_CHALLENGE.search(page))


def describe_body(body: bytes, content_type: str = "") -> str:
    """Return a description of a body that is not JSON, from its start.

    >>> describe_body(b"<title>Sign in</title><input type=password>")
    'a login page titled "Sign in"'
    >>> describe_body(b"OK", "text/plain")
    'text/plain'
    """
    if body.lstrip()[:1] != b"<":
        return content_type or "something"
    page = body[:_START].decode("utf-8", "replace")
    name = "a login page" if _PASSWORD.search(page) else "an HTML page"
    title = title_in(page)
    return f'{name} titled "{title[:_MAX_TITLE]}"' if title else name


def unexpected_content(
    message: str, body: bytes, *, method: str | None = None, url: str | None = None
) -> ProtocolError | CloudflareChallenge:
    """Return the error for a successful answer with unexpected content: *message*, unless *body* is a bot check."""
    if is_challenge_page(body[:_START].decode("utf-8", "replace")):
        return CloudflareChallenge(BOT_CHECK, status_code=200, method=method, url=url)
    return ProtocolError(message, frame=excerpt(body))
