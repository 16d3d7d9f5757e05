"""Which events of a replayed answer are new: for a run that another process continues.

The answer is read again from its start: the server's log of a chat, say. What the store has already is skipped: of text and of reasoning as
many characters as it has, because a log may cut the text into other pieces; of all other events the same ones, as often as it has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from attrs import evolve

from hfclient.events import AnyEvent, FinalAnswer, Reasoning, Token
from hfclient.web.relay.encoding import comparable

__all__ = ["Replay"]


class _Text:
    """Text that was delivered, and how much of it the replay has reached."""

    def __init__(self, before: int, known: str) -> None:
        self.before = before  # characters whose text is not known: they were trimmed
        self.known = known
        self.at = 0

    def take(self, piece: str) -> str | None:
        """Return the new part of *piece*; None if the replay has another text."""
        start, self.at = self.at, self.at + len(piece)
        delivered = self.before + len(self.known)
        if start >= delivered:
            return piece
        old = piece[: delivered - start]
        skip = max(0, self.before - start)
        begin = max(0, start - self.before)
        if old[skip:] != self.known[begin : begin + len(old) - skip]:
            return None
        return piece[len(old) :]


class Replay:
    """Filters the events of a replayed answer.

    If the replay has another text than was delivered, such as a new answer to the same prompt, its pieces are held back, and a `FinalAnswer`
    with the whole text replaces what was delivered.

    Args:
        delivered: The events that the store has.
        text, reasoning: Numbers of characters before them.
    """

    def __init__(self, delivered: Iterable[AnyEvent], text: int = 0, reasoning: int = 0) -> None:
        texts: dict[type, list[str]] = {Token: [], Reasoning: []}
        self._others: Counter[bytes] = Counter()
        for event in delivered:
            if isinstance(event, (Token, Reasoning)):
                texts[type(event)].append(event.text)
            else:
                self._others[comparable(event)] += 1
        self._texts = {Token: _Text(text, "".join(texts[Token])), Reasoning: _Text(reasoning, "".join(texts[Reasoning]))}
        self._differs = False

    def new(self, events: Iterable[AnyEvent]) -> Iterator[AnyEvent]:
        """Yield the events that the store does not have."""
        whole: list[str] = []
        final = False
        for event in events:
            if isinstance(event, (Token, Reasoning)):
                is_text = isinstance(event, Token)
                if is_text:
                    whole.append(event.text)
                rest = None if self._differs and is_text else self._texts[type(event)].take(event.text)
                if rest is None:
                    self._differs = self._differs or is_text
                elif rest == event.text:
                    yield event
                elif rest:
                    yield evolve(event, text=rest)
                continue
            final = final or isinstance(event, FinalAnswer)
            key = comparable(event)
            if self._others[key] > 0:
                self._others[key] -= 1
            elif self._texts[Token].at >= self._texts[Token].before:  # earlier events were trimmed
                yield event
        if self._differs and not final:
            yield FinalAnswer("".join(whole))
