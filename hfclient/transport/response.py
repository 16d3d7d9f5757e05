"""`Response`: the response to one HTTP request, whose body is read on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol, TypeVar, overload

from hfclient.decoding.frames import excerpt
from hfclient.decoding.html_pages import describe_body, unexpected_content
from hfclient.decoding.json_repair import loads_repaired
from hfclient.errors import Cancelled, ConnectError, HFClientError, TransportError
from hfclient.redaction.masking import sanitized
from hfclient.transport.deadline import Deadline, Tick
from hfclient.transport.limits import Limits, too_long

__all__ = ["Body", "BufferedBody", "Headers", "Response", "add_address"]

_T = TypeVar("_T")
_LIMITS = Limits()
_BOM = b"\xef\xbb\xbf"
_LOOK = 4096  # bytes of leading white space that are skipped
REQUEST_ID_HEADERS = ("x-request-id", "x-amzn-trace-id", "x-amz-cf-id", "cf-ray")


class Headers(Mapping[str, str]):
    """The headers of a response: names in any case; repeated ones are joined with ``", "`` or listed by :meth:`all`."""

    __slots__ = ("_values",)

    def __init__(self, items: list[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in items:
            self._values.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._values[name.lower()])

    @overload
    def get(self, name: str, /) -> str | None: ...

    @overload
    def get(self, name: str, default: str | _T, /) -> str | _T: ...

    def get(self, name: str, default: Any = None, /) -> Any:
        """Return the value of *name*, or *default*; faster than that of `Mapping`, which raises and catches an error."""
        values = self._values.get(name.lower())
        return default if values is None else ", ".join(values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Headers: {', '.join(self)}>"  # names only: a value may be a cookie

    def all(self, name: str) -> list[str]:
        """Return every value of *name*, in order."""
        return list(self._values.get(name.lower(), ()))


class Body(Protocol):
    """The body of one response, as a transport reads it.

    One whose reads can be continued after `Tick` has an attribute ``can_tick`` that is True.
    """

    def read_some(self) -> bytes:
        """Return the next bytes as soon as any have arrived; empty at the end.

        Raises:
            Tick: It is time for one; only if ``Deadline.tick`` is set.
            TransportTimeout: A deadline passed.
            ConnectError: The connection broke, or ended before the body was complete.
            Cancelled: :meth:`abort` was called.
        """

    def close(self) -> None:
        """Free the connection without waiting; idempotent. Only for the reader's thread."""

    def abort(self) -> None:
        """Wake up a blocked :meth:`read_some`, from any thread; returns at once."""


class BufferedBody:
    """A body that has been read."""

    can_tick = True

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read_some(self) -> bytes:
        content, self._content = self._content, b""
        return content

    def close(self) -> None:
        self._content = b""

    def abort(self) -> None:
        """Do nothing: no thread is blocked."""


class _PeekedBody:
    """A body whose first bytes have been read.

    Args:
        start: Those bytes.
        rest: The body after them.
        error: Raised after *start*.
    """

    def __init__(self, start: bytes, rest: Body, error: HFClientError | None) -> None:
        self._start = start
        self._rest = rest
        self._error = error
        self.can_tick = getattr(rest, "can_tick", False)

    def read_some(self) -> bytes:
        start, self._start = self._start, b""
        if start:
            return start
        if self._error is not None:
            raise self._error
        return self._rest.read_some()

    def close(self) -> None:
        self._rest.close()

    def abort(self) -> None:
        self._rest.abort()


def add_address(error: TransportError, address: str) -> None:
    """Add the address of the server to the message of *error*, unless it is there."""
    if address and address not in error.message:
        error.message = f"{error.message} ({address})"
        error.args = (error.message,)


class Response:
    """One response: its status and headers have arrived, its body is read on demand.

    Attributes:
        status: HTTP status code.
        headers: A mapping with names in any case.
        url: The URL of the request, without secrets.
        deadline: The deadlines of the request.
        limits: Limits of the data in memory.
        can_tick: The next step of a stream that reads it is a read of the body, which can be interrupted by `Tick`.
    """

    __slots__ = ("_body", "can_tick", "deadline", "headers", "limits", "method", "status", "url")

    def __init__(self, status: int, headers: Headers, body: Body, *, method: str, url: str, deadline: Deadline) -> None:
        self.status = status
        self.headers = headers
        self.method = method
        self.url = url
        self.deadline = deadline
        self.limits = _LIMITS
        self._body = body
        self.can_tick: bool = getattr(body, "can_tick", False)

    def __repr__(self) -> str:
        return f"<Response {self.status} to {self.method} {self.url}>"

    @property
    def request_id(self) -> str | None:
        """The server's id of the request, or None."""
        for name in REQUEST_ID_HEADERS:
            if found := self.headers.get(name):
                return sanitized(found)
        return None

    @property
    def content_type(self) -> str:
        """The media type without parameters, lower case; may be empty."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def is_page(self) -> bool:
        """Return whether the body is an HTML page: it has that content type, and it begins like one.

        The content type alone is not reliable: PHP and several gateways use it as the default. For a body of that type
        this waits for the first bytes. The next read returns these bytes, or raises the error that came instead.
        """
        if self.content_type not in ("text/html", "application/xhtml+xml"):
            return False
        start, error = b"", None
        try:
            while len(start) < _LOOK and not start.removeprefix(_BOM).strip() and (data := self._body.read_some()):
                start += data
        except HFClientError as caught:
            error = caught
        self._body = _PeekedBody(start, self._body, error)
        return start.removeprefix(_BOM).lstrip()[:1] == b"<"

    def whole_piece(self) -> bytes | None:
        """Return the body if all of it comes with one read, as a short one with a Content-Length nearly always does.

        The next read returns what came, or raises the error that came instead, also if this returns None.
        """
        promised = self.headers.get("content-length", "")
        if not promised.isdecimal() or len(promised) > 9 or "content-encoding" in self.headers:
            return None
        start = rest = b""
        error = None
        try:
            start = self._body.read_some()
            if len(start) == int(promised):
                rest = self._body.read_some()  # the end: the connection is free then
        except HFClientError as caught:
            error = caught
        self._body = _PeekedBody(start + rest, self._body, error)
        is_whole = error is None and not rest and len(start) == int(promised) <= min(self.limits.stream, self.limits.body)
        return start if is_whole else None

    def chunks(self, within: Literal["stream", "body", "file"] | None = None) -> Iterator[bytes]:
        """Yield the body's bytes as they arrive; :meth:`Body.read_some` lists the other errors.

        Args:
            within: The limit for all of them together; None if they are not kept. With "stream", empty bytes are a tick, or the
                sign that the body has ended; see ``Deadline.tick``.

        Raises:
            ProtocolError: The body is longer; raised before reading if its Content-Length is larger.
        """
        read_some = self._body.read_some
        try:
            if within is None:
                self.deadline.begin_tick(None)
                while data := read_some():
                    yield data
                return
            is_stream = within == "stream"
            left: int = getattr(self.limits, within)
            promised = self.headers.get("content-length", "")
            if promised.isdecimal() and len(promised) < 20 and int(promised) > left:
                raise too_long(self.limits, within, self.url, promised=int(promised))
            while True:
                try:
                    data = read_some()
                except Tick:
                    yield b""
                    continue
                except HFClientError as error:
                    if not isinstance(error, Cancelled):  # after that there are no other waits
                        yield from self._end_of_ticks()
                    raise
                if not data:
                    break
                left -= len(data)
                if left < 0:
                    raise too_long(self.limits, within, self.url, frame=excerpt(data))
                if not is_stream and not data.isspace():  # not a blank keep-alive
                    self.deadline.content_arrived()
                yield data
            yield from self._end_of_ticks()
        except ConnectError as error:
            add_address(error, self.deadline.address)
            raise

    def _end_of_ticks(self) -> Iterator[bytes]:
        """Tell a stream that is read with ticks that its next step is not a read of this body."""
        self.can_tick = False
        if self.deadline.tick is not None:
            yield b""

    def read(self, within: Literal["body", "file"] = "body") -> bytes:
        """Return the whole body and free the connection.

        Raises:
            ProtocolError: It is longer than the limit called *within*.
        """
        try:
            return b"".join(self.chunks(within))
        finally:
            self.close()

    def buffer(self, within: Literal["body", "file"] = "body", max_bytes: int | None = None) -> None:
        """Read the whole body now and keep it; with *max_bytes*, only so many bytes of a longer one."""
        self._body = BufferedBody(self.read(within) if max_bytes is None else self.read_at_most(max_bytes))

    def read_at_most(self, limit: int) -> bytes:
        """Return the body, at most *limit* bytes of it, and free the connection."""
        pieces: list[bytes] = []
        left = limit
        try:
            for data in self.chunks():
                self.deadline.content_arrived()
                pieces.append(data[:left])
                left -= len(data)
                if left <= 0:
                    break
        finally:
            self.close()
        return b"".join(pieces)

    def read_start(self, limit: int) -> bytes:
        """Return at most *limit* bytes of the body for an error text, fewer if it breaks; free the connection."""
        pieces = b""
        self.deadline.count_bytes()
        try:
            for data in self.chunks():
                pieces += data[:limit]
                if len(pieces) >= limit:
                    break
        except HFClientError:
            pass  # the status is more important than this error
        finally:
            self.close()
        return pieces[:limit]

    def json(self) -> Any:
        """Return the whole body, decoded from JSON; lone surrogates in it become U+FFFD.

        Raises:
            ProtocolError: It is not JSON; the message has the URL and the start of the body.
        """
        body = self.read()
        try:
            return loads_repaired(body)
        except ValueError:
            raise unexpected_content(
                f"{self.method} {self.url} should give JSON but gave {describe_body(body, self.content_type)}; is the URL right?",
                body,
                method=self.method,
                url=self.url,
            ) from None

    def close(self) -> None:
        """Free the connection without waiting. It is closed if the body was not read to its end."""
        self.can_tick = False
        self._body.close()

    def abort(self) -> None:
        """Wake up a reader that is blocked in another thread; it raises `Cancelled`."""
        self._body.abort()
