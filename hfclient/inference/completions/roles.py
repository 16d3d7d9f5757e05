"""Messages as objects instead of dicts; a list may hold both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from attrs import define, field

from hfclient.events import ToolCall
from hfclient.inference.completions.tool_calls import parse_arguments
from hfclient.types import Message, Reply

__all__ = [
    "AssistantMessage",
    "SystemMessage",
    "ToolMessage",
    "UserMessage",
    "arguments_of",
    "as_mapping",
    "wire_call",
]

_NAMELESS = "unnamed"


@define
class SystemMessage:
    """A system message: instructions for the model.

    Attributes:
        content: The text.
    """

    role: ClassVar[str] = "system"
    content: str

    def to_dict(self) -> dict[str, Any]:
        """Return the message as a request has it."""
        return {"role": self.role, "content": self.content}


@define
class UserMessage:
    """A message of the user.

    Attributes:
        content: A text, or a list of parts.
        name: Distinguishes several users, if the model supports it.
    """

    role: ClassVar[str] = "user"
    content: str | Sequence[Any]
    name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the message as a request has it."""
        named = {} if self.name is None else {"name": self.name}
        return {"role": self.role, "content": self.content, **named}


@define
class AssistantMessage:
    """An answer of the model.

    Attributes:
        content: Its text.
        tool_calls: Its tool calls; each needs a `ToolMessage` after this message.
        reasoning: Its reasoning; sent only with ``keep_reasoning=True``.
        provider_fields: Further fields of the message, sent as they are (`Reply.provider_fields`).
    """

    role: ClassVar[str] = "assistant"
    content: str = ""
    tool_calls: Sequence[ToolCall] = field(factory=tuple)
    reasoning: str = ""
    provider_fields: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the message as a request has it."""
        # Also next to tool calls: many servers require a content, and some of them refuse null.
        shown: dict[str, Any] = {"role": self.role, "content": self.content, **(self.provider_fields or {})}
        if isinstance(shown["content"], list) and self.content:  # reasoning that is a part of the content
            shown["content"] = [*shown["content"], {"type": "text", "text": self.content}]
        if self.reasoning:
            shown["reasoning_content"] = self.reasoning
        if self.tool_calls:
            shown["tool_calls"] = [wire_call(call) for call in self.tool_calls]
        return shown


@define
class ToolMessage:
    """The result of a tool call.

    Attributes:
        content: The result: text, or a JSON value.
        tool_call_id: The call that it answers: ``ToolCall.uuid``.
    """

    role: ClassVar[str] = "tool"
    content: Any
    tool_call_id: str

    def to_dict(self) -> dict[str, Any]:
        """Return the message as a request has it."""
        return {"role": self.role, "tool_call_id": self.tool_call_id, "content": self.content}


def wire_call(call: ToolCall) -> dict[str, Any]:
    """Return a call in the form of a message, with all fields that the server sent with it.

    Servers parse the arguments again, to fill the model's template: arguments that are not a JSON object, or an empty name,
    would fail the whole request.
    """
    arguments = call.arguments
    try:
        if arguments is None or not isinstance(msgspec.json.decode(arguments), dict):
            arguments = None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        arguments = None
    if arguments is None:
        arguments = msgspec.json.encode(arguments_of(call) or {}).decode()
    attached = call.extra or {}
    inner = attached.get("function")
    function = {**(inner if isinstance(inner, dict) else {}), "name": call.name.strip() or _NAMELESS, "arguments": arguments}
    return {"type": "function", **attached, "id": call.uuid, "function": function}


def arguments_of(call: ToolCall) -> dict[str, Any] | None:
    """Return the arguments of a call, or None if they are not an object."""
    return call.parameters if call.parameters or call.arguments is None else parse_arguments(call.arguments)


def as_mapping(message: Any) -> Any:
    """Return *message* as a dict; an unknown object is returned as it is.

    Known are the classes above, a `Reply`, a `Message` of HuggingChat, and objects of other libraries with ``model_dump``. A
    reply has the tool calls without results.
    """
    if isinstance(message, Mapping):
        return message
    if isinstance(message, (SystemMessage, UserMessage, AssistantMessage, ToolMessage)):
        return message.to_dict()
    if isinstance(message, Reply):
        answered = {result.uuid for result in message.tool_results} | {error.uuid for error in message.tool_errors}
        calls = [call for call in message.tool_calls if call.uuid not in answered]
        return AssistantMessage(message.text, calls, message.reasoning, message.provider_fields).to_dict()
    if isinstance(message, Message):
        return {"role": message.role, "content": message.content}
    dump = getattr(message, "model_dump", None)
    return dump(exclude_none=True) if callable(dump) else message
