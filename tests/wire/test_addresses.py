"""An error of a connection names the server: host and port, and the proxy if one is used."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from hfclient import Client, Retry, Timeouts
from hfclient.errors import ConnectError, InvalidInputError, StreamInterrupted, TransportError, TransportTimeout
from hfclient.transport import Clock, Request, Transport
from tests.conftest import make_transport
from tests.server import CLOSE, RST, UNTIL_GONE, Server, chunk, head
from tests.wire.helpers import PATIENT, send, session_for

SECRET = "proxy-secret"


@pytest.fixture
def closed() -> Iterator[int]:
    """A port without a listener."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port with a full queue: new connections wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port
        for one in waiting:
            one.close()


def failed(transport: Transport, url: str, **fields: Any) -> str:
    """The message of the error when reading *url*."""
    with pytest.raises(TransportError) as caught:
        send(transport, url, **fields).read()
    assert str(caught.value) == caught.value.message
    assert caught.value.to_dict()["message"] == caught.value.message
    return str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_refused(transport: Transport, closed: int, scheme: str, host: str) -> None:
    """The connection is refused."""
    assert failed(transport, f"{scheme}://u:{SECRET}@{host}:{closed}/a?q={SECRET}").endswith(f"({host}:{closed})")


def test_unknown_names(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name does not exist; without a port in the URL the error names the default one."""

    def unknown(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert failed(transport, "http://no-such-host.invalid/a").endswith("(no-such-host.invalid:80)")
    assert failed(transport, "https://no-such-host.invalid/a").endswith("(no-such-host.invalid:443)")


def test_tls(transport: Transport) -> None:
    """The certificate is not trusted."""
    with Server(tls=True) as server:
        assert f"127.0.0.1:{server.port}" in failed(transport, f"{server.url}/s")


@pytest.mark.parametrize(
    ("script", "stream"),
    [
        ([CLOSE], False),
        ([RST], False),
        ([b"HTTP/1.1 200 OK\r\nConten", CLOSE], False),
        ([head(200, "Content-Length: 9"), b"half", CLOSE], False),
        ([head(200, "Transfer-Encoding: chunked"), chunk(b"half"), RST], True),
    ],
)
def test_broken_answers(transport: Transport, server: Server, script: list[Any], stream: bool) -> None:
    """The connection breaks before the response, in its headers or in its body."""
    server.on("/s", script)
    assert failed(transport, f"{server.url}/s", stream=stream).endswith(f"(127.0.0.1:{server.port})")


@pytest.mark.parametrize("clock", ["first_token", "idle", "total"])
def test_silence(transport: Transport, server: Server, clock: str) -> None:
    """A deadline passes before or after the headers."""
    timeouts = Timeouts(**{"connect": 4, "first_token": 4, "idle": 4, "total": 8, clock: 0.1})
    stream = clock == "first_token"
    for script in ([UNTIL_GONE], [head(200, "Transfer-Encoding: chunked"), UNTIL_GONE]):
        server.on("/s", script)
        message = failed(transport, f"{server.url}/s", stream=stream, timeouts=timeouts)
        assert message.endswith(f"(Timeouts.{clock}) (127.0.0.1:{server.port})")


@pytest.mark.skipif(sys.platform != "linux", reason="how many connections wait is the system's own affair")
def test_connect_timeouts(transport: Transport, deaf: int) -> None:
    """The connection is not accepted in time."""
    message = failed(transport, f"http://127.0.0.1:{deaf}/s", timeouts=Timeouts(connect=0.1, total=8))
    assert message.endswith(f"(Timeouts.connect) (127.0.0.1:{deaf})")


def test_the_target_of_a_redirect(transport: Transport, server: Server, closed: int) -> None:
    """After a redirect the error names the server that failed."""
    server.on("/s", head(302, f"Location: http://127.0.0.1:{closed}/t", "Content-Length: 0"))
    with pytest.raises(ConnectError) as caught:
        session_for(transport).send(Request.file(f"{server.url}/s", follow_redirects=True, clock=Clock(PATIENT)))
    assert f"127.0.0.1:{closed}" in str(caught.value)
    assert str(server.port) not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxy_form", [f"http://u:{SECRET}@127.0.0.1:{{}}", f"u:{SECRET}@127.0.0.1:{{}}"])
def test_proxies_that_are_down(transport_name: str, closed: int, scheme: str, proxy_form: str) -> None:
    """The error names the proxy and the target, and no password."""
    opened = make_transport(transport_name, proxy=proxy_form.format(closed))
    message = failed(opened, f"{scheme}://chat.example/s")
    port = {"http": 80, "https": 443}[scheme]
    assert message.endswith(f"(chat.example:{port} through the proxy 127.0.0.1:{closed})")
    assert message.startswith("the proxy failed")
    assert SECRET not in message
    opened.close()


@pytest.mark.parametrize("script", [[CLOSE], [head(407, "Content-Length: 0")], [b"no proxy at all\r\n\r\n", CLOSE], [UNTIL_GONE]])
def test_proxies_that_fail(transport_name: str, server: Server, script: list[Any]) -> None:
    """The proxy disconnects, refuses, answers with nonsense or does not answer the CONNECT request."""
    server.on("*", script)
    server.on("", script)
    opened = make_transport(transport_name, proxy=server.url.replace("//", f"//u:{SECRET}@"))
    message = failed(opened, "https://chat.example/s", timeouts=Timeouts(connect=0.5, idle=0.5, total=8))
    assert f"(chat.example:443 through the proxy 127.0.0.1:{server.port})" in message
    assert SECRET not in message
    opened.close()


@pytest.mark.parametrize("proxy", ["http://", "htp://u:{}@proxy.example:1", "http://u:{}@proxy.example:port", "ftp://proxy.example"])
def test_proxies_that_cannot_be_used(transport_name: str, proxy: str) -> None:
    """A proxy's URL is validated before anything is sent, and its password is not in the message."""
    opened = make_transport(transport_name, proxy=proxy.format(SECRET))
    with pytest.raises(InvalidInputError, match=r"the proxy .* cannot be used: .*http://host:3128") as caught:
        send(opened, "http://chat.example/s")
    assert SECRET not in str(caught.value)
    opened.close()


def test_proxies_of_the_environment(transport: Transport, closed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user may not know about a proxy that the environment sets."""
    monkeypatch.setenv("ALL_PROXY", f"http://u:{SECRET}@127.0.0.1:{closed}")
    message = failed(transport, "http://chat.example/s")
    assert message.endswith(f"(chat.example:80 through the proxy 127.0.0.1:{closed})")
    assert SECRET not in message


def test_streams(transport_name: str, server: Server) -> None:
    """An answer of a model that breaks off, and one that is too slow, name the server too."""
    name = {"plain": "requests", "impersonate": "curl_cffi"}[transport_name]
    begun = [
        head(200, "Transfer-Encoding: chunked", "Content-Type: text/event-stream"),
        chunk(b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'),
    ]
    client = Client("http://127.0.0.1:1", inference_url=f"{server.url}/v1", token="", transport=name, retry=Retry(attempts=1))
    for end, kind in (([CLOSE], StreamInterrupted), ([UNTIL_GONE], TransportTimeout), ([chunk(b""), CLOSE], StreamInterrupted)):
        server.on("/v1/chat/completions", [*begun, *end])
        with pytest.raises(kind) as caught:
            client.inference.chat("Hi", model="m", timeouts=Timeouts(idle=0.2, total=8)).result()
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        assert caught.value.partial.text == "a"
    for call in (lambda: client.chat("Hi"), client.models.list, client.ping):
        with pytest.raises(ConnectError, match=r"\(127\.0\.0\.1:1\)$"):
            call()
    client.close()


def test_the_command_line(closed: int) -> None:
    """The error message of the command line."""
    line = [sys.executable, "-m", "hfclient", "chat", "--url", f"http://127.0.0.1:{closed}", "hi"]
    done = subprocess.run(line, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"127.0.0.1:{closed}" in done.stderr
