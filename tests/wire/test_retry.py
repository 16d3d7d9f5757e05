"""Which requests are retried, how often and when."""

from __future__ import annotations

import socket
import threading

import pytest

from hfclient.errors import APIStatusError, ConnectError, RateLimitError, ServerError, TransportTimeout
from hfclient.transport import Cancellation, Request, Retry, Timeouts, Transport
from tests.server import CLOSE, RST, UNTIL_GONE, Server, json_answer, plain
from tests.wire.helpers import session_for


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times that the session would have slept in this thread; those of other tests may still run."""
    slept: list[float] = []
    own, pause = threading.get_ident(), Cancellation.pause

    def note(self: Cancellation, seconds: float) -> None:
        if threading.get_ident() == own:
            slept.append(seconds)
        else:
            pause(self, seconds)

    monkeypatch.setattr(Cancellation, "pause", note)
    return slept


RETRY = Retry(attempts=3, backoff=1.0)


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_retryable_statuses(transport: Transport, server: Server, naps: list[float], status: int) -> None:
    """A read is retried after a status that allows it, with growing waits."""
    server.on("/s", plain(b"", status), plain(b"", status), plain(b"ok"))
    assert session_for(transport, retry=RETRY).send(Request.read(f"{server.url}/s")).read() == b"ok"
    assert len(server.requests) == 3
    assert 0.5 <= naps[0] <= 1.0 <= naps[1] <= 2.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500, 501])
def test_final_statuses(transport: Transport, server: Server, naps: list[float], status: int) -> None:
    """Other statuses are final."""
    server.on("/s", plain(b"", status))
    with pytest.raises(APIStatusError):
        session_for(transport, retry=RETRY).send(Request.read(f"{server.url}/s"))
    assert (len(server.requests), naps) == (1, [])


@pytest.mark.parametrize("script", [[CLOSE], [RST], [plain(b"half of it")[:-3], CLOSE], [plain(b"half of it")[:-3], RST]])
def test_broken_connections(transport: Transport, server: Server, naps: list[float], script) -> None:
    """A read is retried after a broken connection, also in the middle of the body."""
    server.on("/s", script, plain(b"ok"))
    assert session_for(transport, retry=RETRY).send(Request.read(f"{server.url}/s")).read() == b"ok"
    assert len(server.requests) == 2


def test_requests_that_are_not_retryable(transport: Transport, server: Server, naps: list[float]) -> None:
    """They are sent once, after every failure."""
    for script in (plain(b"", 503), [CLOSE], [RST]):
        server.requests.clear()
        server.on("/s", script)
        with pytest.raises((APIStatusError, ConnectError)) as caught:
            session_for(transport, retry=RETRY).send(Request.with_json("POST", f"{server.url}/s", {}))
        assert (len(server.requests), caught.value.attempts, naps) == (1, 1, [])


def test_unsent_requests_may_be_repeated(transport: Transport, naps: list[float]) -> None:
    """The exception: if nothing can have reached the server, even a chat message is retried."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with pytest.raises(ConnectError) as caught:
            session_for(transport, retry=RETRY).send(Request.with_json("POST", url, {}))
    assert (caught.value.attempts, caught.value.sent, len(naps)) == (3, False, 2)
    assert (caught.value.method, caught.value.url) == ("POST", url)


def test_retry_after_is_honoured(transport: Transport, server: Server, naps: list[float]) -> None:
    """Retry-After has precedence over the backoff."""
    server.on("/s", plain(b"", 429, "Retry-After: 7"), json_answer({"estimated_time": 3.5}, 503), plain(b"ok"))
    assert session_for(transport, retry=RETRY).send(Request.read(f"{server.url}/s")).read() == b"ok"
    assert naps == [7.0, 3.5]


def test_a_long_retry_after(transport: Transport, server: Server, naps: list[float]) -> None:
    """A wait of an hour is not waited for; the error has its length."""
    server.on("/s", plain(b"", 429, "Retry-After: 3600"))
    with pytest.raises(RateLimitError) as caught:  # only the limit for Retry-After applies: there is no total deadline
        session_for(transport, retry=RETRY, timeouts=Timeouts()).send(Request.read(f"{server.url}/s"))
    assert (caught.value.retry_after, caught.value.attempts, naps) == (3600.0, 1, [])


def test_total_bounds_the_waits(transport: Transport, server: Server, naps: list[float]) -> None:
    """No wait begins that would exceed ``total``."""
    server.on("/s", plain(b"", 503, "Retry-After: 60"))
    retry, timeouts = Retry(attempts=3, max_wait=90), Timeouts(total=50)
    with pytest.raises(ServerError):
        session_for(transport, retry=retry, timeouts=timeouts).send(Request.read(f"{server.url}/s"))
    assert (naps, len(server.requests)) == ([], 1)
    with pytest.raises(ServerError):
        session_for(transport, retry=retry, timeouts=Timeouts(total=90)).send(Request.read(f"{server.url}/s"))
    assert (naps, len(server.requests)) == ([60.0, 60.0], 4)


def test_the_last_attempt(transport: Transport, server: Server, naps: list[float]) -> None:
    """After the last attempt its error is raised, with the number of attempts."""
    server.on("/s", plain(b"", 503))
    with pytest.raises(ServerError) as caught:
        session_for(transport, retry=RETRY).send(Request.read(f"{server.url}/s"))
    assert (caught.value.attempts, len(server.requests), len(naps)) == (3, 3, 2)


@pytest.mark.parametrize("attempts", [0, 1])
def test_never(transport: Transport, server: Server, naps: list[float], attempts: int) -> None:
    """With one attempt nothing is retried."""
    server.on("/s", plain(b"", 503))
    with pytest.raises(ServerError):
        session_for(transport, retry=Retry(attempts=attempts)).send(Request.read(f"{server.url}/s"))
    assert (len(server.requests), naps) == (1, [])


def test_timeouts_are_not_retried(transport: Transport, server: Server, naps: list[float]) -> None:
    """A deadline that passed after the request arrived is not retried: it would take as long again."""
    server.on("/s", [UNTIL_GONE], plain(b"at once"))
    with pytest.raises(TransportTimeout) as caught:
        session_for(transport, retry=RETRY, timeouts=Timeouts(idle=0.1)).send(Request.read(f"{server.url}/s"))
    server.wait_for(1)
    assert (caught.value.attempts, len(server.requests)) == (1, 1)


def test_uploads_are_repeated_whole(transport: Transport, server: Server, naps: list[float]) -> None:
    """A retryable request with a form is sent again from its start."""
    from hfclient.transport import Multipart, Part

    form = Multipart((Part(name="a", content=b"x" * 100_000, filename="f"),))
    server.on("/s", plain(b"", 503), plain(b"ok"))
    request = Request(method="POST", url=f"{server.url}/s", body=form, retryable=True)
    assert session_for(transport, retry=RETRY).send(request).read() == b"ok"
    assert server.requests[0].body == server.requests[1].body == b"".join(form)
