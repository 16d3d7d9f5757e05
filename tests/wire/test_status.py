"""Every status and every form of error body becomes the right exception."""

from __future__ import annotations

import email.utils
import json
import time

import pytest

from hfclient import errors
from hfclient.errors import APIStatusError, HFClientError
from hfclient.transport import Limits, Request, Transport
from tests.server import CLOSE, Server, head, json_answer, plain
from tests.wire.helpers import session_for

STATUSES = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    402: errors.CreditsExhausted,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    405: errors.APIStatusError,
    408: errors.APIStatusError,
    409: errors.ConflictError,
    410: errors.ModelGone,
    413: errors.RequestTooLargeError,
    418: errors.APIStatusError,
    422: errors.BadRequestError,
    429: errors.RateLimitError,
    500: errors.ServerError,
    502: errors.ServerError,
    503: errors.ServerError,
    504: errors.ServerError,
    520: errors.ServerError,
    599: errors.ServerError,
}


def _failure(transport: Transport, server: Server, answer: object) -> APIStatusError:
    server.on("/s", answer)  # type: ignore[arg-type]
    with pytest.raises(APIStatusError) as caught:
        session_for(transport).send(Request.with_json("POST", f"{server.url}/s", {}, params={"q": "private"}))
    return caught.value


@pytest.mark.parametrize("status", STATUSES)
def test_status(transport: Transport, server: Server, status: int) -> None:
    """The status selects the class, and the fields have the request and the server."""
    error = _failure(transport, server, json_answer({"error": "no luck"}, status, "X-Request-Id: req-7"))
    assert type(error) is STATUSES[status]
    assert (error.status_code, error.message, error.method) == (status, "no luck", "POST")
    assert (error.url, error.request_id, error.attempts) == (f"{server.url}/s", "req-7", 1)
    assert error.body == '{"error": "no luck"}'
    assert str(error) == f"no luck ({status} from POST {server.url}/s, request req-7)"


BODIES = [
    ({"message": "Too many"}, "Too many"),
    ({"error": "Model x is overloaded"}, "Model x is overloaded"),
    ({"error": {"message": "bad key", "type": "auth", "code": "invalid"}}, "bad key"),
    ({"error": ["first", "second"]}, "first; second"),
    ({"errors": [{"message": "a"}, {"message": "b"}]}, "a; b"),
    ({"detail": "Not here"}, "Not here"),
    (
        {"detail": [{"loc": ["body", "model"], "msg": "field required", "type": "missing"}]},
        "body.model: field required",
    ),
    ({"detail": [{"loc": ["body", 0], "msg": "too short"}, {"msg": "alone"}]}, "body.0: too short; alone"),
    ({"error": None, "message": "m"}, "m"),
    ({"error": "", "message": "m"}, "m"),
    ("just a string", "just a string"),
    (["one", {"error": "two"}], "one; two"),
    ({"error": {"details": {"reason": "deep"}}}, "deep"),
    ({"loc": 5, "msg": "odd"}, "odd"),
]


@pytest.mark.parametrize(("body", "message"), BODIES)
def test_json_bodies(transport: Transport, server: Server, body: object, message: str) -> None:
    """The message is found under every key that servers use."""
    assert _failure(transport, server, json_answer(body, 400)).message == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "HTTP status 500"),
        (b"   \n", "HTTP status 500"),
        (b"upstream timed out", "upstream timed out"),
        (b"<html><head><title>502 Bad\n Gateway &amp; more</title></head></html>", "502 Bad Gateway & more"),
        (b"<html><body>no title</body></html>", "HTTP status 500"),
        (b'{"error": "broken json', "HTTP status 500"),
        (b"{}", "HTTP status 500"),
        (b"null", "HTTP status 500"),
        (b"[]", "HTTP status 500"),
        (b"12", "12"),
        (b"\xff\xfe\x00binary", "\ufffd\ufffd\\x00binary"),
        (b"\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        (b"[" * 60_000, "HTTP status 500"),
        (b'{"error":' * 7000, "HTTP status 500"),
        (b'{"error":' * 100 + b'"deep"' + b"}" * 100, "HTTP status 500"),
        (b"x" * 100_000, "x" * 300),
    ],
)
def test_other_bodies(transport: Transport, server: Server, body: bytes, message: str) -> None:
    """An HTML page, plain text, an empty body or nonsense: there is always a message, and it is never a page."""
    error = _failure(transport, server, plain(body, 500))
    assert error.message == message
    assert error.body is None or len(error.body) <= 2000


def test_code(transport: Transport, server: Server) -> None:
    """The server's own code is kept, under every key that servers use."""
    for body, code in (
        ({"error": {"message": "x", "code": "model_not_found"}}, "model_not_found"),
        ({"error": "x", "error_type": "overloaded"}, "overloaded"),
        ({"error": {"message": "x", "code": 7}}, "7"),
        ({"message": "x", "errorId": "abc"}, "abc"),
        ({"message": "x"}, None),
        ({"error": {"message": "x", "code": None}, "type": "t"}, "t"),
        ({"error": {"message": "x", "code": True}}, None),
    ):
        assert _failure(transport, server, json_answer(body, 400)).code == code


def test_error_message_header(transport: Transport, server: Server) -> None:
    """The Hub sends its message in a header if the body is empty."""
    error = _failure(transport, server, plain(b"", 404, "X-Error-Message: Repository not found"))
    assert error.message == "Repository not found"


def _date(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        (["Retry-After: 12"], 12, 12),
        (["Retry-After: 1.5"], 1.5, 1.5),
        (["retry-after-ms: 250", "Retry-After: 9"], 0.25, 0.25),
        ([f"Retry-After: {_date(36000)}"], 30000, 36001),
        ([f"Retry-After: {_date(-3600)}"], 0, 0),
        (["Retry-After: 0"], 0, 0),
    ],
)
def test_retry_after(transport: Transport, server: Server, headers: list[str], low: float, high: float) -> None:
    """Seconds, milliseconds and dates are understood."""
    error = _failure(transport, server, plain(b"slow down", 429, *headers))
    assert error.retry_after is not None
    assert low <= error.retry_after <= high


@pytest.mark.parametrize(
    "value", ["soon", "", "-5", "nan", "inf", "1e400", "Wed, 99 Foo 2099 99:99:99 GMT", "٣", "9" * 400]
)
def test_invalid_retry_after(transport: Transport, server: Server, value: str) -> None:
    """An invalid time is ignored, and never an exception of another kind."""
    for name in ("Retry-After", "retry-after-ms"):
        error = _failure(transport, server, plain(b"", 429, f"{name}: {value}".encode().decode("latin-1")))
        assert error.retry_after is None
    assert type(error) is errors.RateLimitError


def test_estimated_time(transport: Transport, server: Server) -> None:
    """The estimated time of a model that is being loaded is the wait."""
    error = _failure(transport, server, json_answer({"error": "Model is loading", "estimated_time": 20.5}, 503))
    assert (type(error), error.retry_after) == (errors.ServerError, 20.5)


@pytest.mark.parametrize(
    "answer",
    [
        plain(b"<!DOCTYPE html><title>Just a moment...</title>", 403, "Server: cloudflare"),
        plain(b"<html><script src='/cdn-cgi/challenge-platform/x'></script>", 503),
        plain(b"<html>blocked</html>", 403, "cf-mitigated: challenge"),
    ],
)
def test_bot_check(transport: Transport, server: Server, answer: bytes) -> None:
    """A challenge page of a bot check has its own message with advice."""
    error = _failure(transport, server, answer)
    assert type(error) is errors.CloudflareChallenge
    assert "impersonate" in error.message
    assert not isinstance(
        _failure(transport, server, json_answer({"error": "cf-chl"}, 403)), errors.CloudflareChallenge
    )


def test_body_that_breaks(transport: Transport, server: Server) -> None:
    """If the body of an error is cut, the error of the status is still raised."""
    error = _failure(transport, server, [head(404, "Content-Length: 100"), b"half of", CLOSE])
    assert (type(error), error.message) == (errors.NotFoundError, "half of")


def test_endless_body(transport: Transport, server: Server) -> None:
    """An endless error body is not read to its end."""
    error = _failure(transport, server, [head(500), *[b"y" * 65536] * 200, CLOSE])
    assert isinstance(error, errors.ServerError)
    assert len(error.body or "") == 2000


def test_refine(transport: Transport, server: Server) -> None:
    """The layer above can turn the error into a more precise one."""

    def refine(error: APIStatusError) -> HFClientError:
        return errors.Unsupported(f"because {error.message}")

    server.on("/s", json_answer({"message": "of this"}, 400))
    with pytest.raises(errors.Unsupported, match="because of this"):
        session_for(transport).send(Request(method="GET", url=f"{server.url}/s", refine=refine))


@pytest.mark.parametrize("status", [304, 300, 301])
def test_invalid_redirects(transport: Transport, server: Server, status: int) -> None:
    """A 3xx without a Location is an error too."""
    server.on("/s", head(status, "Content-Length: 0"))
    with pytest.raises(APIStatusError) as caught:
        session_for(transport).send(Request.read(f"{server.url}/s"))
    assert caught.value.status_code == status


def test_a_body_that_is_not_json(transport: Transport, server: Server) -> None:
    """A 200 that is not JSON where JSON is expected is a `ProtocolError` with the start of the body."""
    for answer in (b"<html>hi</html>", b"", b"{", b"\xff", b"[" * 100_000):
        server.on("/s", plain(answer, 200, "Content-Type: text/html"))
        with pytest.raises(errors.ProtocolError, match="should give JSON") as caught:
            session_for(transport).send(Request.read(f"{server.url}/s")).json()
        assert caught.value.frame is not None
    server.on("/s", json_answer({"a": [1, None, "é"]}))
    assert session_for(transport).send(Request.read(f"{server.url}/s")).json() == {"a": [1, None, "é"]}


def test_limit(transport: Transport, server: Server) -> None:
    """A buffered response has a maximum size."""
    server.on("/s", plain(json.dumps("x" * 5000)))
    session = session_for(transport)
    session.limits = Limits(body=1000)
    with pytest.raises(errors.ProtocolError, match=r"promises 5,002 bytes, more than 1,000 \(Limits.body\)"):
        session.send(Request.read(f"{server.url}/s")).read()
