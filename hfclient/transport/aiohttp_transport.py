"""The transport of a batch: aiohttp, for greenlets of `GreenThreads`.

In one thread it needs a seventh of the time that requests needs in 64 threads.

Reference: https://docs.aiohttp.org/en/stable/client_reference.html
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import yarl

from hfclient.credentials import origin_of
from hfclient.errors import (
    Cancelled,
    ConnectError,
    HFClientError,
    InvalidInputError,
    ProtocolError,
    TransportError,
    Unsupported,
)
from hfclient.transport import Deadline, Multipart, Request, Response
from hfclient.transport.ca_bundle import HINT, certificates
from hfclient.transport.content_encoding import decoded
from hfclient.transport.green_threads import Wait, await_here
from hfclient.transport.proxies import address_for, proxy_for, refused_tunnel
from hfclient.transport.request import check_headers, safe_url
from hfclient.transport.response import Headers, add_address
from hfclient.transport.sockets import readable_now

__all__ = ["AiohttpTransport"]

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)  # waits have our own
_OWN_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # aiohttp adds them unasked
_KEEP_ALIVE = 15.0  # seconds that a connection waits for the next request
_ONE_SEND = 64 * 1024  # bytes of a body that are sent at a time
_ABORTED = "the answer was cancelled while it was being read"
_LONGEST_HEADER = 64 * 1024  # as in http.client
_NO_COOKIES: SimpleCookie = SimpleCookie()


class AiohttpTransport:
    """Sends requests with aiohttp. Each call must run in a greenlet of one `GreenThreads`.

    Args:
        proxy: URL of a proxy for all requests; ``""`` uses none, None follows the environment. SOCKS is not supported.
    """

    def __init__(self, *, proxy: str | None = None) -> None:
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None
        self._opening: dict[asyncio.Task[Any] | None, Callable[[], object]] = {}

    def open(self, request: Request, headers: Mapping[str, str], deadline: Deadline) -> Response:
        """Send *request*; see `Transport.open`."""
        check_headers(headers)
        url, site = _url_of(request)
        proxy = proxy_for(site, self._proxy)
        deadline.address = address_for(site, proxy)
        if proxy.startswith("socks"):
            raise Unsupported("aiohttp has no SOCKS proxies")
        options: dict[str, Any] = {}
        if url.scheme == "https" or proxy.startswith("https:"):
            options["ssl"] = _trust()
        if proxy:
            options["proxy"] = proxy.reveal()
        sent = {name: "".join(value) for name, value in headers.items()}  # a Secret is formatted as stars
        if "Accept-Encoding" not in sent:
            sent["Accept-Encoding"] = "identity"
        wait, seconds = Wait(), deadline.connect_wait()
        body: Any = request.body or None
        if body is not None and (len(body) > _ONE_SEND or not isinstance(body, bytes)):
            sent["Content-Length"] = str(len(body))
            body = _Pieces(body, wait, deadline)
        session = self._session or self._new_session()
        is_connected = False

        def connected() -> None:
            nonlocal is_connected
            is_connected = True
            wait.limit(deadline.read_wait())

        failure: Exception
        self._opening[wait.task] = connected
        try:
            with deadline.clock.cancellation.waking(wait.cancel):
                answer = await_here(
                    session.request(request.method, url, data=body, headers=sent, allow_redirects=False, **options), seconds
                )
        except Exception as error:  # noqa: BLE001 (every one is translated)
            deadline.clock.cancellation.check()
            failure = _translated(error, deadline, sent=is_connected and getattr(body, "is_sent", True))
        else:
            fields = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.raw_headers])
            return Response(
                answer.status,
                fields,
                decoded(_Body(answer, deadline), fields),
                method=request.method,
                url=safe_url(request.url),
                deadline=deadline,
            )
        finally:
            del self._opening[wait.task]
        if isinstance(failure, ConnectError):
            add_address(failure, deadline.address)
        raise failure

    def _new_session(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=_Connector(self._opening, limit=0, keepalive_timeout=_KEEP_ALIVE),
            cookie_jar=_NoCookies(),
            timeout=_NO_TIMEOUT,
            skip_auto_headers=_OWN_HEADERS,
            auto_decompress=False,
            trust_env=False,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )
        return self._session

    async def aclose(self) -> None:
        """Close all connections, in the loop."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def close(self) -> None:
        """Do nothing: the connections end with the batch."""


class _Handler(aiohttp.client_proto.ResponseHandler):
    """The protocol of a connection."""

    _is_readable: Callable[[], bool] | None = None

    def begins_anew(self) -> bool:
        """Whether the next answer is that to the next request: no bytes have come since the last one, nor the end.

        That includes bytes which the loop has not read yet. A new connection with TLS may have bytes: its session tickets.
        """
        if self._is_readable is not None:
            return not self.should_close and not self._is_readable()
        found: Any = self.transport and self.transport.get_extra_info("socket")
        self._is_readable = bool if found is None else readable_now(found.fileno())
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        transport = self.transport
        super().connection_lost(exc)  # in Python 3.10 the end of a TLS connection leaves its transport open, with a warning
        if transport is not None:
            transport.close()


class _Connector(aiohttp.TCPConnector):
    """Connections to servers and proxies.

    Args:
        opening: What to call for each task when it has a connection, so that ``Timeouts.connect`` ends there.
        options: Those of aiohttp.
    """

    def __init__(self, opening: Mapping[asyncio.Task[Any] | None, Callable[[], object]], **options: Any) -> None:
        super().__init__(**options)
        self._factory = functools.partial(_Handler, loop=asyncio.get_running_loop())  # type: ignore[assignment]
        self._opening = opening

    async def connect(self, *args: Any, **options: Any) -> Any:
        connection: Any = await super().connect(*args, **options)
        while not connection.protocol.begins_anew():
            connection.close()
            connection = await super().connect(*args, **options)
        self._opening[asyncio.current_task()]()
        return connection


class _NoCookies(aiohttp.DummyCookieJar):
    """No cookies: `Session` keeps those of the chat server."""

    def filter_cookies(self, request_url: yarl.URL) -> SimpleCookie:
        return _NO_COOKIES


class _Pieces:
    """A long body; each piece that the server takes begins the wait anew.

    Attributes:
        is_sent: All pieces have been taken.
    """

    def __init__(self, body: bytes | Multipart, wait: Wait, deadline: Deadline) -> None:
        self._body = body
        self._wait = wait
        self._deadline = deadline
        self.is_sent = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body = self._body
        for piece in (body[at : at + _ONE_SEND] for at in range(0, len(body), _ONE_SEND)) if isinstance(body, bytes) else body:
            yield piece
            self._wait.limit(self._deadline.read_wait())
        self.is_sent = True


class _Body:
    """The body of a response; see `hfclient.transport.response.Body`."""

    can_tick = False

    def __init__(self, answer: aiohttp.ClientResponse, deadline: Deadline) -> None:
        self._answer = answer
        self._deadline = deadline
        self._failure: Exception | None = None
        self._is_aborted = False
        self._loop = asyncio.get_running_loop()

    def read_some(self) -> bytes:
        content = self._answer.content
        try:
            if self._is_aborted or self._failure is not None:
                raise self._failure or Cancelled("")
            if content.at_eof():
                return b""
            if content.total_bytes and (data := content.read_nowait(-1)):  # it has arrived with the headers
                return data
            seconds = self._deadline.read_wait()
            return await_here(content.readany(), seconds)
        except Exception as error:  # noqa: BLE001 (every one is translated)
            failure = Cancelled(_ABORTED) if self._is_aborted else _translated(error, self._deadline)
        # aiohttp raises the error of a connection before the bytes that came first.
        buffer = getattr(content, "_buffer", None)
        if buffer and self._failure is None and not self._is_aborted:
            self._failure = failure
            return b"".join(buffer)
        raise failure

    def close(self) -> None:
        self._answer.close()  # frees the connection for others if the body was read to its end

    def abort(self) -> None:
        self._is_aborted = True
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._close_aborted)

    def _close_aborted(self) -> None:
        self._answer.content.set_exception(Cancelled(_ABORTED))  # wakes up the reader
        self._answer.close()


def _translated(error: Exception, deadline: Deadline, *, sent: bool = True) -> Exception:
    """Return hfclient's exception for one of aiohttp or the socket; any other one as it is."""
    known: BaseException | None = error
    while known is not None:
        if isinstance(known, HFClientError):  # of a file that is being sent, or a deadline
            found: Exception = known.with_traceback(None)
            found.__cause__ = found.__context__ = None
            break
        known = known.__cause__
    else:
        found = deadline.expired() if isinstance(error, asyncio.TimeoutError) else _connect_error(error)
        found.__cause__ = _cause(error)
    if isinstance(found, TransportError):
        found.sent = sent
    return found


def _connect_error(error: Exception) -> Exception:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return ConnectError(f"TLS failed: {_reason(error.certificate_error)}; {HINT}")
        case aiohttp.ClientConnectorSSLError():
            return ConnectError(f"TLS failed: {_reason(error.os_error)}")
        case aiohttp.ClientProxyConnectionError():
            return ConnectError(f"the proxy failed: {_reason(error.os_error)}")
        case aiohttp.ClientHttpProxyError():
            return ConnectError(f"the proxy failed: {refused_tunnel(error.status)}")
        case aiohttp.ClientConnectorError():
            return ConnectError(f"the connection failed: {_reason(error.os_error)}")
        case aiohttp.InvalidURL():
            return InvalidInputError("the request cannot be sent: its URL has no host, or is not one of HTTP")
        case aiohttp.ClientPayloadError() | asyncio.IncompleteReadError():
            return ConnectError("the connection failed: the answer ended before it was complete")
        case aiohttp.ServerDisconnectedError():
            return ConnectError("the connection failed: the server closed the connection without an answer")
        case aiohttp.ClientResponseError() if error.message.startswith(("Too many headers", "Got more than")):
            return ProtocolError("the answer's headers are too large")
        case aiohttp.ClientResponseError() | aiohttp.http_exceptions.HttpProcessingError():
            return ConnectError("the connection failed: the answer is not HTTP")
        case RuntimeError() if str(error) in ("Connection closed.", "Session is closed"):
            return ConnectError("the connection failed: it was closed")
        case ssl.SSLError():
            return ConnectError(f"TLS failed: {_reason(error)}")
        case aiohttp.ClientError() | OSError():
            return ConnectError(f"the connection failed: {_reason(error)}")
        case ValueError():
            return InvalidInputError(f"the request cannot be sent: {type(error).__name__}")
    return error


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0 and not isinstance(error, ssl.SSLError):
        return os.strerror(number)  # asyncio's own text has the address
    return getattr(error, "strerror", None) or type(error).__name__


def _cause(error: Exception) -> BaseException | None:
    """Return the error of the socket behind one of aiohttp, which itself has the URL and the request."""
    cause = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error.__cause__
    if not isinstance(cause, (OSError, ssl.SSLError)) or type(cause).__module__.startswith("aiohttp"):
        return None
    cause.__cause__ = cause.__context__ = None
    return cause.with_traceback(None)


def _url_of(request: Request) -> tuple[yarl.URL, str]:
    """Return the URL with the query, without a fragment, and its site."""
    url, _, _ = request.url.partition("#")
    if request.params and (query := urlencode([(name, str(value)) for name, value in request.params.items() if value is not None])):
        url = f"{url}{'&' if '?' in url else '?'}{query}"
    return _parsed(url)


@functools.lru_cache(maxsize=64)
def _parsed(url: str) -> tuple[yarl.URL, str]:
    try:
        found = yarl.URL(url)
    except ValueError as exc:
        raise InvalidInputError(f"the request cannot be sent: {type(exc).__name__}") from None
    if found.scheme not in ("http", "https") or not found.host:
        raise InvalidInputError("the request cannot be sent: its URL has no host, or is not one of HTTP")
    origin_of(url)  # aiohttp would look for a host with a space
    return found, str(found.origin())


def _trust() -> ssl.SSLContext:
    import certifi

    path = certificates() or certifi.where()
    try:
        return _context(path, Path(path).stat().st_mtime_ns)
    except OSError as exc:
        raise ConnectError(f"TLS failed: {path} cannot be read: {_reason(exc)}", sent=False) from exc


@functools.lru_cache(maxsize=4)
def _context(path: str, changed: int) -> ssl.SSLContext:
    folder = Path(path).is_dir()
    return ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
