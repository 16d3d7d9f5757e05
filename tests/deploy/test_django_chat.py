"""examples/django_chat in real web servers, with real stores, used in a real browser."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient.local import LocalServer
from tests.chat.replay import FINISHED, JSONL, STARTED, ChatUI, final, lines, token, wait_until
from tests.local.upstream import Fail, ScriptedUpstream
from tests.processes.helpers import ROOT, environment
from tests.server import LAST_CHUNK, PATIENCE, Recorded, chunk, head
from tests.services import STARTING, PostgreSQL, RedisServer, free_port

pytest.importorskip("django")
pytest.importorskip("playwright")

EXAMPLE = ROOT / "examples" / "django_chat"
PREPARE = """
import django
from django.core.management import call_command
django.setup()
call_command("migrate", verbosity=0)
from django.contrib.auth import get_user_model
for name in ("ann", "bob"):
    if not get_user_model().objects.filter(username=name).exists():
        get_user_model().objects.create_user(name, password=name)
"""
pytestmark = pytest.mark.timeout(240)  # Django, a browser and their servers start
SERVERS = {
    "gthread": ["gunicorn", "--worker-class", "gthread", "--threads", "16", "--graceful-timeout", "2", "config.wsgi"],
    "gevent": ["gunicorn", "--worker-class", "gevent", "--graceful-timeout", "2", "config.wsgi"],
    "uvicorn": ["uvicorn", "--no-access-log", "--timeout-graceful-shutdown", "2", "config.asgi:application"],
}
WORDS = [f"word{number} " for number in range(40)]
TEXT = "".join(WORDS).strip()
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
HOSTILE = """<script>document.title = "owned"</script><img src=x onerror="document.title = 'owned'">

[click](javascript:alert(1)) ![pixel](https://evil.example/pixel.png?secret) <svg onload="alert(1)">"""


class Site:
    """The example in a web server; a context manager.

    Attributes:
        url: Its address.
        process: The server's first process.
    """

    def __init__(self, kind: str, chat_url: str, folder: Path, *, workers: int = 1, **variables: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.variables = environment(
            HFCLIENT_BASE_URL=chat_url,
            HFCLIENT_HOME=str(folder / "hfclient"),
            CHAT_DATA=str(folder),
            DJANGO_SETTINGS_MODULE="config.settings",
            **{"CHAT_LIMIT": "1000/minute", **variables},
        )
        address = ["--host", "127.0.0.1", "--port", str(self.port)] if kind == "uvicorn" else ["--bind", f"127.0.0.1:{self.port}"]
        own = [] if kind == "uvicorn" else ["--worker-tmp-dir", str(folder), "--no-control-socket"]
        self.command = [sys.executable, "-m", *SERVERS[kind], *address, *own, "--workers", str(workers)]

    def __enter__(self) -> Site:
        subprocess.run([sys.executable, "-c", PREPARE], cwd=EXAMPLE, env=self.variables, check=True, timeout=STARTING)
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command, cwd=EXAMPLE, env=self.variables, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(lambda: "Booting worker" in self.log or "startup complete" in self.log or self.process.poll() is not None, STARTING)
        assert self.process.poll() is None, self.log
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    @property
    def workers(self) -> list[int]:
        """The process ids of gunicorn's workers that have been started so far, oldest first."""
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.log)]


class User:
    """A user with a browser of their own, logged in."""

    def __init__(self, chromium: Any, site: Site, name: str) -> None:
        self.site = site
        self.context = chromium.new_context()
        self.context.set_default_timeout(STARTING * 1000)
        self.page = self.context.new_page()
        self.page.goto(f"{site.url}/login/")
        self.page.fill("[name=username]", name)
        self.page.fill("[name=password]", name)
        self.page.click("text=Log in >> nth=-1")
        self.page.wait_for_selector("#prompt")

    def ask(self, prompt: str) -> None:
        self.wait_for_end()
        self.page.fill("#prompt", prompt)
        self.page.press("#prompt", "Enter")

    def wait_for_end(self, page: Any = None) -> None:
        (page or self.page).wait_for_selector("main[data-state=idle]")

    def answer(self, page: Any = None) -> str:
        """The text of the last answer."""
        return str((page or self.page).locator("article.assistant").last.locator(".markdown").last.inner_text())

    def wait_for_text(self, text: str, page: Any = None) -> None:
        (page or self.page).locator("article.assistant").last.get_by_text(text).wait_for()

    def path(self) -> str:
        return str(self.page.evaluate("location.pathname"))

    def post(self, path: str, **options: Any) -> Any:
        """Send a POST with the page's CSRF token, as a script of this user would."""
        token = self.page.locator("[name=csrfmiddlewaretoken]").first.input_value()
        headers = {"X-CSRFToken": token, "Referer": self.site.url, **options.pop("headers", {})}
        return self.page.request.post(self.site.url + path, headers=headers, **options)

    def close(self) -> None:
        self.context.close()


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    """The model: what it says is in the test."""
    with ScriptedUpstream() as scripted:
        yield scripted


@pytest.fixture
def chat_url(upstream: ScriptedUpstream) -> Iterator[str]:
    """A chat server in this process."""
    server = LocalServer(upstream=upstream.url).start()
    yield server.url
    server.close()


@pytest.fixture(params=["gthread", "gevent", "uvicorn"])
def site(request: pytest.FixtureRequest, chat_url: str, tmp_path: Path) -> Iterator[Site]:
    """The example in each kind of server, with one worker and its defaults: SQLite, a relay in memory."""
    with Site(request.param, chat_url, tmp_path) as running:
        yield running


@pytest.fixture
def simple_site(chat_url: str, tmp_path: Path) -> Iterator[Site]:
    """The example in one kind of server, for what does not depend on it."""
    with Site("gthread", chat_url, tmp_path) as running:
        yield running


@pytest.fixture
def ann(site: Site, chromium: Any) -> Iterator[User]:
    """A user of `site`."""
    user = User(chromium, site, "ann")
    yield user
    user.close()


@contextlib.contextmanager
def logged_in(chromium: Any, site: Site, *names: str) -> Iterator[list[User]]:
    """Users with browsers of their own."""
    users = [User(chromium, site, name) for name in names]
    try:
        yield users
    except Exception:
        print(*[user.page.inner_text("body") for user in users], site.log, sep="\n\n")  # pytest shows this
        raise
    finally:
        for user in users:
            user.close()


def prompts(upstream: ScriptedUpstream) -> list[str]:
    """What the model was asked."""
    return [request["messages"][-1]["content"] for request in upstream.requests]


def test_an_answer_survives_refresh_and_shows_in_two_tabs(ann: User, upstream: ScriptedUpstream) -> None:
    """Tokens arrive while the model writes; a refresh and a second tab show the same text; the model is asked once."""
    first, second = threading.Event(), threading.Event()
    upstream.say("Count", [*WORDS[:10], first, *WORDS[10:20], second, *WORDS[20:]])
    ann.ask("Count")
    ann.wait_for_text("word9")
    assert "word10" not in ann.answer()
    ann.page.reload()
    ann.wait_for_text("word9")
    tab = ann.context.new_page()
    tab.goto(ann.page.url)
    ann.wait_for_text("word9", tab)
    first.set()
    ann.wait_for_text("word19", tab)
    ann.wait_for_text("word19")
    second.set()
    for page in (tab, ann.page):
        ann.wait_for_end(page)
        ann.wait_for_text("word39", page)
        assert ann.answer(page).strip() == TEXT
        assert page.locator("article.user").count() == 1
    assert prompts(upstream) == ["Count"]


def test_a_tab_that_is_open_already_follows(ann: User, upstream: ScriptedUpstream) -> None:
    """A message that is sent in one tab shows, with its answer, in another tab of the thread."""
    ann.ask("Hi")
    ann.wait_for_end()
    tab = ann.context.new_page()
    tab.goto(ann.page.url)
    ann.wait_for_end(tab)
    gate = threading.Event()
    upstream.say("Count", [*WORDS[:10], gate, *WORDS[10:]])
    ann.ask("Count")
    ann.wait_for_text("word9", tab)
    gate.set()
    ann.wait_for_end(tab)
    assert ann.answer(tab).strip() == TEXT


def test_stop_retry_edit_and_versions(ann: User, upstream: ScriptedUpstream) -> None:
    """An answer is stopped, asked for again and its prompt edited; each version can be selected."""
    gate = threading.Event()
    upstream.say("Count", [*WORDS[:5], gate])
    ann.ask("Count")
    ann.wait_for_text("word4")
    ann.page.click(".stop")
    ann.wait_for_end()
    ann.page.wait_for_selector("[data-retry]")
    gate.set()
    assert "Stopped." in ann.page.inner_text("#messages")
    upstream.say("Count", ["Another answer"])
    ann.page.click("[data-retry]")
    ann.page.wait_for_selector("text=2/2")
    assert ann.answer() == "Another answer"
    ann.page.hover("article.user")
    ann.page.click("summary:has-text('Edit')")
    ann.page.fill(".edit textarea", "Hi")
    ann.page.click(".edit button")
    ann.page.wait_for_selector(".below >> text=2/2")
    assert ann.answer() == "Hello, world!"
    ann.page.click(".below [aria-label='Previous version']")
    ann.page.wait_for_selector("article.assistant >> text=2/2")
    assert ann.answer() == "Another answer"
    ann.ask("More")
    ann.wait_for_end()
    wait_until(lambda: len(upstream.requests) == 4)
    assert [message["content"] for message in upstream.last_messages()][-3:] == ["Count", "Another answer", "More"]


def test_failures_are_shown(simple_site: Site, chromium: Any, upstream: ScriptedUpstream) -> None:
    """A refusal and a failure in mid-answer show a sentence without internals; trying again works."""
    with logged_in(chromium, simple_site, "ann") as (ann,):
        upstream.say("Refuse", [Fail(402, "secret-host wants money")])
        ann.ask("Refuse")
        ann.page.wait_for_selector(".problem >> text=no credits")
        assert "secret-host" not in ann.page.content()
        upstream.say("Refuse", ["Now it works"])
        ann.page.click(".problem button")
        ann.wait_for_text("Now it works")
        ann.wait_for_end()
        assert ann.page.locator("article.user").count() == 1
        upstream.say("Break", ["Half an answer", {"error": {"message": "secret-host broke"}}])
        ann.ask("Break")
        ann.page.wait_for_selector(".problem >> text=The model failed")
        assert "Half an answer" in ann.page.inner_text("#messages")
        assert "secret-host" not in ann.page.content()


def test_files(chromium: Any, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """Files reach the model. An image shows in the page; anything else is a download that no browser runs, whatever its name and type."""
    upstream.models = {"object": "list", "data": [{"id": "test/eyes", "architecture": {"input_modalities": ["text", "image"]}}]}
    name = '<img src=x onerror=alert(1)> "ü".svg'
    files = [
        {"name": name, "mimeType": "image/svg+xml", "buffer": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'},
        {"name": "page.html", "mimeType": "text/html", "buffer": b"<script>alert(1)</script>"},
        {"name": "dot.png", "mimeType": "image/png", "buffer": PNG},
    ]
    with (
        LocalServer(upstream=upstream.url) as server,
        Site("gthread", server.url, tmp_path) as site,
        logged_in(chromium, site, "ann") as (ann,),
    ):
        ann.page.set_input_files("[name=files]", files)
        ann.page.click("#chosen button:has-text('page.html')")
        ann.page.set_input_files("[name=files]", files)
        ann.ask("Read")
        ann.page.wait_for_selector("[data-retry]")
        image = ann.page.locator("article.user img")
        image.wait_for()
        assert ann.page.wait_for_function("document.querySelector('article.user img').naturalWidth") is not None
        assert image.count() == 1
        links = ann.page.locator("article.user .file a")
        assert links.count() == 3
        assert name in links.all_inner_texts()
        for link, file in zip(links.all(), files, strict=True):
            sent = ann.page.request.get(site.url + link.get_attribute("href"))
            assert sent.body() == file["buffer"]
            assert sent.headers["x-content-type-options"] == "nosniff"
            assert "sandbox" in sent.headers["content-security-policy"]
            if file["name"] != "dot.png":
                assert sent.headers["content-type"] == "application/octet-stream"
                assert sent.headers["content-disposition"].startswith("attachment")
        ann.page.set_input_files("[name=files]", [{"name": f"{n}.txt", "mimeType": "text/plain", "buffer": b"x"} for n in range(6)])
        ann.ask("Too many")
        ann.page.wait_for_selector(".problem >> text=5 files")


def test_other_users_get_404(simple_site: Site, chromium: Any, upstream: ScriptedUpstream) -> None:
    """Threads, runs and files of another user do not exist; a request without token or login changes nothing."""
    gate = threading.Event()
    upstream.say("Mine", ["secret", gate])
    with logged_in(chromium, simple_site, "ann", "bob") as (ann, bob):
        ann.page.set_input_files("[name=files]", [{"name": "a.txt", "mimeType": "text/plain", "buffer": b"secret"}])
        ann.ask("Read")
        ann.page.wait_for_selector("article.user a")
        ann.ask("Mine")
        ann.wait_for_text("secret")
        ann.page.reload()
        thread, run = ann.path(), ann.page.get_attribute("main", "data-run")
        file = ann.page.locator("article.user a").get_attribute("href")
        for path in (thread, file, f"/runs/{run}/"):
            assert bob.page.request.get(simple_site.url + path).status == 404, path
        for path in ("rename/", "delete/", "branch/", "send/", "answer/"):
            sent = bob.post(thread + path, form={"title": "x", "message": "x", "prompt": "x"})
            assert sent.status == 404, path
        assert bob.post(f"/runs/{run}/stop/").status == 404
        assert "Mine" not in bob.page.request.get(f"{simple_site.url}/?q=Mi").text()
        for path in (thread + "delete/", f"/runs/{run}/stop/", thread + "send/"):
            assert ann.page.request.post(simple_site.url + path, form={"prompt": "x"}).status == 403, path
        gate.set()
        ann.wait_for_end()
        assert ann.answer() == "secret"
        assert len(upstream.requests) == 2
        ann.page.request.post(f"{simple_site.url}/logout/", headers={"Referer": simple_site.url})
        ann.context.clear_cookies()
        for path in (thread, file, f"/runs/{run}/", "/"):
            assert ann.page.request.get(simple_site.url + path, max_redirects=0).status == 302, path


def test_a_hostile_answer(simple_site: Site, chromium: Any, upstream: ScriptedUpstream) -> None:
    """HTML, scripts and pictures in an answer are text, while it arrives and after a reload; the page forbids scripts of its own."""
    upstream.say("Attack", [HOSTILE])
    with logged_in(chromium, simple_site, "ann") as (ann,):
        asked: list[str] = []
        ann.page.on("request", lambda request: asked.append(request.url))
        ann.ask("Attack")
        ann.page.wait_for_selector("[data-retry]")
        response = ann.page.reload()
        ann.page.wait_for_selector("article.assistant p")
        assert ann.page.locator(".markdown :is(script, img, svg)").count() == 0
        assert ann.page.locator(".markdown a[href^='javascript']").count() == 0
        assert "owned" not in ann.page.title()
        assert '<img src=x onerror="' in ann.answer()
        assert all(url.startswith(simple_site.url) for url in asked)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


FIELDS = [
    {"kind": "number", "name": "seats", "title": "Seats", "required": True, "integer": True, "minimum": 1},
    {"kind": "select", "name": "class", "title": "Class", "required": True, "multiple": False,
     "options": [{"value": "1", "label": "First"}, {"value": "2", "label": "Second"}]},
]  # fmt: skip
ASKS = {
    "type": "elicitation", "subtype": "request", "toolUuid": "t", "expiresAt": 1795235814881,
    "request": {"elicitationId": "6cff0873-9b03-4a86-9147-c142d6aabb6f", "server": "booking", "mode": "form",
                "message": "Which <b>seats</b>?", "fields": FIELDS},
}  # fmt: skip


def test_a_question_of_a_tool(chromium: Any, tmp_path: Path) -> None:
    """A tool's question is a form, also after a refresh; its answer reaches the chat server, and the answer continues."""

    def steps(request: Recorded) -> Any:
        yield head(200, JSONL, "Transfer-Encoding: chunked")
        call = {"type": "tool", "subtype": "call", "uuid": "t", "call": {"name": "book", "parameters": {}}}
        yield chunk(lines(STARTED, call, ASKS))
        while not ui.answered:
            yield 0.02
            yield chunk(lines({"type": "status", "status": "keepAlive"}))
        resolved = {"type": "elicitation", "subtype": "resolved", "action": "accept", "resolution": "user"}
        yield chunk(lines({**resolved, "elicitationId": ASKS["request"]["elicitationId"]}, token("Booked."), final("Booked."), FINISHED))
        yield LAST_CHUNK

    with ChatUI() as ui, Site("gthread", ui.url, tmp_path, CHAT_MCP="booking") as site, logged_in(chromium, site, "ann") as (ann,):
        ui.says(lines(STARTED), [steps], stored={"content": "Booked."})
        ann.ask("Book")
        ann.page.wait_for_selector(".question")
        ann.page.reload()
        ann.page.wait_for_selector(".question >> text=Which <b>seats</b>?")
        ann.page.fill(".question input", "2")
        ann.page.select_option(".question select", "2")
        ann.page.click(".question button:has-text('Send')")
        ann.wait_for_text("Booked.")
        ann.wait_for_end()
        assert ui.answered == [
            {"elicitationId": ASKS["request"]["elicitationId"], "action": "accept", "content": {"seats": 2, "class": "2"}}
        ]
        assert ui.count("send") == 1
        assert ann.post(ann.path() + "answer/", data=b"[" * 5000, headers={"Content-Type": "application/json"}).status == 400


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGHUP"])
def test_an_answer_survives_its_worker(
    number: str, chromium: Any, redis_server: RedisServer, upstream: ScriptedUpstream, chat_url: str, tmp_path: Path
) -> None:
    """Workers crash, end or are replaced in mid-answer: the page shows the whole answer, and the model is asked once."""
    gate = threading.Event()
    upstream.say("Count", [*WORDS[:10], gate, *WORDS[10:]])
    with Site("gthread", chat_url, tmp_path, workers=2, REDIS_URL=redis_server.url) as site, logged_in(chromium, site, "ann") as (ann,):
        ann.ask("Count")
        ann.wait_for_text("word9")
        wait_until(lambda: len(site.workers) == 2)
        old = site.workers
        if number == "SIGHUP":
            os.kill(site.process.pid, signal.SIGHUP)
        else:
            for worker in old:
                os.kill(worker, signal.Signals[number])
        # After SIGTERM a worker answers its open requests first, and gunicorn ends it when it is silent for 30 seconds.
        wait_until(lambda: len(site.workers) == 4, 150)
        gate.set()
        ann.wait_for_text("word39")
        ann.wait_for_end()
        assert ann.answer().strip() == TEXT
        ann.page.reload()
        ann.page.wait_for_selector("[data-retry]")
        assert ann.answer().strip() == TEXT
        assert prompts(upstream) == ["Count"]


def test_postgresql_and_an_account_for_each_user(
    chromium: Any, postgres: PostgreSQL, upstream: ScriptedUpstream, chat_url: str, tmp_path: Path
) -> None:
    """With PostgreSQL, and each user's own account of the chat server, threads are listed, found, renamed and deleted."""
    variables = {"DATABASE_URL": postgres.url, "CHAT_ACCOUNTS": "user"}
    with Site("gthread", chat_url, tmp_path, **variables) as site, logged_in(chromium, site, "ann", "bob") as (ann, bob):
        for user in (ann, bob):
            user.ask(f"I am {user.page.inner_text('.name')}")
            user.page.wait_for_selector("#threads a")
        assert ann.page.locator("#threads a").all_inner_texts() == ["I am ann"]
        ann.page.click("[popovertarget=change]")
        ann.page.fill("#new-title", "<i>Trains</i>")
        ann.page.click("text=Rename")
        ann.page.wait_for_selector("h1:has-text('<i>Trains</i>')")
        ann.page.fill("[name=q]", "train")
        ann.page.press("[name=q]", "Enter")
        ann.page.wait_for_url("**/?q=train")
        assert ann.page.locator("#threads a").all_inner_texts() == ["<i>Trains</i>"]
        ann.page.click("#threads a")
        ann.page.click("[popovertarget=change]")
        ann.page.click("text=Delete this chat")
        ann.page.wait_for_selector("text=Your chats appear here.")
        assert bob.page.locator("#threads a").count() == 1


def test_an_open_answer_holds_no_connection_to_the_database(
    chromium: Any, postgres: PostgreSQL, upstream: ScriptedUpstream, chat_url: str, tmp_path: Path
) -> None:
    """While answers are generated and followed, the database has no open connection: it admits a hundred in all."""
    psycopg = pytest.importorskip("psycopg")
    gate = threading.Event()
    upstream.say("Count", [*WORDS[:10], gate, *WORDS[10:]])
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'hfclient' AND pid <> pg_backend_pid()"
    for kind in ("gthread", "uvicorn"):
        folder = tmp_path / kind
        folder.mkdir()
        gate.clear()
        with Site(kind, chat_url, folder, DATABASE_URL=postgres.url) as site, logged_in(chromium, site, "ann") as (ann,):
            ann.ask("Count")
            ann.wait_for_text("word9")
            with psycopg.connect(postgres.url) as connection:
                wait_until(lambda: connection.execute(count).fetchone() == (0,))
            gate.set()
            ann.wait_for_end()


def test_bad_requests(simple_site: Site, chromium: Any, upstream: ScriptedUpstream) -> None:
    """Requests that no page sends get a clear refusal, and never a 500; a thread is deleted in mid-answer."""
    gate = threading.Event()
    upstream.say("Count", [*WORDS[:10], gate])
    with logged_in(chromium, simple_site, "ann") as (ann,):
        ann.ask("Count")
        ann.wait_for_text("word9")
        ann.page.reload()
        ann.wait_for_text("word9")
        thread, run = ann.path(), ann.page.get_attribute("main", "data-run")
        get = ann.page.request.get
        assert get(f"{simple_site.url}/?q=%00%ff").status == 200
        assert get(f"{simple_site.url}{thread}files/zz/").status == 404
        assert get(f"{simple_site.url}{thread}send/").status == 405
        assert get(f"{simple_site.url}/runs/nonsense/").status == 404
        assert get(f"{simple_site.url}/runs/{run}/", headers={"Last-Event-ID": "-1"}).status == 400
        assert ann.post(thread + "send/", form={"prompt": ""}).json()["status"] == 400
        assert ann.post(thread + "send/", form={"prompt": "x" * 200_000}).status == 400
        busy = ann.post(thread + "send/", form={"prompt": "x"})
        assert (busy.status, busy.json()["run"]) == (409, run)
        assert ann.post(thread + "send/", form={"prompt": "x"}, headers={"Idempotency-Key": "k" * 5000}).status == 400
        assert ann.post(thread + "branch/", form={"message": "nonsense"}, max_redirects=0).status == 400
        for body in (b"", b"[]", b"\xff", b'{"elicitation_id": "\\ud800", "action": "accept"}', b'{"action": {}}'):
            answer = ann.post(thread + "answer/", data=body, headers={"Content-Type": "application/json"})
            assert 400 <= answer.status < 500, body
        assert ann.post(thread + "delete/").ok
        assert get(simple_site.url + thread).status == 404
        assert len(upstream.requests) == 1
        gate.set()
        assert "Traceback" not in simple_site.log


def test_limits_of_a_user(chromium: Any, upstream: ScriptedUpstream, chat_url: str, tmp_path: Path) -> None:
    """A user over the limit sees when to continue; another one is not affected, and the model is not asked."""
    with Site("gthread", chat_url, tmp_path, CHAT_LIMIT="1/hour") as site, logged_in(chromium, site, "ann", "bob") as (ann, bob):
        for user in (ann, bob):
            user.ask("Hi")
            user.page.wait_for_selector("[data-retry]")
        ann.ask("Again")
        ann.page.wait_for_selector(".problem >> text=Your limit is used up")
        assert ann.page.locator(".problem .wait").inner_text()
        assert prompts(upstream) == ["Hi", "Hi"]


def test_signing_up(simple_site: Site, page: Any) -> None:
    """A visitor is sent to the login, signs up there and is logged in; a weak password is refused with a reason."""
    page.goto(simple_site.url)
    page.click("text=Sign up")
    for password in ("1", "correct horse"):
        page.fill("[name=username]", "carol")
        page.fill("[name=password1]", password)
        page.fill("[name=password2]", password)
        page.click("button:has-text('Sign up')")
        page.wait_for_selector(".error" if password == "1" else "#prompt")
    assert page.inner_text(".name") == "carol"
