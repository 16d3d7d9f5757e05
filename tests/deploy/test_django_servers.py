"""The views of the tests' Django project behind real servers: gunicorn with each kind of worker, and uvicorn."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests import services
from tests.chat.replay import wait_until
from tests.processes.helpers import ROOT, PromptedChatUI, environment, text_for
from tests.server import PATIENCE, json_answer

pytest.importorskip("django")
pytest.importorskip("gunicorn", reason="gunicorn does not run on this system")

GUNICORN = ["-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", "--graceful-timeout", "2"]
WSGI = "django.core.wsgi:get_wsgi_application()"
SERVERS: dict[str, list[str]] = {
    "sync": [*GUNICORN, "--worker-class", "sync", WSGI],
    "gthread": [*GUNICORN, "--worker-class", "gthread", "--threads", "16", WSGI],
    "workers": [*GUNICORN, "--worker-class", "gthread", "--threads", "8", "--workers", "2", WSGI],
    "preload": [*GUNICORN, "--worker-class", "gthread", "--threads", "8", "--workers", "2", "--preload", WSGI],
    "gevent": [*GUNICORN, "--worker-class", "gevent", WSGI],
    "uvicorn": ["-m", "uvicorn", "--port", "0", "--factory", "django.core.asgi:get_asgi_application"],
    "runserver": ["-m", "django", "runserver", "--noreload", "--nostatic", "PORT"],
    "waitress": ["-m", "waitress", "--listen", "127.0.0.1:0", "--threads", "16", "--call", "django.core.wsgi:get_wsgi_application"],
    "asgi workers": [*GUNICORN, "--worker-class", "asgi", "django.core.asgi:get_asgi_application()"],
}


class Site:
    """The project behind a server with one worker; a context manager."""

    def __init__(self, kind: str, ui: PromptedChatUI, folder: Path, redis: str | None = None) -> None:
        self.kind = kind
        options: dict[str, Any] = {"base_url": ui.url, "token": "", "cookies": "", "session": "private"}
        site: dict[str, Any] = {"hfclient": options}
        if redis is not None:
            options |= {"relay": {"store": redis}, "guard": {"store": redis, "requests": "3/day"}}
            site["cache"] = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis}
            site["database"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "database")}
        command = [sys.executable, *(str(services.free_port()) if word == "PORT" else word for word in SERVERS[kind])]
        self.environment = environment(
            DJANGO_SETTINGS_MODULE="tests.web.django_site.settings", SITE=json.dumps(site), PYTHONWARNINGS="ignore"
        )
        self._log = (folder / "log").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True, env=self.environment
        )  # fmt: skip
        self.port = 0

    @property
    def said(self) -> str:
        return Path(self._log.name).read_text("utf-8")

    def __enter__(self) -> Site:
        running = re.compile(r"(?:Listening at: http|running on http|Serving on http|server at http)://127\.0\.0\.1:(\d+)")
        try:
            wait_until(lambda: running.search(self.said) is not None or self.process.poll() is not None, services.STARTING)
            found = running.search(self.said)
            assert found is not None, self.said
            self.port = int(found[1])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with self.process:
            self._log.close()

    @contextlib.contextmanager
    def post(self, page: str, prompt: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        form = {"Content-Type": "application/x-www-form-urlencoded", "Connection": "close"}
        with contextlib.closing(connection):
            connection.request("POST", page, f"prompt={quote(prompt)}", {**form, **headers})
            with connection.getresponse() as response:
                yield response

    def alive(self) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", "/alive", headers={"Connection": "close"})
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer

    def visit(self, page: str, prompt: str) -> socket.socket:
        """Send a prompt and return the socket of the answer, which is not read."""
        body = f"prompt={quote(prompt)}"
        head = f"POST {page} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        visitor = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        visitor.sendall(head.encode() + body.encode())
        return visitor


@pytest.fixture
def ui() -> Iterator[PromptedChatUI]:
    with PromptedChatUI() as served:
        yield served
        served.go.set()


@pytest.fixture(params=[kind for kind in SERVERS if kind not in ("workers", "preload")])
def site(request: pytest.FixtureRequest, ui: PromptedChatUI, tmp_path: Path) -> Iterator[Site]:
    if request.param == "gevent":
        pytest.importorskip("gevent")
    if request.param in ("uvicorn", "waitress"):
        pytest.importorskip(request.param)
    with Site(request.param, ui, tmp_path) as running:
        yield running


def _frames(body: bytes) -> list[tuple[str, Any]]:
    found = []
    for frame in body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if not line.startswith(":"))
        if "data" in fields:
            found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


def _text(body: bytes) -> str:
    return "".join(data["text"] for name, data in _frames(body) if name == "message" and data["event"] == "Token")


def test_answers(site: Site, ui: PromptedChatUI) -> None:
    """Views and coroutines stream answers; pieces arrive while the answer is being written, though the browser accepts gzip."""
    for number, page in enumerate(("/ask", "/quick", "/from_coroutine", "/awaited")):
        prompt = f"count {number}"
        with site.post(page, prompt, **{"Accept-Encoding": "gzip, br"}) as response:
            assert (response.status, response.headers["Content-Encoding"]) == (200, "identity")
            assert _text(response.read()) == text_for(prompt)
    with site.post("/ask", "hold 1", **{"Accept-Encoding": "gzip"}) as response:
        begun = b""
        while b"hold-1.19 " not in begun:
            begun += response.read1(65536)
        ui.go.set()
        assert _text(begun + response.read()) == text_for("hold 1")
    assert ("one request at a time" in site.said) is (site.kind == "sync")


@pytest.mark.parametrize("page", ["/ask?wait=1", "/quick", "/from_coroutine", "/awaited?wait=1"])
def test_the_browser_leaves(page: str, site: Site, ui: PromptedChatUI) -> None:
    """When the browser leaves while the model is silent, in mid-answer or before its first word, the answer is stopped soon."""
    for prompt in ("hold 1", "mute 2"):
        visitor = site.visit(page, prompt)
        ui.wait_for_prompt(prompt)
        assert visitor.recv(65536)
        visitor.close()
        wait_until(lambda prompt=prompt: len(ui.stops_for(prompt)) == 1)  # type: ignore[misc]
    assert site.alive()["time"]


@pytest.mark.parametrize("page", ["/ask?wait=2", "/awaited?wait=2"])
def test_the_browser_leaves_before_the_response_begins(page: str, site: Site, ui: PromptedChatUI) -> None:
    """So it is when the browser leaves while the view still waits for a refusal."""
    visitor = site.visit(page, "mute 1")
    ui.wait_for_prompt("mute 1")
    visitor.close()
    wait_until(lambda: len(ui.stops_for("mute 1")) == 1)
    wait_until(lambda: "mute 1" in site.alive()["closed"])


def test_refusals(site: Site, ui: PromptedChatUI) -> None:
    """A refusal is the status of the response; a failure in mid-answer is an event; a bug of the application is Django's."""
    for page in ("/ask", "/whole", "/awaited"):
        ui.fault("send", json_answer({"message": "internals"}, 429, "Retry-After: 7"))
        with site.post(page, "count 1") as response:
            body = response.read()
            assert (response.status, response.headers["Content-Type"]) == (429, "application/problem+json")
            assert (response.headers["Retry-After"], b"internals" in body) == ("7", False)
    with site.post("/ask", "fail 1") as response:
        (name, problem), end = _frames(response.read())[-2:]
    assert (name, problem["status"], end) == ("problem", 502, ("end", {"status": "failed"}))
    with site.post("/broken", "") as response:
        assert (response.status, response.headers["Content-Type"]) == (500, "text/html; charset=utf-8")
    with site.post("/ask", "count 1", **{"Last-Event-ID": "3"}) as response:
        assert response.status == 204
    assert "internals" in site.said  # for the operator


def test_answers_side_by_side(site: Site, ui: PromptedChatUI) -> None:
    """While twelve answers are held, other requests are answered; then each has its own text, and no thread is left.

    Under gevent Django runs one coroutine at a time: asyncio allows one loop in a thread.
    """
    if site.kind == "sync":
        pytest.skip("one answer at a time")
    before = len(site.alive()["threads"])
    results: dict[str, bytes] = {}

    def read(page: str, prompt: str) -> None:
        with site.post(page, prompt) as response:
            results[prompt] = response.read()

    pages = ("/quick", "/quick" if site.kind == "gevent" else "/from_coroutine")
    threads = [threading.Thread(target=read, args=(pages[number % 2], f"hold {number}")) for number in range(12)]
    for thread in threads:
        thread.start()
    for number in range(12):
        ui.wait_for_prompt(f"hold {number}")
    for _ in range(20):
        assert site.alive()["time"]
    ui.go.set()
    for thread in threads:
        thread.join()
    assert {prompt: _text(body) for prompt, body in results.items()} == {f"hold {n}": text_for(f"hold {n}") for n in range(12)}
    wait_until(lambda: not [name for name in site.alive()["threads"] if name.startswith("hfclient")])
    assert len(site.alive()["threads"]) <= before + 20  # those of the server's own pools


@pytest.mark.parametrize("kind", ["workers", "preload"])
def test_several_workers(kind: str, ui: PromptedChatUI, redis_server: services.RedisServer, tmp_path: Path) -> None:
    """With Redis, workers share runs, locks and limits: one follows what another generates, and refuses what another holds."""
    with Site(kind, ui, tmp_path, redis_server.url) as site:
        migrated = subprocess.run([sys.executable, "-m", "django", "migrate", "--run-syncdb"], cwd=ROOT, env=site.environment, capture_output=True, check=False)
        assert migrated.returncode == 0, migrated.stderr
        pids: set[int] = set()
        wait_until(lambda: pids.add(site.alive()["pid"]) or len(pids) == 2)  # type: ignore[func-returns-value]
        with site.post("/start", "hold 1") as response:
            run = json.loads(response.read())["run"]
        ui.wait_for_prompt("hold 1")
        followers = [site.visit(f"/runs/{run}", "") for _ in range(6)]
        with site.post("/start", "hold 2") as response:
            assert (response.status, json.loads(response.read())["run"]) == (409, run)
        ui.go.set()
        for follower in followers:
            with follower:
                body = b""
                while piece := follower.recv(65536):
                    body += piece
            assert text_for("hold 1").split()[-1].encode() in body
            assert b"event: end" in body
        assert ui.count("send") == 1

        holder = site.visit("/locked", "endless 1")
        ui.wait_for_prompt("endless 1")
        for _ in range(6):
            with site.post("/locked", "count 2") as response:
                assert (response.status, json.loads(response.read())["code"]) == (409, "busy")
        holder.close()
        wait_until(lambda: len(ui.stops_for("endless 1")) == 1)

        def locked() -> int:
            with site.post("/locked", "few 3") as response:
                response.read()
                return response.status

        wait_until(lambda: locked() == 200)
        statuses = []
        for _ in range(6):
            with site.post("/guarded", "few 4") as response:
                response.read()
                statuses.append(response.status)
        assert statuses == [200] * 3 + [429] * 3

        command = [sys.executable, "-m", "django", "hfclient_check", "--json", "--seconds", "20"]
        checked = subprocess.run(command, cwd=ROOT, env=site.environment, capture_output=True, text=True, check=False)
        stores = {check["name"]: check["status"] for check in json.loads(checked.stdout)["checks"]}
        assert (stores["relay store"], stores["guard store"]) == ("ok", "ok"), checked.stdout
        redis_server.stop()
        for page in ("/start", "/locked"):
            with site.post(page, "count 9") as response:
                assert (response.status, json.loads(response.read())["code"]) == (503, "store-unavailable")


def test_behind_nginx(ui: PromptedChatUI, tmp_path: Path) -> None:
    """nginx, with buffering and compression on, passes each piece on as it comes, and a browser that leaves is noticed."""
    with Site("gthread", ui, tmp_path) as site, services.Nginx(site.port, http="gzip on; gzip_types *; gzip_min_length 0;") as nginx:
        site.port = nginx.port
        for prompt in ("hold 1", "hold 2"):
            ui.go.clear()
            with site.post("/quick", prompt, **{"Accept-Encoding": "gzip"}) as response:
                begun = b""
                while f"{prompt.replace(' ', '-')}.19 ".encode() not in begun:
                    begun += response.read1(65536)
                assert response.headers["Content-Encoding"] in (None, "identity")
                if prompt == "hold 1":
                    ui.go.set()
                    assert _text(begun + response.read()) == text_for(prompt)
        wait_until(lambda: len(ui.stops_for("hold 2")) == 1)
        ui.fault("send", json_answer({"message": "internals"}, 429))
        with site.post("/ask", "count 1") as response:
            assert (response.status, response.headers["Content-Type"]) == (429, "application/problem+json")


def test_a_graceful_end(site: Site, ui: PromptedChatUI) -> None:
    """SIGTERM ends the server while an answer is held; no process is left."""
    visitor = site.visit("/quick", "hold 1")
    ui.wait_for_prompt("hold 1")
    site.process.terminate()
    visitor.close()
    assert site.process.wait(PATIENCE) is not None
