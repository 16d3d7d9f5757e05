"""The front end in Chromium on a hostile network, and with hostile events."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gunicorn", reason="gunicorn does not run on this system")
pytest.importorskip("waitress", reason="the embedded server needs the extra: local")
pytest.importorskip("playwright")

from hfclient.local import LocalServer
from tests.chat.replay import wait_until
from tests.deploy.test_flask_chat import DIRECT, Chat, Serve, asked, serve, server, upstream
from tests.local.upstream import ScriptedUpstream
from tests.processes.helpers import PromptedChatUI

__all__ = ["serve", "server", "upstream"]


class Proxy:
    """Forwards connections to *port*, and resets one after some bytes of the answer to a matching request.

    Attributes:
        cuts: How many bytes to let through, for one connection after the other; then all.
        matches: The beginning of the requests that are cut.
    """

    def __init__(self, port: int, matches: bytes) -> None:
        self.matches, self.cuts = matches, list[int]()
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets = [self._listener]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                browser = self._listener.accept()[0]
                site = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [browser, site]
                left: list[int | None] = [None]
                for run, pair in ((self._up, (browser, site)), (self._down, (site, browser))):
                    self._threads.append(threading.Thread(target=run, args=(*pair, left)))
                    self._threads[-1].start()

    def _up(self, browser: socket.socket, site: socket.socket, left: list[int | None]) -> None:
        with contextlib.suppress(OSError):
            while data := browser.recv(65536):
                if data.startswith(self.matches) and self.cuts:
                    left[0] = self.cuts.pop(0)
                site.sendall(data)
        self._close(site)

    def _down(self, site: socket.socket, browser: socket.socket, left: list[int | None]) -> None:
        with contextlib.suppress(OSError):
            while data := site.recv(65536):
                if left[0] is not None:
                    data, left[0] = data[: left[0]], left[0] - len(data)
                browser.sendall(data)
                if left[0] is not None and left[0] <= 0:
                    browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST
                    break
        self._close(browser)
        self._close(site)

    def reset(self) -> None:
        """Reset all connections."""
        for one in self._sockets[1:]:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._close(one)

    def _close(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            self._close(one)
        for thread in self._threads:
            thread.join()


def test_a_prompt_that_is_refused(page: Any, serve: Serve, server: LocalServer, upstream: ScriptedUpstream) -> None:
    """A second attempt after a refusal is a new request, with a key of its own: the key of the first one belongs to the refused run."""
    upstream.say("Go", ["done"])
    keys = []

    def refuse(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            body = '{"title": "The service has no credits left.", "status": 402, "code": "credits-exhausted"}'
            route.fulfill(status=402, content_type="application/problem+json", body=body)
        else:
            route.continue_()

    page.route("**/ask", refuse)
    chat = Chat(page, serve(server.url))
    chat.ask("Go")
    page.wait_for_selector(".problem >> text=no credits")
    page.click(".problem button")
    chat.ends("done")
    assert len(set(keys)) == 2
    assert page.locator(".message.user").all_inner_texts() == ["Go"]


def test_connections_that_break(page: Any, serve: Serve, server: LocalServer, upstream: ScriptedUpstream) -> None:
    """Resets at any byte of the head or of the events lose and repeat nothing: the text is whole, and was asked for once."""
    words = [f"word{number} " for number in range(120)]
    upstream.say("Go", [step for word in words for step in (word, 0.01)])
    with Proxy(serve(server.url).port, b"GET /runs/") as proxy:
        rng = random.Random(11)
        proxy.cuts = [0, 5, *(rng.randrange(200, 1500) for _ in range(4))]
        chat = Chat(page, proxy)  # type: ignore[arg-type]
        chat.ask("Go")
        chat.ends("".join(words).strip())
        assert proxy.cuts == []
    assert asked(upstream, "Go") == 1
    assert page.locator(".problem").count() == 0
    assert chat.problems == []


def test_a_prompt_whose_answer_is_lost(page: Any, serve: Serve, server: LocalServer, upstream: ScriptedUpstream) -> None:
    """If the connection breaks while the prompt is sent, a second attempt does not ask again what has arrived."""
    upstream.say("Go", ["done"])
    with Proxy(serve(server.url).port, b"POST /ask") as proxy:
        proxy.cuts = [0] * 9  # the browser itself sends it again on a new connection
        chat = Chat(page, proxy)  # type: ignore[arg-type]
        chat.ask("Go")
        page.wait_for_selector(".problem")
        assert "could not be sent" in page.inner_text(".problem")
        proxy.cuts = []
        wait_until(lambda: asked(upstream, "Go") == 1)
        page.click(".problem button")
        chat.ends("done")
    assert asked(upstream, "Go") == 1
    assert page.locator(".message.user").all_inner_texts() == ["Go"]


def test_a_network_that_goes_away(page: Any, serve: Serve, server: LocalServer, upstream: ScriptedUpstream) -> None:
    """While the browser is offline the page says so; afterwards the answer continues."""
    gate = threading.Event()
    upstream.say("Go", ["one ", gate, "two"])
    with Proxy(serve(server.url).port, b"GET /runs/") as proxy:
        chat = Chat(page, proxy)  # type: ignore[arg-type]
        chat.ask("Go")
        chat.shows("one")
        page.context.set_offline(True)  # for new connections
        proxy.reset()
        page.wait_for_selector('.chat[data-state="reconnecting"]')
        assert "Reconnecting" in page.inner_text(".status")
        gate.set()
        page.context.set_offline(False)
        chat.ends("one two")
    assert asked(upstream, "Go") == 1


def test_stop_while_a_direct_answer_is_silent(page: Any, serve: Serve, tmp_path: Path) -> None:
    """Without a relay the button also stops an answer that has not begun."""
    (tmp_path / "direct.py").write_text(DIRECT)
    with PromptedChatUI() as ui:
        chat = Chat(page, serve(ui.url, app="direct:app", folder=tmp_path))
        chat.ask("mute please")
        ui.wait_for_prompt("mute please")
        page.click(".stop")
        chat.ends("")
        assert page.inner_text(".note") == "Stopped."
        ui.go.set()


EVENTS = [
    {"event": "Token"}, {"event": "Token", "text": None}, {"event": "Token", "text": {"x": 1}}, {"event": "Token", "text": 7}, {"event": "__proto__"}, {"event": 3}, {},
    {"event": "constructor"}, {"event": "ToolCall", "uuid": "__proto__", "name": "<b>x</b>", "parameters": {"a": "<img src=x onerror=alert(1)>"}},
    {"event": "ToolCall", "uuid": None, "name": {"x": 1}, "arguments": 5}, {"event": "ToolProgress", "uuid": "u", "progress": "a", "total": []},
    {"event": "ToolResult", "uuid": "u", "status": [], "outputs": "text"}, {"event": "ToolResult", "uuid": "u", "outputs": [None, 1, {"text": "<script>alert(1)</script>"}]},
    {"event": "ToolError", "uuid": "u", "message": {"x": "<b>"}}, {"event": "Sources", "sources": [{"link": "javascript:alert(1)", "title": "<b>"}, None, 3]}, {"event": "Sources", "sources": 5},
    {"event": "File", "name": "../<b>.svg", "mime": "image/svg+xml", "url": "javascript:alert(1)"}, {"event": "File"}, {"event": "File", "name": {}, "mime": {}},
    {"event": "Elicitation", "elicitation_id": "q", "server": "<b>", "mode": "url", "message": "<img src=x onerror=alert(1)>", "url": "javascript:alert(1)", "fields": []},
    {"event": "Elicitation", "elicitation_id": "r", "fields": "abc"}, {"event": "Elicitation", "elicitation_id": "s", "fields": [None, {"kind": "select", "options": 5}]},
    {"event": "ElicitationResolved", "elicitation_id": "none", "action": {}}, {"event": "WebSearch", "kind": {}, "args": 3}, {"event": "Finish", "reason": {}}, {"event": "Unknown", "type": "x"},
    {"event": "FinalAnswer"}, {"event": "problem"}, {"event": "problem", "title": {"x": "<b>"}, "detail": ["<b>"], "retry_after": "soon"}, {"event": "problem", "title": "<b>", "retry_after": 1e300},
]  # fmt: skip
SHOW = """async ([events, options]) => {
    const { Answer } = await import("/hfclient/answer.js");
    window.sent = [];
    window.answer = new Answer({ onRetry: () => {}, onReply: async (reply) => window.sent.push(reply), fileUrl: (file) => options.url ? options.url : null });
    document.querySelector(".messages").append(answer.element);
    for (const event of events) answer.add(event);
}"""


@pytest.fixture
def chat(page: Any, serve: Serve, server: LocalServer) -> Chat:
    """The page of the example."""
    return Chat(page, serve(server.url))


def test_malformed_events(page: Any, chat: Chat) -> None:
    """Events with values of the wrong kind do not end the answer, and none of their text becomes an element."""
    page.evaluate(SHOW, [[*EVENTS, {"event": "Token", "text": "the end"}, {"event": "end", "status": {}}], {}])
    wait_until(lambda: "the end" in page.inner_text(".message.assistant"))
    assert page.locator(".message.assistant").locator("b, img, script, a[href^=javascript]").count() == 0
    assert page.get_attribute(".message.assistant", "aria-busy") is None
    assert chat.problems == []


def test_files_of_answers(page: Any, chat: Chat) -> None:
    """Pictures are shown, an SVG is a download, because it can hold scripts."""
    files = [{"event": "File", "name": name, "mime": mime} for name, mime in (("a.png", "image/png"), ("b.svg", "image/svg+xml"), ("c.html", "text/html"))]
    page.evaluate(SHOW, [files, {"url": "/hfclient/chat.css"}])
    assert page.locator(".file img").count() == 1
    assert [link.get_attribute("download") for link in page.locator(".file a").all()] == ["b.svg", "c.html"]


QUESTION = {
    "event": "Elicitation", "elicitation_id": "q", "server": "booking", "mode": "form", "message": "A table?", "fields": [
        {"kind": "number", "name": "seats", "required": True, "integer": True, "minimum": 1},
        {"kind": "string", "name": "note", "required": False},
        {"kind": "boolean", "name": "quiet", "required": True, "default": True},
        {"kind": "select", "name": "area", "required": False, "multiple": False, "options": [{"value": "in", "label": "Inside"}, {"value": "out", "label": "Outside"}]},
        {"kind": "select", "name": "days", "required": False, "multiple": True, "options": [{"value": "mo", "label": "Monday"}, {"value": "tu", "label": "Tuesday"}]},
    ],
}  # fmt: skip


def test_a_question_of_a_tool(page: Any, chat: Chat) -> None:
    """A question is a form with a control for each field; the reply has the values in their types, and empty fields are left out."""
    page.evaluate(SHOW, [[QUESTION], {}])
    page.click(".question button >> text=Send")
    assert page.evaluate("window.sent") == []  # the browser asks for the required field
    page.fill(".question [type=number]", "4")
    page.select_option(".question select >> nth=0", "out")
    page.select_option(".question select >> nth=1", ["mo", "tu"])
    page.click(".question button >> text=Send")
    wait_until(lambda: bool(page.evaluate("window.sent")))
    content = {"seats": 4, "quiet": True, "area": "out", "days": ["mo", "tu"]}
    assert page.evaluate("window.sent") == [{"elicitation_id": "q", "action": "accept", "content": content}]
    assert page.inner_text(".question output") == "Answered."
    assert page.locator(".question :enabled").count() == 0


def test_a_long_answer(page: Any, chat: Chat) -> None:
    """Two hundred thousand characters in twenty thousand tokens are shown without a task that blocks the page for seconds."""
    code = """async () => {
        const { Answer } = await import("/hfclient/answer.js");
        const answer = new Answer(), text = "Some **bold** words and `code`.\\n\\n- a\\n- b\\n\\n```py\\nx = 1\\n```\\n\\n".repeat(2000) + "```\\n" + "line of code\\n".repeat(6000);
        document.querySelector(".messages").append(answer.element);
        let longest = 0, last = performance.now();
        for (let i = 0, n = 0; i < text.length; i += 9) {
            answer.add({ event: "Token", text: text.slice(i, i + 9) });
            if (++n % 100 === 0) {
                await new Promise((resolve) => setTimeout(resolve));
                longest = Math.max(longest, performance.now() - last);
                last = performance.now();
            }
        }
        answer.end("completed");
        return [longest, answer.text === text, answer.element.querySelectorAll("strong").length];
    }"""
    longest, is_whole, bold = page.evaluate(code)
    print(f"longest task: {longest:.0f} ms")
    assert (is_whole, bold) == (True, 2000)
    assert longest < 10_000
