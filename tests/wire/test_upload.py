"""Uploads: forms and files are sent byte by byte as given, and read while they are sent."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import email
import email.policy
import gc
import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from hfclient.errors import HFClientError, InvalidInputError
from hfclient.transport import Multipart, Part, Request, Transport
from hfclient.transport.requests_transport import RequestsTransport
from tests.chat.replay import wait_until
from tests.server import CLOSE, Recorded, Server, plain
from tests.wire.helpers import send, session_for


def _fields(request: Recorded) -> list[tuple[str | None, str | None, bytes]]:
    """Parse a form with the standard library's parser: name, file name, content."""
    message = email.message_from_bytes(
        f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode() + request.body, policy=email.policy.HTTP
    )
    parts = message.get_payload()
    assert isinstance(parts, list)
    return [
        (
            part.get_param("name", header="content-disposition"),  # type: ignore[misc]
            part.get_filename(),
            part.get_payload(decode=True),
        )
        for part in parts
    ]


def test_form(transport: Transport, server: Server, tmp_path: Path) -> None:
    """A form arrives with every field, name and byte as given, and with its Content-Length."""
    content = bytes(range(256)) * 1000
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    form = Multipart(
        (
            Part(name="data", content=b'{"inputs": "hi"}'),
            Part(name="files", content=path, filename="p.png", content_type="image/png"),
            Part(name="files", content=content, filename="b64;p.png", as_base64=True),
            Part(name="empty", content=b"", filename="empty.txt"),
        )
    )
    server.on("/s", plain(b"ok"))
    session_for(transport).send(Request(method="POST", url=f"{server.url}/s", body=form)).read()
    request = server.last
    assert request.body == b"".join(form)
    assert request.headers["content-length"] == str(len(form))
    assert request.headers["content-type"] == form.content_type
    assert "transfer-encoding" not in request.headers
    assert "expect" not in request.headers
    assert _fields(request) == [
        ("data", None, b'{"inputs": "hi"}'),
        ("files", "p.png", content),
        ("files", "b64;p.png", base64.b64encode(content)),
        ("empty", "empty.txt", b""),
    ]


def test_a_short_form_is_one_packet() -> None:
    """The default transport sends a short form together with the head of its request."""
    form = Multipart((Part(name="data", content=b"{}"), Part(name="files", content=b"hi", filename="a.txt")))
    with socket.create_server(("127.0.0.1", 0)) as listening, concurrent.futures.ThreadPoolExecutor() as pool:
        listening.settimeout(30)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        answer = pool.submit(send, RequestsTransport(), url, method="POST", body=form)
        connection, _ = listening.accept()
        with connection:
            received = connection.recv(64 * 1024)
            connection.sendall(plain(b"ok"))
            assert answer.result(30).read() == b"ok"
    assert received.endswith(b"".join(form))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("body", [b"", b"x", b"y" * 200_000])
def test_bytes(transport: Transport, server: Server, method: str, body: bytes) -> None:
    """Bytes are sent with any method."""
    server.on("/s", plain(b"ok"))
    assert send(transport, f"{server.url}/s", method=method, body=body).read() == b"ok"
    assert (server.last.method, server.last.body) == (method, body)
    assert server.last.headers.get("content-length", "0") == str(len(body))
    assert "content-type" not in server.last.headers
    assert "expect" not in server.last.headers


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_no_body(transport: Transport, server: Server, method: str) -> None:
    """Without a body none is sent, with any method."""
    server.on("/s", plain(b"ok"))
    assert send(transport, f"{server.url}/s", method=method).read() == b"ok"
    assert (server.last.method, server.last.body) == (method, b"")
    assert "content-type" not in server.last.headers


def test_memory_stays_flat(transport: Transport, server: Server, tmp_path: Path) -> None:
    """A file of 10 MiB is sent in less than 1 MiB of memory, base64 included."""
    path = tmp_path / "big.bin"
    size = 10 * 1024 * 1024
    with path.open("wb") as file:
        file.truncate(size)
    seen = []

    def swallow(request: Recorded) -> bytes:
        seen.append(request)
        return plain(b"ok")

    server.on("/s", [swallow])
    server.keep_bodies = False
    form = Multipart((Part(name="files", content=path, filename="big", as_base64=True),))
    send(transport, f"{server.url}/s", method="POST", body=Multipart((Part(name="a", content=b""),))).read()
    tracemalloc.start()
    try:
        assert send(transport, f"{server.url}/s", method="POST", body=form).read() == b"ok"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert server.last.headers["content-length"] == str(len(form))
    assert "expect" not in server.last.headers
    assert peak < 1024 * 1024 + server.READ_SIZE


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_the_file_is_closed(transport: Transport, server: Server, tmp_path: Path) -> None:
    """A file that was not sent to its end, because the server refused early, is closed."""
    path = tmp_path / "big.bin"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    server.on("/s", [plain(b"no", 413), 0.1, CLOSE], read_body=False)
    form = Multipart((Part(name="files", content=path, filename="big"),))
    with contextlib.suppress(HFClientError):
        send(transport, f"{server.url}/s", method="POST", body=form).close()
    gc.collect()

    def is_closed() -> bool:
        opened = [
            os.readlink(f"/proc/self/fd/{fd}")
            for fd in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{fd}")
        ]
        return str(path) not in opened

    wait_until(is_closed)  # the thread of the event loop closes it


def test_a_deleted_file(transport: Transport, server: Server, tmp_path: Path) -> None:
    """A file that was deleted before it is read is an error of the caller, with its name."""
    path = tmp_path / "secret-place" / "gone.png"
    path.parent.mkdir()
    path.write_bytes(b"x" * 10)
    form = Multipart((Part(name="files", content=path, filename="gone.png"),))
    path.unlink()
    server.on("/s", plain(b"ok"))
    with pytest.raises(InvalidInputError, match=r"gone\.png"):
        send(transport, f"{server.url}/s", method="POST", body=form)


def test_a_file_that_shrank(transport: Transport, server: Server, tmp_path: Path) -> None:
    """A file that became shorter cannot fill the announced length: an error, and the server does not wait for the rest."""
    path = tmp_path / "log.txt"
    path.write_bytes(b"x" * 200_000)
    form = Multipart((Part(name="files", content=path, filename="log.txt"),))
    path.write_bytes(b"x" * 100)
    server.on("/s", plain(b"ok"))
    with pytest.raises(InvalidInputError, match="became shorter"):
        send(transport, f"{server.url}/s", method="POST", body=form)
    assert send(transport, f"{server.url}/s").read() == b"ok"


def test_a_file_that_grew(transport: Transport, server: Server, tmp_path: Path) -> None:
    """A file that became longer is sent with the length it had when the form was built."""
    path = tmp_path / "log.txt"
    path.write_bytes(b"\xfe" * 100)
    form = Multipart((Part(name="files", content=path, filename="log.txt"),))
    path.write_bytes(b"\xfe" * 200_000)
    server.on("/s", plain(b"ok"))
    send(transport, f"{server.url}/s", method="POST", body=form).read()
    assert server.last.body.count(b"\xfe") == 100
    assert len(server.last.body) == len(form)


def test_quotes_in_file_names(transport: Transport, server: Server) -> None:
    """A file name with quotes and line ends stays inside its header."""
    name = 'a"; name="evil\r\nX-Evil: 1\r\n\r\n☃.png'
    form = Multipart((Part(name="files", content=b"content", filename=name),))
    server.on("/s", plain(b"ok"))
    send(transport, f"{server.url}/s", method="POST", body=form, headers={"Content-Type": form.content_type}).read()
    assert b"X-Evil: 1\r\n\r\n" not in server.last.body
    [(field, filename, content)] = _fields(server.last)
    assert (field, content) == ("files", b"content")
    assert filename is not None
    assert filename.startswith("a%22; name=%22evil%0D%0AX-Evil: 1%0D%0A%0D%0A")


def test_content_that_raises(transport: Transport, server: Server) -> None:
    """An exception of the caller's own code while the body is generated is raised unchanged."""

    class Odd(Multipart):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield b"--"
            raise HFClientError("no more")

    server.on("/s", plain(b"ok"))
    with pytest.raises(HFClientError, match="no more"):
        send(transport, f"{server.url}/s", method="POST", body=Odd((Part(name="a", content=b"bcd"),)))
