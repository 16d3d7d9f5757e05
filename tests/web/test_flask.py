"""The Flask extension with Flask's own test client."""

from __future__ import annotations

import gc
import json
import logging
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from hfclient import Client, errors
from hfclient.events import FinalAnswer, Token
from hfclient.web import RouterPrices, ndjson
from hfclient.web.errors import LimitExceeded, RunBusy, WebError
from tests.chat.replay import FINISHED, ChatUI, final, lines, token, wait_until
from tests.server import PATIENCE, json_answer
from tests.web.sources import Scripted

pytest.importorskip("flask")

from flask import Blueprint, Flask, Response, current_app, request

from hfclient.web.flask import HFClient

SAID = lines(token("Hello "), token("you"), final("Hello you"), FINISHED)


@pytest.fixture
def ui() -> Iterator[ChatUI]:
    """A chat-ui that answers every prompt."""
    with ChatUI() as running:
        running.says(SAID)
        yield running


def make(ui: ChatUI | None = None, **config: Any) -> tuple[Flask, HFClient]:
    """Return an application with the view of the documentation."""
    app = Flask(__name__)
    app.config.update({f"HFCLIENT_{key}": value for key, value in config.items()})
    app.config.setdefault("HFCLIENT_TOKEN", "")
    if ui is not None:
        app.config.update(HFCLIENT_BASE_URL=ui.url, HFCLIENT_COOKIES={"hf-chat": "c"})
    hf = HFClient(app)

    @app.post("/ask")
    def ask() -> Response:
        prompt = hf.prompt()
        return hf.stream_response(lambda: hf.client.chat(prompt), wait=PATIENCE)

    return app, hf


def frames(body: bytes) -> list[tuple[str, Any]]:
    """Return name and data of each server-sent event."""
    found = []
    for frame in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if line and not line.startswith(":"))
        if "data" in fields:
            found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


def text_of(body: bytes) -> str:
    return "".join(data["text"] for _, data in frames(body) if data.get("event") == "Token")


def test_an_answer(ui: ChatUI) -> None:
    """The twenty lines: a prompt as JSON or as a form becomes a stream of events that ends with ``end``."""
    app, hf = make(ui)
    for sent in ({"json": {"prompt": "Hi"}}, {"data": {"prompt": "Hi"}}):
        response = app.test_client().post("/ask", **sent)  # type: ignore[arg-type]
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        assert text_of(response.data) == "Hello you"
        assert frames(response.data)[-1] == ("end", {"status": "completed"})
    assert ui.count("send") == 2
    hf.close(app)


def test_other_bodies(ui: ChatUI) -> None:
    """JSON lines, further headers, and a function for the end of the response."""
    app, hf = make(ui)
    ended: list[int] = []

    @app.get("/lines")
    def as_lines() -> Response:
        return hf.stream_response(
            lambda: hf.client.chat("Hi"), body=ndjson, headers={"X-Mine": "1"}, on_close=lambda: ended.append(1)
        )

    response = app.test_client().get("/lines")
    assert response.headers["X-Mine"] == "1"
    objects = [json.loads(line) for line in response.data.split(b"\n") if line]
    assert "".join(one["text"] for one in objects if one["event"] == "Token") == "Hello you"
    assert ended == [1]
    hf.close(app)


def test_a_refusal_is_a_status(ui: ChatUI, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal of the provider becomes the status of the response, as problem+json; its text is in the log only."""
    app, hf = make(ui)
    ui.always("send", json_answer({"message": "geheim: slow down"}, 429))
    with caplog.at_level(logging.WARNING):
        response = app.test_client().post("/ask", json={"prompt": "Hi"})
    assert response.status_code == 429
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json == {"type": "about:blank", "title": "Too many requests. Please wait a moment.", "status": 429, "code": "rate-limited"}
    assert "geheim" not in response.text
    assert "geheim" in caplog.text
    hf.close(app)


STATUSES = [
    (401, {}, 502, "service-login-expired"),
    (402, {}, 402, "credits-exhausted"),
    (403, {}, 502, "service-forbidden"),
    (404, {}, 404, "not-found"),
    (409, {}, 409, "conflict"),
    (413, {}, 413, "too-large"),
    (422, {}, 400, "bad-request"),
    (429, {"Retry-After": "7"}, 429, "rate-limited"),
    (500, {}, 502, "service-error"),
    (503, {"Retry-After": "31.5"}, 503, "service-busy"),
]


def test_refusals(ui: ChatUI) -> None:
    """Each refusal has its own status and code, a wait has Retry-After, and no address and no advice for operators is sent."""
    app, hf = make(ui)
    client = app.test_client()
    for status, headers, expected, code in STATUSES:
        text = f"secret internals of {ui.url}: the token is wrong"
        ui.always("send", json_answer({"message": text}, status, *(f"{name}: {value}" for name, value in headers.items())))
        response = client.post("/ask", json={"prompt": "Hi"})
        assert response.json is not None
        assert (response.status_code, response.json["status"], response.json["code"]) == (expected, expected, code)
        assert response.headers.get("Retry-After") == {"7": "7", "31.5": "32"}.get(headers.get("Retry-After", ""))
        for word in (f":{ui.port}", "127.0.0.1", "internals", "hfclient", "HFCLIENT", "Traceback", "token"):
            assert word not in response.text
    hf.close(app)


def test_a_server_that_is_down() -> None:
    """A chat server that cannot be reached is a 503; a prompt in the URL of a GET, as an EventSource sends, is a 405."""
    app, hf = make(BASE_URL="http://127.0.0.1:9", COOKIES={"hf-chat": "c"}, RETRY={"attempts": 1})
    response = app.test_client().post("/ask", json={"prompt": "Hi"})
    assert (response.status_code, response.json["code"]) == (503, "service-unreachable")  # type: ignore[index]
    assert "127.0.0.1" not in response.text
    assert app.test_client().get("/ask?prompt=Hi").status_code == 405
    hf.close(app)


def test_a_slow_refusal() -> None:
    """A refusal that takes longer than the wait is an event of the stream."""
    app, hf = make()
    go = threading.Event()

    def call() -> Any:
        assert go.wait(30)
        raise errors.RateLimitError("slow down", status_code=429, retry_after=3.0)

    app.add_url_rule("/", view_func=lambda: hf.stream_response(call, wait=0.05), endpoint="index")
    response = app.test_client().get("/")
    go.set()
    assert response.status_code == 200
    assert [(name, data.get("code")) for name, data in frames(response.data)] == [("problem", "rate-limited"), ("end", None)]


def test_a_failure_in_the_middle() -> None:
    """A failure after the first event is an event of its own, and the last event ends the stream."""
    app, hf = make()
    source = Scripted(Token("a"), end=False)
    source.say(errors.StreamInterrupted("geheim"))
    app.add_url_rule("/", view_func=lambda: hf.stream_response(source), endpoint="index")
    response = app.test_client().get("/")
    assert response.status_code == 200
    assert [name for name, _ in frames(response.data)] == ["message", "problem", "end"]
    assert b"geheim" not in response.data


def test_details_on_request() -> None:
    """``HFCLIENT_DETAILS`` shows the text of errors of a stream; ``details=`` of one response comes first."""
    for options, expected in (({"DETAILS": True}, True), ({}, False)):
        app, hf = make(**options)
        source = Scripted(end=False)
        source.say(Token("a"), errors.StreamInterrupted("the cable"))
        app.add_url_rule("/", view_func=lambda hf=hf, source=source: hf.stream_response(source), endpoint="index")
        assert (b"the cable" in app.test_client().get("/").data) is expected


def test_errors_of_the_application() -> None:
    """The extension handles errors of hfclient only: an error of the application is Flask's business."""
    app, _ = make()

    @app.get("/mine")
    def mine() -> str:
        raise ZeroDivisionError

    @app.get("/busy")
    def busy() -> str:
        raise RunBusy("x", run_id="r1")

    @app.get("/limit")
    def limit() -> str:
        raise LimitExceeded("x", retry_after=6.5, scope="tokens")

    app.testing = False
    client = app.test_client()
    assert client.get("/mine").status_code == 500
    assert client.get("/mine").mimetype == "text/html"
    assert client.get("/missing").mimetype == "text/html"
    assert (client.get("/busy").status_code, client.get("/busy").json["run"]) == (409, "r1")  # type: ignore[index]
    assert (client.get("/limit").status_code, client.get("/limit").headers["Retry-After"]) == (429, "7")
    app.testing = True
    with pytest.raises(ZeroDivisionError):
        client.get("/mine")


def test_handlers_of_the_application_come_first() -> None:
    """The application's handler for a class of errors replaces the extension's; without the extension's, errors are Flask's."""
    app, hf = make()
    app.register_error_handler(RunBusy, lambda error: ("mine", 418))

    @app.get("/busy")
    def busy() -> str:
        raise RunBusy("x")

    assert app.test_client().get("/busy").status_code == 418
    off, hf = make(ERROR_HANDLER=False)

    @off.get("/busy")
    def busy_too() -> Any:
        try:
            raise RunBusy("x")
        except RunBusy as error:
            return hf.problem_response(error) if request.args else 1 / 0

    assert off.test_client().get("/busy?a=1").status_code == 409


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 400),
        ({"data": b"{", "content_type": "application/json"}, 400),
        ({"data": b"[1]", "content_type": "application/json"}, 400),
        ({"data": b'"text"', "content_type": "application/json"}, 400),
        ({"data": b"\xff\xfe", "content_type": "application/json"}, 400),
        ({"data": b'{"prompt": NaN}', "content_type": "application/json"}, 400),
        ({"data": b"[" * 100_000, "content_type": "application/json"}, 400),
        ({"data": b'{"prompt": ' + b"9" * 10_000 + b"}", "content_type": "application/json"}, 400),
        ({"data": b'{"prompt": "\\ud800"}', "content_type": "application/json"}, 400),
        ({"json": {"prompt": ["a"]}}, 400),
        ({"json": {"prompt": None}}, 400),
        ({"json": {"prompt": " \n"}}, 400),
        ({"json": {}}, 400),
        ({"data": {"other": "x"}}, 400),
        ({"data": b"prompt=a", "content_type": "text/plain"}, 400),
        ({"data": b"x", "content_type": "multipart/form-data"}, 400),
        ({"json": {"prompt": "x" * 100_001}}, 413),
        ({"data": {"prompt": "x" * 100_001}}, 413),
        ({"data": b" " * 2_000_000, "content_type": "application/json"}, 413),
        ({"data": b" " * 2_000_000, "content_type": "application/x-www-form-urlencoded"}, 413),
    ],
)
def test_bodies_that_cannot_be_used(sent: dict[str, Any], status: int) -> None:
    """A body without a usable prompt is answered with a problem, and nothing is sent to the provider."""
    app, _ = make()
    response = app.test_client().post("/ask", **sent)
    assert (response.status_code, response.mimetype) == (status, "application/problem+json")
    assert response.json is not None
    assert response.json["code"] == {400: "invalid-request", 413: "too-large"}[status]


def test_the_limit_of_flask() -> None:
    """``MAX_CONTENT_LENGTH`` of the application is a problem, too."""
    app, _ = make()
    app.config["MAX_CONTENT_LENGTH"] = 100
    client = app.test_client()
    assert client.post("/ask", json={"prompt": "x" * 200}).json["code"] == "too-large"  # type: ignore[index]
    assert client.post("/ask", data={"prompt": "x" * 200}).json["code"] == "too-large"  # type: ignore[index]


def test_json_is_read_once() -> None:
    """Prompt and further fields come from one reading of the body, which another type than JSON does not reach."""
    app, hf = make()

    @app.post("/json")
    def read() -> dict[str, Any]:
        return {"prompt": hf.prompt(), "thread": hf.json()["thread"], "again": hf.json()["thread"]}

    client = app.test_client()
    assert client.post("/json", json={"prompt": "Hi", "thread": 7}).json == {"prompt": "Hi", "thread": 7, "again": 7}
    assert client.post("/json", data={"prompt": "Hi"}).status_code == 400


def test_a_repeated_request(ui: ChatUI) -> None:
    """A POST that a library repeats with ``Last-Event-ID`` gets a 204 and sends no second prompt; an open stream is closed."""
    app, hf = make(ui)
    for value in ("5", "-1", "nonsense", ""):
        response = app.test_client().post("/ask", json={"prompt": "Hi"}, headers={"Last-Event-ID": value})
        assert (response.status_code, response.data) == (204, b"")
    assert ui.count("send") == 0
    hf.close(app)
    app, hf = make()
    source, ended = Scripted(Token("a")), []
    app.add_url_rule("/open", view_func=lambda: hf.stream_response(source, on_close=lambda: ended.append(1)), endpoint="open")
    assert app.test_client().get("/open", headers={"Last-Event-ID": "5"}).status_code == 204
    assert (source.closes, ended) == (1, [1])


def test_a_follower_continues() -> None:
    """A follower of a run is resumed with ``Last-Event-ID``."""
    app, hf = make()

    class Follower(Scripted):
        run_id, at_end = "r1", False

    app.add_url_rule("/", view_func=lambda: hf.stream_response(Follower(Token("b"))), endpoint="index")
    response = app.test_client().get("/", headers={"Last-Event-ID": "r1:1"})
    assert text_of(response.data) == "b"


def test_head(ui: ChatUI) -> None:
    """HEAD gets the headers and starts no answer."""
    app, hf = make(ui)
    app.add_url_rule("/get", view_func=lambda: hf.stream_response(lambda: hf.client.chat("Hi")), endpoint="get")
    response = app.test_client().head("/get")
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert ui.count("send") == 0
    hf.close(app)


def test_leaving(ui: ChatUI) -> None:
    """Closing a response that is not read to its end closes the stream."""
    app, hf = make()
    source = Scripted(Token("a"), end=False)
    app.add_url_rule("/", view_func=lambda: hf.stream_response(source), endpoint="index")
    response = app.test_client().get("/", buffered=False)
    pieces = response.iter_encoded()
    next(pieces)
    response.close()
    wait_until(lambda: source.closes == 1)


def test_the_context_of_the_application(ui: ChatUI) -> None:
    """The function of a stream runs in the application's context: ``hf.client`` and ``current_app`` work."""
    app, hf = make(ui)
    HFClient(make(ui)[0])  # another application
    seen: list[Any] = []

    def call() -> Any:
        seen.append((current_app.name, threading.current_thread() is main))
        return hf.client.chat("Hi")

    main = threading.current_thread()
    app.add_url_rule("/", view_func=lambda: hf.stream_response(call), endpoint="index")
    assert text_of(app.test_client().get("/").data) == "Hello you"
    assert seen == [(app.name, False)]
    hf.close(app)


def test_several_applications(ui: ChatUI) -> None:
    """One object serves several applications, each with its own configuration and client; a blueprint's views work in both."""
    hf = HFClient()
    pages = Blueprint("pages", __name__)

    @pages.get("/")
    def index() -> Response:
        return hf.stream_response(lambda: hf.client.chat("Hi"))

    apps = []
    with ChatUI() as other:
        other.says(lines(token("Other"), final("Other"), FINISHED))
        for server in (ui, other):
            app = Flask(__name__)
            app.config.update(HFCLIENT_BASE_URL=server.url, HFCLIENT_TOKEN="", HFCLIENT_COOKIES={"hf-chat": "c"})
            hf.init_app(app)
            app.register_blueprint(pages)
            apps.append(app)
        assert [text_of(app.test_client().get("/").data) for app in apps] == ["Hello you", "Other"]
        with pytest.raises(WebError, match="which application"):
            _ = hf.client
        for app in apps:
            with app.app_context():
                assert hf.client.base_url == app.config["HFCLIENT_BASE_URL"]
            hf.close(app)


def test_without_a_context() -> None:
    """With one application the client can be used outside of requests; before ``init_app`` the error says what to do."""
    app, hf = make(BASE_URL="http://127.0.0.1:9")
    assert hf.client.base_url == "http://127.0.0.1:9"
    assert hf.client is hf.client
    with pytest.raises(WebError, match="call init_app first"):
        _ = HFClient().client
    with Flask("bare").app_context(), pytest.raises(WebError, match="call init_app for the application 'bare'"):
        _ = hf.client
    hf.close(app)


def test_one_client_for_all_threads() -> None:
    """Threads that ask for the client at the same moment get the same one; a factory's later configuration counts."""
    app, hf = make()
    app.config["HFCLIENT_BASE_URL"] = "http://127.0.0.1:9"
    barrier = threading.Barrier(8)
    found: list[Client] = []

    def take() -> None:
        barrier.wait()
        with app.app_context():
            found.append(hf.client)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert found[0].base_url == "http://127.0.0.1:9"
    first = found[0]
    hf.close(app)
    assert hf.client is not first
    hf.close(app)


def test_an_application_can_be_freed() -> None:
    """The extension does not keep applications of factories."""
    hf = HFClient()
    app = Flask("temporary")
    hf.init_app(app)
    found = weakref.ref(app)
    del app
    gc.collect()
    assert found() is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"BASE_URI": "x"}, "has no option 'HFCLIENT_BASE_URI'; did you mean \"HFCLIENT_BASE_URL\"?"),
        ({"COOKIE": "geheim"}, "has no option 'HFCLIENT_COOKIE'; did you mean \"HFCLIENT_COOKIES\"?"),
        ({"XYZ": "geheim"}, "has no option 'HFCLIENT_XYZ'; it has HFCLIENT_BASE_URL, "),
        ({"TIMEOUTS": {"totl": 5}}, "HFCLIENT_TIMEOUTS has no option 'totl'; did you mean \"total\"?"),
        ({"TIMEOUTS": {"total": -5}}, "HFCLIENT_TIMEOUTS: "),
        ({"GUARD": {"request": "5/day"}}, "HFCLIENT_GUARD has no option 'request'; did you mean \"requests\"?"),
        ({"GUARD": {"requests": "often"}}, "HFCLIENT_GUARD: requests='often'"),
        ({"GUARD": {"store": "redis5://:geheim@x", "requests": "5/day"}}, "HFCLIENT_GUARD: the store of the limits"),
        ({"GUARD": "5/day"}, "HFCLIENT_GUARD is a dict of options, not a str"),
        ({"RELAY": 5}, "HFCLIENT_RELAY is a dict of options, not a int"),
        ({"RELAY": {"tll": 5}}, "HFCLIENT_RELAY has no option 'tll'; did you mean \"ttl\"?"),
        ({"RELAY": {"store": "reddis://:geheim@x"}}, "HFCLIENT_RELAY: the store is the URL of a Redis server"),
        ({"CLIENT": "geheim"}, "HFCLIENT_CLIENT is a function"),
        ({"CLIENT": Client, "BASE_URL": "http://x"}, "HFCLIENT_BASE_URL, HFCLIENT_TOKEN would have no effect"),
        ({"BASE_URL": "ftp://user:geheim@x"}, "http"),
        ({"IMPERSONATE": 5}, "HFCLIENT_"),
    ],
)
def test_wrong_configurations(config: dict[str, Any], message: str) -> None:
    """A misspelt key or an impossible value fails at start-up with the key's name and without its value."""
    with pytest.raises(errors.HFClientError, match=message) as refused:
        make(**config)
    assert "geheim" not in str(refused.value)


def test_configuration_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``from_prefixed_env`` of Flask sets all options, also those in dicts."""
    monkeypatch.setenv("FLASK_HFCLIENT_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FLASK_HFCLIENT_TIMEOUTS__total", "25")
    monkeypatch.setenv("FLASK_HFCLIENT_GUARD__requests", "2/minute")
    app = Flask(__name__)
    app.config.from_prefixed_env()
    hf = HFClient(app)
    assert hf.client.base_url == "http://127.0.0.1:9"
    assert [str(limit) for limit in hf.guard.limits] == ["2 requests in 60 seconds for each user"]
    hf.close(app)


def test_the_guard(ui: ChatUI) -> None:
    """A used-up limit is a 429 with the time to wait, before the provider is asked; the answer's use is counted."""
    app, hf = make(ui, GUARD={"requests": "2/day", "tokens": "100000/day"})

    @app.post("/guarded")
    def guarded() -> Response:
        prompt, user = hf.prompt(), request.headers["X-User"]
        return hf.stream_response(hf.guard.watch(lambda: hf.client.chat(prompt), user=user, prompt=prompt), wait=PATIENCE)

    client = app.test_client()
    sent: Any = {"json": {"prompt": "p" * 40}, "headers": {"X-User": "ann"}}
    responses = [client.post("/guarded", **sent) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert [text_of(response.data) for response in responses[:2]] == ["Hello you"] * 2
    assert 0 < int(responses[2].headers["Retry-After"]) <= 86_400
    assert responses[2].json is not None
    assert responses[2].json["scope"] == "requests"
    assert '"requests-user-86400";r=1' in responses[0].headers["RateLimit"]
    assert '"requests-user-86400";r=0' in responses[1].headers["RateLimit"]
    assert ui.count("send") == 2
    with app.app_context():
        assert {one.scope: one.used for one in hf.guard.usage("ann")} == {"requests": 2, "tokens": 26}
    hf.close(app)
    app, hf = make()
    with pytest.raises(WebError, match="set HFCLIENT_GUARD"):
        _ = hf.guard


def test_credits_by_the_router() -> None:
    """``"price": "router"`` takes the prices of the application's own client."""
    app, hf = make(GUARD={"credits": "0.50/day", "price": "router"})
    assert isinstance(hf.guard.price, RouterPrices)
    assert str(hf.guard.limits[0]) == "0.5 credits in 86400 seconds for each user"
    hf.close(app)


def test_mistakes_of_the_application(caplog: pytest.LogCaptureFixture) -> None:
    """A limit without a user, a missing guard, an option that is set too late: a 500 and an error in the log, not a 400."""
    app, hf = make(GUARD={"requests": "2/day"})

    @app.get("/user")
    def without_user() -> Response:
        return hf.stream_response(hf.guard.watch(lambda: hf.client.chat("Hi")), wait=PATIENCE)

    response = app.test_client().get("/user")
    assert (response.status_code, response.json["code"]) == (500, "internal-error")  # type: ignore[index]
    assert "user= is required" in caplog.text
    app, hf = make()
    app.config["HFCLIENT_BASE_URI"] = "x"
    app.add_url_rule("/late", view_func=lambda: hf.client.base_url, endpoint="late")
    assert app.test_client().get("/late").status_code == 500
    assert 'did you mean "HFCLIENT_BASE_URL"?' in caplog.text


def test_a_coroutine() -> None:
    """An async view returns the same response."""
    pytest.importorskip("asgiref")
    app, hf = make()

    @app.get("/")
    async def index() -> Response:
        return hf.stream_response(Scripted(Token("a"), FinalAnswer("a")))

    assert text_of(app.test_client().get("/").data) == "a"


def test_other_sentences() -> None:
    """The application may describe errors itself, in responses and in streams."""
    import functools

    from hfclient.web import problem

    app = Flask(__name__)
    app.config["HFCLIENT_TOKEN"] = ""
    hf = HFClient(app, problem=functools.partial(problem, titles={"interrupted": "Unterbrochen."}))
    source = Scripted(Token("a"), end=False)
    source.say(errors.StreamInterrupted("x"))
    app.add_url_rule("/", view_func=lambda: hf.stream_response(source), endpoint="index")
    assert frames(app.test_client().get("/").data)[1][1]["title"] == "Unterbrochen."
    with app.app_context():
        assert hf.problem_response(errors.StreamInterrupted("x")).json["title"] == "Unterbrochen."  # type: ignore[index]


def test_the_command_line() -> None:
    """Creating the extension opens nothing, so that ``flask --debug`` may load the application twice."""
    before = set(threading.enumerate())
    make(GUARD={"requests": "5/day", "store": "redis://127.0.0.1:1/0"})
    assert set(threading.enumerate()) <= before


def test_the_front_end() -> None:
    """The modules and the style sheet are served with types that browsers accept; other files of the disk are not."""
    app, hf = make()
    app.add_url_rule("/hfclient/<path:filename>", "hfclient", hf.static)
    client = app.test_client()
    for name, kind in (("hfclient.js", "text/javascript"), ("chat.css", "text/css")):
        with client.get(f"/hfclient/{name}") as response:
            assert (response.status_code, response.mimetype) == (200, kind)
            assert response.headers["X-Content-Type-Options"] == "nosniff"
    for name in ("missing.js", "../flask.py", "..%2f..%2fflask.py", "%2e%2e/%2e%2e/flask.py", "/etc/passwd"):
        with client.get(f"/hfclient/{name}") as response:
            assert response.status_code in (308, 404)
