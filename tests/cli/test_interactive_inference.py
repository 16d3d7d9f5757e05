"""The conversation in a terminal with an inference server, which keeps nothing itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pty")
pytest.importorskip("prompt_toolkit")
from tests.cli.screens import TerminalScreen
from tests.cli.test_interactive import at_prompt, enter, prompt_of
from tests.inference.answers import CHAT, begun, delta, says
from tests.server import PATIENCE, Server, json_answer


@pytest.fixture
def screen(server: Server, tmp_path: Path) -> Iterator[TerminalScreen]:
    url = f"{server.url}/v1"
    arguments = ("chat", "--inference-url", url, "-m", "org/one", "--system", "Be terse.")
    found = TerminalScreen(*arguments, columns=120, rows=40, HFCLIENT_HOME=str(tmp_path / "s"), HOME=str(tmp_path), HF_TOKEN="")
    found.wait_until(lambda: prompt_of(found) is not None)
    yield found
    found.close()


def sent(server: Server) -> list[Any]:
    """The messages of each request."""
    return [request.json()["messages"] for request in server.requests if request.path == CHAT]


SYSTEM = {"role": "system", "content": "Be terse."}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_all_messages_are_sent(server: Server, screen: TerminalScreen, tmp_path: Path) -> None:
    """Each request has the messages of the active branch; /retry and /edit make branches, /save has all of them."""
    server.on(CHAT, says("Blue."), says("Azure."), says("Red."), says("Black."))
    enter(screen, "Sky?")
    at_prompt(screen, "Blue.")
    enter(screen, "/retry")
    at_prompt(screen, "Azure.")
    enter(screen, "/edit Sky of Mars?")
    screen.wait_until(lambda: screen.lines[-1] == "edit> Sky of Mars?")
    screen.type("\r")
    at_prompt(screen, "Red.")
    enter(screen, "/branches 1")
    screen.wait_until(lambda: screen.text.count("Blue.") == 2 and screen.lines[-1].endswith(">"))
    enter(screen, "At night?")
    at_prompt(screen, "Black.")
    assert sent(server) == [
        [SYSTEM, user("Sky?")],
        [SYSTEM, user("Sky?")],
        [SYSTEM, user("Sky of Mars?")],
        [SYSTEM, user("Sky?"), {"role": "assistant", "content": "Blue."}, user("At night?")],
    ]
    for name in ("a.md", "a.json", "a.ipynb"):
        enter(screen, f"/save {tmp_path}/{name}")
        at_prompt(screen, f"{name}\n")
        text = (tmp_path / name).read_text("utf-8")
        assert all(word in text for word in ("Blue.", "Azure.", "Red.", "Black."))


def test_ctrl_c_keeps_the_part(server: Server, screen: TerminalScreen) -> None:
    """After Ctrl-C the next request has the part of the answer that came."""
    server.on(CHAT, [*begun(delta(content="Half an answer")), PATIENCE * 2], says("Rest."))
    enter(screen, "Go")
    screen.wait_for("Half an answer")
    screen.type("\x03")
    at_prompt(screen, "[stopped]")
    enter(screen, "Continue")
    at_prompt(screen, "Rest.")
    assert sent(server)[1][1:] == [user("Go"), {"role": "assistant", "content": "Half an answer"}, user("Continue")]


def test_what_it_does_not_have(server: Server, screen: TerminalScreen) -> None:
    """A refused prompt comes back; models are those of the server; sharing and MCP are one line of error."""
    server.on("/v1/models", json_answer({"data": [{"id": "org/one"}, {"id": "org/two"}]}))
    server.on(CHAT, json_answer({"error": "bad request"}, 400), says("Now."))
    enter(screen, "/model")
    at_prompt(screen, "* org/one", "  org/two")
    enter(screen, "/mcp")
    at_prompt(screen, "no MCP servers")
    enter(screen, "Question")
    screen.wait_until(lambda: screen.lines[-1] == "> Question" and "bad request" in screen.text)
    screen.type("\r")
    at_prompt(screen, "Now.")
    enter(screen, "/share")
    at_prompt(screen, "keeps no conversations")
    assert len(sent(server)[1]) == 2
