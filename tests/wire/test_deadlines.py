"""Each deadline ends the wait it is for, when it is due, on both transports; nothing a server sends gets around them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from hfclient.errors import TransportTimeout
from hfclient.transport import Multipart, Part, Request, Timeouts, Transport
from tests.server import LAST_CHUNK, UNTIL_GONE, Server, chunk, chunked, head, plain
from tests.wire.helpers import PATIENT, send, session_for

SHORT = 0.2
LATE = 1.5  # a deadline may be kept so much late on a busy machine; what it guards against is seconds or for ever


def _expires(deadline: str, call: Callable[[], object], *, after: float = SHORT) -> None:
    started = time.monotonic()
    with pytest.raises(TransportTimeout) as caught:
        call()
    took = time.monotonic() - started
    assert caught.value.deadline == deadline, str(caught.value)
    assert caught.value.seconds == after
    assert isinstance(caught.value, TimeoutError)
    assert after * 0.9 <= took < after + LATE


@pytest.mark.parametrize("start", [[], [b"HTTP/1.1 2"], [b"HTTP/1.1 200 OK\r\nX-A: b\r\n"]])
def test_silence_before_the_headers_of_a_stream(transport: Transport, server: Server, start: list[bytes]) -> None:
    """A stream whose head does not come is a matter of ``first_token``, not of ``idle``."""
    server.on("/s", [*start, UNTIL_GONE])
    timeouts = Timeouts(connect=3, first_token=SHORT, idle=0.05)
    _expires("first_token", lambda: send(transport, f"{server.url}/s", stream=True, timeouts=timeouts))
    assert server.client_gone.wait(2)


def test_silence_before_the_headers(transport: Transport, server: Server) -> None:
    """For an answer that is no stream it is ``idle``."""
    server.on("/s", [UNTIL_GONE])
    timeouts = Timeouts(connect=3, first_token=0.05, idle=SHORT)
    _expires("idle", lambda: send(transport, f"{server.url}/s", timeouts=timeouts))
    assert server.client_gone.wait(2)


def test_silence_in_the_body(transport: Transport, server: Server) -> None:
    """Once content came, silence is a matter of ``idle``; the clock starts anew with each read."""
    slowly = [step for byte in (b"a", b"b", b"c", b"d", b"e") for step in (chunk(byte), 0.06)]
    server.on("/s", [head(200, "Transfer-Encoding: chunked"), *slowly, UNTIL_GONE])
    response = send(transport, f"{server.url}/s", stream=True, timeouts=Timeouts(idle=SHORT))
    got = b""
    while got != b"abcde":
        got += response._body.read_some()
        response.deadline.content_came()
    _expires("idle", response._body.read_some)
    response.close()


def test_silence_after_content_waits_for_nothing_else(transport: Transport, server: Server) -> None:
    """``first_token`` has no say once content came."""
    server.on("/s", chunked(b"a", 0.3, b"b"))
    response = send(transport, f"{server.url}/s", stream=True, timeouts=Timeouts(first_token=0.2, idle=3))
    assert response._body.read_some() == b"a"
    response.deadline.content_came()
    assert response.read() == b"b"


def test_keep_alives_alone(transport: Transport, server: Server) -> None:
    """A server that only says that it lives meets ``first_token``: bytes are no content."""
    server.on("/s", [head(200, "Transfer-Encoding: chunked"), *[chunk(b"\n"), 0.04] * 40, LAST_CHUNK])
    timeouts = Timeouts(first_token=SHORT, idle=2)

    def read() -> None:
        response = send(transport, f"{server.url}/s", stream=True, timeouts=timeouts)
        try:
            response.read()
        finally:
            response.close()

    _expires("first_token", read)


def test_total_in_the_body(transport: Transport, server: Server) -> None:
    """``total`` ends an answer that is alive and full of content."""
    server.on("/s", [head(200, "Transfer-Encoding: chunked"), *[chunk(b"x"), 0.04] * 40, LAST_CHUNK])

    def read() -> None:
        response = send(transport, f"{server.url}/s", stream=True, timeouts=Timeouts(total=SHORT))
        response.deadline.content_came()
        response.read()

    _expires("total", read)


def test_total_before_the_headers(transport: Transport, server: Server) -> None:
    """``total`` counts from the request."""
    server.on("/s", [UNTIL_GONE])
    _expires("total", lambda: send(transport, f"{server.url}/s", timeouts=Timeouts(total=SHORT)))


@pytest.mark.parametrize(("stream", "deadline"), [(True, "first_token"), (False, "total")])
def test_dripping_headers(transport: Transport, server: Server, stream: bool, deadline: str) -> None:
    """A head that comes a byte at a time does not get around the absolute deadlines."""
    answer = head(200, "X-Long: " + "y" * 200)
    server.on("/s", [step for byte in answer for step in (bytes([byte]), 0.03)])
    timeouts = Timeouts(first_token=SHORT if stream else 9, idle=3, total=9 if stream else SHORT)
    _expires(deadline, lambda: send(transport, f"{server.url}/s", stream=stream, timeouts=timeouts))


def test_dripping_headers_are_bytes(transport: Transport, server: Server) -> None:
    """On the other hand each byte of a head counts as one: slow is not silent."""
    answer = head(200, "X-Slow: yes", "Content-Length: 2")
    server.on("/s", [step for byte in answer for step in (bytes([byte]), 0.008)] + [b"ok"])
    response = send(transport, f"{server.url}/s", timeouts=Timeouts(idle=0.25, total=8))
    assert (response.headers["x-slow"], response.read()) == ("yes", b"ok")


def test_dripping_chunk_headers(transport: Transport, server: Server) -> None:
    """Nor does a chunk's head that never ends get around ``total``."""
    server.on("/s", [head(200, "Transfer-Encoding: chunked"), *[b"0", 0.03] * 60])

    def read() -> None:
        send(transport, f"{server.url}/s", timeouts=Timeouts(total=SHORT, idle=3)).read()

    _expires("total", read)


def test_silence_after_the_last_byte(transport: Transport, server: Server) -> None:
    """A chunked body whose last chunk does not come is a stalled one, and ``wind_down`` makes that wait short."""
    server.on("/s", [head(200, "Transfer-Encoding: chunked"), chunk(b"all"), UNTIL_GONE])
    response = send(transport, f"{server.url}/s", stream=True)
    assert response._body.read_some() == b"all"
    response.deadline.wind_down(idle=0.1, total=0.2)
    started = time.monotonic()
    with pytest.raises(TransportTimeout):
        response._body.read_some()
    assert time.monotonic() - started < LATE
    response.close()


def test_none_waits(transport: Transport, server: Server) -> None:
    """None is no limit."""
    server.on("/s", [0.1, plain(b"ok")])
    timeouts = Timeouts(connect=None, first_token=None, idle=None, total=None)
    for stream in (True, False):
        assert send(transport, f"{server.url}/s", stream=stream, timeouts=timeouts).read() == b"ok"


@pytest.mark.parametrize(("stream", "deadline"), [(True, "first_token"), (False, "idle")])
def test_a_body_that_nobody_reads(transport: Transport, server: Server, stream: bool, deadline: str) -> None:
    """A server that takes the headers and not the body meets a deadline, too."""
    server.on("/s", [5.0], read_body=False)
    form = Multipart((Part(name="file", content=b"x" * 30_000_000, filename="f"),))
    timeouts = Timeouts(connect=3, first_token=SHORT if stream else None, idle=None if stream else SHORT)
    body = form if stream else b"x" * 30_000_000
    _expires(
        deadline,
        lambda: send(transport, f"{server.url}/s", method="POST", body=body, stream=stream, timeouts=timeouts),
    )


def test_a_slow_upload_is_not_a_slow_connection(transport: Transport, server: Server) -> None:
    """``connect`` ends with the connection: sending may take longer, as long as bytes move."""
    size = 9_000_000
    server.on("/s", plain(b"ok"))
    server.read_pause = 0.02
    response = send(
        transport, f"{server.url}/s", method="POST", body=b"x" * size, timeouts=Timeouts(connect=0.2, idle=3, total=9)
    )
    assert response.read() == b"ok"
    assert len(server.last.body) == size


def test_a_kept_connection_keeps_the_new_deadline(transport: Transport, server: Server) -> None:
    """The second request on a connection has its own deadlines, for sending too."""
    server.on("/warm", plain(b"ok"))
    server.on("/s", [5.0], read_body=False)
    send(transport, f"{server.url}/warm", timeouts=Timeouts(idle=5)).read()
    _expires(
        "idle",
        lambda: send(
            transport,
            f"{server.url}/s",
            method="POST",
            body=b"x" * 30_000_000,
            timeouts=Timeouts(connect=3, idle=SHORT),
        ),
    )


def test_total_spans_retries(transport: Transport, server: Server) -> None:
    """``total`` is for the call, however often it is tried."""
    from hfclient.transport import Retry

    server.on("/s", [0.15, plain(b"", 503)])
    session = session_for(transport, timeouts=Timeouts(total=0.4), retry=Retry(attempts=50, backoff=0.001))
    started = time.monotonic()
    with pytest.raises(TransportTimeout) as caught:
        session.send(Request.read(f"{server.url}/s"))
    assert caught.value.deadline == "total"
    assert 0.3 < time.monotonic() - started < 0.4 + LATE


def test_interrupted_waits_do_not_lose_bytes(transport: Transport, server: Server) -> None:
    """After a timeout the reader may try again: what came meanwhile is there."""
    go = threading.Event()
    server.on("/s", chunked(b"a", go, b"b"))
    response = send(transport, f"{server.url}/s", timeouts=Timeouts(idle=0.1, total=PATIENT.total))
    assert response._body.read_some() == b"a"
    with pytest.raises(TransportTimeout):
        response._body.read_some()
    response.close()
    go.set()
