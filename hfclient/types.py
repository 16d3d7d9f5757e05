"""What is received, apart from events: replies, messages, conversations, models, users.

attrs classes, frozen: a value that came from a server stays as it came. All turn into plain JSON types and back
(``to_dict``, ``from_dict``) and pickle.
"""

from __future__ import annotations

import datetime
from typing import Any, Protocol, TypeVar

import msgspec
from attrs import field, frozen

from hfclient.errors import ProtocolError
from hfclient.events import (
    Elicitation,
    Failover,
    File,
    Route,
    Source,
    ToolCall,
    ToolError,
    ToolResult,
    Usage,
)

__all__ = [
    "ConversationInfo",
    "Entries",
    "Message",
    "Model",
    "ModelProvider",
    "PromptExample",
    "Reply",
    "Share",
    "StoredFile",
    "User",
]

_T = TypeVar("_T", bound="_Value")


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


_E = TypeVar("_E", bound=_HasId)


class Entries(list[_E]):
    """A list of values that have an id: ``id in entries`` finds one by it, and ``value in entries`` the value itself."""

    def __contains__(self, item: object) -> bool:
        return any(entry.id == item for entry in self) if isinstance(item, str) else super().__contains__(item)


@frozen
class _Value:
    """A received value: knows its way to plain JSON types and back."""

    def to_dict(self) -> dict[str, Any]:
        """Return the value as plain JSON types, None left out.

        Raises:
            ProtocolError: What the server sent nests too deeply for where this is called.
        """
        try:
            fields: dict[str, Any] = msgspec.to_builtins(self)
        except RecursionError:
            raise ProtocolError(f"this {type(self).__name__} nests too deeply to be written out") from None
        return {key: value for key, value in fields.items() if value is not None}

    @classmethod
    def from_dict(cls: type[_T], data: dict[str, Any]) -> _T:
        """Return the value that :meth:`to_dict` described; raises ``ValueError`` if the fields do not fit."""
        return msgspec.convert(data, cls)


@frozen
class Reply(_Value):
    """A whole answer, or what has come of one so far. ``str(reply)`` is its text.

    Attributes:
        text: The answer, without reasoning.
        reasoning: The reasoning apart from it; empty if there was none.
        title: The conversation's new title, if one came with this answer.
        interrupted: True if the generation was stopped, by anybody, before its end.
        finish_reason: ``"stop"``, ``"length"``, ``"tool_calls"``, ...; None where the server does not say (chat-ui).
        sources: Pages that the answer rests on.
        files: Files that it produced.
        tool_calls, tool_results, tool_errors: What tools did, in order; matched by ``uuid``.
        elicitations: Questions of tools that were asked.
        usage: Token counts, if the server says.
        route: Who answered, if the server says.
        model: The LLM that was asked.
        conversation_id: Of the conversation it belongs to (HuggingChat).
        generation_id: Of the run on the server (HuggingChat).
        request_id: The server's id for the request, if it gave one.
        failovers: Which providers failed before this one was asked.
        refusal: The words in which the model declined, which are its *text*, too; None for an answer.
        provider_fields: Fields that the provider wants back unchanged, such as ``reasoning_details`` or a
            ``thought_signature``: they are sent when the reply stands in a list of messages.
        extra: Everything else that the server sent, by its names: ``id``, ``system_fingerprint``, ``citations``, results
            of filters, ``logprobs``, other ``choices``, ...
    """

    text: str = ""
    reasoning: str = ""
    title: str | None = None
    interrupted: bool = False
    finish_reason: str | None = None
    sources: tuple[Source, ...] = ()
    files: tuple[File, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    tool_errors: tuple[ToolError, ...] = ()
    elicitations: tuple[Elicitation, ...] = ()
    usage: Usage | None = None
    route: Route | None = None
    model: str | None = None
    conversation_id: str | None = None
    generation_id: str | None = None
    request_id: str | None = None
    failovers: tuple[Failover, ...] = ()
    refusal: str | None = None
    provider_fields: dict[str, Any] | None = None
    extra: dict[str, Any] | None = None

    def __str__(self) -> str:
        return self.text


@frozen
class StoredFile(_Value):
    """A file in a message.

    Attributes:
        name: The name it was uploaded under: never a path to trust.
        mime: Its type.
        sha: Its id on the server, to fetch it with.
    """

    name: str
    mime: str
    sha: str


@frozen
class Message(_Value):
    """One message of a conversation.

    Attributes:
        id: UUID given by the server.
        role: ``"system"``, ``"user"`` or ``"assistant"``.
        content: The text without reasoning.
        reasoning: The reasoning apart from it.
        parent_id: The message that it answers or follows; None for the root.
        children: Ids of the messages below it, oldest first.
        files: Attachments, or files that tools produced.
        created_at, updated_at: Times in UTC, if the server says.
        interrupted: True if the generation was stopped.
        generation_id: The run that wrote it.
        finished: False while the server may still be writing it.
        raw: The message as the server sent it.
    """

    id: str
    role: str
    content: str
    reasoning: str = ""
    parent_id: str | None = None
    children: tuple[str, ...] = ()
    files: tuple[StoredFile, ...] = ()
    created_at: datetime.datetime | None = None
    updated_at: datetime.datetime | None = None
    interrupted: bool = False
    generation_id: str | None = None
    finished: bool = True
    raw: dict[str, Any] = field(factory=dict, repr=False, eq=False)


@frozen
class ConversationInfo(_Value):
    """An entry of the list of conversations.

    Attributes:
        id: 24 hex digits.
        title: ``"New Chat"`` until it gets one.
        model: The LLM's id.
        updated_at: Time in UTC of the last change.
    """

    id: str
    title: str
    model: str
    updated_at: datetime.datetime | None = None


@frozen
class Share(_Value):
    """A conversation that was published as it stood. ``str(share)`` is its link.

    Attributes:
        id: 7 characters; ``client.conversation(id)`` reads it, ``client.conversations.import_share(id)`` copies it.
        url: The public link.
    """

    id: str
    url: str

    def __str__(self) -> str:
        return self.url


@frozen
class PromptExample(_Value):
    """A prompt that the server suggests for a model."""

    title: str
    prompt: str


@frozen
class ModelProvider(_Value):
    """Somebody who serves an LLM.

    Attributes:
        provider: The provider's name.
        supports_tools: Whether the LLM can call tools there, if the server says.
        context_length: Most tokens of prompt and answer there, if the server says.
        raw: The entry as the server sent it: prices and more.
    """

    provider: str
    supports_tools: bool | None = None
    context_length: int | None = None
    raw: dict[str, Any] = field(factory=dict, repr=False, eq=False)


@frozen
class Model(_Value):
    """An LLM that a chat server offers.

    Attributes:
        id: What to pass as ``model``.
        display_name: A label.
        description: What the server says about it.
        multimodal: Accepts images.
        accepted_mimetypes: Which ones, such as ``("image/*",)``.
        supports_tools: Can call tools.
        supports_reasoning: Accepts a thinking effort.
        is_router: Picks another LLM for each message.
        system_prompt: Its default system prompt.
        prompt_examples: Prompts that the server suggests.
        providers: Who serves it; only `Models.get` with ``details=True`` asks for that.
        raw: The entry as the server sent it.
    """

    id: str
    display_name: str = ""
    description: str = ""
    multimodal: bool = False
    accepted_mimetypes: tuple[str, ...] = ()
    supports_tools: bool = False
    supports_reasoning: bool = False
    is_router: bool = False
    system_prompt: str = ""
    prompt_examples: tuple[PromptExample, ...] = ()
    providers: tuple[ModelProvider, ...] = ()
    raw: dict[str, Any] = field(factory=dict, repr=False, eq=False)


@frozen
class User(_Value):
    """Who the server takes you for.

    Attributes:
        id: The account's id on that server.
        username: Its name, if it has one.
        email: Its address, if the server says.
        avatar_url: Its picture, if it has one.
    """

    id: str
    username: str | None = None
    email: str | None = None
    avatar_url: str | None = None
