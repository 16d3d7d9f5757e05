"""Drives libcurl's *multi* interface: one request and the body of its answer.

curl_cffi's own streams run in threads: their timeouts are seconds late, closing waits until the server sends something,
a fork hangs, and there is no back pressure. So libcurl runs in the reader's thread:
`Transfer.read_some` calls ``curl_multi_perform`` and waits in ``curl_multi_poll`` within the deadline. Without reads
the server has to wait; closing removes the transfer from the multi handle at once; other threads may call only
``curl_multi_wakeup``.

This module gets the package curl_cffi as an argument and imports no HTTP library itself; `curl_transport.py` does.

Reference: https://curl.se/libcurl/c/libcurl-multi.html
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from hfclient.errors import (
    Cancelled,
    ConnectError,
    HFClientError,
    InvalidInputError,
    ProtocolError,
    TransportError,
)
from hfclient.process.forks import reset_after_fork
from hfclient.process.garbage_collection import in_gc_finalizer
from hfclient.transport.ca_bundle import HINT
from hfclient.transport.deadline import Deadline
from hfclient.transport.proxies import refused_tunnel
from hfclient.transport.response import Headers
from hfclient.transport.sockets import is_readable

__all__ = ["NEEDED", "Multi", "Pieces", "Transfer", "UploadReader", "WriteBuffer"]

NEEDED = (
    "curl_multi_init",
    "curl_multi_add_handle",
    "curl_multi_perform",
    "curl_multi_poll",
    "curl_multi_info_read",
    "curl_multi_remove_handle",
    "curl_multi_cleanup",
    "curl_multi_wakeup",
    "curl_multi_setopt",
    "read_buffer_callback",  # uploads that are read while they are sent: since 0.15
)
"""The private functions of ``curl_cffi.lib`` that are used; they are checked before anything is sent."""

_MAX_WAIT = 1.0  # seconds until a signal that another thread handled is noticed
_READ_ABORT = 0x10000000  # CURL_READFUNC_ABORT
_NO_SOCKET = 0x7FFFFFFF  # and above, or below 0: CURL_SOCKET_BAD, in any width
_MAX_DECODED = 32 * 1024 * 1024  # bytes that one perform, some 640 KiB on the wire, may decode to

# libcurl's error codes (https://curl.se/libcurl/c/libcurl-errors.html) by what they mean to a caller.
_UNSUPPORTED_PROTOCOL, _NO_CONNECTION, _WRITE_ERROR, _TIMED_OUT, _RECV_ERROR, _BAD_ENCODING = 1, 7, 23, 28, 56, 61
_UNTRUSTED = 60
_TOO_LARGE = 100  # headers too large; 56 in some versions
_BAD_REQUEST = {3, 43}
_PROXY_CODES = {5, 97}
_TLS_CODES = {35, 51, 53, 54, 58, 59, 60, 64, 66, 77, 80, 82, 83, 90, 91, 98, 101}
_REASONS = {
    1: "the answer is not HTTP",
    5: "the proxy's name is unknown",
    6: "the host's name is unknown",
    7: "no connection to the host",
    8: "the answer is not HTTP",
    16: "the HTTP/2 connection failed",
    18: "the answer ended before it was complete",
    52: "the server closed the connection without an answer",
    55: "sending failed",
    56: "the connection broke",
    65: "the connection broke while the request was being sent",
    92: "the HTTP/2 stream was reset",
    97: "the handshake with it did not work",
    95: "the HTTP/3 connection failed",
    96: "the QUIC connection failed",
}


class Multi:
    """A multi handle and the connection in it. One request at a time owns it."""

    __slots__ = ("era", "handle", "lib", "origin", "outlives_responses", "pid", "quiet_since", "socket")

    def __init__(self, curl_cffi: Any, origin: str, era: int) -> None:
        self.lib = curl_cffi.lib
        self.origin = origin
        self.era = era
        self.pid = os.getpid()
        self.socket: int | None = None  # of the connection that is kept for the next request
        self.quiet_since = 0.0  # time at which its last response ended
        self.outlives_responses = False  # the connection carried another response before the last one
        self.handle = self.lib.curl_multi_init()
        self.lib.curl_multi_setopt(self.handle, curl_cffi.CurlMOpt.MAXCONNECTS, curl_cffi.ffi.new("long*", 1))

    def __del__(self) -> None:
        # The garbage collector calls the finalizers of a cycle in any order, perhaps this one before one that reuses
        # this object, so the object is marked. (cffi's ffi.gc and weakref.finalize run then, too.)
        handle, self.handle = self.handle, None
        # In a forked child the connection is the parent's, and the server would take the closing bytes for the
        # parent's.
        if handle is not None and self.pid == os.getpid():
            self.lib.curl_multi_cleanup(handle)

    def is_quiet(self, least: float = 0.0) -> bool:
        """Whether the kept connection can carry a request: between two responses a server sends nothing.

        Readable bytes are its end, a TLS alert, a late response, or frames of HTTP/2. libcurl checks this, too, but
        some versions (8.23) not within a second after the last use, and a POST cannot be sent again.

        Args:
            least: Minimum seconds since the first response: a server that closes the connection usually does so at once.
                After later responses there is no minimum, because the server has kept the connection once.
        """
        if self.handle is None or self.socket is None:
            return False
        if self.outlives_responses:
            least = 0.0
        return not is_readable(self.socket, max(0.0, self.quiet_since + least - time.monotonic()))


class Pieces(Protocol):
    """A body that is sent in pieces, such as `Multipart`."""

    def __len__(self) -> int:
        """Return the total number of bytes."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces."""


class UploadReader:
    """The file-like object from which libcurl reads the request's body.

    It cannot seek: libcurl retries a request when a reused connection ends without a response, but not if it has read
        from a body that cannot be rewound. So nothing is sent twice.
    """

    def __init__(self, body: bytes | Pieces) -> None:
        self.size = len(body)
        self.error: BaseException | None = None
        self.left = self.size  # bytes that libcurl has not read yet
        self._pieces: Iterator[bytes] = iter((body,) if isinstance(body, bytes) else body)
        self._piece = memoryview(b"")

    def read(self, limit: int) -> bytes | int:
        try:
            while not self._piece:
                piece = next(self._pieces, None)
                if piece is None:
                    return b""
                self._piece = memoryview(piece)
        except BaseException as exc:  # noqa: BLE001 (it cannot pass through libcurl; Transfer raises it)
            self.error = exc
            return _READ_ABORT
        data, self._piece = self._piece[:limit], self._piece[limit:]
        self.left -= len(data)
        return bytes(data)


class WriteBuffer:
    """The buffer that libcurl writes to: ``write`` is the append of a list, so C calls no Python function.

    For a compressed response it is a function with a limit: a few kilobytes can expand to gigabytes in one call.
    """

    __slots__ = ("__weakref__", "items", "write")

    def __init__(self, *, most: int | None = None) -> None:
        self.items: list[bytes] = []
        self.write: Callable[[bytes], None] = self.items.append if most is None else _bounded(self.items, most)

    def unbound(self) -> None:
        """Remove the limit: the response is not compressed."""
        self.write = self.items.append


def _bounded(items: list[bytes], most: int) -> Callable[[bytes], None]:
    """Return a function that appends to *items* and raises above *most* bytes; the reader clears them."""
    held = 0

    def write(data: bytes) -> None:
        nonlocal held
        held = held + len(data) if items else len(data)
        if held > most:
            raise _too_large()
        items.append(data)

    return write


def _too_large() -> ProtocolError:
    return ProtocolError(
        f"a small piece of the answer decompresses to more than {_MAX_DECODED:,} bytes; "
        'headers={"Accept-Encoding": "identity"} asks for it as it is'
    )


class Transfer:
    """One request, and then the body of its response.

    libcurl has no reference to it, so dropping the last reference closes the connection.
    """

    can_tick = True

    def __init__(
        self,
        curl_cffi: Any,
        multi: Multi,
        deadline: Deadline,
        *,
        return_multi: Callable[[Multi], None],
        via_proxy: bool = False,
    ) -> None:
        self._lib, self._ffi, self._info = curl_cffi.lib, curl_cffi.ffi, curl_cffi.CurlInfo
        self._multi: Multi | None = multi
        self._deadline = deadline
        self._return_multi = return_multi
        self._via_proxy = via_proxy
        self._head, self._body = WriteBuffer(), WriteBuffer(most=_MAX_DECODED)
        self._upload: UploadReader | None = None
        self._seen = self._block = 0  # number of header lines that were read; start of the current block
        self._running, self._active = self._ffi.new("int*"), self._ffi.new("int*")
        self._over = self._aborted = self._sent = False
        self._error: BaseException | None = None
        self._curl = curl_cffi.Curl()
        reset_after_fork(self._reset_after_fork)

    # Sending

    def send(self, prepare: Callable[[Any, WriteBuffer, WriteBuffer], UploadReader | None]) -> tuple[int, Headers]:
        """Send the request that *prepare* sets up; return status and headers of the response."""
        assert self._multi is not None
        upload = self._upload = prepare(self._curl, self._head, self._body)
        if self._lib.curl_multi_add_handle(self._multi.handle, self._curl._curl):
            raise ConnectError("the connection failed: libcurl does not take the request")
        until = _from_now(self._deadline.connect_wait())
        try:
            self._perform()
            while (found := self._headers()) is None:
                if self._over:
                    raise self._error or ConnectError("the connection failed: the answer ended in its head")
                just_connected = not self._sent and self._is_connected()
                if just_connected or (self._sleep(until) and self._sent):
                    until = _from_now(self._deadline.read_wait())
                self._perform()
                self._check_wanted()
        except TransportError as error:
            error.sent = self._sent and not (upload is not None and upload.left)
            raise
        return found

    def _is_connected(self) -> bool:
        """Whether connection, TLS and tunnel are established: bytes of the request may have reached the server."""
        size: int = self._curl.getinfo(self._info.REQUEST_SIZE)
        self._sent = self._sent or size > 0
        return self._sent

    def _headers(self) -> tuple[int, Headers] | None:
        """Return status and headers once they are complete; 1xx responses are skipped."""
        lines = self._head.items
        while self._seen < len(lines):
            line = lines[self._seen]
            self._seen += 1
            if line not in (b"\r\n", b"\n"):  # libcurl gives a lone CR for headers without their last byte
                continue
            block = [raw.decode("latin-1").rstrip("\r\n") for raw in lines[self._block : self._seen - 1]]
            self._block = self._seen
            words = block[0].split(None, 2) if block else []
            if len(words) > 1 and words[1].isdigit() and (status := int(words[1])) >= 200:
                headers = Headers(_fields(block[1:]))
                if "content-encoding" not in headers:
                    self._body.unbound()
                return status, headers
        return None

    # Driving libcurl

    def _perform(self) -> None:
        """Let libcurl work without waiting."""
        if self._multi is None:
            return
        self._lib.curl_multi_perform(self._multi.handle, self._running)
        if not self._running[0]:
            self._finish()

    def _sleep(self, until: float | None) -> bool:
        """Wait for the socket until *until*; True if it is ready.

        Raises:
            TransportTimeout: *until* has passed, and nothing has come: bytes that came while the process was stopped are in time.
        """
        if self._multi is None:
            return False
        left = math.inf if until is None else until - time.monotonic()
        wait = max(0.0, min(_MAX_WAIT, left))
        self._lib.curl_multi_poll(self._multi.handle, self._ffi.NULL, 0, math.ceil(wait * 1000), self._active)
        sockets: int = self._active[0]
        if left <= 0 and not sockets:
            raise self._deadline.timed_out()
        return sockets > 0

    def _finish(self) -> None:
        """Store the result of the transfer and release its resources."""
        assert self._multi is not None
        message = self._lib.curl_multi_info_read(self._multi.handle, self._active)
        code = int(message.data.result) if message != self._ffi.NULL else _RECV_ERROR
        self._is_connected()  # while libcurl still has this information
        self._error = self._raised_below() or (self._error_for(code) if code else None)
        self._over = True
        kept: int = self._curl.getinfo(self._info.ACTIVESOCKET)
        is_reused = not self._curl.getinfo(self._info.NUM_CONNECTS)
        multi = self._free()
        if multi is not None and self._error is None and 0 <= kept < _NO_SOCKET and not in_gc_finalizer():
            multi.socket, multi.quiet_since, multi.outlives_responses = kept, time.monotonic(), is_reused
            self._return_multi(multi)

    def _raised_below(self) -> BaseException | None:
        """Return the exception of a Python callback of libcurl, such as an unreadable file or Ctrl-C."""
        if self._upload is not None and self._upload.error is not None:
            return self._upload.error
        stored = getattr(self._curl, "_get_callback_exception", None)  # since curl_cffi 0.16
        found: BaseException | None = stored() if stored is not None else None
        return found

    def _error_for(self, code: int) -> HFClientError:
        connected = self._is_connected()
        if code == _TIMED_OUT:
            return self._deadline.expired()
        if code in _BAD_REQUEST or (code == _UNSUPPORTED_PROTOCOL and not connected):
            return InvalidInputError("the request cannot be sent: the URL is not usable")
        if code == _WRITE_ERROR:  # curl_cffi before 0.16 does not return the exception
            return _too_large()
        if code == _BAD_ENCODING:
            return ProtocolError("the answer's compression is broken")
        # libcurl's text names the fault and, at most, the host.
        text = self._ffi.string(self._curl._error_buffer).decode("utf-8", "replace")
        if code == _TOO_LARGE or (code == _RECV_ERROR and "headers" in text):
            return ProtocolError("the answer's headers are too large")
        errno = self._curl.getinfo(self._info.OS_ERRNO)
        reason = os.strerror(errno) if errno and code == _NO_CONNECTION else _REASONS.get(code, f"curl error {code}")
        tunnel = self._curl.getinfo(self._info.HTTP_CONNECTCODE)
        if tunnel and tunnel // 100 != 2:
            return ConnectError(f"the proxy failed: {refused_tunnel(tunnel)}")
        if code in _PROXY_CODES or (code == _NO_CONNECTION and self._via_proxy):
            return ConnectError(f"the proxy failed: {reason}")
        if code in _TLS_CODES:
            hint = f"; {HINT}" if code == _UNTRUSTED else ""
            return ConnectError(f"TLS failed: {text or f'curl error {code}'}{hint}")
        return ConnectError(f"the connection failed: {reason}")

    def _free(self) -> Multi | None:
        """Remove the easy handle from the multi handle and return the latter; None if that was done before."""
        multi, self._multi = self._multi, None
        if multi is not None and multi.pid == os.getpid():
            if multi.handle is not None and self._curl._curl is not None:  # unless a finalizer has closed one of them
                self._lib.curl_multi_remove_handle(multi.handle, self._curl._curl)
            self._curl.close()
            self._upload = None  # releases the file of an upload
        return multi

    # The body

    def read_some(self) -> bytes:
        pieces, deadline = self._body.items, self._deadline
        until: float | None = None
        waiting, ticks = False, deadline.tick is not None
        while True:
            self._check_wanted()
            if pieces:
                data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                if ticks:
                    deadline.bytes_came()
                return data
            if self._over or self._multi is None:
                if self._error is not None:
                    raise self._error
                return b""
            if not waiting or self._sleep(until):
                if waiting and ticks:
                    deadline.bytes_came()
                waiting = True
                wait = deadline.read_wait()
                until = _from_now(deadline.tick_wait(wait) if ticks else wait)
            self._perform()

    def _check_wanted(self) -> None:
        if self._aborted:
            raise Cancelled("the answer was cancelled while it was being waited for")

    def close(self) -> None:
        self._free()

    def abort(self) -> None:
        # Without a lock, because this may be a signal handler. The handle stays valid while it is referenced,
        # and one that serves another request meanwhile just wakes up once more.
        self._aborted = True
        if (multi := self._multi) is not None and multi.pid == os.getpid():
            self._lib.curl_multi_wakeup(multi.handle)

    def __del__(self) -> None:
        if getattr(self, "_curl", None) is not None:
            self.close()

    def _reset_after_fork(self) -> None:
        """In a forked child: forget the parent's transfer without a call of libcurl, which would send to the server."""
        if self._multi is None or self._multi.pid == os.getpid():
            return
        self._curl._curl = None
        self._multi = None
        if not self._over:
            self._over = True
            self._error = ConnectError("the connection failed: it belongs to the process that this one was forked from")


def _from_now(wait: float | None) -> float | None:
    return None if wait is None else time.monotonic() + wait


def _fields(lines: list[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (" ", "\t") and found:  # obsolete line folding
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}".strip())
            continue
        name, _, value = line.partition(":")
        found.append((name.strip(), value.strip()))
    return found
