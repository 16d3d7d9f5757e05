"""An answer as the body of a response: from its stream directly, and through a relay whose run is followed in the same process.

The clients of these benchmarks that need hfclient.web. They are left out of all other measurements.
"""

from __future__ import annotations

import atexit
import itertools
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["DIRECT", "RELAYED", "Direct", "InMemory", "InRedis"]


class Direct:
    """``sse(stream)``."""

    wires: tuple[str, ...] = ()  # of the other measurements

    def __init__(self, origin: str) -> None:
        import hfclient.web.bodies  # noqa: F401 (the package is there)

        self._clients: dict[str, Any] = {}
        self._ids = itertools.count(1)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def _opener(self, wire: str, url: str) -> Callable[[], Any]:
        from hfclient import Client

        client = self._clients.get(url) or self._clients.setdefault(
            url, Client(url, token="", cookies="", inference_url=url)
        )
        if wire == "sse":
            return lambda: client.inference.chat("hi", model="org/model")
        conversation = client.conversation(f"{next(self._ids):024x}")
        return lambda: conversation.send("hi")

    def body(self, wire: str, url: str) -> Iterator[bytes]:
        """Return the body of one answer."""
        from hfclient.web import sse

        return iter(sse(self._opener(wire, url)()))

    def relayed(self, wire: str, url: str, paced: bool) -> dict[str, float]:
        """Read the body of one answer; return its number of tokens, and the CPU of one.

        Of a paced answer it is that from the first to the last token; of another one that of the whole, because a relay reads
        ahead.
        """
        count = first = 0
        begun = started = ended = time.process_time()
        for chunk in self.body(wire, url):
            if found := chunk.count(b'"Token"'):
                ended = time.process_time()
                if not count:
                    started, first = ended, found
                count += found
        cpu = (ended - started) / max(1, count - first) if paced else (time.process_time() - begun) / max(1, count)
        return {"events": count, "cpu": cpu * 1e6}


class InMemory(Direct):
    """``relay.start`` and ``sse(relay.follow(run))`` with a `MemoryStore`."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self._relay: Any = None

    def _store(self) -> Any:
        return None

    def body(self, wire: str, url: str) -> Iterator[bytes]:
        from hfclient.web import Relay, sse

        if self._relay is None:
            self._relay = Relay(self._store())
        run = self._relay.start(next(self._ids), self._opener(wire, url))
        return iter(sse(self._relay.follow(run.id)))


class InRedis(InMemory):
    """The same with a `RedisStore`, on a server of its own."""

    def __init__(self, origin: str) -> None:
        import redis  # noqa: F401 (it is installed)

        if shutil.which("redis-server") is None:
            raise ImportError("redis-server is not installed")
        super().__init__(origin)

    def _store(self) -> Any:
        from hfclient.web import RedisStore

        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        folder = tempfile.TemporaryDirectory(prefix="hfclient-benchmark-")
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder.name]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

        def end() -> None:
            server.terminate()
            server.wait()
            folder.cleanup()

        atexit.register(end)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                time.sleep(0.01)
            else:
                break
        return RedisStore(f"redis://127.0.0.1:{port}/0")


DIRECT = "stream"
"""What the others are compared with."""

RELAYED: dict[str, tuple[type, dict[str, Any]]] = {
    DIRECT: (Direct, {}),
    "relay, memory": (InMemory, {}),
    "relay, Redis": (InRedis, {}),
}
"""By the names that the table uses."""
