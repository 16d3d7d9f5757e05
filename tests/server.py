"""A real HTTP server on loopback that plays a script of bytes and waits, so that it can misbehave.

    server.on("/stream", [head(200, "Transfer-Encoding: chunked"), chunk(b"one"), 0.2, chunk(b"two"), RST])
    server.on("/models", plain(b"[]"))
    server.on("/flaky", plain(b"", 503), plain(b"ok"))        # first one, then the other, which stays

A script is bytes, or a list of steps that are played in order once the whole request is there:

    bytes             are sent in one piece
    a number          waits so many seconds
    an Event          waits until the test sets it (not longer than `PATIENCE`: then the test has failed anyway)
    a function        is called with the `Recorded` request; bytes that it returns are sent
    CLOSE             closes the connection in good order (FIN)
    HALF_CLOSE        sends FIN but goes on reading
    RST               resets the connection
    UNTIL_GONE        waits until the client has gone, and sets ``server.client_gone``; with the fixture ``silence`` the
                      client's wait for bytes ends then

After a script the connection stays open for the next request unless the script closed it.
"""

from __future__ import annotations

import contextlib
import enum
import json
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import field, frozen

PATIENCE = 30.0
"""Seconds to wait for something that should come at once: a busy machine may need some, only a broken test needs all."""
LONG = 3 * PATIENCE
"""Seconds for a process to start, to do its work and to end."""
SOON = 10.0
"""Limit in seconds for a call that must not wait. What it might wait for by mistake takes `PATIENCE` or more."""
CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""A self-signed certificate for localhost and 127.0.0.1 with its key, for these tests only."""


class Do(enum.Enum):
    """Steps of a script other than sending and waiting."""

    CLOSE = enum.auto()
    HALF_CLOSE = enum.auto()
    RST = enum.auto()
    UNTIL_GONE = enum.auto()


CLOSE, HALF_CLOSE, RST, UNTIL_GONE = Do.CLOSE, Do.HALF_CLOSE, Do.RST, Do.UNTIL_GONE

LAST_CHUNK = b"0\r\n\r\n"


@frozen
class Recorded:
    """One received request. Header names are lower case; repeated ones are joined with a comma."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    connection: int
    """Number of its connection; the first one is 1."""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    def json(self) -> Any:
        return json.loads(self.body)


Step = bytes | float | threading.Event | Do | Callable[[Recorded], "bytes | None"]
Script = bytes | list[Step]


def head(status: int = 200, *headers: str) -> bytes:
    """The status line and *headers* (``"Name: value"``)."""
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *headers, "", ""]).encode("latin-1")


def plain(body: bytes | str = b"", status: int = 200, *headers: str) -> bytes:
    """A complete answer with its Content-Length."""
    body = body.encode() if isinstance(body, str) else body
    return head(status, *headers, f"Content-Length: {len(body)}") + body


def json_answer(data: Any, status: int = 200, *headers: str) -> bytes:
    """A complete answer in JSON."""
    return plain(json.dumps(data), status, "Content-Type: application/json", *headers)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunked(*pieces: Step, headers: Iterable[str] = ()) -> list[Step]:
    """A chunked answer, each bytes of *pieces* in a chunk (and a send) of its own; other steps are kept."""
    steps: list[Step] = [head(200, "Transfer-Encoding: chunked", *headers)]
    steps += [chunk(piece) if isinstance(piece, bytes) else piece for piece in pieces]
    return [*steps, LAST_CHUNK]


def delimited(*pieces: Step, headers: Iterable[str] = ()) -> list[Step]:
    """An answer that ends with the connection."""
    return [head(200, "Connection: close", *headers), *pieces, CLOSE]


def gzip_pieces(*pieces: bytes) -> list[bytes]:
    """One gzip stream in chunks, each flushed so that it can be decompressed at once."""
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    packed[-1] += packer.flush()
    return packed


silent: set[tuple[int, int]] = set()
"""Connections on which no more bytes come, by the ports of client and server; see tests/silence.py."""


@contextlib.contextmanager
def no_more_bytes(sock: socket.socket) -> Iterator[None]:
    """In the block nothing is sent on *sock*, which is the server's."""
    with contextlib.ExitStack() as ends:
        with contextlib.suppress(OSError):  # the client has gone
            ports = sock.getpeername()[1], sock.getsockname()[1]
            _wait_until_delivered(sock)
            silent.add(ports)
            ends.callback(silent.discard, ports)
        yield


def _wait_until_delivered(sock: socket.socket) -> None:
    """Wait until the client's system has all bytes that were sent, if the system here can say so."""
    try:
        import fcntl
        import termios
    except ImportError:
        return
    if hasattr(termios, "TIOCOUTQ"):
        end = time.monotonic() + 2  # a client that does not read takes none
        while fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)) != bytes(4) and time.monotonic() < end:
            sock.getpeername()  # raises if the client has reset the connection
            time.sleep(0.001)


class Server:
    """The server; a context manager. With ``tls=True`` it uses https, with an untrusted certificate.

    Attributes:
        requests: Every complete request, in the order of completion.
        connections: Number of opened connections.
        client_gone: Set when ``UNTIL_GONE`` in a script has seen the client close.
        read_pause: Seconds to wait after every `READ_SIZE` bytes of a request's body, like a slow connection.
        keep_bodies: False discards the bodies of requests.
    """

    READ_SIZE = 256 * 1024

    def __init__(self, *, tls: bool = False) -> None:
        self.requests: list[Recorded] = []
        self.connections = 0
        self.client_gone = threading.Event()
        self.read_pause = 0.0
        self.keep_bodies = True
        self._scripts: dict[str, list[Script]] = {}
        self._eager: set[str] = set()
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._tls = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(CERTIFICATE)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, without a trailing slash."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def on(self, path: str, *scripts: Script, read_body: bool = True) -> None:
        """Play *scripts* for requests to *path*, one after the other; the last one is repeated. ``"*"`` is for other paths.

        With ``read_body=False`` the script starts when the request's headers have arrived.
        """
        with self._lock:
            self._scripts[path] = list(scripts)
            if not read_body:
                self._eager.add(path)

    @property
    def last(self) -> Recorded:
        """The newest request."""
        return self.requests[-1]

    def wait_for(self, count: int) -> None:
        """Wait until *count* requests have arrived."""
        end = time.monotonic() + PATIENCE
        while len(self.requests) < count:
            assert time.monotonic() < end, f"{len(self.requests)} requests came, {count} were expected"
            time.sleep(0.005)

    def wait_until_closed(self) -> None:
        """Wait until this side has closed all connections."""
        end = time.monotonic() + PATIENCE
        while self._open:
            assert time.monotonic() < end, f"{len(self._open)} connections are open"
            time.sleep(0.005)

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            for sock in [self._listener, *self._open]:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _start(self, run: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self._closing.is_set():  # close() would miss this connection
                    sock.close()
                    return
                self.connections += 1
                self._open.add(sock)
            self._start(self._serve, sock, self.connections)

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                with self._lock:
                    self._open.discard(sock)
                    sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                    self._open.add(sock)
                sock.do_handshake()
            with sock.makefile("rb") as file:
                while self._exchange(sock, file, number):
                    pass
        except (OSError, ValueError):
            pass  # the client has closed, or sent an incomplete request: some tests do that
        finally:
            sock.close()
            with self._lock:
                self._open.discard(sock)

    def _exchange(self, sock: socket.socket, file: Any, number: int) -> bool:
        line = file.readline()
        if not line.strip():
            return False
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while (line := file.readline()) != b"\r\n":
            if not line.endswith(b"\n"):
                return False  # incomplete headers
            name, _, value = line.decode("latin-1").partition(":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        path = urlsplit(target).path
        body = b"" if path in self._eager else self._read_body(file, headers)
        request = Recorded(method, target, headers, body, number)
        with self._lock:
            self.requests.append(request)
            scripts = self._scripts.get(path) or self._scripts.get("*") or [plain(f"no script for {path}", 599)]
            script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        return all(self._play(step, sock, request) for step in ([script] if isinstance(script, bytes) else script))

    def _play(self, step: Step, sock: socket.socket, request: Recorded) -> bool:
        """Run one step; False if the connection has ended."""
        if callable(step):
            step = step(request) or b""
        if isinstance(step, bytes):
            sock.sendall(step)
        elif isinstance(step, threading.Event):
            end = time.monotonic() + PATIENCE
            while not step.wait(0.02) and not self._closing.is_set() and time.monotonic() < end:
                pass
        elif step is CLOSE:
            return False
        elif step is HALF_CLOSE:
            sock.shutdown(socket.SHUT_WR)
        elif step is RST:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        elif step is UNTIL_GONE:
            with no_more_bytes(sock), contextlib.suppress(OSError):
                while sock.recv(65536):
                    pass
            self.client_gone.set()
            return False
        else:
            self._closing.wait(float(step))  # type: ignore[arg-type]
        return not self._closing.is_set()

    def _read_body(self, file: Any, headers: dict[str, str]) -> bytes:
        pieces = []
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(file.readline(), 16):
                pieces.append(file.read(size))
                file.readline()
            file.readline()
            return b"".join(pieces)
        left = int(headers.get("content-length", "0"))
        while left > 0 and (piece := file.read(min(left, self.READ_SIZE))):
            if self.keep_bodies:
                pieces.append(piece)
            left -= len(piece)
            if self.read_pause:
                self._closing.wait(self.read_pause)
        return b"".join(pieces)
