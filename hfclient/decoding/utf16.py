"""UTF-16 units, in which JavaScript counts text, and surrogate pairs that are split between two tokens.

JSON may split a character outside the basic plane into ``"\\ud83d"`` and ``"\\ude00"``, and servers written in JavaScript do so
at the end of a token. A Python string with such a lone surrogate cannot be encoded or printed.
"""

from __future__ import annotations

from typing import Any

__all__ = ["SurrogateJoiner", "repair_all", "repair_surrogates", "skip_utf16", "utf16_length"]


def utf16_length(text: str) -> int:
    """Return the length of *text* as JavaScript counts it: two for a character outside the basic plane."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def skip_utf16(text: str, units: int) -> str:
    """Return *text* without its first *units* UTF-16 units; the result may begin with a lone surrogate."""
    if text.isascii():
        return text[units:]
    return text.encode("utf-16-le", "surrogatepass")[2 * units :].decode("utf-16-le", "surrogatepass")


def repair_surrogates(text: str) -> str:
    """Return *text* with surrogate pairs joined, and lone surrogates replaced by U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def repair_all(value: Any) -> Any:
    """Return a decoded JSON value with :func:`repair_surrogates` applied to all strings in it."""
    if isinstance(value, str):
        return value if value.isascii() else repair_surrogates(value)
    if isinstance(value, list):
        return [repair_all(item) for item in value]
    if isinstance(value, dict):
        return {repair_all(key): repair_all(item) for key, item in value.items()}
    return value


class SurrogateJoiner:
    """Repairs a text in chunks: a high surrogate at the end of a chunk waits in ``held`` for the next one.

    >>> joiner = SurrogateJoiner()
    >>> joiner.feed("x\\ud83d"), joiner.feed("\\ude00y"), joiner.finish()
    ('x', '😀y', '')
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = ""

    def feed(self, text: str) -> str:
        """Return the text up to here, which can be encoded, except a final high surrogate."""
        text = self.held + text
        self.held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self.held = text[:-1], text[-1]
        return repair_surrogates(text)

    def finish(self) -> str:
        """Return U+FFFD for a surrogate that was held back, or an empty string."""
        held, self.held = self.held, ""
        return repair_surrogates(held)
