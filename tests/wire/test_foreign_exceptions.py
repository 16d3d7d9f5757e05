"""Every exception of the HTTP libraries is translated to one of hfclient's."""

from __future__ import annotations

import http.client
import inspect
import socket
import ssl
from collections.abc import Iterator

import curl_cffi
import pytest
import urllib3

from hfclient.errors import (
    Cancelled,
    ConnectError,
    HFClientError,
    InvalidInputError,
    ProtocolError,
    TransportError,
    TransportTimeout,
)
from hfclient.transport import Clock, Deadline, Timeouts
from hfclient.transport.curl_multi import Multi, Transfer
from hfclient.transport.requests_errors import translated

SECRET = "hunter2"
LEAK = f"http://user:{SECRET}@proxy.example:3128/path?token={SECRET}"


def _exceptions(module: object) -> Iterator[type[Exception]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, Exception) and not issubclass(found, Warning) and not found.__name__.startswith("_"):
            yield found


def _made(cls: type[Exception]) -> Exception:
    """An instance of *cls* made without its constructor: the arguments differ from class to class."""
    try:
        return cls(LEAK)
    except TypeError:
        made = cls.__new__(cls)
        made.args = (LEAK,)
        return made


FOREIGN = sorted(
    {
        *_exceptions(urllib3.exceptions),
        *_exceptions(http.client),
        *_exceptions(socket),
        *_exceptions(ssl),
        OSError,
        ConnectionResetError,
        BrokenPipeError,
        TimeoutError,
        EOFError,
        UnicodeError,
        ValueError,
    },
    key=lambda cls: (cls.__module__, cls.__name__),
)


@pytest.mark.parametrize("cls", FOREIGN, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_urllib3(cls: type[Exception]) -> None:
    """Every exception of urllib3, http.client, ssl and socket becomes one of hfclient's, without the URL."""
    deadline = Deadline(Clock(Timeouts(idle=3)))
    deadline.read_wait()
    with pytest.raises(HFClientError) as caught:
        raise translated(_made(cls), deadline)
    assert isinstance(caught.value, (TransportError, ProtocolError, InvalidInputError))
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.to_dict()}"
    if not isinstance(caught.value, InvalidInputError) and cls.__module__.split(".")[0] != "urllib3":
        assert caught.value.__cause__ is not None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (urllib3.exceptions.ConnectTimeoutError(), TransportTimeout),
        (urllib3.exceptions.ReadTimeoutError(None, "", ""), TransportTimeout),  # type: ignore[arg-type]
        (urllib3.exceptions.ProtocolError("Connection aborted.", TimeoutError()), TransportTimeout),
        (urllib3.exceptions.NewConnectionError(None, "no"), ConnectError),  # type: ignore[arg-type]
        (urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError()), ConnectError),
        (urllib3.exceptions.SSLError(), ConnectError),
        (urllib3.exceptions.ProxyError("Unable to connect to proxy", OSError()), ConnectError),
        (urllib3.exceptions.DecodeError(), ProtocolError),
        (urllib3.exceptions.URLSchemeUnknown("x"), InvalidInputError),
        (urllib3.exceptions.ProxySchemeUnknown("x"), InvalidInputError),
        (urllib3.exceptions.LocationParseError("x"), InvalidInputError),
        (UnicodeError("label too long"), InvalidInputError),
        (http.client.IncompleteRead(b""), ConnectError),
        (http.client.BadStatusLine("x"), ConnectError),
    ],
    ids=repr,
)
def test_urllib3_classes(foreign: Exception, ours: type[HFClientError]) -> None:
    """It becomes the class that fits."""
    deadline = Deadline(Clock(Timeouts(idle=3)))
    deadline.read_wait()
    with pytest.raises(HFClientError) as caught:
        raise translated(foreign, deadline)
    assert type(caught.value) is ours


def test_urllib3_keeps_own_errors() -> None:
    """An exception of hfclient that passed through the libraries comes out unchanged, however deep it is chained."""
    inner = Cancelled("mine")
    outer = urllib3.exceptions.MaxRetryError(None, "/", urllib3.exceptions.ProtocolError("Connection aborted.", inner))  # type: ignore[arg-type]
    with pytest.raises(Cancelled) as caught:
        raise translated(outer, Deadline(Clock(Timeouts())))
    assert caught.value is inner


def test_urllib3_with_circular_causes() -> None:
    """Causes that form a circle do not hang the translation."""
    first, second = urllib3.exceptions.HTTPError("a"), ValueError("b")
    first.__cause__, second.__context__ = second, first
    with pytest.raises(ConnectError):
        raise translated(first, Deadline(Clock(Timeouts())))


CODES = [code for code in curl_cffi.CurlECode if code]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_curl(code: curl_cffi.CurlECode) -> None:
    """Every error code of libcurl becomes an exception of hfclient."""
    deadline = Deadline(Clock(Timeouts(idle=3)))
    deadline.read_wait()
    transfer = Transfer(curl_cffi, Multi(curl_cffi, "http://x", 0), deadline, return_multi=lambda multi: None)
    error = transfer._error_for(int(code))
    transfer.close()
    expected = {
        "OPERATION_TIMEDOUT": TransportTimeout,
        "BAD_CONTENT_ENCODING": ProtocolError,
        "TOO_LARGE": ProtocolError,  # the headers
        "WRITE_ERROR": ProtocolError,  # the decompressed data is too large
        "URL_MALFORMAT": InvalidInputError,
        "UNSUPPORTED_PROTOCOL": InvalidInputError,
        "BAD_FUNCTION_ARGUMENT": InvalidInputError,
    }
    assert type(error) is expected.get(code.name, ConnectError)
    if isinstance(error, ConnectError):
        assert error.message.startswith(("the connection failed: ", "TLS failed: ", "the proxy failed: "))
