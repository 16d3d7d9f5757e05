"""Text of others, made fit for a line of a log, for an error and for a terminal.

A server, a model or a client can send characters that a terminal obeys (escape sequences), that end a line (forged lines of
a log, CWE-117), that turn the reading direction, or that are not seen at all. The joiners of emoji and of Persian and Indic
scripts (U+200C, U+200D) stay: they change nothing but the shape of the letters beside them.

Reference: https://www.unicode.org/reports/tr36 (bidirectional text), https://cwe.mitre.org/data/definitions/150.html
"""

from __future__ import annotations

import re

__all__ = ["escaped", "one_line", "stripped"]

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
# Blanks before it count from their first one on, or each of them would look for the end of the row.
_LINE_ENDS = re.compile("(?:(?<![ \t])[ \t]+)?[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+[ \t]*")
_LEFT_IN_TEXT = "\t\n"


def escaped(text: str) -> str:
    r"""Return *text* with every character that steers, hides or ends a line written as Python writes it in a literal.

    >>> print(escaped("a\n\x1b[2J\u202eb"))
    a\n\x1b[2J\u202eb
    """
    return _UNSEEN.sub(_escape, text)


def one_line(text: str) -> str:
    r"""Return *text* as one line: line ends become a space, all else as :func:`escaped` has it.

    >>> one_line("first\r\n  second\x07")
    'first second\\x07'
    """
    return escaped(_LINE_ENDS.sub(" ", text))


def stripped(text: str) -> str:
    r"""Return *text* without the characters that :func:`escaped` escapes, save tabs and line feeds.

    >>> stripped("a\x1b[2J\tb\r\n")
    'a[2J\tb\n'
    """
    return _UNSEEN.sub(_keep_layout, text)


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def _keep_layout(found: re.Match[str]) -> str:
    return found[0] if found[0] in _LEFT_IN_TEXT else ""
