"""Joins the halves of a character that two tokens share.

JSON may cut a character outside the basic plane into ``"\\ud83d"`` and ``"\\ude00"``, and servers written in JavaScript
do so at a token's end. A Python string then holds halves that nothing can encode or print.
"""

from __future__ import annotations

__all__ = ["SurrogateJoiner", "mend_surrogates"]


def mend_surrogates(text: str) -> str:
    """Return *text* with halves joined, and those without a partner replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class SurrogateJoiner:
    """Mends a text that comes in pieces: a first half at a piece's end waits in ``held`` for the next piece.

        >>> joiner = SurrogateJoiner()
        >>> joiner.feed("x\\ud83d"), joiner.feed("\\ude00y"), joiner.finish()
        ('x', '😀y', '')
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = ""

    def feed(self, text: str) -> str:
        """Return the part of the text that is certain now, fit to be encoded."""
        text = self.held + text
        self.held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self.held = text[:-1], text[-1]
        return mend_surrogates(text)

    def finish(self) -> str:
        """Return what was held back: its other half never came."""
        held, self.held = self.held, ""
        return mend_surrogates(held)
