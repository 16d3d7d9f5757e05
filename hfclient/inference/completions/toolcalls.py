"""Tool calls come in pieces; this puts them together.

Reference: docs/protocol/inference ("tool-call deltas").
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from attrs import define, field

from hfclient.events import AnyEvent, ToolCall, Unknown
from hfclient.lenient import loads, scrub
from hfclient.surrogates import mend_surrogates

__all__ = ["ToolCallMerger", "new_call_id"]


def new_call_id() -> str:
    """Return a fresh id for a call: nine letters and digits, the only form that Mistral's templates take."""
    return uuid.uuid4().hex[:9]


@define
class _Call:
    index: int
    id: str = ""
    name: str = ""
    arguments: list[str] = field(factory=list)

    def is_whole(self) -> bool:
        """Tell whether the arguments are complete as they stand."""
        return _is_object("".join(self.arguments))


class ToolCallMerger:
    """Merges the deltas of one answer into `ToolCall` events, in the order in which the calls began.

    Args:
        new_id: Makes ids for calls whose own id is missing, repeated, or a bare number (text-generation-inference
            counts from "0" in every answer, so over several turns its ids repeat).
    """

    def __init__(self, new_id: Callable[[], str] = new_call_id) -> None:
        self._calls: list[_Call] = []
        self._new_id = new_id
        self._used: set[str] = set()
        self._odd: list[AnyEvent] = []

    def __bool__(self) -> bool:
        return bool(self._calls or self._odd)

    def add(self, deltas: Any, *, whole: bool = False) -> None:
        """Take over the ``tool_calls`` of one chunk.

        Args:
            deltas: As on the wire: a list, or a single object.
            whole: Each entry is a complete call (an answer that is no stream).
        """
        for delta in deltas if isinstance(deltas, list) else [deltas]:
            if isinstance(delta, dict):
                self._add(delta, whole)
            elif delta is not None:
                self._odd.append(Unknown("tool_call", {"tool_call": scrub(delta)}))

    def _add(self, delta: dict[str, Any], whole: bool) -> None:
        function = delta.get("function")
        if not isinstance(function, dict):
            function = delta  # the flat form of the "responses" style
        call_id, name = _string(delta.get("id")), _string(function.get("name"))
        call = self._find(delta.get("index"), call_id, name, whole)
        # Set once, never joined: some servers repeat both on every delta, others send "" or null.
        call.id = call.id or call_id
        call.name = call.name or name
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            call.arguments.append(arguments)
        elif arguments is not None:
            call.arguments.append(json.dumps(scrub(arguments), ensure_ascii=False))

    def _find(self, wire_index: Any, call_id: str, name: str, whole: bool) -> _Call:
        index = wire_index if isinstance(wire_index, int) and not isinstance(wire_index, bool) else None
        if index is None and not whole:
            same_id = [call for call in self._calls if call_id and call.id == call_id]
            found = same_id[-1] if same_id else self._calls[-1] if self._calls else None
        else:
            same_index = [call for call in self._calls if call.index == index]
            found = same_index[-1] if same_index else None
        if found is None or whole or _is_another(found, call_id, name, indexed=index is not None):
            found = _Call(len(self._calls) if index is None else index)
            self._calls.append(found)
        return found

    def finish(self) -> list[AnyEvent]:
        """Return the calls, complete now, and forget them."""
        events = [self._event(call) for call in self._calls] + self._odd
        self._calls, self._odd = [], []
        return events

    def _event(self, call: _Call) -> AnyEvent:
        arguments = mend_surrogates("".join(call.arguments)).strip() or "{}"
        if len(call.arguments) > 1 and not _is_object(arguments):
            arguments = _last_object(arguments)
        own_id, name = mend_surrogates(call.id), mend_surrogates(call.name)
        if not name:
            return Unknown("tool_call", {"id": own_id, "arguments": arguments})
        usable = own_id and own_id not in self._used and not own_id.isdigit()
        call_uuid = own_id if usable else self._new_id()
        self._used.add(call_uuid)
        try:
            parameters = scrub(loads(arguments.encode()))
        except ValueError:
            parameters = None
        return ToolCall(
            uuid=call_uuid,
            name=name,
            parameters=parameters if isinstance(parameters, dict) else {},
            arguments=arguments,
            call_id=own_id or None,
        )


def _is_object(text: str) -> bool:
    try:
        return isinstance(loads(text.encode("utf-8", "replace")), dict)
    except ValueError:
        return False


def _last_object(text: str) -> str:
    """Return the last of several objects in a row: some servers begin with an empty one, others repeat the whole."""
    place = 0
    while True:
        try:
            value, end = json.JSONDecoder(strict=False).raw_decode(text, place)
        except (ValueError, RecursionError):
            return text
        if not isinstance(value, dict):
            return text
        if end == len(text):
            return text[place:]
        place = end


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_another(call: _Call, call_id: str, name: str, *, indexed: bool) -> bool:
    """Tell whether a delta that leads to *call* begins another one.

    Some servers give every call the index 0, or none; but a new id alone proves nothing, as others make up one for
    every delta.
    """
    if call_id and call.id and call_id != call.id:
        return bool(name) or not indexed
    if not indexed and name and call.name and not (call_id and call_id == call.id):
        return name != call.name or call.is_whole()
    return False
