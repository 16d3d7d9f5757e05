"""Options of a message and of the stream of its answer, each one documented once, and their checked values.

They are keyword arguments. A wrapper of your own can take and pass them on with the same types:

    def ask(prompt: str, **options: Unpack[MessageOptions]) -> str:
        return client.chat(prompt, **options).text
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

from attrs import field, frozen

from hfclient.chat.conversations.send_lock import WAIT, checked_wait
from hfclient.chat.files.uploads import FileLike
from hfclient.chat.legacy.switches import switch_fields
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.tools import McpLike, OnElicitation, mcp_fields
from hfclient.errors import InvalidInputError, Unsupported
from hfclient.transport import Timeouts
from hfclient.values import Value

if TYPE_CHECKING:
    from hfclient.progress import Progress

__all__ = ["AnswerOptions", "AttachOptions", "MessageOptions", "OnClose", "RetryOptions", "SendOptions", "TurnOptions", "checked_options"]

OnClose: TypeAlias = Literal["stop", "detach"]


class AttachOptions(TypedDict, total=False):
    """Options of `Conversation.attach`, explained in `SendOptions`: *timeouts*, *on_close*, *on_elicitation*."""

    timeouts: Timeouts | None
    on_close: OnClose
    on_elicitation: OnElicitation | None


class AnswerOptions(AttachOptions, total=False):
    """Options of `Conversation.answer`, explained in `SendOptions`: those of `AttachOptions`, *mcp* and *wait*."""

    mcp: Iterable[McpLike] | Literal["all"]
    wait: float | None


class RetryOptions(AnswerOptions, total=False):
    """Options of `Conversation.retry`, explained in `SendOptions`: all of them but *files*."""

    web_search: bool
    tools: str | Iterable[str]


class MessageOptions(TypedDict, total=False):
    """Options of `Client.chat` and `Conversation.ask`, explained in `SendOptions`: all of them but *on_close* and *wait*."""

    timeouts: Timeouts | None
    on_elicitation: OnElicitation | None
    mcp: Iterable[McpLike] | Literal["all"]
    web_search: bool
    tools: str | Iterable[str]
    files: Iterable[FileLike] | FileLike | None
    progress: Progress


class SendOptions(MessageOptions, total=False):
    """Options of `Conversation.send` and `Conversation.edit`.

    Args:
        timeouts: Deadlines of this turn; None takes the client's.
        on_close: Effect of leaving the stream early: ``"stop"`` stops the generation, ``"detach"`` lets it run on the
            server. The default is ``"stop"``; for `Conversation.attach` it is ``"detach"``, because others may read the
            same answer.
        on_elicitation: Called with each question of a tool; returns an `ElicitationAnswer`, the values by field name, True
            to accept a URL question, or False to decline. Without it, answer with `Conversation.answer`.
            `Conversation.ask` declines all questions by default.
        mcp: Tools that the answer may use: names of MCP servers that the instance has configured, URLs or `McpServer`
            objects of your own, or ``"all"`` that are configured. None of them by default.
        wait: Seconds to wait for earlier answers of the conversation, 60 by default: one that another thread reads, one
            that was left and is still being generated (its title may be pending), one that another object, process or
            browser started. chat-ui saves the whole conversation when such a run ends, so a message sent in the meantime
            would be lost. None waits without limit. ``Timeouts.total`` also ends this wait.
        web_search: Search the web first, on servers before September 2025; later servers have *mcp* for that.
        tools: Ids (24 hex digits) of tools that the answer may use, on servers before September 2025.
        files: Paths, bytes, open binary files, data URLs, PIL images, `Image` values, ``(name, content)``, or files that
            the conversation holds already (`StoredFile`); each at most 10 MB. Files may also be in the messages, under
            ``images`` or ``files`` or among the parts of ``content``; there a string is never read as a path.
            `Conversation.edit` sends the attachments of the edited message again by default; ``[]`` sends none.
        progress: Of the upload of *files*: None for a bar only on a terminal or in a notebook, True or False, or a function that
            gets (done, total, text), in bytes.
    """

    on_close: OnClose
    wait: float | None


@frozen(eq=False, repr=False)
class TurnOptions(Value):
    """Checked options of one turn.

    Attributes:
        timeouts: Deadlines of the turn.
        on_close: ``"stop"`` or ``"detach"``.
        on_elicitation: Answers the questions of tools; None leaves that to the reader of the events.
        wait: Seconds to wait for earlier answers; infinite for no limit.
        tools: Fields of the form that select tools.
    """

    timeouts: Timeouts
    on_close: OnClose
    on_elicitation: OnElicitation | None
    wait: float
    tools: dict[str, Any] = field(repr=False)

    def __attrs_post_init__(self) -> None:
        if self.on_close not in ("stop", "detach"):
            raise InvalidInputError(f'on_close is "stop" or "detach", not {self.on_close!r}')


def checked_options(service: ChatService, options: Mapping[str, Any], *, has_assistant: bool = False) -> TurnOptions:
    """Return the options of a call, checked.

    Args:
        service: The server, which has to support them.
        options: `SendOptions`, or a part of them.
        has_assistant: The conversation has an assistant.

    Raises:
        InvalidInputError: A value cannot work.
        Unsupported: The server would ignore an option.
    """
    tools = mcp_fields(options.get("mcp", ()))
    switches = switch_fields(options.get("web_search", False), options.get("tools", ()))
    uses_mcp = tools != mcp_fields(())
    if uses_mcp or switches:
        service.version().check(mcp=uses_mcp, switches=switches)
    if options.get("web_search") and has_assistant:
        raise Unsupported("with an assistant the web is searched or not as its author chose; web_search= has no effect")
    timeouts = service.session.deadlines(options.get("timeouts"))
    return TurnOptions(
        timeouts,
        options.get("on_close", "stop"),
        options.get("on_elicitation"),
        checked_wait(options.get("wait", WAIT), timeouts.total),
        {**tools, **switches},
    )
