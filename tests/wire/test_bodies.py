"""Bodies: bytes arrive unchanged and as soon as they are sent, in every framing."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib

import pytest

from hfclient.errors import ConnectError, ProtocolError
from hfclient.transport import Clock, Deadline, Timeouts, Transport, connections
from tests.conftest import make_transport
from tests.server import CLOSE, LAST_CHUNK, Server, Step, chunk, chunked, delimited, gzip_pieces, head, plain
from tests.wire.helpers import send


def _with_length(*pieces: Step) -> list[Step]:
    size = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
    return [head(200, f"Content-Length: {size}"), *pieces]


FRAMINGS = {"chunked": chunked, "delimited": delimited, "length": _with_length}


@pytest.fixture(params=FRAMINGS)
def framing(request: pytest.FixtureRequest):
    return FRAMINGS[request.param]


def test_each_piece_arrives_at_once(transport: Transport, server: Server, framing) -> None:
    """The server sends each piece only after the last one was returned, so nothing waits for a full buffer."""
    events = [threading.Event() for _ in range(3)]
    pieces = [b'{"n":1}\n', b'{"n":2}\n{"n"', b":3}\n", b"x" * 5000]
    steps: list[Step] = [pieces[0]]
    for event, piece in zip(events, pieces[1:], strict=True):
        steps += [event, piece]
    server.on("/s", framing(*steps))
    response = send(transport, f"{server.url}/s", stream=True)
    got = b""
    for expected, event in zip((1, 2, 3), events, strict=True):
        while len(got) < sum(map(len, pieces[:expected])):
            data = response._body.read_some()
            assert data, "the body ended early"
            got += data
        assert got == b"".join(pieces[:expected])
        event.set()
    assert got + response.read() == b"".join(pieces)


def test_headers_before_the_body(transport: Transport, server: Server) -> None:
    """The call returns with status and headers before the body arrives."""
    go = threading.Event()
    server.on(
        "/s", [head(200, "Content-Length: 2", "X-Request-Id: r1", "Content-Type: Text/Plain; charset=x"), go, b"ok"]
    )
    response = send(transport, f"{server.url}/s", stream=True)
    assert (response.status, response.request_id, response.content_type) == (200, "r1", "text/plain")
    go.set()
    assert response.read() == b"ok"


def test_large_bodies(transport: Transport, server: Server, framing) -> None:
    """Three megabytes arrive unchanged in every framing."""
    body = bytes(range(256)) * 12_000
    server.on("/s", framing(body))
    assert send(transport, f"{server.url}/s").read() == body


def test_tiny_pieces(transport: Transport, server: Server, framing) -> None:
    """A body that arrives byte by byte is the same body."""
    body = "données ☃\n".encode()
    server.on("/s", framing(*[bytes([byte]) for byte in body]))
    assert send(transport, f"{server.url}/s").read() == body


@pytest.mark.parametrize("status", [204, 304])
def test_responses_without_body(transport: Transport, server: Server, status: int) -> None:
    """A response without a body by its status ends at once, and its connection is reused."""
    server.on("/s", head(status))
    for _ in range(2):
        response = send(transport, f"{server.url}/s")
        assert (response.status, response.read()) == (status, b"")
    assert server.connections == 1


def test_head(transport: Transport, server: Server) -> None:
    """HEAD announces a length and has no body."""
    server.on("/s", head(200, "Content-Length: 5"))
    response = send(transport, f"{server.url}/s", method="HEAD")
    assert (response.headers["content-length"], response.read()) == ("5", b"")


def test_interim_responses_are_ignored(transport: Transport, server: Server) -> None:
    """100 and 103 are not the response, and their headers are not its headers."""
    server.on("/s", head(100) + head(103, "Link: </x>", "X-Early: yes") + plain(b"ok", 200, "X-Late: yes"))
    response = send(transport, f"{server.url}/s")
    assert (response.status, response.read()) == (200, b"ok")
    assert "x-late" in response.headers
    assert "x-early" not in response.headers


def test_repeated_and_unusual_headers(transport: Transport, server: Server) -> None:
    """Repeated headers are kept in order; names match in any case; values may be empty or Latin-1."""
    server.on("/s", plain(b"", 200, "Set-Cookie: a=1; Path=/", "set-cookie: b=2", "X-Empty:", "X-Name: Zo\xeb"))
    headers = send(transport, f"{server.url}/s").headers
    assert headers.all("Set-Cookie") == ["a=1; Path=/", "b=2"]
    assert headers["x-empty"] == ""
    assert headers["X-NAME"] == "Zo\xeb"
    assert "a=1" not in repr(headers)


def test_folded_headers(transport: Transport, server: Server) -> None:
    """A header that continues on the next line, as old servers write it, is one header."""
    server.on("/s", b"HTTP/1.1 200 OK\r\nX-Long: one\r\n  two\r\nContent-Length: 0\r\n\r\n")
    assert " ".join(send(transport, f"{server.url}/s").headers["x-long"].split()) == "one two"


def test_query(transport: Transport, server: Server) -> None:
    """Query values arrive unchanged, None is left out, and percent-encoded characters are not encoded again."""
    server.on("*", plain(b""))
    params = {"a": "ä b&c=d", "n": 3, "none": None, "empty": ""}
    send(transport, f"{server.url}/p%2Fq/r s", params=params).read()
    assert server.last.query == {"a": "ä b&c=d", "n": "3", "empty": ""}
    assert server.last.path == "/p%2Fq/r%20s"
    send(transport, f"{server.url}/x?own=1", params={"more": 2}).read()
    assert server.last.query == {"own": "1", "more": "2"}
    send(transport, f"{server.url}").read()
    assert server.last.target == "/"


def test_gzip_whole(transport: Transport, server: Server) -> None:
    """A compressed response is decompressed."""
    packed = gzip.compress(b'{"a": 1}' * 1000)
    server.on("/s", plain(packed, 200, "Content-Encoding: gzip"))
    response = send(transport, f"{server.url}/s", headers={"Accept-Encoding": "gzip"})
    assert response.read() == b'{"a": 1}' * 1000
    assert server.last.headers["accept-encoding"] == "gzip"


def test_gzip_streamed(transport: Transport, server: Server, framing) -> None:
    """Pieces that the server flushed arrive one by one although they are compressed."""
    packed, second = gzip_pieces(b"one\n", b"two\n"), threading.Event()
    steps = framing(packed[0], second, packed[1])
    server.on("/s", [steps[0].replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"), *steps[1:]])
    response = send(transport, f"{server.url}/s", stream=True)
    assert response._body.read_some() == b"one\n"
    second.set()
    assert response.read() == b"two\n"


def test_deflate(transport: Transport, server: Server) -> None:
    """The same for deflate."""
    server.on("/s", plain(zlib.compress(b"hello"), 200, "Content-Encoding: deflate"))
    assert send(transport, f"{server.url}/s").read() == b"hello"


def test_broken_gzip(transport: Transport, server: Server) -> None:
    """Invalid gzip data is a protocol error, not a connection error."""
    server.on("/s", plain(b"this was never compressed", 200, "Content-Encoding: gzip"))
    with pytest.raises(ProtocolError, match="compression"):
        send(transport, f"{server.url}/s").read()


def test_gzip_with_an_error_in_the_middle(transport: Transport, server: Server) -> None:
    """The bytes before the error are returned, then the error is raised."""
    packed = gzip_pieces(b"good\n", b"x" * 1000)
    damaged = bytes(byte ^ 0xFF for byte in packed[1])
    go = threading.Event()
    server.on("/s", chunked(packed[0], go, damaged, headers=["Content-Encoding: gzip"]))
    response = send(transport, f"{server.url}/s", stream=True)
    assert response._body.read_some() == b"good\n"
    go.set()
    with pytest.raises(ProtocolError, match="compression"):
        response.read()


def test_truncated_gzip(transport: Transport, server: Server) -> None:
    """A gzip body that is cut on the wire is a broken connection, as any other body is."""
    packed = gzip.compress(b"x" * 100_000)
    server.on("/s", [head(200, "Content-Encoding: gzip", f"Content-Length: {len(packed)}"), packed[:-20], CLOSE])
    with pytest.raises(ConnectError):
        send(transport, f"{server.url}/s").read()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_data_without_its_end(transport: Transport, server: Server, coding: str) -> None:
    """HTTP's framing may be complete while the compressed data is cut: it must not pass for a complete file."""
    packed = (gzip.compress if coding == "gzip" else zlib.compress)(bytes(range(256)) * 100)
    server.on("/s", plain(packed[:-9], 200, f"Content-Encoding: {coding}"))
    with pytest.raises(ConnectError, match="before it was complete"):
        send(transport, f"{server.url}/s", headers={"Accept-Encoding": "identity"}).read()


def test_unusual_compression(transport: Transport, server: Server) -> None:
    """Raw deflate, several gzip members, padding after them, and a high compression ratio are decompressed completely."""
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    big = bytes(5 * 1024 * 1024)
    for coding, packed, content in [
        ("deflate", raw.compress(b"hello") + raw.flush(), b"hello"),
        ("x-gzip", gzip.compress(b"one") + gzip.compress(b"two"), b"onetwo"),
        ("GZIP", gzip.compress(b"one") + bytes(100), b"one"),
        ("gzip", gzip.compress(big), big),
    ]:
        server.on("/s", chunked(packed[:5], packed[5:], headers=[f"Content-Encoding: {coding}"]))
        assert send(transport, f"{server.url}/s", headers={"Accept-Encoding": "identity"}).read() == content


def test_empty_gzip(transport: Transport, server: Server) -> None:
    """An empty body with Content-Encoding gzip is an empty body."""
    server.on("/s", plain(b"", 200, "Content-Encoding: gzip"))
    assert send(transport, f"{server.url}/s").read() == b""


def test_chunk_extensions_and_trailers(transport: Transport, server: Server) -> None:
    """Chunk extensions and trailers are not content."""
    body = b"3;name=value\r\nabc\r\n" + chunk(b"def") + b"0\r\nX-Trailer: late\r\n\r\n"
    server.on("/s", head(200, "Transfer-Encoding: chunked") + body)
    for _ in range(2):
        response = send(transport, f"{server.url}/s")
        assert response.read() == b"abcdef"
    assert server.connections == 1


def test_read_after_the_end(transport: Transport, server: Server) -> None:
    """Reading after the end returns nothing, repeatedly; also after the body was closed."""
    server.on("/s", chunked(b"abc"))
    response = send(transport, f"{server.url}/s")
    assert response.read() == b"abc"
    assert response._body.read_some() == b""
    response.close()
    response.close()
    assert response._body.read_some() == b""


def test_last_chunk_in_its_own_packet(transport: Transport, server: Server) -> None:
    """After the last byte of content the end of a chunked body is read too: only then can the connection be reused."""
    go = threading.Event()
    server.on("/s", [head(200, "Transfer-Encoding: chunked"), chunk(b"abc"), go, LAST_CHUNK])
    response = send(transport, f"{server.url}/s")
    assert response._body.read_some() == b"abc"
    go.set()
    assert response._body.read_some() == b""
    send(transport, f"{server.url}/s").close()
    assert server.connections == 1


def test_a_slow_reader_slows_the_server_down(transport: Transport, server: Server) -> None:
    """Unread bytes stay on the server's side: memory does not grow while the consumer is busy."""
    sent: list[int] = []

    def count(_: object) -> bytes:
        sent.append(1)
        return chunk(b"x" * 65536)

    server.on("/s", [head(200, "Transfer-Encoding: chunked"), *[count] * 400, LAST_CHUNK])
    response = send(transport, f"{server.url}/s")
    response._body.read_some()
    threading.Event().wait(0.3)
    assert len(sent) < 300
    assert len(response.read()) > 300 * 65536


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204)])
def test_no_body_with_body_headers(transport: Transport, server: Server, method: str, status: int) -> None:
    """The response to HEAD, and a 204, has no body; chunks that its headers announce are not waited for."""
    server.on("/s", head(status, "Transfer-Encoding: chunked", "Content-Encoding: gzip"))
    for _ in range(2):
        assert send(transport, f"{server.url}/s", method=method).read() == b""
    assert server.connections == 1


@pytest.mark.parametrize("extra", [b"", b"junk", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
@pytest.mark.parametrize("with_head", [True, False])
def test_bytes_after_the_content_length(transport: Transport, server: Server, extra: bytes, with_head: bool) -> None:
    """Bytes after the end of a body are not part of it or of the next response, whether they arrive with its head or later."""
    start = head(200, "Content-Length: 3")
    server.on("/s", [start + b"one" + extra] if with_head else [start, b"on", b"e" + extra], plain(b"two"))
    assert send(transport, f"{server.url}/s").read() == b"one"
    assert send(transport, f"{server.url}/s").read() == b"two"


@pytest.mark.parametrize("direct", [True, False])
def test_without_the_own_response_class(server: Server, framing, monkeypatch: pytest.MonkeyPatch, direct: bool) -> None:
    """A body is read from the response below urllib3's; if urllib3 makes another one, from urllib3, in the same pieces."""
    if not direct:
        monkeypatch.setattr(connections.Wire, "response", property(lambda self: None, lambda self, value: None))
    opened = make_transport("plain")
    go = threading.Event()
    server.on("/s", framing(b"one", go, b"two"))
    for _ in range(2):
        go.clear()
        response = send(opened, f"{server.url}/s", stream=True)
        assert response._body.read_some() == b"one"
        go.set()
        assert response.read() == b"two"
    assert server.connections == (2 if framing is delimited else 1)
    opened.close()


@pytest.mark.parametrize("n", [1, 2, 100, -1])
def test_pieces_of_a_limited_size(n: int) -> None:
    """urllib3 gets at most as many bytes as it asks for, and all of them."""
    ours, theirs = socket.socketpair()
    token = connections.CALL.set((Deadline(Clock(Timeouts())), connections.Wire()))
    with theirs, ours:
        theirs.sendall(head(200, "Transfer-Encoding: chunked") + chunk(b"all") + chunk(b" of it") + LAST_CHUNK)
        with connections.HTTPResponse(ours) as response:
            response.begin()
            assert b"".join(iter(lambda: response.read1(n), b"")) == b"all of it"
    connections.CALL.reset(token)


def test_bytes_after_the_last_chunk() -> None:
    """Bytes after the last chunk are dropped, also if the connection has ended before it was closed."""

    class Gone(socket.socket):
        def shutdown(self, how: int) -> None:  # as macOS answers, and Linux after a reset
            raise OSError(107, "Transport endpoint is not connected")

    ours, theirs = socket.socketpair()
    with theirs, Gone(fileno=ours.detach()) as sock:
        theirs.sendall(head(200, "Transfer-Encoding: chunked") + chunk(b"all") + LAST_CHUNK + b"junk")
        token = connections.CALL.set((Deadline(Clock(Timeouts())), connections.Wire()))
        with connections.HTTPResponse(sock) as response:
            response.begin()
            assert (response.read_some(), response.read_some()) == (b"all", b"")
        connections.CALL.reset(token)
