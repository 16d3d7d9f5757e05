"""A call that nobody wants any more ends from another thread, wherever it waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from hfclient.errors import Cancelled
from hfclient.transport import Cancellation, Request, Retry, Timeouts, Transport
from tests.server import PATIENCE, SOON, UNTIL_GONE, Recorded, Server, head, plain
from tests.wire.helpers import send, session_for


def soon_after(cancel: Callable[[], object]) -> Callable[[Recorded], None]:
    """A step that has *cancel* called when the request is there and its answer is waited for."""

    def step(_: Recorded) -> None:
        threading.Timer(0.05, cancel).start()

    return step


def test_cancel_while_the_head_is_waited_for(transport: Transport, server: Server) -> None:
    """The wait ends, the server sees the client go, and the transport serves the next request."""
    cancellation = Cancellation()
    server.on("/s", [soon_after(cancellation.cancel), UNTIL_GONE])
    server.on("/next", plain(b"ok"))
    started = time.monotonic()
    with pytest.raises(Cancelled):
        send(transport, f"{server.url}/s", cancellation=cancellation)
    assert time.monotonic() - started < SOON
    assert server.client_gone.wait(PATIENCE)
    assert send(transport, f"{server.url}/next").read() == b"ok"


def test_cancel_in_mid_head_on_a_kept_connection(transport: Transport, server: Server) -> None:
    """Half a head makes no difference, nor does a connection that served others before."""
    cancellation = Cancellation()
    server.on("/first", plain(b"ok"))
    server.on("/s", [b"HTTP/1.1 200 OK\r\nX-Ha", soon_after(cancellation.cancel), UNTIL_GONE])
    assert send(transport, f"{server.url}/first").read() == b"ok"
    with pytest.raises(Cancelled):
        send(transport, f"{server.url}/s", cancellation=cancellation)
    assert server.client_gone.wait(PATIENCE)
    assert send(transport, f"{server.url}/first").read() == b"ok"


def test_cancelled_before_it_was_sent(transport: Transport, server: Server) -> None:
    """Nothing is sent for somebody who has given up already."""
    cancellation = Cancellation()
    cancellation.cancel()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        send(transport, f"{server.url}/s", cancellation=cancellation)
    with pytest.raises(Cancelled):
        session_for(transport).send(Request(method="GET", url=f"{server.url}/s", cancellation=cancellation))
    assert server.requests == []


def test_cancel_while_a_retry_is_waited_for(transport: Transport, server: Server) -> None:
    """The pause between two tries ends, and there is no second try."""
    cancellation = Cancellation()
    server.on("/s", [soon_after(cancellation.cancel), plain(b"", 503)])
    session = session_for(transport, timeouts=Timeouts(), retry=Retry(attempts=3, backoff=2 * PATIENCE))
    started = time.monotonic()
    with pytest.raises(Cancelled):
        session.send(Request(method="GET", url=f"{server.url}/s", retryable=True, cancellation=cancellation))
    assert time.monotonic() - started < SOON
    assert len(server.requests) == 1


def test_a_cancel_that_comes_too_late(transport: Transport, server: Server) -> None:
    """Once the head is there the cancellation does not reach the body: whoever has the response aborts that."""
    cancellation = Cancellation()
    go = threading.Event()
    server.on("/s", [head(200, "Content-Length: 2"), b"o", go, b"k"])
    response = send(transport, f"{server.url}/s", cancellation=cancellation)
    cancellation.cancel()
    go.set()
    assert response.read() == b"ok"


def test_many_threads_are_cancelled_one_by_one(transport: Transport, server: Server) -> None:
    """Of threads that share a transport, one is cancelled and the others get their answers."""
    cancellations = [Cancellation() for _ in range(6)]
    go = threading.Event()
    server.on("/s", [go, plain(b"ok")])
    ends: list[str] = [""] * len(cancellations)

    def call(number: int) -> None:
        try:
            ends[number] = send(transport, f"{server.url}/s", cancellation=cancellations[number]).read().decode()
        except Cancelled:
            ends[number] = "cancelled"

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(cancellations))]
    for thread in threads:
        thread.start()
    server.wait_for(len(threads))
    for cancellation in cancellations[::2]:
        cancellation.cancel()
    for thread in threads[::2]:
        thread.join(PATIENCE)
    go.set()
    for thread in threads[1::2]:
        thread.join(PATIENCE)
    assert ends == ["cancelled", "ok"] * 3


def test_cancel_while_a_whole_answer_is_read(transport: Transport, server: Server) -> None:
    """An answer that the session itself reads to its end can be cancelled until it is there."""
    cancellation = Cancellation()
    server.on("/s", [head(200, "Content-Length: 9"), b"half", soon_after(cancellation.cancel), UNTIL_GONE])
    request = Request.read(f"{server.url}/s", cancellation=cancellation)
    started = time.monotonic()
    with pytest.raises(Cancelled):
        session_for(transport, retry=Retry(attempts=3)).send(request)
    assert time.monotonic() - started < SOON
    assert server.client_gone.wait(PATIENCE)
