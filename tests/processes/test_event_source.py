"""The example for Django behind a real server, and browsers that reconnect.

An EventSource takes the end of a stream for a broken connection and reconnects with the id of the last event, until it gets
a 204 or another status than 200. Libraries that do the same with a POST do it too.

Reference: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from hfclient import errors
from tests.chat.replay import wait_until
from tests.cli.conftest import CONVERSATION, STOP, answer, chat_ui, line, says, token, unending
from tests.processes.helpers import ROOT, environment
from tests.server import PATIENCE, Server, chunked, json_answer, plain

__all__ = ["chat_ui"]

pytest.importorskip("waitress")

DJANGO = """
import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.urls import path
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    SECRET_KEY="not a secret",
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=1_000_000,
)
django.setup()
import django_sse
urlpatterns = [path("", django_sse.page), path("ask", django_sse.ask)]
app = WSGIHandler()
"""
SERVE = """
import logging, sys
from waitress.server import create_server
logging.basicConfig(level=logging.WARNING)
server = create_server(app, host="127.0.0.1", port=0, threads=8)
print(server.effective_port, flush=True)
server.run()
"""


class Site:
    """An example, served by waitress in a process of its own."""

    def __init__(self, code: str, url: str) -> None:
        # The log is a file: a pipe without a reader would fill up.
        self._log = Path(os.environ["HOME"]).with_name("site.log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-c", code + SERVE], stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=ROOT / "examples",
            env=environment(HFCLIENT_BASE_URL=url, PYTHONWARNINGS="ignore"),
        )  # fmt: skip
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        assert first.strip().isdecimal(), self.said
        self._port = int(first)
        self._form: dict[str, str] = {"Content-Type": "application/x-www-form-urlencoded"}
        with self.get("/") as page:
            self.page = page.read().decode()
            cookie = (page.headers["Set-Cookie"] or "").partition(";")[0]
        if cookie:  # Django's CSRF protection
            self._form |= {"Cookie": cookie, "X-CSRFToken": cookie.partition("=")[2]}

    @property
    def said(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text("utf-8")

    def get(self, path: str, **headers: str) -> http.client.HTTPResponse:
        return self._request("GET", path, None, headers)

    def post(self, prompt: str | None, **headers: str) -> http.client.HTTPResponse:
        return self._request("POST", "/ask", urlencode({} if prompt is None else {"prompt": prompt}), {**self._form, **headers})

    def _request(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        connection.request(method, path, body, {**headers, "Connection": "close"})
        return connection.getresponse()

    def close(self) -> None:
        self._process.kill()
        with self._process:
            self._log.close()


@pytest.fixture(params=["django"])
def site(request: pytest.FixtureRequest, chat_ui: Server) -> Iterator[Site]:
    """Each example, in front of a chat-ui."""
    pytest.importorskip(request.param)
    opened = Site(DJANGO, chat_ui.url)
    yield opened
    opened.close()


def _frames(response: http.client.HTTPResponse) -> list[tuple[str, str | None, Any]]:
    """Return name, id and data of each event."""
    found = []
    for frame in response.read().decode().split("\n\n")[:-1]:
        fields = dict(text.split(": ", 1) for text in frame.split("\n"))
        found.append((fields.get("event", "message"), fields.get("id"), json.loads(fields["data"])))
    return found


def _asked(chat_ui: Server) -> int:
    return sum(request.path == f"/conversation/{CONVERSATION}" and request.method == "POST" for request in chat_ui.requests)


def test_an_answer(site: Site, chat_ui: Server) -> None:
    """The text arrives in numbered pieces, and a last event marks the end; other events of the server are not forwarded."""
    update = line(type="file", name="a.png", sha="ab" * 32, mime="image/png")
    says(chat_ui, answer(token("Hello"), update, line(type="title", title="x"), token(", world!")))
    with site.post("Hi") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert _frames(response) == [
            ("message", "0", {"text": "Hello"}),
            ("message", "1", {"text": ", world!"}),
            ("done", None, {}),
        ]
    assert "fetch(" in site.page
    assert "EventSource" not in site.page


def test_an_event_source(site: Site, chat_ui: Server) -> None:
    """A browser's EventSource, which can only GET, gets a status after which it does not reconnect: no message is sent."""
    for _ in range(2):
        with site.get("/ask?prompt=Hi", Accept="text/event-stream") as response:
            assert response.status == 405
    assert _asked(chat_ui) == 0


ENDINGS: dict[str, Any] = {
    "whole": answer(token("Hello")),
    "failed": chunked(token("Hel"), line(type="status", status="error", message="the model broke", statusCode=500)),
    "nonsense": chunked(token("Hel"), b"<html>\n"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_reconnects(site: Site, chat_ui: Server, ending: str) -> None:
    """A client that posts again with the id of the last event gets a 204, after which it stops; the prompt was sent once."""
    says(chat_ui, ENDINGS[ending])
    with site.post("Hi") as response:
        frames = _frames(response)
    assert frames[-1][0] == ("done" if ending == "whole" else "error")
    asked = _asked(chat_ui)
    for _ in range(2):
        with site.post("Hi", **{"Last-Event-ID": frames[0][1] or ""}) as again:
            assert (again.status, again.read()) == (204, b"")
    assert _asked(chat_ui) == asked == 1


STATUSES = [
    (401, {}, 401),
    (402, {}, 402),
    (403, {}, 403),
    (404, {}, 404),
    (409, {}, 409),
    (410, {}, 404),
    (413, {}, 413),
    (422, {}, 400),
    (429, {"Retry-After": "7"}, 429),
    (500, {}, 502),
    (503, {"Retry-After": "31.5"}, 503),
]


def test_refusals(site: Site, chat_ui: Server) -> None:
    """Each error has its own status, rate limits have Retry-After, and no address and no advice for operators is sent."""
    for status, headers, expected in STATUSES:
        text = f"secret internals of {chat_ui.url}: the token is wrong"
        lines = [f"{name}: {value}" for name, value in headers.items()]
        says(chat_ui, json_answer({"message": text}, status, *lines))
        with site.post("Hi") as response:
            body = response.read().decode()
            assert (response.status, json.loads(body)["status"]) == (expected, expected)
            assert response.headers["Content-Type"] == "application/json"
            assert response.headers["Retry-After"] == {"7": "7", "31.5": "32"}.get(headers.get("Retry-After", ""))
        _is_public(body, chat_ui)
    assert "secret internals" in site.said
    for prompt in (None, "", "  "):
        with site.post(prompt) as response:
            assert response.status == 400
            _is_public(response.read().decode(), chat_ui)
    with site.post("x" * 1_100_000) as response:
        assert response.status in (400, 413)


@pytest.mark.parametrize(("code", "expected"), [(402, 402), (429, 429), (500, 502), (None, 502)])
def test_failures_after_the_first_pieces(site: Site, chat_ui: Server, code: int | None, expected: int) -> None:
    """An error in the middle of an answer has the same text, as an event of its own."""
    failure = {"type": "status", "status": "error", "message": f"provider at {chat_ui.url} says no"}
    says(chat_ui, chunked(token("half "), line(**failure, **({"statusCode": code} if code else {}))))
    with site.post("Hi") as response:
        frames = _frames(response)
    assert frames[0] == ("message", "0", {"text": "half "})
    assert (frames[-1][0], frames[-1][2]["status"]) == ("error", expected)
    _is_public(json.dumps(frames), chat_ui)


def test_a_server_that_is_down(site: Site, chat_ui: Server) -> None:
    """A chat server that cannot be reached is a 503."""
    chat_ui.close()
    with site.post("Hi") as response:
        body = response.read().decode()
        assert response.status == 503
    _is_public(body, chat_ui)


def test_a_browser_that_disconnects(site: Site, chat_ui: Server) -> None:
    """Closing the page stops the generation."""
    more = [step for _ in range(400) for step in (token("more "), 0.02)]
    says(chat_ui, [*unending(token("Half"))[:-1], *chunked(*more)[1:-1]])
    chat_ui.on(STOP, plain(b""))
    response = site.post("Hi")
    assert b"Half" in response.fp.readline() + response.fp.readline() + response.fp.readline()
    response.close()
    wait_until(lambda: any(request.path == STOP for request in chat_ui.requests))


def _is_public(body: str, chat_ui: Server) -> None:
    for word in (f":{chat_ui.port}", "127.0.0.1", "internals", "hfclient", "HFCLIENT", "Traceback", "provider at"):
        assert word not in body


@pytest.mark.parametrize("name", ["django"])
def test_statuses_of_other_errors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other failures have a status, too: deadlines, connections, a login page, an unexpected response."""
    pytest.importorskip(name)
    monkeypatch.syspath_prepend(ROOT / "examples")
    refusal = importlib.import_module(f"{name}_sse").refusal
    for error, expected in (
        (errors.TransportTimeout("x", deadline="total", seconds=1), 504),
        (errors.ConnectError("x"), 503),
        (errors.StreamInterrupted("x"), 503),
        (errors.CredentialsError("x"), 503),
        (errors.ConversationBusy("x"), 409),
        (errors.AuthenticationError("x", status_code=302), 401),
        (errors.SessionExpired("x"), 401),
        (errors.ProtocolError("x"), 502),
        (errors.CloudflareChallenge("x", status_code=503), 503),
        (errors.GenerationError("x", status_code=504), 504),
        (errors.HFClientError("x"), 502),
    ):
        status, body, headers = refusal(error)
        assert (status, body["status"], headers) == (expected, expected, {}), error
    limit = errors.RateLimitError("x", status_code=429, retry_after=0.2)
    assert refusal(limit) == (429, {"status": 429, "message": "Too many requests. Please wait a moment."}, {"Retry-After": "1"})
