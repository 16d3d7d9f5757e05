"""The default transport: requests.

requests gives pooling, proxies, TLS and the words every Python reader knows. What it lacks is put in at the places that
urllib3 and http.client offer for it: a response class whose bytes come from a `_DeadlineReader`, so that each single
read of the socket knows all four deadlines (a server that drips one header byte a second cannot get around them), and
whose socket can be shut down from another thread.
"""

from __future__ import annotations

import contextlib
import http.client
import http.cookiejar
import io
import os
import queue
import socket
import threading
import time
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from hfclient.credentials import Secret
from hfclient.errors import Cancelled, ConnectError, ProtocolError
from hfclient.transport.base import Headers, Request, Response, check_headers
from hfclient.transport.cancellation import Cancellation
from hfclient.transport.chunked import ChunkReader
from hfclient.transport.deadline import Deadline
from hfclient.transport.failures import safe_url
from hfclient.transport.packed import is_ours, unpacked
from hfclient.transport.translation import translated
from hfclient.transport.trust import VARIABLES, certificates

__all__ = ["PlainTransport"]

_READ_SIZE = _SEND_SIZE = 64 * 1024
_LONGEST_HEADER = 64 * 1024
_LONGEST_HEAD = 256 * 1024  # of one answer, with all that comes before it (1xx); libcurl allows 300 KB
_ENVIRONMENT = tuple(
    case(name)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", *VARIABLES)
    for case in (str.lower, str.upper)
)
_MOST_SETTINGS = 256
_SETTINGS_LAST = 30.0  # seconds: systems with settings of their own for proxies do not tell when they change
_POOL_SIZE = 64  # connections kept per host: at least as many as a web worker has threads


class _Wire:
    """The socket under one answer, which another thread may shut down as long as it belongs to that answer."""

    def __init__(self) -> None:
        self.sock: Any = None
        self.sent = False  # bytes of the request itself, not only of what asks a proxy for a tunnel
        self._is_down = False
        self._is_unwanted = False
        self._lock = threading.Lock()
        self._process = os.getpid()

    def use(self, sock: Any) -> None:
        """Take *sock* for what follows; raises `Cancelled` if nobody wants that any more."""
        with self._lock:
            if self._is_unwanted:
                raise Cancelled("the call was cancelled")
            self.sock = sock

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
_call: ContextVar[tuple[Deadline, _Wire] | None] = ContextVar("hfclient_call", default=None)


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


class _HTTPResponse(http.client.HTTPResponse):
    """http.client's response, reading through a `_DeadlineReader`, with a head that is whole."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        if (call := _call.get()) is not None:
            deadline, wire = call
            wire.use(sock)
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_DeadlineReader(raw, sock, deadline), _READ_SIZE)
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
    _wire: _Wire | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        call = _call.get()
        last, self._wire = self._wire, call[1] if call is not None else None
        # An answer that was read to its end and cancelled afterwards took the idle connection with it.
        if last is not None and last.let_go() and self.proxy is None:
            self.close()  # type: ignore[attr-defined]
        super().request(*args, **kwargs)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        call = _call.get()
        if call is None or not isinstance(data, bytes):
            super().send(data)  # type: ignore[misc]
            return
        deadline, wire = call
        rest = memoryview(data)
        del data  # a traceback that shows local values must not show headers
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        wire.use(self.sock)  # from here on the wait for the answer can be cut short
        wire.sent = wire.sent or self._wire is wire
        while rest:
            self.sock.settimeout(deadline.read_wait())
            try:
                rest = rest[self.sock.send(rest[:_SEND_SIZE]) :]
            except TimeoutError:
                raise deadline.expired() from None


class _HTTPConnection(_Connection, urllib3.connection.HTTPConnection):
    response_class = _HTTPResponse


class _HTTPSConnection(_Connection, urllib3.connection.HTTPSConnection):
    response_class = _HTTPResponse


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class _Adapter(HTTPAdapter):
    """requests' adapter with our connection classes below it."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class _Body:
    """A body that comes through requests."""

    def __init__(self, answer: requests.Response, wire: _Wire, deadline: Deadline, *, unpacks: bool) -> None:
        self._unpacks = unpacks
        self._answer = answer
        self._raw = answer.raw
        self._wire = wire
        self._deadline = deadline
        self._aborted = False
        self._born = _forks

    def read_some(self) -> bytes:
        if self._born != _forks:
            raise ConnectError("the connection failed: it belongs to the process that this one was forked from")
        try:
            data: bytes = self._raw.read1(_READ_SIZE, decode_content=self._unpacks)
        except Exception as exc:  # noqa: BLE001 (translated, whatever it is)
            failure: Exception | None = translated(exc, self._deadline, sending=False)
        else:
            failure = None
        if self._aborted:
            raise Cancelled("the answer was cancelled while it was being read")
        if failure is not None:
            _raise(failure)
        return data

    def close(self) -> None:
        # A broken connection may complain about being closed; there is nobody left who wants to know.
        with contextlib.suppress(Exception):
            self._answer.close()

    def abort(self) -> None:
        self._aborted = True
        self._wire.shut_down()  # closing would wait for the reader's lock; this wakes it up


class PlainTransport:
    """Carries requests with the requests library.

    Any number of threads may use one. Nothing is opened before the first request, and after a fork the child starts
    with connections of its own.

    Args:
        proxy: URL of a proxy for all requests; None follows the usual environment variables.
    """

    def __init__(self, *, proxy: str | None = None) -> None:
        self._proxies = {"http": Secret(proxy), "https": Secret(proxy)} if proxy else {}
        self._session: requests.Session | None = None
        self._lock = threading.Lock()
        _live.add(self)

    def __repr__(self) -> str:
        return "PlainTransport()"

    def __getstate__(self) -> dict[str, Any]:
        return {"_proxies": self._proxies}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self.__dict__.update(state)

    def open(self, request: Request, headers: Mapping[str, str], deadline: Deadline) -> Response:
        """Send *request*; see `Transport.open`."""
        check_headers(headers)
        session = self._ready()
        query = {key: str(value) for key, value in request.params.items() if value is not None}
        wire = _Wire()
        token = _call.set((deadline, wire))
        try:
            prepared = requests.Request(
                request.method, request.url, headers=dict(headers), params=query, data=request.body
            ).prepare()
            # Only the connect timeout counts here: sending and reading look at the deadline themselves.
            timeout = (deadline.connect_wait(), None)
            with _waking(request.cancellation, wire):
                answer = session.send(
                    prepared,
                    timeout=timeout,
                    allow_redirects=False,
                    # Not kept in a variable: proxies' passwords are in it.
                    **session.merge_environment_settings(prepared.url, self._revealed_proxies(), True, None, None),
                )
        except Exception as exc:  # noqa: BLE001 (translated, whatever it is)
            failure: Exception | None = translated(exc, deadline, sent=wire.sent)
        else:
            failure = None
        finally:
            _call.reset(token)
        if failure is not None:
            if request.cancellation is not None:  # a wire that was cut, for one, looks like a connection that broke
                request.cancellation.check()
            _raise(failure)
        fields = Headers(list(answer.raw.headers.items()))
        return Response(
            answer.status_code,
            fields,
            unpacked(_Body(answer, wire, deadline, unpacks=not is_ours(fields)), fields),
            method=request.method,
            url=safe_url(request.url),
            deadline=deadline,
        )

    def _revealed_proxies(self) -> dict[str, str]:
        return {scheme: proxy.reveal() for scheme, proxy in self._proxies.items()}

    def close(self) -> None:
        """Close idle connections; the next request opens new ones."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            _close_idle(session)
            session.close()

    def _ready(self) -> requests.Session:
        session = self._session
        if session is None:
            with self._lock:
                if self._session is None:
                    self._session = _new_session()
                session = self._session
        return session

    def _drop(self) -> None:
        """Forget everything without closing it: the sockets belong to the parent process."""
        if self._session is not None:
            _graveyard.append(self._session)
        self._session = None
        self._lock = threading.Lock()


def _raise(failure: Exception) -> NoReturn:
    try:
        raise failure
    finally:
        del failure  # it would hold its own traceback, and that all that the call had opened


def _waking(cancellation: Cancellation | None, wire: _Wire) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if cancellation is None else cancellation.waking(wire.shut_down)


class _Settings(dict[str, Any]):
    """Proxies and certificates; not for showing."""

    def __repr__(self) -> str:
        return "<settings>"


class _Session(requests.Session):
    """requests' session, without what it does for each request that need not be done again.

    And without its own idea of redirects: it would read them whole and work out where they lead.
    """

    def __init__(self) -> None:
        super().__init__()
        self._settings: dict[int, tuple[float, Any]] = {}

    def merge_environment_settings(self, url: Any, *args: Any) -> Any:
        # Proxies and certificates: to find them requests reads the whole environment twice, a third of what a short
        # request costs. A hash is what they are remembered by, because proxies' passwords are among them.
        key = hash((*urlsplit(url)[:2], *map(os.environ.get, _ENVIRONMENT)))
        now = time.monotonic()
        until, settings = self._settings.get(key, (now, None))
        if until <= now:
            proxies, stream, verify, cert = args
            if urlsplit(url).scheme == "https":
                verify = certificates()
            settings = super().merge_environment_settings(url, proxies, stream, verify, cert)
            list(map(Secret, filter(None, settings["proxies"].values())))  # from now on their passwords are masked
            if len(self._settings) >= _MOST_SETTINGS:
                self._settings.clear()
            self._settings[key] = now + _SETTINGS_LAST, _Settings(settings)
        return dict(settings)

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _new_session() -> requests.Session:
    session = _Session()
    adapter = _Adapter(pool_connections=16, pool_maxsize=_POOL_SIZE)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    # Cookies are the business of `Credentials`: a jar of requests' own would send a cookie along to another host.
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    return session


def _close_idle(session: requests.Session) -> None:
    """Close connections that nobody uses now: urllib3 leaves that to whoever holds the last answer from them."""
    adapter = session.get_adapter("https://")
    assert isinstance(adapter, _Adapter)
    for manager in (adapter.poolmanager, *adapter.proxy_manager.values()):
        for key in manager.pools.keys():  # noqa: SIM118 (no mapping: it cannot be iterated over)
            pool = manager.pools.get(key)
            idle = []
            with contextlib.suppress(queue.Empty, AttributeError):  # it may have gone meanwhile
                while True:
                    idle.append(pool.pool.get(block=False))
            for connection in idle:
                if connection is not None:
                    connection.close()


_live: weakref.WeakSet[PlainTransport] = weakref.WeakSet()
_graveyard: list[requests.Session] = []
_forks = 0  # how many lie between this process and the one that imported this module


def _after_fork() -> None:
    global _forks  # noqa: PLW0603 (a fact about the process)
    _forks += 1
    for transport in list(_live):
        transport._drop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
