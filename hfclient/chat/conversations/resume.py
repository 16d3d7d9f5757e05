"""Resuming a stream that broke, from exactly where it broke.

chat-ui writes every event of a run into a log that all clients of the same session can read, during and after the run:
``GET /conversation/{id}/stream``. The live stream carries no numbers, so the log is read from its start, and the text
and the other events that the reader has had are skipped. In the log, tokens of 200 ms are merged into one, so text is
counted in UTF-16 units and not in tokens. From a server without the log the finished message is read instead.

Reference: docs/protocol/huggingchat ("resume"); chat-ui src/routes/conversation/[id]/stream, seen 2026-11-21.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from hfclient.chat.conversations.run import LOG_UNAVAILABLE, Run, log_end
from hfclient.chat.wire.messages import is_end
from hfclient.chat.wire.updates import UpdateDecoder, decode_update, kind_of
from hfclient.decoding.frames import SSEParser
from hfclient.decoding.utf16 import skip_utf16, utf16_length
from hfclient.errors import (
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
from hfclient.transport import Polling, Response, retrying
from hfclient.types import Message

__all__ = ["LogReader"]

_log = logging.getLogger("hfclient")
_FIRST_PAUSE = 0.25  # seconds before the log is requested again; doubled after each request without news
_MAX_PAUSE = 4.0
_POLL = 1.0  # seconds between reads of the conversation on a server without the log
_LATE_SAVE = 5.0  # seconds in which a server that ends an answer with its connection stores what it has generated


class LogReader:
    """Reads the log of a run into a decoder that may have had the beginning of the answer.

    Args:
        run: The run; its ``is_over`` is set when the log says so.
        decoder: Gets the events that it has not had yet.
        use: Called with each response that is opened, so that it can be closed and cancelled from outside.
    """

    def __init__(self, run: Run, decoder: UpdateDecoder, *, use: Callable[[Response], None]) -> None:
        self._run = run
        self._decoder = decoder
        self._use = use
        self._last = 0  # number of the last event read from the log
        self._skip_units = 0
        self._skip_thoughts = 0
        self._skip_others = 0
        self._failing_since: float | None = None  # the first failure after the last new event
        self._ended = False
        self._body_ended = False
        self._is_over = False
        self._log_is_over = False  # the log says how the run ended

    def skip_taken(self, *, body_ended: bool, is_over: bool) -> None:
        """Skip the events of the live answer that the decoder has had, when the log is read.

        Args:
            body_ended: The live answer ended after a line, but without a final event.
            is_over: The body ended regularly: a server without a log has then stored the final message.
        """
        self._body_ended, self._is_over = body_ended, is_over
        self._skip_units = self._decoder.text_units
        self._skip_thoughts = self._decoder.thought_units
        self._skip_others = self._decoder.others

    def blocks(self, first: Response | None = None) -> Iterator[list[AnyEvent]]:
        """Yield the events that the decoder has not had, in blocks, until the run is over.

        Raises:
            StreamInterrupted: Neither the log nor the conversation could be read, or the server forgot the run.
            GenerationError: The run failed; the message is the server's.
        """
        try:
            yield from self._follow(first)
        except (NotFoundError, ProtocolError, ServerError) as error:
            _log.info("%s: no log (%s), asking for the message", self._run, error.message)
            yield from self._ask_for_message()
            return
        decoder = self._decoder
        # The server forgot the run or died, or only the last frame of the log is left (after 24 hours).
        if not decoder.ended and decoder.error is None:
            self._body_ended = self._is_over = False  # the log of a server says more than the end of the connection
            self._log_is_over = self._run.is_over
            yield from self._ask_for_message()
            return
        if events := decoder.finish():
            yield events
        decoder.check_end()

    def _follow(self, response: Response | None) -> Iterator[list[AnyEvent]]:
        failure: HFClientError | None = None
        patience = self._run.service.session.retry.resume
        # Errors that are worth another attempt are caught inside of it.
        polling = Polling(_FIRST_PAUSE, max_wait=_MAX_PAUSE, patience=patience, errors=False)
        for attempt in retrying(polling, self._run.clock):
            with attempt:
                before = self._last
                try:
                    yield from self._read(response if response is not None else self._open())
                    failure = StreamInterrupted("the event log ended without its last frame")
                except NotAChatServer:  # the page of a server that keeps no logs, for an unknown path
                    raise
                except (ConnectError, ServerError, TransportTimeout, ProtocolError) as error:
                    self._run.clock.check()
                    if isinstance(error, TransportTimeout) and error.deadline in ("total", "first_token", "next_token"):
                        raise
                    failure = error
                response = None
                yield []  # a pause follows, which has ticks of its own
                if self._ended:
                    return
                if self._last > before:
                    self._failing_since = None
                    attempt.restart()
                elif self._failing_since is None:
                    self._failing_since = time.monotonic()
                attempt.again()
        if failure is not None:
            raise failure

    def _open(self) -> Response:
        """Return the rest of the log, from the last event on."""
        response = self._run.open_log(self._last)
        self._use(response)
        return response

    def _read(self, response: Response) -> Iterator[list[AnyEvent]]:
        parser = SSEParser(response.limits.line)
        try:
            for data in response.chunks("stream"):
                if not data:  # a tick
                    yield []
                    continue
                response.deadline.count_bytes()  # a log sends a heartbeat every 250 ms
                events: list[AnyEvent] = []
                broken: ProtocolError | None = None
                try:
                    for frame in parser.feed(data):
                        if frame.event == "end":
                            self._ended = True
                            self._run.is_over = log_end(frame.data) not in LOG_UNAVAILABLE
                        elif frame.event == "update":
                            self._take(frame.id, decode_update(frame.data), events)
                except ProtocolError as error:
                    broken = error
                if events:  # events before an unreadable frame count as read, so the reader must get them
                    yield events
                if broken is not None:
                    raise broken
                if self._ended:
                    return
        finally:
            response.close()

    def _take(self, frame_id: str | None, update: Any, events: list[AnyEvent]) -> None:
        number = int(frame_id) if frame_id and frame_id.isdecimal() else self._last + 1
        if number <= self._last:
            return
        self._last = number
        match update:
            case {"type": "stream", "token": str(token)}:
                token, self._skip_units = _without(token.replace("\0", ""), self._skip_units)
            case {"type": "reasoning", "subtype": "stream", "token": str(token)}:
                token, self._skip_thoughts = _without(token, self._skip_thoughts)
            case _:
                if self._skip_others:
                    self._skip_others -= 1
                else:
                    self._decoder.add(update, events)
                return
        if token:
            self._decoder.add({**update, "token": token}, events)

    # Servers without a log, and runs that it has forgotten

    def _ask_for_message(self) -> Iterator[list[AnyEvent]]:
        yield []  # the log is not read any more
        message = self._last_message()
        is_last = message.finished or self._body_ended or self._log_is_over
        events = self._missing_events(message, is_last)
        if events:
            yield events
        if self._decoder.error is not None:
            self._decoder.check_end()
        if not is_last:
            raise StreamInterrupted("the server has only the beginning of the answer, and no longer writes to it")

    def _last_message(self) -> Message:
        """Return the stored answer once it is complete, or once no more of it is expected."""
        silence = self._run.options.timeouts.first_token  # how long to wait for more of it
        seen: str | None = None
        changed = time.monotonic()
        failure: HFClientError | None = None
        patience = self._run.service.session.retry.resume
        if patience is not None and self._failing_since is not None:  # while the log could not be read
            patience = max(0.0, patience - (time.monotonic() - self._failing_since))
        polling = Polling(_POLL, growth=1.0, max_wait=_POLL, patience=patience, errors=False)
        for attempt in retrying(polling, self._run.clock):
            with attempt:
                try:
                    message = self._find()
                except (ConnectError, ServerError) as error:
                    _log.info("%s cannot be read: %s", self._run, error.message)
                    failure = error
                else:
                    if message.finished or self._is_over:
                        return message
                    content = str(message.raw.get("content") or "")
                    if content != seen:
                        seen, changed = content, time.monotonic()
                    silence = self._longest_silence(silence)
                    if silence is not None and time.monotonic() - changed >= silence:
                        return message
                    attempt.restart()
                attempt.again()
        raise failure or StreamInterrupted("the conversation cannot be read")

    def _longest_silence(self, silence: float | None) -> float | None:
        """Return how long to wait for more of an unfinished answer: not long if the log has ended or the connection ends a run."""
        if self._log_is_over:  # chat-ui 0.20 marks the answer after the log, and not if an earlier answer was stopped
            return _LATE_SAVE if silence is None else min(silence, _LATE_SAVE)
        if not self._run.service.ends_with_connection():
            return silence
        if self._body_ended:
            return 0.0
        return _LATE_SAVE if silence is None else min(silence, _LATE_SAVE)

    def _missing_events(self, message: Message, is_last: bool) -> list[AnyEvent]:
        """Return the events of *message* that the decoder has not had, in the order of the stream as far as it is known.

        The stored updates hold everything but the text, of which they only hold the lengths, if anything.
        """
        decoder = self._decoder
        events: list[AnyEvent] = []
        content = str(message.raw.get("content") or "")
        had = decoder.kinds.copy()
        stored = message.raw.get("updates")
        for update in stored if isinstance(stored, list) else ():
            if not isinstance(update, dict):
                continue
            if is_end(update):
                self._add_missing_text(message, content, events)
            if update.get("type") == "stream" or (update.get("type") == "finalAnswer" and decoder.answered):
                continue
            if had[kind_of(update)] > 0:  # not by position: a server need not store all that it streams
                had[kind_of(update)] -= 1
                continue
            decoder.add(update, events)
        self._add_missing_text(message, content, events)
        interrupted = message.interrupted or not message.finished
        if is_last and not decoder.answered and decoder.error is None and (interrupted or not decoder.ended):
            decoder.add({"type": "finalAnswer", "text": content, "interrupted": interrupted}, events)
        return events + decoder.finish()

    def _add_missing_text(self, message: Message, content: str, events: list[AnyEvent]) -> None:
        decoder = self._decoder
        thoughts, _ = _without(str(message.raw.get("reasoning") or ""), decoder.thought_units)
        if thoughts:
            decoder.add({"type": "reasoning", "subtype": "stream", "token": thoughts}, events)
        text, _ = _without(content, decoder.text_units)
        if text and not decoder.answered:
            decoder.add({"type": "stream", "token": text}, events)

    def _find(self) -> Message:
        message = self._run.find_answer()
        if message is None:
            raise StreamInterrupted("the server has no answer of this run")
        return message


def _without(text: str, units: int) -> tuple[str, int]:
    """Return *text* without its first *units* UTF-16 units, and how many of those are still to come."""
    if not units:
        return text, 0
    skipped = min(units, utf16_length(text))
    return skip_utf16(text, skipped), units - skipped
