"""How a message leaves: one at a time for each conversation, and each exactly once.

chat-ui rewrites the whole conversation when it saves, so two sends at once would lose one of them; and it stores a
message before it answers, so a connection that breaks leaves open whether the message arrived. Each send therefore
carries an id of its own, and what may have arrived is looked up by that id before anything is repeated.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from hfclient.chat.conversations.resume import LogReader
from hfclient.chat.conversations.stopping import stop_in_background
from hfclient.chat.conversations.stream import ChatStream, OnClose
from hfclient.chat.servers.service import ChatService, shorter
from hfclient.chat.wire.failures import not_a_chat_server
from hfclient.chat.wire.messages import find_answer
from hfclient.chat.wire.tools import Answer, OnElicitation
from hfclient.chat.wire.turn import Turn, new_generation_id
from hfclient.chat.wire.updates import UpdateDecoder
from hfclient.errors import (
    Cancelled,
    ConnectError,
    ConversationBusy,
    HFClientError,
    InvalidInputError,
    NotAChatServer,
    NotFoundError,
    StreamInterrupted,
    TransportTimeout,
)
from hfclient.forks import renew_in_children
from hfclient.transport import Cancellation, Deadline, Part, Response, Timeouts

if TYPE_CHECKING:
    from hfclient.chat.conversations.conversation import Conversation

__all__ = ["SendOptions", "Sender"]

_log = logging.getLogger("hfclient")
_STOP_MARK = 5.0  # seconds in which a stop that found no run to stop would hit the next one
_STOP_LOOK = 0.3  # seconds between looks whether it did find it
_LOOKS = (0.2, 0.5, 1.0)  # pauses before looking for a message of unknown fate: it may be read but not stored yet


@frozen
class SendOptions:
    """How one answer is read, checked when it is made.

    Attributes:
        timeouts: Deadlines of the turn.
        on_close: ``"stop"`` or ``"detach"``.
        on_elicitation: Answers what tools ask, or None to leave that to the reader of the events.
        tools: The fields of the send that select tools.
    """

    timeouts: Timeouts
    on_close: OnClose = "stop"
    on_elicitation: OnElicitation | None = None
    tools: dict[str, Any] = field(factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.on_close not in ("stop", "detach"):
            raise InvalidInputError(f'on_close is "stop" or "detach", not {self.on_close!r}')


class Sender:
    """The sends of one conversation.

    Attributes:
        last: The last turn that went out, or None.
    """

    def __init__(self, service: ChatService) -> None:
        self._service = service
        self.last: Turn | None = None
        self._stream: weakref.ref[ChatStream] | None = None  # a stream that nobody holds must be free to go
        self._not_before = 0.0
        self._renew()
        renew_in_children(self)

    def _renew(self) -> None:
        # In a forked child: the answer that is being read is the parent's, who will not tell when it has ended.
        self._busy = threading.Lock()
        self._thread: int | None = None

    @property
    def stream(self) -> ChatStream | None:
        """The answer that is being read, or None."""
        return self._stream() if self._stream is not None else None

    def begin(self, wait: float) -> None:
        """Take the conversation's turn; whoever takes it ends it.

        Raises:
            ConversationBusy: The previous answer is not complete: at once if this thread is to read it, else after
                *wait* seconds.
        """
        if not self._busy.acquire(blocking=False):
            if self._thread == threading.get_ident():
                raise ConversationBusy(
                    "this thread has not read the previous answer of this conversation to its end; read or close it first"
                )
            if not self._busy.acquire(timeout=max(0.0, wait)):
                raise ConversationBusy(
                    f"another thread's answer in this conversation was not complete within {wait:g} s"
                )
        self._thread = threading.get_ident()

    def end(self) -> None:
        """Give the turn back."""
        self._thread = None
        if self._busy.locked():
            self._busy.release()

    def send(
        self,
        conversation: Conversation,
        turn: Turn,
        data: dict[str, Any],
        parts: tuple[Part, ...],
        options: SendOptions,
        on_end: Callable[[ChatStream], object],
    ) -> ChatStream:
        """Send one turn, exactly once, and return its answer."""
        self._let_stop_pass()
        response, live = self.post(turn, data, parts, options)
        self.last = turn
        return self._stream_of(response, conversation, turn, options, live=live, on_end=on_end)

    def answer(self, turn: Turn, elicitation_id: str, answer: Answer, cancellation: Cancellation | None = None) -> bool:
        """Tell the server the answer to a question; True if the run had ended and has to be gone on with."""
        request = self._service.endpoints.answer(turn.conversation_id, elicitation_id, answer.action, answer.content)
        data = self._service.send(evolve(request, cancellation=cancellation)).json()
        return isinstance(data, dict) and data.get("resume") is True

    def parked_turn(
        self, conversation_id: str, elicitation_id: str, cancellation: Cancellation | None = None
    ) -> tuple[Turn, dict[str, Any]]:
        """Return the turn, and its form's data, that goes on with the message in which a question was asked."""
        state = self._service.read_state(conversation_id, cancellation)
        answers = [message for message in reversed(state.messages) if message.role == "assistant"]
        parked = next((message for message in answers if elicitation_id in str(message.raw.get("updates"))), None)
        message = parked or (answers[0] if answers else None)
        if message is None:
            raise InvalidInputError(f"conversation {conversation_id} holds no answer that waits for this question")
        turn = Turn(conversation_id, new_generation_id(), message_id=message.id)
        return turn, {
            "id": message.id,
            "resumeElicitationId": elicitation_id,
            "generationId": turn.generation_id,
        }

    def attach(self, conversation: Conversation, turn: Turn, options: SendOptions) -> ChatStream:
        """Return the answer of a run that was begun elsewhere, from its first event."""
        try:
            response = self._log(turn, options.timeouts, Cancellation()).open()
        except NotAChatServer:
            self._service.generation()  # raises if it is indeed none, of any age
            raise NotFoundError(
                "this server is older than July 2026 and keeps no log of its runs; messages() has the answer once it is complete",
                status=404,
            ) from None
        return self._stream_of(response, conversation, turn, options, live=False, on_end=lambda stream: None)

    def ended(self, stream: ChatStream) -> None:
        """Note how *stream* ended and give the turn back."""
        if stream.stop_unconfirmed:
            self._not_before = time.monotonic() + _STOP_MARK
        self._stream = None
        self.end()

    def _stream_of(
        self,
        response: Response,
        conversation: Conversation,
        turn: Turn,
        options: SendOptions,
        *,
        live: bool,
        on_end: Callable[[ChatStream], object],
    ) -> ChatStream:
        stream = ChatStream(response, conversation, turn, sender=self, options=options, live=live, on_end=on_end)
        self._stream = weakref.ref(stream)
        return stream

    def _let_stop_pass(self) -> None:
        """Wait until a stop of unknown effect can hit nobody else: when the run that it was for says so, or in time."""
        while (wait := self._not_before - time.monotonic()) > 0:
            time.sleep(min(wait, _STOP_LOOK))
            if self.last is None:
                continue
            patience = shorter(self._service.session.timeouts, wait)  # whoever is silent is not worth more
            try:
                answer = find_answer(self._service.read_state(self.last.conversation_id, timeouts=patience), self.last)
            except HFClientError:
                continue
            if answer is not None and answer.interrupted:
                self._not_before = 0.0

    # Exactly once

    def post(
        self,
        turn: Turn,
        data: dict[str, Any],
        parts: tuple[Part, ...],
        options: SendOptions,
        cancellation: Cancellation | None = None,
    ) -> tuple[Response, bool]:
        """Return the answer and whether it is the live one, rather than the log of a run that was found by its id.

        A message that may have arrived, but for whose answer nobody waits any more, is not left to be answered.
        """
        cancellation = cancellation or Cancellation()
        try:
            response, live = self._post(turn, data, parts, options.timeouts, cancellation)
            if cancellation.requested:
                response.close()
                cancellation.check()
            return response, live
        except BaseException as error:
            if options.on_close == "stop" and _leaves_a_run(error):
                stop_in_background(self._service, turn.conversation_id, turn.generation_id, 0)
                self.last, self._not_before = turn, time.monotonic() + _STOP_MARK
            raise

    def _post(
        self,
        turn: Turn,
        data: dict[str, Any],
        parts: tuple[Part, ...],
        timeouts: Timeouts,
        cancellation: Cancellation,
    ) -> tuple[Response, bool]:
        request = self._service.endpoints.send(turn.conversation_id, data, parts, timeouts)
        request = evolve(request, cancellation=cancellation)
        for last_try in (False, True):
            try:
                response = self._service.send(request)
                break
            except (ConnectError, TransportTimeout) as error:
                if not error.sent or (isinstance(error, TransportTimeout) and error.deadline == "total"):
                    raise
                found = self._look_for(turn, timeouts, error, cancellation)
                if found is not None:
                    return found, False
                if isinstance(error, TransportTimeout):  # a server that is slow may store the message yet
                    raise
                if last_try:
                    raise self._unknown_fate(turn, error) from error
        if response.is_page():
            raise not_a_chat_server(request.url, response.read_start(4096).decode("utf-8", "replace"))
        return response, True

    def _look_for(
        self, turn: Turn, timeouts: Timeouts, error: HFClientError, cancellation: Cancellation
    ) -> Response | None:
        """Return the log of a run whose message may have arrived; None if the server never saw it."""
        trouble: HFClientError | None = None
        for pause in _LOOKS:
            cancellation.pause(pause)
            try:
                trouble = None
                if find_answer(self._service.read_state(turn.conversation_id, cancellation), turn) is not None:
                    return self._open_log(turn, timeouts, cancellation)
            except ConnectError as again:
                trouble = again
            except Cancelled:
                raise
            except HFClientError as other:
                raise self._unknown_fate(turn, other) from error
        if trouble is not None:
            raise self._unknown_fate(turn, error) from error
        return None

    def _open_log(self, turn: Turn, timeouts: Timeouts, cancellation: Cancellation) -> Response:
        log = self._log(turn, timeouts, cancellation)
        try:
            return log.open()
        except (NotFoundError, NotAChatServer):
            return log.nothing()  # a server without logs: the reader will find that out and ask for the message

    def _log(self, turn: Turn, timeouts: Timeouts, cancellation: Cancellation) -> LogReader:
        return LogReader(
            self._service,
            turn,
            UpdateDecoder(limit=self._service.session.limits.line),
            timeouts=timeouts,
            deadline=Deadline(timeouts, stream=True),
            use=lambda response: None,
            cancellation=cancellation,
        )

    @staticmethod
    def _unknown_fate(turn: Turn, error: HFClientError) -> StreamInterrupted:
        return StreamInterrupted(
            f"the connection failed while the message was being sent ({error.message}), and the server cannot be asked "
            f"whether it arrived; later, client.conversation({turn.conversation_id!r}).attach({turn.generation_id!r}) "
            "finds the answer if it did",
            conversation_id=turn.conversation_id,
            generation_id=turn.generation_id,
        )


def _leaves_a_run(error: BaseException) -> bool:
    """Whether a send that ended like this may have begun a run that nobody asks after."""
    if isinstance(error, TransportTimeout):
        return error.sent
    return isinstance(error, Cancelled) or not isinstance(error, Exception)  # Ctrl-C, a worker told to go
