"""Which credentials are sent to which URL."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from hfclient.credentials import Credentials, Secret
from hfclient.errors import APIStatusError
from hfclient.transport import Request, Transport
from tests.server import Server, head, plain
from tests.wire.helpers import send, session_for


def _credentials(server: Server, **fields: object) -> Credentials:
    options = {"token": Secret("hf_secret"), "explicit": True, "chat_url": f"{server.url}/chat", **fields}
    return Credentials(**options)  # type: ignore[arg-type]


def test_chat_gets_the_cookie(transport: Transport, server: Server) -> None:
    """Below the chat's base path the cookie is sent, and the token that was passed for this server.

    A chat-ui ignores the token next to a cookie; a proxy in front of it may need it on every path.
    """
    server.on("*", plain(b"ok"))
    session = session_for(transport, _credentials(server, cookies={"hf-chat": Secret("c1"), "token": Secret("t1")}))
    for path in ("/chat/", "/chat/conversation", "/chat/api/v2/models"):
        session.send(Request.read(f"{server.url}{path}")).read()
        assert server.last.headers["cookie"] == "hf-chat=c1; token=t1"
        assert server.last.headers["authorization"] == "Bearer hf_secret"


@pytest.mark.parametrize("path", ["/chat/", "/chat/conversation", "/chat/api/v2/models", "/chat/healthcheck"])
def test_the_token_is_sent_on_every_path_of_its_server(transport: Transport, server: Server, path: str) -> None:
    """A token that was passed for a server is sent without a cookie, too, on every path: a proxy may need it."""
    server.on("*", plain(b"ok"))
    for explicit, expected in ((True, "Bearer hf_secret"), (False, None)):
        session_for(transport, _credentials(server, explicit=explicit)).send(Request.read(f"{server.url}{path}")).read()
        assert server.last.headers.get("authorization") == expected


@pytest.mark.parametrize("explicit", [True, False])
def test_hugging_face_gets_one_or_the_other(explicit: bool) -> None:
    """Hugging Face's own chat gets cookies, or below ``/api/`` a token, never both: no proxy is in front of it."""
    place = "https://huggingface.co/chat"
    alone = Credentials(token=Secret("hf_secret"), explicit=explicit, chat_url=place)
    assert set(alone.headers_for(f"{place}/api/v2/models")) == {"Authorization"}
    assert alone.headers_for(f"{place}/conversation") == {}
    both = Credentials(token=Secret("hf_secret"), explicit=explicit, chat_url=place, cookies={"hf-chat": Secret("c")})
    for path in ("/api/v2/models", "/conversation"):
        assert set(both.headers_for(f"{place}{path}")) == {"Cookie"}


@pytest.mark.parametrize("explicit", [True, False])
def test_spaces_belong_to_other_users(explicit: bool) -> None:
    """A Space gets a token that was passed for it, but not one from the environment; another Space gets neither."""
    made = Credentials(token=Secret("hf_secret"), explicit=explicit, chat_url="https://me-chat.hf.space")
    assert bool(made.headers_for("https://me-chat.hf.space/conversation")) is explicit
    assert made.headers_for("https://you-chat.hf.space/api/v2/models") == {}
    assert made.headers_for("http://me-chat.hf.space/api/v2/models") == {}
    assert (made.missing_token_hint("https://me-chat.hf.space/x") is None) is explicit


@pytest.mark.parametrize("path", ["/", "/chatty/x", "/other", "/CHAT/x"])
def test_cookies_stay_below_the_chat(transport: Transport, server: Server, path: str) -> None:
    """Another service on the same host does not get the cookie."""
    server.on("*", plain(b"ok"))
    session = session_for(transport, _credentials(server, token=None, cookies={"hf-chat": Secret("c1")}))
    session.send(Request.read(f"{server.url}{path}")).read()
    assert "cookie" not in server.last.headers


def test_other_origins_get_nothing(transport: Transport, server: Server, other_server: Server) -> None:
    """Neither cookie nor token is sent to an unknown origin."""
    other_server.on("*", plain(b"ok"))
    session = session_for(transport, _credentials(server, cookies={"hf-chat": Secret("c1")}))
    session.send(Request.read(f"{other_server.url}/chat/api/v2/models")).read()
    assert not {"cookie", "authorization"} & set(other_server.last.headers)


def test_found_tokens_go_to_hugging_face_only(transport: Transport, server: Server) -> None:
    """A token from the environment is not sent to another server; one that was passed for it is."""
    server.on("*", plain(b"ok"))
    for explicit, expected in ((False, None), (True, "Bearer hf_secret")):
        credentials = Credentials(token=Secret("hf_secret"), explicit=explicit, token_urls=[server.url])
        session_for(transport, credentials).send(Request.read(f"{server.url}/v1/models")).read()
        assert server.last.headers.get("authorization") == expected


def test_cookies_are_rotated(transport: Transport, server: Server) -> None:
    """Cookies of a successful response are sent with the next request."""
    server.on("/chat/a", plain(b"", 200, "Set-Cookie: hf-chat=c2; Path=/; HttpOnly", "Set-Cookie: extra=e; Secure"))
    server.on("/chat/b", plain(b""))
    credentials = _credentials(server, cookies={"hf-chat": Secret("c1")})
    session = session_for(transport, credentials)
    session.send(Request.read(f"{server.url}/chat/a")).read()
    session.send(Request.read(f"{server.url}/chat/b")).read()
    assert server.last.headers["cookie"] == "hf-chat=c2; extra=e"


@pytest.mark.parametrize("status", [302, 307, 401, 403, 404, 500, 503])
def test_cookies_of_failures_are_ignored(transport: Transport, server: Server, status: int) -> None:
    """A server that does not recognise the session sets a cookie of a new session: storing it would lose the login."""
    server.on("/chat/a", plain(b"", status, "Set-Cookie: hf-chat=new-session", "Location: /chat/b"))
    server.on("/chat/b", plain(b""))
    session = session_for(transport, _credentials(server, cookies={"hf-chat": Secret("c1")}))
    try:
        session.send(Request.read(f"{server.url}/chat/a")).read()
    except APIStatusError:
        session.send(Request.read(f"{server.url}/chat/b")).read()
    assert server.last.path == "/chat/b"
    assert server.last.headers["cookie"] == "hf-chat=c1"


def test_cookies_of_other_origins_are_ignored(transport: Transport, server: Server, other_server: Server) -> None:
    """Another origin cannot set a cookie, and the HTTP libraries have no cookie jar of their own."""
    other_server.on("*", plain(b"", 200, "Set-Cookie: hf-chat=evil; Domain=127.0.0.1"))
    server.on("*", plain(b""))
    session = session_for(transport, _credentials(server, cookies={"hf-chat": Secret("c1")}))
    for one in (other_server, other_server, server):
        session.send(Request.read(f"{one.url}/chat/a")).read()
    assert server.last.headers["cookie"] == "hf-chat=c1"
    assert "cookie" not in other_server.last.headers


def test_no_jar(transport: Transport, server: Server) -> None:
    """A transport without a session stores no cookie."""
    server.on("*", plain(b"", 200, "Set-Cookie: a=1; Path=/"))
    for _ in range(2):
        send(transport, f"{server.url}/s").read()
    assert "cookie" not in server.last.headers


def test_netrc(transport: Transport, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``.netrc`` entry for the host neither replaces nor adds a header."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login netrc-user password netrc-secret\n")
    netrc.chmod(0o600)
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / ".netrc").write_text(netrc.read_text())
    monkeypatch.setenv("NETRC", str(netrc))
    server.on("*", plain(b""))
    session = session_for(transport, _credentials(server, token_urls=[server.url]))
    session.send(Request.read(f"{server.url}/v1/models")).read()
    assert server.last.headers["authorization"] == "Bearer hf_secret"
    send(transport, f"{server.url}/s").read()
    assert "authorization" not in server.last.headers


def test_user_info_in_the_url(transport: Transport, server: Server) -> None:
    """User name and password in the URL are sent as basic authentication, for a chat-ui behind a proxy that needs it."""
    server.on("*", plain(b""))
    url = server.url.replace("//", "//us%40er:p%3Aw@")
    credentials = _credentials(server, token=None, cookies={"hf-chat": Secret("c1")})
    session_for(transport, credentials).send(Request.read(f"{url}/chat/a")).read()
    assert server.last.headers["authorization"] == "Basic " + base64.b64encode(b"us@er:p:w").decode()
    assert server.last.headers["cookie"] == "hf-chat=c1"


@pytest.mark.parametrize("path", ["/chat/api/v2/models", "/chat/conversation", "/v1/chat/completions", "/hub/x"])
@pytest.mark.parametrize("cookies", [{}, {"hf-chat": Secret("c1")}])
def test_user_info_has_precedence_over_a_token(
    transport: Transport, server: Server, path: str, cookies: dict[str, Secret]
) -> None:
    """A request has one Authorization header: on every path that of the base URL has precedence over the token."""
    server.on("*", plain(b""))
    url = server.url.replace("//", "//user:pw@")
    credentials = _credentials(server, chat_url=f"{url}/chat", token_urls=[f"{url}/v1"], cookies=cookies)
    for base in (server.url, url):
        session_for(transport, credentials).send(Request.read(f"{base}{path}")).read()
        assert server.last.headers["authorization"] == "Basic " + base64.b64encode(b"user:pw").decode()
    assert "user name" in (credentials.missing_token_hint(f"{server.url}{path}") or "")
    assert not credentials.token_reaches_chat


def test_user_info_follows_redirects_to_its_own_origin_only(transport: Transport, server: Server, other_server: Server) -> None:
    """A redirect to the same origin keeps user name and password; one to another origin drops them."""
    url = server.url.replace("//", "//user:pw@")
    server.on("/a", head(308, f"Location: {server.url}/b", "Content-Length: 0"))
    server.on("/b", head(308, "Location: /c", "Content-Length: 0"))
    server.on("/c", head(302, f"Location: {other_server.url}/d", "Content-Length: 0"))
    other_server.on("*", plain(b""))
    request = Request(method="GET", url=f"{url}/a", follow_redirects=True)
    session_for(transport).send(request).read()
    basic = "Basic " + base64.b64encode(b"user:pw").decode()
    assert [one.headers.get("authorization") for one in server.requests] == [basic] * 3
    assert "authorization" not in other_server.last.headers


def test_request_headers_have_precedence(transport: Transport, server: Server) -> None:
    """Headers of a request have precedence over the session's, in any case; credentials have precedence over both."""
    server.on("*", plain(b""))
    session = session_for(transport, _credentials(server), headers={"X-A": "session", "user-agent": "mine"})
    session.send(
        Request(method="GET", url=f"{server.url}/chat/api/x", headers={"x-a": "request", "authorization": "mine"})
    ).read()
    assert server.last.headers["x-a"] == "request"
    assert server.last.headers["user-agent"] == "mine"
    assert server.last.headers["authorization"] == "Bearer hf_secret"


def test_user_agent(transport_name: str, transport: Transport, server: Server) -> None:
    """The default transport sends hfclient's name, the impersonating one that of the browser."""
    server.on("*", plain(b""))
    session_for(transport).send(Request.read(f"{server.url}/s")).read()
    agent = server.last.headers["user-agent"]
    assert agent.startswith("hfclient/" if transport_name == "plain" else "Mozilla/")
    assert server.last.headers["accept"] == "application/json"
