"""urllib3's and http.client's connections, as the default transport needs them.

urllib3 and http.client let a caller replace the class of the connection and of the response. Here each read of the socket
checks all deadlines (a server that sends one header byte a second cannot evade them), the body is read directly from
the socket, and another thread can shut the socket down.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import queue
import re
import socket
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import urllib3

from hfclient.errors import Cancelled, ProtocolError
from hfclient.transport.chunked import ChunkedDecoder
from hfclient.transport.deadline import Deadline

__all__ = [
    "CALL",
    "ONE_SEND",
    "POOLS",
    "READ_SIZE",
    "Connection",
    "HTTPResponse",
    "IdleConnections",
    "Wire",
    "parse_fields",
    "pools_of",
]

READ_SIZE = _SEND_SIZE = 64 * 1024
ONE_SEND = 16 * 1024  # bytes of a body that is sent together with the headers
_MAX_HEADER = 64 * 1024
_MAX_FIELDS = 100
_FIELDS = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*\r\n)+")  # well-formed: RFC 9112, section 5
_MAX_HEAD = 256 * 1024  # of one response, including 1xx responses before it; libcurl allows 300 KB


class Wire:
    """The socket of one response, which another thread may shut down while the response uses it."""

    __slots__ = ("_is_down", "_is_unwanted", "_lock", "_process", "begun", "response", "sent", "sock")

    def __init__(self) -> None:
        self.sock: Any = None
        self.begun = False  # with the request itself, not only with a CONNECT
        self.sent = False  # the whole request, so the server may have processed it
        self.response: HTTPResponse | None = None  # the newest one
        self._is_down = False
        self._is_unwanted = False
        self._lock = threading.RLock()  # reentrant: a signal handler may interrupt any method
        self._process = os.getpid()

    def use(self, sock: Any) -> None:
        """Use *sock* from now on; raises `Cancelled` after :meth:`shut_down`."""
        with self._lock:
            self.sock = sock  # before the check, so that a signal handler in between finds it
            if self._is_unwanted:
                raise Cancelled("the call was cancelled")

    def shut_down(self) -> None:
        """End the connection, from any thread or signal handler; a blocked read returns at once."""
        if self._process != os.getpid():  # the parent's connection would end, too; the lock may be held
            return
        with self._lock:
            self._is_unwanted = True
            if self.sock is not None:
                self._is_down = True
                with contextlib.suppress(OSError):  # already closed
                    # Not SSLSocket's own method: it removes the TLS state while the reader uses it.
                    socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def detach(self) -> bool:
        """Release the connection for another response; True if it was shut down before."""
        with self._lock:
            self.sock = None
            return self._is_down


# The deadline and the wire of the request that is being sent in this context: urllib3 has no argument to pass them
# to the classes below. Not a thread local: all greenlets share one that was created before gevent patched the process.
CALL: ContextVar[tuple[Deadline, Wire] | None] = ContextVar("hfclient_call", default=None)


class _DeadlineReader(io.RawIOBase):
    """Reads a socket within a deadline.

    Args:
        raw: http.client's reader.
        sock: The socket.
        deadline: Of the call.
        next_wait: Returns how long the next read may take.
    """

    def __init__(self, raw: Any, sock: Any, deadline: Deadline, next_wait: Callable[[], float | None]) -> None:
        self._raw = raw  # closing it releases the socket
        self._sock = sock
        self._recv = sock.recv
        self._deadline = deadline
        self._next_wait = next_wait
        self._wait: float | None = -1.0  # the current timeout of the socket; -1: unknown
        self.is_dry = False  # reads return b"" without waiting

    def readable(self) -> bool:
        return True

    def recv(self, size: int = READ_SIZE) -> bytes:
        """Return the next bytes, at most *size*; empty at the end of the connection."""
        wait = self._next_wait()
        deadline = self._deadline
        if deadline.tick is not None:
            wait = deadline.tick_wait(wait)
        if wait != self._wait:  # a system call, and mostly the same value
            self._sock.settimeout(wait)
            self._wait = wait
        try:
            data: bytes = self._recv(size)
        except TimeoutError:
            raise deadline.timed_out() from None
        if deadline.tick is not None:
            deadline.bytes_came()
        return data

    def readinto(self, buffer: Any) -> int | None:
        if self.is_dry:
            return None
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _HeadReader:
    """The lines of a response's headers. http.client alone accepts the end of the connection as their end."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = _MAX_HEAD
        self.close, self.flush = file.close, file.flush  # http.client calls both when a head cannot be read

    def readline(self, limit: int) -> bytes:
        line: bytes = self._file.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise _head_too_large()
        if not line.endswith(b"\n") and len(line) < limit:
            raise http.client.RemoteDisconnected("the answer ended in its head")
        return line

    def readlines(self) -> list[bytes]:
        """Read up to the blank line and return the lines before it."""
        lines: list[bytes] = []
        while (line := self.readline(_MAX_HEADER + 1)) not in (b"\r\n", b"\n"):
            lines.append(line)
            if len(line) > _MAX_HEADER or len(lines) > _MAX_FIELDS:
                raise _head_too_large()
        return lines


def _head_too_large() -> ProtocolError:
    return ProtocolError("the answer's headers are too large")


class HTTPResponse(http.client.HTTPResponse):
    """http.client's response with complete headers, and a body that is read directly from the socket."""

    fp: Any
    length: int | None
    chunked: bool
    _method: str
    _check_close: Callable[[], bool]  # http.client's

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        call = CALL.get()
        assert call is not None, "these connections are for RequestsTransport"
        deadline, wire = call
        wire.use(sock)
        wire.response = self
        next_wait = deadline.read_wait if wire.begun else deadline.connect_wait  # a proxy's answer to CONNECT
        self._reader = _DeadlineReader(self.fp.detach(), sock, deadline, next_wait)
        self._recv = self._reader.recv
        self.fp = io.BufferedReader(self._reader, READ_SIZE)
        self._sock = sock
        self._came = b""  # read together with the headers
        self._left_over = b""  # of `read1`
        self._decoder = ChunkedDecoder()

    def read_some(self) -> bytes:
        """Return all bytes of the body that have arrived, at least one; empty at its end.

        Content codings are not decoded. Do not mix with other reads.

        Raises:
            http.client.IncompleteRead: The body ended before it was complete, or its chunks are invalid.
        """
        if self.fp is None:
            return b""
        length = self.length
        if self.chunked and length != 0:  # 0 for HEAD and 204, which have no body in spite of their headers
            decoder = self._decoder
            while not decoder.done:
                came, self._came = self._came, b""
                if decoder.error is None and not (came := came or self._recv()):
                    raise http.client.IncompleteRead(b"")
                try:
                    data = decoder.feed(came)
                except ValueError as exc:
                    raise http.client.IncompleteRead(b"") from exc
                if decoder.rest:
                    self._end_connection()
                if data:
                    return data
        elif length is None:  # the end of the connection is the end of the body
            came, self._came = self._came, b""
            if came := came or self._recv():
                return came
        elif length:
            came, self._came = self._came, b""
            if not (came := came or self._recv()):
                raise http.client.IncompleteRead(b"", length)
            if len(came) > length:
                came = came[:length]
                self._end_connection()
            self.length = length - len(came)
            return came
        if self._came:
            self._end_connection()
        fp, self.fp = self.fp, None  # what http.client does at the end of a body
        fp.close()
        return b""

    def read1(self, n: int = -1) -> bytes:
        """Return at most *n* bytes of the body that have arrived; urllib3 decodes further content codings from them."""
        data = self._left_over or self.read_some()
        end = len(data) if n < 0 else n
        self._left_over = data[end:]
        return data[:end]

    def _end_connection(self) -> None:
        """Prevent reuse of the connection: it has bytes that do not belong to this response."""
        with contextlib.suppress(OSError):  # the server closed it first
            self._sock.shutdown(socket.SHUT_RDWR)

    def begin(self) -> None:
        file = self.fp
        self.fp = _HeadReader(file)
        try:
            version, self.status, reason = self._read_status()
            self.headers = self.msg = parse_fields(self.fp.readlines())
        except http.client.LineTooLong:
            raise _head_too_large() from None
        finally:
            if self.fp is not None:  # http.client closes it after a status line that is not HTTP
                self.fp = file
        self.code, self.reason = self.status, reason.strip()
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        if self.version == 11 and not version.startswith("HTTP/1."):
            raise http.client.UnknownProtocol(version)
        self.chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.length = None if self.chunked else _length_in(self.headers)
        if self.status in (204, 304) or self._method == "HEAD":
            self.length = 0
        self.will_close = self._check_close() or not (self.chunked or self.length is not None)
        self._reader.is_dry = True
        self._came = file.read1(READ_SIZE) or b""
        self._reader.is_dry = False

    def _read_status(self) -> tuple[str, int, str]:
        # http.client skips only 100 and returns 103 (Early Hints) as the response (seen with Python 3.11).
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200:
                return version, status, reason
            while self.fp.readline(_MAX_HEADER + 1).strip():
                pass


def parse_fields(lines: list[bytes]) -> http.client.HTTPMessage:
    """Return the header fields in *lines*, as `http.client.parse_headers` does.

    That function needs 5 us for each field, because it is an e-mail parser. It is used only for malformed fields.
    """
    text = b"".join(lines).decode("iso-8859-1")
    if not _FIELDS.fullmatch(text):
        return http.client.parse_headers(io.BytesIO(b"".join([*lines, b"\r\n"])))
    message = http.client.HTTPMessage()
    for line in text[:-2].split("\r\n"):
        name, _, value = line.partition(":")
        message[name] = value.lstrip(" \t")
    return message


def _length_in(headers: http.client.HTTPMessage) -> int | None:
    try:
        length = int(headers.get("content-length", ""))
    except ValueError:
        return None
    return length if length >= 0 else None


class Connection:
    """A mixin for urllib3's connection classes.

    A body is sent in pieces, each within the deadline. http.client sends a body at once under the connect timeout (or,
    on a reused connection, under that of the last read), so a large upload over a slow line would time out. A short
    body is sent in one packet with the headers. Each connection has the wire of its response, so a late
    :meth:`Body.abort` does not affect the next response.
    """

    response_class: Any = HTTPResponse
    sock: Any
    proxy: Any
    _wire: Wire | None = None
    _short_body = b""

    def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:
        call = CALL.get()
        last, self._wire = self._wire, call[1] if call is not None else None
        # A response was cancelled after it had been read to its end, which has shut down the idle connection.
        if last is not None and last.detach() and self.proxy is None:
            self.close()  # type: ignore[attr-defined]
        self._short_body = b""  # of a request that could not be sent
        if call is not None and isinstance(body, bytes) and len(body) <= ONE_SEND:
            self._short_body, body = body, None
        super().request(method, url, body, *args, **kwargs)  # type: ignore[misc]
        if self._wire is not None:
            self._wire.sent = True

    def putheader(self, header: Any, *values: Any) -> None:
        # http.client's: urllib3's looks for a marker that is not used here.
        http.client.HTTPConnection.putheader(self, header, *values)  # type: ignore[arg-type]

    def send(self, data: Any) -> None:
        call = CALL.get()
        if call is None or not isinstance(data, bytes):
            super().send(data)  # type: ignore[misc]
            return
        deadline, wire = call
        rest = memoryview(data + self._short_body)
        self._short_body = b""  # before the CONNECT that connecting may send
        del data  # a traceback that shows local values must not show headers
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        wire.use(self.sock)  # from here on the wait for the response can be cancelled
        wire.begun = wire.begun or self._wire is wire
        # The tunnel through a proxy, and TLS inside it, belong to the connection.
        next_wait = deadline.read_wait if wire.begun else deadline.connect_wait
        while rest:
            self.sock.settimeout(next_wait())
            try:
                rest = rest[self.sock.send(rest[:_SEND_SIZE]) :]
            except TimeoutError:
                raise deadline.expired() from None


class _HTTPConnection(Connection, urllib3.connection.HTTPConnection):
    """A connection without TLS."""


class _HTTPSConnection(Connection, urllib3.connection.HTTPSConnection):
    """A connection with TLS."""


class IdleConnections(queue.LifoQueue[Any]):
    """The idle connections of a pool, without the lock of the queue that urllib3 takes for them.

    Closing a stream returns its connection. A signal handler may do that while the interrupted thread holds the lock.
    No wait is needed, because these pools do not block.
    """

    queue: list[Any]

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        try:
            return self.queue.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if len(self.queue) >= self.maxsize:
            raise queue.Full
        self.queue.append(item)

    def qsize(self) -> int:
        return len(self.queue)


def pools_of(http: Any, https: Any) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Return the classes of the pools for these classes of connections, by scheme."""

    class HTTPPool(urllib3.HTTPConnectionPool):
        ConnectionCls = http
        QueueCls = IdleConnections

    class HTTPSPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = https
        QueueCls = IdleConnections

    return {"http": HTTPPool, "https": HTTPSPool}


POOLS = pools_of(_HTTPConnection, _HTTPSConnection)
