"""The authentication hook of a session: it prepares requests, sends them again, explains errors, and sees each answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attrs import evolve

from hfclient.credentials import Credentials
from hfclient.errors import AuthenticationError, ConnectError, NotFoundError, TransportError
from hfclient.transport import Deadline, Request, Response, Retry, Session
from hfclient.transport.response import Headers
from hfclient.transport.session import AuthFlow

URL = "http://chat.example/x"


class _Body:
    def read_some(self) -> bytes:
        return b""

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


class _Transport:
    """Answers from a list, and keeps the header X-Key of each request."""

    def __init__(self, *answers: int | BaseException) -> None:
        self.answers = list(answers)
        self.keys: list[str | None] = []

    def open(self, request: Request, headers: dict[str, str], deadline: Deadline) -> Response:
        self.keys.append(headers.get("X-Key"))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return Response(answer, Headers([]), _Body(), method=request.method, url=request.url, deadline=deadline)

    def close(self) -> None:
        pass


class _Renewing:
    """Sends a key, renews it once after a 401, and explains a second 401."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.closed = 0

    def auth_flow(self, request: Request, session: Session) -> AuthFlow:
        try:
            try:
                response = yield self._with(request, "old")
            except AuthenticationError as error:
                self.seen.append(error.attempts)
                session.with_auth(None).send(request).close()  # a question of the hook's own
                try:
                    response = yield self._with(request, "new")
                except AuthenticationError:
                    raise AuthenticationError("log in again", status_code=401) from None
            self.seen.append(response.status)
        finally:
            self.closed += 1

    def _with(self, request: Request, key: str) -> Request:
        return evolve(request, headers={**request.headers, "X-Key": key})


@pytest.fixture
def hook() -> Iterator[_Renewing]:
    """A hook, whose flow has been closed at the end of each test."""
    made = _Renewing()
    yield made
    assert made.closed == 1


def _session(transport: _Transport, hook: _Renewing) -> Session:
    session = Session(transport, Credentials(), retry=Retry(backoff=0))  # type: ignore[arg-type]
    return session.with_auth(hook)


def test_a_request_is_prepared(hook: _Renewing) -> None:
    """The flow yields the request that is sent, and gets the answer."""
    transport = _Transport(200)
    assert _session(transport, hook).send(Request(method="GET", url=URL)).status == 200
    assert (transport.keys, hook.seen) == (["old"], [200])


def test_a_request_is_sent_again(hook: _Renewing) -> None:
    """After an error the flow may yield another request; its own questions do not go through the hook."""
    transport = _Transport(401, 200, 200)
    _session(transport, hook).send(Request(method="POST", url=URL))
    assert (transport.keys, hook.seen) == (["old", None, "new"], [1, 200])


def test_an_error_is_explained(hook: _Renewing) -> None:
    """An error that the flow raises is the caller's."""
    with pytest.raises(AuthenticationError, match="log in again"):
        _session(_Transport(401, 200, 401), hook).send(Request(method="POST", url=URL))


def test_other_errors_pass(hook: _Renewing) -> None:
    """A status that the flow does not handle is raised as it is."""
    with pytest.raises(NotFoundError):
        _session(_Transport(404), hook).send(Request(method="GET", url=URL))


@pytest.mark.parametrize("error", [ConnectError("no connection", sent=True), KeyboardInterrupt()])
def test_what_the_flow_does_not_see(hook: _Renewing, error: BaseException) -> None:
    """A broken connection, and any foreign exception, closes the flow."""
    with pytest.raises((TransportError, KeyboardInterrupt)):
        _session(_Transport(error), hook).send(Request(method="POST", url=URL))
    assert hook.seen == []


def test_retries_come_first(hook: _Renewing) -> None:
    """The session's own retries are made before the flow gets an error."""
    transport = _Transport(503, 503, 401, 200, 200)
    _session(transport, hook).send(Request(method="GET", url=URL, retryable=True))
    assert (transport.keys, hook.seen) == (["old", "old", "old", None, "new"], [3, 200])


def test_sessions_without_the_hook(hook: _Renewing) -> None:
    """The session that the hooked one was made from has none, nor has one for foreign places."""
    transport = _Transport(200, 200, 200)
    plain = Session(transport, Credentials())  # type: ignore[arg-type]
    hooked = plain.with_auth(hook)
    for session in (plain, hooked.bare(), hooked):
        session.send(Request(method="GET", url=URL))
    assert transport.keys == [None, None, "old"]
