"""Pages of HTML that come where an answer should be: bot checks, login pages, captive portals, "back soon"."""

from __future__ import annotations

import re

from hfclient.decoding.frames import excerpt
from hfclient.errors import CloudflareChallenge, ProtocolError

__all__ = ["BOT_CHECK", "instead", "is_challenge_page", "title_in", "what_came"]

BOT_CHECK = (
    'a bot check answered instead of the service: Client(impersonate="chrome") passes most of them '
    '(pip install "hfclient[impersonate]"); one that wants to see a person is passed in a browser on this machine, '
    "whose cookies then go along as Client(cookies=...)"
)
_START = 16 * 1024  # bytes that are looked at
_LONGEST_TITLE = 80
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
    from html import unescape  # a table of two thousand names, for pages of error

    return unescape(" ".join(found[1].split())) or None


def is_challenge_page(page: str) -> bool:
    """Whether a page, of which the start will do, is Cloudflare's bot check."""
    return "<" in page[:200] and bool(_CHALLENGE.search(page))


def what_came(body: bytes, content_type: str = "") -> str:
    """Return in words what the start of a body is that is no JSON.

    >>> what_came(b"<title>Sign in</title><input type=password>")
    'a login page titled "Sign in"'
    >>> what_came(b"OK", "text/plain")
    'text/plain'
    """
    if body.lstrip()[:1] != b"<":
        return content_type or "something"
    page = body[:_START].decode("utf-8", "replace")
    name = "a login page" if _PASSWORD.search(page) else "an HTML page"
    title = title_in(page)
    return f'{name} titled "{title[:_LONGEST_TITLE]}"' if title else name


def instead(
    message: str, body: bytes, *, method: str | None = None, url: str | None = None
) -> ProtocolError | CloudflareChallenge:
    """Return the error for a successful answer with the wrong content: *message*, unless *body* is a bot check."""
    if is_challenge_page(body[:_START].decode("utf-8", "replace")):
        return CloudflareChallenge(BOT_CHECK, status=200, method=method, url=url)
    return ProtocolError(message, frame=excerpt(body))
