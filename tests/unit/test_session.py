"""The policy of the session, without a network (over the wire: tests/wire)."""

from __future__ import annotations

import logging
import math

import pytest

from hfclient.credentials import Credentials
from hfclient.errors import (
    APIStatusError,
    ConnectError,
    InvalidInputError,
    ProtocolError,
    RateLimitError,
    TransportTimeout,
)
from hfclient.transport import Clock, Deadline, Multipart, Part, Request, Response, Retry, Session, Timeouts
from hfclient.transport.request import check_headers
from hfclient.transport.response import Headers


class _Body:
    def __init__(self, data: bytes = b"") -> None:
        self.pieces = [data] if data else []
        self.closed = False

    def read_some(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class _Transport:
    """Answers from a list; records its calls."""

    def __init__(self, *answers: int | BaseException) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Request, dict[str, str], Deadline]] = []
        self.bodies: list[_Body] = []

    def open(self, request: Request, headers: dict[str, str], deadline: Deadline) -> Response:
        self.asked.append((request, dict(headers), deadline))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        self.bodies.append(_Body(b"body"))
        return Response(answer, Headers([]), self.bodies[-1], method=request.method, url=request.url, deadline=deadline)

    def close(self) -> None:
        pass


def _session(transport: _Transport, **options: object) -> Session:
    return Session(transport, Credentials(), retry=Retry(backoff=0), **options)  # type: ignore[arg-type]


# Retry


@pytest.mark.parametrize("name", ["attempts", "backoff", "max_wait"])
@pytest.mark.parametrize("value", [-1, math.nan, "3", None])
def test_invalid_policies(name: str, value: object) -> None:
    """Only numbers from zero up are valid."""
    with pytest.raises(InvalidInputError, match=f"Retry.{name}"):
        Retry(**{name: value})


def test_waits_grow_with_jitter() -> None:
    """Each wait doubles, up to the maximum, with jitter."""
    retry = Retry(attempts=100, backoff=1, max_wait=10)
    error = ConnectError("x")
    waits = [[retry.wait_before(attempt, error) or 0 for _ in range(50)] for attempt in range(2, 9)]
    for wait, most in zip(waits, (1, 2, 4, 8, 10, 10, 10), strict=True):
        assert most / 2 <= min(wait) <= max(wait) <= most
        assert len(set(wait)) > 10
    assert Retry(attempts=10**6).wait_before(5000, error) is not None


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectError("x"), True),
        (TransportTimeout("x", deadline="connect"), True),
        (TransportTimeout("x", deadline="idle"), False),
        (TransportTimeout("x", deadline="first_token"), False),
        (TransportTimeout("x", deadline="total"), False),
        (APIStatusError("x", status_code=503), True),
        (APIStatusError("x", status_code=500), False),
        (ProtocolError("x"), False),
        (RateLimitError("x", status_code=429, retry_after=30), True),
        (RateLimitError("x", status_code=429, retry_after=30.1), False),
        (RateLimitError("x", status_code=429, retry_after=0), True),
    ],
)
def test_which_failures_are_retried(error: Exception, again: bool) -> None:
    """Failed connections and temporary statuses are retried; deadlines that would pass again are not."""
    assert (Retry().wait_before(2, error) is not None) is again  # type: ignore[arg-type]
    assert Retry(attempts=1).wait_before(2, error) is None  # type: ignore[arg-type]


# Session


def test_one_deadline_for_all_tries() -> None:
    """All tries share the call's deadline."""
    transport = _Transport(503, ConnectError("x"), 200)
    _session(transport).send(Request(method="GET", url="http://a.b/", retryable=True))
    assert len({id(deadline.clock) for _, _, deadline in transport.asked}) == 1


def test_bodies_of_retried_answers_are_closed() -> None:
    """The body of an answer that is not returned is closed."""
    transport = _Transport(503, 503, 404)
    with pytest.raises(APIStatusError):
        _session(transport).send(Request(method="GET", url="http://a.b/", retryable=True))
    assert [body.closed for body in transport.bodies] == [True] * 3


def test_timeouts_of_the_request_win() -> None:
    """A request's own deadlines replace the session's."""
    transport = _Transport(200, 200)
    session = _session(transport, timeouts=Timeouts(total=5))
    session.send(Request(method="GET", url="http://a.b/"))
    session.send(Request(method="GET", url="http://a.b/", clock=Clock(Timeouts(total=7))))
    assert [deadline.timeouts.total for _, _, deadline in transport.asked] == [5, 7]


def test_forms_set_their_content_type() -> None:
    """The boundary is in the header, for any headers of the request."""
    transport = _Transport(200)
    form = Multipart((Part(name="a", content=b"b"),))
    _session(transport).send(Request(method="POST", url="http://a.b/", body=form, headers={"content-type": "x"}))
    [(_, headers, _)] = transport.asked
    assert [value for name, value in headers.items() if name.lower() == "content-type"] == [form.content_type]


def test_errors_carry_the_request() -> None:
    """A transport's error has the method, the URL without secrets, and the number of tries."""
    transport = _Transport(ConnectError("x"), ConnectError("y"), ConnectError("z"))
    with pytest.raises(ConnectError, match="z") as caught:
        _session(transport).send(Request(method="GET", url="http://u:p@a.b/c?q=1", retryable=True))
    error = caught.value
    assert (error.method, error.url, error.attempts) == ("GET", "http://a.b/c", 3)


def test_retries_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each wait, without the query."""
    transport = _Transport(503, 200)
    with caplog.at_level(logging.DEBUG, "hfclient"):
        _session(transport).send(Request(method="GET", url="http://a.b/c", params={"q": "private"}, retryable=True))
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert "GET http://a.b/c" in text
    assert "again in" in text
    assert "private" not in text


def test_foreign_exceptions_pass() -> None:
    """Ctrl-C and bugs are not caught."""
    for error in (KeyboardInterrupt(), ZeroDivisionError()):
        with pytest.raises(type(error)):
            _session(_Transport(error)).send(Request(method="GET", url="http://a.b/", retryable=True))  # type: ignore[arg-type]


# Values


def test_requests_are_values() -> None:
    """Two requests with the same parts are equal; the repr has no body."""
    first = Request.with_json("POST", "http://a.b/", {"a": 1}, headers={"X": "y"}, stream=True)
    assert first == Request.with_json("POST", "http://a.b/", {"a": 1}, headers={"X": "y"}, stream=True)
    assert first.body == b'{"a":1}'
    assert "body" not in repr(first)
    assert Request.read("http://a.b/").retryable
    assert not first.retryable


def test_headers() -> None:
    """Names match in any case, repeated headers are joined or listed, and the repr has no values."""
    headers = Headers([("Set-Cookie", "a=1"), ("X-A", "1"), ("set-cookie", "b=2")])
    assert headers["SET-COOKIE"] == "a=1, b=2"
    assert headers.all("set-cookie") == ["a=1", "b=2"]
    assert (len(headers), sorted(headers), "x-a" in headers, "none" in headers) == (
        2,
        ["set-cookie", "x-a"],
        True,
        False,
    )
    assert headers.get("none") is None
    with pytest.raises(KeyError):
        headers["none"]
    assert "a=1" not in repr(headers)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\n", "é", "a\0", "(x)"])
def test_names_of_headers(name: str) -> None:
    """An invalid name of a header is refused."""
    with pytest.raises(InvalidInputError):
        check_headers({name: "x"})


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "\0", "☃", "a\r\n b"])
def test_values_of_headers(value: str) -> None:
    """A value that would end the header, or cannot be encoded, is refused and not shown."""
    with pytest.raises(InvalidInputError) as caught:
        check_headers({"X-Secret": f"hf_{value}"})
    assert "hf_" not in str(caught.value)
    check_headers({"X": "", "Y": "Zo\xeb", "Z": "a\tb"})


def test_request_ids() -> None:
    """The first of the known headers is the server's id of the request."""

    def id_of(*items: tuple[str, str]) -> str | None:
        return Response(
            200, Headers(list(items)), _Body(), method="GET", url="u", deadline=Deadline(Clock(Timeouts()))
        ).request_id

    assert id_of() is None
    assert id_of(("CF-Ray", "c"), ("X-Request-Id", "r")) == "r"
    assert id_of(("x-amzn-trace-id", "t")) == "t"
