"""Closing never waits, cancelling works from any thread, and a connection is reused after its body was read to the end."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from hfclient.errors import Cancelled, ConnectError
from hfclient.transport import Transport
from tests.conftest import make_transport
from tests.server import PATIENCE, SOON, UNTIL_GONE, Server, chunk, chunked, delimited, head, plain
from tests.wire.helpers import send

SILENT = [head(200, "Transfer-Encoding: chunked"), chunk(b"one"), UNTIL_GONE]


def test_close_on_a_silent_stream(transport: Transport, server: Server) -> None:
    """Closing does not wait for the server's next bytes, and the server sees the connection close."""
    server.on("/s", SILENT)
    response = send(transport, f"{server.url}/s", stream=True)
    assert response._body.read_some() == b"one"
    started = time.monotonic()
    response.close()
    response.close()
    assert time.monotonic() - started < SOON
    assert server.client_gone.wait(PATIENCE)


def test_close_before_anything_was_read(transport: Transport, server: Server) -> None:
    """A response can be closed unread."""
    server.on("/s", SILENT)
    send(transport, f"{server.url}/s", stream=True).close()
    assert server.client_gone.wait(PATIENCE)


def test_a_garbage_collected_response_is_closed(transport: Transport, server: Server) -> None:
    """A response without references does not keep its connection."""
    server.on("/s", SILENT)
    response = send(transport, f"{server.url}/s", stream=True)
    response._body.read_some()
    del response
    gc.collect()
    assert server.client_gone.wait(PATIENCE)


def test_closing_the_transport_leaves_streams_alone(transport: Transport, server: Server) -> None:
    """Only idle connections are closed; the transport can be used again."""
    go = threading.Event()
    server.on("/s", chunked(b"one", go, b"two"))
    server.on("/idle", plain(b"ok"))
    response = send(transport, f"{server.url}/s", stream=True)
    assert response._body.read_some() == b"one"
    assert send(transport, f"{server.url}/idle").read() == b"ok"
    transport.close()
    transport.close()
    go.set()
    assert response.read() == b"two"
    assert send(transport, f"{server.url}/idle").read() == b"ok"
    assert server.connections == 3


def test_a_garbage_collected_transport_closes_its_connections(transport_name: str, server: Server) -> None:
    """No socket outlives a transport without references."""
    server.on("/s", [plain(b"ok"), UNTIL_GONE])
    opened = make_transport(transport_name)
    assert send(opened, f"{server.url}/s").read() == b"ok"
    del opened
    gc.collect()
    assert server.client_gone.wait(PATIENCE)


def _abort_after(response, seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, response.abort)
    timer.start()
    return timer


@pytest.mark.parametrize(
    "script", [SILENT, [head(200, "Content-Length: 9"), b"one", UNTIL_GONE], delimited(b"one", PATIENCE)]
)
def test_abort_wakes_the_reader(transport: Transport, server: Server, script) -> None:
    """Another thread wakes a waiting reader, at once and with `Cancelled`."""
    server.on("/s", script)
    response = send(transport, f"{server.url}/s", stream=True)
    assert response._body.read_some() == b"one"
    timer = _abort_after(response, 0.1)
    started = time.monotonic()
    with pytest.raises(Cancelled):
        response._body.read_some()
    assert time.monotonic() - started < SOON
    timer.join()
    response.close()


def test_abort_before_reading(transport: Transport, server: Server) -> None:
    """An abort before the read takes effect at the read."""
    server.on("/s", chunked(b"one", b"two"))
    response = send(transport, f"{server.url}/s", stream=True)
    response.abort()
    with pytest.raises(Cancelled):
        response.read()


def test_abort_after_the_end(transport: Transport, server: Server) -> None:
    """An abort after the end has no effect, also not on the next request of the connection."""
    go = threading.Event()
    server.on("/first", plain(b"ok"))
    server.on("/second", chunked(b"one", go, b"two"))
    first = send(transport, f"{server.url}/first")
    assert first.read() == b"ok"
    second = send(transport, f"{server.url}/second")
    assert second._body.read_some() == b"one"
    assert server.last.connection == 1
    first.abort()
    first.close()
    first.abort()
    go.set()
    assert second.read() == b"two"


def test_races_of_abort_and_close(transport: Transport, server: Server) -> None:
    """In any order of abort, close and the end of the body, nothing hangs, crashes or affects another request."""
    server.on("/s", chunked(b"one", 0.002, b"two"))
    for round_ in range(30):
        response = send(transport, f"{server.url}/s", stream=True)
        threads = [threading.Thread(target=response.abort) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            if round_ % 3:
                response._body.read_some()
                if round_ % 2:
                    response.read()
        except (Cancelled, ConnectError):
            pass
        response.close()
        for thread in threads:
            thread.join()
        assert send(transport, f"{server.url}/s").read() == b"onetwo"


@pytest.mark.parametrize(
    "script", [chunked(b"a", b"b"), plain(b"ab"), head(204), plain(b"")], ids=["chunked", "length", "204", "empty"]
)
def test_connections_are_reused(transport: Transport, server: Server, script) -> None:
    """After a body was read to its end the next request uses the same connection."""
    server.on("/s", script)
    for _ in range(20):
        send(transport, f"{server.url}/s").read()
    assert server.connections == 1


def test_connections_are_reused_after_errors(transport: Transport, server: Server) -> None:
    """The body of a failed request is read, too, and its connection reused."""
    server.on("/s", plain(b"no", 404))
    for _ in range(3):
        assert send(transport, f"{server.url}/s").read_start(100) == b"no"
    assert server.connections == 1


def test_uploads_reuse_the_connection(transport: Transport, server: Server) -> None:
    """Requests with a body reuse the connection too."""
    server.on("/s", plain(b"ok"))
    for size in (1, 100_000, 10, 1):
        assert send(transport, f"{server.url}/s", method="POST", body=b"x" * size).read() == b"ok"
    assert server.connections == 1


def test_two_origins_two_connections(transport: Transport, server: Server, other_server: Server) -> None:
    """Each origin has connections of its own, and both are kept open."""
    for one in (server, other_server):
        one.on("/s", plain(b"ok"))
    for _ in range(3):
        for one in (server, other_server):
            assert send(transport, f"{one.url}/s").read() == b"ok"
    assert (server.connections, other_server.connections) == (1, 1)


def test_an_early_answer_to_an_upload(transport: Transport, server: Server) -> None:
    """The response is read when a server rejects a large request before it has read all of it."""
    server.on("/s", [plain(b"too large", 413, "Connection: close"), UNTIL_GONE], read_body=False)
    response = send(transport, f"{server.url}/s", method="POST", body=b"x" * 4_000_000)
    assert (response.status, response.read_start(100)) == (413, b"too large")
