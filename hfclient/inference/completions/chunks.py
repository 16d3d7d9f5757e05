"""The bytes of a chat completion become events.

Nearly every server writes one ``data:`` line per event. Blocks of those take a fast path: they are split at the blank lines,
and the reader takes as many objects as are plain (`DeltaReader.take_plain`). Other framing goes through `SSEParser`, and
objects that are not plain through `DeltaReader.message`. All paths give the same events; tests compare them at every cut.

An answer that is one JSON document instead of a stream is recognized by its first byte, not by its content type.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hfclient.decoding.frames import LineFramer, SSEParser, excerpt
from hfclient.decoding.html_pages import describe_body, unexpected_content
from hfclient.decoding.json_repair import loads
from hfclient.errors import HFClientError, ProtocolError, StreamInterrupted, TransportError, TransportTimeout
from hfclient.events import AnyEvent, Route
from hfclient.inference.completions.deltas import DeltaReader, usage_of
from hfclient.inference.completions.plain_answers import plain_answer
from hfclient.inference.completions.tool_calls import new_call_id
from hfclient.transport import Limits

__all__ = ["ChunkDecoder"]

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_KEPT = 64 * 1024  # characters of a document that is not an answer, kept on its error
_HELD = 2048  # an event without its end is kept here up to this size; the parser holds a longer one


class ChunkDecoder:
    """Turns the bytes of one chat completion into events.

        >>> decoder = ChunkDecoder()
        >>> decoder.feed(b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\\n\\n')
        [Token(text='Hi', id=None, logprob=None, special=None), Finish(reason='stop')]

    Only `check_end` raises: an error inside the answer is kept until all events before it were returned.

    Args:
        first: Events that are known before the body; returned with its first bytes.
        new_id: Makes ids for tool calls without one.
        reader: Reads objects other than chat completions.
        limits: Maximum size of an event, or of an answer that is not a stream.
    """

    def __init__(
        self,
        *,
        first: Iterable[AnyEvent] = (),
        new_id: Callable[[], str] = new_call_id,
        reader: DeltaReader | None = None,
        limits: Limits = Limits(),  # noqa: B008 (immutable)
    ) -> None:
        self._first = list(first)
        if reader is not None:
            self._reader = reader
        self._new_id = new_id
        self._limits = limits
        self._begin = b""  # bytes before it is known what this is
        self._rest = b""  # the start of an event, on the fast path
        self._document: list[bytes] | None = None
        self._document_size = 0
        self._may_be_lines = True
        self._line_came = False
        # A function of the class: a bound method would be a cycle, and each answer would wait for the garbage collector.
        self._mode: Callable[[ChunkDecoder, bytes, list[AnyEvent]], None] = ChunkDecoder._feed_begin
        self._between = False  # on the fast path, and no event has begun
        self.was_plain = False
        """The last piece was one plain chunk: it has no tool call and does not end the answer."""
        self._cut: HFClientError | None = None

    @functools.cached_property  # a whole answer needs none of these three
    def _reader(self) -> DeltaReader:
        return DeltaReader(new_id=self._new_id)

    @functools.cached_property
    def _parser(self) -> SSEParser:
        return SSEParser(self._limits.line)

    @functools.cached_property
    def _lines(self) -> LineFramer:
        return LineFramer(self._limits.line)

    @property
    def over(self) -> bool:
        """``[DONE]`` or an error was read; the rest of the body is ignored."""
        return self._reader.over

    @property
    def failed(self) -> bool:
        """An error was read, which `check_end` raises."""
        return self._reader.error is not None

    @property
    def call_pieces(self) -> int:
        """Number of pieces of tool calls; a call becomes an event when it is complete."""
        return self._reader.call_pieces

    def fields(self) -> dict[str, Any]:
        """Return the fields of a `Reply` that no event has."""
        return self._reader.fields()

    def plain_document(self, body: bytes) -> dict[str, Any] | None:
        """Return the fields of the `Reply` of a plain answer, of which *body* is all; None if it is another one, for :meth:`feed`."""
        route = self._first[0] if len(self._first) == 1 else None
        if self._first and not isinstance(route, Route):
            return None
        try:
            document: Any = loads(body) if body.startswith(b"{") else None
        except ValueError:
            return None
        answer = plain_answer(document) if isinstance(document, dict) else None
        if answer is None:
            return None
        usage = None if answer.usage is None else usage_of(answer.usage)
        return {"text": answer.text, "finish_reason": answer.finish_reason, "usage": usage, "route": route, "extra": answer.extra or None}

    def feed(self, data: bytes) -> list[AnyEvent]:
        """Return the events that *data* completes."""
        out: list[AnyEvent] = []
        # The most common case: the server sends each token alone, as one event, one line, plain text.
        if (
            self._between
            and data.endswith(b"\n\n")
            and data.find(b"\n") == len(data) - 2
            and data.startswith(b"data:")
            and data.find(b"\r") < 0  # in half the time of "in"
            and self._reader.take_plain((data[5:],), out) is None
        ):
            self.was_plain = True
            return out
        self.was_plain = False
        if self._first:
            out, self._first = self._first, []
        reader = self._reader
        if not reader.over:
            self._mode(self, data, out)
            self._between = self._mode is ChunkDecoder._feed_quick and not self._rest and not reader.over
        return out

    def cut(self, error: HFClientError) -> None:
        """Note that the body ended early with *error*; `check_end` decides what that means."""
        self._cut = error

    def finish(self) -> list[AnyEvent]:
        """Return the events that the end of the body completes."""
        out, self._first = self._first, []
        reader = self._reader
        if self._document is not None:
            self._finish_document(b"".join(self._document), out)
        elif self._mode is ChunkDecoder._feed_lines:
            reader.message(self._lines.finish(), out, last=True)
        elif not reader.over:
            self._parse(self._rest or self._begin, out)
            try:
                last = self._parser.finish()
            except ProtocolError as error:
                reader.fail(error, out)
                last = []
            for event in last:
                reader.message(event.data, out, name=event.event, last=True)
        if not reader.over:
            if reader.finished:
                reader.end(out)
            else:
                reader.stop(out)
        return out

    def check_end(self) -> None:
        """Raise if the answer is incomplete or failed.

        Raises:
            GenerationError: The server reported an error inside the answer.
            ProtocolError: It is not a chat completion.
            StreamInterrupted: Neither ``[DONE]`` nor a finish_reason came.
            TransportTimeout: A deadline passed during the answer.
        """
        reader = self._reader
        if reader.error is not None:
            raise reader.error
        if reader.done:
            return
        if isinstance(self._cut, TransportError) and not isinstance(self._cut, TransportTimeout):
            raise StreamInterrupted(f"the answer broke off: {self._cut.message}") from self._cut
        if self._cut is not None:
            raise self._cut
        raise StreamInterrupted("the answer ended before it was complete: neither [DONE] nor a finish_reason came")

    # What is this?

    def _feed_begin(self, data: bytes, out: list[AnyEvent]) -> None:
        data = self._begin + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._begin = data
            return
        data = data.removeprefix(_BOM).lstrip(_BLANK)
        if not data:
            # Blank lines, which some servers send as keep-alives; a byte order mark after them would not be one.
            self._begin = b"\n"
            return
        self._begin = b""
        if data[:1] in (b"{", b"["):
            self._document = []
            self._mode = ChunkDecoder._feed_document
        elif data[:1] == b"<":
            noun = self._reader.noun
            message = f"the server answered with {describe_body(data)} instead of a {noun}; is the URL right?"
            self._reader.fail(unexpected_content(message, data), out)
            return
        else:
            # After an empty line the parser does not look for a byte order mark.
            self._parser.feed(b"\n")
            self._mode = ChunkDecoder._feed_quick
        self._mode(self, data, out)

    def _fail(self, message: str, frame: bytes, out: list[AnyEvent]) -> None:
        self._reader.fail(ProtocolError(message, frame=excerpt(frame)), out)

    # Server-sent events

    def _feed_quick(self, data: bytes, out: list[AnyEvent]) -> None:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        end = data.rfind(b"\n\n") + 2
        if b"\r" in data or len(data) > self._limits.line:
            self._feed_parser(data, out)
            return
        if end < 2:
            if len(data) <= _HELD:
                self._rest = data
            else:
                self._feed_parser(data, out)
            return
        # One line per event has two line ends each. Anything else is for the parser.
        parts = data[5 : end - 2].split(b"\n\ndata:")
        if not data.startswith(b"data:") or data.count(b"\n", 0, end) != 2 * len(parts):
            self._feed_parser(data, out)
            return
        if end < len(data):
            self._rest = data[end:]
        self._read(iter(parts), out)

    def _read(self, parts: Iterator[bytes], out: list[AnyEvent]) -> None:
        """Read the data of events without a name."""
        reader = self._reader
        while (part := reader.take_plain(parts, out)) is not None:
            reader.message(part, out)
            if reader.over:
                return

    def _feed_parser(self, data: bytes, out: list[AnyEvent]) -> None:
        self._mode = ChunkDecoder._feed_parser
        self._parse(data, out)
        # Back to the fast path once only a line has begun. Checked at line ends only: otherwise a long line in many
        # pieces would be copied for each of them.
        if b"\n" in data and (rest := self._parser.take_rest()) is not None:
            self._rest = rest
            self._mode = ChunkDecoder._feed_quick

    def _parse(self, data: bytes, out: list[AnyEvent]) -> None:
        try:
            events = self._parser.feed(data)
        except ProtocolError as error:
            self._reader.fail(error, out)
            return
        for event in events:
            if self._reader.over:
                return
            if event.event == "message":
                self._read(iter((event.data,)), out)
            else:
                self._reader.message(event.data, out, name=event.event)

    # One document

    def _feed_document(self, data: bytes, out: list[AnyEvent]) -> None:
        assert self._document is not None
        self._document.append(data)
        self._document_size += len(data)
        if self._document_size > self._limits.body:
            limit = f"{self._limits.body:,} bytes (Limits.body)"
            self._fail(f"the answer is longer than {limit}", self._document[0], out)
            self._document = None
        elif self._may_be_lines and (data.strip() if self._line_came else b"\n" in data):
            self._line_came = True
            self._look_for_lines(b"".join(self._document), out)

    def _look_for_lines(self, body: bytes, out: list[AnyEvent]) -> None:
        """Distinguish JSON Lines from one document, whose first line is not complete, or is the only one."""
        self._document = [body]
        line, _, after = body.partition(b"\n")
        try:
            value: Any = loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self._may_be_lines = False
        elif after.strip() or _is_piece(value):
            self._document, self._mode = None, ChunkDecoder._feed_lines
            self._feed_lines(body, out)

    def _feed_lines(self, data: bytes, out: list[AnyEvent]) -> None:
        """Read JSON Lines: servers with ``application/x-ndjson`` streams leave ``data:`` out."""
        try:
            block = self._lines.feed(data)
        except ProtocolError as error:
            self._reader.fail(error, out)
            return
        if block:
            self._read(iter(block[:-1].split(b"\n")), out)

    def _finish_document(self, body: bytes, out: list[AnyEvent]) -> None:
        reader = self._reader
        try:
            document: Any = loads(body)
        except ValueError:
            if self._cut is None:
                self._fail("the server's answer begins like JSON but is not valid; it may have been cut off", body, out)
            return
        if isinstance(document, dict) and reader.take_plain_answer(document, out):
            return
        before = len(out)
        reader.message(body, out)
        if reader.is_answer(document):
            if reader.error is None:
                reader.end(out, whole=True)
        elif reader.error is None:
            del out[before:]
            reader.forget()
            error = ProtocolError(f"the server's answer is JSON, but not a {reader.noun}", frame=excerpt(body))
            error.body = excerpt(body, _KEPT)
            reader.fail(error, out)


def _is_piece(value: dict[str, Any]) -> bool:
    """Return whether an object is certainly a part of a stream, and not a whole answer."""
    choices = value.get("choices")
    found = choices if isinstance(choices, list) else []
    return "token" in value or any(isinstance(choice, dict) and "delta" in choice for choice in found)
