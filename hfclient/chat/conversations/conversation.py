"""`Conversation`: messages to one HuggingChat conversation.

A message becomes a `Run` on the server (`run.py`), whose answer is a `ChatStream` (`stream.py`). Reading, changing and deleting the conversation is in `stored_conversation.py`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hfclient.arguments.argument_types import check_arguments
from hfclient.chat.conversations.background import in_background
from hfclient.chat.conversations.branch import check_state
from hfclient.chat.conversations.elicitation import decline
from hfclient.chat.conversations.options import (
    AnswerOptions,
    AttachOptions,
    MessageOptions,
    RetryOptions,
    SendOptions,
    TurnOptions,
    checked_options,
)
from hfclient.chat.conversations.prompts import Prompt, PromptLike, parse_prompt
from hfclient.chat.conversations.run import Run
from hfclient.chat.conversations.send_lock import WAIT, HeldLock, checked_wait, exclusive
from hfclient.chat.conversations.stored_conversation import CLEANUP, StoredConversation
from hfclient.chat.conversations.stream import ContinueRun, RunStream
from hfclient.chat.files.uploads import listed_files, stored_part, upload_parts, uploading
from hfclient.chat.servers.models import check_accepts_images, default_for_images
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.tools import ElicitationAnswer
from hfclient.chat.wire.tree import MessageTree
from hfclient.chat.wire.turn import Turn, new_generation_id
from hfclient.errors import HFClientError, InvalidInputError, NotAChatServer, NotFoundError
from hfclient.events import Elicitation
from hfclient.process.garbage_collection import in_gc_finalizer
from hfclient.transport import Part, Response
from hfclient.transport.scope import no_scope
from hfclient.types import Reply

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["ChatStream", "Conversation", "restored"]

_log = logging.getLogger("hfclient")


class Conversation(StoredConversation):
    """A conversation on a chat-ui. `Client.conversation` makes one; nothing is sent before the first call.

    Several threads may share one: a second send waits for the first answer.

    Args:
        service: The server.
        id: 24 hex digits of an existing conversation, or the 7 characters of a shared one, which can only be read;
            None creates one with the first send.
        model: LLM for a new conversation; None takes the server's default.
        system_prompt: System prompt for a new conversation; None takes the model's own.
        assistant: Id of an assistant (24 hex digits) for a new conversation, on servers before September 2025.

    Attributes:
        id: None until it was created.
        model: The LLM's id, or None if it is not known yet.
        title: The title that the server sent last, or None.
        temporary: Delete the conversation when the next answer has ended.
    """

    _stream: weakref.ref[ChatStream] | None = None  # the last one; a stream without another reference is closed

    # Messages

    def send(self, prompt: PromptLike, **options: Unpack[SendOptions]) -> ChatStream:
        """Send a message and return the stream of its answer. The request has been sent when this returns.

        The message is never sent twice: it carries an id of its own, and if it is not known whether it arrived (a connection
        that broke, a gateway's 504) the conversation is searched for that id, for as long as ``Retry.resume`` says.

        Args:
            prompt: The text, or a list of role/content messages. In a new conversation system messages become the
                system prompt and earlier turns become part of the prompt; in an existing one the last user message is sent.
            options: timeouts, on_elicitation, mcp, web_search, tools, files, progress, on_close, wait; see `SendOptions`.

        Raises:
            Unsupported: The server would ignore *mcp*, *web_search* or *tools*; nothing was sent.
            InvalidInputError: The prompt is empty, or a file is missing or too large; nothing was sent.
            ConversationBusy: An earlier answer is still being written or read after *wait* seconds; nothing was sent.
            StreamInterrupted: It is not known whether the message arrived. ``conversation_id`` and ``generation_id`` on the
                error are what :meth:`attach` takes.
            CredentialsError, AuthenticationError: The server requires a login.
            RateLimitError, ModelGone, APIStatusError: The server refused.
            TransportError: It could not be reached.

        Reference: POST {base}/conversation/{id}
        """
        check_arguments(Conversation.send, locals())
        parsed = parse_prompt(prompt)
        is_new = self.id is None
        files = (*(parsed.earlier_files if is_new else ()), *parsed.files, *listed_files(options.get("files")))
        parts = upload_parts(files, fetch=self.service.fetch, is_new=is_new)
        checked = self._options(options)
        with self._runs.lock.hold(checked.wait) as held:
            text = self._text_for(parsed)
            self._check_vision(parts)
            is_new = self.id is None
            self.create()
            with self._exclusive(held):
                parent_id = self._branch.leaf if is_new else None
                if parent_id is None:
                    parent_id = self._branch.parent_in(self._idle_tree(held))
                run = self._new_run(checked, parent_id=parent_id, text=text)
                with uploading(parts, options.get("progress")) as parts:
                    response = self._runs.post(run, {"inputs": text, "id": parent_id, "is_retry": False}, parts)
                return self._stream_of(run, response, held)

    def ask(self, prompt: PromptLike, *, wait: float | None = WAIT, **options: Unpack[MessageOptions]) -> Reply:
        """Send a message and return the whole answer.

        Args:
            prompt: As for :meth:`send`.
            wait: Seconds to wait for earlier answers of the conversation; see `SendOptions`.
            options: timeouts, on_elicitation, mcp, web_search, tools, files, progress; see `MessageOptions`. Without
                *on_elicitation* the questions of tools are declined: otherwise the answer would wait for an hour.

        Raises:
            HFClientError: As for :meth:`send`, and what ended the answer early.
        """
        check_arguments(Conversation.ask, locals())
        options["on_elicitation"] = options.get("on_elicitation") or decline
        with self.send(prompt, wait=wait, **options) as stream:
            return stream.result()

    def retry(self, message_id: str | None = None, **options: Unpack[RetryOptions]) -> ChatStream:
        """Return the stream of another answer to the same prompt; it becomes a branch beside the first one.

        Args:
            message_id: The answer to generate again; None takes the last one of the active branch.
            options: timeouts, on_close, on_elicitation, mcp, wait, web_search, tools; see `SendOptions`.

        Raises:
            InvalidInputError: There is no such answer.
            HFClientError: As for :meth:`send`.

        Reference: POST {base}/conversation/{id} with ``is_retry``
        """
        check_arguments(Conversation.retry, locals())
        checked = self._options(options)
        with self._runs.lock.hold(checked.wait) as held, self._exclusive(held):
            tree = self._idle_tree(held)
            answer = self._branch.message_in(tree, message_id, "assistant")
            siblings = tuple(message.id for message in tree.children(answer.parent_id))
            run = self._new_run(checked, user_id=answer.parent_id, known=siblings)
            return self._stream_of(run, self._runs.post(run, {"id": answer.id, "is_retry": True}), held)

    def edit(self, prompt: PromptLike, message_id: str | None = None, **options: Unpack[SendOptions]) -> ChatStream:
        """Send a user message again in other words and return the stream of its answer: a new branch beside the old message.

        Args:
            prompt: The new text, or a list of role/content messages, of which the last user message counts.
            message_id: The user message to edit; None takes the last one of the active branch.
            options: timeouts, on_elicitation, mcp, web_search, tools, files, progress, on_close, wait; see `SendOptions`.
                *files* are new attachments; None sends those of the old message again, ``[]`` none.

        Raises:
            InvalidInputError: There is no such user message, or the prompt is empty.
            HFClientError: As for :meth:`send`.

        Reference: POST {base}/conversation/{id} with ``is_retry`` and ``inputs``
        """
        check_arguments(Conversation.edit, locals())
        parsed = parse_prompt(prompt)
        files = options.get("files")
        keeps_files = files is None and not parsed.files
        parts = upload_parts((*parsed.files, *listed_files(files)), fetch=self.service.fetch)
        checked = self._options(options)
        with self._runs.lock.hold(checked.wait) as held, self._exclusive(held):
            message = self._branch.message_in(self._idle_tree(held), message_id, "user")
            if keeps_files:  # the server does not copy the attachments to an edited message, although its page suggests that
                parts = tuple(stored_part(file) for file in message.files)
            self._check_vision(parts)
            run = self._new_run(checked, parent_id=message.parent_id, text=parsed.text)
            data = {"inputs": parsed.text, "id": message.id, "is_retry": True}
            with uploading(parts, options.get("progress")) as parts:
                response = self._runs.post(run, data, parts)
            return self._stream_of(run, response, held)

    def stop(self) -> None:
        """Stop the answer that is being generated; the thread that reads it sees it end early.

        Does nothing if this object knows of no running answer: a stop without a run would hit the next one.

        Reference: POST {base}/conversation/{id}/stop-generating
        """
        stream = self._stream() if self._stream is not None else None
        if stream is not None:
            stream.stop()

    def attach(self, generation_id: str | None = None, **options: Unpack[AttachOptions]) -> ChatStream:
        """Return the stream of an answer that was started elsewhere: by another process, or before a restart.

        It begins with the first event of the answer, whether the run is in progress or has ended.

        Args:
            generation_id: The run; None takes the newest one of the conversation.
            options: timeouts, on_close, on_elicitation; see `SendOptions`. The default of *on_close* is ``"detach"``.

        Raises:
            InvalidInputError: The conversation has no id yet.
            NotFoundError: The server has no such conversation, or keeps no log of its runs.

        Reference: GET {base}/conversation/{id}/stream
        """
        check_arguments(Conversation.attach, locals())
        run = Run(self.service, Turn(self._existing_id(), generation_id), self._options({"on_close": "detach", **options}))
        try:
            response = run.open_log()
        except NotAChatServer:
            self.service.version()  # raises if it is not a chat-ui of any version
            raise NotFoundError(
                "this server is older than July 2026 and keeps no log of its runs; messages() has the answer once it is complete",
                status_code=404,
            ) from None
        return self._stream_of(run, response)

    def answer(
        self,
        question: Elicitation,
        content: ElicitationAnswer | Mapping[str, Any] | bool | None = True,
        **options: Unpack[AnswerOptions],
    ) -> ChatStream | None:
        """Answer the question of a tool.

        Args:
            question: The event that asked.
            content: The values by field name, an `ElicitationAnswer`, True to accept a URL question, False to decline.
            options: timeouts, on_close, on_elicitation, mcp, wait; see `SendOptions`. They apply to the stream that is
                returned. A parked question needs the same *mcp* as the message that led to it.

        Returns:
            None if the run waited for the answer: its stream continues. For a parked question, whose run had ended, the
            stream of the run that continues; it writes into the same message.

        Raises:
            BadRequestError: The values do not fit the fields; the message names the field.
            ConflictError: It was answered already, or has expired.

        Reference: POST {base}/conversation/{id}/elicitation
        """
        check_arguments(Conversation.answer, locals())
        if not isinstance(question, Elicitation):
            raise InvalidInputError(f"a question is the Elicitation event that asked it, not {type(question).__name__}")
        asking = Run(self.service, Turn(self._existing_id(), None), self._options(options))
        if not asking.answer(question, ElicitationAnswer.of(content)):
            return None
        with self._runs.lock.hold(asking.options.wait) as held:
            return self._stream_of(*self._runs.post_after(question, asking, held.until), held)

    # Runs

    def _new_run(self, options: TurnOptions, **fields: Any) -> Run:
        return Run(self.service, Turn(self._existing_id(), new_generation_id(), **fields), options)

    def _stream_of(self, run: Run, response: Response, held: HeldLock | None = None) -> ChatStream:
        """Return the stream of an answer; its end releases the lock that is *held*."""
        on_end = functools.partial(self._end, held) if held is not None else None
        stream = ChatStream(self, run, response, continue_run=self._continue, on_end=on_end)
        self._stream = weakref.ref(stream)
        return stream

    def _end(self, held: HeldLock, run: Run, title: str | None) -> None:
        """Note that the answer of *run* is no longer read."""
        self.title = title or self.title
        if not self.temporary:
            self._release(held, run)
        elif (deleting := in_background(self._delete_temporary, held, run)) is not None and not in_gc_finalizer():
            deleting.join(CLEANUP.total)

    def _release(self, held: HeldLock, run: Run) -> None:
        self._stream = None
        self._runs.add_ended(run)
        held.release()

    def _delete_temporary(self, held: HeldLock, run: Run) -> None:
        try:
            with no_scope():
                self._delete(CLEANUP)
        except HFClientError as error:  # only logged, so that the caller gets the answer
            _log.warning("the temporary conversation %s could not be deleted: %s", self.id, error.message)
        finally:
            self._release(held, run)

    def _continue(
        self, run: Run, question: Elicitation, use: Callable[[Response], None]
    ) -> tuple[Run, Response]:
        self._runs.add_ended(run)
        return self._runs.post_after(question, run, time.monotonic() + checked_wait(WAIT, run.clock.remaining()), use)

    def _exclusive(self, held: HeldLock) -> contextlib.AbstractContextManager[None]:
        return exclusive(self.service.endpoints.base, self._existing_id(), held.until)

    def _idle_tree(self, held: HeldLock) -> MessageTree:
        """Return all messages, once no other run writes into the conversation."""
        return self._noted(self._runs.wait_until_idle(self._existing_id(), held.until))

    def _text_for(self, prompt: Prompt) -> str:
        if self.id is not None:
            return prompt.text
        if prompt.system is not None:
            if self.system_prompt is not None and self.system_prompt != prompt.system:
                raise InvalidInputError("the system prompt was given twice: as system_prompt and as a system message")
            self.system_prompt = prompt.system
        return prompt.as_one_message()

    def _check_vision(self, parts: tuple[Part, ...]) -> None:
        """If there are images, choose a multimodal model if none was named; refuse one that does not accept images."""
        if not any((part.content_type or "").startswith("image/") for part in parts):
            return
        if self.model is None and self.id is not None:
            self.tree()  # says which model it is
        if self.model is None:
            self.service.need_session()
            self.model = default_for_images(self.service.models).id
        else:
            check_accepts_images(self.model, self.service.models)

    def _options(self, options: Mapping[str, Any]) -> TurnOptions:
        return checked_options(self.service, options, has_assistant=self.assistant is not None)


class ChatStream(RunStream):
    """A blocking iterator over the events of one answer of a `Conversation`.

    Leaving it early (``break``, the end of a ``with``, Ctrl-C, an exception, :meth:`close`) stops the generation on the
    server. With ``on_close="detach"`` the generation continues there, and `Conversation.attach` returns its stream.

    Attributes:
        conversation: The conversation that it belongs to.
    """

    def __init__(
        self,
        conversation: Conversation,
        run: Run,
        response: Response,
        *,
        continue_run: ContinueRun,
        on_end: Callable[[Run, str | None], object] | None,
    ) -> None:
        super().__init__(run, response, model=conversation.model, continue_run=continue_run, on_end=on_end)
        self.conversation = conversation


def restored(service: ChatService, state: dict[str, Any]) -> Conversation:
    """Return the conversation that `Conversation.to_dict` described.

    Raises:
        InvalidInputError: *state* is of a later version, or not such a state.
    """
    check_state(state)
    options = {name: state.get(name) for name in ("model", "system_prompt", "assistant")}
    conversation = Conversation(service, state.get("id"), **options)
    conversation.temporary = state.get("temporary", False)
    conversation._branch.load(state)
    return conversation
