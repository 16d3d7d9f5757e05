"""`Run`: one turn on the server, posted exactly once even if it is unknown whether it arrived.

chat-ui stores a message before it answers, and the connection may break, or a gateway give up, in between. Each turn
therefore has an id of its own. It is sent again only if the transport knows that it cannot have arrived complete;
otherwise the conversation is searched for that id, for as long as ``Retry.resume`` says, because a busy server may store
it late. A message that is not found by then may still arrive, so the error says where its answer would be.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Iterator
from typing import Any

from attrs import evolve

from hfclient.chat.conversations.background import STOP_BUDGET, in_background
from hfclient.chat.conversations.options import TurnOptions
from hfclient.chat.servers.service import ChatService, shorter
from hfclient.chat.wire.delivery import fate_after
from hfclient.chat.wire.failures import not_a_chat_server
from hfclient.chat.wire.messages import find_answer
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
from hfclient.process.latch import Latch
from hfclient.transport import Cancellation, Clock, Deadline, Part, Response, Timeouts
from hfclient.transport.base import Headers
from hfclient.types import Message

__all__ = ["LOG_UNAVAILABLE", "Run", "log_end", "may_have_arrived"]

_log = logging.getLogger("hfclient")
_FIRST_LOOK = 0.2  # seconds before the first look for a message of unknown fate; doubled before each further one
_LONGEST_PAUSE = 2.0
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
        is_live: The response in hand is that of the message, not the log of the run.
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
        self.cancellation = cancellation or Cancellation()
        self.is_live = False
        self.is_over = False
        self.end_seen = False
        self.is_left = False
        self.stop_requested = False
        self.stop_unconfirmed = False
        self._stop_sent = Latch()

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
        timeouts = self.options.timeouts
        data = {**data, "generationId": self.turn.generation_id, **self.options.tools}
        request = self.service.endpoints.send(self.turn.conversation_id, data, parts, timeouts)
        deadline = Deadline(Clock(timeouts))
        try:
            response = self.service.session.send(evolve(request, cancellation=self.cancellation))
        except TransportError as error:
            if not error.sent:
                raise
            return self._find(error, deadline)
        except APIStatusError as error:
            fate = fate_after(error)
            if fate == "unknown":
                return self._find(error, deadline)
            found = self._find_now(deadline) if fate == "doubtful" else None
            if found is None:
                raise
            return found
        if not response.is_page():
            self.is_live = True
            return response
        page = response.read_start(4096).decode("utf-8", "replace")  # of a gateway, or of another kind of server
        found = self._find_now(deadline)
        if found is None:
            raise not_a_chat_server(request.url, page)
        return found

    def _find(self, error: HFClientError, deadline: Deadline) -> Response:
        """Return the log of the run if its message arrived; raise *error*, with the ids of the run, if it is not found."""
        _log.info("conversation %s: %s; looking for the message", self.turn.conversation_id, error.message)
        for pause in _pauses(self.service.session.retry.resume):
            left = deadline.remaining()
            if left is not None and pause >= left:
                break
            self.cancellation.pause(pause)
            try:
                if (found := self._look(deadline)) is not None:
                    return found
            except (TransportError, ServerError, ProtocolError) as trouble:
                _log.info("conversation %s cannot be read: %s", self.turn.conversation_id, trouble.message)
            except Cancelled:
                raise
            except HFClientError as refusal:  # the next look would be refused as well
                raise self._unknown_fate(refusal) from error
        if isinstance(error, TransportTimeout):
            error.conversation_id, error.generation_id = self.turn.conversation_id, self.turn.generation_id
            raise error
        raise self._unknown_fate(error) from error

    def _find_now(self, deadline: Deadline) -> Response | None:
        """Return the log of the run if its message did arrive, against expectation; None if not, or if that is unknown."""
        try:
            return self._look(deadline)
        except Cancelled:
            raise
        except HFClientError as trouble:
            _log.info("conversation %s cannot be read: %s", self.turn.conversation_id, trouble.message)
            return None

    def _look(self, deadline: Deadline) -> Response | None:
        if self.find_answer(shorter(self.service.session.timeouts, deadline.remaining())) is None:
            return None
        timeouts = shorter(self.options.timeouts, deadline.remaining())
        try:
            return self.open_log(timeouts=timeouts)
        except (NotFoundError, NotAChatServer):  # a server without logs: the reader notices that and asks for the message
            url = self.service.endpoints.resume(self.turn.conversation_id, self.turn.generation_id, 0, None).url
            return Response(200, Headers([]), _NoBody(), method="GET", url=url, deadline=Deadline(Clock(timeouts)))

    def _unknown_fate(self, error: HFClientError) -> StreamInterrupted:
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

    def open_log(self, after: int = 0, timeouts: Timeouts | None = None) -> Response:
        """Return the log of the run, from the event behind number *after* on.

        Raises:
            NotFoundError, NotAChatServer: The server keeps no logs.
        """
        turn = self.turn
        request = self.service.endpoints.resume(
            turn.conversation_id, turn.generation_id, after, timeouts or self.options.timeouts
        )
        response = self.service.session.send(evolve(request, cancellation=self.cancellation))
        if response.content_type != "text/event-stream":  # the page of an old server for an unknown path
            response.close()
            raise NotFoundError("the server has no event log", status=response.status, url=response.url)
        return response

    def find_answer(self, timeouts: Timeouts | None = None) -> Message | None:
        """Return the answer as the conversation has it now; None if the server does not have this run."""
        return find_answer(self.service.read_state(self.turn.conversation_id, self.cancellation, timeouts), self.turn)

    # Questions

    def answer(self, question: Elicitation, answer: ElicitationAnswer) -> bool:
        """Send the answer to a question; True if the run had ended and another one has to continue it.

        If it is unknown whether the answer arrived, it is sent again: a question takes one answer and refuses the second.
        """
        request = self.service.endpoints.answer(
            self.turn.conversation_id, question.elicitation_id, answer.action, answer.content
        )
        request = evolve(request, cancellation=self.cancellation)
        for pause in itertools.chain((0.0,), _pauses(self.service.session.retry.resume)):
            self.cancellation.pause(pause)
            try:
                data = self.service.session.send(request).json()
            except ConflictError:
                if pause == 0.0:
                    raise
                return question.expires_at is None  # the first one had arrived; only a parked question has no deadline
            except (TransportError, APIStatusError) as error:
                if not _has_unknown_fate(error):
                    raise
                trouble: HFClientError = error
                _log.info("conversation %s: %s; answering again", self.turn.conversation_id, error.message)
            else:
                return isinstance(data, dict) and data.get("resume") is True
        raise trouble

    # Stopping

    def stop(self, seen: int, budget: float = STOP_BUDGET) -> None:
        """Stop the run.

        Args:
            seen: UTF-16 units of its text that the reader has got: the server cuts the text there.
            budget: Most seconds that this may take.

        Raises:
            TransportError, APIStatusError: The server could not be reached, or refused.
        """
        self.stop_requested = True
        timeouts = Timeouts(connect=budget / 2, idle=budget, total=budget)
        request = self.service.endpoints.stop(
            self.turn.conversation_id, self.turn.generation_id or "", seen, timeouts
        )
        self.service.session.send(request).close()

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


def _has_unknown_fate(error: TransportError | APIStatusError) -> bool:
    """Whether the request that failed with *error* may have arrived all the same."""
    return error.sent if isinstance(error, TransportError) else fate_after(error) == "unknown"


def _pauses(patience: float | None) -> Iterator[float]:
    """Yield the seconds to wait before each further look, until *patience* seconds have passed; two looks at least.

    Args:
        patience: ``Retry.resume``; None never ends.
    """
    until = time.monotonic() + (math.inf if patience is None else patience)
    pause, looks = _FIRST_LOOK, 0
    while looks < 2 or time.monotonic() < until:
        yield pause
        pause, looks = min(_LONGEST_PAUSE, pause * 2), looks + 1


def log_end(data: bytes) -> str:
    """Return how a run ended, from the last frame of its log: ``completed``, ``interrupted``, ``error``, `LOG_UNAVAILABLE`."""
    update = decode_update(data)
    return str(update.get("status") or "") if isinstance(update, dict) else ""


class _NoBody:
    """The body of a response that has none."""

    def read_some(self) -> bytes:
        return b""

    def close(self) -> None:
        """Do nothing: there is no connection."""

    abort = close
