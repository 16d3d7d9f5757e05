"""The doctor names the cause and a remedy for servers that do not work, over real sockets."""

from __future__ import annotations

import datetime
import email.utils
import socket
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, Limits
from hfclient.doctor import check
from hfclient.transport.requests_transport import RequestsTransport
from tests.chat.gateway import Gateway, always, moved, page
from tests.chat.legacy_server import LegacyServer
from tests.chat.login_server import Elsewhere, LoginServer
from tests.chat.replay import final, lines, token
from tests.doctor.conftest import QUIET, SECRET, diagnosed, problems
from tests.local.upstream import ScriptedUpstream
from tests.server import CERTIFICATE, PATIENCE, Server, head, json_answer, plain

CHALLENGE = "<!doctype html><html><head><title>Just a moment...</title></head><script src='/cdn-cgi/challenge-platform/x'></script></html>"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A chat-ui behind a gateway."""
    with Gateway() as running:
        yield running


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


# Connections


def test_nothing_listens(closed_port: int) -> None:
    """A refused connection is the only problem, and the checks after it are skipped."""
    results = diagnosed(f"http://127.0.0.1:{closed_port}")
    assert problems(results) == ["connection"]
    assert "refuses connections" in results["connection"].detail
    assert "Start the server" in (results["connection"].remedy or "")
    assert results["models"].status == "skipped"


def test_no_such_name() -> None:
    """A host without an address is named."""
    results = diagnosed("http://no-such-host.invalid")
    assert problems(results) == ["dns"]
    assert "no-such-host.invalid has no address" in results["dns"].detail


def test_a_silent_port() -> None:
    """A port that accepts and says nothing fails within its time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        results = diagnosed(f"http://127.0.0.1:{listener.getsockname()[1]}", seconds=0.5)
    assert problems(results) == ["chat server"]
    assert results["chat server"].detail == "no answer within 0.5 s"


def test_a_silent_port_with_tls() -> None:
    """A port that does not answer the TLS handshake is not mistaken for a bad certificate."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        results = diagnosed(f"https://127.0.0.1:{listener.getsockname()[1]}", seconds=0.5)
    assert problems(results) == ["tls"]
    assert "no answer to the handshake" in results["tls"].detail


@pytest.mark.skipif(sys.platform != "linux", reason="a full queue of connections drops packets on Linux only")
def test_an_address_that_does_not_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two addresses that is silent is a warning, because connections to it wait."""
    server.on("/healthcheck", plain("OK"))
    with socket.socket() as full:
        full.bind(("127.0.0.2", server.port))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.2", server.port))
        real = socket.getaddrinfo

        def two(host: str, *rest: Any, **options: Any) -> Any:
            if host != "localhost":
                return real(host, *rest, **options)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, server.port)) for address in ("127.0.0.2", "127.0.0.1")]

        monkeypatch.setattr(socket, "getaddrinfo", two)
        found = {result.name: result for result in check(url=f"http://localhost:{server.port}", seconds=1.5, token="", cookies="",
                 skip=[*QUIET, "chat"])}["connection"]  # fmt: skip
        for sock in waiting:
            sock.close()
    assert found.status == "warning", found
    assert "1 of 2 addresses do not answer (IPv4)" in found.detail


def test_plain_http_on_the_port(server: Server) -> None:
    """An https URL of a plain server gets the right URL as the remedy."""
    results = diagnosed(server.url.replace("http:", "https:"), seconds=3)
    assert problems(results) == ["tls"]
    assert results["tls"].remedy == f"Use {server.url} as the URL."


def test_a_self_signed_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrusted certificate is named, and the remedy works."""
    with Server(tls=True) as server:
        server.on("/healthcheck", plain("OK"))
        results = diagnosed(server.url)
        assert problems(results) == ["tls"]
        assert "signed by itself" in results["tls"].detail
        assert "REQUESTS_CA_BUNDLE" in (results["tls"].remedy or "")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
        results = diagnosed(server.url)
    assert (results["tls"].status, results["chat server"].status) == ("ok", "ok")
    assert results["tls"].detail.startswith("TLSv1.3")


def test_an_expired_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trusted certificate that has expired is named as such."""
    expired = Path(CERTIFICATE).with_name("expired.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(expired))
    with Server(tls=True) as server:
        assert server._tls is not None
        server._tls.load_cert_chain(expired)
        results = diagnosed(server.url)
    assert problems(results) == ["tls"]
    assert "has expired" in results["tls"].detail


# Proxies


def test_a_proxy_that_is_down(closed_port: int) -> None:
    """The proxy is named, without its password."""
    results = diagnosed("http://chat.example", proxy=f"http://u:proxy-secret@127.0.0.1:{closed_port}")
    assert problems(results) == ["connection"]
    assert f"the proxy 127.0.0.1, port {closed_port} refuses" in results["connection"].detail
    assert "HTTPS_PROXY" in (results["connection"].remedy or "")


def test_a_proxy_with_a_password(server: Server) -> None:
    """A proxy that wants a password is not mistaken for a server that does."""
    server.on("*", plain("<html><title>Proxy</title>", 407, "Proxy-Authenticate: Basic realm=x"))
    results = diagnosed("http://chat.example", proxy=server.url)
    assert problems(results) == ["chat server"]
    assert "the proxy wants a user name and a password" in results["chat server"].detail
    assert "http://user:password@" in f"{results['chat server'].remedy}"


@pytest.mark.parametrize("status", [403, 502])
def test_a_proxy_that_refuses_a_tunnel(server: Server, status: int) -> None:
    """A proxy that refuses a tunnel is named with its status."""
    server.on("chat.example:443", plain("", status))
    server.on("*", plain("", status))
    results = diagnosed("https://chat.example", proxy=server.url)
    assert problems(results) == ["chat server"]
    assert f"the proxy failed: it answered with status {status}" in results["chat server"].detail


def test_a_proxy_that_answers_with_a_page(server: Server) -> None:
    """A captive portal's page is shown by its title."""
    server.on("*", page("Please accept the terms"))
    results = diagnosed("http://chat.example", proxy=server.url)
    assert problems(results) == ["chat server"]
    assert 'an HTML page titled "Please accept the terms"' in results["chat server"].detail


# Other servers


def test_an_openai_server() -> None:
    """An OpenAI-compatible server as the chat server is recognized, with and without /v1."""
    with ScriptedUpstream() as upstream:
        for url in (upstream.url.removesuffix("/v1"), upstream.url):
            results = diagnosed(url)
            assert results["chat server"].status == "failed"
            assert "is an OpenAI-compatible server (2 models), not a chat-ui" in results["chat server"].detail
            assert f'Client(inference_url="{url}")' in (results["chat server"].remedy or "")


def test_another_path(gateway: Gateway) -> None:
    """A chat-ui at another path is found: below the URL, and above it."""
    gateway.base = "/chat"
    for url in (gateway.url, f"{gateway.url}/chat/conversation/65f000000000000000000001", f"{gateway.url}/other"):
        results = diagnosed(url)
        assert results["chat server"].status == "failed"
        assert results["chat server"].remedy == f"Use {gateway.url}/chat as the base URL (--url {gateway.url}/chat)"
    assert diagnosed(f"{gateway.url}/chat")["chat server"].status == "ok"


def test_a_page_for_every_path(server: Server) -> None:
    """Another site is described by the title of its page, and by its product if that is known."""
    server.on("*", page("Open WebUI", 404))
    found = diagnosed(server.url)["chat server"]
    assert "is not a chat-ui" in found.detail
    assert "Open WebUI" in found.detail
    server.on("*", page("Directory listing", 200, "<a>jupyter.txt</a>"))
    assert "Jupyter" not in diagnosed(server.url)["chat server"].detail
    server.on("*", plain("Ollama is running", 200, "Content-Type: text/plain"))
    assert "Ollama" in "".join(f"{result.detail}" for result in diagnosed(server.url).values())


def test_a_moved_server(gateway: Gateway, server: Server) -> None:
    """A redirect to another address names it."""
    gateway.reply = moved("https://chat.example")
    found = diagnosed(gateway.url)["chat server"]
    assert found.status == "failed"
    assert "Use https://chat.example" in (found.remedy or "")


def test_a_login_page(gateway: Gateway) -> None:
    """A gateway with a login of its own is not mistaken for a login of the chat-ui."""
    gateway.reply = always(plain("", 302, "Location: https://sso.example/login?next=x"))
    found = diagnosed(gateway.url)["chat server"]
    assert found.status == "failed"
    assert "a gateway in front of the server wants its own login: it redirects to https://sso.example/login" in found.detail


def test_a_login_page_with_status_200(gateway: Gateway) -> None:
    """A login page in place of every answer is recognized by its field for a password."""
    gateway.reply = always(page("Sign in", 200, "<input type=password>"))
    found = diagnosed(gateway.url)["chat server"]
    assert 'a login page titled "Sign in" instead of the server' in found.detail
    assert "logged in there" in (found.remedy or "")


def test_a_refusal(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 403 for everything is not mistaken for a wrong URL; a token that was not sent to this server is mentioned."""
    gateway.reply = always(page("Forbidden", 403))
    found = diagnosed(gateway.url)["chat server"]
    assert found.detail == "the server refuses the request: Forbidden (status 403)"
    monkeypatch.setenv("HF_TOKEN", SECRET)
    found = diagnosed(gateway.url, token=None)["chat server"]
    assert "the token from the environment is sent to Hugging Face's own sites only" in found.detail
    assert found.remedy == "Pass the token: Client(url, token=...)."


def test_a_redirect_to_https(gateway: Gateway) -> None:
    """A server that wants https is named with its URL."""
    secure = gateway.url.replace("http:", "https:")
    gateway.reply = moved(secure)
    found = diagnosed(gateway.url)["chat server"]
    assert (found.status, found.remedy) == ("failed", f"Use {secure} as the base URL")


def test_a_password(gateway: Gateway) -> None:
    """HTTP Basic is named, with the form of the URL."""
    gateway.reply = always(plain("", 401, "WWW-Authenticate: Basic realm=x"))
    found = diagnosed(gateway.url)["chat server"]
    assert (found.status, found.remedy) == ("failed", "Put the user name and the password into the URL: https://user:password@host")


@pytest.mark.parametrize("status", [200, 403, 503])
def test_a_bot_check(gateway: Gateway, status: int) -> None:
    """A bot check is named with any status, and the remedy is to impersonate."""
    gateway.reply = always(plain(CHALLENGE, status, "Content-Type: text/html"))
    found = diagnosed(gateway.url)["chat server"]
    assert (found.status, found.detail) == ("failed", "a bot check answers instead of the server")
    assert 'impersonate="chrome"' in (found.remedy or "")


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_without_its_server(gateway: Gateway, status: int) -> None:
    """A gateway that does not reach the server is not mistaken for a server that fails."""
    gateway.reply = always(page("Bad Gateway", status))
    found = diagnosed(gateway.url)["chat server"]
    assert f"a gateway answers with {status}" in found.detail


# Logins


def test_a_login(server: Server) -> None:
    """A valid login shows its user and the kind of its cookies."""
    login = LoginServer(server)
    found = diagnosed(login.url, cookies={"hf-chat": "s1", "token": "t1"})["login"]
    assert (found.status, found.detail) == ("ok", "logged in as ann, by cookies (hf-chat, token, as passed)")


def test_an_expired_login(server: Server) -> None:
    """A revoked cookie is reported with the command that renews it; a missing one as not logged in."""
    login = LoginServer(server)
    results = diagnosed(login.url, cookies={"hf-chat": "revoked-secret", "token": "t1"})
    found = results["login"]
    assert (found.status, results["settings"].detail) == ("failed", "the check of the login failed")
    assert "the login has expired, or was ended" in found.detail
    assert f"hfclient login --url {login.url}" in (found.remedy or "")
    found = diagnosed(login.url)["login"]
    assert found.status == "failed"
    assert "not logged in (an anonymous session), and the server has a login" in found.detail
    assert login.created == []


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ({"cookies": {"hf-chat": "s1"}}, "cookies (hf-chat, as passed) are not a login: HuggingChat needs the cookies hf-chat and token"),
        ({"token": "hf_ann"}, "there is a token, and no cookie: to chat, this server requires a login"),
        ({}, "there is no cookie for this server: to chat, this server requires a login"),
    ],
)
def test_logins_of_hugging_chat(server: Server, given: dict[str, Any], detail: str) -> None:
    """HuggingChat needs both of its cookies; what is missing is named."""
    login = LoginServer(server)
    with Client(transport=Elsewhere(RequestsTransport(), "https://huggingface.co", server.url), **{"token": "", "cookies": "", **given}) as client:
        results = {result.name: result for result in check(client, skip=QUIET)}
    assert (results["login"].status, results["login"].detail) == ("failed", detail)
    assert "hfclient login" in (results["login"].remedy or "")
    assert login.created == []


def test_a_server_that_shows_nothing(server: Server) -> None:
    """A server that redirects every anonymous request to its login is one problem."""
    login = LoginServer(server)
    login.automatic = True
    results = diagnosed(login.url)
    assert problems(results) == ["version"]
    assert results["version"].detail == "the server shows nothing without a login"
    assert results["models"].detail == "the check of the version failed"
    results = diagnosed(login.url, cookies={"hf-chat": "s1", "token": "t1"})
    assert (results["version"].status, results["login"].status) == ("ok", "ok")


def test_a_server_that_fails(gateway: Gateway) -> None:
    """A server whose every answer is an error, such as one without its database, is one problem."""
    gateway.reply = lambda request: None if request.path == "/healthcheck" else json_answer({"message": "An error occurred"}, 500)
    results = diagnosed(gateway.url)
    assert problems(results) == ["version"]
    assert "the server fails at every request" in results["version"].detail


def test_cookies_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An exported cookie shows where it is from, and warns when it ends soon."""
    login = LoginServer(server)
    ends = int(datetime.datetime.now(datetime.timezone.utc).timestamp()) + 7200
    export = tmp_path / "cookies.txt"
    lines = [f"127.0.0.1\tFALSE\t/\tFALSE\t{ends}\t{name}\t{value}" for name, value in (("hf-chat", "s1"), ("token", "t1"))]
    export.write_text("# Netscape HTTP Cookie File\n" + "\n".join(lines) + "\n")
    export.chmod(0o600)
    monkeypatch.setenv("HFCLIENT_COOKIE", str(export))
    found = diagnosed(login.url, cookies=None, session=None)["login"]
    assert (found.status, "of HFCLIENT_COOKIE), which end in 1 h" in found.detail) == ("warning", True), found


# Versions


@pytest.mark.parametrize(("version", "shown"), [("0.10", "chat-ui 0.10"), ("0.9.5", "chat-ui 0.9 or older")])
def test_old_servers(server: Server, version: str, shown: str) -> None:
    """Servers of 2025 work, and their other fields raise no alarm."""
    old = LegacyServer(server, version)
    results = diagnosed(old.url)
    assert problems(results) == [], [results[name] for name in problems(results)]
    assert results["version"].detail.startswith(shown)
    assert results["models"].detail == "2, the first is lab/legacy-model"
    assert old.writes == []


# Answers


@pytest.mark.parametrize("hours", [1, -1])
def test_a_wrong_clock(server: Server, hours: int) -> None:
    """A clock that is an hour off is a warning, with its direction."""
    there = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
    server.on("/healthcheck", plain("OK", 200, f"Date: {email.utils.format_datetime(there, usegmt=True)}"))
    found = diagnosed(server.url)["clock"]
    assert found.status == "warning"
    assert f"{'behind' if hours > 0 else 'ahead of'} the server's" in found.detail


def test_an_endless_page(server: Server) -> None:
    """A page without an end is read for a bounded time and amount."""
    server.on("*", [head(200, "Content-Type: text/html", "Connection: close"), *[b"<p>" + b"x" * 65536] * 200, PATIENCE])
    found = diagnosed(server.url, seconds=1)["chat server"]
    assert found.status == "failed"


def test_a_bomb(server: Server) -> None:
    """A compressed answer above the limit of a body is not held in memory, in any check."""
    packer = zlib.compressobj(wbits=31)
    bomb = packer.compress(bytes(20_000_000)) + packer.flush()
    server.on("/healthcheck", plain("OK"))
    server.on("/api/v2/feature-flags", json_answer({"json": {"loginEnabled": False, "transcriptionEnabled": False}}))
    server.on("*", plain(bomb, 200, "Content-Type: application/json", "Content-Encoding: gzip"))
    found = diagnosed(server.url, limits=Limits(body=1_000_000))["models"]
    assert found.status == "failed"
    assert "Limits.body" in found.detail


def test_another_schema(gateway: Gateway) -> None:
    """One answer in another form is one problem, and the others are made."""
    gateway.always("models", json_answer({"json": {"models": []}}))
    results = diagnosed(gateway.url)
    assert results["models"].status == "failed"
    assert "is not a list" in results["models"].detail
    assert results["conversations"].status in ("ok", "warning")


def test_a_message(gateway: Gateway) -> None:
    """With *send* a message is sent, and its conversation is deleted; without it nothing is written."""
    assert all(request.method == "GET" for request in gateway.requests)
    assert diagnosed(gateway.url, send=True)["message"].status == "ok"
    assert (gateway.count("send"), gateway.count("delete"), len(gateway.chats)) == (1, 1, 0)
    written = len([request for request in gateway.requests if request.method != "GET"])
    diagnosed(gateway.url)
    assert len([request for request in gateway.requests if request.method != "GET"]) == written


def test_a_message_with_new_events(gateway: Gateway) -> None:
    """Events and fields that this release does not know are named, and harmless."""
    gateway.says(lines({"type": "novel"}, {**token("OK"), "weight": 5}, final("OK")))
    gateway.says(lines({"type": "novel"}, {**token("OK"), "weight": 5}, final("OK")))
    found = diagnosed(gateway.url, send=True)["message"]
    assert found.status == "ok"
    found = diagnosed(gateway.url, send=True)["message"]
    assert "(harmless): novel" in found.detail, found


def test_a_model_that_fails(gateway: Gateway) -> None:
    """A server whose model fails is found with a message only."""
    gateway.always("send", json_answer({"message": "no model"}, 500))
    found = diagnosed(gateway.url, send=True)["message"]
    assert (found.status, "no model" in found.detail) == ("failed", True)
    assert gateway.chats == {}


def test_a_skipped_group(gateway: Gateway) -> None:
    """Groups and names are left out as asked."""
    assert set(diagnosed(gateway.url, skip=(*QUIET, "network", "models", "settings"))) == {
        *("chat server", "clock", "version", "login", "origin", "features", "configuration", "conversations", "messages", "mcp servers")
    }
