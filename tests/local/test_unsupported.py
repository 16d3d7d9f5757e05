"""Calls that an inference server does not support: a clear error, before the request where the server is known."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from typing import Any

import pytest

from hfclient import APIStatusError, Client, ModelNotFound, Unsupported
from hfclient.errors import NotFoundError, ServerError
from tests.local.test_server import Parrot
from tests.server import Server, json_answer, plain

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 50


def _sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"\0" * 800)
    return file.getvalue()


CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "image": (lambda ask: ask.image("a fox", model="m"), "images"),
    "image_to_image": (lambda ask: ask.image_to_image(PNG, "a fox", model="m"), "images"),
    "embed": (lambda ask: ask.embed(["a"], model="m"), "embeddings"),
    "rerank": (lambda ask: ask.rerank("q", ["a", "b"], model="m"), "rerank"),
    "transcribe": (lambda ask: ask.transcribe(_sound(), model="m"), "speech"),
    "speak": (lambda ask: ask.speak("hi", model="m"), "speech"),
    "classify": (lambda ask: ask.classify("hi", model="m"), "pipelines|text-classification"),
    "caption": (lambda ask: ask.caption(PNG, model="m"), "pipelines|image-to-text"),
    "task": (lambda ask: ask.task("summarization", "hi", model="m"), "pipelines|summarization"),
}
TEXTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "text": (lambda ask: ask.text("hi", model="m"), "raw text"),
    "chat": (lambda ask: ask.chat("hi", model="m"), "chat completions"),
}
ADVICE = {"error": {"code": 501, "message": "This server does not support it. Start it with `--it`", "type": "not_supported_error"}}
REFUSALS = {
    "llama.cpp, 404": (json_answer({"error": {"code": 404, "message": "File Not Found"}}, 404), NotFoundError),
    "llama.cpp, 501": (json_answer(ADVICE, 501), ServerError),
    "FastAPI": (json_answer({"detail": "Not Found"}, 404), NotFoundError),
    "Go": (plain("404 page not found", 404), NotFoundError),
    "OpenAI": (json_answer({"error": {"message": "Invalid URL (POST /v1/x)"}}, 404), NotFoundError),
    "nothing": (plain(b"", 404), NotFoundError),
    "another method": (json_answer({"detail": "Method Not Allowed"}, 405), APIStatusError),
}


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("name", [*CALLS, *TEXTS])
@pytest.mark.parametrize("local", [True, False])
def test_a_missing_route(server: Server, name: str, refusal: str, local: bool):
    """The error keeps its class and its URL, and its text names the capability instead of the path."""
    answer, kind = REFUSALS[refusal]
    server.on("*", [answer])
    server.on("/v1/models", [json_answer({"data": [{"id": "m"}]})])
    call, words = {**CALLS, **TEXTS}[name]
    client = Client.local(upstream=server.url) if local else Client("http://127.0.0.1:9", token="", inference_url=server.url)
    with client, pytest.raises(kind, match=f"this server .*({words})") as caught:
        call(client.inference)
    assert server.url in str(caught.value)
    assert not isinstance(caught.value, ModelNotFound)
    # Advice on how to start the server is useful only to users who started it.
    assert ("--it" in str(caught.value)) is (refusal == "llama.cpp, 501" and not local)
    if "llama" in refusal:
        assert "message" in (caught.value.body or "")


@pytest.mark.parametrize("message", ["model 'm' not found, try pulling it first", "The model `m` does not exist.", "the reason"])
def test_a_404_with_a_reason(server: Server, message: str):
    """The server's own message about a missing model is not changed."""
    server.on("*", [json_answer({"error": {"message": message}}, 404)])
    with Client("http://127.0.0.1:9", token="", inference_url=server.url) as client:
        for call, _ in (CALLS["embed"], CALLS["image"], TEXTS["chat"]):
            with pytest.raises(APIStatusError, match=r"model|reason") as caught:
                call(client.inference)
            assert "this server" not in str(caught.value)


def test_other_hosts(server: Server, other_server: Server):
    """A 404 of the Hub is not described as one of the caller's own inference server."""
    other_server.on("*", [json_answer({"detail": "Not Found"}, 404)])
    with Client("http://127.0.0.1:9", token="", inference_url=server.url, hub_url=other_server.url) as client:
        with pytest.raises(NotFoundError) as caught:
            list(client.inference.models(search="x"))
        assert "this server" not in str(caught.value)
    assert server.requests == []


@pytest.mark.parametrize("name", [*CALLS, "video"])
def test_the_small_model(monkeypatch: pytest.MonkeyPatch, server: Server, name: str):
    """On Client.local() without an upstream no request is sent for what the small model does not support."""

    class Small(Parrot):
        url = server.url

    monkeypatch.setattr("hfclient.local.llama_cpp.LlamaUpstream", lambda *_: Small())
    calls = {**CALLS, "video": (lambda ask: ask.video("a fox", model="m"), "videos")}
    call, words = calls[name]
    with Client.local() as client:
        with pytest.raises(Unsupported, match=r"small model of Client\.local\(\).*" + f"({words})"):
            call(client.inference)
        for options in ({"provider": "hf-inference"}, {"provider": "tei"}):
            with pytest.raises(Unsupported):
                client.inference.embed(["a"], **options)
        assert server.requests == []
        server.on("/v1/images/generations", [json_answer({"data": [{"b64_json": "iVBORw0KGgo="}]})])
        assert client.inference.at(server.url).image("a fox", model="m").content.startswith(b"\x89PNG")
