"""Texts of servers and models in HTML, in Markdown and in plain text."""

from __future__ import annotations

import html
import re

from hfclient.redaction.control_characters import collapsed, stripped

__all__ = ["amount", "line", "shortened", "text_in_html"]

# MathJax reads the finished page, also the text of tables. It does not see math that crosses elements.
_MATH = re.compile(r"[$]|\\(?=[A-Za-z([])")


def text_in_html(text: str) -> str:
    """Return *text* for a place in HTML where text may be, or for an attribute in double quotes if it has no math."""
    return _MATH.sub(r"<span>\g<0></span>", html.escape(stripped(text)))


def line(text: str, limit: int = 200) -> str:
    """Return *text* as one line without control characters, at most *limit* characters."""
    return shortened(collapsed(text[: 4 * limit]), limit)


def shortened(text: str, limit: int) -> str:
    """Return at most *limit* characters of *text*, with an ellipsis if there are more."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def amount(count: int, one: str, several: str = "") -> str:
    """Return "1 image", "2,000 images"."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"
