"""Answers of something else than the chat-ui: redirects, passwords, gateways, pages, and the APIs of other servers."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hfclient import Client, Retry, errors
from hfclient.chat.wire.server_errors import refine
from tests.chat.conftest import PATIENT
from tests.chat.gateway import Gateway, Reply, always, moved, page, refusal
from tests.conftest import make_transport
from tests.server import Recorded, plain

ID = "65a000000000000000000001"
TOKEN = "hf_abcdefghijklmnopqrst"
COOKIES: dict[str, Any] = {"cookies": {"hf-chat": "good-cookie"}}

CALLS: dict[str, Callable[[Client], Any]] = {
    "models": lambda client: client.models.list(),
    "chat": lambda client: client.chat("hi").text,
    "chat of a model": lambda client: client.chat("hi", model="m").text,
    "whoami": lambda client: client.whoami(),
    "conversation": lambda client: client.conversation(ID).ask("hi"),
    "list": lambda client: client.conversations.list(),
    "delete": lambda client: client.conversations.delete(ID),
    "download": lambda client: client.conversation(ID).read_file("a" * 64),
    "ping": lambda client: client.ping(),
    "features": lambda client: client.server.features(),
    "mcp servers": lambda client: client.server.mcp_servers(),
    "login": lambda client: client.login.enabled,
    "settings": lambda client: client.settings.get(),
    "completion": lambda client: client.inference.chat("hi", model="m").text,
    "embedding": lambda client: client.inference.embed(["hi"], model="m"),
}
NO_JSON = ("delete", "download")
"""What is downloaded may be a page, and what is deleted says nothing."""
CHAT_CALLS = {name: call for name, call in CALLS.items() if name not in ("completion", "embedding")}


Make = Callable[..., Client]


@pytest.fixture
def make(gateway: Gateway, transport_name: str) -> Iterator[Make]:
    """Make clients of `gateway` over each transport in turn."""
    made: list[Client] = []

    def build(url: str | None = None, **options: Any) -> Client:
        url = url or gateway.url + gateway.base
        options = {"token": "", "cookies": "", "timeouts": PATIENT, "retry": Retry(attempts=1), **options}
        options.setdefault("inference_url", f"{url}/v1")
        made.append(Client(url, transport=make_transport(transport_name), **options))
        return made[-1]

    yield build
    for client in made:
        client.close()


def _refused(call: Callable[[Client], Any], client: Client) -> errors.HFClientError:
    with pytest.raises(errors.HFClientError) as caught:
        call(client)
    return caught.value


# Redirects


@pytest.mark.parametrize("options", [{}, COOKIES], ids=["anonymous", "with cookies"])
@pytest.mark.parametrize("name", CALLS)
def test_a_server_that_moved(gateway: Gateway, make: Make, name: str, options: dict[str, Any]) -> None:
    """Each call names the new address of the server, none mentions a login, and nothing is sent there."""
    gateway.reply = moved("http://www.elsewhere.example:8080")
    error = _refused(CALLS[name], make(**options))
    assert type(error) is errors.APIStatusError
    assert "http://www.elsewhere.example:8080" in error.message
    assert error.location is not None
    assert error.location.startswith("http://www.elsewhere.example:8080/")
    assert "login" not in str(error)


@pytest.mark.parametrize(
    ("reply", "new"),
    [
        (moved("https://www.chat.example"), "https://www.chat.example"),
        (moved("{here}/talk", 302), "{here}/talk"),
        (moved("/talk", 303), "{here}/talk"),
        (moved("http://sso.example/authors", 308), "http://sso.example/authors"),
        (moved("http://127.0.0.1:1", 307), "http://127.0.0.1:1"),
        (moved("//other.example", 301), "http://other.example"),
    ],
)
def test_the_new_base_url(gateway: Gateway, make: Make, reply: Reply, new: str) -> None:
    """The error names the base URL to use: another host, path, port or scheme."""

    def with_own_url(request: Recorded) -> bytes | None:
        if request.path.startswith("/talk"):
            return page("not reached", 404)
        answer = reply(request)
        return answer and answer.replace(b"{here}", gateway.url.encode())

    gateway.reply = with_own_url
    error = _refused(CALLS["models"], make(**COOKIES))
    assert f"use {new.format(here=gateway.url)} as the base URL" in error.message
    assert not isinstance(error, errors.AuthenticationError)


def test_https_is_required(gateway: Gateway, make: Make) -> None:
    """The error says that the server requires https, with the base URL."""
    gateway.base = "/chat"
    gateway.reply = moved("https://127.0.0.1:8443")
    error = _refused(CALLS["chat"], make(**COOKIES))
    assert error.message.startswith("the server wants https")
    assert "use https://127.0.0.1:8443/chat as the base URL" in error.message


@pytest.mark.parametrize(
    "location",
    [
        "/login",
        "/login?next=/api/v2/models",
        "https://huggingface.co/oauth/authorize?client_id=x&state=y",
        "https://idp.example/realms/a/protocol/openid-connect/auth?client_id=chat&redirect_uri=z",
        "https://auth.example.com/?rd=http://chat.example/",
        "https://team.cloudflareaccess.com/cdn-cgi/access/login/chat.example",
        "https://idp.example/start?redirect_uri=https://chat.example/login/callback",
        "https://idp.example/?SAMLRequest=abc",
    ],
)
@pytest.mark.parametrize("options", [{}, COOKIES], ids=["anonymous", "with cookies"])
def test_a_redirect_to_a_login_page(gateway: Gateway, make: Make, location: str, options: dict[str, Any]) -> None:
    """A redirect to a usual login path, or with a return address, is a missing login."""
    gateway.reply = always(plain("", 302, f"Location: {location}"))
    error = _refused(CALLS["models"], make(**options))
    assert isinstance(error, errors.AuthenticationError)
    assert isinstance(error, errors.SessionExpired) is bool(options)


@pytest.mark.parametrize("location", ["/", "http://portal.example/hotspot?url=x", "/maintenance.html", "/authors"])
def test_another_redirect(gateway: Gateway, make: Make, location: str) -> None:
    """A redirect to any other page is named, and is not a login; whoami() raises."""
    gateway.reply = always(plain("", 302, f"Location: {location}"))
    for name in ("models", "chat", "whoami"):
        error = _refused(CALLS[name], make(**COOKIES))
        assert type(error) is errors.APIStatusError
        assert location.partition("?")[0] in error.message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_that_changes_a_slash(gateway: Gateway, make: Make, status: int) -> None:
    """A redirect of a read on the same origin that adds or removes a slash is followed, with the cookies."""

    def slashed(request: Recorded) -> bytes | None:
        if request.path == "/api/v2/models":
            return plain("", status, "Location: /api/v2/models/")
        return refusal({"json": [{"id": "org/one"}]}, 200) if request.path == "/api/v2/models/" else None

    gateway.reply = slashed
    assert [model.id for model in make(**COOKIES).models.list()] == ["org/one"]
    assert gateway.cookies() == ["hf-chat=good-cookie"] * 2


def test_a_redirect_to_itself(gateway: Gateway, make: Make) -> None:
    """A server that sets a cookie and redirects to the same address has not moved."""
    gateway.reply = lambda request: plain("", 302, f"Location: {request.target}", "Set-Cookie: seen=1")
    error = _refused(CALLS["models"], make(**COOKIES))
    assert "redirects to itself" in error.message
    assert "as the base URL" not in error.message


def test_a_redirect_from_https_to_http() -> None:
    """A server behind a proxy that terminates TLS redirects to http: the error does not recommend that address."""
    given = errors.APIStatusError(
        "x",
        status_code=301,
        method="GET",
        url="https://chat.example/api/v2/user",
        location="http://chat.example/api/v2/user",
    )
    told = refine(given, "https://chat.example")
    assert isinstance(told, errors.APIStatusError)
    assert "X-Forwarded-Proto" in told.message
    assert "as the base URL" not in told.message


@pytest.mark.parametrize("answer", ["redirect", "401"])
def test_whoami_behind_a_gateway(gateway: Gateway, make: Make, answer: str) -> None:
    """A gateway's login does not say who the user is, so whoami() raises; the server's own login means None."""
    gateway.reply = always(CLOSED[answer])
    assert isinstance(_refused(CALLS["whoami"], make(**COOKIES)), errors.AuthenticationError)
    gateway.reply = lambda request: None if request.path == "/healthcheck" else CLOSED[answer]  # AUTOMATIC_LOGIN
    assert make(**COOKIES).whoami() is None


def test_a_logout_that_redirects_elsewhere(gateway: Gateway, make: Make) -> None:
    """Only the redirect to the start page confirms a logout."""
    for answer, ended in (
        (plain("", 302, "Location: /"), True),
        (plain("", 301, "Location: http://www.elsewhere.example/logout"), False),
        (plain("", 302, "Location: /login?next=/logout"), False),
        (page("Back soon"), False),
        (refusal({"error": "no such path"}, 200), False),
    ):
        gateway.reply = lambda request, answer=answer: answer if request.path == "/logout" else None
        assert make(**COOKIES).login.log_out() is ended


# Passwords


def _password(request: Recorded) -> bytes | None:
    if request.headers.get("authorization") == "Basic " + base64.b64encode(b"ann:p w").decode():
        return None
    return page("401 Authorization Required", 401, "", 'WWW-Authenticate: Basic realm="a, Bearer b"')


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("options", [{}, COOKIES, {"token": TOKEN}], ids=["anonymous", "with cookies", "with a token"])
def test_a_password_is_required(gateway: Gateway, make: Make, name: str, options: dict[str, Any]) -> None:
    """Each error says that a password is required and where to put it; none is about an expired login."""
    gateway.reply = _password
    error = _refused(CALLS[name], make(**options))
    assert type(error) is errors.PasswordRequired
    assert "https://user:password@host" in error.message


@pytest.mark.parametrize(
    "challenge",
    [
        "Basic",
        "basic realm=x",
        'Bearer realm="a", Basic realm="b"',
        'Basic realm="say \\"Digest\\", please", charset="UTF-8"',
        'Digest realm="a", nonce="b", algorithm=MD5, qop="auth"',
        "Negotiate",
        "NTLM",
        "Negotiate abc=, NTLM",
    ],
)
def test_each_challenge(gateway: Gateway, make: Make, challenge: str) -> None:
    """Basic is named with its realm; for other schemes the error says that hfclient does not support them."""
    gateway.reply = always(plain("", 401, f"WWW-Authenticate: {challenge}"))
    error = _refused(CALLS["chat"], make(**COOKIES))
    assert type(error) is errors.PasswordRequired
    assert ("does not speak" in error.message) is ("basic" not in challenge.lower())


@pytest.mark.parametrize("challenge", ['Bearer realm="Basic"', "Bearer", 'Bearer error="a", scope="Basic"', "Token x"])
def test_other_challenges(gateway: Gateway, make: Make, challenge: str) -> None:
    """A challenge of another kind is a missing login."""
    gateway.reply = always(
        refusal({"message": "You have to be logged in."}, 401).replace(
            b"Content-Type", f"WWW-Authenticate: {challenge}\r\nContent-Type".encode(), 1
        )
    )
    error = _refused(CALLS["chat"], make())
    assert type(error) is errors.AuthenticationError
    assert "log" in error.message


@pytest.mark.parametrize("options", [{}, COOKIES, {"token": TOKEN}], ids=["anonymous", "with cookies", "with a token"])
def test_the_right_password(gateway: Gateway, make: Make, options: dict[str, Any]) -> None:
    """It is sent on every path; the token is not, because a request has one Authorization header."""
    gateway.reply = _password
    client = make(gateway.url.replace("//", "//ann:p%20w@"), **options)
    assert client.chat("hi").text == "Hello."
    assert client.models.list(fresh=True)
    assert client.conversations.list() is not None
    assert client.whoami() is None
    assert client.ping() >= 0
    assert {request.headers["authorization"] for request in gateway.requests} == {"Basic YW5uOnAgdw=="}


def test_the_wrong_password(gateway: Gateway, make: Make) -> None:
    """The error says that the password was refused, without showing it; a token that was not sent is named."""
    gateway.reply = _password
    url = gateway.url.replace("//", "//ann:wrong-pass@")
    for options in ({}, COOKIES, {"token": TOKEN}):
        error = _refused(CALLS["chat"], make(url, **options))
        assert type(error) is errors.PasswordRequired
        assert "does not accept the user name and the password" in error.message
        assert "wrong-pass" not in str(error)
        assert ("token was not sent" in error.message) is ("token" in options)


def test_a_user_without_a_password(gateway: Gateway, make: Make) -> None:
    """A user name alone is sent with an empty password, as a browser does."""
    make(gateway.url.replace("//", "//ann@")).models.list()
    assert gateway.last.headers["authorization"] == "Basic " + base64.b64encode(b"ann:").decode()


def test_a_password_of_the_proxy(gateway: Gateway, make: Make) -> None:
    """407 is about the proxy, never about a login."""
    gateway.reply = always(page("407", 407, "", 'Proxy-Authenticate: Basic realm="x"'))
    for name in ("models", "chat", "whoami", "completion"):
        error = _refused(CALLS[name], make(**COOKIES))
        assert not isinstance(error, errors.AuthenticationError)
        assert f"proxy wants a user name and a password (127.0.0.1:{gateway.port}, Basic)" in error.message


# Gates that want the token


def _closed(answer: bytes) -> Reply:
    return lambda request: None if request.headers.get("authorization") == f"Bearer {TOKEN}" else answer


CLOSED = {
    "404 page": page("Sorry, we can't find the page you are looking for.", 404),
    "404": refusal({"error": "Not Found"}),
    "401": refusal({"error": "Invalid username or password."}, 401),
    "403": refusal({"error": "Forbidden"}, 403),
    "redirect": plain("", 302, "Location: https://huggingface.co/login?next=x"),
}


@pytest.mark.parametrize("kind", CLOSED)
@pytest.mark.parametrize("sees_tokens", [False, True])
@pytest.mark.parametrize("options", [{}, COOKIES], ids=["anonymous", "with cookies"])
def test_a_gateway_that_requires_the_token(
    gateway: Gateway, make: Make, kind: str, sees_tokens: bool, options: dict[str, Any]
) -> None:
    """A token that was passed opens it on every path, before and after there is a session, also next to cookies.

    A chat-ui that looks at the token where there is no cookie, and cannot do anything with it, gets a session at once.
    """
    gateway.reply, gateway.sees_tokens = _closed(CLOSED[kind]), sees_tokens
    client = make(token=TOKEN, **options)
    assert client.models.list(fresh=True)
    assert client.whoami() is None
    assert client.chat("hi").text == "Hello."
    assert client.models.list(fresh=True)
    assert client.conversations.list()
    assert client.ping() >= 0


def test_a_gateway_and_a_token_of_the_environment(gateway: Gateway, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of the environment is not sent there, and the error says so."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for kind in ("404 page", "401", "redirect"):
        gateway.reply = _closed(CLOSED[kind])
        for name in ("models", "chat", "completion", "embedding"):
            assert "pass token=" in _refused(CALLS[name], make(token=None)).message
    assert not any("authorization" in request.headers for request in gateway.requests)


def test_a_token_that_the_server_does_not_accept(gateway: Gateway, make: Make) -> None:
    """On a server with logins a token that it does not accept is an error, and no anonymous session replaces it."""
    gateway.sees_tokens = True
    gateway.reply = lambda request: (
        refusal({"json": {"loginEnabled": True, "transcriptionEnabled": False}}, 200)
        if request.path == "/api/v2/feature-flags" and "cookie" in request.headers
        else None
    )
    error = _refused(CALLS["list"], make(token=TOKEN))
    assert isinstance(error, errors.AuthenticationError)
    assert "does not accept the token" in error.message


# Other servers

OTHERS = {
    "llama.cpp": refusal({"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}),
    "llama.cpp with a key": refusal(
        {"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}}, 401
    ),
    "vLLM, TEI, FastAPI": refusal({"detail": "Not Found"}),
    "FastAPI, 405": refusal({"detail": "Method Not Allowed"}, 405),
    "LiteLLM": refusal(
        {"error": {"message": "Authentication Error, No api key passed in.", "type": "auth_error"}}, 401
    ),
    "older vLLM": refusal({"object": "error", "message": "Not Found", "type": "NotFoundError", "code": 404}),
    "LM Studio": refusal({"error": "Unexpected endpoint or method. (GET /api/v2/models)"}, 200),
    "the Hub": refusal({"error": "Sorry, we can't find the page you are looking for."}),
    "Nest": refusal({"statusCode": 404, "message": "Cannot GET /", "error": "Not Found"}),
    "Express": refusal({"message": "Not Found"}),
    "Ollama": plain("404 page not found", 404, "Content-Type: text/plain"),
    "TGI": plain("", 404),
    "nginx": page("404 Not Found", 404),
    "a page for everything": page("Welcome"),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("base", ["", "/v1"])
def test_another_server(gateway: Gateway, make: Make, other: str, base: str) -> None:
    """A server that is not a chat-ui is recognised by its answers, and the error names the option for an inference server."""
    gateway.reply = always(OTHERS[other])
    for name in ("models", "chat", "chat of a model", "ping", "whoami", "login", "features"):
        error = _refused(CALLS[name], make(gateway.url + base))
        assert isinstance(error, errors.NotAChatServer), name
        assert "inference_url=" in error.message


@pytest.mark.parametrize("name", ["conversation", "delete", "download"])
def test_a_chat_uis_own_404(gateway: Gateway, make: Make, name: str) -> None:
    """A 404 of a chat-ui stays a NotFoundError."""
    gateway.reply = lambda request: refusal({"message": "Conversation not found"}) if ID in request.path else None
    assert type(_refused(CALLS[name], make())) is errors.NotFoundError


@pytest.mark.parametrize("name", ["conversation", "delete", "download"])
@pytest.mark.parametrize("other", ["llama.cpp", "vLLM, TEI, FastAPI", "older vLLM", "Nest"])
def test_another_servers_404_for_an_id(gateway: Gateway, make: Make, name: str, other: str) -> None:
    """A 404 for a conversation in the shape of another API is recognised."""
    gateway.reply = always(OTHERS[other])
    assert isinstance(_refused(CALLS[name], make()), errors.NotAChatServer)


# Pages with status 200


@pytest.mark.parametrize("name", [name for name in CHAT_CALLS if name not in NO_JSON])
def test_a_page_instead_of_an_answer(gateway: Gateway, make: Make, name: str) -> None:
    """A page with status 200 (maintenance, captive portal, login) is named by its title."""
    gateway.reply = always(page("Back &amp; soon"))
    error = _refused(CHAT_CALLS[name], make(**COOKIES))
    assert isinstance(error, errors.NotAChatServer)
    gateway.reply = always(page("Sign in", 200, '<form><input name="p" type="password"></form>'))
    assert isinstance(_refused(CHAT_CALLS[name], make(**COOKIES)), errors.NotAChatServer)


def test_a_page_has_a_title(gateway: Gateway, make: Make) -> None:
    """The error holds the title, and says that a page with a password field is a login; for inference, too."""
    gateway.reply = always(page("Sign in", 200, '<form><input name="p" type="password"></form>'))
    for name in ("models", "whoami", "completion", "embedding"):
        assert 'a login page titled "Sign in"' in _refused(CALLS[name], make(**COOKIES)).message


@pytest.mark.parametrize("name", [name for name in CALLS if name not in NO_JSON])
def test_a_bot_check_with_status_200(gateway: Gateway, make: Make, name: str) -> None:
    """Cloudflare's page is a bot check with every status."""
    gateway.reply = always(page("Just a moment...", 200, '<script src="/cdn-cgi/challenge-platform/h"></script>'))
    assert isinstance(_refused(CALLS[name], make(**COOKIES)), errors.CloudflareChallenge)


@pytest.mark.parametrize("path", ["/conversation", "/conversation/"])
def test_a_page_between_two_requests(gateway: Gateway, make: Make, path: str) -> None:
    """A gateway that closes between two requests of a message is recognised by its page, too."""

    def closing(request: Recorded) -> bytes | None:
        is_it = request.path.startswith(path) and (path.endswith("/") or request.path == path)
        return page("Sign in") if is_it and request.method == "POST" else None

    gateway.reply = closing
    error = _refused(CALLS["chat"], make(**COOKIES))
    assert isinstance(error, errors.NotAChatServer)
    assert "Sign in" in error.message


@pytest.mark.parametrize("status", [404, 405])
def test_a_page_instead_of_inference(gateway: Gateway, make: Make, status: int) -> None:
    """For the URL of a chat, or of any site, as inference_url the error says that it is not an API."""
    gateway.reply = always(page("ChatUI - Chat with AI models", status))
    for name in ("completion", "embedding"):
        assert "inference_url" in _refused(CALLS[name], make()).message
