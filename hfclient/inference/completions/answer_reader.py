"""`AnswerReader`: the answer to one call of chat completions, read by the block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hfclient.errors import HFClientError, ProtocolError, StreamInterrupted, TransportError, TransportTimeout
from hfclient.events import AnyEvent, FinalAnswer, Finish, Reasoning, Token, ToolCall
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.routing.failover import Attempts, Begun
from hfclient.transport import Clock, Response, retrying
from hfclient.types import Reply

__all__ = ["AnswerReader"]

_DRAIN = 0.5  # seconds to wait for the end of the body after the answer is complete
_DRAIN_AFTER_FAILURE = 0.05  # the same after a failure, which must be raised soon
# With one of these an answer has begun, and the request is not repeated any more.
_BEGINNINGS = (Token, Reasoning, ToolCall, FinalAnswer, Finish)


class AnswerReader:
    """Reads the answer to one call, for a stream.

    It ends with ``[DONE]``, whatever the connection does afterwards. A connection that breaks earlier raises
    `StreamInterrupted` after all events before it; after a finish_reason it is ignored.

    If it fails before an answer has begun, the request is repeated, or another provider gets it, as `Attempts` says; a
    `Failover` event reports the latter.

    Args:
        attempts: The attempts of the call.
        response: The first response, of :meth:`Attempts.start`.
        begun: What is needed to read it.

    Attributes:
        response: The response that is read.
    """

    def __init__(self, attempts: Attempts[ChunkDecoder], response: Response, begun: Begun[ChunkDecoder]) -> None:
        self.response = response
        self._attempts = attempts
        self._chunks, self._fields = begun
        self._begun = False

    def fields(self) -> dict[str, Any]:
        """Return the fields of the `Reply` that no event has."""
        return {"request_id": self.response.request_id, **self._fields, **self._chunks.fields()}

    @property
    def clock(self) -> Clock:
        """The clock of the call."""
        return self._attempts.clock

    def cancel(self) -> None:
        """Wake up the reading thread, which raises `Cancelled`."""
        self._attempts.clock.cancellation.cancel()
        self.response.abort()

    def whole(self) -> Reply | None:
        """Return the answer if it is a plain document that comes in one piece; else None, and :meth:`blocks` reads it.

        It is the same `Reply` without decoders and events, which take most of the time of an answer.
        """
        body = self.response.whole_piece()
        fields = None if body is None else self._chunks.plain_document(body)
        return None if fields is None else Reply(request_id=self.response.request_id, **self._fields, **fields)

    def blocks(self, use: Callable[[Response], object]) -> Iterator[list[AnyEvent]]:
        """Yield the events of the answer in blocks; raise the error that ended it, if any.

        Args:
            use: Called with each further response.
        """
        attempts = self._attempts
        for attempt in retrying(attempts, attempts.clock, on=lambda error: not self._begun):
            with attempt:
                if attempt.number > 1:
                    self.response = attempts.send_again()
                    use(self.response)
                    self._chunks, fields = attempts.begin(self.response)
                    self._fields = {**self._fields, **fields}
                    attempts.clock.cancellation.check()  # a cancel() meanwhile aborted the answer before this one
                try:
                    yield from self._answer()
                except HFClientError as error:
                    self._complete(error)
                    raise
            if attempt.wait is not None:
                self.response.close()
                yield [*attempts.new_failovers()]  # also without any: a pause follows, which has ticks of its own

    def _answer(self) -> Iterator[list[AnyEvent]]:
        """Yield the events of one answer; raise the error if it is incomplete or failed."""
        chunks = self._chunks
        call_pieces = 0
        cut: TransportError | None = None
        try:
            for data in self.response.chunks("stream"):
                if not data:  # a tick
                    yield []
                    continue
                events = chunks.feed(data)
                if not self._begun and (events or chunks.call_pieces):
                    self._look_for_content(events)
                if events:
                    yield events
                if chunks.was_plain:
                    continue
                if chunks.call_pieces != call_pieces:
                    call_pieces = chunks.call_pieces
                    self.response.deadline.content_arrived()  # an argument can be a long file, whose event comes at its end
                if chunks.over:
                    self._drain(_DRAIN_AFTER_FAILURE if chunks.failed else _DRAIN)
                    break
        except TransportError as error:
            cut = error
            chunks.cut(error)
        if events := chunks.finish():
            if not self._begun:
                self._look_for_content(events)
            yield events
        try:
            chunks.check_end()
        except ProtocolError:
            if cut is None:
                raise
            # Half a document is not valid JSON, but the cause is the broken connection.
            if isinstance(cut, TransportTimeout):
                raise cut from None
            raise StreamInterrupted(f"the answer broke off: {cut.message}") from cut
        if not self._begun:
            raise StreamInterrupted("the answer ended before it began: neither content nor a finish_reason came")

    def _look_for_content(self, events: list[AnyEvent]) -> None:
        # A tool call that has begun is content, too, although its event comes at its end.
        if self._chunks.call_pieces or any(isinstance(event, _BEGINNINGS) for event in events):
            self._begun = True
            self._attempts.settle()
            self.response.deadline.content_arrived()

    def _complete(self, error: HFClientError) -> None:
        """Set the request id, method and URL of *error*."""
        response = self.response
        error.request_id = error.request_id or response.request_id
        if isinstance(error, TransportError):
            error.method, error.url = response.method, response.url

    def _drain(self, linger: float) -> None:
        """Read the rest of the body, so that the connection can be reused, but wait only shortly."""
        deadline = self.response.deadline
        deadline.content_arrived()
        deadline.limit_rest(idle=linger, total=linger)
        try:
            for _ in self.response.chunks():
                pass
        except TransportError:
            pass  # the connection is not reused
