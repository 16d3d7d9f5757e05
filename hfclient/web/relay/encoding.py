"""Events as bytes for a store, and back.

A batch is JSON: ``[text, reasoning, others, items]``. *text* and *reasoning* are the numbers of characters of the answer before the batch, *others* is
that of the events without text.
An item is an event (`hfclient.events.to_dict`), or consecutive pieces of text that have nothing but their text, in one:
``["t", "Hello world", [5, 6]]`` (``"r"`` for reasoning), with the length of each. So a token costs its characters and two or
three bytes, and is decoded as the same event.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from attrs import define

from hfclient.events import AnyEvent, Reasoning, Token, Unknown, from_dict, to_dict
from hfclient.web.relay.store import Batch

__all__ = ["Encoder", "comparable", "count", "decode", "lengths_before", "pack", "unpack"]

_log = logging.getLogger("hfclient.web")
_CLASSES: dict[str, type[Token] | type[Reasoning]] = {"t": Token, "r": Reasoning}


def pack(value: object) -> bytes:
    """Return *value*, plain JSON types, as JSON; also text with half a surrogate pair, which UTF-8 does not have."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def unpack(data: bytes) -> Any:
    """Return the value of `pack`."""
    try:
        return msgspec.json.decode(data)
    except ValueError:
        return json.loads(data)


@define(eq=False)
class Encoder:
    """Encodes the events of one run, batch after batch.

    Attributes:
        text: Characters of the answer that were encoded.
        reasoning: Characters of the reasoning.
        others: Other events.
    """

    text: int = 0
    reasoning: int = 0
    others: int = 0

    def batch(self, first: int, events: Sequence[AnyEvent]) -> Batch:
        """Return *events*, the first of which has number *first*, as a batch."""
        before = (self.text, self.reasoning, self.others)
        try:
            return self._batch(first, events)
        except Exception as error:  # noqa: BLE001 (one event must not keep the others, and those of other runs, from the store)
            _log.warning("an event cannot be kept: %s", type(error).__name__)
            self.text, self.reasoning, self.others = before
            return self._batch(first, list(map(_encodable, events)))

    def _batch(self, first: int, events: Sequence[AnyEvent]) -> Batch:
        before = (self.text, self.reasoning, self.others)
        items: list[Any] = []
        kind: type | None = None  # of the open run of pieces
        texts: list[str] = []
        for event in events:
            cls = type(event)
            if cls is Token or cls is Reasoning:
                if event.extra is None and (
                    cls is Reasoning or (event.logprob is None and event.id is None and event.special is None)  # type: ignore[union-attr]
                ):
                    if cls is not kind:
                        self._close(kind, texts, items)
                        kind, texts = cls, []
                    texts.append(event.text)  # type: ignore[union-attr]
                    continue
                if cls is Token:
                    self.text += len(event.text)  # type: ignore[union-attr]
                else:
                    self.reasoning += len(event.text)  # type: ignore[union-attr]
            else:
                self.others += 1
            self._close(kind, texts, items)
            kind = None
            items.append(to_dict(event))
        self._close(kind, texts, items)
        try:
            data = msgspec.json.encode([*before, items])
        except UnicodeEncodeError:  # half a surrogate pair: joined to the other half it would be one character
            data = pack([*before, list(map(to_dict, events))])
        return Batch(first, len(events), data)

    def _close(self, kind: type | None, texts: list[str], items: list[Any]) -> None:
        if kind is None:
            return
        text = "".join(texts)
        if kind is Token:
            self.text += len(text)
            items.append(["t", text, list(map(len, texts))])
        else:
            self.reasoning += len(text)
            items.append(["r", text, list(map(len, texts))])


def _encodable(event: AnyEvent) -> AnyEvent:
    """Return *event*, without what JSON does not have: the results of an application's tool, say."""
    try:
        pack(to_dict(event))
    except Exception:  # noqa: BLE001 (whatever an object does)
        cls = type(event)
        return cls(event.text) if cls is Token or cls is Reasoning else Unknown(cls.__name__, {})  # type: ignore[union-attr]
    return event


def decode(data: bytes) -> list[AnyEvent]:
    """Return the events of a batch. An event that this release does not know becomes an `Unknown`."""
    events: list[AnyEvent] = []
    for item in unpack(data)[3]:
        if type(item) is list:
            cls, text, start = _CLASSES[item[0]], item[1], 0
            for length in item[2]:
                end = start + length
                events.append(cls(text[start:end]))
                start = end
        else:
            events.append(_event(item))
    return events


def _event(data: dict[str, Any]) -> AnyEvent:
    try:
        return from_dict(data)
    except ValueError:  # a newer release wrote it
        return Unknown(str(data.get("event", "")), data)


def comparable(event: AnyEvent) -> bytes:
    """Return *event* as bytes, the same for an event and for what the store has of it: a number that a service sends as ``1`` is ``1.0`` there."""
    return pack(to_dict(_event(to_dict(event))))


def lengths_before(data: bytes) -> tuple[int, int, int]:
    """Return the numbers of characters of text and reasoning, and that of other events, before a batch."""
    text, reasoning, others, _ = unpack(data)
    return text, reasoning, others


def count(before: tuple[int, int, int], events: Iterable[AnyEvent]) -> tuple[int, int, int]:
    """Return the numbers of `lengths_before` behind *events*."""
    text, reasoning, others = before
    for event in events:
        cls = type(event)
        if cls is Token:
            text += len(event.text)  # type: ignore[union-attr]
        elif cls is Reasoning:
            reasoning += len(event.text)  # type: ignore[union-attr]
        else:
            others += 1
    return text, reasoning, others

