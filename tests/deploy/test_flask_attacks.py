"""A hostile browser, and a store that fails, against the Flask extension under real gunicorn."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.gunicorn import Browser
from tests.deploy.test_flask_gunicorn import Site
from tests.processes.helpers import PromptedChatUI, text_for
from tests.server import PATIENCE
from tests.services import RedisServer

pytest.importorskip("gunicorn", reason="gunicorn does not run on this system")
pytest.importorskip("flask")


@pytest.fixture
def prompted() -> Iterator[PromptedChatUI]:
    """A chat-ui whose answers depend on the prompt."""
    with PromptedChatUI() as running:
        yield running


def exchange(port: int, *pieces: bytes) -> bytes:
    """Send *pieces* until the server refuses to read more; return its answer up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        with contextlib.suppress(OSError):
            for piece in pieces:
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(OSError):
            while piece := sock.recv(65_536):
                received += piece
        return received


def head(*fields: str, path: str = "/ask", method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


JSON = "Content-Type: application/json"
BODY = json.dumps({"prompt": "count 1"}).encode()
CHUNK = b"10000\r\n" + b" " * 65_536 + b"\r\n"

REQUESTS = {
    "length that is not a number": ([head(JSON, "Content-Length: abc"), BODY], (400,)),
    "negative length": ([head(JSON, "Content-Length: -5"), BODY], (400,)),
    "two lengths": ([head(JSON, "Content-Length: 5", "Content-Length: 500"), BODY], (400,)),
    "length and chunks": ([head(JSON, "Content-Length: 5", "Transfer-Encoding: chunked"), b"0\r\n\r\n"], (400,)),
    "length without a body": ([head(JSON, "Content-Length: 500"), b'{"prompt'], (400,)),
    "length of a terabyte": ([head(JSON, "Content-Length: 1000000000000"), BODY], (413,)),
    "endless chunks": ([head(JSON, "Transfer-Encoding: chunked"), *[CHUNK] * 500], (413,)),
    "broken chunk": ([head(JSON, "Transfer-Encoding: chunked"), b"zz\r\n"], (400, 413)),
    "form of a terabyte": (
        [head("Content-Type: application/x-www-form-urlencoded", "Content-Length: 1000000000000"), b"prompt=a"],
        (413,),
    ),
    "form of endless chunks": (
        [head("Content-Type: application/x-www-form-urlencoded", "Transfer-Encoding: chunked"), *[CHUNK] * 100],
        (400, 413),
    ),
    "endless file": (
        [
            head("Content-Type: multipart/form-data; boundary=b", "Transfer-Encoding: chunked"),
            b'43\r\n--b\r\nContent-Disposition: form-data; name="a"; filename="a.txt"\r\n\r\n\r\n',
            *[CHUNK] * 100,
        ],
        (400, 413),
    ),
    "thousands of parts": (
        [head("Content-Type: multipart/form-data; boundary=b", "Content-Length: 400003"), b"--b\r\n\r\n\r\n" * 36_364],
        (400, 413),
    ),
    "charset that does not exist": ([head("Content-Type: application/json; charset=x", f"Content-Length: {len(BODY)}"), BODY], (200,)),
    "text that claims to be JSON": ([head("Content-Type: text/plain", f"Content-Length: {len(BODY)}"), BODY], (400,)),
    "JSON of another site's form": ([head("Content-Type: text/plain", "Content-Length: 22"), b'{"prompt": "a", "b": "='], (400,)),
    "id of 60 kB": ([head(JSON, f"Content-Length: {len(BODY)}", "Last-Event-ID: " + "9" * 60_000), BODY], (400, 431)),
    "id with other bytes": ([head(JSON, f"Content-Length: {len(BODY)}", "Last-Event-ID: \xff\xfe\x80"), BODY], (204, 400)),
    "run with slashes": ([head("X-User: ann", path="/runs/..%2f..%2fetc", method="GET")], (404,)),
    "run with a null": ([head("X-User: ann", path="/runs/%00", method="GET")], (404,)),
    "run of 5 kB": ([head("X-User: ann", path="/runs/" + "a" * 3_500, method="GET")], (404,)),
    "run of another script": ([head("X-User: ann", path="/runs/<script>alert(1)</script>", method="GET")], (400, 404)),
}


def test_hostile_requests(prompted: PromptedChatUI, tmp_path: Path) -> None:
    """Each malformed or excessive request gets a refusal, sends nothing to the provider and leaves the server as it was."""
    with Site("gthread", prompted, tmp_path, "--timeout", "20") as site:
        for name, (pieces, expected) in REQUESTS.items():
            answer = exchange(site.port, *pieces)
            status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None
            # A server may close a connection whose body it does not read before the refusal has arrived.
            assert status in expected or (status is None and 413 in expected), (name, answer[:300], site.said[-3000:])
            assert b"<script>" not in answer, name
            assert b"Traceback" not in answer, name
        asked = 1  # by the charset that does not exist: the body is JSON
        assert prompted.count("send") == asked
        assert site.text("few 1") == text_for("few 1", 2)
        site.check_log(prompted.port)


@pytest.mark.parametrize("policy", ["allow", "refuse"])
def test_a_store_that_dies(policy: str, prompted: PromptedChatUI, tmp_path: Path, redis_server: RedisServer) -> None:
    """Redis is killed in mid-answer: who is connected gets the whole answer; new requests are admitted, or a 503 without the address."""
    variables = {
        "FLASK_HFCLIENT_GUARD__store": redis_server.url,
        "FLASK_HFCLIENT_GUARD__requests": "2/day",
        "FLASK_HFCLIENT_GUARD__on_store_error": policy,
    }
    with Site("gthread", prompted, tmp_path, **variables) as site:
        with site.ask("hold one", X_User="ann") as held:
            assert next(held.tokens()) == text_for("hold one", 1)
            redis_server.stop(signal.SIGKILL)
            prompted.go.set()
            assert held.text() == text_for("hold one")[len(text_for("hold one", 1)) :]
        for number in range(3):
            with site.ask(f"few {number}", X_User="ann") as browser:
                assert browser.status == (200 if policy == "allow" else 503)
                if policy == "allow":
                    assert browser.text() == text_for(f"few {number}", 2)
                else:
                    body = browser.body()
                    assert body["code"] == "store-unavailable"
                    assert str(redis_server.port) not in str(body)
        assert "Traceback" not in site.said


def test_browsers_that_only_open(prompted: PromptedChatUI, tmp_path: Path) -> None:
    """Browsers that ask and leave at once use up their limit: leaving early is not a way around it."""
    variables = {"FLASK_HFCLIENT_GUARD__requests": "3/day"}
    with Site("gthread", prompted, tmp_path, workers=1, **variables) as site:
        statuses = []
        for _ in range(5):
            with Browser(site.port, "POST", "/ask", {"prompt": "endless x"}, X_User="eve") as browser:
                statuses.append(browser.status)
        assert statuses == [200] * 3 + [429] * 2
        assert prompted.count("send") <= 3
