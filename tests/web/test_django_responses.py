"""`stream_response` and `ProblemMiddleware`, with Django's test clients. Real servers: tests/deploy/test_django_servers.py."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from hfclient import errors
from hfclient.web.errors import InvalidRequest, LimitExceeded, RunBusy
from tests.chat.replay import wait_until
from tests.processes.helpers import PromptedChatUI, text_for
from tests.server import json_answer
from tests.web.django_site import django_database, set_up

set_up()

from django.core.cache import caches  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpResponse, StreamingHttpResponse  # noqa: E402
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory, override_settings  # noqa: E402

from hfclient.web.django import astream_response, conversation_lock, get_client, problem_response, stream_response  # noqa: E402
from hfclient.web.django.middleware import ProblemMiddleware  # noqa: E402
from tests.web.django_site import urls  # noqa: E402
from tests.web.test_django_locks import CACHES  # noqa: E402

__all__ = ["django_database"]


@pytest.fixture
def ui() -> Iterator[PromptedChatUI]:
    """A chat-ui, and the application's client of it."""
    with PromptedChatUI() as served:
        with override_settings(HFCLIENT={"base_url": served.url, "token": "", "cookies": "", "session": "private"}):
            yield served
        served.go.set()


@pytest.fixture
def browser() -> Client:
    return Client(raise_request_exception=False)


def _frames(body: bytes) -> list[tuple[str, Any]]:
    """Return name and data of each event."""
    found = []
    for frame in body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if not line.startswith(":"))
        if "data" in fields:
            found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


def _text(body: bytes) -> str:
    return "".join(data["text"] for name, data in _frames(body) if name == "message" and data["event"] == "Token")


async def _aread(response: Any) -> bytes:
    return b"".join([piece async for piece in response.streaming_content])


@pytest.mark.parametrize("page", ["/ask", "/quick", "/from_coroutine", "/awaited"])
def test_wsgi(page: str, ui: PromptedChatUI, browser: Client) -> None:
    """Views and coroutines stream the whole answer under WSGI, with headers that no middleware and no proxy collects the pieces for."""
    response = browser.post(page, {"prompt": "count 1"}, headers={"Accept-Encoding": "gzip", "If-None-Match": "*"})
    assert response.status_code == 200
    assert response.streaming
    assert not response.is_async
    body = response.getvalue()
    assert _text(body) == text_for("count 1")
    assert _frames(body)[-1] == ("end", {"status": "completed"})
    assert response["Content-Type"].startswith("text/event-stream")
    assert response["Cache-Control"] == "no-cache, no-transform"
    assert response["Content-Encoding"] == "identity"
    assert not response.has_header("Content-Length")
    assert not response.has_header("ETag")
    response.close()


@pytest.mark.parametrize("page", ["/ask", "/quick", "/from_coroutine", "/awaited"])
def test_asgi(page: str, ui: PromptedChatUI) -> None:
    """The same views under ASGI: the response is asynchronous."""

    async def main() -> bytes:
        response: Any = await AsyncClient().post(page, {"prompt": "count 1"}, headers={"Accept-Encoding": "gzip"})
        assert (response.status_code, response.is_async, response["Content-Encoding"]) == (200, True, "identity")
        return await _aread(response)

    assert _text(asyncio.run(main())) == text_for("count 1")


def test_the_loop_is_not_blocked(ui: PromptedChatUI) -> None:
    """While an answer is awaited, the loop runs other coroutines."""

    async def main() -> int:
        response: Any = await AsyncClient().post("/quick", {"prompt": "hold 1"})
        reading = asyncio.create_task(_aread(response))
        turns = 0
        while not reading.done():
            await asyncio.sleep(0.01)
            turns += 1
            if turns == 30:
                ui.go.set()
        assert _text(await reading) == text_for("hold 1")
        return turns

    assert asyncio.run(main()) >= 30


def test_other_bodies(ui: PromptedChatUI, browser: Client) -> None:
    """JSON lines, from a stream that the view has opened."""
    response = browser.post("/opened", {"prompt": "few 1"})
    lines = [json.loads(line) for line in response.getvalue().split(b"\n") if line]
    assert response["Content-Type"].startswith("application/x-ndjson")
    assert "".join(line["text"] for line in lines if line["event"] == "Token") == text_for("few 1", 2)


def test_a_repeated_request(ui: PromptedChatUI, browser: Client) -> None:
    """A request with Last-Event-ID repeats an earlier one: it gets a 204, and the prompt is not sent again."""
    for page in ("/ask", "/quick", "/from_coroutine"):
        for last in ("3", "nonsense:9", "-1", "x" * 9000):
            response = browser.post(page, {"prompt": "count 1"}, headers={"Last-Event-ID": last})
            assert (response.status_code, response.content) == (204, b"")
    assert ui.count("send") == 0
    response = browser.post("/opened", {"prompt": "endless 1"}, headers={"Last-Event-ID": "3"})
    assert response.status_code == 204
    wait_until(lambda: len(ui.stops) == 1)  # the stream that the view has opened is left


@pytest.mark.parametrize(("prompt", "status"), [("count 1", "completed"), ("fail 1", "failed")])
def test_a_browser_that_reconnects(prompt: str, status: str, ui: PromptedChatUI, browser: Client) -> None:
    """A client that takes the end of a stream for a broken connection posts again with the last id: the prompt was sent once."""
    body = browser.post("/ask", {"prompt": prompt}).getvalue()
    assert _frames(body)[-1] == ("end", {"status": status})
    last = [line[4:] for line in body.decode().split("\n") if line.startswith("id: ")][-1]
    for _ in range(2):
        assert browser.post("/ask", {"prompt": prompt}, headers={"Last-Event-ID": last}).status_code == 204
    assert ui.count("send") == 1


def test_a_service_that_is_down(browser: Client) -> None:
    """A service that cannot be reached is a 503 without its address."""
    with override_settings(HFCLIENT={"base_url": "http://127.0.0.1:1", "token": "", "cookies": "", "retry": {"attempts": 1}}):
        response = browser.post("/ask", {"prompt": "count 1"})
    assert (response.status_code, response.json()["code"]) == (503, "service-unreachable")
    assert b"127.0.0.1" not in response.content


def test_leaving(ui: PromptedChatUI, browser: Client) -> None:
    """Closing the response stops the answer, before and after its first piece, and calls on_close once."""
    urls.closed.clear()
    response = browser.post("/ask", {"prompt": "endless 1"})
    next(iter(response.streaming_content))
    response.close()
    response.close()
    wait_until(lambda: len(ui.stops_for("endless 1")) == 1)
    response = browser.post("/ask", {"prompt": "endless 2"})
    response.close()
    wait_until(lambda: len(ui.stops_for("endless 2")) == 1)
    assert urls.closed == ["endless 1", "endless 2"]
    response = browser.post("/quick", {"prompt": "endless 3"})
    response.close()
    assert "endless 3" not in ui.begun  # nothing was sent yet


def test_leaving_under_asgi(ui: PromptedChatUI) -> None:
    """Under ASGI, too: when the task is cancelled, and when the response is closed."""

    async def main() -> None:
        response: Any = await AsyncClient().post("/quick", {"prompt": "hold 1"})
        reading = asyncio.create_task(_aread(response))
        await asyncio.to_thread(ui.wait_for_prompt, "hold 1")
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await asyncio.to_thread(wait_until, lambda: len(ui.stops_for("hold 1")) == 1)
        response = await AsyncClient().post("/quick", {"prompt": "endless 2"})
        pieces = response.streaming_content
        await anext(pieces)
        await asyncio.to_thread(ui.wait_for_prompt, "endless 2")
        await asyncio.to_thread(response.close)
        await asyncio.to_thread(wait_until, lambda: len(ui.stops_for("endless 2")) == 1)
        await pieces.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("page", ["/ask", "/whole", "/opened"])
def test_refusals(page: str, ui: PromptedChatUI, browser: Client, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is the status of the response, as problem+json without anything of the server; the log has the rest."""
    for status, expected, headers in ((429, 429, ["Retry-After: 7"]), (402, 402, []), (401, 502, []), (500, 502, [])):
        ui.fault("send", json_answer({"message": f"internals of {ui.url}"}, status, *headers))
        response = browser.post(page, {"prompt": "count 1"})
        assert response.status_code == expected
        assert response["Content-Type"] == "application/problem+json"
        assert response.get("Retry-After") == ("7" if status == 429 else None)
        assert response.json()["status"] == expected
        assert "internals" not in response.content.decode()
        assert "127.0.0.1" not in response.content.decode()
    assert "internals" in caplog.text
    assert browser.post(page, {"prompt": " "}).status_code == 400


def test_refusals_under_asgi(ui: PromptedChatUI) -> None:
    """Under ASGI a view and an awaited response have the status; a coroutine that does not wait has an event."""

    async def main() -> None:
        for page in ("/ask", "/whole", "/awaited"):
            ui.fault("send", json_answer({"message": "slow down"}, 429))
            response = await AsyncClient().post(page, {"prompt": "count 1"})
            assert (response.status_code, response["Content-Type"]) == (429, "application/problem+json")
        ui.fault("send", json_answer({"message": "slow down"}, 429))
        streamed: Any = await AsyncClient().post("/from_coroutine", {"prompt": "count 1"})
        (name, problem), end = _frames(await _aread(streamed))[-2:]
        assert (name, problem["code"], end) == ("problem", "rate-limited", ("end", {"status": "failed"}))

    asyncio.run(main())


def test_a_failure_in_mid_answer(ui: PromptedChatUI, browser: Client) -> None:
    """A failure after the first pieces is an event, then the end."""
    body = browser.post("/ask", {"prompt": "fail 1"}).getvalue()
    (name, problem), end = _frames(body)[-2:]
    assert (name, end) == ("problem", ("end", {"status": "failed"}))
    assert problem["status"] == 502
    assert "tired" not in body.decode()
    assert _text(body)


def test_errors_of_the_application(ui: PromptedChatUI, browser: Client, caplog: pytest.LogCaptureFixture) -> None:
    """A bug of the application stays with Django."""
    response = browser.get("/broken")
    assert (response.status_code, response["Content-Type"]) == (500, "text/html; charset=utf-8")
    with pytest.raises(ValueError, match="a bug"):
        Client().get("/broken")
    assert browser.get("/nowhere").status_code == 404


def test_problem_responses(caplog: pytest.LogCaptureFixture) -> None:
    """problem_response takes any exception; a subclass of the middleware chooses the sentences."""
    response = problem_response(LimitExceeded("secret detail", retry_after=4.2))
    assert (response.status_code, response["Retry-After"], b"secret" in response.content) == (429, "5", False)
    assert problem_response(ValueError("secret detail")).status_code == 500
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
    assert json.loads(problem_response(RunBusy(run_id="r1")).content)["run"] == "r1"

    class Translated(ProblemMiddleware):
        def problem(self, error: errors.HFClientError) -> Any:
            from hfclient.web import problem

            return problem(error, titles={"misconfigured": "Nicht eingerichtet."})

    request = RequestFactory().get("/")
    middleware = Translated(lambda request: HttpResponse())
    translated = middleware.process_exception(request, errors.CredentialsError("no token"))
    assert translated is not None
    assert json.loads(translated.content)["title"] == "Nicht eingerichtet."
    assert middleware.process_exception(request, KeyError("x")) is None
    assert middleware(request).status_code == 200


def test_a_lock_is_held_until_the_response_is_closed(ui: PromptedChatUI, django_database: None, browser: Client) -> None:
    """A second request gets a 409 while the first answer is streamed; each way to leave releases the lock."""
    with override_settings(CACHES=CACHES):
        call_command("createcachetable", verbosity=0)
        first = browser.post("/locked", {"prompt": "endless 1"})
        next(iter(first.streaming_content))
        second = browser.post("/locked", {"prompt": "count 2"})
        assert (second.status_code, second.json()["code"]) == (409, "busy")
        first.close()
        browser.post("/locked", {"prompt": "count 3"}).close()  # never read
        assert _text(browser.post("/locked", {"prompt": "count 4"}).getvalue()) == text_for("count 4")
        ui.fault("send", json_answer({"message": "slow down"}, 429))
        refused = browser.post("/locked", {"prompt": "count 5"})
        refused.getvalue()
        refused.close()
        assert browser.post("/locked", {"prompt": "count 6"}, headers={"Last-Event-ID": "4"}).status_code == 204
        with conversation_lock("one"):
            assert browser.post("/locked?cache=down", {"prompt": "count 7"}).status_code == 503
        assert caches["default"].get(conversation_lock("one").key) is None
        assert "count 2" not in ui.begun


def test_a_lock_in_a_coroutine(ui: PromptedChatUI, django_database: None) -> None:
    """A coroutine acquires the lock itself, or awaits the response: nothing blocks the loop."""

    def source() -> Any:
        return get_client().chat("count 1")

    async def main() -> None:
        request = AsyncRequestFactory().get("/")
        with pytest.raises(InvalidRequest, match="aacquire"):
            stream_response(request, source, lock=conversation_lock("one"))
        for awaited in (False, True):
            lock = conversation_lock("one", wait=20)
            if awaited:
                respond = await astream_response(request, source, lock=lock)
            else:
                respond = stream_response(request, source, lock=await lock.aacquire())
            with pytest.raises(errors.ConversationBusy):
                await conversation_lock("one").aacquire()
            assert isinstance(respond, StreamingHttpResponse)
            assert _text(await _aread(respond)) == text_for("count 1")
            await asyncio.to_thread(respond.close)
        respond = stream_response(request, source, lock=await conversation_lock("one", wait=20).aacquire())
        respond.close()  # in the loop, never read
        async with conversation_lock("one", wait=20):
            pass

    with override_settings(CACHES=CACHES):
        call_command("createcachetable", verbosity=0)
        asyncio.run(main())
        conversation_lock("one").acquire().release()


def test_mistakes(ui: PromptedChatUI) -> None:
    """An unknown option, or something that is not a source, raises at the call and calls on_close."""
    request = RequestFactory().get("/")
    left: list[int] = []
    for source, options in ((3, {}), (lambda: get_client().chat("x"), {"hartbeat": 3}), (lambda: get_client().chat("x"), {"heartbeat": -1})):
        with pytest.raises((TypeError, ValueError)):
            stream_response(request, source, on_close=lambda: left.append(1), **options)  # type: ignore[arg-type]
    assert len(left) == 3
    assert ui.count("send") == 0


def test_a_worker_without_threads(ui: PromptedChatUI, browser: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that handles one request at a time is reported once in the log."""
    from hfclient.web.django import responses

    responses._warned.clear()
    for _ in range(2):
        browser.post("/ask", {"prompt": "few 1"}, SERVER_SOFTWARE="gunicorn/27").close()
    assert caplog.text.count("one request at a time") == 1
    responses._warned.clear()



def test_runs(ui: PromptedChatUI, django_database: None, browser: Client) -> None:
    """A run outlives its request; it is followed from any event, by its owner only, and its threads keep no connection."""
    from tests.web.django_site.models import Thread

    thread = Thread.objects.create()
    urls.titles.clear()
    run = browser.post(f"/start?thread={thread.pk}", {"prompt": "hold 1"}).json()["run"]
    second = browser.post(f"/start?thread={thread.pk}", {"prompt": "hold 2"})
    assert (second.status_code, second.json()["run"]) == (409, run)
    follower = browser.get(f"/runs/{run}")
    next(iter(follower.streaming_content))
    follower.close()  # the run continues
    ui.wait_for_prompt("hold 1")
    ui.go.set()
    body = browser.get(f"/runs/{run}").getvalue()
    assert _text(body) == text_for("hold 1")
    ids = [line[4:] for line in body.decode().split("\n") if line.startswith("id: ")]
    rest = browser.get(f"/runs/{run}", headers={"Last-Event-ID": ids[5]}).getvalue()
    assert rest.decode().count("\nid: ") == len(ids) - 6
    assert urls.titles == [1, 1]
    assert browser.get(f"/runs/{run}", headers={"Last-Event-ID": ids[-1]}).status_code == 204
    for path, last, status in (
        (f"/runs/{run}?user=bob", "", 404),
        ("/runs/unknown", "", 404),
        (f"/runs/{run}", "nonsense", 400),
        (f"/runs/{run}", "other:3", 400),
    ):
        assert browser.get(path, headers={"Last-Event-ID": last} if last else {}).status_code == status
    assert ui.count("send") == 1


def test_runs_under_asgi(ui: PromptedChatUI, django_database: None) -> None:
    """Runs are followed under ASGI, too."""

    async def main() -> bytes:
        client = AsyncClient()
        run = (await client.post("/start", {"prompt": "count 1"})).json()["run"]
        return await _aread(await client.get(f"/runs/{run}"))

    assert _text(asyncio.run(main())) == text_for("count 1")


def test_threads_of_runs_keep_no_connection(ui: PromptedChatUI, django_database: None) -> None:
    """While an answer is generated its thread has no connection to the database, though the application's function used one."""
    from django.db import connections

    from hfclient.web.django import get_relay
    from tests.web.django_site.models import Thread

    seen: list[Any] = []

    def opened() -> Any:
        Thread.objects.count()
        seen.append(connections["default"])
        assert seen[0].connection is not None
        return get_client().chat("hold 1")

    run = get_relay().start("t", opened, on_end=lambda run, reply, error: seen.append(Thread.objects.count()))
    ui.wait_for_prompt("hold 1")
    wait_until(lambda: seen[0].connection is None)
    ui.go.set()
    list(get_relay().follow(run.id))
    wait_until(lambda: len(seen) == 2)


def test_limits(ui: PromptedChatUI, browser: Client) -> None:
    """What the guard refuses is a 429 with the time to wait, before anything is sent; answers have its header fields."""
    from django.conf import settings

    with override_settings(HFCLIENT={**settings.HFCLIENT, "guard": {"requests": "2/hour"}}):
        for _ in range(2):
            response = browser.post("/guarded", {"prompt": "few 1"})
            assert response.getvalue()
            assert "RateLimit" in response.headers
            response.close()
        refused = browser.post("/guarded", {"prompt": "few 1"})
        assert (refused.status_code, refused.json()["code"]) == (429, "limit-exceeded")
        assert int(refused["Retry-After"]) > 0
    assert ui.count("send") == 2


def test_limits_of_runs(ui: PromptedChatUI) -> None:
    """A run that the guard refuses raises in the view; one that is refused by its key is not counted."""
    from django.conf import settings

    from hfclient.web.django import get_guard, get_relay

    with override_settings(HFCLIENT={**settings.HFCLIENT, "guard": {"requests": "2/hour"}}):
        guard, relay = get_guard(), get_relay()

        def start(key: str, prompt: str) -> Any:
            return relay.start(key, guard.watch(lambda: get_client().chat(prompt), user="ann", prompt=prompt))

        run = start("t", "hold 1")
        ui.wait_for_prompt("hold 1")
        with pytest.raises(RunBusy):
            start("t", "hold 2")
        wait_until(lambda: guard.usage("ann")[0].used == 1)
        ui.go.set()
        list(relay.follow(run.id))
        list(relay.follow(start("t", "few 2").id))
        with pytest.raises(LimitExceeded):
            start("u", "few 3")
    assert ui.count("send") == 2


def test_prompts(browser: Client) -> None:
    """A prompt comes from a form or from JSON; anything else is a 400 or 413."""
    assert browser.post("/echo", {"prompt": "a"}).json() == {"prompt": "a"}
    assert browser.post("/echo", {"prompt": "a"}, content_type="application/json").json() == {"prompt": "a"}
    for data, kind, status in (
        ("nonsense", "application/json", 400),
        ("[]", "application/json", 400),
        ('{"prompt": 3}', "application/json", 400),
        ('{"prompt": " "}', "application/json", 400),
        ('{"prompt": "\\ud800"}', "application/json", 400),
        ('{"prompt": NaN}', "application/json", 400),
        ("[" * 100_000, "application/json", 400),
        (b"\xff", "application/json", 400),
        ('{"prompt": "a"}', "text/plain", 400),
        (json.dumps({"prompt": "x" * 1001}), "application/json", 413),
        (json.dumps({"prompt": "x" * 3_000_000}), "application/json", 413),
        ("prompt=" + "x" * 3_000_000, "application/x-www-form-urlencoded", 413),
        ("&".join(f"a{n}=1" for n in range(2000)), "application/x-www-form-urlencoded", 413),
        ("", "application/x-www-form-urlencoded", 400),
    ):
        response = browser.post("/echo", data, content_type=kind)
        assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json"), data[:50]


def test_options_of_all_streams(ui: PromptedChatUI, browser: Client) -> None:
    """Heartbeat and details of HFCLIENT are those of all streams."""
    from django.conf import settings

    with override_settings(HFCLIENT={**settings.HFCLIENT, "details": True, "heartbeat": 0.1}):
        body = browser.post("/ask", {"prompt": "fail 1"}).getvalue()
    assert b"tired" in body


def test_head(ui: PromptedChatUI, browser: Client) -> None:
    """A HEAD request gets the headers, and nothing is asked."""
    response = browser.head("/ask")
    assert (response.status_code, response["Content-Type"].partition(";")[0]) == (200, "text/event-stream")
    response.close()
    assert ui.count("create") == 0
