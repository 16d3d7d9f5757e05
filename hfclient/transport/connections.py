"""urllib3's and http.client's connections, as the default transport needs them.

What they lack is put in at the places that they offer for it: a response class whose bytes come from a `_DeadlineReader`,
so that each single read of the socket knows all four deadlines (a server that drips one header byte a second cannot get
around them), and whose socket can be shut down from another thread.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import queue
import socket
import threading
from contextvars import ContextVar
from typing import Any

import urllib3

from hfclient.errors import Cancelled, ProtocolError
from hfclient.transport.chunked import ChunkReader
from hfclient.transport.deadline import Deadline

__all__ = ["CALL", "POOLS", "READ_SIZE", "HTTPResponse", "Wire"]

READ_SIZE = _SEND_SIZE = 64 * 1024
_LONGEST_HEADER = 64 * 1024
_LONGEST_HEAD = 256 * 1024  # of one answer, with all that comes before it (1xx); libcurl allows 300 KB


class Wire:
    """The socket under one answer, which another thread may shut down as long as it belongs to that answer."""

    def __init__(self) -> None:
        self.sock: Any = None
        self.begun = False  # with the request itself, not only with what asks a proxy for a tunnel
        self.sent = False  # the whole request, so that the server can have acted on it
        self._is_down = False
        self._is_unwanted = False
        self._lock = threading.RLock()  # what shuts it down may be a signal handler, in the middle of the other two
        self._process = os.getpid()

    def use(self, sock: Any) -> None:
        """Take *sock* for what follows; raises `Cancelled` if nobody wants that any more."""
        with self._lock:
            self.sock = sock  # before the look, so that a handler between the two finds it
            if self._is_unwanted:
                raise Cancelled("the call was cancelled")

    def shut_down(self) -> None:
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
        """The connection goes on without this answer; True if it was shut down before."""
        with self._lock:
            self.sock = None
            return self._is_down


# What the request that is being sent here brings along for the classes below, which nobody else can tell. Not a
# thread's own variable: one that was made before gevent patched the process would be shared by all greenlets.
CALL: ContextVar[tuple[Deadline, Wire] | None] = ContextVar("hfclient_call", default=None)


class _DeadlineReader(io.RawIOBase):
    """Reads a socket, never longer than a deadline allows."""

    def __init__(self, raw: Any, sock: Any, deadline: Deadline) -> None:
        self._raw = raw  # closing it tells the socket that this reader is gone
        self._sock = sock
        self._deadline = deadline
        self._wait: float | None = -1.0  # what the socket was told last: nothing yet

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wait = self._deadline.read_wait()
        if wait != self._wait:  # the same again and again while bytes flow, and setting it asks the system
            self._sock.settimeout(wait)
            self._wait = wait
        try:
            count: int = self._sock.recv_into(buffer)
        except TimeoutError:
            raise self._deadline.expired() from None
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _HeadReader:
    """What http.client reads an answer's head from: it takes the end of the connection for the end of the head."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = _LONGEST_HEAD
        self.close = file.close

    def readline(self, limit: int) -> bytes:
        line: bytes = self._file.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise _head_too_large()
        if not line.endswith(b"\n") and len(line) < limit:
            raise http.client.RemoteDisconnected("the answer ended in its head")
        return line


def _head_too_large() -> ProtocolError:
    return ProtocolError("the answer's headers are too large")


class HTTPResponse(http.client.HTTPResponse):
    """http.client's response, reading through a `_DeadlineReader`, with a head that is whole."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        if (call := CALL.get()) is not None:
            deadline, wire = call
            wire.use(sock)
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_DeadlineReader(raw, sock, deadline), READ_SIZE)
        self._sock = sock
        self._chunks: ChunkReader | None = None

    def read1(self, n: int = -1) -> bytes:
        """Return what is there of the body, at most *n* bytes; of a chunked one all chunks that have come."""
        if not self.chunked or self.fp is None or n <= 0:
            return super().read1(n)
        chunks = self._chunks = self._chunks or ChunkReader()
        while not chunks.done and self.length != 0:  # 0: to HEAD, or a 204, which have no body whatever they say
            raw = b"" if chunks.error is not None else self.fp.read1(n)
            if not raw and chunks.error is None:
                raise http.client.IncompleteRead(b"")
            try:
                data = chunks.feed(raw)
            except ValueError as exc:
                raise http.client.IncompleteRead(b"") from exc
            if chunks.rest:  # not ours, and nobody can put it back: this connection has had its last request
                with contextlib.suppress(OSError):  # the server was quicker
                    self._sock.shutdown(socket.SHUT_RDWR)
            if data:
                return data
        fp, self.fp = self.fp, None  # type: ignore[assignment]  # what http.client does at the end of a body
        fp.close()
        return b""

    def begin(self) -> None:
        file = self.fp
        self.fp = _HeadReader(file)  # type: ignore[assignment]
        try:
            super().begin()
        except http.client.HTTPException as exc:
            if type(exc) in (http.client.HTTPException, http.client.LineTooLong):  # more than 100 lines, or a long one
                raise _head_too_large() from None
            raise
        finally:
            if self.fp is not None:  # it is when there can be no body
                self.fp = file

    def _read_status(self) -> tuple[str, int, str]:
        # http.client passes over 100 only and would take 103 (Early Hints) for the answer (seen with Python 3.11).
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 < status < 200:
                return version, status, reason
            while self.fp.readline(_LONGEST_HEADER + 1).strip():
                pass


class _Connection:
    """What our connections do otherwise than urllib3's.

    They send piece by piece, each in the time that the deadline allows: http.client sends a body in one go under the
    timeout of connecting (or, on a kept connection, of whatever was read last), so that a large upload over a slow line
    would fail although every byte of it moves. And they know whose answer is on the wire, so that nobody else's
    :meth:`_Body.abort` reaches it.
    """

    sock: Any
    proxy: Any
    _wire: Wire | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        call = CALL.get()
        last, self._wire = self._wire, call[1] if call is not None else None
        # An answer that was read to its end and cancelled afterwards took the idle connection with it.
        if last is not None and last.let_go() and self.proxy is None:
            self.close()  # type: ignore[attr-defined]
        super().request(*args, **kwargs)  # type: ignore[misc]
        if self._wire is not None:
            self._wire.sent = True

    def send(self, data: Any) -> None:
        call = CALL.get()
        if call is None or not isinstance(data, bytes):
            super().send(data)  # type: ignore[misc]
            return
        deadline, wire = call
        rest = memoryview(data)
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


class _HTTPConnection(_Connection, urllib3.connection.HTTPConnection):
    response_class = HTTPResponse


class _HTTPSConnection(_Connection, urllib3.connection.HTTPSConnection):
    response_class = HTTPResponse


class _Idle(queue.LifoQueue[Any]):
    """The idle connections of a pool, without the lock of the queue that urllib3 takes for them.

    Closing a stream gives its connection back, and may be done by a signal handler that has interrupted the thread that
    holds that lock. urllib3's pools wait for nothing here, as they do not block.
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


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection
    QueueCls = _Idle


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection
    QueueCls = _Idle


POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
