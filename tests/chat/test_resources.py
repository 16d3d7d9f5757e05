"""Resources of a chat server besides conversations: settings, shares, live generations, features, transcription."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hfclient import Client
from hfclient.chat.resources.server import LiveGeneration, LiveUpdate
from hfclient.errors import (
    HFClientError,
    InvalidInputError,
    NotAChatServer,
    NotFoundError,
    ProtocolError,
    ServerError,
    StreamInterrupted,
)
from tests.chat.recordings import recording
from tests.chat.replay import PAGE, SSE, ChatUI
from tests.server import LAST_CHUNK, RST, SOON, Recorded, chunk, head, json_answer, plain

ID = f"{1:024x}"
SETTINGS = {
    "activeModel": "org/first", "streamingMode": "smooth", "directPaste": False, "customPrompts": {"org/first": "Hi"},
    "welcomeModalSeenAt": "2026-11-21T03:22:12.262Z", "billingOrganization": None, "newThing": {"a": 1},
}  # fmt: skip


def stores_settings(ui: ChatUI) -> dict[str, Any]:
    """Store settings as the server does: missing ones are reset, a null is an error."""
    kept: dict[str, Any] = dict(SETTINGS)

    def answer(request: Recorded) -> bytes:
        if request.method == "GET":
            return json_answer({"json": kept, "meta": {"values": {"welcomeModalSeenAt": ["Date"]}, "v": 1}})
        data = request.json()
        if None in data.values():
            return json_answer({"message": "An error occurred", "errorId": "x"}, 500)
        kept.clear()
        kept.update(data)
        return plain(b"")

    ui.on("/api/v2/user/settings", [answer])
    return kept


# Settings


def test_reading_settings(ui: ChatUI, any_client: Client) -> None:
    """Known settings have names, unknown ones are kept."""
    stores_settings(ui)
    settings = any_client.settings.get()
    assert (settings.active_model, settings.streaming_mode, settings.direct_paste) == ("org/first", "smooth", False)
    assert settings.custom_prompts == {"org/first": "Hi"}
    assert settings.billing_organization is None
    assert settings.raw["newThing"] == {"a": 1}


def test_changing_settings(ui: ChatUI, any_client: Client) -> None:
    """Other settings stay unchanged, unknown ones included."""
    kept = stores_settings(ui)
    assert any_client.settings.update(active_model="org/second", direct_paste=True).active_model == "org/second"
    assert kept == {
        "activeModel": "org/second", "streamingMode": "smooth", "directPaste": True, "customPrompts": {"org/first": "Hi"},
        "newThing": {"a": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes", [{"colour": "red"}, {"active_model": 5}, {"direct_paste": "yes"}, {"custom_prompts": []}]
)
def test_invalid_settings(ui: ChatUI, client: Client, changes: dict[str, Any]) -> None:
    """They are refused before anything is sent."""
    with pytest.raises(InvalidInputError):
        client.settings.update(**changes)
    assert ui.connections == 0


def test_settings_of_other_types(ui: ChatUI, client: Client) -> None:
    """A value of another type than today's stays in ``raw``."""
    ui.on("/api/v2/user/settings", json_answer({"json": {"activeModel": 5, "directPaste": True}}))
    settings = client.settings.get()
    assert (settings.active_model, settings.direct_paste, settings.raw["activeModel"]) == (None, True, 5)


# Shares


def test_sharing(ui: ChatUI, client: Client) -> None:
    """A share has an id and a link; older servers return the link alone."""
    ui.on(
        f"/conversation/{ID}/share",
        json_answer({"shareId": "b0Goc_y"}),
        json_answer({"url": "https://x/r/abcdefg"}),
        json_answer({}),
    )
    conversation = client.conversation(ID)
    assert str(conversation.share()) == f"{ui.url}/r/b0Goc_y"
    assert conversation.share().id == "abcdefg"
    with pytest.raises(ProtocolError):
        conversation.share()


def test_reading_a_share(ui: ChatUI, client: Client) -> None:
    """A shared conversation is read like an own one, and cannot be written to."""
    ui.on("/api/v2/conversations/b0Goc_y", json_answer(recording("plain").data["conversation"]))
    shared = client.conversation("b0Goc_y")
    assert shared.messages()[-1].content == "Hello, world!"
    for call in (lambda: shared.send("x"), shared.delete, lambda: shared.rename("x"), shared.attach, shared.share):
        with pytest.raises(InvalidInputError, match="import_share"):
            call()


@pytest.mark.parametrize("share", ["b0Goc_y", "https://h/chat/r/b0Goc_y?leafId=x"])
def test_importing_a_share(ui: ChatUI, client: Client, share: str) -> None:
    """A share is copied by its id or its link; the copy can be written to."""
    ui.on("/api/v2/conversations/import-share", json_answer({"json": {"conversationId": ID}}))
    assert client.conversations.import_share(share).id == ID
    assert ui.requests[-1].json() == {"shareId": "b0Goc_y"}


# Live runs


def sync(running: list[str], ended: list[str] = []) -> bytes:  # noqa: B006 (never changed)
    def entry(name: str, **more: str) -> dict[str, str]:
        return {"conversationId": name, "title": name.upper(), **more}

    data = {"running": [entry(name) for name in running], "ended": [entry(name, status="completed") for name in ended]}
    return chunk(b"event: sync\ndata: " + json.dumps(data).encode() + b"\n\n")


def feed(*frames: bytes) -> list[Any]:
    return [head(200, SSE, "Transfer-Encoding: chunked"), *frames, LAST_CHUNK]


IDLE = chunk(b"event: idle\ndata: {}\n\n")


def test_live_generations(ui: ChatUI, any_client: Client) -> None:
    """The running generations are returned, and nothing is read beyond that."""
    ui.on("/api/v2/generations/live", feed(sync(["a", "b"]), sync([])), feed(IDLE))
    assert any_client.conversations.running() == [LiveGeneration("a", "A"), LiveGeneration("b", "B")]
    assert any_client.conversations.running() == []


def test_watching(ui: ChatUI, any_client: Client) -> None:
    """Updates come until nothing runs; a feed that is closed before that is opened again."""
    ui.on("/api/v2/generations/live", feed(sync(["a"])), feed(sync([], ["a"]), sync([]), IDLE))
    ended = LiveGeneration("a", "A", "completed")
    assert list(any_client.conversations.watch()) == [
        LiveUpdate((LiveGeneration("a", "A"),), ()),
        LiveUpdate((), (ended,)),
        LiveUpdate((), ()),
    ]
    assert len(ui.requests) == 2


@pytest.mark.parametrize("frame", [b"data: nonsense", b"data: []", b'data: {"running":[5]}', b'data: {"running":5}'])
def test_a_malformed_feed(ui: ChatUI, client: Client, frame: bytes) -> None:
    """It is a ProtocolError."""
    ui.on("/api/v2/generations/live", feed(chunk(b"event: sync\n" + frame + b"\n\n")))
    with pytest.raises(ProtocolError):
        client.conversations.running()


def test_an_empty_feed(ui: ChatUI, client: Client) -> None:
    """A feed that ends before its first update is not opened again."""
    ui.on("/api/v2/generations/live", feed(chunk(b": heartbeat\n\n")))
    with pytest.raises(StreamInterrupted):
        list(client.conversations.watch())
    assert len(ui.requests) == 1


def test_a_server_without_the_feed(ui: ChatUI, client: Client) -> None:
    """The error says that the server is too old."""
    ui.on("/api/v2/generations/live", plain(b"<!doctype html>", 200, "Content-Type: text/html"))
    with pytest.raises(NotFoundError, match="older"):
        client.conversations.running()


# Facts


def test_features_and_configuration(ui: ChatUI, client: Client) -> None:
    """Feature flags, configuration and MCP servers are returned as the server sends them."""
    ui.on("/api/v2/public-config", json_answer({"json": {"PUBLIC_APP_NAME": "Chat"}}))
    ui.on("/api/mcp/servers", json_answer([{"name": "exa"}, 5]))
    ui.on("/api/v2/user", json_answer({"json": {"id": "u", "username": "ann"}}), json_answer({"json": None}))
    assert client.server.features()["transcriptionEnabled"] is False
    assert client.server.config() == {"PUBLIC_APP_NAME": "Chat"}
    assert client.server.mcp_servers() == [{"name": "exa"}]
    user = client.whoami()
    assert user is not None
    assert user.username == "ann"


def test_ping(ui: ChatUI, any_client: Client) -> None:
    """The time in seconds is returned; no answer, or another server's answer, is an error."""
    ui.on("/healthcheck", plain(b"OK"), plain(b"<!doctype html>", 200), PAGE, [RST], [RST], plain(b"", 503))
    assert 0 < any_client.ping() < SOON
    for error in (NotAChatServer, NotAChatServer, HFClientError, ServerError):
        with pytest.raises(error):
            any_client.ping()


def test_transcribing(ui: ChatUI, client: Client) -> None:
    """The recording is sent unchanged, with its media type."""
    ui.on(
        "/api/transcribe",
        json_answer({"text": "hello"}),
        json_answer({"text": ""}),
        json_answer({"message": "Transcription is not configured"}, 503),
    )
    assert client.server.transcribe(b"RIFF", content_type="audio/wav") == "hello"
    assert (ui.requests[-1].body, ui.requests[-1].headers["content-type"]) == (b"RIFF", "audio/wav")
    assert client.server.transcribe(b"....ftypisom") == ""
    assert ui.requests[-1].headers["content-type"] == "audio/mp4"
    with pytest.raises(ServerError, match="not configured"):
        client.server.transcribe(b"RIFF")
    before = len(ui.requests)
    for audio in (b"", b"x" * 15_728_641):
        with pytest.raises(InvalidInputError):
            client.server.transcribe(audio)
    assert len(ui.requests) == before


def test_details_of_a_model(ui: ChatUI, client: Client) -> None:
    """Its providers are a request of their own."""
    details = {
        "id": "org/first",
        "providers": [{"provider": "together", "supports_tools": True, "context_length": 8192, "price": 1}, 5],
    }
    ui.on("/api/v2/models/org/first", json_answer({"json": details}))
    (provider,) = client.models.get("first", details=True).providers
    assert (provider.provider, provider.supports_tools, provider.context_length) == ("together", True, 8192)
    assert provider.raw["price"] == 1


def test_images_choose_a_model(ui: ChatUI, client: Client) -> None:
    """An image without a model chooses one that accepts images; a model that does not is refused."""
    ui.says(recording("image_in"))
    assert client.chat("What is it?", files=[b"\x89PNG\r\n\x1a\n"]).text == "A pixel."
    assert ui.chat.model == "org/second"
    with pytest.raises(HFClientError, match="does not accept images"):
        client.chat("What is it?", model="org/first", files=[b"\x89PNG\r\n\x1a\n"])
    assert ui.count("create") == 1
