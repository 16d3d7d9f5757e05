"""Connections that break at a certain byte: the exceptions, on both transports."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from hfclient.errors import ConnectError, InvalidInputError, ProtocolError, TransportTimeout
from hfclient.transport import Request, Timeouts, Transport
from tests.server import CLOSE, HALF_CLOSE, RST, Server, chunk, delimited, head, plain
from tests.wire.helpers import send, session_for

ENDS = {"fin": CLOSE, "rst": RST, "half": HALF_CLOSE}


@pytest.fixture(params=ENDS)
def end(request: pytest.FixtureRequest):
    return ENDS[request.param]


def test_before_headers(transport: Transport, server: Server, end) -> None:
    """A connection that ends before the response is a `ConnectError`; the request may have arrived."""
    server.on("/s", [end, 5.0])
    with pytest.raises(ConnectError, match="the connection failed: ") as caught:
        send(transport, f"{server.url}/s")
    assert caught.value.sent


@pytest.mark.parametrize("start", [b"H", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_in_the_headers(transport: Transport, server: Server, end, start: bytes) -> None:
    """Incomplete headers are not a response. (http.client accepts complete lines: then the body is missing.)"""
    server.on("/s", [start, end, 5.0])
    with pytest.raises(ConnectError) as caught:
        send(transport, f"{server.url}/s", method="POST", body=b"x").read()
    assert caught.value.sent  # libcurl accepts incomplete headers


HEADS = {
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "counted": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "delimited": b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\n",
    "1.0": b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "an error": b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
    "after 100": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("whole", HEADS.values(), ids=HEADS)
def test_at_every_byte_of_a_head(transport: Transport, server: Server, whole: bytes) -> None:
    """Headers without their last byte are not accepted as a response."""
    cuts = range(1, len(whole))
    server.on("/s", *([whole[:cut], CLOSE] for cut in cuts))
    for method, cut in zip(["GET", "POST"] * len(whole), cuts, strict=False):
        with pytest.raises(ConnectError) as caught:
            send(transport, f"{server.url}/s", method=method, body=b"x" if method == "POST" else None)
        assert caught.value.sent, whole[:cut]


def test_in_a_chunked_body(transport: Transport, server: Server, end) -> None:
    """A chunked body without its last chunk is an error, after the bytes that were received."""
    for cut in (chunk(b"more")[:5], chunk(b"more")[:1], chunk(b"more"), b""):
        go = threading.Event()
        server.on("/s", [head(200, "Transfer-Encoding: chunked"), chunk(b"one"), go, cut, end, 5.0])
        response = send(transport, f"{server.url}/s", stream=True)
        assert response._body.read_some() == b"one"
        go.set()
        with pytest.raises(ConnectError, match="the connection failed: "):
            response.read()


def test_in_a_counted_body(transport: Transport, server: Server, end) -> None:
    """A body shorter than its Content-Length is an error."""
    go = threading.Event()
    server.on("/s", [head(200, "Content-Length: 10"), b"one", go, end, 5.0])
    response = send(transport, f"{server.url}/s", stream=True)
    assert response._body.read_some() == b"one"
    go.set()
    with pytest.raises(ConnectError, match="the connection failed: "):
        response.read()


@pytest.mark.parametrize("end", [CLOSE, HALF_CLOSE])
def test_a_body_that_ends_with_its_connection(transport: Transport, server: Server, end) -> None:
    """Without framing the end of the connection is the end of the body; the layers above check for the final event."""
    server.on("/s", [*delimited(b"one", b"two")[:-1], end, 1.0])
    assert send(transport, f"{server.url}/s").read() == b"onetwo"


def test_reset_in_an_unframed_body(transport: Transport, server: Server) -> None:
    """A reset is never a regular end."""
    go = threading.Event()
    server.on("/s", [*delimited(b"one")[:-1], go, RST])
    response = send(transport, f"{server.url}/s", stream=True)
    assert response._body.read_some() == b"one"
    go.set()
    with pytest.raises(ConnectError):
        response.read()


def test_too_long_a_body(transport: Transport, server: Server) -> None:
    """Bytes beyond the Content-Length are dropped, and the connection is not reused."""
    server.on("/s", [head(200, "Content-Length: 3"), b"abcdef"])
    for _ in range(2):
        assert send(transport, f"{server.url}/s").read() == b"abc"


@pytest.mark.parametrize(
    "answer",
    [b"\x16\x03\x01 not http at all\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"\r\n\r\n", b"HTTP/1.1 abc Whatever\r\n\r\n"],
)
def test_another_protocol(transport: Transport, server: Server, answer: bytes) -> None:
    """A server of another protocol is a `ConnectError` with a clear message."""
    server.on("/s", [answer, CLOSE])
    with pytest.raises(ConnectError, match="the connection failed: "):
        send(transport, f"{server.url}/s").read()


def test_endless_headers(transport: Transport, server: Server) -> None:
    """Endless headers are an error."""
    server.on("/s", [b"HTTP/1.1 200 OK\r\n", *[b"X-Filler: " + b"y" * 8000 + b"\r\n"] * 200, CLOSE])
    with pytest.raises(ProtocolError, match="headers are too large"):
        send(transport, f"{server.url}/s").read()


def test_refused(transport: Transport) -> None:
    """A port without a listener: nothing can have been sent."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError, match="Connection refused") as caught:
            send(transport, f"http://127.0.0.1:{closed.getsockname()[1]}/")
    assert not caught.value.sent


def test_unknown_host(transport: Transport) -> None:
    """A name that does not exist (".invalid" never does: RFC 6761)."""
    with pytest.raises(ConnectError) as caught:
        send(transport, "http://nowhere.invalid/")
    assert not caught.value.sent


def test_connect_timeout(transport: Transport) -> None:
    """A listener with a full queue does not answer: the connect deadline ends the attempt."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(busy.getsockname())
            with pytest.raises(TransportTimeout) as caught:
                send(transport, f"http://127.0.0.1:{busy.getsockname()[1]}/", timeouts=Timeouts(connect=0.3))
        finally:
            for filler in fillers:
                filler.close()
    assert (caught.value.deadline, caught.value.seconds, caught.value.sent) == ("connect", 0.3, False)


@pytest.mark.parametrize("url", ["http://", "http://:80/", "http://a b/", "http://127.0.0.1:99999/", "http://[::1/"])
def test_unusable_urls(transport: Transport, url: str) -> None:
    """An invalid URL is an error of the caller, raised before anything is sent."""
    with pytest.raises(InvalidInputError):
        send(transport, url)
    with pytest.raises(InvalidInputError):
        session_for(transport).send(Request.read(url))


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-A", "one\r\nX-B: two"), ("X-A\r\nX-B", "v"), ("X A:", "v"), ("X-A", "\u4f60"), ("X-A", "a\0b")],
)
def test_unusable_headers(transport: Transport, server: Server, name: str, value: str) -> None:
    """A header with a line end, or with characters that HTTP cannot carry, is rejected."""
    server.on("*", plain(b""))
    with pytest.raises(InvalidInputError):
        send(transport, server.url, headers={name: value})
    assert server.requests == []


@pytest.mark.parametrize("body", [None, b"", b"x", b"x" * 300_000])
def test_a_kept_connection_that_the_server_has_closed(transport: Transport, server: Server, body: bytes | None) -> None:
    """The next request opens another connection."""
    server.on("/s", [plain(b"ok"), CLOSE])
    method = "GET" if body is None else "POST"
    for _ in range(3):
        assert send(transport, f"{server.url}/s", method=method, body=body).read() == b"ok"
        server.wait_until_closed()
    assert server.connections == 3


@pytest.mark.parametrize("body", [b"", b"x" * 10, b"x" * 300_000, None])
def test_nothing_is_sent_twice(transport: Transport, server: Server, body: bytes | None) -> None:
    """A POST on a kept connection that breaks without a response is not repeated."""
    server.on("/warm", plain(b"ok"))
    server.on("/turn", [CLOSE])
    assert send(transport, f"{server.url}/warm", method="POST", body=b"").read() == b"ok"
    assert send(transport, f"{server.url}/warm").read() == b"ok"
    session = session_for(transport)
    with pytest.raises(ConnectError) as caught:
        session.send(Request(method="POST", url=f"{server.url}/turn", body=body))
    assert caught.value.sent
    assert [request.path for request in server.requests] == ["/warm", "/warm", "/turn"]


@pytest.mark.parametrize("read", [0, 1000, 200_000, None])
def test_a_body_that_breaks_off(transport: Transport, read: int | None) -> None:
    """If the body was not sent completely, the request cannot have been processed; if it was, it may have been."""
    size = 10 if read is None else 30_000_000
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reset() -> None:
            peer, _ = listener.accept()
            seen = b""
            while b"x" * size not in seen if read is None else len(seen) < read:
                seen += peer.recv(65536)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()

        thread = threading.Thread(target=reset)
        thread.start()
        with pytest.raises(ConnectError) as caught:
            send(transport, f"http://127.0.0.1:{listener.getsockname()[1]}/", method="POST", body=b"x" * size)
        thread.join()
    assert caught.value.sent is (read is None)
