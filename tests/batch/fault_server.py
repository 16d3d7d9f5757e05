"""A fast inference server on loopback that limits, fails at random, stalls and dies, and counts what it was asked.

    with FaultServer(limit=20, faults={"500": 0.01, "reset": 0.01}) as server:
        ...  # inference_url=server.url
        assert server.answered == Counter(prompts)

In a process of its own, with its counts at ``GET /counts``:

    python -m tests.batch.fault_server --port 8123 --limit 20 --fault 500=0.01 --fault reset=0.01

It answers ``/v1/chat/completions`` with the last message in capitals, and ``/v1/embeddings`` with the length of each text. All
options are attributes, which may change while it runs. The faults are:

    "500", "429", ...   this status, with an error in JSON
    "reset"             the connection is reset before an answer
    "cut"               half of the answer, then the end of the connection
    "garbage"           an answer of status 200 that is not JSON
    "stall"             no answer, until the client leaves
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

__all__ = ["FaultServer"]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_AUTHORIZATION = re.compile(rb"\r\nauthorization: *Bearer ([^\r]*)", re.IGNORECASE)
_TEXTS = {401: "Unauthorized", 402: "Payment Required", 404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}

Told = Literal["retry-after", "retry-after-ms", "ratelimit", "openai", ""]


class FaultServer:
    """The server, in a thread of its own.

    Args:
        port: 0 chooses one; the same port is used again after :meth:`die`.
        limit: Answers within *window*, sliding; more requests are refused. None for no limit.
        window: In seconds.
        limits: Limits of their own for models whose name ends so: ``{":novita": 20}``.
        concurrent: Most answers at a time; more requests are refused with a 503 without a time.
        told: The headers of a 429 that say how long to wait; "" says nothing.
        announce: Whether successful answers have ``x-ratelimit-*`` headers.
        faults: Probability of each fault.
        most_faults: Most faults for one prompt; None for any number.
        seed: Of the faults.
        seconds: Time that an answer takes, or a function that returns it.
        tokens: The tokens of an answer, for its usage.
        keys: API keys that are accepted; None accepts all, and none at all.
        refusal: Status and error of all answers from now on, such as ``(402, {"message": "no credits"})``.
        die_after: The server dies with this answer, and comes back after *down* seconds (None: with :meth:`restart`).
        count: Whether prompts are counted, which takes memory.

    Attributes:
        asked: How often each prompt was received.
        answered: How often each prompt was answered, completely.
        outcomes: How often each status was sent and each fault happened.
        started: Times of the admitted requests, of ``time.monotonic``.
        most_running: Most answers at a time so far.
        connections: Connections accepted so far.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        limit: int | None = None,
        window: float = 1.0,
        limits: Mapping[str, int] | None = None,
        concurrent: int | None = None,
        told: Told = "retry-after",
        announce: bool = False,
        faults: Mapping[str, float] | None = None,
        most_faults: int | None = None,
        seed: int = 0,
        seconds: float | Callable[[], float] = 0.0,
        tokens: int = 8,
        keys: Iterable[str] | None = None,
        refusal: tuple[int, Any] | None = None,
        die_after: int | None = None,
        down: float | None = None,
        count: bool = True,
    ) -> None:
        self.port = port
        self.limit = limit
        self.window = window
        self.limits = dict(limits or {})
        self.concurrent = concurrent
        self.told = told
        self.announce = announce
        self.faults = dict(faults or {})
        self.most_faults = most_faults
        self.seconds = seconds
        self.tokens = tokens
        self.keys = None if keys is None else set(keys)
        self.refusal = refusal
        self.die_after = die_after
        self.down = down
        self.count = count
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.started: list[float] = []
        self.running = 0
        self.most_running = 0
        self.connections = 0
        self._random = random.Random(seed)
        self._failed: Counter[str] = Counter()
        self._admitted: dict[str, collections.deque[float]] = collections.defaultdict(collections.deque)
        self._loop = asyncio.new_event_loop()
        self._open: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._run, name="fault-server", daemon=True)

    @property
    def url(self) -> str:
        """The base URL of the API, with ``/v1``."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> FaultServer:
        self._thread.start()
        self.restart()
        return self

    def close(self) -> None:
        self.die()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def __enter__(self) -> FaultServer:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def die(self) -> None:
        """Reset all connections, and refuse new ones."""
        asyncio.run_coroutine_threadsafe(self._die(), self._loop).result()

    def restart(self) -> None:
        """Listen again, on the same port."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def counts(self) -> dict[str, Any]:
        """Return the counts as JSON, as ``GET /counts`` does."""
        return {
            "asked": dict(self.asked),
            "answered": dict(self.answered),
            "outcomes": dict(self.outcomes),
            "most_running": self.most_running,
            "connections": self.connections,
        }

    # In the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(asyncio.sleep(0))  # connections that were reset are closed
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _die(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            for listener in server.sockets:
                self._loop.remove_reader(listener.fileno())
            for _ in range(5):  # connections that are being accepted: asyncio would leave them open
                await asyncio.sleep(0)
            server.close()
        for connection in list(self._open):
            connection.transport.abort()

    def _revive(self) -> None:
        self._reviving = self._loop.create_task(self._listen())

    def _received(self, connection: _Connection, head: bytes, body: bytes) -> None:
        """Decide what becomes of a request."""
        method, target = head.split(b" ", 2)[:2]
        if method == b"GET":
            known: Any = self.counts() if target.endswith(b"/counts") else {"object": "list", "data": [{"id": "m", "object": "model"}]}
            connection.send(200, known)
            return
        data = json.loads(body)
        prompts = _prompts(data)
        if self.count:
            self.asked.update(prompts)
        if self.refusal is not None:
            self._refuse(connection, *self.refusal)
            return
        key = _AUTHORIZATION.search(head)
        if self.keys is not None and (key is None or key[1].decode() not in self.keys):
            self._refuse(connection, 401, {"message": "the key is not valid", "code": "invalid_api_key"})
            return
        if self.concurrent is not None and self.running >= self.concurrent:
            self._refuse(connection, 503, {"message": "the server is busy"})
            return
        allowed, left, wait = self._admit(str(data.get("model", "")))
        if not allowed:
            self._refuse(connection, 429, {"message": "too many requests", "code": "rate_limit_exceeded"}, self._told(wait))
            return
        fault = self._fault(prompts)
        if fault is not None:
            self.outcomes[fault] += not fault.isdigit()
            if fault.isdigit():
                self._refuse(connection, int(fault), {"message": f"a fault with {fault}"})
            elif fault == "reset":
                connection.transport.abort()
            elif fault == "cut":
                connection.cut(_answer(data, prompts, self.tokens))
            elif fault == "garbage":
                connection.send_bytes(200, b"<html>all is well</html>", "application/json")
            return  # of "stall" too
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        headers = {}
        if self.announce:
            headers = {"x-ratelimit-remaining-requests": str(left), "x-ratelimit-reset-requests": f"{int(wait * 1000) + 1}ms"}
        if seconds := self.seconds() if callable(self.seconds) else self.seconds:
            self._loop.call_later(seconds, self._finish, connection, data, prompts, headers)
        else:
            self._finish(connection, data, prompts, headers)

    def _admit(self, model: str) -> tuple[bool, int, float]:
        """Return whether a request is within the limit, how many more are, and the seconds until the next one is if not."""
        name, limit = next(((end, most) for end, most in self.limits.items() if model.endswith(end)), ("", self.limit))
        now = time.monotonic()
        if limit is None:
            if self.count:
                self.started.append(now)
            return True, 1_000_000, 0.0
        admitted = self._admitted[name]
        while admitted and admitted[0] <= now - self.window:
            admitted.popleft()
        if len(admitted) >= limit:
            return False, 0, admitted[0] + self.window - now
        admitted.append(now)
        if self.count:
            self.started.append(now)
        return True, limit - len(admitted), admitted[0] + self.window - now

    def _told(self, wait: float) -> dict[str, str]:
        if self.told == "retry-after":
            return {"Retry-After": str(int(wait) + 1)}
        if self.told == "retry-after-ms":
            return {"retry-after-ms": str(int(wait * 1000) + 1)}
        if self.told == "ratelimit":
            return {"RateLimit": f'"default";r=0;t={int(wait) + 1}'}
        if self.told == "openai":
            return {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": f"{int(wait * 1000) + 1}ms"}
        return {}

    def _fault(self, prompts: list[str]) -> str | None:
        if not self.faults:
            return None
        prompt = prompts[0] if prompts else ""
        drawn = self._random.random()
        for fault, probability in self.faults.items():
            drawn -= probability
            if drawn < 0:
                if self.most_faults is not None and self._failed[prompt] >= self.most_faults:
                    return None
                self._failed[prompt] += self.most_faults is not None
                return fault
        return None

    def _refuse(self, connection: _Connection, status: int, error: Any, headers: Mapping[str, str] | None = None) -> None:
        self.outcomes[str(status)] += 1
        connection.send(status, {"error": error}, headers)

    def _finish(self, connection: _Connection, data: dict[str, Any], prompts: list[str], headers: Mapping[str, str]) -> None:
        self.running -= 1
        if connection.transport.is_closing():
            self.outcomes["left"] += 1
            return
        self.outcomes["200"] += 1  # before it is sent: a client that has the answer sees its count
        if self.count:
            self.answered.update(prompts)
        answer = _answer(data, prompts, self.tokens)
        if data.get("stream"):
            connection.send_bytes(200, _stream(answer), "text/event-stream", headers)
        else:
            connection.send(200, answer, headers)
        if self.die_after is not None and self.outcomes["200"] >= self.die_after:
            self.die_after = None
            if self.down is not None:
                self._loop.call_later(self.down, self._revive)
            self._dying = self._loop.create_task(self._die())


class _Connection(asyncio.Protocol):
    """One connection. Requests on it come one after the other."""

    transport: asyncio.Transport

    def __init__(self, server: FaultServer) -> None:
        self._server = server
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.connections += 1
        self._server._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._open.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self.transport.is_closing() and (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end])
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < size:
                return
            body = bytes(self._buffer[end + 4 : size])
            del self._buffer[:size]
            self._server._received(self, head, body)

    def send(self, status: int, answer: Any, headers: Mapping[str, str] | None = None) -> None:
        self.send_bytes(status, json.dumps(answer).encode(), "application/json", headers)

    def send_bytes(self, status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.transport.write(_head(status, len(body), kind, headers) + body)

    def cut(self, answer: Any) -> None:
        body = json.dumps(answer).encode()
        self.transport.write(_head(200, len(body), "application/json") + body[: len(body) // 2])
        self.transport.close()


def _head(status: int, length: int, kind: str, headers: Mapping[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} {_TEXTS.get(status, 'Whatever')}", f"Content-Type: {kind}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _prompts(data: Mapping[str, Any]) -> list[str]:
    """Return the prompt, or the texts of a request for embeddings."""
    if "input" in data:
        texts = data["input"]
        return [texts] if isinstance(texts, str) else [str(text) for text in texts]
    messages = data.get("messages")
    if not messages:
        return [str(data.get("prompt", ""))]
    content = messages[-1].get("content") or ""
    return [content if isinstance(content, str) else "".join(part.get("text", "") for part in content)]


def _answer(data: Mapping[str, Any], prompts: list[str], tokens: int) -> dict[str, Any]:
    model = data.get("model", "m")
    usage = {"prompt_tokens": tokens // 2, "completion_tokens": tokens - tokens // 2, "total_tokens": tokens}
    if "input" in data:
        vectors = [{"object": "embedding", "index": at, "embedding": [float(len(text)), 1.0]} for at, text in enumerate(prompts)]
        return {"object": "list", "model": model, "data": vectors, "usage": usage}
    message = {"role": "assistant", "content": prompts[0].upper()}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}


def _stream(answer: dict[str, Any]) -> bytes:
    choice = answer["choices"][0]
    pieces = [
        {**answer, "object": "chat.completion.chunk", "usage": None, "choices": [{"index": 0, "delta": choice["message"], "finish_reason": None}]},
        {**answer, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    return b"".join(b"data: %s\n\n" % json.dumps(piece).encode() for piece in pieces) + b"data: [DONE]\n\n"


def main() -> None:
    """Run the server until Ctrl-C or a signal; its URL is the first line of the output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--window", type=float, default=1.0)
    parser.add_argument("--concurrent", type=int)
    parser.add_argument("--told", default="retry-after", choices=["retry-after", "retry-after-ms", "ratelimit", "openai", ""])
    parser.add_argument("--announce", action="store_true")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=PROBABILITY")
    parser.add_argument("--most-faults", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--key", action="append", dest="keys")
    parser.add_argument("--die-after", type=int)
    parser.add_argument("--down", type=float)
    parser.add_argument("--no-count", dest="count", action="store_false")
    options = vars(parser.parse_args())
    faults = {name: float(probability) for name, _, probability in (text.partition("=") for text in options.pop("fault"))}
    with FaultServer(faults=faults, **options) as server:
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server._thread.join()


if __name__ == "__main__":
    main()
