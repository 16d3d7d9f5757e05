"""Real gunicorn, with workers of each kind, streams a chat-ui's answers with examples/flask_sse.py."""

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
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.chat.replay import wait_until
from tests.processes.helpers import ROOT, PromptedChatUI, environment, text_for
from tests.server import PATIENCE, SOON

pytest.importorskip("gunicorn", reason="gunicorn does not run on this system")
pytest.importorskip("flask")

KINDS = ("sync", "gthread", "gevent")
# gevent has to patch the process before other modules are imported; a worker does it too late for --preload.
PATCHES = "from gevent import monkey\nmonkey.patch_all()\n"


class Gunicorn:
    """The example under gunicorn with two workers; a context manager."""

    def __init__(self, kind: str, prompted: PromptedChatUI, folder: Path, *, preload: bool, patience: int) -> None:
        config = folder / "gunicorn.conf.py"
        config.write_text(PATCHES if kind == "gevent" and preload else "")
        options = ["--worker-class", kind, "--workers", "2", "--graceful-timeout", str(patience), "--config", str(config)]
        options += ["--bind", "127.0.0.1:0", "--worker-tmp-dir", str(folder), "--no-control-socket"]
        options += ["--access-logfile", "-", "--access-logformat", "answered by %(p)s %(q)s"]
        options += ["--threads", "8"] if kind == "gthread" else []
        options += ["--preload"] if preload else []
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, "flask_sse:app"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT / "examples",
            env=environment(HFCLIENT_BASE_URL=prompted.url), start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def __enter__(self) -> Gunicorn:
        try:
            wait_until(lambda: len(self.workers) == 2 or self.process.poll() is not None)
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

    def answered_by(self, prompt: str) -> str:
        """The process id of the worker that answered *prompt*."""
        line = re.compile(rf"answered by <(\d+)> prompt={quote(prompt)}\n")
        wait_until(lambda: line.search(self.said) is not None)
        return line.findall(self.said)[0]

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def ask(self, prompt: str) -> Browser:
        return Browser(self.port, prompt)

    def text(self, prompt: str) -> str:
        with self.ask(prompt) as browser:
            return browser.text()


class Browser:
    """One request to the application; leaving the context manager is like closing the page."""

    def __init__(self, port: int, prompt: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        # Also in the query, for gunicorn's log.
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self._connection.request("POST", f"/ask?prompt={quote(prompt)}", f"prompt={quote(prompt)}", form)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        name = "message"
        for line in self._answer:
            if line.startswith(b"event: "):
                name = line[7:].decode().strip()
            elif line.startswith(b"data: "):
                yield name, json.loads(line[6:])
                name = "message"

    def first_token(self) -> str:
        return next(str(data["text"]) for name, data in self.events() if name == "message")

    def text(self) -> str:
        return "".join(data["text"] for name, data in self.events() if name == "message")

    def body(self) -> Any:
        return json.loads(self._answer.read())

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._answer.close()
        self._connection.close()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of worker."""
    if request.param == "gevent":
        pytest.importorskip("gevent", reason="gevent has no wheel for this Python")
    return str(request.param)


def ask_for(server: Gunicorn, prompt: str) -> str:
    assert server.text(prompt) == text_for(prompt)
    return prompt


def check_log(server: Gunicorn, prompted: PromptedChatUI) -> None:
    """No worker failed, and no connection of hfclient was left open (gunicorn leaves some of its own)."""
    assert "Traceback" not in server.said.replace("tracemalloc to get the object allocation traceback", "")
    assert not [line for line in server.lines if "Warning" in line and str(prompted.port) in line]


def test_browsers(kind: str, prompted: PromptedChatUI, tmp_path: Path) -> None:
    """Each browser gets its own answer piece by piece; closing a page stops its own generation and no other.

    Errors are events, or statuses before the first piece; a server that is stopped does not wait for ever.
    """
    with Gunicorn(kind, prompted, tmp_path, preload=False, patience=1) as server, ThreadPoolExecutor(6) as pool:
        count = prompted.together = 2 if kind == "sync" else 6
        prompts = [f"count {number}" for number in range(count)]
        assert list(pool.map(server.text, prompts)) == [text_for(prompt) for prompt in prompts]
        with server.ask("endless early") as early:
            assert early.first_token() == text_for("endless early", 1)
            prompted.go.set()
            assert server.text("hold other") == text_for("hold other")
            assert prompted.stops == []
        wait_until(lambda: len(prompted.stops_for("endless early")) == 1)
        with server.ask("fail") as failing:
            received = list(failing.events())
        assert received[-1] == ("error", {"status": 502, "message": "The answer failed."})
        assert "".join(data["text"] for _, data in received[:-1]) == text_for("fail", 20)
        wait_until(lambda: "the model is tired" in server.said)
        with server.ask("") as refused:
            assert (refused.status, refused.body()["status"]) == (400, 400)
        wait_until(lambda: prompted.count("delete") == count + 3)
        assert len(prompted.stops) == 1
        with server.ask("endless late") as late:
            late.first_token()
            server.signal(signal.SIGTERM)
            with contextlib.suppress(OSError, http.client.HTTPException):
                late.text()
        started = time.monotonic()
        server.process.wait(PATIENCE)
        assert time.monotonic() - started < SOON
        check_log(server, prompted)


def test_reload_and_stop(kind: str, prompted: PromptedChatUI, tmp_path: Path) -> None:
    """SIGHUP and SIGTERM during streams: a started stream is completed, a later one is served by a new worker.

    The application was loaded before the fork.
    """
    with Gunicorn(kind, prompted, tmp_path, preload=True, patience=8) as server, ThreadPoolExecutor(2) as pool:
        with server.ask("hold over") as held:
            assert held.first_token() == text_for("hold over", 1)
            server.signal(signal.SIGHUP)
            wait_until(lambda: len(server.workers) == 4)
            news = (f"count new{number}" for number in range(100))
            wait_until(lambda: server.answered_by(ask_for(server, next(news))) in server.workers[2:])
            prompted.go.set()
            assert held.text() == text_for("hold over")[len(text_for("hold over", 1)) :]
        assert server.answered_by("hold over") in server.workers[:2]
        # gunicorn ignores further signals until the old workers have exited, and these may still accept a request.
        wait_until(lambda: all(f"exiting (pid: {pid})" in server.said for pid in server.workers[:2]))
        prompted.go.clear()
        with server.ask("hold end") as held:
            assert held.first_token() == text_for("hold end", 1)
            server.signal(signal.SIGTERM)
            wait_until(lambda: "Handling signal: term" in server.said)
            rest = pool.submit(held.text)
            prompted.go.set()
            assert rest.result(PATIENCE) == text_for("hold end")[len(text_for("hold end", 1)) :]
        assert server.process.wait(PATIENCE) == 0
        check_log(server, prompted)
    assert prompted.stops == []
    assert prompted.count("delete") == prompted.count("send")
