"""`Conversation`: one HuggingChat conversation and its own line of messages.

It knows its server but not its client, and serialises its own sends: chat-ui rewrites the whole conversation when it
saves, so two sends at once would lose one of them.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
import weakref
from collections.abc import Iterable
from typing import Any

from hfclient.chat import superjson
from hfclient.chat.failures import not_a_chat_server
from hfclient.chat.messages import (
    ConversationState,
    find_answer,
    newest_leaf,
    parse_conversation,
    path_to,
)
from hfclient.chat.prompts import Prompt, PromptLike, parse_prompt
from hfclient.chat.resume import LogReader, Turn
from hfclient.chat.service import ChatService
from hfclient.chat.stream import ChatStream, OnClose
from hfclient.chat.updates import UpdateDecoder
from hfclient.chat.uploads import FileLike, upload_parts
from hfclient.errors import (
    BadRequestError,
    ConnectError,
    ConversationBusy,
    HFClientError,
    InvalidInputError,
    ProtocolError,
    StreamInterrupted,
    TransportError,
    TransportTimeout,
)
from hfclient.transport import Deadline, Part, Response, Timeouts
from hfclient.types import Message, Reply

__all__ = ["Conversation"]

_log = logging.getLogger("hfclient")
_STOP_MARK = 5.0  # seconds in which a stop that found no run to stop would hit the next one
_LOOKS = (0.2, 0.5, 1.0)  # pauses before looking for a message of unknown fate


class Conversation:
    """A conversation on a chat-ui. `Client.conversation` makes one; nothing is sent before the first call.

    Several threads may hold one: a second send waits for the first one's answer.

    Args:
        service: The server.
        id: 24 hex digits of an existing conversation; None creates one with the first send.
        model: LLM for a new conversation; None takes the server's default.
        system_prompt: System prompt for a new conversation; None takes the model's own.

    Attributes:
        id: None until it was created.
        model: The LLM's id, or None if it is not known yet.
        title: As the server last told it, or None.
        temporary: Delete it when the next answer has ended.
    """

    def __init__(
        self,
        service: ChatService,
        id: str | None = None,
        *,
        model: str | None = None,
        system_prompt: str | None = None,
    ) -> None:
        self.service = service
        self.id = id
        self.model = model
        self.system_prompt = system_prompt
        self.title: str | None = None
        self.temporary = False
        self._leaf: str | None = None
        self._last_turn: Turn | None = None
        self._busy = threading.Lock()
        self._busy_thread: int | None = None
        self._stream: weakref.ref[ChatStream] | None = None  # a stream that nobody holds must be free to go
        self._not_before = 0.0

    def __repr__(self) -> str:
        return f"<Conversation {self.id or 'not created yet'}{f' {self.title!r}' if self.title else ''}>"

    # The straight line

    def create(self) -> Conversation:
        """Create the conversation on the server, unless it exists; the first send does so by itself.

        Returns:
            The conversation itself.

        Raises:
            CredentialsError: The server wants a login and there is no cookie; nothing was sent.
            ModelNotFound: The server has no such LLM; the nearest names are in ``suggestions``.
            ConversationLimit: There are too many conversations already.

        Reference: POST {base}/conversation
        """
        if self.id is not None:
            return self
        self.service.need_session()
        asked = self.model or self.service.default_model().id
        request = self.service.endpoints.create(asked, self.system_prompt)
        try:
            data = self.service.send(request).json()
        except BadRequestError as error:
            self.service.explain_refused_model(asked, error)
            raise
        except ProtocolError as error:
            raise not_a_chat_server(request.url, error.frame) from None
        if not isinstance(data, dict) or not isinstance(data.get("conversationId"), str):
            raise not_a_chat_server(request.url, str(data)[:200])
        self.id = data["conversationId"]
        self.model = asked
        if isinstance(data.get("conversation"), str):  # since July 2026: the first parent needs no further request
            try:
                self._leaf = newest_leaf(parse_conversation(superjson.loads(data["conversation"])))
            except (ProtocolError, ValueError):
                self._leaf = None  # asked for when it is needed
        return self

    def fetch_message_id(self) -> str:
        """Return the id of the message that the next one will hang from, as the server has it now.

        That is the answer of this object's last send, else the end of the newest branch. Creates the conversation if
        need be.

        Reference: GET {base}/api/v2/conversations/{id}
        """
        self.create()
        state = self._read_state()
        turn = self._last_turn
        answer = None
        if turn is not None and turn.generation_id is not None:
            answer = find_answer(state, turn.generation_id, parent_id=turn.parent_id, text=turn.text)
        leaf = answer.id if answer is not None else newest_leaf(state)
        if leaf is None:
            raise ProtocolError(f"conversation {self.id} holds no message to go on from")
        self._leaf = leaf
        return leaf

    def send(
        self,
        prompt: PromptLike,
        *,
        files: Iterable[FileLike] = (),
        timeouts: Timeouts | None = None,
        on_close: OnClose = "stop",
        wait: float = 60.0,
    ) -> ChatStream:
        """Send a message and return the stream of its answer. The request has gone out when this returns.

        The message is never sent twice: it carries a fresh id, and when a connection breaks so that nobody knows whether
        it arrived, the conversation is asked for that id before anything is repeated.

        Args:
            prompt: The text, or a list of role/content messages. In a new conversation system messages become the
                system prompt and earlier turns are told in the prompt; in a running one the last user message is sent.
            files: Paths, bytes, open binary files or ``(name, bytes)``; each at most 10 MB.
            timeouts: Deadlines of this turn; None takes the client's.
            on_close: What leaving the stream early does: ``"stop"`` the generation, or ``"detach"`` and let it run.
            wait: Seconds to wait for another thread's answer in this conversation.

        Raises:
            InvalidInputError: The prompt is empty, or a file is missing or too large; nothing was sent.
            ConversationBusy: The previous answer is still being read.
            CredentialsError, AuthenticationError: The server wants a login.
            RateLimitError, ModelGone, APIStatusError: The server refused.
            TransportError: It could not be reached.

        Reference: POST {base}/conversation/{id}
        """
        parsed = parse_prompt(prompt)
        parts = upload_parts(files)
        self._check_on_close(on_close)
        self._take_turn(wait)
        try:
            text = self._text_for(parsed)
            self.create()
            return self._send(text, self._leaf or self.fetch_message_id(), parts, timeouts, on_close)
        except BaseException:
            self._end_turn()
            raise

    def ask(
        self,
        prompt: PromptLike,
        *,
        files: Iterable[FileLike] = (),
        timeouts: Timeouts | None = None,
        wait: float = 60.0,
    ) -> Reply:
        """Send a message and return the whole answer; arguments and errors as for :meth:`send`."""
        with self.send(prompt, files=files, timeouts=timeouts, wait=wait) as stream:
            return stream.result()

    def stop(self) -> None:
        """Stop the answer that is being generated; the thread that reads it sees it end early.

        Does nothing if this object knows of no running answer: a stop without a run would hit the next one.

        Reference: POST {base}/conversation/{id}/stop-generating
        """
        stream = self._stream() if self._stream is not None else None
        if stream is not None:
            stream.stop()

    def attach(
        self, generation_id: str | None = None, *, timeouts: Timeouts | None = None, on_close: OnClose = "detach"
    ) -> ChatStream:
        """Return the stream of an answer that was begun elsewhere: by another process, or before a restart.

        It begins with the answer's first event, whether the run still goes on or has ended.

        Args:
            generation_id: The run; None takes the newest one of the conversation.
            timeouts: Deadlines; None takes the client's.
            on_close: What leaving the stream early does; others may be reading too, so the run goes on by default.

        Raises:
            InvalidInputError: The conversation has no id yet.
            NotFoundError: The server has no such conversation, or keeps no log of its runs.

        Reference: GET {base}/conversation/{id}/stream
        """
        if self.id is None:
            raise InvalidInputError("this conversation was never created; there is nothing to attach to")
        self._check_on_close(on_close)
        given = self.service.timeouts(timeouts)
        turn = Turn(self.id, generation_id)
        log = LogReader(
            self.service,
            turn,
            UpdateDecoder(),
            timeouts=given,
            deadline=Deadline(given, stream=True),
            use=lambda response: None,
            cancelled=threading.Event(),
        )
        return self._stream_of(log.open(), turn, given, live=False, on_close=on_close, on_end=lambda stream: None)

    # Reading

    def messages(self) -> list[Message]:
        """Return the messages of the active branch, system message first.

        Reference: GET {base}/api/v2/conversations/{id}
        """
        if self.id is None:
            return []
        state = self._read_state()
        turn = self._last_turn
        leaf = self._leaf
        if leaf is None and turn is not None and turn.generation_id is not None:
            answer = find_answer(state, turn.generation_id, parent_id=turn.parent_id, text=turn.text)
            leaf = answer.id if answer is not None else None
        path = path_to(state, leaf)
        return path or path_to(state, newest_leaf(state))

    def file_url(self, sha: str) -> str:
        """Return where a file of this conversation can be fetched, with this client's credentials."""
        if self.id is None:
            raise InvalidInputError("this conversation was never created; it has no files")
        return self.service.endpoints.file_url(self.id, sha)

    # Changing

    def rename(self, title: str) -> None:
        """Give the conversation another title, of 1 to 100 characters.

        Reference: PATCH {base}/api/v2/conversations/{id}
        """
        if not 1 <= len(title.strip()) <= 100:
            raise InvalidInputError("a title has 1 to 100 characters")
        self.service.read(self.service.endpoints.rename(self._existing_id(), title))
        self.title = title

    def set_model(self, name: str) -> None:
        """Let another LLM answer from now on.

        Raises:
            ModelNotFound: The server has no such LLM.

        Reference: PATCH {base}/api/v2/conversations/{id}
        """
        model = self.service.model(name).id
        if self.id is not None:
            self.service.read(self.service.endpoints.set_model(self.id, model))
        self.model = model

    def delete(self) -> None:
        """Delete the conversation from the server; this object then stands for none.

        Reference: DELETE {base}/api/v2/conversations/{id}
        """
        if self.id is not None:
            self.service.read(self.service.endpoints.delete(self.id))
            self._forget()

    def to_dict(self) -> dict[str, Any]:
        """Return what another process needs to go on, `Client.restore` takes it: ids only, no text and no secrets."""
        turn = self._last_turn
        return {
            "version": 1,
            "id": self.id,
            "model": self.model,
            "leaf": self._leaf,
            "generation_id": turn.generation_id if turn is not None else None,
            "parent_id": turn.parent_id if turn is not None else None,
        }

    @classmethod
    def from_dict(cls, service: ChatService, state: dict[str, Any]) -> Conversation:
        """Return the conversation that :meth:`to_dict` described.

        Raises:
            InvalidInputError: *state* is of a later version, or no such state.
        """
        if not isinstance(state, dict) or state.get("version") != 1:
            raise InvalidInputError("this is no state that Conversation.to_dict() of this release wrote")
        conversation = cls(service, state.get("id"), model=state.get("model"))
        conversation._leaf = state.get("leaf")
        if conversation.id is not None and state.get("generation_id"):
            conversation._last_turn = Turn(conversation.id, state["generation_id"], parent_id=state.get("parent_id"))
        return conversation

    # Inside a turn

    def _text_for(self, prompt: Prompt) -> str:
        if self.id is not None:
            return prompt.text
        if prompt.system is not None:
            if self.system_prompt is not None and self.system_prompt != prompt.system:
                raise InvalidInputError("the system prompt was given twice: as system_prompt and as a system message")
            self.system_prompt = prompt.system
        return prompt.folded()

    def _send(
        self, text: str, parent_id: str, parts: tuple[Part, ...], timeouts: Timeouts | None, on_close: OnClose
    ) -> ChatStream:
        given = self.service.timeouts(timeouts)
        turn = Turn(self._existing_id(), str(uuid.uuid4()), parent_id=parent_id, text=text)
        data = {
            "inputs": text,
            "id": parent_id,
            "is_retry": False,
            "generationId": turn.generation_id,
            "selectedMcpServerNames": [],  # left out, it would turn on every tool that the server has
        }
        wait = self._not_before - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        response, live = self._post(turn, data, parts, given)
        self._last_turn = turn
        self._leaf = None  # the stream carries no ids: what comes next hangs from the answer, found when needed
        return self._stream_of(response, turn, given, live=live, on_close=on_close, on_end=self._stream_ended)

    def _post(
        self, turn: Turn, data: dict[str, Any], parts: tuple[Part, ...], timeouts: Timeouts
    ) -> tuple[Response, bool]:
        """Return the answer and whether it is the live one, rather than the log of a run found by its id."""
        request = self.service.endpoints.send(turn.conversation_id, data, parts, timeouts)
        try:
            response = self.service.send(request)
        except (ConnectError, TransportTimeout) as error:
            if not error.sent:
                raise
            if isinstance(error, TransportTimeout) and error.deadline == "total":
                raise self._unknown_fate(turn, error) from error
            found = self._look_for(turn, timeouts, error)
            if found is not None:
                return found, False
            response = self.service.send(request)
        if response.content_type == "text/html":
            response.close()
            raise not_a_chat_server(request.url)
        return response, True

    def _look_for(self, turn: Turn, timeouts: Timeouts, error: TransportError) -> Response | None:
        """Return the log of a run whose message may have arrived; None if the server never saw it."""
        log = LogReader(
            self.service,
            turn,
            UpdateDecoder(),
            timeouts=timeouts,
            deadline=Deadline(timeouts, stream=True),
            use=lambda response: None,
            cancelled=threading.Event(),
        )
        for pause in _LOOKS:
            time.sleep(pause)  # a message that was read just now may not be stored yet
            try:
                state = self._read_state()
                assert turn.generation_id is not None
                if find_answer(state, turn.generation_id, parent_id=turn.parent_id, text=turn.text) is not None:
                    return log.open()
            except ConnectError:
                continue
            except HFClientError as trouble:
                raise self._unknown_fate(turn, trouble) from error
        try:
            self._read_state()
        except ConnectError:
            raise self._unknown_fate(turn, error) from error
        return None

    @staticmethod
    def _unknown_fate(turn: Turn, error: HFClientError) -> StreamInterrupted:
        return StreamInterrupted(
            f"the connection failed while the message was being sent ({error.message}), and the server cannot be asked "
            f"whether it arrived; later, client.conversation({turn.conversation_id!r}).attach({turn.generation_id!r}) "
            "finds the answer if it did",
            conversation_id=turn.conversation_id,
            generation_id=turn.generation_id,
        )

    def _stream_of(
        self, response: Response, turn: Turn, timeouts: Timeouts, *, live: bool, on_close: OnClose, on_end: Any
    ) -> ChatStream:
        stream = ChatStream(
            response,
            self,
            turn,
            timeouts=timeouts,
            live=live,
            on_close=on_close,
            on_end=on_end,
            on_event=self.service.on_event,
            fields={"model": self.model},
        )
        self._stream = weakref.ref(stream)
        return stream

    def _stream_ended(self, stream: ChatStream) -> None:
        self.title = stream.partial.title or self.title
        if stream.stop_unconfirmed:
            self._not_before = time.monotonic() + _STOP_MARK
        self._stream = None
        self._end_turn()
        if self.temporary:
            try:
                self.delete()
            except HFClientError as error:  # the answer is what was asked for; it must not be lost over this
                _log.warning("the temporary conversation %s could not be deleted: %s", self.id, error.message)

    def _take_turn(self, wait: float) -> None:
        if self._busy.acquire(blocking=False):
            self._busy_thread = threading.get_ident()
            return
        if self._busy_thread == threading.get_ident():
            raise ConversationBusy(
                "this thread has not read the previous answer of this conversation to its end; read it, or close it"
            )
        if not self._busy.acquire(timeout=max(0.0, wait)):
            raise ConversationBusy(f"another thread's answer in this conversation was not complete within {wait:g} s")
        self._busy_thread = threading.get_ident()

    def _end_turn(self) -> None:
        self._busy_thread = None
        if self._busy.locked():
            self._busy.release()

    # Small things

    def _read_state(self) -> ConversationState:
        data = self.service.read(self.service.endpoints.conversation(self._existing_id()))
        state = parse_conversation(data)
        self.title = state.title or self.title
        self.model = state.model or self.model
        return state

    def _existing_id(self) -> str:
        if self.id is None:
            raise InvalidInputError(
                "this conversation was never created on the server; send something or call create()"
            )
        return self.id

    def _forget(self) -> None:
        self.id = None
        self.title = None
        self._leaf = None
        self._last_turn = None

    @staticmethod
    def _check_on_close(on_close: str) -> None:
        if on_close not in ("stop", "detach"):
            raise InvalidInputError(f'on_close is "stop" or "detach", not {on_close!r}')
