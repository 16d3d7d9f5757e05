"""``hfclient chat``: conversations that continue, code, JSON, templates, files from standard input, inference servers."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient.cli.chat.template import fill, read_template
from tests.cli.conftest import CONVERSATION, answer, environment, line, says, start, token
from tests.docs.scripted import ScriptedModel
from tests.server import LONG, PATIENCE, Server, json_answer

ANSWER = "d2f8a5f0-0000-4000-8000-000000000001"
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "country": {"enum": ["France", "Italy"]}},
    "required": ["city", "country"],
}


@pytest.fixture
def model() -> Iterator[str]:
    """The URL of an inference server with scripted answers."""
    with ScriptedModel() as server:
        yield server.url


def _existing(server: Server) -> None:
    """The conversation with a question and its answer."""
    system = {"id": "s", "from": "system", "content": "", "children": ["u"], "ancestors": []}
    user = {"id": "u", "from": "user", "content": "Hi", "children": [ANSWER], "ancestors": ["s"]}
    said = {"id": ANSWER, "from": "assistant", "content": "Hello", "children": [], "ancestors": ["s", "u"]}
    state = {"messages": [system, user, said], "title": "T", "model": "org/one", "rootMessageId": "s"}
    server.on(f"/api/v2/conversations/{CONVERSATION}", json_answer({"json": {"id": CONVERSATION, **state}}))


def _says(server: Server, text: str) -> None:
    says(server, answer(token(text), text=text))


def _has_tools(server: Server) -> None:
    server.on("/api/v2/feature-flags", json_answer({"json": {"loginEnabled": False, "transcriptionEnabled": False}}))


def _sent(server: Server) -> list[str]:
    """The ``data`` fields of the messages that were sent."""
    requests = [one for one in server.requests if one.path == f"/conversation/{CONVERSATION}" and one.method == "POST"]
    return [one.body.decode("utf-8", "replace") for one in requests]


# Conversations that continue


def test_continue(chat_ui: Server, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--continue sends to the last conversation with the same server; its file has ids only and is private."""
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path / "settings"))
    code, out, err = command("chat", "--url", chat_ui.url, "-c", "Hi")
    assert (code, out) == (2, "")
    assert "--continue" in err
    assert command("chat", "--url", chat_ui.url, "secret words")[0] == 0
    _existing(chat_ui)
    assert command("chat", "--url", chat_ui.url, "-c", "And then?") == (0, "Hello, world!\n", "")
    assert f'"id":"{ANSWER}"' in _sent(chat_ui)[-1]
    file = tmp_path / "settings" / "conversations.json"
    assert next(iter(json.loads(file.read_text())["conversations"].values()))["id"] == CONVERSATION
    assert "secret" not in file.read_text()
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert command("chat", "--url", "http://127.0.0.1:9", "-c", "Hi")[0] == 2  # another server


def test_continue_what_is_gone(chat_ui: Server, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the last conversation was deleted, the error of one line says how to start a new one."""
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path))
    assert command("chat", "--url", chat_ui.url, "Hi")[0] == 0
    chat_ui.on(f"/api/v2/conversations/{CONVERSATION}", json_answer({"message": "Conversation not found"}, 404))
    code, out, err = command("chat", "--url", chat_ui.url, "-c", "Hi")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "without --continue" in err


@pytest.mark.parametrize("damage", ["{", '{"version": 1, "conversations": {"x": {"id": "../../etc", "used_at": 1}}}'])
def test_a_damaged_file_of_conversations(
    chat_ui: Server, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """A damaged file disturbs no chat, and nothing of it is sent."""
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path))
    (tmp_path / "conversations.json").write_text(damage)
    assert command("chat", "--url", chat_ui.url, "Hi") == (0, "Hello, world!\n", "")
    assert command("chat", "--url", chat_ui.url, "-c", "Hi")[0] == 2


def test_a_conversation_by_its_id_and_a_share(chat_ui: Server, command: Any) -> None:
    """--conversation takes an id, the page of a conversation, or the link of a shared one, which is copied first."""
    _existing(chat_ui)
    for given in (CONVERSATION, f"{chat_ui.url}/conversation/{CONVERSATION}"):
        assert command("chat", "--url", chat_ui.url, "--conversation", given, "Hi") == (0, "Hello, world!\n", "")
    chat_ui.on("/api/v2/conversations/import-share", json_answer({"json": {"conversationId": CONVERSATION}}))
    shared = ("--conversation", f"{chat_ui.url}/r/abC-123?x=1", "Hi")
    assert command("chat", "--url", chat_ui.url, *shared) == (0, "Hello, world!\n", "")
    assert len(_sent(chat_ui)) == 3


def test_temporary(chat_ui: Server, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--temporary deletes the conversation in the end, and --continue does not know it."""
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path))
    chat_ui.on(f"/api/v2/conversations/{CONVERSATION}", json_answer({"json": {}}))
    assert command("chat", "--url", chat_ui.url, "--temporary", "Hi") == (0, "Hello, world!\n", "")
    assert [one.method for one in chat_ui.requests if CONVERSATION in one.path][-1] == "DELETE"
    assert command("chat", "--url", chat_ui.url, "-c", "Hi")[0] == 2


# Only a part of the answer


def test_extract(chat_ui: Server, command: Any) -> None:
    """-x prints the code of the first block and nothing else; without code it is an error of one line."""
    _says(chat_ui, "Sure:\n```py\nprint(1)\n```\nor\n```\n2\n```\n")
    assert command("chat", "--url", chat_ui.url, "-x", "Hi") == (0, "print(1)\n", "")
    _says(chat_ui, "No code")
    code, out, err = command("chat", "--url", chat_ui.url, "--extract", "Hi")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no code block" in err
    _says(chat_ui, "```sh\necho ok")
    code, out, err = command("chat", "--url", chat_ui.url, "-x", "Hi")
    assert (code, out) == (1, "echo ok\n")
    assert "in the middle" in err


def test_schema(chat_ui: Server, command: Any, tmp_path: Path) -> None:
    """--schema prints the JSON of the answer, from a file or as it is; the schema is part of the prompt."""
    file = tmp_path / "city.json"
    file.write_text(json.dumps(CITY))
    _says(chat_ui, 'Here:\n```json\n{"city": "Paris", "country": "France"}\n```')
    for given in (str(file), json.dumps(CITY)):
        code, out, err = command("chat", "--url", chat_ui.url, "--schema", given, "The capital of France?")
        assert (code, out, err) == (0, '{"city":"Paris","country":"France"}\n', "")
    assert '\\"country\\"' in _sent(chat_ui)[0]


def test_schema_is_asked_for_twice(chat_ui: Server, command: Any) -> None:
    """An answer that does not fit is sent back once with the error; then the command fails and prints nothing."""
    _existing(chat_ui)
    _says(chat_ui, '{"city": "Paris", "country": "Spain"}')
    code, out, err = command("chat", "--url", chat_ui.url, "--schema", json.dumps(CITY), "Hi")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "at $.country" in err
    assert "'Spain' is not one of" in _sent(chat_ui)[1]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "not JSON"),
        ('{"type": "nonsense"}', "$.type"),
        ("[]", "an object"),
        ("/no/such/file", "cannot be read"),
        ('{"$ref": "http://127.0.0.1:9/x"}', "reference"),
    ],
)
def test_a_schema_that_cannot_work(chat_ui: Server, command: Any, schema: str, message: str) -> None:
    """A file or text that is not a schema is a usage error; a reference to another site is not requested."""
    _says(chat_ui, "{}")
    code, out, err = command("chat", "--url", chat_ui.url, "--schema", schema, "Hi")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


# The prompt


def test_template(chat_ui: Server, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A template is a file, or a name in the folder of templates; words and standard input are its $input."""
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path))
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "translate.txt").write_text("Translate into ${language}, for $$5: $input")
    options = ("chat", "--url", chat_ui.url, "-t", "translate")
    assert command(*options, "-p", "language=French", "good", "day")[0] == 0
    assert "Translate into French, for $5: good day" in _sent(chat_ui)[-1]
    with start(*options, "-p", "language=Dutch", stdin=subprocess.PIPE, env=environment()) as process:
        assert process.communicate(b"good night", PATIENCE)[0] == b"Hello, world!\n"
    assert "Translate into Dutch, for $5: good night" in _sent(chat_ui)[-1]
    for arguments, message in (
        (("-p", "language=French"), "input"),
        (("Hi",), "-p language="),
        (("-p", "colour=red", "Hi"), "input, language"),
        (("-p", "language", "Hi"), "NAME=VALUE"),
    ):
        code, _, err = command(*options, *arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err
    code, _, err = command("chat", "--url", chat_ui.url, "-t", "absent", "Hi")
    assert code == 2
    assert "has translate" in err


def test_a_template_without_input(tmp_path: Path) -> None:
    """The input follows a template that does not name it; a template may be a whole prompt."""
    file = tmp_path / "review.md"
    file.write_text("Review this:\n")
    assert fill(read_template(str(file)), [], "x = 1") == "Review this:\n\nx = 1"
    assert fill(read_template(str(file)), [], "") == "Review this:\n"


def test_standard_input_as_a_file(chat_ui: Server) -> None:
    """--file - attaches standard input, which is then no part of the prompt."""
    with start("chat", "--url", chat_ui.url, "-f", "-", "What is this?", stdin=subprocess.PIPE) as process:
        out, err = process.communicate(b"a,b\n1,2\n", PATIENCE)
    assert (process.returncode, out, err) == (0, b"Hello, world!\n", b"")
    form = _sent(chat_ui)[-1]
    assert '"inputs":"What is this?"' in form
    assert 'filename="base64;input"' in form


def test_mcp_servers(chat_ui: Server, command: Any) -> None:
    """--mcp names the servers whose tools may be used; a name that the server does not have is an error, as it ignores such names."""
    _has_tools(chat_ui)
    assert command("chat", "--url", chat_ui.url, "--mcp", "web", "--mcp", "books", "Hi")[0] == 0
    assert '"selectedMcpServerNames":["web","books"]' in _sent(chat_ui)[-1]
    assert command("chat", "--url", chat_ui.url, "--mcp", "all", "Hi")[0] == 0
    assert "selectedMcpServerNames" not in _sent(chat_ui)[-1]
    chat_ui.on("/api/mcp/servers", json_answer([{"name": "Web Search (Exa)"}, {"name": "books"}]))
    assert command("chat", "--url", chat_ui.url, "--mcp", "web search (exa)", "--mcp", "https://a.example/mcp", "Hi")[0] == 0
    assert '"selectedMcpServerNames":["Web Search (Exa)","a.example"]' in _sent(chat_ui)[-1]
    count = len(_sent(chat_ui))
    code, _, err = command("chat", "--url", chat_ui.url, "--mcp", "boks", "Hi")
    assert (code, len(_sent(chat_ui))) == (2, count)
    assert err == "hfclient: there is no MCP server 'boks' here; this server has Web Search (Exa), books; an address uses your own\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "--conversation", CONVERSATION],
        ["-c", "--temporary"],
        ["-c", "--system", "s"],
        ["-x", "--json"],
        ["-x", "--schema", "{}"],
        ["--inference", "-c"],
        ["--inference", "--mcp", "web"],
        ["-p", "a=b"],
    ],
    ids=" ".join,
)
def test_options_that_exclude_each_other(command: Any, arguments: list[str]) -> None:
    """Options that contradict each other are a usage error."""
    code, out, err = command("chat", "--url", "http://127.0.0.1:9", *arguments, "Hi")
    assert (code, out, err.count("\n")) == (2, "", 1)


# Inference servers


def test_an_inference_server(model: str, command: Any, tmp_path: Path) -> None:
    """--inference-url asks an OpenAI-compatible server: text, JSON, and files."""
    options = ("chat", "--inference-url", f"{model}/v1", "-m", "any")
    assert command(*options, "What is the capital of France?") == (0, "Paris.\n", "")
    code, out, _ = command(*options, "--no-stream", "--json", "What is 6 times 7?")
    assert code == 0
    assert json.loads(out)["reasoning"] == "6 times 7 is 42."
    note = tmp_path / "note.txt"
    note.write_text("remember")
    code, out, _ = command(*options, "-f", str(note), "Look:")
    assert code == 0
    assert "remember" in out


def test_a_schema_at_an_inference_server(model: str, command: Any) -> None:
    """An answer that does not fit is sent back with the conversation so far."""
    options = ("chat", "--inference-url", f"{model}/v1", "-m", "any", "--schema", json.dumps(CITY))
    code, out, err = command(*options, "Hi")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "2 answers" in err


def test_a_token_without_a_login(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a token only, the error names both ways: a login, and the router."""
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 34)
    code, out, err = command("chat", "-m", "org/model", "Hi")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "hfclient login" in err
    assert "--inference -m MODEL" in err


# Before an error, and on a terminal


def test_no_stream_keeps_what_came(chat_ui: Server, command: Any) -> None:
    """With --no-stream, too, the part of the answer before an error is printed."""
    from tests.server import chunked

    failure = line(type="status", status="error", message="busy", statusCode=503)
    says(chat_ui, chunked(token("Half"), failure))
    assert command("chat", "--url", chat_ui.url, "--no-stream", "Hi")[:2] == (1, "Half\n")
    code, out, _ = command("chat", "--url", chat_ui.url, "--no-stream", "--json", "Hi")
    assert code == 1
    assert json.loads(out)["text"] == "Half"


MARKDOWN = "# Rain\n\nWater **falls**:\n\n```python\nprint('drop')\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"


@pytest.mark.skipif(os.name != "posix", reason="POSIX terminals")
@pytest.mark.parametrize("columns", [40, 100])
@pytest.mark.parametrize("options", [[], ["--no-stream"]], ids=" ".join)
def test_markdown_on_a_terminal(chat_ui: Server, columns: int, options: list[str]) -> None:
    """On a terminal, narrow or wide, Markdown is rendered; with --raw, and in a pipe, it is as it came."""
    from tests.cli.screens import on_screen

    _says(chat_ui, MARKDOWN)
    shown = on_screen("chat", "--url", chat_ui.url, *options, "Hi", columns=columns)
    assert shown.code == 0
    assert "Water falls:" in shown.text
    assert "print('drop')" in shown.text
    assert "|---" not in shown.text
    assert "**" not in shown.text
    raw = on_screen("chat", "--url", chat_ui.url, *options, "--raw", "Hi", columns=columns)
    assert [line for line in MARKDOWN.split("\n") if line] == raw.lines
    with start("chat", "--url", chat_ui.url, *options, "Hi") as process:
        assert process.communicate(timeout=LONG)[0].decode() == MARKDOWN


@pytest.mark.skipif(os.name != "posix", reason="POSIX terminals")
def test_no_reasoning(chat_ui: Server) -> None:
    """--no-reasoning leaves the reasoning out."""
    from tests.cli.screens import on_screen

    text = "<think>hm, well</think>Hello"
    says(chat_ui, answer(token("<think>hm, well"), token("</think>Hello"), text=text))
    assert "hm, well" in on_screen("chat", "--url", chat_ui.url, "Hi").text
    for raw in ([], ["--raw"]):
        shown = on_screen("chat", "--url", chat_ui.url, *raw, "--no-reasoning", "Hi")
        assert "hm, well" not in shown.text
        assert "Hello" in shown.text


QUESTION = {
    "elicitationId": "6cff0873-9b03-4a86-9147-c142d6aabb6f",
    "server": "booking",
    "mode": "form",
    "message": "How many seats?\x1b[2J",
    "fields": [
        {"kind": "number", "name": "seats", "title": "Seats", "required": True, "integer": True},
        {
            "kind": "select",
            "name": "row",
            "options": [{"value": "a", "label": "Row A"}, {"value": "b", "label": "Row B"}],
        },
        {"kind": "boolean", "name": "vip", "required": False},
    ],
}
ASKS = line(type="elicitation", subtype="request", request=QUESTION, expiresAt=1795235814881)


def _questions(server: Server) -> None:
    _has_tools(server)
    says(server, answer(ASKS, token("Hello")))
    server.on(f"/conversation/{CONVERSATION}/elicitation", json_answer({"ok": True, "resume": False}))


def _answered(server: Server) -> Any:
    (one,) = [request for request in server.requests if request.path.endswith("/elicitation")]
    return one.json()


def test_a_question_in_a_pipe_is_declined(chat_ui: Server, command: Any) -> None:
    """Without a terminal a tool's question is declined, with a note on standard error."""
    _questions(chat_ui)
    code, _, err = command("chat", "--url", chat_ui.url, "--mcp", "booking", "Hi")
    assert code == 0
    assert "booking asks" in err
    assert "\x1b" not in err
    assert _answered(chat_ui)["action"] == "decline"


@pytest.mark.skipif(os.name != "posix", reason="POSIX terminals")
def test_a_question_on_a_terminal(chat_ui: Server, terminal: Any) -> None:
    """On a terminal the fields of a tool's question are asked one by one; a wrong value is asked again."""
    _questions(chat_ui)
    screen = terminal("chat", "--url", chat_ui.url, "--mcp", "booking", "Hi")
    screen.read_until("Seats: ")
    screen.type("many\n")
    screen.read_until("not a number")
    screen.type("2\n")
    screen.read_until("row: ")
    screen.type("2\n")
    screen.read_until("vip (y/n): ")
    screen.type("\n")
    code, shown = screen.finish()
    assert code == 0
    assert "\x1b[2J" not in shown
    sent = _answered(chat_ui)
    assert (sent["action"], sent["content"]) == ("accept", {"seats": 2, "row": "b"})
