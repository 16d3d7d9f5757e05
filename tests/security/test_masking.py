"""A server that repeats a secret: errors and logs have stars in its place, for all encodings."""

from __future__ import annotations

import base64
import html
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from hfclient import Client, HFClientError, McpServer, Retry, events
from hfclient.chat.wire.tools import mcp_fields
from hfclient.chat.wire.update_events import parse_update
from hfclient.credentials import Credentials, Secret
from hfclient.decoding.frames import excerpt
from hfclient.redaction.masking import _Memory, masked
from tests.server import Server, chunked, head, json_answer, plain

ID = "65a000000000000000000001"
TOKEN, COOKIE, PASSWORD, HEADER, KEY, TOOL, ROTATED = (
    f"{kind}_" + "Zx9/+=&\"'<"[: 9 if kind in ("tk", "ky") else 6] + "8" * 12
    for kind in ("tk", "ck", "pw", "hd", "ky", "tl", "rt")
)
TOKEN, KEY, COOKIE, ROTATED = (
    text.translate(str.maketrans("", "", "\"'<=&")) for text in (TOKEN, KEY, COOKIE, ROTATED)
)
SECRETS = {"token": TOKEN, "cookie": COOKIE, "password": PASSWORD, "header": HEADER, "key": KEY, "tool": TOOL}


def _client(server: Server, transport_name: str = "plain", **options: Any) -> Client:
    return Client(
        server.url.replace("//", f"//user:{quote(PASSWORD, safe='')}@") + "/chat",
        transport={"plain": "requests", "impersonate": "curl_cffi"}[transport_name],
        inference_url=server.url + "/v1",
        hub_url=server.url,
        **{
            "token": TOKEN,
            "cookies": {"hf-chat": COOKIE},
            "headers": {"X-Api-Key": HEADER},
            "retry": Retry(attempts=1, resume=0),
            **options,
        },
    )


NET = {ch: f"\\u{ord(ch):04X}" for ch in "\"&'+<>`"}
MUSTACHE = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "/": "&#x2F;", "`": "&#x60;", "=": "&#x3D;"}
WRITTEN: dict[str, Callable[[str], bytes]] = {
    "in JSON": lambda s: json_answer({"error": {"message": f"bad key: {s}", "code": s, "param": s}}, 401),
    "in JSON with slashes escaped": lambda s: plain(
        json.dumps({"message": f"bad key: {s}"}).replace("/", "\\/"), 401, "Content-Type: application/json"
    ),
    "in JSON inside of JSON": lambda s: json_answer({"message": "upstream said " + json.dumps({"got": s})}, 500),
    "in a URL": lambda s: json_answer({"detail": f"/login?next={quote(s, safe='')} and {quote_plus(s).lower()}"}, 403),
    "in small percent escapes": lambda s: plain(
        "".join(f"%{ord(ch):02x}" if not ch.isalnum() and ch not in "_.-~" else ch for ch in s), 400
    ),
    "as Go writes JSON": lambda s: plain(
        json.dumps({"message": f"bad: {s}"}).replace("&", "\\u0026").replace("<", "\\u003c"), 400, "Content-Type: text/plain"
    ),
    "as Go writes pages": lambda s: plain(
        f"<title>{html.escape(s).replace('&quot;', '&#34;').replace('&#x27;', '&#39;').replace('+', '&#43;')}</title>", 502
    ),
    "as .NET writes JSON": lambda s: plain("bad: " + "".join(NET.get(ch, ch) for ch in s), 400),
    "as Mustache writes pages": lambda s: plain(
        "<title>" + "".join(MUSTACHE.get(ch, ch) for ch in s) + "</title>", 502
    ),
    "base64 of a line": lambda s: json_answer({"error": base64.b64encode(f"X-Key:  {s}\r\n".encode()).decode()}, 422),
    "base64 of a name and it": lambda s: json_answer({"error": base64.urlsafe_b64encode(f"user:{s}".encode()).decode()}, 422),
    "without its end": lambda s: json_answer({"error": {"message": f"key '{s[:-4]}...' is unknown"}}, 401),
    "percent-encoded twice": lambda s: json_answer({"detail": quote(quote(s, safe=""), safe="")}, 403),
    "in text": lambda s: plain(f"no: {s}", 400),
    "in a page": lambda s: plain(
        f"<title>{html.escape(s)}</title><p>{s}</p>{html.escape(s)}", 502, "Content-Type: text/html"
    ),
    "in base64": lambda s: json_answer({"error": base64.b64encode(s.encode()).decode()}, 422),
    "in headers": lambda s: plain("", 400, f"X-Request-Id: {s}", f"X-Error-Message: no {s}", f"X-Error-Code: {s}"),
    "in a redirect": lambda s: head(302, f"Location: /{quote(s, safe='')}/login?k={s}", "Content-Length: 0"),
    "in a redirect elsewhere": lambda s: head(302, f"Location: https://{s[:2]}.example/{s}", "Content-Length: 0"),
    "cut off": lambda s: plain("x" * (1990 - len(s)) + s + s * 9, 500),
    "instead of JSON": lambda s: plain(f"Authorization: {s} is invalid", 200),
}


@pytest.mark.parametrize("secret", ["token", "cookie", "password", "header"])
@pytest.mark.parametrize("way", WRITTEN)
def test_repeated_secrets(server: Server, transport_name: str, caplog: pytest.LogCaptureFixture, way: str, secret: str) -> None:
    """No encoding of a secret gets into an error, its dict, its pickle, a traceback or the log."""
    value = SECRETS[secret]
    server.on("*", WRITTEN[way](value))
    client = _client(server, transport_name)
    calls: list[Callable[[], object]] = [client.models.list, client.inference.models]
    with caplog.at_level(logging.DEBUG, "hfclient"):
        for call in calls:
            with pytest.raises(HFClientError) as caught:
                call()
            _holds_none(caught.value, value)
    _is_clean(caplog.text, value)


def _holds_none(error: HFClientError, secret: str) -> None:
    shown = [str(error), repr(error), json.dumps(error.to_dict()), repr(vars(pickle.loads(pickle.dumps(error))))]
    shown += [str(getattr(error, name, "")) for name in ("message", "body", "frame", "code", "request_id", "url")]
    for text in (*shown, "".join(traceback.format_exception(error))):
        _is_clean(text, secret)


def _is_clean(text: str, secret: str) -> None:
    forms = (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote_plus(secret), html.escape(secret))
    for form in (*forms, base64.b64encode(secret.encode()).decode().rstrip("=")):
        assert form not in text
        assert form[:16] not in text


def test_basic_auth_header(server: Server) -> None:
    """The header with a user name and a password is masked, and so is the pair with a colon."""
    basic = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    server.on("*", json_answer({"message": f"got Basic {basic}, user:{PASSWORD}"}, 403))
    with pytest.raises(HFClientError) as caught:
        _client(server, token="", cookies="").models.list()
    assert str(caught.value).startswith("got ***, user:*** (")


def test_a_rotated_cookie(server: Server) -> None:
    """A cookie that the server has set is masked like the previous one."""
    server.on("*", json_answer({"message": ROTATED}, 500))
    server.on("/chat/api/v2/models", plain(b'{"json": []}', 200, f"Set-Cookie: hf-chat={ROTATED}; Path=/"))
    client = _client(server)
    client.models.list()
    with pytest.raises(HFClientError) as caught:
        client.conversations.list()
    _holds_none(caught.value, ROTATED)
    assert "***" in str(caught.value)


def test_a_providers_key(server: Server) -> None:
    """The key of a provider is masked in the provider's messages."""
    server.on("*", json_answer({"error": f"Incorrect API key provided: {KEY}."}, 401))
    client = _client(server, provider_keys={"together": KEY})
    credentials = Credentials().with_keys({server.url: Secret(f"Bearer {KEY}")})
    inference = client.inference.__class__(client._session.with_credentials(credentials), base_url=server.url + "/v1")
    with pytest.raises(HFClientError, match=r"Incorrect API key provided: \*\*\*\.") as caught:
        inference.chat("hi", model="m").result()
    _holds_none(caught.value, KEY)


def test_a_servers_key(server: Server) -> None:
    """The key of an inference server is masked in the server's messages, and the client does not show it."""
    server.on("*", json_answer({"error": f"Incorrect API key provided: {KEY}."}, 401))
    client = Client(server.url, token="", cookies="", inference_url=server.url + "/v1", inference_key=KEY)
    with pytest.raises(HFClientError, match=r"Incorrect API key provided: \*\*\*\.") as caught:
        client.inference.chat("hi", model="m").result()
    _holds_none(caught.value, KEY)
    assert KEY not in f"{client!r} {client.inference!r} {client._session.credentials!r}"


def test_inside_of_streams(server: Server, transport_name: str) -> None:
    """An error in the middle of an answer is masked; the text of the answer is unchanged."""
    update = json.dumps({"type": "status", "status": "error", "message": f"provider refused {TOOL} and {TOKEN}"})
    told = json.dumps({"type": "tool", "subtype": "error", "uuid": "u", "message": f"401 for Bearer {TOOL}"})
    token = json.dumps({"type": "stream", "token": f"you said {COOKIE}"})
    server.on(f"/chat/conversation/{ID}", chunked(f"{told}\n{token}\n".encode(), f"{update}\n".encode()))
    server.on(
        "/chat/api/v2/feature-flags", json_answer({"json": {"loginEnabled": True, "transcriptionEnabled": False}})
    )
    root = {"id": ID, "from": "system", "content": "", "children": []}
    state = {"id": ID, "title": "t", "model": "m", "messages": [root], "rootMessageId": ID}
    server.on(f"/chat/api/v2/conversations/{ID}", json_answer({"json": state}))
    client = _client(server, transport_name)
    stream = client.conversation(ID).send(
        "hi", mcp=[McpServer("https://tool.example", {"Authorization": f"Bearer {TOOL}"})]
    )
    found: list[object] = []
    with pytest.raises(HFClientError) as caught:
        found.extend(stream)
    _holds_none(caught.value, TOOL)
    assert found[0] == events.ToolError("u", "401 for ***")
    assert caught.value.partial is not None
    assert caught.value.partial.text == f"you said {COOKIE}"
    line = json.dumps({"error": {"message": f"no credit for {TOKEN}", "type": TOKEN}})
    content = json.dumps({"choices": [{"index": 0, "delta": {"content": "a"}}]})
    server.on("/v1/chat/completions", chunked(f"data: {content}\n\n".encode(), f"data: {line}\n\n".encode()))
    with pytest.raises(HFClientError) as caught:
        client.inference.chat("hi", model="m").result()
    _holds_none(caught.value, TOKEN)


def test_the_address_of_a_tool() -> None:
    """A token in the URL of an MCP server is masked like one in its headers."""
    mcp_fields([McpServer("https://us:s3same-open@tool.example/mcp?api_key=k3y-of-the-tool&mode=fast#x")])
    assert masked("https://tool.example?api_key=k3y-of-the-tool&mode=fast s3same-open") == (
        "https://tool.example?api_key=***&mode=fast ***"
    )


def test_headers_of_a_tool_that_are_not_secret() -> None:
    """Media types, models and names in the headers of an MCP server stay readable, also in a process that unpickles them."""
    headers = {"Accept": "application/json, text/event-stream", "X-Model": "org/Llama-3.3-70B-Instruct", "X-Key": "t00l-k3y"}
    tool = pickle.loads(pickle.dumps(McpServer("https://tool.example/mcp", headers)))
    mcp_fields([tool])
    assert "application" not in repr(tool)
    text = "application/json, text/event-stream of org/Llama-3.3-70B-Instruct"
    assert masked(f"{text}: t00l-k3y") == f"{text}: ***"


def test_a_tool_error() -> None:
    """The text of a tool's error is masked; the result of a tool is content and is not."""
    Secret(f"Bearer {TOOL}")
    failed = parse_update({"type": "tool", "subtype": "error", "uuid": "u", "message": f"got {TOOL}"})
    assert failed == events.ToolError("u", "got ***")


def test_short_secrets_and_words() -> None:
    """A secret that is short or an ordinary word is not masked within other words."""
    for value in ("me", "abc", "default", "Bearer x", "expired", "http://", "s3cret", "https://proxy.example:8080"):
        Secret(value)
    text = "me and abc: the default has expired at http://proxy.example:8080 (xs3cretx)"
    assert masked(text) == text
    assert masked("with s3cret, Bearer x") == "with ***, ***"


NAMES = {
    "X-Model": "meta-llama/Llama-3.3-70B-Instruct",
    "Api-Version": "2024-08-01-preview",
    "X-Request-Id": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
    "OpenAI-Organization": "org-abc123def456ghij",
}


def test_headers_that_are_not_secret(server: Server) -> None:
    """A caller's header is a secret if its name suggests it or its value looks random."""
    server.on("*", json_answer({"message": f"acme-eu: acme-eu-0a1b2c3d4e5f production en-US 0123abcd {' '.join(NAMES.values())}"}, 500))
    headers = {"X-Tenant": "production", "Accept-Language": "en-US", "X-Zone": "acme-eu", "X-Pass": "0123abcd"}
    with pytest.raises(HFClientError) as caught:
        _client(server, headers={**headers, "X-Account": "acme-eu-0a1b2c3d4e5f", **NAMES}).models.list()
    assert caught.value.message == f"acme-eu: *** production en-US *** {' '.join(NAMES.values())}"


def test_many_secrets() -> None:
    """The newest thousand secrets are masked, at the cost of the new ones only; of long secrets the start, too."""
    mine = _Memory()
    indexes = []
    for number in range(5000):
        mine.add(f"Bearer shared-start-{number:08}")
        index = mine.index()
        if index not in indexes[-1:]:
            indexes.append(index)
        if number % 500 == 0:
            for known in range(max(0, number - 900), number + 1, 97):
                text = f"Bearer shared-start-{known:08}!"
                assert index.end_of_secret(text, 0, index.groups["Bearer"]) == len(text) - 1
    assert len(indexes) == 5
    assert max(sum(map(len, index.groups.values())) for index in indexes) < 100_000


def test_a_document_that_is_not_an_answer(server: Server) -> None:
    """JSON that is not a chat completion is on the error as text, with secrets masked, and not in a partial answer."""
    server.on("*", json_answer({"note": f"you sent {TOKEN}", "result": ["what was paid for"]}))
    client = _client(server)
    for call in (client.inference.chat, client.inference.text):
        with pytest.raises(HFClientError) as caught:
            call("hi", model="m").result()
        _holds_none(caught.value, TOKEN)
        assert "what was paid for" in str(caught.value.body)


def test_long_lived_clients(server: Server, transport_name: str) -> None:
    """The credentials of a client are masked, however many other secrets the process has seen since."""
    value = "long-l1ved-s3cret-0123456789"
    server.on("*", json_answer({"message": f"no: {value}, {PASSWORD}"}, 403))
    tool = McpServer("https://tool.example/mcp", {"X-Key": value + "-t00l"})
    ways: list[dict[str, Any]] = [{"cookies": {"hf-chat": value}}, {"headers": {"X-Api-Key": value}}]
    clients = [_client(server, transport_name, **{"token": "", "cookies": "", "headers": {}, **way}) for way in ways]
    for client in clients:
        for number in range(1200):
            Secret(f"Bearer another-{number:08}")
        with pytest.raises(HFClientError, match=r"no: \*\*\*, \*\*\*") as caught:
            client.models.list()
        _holds_none(caught.value, value)
        _holds_none(caught.value, PASSWORD)
    mcp_fields([tool])
    assert masked(f"{value}-t00l") == "***"


def test_secrets_with_the_same_start() -> None:
    """The longest matching secret is masked; a neighbor in the sorted index does not hide it."""
    for value in ("Zq7-begins", "Zq7-begins-and-goes-on-0123456789", "Zq7-begins-and-goes-up", "Zq7-beginsX"):
        Secret(value)
    assert masked("(Zq7-begins-zzz) Zq7-begins-and-goes-up. Zq7-begins-and-goes-on-01234-other") == "(***-zzz) ***. ***-other"


def test_proxies(server: Server, monkeypatch: pytest.MonkeyPatch, transport_name: str) -> None:
    """The password of a proxy is masked, from an argument and from the environment."""
    basic = base64.b64encode(b"us:pr0xy-p4ssword").decode()
    server.on("*", json_answer({"error": f"pr0xy-p4ssword and {basic}"}, 403))
    proxy = server.url.replace("//", "//us:pr0xy-p4ssword@")
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("http_proxy", proxy)
    transport: Any = {"plain": "requests", "impersonate": "curl_cffi"}[transport_name]
    for options in ({"proxy": proxy}, {}):
        client = Client(
            "http://chat.example", token="", cookies="", transport=transport, retry=Retry(attempts=1, resume=0), **options
        )
        with pytest.raises(HFClientError) as caught:
            client.models.list()
        assert "***" in str(caught.value)
        for text in ("pr0xy-p4ssword", basic):
            assert text not in str(caught.value) + str(caught.value.to_dict())


def test_hosts_in_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch, transport_name: str) -> None:
    """Hosts of NO_PROXY and proxies without a scheme are not secrets: errors name them."""
    proxy = server.url.partition("//")[2]
    server.on("*", json_answer({"error": f"no way from the proxy {proxy} to chat.example, nor to other-host.example"}, 403))
    for name, value in (("HTTP_PROXY", proxy), ("NO_PROXY", "other-host.example")):
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)
    transport: Any = {"plain": "requests", "impersonate": "curl_cffi"}[transport_name]
    for options in ({"proxy": proxy}, {}):
        client = Client("http://chat.example", token="", cookies="", transport=transport, retry=Retry(attempts=1), **options)
        with pytest.raises(HFClientError) as caught:
            client.models.list()
        assert "***" not in str(caught.value)


def test_excerpts() -> None:
    """The shown start of an answer is masked before it is cut."""
    Secret("tok_" + "q1w2" * 20)
    assert "q1w2" not in excerpt(b"x" * 190 + b"tok_" + b"q1w2" * 20)


@pytest.mark.parametrize("moment", ["models", "begin", "middle"])
def test_an_upstream_of_the_embedded_server(server: Server, moment: str) -> None:
    """Errors of an upstream that the embedded server passes on do not have the upstream's key."""
    pytest.importorskip("waitress", reason="the embedded server needs the extra: local")
    from hfclient.local import LocalServer

    echo = json_answer({"error": {"message": f"Received API Key = {KEY}"}}, 401)
    piece = json.dumps({"choices": [{"index": 0, "delta": {"content": "half"}}]})
    failure = json.dumps({"error": {"message": f"Received API Key = {KEY}", "code": 500}})
    server.on("/v1/models", echo if moment == "models" else json_answer({"data": [{"id": "m"}]}))
    server.on(
        "/v1/chat/completions",
        echo
        if moment == "begin"
        else chunked(f"data: {piece}\n\ndata: {failure}\n\n".encode(), headers=["Content-Type: text/event-stream"]),
    )
    with LocalServer(upstream=server.url, api_key=KEY) as local:
        client = Client(local.url, cookies="hf-chat=another-user", token="", retry=Retry(attempts=1))
        with pytest.raises(HFClientError) as caught:
            client.chat("hi").result()
        _holds_none(caught.value, KEY)
        assert "***" in str(caught.value)
