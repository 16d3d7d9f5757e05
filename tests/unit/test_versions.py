"""The version of a server: what each version answers to the probes, and which options are then refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hfclient import Client
from hfclient.chat.legacy.switches import switch_fields
from hfclient.chat.legacy.versions import ServerVersion, detect_version, fetch_layout
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
    ("scripts", "release", "has_mcp"),
    [
        ({FLAGS: flags(TODAY), "/api/v2/conversations/zz": REFUSED}, "0.20", True),
        ({FLAGS: flags(TODAY), "/api/v2/conversations/zz": THROWN}, "0.20-elysia", True),
        ({FLAGS: flags(TODAY), "*": plain("what?", 418)}, "0.20", True),
        ({FLAGS: flags(IN_2025), "/api/mcp/servers": json_answer([])}, "0.20-elysia", True),
        ({FLAGS: flags(IN_2025), "*": PAGE}, "0.20-elysia", False),
        ({FLAGS: flags(IN_2025), "*": NO_PAGE}, "0.20-elysia", False),
        ({FLAGS: flags(LEGACY)}, "0.10", False),
        ({FLAGS: NOT_FOUND}, "0.10", False),
        ({FLAGS: PAGE, "/api/models": MODELS}, "0.9", False),
        ({FLAGS: NO_PAGE, "/api/models": MODELS}, "0.9", False),
        ({FLAGS: plain("<html>", 404), "/api/models": MODELS}, "0.9", False),
        ({FLAGS: DISABLED, "/api/models": DISABLED, "/__data.json": plain(LAYOUT)}, "0.9", False),
        ({FLAGS: PAGE, "/api/models": PAGE, "/__data.json": plain(LAYOUT)}, "0.9", False),
    ],
)
def test_each_version(server: Server, service: ChatService, scripts, release: str, has_mcp: bool) -> None:
    """The probes tell the versions apart by content, never by the status alone."""
    for path, script in scripts.items():
        server.on(path, script)
    assert detect_version(service.session, service.endpoints) == ServerVersion(release, has_mcp)  # type: ignore[arg-type]
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
def test_other_servers(server: Server, service: ChatService, scripts) -> None:
    """Anything else is not a chat-ui."""
    for path, script in scripts.items():
        server.on(path, script)
    with pytest.raises(NotAChatServer):
        detect_version(service.session, service.endpoints)


def test_a_server_that_cannot_be_asked(server: Server, service: ChatService) -> None:
    """A login, a failure or a broken connection raises as such; the next call asks again."""
    for script, error in (
        (plain("", 302, "Location: https://login.example/"), AuthenticationError),
        (json_answer({"message": "An error occurred", "errorId": "x"}, 500), ServerError),
        ([RST], ConnectError),
    ):
        server.on(FLAGS, script)
        with pytest.raises(error):
            service.version()
    server.on(FLAGS, flags(LEGACY))
    assert service.version().release == "0.10"


def test_asked_once(server: Server, service: ChatService) -> None:
    """The version is detected once."""
    server.on(FLAGS, flags(TODAY))
    server.on("/api/v2/conversations/zz", REFUSED)
    assert service.version() is service.version()
    assert len(server.requests) == 2


def test_the_layout_of_a_page(server: Server, service: ChatService) -> None:
    """The layout's object is returned, or None without one."""
    server.on("/__data.json", plain(LAYOUT), json_answer({"type": "redirect", "location": "/login"}), PAGE)
    layout = fetch_layout(service.session, service.endpoints)
    assert layout is not None
    assert layout["enableAssistants"] is True
    assert fetch_layout(service.session, service.endpoints) is None
    assert fetch_layout(service.session, service.endpoints) is None


@pytest.mark.parametrize(
    ("version", "wanted", "says"),
    [
        (ServerVersion("0.20", True), {"switches": ["web_search"]}, r"web_search=True.*mcp=\["),
        (ServerVersion("0.20-elysia", True), {"switches": ["web_search", "tools"]}, r"web_search=True and tools=.*mcp=\["),
        (ServerVersion("0.20-elysia", False), {"switches": ["tools"]}, "no tools of any kind"),
        (ServerVersion("0.20", True), {"assistant": True}, "system_prompt="),
        (ServerVersion("0.20-elysia", False), {"mcp": True}, "no tools of any kind"),
        (ServerVersion("0.10", False), {"mcp": True}, "web_search=True or tools="),
        (ServerVersion("0.9", False), {"mcp": True}, "web_search=True or tools="),
    ],
)
def test_what_is_refused(version: ServerVersion, wanted, says: str) -> None:
    """Options that a server would ignore silently are refused; the message names what it has instead."""
    with pytest.raises(Unsupported, match=says) as caught:
        version.check(**wanted)
    assert str(version) in str(caught.value)


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        (ServerVersion("0.20", True), {"mcp": True}),
        (ServerVersion("0.20-elysia", True), {"mcp": True}),
        (ServerVersion("0.10", False), {"switches": ["web_search", "tools"], "assistant": True}),
        (ServerVersion("0.9", False), {"switches": ["tools"]}),
        (ServerVersion("0.20", True), {}),
    ],
)
def test_what_is_not_refused(version: ServerVersion, wanted) -> None:
    """Options that the server knows are accepted."""
    version.check(**wanted)


def test_properties() -> None:
    """Each version knows its API, its switches, and whether a generation outlives its connection."""
    old, older, new = ServerVersion("0.10", False), ServerVersion("0.9", False), ServerVersion("0.20", True)
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
