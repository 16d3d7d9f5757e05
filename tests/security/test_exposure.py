"""Programs, logs, debuggers and crash reporters show no secrets of hfclient's objects."""

from __future__ import annotations

import functools
import json
import logging
import pickle
import pprint
import traceback
import types
import warnings
from collections.abc import Callable
from http.cookiejar import Cookie, CookieJar
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, Limits, McpServer, Retry, Timeouts
from hfclient.credentials import Credentials, LoginStore, SavedLogin, Secret, parse_cookies
from hfclient.errors import HFClientError, InvalidInputError
from hfclient.transport import Request
from tests.conftest import make_transport
from tests.server import CLOSE, RST, UNTIL_GONE, Server, chunk, head, json_answer, plain
from tests.wire.helpers import PATIENT

# Concatenated, because a traceback quotes the lines of this file.
TOKEN, COOKIE, PROXY, BASIC, HEADER, KEY, TOOL = (
    f"{kind}-is-{'secret'}" for kind in ("tk", "ck", "px", "ba", "hd", "ky", "tl")
)
SECRETS = (TOKEN, COOKIE, PROXY, BASIC, HEADER, KEY, TOOL)
ID = "65a000000000000000000001"
ROOT = "11111111-1111-4111-8111-111111111111"


def _client(server: Server, name: str, **options: Any) -> Client:
    url = server.url.replace("//", f"//user:{BASIC}@")
    return Client(
        f"{url}/chat",
        token=TOKEN,
        cookies={"hf-chat": COOKIE},
        transport={"plain": "requests", "impersonate": "curl_cffi"}[name],
        inference_url=f"{url}/v1",
        hub_url=url,
        headers={"X-Key": HEADER},
        provider_keys={"together": KEY},
        **{"timeouts": PATIENT, "retry": Retry(attempts=1, resume=0), **options},
    )


def _is_clean(shown: str, what: str = "") -> None:
    for secret in SECRETS:
        assert secret not in shown, f"{secret} is in {what} {shown[:3000]}"


def _check_error(error: BaseException) -> None:
    """Check all objects reachable from an error: texts, attributes, causes, contexts, and the frames of its traceback."""
    _is_clean("".join(traceback.format_exception(error)), "the traceback")
    _is_clean(repr(pickle.dumps(error)), "the pickle")
    queue: list[Any] = [error]
    seen: set[int] = set()
    while queue:
        item = queue.pop()
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        _is_clean(f"{item} {item!r} {item.args!r} {vars(item)!r}", type(item).__name__)
        for name in ("request", "response"):
            assert getattr(item, name, None) is None, f"{item!r} keeps a {name}"
        queue += [item.__cause__, item.__context__, *item.args, *vars(item).values()]
        for frame, _ in traceback.walk_tb(item.__traceback__):
            if Path(frame.f_code.co_filename) != Path(__file__):
                _check_frame(frame)


def _check_frame(frame: types.FrameType) -> None:
    """Show local values as crash reporters do: containers with their content, other objects by repr."""
    for name, value in frame.f_locals.items():
        where = f"{frame.f_code.co_filename}:{frame.f_lineno} {name} ="
        _is_clean(repr(value), where)
        _is_clean(pprint.pformat(value), where)
        if name == "self" and type(value).__module__.startswith("hfclient"):
            _check_object(value)


def _check_object(value: object, depth: int = 3) -> None:
    """Show what ``vars`` and inspectors show: attributes, and those of attributes of hfclient."""
    fields = getattr(value, "__dict__", None) or {
        name: getattr(value, name, None)
        for cls in type(value).__mro__
        for name in getattr(cls, "__slots__", ())
        if name[0] != "_"
    }
    for name, item in dict(fields).items():
        _is_clean(pprint.pformat(item), f"{type(value).__name__}.{name}")
        if depth and type(item).__module__.startswith("hfclient"):
            _check_object(item, depth - 1)


SCRIPTS: dict[str, Any] = {
    "refused": plain(b'{"error": "no"}', 403),
    "login page": head(302, f"Location: https://user:{BASIC}@login.example/?code={KEY}", "Content-Length: 0"),
    "reset": [RST],
    "closed": [CLOSE],
    "stalled": [UNTIL_GONE],
    "no HTTP": [b"garbage\r\n\r\n", CLOSE],
    "cut": [head(200, "Content-Length: 100"), b'{"json"', CLOSE],
    "broken chunk": [head(200, "Transfer-Encoding: chunked"), chunk(b"[") + b"zzz\r\n", CLOSE],
    "broken gzip": plain(b"no gzip", 200, "Content-Encoding: gzip"),
    "a page": plain("<html>no</html>", 200, "Content-Type: text/html"),
    "too long": [head(200, "Content-Length: 4000000000"), UNTIL_GONE],
    "large head": [head(200, "X: " + "y" * 400_000), CLOSE],
    "cookies": plain(b"{}", 200, f"Set-Cookie: hf-chat={COOKIE}-2", f"Set-Cookie: b={COOKIE}-3"),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_failures(transport_name: str, server: Server, caplog: pytest.LogCaptureFixture, script: str) -> None:
    """No failure leaves a secret in the error, in the objects reachable from it, or in the log."""
    server.on("*", SCRIPTS[script])
    stalls = script in ("stalled", "too long")
    client = _client(server, transport_name, timeouts=Timeouts(idle=0.1, first_token=0.1, total=0.5) if stalls else PATIENT)
    conversation = client.conversation(ID)
    calls: list[Callable[[], object]] = [
        client.whoami,
        lambda: conversation.send("hi", mcp=[McpServer("https://tool.example", {"Authorization": TOOL})]).result(),
        lambda: client.inference.chat("hi", model="m").result(),
        lambda: client.inference.image("a fox", model="m", provider="hf-inference"),
        lambda: client.inference.model("org/name"),
    ]
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for call in calls:
            try:
                call()
            except HFClientError as error:
                _check_error(error)
            else:
                assert script in ("cookies", "login page")  # which has no user
    _check_object(client, depth=5)
    client.close()
    for record in caplog.records:
        _is_clean(f"{record.name} {record.getMessage()} {record.args!r} {record.exc_info}", "the log")
    _is_clean(str([str(warning.message) for warning in warned]), "a warning")


@pytest.mark.parametrize("proxied", [False, True])
def test_nothing_listens(transport_name: str, caplog: pytest.LogCaptureFixture, proxied: bool) -> None:
    """The same without a server: a port without a listener, a proxy that is down."""
    proxy = f"http://user:{PROXY}@127.0.0.1:1" if proxied else None
    client = Client(
        f"http://user:{BASIC}@127.0.0.1:1/chat",
        token=TOKEN,
        cookies={"hf-chat": COOKIE},
        transport={"plain": "requests", "impersonate": "curl_cffi"}[transport_name],
        proxy=proxy,
        headers={"X-Key": HEADER},
        retry=Retry(attempts=1, resume=0),
    )
    with caplog.at_level(logging.DEBUG), pytest.raises(HFClientError) as caught:
        client.whoami()
    _check_error(caught.value)
    _check_object(client, depth=5)
    client.close()
    for record in caplog.records:
        _is_clean(f"{record.getMessage()} {record.args!r}", "the log")


def _jar() -> CookieJar:
    jar = CookieJar()
    for name, value in (("hf-chat", COOKIE + "\x01"), ("b", COOKIE)):
        jar.set_cookie(
            Cookie(0, name, value, None, False, "a.example", True, False, "/", True, False, None, False, None, None, {})
        )
    return jar


WRONG: dict[str, dict[str, Any]] = {
    "a token with a space": {"token": f"{TOKEN} x"},
    "a token with a letter": {"token": f"{TOKEN}é"},
    "cookies of control characters": {"cookies": {"hf-chat": COOKIE + "\x01"}},
    "a header with a bad name": {"cookies": f"{COOKIE} x y={COOKIE}; z"},
    "a header with a bad value": {"cookies": f"a={COOKIE}\x7f"},
    "a cut export": {"cookies": '[{"name": "a", "value": "' + COOKIE},
    "an export of another site": {"cookies": f"# Netscape\nx.example\tTRUE\t/\tTRUE\t0\thf-chat\t{COOKIE}\n"},
    "a jar": {"cookies": _jar()},
    "no such file": {"cookies": Path("/nonexistent") / "cookies.txt"},
    "a token for a cookie": {"cookies": "hf_" + TOKEN.replace("-", "") + "0" * 20},
    "another header": {"headers": {"X-Key": HEADER, "Cookie": COOKIE}},
    "a token in bytes": {"token": TOKEN.encode()},
    "a header in bytes": {"headers": {"X-Key": HEADER.encode()}},
    "a proxy that is none": {"proxy": {"https": f"http://u:{PROXY}@h"}},
    "keys without names": {"provider_keys": [KEY]},
    "a bad URL": {"base_url": f"http://user:{BASIC}@a:b:c/"},
    "a bad port": {"base_url": f"http://user:{BASIC}@h:{BASIC}/"},
    "a bad scheme": {"base_url": f"ftp://user:{BASIC}@h/"},
    "a bad inference URL": {"inference_url": f"http://user:{BASIC}@[::1/"},
    "a bad key": {"provider_keys": {"together": f"{KEY} x"}},
    "a bad key of the server": {"inference_url": "http://a.example/v1", "inference_key": f"{KEY} x"},
    "a server's key for Hugging Face": {"inference_key": KEY},
    "a server's key in bytes": {"inference_key": KEY.encode()},
    "a key of an unknown provider": {"provider_keys": {"unknown": KEY}},
    "a bad transport": {"transport": "pigeon", "proxy": f"http://u:{PROXY}@h"},
    "a bad browser": {"impersonate": "lynx", "proxy": f"http://u:{PROXY}@h"},
}


@pytest.mark.parametrize("what", WRONG)
def test_invalid_arguments(what: str) -> None:
    """A client that cannot be created says why; neither the message nor the frames show the arguments."""
    options: dict[str, Any] = {
        "base_url": "https://a.example/chat",
        "token": TOKEN,
        "cookies": {"hf-chat": COOKIE},
        "headers": {"X-Key": HEADER},
        "provider_keys": {"together": KEY},
    }
    with pytest.raises(HFClientError) as caught:
        Client(**{**options, **WRONG[what]})
    _check_error(caught.value)


def test_objects(server: Server, transport_name: str) -> None:
    """Prompts, notebooks and inspectors show no secret of hfclient's objects; neither do strings of them."""
    client = _client(server, transport_name, proxy=None)
    credentials = client._session.credentials
    request = Request(method="GET", url=server.url, headers={"Authorization": TOKEN})
    login = SavedLogin({"hf-chat": Secret(COOKIE)}, "u1")
    tool = McpServer("https://tool.example", {"Authorization": TOOL})
    transport = make_transport(transport_name, proxy=f"http://user:{PROXY}@h:1")
    for value in (
        client,
        client.inference,
        client._session,
        credentials,
        request,
        login,
        tool,
        transport,
        client.conversation(ID),
    ):
        for text in (repr(value), str(value), f"{value}", pprint.pformat(value)):
            _is_clean(text, type(value).__name__)
        if value is not request:  # the caller has set it there
            _check_object(value, depth=5)
    secret = Secret(TOKEN)
    for text in (repr(secret), str(secret), f"{secret}", f"{secret:>50}", "%s" % secret, "%r" % secret, repr([secret])):  # noqa: UP031
        _is_clean(text)
    assert Secret(secret).reveal() == secret.reveal() == TOKEN
    client.close()
    transport.close()


def test_answers(server: Server, transport_name: str) -> None:
    """Events, replies, conversations and their stored states have no credentials of the client."""
    server.on("/chat/api/v2/models", json_answer({"json": [{"id": "m", "name": "m"}]}))
    server.on("/chat/conversation", json_answer({"conversationId": ID}))
    server.on(
        "/chat/api/v2/feature-flags", json_answer({"json": {"loginEnabled": True, "transcriptionEnabled": False}})
    )
    message = {"id": ROOT, "from": "system", "content": "", "children": []}
    state = {"id": ID, "title": "t", "model": "m", "messages": [message], "rootMessageId": ROOT}
    server.on(f"/chat/api/v2/conversations/{ID}", json_answer({"json": state}))
    lines = [
        {"type": "stream", "token": "hi"},
        {"type": "file", "name": "a.png", "sha": "abc", "mime": "image/png"},
        {"type": "finalAnswer", "text": "hi", "interrupted": False},
        {"type": "status", "status": "finished"},
    ]
    server.on(f"/chat/conversation/{ID}", plain("\n".join(map(json.dumps, lines)) + "\n"))
    server.on(f"/chat/conversation/{ID}/share", json_answer({"shareId": "abc1234", "url": None}))
    client = _client(server, transport_name)
    stream = client.chat("hi", model="m", mcp=[McpServer("https://tool.example", {"Authorization": TOOL})])
    shown = [repr(stream)]
    _check_object(stream, depth=5)
    shown += [f"{event!r} {pickle.dumps(event)!r}" for event in stream]
    assert TOOL.encode() in next(
        request.body for request in server.requests if request.path == f"/chat/conversation/{ID}"
    )
    shown += [repr(stream.result()), str(stream.result().to_dict()), repr(pickle.dumps(stream.result()))]
    shown += [str(stream.conversation.to_dict()), repr(stream.conversation.tree()), repr(stream.conversation.share())]
    for text in shown:
        _is_clean(text)
    client.close()


def test_streams_do_not_pickle(server: Server) -> None:
    """A stream holds a connection and cannot be pickled."""
    server.on("/v1/chat/completions", plain(b"data: [DONE]\n\n", 200, "Content-Type: text/event-stream"))
    client = _client(server, "plain")
    stream = client.inference.chat("hi", model="m")
    with pytest.raises(Exception, match=r"pickle|cannot"):
        pickle.dumps(stream)
    stream.close()
    client.close()


def test_files_of_secrets(tmp_path: Path) -> None:
    """Errors about a file of cookies or logins do not have its content."""
    for name, text in {
        "cookies.json": '[{"name": "hf-chat", "value": "' + COOKIE,
        "cookies.txt": f"# Netscape HTTP Cookie File\n{COOKIE}\n",
        "logins.json": json.dumps({"version": 1, "logins": {"https://a.example": {"cookies": {"hf-chat": [COOKIE]}}}}),
    }.items():
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o600)
        read = LoginStore(path).get if name == "logins.json" else functools.partial(parse_cookies, str(path))
        with pytest.raises(HFClientError) as caught:
            read("https://a.example")
        _is_clean(f"{caught.value} {caught.value!r} {caught.value.to_dict()}")
        _is_clean("".join(traceback.format_exception(caught.value)))


def test_bound_credentials(transport_name: str) -> None:
    """Credentials with a provider's key, or pickled with their client, keep their origins."""
    made = Credentials(
        token=Secret(TOKEN), chat_url=f"https://us:{BASIC}@a.example/chat", cookies={"a": Secret(COOKIE)}
    )
    for one in (made, made.with_keys({"https://p.example": Secret(KEY)}), pickle.loads(pickle.dumps(made))):
        assert one.headers_for("https://a.example/x")["Authorization"].startswith("Basic ")
        assert one.headers_for("https://b.example/x") == {}
        assert one.headers_for("http://a.example/x") == {}
        _is_clean(repr(one))
    with pytest.raises(InvalidInputError):
        made.with_keys({"https://huggingface.co": Secret(KEY)})


def test_limits_and_timeouts_are_values() -> None:
    """Configuration without secrets is shown."""
    assert "67108864" in repr(Limits())
    assert "connect" in repr(Timeouts())
