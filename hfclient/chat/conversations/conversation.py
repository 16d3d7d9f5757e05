"""`Conversation`: talking in one HuggingChat conversation.

It knows its server but not its client. What a conversation is besides talk is `record.py`; how a message leaves is
`sending.py`, how its answer is read is `stream.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from hfclient.arguments.argument_types import checks_arguments
from hfclient.chat.conversations.posting import may_have_arrived
from hfclient.chat.conversations.prompts import Prompt, PromptLike, parse_prompt
from hfclient.chat.conversations.record import TIDYING, ConversationRecord
from hfclient.chat.conversations.runs import WAIT, checked_wait
from hfclient.chat.conversations.sending import SendOptions
from hfclient.chat.conversations.stopping import in_background
from hfclient.chat.conversations.stream import ChatStream, OnClose
from hfclient.chat.files.uploads import FileLike, listed_files, stored_part, upload_parts
from hfclient.chat.legacy.switches import switch_fields
from hfclient.chat.wire.tools import ElicitationAnswer, McpLike, OnElicitation, mcp_fields
from hfclient.chat.wire.tree import MessageTree
from hfclient.chat.wire.turn import Turn, new_generation_id
from hfclient.errors import (
    HFClientError,
    InvalidInputError,
    Unsupported,
)
from hfclient.events import Elicitation
from hfclient.process.garbage_collection import in_gc_finalizer
from hfclient.transport import Part, Timeouts
from hfclient.types import Reply

__all__ = ["Conversation"]

_log = logging.getLogger("hfclient")


@checks_arguments
class Conversation(ConversationRecord):
    """A conversation on a chat-ui. `Client.conversation` makes one; nothing is sent before the first call.

    Several threads may hold one: a second send waits for the first one's answer.

    Args:
        service: The server.
        id: 24 hex digits of an existing conversation, or the 7 characters of a shared one, which can only be read;
            None creates one with the first send.
        model: LLM for a new conversation; None takes the server's default.
        system_prompt: System prompt for a new conversation; None takes the model's own.
        assistant: Id of an assistant (24 hex digits) for a new conversation, on servers of before September 2025.

    Attributes:
        id: None until it was created.
        model: The LLM's id, or None if it is not known yet.
        title: As the server last told it, or None.
        temporary: Delete it when the next answer has ended.
    """

    # The straight line

    def send(
        self,
        prompt: PromptLike,
        *,
        files: Iterable[FileLike] | FileLike | None = (),
        mcp: Iterable[McpLike] | Literal["all"] = (),
        on_elicitation: OnElicitation | None = None,
        timeouts: Timeouts | None = None,
        on_close: OnClose = "stop",
        wait: float | None = WAIT,
        web_search: bool = False,
        tools: str | Iterable[str] = (),
    ) -> ChatStream:
        """Send a message and return the stream of its answer. The request has gone out when this returns.

        The message is never sent twice: it carries a fresh id, and where it is not known whether it arrived (a connection
        that broke, a gateway's 504) the conversation is asked for that id, for as long as ``Retry.resume`` says.

        Args:
            prompt: The text, or a list of role/content messages. In a new conversation system messages become the
                system prompt and earlier turns are told in the prompt; in a running one the last user message is sent.
            files: Paths, bytes, open binary files, data URLs, PIL images, `Image` values, ``(name, content)``, or files that
                the conversation holds already (`StoredFile`); each at most 10 MB. They may also stand in the messages, under
                ``images`` or ``files`` or among the parts of ``content``: there a string is never read as a path.
            mcp: Tools that the answer may use: names of MCP servers that the instance has configured, URLs or
                `McpServer` objects of your own, or ``"all"`` that are configured. None of them by default.
            on_elicitation: Called with each question of a tool; gives an `ElicitationAnswer`, the values, or False to decline.
                Without it, the reader of the events answers with :meth:`answer`.
            timeouts: Deadlines of this turn; None takes the client's.
            on_close: What leaving the stream early does: ``"stop"`` the generation, or ``"detach"`` and let it run.
            wait: Seconds to wait for the answers before this message: one that another thread reads, one that was left and
                goes on (its title may be pending), one that another object, process or browser began. chat-ui saves the
                whole conversation when such a run ends, so a message that is sent meanwhile would be lost. None waits
                without end; ``Timeouts.total`` ends this wait, too.
            web_search: Search the web first, on servers of before September 2025; today *mcp* does that.
            tools: Ids (24 hex digits) of tools that the answer may use, on servers of the same age.

        Raises:
            Unsupported: The server would leave out *mcp*, *web_search* or *tools* in silence; nothing was sent.
            InvalidInputError: The prompt is empty, or a file is missing or too large; nothing was sent.
            ConversationBusy: An earlier answer is still being written or read after *wait* seconds; nothing was sent.
            StreamInterrupted: It is not known whether the message arrived. ``conversation_id`` and ``generation_id`` on the
                error are what :meth:`attach` takes.
            CredentialsError, AuthenticationError: The server wants a login.
            RateLimitError, ModelGone, APIStatusError: The server refused.
            TransportError: It could not be reached.

        Reference: POST {base}/conversation/{id}
        """
        parsed = parse_prompt(prompt)
        is_new = self.id is None
        attached = (*(parsed.earlier_files if is_new else ()), *parsed.files, *listed_files(files))
        parts = upload_parts(attached, fetch=self.service.fetch, is_new=is_new)
        options = self._options(timeouts, on_close, on_elicitation, mcp, web_search, tools)
        until = self._sender.begin(checked_wait(wait, options.timeouts.total))
        try:
            text = self._text_for(parsed)
            self._check_sees(parts)
            is_new = self.id is None
            self.create()
            with self._sender.runs.alone(self._existing_id(), until):
                parent_id = (self._leaf if is_new else None) or self._next_parent(until)
                turn = Turn(self._existing_id(), new_generation_id(), parent_id=parent_id, text=text)
                data = {"inputs": text, "id": parent_id, "is_retry": False}
                return self._send(turn, data, parts, options)
        except BaseException:
            self._sender.end()
            raise

    def ask(
        self,
        prompt: PromptLike,
        *,
        files: Iterable[FileLike] | FileLike | None = (),
        mcp: Iterable[McpLike] | Literal["all"] = (),
        on_elicitation: OnElicitation | None = None,
        timeouts: Timeouts | None = None,
        wait: float | None = WAIT,
        web_search: bool = False,
        tools: str | Iterable[str] = (),
    ) -> Reply:
        """Send a message and return the whole answer; arguments and errors as for :meth:`send`.

        Without *on_elicitation* a tool's questions are declined: there is nobody to ask, and it would wait for an hour.
        """
        on_elicitation = on_elicitation or _decline
        stream = self.send(
            prompt,
            files=files,
            mcp=mcp,
            on_elicitation=on_elicitation,
            timeouts=timeouts,
            wait=wait,
            web_search=web_search,
            tools=tools,
        )
        with stream:
            return stream.result()

    def retry(
        self,
        message_id: str | None = None,
        *,
        mcp: Iterable[McpLike] | Literal["all"] = (),
        on_elicitation: OnElicitation | None = None,
        timeouts: Timeouts | None = None,
        on_close: OnClose = "stop",
        wait: float | None = WAIT,
        web_search: bool = False,
        tools: str | Iterable[str] = (),
    ) -> ChatStream:
        """Return the stream of another answer to the same prompt; it becomes a branch beside the first one.

        Args:
            message_id: The answer to give again; None takes the last one of the active branch.
            mcp, on_elicitation, timeouts, on_close, wait, web_search, tools: As for :meth:`send`.

        Raises:
            InvalidInputError: There is no such answer.
            HFClientError: As for :meth:`send`.

        Reference: POST {base}/conversation/{id} with ``is_retry``
        """
        options = self._options(timeouts, on_close, on_elicitation, mcp, web_search, tools)
        until = self._sender.begin(checked_wait(wait, options.timeouts.total))
        try:
            with self._sender.runs.alone(self._existing_id(), until):
                tree = self._settled_tree(until)
                answer = self._message_for(tree, message_id, "assistant")
                user_id = answer.parent_id
                siblings = tuple(message.id for message in tree.children(user_id))
                turn = Turn(self._existing_id(), new_generation_id(), user_id=user_id, known=siblings)
                return self._send(turn, {"id": answer.id, "is_retry": True}, (), options)
        except BaseException:
            self._sender.end()
            raise

    def edit(
        self,
        prompt: PromptLike,
        message_id: str | None = None,
        *,
        files: Iterable[FileLike] | FileLike | None = None,
        mcp: Iterable[McpLike] | Literal["all"] = (),
        on_elicitation: OnElicitation | None = None,
        timeouts: Timeouts | None = None,
        on_close: OnClose = "stop",
        wait: float | None = WAIT,
        web_search: bool = False,
        tools: str | Iterable[str] = (),
    ) -> ChatStream:
        """Ask the same again in other words: a new branch beside the user message that is edited.

        Args:
            prompt: The new text, or a list of role/content messages, of which the last user message counts.
            message_id: The user message to edit; None takes the last one of the active branch.
            files: New attachments; None sends the old message's attachments along again, ``[]`` none.
            mcp, on_elicitation, timeouts, on_close, wait, web_search, tools: As for :meth:`send`.

        Raises:
            InvalidInputError: There is no such user message, or the prompt is empty.
            HFClientError: As for :meth:`send`.

        Reference: POST {base}/conversation/{id} with ``is_retry`` and ``inputs``
        """
        parsed = parse_prompt(prompt)
        text = parsed.text
        if files is not None or parsed.files:
            files = (*parsed.files, *listed_files(files))
        parts = None if files is None else upload_parts(files, fetch=self.service.fetch)
        options = self._options(timeouts, on_close, on_elicitation, mcp, web_search, tools)
        until = self._sender.begin(checked_wait(wait, options.timeouts.total))
        try:
            with self._sender.runs.alone(self._existing_id(), until):
                message = self._message_for(self._settled_tree(until), message_id, "user")
                if parts is None:  # an edit does not inherit attachments, whatever the server's page makes one believe
                    parts = tuple(stored_part(file) for file in message.files)
                self._check_sees(parts)
                turn = Turn(self._existing_id(), new_generation_id(), parent_id=message.parent_id, text=text)
                data = {"inputs": text, "id": message.id, "is_retry": True}
                return self._send(turn, data, parts, options)
        except BaseException:
            self._sender.end()
            raise

    def stop(self) -> None:
        """Stop the answer that is being generated; the thread that reads it sees it end early.

        Does nothing if this object knows of no running answer: a stop without a run would hit the next one.

        Reference: POST {base}/conversation/{id}/stop-generating
        """
        stream = self._sender.stream
        if stream is not None:
            stream.stop()

    def attach(
        self,
        generation_id: str | None = None,
        *,
        on_elicitation: OnElicitation | None = None,
        timeouts: Timeouts | None = None,
        on_close: OnClose = "detach",
    ) -> ChatStream:
        """Return the stream of an answer that was begun elsewhere: by another process, or before a restart.

        It begins with the answer's first event, whether the run still goes on or has ended.

        Args:
            generation_id: The run; None takes the newest one of the conversation.
            on_elicitation: As for :meth:`send`.
            timeouts: Deadlines; None takes the client's.
            on_close: What leaving the stream early does; others may be reading too, so the run goes on by default.

        Raises:
            InvalidInputError: The conversation has no id yet.
            NotFoundError: The server has no such conversation, or keeps no log of its runs.

        Reference: GET {base}/conversation/{id}/stream
        """
        options = self._options(timeouts, on_close, on_elicitation)
        return self._sender.attach(self, Turn(self._existing_id(), generation_id), options)

    def answer(
        self,
        question: Elicitation,
        content: ElicitationAnswer | Mapping[str, Any] | bool | None = True,
        *,
        mcp: Iterable[McpLike] | Literal["all"] = (),
        on_elicitation: OnElicitation | None = None,
        timeouts: Timeouts | None = None,
        on_close: OnClose = "stop",
        wait: float | None = WAIT,
    ) -> ChatStream | None:
        """Answer what a tool asks.

        Args:
            question: The event that asked.
            content: The values by field name, an `ElicitationAnswer`, True to accept a URL question, False to decline.
            mcp: The same tools as in the send that led to the question; needed for a parked one.
            on_elicitation, timeouts, on_close: Of the stream that is returned.
            wait: As for :meth:`send`; for the run that asked to end, if the question is a parked one.

        Returns:
            None if the run waited for the answer: its stream goes on by itself. For a parked question, whose run had
            ended, the stream of the run that goes on; it writes into the same message.

        Raises:
            BadRequestError: The values do not fit the fields; the message names the field.
            ConflictError: It was answered already, or has expired.

        Reference: POST {base}/conversation/{id}/elicitation
        """
        if not isinstance(question, Elicitation):
            raise InvalidInputError(f"a question is the Elicitation event that asked it, not {type(question).__name__}")
        options = self._options(timeouts, on_close, on_elicitation, mcp)
        wait = checked_wait(wait, options.timeouts.total)
        turn = Turn(self._existing_id(), None)
        if not self._sender.answer(turn, question, ElicitationAnswer.of(content)):
            return None
        until = self._sender.begin(wait)
        try:
            with self._sender.runs.alone(turn.conversation_id, until):
                state = self._sender.settle(turn.conversation_id, until)
                turn, data = self._sender.parked_turn(state, question.elicitation_id)
                return self._send(turn, data, (), options)
        except BaseException:
            self._sender.end()
            raise

    # Inside

    def _next_parent(self, until: float) -> str:
        """Return the id of the message that the next one hangs from, once nothing writes into the conversation."""
        self._leaf = self._parent_in(self._settled_tree(until), self._leaf)
        return self._leaf

    def _settled_tree(self, until: float) -> MessageTree:
        return self._taken(self._sender.settle(self._existing_id(), until))

    def _send(self, turn: Turn, data: dict[str, Any], parts: tuple[Part, ...], options: SendOptions) -> ChatStream:
        data = {**data, "generationId": turn.generation_id, **options.tools}
        try:
            stream = self._sender.send(self, turn, data, parts, options, self._ended)
        except BaseException as error:
            if may_have_arrived(error):  # the next message looks for its answer first
                self._leaf_before, self._leaf = self._leaf, None
            raise
        # The stream carries no ids: what comes next hangs from the answer, which is found when it is needed.
        self._leaf = self._leaf_before = None
        return stream

    def _ended(self, stream: ChatStream) -> None:
        self.title = stream._transcript.title or self.title
        if not self.temporary:
            self._sender.ended(stream)
        elif (tidying := in_background(self._tidy, stream)) is not None and not in_gc_finalizer():
            tidying.join(TIDYING.total)

    def _tidy(self, stream: ChatStream) -> None:
        try:
            self._delete(TIDYING)
        except HFClientError as error:  # the answer is what was asked for; it must not be lost over this
            _log.warning("the temporary conversation %s could not be deleted: %s", self.id, error.message)
        finally:
            self._sender.ended(stream)

    def _text_for(self, prompt: Prompt) -> str:
        if self.id is not None:
            return prompt.text
        if prompt.system is not None:
            if self.system_prompt is not None and self.system_prompt != prompt.system:
                raise InvalidInputError("the system prompt was given twice: as system_prompt and as a system message")
            self.system_prompt = prompt.system
        return prompt.folded()

    def _check_sees(self, parts: tuple[Part, ...]) -> None:
        """Pick a model that sees if there are pictures and none was named; refuse one that would not."""
        if not any((part.content_type or "").startswith("image/") for part in parts):
            return
        if self.model is None and self.id is not None:
            self.tree()  # says which model it is
        if self.model is None:
            self.service.need_session()
            self.model = self.service.model_that_sees().id
        else:
            self.service.check_sees(self.model)

    def _options(
        self,
        timeouts: Timeouts | None,
        on_close: OnClose,
        on_elicitation: OnElicitation | None,
        mcp: Iterable[McpLike] | Literal["all"] = (),
        web_search: bool = False,
        tools: str | Iterable[str] = (),
    ) -> SendOptions:
        fields, switches = mcp_fields(mcp), switch_fields(web_search, tools)
        wants_mcp = fields != mcp_fields(())
        if wants_mcp or switches:
            self.service.version().check(mcp=wants_mcp, switches=switches)
        if web_search and self.assistant is not None:
            raise Unsupported(
                "with an assistant the web is searched or not as its maker chose, whatever the message says"
            )
        fields = {**fields, **switches}
        return SendOptions(self.service.session.deadlines(timeouts), on_close, on_elicitation, fields)


def _decline(question: Elicitation) -> bool:
    _log.warning(
        "a tool of %s asks %r; nobody is there to answer, so it is declined", question.server, question.message
    )
    return False
