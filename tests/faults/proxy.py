"""A proxy that forwards bytes between a client and a server, and cuts connections at a given byte.

    with Proxy(server.port) as proxy:
        proxy.cut(at=100, how="reset")                       after 100 bytes of the next response
        proxy.cut(b"POST /conversation/", at=0, how="stall") before the first byte of the response to such a request
        proxy.cut(at=100, how="close", of_request=True)      after 100 bytes of the next request, which is then incomplete

It is one thread, does not parse HTTP, and needs requests that do not overlap. Reset (RST) and close (FIN) end the connection
on both sides; half-close ends the response and continues to read; stall forwards nothing and waits until the client has closed,
whose wait for bytes ends with the fixture ``silence``.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from typing import Any

from attrs import define, field, frozen

from tests.server import no_more_bytes

WAYS = ("reset", "close", "half-close")
_SIZE = 64 * 1024


@frozen
class Cut:
    """Where and how to cut.

    Attributes:
        request: Start of the request.
        at: Number of bytes to forward.
        how: One of `WAYS`, or ``"stall"``.
        of_request: Count bytes of the request, not of its response.
    """

    request: bytes
    at: int
    how: str
    of_request: bool


@define(eq=False)
class _Pair:
    """A client's connection and its connection to the server."""

    client: socket.socket
    server: socket.socket
    cut: Cut | None = None
    left: int = 0
    deaf: bool = False  # bytes from the server are dropped
    ends: contextlib.ExitStack = field(factory=contextlib.ExitStack)


class Proxy:
    """The proxy; a context manager.

    Attributes:
        port: Its port on 127.0.0.1.
        done: Number of cuts made.
    """

    def __init__(self, server_port: int) -> None:
        self._target = ("127.0.0.1", server_port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.done = 0
        self._cuts: list[Cut] = []
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._pairs: set[_Pair] = set()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._pairs)

    def cut(self, request: bytes = b"", *, at: int, how: str, of_request: bool = False) -> None:
        """Cut once, at the next request that starts with *request*."""
        self._cuts.append(Cut(request, at, how, of_request))

    def forget(self) -> None:
        """Remove the cuts that have not been made."""
        self._cuts.clear()

    def close(self) -> None:
        self._wake.send(b"x")
        self._thread.join(30)
        for sock in (self._listener, self._wake, self._woken):
            sock.close()
        self._selector.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    for pair in list(self._pairs):
                        self._end(pair)
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._pairs:  # not closed by an earlier event
                    with contextlib.suppress(OSError):
                        self._pass_on(key.data, key.fileobj)
                        continue
                    self._end(key.data)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._target)
        except OSError:
            client.close()
            return
        pair = _Pair(client, server)
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(sock, selectors.EVENT_READ, pair)
        self._pairs.add(pair)

    def _pass_on(self, pair: _Pair, sock: Any) -> None:
        data: bytes = sock.recv(_SIZE)
        from_client = sock is pair.client
        if from_client and data and pair.cut is None:
            cut = next((cut for cut in self._cuts if data.startswith(cut.request)), None)
            if cut is not None:
                self._cuts.remove(cut)
                pair.cut, pair.left = cut, cut.at
        if not data:
            if from_client or not pair.deaf:
                self._end(pair)
            else:
                self._selector.unregister(sock)
            return
        if pair.deaf:
            return
        if pair.cut is not None and pair.cut.of_request == from_client:
            kept, pair.left = data[: pair.left], pair.left - len(data)
            if pair.left < 0 or (from_client and not pair.left):
                if kept:
                    (pair.server if from_client else pair.client).sendall(kept)
                self._do(pair, pair.cut.how)
                return
        (pair.server if from_client else pair.client).sendall(data)

    def _do(self, pair: _Pair, how: str) -> None:
        self.done += 1
        if how == "reset":
            pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how in ("reset", "close"):
            self._end(pair)
            return
        pair.deaf = True
        if how == "half-close":
            pair.client.shutdown(socket.SHUT_WR)
        else:
            pair.ends.enter_context(no_more_bytes(pair.client))

    def _end(self, pair: _Pair) -> None:
        self._pairs.discard(pair)
        pair.ends.close()
        for sock in (pair.client, pair.server):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            sock.close()
