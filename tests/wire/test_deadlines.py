"""Each deadline ends the wait that it is for, on both transports, for all bytes that a server sends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from hfclient.errors import TransportTimeout
from hfclient.transport import Deadline, Multipart, Part, Request, Retry, Timeouts, Transport, curl_multi
from tests.clock import FakeTime
from tests.conftest import make_transport
from tests.server import PATIENCE, SOON, UNTIL_GONE, Server, Step, chunk, chunked, head, plain
from tests.wire.helpers import PATIENT, send, session_for

SHORT = 0.2


@pytest.fixture(autouse=True)
def _frozen(clock: FakeTime) -> None:
    """Waits for silence take real time; times since the request are measured by the test's clock."""


def _expires(deadline: str, call: Callable[[], object]) -> None:
    """*call* ends by *deadline*, which is `SHORT`: not before, and long before any other deadline."""
    started = time.monotonic()
    with pytest.raises(TransportTimeout) as caught:
        call()
    took = time.monotonic() - started
    assert caught.value.deadline == deadline, str(caught.value)
    assert caught.value.seconds == SHORT
    assert isinstance(caught.value, TimeoutError)
    assert SHORT * 0.9 <= took < SOON


def _passes(deadline: str, call: Callable[[], object]) -> None:
    """The same for a deadline that passes while bytes arrive, by the test's clock."""
    with pytest.raises(TransportTimeout) as caught:
        call()
    assert (caught.value.deadline, caught.value.seconds) == (deadline, PATIENCE)


def _drip(clock: FakeTime, begin: bytes, byte: bytes) -> list[Step]:
    """After *begin* one *byte* at a time, without an end; after some of them all absolute deadlines have passed."""

    def wait(_: object) -> None:
        clock.advance(3 * PATIENCE)

    return [begin, byte, 0.02, byte, 0.02, byte, wait, *[byte, 0.02] * 1000]


@pytest.mark.parametrize("start", [[], [b"HTTP/1.1 2"], [b"HTTP/1.1 200 OK\r\nX-A: b\r\n"]])
def test_no_headers_of_a_stream(transport: Transport, server: Server, start: list[bytes]) -> None:
    """For a stream without headers the deadline is ``first_token``, not ``idle``."""
    server.on("/s", [*start, UNTIL_GONE])
    timeouts = Timeouts(connect=PATIENCE, first_token=SHORT, idle=0.05)
    _expires("first_token", lambda: send(transport, f"{server.url}/s", stream=True, timeouts=timeouts))
    server.wait_until_closed()


def test_no_headers(transport: Transport, server: Server) -> None:
    """For a response that is not a stream it is ``idle``."""
    server.on("/s", [UNTIL_GONE])
    timeouts = Timeouts(connect=PATIENCE, first_token=0.05, idle=SHORT)
    _expires("idle", lambda: send(transport, f"{server.url}/s", timeouts=timeouts))
    server.wait_until_closed()


def test_silence_in_the_body(transport: Transport, server: Server) -> None:
    """After the first content, the deadline for silence is ``idle``."""
    server.on("/s", [head(200, "Transfer-Encoding: chunked"), chunk(b"abc"), UNTIL_GONE])
    response = send(transport, f"{server.url}/s", stream=True)
    assert response._body.read_some() == b"abc"
    response.deadline.content_arrived()
    response.deadline.limit_rest(idle=SHORT, total=PATIENCE)
    _expires("idle", response._body.read_some)
    response.close()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch, clock: FakeTime) -> threading.Semaphore:
    """The reads that have begun, those that send included; libcurl's waits end by the test's clock, too."""
    begun, read_wait = threading.Semaphore(0), Deadline.read_wait

    def note(self: Deadline) -> float | None:
        wait = read_wait(self)
        begun.release()
        return wait

    monkeypatch.setattr(Deadline, "read_wait", note)
    monkeypatch.setattr(curl_multi, "time", clock)
    monkeypatch.setattr(curl_multi, "_MAX_WAIT", 0.01)
    return begun


def _late(clock: FakeTime, reads: threading.Semaphore) -> Step:
    """A step: the next bytes come in time for ``idle``, which is `PATIENCE`, and mostly in a read of their own.

    Three of these steps are within it: the client may begin two reads to send the request, and read two pieces together.
    """

    def wait(_: object) -> None:
        reads.acquire(timeout=0.2)
        clock.advance(0.3 * PATIENCE)

    return wait


def test_idle_starts_again_with_each_byte(
    transport: Transport, server: Server, clock: FakeTime, reads: threading.Semaphore
) -> None:
    """Bytes may arrive slowly for longer than ``idle``."""
    late = _late(clock, reads)
    server.on("/s", chunked(b"a", late, b"b", late, b"c", late, b"d", late, b"e"))
    response = send(transport, f"{server.url}/s", stream=True, timeouts=Timeouts(first_token=None, idle=PATIENCE))
    response.deadline.content_arrived()
    assert response.read() == b"abcde"
    assert clock.monotonic() > 1000 + PATIENCE


def test_first_token_ends_with_the_first_content(transport: Transport, server: Server, clock: FakeTime) -> None:
    """``first_token`` has no effect after the first content."""
    go = threading.Event()
    server.on("/s", chunked(b"a", go, b"b"))
    response = send(transport, f"{server.url}/s", stream=True, timeouts=Timeouts(first_token=PATIENCE, idle=PATIENCE))
    assert response._body.read_some() == b"a"
    response.deadline.content_arrived()
    clock.advance(2 * PATIENCE)
    go.set()
    assert response.read() == b"b"


def test_keep_alives_are_not_content(transport: Transport, server: Server, clock: FakeTime) -> None:
    """A server that sends only keep-alives runs into ``first_token``."""
    server.on("/s", _drip(clock, head(200, "Transfer-Encoding: chunked"), chunk(b"\n")))
    timeouts = Timeouts(first_token=PATIENCE, idle=2 * PATIENCE)

    def read() -> None:
        response = send(transport, f"{server.url}/s", stream=True, timeouts=timeouts)
        try:
            response.read()
        finally:
            response.close()

    _passes("first_token", read)


def test_total_in_the_body(transport: Transport, server: Server, clock: FakeTime) -> None:
    """``total`` ends an answer that still sends content."""
    server.on("/s", _drip(clock, head(200, "Transfer-Encoding: chunked"), chunk(b"x")))
    timeouts = Timeouts(first_token=2 * PATIENCE, idle=2 * PATIENCE, total=PATIENCE)

    def read() -> None:
        response = send(transport, f"{server.url}/s", stream=True, timeouts=timeouts)
        response.deadline.content_arrived()
        response.read()

    _passes("total", read)


def test_total_before_the_headers(transport: Transport, server: Server) -> None:
    """``total`` is measured from the request."""
    server.on("/s", [UNTIL_GONE])
    _expires("total", lambda: send(transport, f"{server.url}/s", timeouts=Timeouts(total=SHORT)))


@pytest.mark.parametrize(("stream", "deadline"), [(True, "first_token"), (False, "total")])
def test_slow_headers(transport: Transport, server: Server, clock: FakeTime, stream: bool, deadline: str) -> None:
    """Headers that arrive a byte at a time do not extend the absolute deadlines."""
    server.on("/s", _drip(clock, b"HTTP/1.1 200 OK\r\nX-Long: ", b"y"))
    timeouts = Timeouts(idle=2 * PATIENCE, **{"first_token": 2 * PATIENCE, "total": 2 * PATIENCE, deadline: PATIENCE})
    _passes(deadline, lambda: send(transport, f"{server.url}/s", stream=stream, timeouts=timeouts))


def test_slow_headers_are_not_idle(
    transport: Transport, server: Server, clock: FakeTime, reads: threading.Semaphore
) -> None:
    """For ``idle`` each byte of the headers counts: slow is not silent."""
    answer = head(200, "X-Slow: yes", "Content-Length: 2")
    pieces = [answer[at : at + 10] for at in range(0, len(answer), 10)]
    late = _late(clock, reads)
    server.on("/s", [step for piece in pieces for step in (piece, late)] + [b"ok"])
    response = send(transport, f"{server.url}/s", timeouts=Timeouts(idle=PATIENCE, total=10 * PATIENCE))
    assert (len(pieces), response.headers["x-slow"], response.read()) == (6, "yes", b"ok")


def test_slow_chunk_headers(transport: Transport, server: Server, clock: FakeTime) -> None:
    """An endless chunk header does not extend ``total``."""
    server.on("/s", _drip(clock, head(200, "Transfer-Encoding: chunked"), b"0"))
    timeouts = Timeouts(total=PATIENCE, idle=2 * PATIENCE)
    _passes("total", lambda: send(transport, f"{server.url}/s", timeouts=timeouts).read())


def test_silence_after_the_last_byte(transport: Transport, server: Server) -> None:
    """A chunked body without its last chunk has stalled; ``limit_rest`` limits that wait."""
    server.on("/s", [head(200, "Transfer-Encoding: chunked"), chunk(b"all"), UNTIL_GONE])
    response = send(transport, f"{server.url}/s", stream=True)
    assert response._body.read_some() == b"all"
    response.deadline.limit_rest(idle=0.1, total=PATIENCE)
    with pytest.raises(TransportTimeout) as caught:
        response._body.read_some()
    assert (caught.value.deadline, caught.value.seconds) == ("idle", 0.1)
    response.close()


def test_none_is_no_limit(transport: Transport, server: Server) -> None:
    """With None there is no limit."""
    server.on("/s", [0.1, plain(b"ok")])
    timeouts = Timeouts(connect=None, first_token=None, idle=None, total=None)
    for stream in (True, False):
        assert send(transport, f"{server.url}/s", stream=stream, timeouts=timeouts).read() == b"ok"


@pytest.mark.parametrize(("stream", "deadline"), [(True, "first_token"), (False, "idle")])
def test_a_server_that_does_not_read_the_body(transport: Transport, server: Server, stream: bool, deadline: str) -> None:
    """A server that reads the headers and not the body runs into a deadline, too."""
    server.on("/s", [PATIENCE], read_body=False)
    form = Multipart((Part(name="file", content=b"x" * 30_000_000, filename="f"),))
    timeouts = Timeouts(connect=PATIENCE, first_token=SHORT if stream else None, idle=None if stream else SHORT)
    body = form if stream else b"x" * 30_000_000
    _expires(
        deadline,
        lambda: send(transport, f"{server.url}/s", method="POST", body=body, stream=stream, timeouts=timeouts),
    )


def test_a_slow_upload_is_not_a_slow_connection(transport: Transport, server: Server) -> None:
    """``connect`` ends with the connection: sending may take longer, as long as bytes move."""
    size = 9_000_000
    server.on("/s", plain(b"ok"))
    server.read_pause = 0.06  # more than two seconds in total
    timeouts = Timeouts(connect=1, idle=PATIENCE, total=2 * PATIENCE)
    response = send(transport, f"{server.url}/s", method="POST", body=b"x" * size, timeouts=timeouts)
    assert response.read() == b"ok"
    assert len(server.last.body) == size


def test_a_kept_connection_keeps_the_new_deadline(transport: Transport, server: Server) -> None:
    """The second request on a connection has its own deadlines, for sending too."""
    server.on("/warm", plain(b"ok"))
    server.on("/s", [PATIENCE], read_body=False)
    send(transport, f"{server.url}/warm").read()
    _expires(
        "idle",
        lambda: send(
            transport,
            f"{server.url}/s",
            method="POST",
            body=b"x" * 30_000_000,
            timeouts=Timeouts(connect=PATIENCE, idle=SHORT),
        ),
    )


def test_total_spans_retries(transport: Transport, server: Server, clock: FakeTime) -> None:
    """``total`` is for the call with all attempts: the third attempt has the time that the first two left."""
    fails: list[Step] = [lambda _: clock.advance(PATIENCE), plain(b"", 503)]
    server.on("/s", fails, fails, [UNTIL_GONE])
    total = 2 * PATIENCE + SHORT
    session = session_for(
        transport, timeouts=Timeouts(idle=total, total=total), retry=Retry(attempts=50, backoff=0.001)
    )
    started = time.monotonic()
    with pytest.raises(TransportTimeout) as caught:
        session.send(Request.read(f"{server.url}/s"))
    assert (caught.value.deadline, caught.value.seconds, len(server.requests)) == ("total", total, 3)
    assert SHORT * 0.9 <= time.monotonic() - started < SOON


def test_each_attempt_has_its_own_first_token(transport: Transport, server: Server, clock: FakeTime) -> None:
    """``first_token`` is measured from the attempt, not from the call."""
    late: Step = lambda _: clock.advance(0.8 * PATIENCE)  # noqa: E731
    server.on("/s", [late, plain(b"", 503)], [late, plain(b"ok")])
    timeouts = Timeouts(first_token=PATIENCE, idle=PATIENCE)
    session = session_for(transport, timeouts=timeouts, retry=Retry(attempts=2, backoff=0.001))
    assert session.send(Request(method="GET", url=f"{server.url}/s", stream=True, retryable=True)).read() == b"ok"


def test_after_a_timeout(transport: Transport, server: Server) -> None:
    """A response whose read has timed out can be closed, and the transport can be used again."""
    go = threading.Event()
    server.on("/s", chunked(b"a", go, b"b"))
    response = send(transport, f"{server.url}/s")
    assert response._body.read_some() == b"a"
    response.deadline.limit_rest(idle=0.1, total=PATIENCE)
    with pytest.raises(TransportTimeout):
        response._body.read_some()
    response.close()
    go.set()
    assert send(transport, f"{server.url}/s", timeouts=PATIENT).read() == b"ab"


# A process that was stopped, by Ctrl-Z say, or got no time


def test_libcurl_reads_what_came_meanwhile(server: Server, clock: FakeTime, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that came while the process was stopped is read, although its deadline has passed by now."""
    pytest.importorskip("curl_cffi")
    waits, answered, sleep = threading.Event(), threading.Event(), curl_multi.Transfer._sleep

    def stopped(self: curl_multi.Transfer, until: float | None) -> bool:
        if self._sent:
            waits.set()
            assert answered.wait(PATIENCE)
        return sleep(self, until)

    monkeypatch.setattr(curl_multi.Transfer, "_sleep", stopped)
    monkeypatch.setattr(curl_multi, "time", clock)
    server.on("/s", [waits, lambda _: clock.advance(2 * PATIENCE), plain(b"ok"), lambda _: answered.set()])
    transport = make_transport("impersonate")
    assert send(transport, f"{server.url}/s", timeouts=Timeouts(connect=PATIENCE, idle=PATIENCE)).read() == b"ok"
    transport.close()


@pytest.mark.parametrize("has_bytes", [True, False])
def test_a_batch_reads_what_came_meanwhile(server: Server, has_bytes: bool) -> None:
    """The same in the event loop of a batch; without bytes the deadline has passed."""
    pytest.importorskip("aiohttp")
    pytest.importorskip("greenlet")
    from tests.green_transport import GreenTransport

    stopped, answered = threading.Event(), threading.Event()
    transport = GreenTransport()

    def call() -> bytes:
        loop = asyncio.get_running_loop()
        now = loop.time

        def stop() -> None:
            stopped.set()
            assert answered.wait(PATIENCE)
            loop.time = lambda: now() + 2 * PATIENCE  # type: ignore[method-assign]

        came = plain(b"ok") if has_bytes else b""
        server.on("/s", [lambda _: loop.call_soon_threadsafe(stop) and None, stopped, came, lambda _: answered.set(), UNTIL_GONE])
        return send(transport._transport, f"{server.url}/s", timeouts=Timeouts(connect=PATIENCE, idle=PATIENCE)).read()

    if has_bytes:
        assert transport.run(call) == b"ok"
    else:
        with pytest.raises(TransportTimeout):
            transport.run(call)
    transport.close()
