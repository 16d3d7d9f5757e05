"""A stream that broke goes on, from exactly where it broke.

chat-ui writes every event of a run into a log that anybody with the same session can read, during and after the run:
``GET /conversation/{id}/stream``. The live stream carries no numbers, so the log is read from its start, and as much text
and as many other events as were already taken are skipped. In the log, tokens of 200 ms are merged into one, so text is
counted in UTF-16 units and not in tokens. A server without the log is asked for the finished message instead.

Reference: docs/protocol/huggingchat ("resume"); chat-ui src/routes/conversation/[id]/stream, seen 2026-11-21.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from hfclient.chat.messages import find_answer
from hfclient.chat.service import ChatService, shorter
from hfclient.chat.turn import Turn
from hfclient.chat.updates import UpdateDecoder
from hfclient.errors import (
    Cancelled,
    ConnectError,
    HFClientError,
    NotAChatServer,
    NotFoundError,
    ProtocolError,
    ServerError,
    StreamInterrupted,
    TransportTimeout,
)
from hfclient.events import AnyEvent
from hfclient.frames import SSEParser, excerpt
from hfclient.surrogates import skip_utf16, utf16_length
from hfclient.transport import Deadline, Response, Timeouts
from hfclient.types import Message

__all__ = ["LogReader"]

_FAILURES = 6  # reconnections in a row that bring nothing new; with their pauses some 12 s
_LONGEST_PAUSE = 4.0
_POLL = 1.0  # seconds between looks at the conversation of a server without the log


class LogReader:
    """Follows the log of one run into a decoder that may have had a part of it already.

    Args:
        service: The server.
        turn: The run.
        decoder: Gets what it has not had yet.
        timeouts: Of the call.
        deadline: The call's clocks: what is left of them holds for everything here too.
        use: Told each response that is opened, so that it can be closed and cancelled from outside.
        cancelled: Ends every wait at once.
    """

    def __init__(
        self,
        service: ChatService,
        turn: Turn,
        decoder: UpdateDecoder,
        *,
        timeouts: Timeouts,
        deadline: Deadline,
        use: Callable[[Response], None],
        cancelled: threading.Event,
    ) -> None:
        self._service = service
        self._turn = turn
        self._decoder = decoder
        self._timeouts = timeouts
        self._deadline = deadline
        self._use = use
        self._cancelled = cancelled
        self._last = 0  # number of the last event read from the log
        self._skip_units = 0
        self._skip_others = 0
        self._end: str | None = None

    def start_after(self, decoder: UpdateDecoder) -> None:
        """Skip what *decoder* has taken so far when the log is read."""
        self._skip_units = decoder.text_units
        self._skip_others = decoder.others

    def open(self) -> Response:
        """Return the log's answer from the last event on."""
        request = self._service.endpoints.resume(
            self._turn.conversation_id,
            self._turn.generation_id,
            self._last,
            shorter(self._timeouts, self._deadline.remaining()),
        )
        response = self._service.session.send(request)
        if response.content_type != "text/event-stream":  # an old server's page for an unknown path
            response.close()
            raise NotFoundError("the server has no event log", status=response.status, url=response.url)
        self._use(response)
        return response

    def blocks(self, first: Response | None = None) -> Iterator[list[AnyEvent]]:
        """Yield the events that the decoder has not had, by the block, until the run is over.

        Raises:
            StreamInterrupted: Neither the log nor the conversation could be read, or the server forgot the run.
            GenerationError: The run failed; the message is the server's.
        """
        try:
            yield from self._follow(first)
        except (NotFoundError, NotAChatServer):
            yield from self._ask_for_message()
            return
        if events := self._decoder.finish():
            yield events
        if self._end in ("gone", "interrupted") and not self._decoder.ended and self._decoder.error is None:
            yield from self._ask_for_message()
            return
        if self._end != "completed" or self._decoder.error is not None:
            self._decoder.check_end()

    def _follow(self, response: Response | None) -> Iterator[list[AnyEvent]]:
        failures = 0
        while self._end is None:
            before = self._last
            try:
                yield from self._read(response if response is not None else self.open())
                trouble: HFClientError = StreamInterrupted("the event log ended without its last frame")
            except (ConnectError, ServerError, TransportTimeout, ProtocolError) as error:
                if isinstance(error, TransportTimeout) and error.deadline in ("total", "first_token"):
                    raise
                trouble = error
            response = None
            if self._end is None:
                failures = 0 if self._last > before else failures + 1
                if failures >= _FAILURES:
                    raise trouble
                self._pause(min(_LONGEST_PAUSE, 0.25 * 2**failures))

    def _read(self, response: Response) -> Iterator[list[AnyEvent]]:
        parser = SSEParser()
        content_came = self._decoder.text_units > 0
        try:
            for data in response.chunks():
                events: list[AnyEvent] = []
                for frame in parser.feed(data):
                    if frame.event == "end":
                        self._end = str(_json(frame.data).get("status"))
                    elif frame.event == "update":
                        self._take(frame.id, _json(frame.data), events)
                if events:
                    if not content_came and self._decoder.text_units > 0:
                        content_came = True
                        response.deadline.content_came()
                    yield events
                if self._end is not None:
                    return
        finally:
            response.close()

    def _take(self, frame_id: str | None, update: dict[str, Any], events: list[AnyEvent]) -> None:
        number = int(frame_id) if frame_id and frame_id.isdigit() else self._last + 1
        if number <= self._last:
            return
        self._last = number
        token = update.get("token")
        if update.get("type") == "stream" and isinstance(token, str):
            if self._skip_units:
                skipped = min(self._skip_units, utf16_length(token))
                self._skip_units -= skipped
                token = skip_utf16(token, skipped)
            if token:
                self._decoder.add({**update, "token": token}, events)
        elif self._skip_others:
            self._skip_others -= 1
        else:
            self._decoder.add(update, events)

    def _pause(self, seconds: float) -> None:
        remaining = self._deadline.remaining()
        if remaining is not None and remaining <= seconds:
            raise self._deadline.expired()
        if self._cancelled.wait(seconds):
            raise Cancelled("the answer was cancelled while its connection was being mended")

    # Servers without a log, and runs that it has forgotten

    def _ask_for_message(self) -> Iterator[list[AnyEvent]]:
        patience = self._timeouts.first_token
        seen: str | None = None
        changed = time.monotonic()
        while True:
            message = self._find()
            content = str(message.raw.get("content") or "")
            if message.finished:
                break
            if content != seen:
                seen, changed = content, time.monotonic()
            if patience is not None and time.monotonic() - changed > patience:
                raise StreamInterrupted("the server has the answer's beginning only, and writes no more of it")
            self._pause(_POLL)
        events: list[AnyEvent] = []
        for update in message.raw.get("updates") or ():
            # Everything but the text is in the stored updates as it was; of the text they only hold the lengths.
            if isinstance(update, dict) and update.get("type") not in ("stream", "finalAnswer"):
                if self._skip_others:
                    self._skip_others -= 1
                else:
                    self._decoder.add(update, events)
        skip = self._decoder.text_units
        if utf16_length(content) > skip:
            self._decoder.add({"type": "stream", "token": skip_utf16(content, skip)}, events)
        if not self._decoder.ended and self._decoder.error is None:
            self._decoder.add({"type": "finalAnswer", "text": content, "interrupted": message.interrupted}, events)
        events += self._decoder.finish()
        if events:
            yield events
        if self._decoder.error is not None:
            self._decoder.check_end()

    def _find(self) -> Message:
        message = find_answer(self._service.read_state(self._turn.conversation_id), self._turn)
        if message is None:
            raise StreamInterrupted("the server has no answer of this run")
        return message


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise ProtocolError("the event log holds a frame that is not JSON", frame=excerpt(data)) from None
    return value if isinstance(value, dict) else {"value": value}
