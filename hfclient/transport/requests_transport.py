"""The default transport: requests' adapter, with the connections of `connections.py` in its pools.

A ``requests.Session`` above the adapter would prepare each request again, keep cookies, follow redirects and read
``.netrc``. `Session` does this where it is needed, so the adapter is called directly. Mocks of ``HTTPAdapter.send``,
such as the package responses, work.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlencode

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssl_ import create_urllib3_context

from hfclient.credentials import Secret
from hfclient.errors import Cancelled, ConnectError, InvalidInputError
from hfclient.process import forks
from hfclient.process.garbage_collection import in_gc_finalizer
from hfclient.transport.ca_bundle import certificates
from hfclient.transport.connections import CALL, ONE_SEND, POOLS, READ_SIZE, Wire
from hfclient.transport.content_encoding import decoded, is_decodable
from hfclient.transport.deadline import Deadline, Tick
from hfclient.transport.multipart import Multipart
from hfclient.transport.proxies import address_for, as_url, proxy_for
from hfclient.transport.request import SIMPLE_URL, Request, check_headers, safe_url
from hfclient.transport.requests_errors import translated
from hfclient.transport.response import Headers, Response, add_address

__all__ = ["RequestsTransport"]

_HOSTS = 16  # proxies and TLS settings with cached pools
_POOL_SIZE = 64  # connections kept per host: at least as many as a web worker has threads
_of_the_parent: list[object] = []  # connections that a forked child must neither use nor close
_NO_RETRIES = urllib3.Retry(False, redirect=False)


class _SentHeaders(dict[str, str]):
    """The headers of a request, found by names in any case. requests' own class copies them one by one."""

    def __missing__(self, name: str) -> str:
        for known, value in self.items():
            if known.lower() == name.lower():
                return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and name.lower() in map(str.lower, self))

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default


class _Request(requests.PreparedRequest):
    """A request as the adapter takes it.

    Attributes:
        parsed_url: Its URL.
        proxy: URL of the proxy, or empty.
    """

    parsed_url: urllib3.util.Url
    proxy: Secret


class _Answer(requests.Response):
    """requests' response, without the cookies and the copy of the headers that are not read here."""

    def __init__(self, request: requests.PreparedRequest, raw: Any) -> None:
        self._content = False  # type: ignore[assignment]
        self._content_consumed = False
        self.status_code, self.headers, self.raw = raw.status, raw.headers, raw
        self.request, self.url = request, request.url or ""
        self.history = []


class _Adapter(HTTPAdapter):
    """requests' adapter, whose connections come from the pools of the transport.

    Args:
        pool: Returns the pool for a URL and a proxy.
    """

    def __init__(self, pool: Callable[[urllib3.util.Url, Secret], urllib3.HTTPConnectionPool]) -> None:
        self._pool = pool
        super().__init__(max_retries=_NO_RETRIES)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the transport has the pools."""

    def get_connection_with_tls_context(self, request: Any, *args: Any, **kwargs: Any) -> urllib3.HTTPConnectionPool:
        return self._pool(request.parsed_url, request.proxy)

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the pool has its TLS settings."""

    def request_url(self, request: Any, proxies: object) -> str:
        is_forwarded = request.parsed_url.scheme == "http" and request.proxy.startswith("http")
        url: str = request.url if is_forwarded else request.parsed_url.request_uri
        return url

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        return _Answer(req, resp)


class _Body:
    """The body of a response.

    Args:
        answer: urllib3's response, which holds the connection.
        read: Returns the next bytes; empty at the end.
        wire: The socket.
        deadline: Of the call.
    """

    def __init__(self, answer: Any, read: Callable[[], bytes], wire: Wire, deadline: Deadline) -> None:
        self._answer = answer
        self._read = read
        self._wire = wire
        self._deadline = deadline
        self._is_aborted = False
        self._born = forks.fork_count
        self.can_tick = not isinstance(read, functools.partial)  # urllib3 closes the connection after any exception

    def read_some(self) -> bytes:
        if self._born != forks.fork_count:
            raise ConnectError("the connection failed: it belongs to the process that this one was forked from")
        failure: Exception | None = None
        try:
            data = self._read()
        except Tick:
            raise
        except Exception as exc:  # noqa: BLE001 (every one is translated)
            failure, data = translated(exc, self._deadline, sending=False), b""
        if self._is_aborted:
            failure = Cancelled("the answer was cancelled while it was being read")
        if failure is not None:
            with contextlib.suppress(Exception):  # the connection is broken, and must not be used again
                self._answer.close()
            _raise(failure)
        if not data:
            self._answer.release_conn()
        return data

    def close(self) -> None:
        with contextlib.suppress(Exception):  # a broken connection may fail here, too
            self._answer.close()  # closes the connection, unless the body was read to its end
            if not in_gc_finalizer():  # the pool must not get a connection that a finalizer may close
                self._answer.release_conn()

    def abort(self) -> None:
        self._is_aborted = True
        self._wire.shut_down()  # closing would wait for the reader's lock; this wakes it up


class RequestsTransport:
    """Sends requests with the adapter of the package requests.

    Any number of threads may share one. Nothing is opened before the first request, and after a fork the child starts
    with connections of its own.

    Args:
        proxy: URL of a proxy for all requests; ``""`` uses none, None follows the environment (`proxies.py`).
    """

    def __init__(self, *, proxy: str | None = None) -> None:
        self._proxy = None if proxy is None else as_url(proxy)
        self._adapter = _Adapter(self._pool)
        self._managers: dict[tuple[Secret, ssl.SSLContext | None], urllib3.PoolManager] = {}  # by proxy and trust
        self._last_pool: tuple[Any, urllib3.HTTPConnectionPool] | None = None  # to look it up takes urllib3 20 us
        forks.reset_after_fork(self._reset_after_fork)

    def __repr__(self) -> str:
        return "RequestsTransport()"

    @property
    def is_plain(self) -> bool:
        """Whether another transport does the same: neither a subclass nor a tool that replaces the adapter sends the requests."""
        return type(self) is RequestsTransport and HTTPAdapter.send.__module__ == HTTPAdapter.__module__

    @property
    def proxy(self) -> str | None:
        """The proxy that was passed; see the arguments."""
        return self._proxy

    def __getstate__(self) -> dict[str, Any]:
        return {"proxy": self._proxy}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def open(self, request: Request, headers: Mapping[str, str], deadline: Deadline) -> Response:
        """Send *request*; see `Transport.open`."""
        check_headers(headers)
        wire = Wire()
        token = CALL.set((deadline, wire))
        try:
            url = _url_of(request)
            full_url = url.url
            site = f"{url.scheme}://{url.netloc}"
            proxy = proxy_for(site, self._proxy)
            deadline.address = address_for(site, proxy)
            prepared = _Request()
            content = request.body
            if content and not isinstance(content, bytes) and len(content) <= ONE_SEND:
                content = b"".join(content)  # it leaves in one packet, together with the head
            prepared.method, prepared.url, prepared.body = request.method, full_url, content or None  # type: ignore[assignment]
            prepared.headers = _framed(headers, request.method, content)  # type: ignore[assignment]
            prepared.parsed_url, prepared.proxy = url, proxy
            # Only the connect timeout counts here: sending and reading look at the deadline themselves.
            timeout: Any = (deadline.connect_wait(), None)
            with deadline.clock.cancellation.waking(wire.shut_down):
                answer = self._adapter.send(prepared, stream=True, timeout=timeout).raw
        except Exception as exc:  # noqa: BLE001 (every one is translated)
            failure: Exception | None = translated(exc, deadline, begun=wire.begun, sent=wire.sent)
        else:
            failure = None
        finally:
            CALL.reset(token)
        if failure is not None:
            deadline.clock.cancellation.check()  # a wire that was shut down raises the errors of a broken connection
            if isinstance(failure, ConnectError):
                add_address(failure, deadline.address)
            _raise(failure)
        fields = Headers(list(answer.headers.items()))
        body = _Body(answer, _reading(answer, wire, fields), wire, deadline)
        return Response(
            answer.status,
            fields,
            decoded(body, fields),
            method=request.method,
            url=safe_url(request.url),
            deadline=deadline,
        )

    def close(self) -> None:
        """Close idle connections; the next request opens new ones."""
        with self._lock:
            managers, self._managers, self._last_pool = self._managers, {}, None
        for manager in managers.values():
            _close_idle(manager)
            manager.clear()

    def _pool(self, url: urllib3.util.Url, proxy: Secret) -> urllib3.HTTPConnectionPool:
        needs_tls = url.scheme == "https" or proxy.startswith("https:")
        key = (proxy, _trust() if needs_tls else None)
        place = (key, url.scheme, url.host, url.port)
        last = self._last_pool
        if last is not None and last[0] == place and last[1].pool is not None:  # None: it was closed for others
            return last[1]
        manager = self._managers.get(key)
        if manager is None:
            with self._lock:
                manager = self._managers[key] = self._managers.get(key) or _new_manager(*key)
        pool = manager.connection_from_host(url.host, url.port, url.scheme)
        self._last_pool = place, pool
        return pool

    def _reset_after_fork(self) -> None:
        """Forget all connections without closing them: the sockets belong to the parent process."""
        if self._managers:
            _of_the_parent.extend((self._managers, self._last_pool))
        self._managers, self._last_pool = {}, None
        self._lock = threading.RLock()  # a signal handler may close it


def _raise(failure: Exception) -> NoReturn:
    try:
        raise failure
    finally:
        del failure  # it would reference its own traceback, and so everything that the call has opened


def _url_of(request: Request) -> urllib3.util.Url:
    """Return the URL with the query, without a fragment, percent-encoded."""
    url, _, _ = request.url.partition("#")
    if query := urlencode([(name, str(value)) for name, value in request.params.items() if value is not None]):
        url = f"{url}{'&' if '?' in url else '?'}{query}"
    simple = SIMPLE_URL.fullmatch(url)
    if simple is None or "/." in simple[2]:
        return _parsed(url)
    return _parsed(simple[1])._replace(path=simple[2])  # each conversation has URLs of its own


@functools.lru_cache(maxsize=64)
def _parsed(url: str) -> urllib3.util.Url:
    found = urllib3.util.parse_url(url)
    if found.scheme not in ("http", "https") or not found.host:
        raise InvalidInputError("the request cannot be sent: its URL has no host, or is not one of HTTP")
    return found


def _framed(headers: Mapping[str, str], method: str, body: bytes | Multipart | None) -> _SentHeaders:
    """Return *headers* with the length of the body."""
    framed = _SentHeaders(headers)
    if body or method not in ("GET", "HEAD"):
        framed["Content-Length"] = str(len(body or b""))
    return framed


def _reading(answer: Any, wire: Wire, headers: Headers) -> Callable[[], bytes]:
    """Return the function that reads the body: http.client's, unless urllib3 has to decode a content coding."""
    response, wire.response = wire.response, None
    if response is not None and (is_decodable(headers) or "content-encoding" not in headers):
        return response.read_some
    return functools.partial(answer.read1, READ_SIZE, decode_content=not is_decodable(headers))


def _new_manager(proxy: Secret, context: ssl.SSLContext | None) -> urllib3.PoolManager:
    settings: dict[str, Any] = {"num_pools": _HOSTS, "maxsize": _POOL_SIZE}
    if context is not None:
        settings.update(ssl_context=context, cert_reqs="CERT_REQUIRED")
    if proxy.startswith("socks"):
        from hfclient.transport.socks_connections import socks_manager

        return socks_manager(proxy.reveal(), **settings)
    if proxy:
        login = urllib3.util.parse_url(proxy.reveal()).auth
        if login is not None and ":" not in login:
            login += ":"  # a user name alone has an empty password: RFC 7617, section 2
        settings["proxy_headers"] = urllib3.util.make_headers(proxy_basic_auth=unquote(login)) if login else None
        manager: urllib3.PoolManager = urllib3.proxy_from_url(proxy.reveal(), proxy_ssl_context=context, **settings)
    else:
        manager = urllib3.PoolManager(**settings)
    manager.pool_classes_by_scheme = POOLS
    return manager


def _trust() -> ssl.SSLContext:
    """Return the TLS settings: one object for all clients, because reading the certificates takes 20 ms."""
    path = certificates() or DEFAULT_CA_BUNDLE_PATH
    return _context(path, Path(path).stat().st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _context(path: str, changed: int) -> ssl.SSLContext:
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    try:
        context.load_verify_locations(**{"capath" if Path(path).is_dir() else "cafile": path})
    except OSError as exc:
        raise urllib3.exceptions.SSLError(exc) from exc
    return context


def _close_idle(manager: urllib3.PoolManager) -> None:
    """Close connections that are not in use: urllib3 leaves that to the last response from them."""
    for key in manager.pools.keys():  # noqa: SIM118 (not a mapping: it cannot be iterated over)
        pool: Any = manager.pools.get(key)
        idle = []
        with contextlib.suppress(queue.Empty, AttributeError):  # another thread may have closed it
            while True:
                idle.append(pool.pool.get(block=False))
        for connection in idle:
            if connection is not None:
                connection.close()
