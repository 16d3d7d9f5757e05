"""How a message leaves: one at a time for each conversation.

How it is posted exactly once is `posting.py`; how it waits for the answers before it, `runs.py`.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from hfclient.chat.conversations.posting import Poster, is_of_unknown_fate, may_have_arrived, pauses
from hfclient.chat.conversations.runs import Runs, lock_wait
from hfclient.chat.conversations.stopping import stop_in_background
from hfclient.chat.conversations.stream import ChatStream, OnClose
from hfclient.chat.servers.service import ChatService, shorter
from hfclient.chat.wire.messages import ConversationState, find_answer
from hfclient.chat.wire.tools import ElicitationAnswer, OnElicitation
from hfclient.chat.wire.turn import Turn, new_generation_id
from hfclient.errors import (
    APIStatusError,
    ConflictError,
    ConnectError,
    ConversationBusy,
    HFClientError,
    InvalidInputError,
    NotAChatServer,
    NotFoundError,
    StreamInterrupted,
    TransportError,
)
from hfclient.events import Elicitation
from hfclient.process.forks import reset_after_fork
from hfclient.transport import Cancellation, Part, Response, Timeouts

if TYPE_CHECKING:
    from hfclient.chat.conversations.conversation import Conversation

__all__ = ["SendOptions", "Sender"]

_log = logging.getLogger("hfclient")
_STOP_MARK = 5.0  # seconds in which a stop that found no run to stop would hit the next one
_STOP_LOOK = 0.3  # seconds between looks whether it did find it


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
        runs: What is known of the conversation's runs.
        last: The last turn that went out, or None.
    """

    def __init__(self, service: ChatService) -> None:
        self._service = service
        self._poster = Poster(service)
        self.runs = Runs(service)
        self.last: Turn | None = None
        self._stream: weakref.ref[ChatStream] | None = None  # a stream that nobody holds must be free to go
        self._not_before = 0.0
        self._reset_after_fork()
        reset_after_fork(self)

    def _reset_after_fork(self) -> None:
        # In a forked child: the answer that is being read is the parent's, who will not tell when it has ended.
        self._busy = threading.Lock()
        self._thread: int | None = None

    @property
    def stream(self) -> ChatStream | None:
        """The answer that is being read, or None."""
        return self._stream() if self._stream is not None else None

    def begin(self, wait: float) -> float:
        """Take the conversation's turn; whoever takes it ends it.

        Args:
            wait: Seconds to wait for it, as `checked_wait` returns them.

        Returns:
            When the wait is over, by `time.monotonic`.

        Raises:
            ConversationBusy: The previous answer is not complete: at once if this thread is to read it, else after
                *wait* seconds.
        """
        until = time.monotonic() + wait
        if not self._busy.acquire(blocking=False):
            if self._thread == threading.get_ident():
                raise ConversationBusy(
                    "this thread has not read the previous answer of this conversation to its end; read or close it first"
                )
            if not self._busy.acquire(timeout=lock_wait(wait)):
                raise ConversationBusy(
                    f"another thread's answer in this conversation was not complete within {wait:g} s"
                )
        self._thread = threading.get_ident()
        return until

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
        response, live = self.post(turn, data, parts, options)
        self.last = turn
        return self._stream_of(response, conversation, turn, options, live=live, on_end=on_end)

    def settle(
        self,
        conversation_id: str,
        until: float,
        *,
        cancellation: Cancellation | None = None,
        use: Callable[[Response], None] = lambda response: None,
    ) -> ConversationState:
        """Return the conversation once nothing of what came before can reach the next message; see `Runs.settle`."""
        self._let_stop_pass()
        return self.runs.settle(conversation_id, until, cancellation=cancellation, use=use)

    def answer(
        self, turn: Turn, question: Elicitation, answer: ElicitationAnswer, cancellation: Cancellation | None = None
    ) -> bool:
        """Tell the server the answer to a question; True if the run had ended and has to be gone on with.

        One whose fate is not known is given again: a question takes one answer, and refuses the second.
        """
        cancellation = cancellation or Cancellation()
        request = self._service.endpoints.answer(
            turn.conversation_id, question.elicitation_id, answer.action, answer.content
        )
        request = evolve(request, cancellation=cancellation)
        for pause in itertools.chain((0.0,), pauses(self._service.session.retry.resume)):
            cancellation.pause(pause)
            try:
                data = self._service.session.send(request).json()
            except ConflictError:
                if pause == 0.0:
                    raise
                return question.expires_at is None  # the first one had arrived; only a parked question has no deadline
            except (TransportError, APIStatusError) as error:
                if not is_of_unknown_fate(error):
                    raise
                trouble: HFClientError = error
                _log.info("conversation %s: %s; answering again", turn.conversation_id, error.message)
            else:
                return isinstance(data, dict) and data.get("resume") is True
        raise trouble

    def parked_turn(self, state: ConversationState, elicitation_id: str) -> tuple[Turn, dict[str, Any]]:
        """Return the turn, and its form's data, that goes on with the message in which a question was asked."""
        conversation_id = state.id
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
            response = self._poster.open_log(turn, options.timeouts, Cancellation())
        except NotAChatServer:
            self._service.version()  # raises if it is not a chat-ui of any version
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
        self.runs.note(stream.turn, over=stream.run_is_over)
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
        """Return the answer and whether it is the live one; see `Poster.post`.

        A message that may have arrived, but for whose answer nobody waits any more, is not left to be answered.
        """
        cancellation = cancellation or Cancellation()
        try:
            response, live = self._poster.post(turn, data, parts, options.timeouts, cancellation)
            if cancellation.requested:
                response.close()
                cancellation.check()
            return response, live
        except BaseException as error:
            if may_have_arrived(error):
                self.last = turn
                self.runs.note(turn, over=False)
                if options.on_close == "stop" and not isinstance(error, (ConnectError, StreamInterrupted)):
                    stop_in_background(self._service, turn.conversation_id, turn.generation_id, 0)
                    self._not_before = time.monotonic() + _STOP_MARK
            raise
