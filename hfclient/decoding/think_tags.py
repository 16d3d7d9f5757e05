"""Tells a model's reasoning from its answer where both come in one text, as ``<think>...</think>``.

chat-ui writes reasoning that way into its tokens and its final answers, and many open models write the tags
themselves, often cut in two by a token's end.
"""

from __future__ import annotations

__all__ = ["ThinkSplitter", "split_thinking", "split_unopened"]

_OPEN = "<think>"
_CLOSE = "</think>"


class ThinkSplitter:
    """Splits a text that comes in pieces into answer and reasoning.

    ``inside`` tells whether the next character belongs to the reasoning, ``held`` is what might be the start of a tag.
    A caller in a hurry may skip :meth:`feed` for a piece without ``<`` while ``held`` is empty.

        >>> splitter = ThinkSplitter()
        >>> splitter.feed("<thi"), splitter.feed("nk>hm</think>4"), splitter.finish()
        ([], [(True, 'hm'), (False, '4')], [])
    """

    __slots__ = ("held", "inside")

    def __init__(self) -> None:
        self.inside = False
        self.held = ""

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """Return ``(is_reasoning, text)`` for all that is certain now; a possible tag's start waits for the next piece."""
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
        """Return what was held back: the text ended, so it was no tag."""
        rest, self.held = self.held, ""
        return [(self.inside, rest)] if rest else []


def _possible_start(text: str, tag: str) -> int:
    """Length of the longest end of *text* that *tag* starts with (never the whole tag)."""
    for size in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:size]):
            return size
    return 0


def split_thinking(text: str) -> tuple[str, str]:
    """Return ``(answer, reasoning)`` of a whole text; an unclosed span is reasoning to the end.

    >>> split_thinking("<think>6 x 7</think>42")
    ('42', '6 x 7')
    """
    if _OPEN not in text:  # most texts, and there are as many of them as a conversation has messages
        return text, ""
    splitter = ThinkSplitter()
    pieces = splitter.feed(text) + splitter.finish()
    return (
        "".join(piece for inside, piece in pieces if not inside),
        "".join(piece for inside, piece in pieces if inside),
    )


def split_unopened(text: str) -> tuple[str, str]:
    """Return ``(answer, reasoning)`` of a whole text whose reasoning has an end but no beginning.

    The templates of many reasoning models write ``<think>`` into the prompt, so that only ``</think>`` is in the answer. It
    counts at the beginning of a line only, where models put it: elsewhere somebody may write about the tag.

    >>> split_unopened("6 x 7\n</think>\n42"), split_unopened("End it with </think>.")
    (('\n42', '6 x 7\n'), ('End it with </think>.', ''))
    """
    before, found, after = ("\n" + text).partition("\n" + _CLOSE)
    if not found or _OPEN in before:
        return text, ""
    return after, before[1:] + "\n" if before else ""
