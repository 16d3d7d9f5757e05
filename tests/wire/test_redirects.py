"""Which redirects are followed, and with which headers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hfclient.credentials import Credentials, Secret
from hfclient.errors import APIStatusError, AuthenticationError
from hfclient.transport import Request, Transport
from hfclient.transport.session import _redirect_target
from tests.server import Server, head, plain
from tests.wire.helpers import session_for


def _to(location: str, status: int = 308) -> bytes:
    return head(status, f"Location: {location}", "Content-Length: 0")


@pytest.mark.parametrize("status", [307, 308])
def test_same_origin(transport: Transport, server: Server, status: int) -> None:
    """A permanent or temporary redirect to the same origin is followed with method, headers and body."""
    server.on("/old", _to("/new", status))
    server.on("/new", plain(b"ok"))
    request = Request(method="POST", url=f"{server.url}/old", body=b"body", headers={"X-Mine": "1"})
    assert session_for(transport).send(request).read() == b"ok"
    assert (server.last.method, server.last.path, server.last.body) == ("POST", "/new", b"body")
    assert server.last.headers["x-mine"] == "1"


@pytest.mark.parametrize("status", [301, 302, 303])
def test_the_same_origin_for_a_write(transport: Transport, server: Server, status: int) -> None:
    """A redirect that would turn a write into a read is not followed, not even for a trailing slash."""
    server.on("/old", _to("/old/", status))
    with pytest.raises(APIStatusError, match="/old/"):
        session_for(transport).send(Request(method="POST", url=f"{server.url}/old", body=b"body"))
    assert len(server.requests) == 1


def test_query_of_the_target(transport: Transport, server: Server) -> None:
    """The target's own query is used, not that of the first URL."""
    server.on("/old", _to("new?b=2"))
    server.on("/new", plain(b"ok"))
    session_for(transport).send(Request.read(f"{server.url}/old", params={"a": 1})).read()
    assert server.last.query == {"b": "2"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_other_origin(transport: Transport, server: Server, other_server: Server, status: int) -> None:
    """A redirect to another origin is an error that names it, and nothing is sent there."""
    other_server.on("*", plain(b"stolen"))
    server.on("/s", _to(f"{other_server.url}/login?code=secret", status))
    with pytest.raises(APIStatusError, match="redirects to") as caught:
        session_for(transport).send(Request.read(f"{server.url}/s"))
    assert caught.value.status_code == status
    assert f"{other_server.url}/login" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert other_server.requests == []


def test_login_page(transport: Transport, server: Server) -> None:
    """A 302 to a login page, which is a server's 401 for browsers, raises an error that says so."""
    server.on("/chat", _to("/login", 302))
    with pytest.raises(AuthenticationError, match="login"):
        session_for(transport).send(Request.read(f"{server.url}/chat"))
    assert len(server.requests) == 1


def test_https_hint(transport: Transport, server: Server) -> None:
    """A redirect to https has an error of its own, different from that of a login."""
    server.on("/chat", _to("https://127.0.0.1/chat", 301))
    with pytest.raises(APIStatusError, match=r"wants https: use https://127\.0\.0\.1/chat") as caught:
        session_for(transport).send(Request.read(f"{server.url}/chat"))
    assert not isinstance(caught.value, AuthenticationError)


@pytest.mark.parametrize(
    "location", ["", "http://", "http://a:b:c/", "javascript:alert(1)", "//", "file:///etc/passwd", "http://[::1/"]
)
def test_invalid_locations(transport: Transport, server: Server, location: str) -> None:
    """An invalid Location is an error like any other."""
    server.on("/s", head(307, f"Location: {location}", "Content-Length: 0"))
    with pytest.raises(APIStatusError):
        session_for(transport).send(Request.read(f"{server.url}/s"))


def test_followed_on_request(transport: Transport, server: Server, other_server: Server) -> None:
    """A result file may be on any host: its redirect is followed, without credentials."""
    other_server.on("/file", plain(b"image"))
    server.on("/s", _to(f"{other_server.url}/file", 302))
    credentials = Credentials(
        token=Secret("hf_secret"), explicit=True, cookies={"hf-chat": Secret("c1")}, chat_url=server.url
    )
    session = session_for(transport, credentials)
    assert session.send(Request(method="GET", url=f"{server.url}/s", follow_redirects=True)).read() == b"image"
    assert server.last.headers["cookie"] == "hf-chat=c1"
    assert not {"cookie", "authorization"} & set(other_server.last.headers)


def test_credentials_of_the_target(transport: Transport, server: Server, other_server: Server) -> None:
    """If the session has credentials for the target, it gets those."""
    other_server.on("/file", plain(b"image"))
    server.on("/s", _to(f"{other_server.url}/file", 302))
    credentials = Credentials(token=Secret("hf_secret"), explicit=True, token_urls=[other_server.url])
    session = session_for(transport, credentials)
    session.send(Request(method="GET", url=f"{server.url}/s", follow_redirects=True)).read()
    assert "authorization" not in server.last.headers
    assert other_server.last.headers["authorization"] == "Bearer hf_secret"


def test_own_headers_are_not_forwarded(transport: Transport, server: Server, other_server: Server) -> None:
    """Headers that the caller set may be secrets: they are not sent to another origin."""
    other_server.on("/file", plain(b"image"))
    server.on("/s", _to(f"{other_server.url}/file", 302))
    session = session_for(transport, headers={"Authorization": "mine", "X-Api-Key": "secret", "Cookie": "c=1"})
    request = Request(
        method="GET", url=f"{server.url}/s", headers={"X-B": "b", "Range": "bytes=0-"}, follow_redirects=True
    )
    session.send(request).read()
    assert server.last.headers["x-api-key"] == "secret"
    assert not {"authorization", "x-api-key", "cookie", "x-b"} & set(other_server.last.headers)
    assert other_server.last.headers["range"] == "bytes=0-"


def test_https_is_not_downgraded() -> None:
    """From https no redirect to plain http is followed, also on the same host: that is another origin."""
    response: Any = SimpleNamespace(status=308, headers={"location": "http://example.org/a"})
    assert _redirect_target(Request(method="GET", url="https://example.org/a"), response) is None
