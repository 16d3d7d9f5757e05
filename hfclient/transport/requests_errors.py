"""Translates the exceptions of requests, urllib3, http.client and the socket into hfclient's own.

Reference: https://urllib3.readthedocs.io (exceptions)
"""

from __future__ import annotations

import http.client
import re
import ssl
from typing import Any

import requests
import urllib3

from hfclient.errors import (
    ConnectError,
    HFClientError,
    InvalidInputError,
    ProtocolError,
    TransportError,
)
from hfclient.transport.ca_bundle import HINT
from hfclient.transport.deadline import Deadline
from hfclient.transport.proxies import refused_tunnel

__all__ = ["translated"]

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})(?!\d)")  # http.client's message
_BROKEN = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    EOFError,
    ValueError,  # a socket that was closed while it was being read
)

_PROXY = (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError)
_TLS = (requests.exceptions.SSLError, urllib3.exceptions.SSLError)
_DECODING = (requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError)


def translated(
    exc: Exception, deadline: Deadline, *, sending: bool = True, begun: bool = False, sent: bool = True
) -> Exception:
    """Return hfclient's exception for one of requests, urllib3, http.client or the socket.

    Any other *exc* is returned unchanged. Raise the result outside of the ``except`` block, so that *exc* does not become its context: the text of *exc* has
    the URL with the query, its attributes the request, and its traceback the bytes that were sent. The innermost cause
    becomes the cause of the result, unless it is one of the libraries' own exceptions.

    Args:
        exc: The exception.
        deadline: Of the call.
        sending: The headers of the response had not arrived.
        begun: Some of the request was certainly sent. Without this, urllib3 reports a proxy error for every connection
            that ends without a response.
        sent: All of the request was sent.
    """
    chain = _chain(exc)
    for cause in chain:
        if isinstance(cause, HFClientError):
            cause.__cause__ = cause.__context__ = None
            if isinstance(cause, TransportError):
                cause.sent = sent
            return cause.with_traceback(None)
    found = _translated(exc, chain, deadline, sending=sending, begun=begun, sent=sent)
    if found is not exc and not isinstance(found, InvalidInputError):
        root = chain[-1]
        if type(root).__module__.partition(".")[0] not in ("requests", "urllib3"):
            root.__context__ = None
            found.__cause__ = root.with_traceback(None)
    return found


def _translated(
    exc: Exception, chain: list[BaseException], deadline: Deadline, *, sending: bool, begun: bool, sent: bool
) -> Exception:
    if sending and isinstance(exc, ValueError) and not isinstance(exc, (ssl.SSLError, urllib3.exceptions.ProtocolError)):
        # URLs, headers and proxies that cannot work; their text has the caller's values.
        return InvalidInputError(f"the request cannot be sent: {type(exc).__name__}")
    by_proxy = not begun and any(isinstance(cause, _PROXY) or _is_socks(cause) for cause in chain)
    if any(_is_timeout(cause) for cause in chain):
        timeout = deadline.expired()
        timeout.sent = sent
        return timeout
    if any(isinstance(cause, _DECODING) for cause in chain):
        return ProtocolError("the answer's compression is broken")
    if any(isinstance(cause, _TLS) for cause in chain):
        untrusted = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain)
        return ConnectError(f"TLS failed: {_reason(chain)}{f'; {HINT}' if untrusted else ''}", sent=sent)
    if by_proxy:
        return ConnectError(f"the proxy failed: {_reason(chain)}", sent=sent)
    if isinstance(exc, _BROKEN):
        return ConnectError(f"the connection failed: {_reason(chain)}", sent=sent)
    return exc


def _is_socks(cause: BaseException) -> bool:
    """Return whether it is PySocks' own exception, without an import of that package."""
    return type(cause).__module__ == "socks"


def _is_timeout(cause: BaseException) -> bool:
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return False  # a refused connection; urllib3 derives it from its connect timeout
    return isinstance(cause, (TimeoutError, requests.exceptions.Timeout, urllib3.exceptions.TimeoutError))


def _chain(exc: BaseException) -> list[BaseException]:
    """Return *exc* and its causes, the innermost last.

    Without ``__context__``, which may be an exception that the caller was handling. Only the context of urllib3's
    `NewConnectionError` is included: the answer of a SOCKS proxy.
    """
    found: list[BaseException] = []
    queue: list[Any] = [exc]
    while queue:
        item = queue.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            queue += [item.__cause__, getattr(item, "reason", None), *item.args]
            if isinstance(item, urllib3.exceptions.NewConnectionError):
                queue.append(item.__context__)
    return found


def _reason(chain: list[BaseException]) -> str:
    """Return the text of the innermost cause. The texts of the outer ones have URLs and passwords of proxies."""
    for cause in reversed(chain):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        if _is_socks(cause):
            return str(cause)  # what the proxy answered
        if type(cause) is OSError and (refused := _TUNNEL.match(str(cause))):
            return refused_tunnel(int(refused[1]))
        if isinstance(cause, http.client.IncompleteRead):
            return "the answer ended before it was complete"
        if isinstance(cause, http.client.RemoteDisconnected):
            return "the server closed the connection without an answer"
        if isinstance(cause, http.client.HTTPException):
            return f"the answer is not HTTP ({type(cause).__name__})"
    return type(chain[-1]).__name__
