"""How old a server is: what each generation answers to the probes, and what is then refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hfclient import Client
from hfclient.chat.servers.generations import Generation, detect, layout_of, switch_fields
from hfclient.chat.servers.service import ChatService
from hfclient.errors import (
    AuthenticationError,
    ConnectError,
    InvalidInputError,
    NotAChatServer,
    ServerError,
    Unsupported,
)
from hfclient.transport import Retry
from tests.server import RST, Server, json_answer, plain

LAYOUT = (Path(__file__).parent.parent / "fixtures" / "chat-ui-0.9.5" / "layout_and_page.data").read_bytes()
FLAGS = "/api/v2/feature-flags"
TODAY = {"enableAssistants": False, "loginEnabled": True, "isAdmin": False, "transcriptionEnabled": False}
IN_2025 = {"enableAssistants": False, "loginEnabled": True, "isAdmin": False}
LEGACY = {**IN_2025, "searchEnabled": False, "guestMode": False, "loginRequired": False}
PAGE = plain("<!doctype html><title>ChatUI</title>", 200, "Content-Type: text/html")
NO_PAGE = plain("<!doctype html><title>Page /x not found</title>", 500, "Content-Type: text/html")
NOT_FOUND = plain("NOT_FOUND", 404, "Content-Type: text/plain")
DISABLED = plain("API is disabled", 403, "Content-Type: text/plain")
REFUSED = json_answer({"message": "Invalid conversation ID format"}, 400)
THROWN = plain("Invalid conversation ID format", 500, "Content-Type: text/plain")
MODELS = json_answer([{"id": "org/one"}])


def flags(data):
    return json_answer({"json": data})


@pytest.fixture
def service(server: Server):
    with Client(server.url, token="", cookies={"hf-chat": "0"}, retry=Retry(attempts=1)) as client:
        yield client._chat


@pytest.mark.parametrize(
    ("scripts", "era", "has_mcp"),
    [
        ({FLAGS: flags(TODAY), "/api/v2/conversations/zz": REFUSED}, "current", True),
        ({FLAGS: flags(TODAY), "/api/v2/conversations/zz": THROWN}, "elysia", True),
        ({FLAGS: flags(TODAY), "*": plain("what?", 418)}, "current", True),
        ({FLAGS: flags(IN_2025), "/api/mcp/servers": json_answer([])}, "elysia", True),
        ({FLAGS: flags(IN_2025), "*": PAGE}, "elysia", False),
        ({FLAGS: flags(IN_2025), "*": NO_PAGE}, "elysia", False),
        ({FLAGS: flags(LEGACY)}, "legacy", False),
        ({FLAGS: NOT_FOUND}, "legacy", False),
        ({FLAGS: PAGE, "/api/models": MODELS}, "pages", False),
        ({FLAGS: NO_PAGE, "/api/models": MODELS}, "pages", False),
        ({FLAGS: plain("<html>", 404), "/api/models": MODELS}, "pages", False),
        ({FLAGS: DISABLED, "/api/models": DISABLED, "/__data.json": plain(LAYOUT)}, "pages", False),
        ({FLAGS: PAGE, "/api/models": PAGE, "/__data.json": plain(LAYOUT)}, "pages", False),
    ],
)
def test_each_generation(server: Server, service: ChatService, scripts, era: str, has_mcp: bool) -> None:
    """The probes tell the generations apart by content, never by the status alone."""
    for path, script in scripts.items():
        server.on(path, script)
    assert detect(service.session, service.endpoints) == Generation(era, has_mcp)  # type: ignore[arg-type]
    assert len(server.requests) <= 3
    assert all(request.method == "GET" for request in server.requests)


@pytest.mark.parametrize(
    "scripts",
    [
        {"*": PAGE},
        {"*": plain("nothing here", 404)},
        {"*": json_answer({"hello": "world"})},
        {"*": json_answer([1, 2])},
        {"*": json_answer({"json": {"colour": "blue"}})},
        {FLAGS: PAGE, "/api/models": json_answer({"object": "list"}), "/__data.json": json_answer({"type": "data"})},
        {FLAGS: PAGE, "*": json_answer({"type": "data", "nodes": [{"type": "data", "data": [{"x": 1}, 2]}]})},
        {FLAGS: PAGE, "*": json_answer({"type": "data", "nodes": [{"type": "error", "error": {"message": "no"}}]})},
    ],
)
def test_what_is_none_of_them(server: Server, service: ChatService, scripts) -> None:
    """Anything else is no chat-ui."""
    for path, script in scripts.items():
        server.on(path, script)
    with pytest.raises(NotAChatServer):
        detect(service.session, service.endpoints)


def test_a_server_that_cannot_be_asked(server: Server, service: ChatService) -> None:
    """A login, a failure or a broken connection is what it is; the next call asks again."""
    for script, error in (
        (plain("", 302, "Location: https://login.example/"), AuthenticationError),
        (json_answer({"message": "An error occurred", "errorId": "x"}, 500), ServerError),
        ([RST], ConnectError),
    ):
        server.on(FLAGS, script)
        with pytest.raises(error):
            service.generation()
    server.on(FLAGS, flags(LEGACY))
    assert service.generation().era == "legacy"


def test_asked_once(server: Server, service: ChatService) -> None:
    """What was found out is kept."""
    server.on(FLAGS, flags(TODAY))
    server.on("/api/v2/conversations/zz", REFUSED)
    assert service.generation() is service.generation()
    assert len(server.requests) == 2


def test_the_layout_of_a_page(server: Server, service: ChatService) -> None:
    """Its object, or nothing where there is none."""
    server.on("/__data.json", plain(LAYOUT), json_answer({"type": "redirect", "location": "/login"}), PAGE)
    layout = layout_of(service.session, service.endpoints)
    assert layout is not None
    assert layout["enableAssistants"] is True
    assert layout_of(service.session, service.endpoints) is None
    assert layout_of(service.session, service.endpoints) is None


@pytest.mark.parametrize(
    ("generation", "wanted", "says"),
    [
        (Generation("current", True), {"switches": ["web_search"]}, r"web_search=True.*mcp=\["),
        (Generation("elysia", True), {"switches": ["web_search", "tools"]}, r"web_search=True and tools=.*mcp=\["),
        (Generation("elysia", False), {"switches": ["tools"]}, "no tools of any kind"),
        (Generation("current", True), {"assistant": True}, "system_prompt="),
        (Generation("elysia", False), {"mcp": True}, "no tools of any kind"),
        (Generation("legacy", False), {"mcp": True}, "web_search=True or tools="),
        (Generation("pages", False), {"mcp": True}, "web_search=True or tools="),
    ],
)
def test_what_is_refused(generation: Generation, wanted, says: str) -> None:
    """What a server would leave out in silence; the message names what it has instead."""
    with pytest.raises(Unsupported, match=says) as caught:
        generation.check(**wanted)
    assert str(generation) in str(caught.value)


@pytest.mark.parametrize(
    ("generation", "wanted"),
    [
        (Generation("current", True), {"mcp": True}),
        (Generation("elysia", True), {"mcp": True}),
        (Generation("legacy", False), {"switches": ["web_search", "tools"], "assistant": True}),
        (Generation("pages", False), {"switches": ["tools"]}),
        (Generation("current", True), {}),
    ],
)
def test_what_is_not_refused(generation: Generation, wanted) -> None:
    """What the server knows."""
    generation.check(**wanted)


def test_ages_and_abilities() -> None:
    """What the rest of the wing asks a generation."""
    old, older, new = Generation("legacy", False), Generation("pages", False), Generation("current", True)
    assert [item.has_v2 for item in (new, old, older)] == [True, True, False]
    assert [item.has_switches for item in (new, old, older)] == [False, True, True]
    assert [item.outlives_connection for item in (new, old, older)] == [True, False, False]


def test_switch_fields() -> None:
    """Unset switches leave no key, because a null is an error to these servers."""
    assert switch_fields(False, ()) == {}
    assert json.dumps(switch_fields(True, iter(["0" * 24]))) == json.dumps({"web_search": True, "tools": ["0" * 24]})
    assert switch_fields(False, "0" * 24) == {"tools": ["0" * 24]}
    for wrong in ([None], ["0" * 23], ["0" * 25], [{"tool": True}], {"calculator": True}):
        with pytest.raises(InvalidInputError):
            switch_fields(False, wrong)  # type: ignore[arg-type]
