"""Certificates and proxies: trust, tunnels, and what errors say about them."""

from __future__ import annotations

import base64
import contextlib
import pickle
import socket
import threading
import time

import pytest

from hfclient import Client
from hfclient.errors import ConnectError, HFClientError, MissingDependencyError, TransportTimeout
from hfclient.transport import Request, Retry, Timeouts, Transport
from hfclient.transport.proxies import proxy_for
from tests.conftest import make_transport
from tests.server import CERTIFICATE, CLOSE, PATIENCE, SOON, UNTIL_GONE, Recorded, Server, chunked, json_answer, plain
from tests.wire.helpers import PATIENT, send, session_for


@pytest.fixture
def tls():
    with Server(tls=True) as running:
        running.on("*", plain(b"ok"))
        yield running


def test_untrusted(transport: Transport, tls: Server) -> None:
    """An untrusted certificate ends the connection before a request is sent."""
    with pytest.raises(ConnectError, match=r"TLS failed: .*certificate") as caught:
        send(transport, f"{tls.url}/s")
    assert (caught.value.sent, tls.requests) == (False, [])


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_trusted(transport: Transport, tls: Server, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Both transports follow the variables of requests and Python; with TLS everything works as without."""
    monkeypatch.setenv(variable, str(CERTIFICATE))
    go = threading.Event()
    tls.on("/stream", chunked(b"one", go, b"two"))
    response = send(transport, f"{tls.url}/stream", stream=True)
    assert response._body.read_some() == b"one"
    go.set()
    assert response.read() == b"two"
    assert send(transport, f"{tls.url}/s", method="POST", body=b"x" * 300_000).read() == b"ok"
    assert len(tls.last.body) == 300_000
    assert tls.connections == 1


def test_what_to_do(transport: Transport, tls: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of an untrusted certificate says how to trust it; that of a wrong path names the variable. Nothing is sent."""
    with pytest.raises(ConnectError, match=r"set REQUESTS_CA_BUNDLE or SSL_CERT_FILE to a file"):
        send(transport, f"{tls.url}/s")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(ConnectError, match=r"TLS failed: SSL_CERT_FILE names /nowhere/ca.pem, which does not exist") as caught:
        send(transport, f"{tls.url}/s")
    assert (caught.value.sent, tls.requests) == (False, [])


def test_expired(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trusted certificate that has expired is rejected."""
    expired = CERTIFICATE.with_name("expired.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(expired))
    with Server(tls=True) as server:
        assert server._tls is not None
        server._tls.load_cert_chain(expired)
        with pytest.raises(ConnectError, match=r"TLS failed: .*expired") as caught:
            send(transport, f"{server.url}/s")
        assert (caught.value.sent, server.requests) == (False, [])


def test_other_name(transport_name: str, tls: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trusted certificate for another host name is rejected."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with _Tunnel(tls.port) as tunnel:
        opened = make_transport(transport_name, proxy=tunnel.url)
        with pytest.raises(ConnectError, match=r"TLS failed: "):
            send(opened, "https://chat.example/s")
        opened.close()
    assert tls.requests == []


def test_tls_to_a_plain_server(transport: Transport) -> None:
    """TLS to a plain server fails at once, not by a timeout."""

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ConnectError, match=r"TLS failed: "):
            send(transport, f"https://127.0.0.1:{listener.getsockname()[1]}/s")
        thread.join(PATIENCE)


def test_closing_over_tls(transport: Transport, tls: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing and cancelling are as fast with TLS."""
    from hfclient.errors import Cancelled
    from tests.server import UNTIL_GONE, chunk, head

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    tls.on("/s", [head(200, "Transfer-Encoding: chunked"), chunk(b"one"), UNTIL_GONE])
    response = send(transport, f"{tls.url}/s", stream=True)
    assert response._body.read_some() == b"one"
    timer = threading.Timer(0.1, response.abort)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        response._body.read_some()
    timer.join()
    response.close()
    assert time.monotonic() - started < SOON
    assert tls.client_gone.wait(PATIENCE)


def _is_proxied(request: Recorded) -> bytes:
    return plain(f"{request.method} {request.target}")


def test_http_through_a_proxy(transport_name: str, server: Server) -> None:
    """A proxy gets the whole URL and its own credentials, and forwards those of the target."""
    server.on("*", [_is_proxied])
    opened = make_transport(transport_name, proxy=server.url.replace("//", "//us%40er:pr%3Aoxy-secret@"))
    response = send(opened, "http://chat.example/api?q=1", headers={"Authorization": "Bearer x"})
    assert response.read() == b"GET http://chat.example/api?q=1"
    assert server.last.headers["authorization"] == "Bearer x"
    basic = server.last.headers["proxy-authorization"].removeprefix("Basic ")
    assert base64.b64decode(basic) == b"us@er:pr:oxy-secret"
    assert "oxy-secret" not in repr(opened)
    opened.close()


def test_a_user_name_without_a_password(transport_name: str, server: Server) -> None:
    """A proxy that needs a user name alone gets it with an empty password (RFC 7617, section 2)."""
    server.on("*", [_is_proxied])
    opened = make_transport(transport_name, proxy=server.url.replace("//", "//user@"))
    send(opened, "http://chat.example/api").read()
    assert server.last.headers["proxy-authorization"] == f"Basic {base64.b64encode(b'user:').decode()}"
    opened.close()


def test_proxy_from_the_environment(transport: Transport, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual variables are used, and the exceptions in NO_PROXY."""
    server.on("*", [_is_proxied])
    monkeypatch.setenv("HTTP_PROXY", server.url)
    assert send(transport, "http://chat.example/a").read() == b"GET http://chat.example/a"
    monkeypatch.setenv("NO_PROXY", "other.example,127.0.0.1")
    assert send(transport, f"{server.url}/b").read() == b"GET /b"
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.setenv("all_proxy", server.url)
    assert send(transport, "http://chat.example/c").read() == b"GET http://chat.example/c"


def test_an_explicit_proxy_wins(transport_name: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that was passed has precedence over the environment."""
    server.on("*", [_is_proxied])
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    opened = make_transport(transport_name, proxy=server.url)
    assert send(opened, "http://chat.example/a").read() == b"GET http://chat.example/a"
    opened.close()


class _Tunnel:
    """A proxy that accepts CONNECT and forwards bytes in both directions."""

    def __init__(self, target: int, status: int = 200) -> None:
        self.heads: list[bytes] = []
        self._target, self._status = target, status
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://user:tunnel-secret@127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closing:
                client.close()
                return
            head = b""
            while b"\r\n\r\n" not in head and (data := client.recv(65536)):
                head += data
            self.heads.append(head)
            if not head:
                client.close()
                continue
            client.sendall(b"HTTP/1.1 %d Whatever\r\nX-Proxy: yes\r\n\r\n" % self._status)
            if self._status != 200:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            pumps = [threading.Thread(target=_pump, args=pair) for pair in ((client, server), (server, client))]
            self._threads += pumps
            for pump in pumps:
                pump.start()
            self._threads.append(threading.Thread(target=_close_after, args=(pumps, client, server)))
            self._threads[-1].start()

    def __enter__(self) -> _Tunnel:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing = True
        socket.create_connection(self._listener.getsockname()).close()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _close_after(pumps: list[threading.Thread], *sockets: socket.socket) -> None:
    for pump in pumps:
        pump.join(PATIENCE)
    for sock in sockets:
        sock.close()


def test_https_through_a_proxy(transport_name: str, tls: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS uses a tunnel: the proxy sees the host, not the request; its response is not the target's."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with _Tunnel(tls.port) as tunnel:
        opened = make_transport(transport_name, proxy=tunnel.url)
        for _ in range(2):
            response = send(opened, f"{tls.url}/s?secret=1", headers={"Authorization": "Bearer hf_secret"})
            assert (response.status, response.read()) == (200, b"ok")
            assert "x-proxy" not in response.headers
        opened.close()
    assert tunnel.heads[0].startswith(b"CONNECT 127.0.0.1:%d " % tls.port)
    assert b"secret" not in tunnel.heads[0].replace(b"tunnel-secret", b"")
    assert tls.last.headers["authorization"] == "Bearer hf_secret"
    assert "proxy-authorization" not in tls.last.headers
    assert tls.connections == 1


@pytest.mark.parametrize("answers", [False, True])
def test_a_silent_tunnel(transport_name: str, answers: bool) -> None:
    """``connect`` ends the wait for a tunnel, and for TLS inside it, even if the request itself may take long."""
    established = b"HTTP/1.1 200 Connection established\r\n\r\n" if answers else b""
    with Server() as proxy:
        proxy.on("*", [established, UNTIL_GONE])
        opened = make_transport(transport_name, proxy=proxy.url)
        timeouts = Timeouts(connect=0.3, first_token=PATIENCE, idle=PATIENCE, total=2 * PATIENCE)
        with pytest.raises(TransportTimeout) as caught:
            send(opened, "https://chat.example/s", method="POST", body=b"x", stream=True, timeouts=timeouts)
        opened.close()
    assert (caught.value.deadline, caught.value.sent) == ("connect", False)


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses(transport_name: str, tls: Server, status: int) -> None:
    """The error of a proxy that refuses the tunnel names the proxy, but not its password."""
    with _Tunnel(tls.port, status) as tunnel:
        opened = make_transport(transport_name, proxy=tunnel.url)
        reason = "it requires a user name and a password" if status == 407 else f"it answered with status {status}"
        with pytest.raises(ConnectError, match=rf"the proxy failed: {reason}") as caught:
            send(opened, f"{tls.url}/s")
        opened.close()
    assert not caught.value.sent
    assert "tunnel-secret" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_down(transport_name: str, scheme: str) -> None:
    """The error of a proxy that does not accept connections names the proxy, but not its password."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        opened = make_transport(transport_name, proxy=f"http://u:proxy-secret@127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(ConnectError, match="the proxy failed: ") as caught:
            send(opened, f"{scheme}://chat.example/s", timeouts=PATIENT)
        opened.close()
    assert not caught.value.sent
    assert "proxy-secret" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_request_through_a_proxy_is_not_repeated(
    transport_name: str, server: Server, tls: Server, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """If a server behind a proxy closes the connection without a response, it may have processed the request."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    target = tls if scheme == "https" else server
    target.on("*", [CLOSE])
    with _Tunnel(tls.port) as tunnel:
        opened = make_transport(transport_name, proxy=tunnel.url if scheme == "https" else server.url)
        session = session_for(opened, retry=Retry(attempts=3, backoff=0.01))
        url = f"{tls.url}/s" if scheme == "https" else "http://chat.example/s"
        with pytest.raises(ConnectError, match="the connection failed: ") as caught:
            session.send(Request(method="POST", url=url, body=b"once"))
        opened.close()
    assert (caught.value.sent, caught.value.attempts) == (True, 1)
    assert [request.body for request in target.requests] == [b"once"]


@pytest.mark.parametrize("proxy", ["http://proxy.invalid:3128", "http://"])
def test_a_proxy_without_a_valid_address(transport_name: str, proxy: str) -> None:
    """A proxy without a host name, or with one that does not exist, is an error of hfclient."""
    opened = make_transport(transport_name, proxy=proxy)
    with pytest.raises(Exception, match=r"proxy|cannot be sent|connection") as caught:
        send(opened, "http://chat.example/s")
    opened.close()
    assert type(caught.value).__module__ == "hfclient.errors"


def test_a_proxy_that_is_set_later(transport: Transport, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is read at each request, also after requests without a proxy."""
    server.on("*", plain(b"through one"))
    with Server() as other:
        other.on("*", plain(b"through the other"))
        for proxy, expected in [(server, b"through one"), (other, b"through the other"), (server, b"through one")]:
            monkeypatch.setenv("http_proxy", proxy.url)
            assert send(transport, "http://chat.example/x").read() == expected


LOOPBACK = [
    "127.0.0.1",
    "127.4.5.6",
    "127.1",
    "0x7f000001",
    "localhost",
    "LOCALHOST.",
    "chat.localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "0.0.0.0",
]
ELSEWHERE = ["chat.example", "localhost.example", "notlocalhost", "10.0.0.1", "128.0.0.1", "[fe80::1]", "[::ffff:10.0.0.1]", "127.0.0.1.nip.io"]


@pytest.mark.parametrize("host", [*LOOPBACK, *ELSEWHERE])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_loopback_without_proxy(monkeypatch: pytest.MonkeyPatch, scheme: str, host: str) -> None:
    """The environment's proxy is for other machines; one that was passed is for all, and "" means none."""
    for name in ("http_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://u:p-secret@proxy.example:3128")
    url = f"{scheme}://{host}:8080/x"
    assert bool(proxy_for(url, None)) is (host in ELSEWHERE)
    assert proxy_for(url, "http://given.example") == "http://given.example"
    assert not proxy_for(url, "")


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_direct"),
    [
        ("example.com", "example.com", True),
        (".example.com", "a.example.com", True),
        ("example.com", "a.example.com", True),
        ("example.com", "badexample.com", False),
        ("example.com:8080", "example.com", True),
        ("example.com:81", "example.com", False),
        ("*", "any.example", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "[fd12::1]", True),
        ("a.example, 10.0.0.0/8", "10.9.9.9", True),
        ("", "any.example", False),
    ],
)
def test_exceptions_from_the_proxy(monkeypatch: pytest.MonkeyPatch, no_proxy: str, host: str, is_direct: bool) -> None:
    """NO_PROXY has host names with their subdomains, addresses and networks; the same on both transports."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert bool(proxy_for(f"http://{host}:8080/x", None)) is not is_direct


def test_loopback_and_no_proxy_over_the_wire(transport_name: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to loopback uses no proxy, unless one was passed; with "" no request does."""
    server.on("*", plain(b"direct"))
    with Server() as proxy:
        proxy.on("*", plain(b"through the proxy"))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for given, expected in ((None, b"direct"), ("", b"direct"), (proxy.url, b"through the proxy")):
            opened = make_transport(transport_name, proxy=given)
            copied = pickle.loads(pickle.dumps(opened))
            for one in (opened, copied):
                assert send(one, f"{server.url}/x").read() == expected
                assert send(one, f"http://localhost:{server.port}/x").read() == expected
                one.close()
        assert len(proxy.requests) == 4


def test_clients_of_loopback_servers(transport_name: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chat server, inference server and login on loopback, and files they link to, do not use the environment's proxy."""
    name = {"plain": "requests", "impersonate": "curl_cffi"}[transport_name]
    server.on("/v1/models", json_answer({"object": "list", "data": [{"id": "m", "object": "model"}]}))
    server.on("*", json_answer({"error": "no such page"}, 404))
    with Server() as proxy:
        proxy.on("*", plain(b"Blocked", 403))
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with Client(server.url, inference_url=f"{server.url}/v1", token="", transport=name) as client:
            assert [model.id for model in client.inference.models()] == ["m"]
            with contextlib.suppress(HFClientError):
                client.chat("Hi")
            link = f"{server.url}/file"
            with contextlib.suppress(HFClientError):
                client._session.bare().send(Request.file(link))
        with Client(server.url, inference_url=f"{server.url}/v1", token="", transport=name, proxy=proxy.url) as client:
            blocked = pytest.raises(HFClientError, match="Blocked")
            with blocked:
                client.inference.models()
        assert [request.target for request in proxy.requests] == [f"{server.url}/v1/models"]


def test_a_socks_proxy_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PySocks a SOCKS proxy is refused with the name of the package; nothing is sent past the proxy."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    opened = make_transport("plain", proxy="socks5h://user:socks-secret@127.0.0.1:1")
    with pytest.raises(MissingDependencyError, match="pip install PySocks"):
        send(opened, "http://chat.example/s")
    assert "socks-secret" not in f"{opened!r} {vars(opened)!r}"
    opened.close()


class _SocksProxy(_Tunnel):
    """A SOCKS5 proxy that requires a user name and a password; see RFC 1928 and RFC 1929."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.url = self.url.replace("http://", "socks5h://")

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        while not self._closing:
            client.recv(100)  # the greeting
            client.sendall(b"\x05\x02")
            self.heads.append(client.recv(600))
            client.sendall(b"\x01\x00")
            self.heads.append(client.recv(600))
            client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50")
            server = socket.create_connection(("127.0.0.1", self._target))
            pumps = [threading.Thread(target=_pump, args=pair) for pair in ((client, server), (server, client))]
            self._threads += pumps
            for pump in pumps:
                pump.start()
            self._threads.append(threading.Thread(target=_close_after, args=(pumps, client, server)))
            self._threads[-1].start()
            client, _ = self._listener.accept()
        client.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_through_a_socks_proxy(
    transport_name: str, server: Server, tls: Server, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """A SOCKS proxy gets the name of the host and its own login; the connection is kept, and its password stays secret."""
    if transport_name == "plain":
        pytest.importorskip("socks")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    target = tls if scheme == "https" else server
    target.on("*", chunked(b"one", b"two"))
    with _SocksProxy(target.port) as proxy:
        opened = make_transport(transport_name, proxy=proxy.url)
        for _ in range(2):
            assert send(opened, f"{scheme}://localhost:8080/s").read() == b"onetwo"
        opened.close()
    assert target.connections == 1
    login, asked = proxy.heads
    assert login == b"\x01\x04user\x0dtunnel-secret"
    assert asked.startswith(b"\x05\x01\x00\x03\x09localhost")
    assert "tunnel-secret" not in f"{opened!r} {vars(opened)!r}"


class _RefusingSocksProxy(_Tunnel):
    """A SOCKS5 proxy that does not connect."""

    def __init__(self) -> None:
        super().__init__(0)
        self.url = self.url.replace("http://user:tunnel-secret@", "socks5h://")

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            if self._closing:
                return
            client.recv(100)  # the greeting
            client.sendall(b"\x05\x00")
            client.recv(600)
            client.sendall(b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00")


def test_a_socks_proxy_that_refuses() -> None:
    """The error says that the proxy failed, and the reason that it gave."""
    pytest.importorskip("socks")
    with _RefusingSocksProxy() as proxy:
        opened = make_transport("plain", proxy=proxy.url)
        with pytest.raises(ConnectError, match=r"the proxy failed: .*Connection not allowed by ruleset") as caught:
            send(opened, "http://chat.example/s")
        opened.close()
    assert not caught.value.sent
