"""One server under several host names: the headers Origin and Host, and the origin of a message."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hfclient import Client, Retry, errors
from hfclient.credentials import host_origin, normalize_url, origin_of
from hfclient.errors import InvalidInputError
from tests.chat.conftest import PATIENT
from tests.chat.gateway import Gateway, refusal
from tests.conftest import make_transport
from tests.server import plain

Make = Callable[..., Client]
NAME = "http://chat.example:3000"


@pytest.fixture
def make(gateway: Gateway, transport_name: str) -> Iterator[Make]:
    """Make clients of `gateway` over each transport in turn."""
    made: list[Client] = []

    def build(url: str | None = None, **options: Any) -> Client:
        options = {"token": "", "cookies": "", "timeouts": PATIENT, "retry": Retry(attempts=1), **options}
        made.append(Client(url or gateway.url, transport=make_transport(transport_name), **options))
        return made[-1]

    yield build
    for client in made:
        client.close()


# Spellings


@pytest.mark.parametrize(
    ("url", "origin", "header"),
    [
        ("HTTP://Chat.EXAMPLE:80/x", "http://chat.example", "http://chat.example"),
        ("https://chat.example:0443", "https://chat.example", "https://chat.example"),
        ("http://chat.example.:3000/chat", "http://chat.example.:3000", "http://chat.example:3000"),
        ("https://chat.example./", "https://chat.example.", "https://chat.example"),
        ("http://ЧАТ.example/x", "http://xn--80a0bn.example", "http://xn--80a0bn.example"),
        ("http://xn--80a0bn.EXAMPLE/x", "http://xn--80a0bn.example", "http://xn--80a0bn.example"),
        ("http://fa\u00df.example", "http://xn--fa-hia.example", "http://xn--fa-hia.example"),
        ("http://\uff43\uff48\uff41\uff54.example", "http://chat.example", "http://chat.example"),
        ("http://chat\u3002example", "http://chat.example", "http://chat.example"),
        ("http://\u2615.example:3000", "http://xn--53h.example:3000", "http://xn--53h.example:3000"),
        ("http://127.1:3000", "http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://0x7f000001/", "http://127.0.0.1", "http://127.0.0.1"),
        ("http://\uff11\uff12\uff17.1", "http://127.0.0.1", "http://127.0.0.1"),
        ("http://127\u200d.1", "http://127.0.0.1", "http://127.0.0.1"),
        ("http://[::1]:3000/", "http://[::1]:3000", "http://[::1]:3000"),
        ("http://[FE80::1]/", "http://[fe80::1]", "http://[fe80::1]"),
    ],
)
def test_spellings(url: str, origin: str, header: str) -> None:
    """A host is normalised to ASCII and lower case without the default port; the header omits the dot at the end, too."""
    assert origin_of(url) == origin
    assert host_origin(url) == header
    assert normalize_url(url).startswith(origin)
    assert normalize_url(normalize_url(url)) == normalize_url(url)


@pytest.mark.parametrize("path", ["", "/", "/Chat/\u0447?q=\u0444#x", "?a=b", "/a//b"])
def test_the_rest_of_a_url(path: str) -> None:
    """Only the host is normalised."""
    assert normalize_url(f"HTTP://B\u00fccher.example:80{path}") == f"http://xn--bcher-kva.example{path}"


@pytest.mark.parametrize("host", ["a\u200d.example", "\u00ad", "\ufffd.example", "a\u2044b.example", "\u0301a.example"])
def test_invalid_hosts(host: str) -> None:
    """An invalid name is refused, or becomes plain ASCII: no character in it ends the host."""
    try:
        origin = origin_of(f"http://{host}/")
    except InvalidInputError:
        return
    assert origin.isascii()
    assert not set("/?#@\\%: ") & set(origin.removeprefix("http://"))


@pytest.mark.parametrize("host", ["LOCALHOST", "localhost", "127.1", "0x7f.1", "127.0.0.1"])
def test_origin_equals_host(gateway: Gateway, make: Make, host: str) -> None:
    """Messages are accepted for every spelling of the address, over both transports."""
    client = make(f"http://{host}:{gateway.port}")
    assert client.chat("hi").text == "Hello."
    hosts = {request.headers["host"] for request in gateway.requests}
    assert gateway.origins() == [f"http://{host}" for host in hosts]


def _on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        return real("127.0.0.1" if name.rstrip(".").endswith(".example") else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize(
    "host", ["chat.example", "chat.example.", "чат.example", "M\u00fcnchen.Example", "fa\u00df.example"]
)
def test_normalised_names(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Dots at the end and letters outside of ASCII are the same in Origin and in Host."""
    _on_loopback(monkeypatch)
    with Client(f"http://{host}:{gateway.port}", token="", cookies="", timeouts=PATIENT) as client:
        assert client.models.list()
        assert client.chat("hi").text == "Hello."
    assert gateway.origins() == [f"http://{request.headers['host']}" for request in gateway.requests[-1:]]


def test_a_dot_at_the_end_over_curl(gateway: Gateway) -> None:
    """Libcurl would keep the dot in Host; the header is set without it."""
    pytest.importorskip("curl_cffi")
    with Client(
        f"http://localhost.:{gateway.port}", token="", cookies="", timeouts=PATIENT, transport="curl_cffi"
    ) as client:
        assert client.chat("hi").text == "Hello."
    assert {request.headers["host"] for request in gateway.requests} == {f"localhost:{gateway.port}"}


def test_a_dot_at_the_end_with_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not matter to cookies: those of the name without a dot are used."""
    client = Client(
        "https://chat.example.", token="", cookies=[{"name": "hf-chat", "value": "v", "domain": "chat.example"}]
    )
    assert client._session.credentials.headers_for("https://chat.example./x")
    assert not client._session.credentials.headers_for("https://chat.example/x")


# The server's own name


def test_the_servers_own_origin(gateway: Gateway, make: Make) -> None:
    """A message that is refused for its Origin is sent again with the origin that the server gives, and is stored once."""
    gateway.own_host, gateway.public_origin = "chat.example:3000", NAME
    client = make()
    assert client.chat("hi").text == "Hello."
    assert gateway.origins() == [gateway.url, NAME]
    assert len(gateway.chat.users) == 1
    assert client.chat("hi").text == "Hello."  # it is remembered
    assert gateway.origins()[2:] == [NAME]
    assert pickle.loads(pickle.dumps(client)).chat("hi").text == "Hello."


@pytest.mark.parametrize("configured", ["", "nonsense", "ftp://chat.example", "http://[", "http://wrong.example"])
def test_the_origin_on_its_page(gateway: Gateway, make: Make, configured: str) -> None:
    """If the configuration does not have the origin, the server's page does."""
    gateway.own_host, gateway.public_origin, gateway.page_origin = "chat.example:3000", configured, NAME + "/chat"
    if configured.endswith("wrong.example"):
        with pytest.raises(errors.PermissionDeniedError, match=r"wrong\.example"):
            make().chat("hi")
        return
    assert make().chat("hi").text == "Hello."


@pytest.mark.parametrize("page", ["", "http://[", "javascript:alert(1)", "http://a b"])
def test_a_server_without_an_origin(gateway: Gateway, make: Make, page: str) -> None:
    """The error is about the header Origin: its value, and how to set another one."""
    gateway.own_host, gateway.page_origin = "chat.example:3000", page
    with pytest.raises(errors.PermissionDeniedError, match="Origin") as caught:
        make().chat("hi")
    assert gateway.url in caught.value.message
    assert 'headers={"Origin"' in caught.value.message
    assert len(gateway.origins()) == 1


@pytest.mark.parametrize("name", ["Origin", "origin", "ORIGIN"])
def test_the_callers_own_origin(gateway: Gateway, make: Make, name: str) -> None:
    """A header Origin of the caller takes precedence, and is not replaced by the server's."""
    gateway.own_host, gateway.public_origin = "chat.example:3000", "http://wrong.example"
    assert make(headers={name: NAME}).chat("hi").text == "Hello."
    assert gateway.origins() == [NAME]
    gateway.public_origin = NAME
    with pytest.raises(errors.PermissionDeniedError, match=r"other\.example.*chat\.example"):
        make(headers={name: "http://other.example"}).chat("hi")
    assert gateway.origins()[1:] == ["http://other.example"]


def test_the_callers_own_host(gateway: Gateway, make: Make) -> None:
    """Origin follows a header Host of the caller."""
    assert make(headers={"Host": "chat.example:77"}).chat("hi").text == "Hello."
    assert gateway.origins() == ["http://chat.example:77"]


@pytest.mark.parametrize(
    "answer",
    [
        refusal({"error": "Invalid referer for POST request"}, 403),
        refusal({"message": "Cross-site POST form submissions are forbidden"}, 403),
        plain("Cross-site POST form submissions are forbidden", 403),
        plain("Non-JSON form requests need to have an origin", 403),
    ],
)
def test_refusals_for_the_origin(gateway: Gateway, make: Make, answer: bytes) -> None:
    """The errors of chat-ui and SvelteKit for a foreign Origin are recognised, in JSON and as text."""
    gateway.own_host, gateway.public_origin = "chat.example:3000", NAME
    gateway.reply = lambda request: (
        answer
        if request.method == "POST" and request.path != "/conversation" and NAME not in str(request.headers)
        else None
    )
    assert make().chat("hi").text == "Hello."
    assert gateway.origins() == [gateway.url, NAME]


def test_other_refusals(gateway: Gateway, make: Make) -> None:
    """A 403 for another reason is not about the Origin: nothing is sent again."""
    gateway.fault("send", refusal({"message": "You don't have access to this conversation."}, 403))
    with pytest.raises(errors.PermissionDeniedError, match="have access"):
        make().chat("hi")
    assert len(gateway.origins()) == 1
