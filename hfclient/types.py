"""Values that servers send, except events: replies, messages, conversations, models, users.

They are frozen attrs classes. All convert to plain JSON types and back (``to_dict``, ``from_dict``) and pickle.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex, TypeVar, overload

import msgspec
from attrs import field, frozen

from hfclient.display import DisplayedList
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
from hfclient.events.base import plain_fields
from hfclient.values import Value

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "CodeBlock",
    "ConversationInfo",
    "Entries",
    "Message",
    "Model",
    "ModelProvider",
    "PromptExample",
    "Reply",
    "Results",
    "Share",
    "StoredFile",
    "User",
    "Vectors",
]

_T = TypeVar("_T", bound="_Value")


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


_E = TypeVar("_E", bound=_HasId)
_V = TypeVar("_V")


class Results(DisplayedList, list[_V]):
    """A list that a notebook shows as a table, as bars or as a grid of images; so are its slices."""

    __slots__ = ()

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> _V: ...

    @overload
    def __getitem__(self, index: slice, /) -> Self: ...

    def __getitem__(self, index: SupportsIndex | slice, /) -> _V | Self:
        found = super().__getitem__(index)
        return type(self)(found) if isinstance(index, slice) else found  # type: ignore[return-value, arg-type]


class Vectors(Results[list[float]]):
    """Embeddings, one list of numbers per text. A notebook shows how many, their length and the first numbers."""

    __slots__ = ()


class Entries(Results[_E]):
    """A list of values with ids: both ``id in entries`` and ``value in entries`` work."""

    __slots__ = ()

    def __contains__(self, item: object) -> bool:
        return any(entry.id == item for entry in self) if isinstance(item, str) else super().__contains__(item)


@frozen(eq=False, repr=False)
class _Value(Value):
    """A received value that converts to plain JSON types and back."""

    def to_dict(self) -> dict[str, Any]:
        """Return the value as plain JSON types, without fields that are None.

        Raises:
            ProtocolError: The value is nested too deeply for the stack that is left.
        """
        return plain_fields(self)

    @classmethod
    def from_dict(cls: type[_T], data: dict[str, Any]) -> _T:
        """Return the value from a dict of :meth:`to_dict`; raises ``ValueError`` if the fields do not fit."""
        return msgspec.convert(data, cls)


@frozen(eq=False, repr=False)
class CodeBlock(_Value):
    """A block of fenced code in an answer. ``str(block)`` is its code.

    Attributes:
        language: The first word after the fence, in lower case, such as ``"python"``; empty without one.
        code: The code, without a newline at the end.
        closed: False if the answer ends inside the block, as when it was stopped.
    """

    language: str
    code: str
    closed: bool = True

    def __str__(self) -> str:
        return self.code


def _code_blocks(text: str) -> list[CodeBlock]:
    from hfclient.decoding.fences import split_fences  # few callers need it

    return [CodeBlock(part.language, part.code, part.closed) for part in split_fences(text) if not isinstance(part, str)]


@frozen(eq=False, repr=False)
class Reply(_Value):
    """An answer, complete or as far as it has been received. ``str(reply)`` is its text.

    Attributes:
        text: The answer, without reasoning.
        reasoning: The reasoning; empty without any.
        title: The conversation's new title, if the answer has one.
        interrupted: True if the generation was stopped before its end.
        finish_reason: ``"stop"``, ``"length"``, ``"tool_calls"``, ...; None if the server does not send it (chat-ui).
        sources: Web pages that the answer is based on.
        files: Files that the answer produced.
        tool_calls, tool_results, tool_errors: Calls of tools and their results, in order; matched by ``uuid``.
        elicitations: Questions of tools.
        usage: Token counts, if the server sends them.
        route: The model and provider that answered, if the server sends them.
        model: The requested LLM.
        conversation_id: The conversation's id (HuggingChat).
        generation_id: The id of the run on the server (HuggingChat).
        request_id: The server's id of the request, or None.
        failovers: The providers that failed before this one.
        refusal: The text with which the model declined, which is also its *text*; None for an answer.
        provider_fields: Fields that the provider wants back unchanged, such as ``reasoning_details`` or a
            ``thought_signature``. They are sent with the reply in a list of messages.
        extra: All other fields that the server sent, by their names: ``id``, ``system_fingerprint``, ``citations``, results
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

    def code_blocks(self) -> list[CodeBlock]:
        """Return the fenced code of the answer, in order.

            reply.code_blocks()[0].code

        A block may be in a list or a quote. The last block of an answer that was stopped may be cut: ``closed`` is False.

        Reference: https://spec.commonmark.org/0.31.2/#fenced-code-blocks
        """
        return _code_blocks(self.text)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Save the answer and return the file's path; folders are created.

            reply.save("answers/limerick.md")

        Args:
            path: A file. ``.md`` has the answer with its reasoning, tool calls, sources and names of files, ``.txt`` the text
                alone, ``.json`` all fields, as from :meth:`to_dict`. A name without an ending gets ``.md``. Or a folder (one
                that exists, or ends with a slash), in which the file is named for the answer.
            overwrite: Replace an existing file.

        Raises:
            InvalidInputError: The ending is another one, there is a file already, or it cannot be written.
        """
        from hfclient.files.replies import save_reply  # few callers need it

        return save_reply(self, path, overwrite=overwrite)


@frozen(eq=False, repr=False)
class StoredFile(_Value):
    """A file in a message.

    Attributes:
        name: The name of the upload; it is not safe as a path.
        mime: Its media type.
        sha: Its id on the server, for the download.
    """

    name: str
    mime: str
    sha: str


@frozen(eq=False, repr=False)
class Message(_Value):
    """One message of a conversation.

    Attributes:
        id: UUID, set by the server.
        role: ``"system"``, ``"user"`` or ``"assistant"``.
        content: The text without reasoning.
        reasoning: The reasoning.
        parent_id: The message that it answers or follows; None for the root.
        children: Ids of the messages below it, oldest first.
        files: Attachments, or files that tools produced.
        created_at, updated_at: Times in UTC, if the server sends them.
        interrupted: True if the generation was stopped.
        generation_id: The run that generated it.
        finished: False while the generation may still be running.
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

    def code_blocks(self) -> list[CodeBlock]:
        """Return the fenced code of the message, in order; see `Reply.code_blocks`."""
        return _code_blocks(self.content)


@frozen(eq=False, repr=False)
class ConversationInfo(_Value):
    """An entry of the list of conversations.

    Attributes:
        id: 24 hex digits.
        title: ``"New Chat"`` until the server sets one.
        model: The LLM's id.
        updated_at: Time in UTC of the last change.
    """

    id: str
    title: str
    model: str
    updated_at: datetime.datetime | None = None


@frozen(eq=False, repr=False)
class Share(_Value):
    """A published copy of a conversation. ``str(share)`` is its link.

    Attributes:
        id: 7 characters; ``client.conversation(id)`` reads it, ``client.conversations.import_share(id)`` copies it.
        url: The public link.
    """

    id: str
    url: str

    def __str__(self) -> str:
        return self.url


@frozen(eq=False, repr=False)
class PromptExample(_Value):
    """A suggested prompt for a model."""

    title: str
    prompt: str


@frozen(eq=False, repr=False)
class ModelProvider(_Value):
    """A provider of an LLM.

    Attributes:
        provider: The provider's name.
        supports_tools: Whether the LLM can call tools there, if the server sends it.
        context_length: Maximum number of tokens of prompt and answer there, if the server sends it.
        raw: The entry as the server sent it: prices and more.
    """

    provider: str
    supports_tools: bool | None = None
    context_length: int | None = None
    raw: dict[str, Any] = field(factory=dict, repr=False, eq=False)


@frozen(eq=False, repr=False)
class Model(_Value):
    """An LLM that a chat server offers.

    Attributes:
        id: The value for ``model``.
        display_name: Its name for display.
        description: The server's description.
        multimodal: Whether it accepts images.
        accepted_mimetypes: Media types that it accepts, such as ``("image/*",)``.
        supports_tools: Whether it can call tools.
        supports_reasoning: Whether it accepts a reasoning effort.
        is_router: Whether it selects another LLM for each message.
        system_prompt: Its default system prompt.
        prompt_examples: Prompts that the server suggests.
        providers: Its providers; only `Models.get` with ``details=True`` requests them.
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


@frozen(eq=False, repr=False)
class User(_Value):
    """The user that the credentials belong to.

    Attributes:
        id: The account's id on the server.
        username: The account's name, or None.
        email: The account's e-mail address, if the server sends it.
        avatar_url: URL of the account's avatar, or None.
    """

    id: str
    username: str | None = None
    email: str | None = None
    avatar_url: str | None = None
