"""An answer is judged by what it is: redirects, passwords, gates, pages, and the APIs of other servers."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hfclient import Client, Retry, errors
from hfclient.chat.wire.failures import refine
from tests.chat.conftest import PATIENT
from tests.chat.front import FrontedUI, Gate, always, moved, page, refusal
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
    "download": lambda client: client.conversation(ID).download("a" * 64),
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
def make(front: FrontedUI, transport_name: str) -> Iterator[Make]:
    """Make clients of `front` over each transport in turn."""
    made: list[Client] = []

    def build(url: str | None = None, **options: Any) -> Client:
        url = url or front.url + front.base
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
def test_a_server_that_moved(front: FrontedUI, make: Make, name: str, options: dict[str, Any]) -> None:
    """Each call says where the server is now, none speaks of a login, and nothing is sent there."""
    front.gate = moved("http://www.elsewhere.example:8080")
    error = _refused(CALLS[name], make(**options))
    assert type(error) is errors.APIStatusError
    assert "http://www.elsewhere.example:8080" in error.message
    assert error.location is not None
    assert error.location.startswith("http://www.elsewhere.example:8080/")
    assert "login" not in str(error)


@pytest.mark.parametrize(
    ("gate", "new"),
    [
        (moved("https://www.chat.example"), "https://www.chat.example"),
        (moved("{here}/talk", 302), "{here}/talk"),
        (moved("/talk", 303), "{here}/talk"),
        (moved("http://sso.example/authors", 308), "http://sso.example/authors"),
        (moved("http://127.0.0.1:1", 307), "http://127.0.0.1:1"),
        (moved("//other.example", 301), "http://other.example"),
    ],
)
def test_the_new_base_url(front: FrontedUI, make: Make, gate: Gate, new: str) -> None:
    """The error names the base URL to use: another host, path, port or scheme, whatever the place is called."""

    def with_own_url(request: Recorded) -> bytes | None:
        if request.path.startswith("/talk"):
            return page("not reached", 404)
        answer = gate(request)
        return answer and answer.replace(b"{here}", front.url.encode())

    front.gate = with_own_url
    error = _refused(CALLS["models"], make(**COOKIES))
    assert f"use {new.format(here=front.url)} as the base URL" in error.message
    assert not isinstance(error, errors.AuthenticationError)


def test_https_is_wanted(front: FrontedUI, make: Make) -> None:
    """A server that wants https is told as one, with the base URL."""
    front.base = "/chat"
    front.gate = moved("https://127.0.0.1:8443")
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
def test_a_login_page_is_a_login(front: FrontedUI, make: Make, location: str, options: dict[str, Any]) -> None:
    """A redirect to one of the usual names, or one that says where to come back to, is a missing login."""
    front.gate = always(plain("", 302, f"Location: {location}"))
    error = _refused(CALLS["models"], make(**options))
    assert isinstance(error, errors.AuthenticationError)
    assert isinstance(error, errors.SessionExpired) is bool(options)


@pytest.mark.parametrize("location", ["/", "http://portal.example/hotspot?url=x", "/maintenance.html", "/authors"])
def test_a_redirect_to_somewhere(front: FrontedUI, make: Make, location: str) -> None:
    """What is neither the same path nor a login page is named, and is no login; whoami() does not say "nobody" to it."""
    front.gate = always(plain("", 302, f"Location: {location}"))
    for name in ("models", "chat", "whoami"):
        error = _refused(CALLS[name], make(**COOKIES))
        assert type(error) is errors.APIStatusError
        assert location.partition("?")[0] in error.message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_slash_more(front: FrontedUI, make: Make, status: int) -> None:
    """A redirect of a read on the same origin that adds or takes away a slash is followed, with the cookies."""

    def slashed(request: Recorded) -> bytes | None:
        if request.path == "/api/v2/models":
            return plain("", status, "Location: /api/v2/models/")
        return refusal({"json": [{"id": "org/one"}]}, 200) if request.path == "/api/v2/models/" else None

    front.gate = slashed
    assert [model.id for model in make(**COOKIES).models.list()] == ["org/one"]
    assert front.cookies() == ["hf-chat=good-cookie"] * 2


def test_a_redirect_to_itself(front: FrontedUI, make: Make) -> None:
    """What sets a cookie and redirects to the same address has not moved."""
    front.gate = lambda request: plain("", 302, f"Location: {request.target}", "Set-Cookie: seen=1")
    error = _refused(CALLS["models"], make(**COOKIES))
    assert "redirects to itself" in error.message
    assert "as the base URL" not in error.message


def test_a_redirect_that_leaves_tls() -> None:
    """A server behind a proxy that ends TLS names itself with http: nobody is told to use that."""
    given = errors.APIStatusError(
        "x",
        status=301,
        method="GET",
        url="https://chat.example/api/v2/user",
        location="http://chat.example/api/v2/user",
    )
    told = refine(given, "https://chat.example")
    assert isinstance(told, errors.APIStatusError)
    assert "X-Forwarded-Proto" in told.message
    assert "as the base URL" not in told.message


@pytest.mark.parametrize("answer", ["redirect", "401"])
def test_whoami_behind_a_gate(front: FrontedUI, make: Make, answer: str) -> None:
    """A gate's login says nothing about the chat-ui behind it, so whoami() raises; the server's own login means nobody."""
    front.gate = always(CLOSED[answer])
    assert isinstance(_refused(CALLS["whoami"], make(**COOKIES)), errors.AuthenticationError)
    front.gate = lambda request: None if request.path == "/healthcheck" else CLOSED[answer]  # AUTOMATIC_LOGIN
    assert make(**COOKIES).whoami() is None


def test_a_logout_that_leads_elsewhere(front: FrontedUI, make: Make) -> None:
    """Only the redirect to the start page says that the server has ended the login."""
    for answer, told in (
        (plain("", 302, "Location: /"), True),
        (plain("", 301, "Location: http://www.elsewhere.example/logout"), False),
        (plain("", 302, "Location: /login?next=/logout"), False),
        (page("Back soon"), False),
        (refusal({"error": "no such path"}, 200), False),
    ):
        front.gate = lambda request, answer=answer: answer if request.path == "/logout" else None
        assert make(**COOKIES).login.end() is told


# Passwords


def _password(request: Recorded) -> bytes | None:
    if request.headers.get("authorization") == "Basic " + base64.b64encode(b"ann:p w").decode():
        return None
    return page("401 Authorization Required", 401, "", 'WWW-Authenticate: Basic realm="a, Bearer b"')


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("options", [{}, COOKIES, {"token": TOKEN}], ids=["anonymous", "with cookies", "with a token"])
def test_a_password_is_asked_for(front: FrontedUI, make: Make, name: str, options: dict[str, Any]) -> None:
    """Each call says that a password is wanted, and where it goes; none says that a login has expired."""
    front.gate = _password
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
def test_each_challenge(front: FrontedUI, make: Make, challenge: str) -> None:
    """Basic is asked for by its name; of the others it is said that hfclient does not speak them."""
    front.gate = always(plain("", 401, f"WWW-Authenticate: {challenge}"))
    error = _refused(CALLS["chat"], make(**COOKIES))
    assert type(error) is errors.PasswordRequired
    assert ("does not speak" in error.message) is ("basic" not in challenge.lower())


@pytest.mark.parametrize("challenge", ['Bearer realm="Basic"', "Bearer", 'Bearer error="a", scope="Basic"', "Token x"])
def test_other_challenges(front: FrontedUI, make: Make, challenge: str) -> None:
    """A challenge for something else is a login like any other."""
    front.gate = always(
        refusal({"message": "You have to be logged in."}, 401).replace(
            b"Content-Type", f"WWW-Authenticate: {challenge}\r\nContent-Type".encode(), 1
        )
    )
    error = _refused(CALLS["chat"], make())
    assert type(error) is errors.AuthenticationError
    assert "log" in error.message


@pytest.mark.parametrize("options", [{}, COOKIES, {"token": TOKEN}], ids=["anonymous", "with cookies", "with a token"])
def test_the_right_password(front: FrontedUI, make: Make, options: dict[str, Any]) -> None:
    """It goes along on every path, whatever else there is; the token stays away, because there is no room for both."""
    front.gate = _password
    client = make(front.url.replace("//", "//ann:p%20w@"), **options)
    assert client.chat("hi").text == "Hello."
    assert client.models.list(fresh=True)
    assert client.conversations.list() is not None
    assert client.whoami() is None
    assert client.ping() >= 0
    assert {request.headers["authorization"] for request in front.requests} == {"Basic YW5uOnAgdw=="}


def test_the_wrong_password(front: FrontedUI, make: Make) -> None:
    """A password that is not accepted is told as one, without showing it; a token that it displaces is named."""
    front.gate = _password
    url = front.url.replace("//", "//ann:wrong-pass@")
    for options in ({}, COOKIES, {"token": TOKEN}):
        error = _refused(CALLS["chat"], make(url, **options))
        assert type(error) is errors.PasswordRequired
        assert "does not accept the user name and the password" in error.message
        assert "wrong-pass" not in str(error)
        assert ("token was not sent" in error.message) is ("token" in options)


def test_a_user_without_a_password(front: FrontedUI, make: Make) -> None:
    """A user name alone goes out with an empty password, as a browser sends it."""
    make(front.url.replace("//", "//ann@")).models.list()
    assert front.last.headers["authorization"] == "Basic " + base64.b64encode(b"ann:").decode()


def test_a_password_of_the_proxy(front: FrontedUI, make: Make) -> None:
    """407 is about the proxy, never about a login."""
    front.gate = always(page("407", 407, "", 'Proxy-Authenticate: Basic realm="x"'))
    for name in ("models", "chat", "whoami", "completion"):
        error = _refused(CALLS[name], make(**COOKIES))
        assert not isinstance(error, errors.AuthenticationError)
        assert f"proxy wants a user name and a password (127.0.0.1:{front.port}, Basic)" in error.message


# Gates that want the token


def _closed(answer: bytes) -> Gate:
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
def test_a_gate_that_wants_the_token(
    front: FrontedUI, make: Make, kind: str, sees_tokens: bool, options: dict[str, Any]
) -> None:
    """A token that was passed opens it on every path, before and after there is a session, also next to cookies.

    A chat-ui that looks at the token where there is no cookie, and cannot do anything with it, gets a session at once.
    """
    front.gate, front.sees_tokens = _closed(CLOSED[kind]), sees_tokens
    client = make(token=TOKEN, **options)
    assert client.models.list(fresh=True)
    assert client.whoami() is None
    assert client.chat("hi").text == "Hello."
    assert client.models.list(fresh=True)
    assert client.conversations.list()
    assert client.ping() >= 0


def test_a_gate_and_a_token_that_was_found(front: FrontedUI, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of the environment does not go there, and the error says so."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for kind in ("404 page", "401", "redirect"):
        front.gate = _closed(CLOSED[kind])
        for name in ("models", "chat", "completion", "embedding"):
            assert "pass token=" in _refused(CALLS[name], make(token=None)).message
    assert not any("authorization" in request.headers for request in front.requests)


def test_a_token_that_is_no_login(front: FrontedUI, make: Make) -> None:
    """On a server with a login a token that it cannot do anything with is an error as before, not a visitor."""
    front.sees_tokens = True
    front.gate = lambda request: (
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
def test_another_server(front: FrontedUI, make: Make, other: str, base: str) -> None:
    """A server that is no chat-ui is told by what it says, and the error names where an inference server goes."""
    front.gate = always(OTHERS[other])
    for name in ("models", "chat", "chat of a model", "ping", "whoami", "login", "features"):
        error = _refused(CALLS[name], make(front.url + base))
        assert isinstance(error, errors.NotAChatServer), name
        assert "inference_url=" in error.message


@pytest.mark.parametrize("name", ["conversation", "delete", "download"])
def test_a_chat_uis_own_404(front: FrontedUI, make: Make, name: str) -> None:
    """What a chat-ui itself does not find stays a NotFoundError."""
    front.gate = lambda request: refusal({"message": "Conversation not found"}) if ID in request.path else None
    assert type(_refused(CALLS[name], make())) is errors.NotFoundError


@pytest.mark.parametrize("name", ["conversation", "delete", "download"])
@pytest.mark.parametrize("other", ["llama.cpp", "vLLM, TEI, FastAPI", "older vLLM", "Nest"])
def test_another_servers_404_for_an_id(front: FrontedUI, make: Make, name: str, other: str) -> None:
    """What another API says of a conversation is told as another API's, by its shape."""
    front.gate = always(OTHERS[other])
    assert isinstance(_refused(CALLS[name], make()), errors.NotAChatServer)


# Pages with status 200


@pytest.mark.parametrize("name", [name for name in CHAT_CALLS if name not in NO_JSON])
def test_a_page_instead(front: FrontedUI, make: Make, name: str) -> None:
    """A page of maintenance, a captive portal or a login, with status 200, is named by its title."""
    front.gate = always(page("Back &amp; soon"))
    error = _refused(CHAT_CALLS[name], make(**COOKIES))
    assert isinstance(error, errors.NotAChatServer)
    front.gate = always(page("Sign in", 200, '<form><input name="p" type="password"></form>'))
    assert isinstance(_refused(CHAT_CALLS[name], make(**COOKIES)), errors.NotAChatServer)


def test_a_page_has_a_title(front: FrontedUI, make: Make) -> None:
    """The error names it, and says of a page that asks for a password what it is; for inference, too."""
    front.gate = always(page("Sign in", 200, '<form><input name="p" type="password"></form>'))
    for name in ("models", "whoami", "completion", "embedding"):
        assert 'a login page titled "Sign in"' in _refused(CALLS[name], make(**COOKIES)).message


@pytest.mark.parametrize("name", [name for name in CALLS if name not in NO_JSON])
def test_a_bot_check_with_status_200(front: FrontedUI, make: Make, name: str) -> None:
    """Cloudflare's page is told as a bot check whatever its status."""
    front.gate = always(page("Just a moment...", 200, '<script src="/cdn-cgi/challenge-platform/h"></script>'))
    assert isinstance(_refused(CALLS[name], make(**COOKIES)), errors.CloudflareChallenge)


@pytest.mark.parametrize("path", ["/conversation", "/conversation/"])
def test_a_page_in_the_middle(front: FrontedUI, make: Make, path: str) -> None:
    """A gate that closes between two requests of a message is told as a page, too."""

    def closing(request: Recorded) -> bytes | None:
        is_it = request.path.startswith(path) and (path.endswith("/") or request.path == path)
        return page("Sign in") if is_it and request.method == "POST" else None

    front.gate = closing
    error = _refused(CALLS["chat"], make(**COOKIES))
    assert isinstance(error, errors.NotAChatServer)
    assert "Sign in" in error.message


@pytest.mark.parametrize("status", [404, 405])
def test_a_page_where_inference_should_be(front: FrontedUI, make: Make, status: int) -> None:
    """The URL of a chat or of any site is no API: the error says so."""
    front.gate = always(page("ChatUI - Chat with AI models", status))
    for name in ("completion", "embedding"):
        assert "inference_url" in _refused(CALLS[name], make()).message
