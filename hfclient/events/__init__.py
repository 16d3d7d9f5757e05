"""Events of HuggingChat and of inference.

Each event is a small attrs class with slots. hfclient does not change an event after it was returned. (The classes are not
``frozen``, because that makes each object a third slower to create, and a long answer has tens of thousands.) All compare by
value, pickle, and convert to a dict and back (:func:`to_dict`, :func:`from_dict`).

``extra`` of an event has the fields of the wire object that this release does not know, or is None. A wire object of an
unknown type becomes an :class:`Unknown`.

"chat-ui" in the docstrings is the JSON Lines stream of ``POST /conversation/{id}``; "chat delta" is a chunk of
``POST /v1/chat/completions``; "TGI" is text-generation-inference's ``/generate_stream``.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from attrs import define, field

from hfclient.events.base import Event, plain_fields
from hfclient.events.jobs import Failover, JobProgress
from hfclient.values import Value

__all__ = [
    "AnyEvent",
    "Elicitation",
    "ElicitationResolved",
    "Event",
    "Failover",
    "File",
    "FinalAnswer",
    "Finish",
    "JobProgress",
    "Reasoning",
    "ReasoningStatus",
    "Route",
    "Source",
    "Sources",
    "Status",
    "Title",
    "Token",
    "ToolCall",
    "ToolError",
    "ToolEta",
    "ToolProgress",
    "ToolResult",
    "Unknown",
    "Usage",
    "WebSearch",
    "from_dict",
    "to_dict",
]


@define(eq=False, repr=False)
class Token(Event):
    """A part of the answer's text.

    Wire: chat-ui ``{"type":"stream","token":...}`` (without its NUL padding and ``<think>`` spans); chat delta
    ``content``; TGI ``token.text``.

    Attributes:
        text: One or more characters.
        id: The token's number in the vocabulary (TGI only).
        logprob: Natural logarithm of its probability (TGI, or ``logprobs=True``).
        special: True for a control token (TGI only).
    """

    text: str
    id: int | None = None
    logprob: float | None = None
    special: bool | None = None


@define(eq=False, repr=False)
class Reasoning(Event):
    """A part of the model's reasoning.

    Wire: chat-ui ``{"type":"reasoning","subtype":"stream"}``; a ``<think>`` span inside tokens; chat delta
    ``reasoning``, ``reasoning_content`` or ``reasoning_text``.

    Attributes:
        text: One or more characters.
    """

    text: str


@define(eq=False, repr=False)
class ReasoningStatus(Event):
    """The state of the reasoning, as text of the server.

    Wire: chat-ui ``{"type":"reasoning","subtype":"status"}`` (servers of December 2024 to September 2025).

    Attributes:
        status: Free text such as "Done in 3s.".
    """

    status: str


@define(eq=False, repr=False)
class Title(Event):
    """The conversation's new title; it may come before, between or after the tokens.

    Wire: chat-ui ``{"type":"title"}``; before May 2024 ``{"type":"status","status":"title"}``.

    Attributes:
        title: The title without ``<think>`` tags.
    """

    title: str


@define(eq=False, repr=False)
class Status(Event):
    """The state of the run. Keep-alives are not events.

    Wire: chat-ui ``{"type":"status"}``. After a status ``"error"``, the stream ends with a ``GenerationError``.

    Attributes:
        status: ``"started"``, ``"finished"``, ``"error"``, or a value of newer servers.
        message: The server's text, for an error.
        status_code: HTTP status of the failure behind the server, for an error.
    """

    status: str
    message: str | None = None
    status_code: int | None = None


@define(eq=False, repr=False)
class ToolCall(Event):
    """The model calls a tool.

    Wire: chat-ui ``{"type":"tool","subtype":"call"}``; merged ``tool_calls`` deltas of chat completions.

    Attributes:
        uuid: The call's id, which results, errors and progress have, too.
        name: The tool's name.
        parameters: The arguments as an object (chat-ui omits nested ones).
        arguments: The complete arguments as JSON text, or None if the server does not send them.
        call_id: The model's own id of the call.
        reasoning, content: Reasoning and text of the round, on its first call only (chat-ui).
        extra: Further fields of the call (``extra_content``, a ``thought_signature``), and under ``function`` those of its
            function; they are sent back unchanged with the call.
    """

    uuid: str
    name: str
    parameters: dict[str, Any] = field(factory=dict)
    arguments: str | None = None
    call_id: str | None = None
    reasoning: str | None = None
    content: str | None = None


@define(eq=False, repr=False)
class ToolResult(Event):
    """The result of a tool call.

    Wire: chat-ui ``{"type":"tool","subtype":"result"}``.

    Attributes:
        uuid: The call's id.
        status: ``"success"`` or ``"error"``.
        outputs: The results, as on the wire: MCP results have ``text``, ``structured`` and ``content``.
        name: The tool's name, if the server sends it.
        message: The error's text, if *status* is ``"error"``.
        display: Whether the server's web page shows it.
    """

    uuid: str
    status: str
    outputs: list[dict[str, Any]] = field(factory=list)
    name: str | None = None
    message: str | None = None
    display: bool | None = None


@define(eq=False, repr=False)
class ToolError(Event):
    """A tool call failed; the run continues and the model sees the failure.

    Wire: chat-ui ``{"type":"tool","subtype":"error"}``.

    Attributes:
        uuid: The call that failed.
        message: The server's text.
    """

    uuid: str
    message: str


@define(eq=False, repr=False)
class ToolProgress(Event):
    """The progress of a tool call.

    Wire: chat-ui ``{"type":"tool","subtype":"progress"}``.

    Attributes:
        uuid: The call.
        progress: The work done so far, in the tool's own unit.
        total: The total work, in the same unit, or None.
        message: The tool's text, or None.
    """

    uuid: str
    progress: float
    total: float | None = None
    message: str | None = None


@define(eq=False, repr=False)
class ToolEta(Event):
    """The expected duration of a tool call.

    Wire: chat-ui ``{"type":"tool","subtype":"eta"}``.

    Attributes:
        uuid: The call.
        eta: Seconds (chat-ui sends a constant 10).
    """

    uuid: str
    eta: float


@define(eq=False, repr=False)
class WebSearch(Event):
    """A step of the server's own web search.

    Wire: chat-ui ``{"type":"webSearch"}`` with subtype (or, before May 2024, messageType) ``update``, ``error`` or
    ``finished``. Servers since September 2025 do not send it: there, web search is a tool.

    Attributes:
        message: The server's text; empty for ``finished``.
        args: The subject, such as the query or the page.
        kind: ``"update"``, ``"error"`` or ``"finished"``.
    """

    message: str
    args: tuple[str, ...] = ()
    kind: str = "update"


@define(eq=False, repr=False)
class Source(Value):
    """One web page that an answer is based on.

    Attributes:
        title: The page's title, or None.
        link: Its URL.
        hostname: Its host, if the server sends it.
        text: An excerpt, if the server sends it.
    """

    link: str
    title: str | None = None
    hostname: str | None = None
    text: str | None = None

    __hash__ = None  # type: ignore[assignment]


@define(eq=False, repr=False)
class Sources(Event):
    """The web pages that the answer is based on.

    Wire: chat-ui ``{"type":"webSearch","subtype":"sources"}``, and ``webSources`` of a ``finalAnswer``.

    Attributes:
        sources: In the server's order.
    """

    sources: tuple[Source, ...]


@define(eq=False, repr=False)
class File(Event):
    """A file that the answer produced; ``Conversation.download`` fetches it.

    Wire: chat-ui ``{"type":"file"}``.

    Attributes:
        name: The server's name for it; it is not safe as a path.
        sha: Its id on the server.
        mime: Its media type.
        url: URL for the download with the conversation's credentials, or None.
    """

    name: str
    sha: str
    mime: str
    url: str | None = None


@define(eq=False, repr=False)
class Route(Event):
    """The model and provider that answer. Several may arrive; later ones add to earlier ones.

    Wire: chat-ui ``{"type":"routerMetadata"}``; ``x-router-metadata`` of chat completions.

    Attributes:
        route: The router's name for the kind of question; empty without routing.
        model: The selected LLM; may be empty.
        provider: The inference provider, or None.
    """

    route: str = ""
    model: str = ""
    provider: str | None = None


@define(eq=False, repr=False)
class Elicitation(Event):
    """A question of a tool to the user; ``Conversation.answer`` replies.

    Wire: chat-ui ``{"type":"elicitation","subtype":"request"}``.

    Attributes:
        elicitation_id: The question's id, for the reply.
        server: The MCP server that asks.
        mode: ``"form"`` (fill in *fields*) or ``"url"`` (visit *url*, then accept).
        message: The question, at most 2000 characters.
        fields: The form's fields as on the wire: ``kind``, ``name``, ``required`` and limits.
        url: The page to visit, in url mode.
        expires_at: Milliseconds since 1970; None means that the run has ended and waits for the reply.
        tool_uuid: The tool call that asks, if the server sends it.
    """

    elicitation_id: str
    server: str
    mode: str
    message: str
    fields: list[dict[str, Any]] = field(factory=list)
    url: str | None = None
    expires_at: int | None = None
    tool_uuid: str | None = None


@define(eq=False, repr=False)
class ElicitationResolved(Event):
    """A question was answered, or is no longer open.

    Wire: chat-ui ``{"type":"elicitation","subtype":"resolved"}``.

    Attributes:
        elicitation_id: The question.
        action: ``"accept"``, ``"decline"`` or ``"cancel"``.
        resolution: How it ended: ``"user"``, ``"expired"``, ``"aborted"`` or ``"withdrawn"``.
        content: The values of the answer, or None.
    """

    elicitation_id: str
    action: str
    resolution: str | None = None
    content: dict[str, Any] | None = None


@define(eq=False, repr=False)
class Usage(Event):
    """The number of tokens of a call.

    Wire: ``usage`` of chat completions (its own chunk, or on the last one).

    Attributes:
        prompt_tokens, completion_tokens, total_tokens: The server's counts.
        cached_tokens: Prompt tokens from a cache, or None.
        reasoning_tokens: Completion tokens of the reasoning, or None.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@define(eq=False, repr=False)
class FinalAnswer(Event):
    """The whole answer, as the server stores it; a title may still follow.

    Wire: chat-ui ``{"type":"finalAnswer"}``.

    Attributes:
        text: The text from the server, including ``<think>`` spans; with tools, only that of the last round.
        interrupted: True if the generation was stopped.
    """

    text: str
    interrupted: bool = False


@define(eq=False, repr=False)
class Finish(Event):
    """The model stopped.

    Wire: ``finish_reason`` of chat completions; TGI ``details.finish_reason``.

    Attributes:
        reason: ``"stop"``, ``"length"``, ``"tool_calls"``, ``"content_filter"``, or another value of the server.
    """

    reason: str


@define(eq=False, repr=False)
class Unknown(Event):
    """An object that this release does not know; it does not end the stream.

    Wire: any object with an unknown ``type``, ``subtype`` or structure.

    Attributes:
        type: The wire's ``type``, or an empty string.
        raw: The whole object.
    """

    type: str
    raw: dict[str, Any]


AnyEvent: TypeAlias = (
    Token
    | Reasoning
    | ReasoningStatus
    | Title
    | Status
    | ToolCall
    | ToolResult
    | ToolError
    | ToolProgress
    | ToolEta
    | WebSearch
    | Sources
    | File
    | Route
    | Elicitation
    | ElicitationResolved
    | Usage
    | FinalAnswer
    | Finish
    | JobProgress
    | Failover
    | Unknown
)

_CLASSES: dict[str, type[AnyEvent]] = {cls.__name__: cls for cls in AnyEvent.__args__}


def to_dict(event: AnyEvent) -> dict[str, Any]:
    """Return *event* as plain JSON types: ``event`` is the class name, the other keys are its fields (without None).

    Raises:
        ProtocolError: The event is nested too deeply for the stack that is left.
    """
    return {"event": type(event).__name__, **plain_fields(event)}


def from_dict(data: dict[str, Any]) -> AnyEvent:
    """Return the event from a dict of :func:`to_dict`.

    Raises:
        ValueError: The name of the class is unknown, or the fields do not fit.
    """
    fields = dict(data)
    name = fields.pop("event", None)
    cls = _CLASSES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise ValueError(f"unknown event class {name!r}; known are {', '.join(sorted(_CLASSES))}")
    return msgspec.convert(fields, cls)
