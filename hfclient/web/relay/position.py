"""Positions in an answer: for ids of events that the store may not have yet.

A follower in the process that generates a run gets events before the store has them. If that process is killed, another one continues from
what the store has, and may cut the text into other events: chat-ui's log merges the tokens of 200 ms. The number of an event is then not
enough to continue behind it. So the id of an event that is not stored yet has its position, too, and what a reader has had is skipped by that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from attrs import evolve

from hfclient.events import AnyEvent, FinalAnswer, Reasoning, Token
from hfclient.web.errors import RunGone
from hfclient.web.relay.encoding import count, decode, lengths_before
from hfclient.web.relay.log import EventLog
from hfclient.web.relay.runs import event_id
from hfclient.web.relay.store import Store
from hfclient.web.source import Entry

__all__ = ["Rest", "locate", "numbered"]

_Position: TypeAlias = tuple[int, int, int]


def numbered(run_id: str, first: int, events: Iterable[AnyEvent], position: _Position, stored: float) -> tuple[list[Entry], _Position]:
    """Return *events*, the first of which has the number *first* and is behind *position*, with their ids, and the position behind them."""
    text, reasoning, others = position
    entries = []
    for number, event in enumerate(events, first):
        cls = type(event)
        if cls is Token:
            text += len(event.text)  # type: ignore[union-attr]
        elif cls is Reasoning:
            reasoning += len(event.text)  # type: ignore[union-attr]
        else:
            others += 1
        entries.append(Entry(f"{run_id}:{number}" if number <= stored else f"{run_id}.{text}.{reasoning}.{others}:{number}", event))
    return entries, (text, reasoning, others)


class Rest:
    """Removes what a reader has had from the events of a run, and numbers the others.

    Args:
        run_id: The run.
        had: Position of the last event that the reader has had.
        until: Its number.
        at: Position of the event behind which the events begin.
    """

    def __init__(self, run_id: str, had: _Position, until: int, at: _Position) -> None:
        self.had = had
        self._run_id, self._until = run_id, until
        self._text, self._reasoning, self._others = at
        self._has_new = False
        self.is_over = False

    def entries(self, first: int, events: Iterable[AnyEvent]) -> list[Entry]:
        """Return what is new of *events*, the first of which has the number *first*."""
        entries = []
        for number, event in enumerate(events, first):
            if (new := self._take(event)) is not None:
                self._has_new = True
                # A number that the reader has had for another event needs the position, to tell the two apart.
                entries.append(Entry(event_id(self._run_id, number, self._position), new))
            self.is_over = number > self._until and self._has_new
        text, reasoning, others = self.had
        self.had = max(text, self._text), max(reasoning, self._reasoning), max(others, self._others)
        return entries

    @property
    def _position(self) -> _Position:
        return self._text, self._reasoning, self._others

    def _take(self, event: AnyEvent) -> AnyEvent | None:
        text, reasoning, others = self.had
        if type(event) is Token:
            skipped = text - self._text
            self._text += len(event.text)
        elif type(event) is Reasoning:
            skipped = reasoning - self._reasoning
            self._reasoning += len(event.text)
        else:
            self._others += 1
            # The last one is repeated rather than missed: another process may have had fewer events before it.
            return event if self._has_new or self._others > others or type(event) is FinalAnswer else None
        if skipped <= 0:
            return event
        return evolve(event, text=event.text[skipped:]) if skipped < len(event.text) else None


def locate(store: Store, run_id: str, log: EventLog, number: int, had: _Position) -> tuple[int, Rest | None]:
    """Return the number behind which a reader has to read, and what removes the events that it has had; None if all are new.

    Args:
        store, log: Where the run is.
        run_id: The run.
        number, had: The last event that the reader has had: it has another number if the run was continued by another process.

    Raises:
        RunGone: What would follow is no longer kept.
        StoreUnavailable: The store cannot be reached.
    """
    if log.position(number) == had:
        return number, None
    base = log.base
    if (before := log.position(base)) is not None and _is_behind(before, had):
        return base, Rest(run_id, had, number, before)
    after = max(0, number - 1)
    for _ in range(3):  # the batch with that event, else the last one, else the first one
        found = store.read(run_id, after, 1)
        if found is None or found[0].gone:
            break
        record, batches = found
        if batches and _is_behind(at := lengths_before(batches[0].data), had):
            first, last = batches[0].first, batches[0].last
            if first <= number <= last and count(at, decode(batches[0].data)[: number + 1 - first]) == had:
                return number, None  # it is that event
            return first - 1, Rest(run_id, had, number, at)
        if not record.last:
            return 0, Rest(run_id, had, number, (0, 0, 0))
        after = record.last - 1 if not batches else 0
    raise RunGone("the part of this answer behind that event is no longer kept")


def _is_behind(position: _Position, had: _Position) -> bool:
    """Whether a reader that has had everything up to *had* has had everything up to *position*."""
    return all(one <= other for one, other in zip(position, had, strict=True))
