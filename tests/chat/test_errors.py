"""Errors of a chat server: each class, its advice, and that nothing is stored or repeated."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from typing import Any

import pytest

import hfclient
from hfclient import Client
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    CloudflareChallenge,
    ConversationLimit,
    CredentialsError,
    HFClientError,
    InvalidInputError,
    ModelGone,
    ModelNotFound,
    NotAChatServer,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
    StreamInterrupted,
)
from tests.chat.conftest import GIVES_UP, MakeClient
from tests.chat.recordings import recording
from tests.chat.replay import PAGE, ChatUI, cut
from tests.server import head, json_answer, plain

ID = "6b010f31c065be6a00896989"
LOGIN = "https://huggingface.co/oauth/authorize?client_id=c&state=secret-state"


def says(message: str) -> dict[str, str]:
    return {"message": message}


REFUSALS: dict[str, tuple[bytes, type[HFClientError], dict[str, Any], str]] = {
    "per minute": (
        json_answer(says("You are sending too many messages. Try again later."), 429),
        RateLimitError, {"scope": "messages_per_minute", "retry_after": 60.0, "status_code": 429}, "too many messages",
    ),
    "length": (
        json_answer(says("This conversation has more than 4 messages. Start a new one to continue"), 429),
        ConversationLimit, {"scope": "conversation_length", "retry_after": None}, "Start a new one",
    ),
    "conversations": (
        json_answer(says("You have reached the maximum number of conversations. Delete some to continue."), 429),
        ConversationLimit, {"scope": "conversations"}, "Delete some",
    ),
    "another limit": (
        json_answer(says("Exceeded number of messages before login"), 429, "Retry-After: 7"),
        RateLimitError, {"scope": None, "retry_after": 7.0}, "before login",
    ),
    "gone": (json_answer(says("Model not available anymore"), 410), ModelGone, {"status_code": 410}, "set_model"),
    "a large file": (
        json_answer(says("File too large, should be <10MB"), 413), RequestTooLargeError, {"status_code": 413}, "<10MB",
    ),
    "a large request": (
        json_answer({**says("An error occurred"), "errorId": "e-1"}, 413),
        RequestTooLargeError, {"code": "e-1"}, "server limits the sum",
    ),
    "too long": (json_answer(says("Message too long."), 400), BadRequestError, {"status_code": 400}, "Message too long"),
    "generic": (
        json_answer({**says("An error occurred"), "errorId": "e-2"}, 500), ServerError, {"code": "e-2"}, "An error occurred",
    ),
    "not logged in": (
        json_answer({"error": "You have to be logged in."}, 401), AuthenticationError, {"status_code": 401}, "HFCLIENT_COOKIE",
    ),
    "not logged in, as text": (
        plain(b"You have to be logged in.", 401, "Content-Type: text/plain"), AuthenticationError, {}, "have to be logged in",
    ),
    "to the login": (
        head(302, f"Location: {LOGIN}", "Set-Cookie: hf-chat=anonymous", "Content-Length: 0"),
        AuthenticationError, {"status_code": 302}, "requires a login",
    ),
    "another user's": (
        json_answer(says("You don't have access to this conversation. If someone gave you this link, ..."), 403),
        PermissionDeniedError, {}, "don't have access",
    ),
    "not found": (json_answer(says("Conversation not found"), 404), NotFoundError, {"status_code": 404}, "not found"),
    "a page": (PAGE, NotAChatServer, {}, "is the base URL right"),
    "plain text": (plain(b"Not found", 404, "Content-Type: text/plain"), NotAChatServer, {}, "is the base URL right"),
    "a page that says yes": (
        plain(b"<!doctype html><title>Welcome</title>", 200, "Content-Type: text/html"), NotAChatServer, {}, "base URL",
    ),
    "no such method": (plain(b"POST method not allowed", 405), NotAChatServer, {}, "base URL"),
    "a proxy": (
        plain(b"<html><head><title>502 Bad Gateway</title></head></html>", 502, "Content-Type: text/html"),
        ServerError, {"status_code": 502}, "502 Bad Gateway",
    ),
    "a bot check": (
        plain(b"<html><title>Just a moment...</title>", 403, "Content-Type: text/html", "cf-mitigated: challenge"),
        CloudflareChallenge, {}, "impersonate",
    ),
}  # fmt: skip


@GIVES_UP
@pytest.mark.parametrize("kind", ["send", "create"])
@pytest.mark.parametrize("what", REFUSALS)
def test_refusals(ui: ChatUI, client: Client, what: str, kind: str) -> None:
    """Each error raises at the call, once, as its class, with the server's text and without secrets."""
    answer, cls, fields, text = REFUSALS[what]
    if (what, kind) == ("a proxy", "send"):  # which does not say whether the message arrived
        cls, fields = StreamInterrupted, {"sent": True}
    ui.says(recording("plain"))
    ui.fault(kind, answer)
    with pytest.raises(cls, match=text.replace("?", ".").replace("(", ".")) as caught:
        client.chat("Hi")
    error = caught.value
    assert type(error) is cls
    for name, value in fields.items():
        assert getattr(error, name) == value
    assert ui.count(kind) == 1
    for shown in (str(error), repr(error), json.dumps(error.to_dict())):
        assert "secret-state" not in shown
    assert pickle.loads(pickle.dumps(error)).to_dict() == error.to_dict()
    assert not any(chat.users for chat in ui.chats.values())


def test_a_model_that_does_not_exist(ui: ChatUI, any_client: Client) -> None:
    """The server's 400 does not say so; the error names the nearest models."""
    ui.knows = ["org/Llama-3.3-70B-Instruct", "org/Qwen3-8B", "other/Qwen3-32B", "x/unlike"]
    with pytest.raises(ModelNotFound) as caught:
        any_client.chat("Hi", model="org/qwen-3-8b")
    error = caught.value
    assert error.model == "org/qwen-3-8b"
    assert error.suggestions == ("org/Qwen3-8B", "other/Qwen3-32B")
    assert "did you mean org/Qwen3-8B" in error.message
    assert error.status_code == 400
    assert pickle.loads(pickle.dumps(error)).suggestions == error.suggestions
    assert ui.count("create") == 1
    assert hfclient.errors.from_dict(json.loads(json.dumps(error.to_dict()))).to_dict() == error.to_dict()


def test_a_part_of_a_name(ui: ChatUI, client: Client) -> None:
    """A word of a long name is enough to suggest the name."""
    ui.knows = ["org/Llama-3.3-70B-Instruct", "org/Qwen3-8B"]
    with pytest.raises(ModelNotFound) as caught:
        client.models.get("llama")
    assert caught.value.suggestions == ("org/Llama-3.3-70B-Instruct",)


def test_a_model_without_similar_names(ui: ChatUI, client: Client) -> None:
    """Without similar names the error lists the models."""
    with pytest.raises(ModelNotFound, match="this server offers org/first, org/second"):
        client.chat("Hi", model="zzz")


def test_another_reason_for_a_400(ui: ChatUI, client: Client) -> None:
    """A 400 for an existing model stays a BadRequestError."""
    ui.fault("create", json_answer(says("Can't start a conversation with an unlisted model"), 400))
    with pytest.raises(BadRequestError, match="unlisted"):
        client.chat("Hi", model="org/first")


def test_no_models(ui: ChatUI, client: Client) -> None:
    """On a server without models the error says so."""
    ui.knows = []
    with pytest.raises(ModelNotFound, match="no models"):
        client.chat("Hi")


def test_names_of_models(ui: ChatUI, client: Client) -> None:
    """An LLM is found by its id in any case and by the last part of the id, if that is unique."""
    ui.knows = ["org/Qwen3-8B", "a/twin", "b/twin"]
    assert client.models.get("ORG/qwen3-8b").id == client.models.get("qwen3-8B").id == "org/Qwen3-8B"
    for name in ("twin", "qwen"):
        with pytest.raises(ModelNotFound):
            client.models.get(name)
    assert [model.id for model in client.models] == ui.knows
    assert client.models.default.id == "org/Qwen3-8B"
    assert ui.count("models") == 1
    client.models.list(fresh=True)
    assert ui.count("models") == 2


@pytest.mark.parametrize(
    "answer",
    [
        plain(b"<html>", 200, "Content-Type: text/html"),
        plain(b"Not found", 404),
        json_answer([]),
        json_answer({"json": {}}),
    ],
)
@pytest.mark.parametrize("kind", ["models", "read", "list"])
def test_a_server_that_is_not_a_chat_ui(ui: ChatUI, client: Client, kind: str, answer: bytes) -> None:
    """Every answer in another protocol is a NotAChatServer."""
    ui.always(kind, answer)
    ui.always("features", PAGE)
    call = {"models": client.models.list, "read": client.conversation(ID).messages, "list": client.conversations.list}[
        kind
    ]
    with pytest.raises(HFClientError) as caught:
        call()  # type: ignore[operator]
    assert isinstance(caught.value, (NotAChatServer, hfclient.errors.ProtocolError))


@pytest.mark.parametrize(
    "url", ["localhost:3000", "ftp://x", "http://", "http://x/?a=b", "http://x/#f", "http://x:99999"]
)
def test_invalid_base_urls(url: str) -> None:
    """They are refused when the client is made."""
    with pytest.raises(InvalidInputError):
        Client(url, token="")


@pytest.mark.parametrize("id", ["", "x", "../../settings", "6b010f31c065be6a0089698g", ID + "0", "12345678"])
def test_invalid_ids(ui: ChatUI, client: Client, id: str) -> None:
    """Only the id of a conversation becomes part of a path."""
    with pytest.raises(InvalidInputError):
        client.conversation(id).messages()
    with pytest.raises(InvalidInputError):
        client.conversations.delete(id)
    assert ui.connections == 0


def test_a_share_can_only_be_read(ui: ChatUI, client: Client) -> None:
    """Writing to a share is refused before anything is sent, with the replacement."""
    with pytest.raises(InvalidInputError, match="import_share"):
        client.conversation("b0Goc_y").stop() or client.conversations.delete("b0Goc_y")
    assert ui.connections == 0


def test_hugging_chat_without_a_cookie() -> None:
    """HuggingChat requires a login: the error raises before anything is sent, and says what a token is good for."""
    with pytest.raises(CredentialsError, match="HFCLIENT_COOKIE") as caught:
        Client(token="").chat("Hi")
    assert "token alone" not in caught.value.message
    with pytest.raises(CredentialsError, match="a token alone reads"):
        Client(token="hf_secret").chat("Hi")


SECRETS = {"hf-chat": "c00kie-value", "token": "l0gin-value"}


def test_no_secret_is_ever_shown(ui: ChatUI, make_client: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    """No repr, log record, error, dict or pickle of an object that a caller gets holds a secret."""
    caplog.set_level(logging.DEBUG)
    client = make_client(cookies=SECRETS, token="hf_t0ken-value", headers={"X-Mine": "h3ader-value"})
    ui.says(recording("slow"), cut(300))
    stream = client.chat(
        "Hi", mcp=[hfclient.McpServer("https://mcp.example/x", {"Authorization": "Bearer mcp-s3cret"})]
    )
    shown: list[object] = [client, client.conversations, client.models, client.settings, stream, stream.conversation]
    shown += [stream.conversation.service.session.credentials.cookies(), stream.conversation.to_dict()]
    events = list(stream)
    shown += [events, stream.result(), stream.conversation.messages(), pickle.dumps(stream.result())]
    for kind, answer in (
        ("send", REFUSALS["to the login"][0]),
        ("send", json_answer(says("no"), 500)),
        ("read", plain(b"x", 404)),
    ):
        ui.fault(kind, answer)
        with pytest.raises(HFClientError) as caught:
            stream.conversation.ask("again") if kind == "send" else stream.conversation.messages()
        chain: BaseException | None = caught.value
        while chain is not None:
            shown += [repr(chain), str(chain), vars(chain)]
            chain = chain.__cause__ or chain.__context__
        shown.append(pickle.dumps(caught.value))
    everything = repr(shown) + caplog.text
    for secret in ("c00kie-value", "l0gin-value", "t0ken-value", "mcp-s3cret"):
        assert secret not in everything
    assert any("mcp-s3cret" in request.body.decode() for request in ui.of("send"))


def test_a_client_pickles_as_its_configuration(ui: ChatUI, client: Client) -> None:
    """A copy of a client chats by itself."""
    ui.says(recording("plain"))
    twin = pickle.loads(pickle.dumps(client))
    try:
        assert twin.chat("Hi").text == client.chat("Hi").text == "Hello, world!"
    finally:
        twin.close()


def test_errors_copy(ui: ChatUI, client: Client) -> None:
    """An error can be copied, as frameworks do."""
    ui.fault("create", REFUSALS["per minute"][0])
    with pytest.raises(RateLimitError) as caught:
        client.chat("Hi")
    twin = copy.copy(caught.value)
    assert isinstance(twin, APIStatusError)
    assert twin.to_dict() == caught.value.to_dict()
