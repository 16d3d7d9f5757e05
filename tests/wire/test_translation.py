"""Every exception of the libraries below has a translation: nothing foreign gets out."""

from __future__ import annotations

import http.client
import inspect
import socket
import ssl
from collections.abc import Iterator

import curl_cffi
import pytest
import requests
import urllib3

from hfclient.errors import (
    Cancelled,
    ConnectError,
    HFClientError,
    InvalidInputError,
    MissingDependencyError,
    ProtocolError,
    TransportError,
    TransportTimeout,
)
from hfclient.transport import Clock, Deadline, Timeouts
from hfclient.transport.curl_multi import Multi, Transfer
from hfclient.transport.urllib3_errors import translated

SECRET = "hunter2"
LEAK = f"http://user:{SECRET}@proxy.example:3128/path?token={SECRET}"


def _exceptions(module: object) -> Iterator[type[Exception]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, Exception) and not issubclass(found, Warning) and not found.__name__.startswith("_"):
            yield found


def _made(cls: type[Exception]) -> Exception:
    """An instance of *cls* that did not go through its constructor, whose arguments differ for each of them."""
    try:
        return cls(LEAK)
    except TypeError:
        made = cls.__new__(cls)
        made.args = (LEAK,)
        return made


FOREIGN = sorted(
    {
        *_exceptions(requests.exceptions),
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
def test_plain(cls: type[Exception]) -> None:
    """Whatever requests, urllib3, http.client, ssl or the socket raise becomes one of ours, without the URL it holds."""
    deadline = Deadline(Clock(Timeouts(idle=3)))
    deadline.read_wait()
    with pytest.raises(HFClientError) as caught:
        raise translated(_made(cls), deadline)
    assert isinstance(caught.value, (TransportError, ProtocolError, InvalidInputError, MissingDependencyError))
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.to_dict()}"
    if not isinstance(caught.value, InvalidInputError) and cls.__module__.split(".")[0] not in ("requests", "urllib3"):
        assert caught.value.__cause__ is not None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (requests.exceptions.ReadTimeout(), TransportTimeout),
        (requests.exceptions.ConnectTimeout(), TransportTimeout),
        (requests.exceptions.ConnectionError(urllib3.exceptions.ReadTimeoutError(None, "", "")), TransportTimeout),  # type: ignore[arg-type]
        (requests.exceptions.ConnectionError(urllib3.exceptions.NewConnectionError(None, "no")), ConnectError),  # type: ignore[arg-type]
        (requests.exceptions.ConnectionError(), ConnectError),
        (requests.exceptions.SSLError(), ConnectError),
        (requests.exceptions.ProxyError(), ConnectError),
        (requests.exceptions.ChunkedEncodingError(), ConnectError),
        (requests.exceptions.ContentDecodingError(), ProtocolError),
        (urllib3.exceptions.DecodeError(), ProtocolError),
        (requests.exceptions.InvalidURL(), InvalidInputError),
        (requests.exceptions.InvalidSchema("No connection adapters were found"), InvalidInputError),
        (requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support."), MissingDependencyError),
        (requests.exceptions.InvalidProxyURL(), InvalidInputError),
        (urllib3.exceptions.LocationParseError("x"), InvalidInputError),
        (UnicodeError("label too long"), InvalidInputError),
        (http.client.IncompleteRead(b""), ConnectError),
        (http.client.BadStatusLine("x"), ConnectError),
    ],
    ids=repr,
)
def test_plain_classes(foreign: Exception, ours: type[HFClientError]) -> None:
    """And it becomes the one that says what to do."""
    deadline = Deadline(Clock(Timeouts(idle=3)))
    deadline.read_wait()
    with pytest.raises(HFClientError) as caught:
        raise translated(foreign, deadline)
    assert type(caught.value) is ours


def test_plain_keeps_ours() -> None:
    """One of ours that went through the libraries comes out as it was, however deep it lies."""
    inner = Cancelled("mine")
    outer = requests.exceptions.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", inner))
    with pytest.raises(Cancelled) as caught:
        raise translated(outer, Deadline(Clock(Timeouts())))
    assert caught.value is inner


def test_plain_survives_circles() -> None:
    """Causes that lead back to themselves do not hang the translation."""
    first, second = requests.exceptions.RequestException("a"), ValueError("b")
    first.__cause__, second.__context__ = second, first
    with pytest.raises(ConnectError):
        raise translated(first, Deadline(Clock(Timeouts())))


CODES = [code for code in curl_cffi.CurlECode if code]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_curl(code: curl_cffi.CurlECode) -> None:
    """Every error code of libcurl becomes one of ours."""
    deadline = Deadline(Clock(Timeouts(idle=3)))
    deadline.read_wait()
    transfer = Transfer(curl_cffi, Multi(curl_cffi, "http://x", 0), deadline, give_back=lambda multi: None)
    error = transfer._error_for(int(code))
    transfer.close()
    expected = {
        "OPERATION_TIMEDOUT": TransportTimeout,
        "BAD_CONTENT_ENCODING": ProtocolError,
        "TOO_LARGE": ProtocolError,  # the headers
        "WRITE_ERROR": ProtocolError,  # what was packed unpacks to too much
        "URL_MALFORMAT": InvalidInputError,
        "UNSUPPORTED_PROTOCOL": InvalidInputError,
        "BAD_FUNCTION_ARGUMENT": InvalidInputError,
    }
    assert type(error) is expected.get(code.name, ConnectError)
    if isinstance(error, ConnectError):
        assert error.message.startswith(("the connection failed: ", "TLS failed: ", "the proxy failed: "))
