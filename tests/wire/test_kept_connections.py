"""A kept connection is reused, but never after its server has sent something or closed it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from hfclient.errors import ConnectError, MissingDependencyError
from hfclient.transport import Transport
from hfclient.transport.curl_multi import Multi
from tests.conftest import make_transport
from tests.server import CERTIFICATE, HALF_CLOSE, PATIENCE, RST, Server, Step, chunked, plain
from tests.wire.helpers import send

TIMED_OUT = plain(b"too late", 408, "Connection: close")
LAST_WORDS: dict[str, list[Step]] = {"end": [HALF_CLOSE], "408": [TIMED_OUT, HALF_CLOSE]}


@pytest.fixture(params=["http", "https"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server without and with TLS."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with Server(tls=request.param == "https") as running:
        yield running


def ends_after(answer: bytes | list[Step], *last: Step) -> tuple[list[Step], threading.Event]:
    """A script that closes its connection after *answer*, and an event that is set then."""
    ended = threading.Event()
    return [*([answer] if isinstance(answer, bytes) else answer), *last, lambda request: ended.set()], ended


@pytest.mark.parametrize("last_words", LAST_WORDS.values(), ids=LAST_WORDS)
@pytest.mark.parametrize(
    ("method", "body"), [("POST", b"x"), ("POST", b""), ("POST", b"x" * 300_000), ("PUT", b"x"), ("DELETE", None), ("GET", None)]
)
def test_a_kept_connection_that_has_ended(
    transport: Transport, either: Server, method: str, body: bytes | None, last_words: list[Step]
) -> None:
    """A request after the server has closed the kept connection is sent once, over a new connection, for every method."""
    first, ended = ends_after(chunked(b"one"), *last_words)
    either.on("/s", first, plain(b"two"))
    assert send(transport, f"{either.url}/s").read() == b"one"
    assert ended.wait(PATIENCE)
    assert send(transport, f"{either.url}/s", method=method, body=body).read() == b"two"
    assert [request.connection for request in either.requests] == [1, 2]


def test_a_connection_that_ends_right_after_its_response() -> None:
    """A request that must not be repeated waits a moment before it reuses a connection, in case the server closes it."""
    curl_cffi = pytest.importorskip("curl_cffi")
    here, there = socket.socketpair()
    with here:
        multi = Multi(curl_cffi, "http://a.example", 0)
        multi.socket, multi.quiet_since = here.fileno(), time.monotonic()
        assert multi.is_quiet()
        ending = threading.Thread(target=there.close)
        ending.start()
        assert not multi.is_quiet(PATIENCE)
        ending.join()


def test_a_connection_that_has_outlived_an_answer() -> None:
    """After its second answer a connection is reused at once: its server does not close it after each one."""
    curl_cffi = pytest.importorskip("curl_cffi")
    here, there = socket.socketpair()
    with here, there:
        multi = Multi(curl_cffi, "http://a.example", 0)
        multi.socket, multi.quiet_since, multi.outlives_responses = here.fileno(), time.monotonic(), True
        began = time.monotonic()
        assert multi.is_quiet(PATIENCE)
        assert time.monotonic() - began < PATIENCE
        there.sendall(b"a late answer")
        assert not multi.is_quiet(PATIENCE)


def test_connections_know_whether_they_outlive_answers(server: Server) -> None:
    """A new connection does not; one that has carried a second answer does."""
    pytest.importorskip("curl_cffi")
    server.on("/s", plain(b"one"), plain(b"two"))
    transport = make_transport("impersonate")
    known = []
    for _ in range(2):
        send(transport, f"{server.url}/s", method="POST", body=b"x").read()
        known.append([multi.outlives_responses for multi in transport._idle])  # type: ignore[attr-defined]
    assert known == [[False], [True]]
    transport.close()


def test_a_proxy_that_has_closed_its_connection(transport_name: str, server: Server) -> None:
    """The same is true for the connection to a proxy."""
    first, ended = ends_after(plain(b"one"), HALF_CLOSE)
    server.on("*", first, plain(b"two"))
    opened = make_transport(transport_name, proxy=server.url)
    assert send(opened, "http://chat.example/s", method="POST", body=b"1").read() == b"one"
    assert ended.wait(PATIENCE)
    assert send(opened, "http://chat.example/s", method="POST", body=b"2").read() == b"two"
    assert [request.body for request in server.requests] == [b"1", b"2"]
    opened.close()


@pytest.mark.parametrize("end", [HALF_CLOSE, RST])
def test_a_connection_that_ends_during_a_request(transport: Transport, server: Server, end: Step) -> None:
    """If it ends after the request was read, the request is not sent again: it may have been processed."""
    server.on("/s", plain(b"one"), [end])
    assert send(transport, f"{server.url}/s").read() == b"one"
    with pytest.raises(ConnectError) as caught:
        send(transport, f"{server.url}/s", method="POST", body=b"once")
    assert caught.value.sent
    assert [request.body for request in server.requests] == [b"", b"once"]


def test_many_streams_one_connection(transport: Transport, either: Server) -> None:
    """Streams that are read to their end use one connection after each other, with and without TLS."""
    either.on("/s", chunked(b"one", b"two"))
    for _ in range(20):
        assert send(transport, f"{either.url}/s", method="POST", body=b"x", stream=True).read() == b"onetwo"
    assert either.connections == 1


def test_bytes_without_a_request(transport: Transport, either: Server) -> None:
    """Bytes on an idle connection are never read as the response to the next request."""
    first, sent = ends_after(chunked(b"one"), TIMED_OUT)
    either.on("/s", first, plain(b"two"))
    assert send(transport, f"{either.url}/s").read() == b"one"
    assert sent.wait(PATIENCE)
    assert send(transport, f"{either.url}/s", method="POST", body=b"x").read() == b"two"
    assert [request.body for request in either.requests] == [b"", b"x"]


@pytest.mark.parametrize("head", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
def test_bytes_after_an_empty_body(server: Server, head: bytes) -> None:
    """A connection on which bytes came after an empty body is not used again: more of them may follow."""
    server.on("/s", [head + b"HTTP/1.1 200 OK\r\n"], plain(b"two"))
    opened = make_transport("plain")
    assert send(opened, f"{server.url}/s").read() == b""
    assert send(opened, f"{server.url}/s").read() == b"two"
    opened.close()
    assert server.connections == 2


# The installed curl_cffi


class _Lib:
    """curl_cffi's libcurl, with one function replaced."""

    def __init__(self, name: str, function: Any) -> None:
        import curl_cffi

        self._lib: Any = curl_cffi.lib
        self._name, self._function = name, function

    def __getattr__(self, name: str) -> Any:
        if name == self._name:
            if self._function is None:
                raise AttributeError(name)
            return self._function
        return getattr(self._lib, name)


@pytest.mark.parametrize(
    ("name", "function", "reason"),
    [
        ("curl_multi_wakeup", None, "it has no curl_multi_wakeup"),
        ("curl_multi_add_handle", lambda *args: 1, "libcurl does not take the request"),
        ("curl_multi_poll", lambda multi, descriptors: 0, "TypeError"),
        ("curl_multi_info_read", lambda *args: SimpleNamespace(data=SimpleNamespace(result=56)), "the connection broke"),
    ],
)
def test_an_incompatible_curl_cffi(monkeypatch: pytest.MonkeyPatch, name: str, function: Any, reason: str) -> None:
    """A version with missing or changed functions is an error with its name before anything is sent."""
    import curl_cffi

    monkeypatch.setattr(curl_cffi, "lib", _Lib(name, function))
    with pytest.raises(MissingDependencyError, match=rf"curl_cffi {curl_cffi.__version__} does not do ") as caught:
        make_transport("impersonate")
    assert reason in str(caught.value)


def test_a_machine_without_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the self-test cannot listen on loopback, it is skipped."""
    import curl_cffi

    def refuse(*args: Any, **options: Any) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(curl_cffi, "lib", _Lib("", None))
    monkeypatch.setattr("socket.create_server", refuse)
    make_transport("impersonate").close()


def test_a_second_answer_that_the_loop_has_not_read() -> None:
    """Bytes that came while the event loop was busy are not the answer to the next request of a batch."""
    pytest.importorskip("aiohttp")
    from tests.green_transport import GreenTransport

    twice = threading.Event()
    with Server() as server:
        transport = GreenTransport()
        server.on("/s", [plain(b"one"), plain(b"not asked for"), lambda request: twice.set()], plain(b"two"))

        def both() -> list[bytes]:
            found = []
            for _ in range(2):
                found.append(send(transport._transport, f"{server.url}/s", method="POST", body=b"x").read())
                assert twice.wait(PATIENCE)  # blocks the loop
            return found

        assert transport.run(both) == [b"one", b"two"]
        transport.close()
