"""The Flask extension under real gunicorn, with workers of each kind, in front of a chat-ui."""

from __future__ import annotations

import contextlib
import http.client
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.chat.replay import wait_until
from tests.deploy.gunicorn import KINDS, Browser, Gunicorn
from tests.processes.helpers import PromptedChatUI, text_for
from tests.server import PATIENCE, SOON, json_answer
from tests.services import RedisServer

pytest.importorskip("gunicorn", reason="gunicorn does not run on this system")
pytest.importorskip("flask")

APP = """
from flask import Flask, request
from hfclient.web.flask import HFClient

app = Flask(__name__)
app.config.from_prefixed_env()
hf = HFClient(app)

@app.post("/ask")
def ask():
    prompt = hf.prompt()
    call = lambda: hf.client.chat(prompt, temporary=True)
    if app.config.get("HFCLIENT_GUARD"):
        call = hf.guard.watch(call, user=request.headers["X-User"], prompt=prompt)
    return hf.stream_response(call, wait=float(request.headers.get("X-Wait", "20")))

@app.post("/start")
def start():
    prompt = hf.prompt()
    return {"run": hf.start(prompt, lambda: hf.client.chat(prompt, temporary=True), owner=request.headers["X-User"]).id}

@app.get("/runs/<run_id>")
def follow(run_id):
    return hf.follow(run_id, owner=request.headers["X-User"])

@app.post("/runs/<run_id>/stop")
def stop(run_id):
    return {"status": hf.relay.stop(run_id, owner=request.headers["X-User"]).status}
"""


class Site(Gunicorn):
    """The application."""

    def __init__(self, kind: str, ui: PromptedChatUI, folder: Path, *options: str, workers: int = 2, **variables: str) -> None:
        (folder / "site_app.py").write_text(APP)
        config = {"FLASK_HFCLIENT_BASE_URL": ui.url, "FLASK_HFCLIENT_TOKEN": '""', "FLASK_HFCLIENT_SESSION": '""'}
        super().__init__("site_app:app", kind, folder, *options, workers=workers, **{**config, **variables})

    def ask(self, prompt: str, **headers: str) -> Browser:
        # Also in the query, for gunicorn's log.
        return Browser(self.port, "POST", f"/ask?{quote(prompt)}", {"prompt": prompt}, **headers)

    def text(self, prompt: str) -> str:
        with self.ask(prompt) as browser:
            return browser.text()


@pytest.fixture
def prompted() -> Iterator[PromptedChatUI]:
    """A chat-ui whose answers depend on the prompt."""
    with PromptedChatUI() as running:
        yield running


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of worker."""
    if request.param == "gevent":
        pytest.importorskip("gevent", reason="gevent has no wheel for this Python")
    return str(request.param)


def test_browsers(kind: str, prompted: PromptedChatUI, tmp_path: Path) -> None:
    """Each browser gets its own answer piece by piece; closing a page stops its own generation and no other.

    A refusal is a status, a failure in the middle an event; a server that is stopped does not wait for ever.
    """
    with Site(kind, prompted, tmp_path, "--graceful-timeout", "1") as site, ThreadPoolExecutor(6) as pool:
        count = prompted.together = 2 if kind == "sync" else 6
        prompts = [f"count {number}" for number in range(count)]
        assert list(pool.map(site.text, prompts)) == [text_for(prompt) for prompt in prompts]
        with site.ask("endless early") as early:
            assert next(early.tokens()) == text_for("endless early", 1)
            prompted.go.set()
            assert site.text("hold other") == text_for("hold other")
            assert prompted.stops == []
        wait_until(lambda: len(prompted.stops_for("endless early")) == 1)
        with site.ask("fail") as failing:
            received = list(failing.events())
        assert [name for name, _ in received[-2:]] == ["problem", "end"]
        assert (received[-2][1]["code"], received[-1][1]) == ("generation-failed", {"status": "failed"})
        assert "tired" not in str(received)
        wait_until(lambda: "the model is tired" in site.said)
        with site.ask(" ") as refused:
            assert (refused.status, refused.body()["code"]) == (400, "invalid-request")
        prompted.fault("send", json_answer({"message": "slow down"}, 429, "Retry-After: 7"))
        with site.ask("count 1") as refused:
            assert (refused.status, refused.headers["Retry-After"], refused.body()["code"]) == (429, "7", "rate-limited")
        assert len(prompted.stops) == 1
        with site.ask("endless late") as late:
            next(late.tokens())
            site.signal(signal.SIGTERM)
            with contextlib.suppress(OSError, http.client.HTTPException):
                late.text()
        started = time.monotonic()
        site.process.wait(PATIENCE)
        assert time.monotonic() - started < SOON
        site.check_log(prompted.port)


def test_leaving_while_the_model_is_silent(kind: str, prompted: PromptedChatUI, tmp_path: Path) -> None:
    """A page that is closed while nothing comes is noticed at the next heartbeat: its generation is stopped and the worker is free."""
    with Site(kind, prompted, tmp_path) as site:
        with site.ask("hold silent") as silent:
            assert next(silent.tokens()) == text_for("hold silent", 1)
            silent.heartbeat()
        wait_until(lambda: len(prompted.stops_for("hold silent")) == 1)
        # Before the head of the answer, too: the response begins after the time to wait for a refusal.
        with site.ask("mute one", X_Wait="1") as mute:
            assert mute.status == 200
            mute.heartbeat()
        wait_until(lambda: len(prompted.stops_for("mute one")) == 1)
        prompted.go.set()
        for number in range(4):  # no worker is held
            assert site.text(f"few {number}") == text_for(f"few {number}", 2)
        site.check_log(prompted.port)


def test_reload_and_stop(kind: str, prompted: PromptedChatUI, tmp_path: Path) -> None:
    """SIGHUP and SIGTERM during streams: a started stream is completed, a later one is served by a new worker.

    The application was loaded before the fork.
    """
    with Site(kind, prompted, tmp_path, "--graceful-timeout", "60", "--preload") as site, ThreadPoolExecutor(2) as pool:
        with site.ask("hold over") as held:
            assert next(held.tokens()) == text_for("hold over", 1)
            site.signal(signal.SIGHUP)
            wait_until(lambda: len(site.workers) == 4)
            news = (f"count new{number}" for number in range(100))

            def answered() -> bool:
                prompt = next(news)
                assert site.text(prompt) == text_for(prompt)
                return site.answered_by(quote(prompt)) in site.workers[2:]

            wait_until(answered)
            prompted.go.set()
            assert held.text() == text_for("hold over")[len(text_for("hold over", 1)) :]
        assert site.answered_by(quote("hold over")) in site.workers[:2]
        # gunicorn ignores further signals until the old workers have exited, and these may still accept a request.
        wait_until(lambda: all(f"exiting (pid: {pid})" in site.said for pid in site.workers[:2]))
        prompted.go.clear()
        with site.ask("hold end") as held:
            assert next(held.tokens()) == text_for("hold end", 1)
            site.signal(signal.SIGTERM)
            wait_until(lambda: "Handling signal: term" in site.said)
            rest = pool.submit(held.text)
            prompted.go.set()
            assert rest.result(PATIENCE) == text_for("hold end")[len(text_for("hold end", 1)) :]
        assert site.process.wait(PATIENCE) == 0
        site.check_log(prompted.port)
    assert prompted.stops == []
    assert prompted.count("delete") == prompted.count("send")


def test_workers_share_the_limits(kind: str, prompted: PromptedChatUI, tmp_path: Path, redis_server: RedisServer) -> None:
    """Two workers with --preload and one Redis: exactly the limit of one user is answered, the others get 429."""
    variables = {"FLASK_HFCLIENT_GUARD__store": redis_server.url, "FLASK_HFCLIENT_GUARD__requests": "3/day"}

    def ask(number: int) -> int:
        with site.ask(f"few {number}", X_User="ann") as browser:
            if browser.status == 429:
                assert browser.body()["scope"] == "requests"
                assert 0 < int(browser.headers["Retry-After"]) <= 86_400
            else:
                assert browser.text() == text_for(f"few {number}", 2)
            return browser.status

    with Site(kind, prompted, tmp_path, "--preload", **variables) as site, ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(ask, range(12))) == [200] * 3 + [429] * 9
        with site.ask("few 99", X_User="bob") as other:
            assert other.status == 200
            other.text()
        assert prompted.count("send") == 4
        site.check_log(prompted.port)


def test_runs_outlive_their_request(kind: str, prompted: PromptedChatUI, tmp_path: Path, redis_server: RedisServer) -> None:
    """A page that is refreshed in mid-answer continues where it was, in whichever worker; one prompt is sent. Any worker stops a run."""
    variables = {"FLASK_HFCLIENT_RELAY__store": redis_server.url, "FLASK_HFCLIENT_RELAY__lease": "100"}
    with Site(kind, prompted, tmp_path, "--preload", "--graceful-timeout", "5", **variables) as site:

        def start(prompt: str) -> str:
            with Browser(site.port, "POST", "/start", {"prompt": prompt}, X_User="ann") as browser:
                return str(browser.body()["run"])

        def follow(run: str, **headers: str) -> Browser:
            return Browser(site.port, "GET", f"/runs/{run}", None, X_User="ann", **headers)

        run = start("hold run")
        with follow(run) as first:
            assert next(first.tokens()) == text_for("hold run", 1)
        wait_until(lambda: prompted.begun == ["hold run"])
        for _ in range(4):  # each may be in another worker
            with follow(run) as again:
                assert next(again.tokens()) == text_for("hold run", 1)
        prompted.go.set()
        with follow(run) as last:
            assert last.text() == text_for("hold run")
        with follow(run, Last_Event_ID="nonsense") as nonsense:
            assert nonsense.status == 400
        with Browser(site.port, "GET", f"/runs/{run}", None, X_User="eve") as other:
            assert other.status == 404
        assert prompted.count("send") == 1
        endless = start("endless run")
        wait_until(lambda: "endless run" in prompted.begun)
        with Browser(site.port, "POST", f"/runs/{endless}/stop", {}, X_User="ann") as stopped:
            assert stopped.status == 200
        wait_until(lambda: prompted.stops_for("endless run") != [])
        with follow(endless) as ended:
            assert list(ended.events())[-1] == ("end", {"status": "interrupted"})
        site.check_log(prompted.port)
