"""examples/celery_chat with real processes: gunicorn, a Celery worker and Redis."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("celery")
pytest.importorskip("redis")

from tests.chat.replay import FINISHED, STARTED, final, form_data, log_of, token, wait_until
from tests.deploy.redis_servers import expire_lease
from tests.processes.helpers import ROOT, PromptedChatUI, environment, text_for
from tests.server import PATIENCE
from tests.services import STARTING, RedisServer, free_port


@contextlib.contextmanager
def process(*command: str, log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of the example in a process group of its own."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", *command], stdout=output, stderr=output, start_new_session=True,
            cwd=ROOT / "examples" / "celery_chat", env=environment(HF_HOME="/nonexistent", HFCLIENT_HOME="/nonexistent", **variables),
        )  # fmt: skip
    try:
        yield running
    finally:
        if running.poll() is None:
            running.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


class Site:
    """The example: its servers, and a browser's requests."""

    def __init__(self, chat: PromptedChatUI, folder: Path, stack: contextlib.ExitStack, redis: RedisServer) -> None:
        self.chat, self.redis, self.port, self.log, self._stack = chat, redis, free_port(), folder / "log", stack
        self._variables = {
            "REDIS_URL": redis.url, "LEASE": "100", "HFCLIENT_BASE_URL": chat.url, "HFCLIENT_COOKIE": "hf-chat=c", "HF_TOKEN": "",
        }  # fmt: skip
        self.worker = self.start_worker()
        bind = f"127.0.0.1:{self.port}"
        web = ("gunicorn", "--bind", bind, "--worker-class", "gthread", "--threads", "8", "--workers", "2", "web:app")
        stack.enter_context(process(*web, log=self.log, **self._variables))
        wait_until(lambda: self._is_up() and b" ready." in self.log.read_bytes(), STARTING)

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start a Celery worker with two processes."""
        worker = ("celery", "--app", "tasks", "worker", "--concurrency", "2", "--loglevel", "INFO")
        return self._stack.enter_context(process(*worker, log=self.log, **self._variables))

    def _is_up(self) -> bool:
        with contextlib.suppress(OSError):
            return "run" in self.ask("GET", "/threads/none/run")
        return False

    def open(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request and return the open response."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **headers}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request and return its JSON."""
        with self.open(method, path, body, **headers) as response:
            return json.load(response)

    def prompt(self, thread: str, prompt: str, **headers: str) -> str:
        """Send a prompt; return the id of its run."""
        run: str = self.ask("POST", f"/threads/{thread}/ask", {"prompt": prompt}, **headers)["run"]
        return run


class Browser:
    """Reads a run in a thread."""

    def __init__(self, site: Site, run: str, **headers: str) -> None:
        self.ids: list[str] = []
        self.text = ""
        self.end: dict[str, Any] | None = None
        self.problem: dict[str, Any] | None = None
        self._response = site.open("GET", f"/runs/{run}", **headers)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with self._response as lines:
            kind = ""
            for line in lines:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    self.ids.append(value)
                elif name == "event":
                    kind = value
                elif name == "data" and kind == "end":
                    self.end = json.loads(value)
                elif name == "data" and kind == "problem":
                    self.problem = json.loads(value)
                elif name == "data":
                    event = json.loads(value)
                    self.text += event["text"] if event["event"] == "Token" else ""
                elif not name:
                    kind = ""

    def wait(self) -> Browser:
        """Wait for the end of the response."""
        self._thread.join(2 * PATIENCE)
        assert self.end is not None
        return self


@pytest.fixture
def site(tmp_path: Path, redis_server: RedisServer) -> Iterator[Site]:
    """The running example; its log is shown if the test fails."""
    with PromptedChatUI() as chat, contextlib.ExitStack() as stack:
        made = None
        try:
            made = Site(chat, tmp_path, stack, redis_server)
            yield made
        finally:
            chat.go.set()
            print((tmp_path / "log").read_text("utf-8", "replace")[-6000:])


def test_a_celery_worker_generates(site: Site) -> None:
    """The answer of a task is followed live and again; the next prompt continues the conversation; a stop reaches the task."""
    run = site.prompt("t", "hold a", **{"Idempotency-Key": "m1"})
    live = Browser(site, run)
    wait_until(lambda: len(live.ids) >= 20)
    assert site.ask("GET", "/threads/t/run") == {"run": run}
    assert site.prompt("t", "hold a", **{"Idempotency-Key": "m1"}) == run
    with pytest.raises(urllib.error.HTTPError) as caught:
        site.prompt("t", "count b")
    assert caught.value.code == 409
    caught.value.close()
    site.chat.go.set()
    live.wait()
    assert (live.text, live.end) == (text_for("hold a"), {"status": "completed"})
    late = Browser(site, run, **{"Last-Event-ID": live.ids[10]}).wait()
    assert late.ids == live.ids[11:]
    assert Browser(site, site.prompt("t", "count c")).wait().text == text_for("count c")
    assert len(site.chat.chats) == 1  # both prompts are in one conversation
    endless = site.prompt("t", "endless d")
    live = Browser(site, endless)
    wait_until(lambda: len(live.ids) > 5)
    site.ask("POST", f"/runs/{endless}/stop")
    live.wait()
    assert live.end == {"status": "interrupted"}
    wait_until(lambda: site.chat.stops_for("endless d") != [])
    assert [form_data(sent)["inputs"] for sent in site.chat.of("send")] == ["hold a", "count c", "endless d"]


def test_a_killed_celery_worker(site: Site) -> None:
    """The answer of a worker that was killed is continued from the chat server's log: the same text, and the prompt is sent once."""
    run = site.prompt("t", "hold e")
    live = Browser(site, run)
    wait_until(lambda: len(live.ids) >= 20)
    words = [word + " " for word in text_for("hold e").split(" ")[:-1]]
    for answer in site.chat.chat.answers.values():
        answer.log = log_of(STARTED, *map(token, words), final(text_for("hold e")), FINISHED)
    os.killpg(site.worker.pid, signal.SIGKILL)
    site.worker.wait()
    expire_lease(site.redis.url)
    live.wait()
    assert (live.text, live.end, live.problem) == (text_for("hold e"), {"status": "completed"}, None)
    assert [int(number.rpartition(":")[2]) for number in live.ids] == [*range(1, len(live.ids) + 1)]
    assert site.chat.count("send") == 1
    site.start_worker()
    assert Browser(site, site.prompt("t", "count f")).wait().text == text_for("count f")
    assert site.chat.count("send") == 2
