"""A call can be cancelled from another thread during every wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from hfclient.errors import Cancelled
from hfclient.transport import Cancellation, Clock, Request, Retry, Timeouts, Transport
from hfclient.transport.connections import _HeadReader
from tests.conftest import make_transport
from tests.server import PATIENCE, SOON, UNTIL_GONE, Recorded, Server, head, plain
from tests.wire.helpers import PATIENT, send, session_for


def soon_after(cancel: Callable[[], object]) -> Callable[[Recorded], None]:
    """A step of the script that calls *cancel* after the request has arrived, while the client waits for the response."""

    def step(_: Recorded) -> None:
        threading.Timer(0.05, cancel).start()

    return step


def test_cancel_before_the_headers(transport: Transport, server: Server) -> None:
    """The call ends, the server sees the connection close, and the transport serves the next request."""
    cancellation = Cancellation()
    server.on("/s", [soon_after(cancellation.cancel), UNTIL_GONE])
    server.on("/next", plain(b"ok"))
    started = time.monotonic()
    with pytest.raises(Cancelled):
        send(transport, f"{server.url}/s", cancellation=cancellation)
    assert time.monotonic() - started < SOON
    assert server.client_gone.wait(PATIENCE)
    assert send(transport, f"{server.url}/next").read() == b"ok"


def test_cancel_during_the_headers_on_a_kept_connection(transport: Transport, server: Server) -> None:
    """The same with half of the headers received, and on a reused connection."""
    cancellation = Cancellation()
    server.on("/first", plain(b"ok"))
    server.on("/s", [b"HTTP/1.1 200 OK\r\nX-Ha", soon_after(cancellation.cancel), UNTIL_GONE])
    assert send(transport, f"{server.url}/first").read() == b"ok"
    with pytest.raises(Cancelled):
        send(transport, f"{server.url}/s", cancellation=cancellation)
    assert server.client_gone.wait(PATIENCE)
    assert send(transport, f"{server.url}/first").read() == b"ok"


def test_cancelled_before_the_request(transport: Transport, server: Server) -> None:
    """If the call is already cancelled, nothing is sent."""
    cancellation = Cancellation()
    cancellation.cancel()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        send(transport, f"{server.url}/s", cancellation=cancellation)
    with pytest.raises(Cancelled):
        session_for(transport).send(Request(method="GET", url=f"{server.url}/s", clock=Clock(PATIENT, cancellation)))
    assert server.requests == []


def test_cancel_during_the_wait_for_a_retry(transport: Transport, server: Server) -> None:
    """The pause between two attempts ends, and there is no second attempt."""
    cancellation = Cancellation()
    server.on("/s", [soon_after(cancellation.cancel), plain(b"", 503)])
    session = session_for(transport, timeouts=Timeouts(), retry=Retry(attempts=3, backoff=2 * PATIENCE))
    started = time.monotonic()
    with pytest.raises(Cancelled):
        session.send(Request(method="GET", url=f"{server.url}/s", retryable=True, clock=Clock(Timeouts(), cancellation)))
    assert time.monotonic() - started < SOON
    assert len(server.requests) == 1


def test_cancel_after_the_headers(transport: Transport, server: Server) -> None:
    """After the headers the cancellation does not affect the body; `abort` of the response does."""
    cancellation = Cancellation()
    go = threading.Event()
    server.on("/s", [head(200, "Content-Length: 2"), b"o", go, b"k"])
    response = send(transport, f"{server.url}/s", cancellation=cancellation)
    cancellation.cancel()
    go.set()
    assert response.read() == b"ok"


def test_many_threads_are_cancelled_one_by_one(transport: Transport, server: Server) -> None:
    """Of threads that share a transport, one is cancelled and the others get their responses."""
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


def test_cancel_during_a_buffered_response(transport: Transport, server: Server) -> None:
    """A response that the session reads to its end can be cancelled until it is complete."""
    cancellation = Cancellation()
    server.on("/s", [head(200, "Content-Length: 9"), b"half", soon_after(cancellation.cancel), UNTIL_GONE])
    request = Request.read(f"{server.url}/s", clock=Clock(PATIENT, cancellation))
    started = time.monotonic()
    with pytest.raises(Cancelled):
        session_for(transport, retry=Retry(attempts=3)).send(request)
    assert time.monotonic() - started < SOON
    assert server.client_gone.wait(PATIENCE)


def test_ctrl_c_in_the_head_of_an_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """KeyboardInterrupt is not replaced by an error of the clean-up."""
    server.on("/one", plain(b"one"))
    interrupt = KeyboardInterrupt()

    def readline(reader: object, limit: int) -> bytes:
        raise interrupt

    monkeypatch.setattr(_HeadReader, "readline", readline)
    transport = make_transport("plain")
    with pytest.raises(KeyboardInterrupt) as caught:
        send(transport, f"{server.url}/one")
    transport.close()
    assert caught.value is interrupt
