"""`Run`: one turn on the server, posted exactly once even if it is unknown whether it arrived.

chat-ui stores a message before it answers, and the connection may break, or a gateway give up, in between. Each turn
therefore has an id of its own. It is sent again only if the transport knows that it cannot have arrived complete;
otherwise the conversation is searched for that id, for as long as ``Retry.resume`` says, because a busy server may
store it late. A message that is not found by then may still arrive, so the error names the conversation and the run.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from attrs import evolve

from hfclient.chat.conversations.background import STOP_BUDGET, in_background
from hfclient.chat.conversations.options import TurnOptions
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.delivery import delivery_after
from hfclient.chat.wire.messages import find_answer
from hfclient.chat.wire.server_errors import not_a_chat_server
from hfclient.chat.wire.tools import ElicitationAnswer
from hfclient.chat.wire.turn import Turn
from hfclient.chat.wire.updates import decode_update
from hfclient.errors import (
    APIStatusError,
    Cancelled,
    ConflictError,
    HFClientError,
    NotAChatServer,
    NotFoundError,
    ProtocolError,
    ServerError,
    StreamInterrupted,
    TransportError,
    TransportTimeout,
)
from hfclient.events import Elicitation
from hfclient.process.once_flag import OnceFlag
from hfclient.transport import Cancellation, Clock, Deadline, Part, Polling, Response, Timeouts, retrying
from hfclient.transport.response import Headers
from hfclient.transport.scope import no_scope
from hfclient.types import Message

__all__ = ["LOG_UNAVAILABLE", "Run", "log_end", "may_have_arrived"]

_log = logging.getLogger("hfclient")
_FIRST_PAUSE = 0.2  # seconds before the first search for a message; doubled before each further one
_MAX_PAUSE = 2.0
LOG_UNAVAILABLE = ("gone", "unknown")
"""Ends of the log (see `log_end`) of a run that the server does not know, or no longer knows."""


class Run:
    """One turn on the server, which it calls a generation.

    Args:
        service: The server.
        turn: The ids of the turn.
        options: Options of the call.
        cancellation: Ends every wait; a new one by default.

    Attributes:
        clock: The clock of the call, started now.
        is_live: The current response is that of the message, not the log of the run.
        is_over: The run is known to have ended: the end of its body or of its log has been read.
        stop_requested: The server was asked to stop the run.
        stop_unconfirmed: The same, without a sign that the stop ended this run: it may hit the next one.
        end_seen: The server ended the body of the answer.
        is_left: The caller no longer reads the answer.
    """

    def __init__(
        self, service: ChatService, turn: Turn, options: TurnOptions, cancellation: Cancellation | None = None
    ) -> None:
        self.service = service
        self.turn = turn
        self.options = options
        self.clock = Clock(options.timeouts, cancellation)
        self.is_live = False
        self.is_over = False
        self.end_seen = False
        self.is_left = False
        self.stop_requested = False
        self.stop_unconfirmed = False
        self._stop_sent = OnceFlag()
        self._stopped_at: int | None = None

    def __str__(self) -> str:
        return f"conversation {self.turn.conversation_id}"

    # Posting

    def post(self, data: dict[str, Any], parts: tuple[Part, ...] = ()) -> Response:
        """Send the message and return its answer: the live one, or the log of the run if that was found by its id.

        Args:
            data: Fields of the form that say where the message goes.
            parts: Files.

        Raises:
            StreamInterrupted, TransportTimeout: It is not known whether the message arrived; ``conversation_id`` and
                ``generation_id`` on the error are what `Conversation.attach` takes.
            APIStatusError, TransportError: It did not arrive, or was refused.
        """
        data = {**data, "generationId": self.turn.generation_id, **self.options.tools}
        request = self.service.endpoints.send(self.turn.conversation_id, data, parts, self.clock)
        try:
            response = self.service.session.send(request)
        except TransportError as error:
            if not error.sent:
                raise
            return self._find(error)
        except APIStatusError as error:
            delivery = delivery_after(error)
            if delivery == "unknown":
                return self._find(error)
            found = self._find_now() if delivery == "unlikely" else None
            if found is None:
                raise
            return found
        if not response.is_page():
            self.is_live = True
            return response
        page = response.read_start(4096).decode("utf-8", "replace")  # of a gateway, or of another kind of server
        found = self._find_now()
        if found is None:
            raise not_a_chat_server(request.url, page)
        return found

    def _find(self, error: HFClientError) -> Response:
        """Return the log of the run if its message arrived; raise *error*, with the ids of the run, if it is not found."""
        _log.info("%s: %s; looking for the message", self, error.message)
        try:
            self.clock.pause(_FIRST_PAUSE)
            for attempt in retrying(self._polling(), self.clock, on=_may_pass, what=self):
                with attempt:
                    if (found := self._look()) is not None:
                        return found
                    attempt.again()
        except Cancelled:
            raise
        except HFClientError as failure:
            if not _may_pass(failure):  # a refusal: the next request would be refused as well
                raise self._unknown_delivery(failure) from error
        if isinstance(error, TransportTimeout):
            error.conversation_id, error.generation_id = self.turn.conversation_id, self.turn.generation_id
            raise error
        raise self._unknown_delivery(error) from error

    def _find_now(self) -> Response | None:
        """Return the log of the run if its message arrived after all; None if not, or if that is unknown."""
        try:
            return self._look()
        except Cancelled:
            raise
        except HFClientError as failure:
            _log.info("%s cannot be read: %s", self, failure.message)
            return None

    def _look(self) -> Response | None:
        if self.find_answer() is None:
            return None
        try:
            return self.open_log()
        except (NotFoundError, NotAChatServer):  # a server without logs: the reader notices that and asks for the message
            url = self.service.endpoints.resume(self.turn.conversation_id, self.turn.generation_id, 0, self.clock).url
            return Response(200, Headers([]), _EmptyBody(), method="GET", url=url, deadline=Deadline(self.clock))

    def _polling(self, at_least: int = 2) -> Polling:
        patience = self.service.session.retry.resume
        return Polling(2 * _FIRST_PAUSE, max_wait=_MAX_PAUSE, patience=patience, at_least=at_least)

    def _unknown_delivery(self, error: HFClientError) -> StreamInterrupted:
        conversation_id, generation_id = self.turn.conversation_id, self.turn.generation_id
        return StreamInterrupted(
            f"it is not known whether the message arrived ({error.message}), so it is not sent again; if it did, "
            f"client.conversation({conversation_id!r}).attach({generation_id!r}) returns the answer",
            conversation_id=conversation_id,
            generation_id=generation_id,
            method=getattr(error, "method", None),
            url=getattr(error, "url", None),
        )

    # Reading

    def open_log(self, after: int = 0) -> Response:
        """Return the log of the run, from the event behind number *after* on.

        Raises:
            NotFoundError, NotAChatServer: The server keeps no logs.
        """
        request = self.service.endpoints.resume(self.turn.conversation_id, self.turn.generation_id, after, self.clock)
        response = self.service.session.send(request)
        if response.content_type != "text/event-stream":  # the page of an old server for an unknown path
            response.close()
            raise NotFoundError("the server has no event log", status_code=response.status, url=response.url)
        return response

    def find_answer(self) -> Message | None:
        """Return the answer as the conversation has it now; None if the server does not have this run."""
        clock = self.clock.part(self.service.session.timeouts)
        return find_answer(self.service.read_state(self.turn.conversation_id, clock), self.turn)

    # Questions

    def answer(self, question: Elicitation, answer: ElicitationAnswer) -> bool:
        """Send the answer to a question; True if the run had ended and another one has to continue it.

        If it is unknown whether the answer arrived, it is sent again: a question takes one answer and refuses the second.
        """
        clock = self.clock.part(self.service.session.timeouts)
        request = self.service.endpoints.answer(
            self.turn.conversation_id, question.elicitation_id, answer.action, answer.content
        )
        for attempt in retrying(self._polling(at_least=3), clock, on=_has_unknown_delivery, what=self):
            with attempt:
                try:
                    data = self.service.session.send(evolve(request, clock=clock)).json()
                except ConflictError:
                    if attempt.number == 1:
                        raise
                    return question.expires_at is None  # the first one had arrived; only a parked question has no deadline
        return isinstance(data, dict) and data.get("resume") is True

    # Stopping

    def stop(self, seen: int, budget: float = STOP_BUDGET) -> None:
        """Stop the run.

        Args:
            seen: UTF-16 units of its text that the reader has got: the server cuts the text there.
            budget: Maximum seconds that this may take.

        Raises:
            TransportError, APIStatusError: The server could not be reached, or refused.
        """
        self.stop_requested = True
        # While a stop is on its way, another thread may read on and leave the stream: that sends no second stop. One that is asked for does not
        # move the place of the first.
        is_first = self._stop_sent.set()
        seen = self._stopped_at = seen if (first := self._stopped_at) is None else first
        try:
            with no_scope():
                clock = Clock(Timeouts(connect=budget / 2, idle=budget, total=budget))
                request = self.service.endpoints.stop(self.turn.conversation_id, self.turn.generation_id or "", seen, clock)
                self.service.session.send(request).close()
        except BaseException:
            self._stopped_at = None
            if is_first:
                self._stop_sent = OnceFlag()  # leaving the stream tries again
            raise

    def try_stop(self, seen: int, budget: float = STOP_BUDGET) -> None:
        """Stop the run; a failure is logged."""
        try:
            self.stop(seen, budget)
        except HFClientError as error:
            _log.info("the generation could not be stopped: %s", error.message)

    def stop_in_background(self, seen: int) -> threading.Thread | None:
        """Stop the run in the returned thread, the first time; see `in_background`."""
        self.stop_requested = True
        return in_background(self.try_stop, seen) if self._stop_sent.set() else None


def may_have_arrived(error: BaseException) -> bool:
    """Whether a message whose sending raised *error* may be on the server."""
    if isinstance(error, TransportError):
        return error.sent
    return isinstance(error, Cancelled) or not isinstance(error, Exception)  # Ctrl-C, say


def _has_unknown_delivery(error: HFClientError) -> bool:
    """Whether the request that failed with *error* may have arrived."""
    if isinstance(error, TransportError):
        return error.sent
    return isinstance(error, APIStatusError) and delivery_after(error) == "unknown"


def _may_pass(error: HFClientError) -> bool:
    """Whether the conversation may be readable at the next look."""
    return isinstance(error, (TransportError, ServerError, ProtocolError))


def log_end(data: bytes) -> str:
    """Return how a run ended, from the last frame of its log: ``completed``, ``interrupted``, ``error``, `LOG_UNAVAILABLE`."""
    update = decode_update(data)
    return str(update.get("status") or "") if isinstance(update, dict) else ""


class _EmptyBody:
    """The body of a response that has none."""

    can_tick = True

    def read_some(self) -> bytes:
        return b""

    def close(self) -> None:
        """Do nothing: there is no connection."""

    abort = close
