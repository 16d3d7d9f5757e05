"""Tokens, cookies, passwords and query values are sent, and appear in no log, error or repr."""

from __future__ import annotations

import json
import logging
import pickle
import socket
import traceback
from collections.abc import Callable

import pytest

from hfclient.credentials import Credentials, Secret
from hfclient.errors import HFClientError
from hfclient.stream import Stream
from hfclient.transport import Request, Retry, Session, Timeouts
from tests.conftest import make_transport
from tests.server import CLOSE, RST, UNTIL_GONE, Server, chunk, head, plain
from tests.wire.helpers import PATIENT

# Concatenated here: a traceback quotes the lines of this file.
TOKEN, COOKIE, PROXY, QUERY, BASIC, HEADER = (f"{kind}-is-{'secret'}" for kind in ("t", "c", "p", "q", "b", "h"))
SECRETS = (TOKEN, COOKIE, PROXY, QUERY, BASIC, HEADER)


def _session(transport_name: str, server: Server, *, retry: Retry, timeouts: Timeouts, proxy: str | None) -> Session:
    credentials = Credentials(
        token=Secret(TOKEN),
        explicit=True,
        cookies={"hf-chat": Secret(COOKIE)},
        chat_url=f"{server.url}/chat",
        token_urls=[server.url],
    )
    transport = make_transport(transport_name, proxy=proxy)
    return Session(transport, credentials, timeouts=timeouts, retry=retry, headers={"X-Key": HEADER})


def _unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


SCRIPTS = {
    "refused by the server": plain(b'{"error": "no"}', 403),
    "redirect": head(302, f"Location: https://user:{BASIC}@login.example/?code={QUERY}", "Content-Length: 0"),
    "reset": [RST],
    "closed": [CLOSE],
    "stalled": [UNTIL_GONE],
    "no HTTP": [b"garbage\r\n\r\n", CLOSE],
    "cut body": [head(200, "Content-Length: 100"), b"half", CLOSE],
    "broken chunk": [head(200, "Transfer-Encoding: chunked"), chunk(b"ok"), b"zzz\r\n", CLOSE],
    "broken gzip": plain(b"no gzip", 200, "Content-Encoding: gzip"),
    "fine": plain(b"ok", 200, f"Set-Cookie: hf-chat={COOKIE}-2", f"Set-Cookie: more={COOKIE}-3"),
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("place", ["/chat/api/x", "/v1/models"])
def test_after_a_request(
    transport_name: str, server: Server, caplog: pytest.LogCaptureFixture, script: str, place: str
) -> None:
    """No secret is in logs at DEBUG, of any library, or in an exception's text, dict, pickle or traceback."""
    server.on(place, SCRIPTS[script])
    timeouts = Timeouts(idle=0.15) if script == "stalled" else PATIENT
    session = _session(transport_name, server, retry=Retry(attempts=2, backoff=0.001), timeouts=timeouts, proxy=None)
    url = server.url.replace("//", f"//user:{BASIC}@")
    request = Request.read(f"{url}{place}", params={"key": QUERY})

    def call() -> None:
        response = session.send(request)
        shown.append(f"{response!r} {response.headers!r} {response.url}")
        try:
            response.read()
        finally:
            response.close()

    shown: list[str] = []
    _check(call, shown, caplog)
    shown.append(f"{session!r} {session.transport!r} {session.credentials!r} {request.body!r} {server.last.path}")
    assert server.last.query == {"key": QUERY}
    session.close()
    _assert_clean(shown)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/x", "http://nowhere.invalid/x", "http://127.0.0.1:99999/x", "http:///x"]
)
@pytest.mark.parametrize("proxied", [False, True])
def test_before_a_request(
    transport_name: str, server: Server, caplog: pytest.LogCaptureFixture, url: str, proxied: bool
) -> None:
    """The same if nothing was sent: an address that refuses, does not exist or is invalid, a proxy that is down."""
    port = _unused_port()
    proxy = f"http://user:{PROXY}@127.0.0.1:{port}" if proxied else None
    session = _session(transport_name, server, retry=Retry(attempts=1), timeouts=PATIENT, proxy=proxy)
    full = url.format(port=port).replace("//", f"//user:{BASIC}@") + f"?own={QUERY}"
    shown: list[str] = []
    _check(lambda: session.send(Request.read(full, params={"key": QUERY})), shown, caplog)
    assert shown, "something must have been raised"
    shown.append(repr(session.transport))
    session.close()
    _assert_clean(shown)


def _check(call: Callable[[], object], shown: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        try:
            call()
        except HFClientError as error:
            shown += [str(error), repr(error), json.dumps(error.to_dict()), repr(pickle.dumps(error))]
            shown += ["".join(traceback.format_exception(error)), error.message]
    for record in caplog.records:
        text = f"{record.name} {record.getMessage()} {record.args!r}"
        # urllib3 logs URLs with their queries if its own logger is set to DEBUG.
        shown.append(text.replace(QUERY, "") if record.name.startswith("urllib3") else text)


def _assert_clean(shown: list[str]) -> None:
    for text in shown:
        for secret in SECRETS:
            assert secret not in text, f"{secret} is in {text}"


def test_repr_of_a_stream(transport_name: str, server: Server) -> None:
    """The repr of a stream has its state and nothing else."""
    server.on("/s", plain(b"ok"))
    session = _session(transport_name, server, retry=Retry(attempts=1), timeouts=PATIENT, proxy=None)
    response = session.send(Request.read(f"{server.url}/s"))
    stream = Stream(response)
    assert repr(stream) == "<Stream open>"
    stream.close()
    session.close()
