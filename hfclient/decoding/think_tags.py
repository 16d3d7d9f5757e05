"""Separates a model's reasoning from its answer in one text, by the tags ``<think>...</think>``.

chat-ui writes these tags into tokens and final answers. Many open models write them as well, often split between tokens.
"""

from __future__ import annotations

__all__ = ["ThinkSplitter", "split_thinking", "split_unopened"]

_OPEN = "<think>"
_CLOSE = "</think>"


class ThinkSplitter:
    """Splits a text in chunks into answer and reasoning.

    ``inside`` is true if the next character belongs to the reasoning; ``held`` is a possible start of a tag. While ``held``
    is empty, a fast path may skip :meth:`feed` for a chunk without ``<``.

        >>> splitter = ThinkSplitter()
        >>> splitter.feed("<thi"), splitter.feed("nk>hm</think>4"), splitter.finish()
        ([], [(True, 'hm'), (False, '4')], [])
    """

    __slots__ = ("held", "inside")

    def __init__(self) -> None:
        self.inside = False
        self.held = ""

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """Return pairs ``(is_reasoning, text)``; a possible start of a tag is held back for the next chunk."""
        text = self.held + text
        self.held = ""
        pieces: list[tuple[bool, str]] = []
        while text:
            tag = _CLOSE if self.inside else _OPEN
            before, found, after = text.partition(tag)
            if not found:
                keep = _possible_start(before, tag)
                self.held = before[len(before) - keep :] if keep else ""
                before = before[: len(before) - keep]
            if before:
                pieces.append((self.inside, before))
            if found:
                self.inside = not self.inside
            text = after
        return pieces

    def finish(self) -> list[tuple[bool, str]]:
        """Return the text that was held back: at the end it is not a tag."""
        rest, self.held = self.held, ""
        return [(self.inside, rest)] if rest else []


def _possible_start(text: str, tag: str) -> int:
    """Return the length of the longest suffix of *text* that is a prefix of *tag* (never the whole tag)."""
    for size in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:size]):
            return size
    return 0


def split_thinking(text: str) -> tuple[str, str]:
    """Return ``(answer, reasoning)`` of a complete text; an unclosed span is reasoning to the end.

    >>> split_thinking("<think>6 x 7</think>42")
    ('42', '6 x 7')
    """
    if _OPEN not in text:  # the common case
        return text, ""
    splitter = ThinkSplitter()
    pieces = splitter.feed(text) + splitter.finish()
    return (
        "".join(piece for inside, piece in pieces if not inside),
        "".join(piece for inside, piece in pieces if inside),
    )


def split_unopened(text: str) -> tuple[str, str]:
    """Return ``(answer, reasoning)`` of a complete text with ``</think>`` and without ``<think>``.

    The templates of many reasoning models write ``<think>`` into the prompt, so that only ``</think>`` is in the answer. It
    counts at the beginning of a line only, where models put it: elsewhere the text may be about the tag.

    >>> split_unopened("6 x 7\n</think>\n42"), split_unopened("End it with </think>.")
    (('\n42', '6 x 7\n'), ('End it with </think>.', ''))
    """
    before, found, after = ("\n" + text).partition("\n" + _CLOSE)
    if not found or _OPEN in before:
        return text, ""
    return after, before[1:] + "\n" if before else ""
