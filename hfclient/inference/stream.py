"""`CompletionStream`: the answer to one call of chat completions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hfclient.errors import StreamInterrupted, TransportError
from hfclient.events import AnyEvent
from hfclient.inference.chunks import ChunkDecoder
from hfclient.stream import Stream
from hfclient.transport import Response

__all__ = ["CompletionStream"]

_LINGER = 0.5  # seconds to wait for the end of the body once everything has been said


class CompletionStream(Stream):
    """A blocking iterator over the events of one answer; see `hfclient.stream.Stream`.

    It ends with ``[DONE]``, whatever the connection does afterwards. A connection that breaks earlier raises
    `StreamInterrupted` after everything that had come was handed out, and is no matter once a finish_reason was there.
    """

    def __init__(
        self,
        response: Response,
        decoder: ChunkDecoder,
        *,
        on_event: Callable[[AnyEvent], object] | None = None,
        fields: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(response, decoder, on_event=on_event, fields=fields)
        self._chunks = decoder

    def _blocks(self) -> Iterator[list[AnyEvent]]:
        chunks = self._chunks
        try:
            for data in self._response.chunks("stream"):
                if events := chunks.feed(data):
                    yield events
                elif self._waiting and chunks.calling:
                    # Content, too, though there is no event for it yet: a long file can be the argument of a call.
                    self._waiting = False
                    self._response.deadline.content_came()
                if chunks.over:
                    self._drain()
                    break
        except TransportError as error:
            chunks.cut(error)
        if events := chunks.finish():
            yield events
        try:
            chunks.check_end()
        except StreamInterrupted as error:
            error.method, error.url = self._response.method, self._response.url
            raise

    def _drain(self) -> None:
        """Read on to the end of the body, so that the connection can be used again; but not if the server dawdles."""
        deadline = self._response.deadline
        deadline.content_came()
        deadline.wind_down(idle=_LINGER, total=_LINGER)
        try:
            for _ in self._response.chunks():
                pass
        except TransportError:
            pass  # then the connection is not used again
