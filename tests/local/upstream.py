"""A scripted OpenAI-compatible server over HTTP, as the upstream of the embedded server.

    upstream.say("Hi", ["Hel", "lo"])                          # the answer when the last message is "Hi"
    upstream.say("slow", ["one", gate, "two", CUT])            # waits for an Event, then drops the connection

A script is a list of steps: a text is a piece of content, a `Think` a piece of reasoning, a number waits so many seconds,
an Event waits until it is set, a dict is a raw chunk, CUT drops the connection; a single `Fail` answers with a status.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import frozen

from tests.server import PATIENCE

CUT = object()
HELLO = ["Hello", ", ", "world", "!"]


@frozen
class Think:
    text: str


@frozen
class Fail:
    status: int
    message: str


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # a full queue delays a connection by seconds


class ScriptedUpstream:
    """The server; a context manager."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Any]] = {}
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.models: Any = {"object": "list", "data": [{"id": "test/model"}, {"id": "test/other"}]}

    def say(self, prompt: str, script: list[Any]) -> None:
        self.scripts[prompt] = script

    def last_messages(self) -> list[dict[str, Any]]:
        return self.requests[-1]["messages"]

    def __enter__(self) -> ScriptedUpstream:
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"script": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    script: ScriptedUpstream

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.script.models is None:
            self._reply(503, {"error": {"message": "no models now"}})
        else:
            self._reply(200, self.script.models)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.script.requests.append(asked)
        self.script.keys.append(self.headers.get("Authorization"))
        content = asked["messages"][-1]["content"]
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        steps = self.script.scripts.get(text, HELLO)
        if isinstance(steps[0] if steps else None, Fail):
            self._reply(steps[0].status, {"error": {"message": steps[0].message}})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            if self._play(steps):
                self._chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                self._piece(b"data: [DONE]\n\n")
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.close_connection = True
        except OSError:
            self.close_connection = True

    def _play(self, steps: list[Any]) -> bool:
        for step in steps:
            if step is CUT:
                return False
            if isinstance(step, threading.Event):
                step.wait(PATIENCE)
            elif isinstance(step, (int, float)):
                time.sleep(step)
            elif isinstance(step, dict):
                self._chunk(step)
            else:
                key, text = ("reasoning", step.text) if isinstance(step, Think) else ("content", step)
                self._chunk({"choices": [{"index": 0, "delta": {key: text}, "finish_reason": None}]})
        return True

    def _chunk(self, chunk: dict[str, Any]) -> None:
        self._piece(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def _piece(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _reply(self, status: int, data: Any) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
