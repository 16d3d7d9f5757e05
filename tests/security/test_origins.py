"""A credential is sent to its origin only, for any form of a URL, a redirect, a link or a cookie.

All requests go through a proxy, which shows the host that a library connects to: hfclient and the library must agree on the
host of a URL.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from hfclient import Client, McpServer
from hfclient.chat.legacy.endpoints import assistant
from hfclient.credentials import Credentials, Secret, origin_of
from hfclient.errors import CredentialsError, HFClientError, InvalidInputError, ProtocolError
from hfclient.inference.models.hub import next_page
from hfclient.inference.providers.addresses import Target
from hfclient.transport import Multipart, Part, Request, Session
from tests.conftest import make_transport
from tests.server import Recorded, Server, head, json_answer, plain
from tests.wire.helpers import PATIENT, session_for

HOST = "chat.example"
ID = "65a000000000000000000001"

ELSEWHERE = [
    "http://evil.example/chat/x",
    "http://chat.example@evil.example/chat/x",
    "http://chat.example:80@evil.example:80/chat/x",
    "http://user:pw@chat.example@evil.example/chat/x",
    "http://evil.example#@chat.example/chat/x",
    "http://evil.example?@chat.example/chat/x",
    "http://evil.example\\@chat.example/chat/x",
    "http://evil.example\\.chat.example/chat/x",
    "http://chat.example\\.evil.example/chat/x",
    "http://chat.example.evil.example/chat/x",
    "http://evilchat.example/chat/x",
    "http://chat.example:8080/chat/x",
    "http://evil.example%2f.chat.example/chat/x",
    "http://evil.example%23.chat.example/chat/x",
    "http://evil.example%00.chat.example/chat/x",
    "http://chat%2eexample.evil.example/chat/x",
    "http://evil.example;chat.example/chat/x",
    "http://evil.example\t@chat.example/chat/x",
    "http://evil.example\uff0f.chat.example/chat/x",
    "http://evil.example\u2044chat.example/chat/x",
    "http://chat.example\u3002evil.example/chat/x",
    "http://evil.example:80#:80@chat.example/chat/x",
    "http://[::ffff:1.2.3.4]/chat/x",
    "http:evil.example/chat/x",
    "http:///evil.example/chat/x",
    "https://chat.example/chat/x",
    "ftp://chat.example/chat/x",
    "//evil.example/chat/x",
    "///evil.example/chat/x",
    "/\\evil.example/chat/x",
    "\\\\evil.example\\chat\\x",
    " http://evil.example/chat/x",
    "http://evil.example /chat/x",
]


def _session(name: str, proxy: Server) -> Session:
    credentials = Credentials(
        token=Secret("hf_secret"),
        explicit=True,
        cookies={"hf-chat": Secret("c00kie")},
        chat_url=f"http://us:pw@{HOST}/chat",
        token_urls=[f"http://{HOST}/v1"],
    )
    return session_for(make_transport(name, proxy=proxy.url), credentials, headers={"X-Key": "header-secret"})


SECRETS = ("c00kie", "hf_secret", base64.b64encode(b"us:pw").decode())


def _carries(request: Recorded) -> bool:
    return any(secret in f"{request.target} {request.headers}" for secret in SECRETS)


def _answer(request: Recorded) -> bytes:
    return plain(b"", 403 if request.method == "CONNECT" else 200)


def _host_of(request: Recorded) -> str:
    return request.target.partition(":")[0] if request.method == "CONNECT" else (urlsplit(request.target).netloc)


def _check(proxy: Server) -> None:
    for request in proxy.requests:
        if _carries(request):
            assert _host_of(request) == HOST, request
            assert request.headers["host"] == HOST
        assert "@" not in urlsplit(request.target).netloc


def test_urls(transport_name: str, server: Server) -> None:
    """A URL that looks like the chat server's but is another host gets no credentials."""
    server.on("*", [_answer])
    session = _session(transport_name, server)
    for url in ELSEWHERE:
        server.requests.clear()
        with contextlib.suppress(HFClientError):
            session.send(Request.read(url)).close()
        _check(server)
        assert not any(_carries(request) for request in server.requests), url
    session.close()


@pytest.mark.parametrize("follow", [False, True])
def test_redirects(transport_name: str, server: Server, follow: bool) -> None:
    """The same holds for redirects, whether or not redirects to other hosts are followed."""
    server.on("*", [_answer])
    session = _session(transport_name, server)
    for location in ELSEWHERE:
        server.requests.clear()
        encoded = location.encode().decode("latin-1")  # as a server would send it
        server.on("/chat/a", head(307, f"Location: {encoded}", "Content-Length: 0"))
        with contextlib.suppress(HFClientError):
            session.send(Request(method="GET", url=f"http://{HOST}/chat/a", follow_redirects=follow)).close()
        _check(server)
        assert _carries(server.requests[0])
        if not follow:
            assert all(_host_of(request) == HOST for request in server.requests), location
    session.close()


@pytest.mark.parametrize(
    "url", ["http://CHAT.example/chat/x", "HTTP://chat.example:80/chat/x", "http://a:b@chat.example/chat/x"]
)
def test_the_same_origin_in_other_notations(transport_name: str, server: Server, url: str) -> None:
    """Case, the default port and a user name do not make another origin."""
    server.on("*", plain(b""))
    session = _session(transport_name, server)
    session.send(Request.read(url)).close()
    session.close()
    assert server.last.headers["cookie"] == "hf-chat=c00kie"


DOTS = ["/chat/../x", "/chat/%2e%2e/x", "/chat/./../x", "/chat/.%2E/x", "/chat/x/../../y", "/chat/..", "/chatty"]


def test_dots_in_paths(transport_name: str, server: Server) -> None:
    """A path that begins with the chat's base path but resolves to another one gets no cookie."""
    server.on("*", plain(b""))
    session = _session(transport_name, server)
    for path in DOTS:
        session.send(Request.read(f"http://{HOST}{path}")).close()
        assert "cookie" not in server.last.headers, path
    session.close()


def test_a_trailing_dot_is_another_host(transport_name: str, server: Server) -> None:
    """``chat.example.`` may be the same machine, but a browser would not send the cookie there."""
    server.on("*", plain(b""))
    session = _session(transport_name, server)
    session.send(Request.read(f"http://{HOST}./chat/x")).close()
    session.close()
    assert not _carries(server.last)


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co.evil.example/x",
        "https://evilhuggingface.co/x",
        "https://huggingface.co@evil.example/x",
        "https://huggingface.co./x",
        "https://evil.example/huggingface.co",
        "https://huggingface.co:444@evil.example/",
        "https://huggingf\u0430ce.co/x",
        "https://xn--huggingfce-23j.co/x",
        "http://huggingface.co/x",
        "https://hf.co.evil.example/",
        "https://huggingface.cloud/x",
    ],
)
def test_the_token_of_the_environment(url: str) -> None:
    """A token from the environment goes to Hugging Face's own hosts over TLS only, not to similar names."""
    assert Credentials(token=Secret("hf_x"), chat_url="https://huggingface.co/chat").headers_for(url) == {}


@pytest.mark.parametrize("name", ["chat_url", "inference_url", "hub_url"])
def test_a_password_in_a_base_url(transport_name: str, server: Server, other_server: Server, name: str) -> None:
    """A user name and a password in a base URL are sent to its origin and shown nowhere."""
    for one in (server, other_server):
        one.on("*", json_answer({"json": []}, 404))
    url = server.url.replace("//", "//us%40er:pass-word@")
    urls = {"base_url": other_server.url, "inference_url": other_server.url, "hub_url": other_server.url}
    urls["base_url" if name == "chat_url" else name] = url
    client = Client(**urls, token="", cookies={"a": "b"}, transport=make_transport(transport_name), timeouts=PATIENT)
    shown = [repr(client), client.base_url, client.inference_url, client.hub_url, client.conversation(ID).file_url("a")]
    for call in (client.whoami, lambda: client.inference.chat("hi", model="m"), lambda: client.inference.model("a/b")):
        try:
            call()
        except HFClientError as error:
            shown += [str(error), repr(error.to_dict())]
    client.close()
    assert "pass-word" not in "".join(shown)
    basic = "Basic " + base64.b64encode(b"us@er:pass-word").decode()
    assert server.requests
    assert {request.headers.get("authorization") for request in server.requests} == {basic}
    assert {request.headers.get("authorization") for request in other_server.requests} == {None}


# Cookies that a server sets


@pytest.mark.parametrize(
    "attributes",
    [
        "Domain=evil.example",
        "Domain=.evil.example",
        "Domain=example",
        "Domain=com",
        "Domain=other.chat.example",
        "Domain=127.0.0.1",
        "Path=/other",
        "Path=/chat/deeper",
        "Max-Age=0",
        "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ],
)
def test_cookies_that_are_not_for_the_chat(attributes: str) -> None:
    """A cookie that a browser would reject, or not send to the chat, is not stored."""
    made = Credentials(cookies={"hf-chat": Secret("mine")}, chat_url="https://chat.example/chat")
    made.keep_cookies("https://chat.example/chat/x", [f"hf-chat=theirs; {attributes}", f"other=theirs; {attributes}"])
    assert {name: value.reveal() for name, value in made.cookies().items()} == {"hf-chat": "mine"}


@pytest.mark.parametrize(
    "attributes", ["", "Domain=chat.example", "Domain=.example.org", "Path=/", "Path=/chat", "Secure"]
)
def test_cookies_for_the_chat(attributes: str) -> None:
    """A cookie of the host or of a parent domain is stored, for this host only."""
    made = Credentials(cookies={"hf-chat": Secret("mine")}, chat_url="https://chat.example.org/chat")
    made.keep_cookies(
        "https://chat.example.org/chat/x", [f"hf-chat=new; {attributes}".replace("chat.example", HOST + ".org")]
    )
    expected = "mine" if attributes == "Domain=chat.example" else "new"
    assert made.cookies()["hf-chat"].reveal() in (expected, "new")
    assert made.headers_for("https://example.org/chat/x") == {}
    assert made.headers_for("https://a.chat.example.org/chat/x") == {}


def test_ports_are_other_origins() -> None:
    """A cookie for one port of this machine is not sent to another port, although a browser would send it."""
    made = Credentials(cookies={"hf-chat": Secret("c")}, chat_url="http://localhost:3000")
    assert made.headers_for("http://localhost:3000/api")
    for url in (
        "http://localhost:3001/api",
        "http://localhost/api",
        "http://127.0.0.1:3000/api",
        "https://localhost:3000/",
    ):
        assert made.headers_for(url) == {}


@pytest.mark.parametrize("value", ["x" * 10_000, "a\0b", "a\x1bb", "a\tb\x7f"])
def test_cookies_that_headers_cannot_carry(value: str) -> None:
    """A cookie that is too long, or would make all further requests invalid, is not stored."""
    made = Credentials(cookies={"hf-chat": Secret("mine")}, chat_url="https://chat.example/chat")
    made.keep_cookies("https://chat.example/chat/x", [f"hf-chat={value}", *(f"c{n}=1" for n in range(100))])
    assert made.cookies()["hf-chat"].reveal() == "mine"
    assert len(made.cookies()) <= 20


# Parts of requests


@pytest.mark.parametrize("token", ["hf_a\r\nX-Evil: 1", "hf_a b", "hf_a\x00b", "hf_a\x0bb", "hf_\u00e9", "hf_a\x7f"])
def test_invalid_tokens(token: str) -> None:
    """A token with a line break or another character that ends a header is refused and not shown."""
    with pytest.raises(CredentialsError) as caught:
        Client("http://127.0.0.1:1", token=token, cookies="")
    assert token not in str(caught.value)


@pytest.mark.parametrize("text", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"])
def test_invalid_header_values(transport_name: str, server: Server, text: str) -> None:
    """Any other header value with a line break is refused: nothing is sent."""
    server.on("*", plain(b""))
    client = Client(server.url, token="", cookies="", transport=make_transport(transport_name), headers={"X-A": text})
    with pytest.raises(InvalidInputError, match="characters that HTTP forbids") as caught:
        client.models.list()
    client.close()
    assert "Evil" not in str(caught.value)
    assert server.requests == []
    with pytest.raises(HFClientError):
        Client(server.url, token="", cookies={"a": text})
    if "\0" not in text:
        with pytest.raises(InvalidInputError):
            McpServer("https://tool.example", {"X-A": text})
    with pytest.raises(InvalidInputError):
        Client(server.url, token="", cookies="", headers={"Cookie": "a=b"})


@pytest.mark.parametrize("name", ['a"; filename="b', 'a"\r\n\r\nevil', "a\nb", 'x\r\nContent-Type: text/html\r\n\r\n"'])
def test_names_in_a_form(name: str) -> None:
    """A file's name cannot end its header in a form."""
    form = Multipart((Part(name="files", content=b"x", filename=name, content_type=f"text/plain{name}"),))
    sent = b"".join(form)
    lines = sent.split(b"\r\n")
    assert lines[0] == b"--" + form.boundary.encode()
    assert lines[1].startswith(b'Content-Disposition: form-data; name="files"; filename="')
    assert lines[1].count(b'"') == 4
    assert lines[2].startswith(b"Content-Type: text/plain")
    assert lines[3:5] == [b"", b"x"]


NAMES = ["..", ".", "../x", "a/../b", "x?y=1", "x#y", "%2e%2e", "%2f..%2f", "a b", "é", "\r\nX: 1", "\\..\\"]


def test_ids_in_paths(transport_name: str, server: Server) -> None:
    """A name that becomes part of a path stays below that path, or is refused before a request."""
    server.on("*", json_answer({"json": {"error": "no"}}, 404))
    client = Client(
        f"{server.url}/chat",
        token="hf_x",
        cookies={"hf-chat": "c"},
        transport=make_transport(transport_name),
        inference_url=f"{server.url}/v1",
        hub_url=server.url,
    )
    session, endpoints = client._chat.session, client._chat.endpoints
    calls: dict[str, Callable[[str], object]] = {
        "/chat/api/v2/models/": lambda name: session.send(endpoints.model(name)),
        f"/chat/api/v2/conversations/{ID}/message/": lambda name: session.send(endpoints.delete_message(ID, name)),
        f"/chat/conversation/{ID}/output/": lambda name: client.conversation(ID).read_file(name),
        "/chat/api/v2/conversations/": lambda name: client.conversation(name).messages(),
        "/chat/conversation/": lambda name: session.send(endpoints.share(name)),
        "/chat/api/assistant/": lambda name: session.send(assistant(endpoints, name)),
        "/api/models/": client.inference.model,
        "/models/": lambda name: client.inference.image("x", model=name, provider="hf-inference"),
    }
    around = {"/chat/api/v2/feature-flags", "/chat/api/v2/user", "/chat/__data.json", "/chat/api/models", "/api/models"}
    for (below, call), name in itertools.product(calls.items(), NAMES):
        server.requests.clear()
        with contextlib.suppress(HFClientError):
            call(name)
        for request in (request for request in server.requests if request.path not in around):
            assert request.path.startswith(below), (below, request)
            rest = request.path.removeprefix(below).split("/")
            assert not {"", ".", ".."} & {part.lower().replace("%2e", ".") for part in rest}, request
            assert "x" not in request.headers
            assert set(request.query) <= {"expand[]"}
    client.close()


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/api/models/../../x",
        "https://evil.example/other",
        "//evil.example/other",
        "http://[/",
        "\\\\evil.example\\x",
    ],
)
def test_links_to_the_next_page(link: str) -> None:
    """A Link header can only name another page of the same list."""
    with pytest.raises(ProtocolError):
        next_page([f'<{link}>; rel="next"'], "https://hub.example/api/models?limit=1")


@pytest.mark.parametrize(
    ("link", "page"),
    [
        ("https://evil.example/api/models?cursor=x", "https://hub.example/api/models?cursor=x"),
        ("https://hub.example@evil.example/api/models?c=1", "https://hub.example/api/models?c=1"),
    ],
)
def test_links_of_a_mirror(link: str, page: str) -> None:
    """Of a link to another host, only the query is used."""
    assert next_page([f'<{link}>; rel="next"'], "https://hub.example/api/models?limit=1") == page


@pytest.mark.parametrize(
    "link", ["https://evil.example/jobs/1", "//evil.example/jobs/1", "/jobs/1", "https://a@evil.example/jobs/1"]
)
def test_links_to_a_job(link: str) -> None:
    """Of a provider's link to a job, only the path is used: the host stays that of the submission."""
    assert origin_of(Target("https://router.example/fal").resolve_link(link)) == "https://router.example"


@pytest.mark.parametrize(
    "link", ["../../x", "https://h/a/../../x", "https://h/%2e%2e/x", "https://h/a\\..\\x", None, 5, "", "x"]
)
def test_links_with_dots(link: object) -> None:
    """A path that leaves the provider's part is refused."""
    with pytest.raises(ProtocolError):
        Target("https://router.example/fal").resolve_link(link)
