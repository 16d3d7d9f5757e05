"""Real gunicorn with workers of each kind, and browsers that read server-sent events from it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chat.replay import wait_until
from tests.processes.helpers import ROOT, environment
from tests.server import PATIENCE
from tests.services import STARTING

__all__ = ["KINDS", "Browser", "Gunicorn"]

KINDS = ("sync", "gthread", "gevent")
# gevent has to patch the process before other modules are imported; a worker does it too late for --preload.
_PATCHES = "from gevent import monkey\nmonkey.patch_all()\n"


class Gunicorn:
    """An application under gunicorn; a context manager.

    Args:
        app: Its module and name, such as ``"shop:app"``.
        kind: The kind of workers.
        folder: For its files; also the working directory.
        workers: How many.
        options: Further options.
        config: Further lines of its configuration file.
        variables: Of the environment.

    Attributes:
        port: Where it listens.
    """

    def __init__(
        self, app: str, kind: str, folder: Path, *options: str, workers: int = 2, config: str = "", **variables: str
    ) -> None:
        file = folder / "gunicorn.conf.py"
        file.write_text((_PATCHES if kind == "gevent" and "--preload" in options else "") + config)
        self._workers = workers
        own = ["--worker-class", kind, "--workers", str(workers), "--config", str(file), "--bind", "127.0.0.1:0"]
        own += ["--worker-tmp-dir", str(folder), "--no-control-socket"]
        own += ["--access-logfile", "-", "--access-logformat", "answered by %(p)s %(q)s"]
        own += ["--threads", "8"] if kind == "gthread" else []
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *own, *options, app],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
            env=environment(**{"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), **variables}), start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def said(self) -> str:
        """Its log so far."""
        return "".join(self.lines)

    def __enter__(self) -> Gunicorn:
        try:
            wait_until(lambda: len(self.workers) == self._workers or self.process.poll() is not None, STARTING)
            self.port = int(re.findall(r"Listening at: http://127\.0\.0\.1:(\d+)", self.said)[0])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # all of it, if a test failed before it was stopped
            os.killpg(self.process.pid, signal.SIGKILL)
        with self.process:
            self._reader.join(PATIENCE)

    @property
    def workers(self) -> list[str]:
        """The process ids of the workers that have been started so far, oldest first."""
        return re.findall(r"Booting worker with pid: (\d+)", self.said)

    def answered_by(self, query: str) -> str:
        """The process id of the worker that answered the request with this query."""
        line = re.compile(rf"answered by <(\d+)> {re.escape(query)}\n")
        wait_until(lambda: line.search(self.said) is not None)
        return line.findall(self.said)[0]

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def check_log(self, port: int) -> None:
        """No worker failed, and no connection to *port* was left open (gunicorn leaves some of its own)."""
        assert "Traceback" not in self.said.replace("tracemalloc to get the object allocation traceback", ""), self.said
        assert not [line for line in self.lines if "Warning" in line and str(port) in line]


class Browser:
    """One request; leaving the context manager is like closing the page.

    Attributes:
        status, headers: Of the response.
        heartbeats: How many heartbeats have been read.
    """

    def __init__(self, port: int, method: str, path: str, body: Any = None, **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, {"Content-Type": "application/json", **fields} if data else fields)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.headers = self._answer.headers
        self.heartbeats = 0

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and data of each event."""
        name = "message"
        for line in self._answer:
            if line.startswith(b"event: "):
                name = line[7:].decode().strip()
            elif line.startswith(b": ping"):
                self.heartbeats += 1
            elif line.startswith(b"data: "):
                yield name, json.loads(line[6:])
                name = "message"

    def tokens(self) -> Iterator[str]:
        """Yield the text of each token."""
        return (str(data["text"]) for name, data in self.events() if name == "message" and data["event"] == "Token")

    def text(self) -> str:
        """Return the rest of the text."""
        return "".join(self.tokens())

    def heartbeat(self) -> None:
        """Wait for a heartbeat."""
        assert any(line.startswith(b": ping") for line in self._answer)

    def body(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self._answer.read())

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._answer.close()
        self._connection.close()
