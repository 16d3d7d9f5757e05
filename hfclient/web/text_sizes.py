"""The sizes of texts, from which their tokens are estimated."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BYTES_PER_TOKEN", "size_of", "size_of_texts"]

BYTES_PER_TOKEN = 4
"""A usual average: four letters of English, one or two Chinese characters."""


def size_of(text: str) -> int:
    """Return the bytes of *text* in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def size_of_texts(texts: object) -> int:
    """Return the bytes of all texts in *texts*, a prompt or a part of it, in UTF-8 and without data URLs."""
    total, left = 0, [texts]
    while left:
        match left.pop():
            case str() as text if not text.startswith("data:"):
                total += size_of(text)
            case Mapping() as fields:
                left += fields.values()
            case list() | tuple() as parts:
                left += parts
            case part if hasattr(part, "content"):  # an object for a message
                left.append(part.content)
            case _:
                pass
    return total
