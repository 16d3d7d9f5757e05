"""Fields of an answer besides its text, reasoning and tool calls: none that a server sends is lost.

Each field is returned three times: on an event as it came, merged in the `Reply`, and, if it belongs to the model's
reasoning, in the next request (`Reply.provider_fields`). Citations also become `Sources`.

Reference: docs/protocol/inference ("unknown fields").
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hfclient.decoding.json_repair import scrub
from hfclient.events import AnyEvent, Source, Sources, ToolCall, Unknown
from hfclient.inference.completions.citations import citations_in
from hfclient.inference.completions.field_merging import FieldMerger, has_content, is_attached, is_signed

__all__ = ["ExtraFields", "add_extra"]

# Fields of every chunk. Only the reply has them: otherwise each answer would have one more event.
_QUIET = frozenset({"id", "object", "created", "model", "x_groq", "prompt"})


class ExtraFields:
    """The fields of one answer that have no event of their own."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}  # fields of roots and choices, as they came last
        self._waiting: dict[str, Any] = {}  # those that no event has yet
        self._whole: dict[str, Any] = {}  # all there is, of a plain answer
        self._extra = FieldMerger()
        self._attached = FieldMerger()
        self._thoughts: list[tuple[str, FieldMerger]] = []  # parts of the content that are reasoning, by type
        self._probabilities: dict[str, list[Any]] = {}
        self._links: set[str] = set()
        self._pages: list[Source] = []

    @property
    def has_waiting_fields(self) -> bool:
        """Whether a field is on no event yet."""
        return bool(self._waiting or self._pages)

    def fields(self) -> dict[str, Any]:
        """Return ``extra`` and ``provider_fields`` of the `Reply`; empty ones are left out."""
        if self._whole:
            return {"extra": dict(self._whole)}
        extra = self._extra.value()
        if self._probabilities:
            extra["logprobs"] = scrub({key: list(items) for key, items in list(self._probabilities.items())})
        attached = self._attached.value()
        audio = extra.get("audio")
        if isinstance(audio, dict) and isinstance(audio.get("id"), str):
            attached["audio"] = {"id": audio["id"]}  # OpenAI keeps the audio and wants its id only
        if signed := [part for _, merger in list(self._thoughts) if is_signed(part := merger.value())]:
            attached["content"] = signed
        found = {"extra": extra, "provider_fields": attached}
        return {name: value for name, value in found.items() if value}

    def keep(self, fields: Mapping[str, Any], known: Collection[str]) -> None:
        """Keep the fields of a chunk's root, or of a choice, that are not *known*.

        A field that repeats its last value is not kept again; the next event gets the others.
        """
        found = {
            key: value
            for key, value in fields.items()
            if key not in known and has_content(value) and (self._last.get(key) != value or _may_repeat(value))
        }
        if found:
            self._last.update(found)
            self._extra.add(found)
            self._waiting.update((key, value) for key, value in found.items() if key not in _QUIET)
            self.find_citations(found)

    def put(self, fields: dict[str, Any]) -> None:
        """Keep fields of a whole answer that need no repair, and are on its events already."""
        self._whole = fields

    def keep_delta(self, fields: dict[str, Any], out: list[AnyEvent], start: int, *, whole: bool) -> None:
        """Keep unknown fields of a message: they are put on the first event since *start*, or become an event.

        Args:
            fields: Of a delta, or, if *whole*, of all the message.
            out: The events.
            start: Index of the message's first event.
            whole: Nothing needs to be merged.
        """
        if fields:
            attached = {key: value for key, value in fields.items() if is_attached(key, value)}
            others = {key: value for key, value in fields.items() if key not in attached}
            for merger, found in ((self._attached, attached), (self._extra, others)):
                (merger.put if whole else merger.add)(found)
            self.find_citations(fields)
            add_extra(fields, out, start)

    def note(self, fields: Mapping[str, Any]) -> None:
        """Keep fields that are already on an event."""
        self._extra.add(fields)
        self.find_citations(fields)

    def keep_part(self, part: dict[str, Any], kind: Any) -> None:
        """Keep a part of the content that is not text, or has other fields besides."""
        self._extra.add({"parts": [part]})
        is_page = isinstance(kind, str) and "reference" in kind
        self.find_citations({"references": part} if is_page else part)

    def keep_reasoning_part(self, part: dict[str, Any], kind: str) -> None:
        """Keep a part of the content that is reasoning; a signed one is sent back in front of the text."""
        if not self._thoughts or self._thoughts[-1][0] != kind:
            self._thoughts.append((kind, FieldMerger()))
        self._thoughts[-1][1].add(part)

    def keep_choice(self, choice: dict[str, Any]) -> None:
        """Keep a piece of a choice other than the first."""
        self._extra.add({"choices": [choice]})

    def keep_probabilities(self, logprobs: Any) -> None:
        """Keep the probabilities of a piece, which are lists for each piece."""
        for key, items in logprobs.items() if isinstance(logprobs, dict) else [("content", logprobs)]:
            if isinstance(items, list) and items:
                self._probabilities.setdefault(key, []).extend(items)

    def find_citations(self, fields: Mapping[str, Any]) -> None:
        """Look for new citations."""
        for page in citations_in(fields):
            if page.link not in self._links:
                self._links.add(page.link)
                self._pages.append(page)

    def attach(self, out: list[AnyEvent], start: int, *, last: bool = False) -> None:
        """Put the waiting fields on the first event since *start*; with *last*, make an event of them if there is no other.

        Tool calls are left out, because their fields are sent back. Citations wait for an event, too: before the first
        content, the request may still move to another provider.
        """
        is_due = last or len(out) > start
        if self._waiting and (first := next((event for event in out[start:] if type(event) is not ToolCall), None)):
            first.extra = {**(first.extra or {}), **scrub(self._waiting)}
            self._waiting = {}
        elif self._waiting and last:
            out.append(Unknown("chunk", scrub(self._waiting)))
            self._waiting = {}
        if self._pages and is_due:
            out.append(Sources(tuple(self._pages)))
            self._pages = []

    def mark_reported(self, chunk: Mapping[str, Any]) -> None:
        """Note that the whole *chunk* became an event."""
        for key in chunk:
            self._waiting.pop(key, None)


def add_extra(extra: dict[str, Any], out: list[AnyEvent], start: int) -> None:
    """Put fields on the first event since *start*, or on an event of their own."""
    extra = scrub(extra)
    if len(out) > start:
        out[start].extra = {**(out[start].extra or {}), **extra}
    else:
        out.append(Unknown("delta", extra))


def _may_repeat(value: Any) -> bool:
    """Return whether a repeated value is new information, such as numbers of tokens."""
    return isinstance(value, list) and any(isinstance(item, (int, float)) for item in value)
