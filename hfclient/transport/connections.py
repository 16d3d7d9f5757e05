"""urllib3's and http.client's connections, as the default transport needs them.

urllib3 and http.client let a caller replace the class of the connection and of the response. Here each read of the socket
checks all deadlines (a server that drips one header byte a second cannot get around them), the body is read from the socket
without the layers between, and another thread can shut the socket down.
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
ONE_SEND = 16 * 1024  # bytes of a body that leaves together with the head
_MAX_HEADER = 64 * 1024
_MAX_FIELDS = 100
_FIELDS = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*\r\n)+")  # well-formed: RFC 9112, section 5
_MAX_HEAD = 256 * 1024  # of one answer, with all that comes before it (1xx); libcurl allows 300 KB


class Wire:
    """The socket under one response, which another thread may shut down as long as it belongs to that response."""

    __slots__ = ("_is_down", "_is_unwanted", "_lock", "_process", "begun", "response", "sent", "sock")

    def __init__(self) -> None:
        self.sock: Any = None
        self.begun = False  # with the request itself, not only with what asks a proxy for a tunnel
        self.sent = False  # the whole request, so that the server can have acted on it
        self.response: HTTPResponse | None = None  # the one that was made last
        self._is_down = False
        self._is_unwanted = False
        self._lock = threading.RLock()  # what shuts it down may be a signal handler, in the middle of the other two
        self._process = os.getpid()

    def use(self, sock: Any) -> None:
        """Take *sock* for what follows; raises `Cancelled` after :meth:`shut_down`."""
        with self._lock:
            self.sock = sock  # before the look, so that a handler between the two finds it
            if self._is_unwanted:
                raise Cancelled("the call was cancelled")

    def shut_down(self) -> None:
        """End the connection, from any thread or signal handler; a blocked read returns at once."""
        if self._process != os.getpid():  # the parent's connection, which would end there, too, and perhaps a locked lock
            return
        with self._lock:
            self._is_unwanted = True
            if self.sock is not None:
                self._is_down = True
                with contextlib.suppress(OSError):  # all is over already
                    # Not SSLSocket's own: that one takes the TLS state away under the reader's hands.
                    socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def let_go(self) -> bool:
        """Give the connection up for another response; True if it was shut down before."""
        with self._lock:
            self.sock = None
            return self._is_down


# The deadline and the wire of the request that is being sent in this context: urllib3 has no argument that would bring them
# to the classes below. Not a thread local: one that was made before gevent patched the process is shared by all greenlets.
CALL: ContextVar[tuple[Deadline, Wire] | None] = ContextVar("hfclient_call", default=None)


class _DeadlineReader(io.RawIOBase):
    """Reads a socket, never longer than a deadline allows."""

    def __init__(self, raw: Any, sock: Any, deadline: Deadline) -> None:
        self._raw = raw  # closing it tells the socket that this reader is closed
        self._sock = sock
        self._recv = sock.recv
        self._deadline = deadline
        self._wait: float | None = -1.0  # the timeout that the socket has: not set yet
        self.is_dry = False  # reads give nothing more, without waiting

    def readable(self) -> bool:
        return True

    def recv(self, size: int = READ_SIZE) -> bytes:
        """Return the next bytes, at most *size*; empty at the end of the connection."""
        wait = self._deadline.read_wait()
        if wait != self._wait:  # the same again and again while bytes flow, and setting it is a system call
            self._sock.settimeout(wait)
            self._wait = wait
        try:
            data: bytes = self._recv(size)
        except TimeoutError:
            raise self._deadline.expired() from None
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
    """Lines of a response's head. http.client alone takes the end of the connection for the end of the head."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = _MAX_HEAD
        self.close = file.close

    def readline(self, limit: int) -> bytes:
        line: bytes = self._file.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise _head_too_large()
        if not line.endswith(b"\n") and len(line) < limit:
            raise http.client.RemoteDisconnected("the answer ended in its head")
        return line

    def readlines(self) -> list[bytes]:
        """Return the lines up to the blank one, which is read, too."""
        lines: list[bytes] = []
        while (line := self.readline(_MAX_HEADER + 1)) not in (b"\r\n", b"\n"):
            lines.append(line)
            if len(line) > _MAX_HEADER or len(lines) > _MAX_FIELDS:
                raise _head_too_large()
        return lines


def _head_too_large() -> ProtocolError:
    return ProtocolError("the answer's headers are too large")


class HTTPResponse(http.client.HTTPResponse):
    """http.client's response: a head that must be whole, and a body that comes straight from the socket."""

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
        self._reader = _DeadlineReader(self.fp.detach(), sock, deadline)
        self._recv = self._reader.recv
        self.fp = io.BufferedReader(self._reader, READ_SIZE)
        self._sock = sock
        self._came = b""  # with the head
        self._left_over = b""  # of `read1`
        self._decoder = ChunkedDecoder()

    def read_some(self) -> bytes:
        """Return the next bytes of the body as soon as some are there, all that have come; empty at its end.

        The codings of ``Content-Encoding`` are not undone. Not to be mixed with other reads.

        Raises:
            http.client.IncompleteRead: The body ended before it was complete, or its chunks are broken.
        """
        if self.fp is None:
            return b""
        length = self.length
        if self.chunked and length != 0:  # 0: to HEAD, or a 204, which have no body whatever the headers say
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
        """Return what has come of the body, at most *n* bytes: what urllib3 reads to undo further content codings."""
        data = self._left_over or self.read_some()
        end = len(data) if n < 0 else n
        self._left_over = data[end:]
        return data[:end]

    def _end_connection(self) -> None:
        """Let the connection not be used again: bytes have come that do not belong to this response."""
        with contextlib.suppress(OSError):  # the server was quicker
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
        # http.client skips 100 only and takes 103 (Early Hints) for the response (seen with Python 3.11).
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200:
                return version, status, reason
            while self.fp.readline(_MAX_HEADER + 1).strip():
                pass


def parse_fields(lines: list[bytes]) -> http.client.HTTPMessage:
    """Return the header fields in *lines*, as `http.client.parse_headers` does.

    That one takes 5 us a field, because its parser is made for e-mail. It still reads what is not well-formed.
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
    """What our connections do otherwise than urllib3's; to be derived from together with one of those.

    They send piece by piece, each in the time that the deadline allows: http.client sends a body at once under the
    timeout of connecting (or, on a kept connection, of the last read), so that a large upload over a slow line
    would fail although every byte of it moves. A short body leaves together with the head, in one packet. And each connection
    knows which response is on the wire, so that a late :meth:`Body.abort` does not reach the next one.
    """

    response_class: Any = HTTPResponse
    sock: Any
    proxy: Any
    _wire: Wire | None = None
    _short_body = b""

    def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:
        call = CALL.get()
        last, self._wire = self._wire, call[1] if call is not None else None
        # A response that was read to its end and cancelled afterwards took the idle connection with it.
        if last is not None and last.let_go() and self.proxy is None:
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
        wire.use(self.sock)  # from here on the wait for the answer can be cut short
        wire.begun = wire.begun or self._wire is wire
        while rest:
            self.sock.settimeout(deadline.read_wait())
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

    Closing a stream gives its connection back. A signal handler may do that while the thread that it interrupted holds the
    lock. urllib3's pools wait for nothing here, as they do not block.
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
