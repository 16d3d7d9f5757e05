"""Requests of chat completions: prompts become messages, options become the body. No network.

Reference: docs/protocol/inference ("request fields", "messages").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from hfclient.errors import InvalidInputError
from hfclient.events import ToolCall
from hfclient.files.message_fields import FILE_KEYS, check_key, check_role, suggested_key, without_empty_fields
from hfclient.files.sources import is_data_url, is_url
from hfclient.inference.completions.field_checks import check_fields, stop_sequences
from hfclient.inference.completions.roles import as_mapping, wire_call
from hfclient.inference.completions.tool_calls import parse_arguments
from hfclient.inference.content.attachments import attached_parts, parts_of
from hfclient.inference.schemas.tools import Tool

__all__ = ["Prompt", "build_messages", "request_body", "tool_choice_of"]

Prompt: TypeAlias = "str | Sequence[Any]"
"""A string, or a list of messages: dicts with ``role`` and ``content``, or the objects of `hfclient.inference.completions.roles`."""

_KEYS = ("role", "content", "name", "cache_control", *FILE_KEYS)
_TOOL_KEYS = ("role", "content", "tool_call_id", "name", "cache_control", "is_error")
# The fields of an answer are sent back as they came, so an assistant message may have unknown keys.
_ANSWER_KEYS = ("role", "content", "tool_calls", "name")
# The protocol has these in messages of some roles; in others a server ignores or refuses them.
_PROTOCOL = frozenset(
    ("tool_calls", "tool_call_id", "function_call", "refusal", "annotations", "reasoning", "reasoning_content", "prefix")
)
_OTHERWISE = "; a field of the server's own goes into extra_body: {...} of the message"
_REASONING = ("reasoning", "reasoning_content", "reasoning_text", "thinking")


def build_messages(
    prompt: Prompt, system_prompt: str | None = None, *, keep_reasoning: bool = False
) -> list[dict[str, Any]]:
    """Return the ``messages`` of a request.

    In a list of messages the text of earlier reasoning is left out unless *keep_reasoning* (several servers refuse it, some
    want it back; signed or encrypted reasoning is always sent), ``developer`` becomes ``system`` (few templates know it),
    arguments of tool calls and results of tools become text, an assistant message always has a ``content``, and an empty
    system message or an empty last answer is dropped.

        >>> build_messages("hi", "Be terse.")
        [{'role': 'system', 'content': 'Be terse.'}, {'role': 'user', 'content': 'hi'}]

    Raises:
        InvalidInputError: The prompt is empty, a message has no role or content, or there are two system prompts.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise InvalidInputError("the prompt is empty")
        messages = [{"role": "user", "content": prompt}]
    elif isinstance(prompt, Iterable) and not isinstance(prompt, (bytes, Mapping)):
        given = [_message(as_mapping(message), number, keep_reasoning) for number, message in enumerate(prompt)]
        if given and given[-1]["role"] == "assistant" and _is_empty(given[-1]):
            given.pop()
        messages = [message for message in given if message["role"] != "system" or not _is_empty(message)]
        if not messages:
            raise InvalidInputError("the list of messages is empty")
    else:
        raise InvalidInputError(f"a prompt is a string or a list of messages, not {type(prompt).__name__}")
    if system_prompt:
        if messages[0]["role"] == "system":
            raise InvalidInputError("the messages begin with a system message; leave it out or leave out system_prompt")
        messages.insert(0, {"role": "system", "content": system_prompt})
    return messages


def _message(message: Any, number: int, keep_reasoning: bool) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise InvalidInputError(f"messages[{number}] is not a dict with role and content, but {type(message).__name__}")
    where = f"messages[{number}]"
    given: dict[str, Any] = _without_nulls(message)
    extra = given.pop("extra_body", {})
    if not isinstance(extra, Mapping):
        raise InvalidInputError(f"the extra_body of {where} is a dict, not {type(extra).__name__}")
    _check_keys(given, where)
    role = check_role(given.get("role"), where)
    files = attached_parts(given, where) if role != "assistant" else []
    fields = {key: value for key, value in given.items() if role == "assistant" or key not in FILE_KEYS}
    if files and role != "user":
        raise InvalidInputError(f"{where} ({role}) has files, which belong in a user message")
    if role == "developer":
        fields["role"] = "system"
    if role == "assistant":
        if not keep_reasoning:
            fields = {key: value for key, value in fields.items() if key not in _REASONING or not isinstance(value, str)}
        if isinstance(fields.get("content"), (list, tuple)):
            fields["content"] = parts_of(fields["content"], where)
        if calls := _calls(fields.pop("tool_calls", ()), number):  # some servers refuse an empty list
            fields["tool_calls"] = calls
        if isinstance(fields.get("function_call"), Mapping):
            fields["function_call"] = _call({"function": fields["function_call"]})["function"]
        if not fields.get("content"):  # nearly all servers refuse a message without it, or an empty list, and some want it next to tool calls
            fields["content"] = ""
    elif "content" not in fields and not files:
        raise InvalidInputError(f"{where} ({role}) has no content")
    elif role in ("user", "system", "developer"):
        content = parts_of(fields.get("content", []), where)
        text = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
        fields["content"] = [*text, *files] if files else content
    elif role == "tool":
        if not fields.get("tool_call_id"):
            raise InvalidInputError(f"{where} (tool) has no tool_call_id: the id of the call that it answers")
        fields["content"] = _result(fields["content"])
    fields.update(extra)
    return fields


def _check_keys(fields: Mapping[str, Any], where: str) -> None:
    """Refuse keys that a server would ignore: misspelt ones, and files in messages of other roles.

    Raises:
        InvalidInputError: The message names the key, and the one that was probably meant.
    """
    role = fields.get("role")
    if role == "assistant":
        for key, value in fields.items():
            meant = None if key in _ANSWER_KEYS else suggested_key(key, _ANSWER_KEYS)
            if meant and meant not in fields and "content" not in fields:
                check_key(key, _ANSWER_KEYS, where)
            if key in FILE_KEYS and not _is_server_value(value):
                raise InvalidInputError(f"{where} (assistant) has files under {key!r}, which belong in a user message")
        return
    known = _TOOL_KEYS if role in ("tool", "function") else _KEYS
    for key in fields:
        if key not in _PROTOCOL:
            check_key(key, known, where, _OTHERWISE)


def _is_server_value(value: Any) -> bool:
    """Return whether a server put a value under a key of files: an object, a URL, or a list of them."""
    if isinstance(value, str):
        return is_data_url(value) or is_url(value)
    return isinstance(value, Mapping) or (isinstance(value, list) and all(map(_is_server_value, value)))


def _without_nulls(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without None in its fields and parts: several servers refuse it.

    Unknown fields, in which null may have a meaning, are sent back as they came.
    """
    kept = without_empty_fields(message)
    if "content" in kept and kept.get("role") != "assistant":
        kept["content"] = _parts_without_nulls(kept["content"])
    return kept


def _parts_without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _parts_without_nulls(item) for key, item in value.items() if item is not None}
    return [_parts_without_nulls(item) for item in value] if isinstance(value, list) else value


def _is_empty(message: dict[str, Any]) -> bool:
    return not any(message.get(key) for key in ("content", "tool_calls", "function_call"))


def _calls(calls: Any, number: int) -> list[dict[str, Any]]:
    """Return the calls in a message in the form that all servers accept; a single call is a list of one."""
    listed = [calls] if isinstance(calls, (Mapping, ToolCall)) else calls
    if not isinstance(listed, (list, tuple)) or not all(isinstance(call, (Mapping, ToolCall)) for call in listed):
        raise InvalidInputError(f"the tool_calls of messages[{number}] are not a list of calls")
    return [wire_call(call) if isinstance(call, ToolCall) else _call(call) for call in listed]


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool call with its type, and its arguments as text: some servers send an object, all want a string."""
    function = call.get("function")
    if not isinstance(function, Mapping):
        return dict(call)  # of some other type
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = "{}" if arguments is None else msgspec.json.encode(arguments).decode()
    elif parse_arguments(arguments) == {}:  # in another spelling, which few servers can parse
        arguments = "{}"
    kept = {key: value for key, value in call.items() if value is not None}
    named = {key: value for key, value in function.items() if value is not None}
    return {"type": "function", **kept, "function": {**named, "arguments": arguments}}


def _result(content: Any) -> Any:
    """Return the result of a tool as text; parts from the caller stay as they are, all other values become JSON."""
    if isinstance(content, str):
        return content
    if (parts := _parts_in(content)) is not None:
        return parts
    try:
        return msgspec.json.encode(content).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInputError(f"a tool's result cannot be written as JSON: {error}") from error


def _parts_in(content: Any) -> Any:
    """Return *content* as parts of a message, or None: a tool's own objects may also have a ``type``."""
    if not isinstance(content, list) or not content:
        return None
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if not isinstance(kind, str) or not (kind in part or kind == "image"):
            return None
    try:
        return parts_of(content)
    except InvalidInputError:  # a path, for instance, which a tool may return
        return None


def tool_choice_of(choice: Any) -> Any:
    """Return ``tool_choice`` in the form that all servers accept: a tool or its name becomes an object.

        >>> tool_choice_of("auto"), tool_choice_of("add")
        ('auto', {'type': 'function', 'function': {'name': 'add'}})
    """
    if isinstance(choice, Tool) or (callable(choice) and hasattr(choice, "__name__")):
        choice = choice.name if isinstance(choice, Tool) else choice.__name__
    if isinstance(choice, str) and choice not in ("auto", "none", "required"):
        return {"type": "function", "function": {"name": choice}}
    if isinstance(choice, Mapping) and "function" in choice:
        return {"type": "function", **choice}  # TGI insists on the type
    return choice


def request_body(fields: Mapping[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return *fields* as the root of a body: what is None is left out, *extra* overrides.

    The order of *fields* is kept: the router reads only the start of a large body to find the model.

    Raises:
        InvalidInputError: No server accepts a value. *extra* is not checked.
    """
    body = dict(fields)
    body["stop"] = list(stop_sequences(body.get("stop"))) or None
    if body.get("top_p") == 1:
        body["top_p"] = None  # has no effect, and TGI refuses it
    if body.get("tool_choice") is not None:
        body["tool_choice"] = tool_choice_of(body["tool_choice"])
        _check_choice(body["tool_choice"], body.get("tools"))
    check_fields(body)
    if extra is not None and not isinstance(extra, Mapping):
        raise InvalidInputError(f"extra_body is a dict, not {type(extra).__name__}")
    body.update(extra or {})
    return {key: value for key, value in body.items() if value is not None}


def _check_choice(choice: Any, tools: Any) -> None:
    """Refuse the choice of a tool that is not in *tools*: some servers would ignore it."""
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    shown = [tool["function"].get("name") for tool in tools or () if isinstance(tool.get("function"), Mapping)]
    if name is not None and shown and name not in shown:
        raise InvalidInputError(f"tool_choice names {name!r}, which is not in tools: {', '.join(map(str, shown))}")
