"""`CompletionStream`: the answer to one call of chat completions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from attrs import evolve

from hfclient.decoding.think_tags import split_unopened
from hfclient.errors import HFClientError, ProtocolError, StreamInterrupted, TransportError, TransportTimeout
from hfclient.events import AnyEvent, FinalAnswer, Finish, Reasoning, Token, ToolCall
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.routing.failover import Attempts
from hfclient.stream import Stream
from hfclient.transport import Response, retrying
from hfclient.types import Reply

__all__ = ["CompletionStream", "split_reasoning"]

_DRAIN = 0.5  # seconds to wait for the end of the body after the answer is complete
_DRAIN_AFTER_FAILURE = 0.05  # the same after a failure, which must be raised soon
# With one of these an answer has begun, and the request is not repeated any more.
_BEGINNINGS = (Token, Reasoning, ToolCall, FinalAnswer, Finish)


class CompletionStream(Stream):
    """A blocking iterator over the events of one answer; see `hfclient.stream.Stream`.

    It ends with ``[DONE]``, whatever the connection does afterwards. A connection that breaks earlier raises
    `StreamInterrupted` after all events before it; after a finish_reason it is ignored.

    If it fails before an answer has begun, the request is repeated, or another provider gets it, as `Attempts` says; a
    `Failover` event reports the latter.
    """

    def __init__(
        self,
        response: Response,
        decoder: ChunkDecoder,
        *,
        attempts: Attempts[ChunkDecoder],
        on_event: Callable[[AnyEvent], object] | None = None,
        fields: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(response, decoder, on_event=on_event, fields=fields)
        self._chunks = decoder
        self._attempts = attempts
        self._begun = False

    def _interrupt(self) -> None:
        self._attempts.clock.cancellation.cancel()
        super()._interrupt()

    @property
    def partial(self) -> Reply:
        """What has come so far, as a `Reply`. Never reads, never raises.

        Reasoning whose ``<think>`` is part of the prompt comes as tokens, because only its ``</think>`` shows what it is;
        here it is separate from the text.
        """
        return split_reasoning(super().partial)

    def _known(self) -> dict[str, Any]:
        return {**self._fields, **self._chunks.fields()}

    def _blocks(self) -> Iterator[list[AnyEvent]]:
        attempts = self._attempts
        for attempt in retrying(attempts, attempts.clock, on=lambda error: not self._begun):
            with attempt:
                if attempt.number > 1:
                    self._take(attempts.send_again())
                try:
                    yield from self._answer()
                except HFClientError as error:
                    self._complete(error)
                    raise
            if attempt.wait is not None:
                self._response.close()
                if failovers := attempts.new_failovers():
                    yield [*failovers]

    def _take(self, response: Response) -> None:
        """Read this answer instead of the one that failed."""
        self._response = response
        self._chunks, fields = self._attempts.begin(response)
        self._decoder = self._chunks
        self._fields = {**self._fields, "request_id": response.request_id, **fields}
        self._attempts.clock.cancellation.check()  # a cancel() meanwhile aborted the answer before this one

    def _answer(self) -> Iterator[list[AnyEvent]]:
        """Yield the events of one answer; raise the error if it is incomplete or failed."""
        chunks = self._chunks
        call_pieces = 0
        cut: TransportError | None = None
        try:
            for data in self._response.chunks("stream"):
                events = chunks.feed(data)
                if not self._begun:
                    self._look_for_content(events)
                if events:
                    yield events
                if chunks.was_plain:
                    continue
                if chunks.call_pieces != call_pieces:
                    call_pieces = chunks.call_pieces
                    self._response.deadline.content_came()  # an argument can be a long file, whose event comes at its end
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
            self._waiting = False
            self._response.deadline.content_came()

    def _complete(self, error: HFClientError) -> None:
        """Set the request id, method and URL of *error*."""
        response = self._response
        error.request_id = error.request_id or response.request_id
        if isinstance(error, TransportError):
            error.method, error.url = response.method, response.url

    def _drain(self, linger: float) -> None:
        """Read the rest of the body, so that the connection can be reused, but wait only shortly."""
        deadline = self._response.deadline
        deadline.content_came()
        deadline.wind_down(idle=linger, total=linger)
        try:
            for _ in self._response.chunks():
                pass
        except TransportError:
            pass  # the connection is not reused


def split_reasoning(reply: Reply) -> Reply:
    """Return *reply* with the reasoning before an unopened ``</think>`` separated from its text."""
    if reply.reasoning or "</think>" not in reply.text:
        return reply
    text, reasoning = split_unopened(reply.text)
    return evolve(reply, text=text, reasoning=reasoning)
