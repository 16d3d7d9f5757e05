"""The default transport: requests.

requests gives pooling, proxies, TLS and the words every Python reader knows. The connections below it are our own kind of
urllib3's; see `connections.py`.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import os
import queue
import threading
import weakref
from collections.abc import Mapping
from typing import Any, NoReturn

import requests
from requests.adapters import HTTPAdapter

from hfclient.errors import Cancelled, ConnectError
from hfclient.process.garbage_collection import in_gc_finalizer
from hfclient.transport.base import Headers, Request, Response, add_address, check_headers, safe_url
from hfclient.transport.ca_bundle import certificates
from hfclient.transport.connections import CALL, POOLS, READ_SIZE, Wire
from hfclient.transport.content_encoding import is_ours, unpacked
from hfclient.transport.deadline import Deadline
from hfclient.transport.proxies import address_for, as_url, proxy_for
from hfclient.transport.urllib3_errors import translated

__all__ = ["PlainTransport"]

_POOL_SIZE = 64  # connections kept per host: at least as many as a web worker has threads


class _Adapter(HTTPAdapter):
    """requests' adapter with our connection classes below it."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = POOLS
        return manager


class _Body:
    """A body that comes through requests."""

    def __init__(self, answer: requests.Response, wire: Wire, deadline: Deadline, *, unpacks: bool) -> None:
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
            data: bytes = self._raw.read1(READ_SIZE, decode_content=self._unpacks)
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
            if in_gc_finalizer():  # the pool must not get what the next finalizer may close
                self._raw.close()
            else:
                self._answer.close()

    def abort(self) -> None:
        self._aborted = True
        self._wire.shut_down()  # closing would wait for the reader's lock; this wakes it up


class PlainTransport:
    """Carries requests with the requests library.

    Any number of threads may use one. Nothing is opened before the first request, and after a fork the child starts
    with connections of its own.

    Args:
        proxy: URL of a proxy for all requests; ``""`` uses none, None follows the environment (`proxies.py`).
    """

    def __init__(self, *, proxy: str | None = None) -> None:
        self._proxy = None if proxy is None else as_url(proxy)
        self._session: requests.Session | None = None
        self._lock = threading.RLock()  # a signal handler may close it
        _live.add(self)

    def __repr__(self) -> str:
        return "PlainTransport()"

    def __getstate__(self) -> dict[str, Any]:
        return {"proxy": self._proxy}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def open(self, request: Request, headers: Mapping[str, str], deadline: Deadline) -> Response:
        """Send *request*; see `Transport.open`."""
        check_headers(headers)
        session = self._ready()
        query = {key: str(value) for key, value in request.params.items() if value is not None}
        wire = Wire()
        token = CALL.set((deadline, wire))
        try:
            prepared = requests.Request(
                request.method, request.url, headers=dict(headers), params=query, data=request.body
            ).prepare()
            proxy = proxy_for(str(prepared.url), self._proxy)
            deadline.address = address_for(request.url, proxy)
            # Only the connect timeout counts here: sending and reading look at the deadline themselves.
            timeout = (deadline.connect_wait(), None)
            with deadline.clock.cancellation.waking(wire.shut_down):
                answer = session.send(
                    prepared,
                    timeout=timeout,
                    allow_redirects=False,
                    stream=True,
                    verify=certificates() or True,
                    cert=None,
                    proxies=_Proxies(dict.fromkeys(("http", "https"), proxy.reveal()) if proxy else {}),
                )
        except Exception as exc:  # noqa: BLE001 (translated, whatever it is)
            failure: Exception | None = translated(exc, deadline, begun=wire.begun, sent=wire.sent)
        else:
            failure = None
        finally:
            CALL.reset(token)
        if failure is not None:
            deadline.clock.cancellation.check()  # a wire that was cut, for one, looks like a connection that broke
            if isinstance(failure, ConnectError):
                add_address(failure, deadline.address)
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
                self._session = session = self._session or _new_session()
        return session

    def _drop(self) -> None:
        """Forget everything without closing it: the sockets belong to the parent process."""
        if self._session is not None:
            _graveyard.append(self._session)
        self._session = None
        self._lock = threading.RLock()


def _raise(failure: Exception) -> NoReturn:
    try:
        raise failure
    finally:
        del failure  # it would hold its own traceback, and that all that the call had opened


class _Proxies(dict[str, str]):
    """Proxies as requests wants them, with their passwords; not for showing."""

    def __repr__(self) -> str:
        return "<proxies>"


class _Session(requests.Session):
    """requests' session, without its own idea of redirects: it would read them whole and work out where they lead."""

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
