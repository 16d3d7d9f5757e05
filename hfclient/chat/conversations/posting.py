"""Posting a turn exactly once, also where it is unknown whether it arrived.

chat-ui stores a message before it answers, and the connection may break, or a gateway give up, in between. Each turn
therefore carries an id of its own. It is sent again only if the transport knows that it cannot have arrived whole;
otherwise the conversation is asked for that id, for as long as ``Retry.resume`` says, because a busy server may store it
late. What is not found by then may still arrive, so it is an error that says where the answer would be.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from typing import Any

from attrs import evolve

from hfclient.chat.conversations.resume import LogReader
from hfclient.chat.servers.service import ChatService, shorter
from hfclient.chat.wire.delivery import fate_after
from hfclient.chat.wire.failures import not_a_chat_server
from hfclient.chat.wire.messages import find_answer
from hfclient.chat.wire.turn import Turn
from hfclient.chat.wire.updates import UpdateDecoder
from hfclient.errors import (
    APIStatusError,
    Cancelled,
    HFClientError,
    NotAChatServer,
    NotFoundError,
    ProtocolError,
    ServerError,
    StreamInterrupted,
    TransportError,
    TransportTimeout,
)
from hfclient.transport import Cancellation, Clock, Deadline, Part, Response, Timeouts

__all__ = ["Poster", "is_of_unknown_fate", "may_have_arrived", "pauses"]

_log = logging.getLogger("hfclient")
_FIRST_LOOK = 0.2  # seconds before the first look for a message of unknown fate; doubled before each further one
_LONGEST_PAUSE = 2.0


class Poster:
    """Posts the turns of one conversation.

    Args:
        service: The server.
    """

    def __init__(self, service: ChatService) -> None:
        self._service = service

    def post(
        self,
        turn: Turn,
        data: dict[str, Any],
        parts: tuple[Part, ...],
        timeouts: Timeouts,
        cancellation: Cancellation,
    ) -> tuple[Response, bool]:
        """Return the answer and whether it is the live one, rather than the log of a run that was found by its id.

        Raises:
            StreamInterrupted, TransportTimeout: Whether the message arrived is not known; ``conversation_id`` and
                ``generation_id`` on the error are what `Conversation.attach` takes.
            APIStatusError, TransportError: It did not arrive, or was refused.
        """
        request = self._service.endpoints.send(turn.conversation_id, data, parts, timeouts)
        deadline = Deadline(Clock(timeouts))
        try:
            response = self._service.session.send(evolve(request, cancellation=cancellation))
        except TransportError as error:
            if not error.sent:
                raise
            return self._find(turn, timeouts, deadline, error, cancellation), False
        except APIStatusError as error:
            fate = fate_after(error)
            if fate == "unknown":
                return self._find(turn, timeouts, deadline, error, cancellation), False
            found = self._find_now(turn, timeouts, deadline, cancellation) if fate == "doubtful" else None
            if found is None:
                raise
            return found, False
        if not response.is_page():
            return response, True
        page = response.read_start(4096).decode("utf-8", "replace")  # of something in front, or of no chat-ui at all
        found = self._find_now(turn, timeouts, deadline, cancellation)
        if found is None:
            raise not_a_chat_server(request.url, page)
        return found, False

    def open_log(self, turn: Turn, timeouts: Timeouts, cancellation: Cancellation) -> Response:
        """Return the log of a run, from its first event on."""
        return self._log(turn, timeouts, cancellation).open()

    # Messages of unknown fate

    def _find(
        self, turn: Turn, timeouts: Timeouts, deadline: Deadline, error: HFClientError, cancellation: Cancellation
    ) -> Response:
        """Return the log of a run whose message may have arrived; raise the error that tells of that if it is not there."""
        _log.info("conversation %s: %s; looking for the message", turn.conversation_id, error.message)
        for pause in pauses(self._service.session.retry.resume):
            left = deadline.remaining()
            if left is not None and pause >= left:
                break
            cancellation.pause(pause)
            try:
                if (found := self._look(turn, timeouts, deadline, cancellation)) is not None:
                    return found
            except (TransportError, ServerError, ProtocolError) as trouble:
                _log.info("conversation %s cannot be read: %s", turn.conversation_id, trouble.message)
            except Cancelled:
                raise
            except HFClientError as refusal:  # nor will it be let in at the next look
                raise self._unknown_fate(turn, refusal) from error
        if isinstance(error, TransportTimeout):
            error.conversation_id, error.generation_id = turn.conversation_id, turn.generation_id
            raise error
        raise self._unknown_fate(turn, error) from error

    def _find_now(
        self, turn: Turn, timeouts: Timeouts, deadline: Deadline, cancellation: Cancellation
    ) -> Response | None:
        """Return the log of a run whose message hardly arrived; None if it did not, or that is unknown."""
        try:
            return self._look(turn, timeouts, deadline, cancellation)
        except Cancelled:
            raise
        except HFClientError as trouble:
            _log.info("conversation %s cannot be read: %s", turn.conversation_id, trouble.message)
            return None

    def _look(
        self, turn: Turn, timeouts: Timeouts, deadline: Deadline, cancellation: Cancellation
    ) -> Response | None:
        patience = shorter(self._service.session.timeouts, deadline.remaining())
        state = self._service.read_state(turn.conversation_id, cancellation, patience)
        if find_answer(state, turn) is None:
            return None
        log = self._log(turn, shorter(timeouts, deadline.remaining()), cancellation)
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
            deadline=Deadline(Clock(timeouts), stream=True),
            use=lambda response: None,
            cancellation=cancellation,
        )

    @staticmethod
    def _unknown_fate(turn: Turn, error: HFClientError) -> StreamInterrupted:
        return StreamInterrupted(
            f"whether the message arrived is not known ({error.message}), so it is not sent again; if it did, "
            f"client.conversation({turn.conversation_id!r}).attach({turn.generation_id!r}) finds the answer",
            conversation_id=turn.conversation_id,
            generation_id=turn.generation_id,
            method=getattr(error, "method", None),
            url=getattr(error, "url", None),
        )


def pauses(patience: float | None) -> Iterator[float]:
    """Yield the seconds to wait before each further look, until *patience* seconds have passed; two looks at least.

    Args:
        patience: ``Retry.resume``; None never ends.
    """
    until = time.monotonic() + (math.inf if patience is None else patience)
    pause, looks = _FIRST_LOOK, 0
    while looks < 2 or time.monotonic() < until:
        yield pause
        pause, looks = min(_LONGEST_PAUSE, pause * 2), looks + 1


def is_of_unknown_fate(error: TransportError | APIStatusError) -> bool:
    """Whether what *error* answers may have arrived all the same."""
    return error.sent if isinstance(error, TransportError) else fate_after(error) == "unknown"


def may_have_arrived(error: BaseException) -> bool:
    """Whether a message whose sending ended like this may be on the server."""
    if isinstance(error, TransportError):
        return error.sent
    return isinstance(error, Cancelled) or not isinstance(error, Exception)  # Ctrl-C, say
