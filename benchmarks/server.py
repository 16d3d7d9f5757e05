"""The replay server: a process of its own, raw sockets, answers made before they are asked for.

The beginning of a URL says what comes back: ``/{wire}/{form}/{count}``, then the path of the client's own request.

- ``big``: HTTP chunks of 16 KiB
- ``framed``: an HTTP chunk for each event, many in one write
- ``each``: an HTTP chunk for each event, and a write for each
- ``paced``: an event every 5 ms; its text is the time at which it was written, in ns of the monotonic clock

Below ``/chat``, a path with ``/output/`` is a file of *count* bytes. Below ``/speech`` everything posted is a recording,
and what was said in it is always the same. ``GET /connections`` tells how many connections were opened for anything else.
"""

from __future__ import annotations

import functools
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from benchmarks import wires

__all__ = ["PACE", "ReplayServer"]

PACE = 0.005
_ID = "0123456789abcdef01234567"
_MESSAGES = [
    {"id": "11111111-1111-4111-8111-111111111111", "from": "system", "content": "", "ancestors": [],
     "children": ["22222222-2222-4222-8222-222222222222"]},
    {"id": "22222222-2222-4222-8222-222222222222", "from": "assistant", "content": "Hello", "children": [],
     "ancestors": ["11111111-1111-4111-8111-111111111111"]},
]  # fmt: skip
_CONVERSATION = {"json": {"messages": _MESSAGES, "title": "New Chat", "model": "org/model", "modelId": "org/model",
                          "rootMessageId": _MESSAGES[0]["id"], "id": _ID, "shared": False}}  # fmt: skip
_INFO = {"model_id": "org/model", "max_total_tokens": 4096, "max_input_tokens": 4095, "version": "3.0.0"}


class ReplayServer:
    """Runs the server in another process while the ``with`` lasts."""

    def __enter__(self) -> ReplayServer:
        command = [sys.executable, "-m", "benchmarks.server"]
        root = Path(__file__).parent.parent
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
        assert self._process.stdout is not None
        self.origin = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # at which it ends
        self._process.wait()
        self._process.stdout.close()

    def url(self, wire: str, form: str, count: int) -> str:
        """Return the base URL below which every answer is the one described."""
        return f"{self.origin}/{wire}/{form}/{count}"

    def connections(self) -> int:
        """Return how many connections were opened so far, this one not counted."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.origin}/connections") as answer:
            return int(answer.read())


_count_lock = threading.Lock()
_connections = 0


def _serve(connection: socket.socket) -> None:
    global _connections  # noqa: PLW0603 (the one thing that is counted)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    counted = False
    try:
        with connection, connection.makefile("rb", buffering=1 << 16) as reader:
            while line := reader.readline():
                method, path, _ = line.decode().split()
                _skip_request(reader, connection)
                if path == "/connections":
                    connection.sendall(_plain(str(_connections).encode()))
                    continue
                if not counted:
                    counted = True
                    with _count_lock:
                        _connections += 1
                _answer(connection, method, path)
    except OSError:
        pass  # the client left


def _skip_request(reader: object, connection: socket.socket) -> None:
    length, chunked = 0, False
    while line := reader.readline().strip():  # type: ignore[attr-defined]
        name, _, value = line.lower().partition(b":")
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = b"chunked" in value
        elif name == b"expect":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if chunked:
        while size := int(reader.readline(), 16):  # type: ignore[attr-defined]
            reader.read(size + 2)  # type: ignore[attr-defined]
        reader.readline()  # type: ignore[attr-defined]
    while length:
        length -= len(reader.read(min(length, 1 << 16))) or length  # type: ignore[attr-defined]


def _answer(connection: socket.socket, method: str, path: str) -> None:
    _, wire, form, count, rest = (path.partition("?")[0] + "/").split("/", 4)
    if method == "GET" and "/output/" in path:
        _send_file(connection, int(count))
    elif wire == "speech" and method == "POST":
        connection.sendall(_plain(b'{"text": "hello"}'))
    elif wire == "chat" and (method == "GET" or "/conversation/" not in f"/{rest.removesuffix('/')}"):
        made = method == "POST" and rest.endswith("conversation/")
        connection.sendall(_plain(json.dumps({"conversationId": _ID} if made else _CONVERSATION).encode()))
    elif method == "GET":
        connection.sendall(_plain(json.dumps(_INFO).encode()))
    elif form == "paced":
        _send_paced(connection, wire, int(count))
    else:
        for piece in _pieces(wire, form, int(count)):
            connection.sendall(piece)


def _send_file(connection: socket.socket, size: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % size
    connection.sendall(head)
    block = bytes(1 << 16)
    for left in range(size, 0, -len(block)):
        connection.sendall(block[:left])


def _send_paced(connection: socket.socket, wire: str, count: int) -> None:
    connection.sendall(_header(wire) + b"".join(map(_chunked, wires.head(wire))))
    start = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, start + (number + 1) * PACE - time.monotonic()))
        connection.sendall(_chunked(wires.frame(wire, f"{time.monotonic_ns()}")))
    connection.sendall(b"".join(map(_chunked, wires.tail(wire, 1))) + b"0\r\n\r\n")


@functools.lru_cache(maxsize=64)
def _pieces(wire: str, form: str, count: int) -> list[bytes]:
    """Return what is written, write by write."""
    frames = wires.frames(wire, count)
    if form == "each":
        return [_header(wire), *map(_chunked, frames), b"0\r\n\r\n"]
    if form == "framed":
        body = b"".join(map(_chunked, frames))
    else:
        whole = b"".join(frames)
        body = b"".join(_chunked(whole[start : start + 16384]) for start in range(0, len(whole), 16384))
    whole = _header(wire) + body + b"0\r\n\r\n"
    return [whole[start : start + 65536] for start in range(0, len(whole), 65536)]


def _header(wire: str) -> bytes:
    content_type = b"application/jsonl" if wire == "chat" else b"text/event-stream"
    return b"HTTP/1.1 200 OK\r\nContent-Type: " + content_type + b"\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _plain(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)

    def accept() -> None:
        for _ in itertools.count():
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.buffer.read()  # until the parent goes, whichever way


if __name__ == "__main__":
    _main()
