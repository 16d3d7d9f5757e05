"""Answers that outlive the request, in a Flask application with a relay in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hfclient import errors
from hfclient.events import FinalAnswer, Token
from hfclient.web.errors import RunNotFound
from tests.chat.replay import wait_until
from tests.server import PATIENCE
from tests.web.sources import Scripted

pytest.importorskip("flask")

from flask import Flask, Response, current_app, request

from hfclient.web.flask import HFClient
from tests.web.test_flask import frames, text_of


class Site:
    """An application with the views of the documentation; `sources` are the answers to come, `wait` is how long a start waits for one."""

    def __init__(self, *, wait: float = PATIENCE, **config: Any) -> None:
        self.wait = wait
        self.app = app = Flask(__name__)
        self.sources: list[Any] = []
        self.ended: list[tuple[str, str, str]] = []
        app.config.update({"HFCLIENT_TOKEN": "", **{f"HFCLIENT_{key}": value for key, value in config.items()}})
        self.hf = hf = HFClient(app)
        HFClient().init_app(Flask("another"))

        @app.post("/threads/<thread>/ask")
        def ask(thread: str) -> dict[str, str]:
            prompt, user = hf.prompt(), request.headers["X-User"]
            call: Any = self.answer
            if app.config.get("HFCLIENT_GUARD"):
                call = hf.guard.watch(call, user=user, prompt=prompt)
            key = request.headers.get("Idempotency-Key")
            return {"run": hf.start(thread, call, owner=user, idempotency_key=key, wait=self.wait, on_end=self.save).id}

        @app.get("/runs/<run_id>")
        def follow(run_id: str) -> Response:
            return hf.follow(run_id, owner=request.headers["X-User"])

        self.client = app.test_client()

    def answer(self) -> Any:
        assert current_app.name == self.app.name
        source = self.sources.pop(0)
        if isinstance(source, Exception):
            raise source
        return source

    def save(self, run: Any, reply: Any, error: Any) -> None:
        self.ended.append((current_app.name, reply.text, run.status))

    def ask(self, *, thread: str = "t1", user: str = "ann", **headers: str) -> Any:
        fields = {"X-User": user, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.post(f"/threads/{thread}/ask", json={"prompt": "p" * 40}, headers=fields)

    @property
    def relay(self) -> Any:
        with self.app.app_context():
            return self.hf.relay

    def follow(self, run: str, *, user: str = "ann", **headers: str) -> Any:
        return self.client.get(f"/runs/{run}", headers={"X-User": user, **headers})


@pytest.fixture
def site() -> Iterator[Site]:
    """An application without limits."""
    made = Site()
    yield made
    made.hf.close(made.app, timeout=0.1)


def test_a_run(site: Site) -> None:
    """A run is followed by any number of browsers, from its start or from an event; the call and the end run in the application's context."""
    site.sources = [Scripted(Token("Hello "), Token("you"), FinalAnswer("Hello you"))]
    run = site.ask().json["run"]
    assert [text_of(site.follow(run).data) for _ in range(2)] == ["Hello you"] * 2
    again = site.follow(run, **{"Last-Event-ID": f"{run}:1"})
    assert text_of(again.data) == "you"
    assert frames(again.data)[-1] == ("end", {"status": "completed"})
    assert site.ended == [(site.app.name, "Hello you", "completed")]


def test_the_last_event(site: Site) -> None:
    """A browser that has everything gets a 204, after which an EventSource stops; a nonsense id is a 400 without a second answer."""
    site.sources = [Scripted(Token("a"), FinalAnswer("a"))]
    run = site.ask().json["run"]
    assert text_of(site.follow(run).data) == "a"
    assert site.follow(run, **{"Last-Event-ID": f"{run}:2"}).status_code == 204
    for wrong in ("-1", "7", "other:1", f"{run}:x", f"{run}:-1"):
        assert site.follow(run, **{"Last-Event-ID": wrong}).status_code == 400
    assert site.follow("unknown").status_code == 404
    assert site.follow(run, user="eve").status_code == 404
    assert site.follow(run, user="eve").json["code"] == "run-not-found"


def test_a_refusal_of_a_run(site: Site) -> None:
    """A refusal that comes at once is the status of the request that started the run; a second run of a thread is a 409."""
    site.sources = [errors.RateLimitError("x", status_code=429, retry_after=4.0), Scripted(Token("a"), end=False)]
    refused = site.ask()
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "4")
    first = site.ask().json["run"]
    busy = site.ask()
    assert (busy.status_code, busy.json["code"], busy.json["run"]) == (409, "busy", first)
    with pytest.raises(RunNotFound):
        site.hf.relay.stop(first, owner="eve")
    site.hf.relay.stop(first, owner="ann")
    assert frames(site.follow(first).data)[-1] == ("end", {"status": "interrupted"})


def test_limits_of_runs() -> None:
    """A run counts once, however many follow it or ask for it again; a used-up limit is a 429, and starts nothing."""
    site = Site(GUARD={"requests": "2/day", "tokens": "100000/day"})
    site.sources = [Scripted(Token("t" * 40), FinalAnswer("t" * 40)) for _ in range(3)]
    runs = [site.ask(thread=f"t{number}", Idempotency_Key="k").json["run"] for number in (1, 1, 1)]
    assert len(set(runs)) == 1
    for _ in range(3):
        assert text_of(site.follow(runs[0]).data) == "t" * 40
    assert site.ask(thread="t2").status_code == 200
    wait_until(lambda: len(site.ended) == 2)
    refused = site.ask(thread="t3")
    assert (refused.status_code, refused.json["scope"]) == (429, "requests")
    assert site.ask(thread="t1", Idempotency_Key="k").json["run"] == runs[0]
    with site.app.app_context():
        wait_until(lambda: {one.scope: one.used for one in site.hf.guard.usage("ann")} == {"requests": 2, "tokens": 40})
    assert len(site.sources) == 1
    site.hf.close(site.app, timeout=0.1)


def test_a_busy_thread_counts_nothing() -> None:
    """A request that is refused because the thread is busy is not counted, and gives nothing back that was not."""
    site = Site(GUARD={"requests": "5/day"})
    site.sources = [Scripted(Token("a"), end=False)]
    site.ask()
    assert [site.ask().status_code for _ in range(3)] == [409] * 3
    with site.app.app_context():
        assert site.hf.guard.usage("ann")[0].used == 1
    site.hf.close(site.app, timeout=0.1)


def test_chats_are_recovered_by_default() -> None:
    """The relay recovers chats with the application's client; another function, or None, is respected."""
    chat = {"conversation": {}, "generation_id": "g"}
    for config, expected in (({}, (True, False)), ({"RELAY": {"recover": None}}, (False, False)), ({"RELAY": {"recover": print}}, (True, True))):
        site = Site(**config)
        with site.app.app_context():
            recovery = site.hf.relay.recovery
            assert (recovery.can_continue(None, chat), recovery.can_continue({"own": 1}, None)) == expected
        site.hf.close(site.app)


def test_closing() -> None:
    """Closing ends the runs."""
    site = Site()
    source = Scripted(Token("a"), end=False)
    site.sources = [source]
    run = site.ask().json["run"]
    wait_until(lambda: site.relay.get(run, owner="ann").last == 1)
    site.hf.close(site.app, timeout=0.1)
    wait_until(source.closed.is_set)
    assert site.ended == [(site.app.name, "a", "interrupted")]


def test_refused_runs_leave_nothing() -> None:
    """A flood of requests over the limit makes no runs: nothing of it is kept."""
    site = Site(GUARD={"requests": "1/day"})
    site.sources = [Scripted(Token("a"), FinalAnswer("a"))]
    site.ask()
    before = len(site.hf.relay.store._runs)  # type: ignore[attr-defined]
    assert [site.ask(thread=f"t{number}", Idempotency_Key=f"k{number}").status_code for number in range(20)] == [429] * 20
    assert len(site.hf.relay.store._runs) == before == 1  # type: ignore[attr-defined]
    site.hf.close(site.app, timeout=0.1)


def test_a_run_that_is_stopped_while_it_waits() -> None:
    """A run that waits for another one and is stopped gives back what was counted for it."""
    site = Site(wait=0.01, GUARD={"requests": "5/day", "tokens": "99000/day"}, RELAY={"busy": "queue"})
    first = Scripted(Token("t" * 40), end=False)
    site.sources = [first, Scripted(Token("never"))]
    site.ask()
    waiting = site.ask().json["run"]
    with site.app.app_context():
        assert {one.scope: one.used for one in site.hf.guard.usage("ann")} == {"requests": 2, "tokens": 2020}
        site.hf.relay.stop(waiting, owner="ann")
        wait_until(lambda: {one.scope: one.used for one in site.hf.guard.usage("ann")} == {"requests": 1, "tokens": 1010})
    first.end()
    wait_until(lambda: len(site.ended) == 2)
    assert len(site.sources) == 1
    site.hf.close(site.app, timeout=0.1)
