"""Older servers: the calls that work on 0.10 and 0.9.5 as on today's, and the options that are refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from hfclient import Client, events
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    GenerationError,
    InvalidInputError,
    NotAChatServer,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    StreamInterrupted,
    Unsupported,
)
from tests.chat.legacy_server import ASSISTANT, CONVERSATION, HTML, JSONL, SHARE, LegacyServer
from tests.server import LAST_CHUNK, PATIENCE, RST, SOON, Server, chunk, chunked, head, json_answer, plain

VERSIONS = ("0.10", "0.9.5")
PROBES = ("GET /api/v2/feature-flags", "GET /api/v2/conversations/zz", "GET /api/mcp/servers", "GET /healthcheck")


@pytest.fixture(params=VERSIONS)
def old(server: Server, request: pytest.FixtureRequest) -> LegacyServer:
    """A server of each older version in turn, about to replay the plain answer."""
    return LegacyServer(server, request.param)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url, token="", cookies={"hf-chat": "0"}) as client:
        yield client


def began(data: bytes) -> bytes:
    return head(200, "Transfer-Encoding: chunked", JSONL) + chunk(data)


# A whole turn


def test_a_turn(old: LegacyServer, client: Client) -> None:
    """Create, send, read and send again: the text, the title and the right parents, as on today's servers."""
    conversation = client.conversation(system_prompt="Be terse.")
    reply = conversation.ask(old.prompt)
    assert (reply.text, reply.title, reply.interrupted) == ("Hello, world!", "💬 Hello, world!", False)
    assert old.created == [{"model": "lab/legacy-model", "preprompt": "Be terse."}]
    root, user, answer = conversation.messages()
    assert (root.role, user.role, answer.role) == ("system", "user", "assistant")
    assert (user.content, answer.content, answer.finished) == (old.prompt, "Hello, world!", True)
    conversation.ask("And now?")
    assert [data["id"] for data in old.sent] == [root.id, answer.id]
    assert [data["inputs"] for data in old.sent] == [old.prompt, "And now?"]


def test_retry_and_edit(old: LegacyServer, client: Client) -> None:
    """A retry names the answer and an edit the question that it replaces."""
    old.is_stored = True
    conversation = client.conversation(CONVERSATION)
    conversation.retry().result()
    conversation.edit("Other words").result()
    _, user, answer = conversation.messages()
    assert [(data["id"], data["is_retry"], data.get("inputs")) for data in old.sent] == [
        (answer.id, True, None),
        (user.id, True, "Other words"),
    ]


def test_the_version_is_detected_once(server: Server, client: Client) -> None:
    """The first answer of an old server leads to the probes; later calls use its own API at once."""
    old = LegacyServer(server, "0.9.5")
    assert [model.id for model in client.models] == ["lab/legacy-model", "lab/plain-model"]
    assert old.seen[:2] == ["GET /api/v2/models", "GET /api/v2/feature-flags"]
    client.conversation().ask(old.prompt)
    client.conversation(CONVERSATION).messages()
    client.conversations.list(1)
    assert [what for what in old.seen if "/api/v2/" in what] == old.seen[:2]


def test_a_plain_turn_does_not_detect_the_version_of_a_v2_server(server: Server, client: Client) -> None:
    """On 0.10 only the requests of the turn are sent."""
    old = LegacyServer(server, "0.10")
    client.chat(old.prompt).result()
    assert old.seen == [
        "GET /api/v2/models",
        "POST /conversation",
        f"GET /api/v2/conversations/{CONVERSATION}",
        f"POST /conversation/{CONVERSATION}",
    ]


def test_a_plain_turn_on_a_current_server(server: Server, client: Client) -> None:
    """Models, create, send: three requests."""
    system = {"id": "5e097ef1-bb47-4631-944b-4696fc8d0a69", "from": "system", "content": ""}
    state = json.dumps({"json": {"messages": [system], "title": "New Chat", "model": "org/one"}})
    server.on("/api/v2/models", json_answer({"json": [{"id": "org/one", "supportsTools": True}]}))
    server.on("/conversation", json_answer({"conversationId": CONVERSATION, "conversation": state}))
    final = b'{"type":"finalAnswer","text":"Hi","interrupted":false}\n'
    server.on(f"/conversation/{CONVERSATION}", chunked(final + b" " * 4096, b'{"type":"status","status":"finished"}\n'))
    assert client.chat("Hello").text == "Hi"
    assert [request.path for request in server.requests] == [
        "/api/v2/models",
        "/conversation",
        f"/conversation/{CONVERSATION}",
    ]


def test_errors_inside_the_answer(server: Server, client: Client) -> None:
    """An error event of an old server is a GenerationError with its text."""
    for version in VERSIONS:
        old = LegacyServer(server, version, "upstream_500")
        with pytest.raises(GenerationError, match="500"):
            client.conversation(CONVERSATION).ask(old.prompt)


# Reading


def test_lists(server: Server, client: Client) -> None:
    """All pages of the list are read, whether a count or a short page tells the end."""
    LegacyServer(server, "0.10")
    assert [info.title for info in client.conversations] == ["Number 0"]
    with Client(server.url, token="", cookies={"hf-chat": "0"}) as other:
        LegacyServer(server, "0.9.5")
        found = list(other.conversations)
    assert [info.title for info in found] == [f"Number {number}" for number in range(42)]
    assert found[0].updated_at is not None
    assert found[0].model == "lab/legacy-model"


def test_a_disabled_api(server: Server, client: Client) -> None:
    """Up to 0.9.4 everything under /api may be disabled: models and conversations then come from the page's layout."""
    old = LegacyServer(server, "0.9.5")
    off = plain("API is disabled", 403, "Content-Type: text/plain")
    for path in ("v2/models", "v2/conversations", "v2/feature-flags", "models", "conversations"):
        old.hooks[f"GET /api/{path}"] = off
    assert [model.id for model in client.models] == ["lab/legacy-model", "lab/plain-model"]
    assert [info.title for info in client.conversations] == ["New Chat", "New Chat"]
    with pytest.raises(NotFoundError):
        client._chat.read(client._chat.endpoints.model("org/unknown"))
    assert client.models.get("plain-model", details=True).id == "lab/plain-model"


def test_the_user_and_the_server(server: Server, client: Client) -> None:
    """The user, the settings, the flags and the configuration come from the page's layout."""
    old = LegacyServer(server, "0.9.5")
    assert client.whoami() is None
    assert client.server.features()["searchEnabled"] is True
    assert client.server.config()["PUBLIC_APP_NAME"] == "ChatUI"
    settings = client.settings.update(direct_paste=True)
    assert settings.active_model == "lab/legacy-model"
    (written,) = [request for request in server.requests if request.method == "POST"]
    assert (written.path, written.json()["directPaste"]) == ("/settings", True)
    assert old.writes == ["POST /settings"]
    with pytest.raises(NotFoundError):
        client.server.mcp_servers()


def test_an_unknown_conversation(old: LegacyServer, client: Client) -> None:
    """It is a NotFoundError, although 0.10 answers 500 and 0.9.5 has the error inside a 200."""
    for call in (
        lambda: client.conversation("a" * 24).messages(),
        lambda: client.conversation("a" * 24).rename("x"),
        lambda: client.conversation("a" * 24).delete(),
        lambda: client.conversation("aaaaaaa").messages(),
        lambda: client.conversation(CONVERSATION).delete_message("5e097ef1-bb47-4631-944b-4696fc8d0a69"),
        lambda: list(client.conversations.watch()),
    ):
        with pytest.raises(NotFoundError):
            call()


@pytest.mark.parametrize(
    ("said", "status", "error"),
    [
        ("You don't have access to this conversation. If someone gave you this link, ...", 500, PermissionDeniedError),
        ("Invalid conversation ID format", 500, BadRequestError),
        ("Conversation not found.", 500, NotFoundError),
        ("NOT_FOUND", 404, NotFoundError),
    ],
)
def test_texts_of_the_first_v2_api(
    server: Server, client: Client, said: str, status: int, error: type[Exception]
) -> None:
    """Before February 2026 the status is always 500; the text tells the error, and is kept."""
    old = LegacyServer(server, "0.10")
    old.hooks[f"GET /api/v2/conversations/{CONVERSATION}"] = plain(said, status, "Content-Type: text/plain")
    with pytest.raises(error) as caught:
        client.conversation(CONVERSATION).messages()
    assert type(caught.value) is error
    assert caught.value.status_code == status
    if said != "NOT_FOUND":
        assert caught.value.message == said


@pytest.mark.parametrize(("status", "error"), [(404, NotFoundError), (403, PermissionDeniedError), (None, Exception)])
def test_errors_inside_page_data(server: Server, client: Client, status: int | None, error: type[Exception]) -> None:
    """The page's own status inside the data decides, not the answer's 200."""
    old = LegacyServer(server, "0.9.5")
    failed = {"type": "error", "error": {"message": "said the server"}, **({"status": status} if status else {})}
    data = {"type": "data", "nodes": [{"type": "skip"}, failed]}
    old.hooks[f"GET /conversation/{CONVERSATION}/__data.json"] = json_answer(data)
    with pytest.raises(error, match="said the server") as caught:
        client.conversation(CONVERSATION).messages()
    assert caught.value.status_code == (status or 500)  # type: ignore[attr-defined]


def test_a_login_page_instead_of_page_data(server: Server, client: Client) -> None:
    """A redirect inside the data is a missing login."""
    old = LegacyServer(server, "0.9.5")
    old.hooks[f"GET /conversation/{CONVERSATION}/__data.json"] = json_answer({"type": "redirect", "location": "/login"})
    with pytest.raises(AuthenticationError, match="login"):
        client.conversation(CONVERSATION).messages()


@pytest.mark.parametrize("location", ["/", "https://www.elsewhere.example/conversation/x", "/maintenance"])
def test_a_redirect_inside_page_data(server: Server, client: Client, location: str) -> None:
    """A redirect to another page is named, and is not a login."""
    old = LegacyServer(server, "0.9.5")
    old.hooks[f"GET /conversation/{CONVERSATION}/__data.json"] = json_answer({"type": "redirect", "location": location})
    with pytest.raises(APIStatusError, match=f"redirects to .*{location}") as caught:
        client.conversation(CONVERSATION).messages()
    assert not isinstance(caught.value, AuthenticationError)


def test_a_server_that_was_upgraded(server: Server, client: Client) -> None:
    """If page data are empty now, the next call detects the version again."""
    old = LegacyServer(server, "0.9.5")
    client.conversations.list(1)
    old.version = "0.10"
    old.scene = LegacyServer(server, "0.10").scene
    server.on("*", [old._answer])
    empty = {"type": "data", "nodes": [{"type": "skip"}, None]}
    old.hooks[f"GET /conversation/{CONVERSATION}/__data.json"] = json_answer(empty)
    with pytest.raises(ProtocolError):
        client.conversation(CONVERSATION).messages()
    assert [message.role for message in client.conversation(CONVERSATION).messages()] == ["system"]


# Changing


def test_changes(old: LegacyServer, client: Client) -> None:
    """Rename, another model and delete are sent to the paths of this server."""
    conversation = client.conversation(CONVERSATION)
    conversation.rename("Another title")
    conversation.set_model("plain-model")
    conversation.delete()
    path = f"/api/v2/conversations/{CONVERSATION}" if old.version == "0.10" else f"/conversation/{CONVERSATION}"
    written = [request for request in old._server.requests if request.path == path and request.method != "GET"]
    assert [request.method for request in written] == ["PATCH", "PATCH", "DELETE"]
    assert [request.json() for request in written[:2]] == [{"title": "Another title"}, {"model": "lab/plain-model"}]


def test_a_title_that_is_set_already(server: Server, client: Client) -> None:
    """0.10 answers 404 if the conversation has that title already; the older path does not."""
    old = LegacyServer(server, "0.10")
    same = plain("Conversation not found", 500, "Content-Type: text/plain")
    old.hooks[f"PATCH /api/v2/conversations/{CONVERSATION}"] = same
    client.conversation(CONVERSATION).rename("The same title")
    assert old.writes == [f"PATCH /api/v2/conversations/{CONVERSATION}", f"PATCH /conversation/{CONVERSATION}"]


def test_messages_are_deleted(old: LegacyServer, client: Client) -> None:
    """A message is deleted by the v2 path or by the first API's."""
    old.is_stored = True
    conversation = client.conversation(CONVERSATION)
    message = conversation.messages()[-1].id
    conversation.delete_message(message)
    api = f"v2/conversations/{CONVERSATION}" if old.version == "0.10" else f"conversation/{CONVERSATION}"
    assert old.writes == [f"DELETE /api/{api}/message/{message}"]


def test_all_conversations_are_deleted(old: LegacyServer, client: Client) -> None:
    """If a server does not return the count, it is requested before."""
    assert client.conversations.delete_all() == {"0.10": 1, "0.9.5": 2}[old.version]


def test_a_write_answered_with_a_page(server: Server, client: Client) -> None:
    """A page with status 200 is not a success."""
    old = LegacyServer(server, "0.9.5")
    client.conversations.list(1)
    old.hooks["POST /settings"] = plain("<!doctype html>", 200, HTML)
    with pytest.raises(NotFoundError):
        client.settings.update(direct_paste=True)


def test_shares(old: LegacyServer, client: Client) -> None:
    """A link or an id is returned, the share is read by its id, and is copied by creating from it."""
    old.is_stored = True
    share = client.conversation(CONVERSATION).share()
    assert (share.id, share.url) == (SHARE, f"{old.url}/r/{SHARE}")
    assert [message.role for message in client.conversation(share.id).messages()] == ["system", "user", "assistant"]
    assert client.conversations.import_share(share.url).id == CONVERSATION
    assert old.created == [{"model": "lab/legacy-model", "fromShare": SHARE}]


# How answers end


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stopped_answer(
    server: Server, client: Client, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These servers end a stopped answer without a final answer: it is interrupted, and the next message need not wait."""
    monkeypatch.setattr("hfclient.chat.conversations.run_tracker._STOP_MARK", PATIENCE)
    old = LegacyServer(server, version, "stopped")
    cut = old.stream.index(b"word-3 ")
    cut = old.stream.rindex(b"\n", 0, cut) + 1
    old.answer_with(began(old.stream[:cut]), old.stopped, chunk(old.stream[cut:]) + LAST_CHUNK)
    conversation = client.conversation(CONVERSATION)
    with conversation.send(old.prompt) as stream:
        for event in stream:
            if isinstance(event, events.Token):
                conversation.stop()
    reply = stream.result()
    assert reply.interrupted
    assert reply.text.startswith("word-0 word-1 word-2 word-3 ")
    assert not reply.text.endswith("word-59 ")
    old.answer_with(began(old.stream) + LAST_CHUNK)
    started = time.monotonic()
    conversation.send("Next", on_close="detach").close()
    assert time.monotonic() - started < SOON


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_that_another_client_stopped(
    server: Server, client: Client, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A regular end without a final answer is the end: the stored text is the answer, interrupted."""
    monkeypatch.setattr("hfclient.chat.conversations.resume._LATE_SAVE", PATIENCE)
    old = LegacyServer(server, version, "stopped")
    started = time.monotonic()
    reply = client.conversation(CONVERSATION).ask(old.prompt)
    assert time.monotonic() - started < SOON
    assert reply.interrupted
    assert reply.text.startswith("word-0 word-1 ")
    assert reply.text == client.conversation(CONVERSATION).messages()[-1].content
    assert len(old.sent) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_broken_connection_after_the_answer_was_stored(server: Server, client: Client, version: str) -> None:
    """From a server without a log the finished message is read; nothing is repeated and nothing is sent twice."""
    old = LegacyServer(server, version)
    old.answer_with(began(old.stream[: old.stream.index(b'{"type":"stream","token":"!')]), RST)
    stream = client.conversation(CONVERSATION).send(old.prompt)
    assert "".join(stream.iter_text()) == "Hello, world!"
    assert stream.result().title == "💬 Hello, world!"
    assert not stream.result().interrupted
    assert len(old.sent) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_broken_connection_that_ended_the_answer(
    server: Server, client: Client, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an answer ends with its connection, the client does not wait for two minutes; the stored part is kept."""
    monkeypatch.setattr("hfclient.chat.conversations.resume._LATE_SAVE", 0.3)
    monkeypatch.setattr("hfclient.chat.conversations.resume._POLL", 0.1)
    old = LegacyServer(server, version, "stopped")
    old.answer_with(began(old.stream[: old.stream.index(b'{"type":"stream","token":"word-4 ')]), RST)
    started = time.monotonic()
    with pytest.raises(StreamInterrupted) as caught:
        client.conversation(CONVERSATION).ask(old.prompt)
    assert time.monotonic() - started < SOON
    assert caught.value.partial is not None
    assert caught.value.partial.text == client.conversation(CONVERSATION).messages()[-1].content
    assert len(old.sent) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_send_with_an_unknown_outcome(server: Server, client: Client, version: str) -> None:
    """If the connection breaks before the answer begins, the message is found in the conversation, and not sent again."""
    old = LegacyServer(server, version)
    old.answer_with(RST)
    assert client.conversation(CONVERSATION).ask(old.prompt).text == "Hello, world!"
    assert len(old.sent) == 1


def test_nothing_to_attach_to(old: LegacyServer, client: Client) -> None:
    """On a server without a log attach() says so, for every page and status."""
    for status in (200, 404, 500):
        page = f"<html><title>Page /conversation/{CONVERSATION}/stream not found</title></html>"
        old.hooks[f"GET /conversation/{CONVERSATION}/stream"] = plain(page, status, HTML)
        with pytest.raises(NotFoundError):
            client.conversation(CONVERSATION).attach()


# Switches


@pytest.mark.parametrize("version", VERSIONS)
def test_web_search(server: Server, client: Client, version: str) -> None:
    """The switch is sent, and the steps of the search are events."""
    old = LegacyServer(server, version, "web_search")
    found = list(client.chat(old.prompt, web_search=True))
    assert old.sent[0]["web_search"] is True
    assert [event.kind for event in found if isinstance(event, events.WebSearch)] == ["update", "error", "finished"]
    assert old.seen.count("GET /api/v2/feature-flags") == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_calls_of_tools(server: Server, client: Client, version: str) -> None:
    """Calls and results of the server's own tools are the same events as those of MCP; the text is complete."""
    old = LegacyServer(server, version, "tool_calculator")
    reply = client.conversation(CONVERSATION).ask(old.prompt, tools=["00000000000000000000000c"])
    assert reply.text == "It is 4."
    assert [(call.name, call.parameters) for call in reply.tool_calls] == [("calculator", {"equation": "2+2"})]
    assert [result.outputs for result in reply.tool_results] == [[{"calculator": "2+2 = 4"}]]


def test_tools(old: LegacyServer, client: Client) -> None:
    """Ids of tools are sent unchanged; other values are refused before anything is sent."""
    client.conversation(CONVERSATION).ask(old.prompt, tools=["00000000000000000000000c"])
    assert old.sent[0]["tools"] == ["00000000000000000000000c"]
    assert "web_search" not in old.sent[0]
    for wrong in (["calculator"], [12], "calculator"):
        with pytest.raises(InvalidInputError, match="24 hex"):
            client.conversation(CONVERSATION).ask("x", tools=wrong)  # type: ignore[arg-type]
    assert len(old.sent) == 1


def test_assistants(old: LegacyServer, client: Client) -> None:
    """A conversation with an assistant uses the assistant's model, and names it when it is created."""
    conversation = client.conversation(assistant=ASSISTANT).create()
    assert old.created == [{"model": "lab/plain-model", "assistantId": ASSISTANT}]
    assert conversation.model == "lab/plain-model"
    assert conversation.ask(old.prompt).text == "Hello, world!"
    with pytest.raises(Unsupported, match="assistant"):
        client.conversation(assistant=ASSISTANT).ask("x", web_search=True)
    with pytest.raises(InvalidInputError, match="system prompt of its own"):
        client.conversation(assistant=ASSISTANT, system_prompt="x").create()
    with pytest.raises(InvalidInputError, match="24 hex"):
        client.conversation(assistant="../api").create()
    with pytest.raises(NotFoundError, match="Assistant"):  # the server itself would take it, and answer without one
        client.conversation(assistant="a" * 24).create()
    assert len(old.created) == 1


@pytest.mark.parametrize("mcp", [["search"], "all", "https://example.com/mcp"])
def test_mcp_is_refused(old: LegacyServer, client: Client, mcp: object) -> None:
    """The error names the replacement on this server, and nothing is written."""
    with pytest.raises(Unsupported, match=r"web_search=True or tools="):
        client.chat("x", mcp=mcp)  # type: ignore[arg-type]
    assert old.writes == []


def test_switches_are_refused(server: Server, client: Client) -> None:
    """A current server would ignore them silently; the error names MCP, and nothing is written."""
    server.on("/api/v2/feature-flags", json_answer({"json": {"loginEnabled": False, "transcriptionEnabled": False}}))
    server.on("/api/v2/conversations/zz", json_answer({"message": "Invalid conversation ID format"}, 400))
    for call in (
        lambda: client.chat("x", web_search=True),
        lambda: client.chat("x", tools=["00000000000000000000000c"]),
        lambda: client.conversation(CONVERSATION).retry(web_search=True),
        lambda: client.conversation(CONVERSATION).edit("x", tools=["0" * 24]),
        lambda: client.conversation(assistant=ASSISTANT).ask("x"),
    ):
        with pytest.raises(Unsupported, match=r"mcp=\["):
            call()
    assert [request.path for request in server.requests] == ["/api/v2/feature-flags", "/api/v2/conversations/zz"]


# Something else


def test_another_site(server: Server, client: Client) -> None:
    """A site that answers every path with its page is not taken for an old chat-ui, on every call."""
    server.on("*", plain("<html><title>Welcome</title></html>", 200, HTML))
    for _ in range(2):
        with pytest.raises(NotAChatServer, match="base URL"):
            client.models.list()
    server.on("*", plain("Not Found", 404))
    with pytest.raises(NotAChatServer, match="base URL"):
        client.conversation(CONVERSATION).messages()
    with pytest.raises(NotAChatServer):
        client.chat("x", mcp=["y"])
