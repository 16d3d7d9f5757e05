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

