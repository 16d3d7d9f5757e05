"""The one vocabulary of events, for HuggingChat and for inference.

Every class is a small attrs class with slots. They are values in spirit: nothing in hfclient changes an event once it
was handed out (they are not ``frozen`` because that makes each of them a third dearer to build, and a long answer is
tens of thousands). All compare by value, pickle, and turn into a dict and back (:func:`to_dict`, :func:`from_dict`).

``extra`` on any event keeps the fields of the wire object that this release has no name for; it is None when there are
none. What has no class here at all is an :class:`Unknown`.

"chat-ui" in the docstrings is the JSON Lines stream of ``POST /conversation/{id}``; "chat delta" is a chunk of
``POST /v1/chat/completions``; "TGI" is text-generation-inference's ``/generate_stream``.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from attrs import define, field

from hfclient.errors import ProtocolError
from hfclient.events.base import Event
from hfclient.events.jobs import Failover, JobProgress

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


@define
class Token(Event):
    """A piece of the answer's text, as it comes.

    Wire: chat-ui ``{"type":"stream","token":...}`` (its NUL padding removed, ``<think>`` spans taken out); chat delta
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


@define
class Reasoning(Event):
    """A piece of the model's reasoning, apart from its answer.

    Wire: chat-ui ``{"type":"reasoning","subtype":"stream"}``; a ``<think>`` span inside tokens; chat delta
    ``reasoning``, ``reasoning_content`` or ``reasoning_text``.

    Attributes:
        text: One or more characters.
    """

    text: str


@define
class ReasoningStatus(Event):
    """What the reasoning is doing, in the server's words.

    Wire: chat-ui ``{"type":"reasoning","subtype":"status"}`` (servers of December 2024 to September 2025).

    Attributes:
        status: Free text such as "Done in 3s.".
    """

    status: str


@define
class Title(Event):
    """The conversation got a title; it may come before, between or after the tokens.

    Wire: chat-ui ``{"type":"title"}``; before May 2024 ``{"type":"status","status":"title"}``.

    Attributes:
        title: The title with ``<think>`` tags removed.
    """

    title: str


@define
class Status(Event):
    """The state of the run. Keep-alives are swallowed and never become events.

    Wire: chat-ui ``{"type":"status"}``. A status of ``"error"`` is handed out here and then raised as
    ``GenerationError`` at the end of the stream.

    Attributes:
        status: ``"started"``, ``"finished"``, ``"error"``, or something newer.
        message: The server's text, with an error.
        status_code: HTTP status of the failure behind the server, with an error.
    """

    status: str
    message: str | None = None
    status_code: int | None = None


@define
class ToolCall(Event):
    """The model calls a tool.

    Wire: chat-ui ``{"type":"tool","subtype":"call"}``; merged ``tool_calls`` deltas of chat completions.

    Attributes:
        uuid: Names the call; results, errors and progress carry the same one.
        name: The tool's name.
        parameters: The arguments that the wire gives as an object (chat-ui leaves nested ones out).
        arguments: The complete arguments as JSON text, or None if the server does not say.
        call_id: The model's own id of the call.
        reasoning, content: Reasoning and text of the round, on its first call only (chat-ui).
        extra: What the server attached to the call (``extra_content``, a ``thought_signature``), in ``function`` what it
            attached to that; it goes back unchanged with the call.
    """

    uuid: str
    name: str
    parameters: dict[str, Any] = field(factory=dict)
    arguments: str | None = None
    call_id: str | None = None
    reasoning: str | None = None
    content: str | None = None


@define
class ToolResult(Event):
    """A tool answered.

    Wire: chat-ui ``{"type":"tool","subtype":"result"}``.

    Attributes:
        uuid: The call that this answers.
        status: ``"success"`` or ``"error"``.
        outputs: What the tool gave, as on the wire: MCP results have ``text``, ``structured`` and ``content``.
        name: The tool's name, if the wire repeats it.
        message: The error's text, if *status* is ``"error"``.
        display: Whether the server's own page would show it.
    """

    uuid: str
    status: str
    outputs: list[dict[str, Any]] = field(factory=list)
    name: str | None = None
    message: str | None = None
    display: bool | None = None


@define
class ToolError(Event):
    """A tool call failed; the run goes on and the model sees the failure.

    Wire: chat-ui ``{"type":"tool","subtype":"error"}``.

    Attributes:
        uuid: The call that failed.
        message: The server's text.
    """

    uuid: str
    message: str


@define
class ToolProgress(Event):
    """A tool reports how far it is.

    Wire: chat-ui ``{"type":"tool","subtype":"progress"}``.

    Attributes:
        uuid: The call.
        progress: Done so far, in the tool's own unit.
        total: All there is to do, in the same unit, or None.
        message: The tool's words, or None.
    """

    uuid: str
    progress: float
    total: float | None = None
    message: str | None = None


@define
class ToolEta(Event):
    """How long a tool call is expected to take.

    Wire: chat-ui ``{"type":"tool","subtype":"eta"}``.

    Attributes:
        uuid: The call.
        eta: Seconds (chat-ui sends a constant 10).
    """

    uuid: str
    eta: float


@define
class WebSearch(Event):
    """A step of the server's own web search.

    Wire: chat-ui ``{"type":"webSearch"}`` with subtype (or, before May 2024, messageType) ``update``, ``error`` or
    ``finished``. Servers from September 2025 on have none: there, web search is a tool.

    Attributes:
        message: The server's words; empty for ``finished``.
        args: What the words are about, such as the query or the page.
        kind: ``"update"``, ``"error"`` or ``"finished"``.
    """

    message: str
    args: tuple[str, ...] = ()
    kind: str = "update"


@define
class Source:
    """One page that an answer rests on.

    Attributes:
        title: The page's title, or None.
        link: Its URL.
        hostname: Its host, if the server says.
        text: An excerpt, if the server says.
    """

    link: str
    title: str | None = None
    hostname: str | None = None
    text: str | None = None


@define
class Sources(Event):
    """The pages that the answer rests on.

    Wire: chat-ui ``{"type":"webSearch","subtype":"sources"}``, and ``webSources`` of a ``finalAnswer``.

    Attributes:
        sources: In the server's order.
    """

    sources: tuple[Source, ...]


@define
class File(Event):
    """A file that the answer produced; ``Conversation.download`` fetches it.

    Wire: chat-ui ``{"type":"file"}``.

    Attributes:
        name: The server's name for it: never a path to trust.
        sha: Its id on the server.
        mime: Its type.
        url: Where it can be fetched with the conversation's credentials, or None.
    """

    name: str
    sha: str
    mime: str
    url: str | None = None


@define
class Route(Event):
    """Who answers: a routing decision, or the provider that serves the model. Several may come; later ones add to it.

    Wire: chat-ui ``{"type":"routerMetadata"}``; ``x-router-metadata`` of chat completions.

    Attributes:
        route: The router's name for the kind of question; empty if there was no routing.
        model: The LLM chosen; may be empty.
        provider: The inference provider, or None.
    """

    route: str = ""
    model: str = ""
    provider: str | None = None


@define
class Elicitation(Event):
    """A tool asks the user something; ``Conversation.answer`` replies.

    Wire: chat-ui ``{"type":"elicitation","subtype":"request"}``.

    Attributes:
        elicitation_id: What the reply must name.
        server: The MCP server that asks.
        mode: ``"form"`` (fill in *fields*) or ``"url"`` (visit *url*, then accept).
        message: The question, at most 2000 characters.
        fields: The form's fields as on the wire: ``kind``, ``name``, ``required`` and limits.
        url: The page to visit, in url mode.
        expires_at: Epoch milliseconds; None means that the run has ended and waits for the reply.
        tool_uuid: The tool call that asks, if the server knows.
    """

    elicitation_id: str
    server: str
    mode: str
    message: str
    fields: list[dict[str, Any]] = field(factory=list)
    url: str | None = None
    expires_at: int | None = None
    tool_uuid: str | None = None


@define
class ElicitationResolved(Event):
    """A question was settled.

    Wire: chat-ui ``{"type":"elicitation","subtype":"resolved"}``.

    Attributes:
        elicitation_id: The question.
        action: ``"accept"``, ``"decline"`` or ``"cancel"``.
        resolution: Who settled it: ``"user"``, ``"expired"``, ``"aborted"`` or ``"withdrawn"``.
        content: The values given, if any.
    """

    elicitation_id: str
    action: str
    resolution: str | None = None
    content: dict[str, Any] | None = None


@define
class Usage(Event):
    """How many tokens a call took.

    Wire: ``usage`` of chat completions (its own chunk, or on the last one).

    Attributes:
        prompt_tokens, completion_tokens, total_tokens: As counted by the server.
        cached_tokens: Prompt tokens that were served from a cache, or None.
        reasoning_tokens: Completion tokens spent on reasoning, or None.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@define
class FinalAnswer(Event):
    """The server's own version of the whole answer; a title may still follow.

    Wire: chat-ui ``{"type":"finalAnswer"}``.

    Attributes:
        text: The text as the server sends it, ``<think>`` spans included; with tools, of the last round only.
        interrupted: True if the generation was stopped.
    """

    text: str
    interrupted: bool = False


@define
class Finish(Event):
    """The model stopped.

    Wire: ``finish_reason`` of chat completions; TGI ``details.finish_reason``.

    Attributes:
        reason: ``"stop"``, ``"length"``, ``"tool_calls"``, ``"content_filter"``, or the server's own word.
    """

    reason: str


@define
class Unknown(Event):
    """Something that this release has no class for: kept whole, never fatal.

    Wire: any object with an unknown ``type``, ``subtype`` or shape.

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
    """Return *event* as plain JSON types: ``event`` holds the class name, the other keys its fields (None left out).

    Raises:
        ProtocolError: What the server sent nests too deeply for where this is called.
    """
    try:
        fields = msgspec.to_builtins(event)
    except RecursionError:
        raise ProtocolError(f"this {type(event).__name__} nests too deeply to be written out") from None
    return {"event": type(event).__name__, **{key: value for key, value in fields.items() if value is not None}}


def from_dict(data: dict[str, Any]) -> AnyEvent:
    """Return the event that :func:`to_dict` described.

    Raises:
        ValueError: *data* names no event class, or its fields do not fit.
    """
    fields = dict(data)
    name = fields.pop("event", None)
    cls = _CLASSES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise ValueError(f"no event class {name!r}; known ones: {', '.join(sorted(_CLASSES))}")
    return msgspec.convert(fields, cls)
