"""Bytes to frames: JSON Lines and server-sent events, without I/O.

Both split bytes, not text: a JSON string may have U+2028, U+2029 or U+0085 unescaped, where ``str.splitlines`` would split it.
Both have a limit: a longer line is a :class:`~hfclient.errors.ProtocolError` with the start of the line.
"""

from __future__ import annotations

import re

from attrs import frozen

from hfclient.errors import ProtocolError
from hfclient.redaction.masking import masked
from hfclient.values import Value

__all__ = ["MAX_LINE", "LineFramer", "SSEParser", "ServerSentEvent", "excerpt"]

MAX_LINE = 64 * 1024 * 1024
"""Maximum length of a line, in bytes. The longest known lines of servers have an image of 30 MB in base64."""

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")


def excerpt(data: bytes, limit: int = 200) -> str:
    """Return the start of *data* as text of at most *limit* characters for an error, secrets masked."""
    text = masked(data[: 4 * limit].decode("utf-8", "replace").strip())
    return text if len(text) <= limit else text[: limit - 1] + "…"


class LineFramer:
    """Turns any chunks of bytes into blocks of complete lines.

    It returns blocks rather than lines, because decoding many lines at once costs a fraction of decoding each one.

        >>> framer = LineFramer()
        >>> framer.feed(b'{"a":1}\\n{"b"'), framer.feed(b':2}\\n'), framer.finish()
        (b'{"a":1}\\n', b'{"b":2}\\n', b'')
    """

    __slots__ = ("_held", "_held_size", "_limit")

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._held: list[bytes] = []
        self._held_size = 0
        self._limit = limit

    def feed(self, data: bytes) -> bytes:
        """Return all lines that *data* completes, each with its ``\\n``; empty without a complete line.

        Raises:
            ProtocolError: A line is longer than the limit. For an incomplete line after complete ones, the next call raises
                it.
        """
        cut = data.rfind(b"\n") + 1
        if cut == len(data) and not self._held:
            block = data
        elif not cut:
            self._hold(data)
            return b""
        else:
            self._held.append(data[:cut])
            block = b"".join(self._held)
            self._held.clear()
            self._held_size = 0
            if cut < len(data):
                self._held.append(data[cut:])
                self._held_size = len(data) - cut
        if len(block) > self._limit:
            for line in block.split(b"\n"):
                if len(line) > self._limit:
                    raise self._too_long(line)
        return block

    def finish(self) -> bytes:
        """Return the last line if it has no ``\\n``; empty otherwise."""
        rest = b"".join(self._held)
        self._held.clear()
        self._held_size = 0
        return rest

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
            self._held_size += len(data)
        if self._held_size > self._limit:
            raise self._too_long(b"".join(self._held))

    def _too_long(self, line: bytes) -> ProtocolError:
        return ProtocolError(f"the server sent a line of more than {self._limit:,} bytes (Limits.line)", frame=excerpt(line))


@frozen(eq=False, repr=False)
class ServerSentEvent(Value):
    """One dispatched event of a ``text/event-stream``.

    Attributes:
        data: The ``data`` lines, joined with newlines, as bytes.
        event: The ``event`` field; also ``"error"`` for a field ``error:`` (older llama.cpp).
        id: The last ``id`` field, or None.
    """

    data: bytes
    event: str = "message"
    id: str | None = None


class SSEParser:
    """Turns any chunks of bytes into server-sent events.

    It accepts all three line ends, a byte order mark, comments, fields with and without a space, several ``data`` lines, and a
    last event without its blank line (:meth:`finish`). Events without data are not dispatched, as the specification says,
    except those with a name, such as ``event: end``, which servers use.

        >>> SSEParser().feed(b'id: 7\\ndata:{"a":1}\\n\\n')
        [ServerSentEvent(data=b'{"a":1}', event='message', id='7')]

    Reference: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    __slots__ = ("_broken", "_data", "_data_size", "_event", "_id", "_limit", "_rest", "_size", "_started", "comments")

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._rest: list[bytes] = []
        self._size = 0
        self._data: list[bytes] = []
        self._data_size = 0
        self._event: str | None = None
        self._id: str | None = None
        self._started = False
        self._limit = limit
        self._broken: ProtocolError | None = None
        self.comments = 0
        """The number of comment lines: servers send them as keep-alives."""

    def take_rest(self) -> bytes | None:
        """Return the bytes of an incomplete line if nothing else is pending; None if an event has begun.

        With them, a caller with a faster path for plain streams can continue.
        """
        if self._data or self._event is not None or not self._started or self._broken is not None:
            return None
        rest = b"".join(self._rest)
        self._rest.clear()
        self._size = 0
        return rest

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Return the events that *data* completes.

        Raises:
            ProtocolError: A line, or the data of one event, is longer than the limit. After complete events, the next call
                raises it.
        """
        if self._broken is not None:
            raise self._broken
        if self._rest:
            # Join only if a line can end: a long line in small chunks must not be copied for each chunk.
            self._rest.append(data)
            self._size += len(data)
            self._check()
            if b"\n" not in data and b"\r" not in data and not self._rest[-2].endswith(b"\r"):
                return []
            data = b"".join(self._rest)
            self._rest.clear()
            self._size = 0
        if not self._started:
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._keep(data)
                return []
            self._started = True
            data = data.removeprefix(_BOM)
        held_cr = data.endswith(b"\r")  # may be the first half of \r\n
        lines = _LINE_END.split(data[:-1] if held_cr else data)
        rest = lines.pop() + (b"\r" if held_cr else b"")
        events: list[ServerSentEvent] = []
        try:
            self._dispatch(lines, events)
            self._keep(rest)
        except ProtocolError as error:
            if not events:
                raise
            self._broken = error
        return events

    def finish(self) -> list[ServerSentEvent]:
        """Return the events that the end of the stream completes: servers omit the last blank line.

        Raises:
            ProtocolError: As :meth:`feed`.
        """
        if self._broken is not None:
            raise self._broken
        rest = b"".join(self._rest).removesuffix(b"\r")
        if not self._started:
            rest = rest.removeprefix(_BOM)
        self._rest.clear()
        self._size = 0
        events: list[ServerSentEvent] = []
        self._dispatch([rest, b""] if rest else [b""], events)
        return events

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._rest.append(rest)
            self._size = len(rest)
            self._check()

    def _check(self) -> None:
        if self._size > self._limit:
            raise ProtocolError(
                f"the server sent an event of more than {self._limit:,} bytes (Limits.line)",
                frame=excerpt(b"".join(self._rest)),
            )

    def _dispatch(self, lines: list[bytes], events: list[ServerSentEvent]) -> None:
        for line in lines:
            if not line:
                if self._data or self._event is not None:
                    events.append(ServerSentEvent(b"\n".join(self._data), self._event or "message", self._id))
                    self._data = []
                    self._data_size = 0
                    self._event = None
                continue
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                self._add(value)
            elif name == b"":
                self.comments += 1
            elif name == b"event":
                self._event = value.decode("utf-8", "replace")
            elif name == b"error":
                self._event = "error"
                self._add(value)
            elif name == b"id" and b"\0" not in value:
                self._id = value.decode("utf-8", "replace")

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._data_size += len(value) + 1  # plus a newline: the limit applies to empty lines, too
        if self._data_size - 1 > self._limit:
            raise ProtocolError(
                f"the server sent an event of more than {self._limit:,} bytes (Limits.line)",
                frame=excerpt(b"\n".join(self._data[:9])),
            )
