"""Unknown fields, merged from the pieces of a stream, so that none is lost.

The meaning of a field is not known here, only how servers send it in pieces: texts grow, or are repeated whole; entries of
a list have an ``index``, or the list is repeated; an object comes in parts.

Reference: docs/protocol/inference ("unknown fields").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hfclient.decoding.json_repair import scrub

__all__ = ["FieldMerger", "has_content", "is_attached", "is_signed"]

# Texts that grow with each piece, even if a piece equals the whole text so far.
_GROWING = frozenset({
    *("text", "content", "summary", "data", "transcript", "thinking", "reasoning", "reasoning_content", "arguments"),
    *("partial_json", "input", "refusal"),
})
# Texts that come whole: a later one replaces the earlier one.
_WHOLE = frozenset({
    *("id", "type", "object", "role", "name", "format", "status", "model", "provider", "index", "url", "title", "uri"),
    *("finish_reason", "native_finish_reason", "system_fingerprint", "service_tier", "mime_type", "channel"),
})
# Fields of a message that belong to its reasoning, or that exist only to be sent back: signatures, encrypted thoughts.
# "reasoning_details" (OpenRouter), "thought_signature" and "extra_content" (Gemini), "signature" (Anthropic),
# "thinking_blocks" and "provider_specific_fields" (LiteLLM), "reasoning_opaque" (Copilot), "encrypted_content" (OpenAI, xAI).
_ATTACHED = re.compile(
    r"reasoning|thought|thinking|signature|encrypted|opaque|extra_content|provider_(specific|metadata|data|options|fields)",
    re.IGNORECASE,
)

_THOUGHTS = re.compile(r"reasoning|thought|thinking", re.IGNORECASE)
_SIGNATURES = re.compile(r"signature|encrypted|opaque", re.IGNORECASE)
_MAX_DEPTH = 100  # levels of nesting that are kept


def has_content(value: Any) -> bool:
    """Return whether a field has content."""
    return value is not None and value != "" and value != [] and value != {}


def is_attached(name: Any, value: Any) -> bool:
    """Return whether a field of an answer is sent back with it in the next request.

    The text of the reasoning is not: most servers refuse it, and ``keep_reasoning`` sends it.

        >>> is_attached("reasoning_details", [{"type": "reasoning.encrypted"}]), is_attached("reasoning", "2 and 2")
        (True, False)
    """
    if not isinstance(name, str) or not _ATTACHED.search(name) or not has_content(value):
        return False
    return not (isinstance(value, str) and name in ("reasoning", "reasoning_content", "reasoning_text", "thinking"))


def is_signed(part: Mapping[str, Any]) -> bool:
    """Return whether a part of the content is signed reasoning, which its server wants back.

    >>> is_signed({"type": "thinking", "thinking": "hm", "signature": "x"}), is_signed({"type": "thinking", "thinking": "hm"})
    (True, False)
    """
    kind = part.get("type")
    return isinstance(kind, str) and bool(_THOUGHTS.search(kind)) and ("redacted" in kind or _has_signature(part, _MAX_DEPTH))


def _has_signature(value: Any, depth: int) -> bool:
    if isinstance(value, list) and depth:
        return any(_has_signature(item, depth - 1) for item in value)
    if not isinstance(value, dict) or not depth:
        return False
    return any(
        (_SIGNATURES.search(key) is not None and has_content(item)) or _has_signature(item, depth - 1) for key, item in value.items()
    )


class _Text:
    """A text that grows, kept in pieces so that a long one is not copied for each of them."""

    __slots__ = ("pieces",)

    def __init__(self, *pieces: str) -> None:
        self.pieces = list(pieces)

    def whole(self) -> str:
        return "".join(self.pieces)  # does not change them: another thread may read at the same time


class _Items:
    """A list that comes in pieces, or is repeated; adding an entry takes constant time."""

    __slots__ = ("_places", "_seen", "items")

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._seen: set[int] = set()  # of entries without an index
        self._places: dict[tuple[int, Any], dict[str, Any]] = {}  # the newest entry by index, and by index and type

    def extend(self, name: str, items: list[Any], depth: int) -> None:
        """Add the entries of one piece: they continue earlier entries, or are new, or repeat earlier ones."""
        marks: set[int] = set()
        before = len(self.items)
        for item in items:
            if not self._add(name, item, depth) and isinstance(item, (dict, str)):
                if isinstance(item, dict) and before and _continues(self.items[before - 1], item):
                    _add_fields(self.items[before - 1], item, depth - 1)
                    continue
                mark = hash(repr(item))
                if mark in self._seen:
                    continue
                marks.add(mark)
                self.items.append(_kept(name, item, depth - 1))
        self._seen |= marks

    def _add(self, name: str, item: Any, depth: int) -> bool:
        """Add an entry with an index; return False for others."""
        index = item.get("index") if isinstance(item, dict) else None
        if isinstance(item, dict) and isinstance(index, int):
            kind = item.get("type") if isinstance(item.get("type"), str) else None
            entry = next((old for key in (kind, None) if (old := self._places.get((index, key))) and _are_parts_of_one(old, item)), None)
            if entry is None:
                entry = {}
                self.items.append(entry)
            _add_fields(entry, item, depth - 1)
            self._places[index, kind] = self._places[index, None] = entry
            return True
        if isinstance(item, (dict, str)):
            return False
        self.items.append(_kept(name, item, depth - 1))
        return True


class FieldMerger:
    """Merges the fields of many pieces.

        >>> merger = FieldMerger()
        >>> merger.add({"details": [{"index": 0, "type": "t", "text": "a"}]})
        >>> merger.add({"details": [{"index": 0, "type": "t", "text": "b", "signature": "s"}]})
        >>> merger.value()
        {'details': [{'index': 0, 'type': 't', 'text': 'ab', 'signature': 's'}]}
    """

    __slots__ = ("_fields",)

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._fields)

    def add(self, fields: Mapping[str, Any]) -> None:
        """Add the *fields* of one piece: JSON values, which may hold half characters."""
        _add_fields(self._fields, fields, _MAX_DEPTH)

    def put(self, fields: Mapping[str, Any]) -> None:
        """Add *fields* that are whole."""
        self._fields.update(fields)

    def value(self) -> dict[str, Any]:
        """Return a new dict with everything so far, which can be encoded as JSON."""
        found: dict[str, Any] = scrub(_plain(self._fields))
        return found


def _add_fields(old: dict[str, Any], fields: Mapping[str, Any], depth: int) -> None:
    for name, value in fields.items():
        if name not in old or not has_content(old[name]):
            if has_content(value) or name not in old:
                old[name] = _kept(name, value, depth - 1)
        elif has_content(value):
            old[name] = _merged(name, old[name], value, depth - 1)


def _kept(name: str, value: Any, depth: int) -> Any:
    """Return a copy of a value in the form that is kept here."""
    if isinstance(value, str):
        return value if name in _WHOLE else _Text(value)
    if not isinstance(value, (dict, list)):
        return value
    if depth < 0:
        return "…"
    if isinstance(value, dict):
        return {key: _kept(key, item, depth - 1) for key, item in value.items()}
    items = _Items()
    items.extend(name, value, depth)
    return items


def _plain(value: Any) -> Any:
    if isinstance(value, _Text):
        return value.whole()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in list(value.items())}  # a copy made at once: see _Text.whole
    return [_plain(item) for item in value.items] if isinstance(value, _Items) else value


def _merged(name: str, old: Any, new: Any, depth: int) -> Any:
    if isinstance(old, _Text) and isinstance(new, str):
        if name not in _GROWING:
            text = old.whole()
            old.pieces = [text]
            if new == text:
                return old  # repeated
            if new.startswith(text):
                return _Text(new)  # each time the whole text so far
        old.pieces.append(new)
        return old
    if isinstance(old, dict) and isinstance(new, dict) and depth > 0:
        _add_fields(old, new, depth)
        return old
    if isinstance(old, _Items) and isinstance(new, list) and depth > 0:
        old.extend(name, new, depth)
        return old
    return _kept(name, new, depth)


def _continues(old: Any, new: Mapping[str, Any]) -> bool:
    """Return whether an entry without an index continues the last one: reasoning, up to its signature (LiteLLM)."""
    kind = new.get("type")
    if not isinstance(kind, str) or not isinstance(old, dict) or not _are_parts_of_one(old, new):
        return False
    if not _THOUGHTS.search(kind) or _SIGNATURES.search(kind) or "redacted" in kind:
        return False
    return not any(_SIGNATURES.search(key) and has_content(_plain(value)) for key, value in old.items())


def _are_parts_of_one(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return whether two entries with the same index are parts of one: their type and id do not differ."""
    return all(not old.get(key) or not new.get(key) or old[key] == new[key] for key in ("type", "id"))
