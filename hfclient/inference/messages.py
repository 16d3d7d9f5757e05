"""What goes out: prompts become messages, arguments become the body of a request. No network.

Reference: docs/protocol/inference ("request fields", "messages").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from hfclient.errors import InvalidInputError
from hfclient.inference.attachments import parts_of
from hfclient.inference.roles import as_mapping

__all__ = ["Prompt", "build_messages", "normalised", "tool_choice_of"]

Prompt: TypeAlias = "str | Sequence[Any]"
"""A question, or a list of messages: dicts with ``role`` and ``content``, or the objects of `hfclient.inference.roles`."""

_REASONING = ("reasoning", "reasoning_content", "reasoning_text", "reasoning_details")


def build_messages(
    prompt: Prompt, system_prompt: str | None = None, *, keep_reasoning: bool = False
) -> list[dict[str, Any]]:
    """Return the ``messages`` of a request.

    In a list of messages the reasoning of earlier answers is left out unless *keep_reasoning* (several servers refuse it,
    some want it back), ``developer`` becomes ``system`` (few templates know it), the arguments of tool calls become the
    text that the protocol wants, and an empty system message or a last empty answer is dropped.

        >>> build_messages("hi", "Be terse.")
        [{'role': 'system', 'content': 'Be terse.'}, {'role': 'user', 'content': 'hi'}]

    Raises:
        InvalidInputError: There is nothing to say, a message has no role or no content, or there are two system prompts.
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
        raise InvalidInputError(f"messages[{number}] is no dict with role and content, but {type(message).__name__}")
    fields = {key: value for key, value in message.items() if value is not None}
    role = fields.get("role")
    if not isinstance(role, str) or not role:
        raise InvalidInputError(f"messages[{number}] has no role")
    if role == "developer":
        fields["role"] = "system"
    if role == "assistant":
        fields = {key: value for key, value in fields.items() if keep_reasoning or key not in _REASONING}
        if "tool_calls" in fields:
            fields["tool_calls"] = [_call(call) for call in fields["tool_calls"]]
    elif "content" not in fields:
        raise InvalidInputError(f"messages[{number}] ({role}) has no content")
    elif role == "user":
        fields["content"] = parts_of(fields["content"])
    return fields


def _is_empty(message: dict[str, Any]) -> bool:
    return not message.get("content") and not message.get("tool_calls")


def _call(call: Any) -> Any:
    """Return a tool call with its arguments as text: some servers give an object, all want a string."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or isinstance(function.get("arguments"), (str, type(None))):
        return call
    arguments = msgspec.json.encode(function["arguments"]).decode()
    return {**call, "function": {**function, "arguments": arguments}}


def tool_choice_of(choice: str | Mapping[str, Any] | None) -> Any:
    """Return ``tool_choice`` as all servers take it: a function's bare name becomes the object that means it.

        >>> tool_choice_of("auto"), tool_choice_of("add")
        ('auto', {'type': 'function', 'function': {'name': 'add'}})
    """
    if isinstance(choice, str) and choice not in ("auto", "none", "required"):
        return {"type": "function", "function": {"name": choice}}
    if isinstance(choice, Mapping) and "function" in choice:
        return {"type": "function", **choice}  # TGI insists on the type
    return choice


def normalised(fields: Mapping[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return *fields* as the root of a body: what is None is left out, *extra* overrides.

    The order of *fields* is kept: the router reads only the start of a large body to find the model.
    """
    body = dict(fields)
    stop = body.get("stop")
    if isinstance(stop, str):
        body["stop"] = [stop]
    elif stop is not None:
        body["stop"] = list(stop) or None
    if body.get("top_p") == 1:
        body["top_p"] = None  # means nothing, and TGI refuses it
    body["tool_choice"] = tool_choice_of(body.get("tool_choice"))
    body.update(extra or {})
    return {key: value for key, value in body.items() if value is not None}
