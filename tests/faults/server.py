"""A server for all operations of the matrix: a chat-ui and an inference server in one, over real sockets.

    with FaultServer() as server:
        server.always("embed", [RST])       every request for embeddings is reset
        server.clear_faults()               no request has a fault any more
        server.refuse(), server.listen()    connections are refused in between

The kinds of requests are those of `ChatUI` and ``file``, ``completions``, ``embed``, ``served``, ``generate``, ``info``,
``images``, ``image_file``, with the responses in `GOOD`.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from typing import Any

from attrs import frozen

from tests.chat.replay import FINISHED, STARTED, Chat, ChatUI, final, lines, log_of, token
from tests.server import LAST_CHUNK, PATIENCE, Recorded, Step, chunk, head, json_answer, plain

CHAT_ID = f"{1:024x}"
FILE_ID = "569f9f52" * 8
TEXT = "Hello, wörld!"
FILE = bytes(range(256)) * 8
IMAGE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

_UPDATES = [STARTED, token("Hello, "), token("wörld"), token("!"), final(TEXT), FINISHED]
_CHAT = {"id": CHAT_ID, "title": "Old", "model": "org/first", "updatedAt": "2026-11-21T00:00:00.000Z"}
_PIECES = [
    {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}
    for text, reason in (("Hello, ", None), ("wörld", None), ("!", None), ("", "stop"))
]
_STEPS = [
    {"index": 1, "token": {"id": 1, "text": "Hello, ", "logprob": -0.5, "special": False}},
    {"index": 2, "token": {"id": 2, "text": "wörld", "logprob": -0.5, "special": False}},
    {
        "index": 3,
        "token": {"id": 3, "text": "!", "logprob": -0.5, "special": False},
        "generated_text": TEXT,
        "details": {"finish_reason": "length", "generated_tokens": 3, "seed": None},
    },
]


@frozen
class Good:
    """The response to a request without a fault.

    Attributes:
        body: The body.
        mime: Its media type.
        cut: A position in the middle of a line, after the first content.
        alive: A keep-alive of such a server.
        streams: It is sent in chunks.
    """

    body: bytes
    mime: str
    cut: int
    alive: bytes = b" "
    streams: bool = False

    def head(self, *more: str, length: int | None = None) -> bytes:
        """The headers, with the body's length or another one."""
        if self.streams and length is None:
            return head(200, f"Content-Type: {self.mime}", *more, "Transfer-Encoding: chunked")
        said = len(self.body) if length is None else length
        return head(200, f"Content-Type: {self.mime}", *more, f"Content-Length: {said}")

    def piece(self, data: bytes) -> bytes:
        """A piece of the body in its framing."""
        return chunk(data) if self.streams else data

    def whole(self) -> list[Step]:
        """The whole response."""
        return [self.head(), self.piece(self.body), LAST_CHUNK if self.streams else b""]

    @property
    def first(self) -> bytes:
        """The headers and the body up to `cut`, in an unfinished chunk."""
        rest = b"%x\r\n" % len(self.body) if self.streams else b""
        return self.head() + rest + self.body[: self.cut]


def _json(data: Any) -> Good:
    body = json.dumps(data).encode()
    return Good(body, "application/json", len(body) // 2)


def _events(*data: Any, end: bytes = b"") -> Good:
    body = b"".join(b"data: %b\n\n" % json.dumps(item, ensure_ascii=False).encode() for item in data) + end
    return Good(body, "text/event-stream", body.index("wörld".encode()) + 2, b":\n\n", streams=True)


_lines = lines(*_UPDATES)

GOOD = {
    "send": Good(
        _lines,
        "application/jsonl",
        _lines.index("wörld".encode()) + 2,
        b'{"type":"status","status":"keepAlive"}\n',
        streams=True,
    ),
    "create": _json({"conversationId": CHAT_ID}),
    "list": _json({"json": {"conversations": [_CHAT], "hasMore": False}}),
    "models": _json({"json": [{"id": "org/first"}, {"id": "org/second"}]}),
    "file": Good(FILE, "application/octet-stream", 1000),
    "completions": _events(*_PIECES, end=b"data: [DONE]\n\n"),
    "generate": _events(*_STEPS),
    "embed": _json({"data": [{"index": 0, "embedding": [0.5, 0.25]}]}),
    "served": _json({"object": "list", "data": [{"id": "served", "owned_by": "us"}]}),
    "images": _json({"data": [{"url": "/image"}]}),  # the server inserts the whole URL
    "image_file": Good(IMAGE, "image/png", len(IMAGE) // 2),
}


class FaultServer(ChatUI):
    """The server, with one conversation that holds only its root.

    Args:
        tls: Use https, with the tests' certificate.
    """

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__(tls=tls)
        root = {"id": "root", "from": "system", "content": "", "ancestors": [], "children": []}
        self.chats[CHAT_ID] = Chat(CHAT_ID, "org/first", [root])
        stored = {"content": TEXT, "updates": [STARTED, final(TEXT), FINISHED], "interrupted": False}
        self.says(GOOD["send"].body, GOOD["send"].whole(), log=log_of(*_UPDATES), stored=stored)

    def _routes(self) -> list[tuple[str, str, str, Any]]:
        more = [
            ("GET", rf"/conversation/\w+/output/{FILE_ID}", "file"),
            ("GET", "/api/v2/models", "models"),
            ("GET", "/api/v2/conversations", "list"),
            ("POST", "/conversation", "create"),
            ("POST", "/v1/chat/completions", "completions"),
            ("POST", "/v1/embeddings", "embed"),
            ("GET", "/v1/models", "served"),
            ("POST", "/generate_stream", "generate"),
            ("GET", "/image", "image_file"),
        ]
        return [
            *((method, path, kind, lambda request, good=GOOD[kind]: good.whole()) for method, path, kind in more),
            ("GET", "/info", "info", lambda request: json_answer({"model_id": "m", "max_total_tokens": 4096})),
            ("POST", "/v1/images/generations", "images", lambda request: plain(self.good("images").body)),
            ("GET", "/login", "login", lambda request: plain("<title>Log in</title>", 200, "Content-Type: text/html")),
            *super()._routes(),
        ]

    def _read_body(self, file: Any, headers: dict[str, str]) -> bytes:
        body = super()._read_body(file, headers)
        if len(body) < int(headers.get("content-length", "0")):
            raise ConnectionError("half a request is none")
        return body

    def reset(self) -> None:
        """Delete all messages of the conversation, and forget all requests."""
        chat = self.chats[CHAT_ID]
        del chat.messages[1:]
        chat.messages[0]["children"].clear()
        chat.answers.clear()
        self.seen.clear()
        self.requests.clear()

    def good(self, kind: str) -> Good:
        """The response to *kind*."""
        good = GOOD[kind]
        return _json({"data": [{"url": f"{self.url}/image"}]}) if kind == "images" else good

    def clear_faults(self) -> None:
        """Remove all faults."""
        with self._changing:
            self._always.clear()
            self._faults.clear()

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def wait_for_connections(self, most: int) -> None:
        """Wait until clients have at most *most* connections open."""
        end = time.monotonic() + PATIENCE
        while self.open_connections > most:
            assert time.monotonic() < end, f"{self.open_connections} connections are open, {most} may be"
            time.sleep(0.002)

    def refuse(self) -> None:
        """Close all connections and stop listening, until :meth:`listen`."""
        self.close()

    def listen(self) -> None:
        """Listen again, on the same port."""
        self._closing.clear()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._start(self._accept)


def accept_message(server: FaultServer, kind: str) -> list[Step]:
    """The step that stores a message whose response is faulty; none for other requests."""

    def store(request: Recorded) -> None:
        server.store(request)

    return [store] if kind == "send" else []
