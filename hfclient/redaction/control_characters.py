"""Escaping of control characters in received text, for logs, errors and terminals.

A server, a model or a client can send terminal escape sequences, line ends (forged lines of a log, CWE-117), characters that
change the reading direction, and invisible characters. The joiners of emoji and of Persian and Indic scripts (U+200C, U+200D)
stay: they only change the shape of the letters next to them.

Reference: https://www.unicode.org/reports/tr36 (bidirectional text), https://cwe.mitre.org/data/definitions/150.html
"""

from __future__ import annotations

import re

__all__ = ["collapsed", "escaped", "one_line", "stripped"]

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
# The lookbehind keeps this linear: without it, the search would start at each blank of a row.
_LINE_ENDS = re.compile("(?:(?<![ \t])[ \t]+)?[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+[ \t]*")
_LAYOUT = "\t\n"


def escaped(text: str) -> str:
    r"""Return *text* with control characters, invisible characters and line ends escaped as in a Python literal.

    >>> print(escaped("a\n\x1b[2J\u202eb"))
    a\n\x1b[2J\u202eb
    """
    return _CONTROL.sub(_escape, text)


def one_line(text: str) -> str:
    r"""Return *text* as one line: line ends become a space, other control characters are escaped.

    >>> one_line("first\r\n  second\x07")
    'first second\\x07'
    """
    return text if text.isascii() and text.isprintable() else escaped(_LINE_ENDS.sub(" ", text))


def stripped(text: str) -> str:
    r"""Return *text* without the characters that :func:`escaped` escapes, except tabs and line feeds.

    >>> stripped("a\x1b[2J\tb\r\n")
    'a[2J\tb\n'
    """
    return _CONTROL.sub(_keep_layout, text)


def collapsed(text: str) -> str:
    r"""Return *text* as one line for a person: control characters are removed, and runs of blanks and line ends are one space.

    >>> collapsed(" a\x1b[2J\r\n  b")
    'a[2J b'
    """
    return " ".join(stripped(" ".join(text.split())).split())


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def _keep_layout(found: re.Match[str]) -> str:
    return found[0] if found[0] in _LAYOUT else ""
