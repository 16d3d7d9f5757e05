"""``hfclient chat``: the request, the output, and the exit codes."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CONVERSATION, STOP, answer, environment, line, says, start, token, unending
from tests.server import LONG, PATIENCE, RST, Server, chunk, chunked, head, json_answer, plain

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and terminals")


def test_answer_in_a_pipe_is_bare_text(chat_ui: Server, command: Any) -> None:
    """In a pipe only the answer's text is written: no colour, no reasoning, no title."""
    says(
        chat_ui,
        answer(
            line(type="title", title="Greetings"),
            token("<think>hm"),
            token("</think>Hello"),
            line(type="tool", subtype="call", uuid="u", call={"name": "echo", "parameters": {}}),
            token(", world!"),
        ),
    )
    assert command("chat", "--url", chat_ui.url, "Hi") == (0, "Hello, world!\n", "")


def test_options_reach_the_server(chat_ui: Server, command: Any, tmp_path: Path) -> None:
    """Model, system prompt, words and files are part of the request."""
    note = tmp_path / "note.txt"
    note.write_text("remember")
    code, _, err = command(
        "chat", "--url", chat_ui.url, "--model", "org/two", "--system", "Be terse.", "--file", str(note), "Hi", "there"
    )
    assert (code, err) == (0, "")
    by_path = {request.path: request for request in chat_ui.requests}
    assert by_path["/conversation"].json() == {"model": "org/two", "preprompt": "Be terse."}
    form = by_path[f"/conversation/{CONVERSATION}"].body
    assert b'"inputs":"Hi there"' in form
    assert b'filename="base64;note.txt"' in form


def test_json_lines(chat_ui: Server, command: Any) -> None:
    """With --json each event is one line of ASCII JSON, for any characters in the answer."""
    says(chat_ui, answer(token("a\u2028b\u0085"), token("\U0001f600"), line(type="weather", sky="blue")))
    code, out, _ = command("chat", "--url", chat_ui.url, "--json", "Hi")
    found = [json.loads(text) for text in out.split("\n") if text]
    assert code == 0
    assert out.isascii()
    assert [event["text"] for event in found if event["event"] == "Token"] == ["a\u2028b\u0085", "\U0001f600"]
    assert {"event": "Unknown", "type": "weather", "raw": {"type": "weather", "sky": "blue"}} in found


def test_no_stream(chat_ui: Server, command: Any) -> None:
    """With --no-stream the complete answer is printed, as text or as one JSON object."""
    assert command("chat", "--url", chat_ui.url, "--no-stream", "Hi")[:2] == (0, "Hello, world!\n")
    code, out, _ = command("chat", "--url", chat_ui.url, "--no-stream", "--json", "Hi")
    assert code == 0
    assert json.loads(out)["text"] == "Hello, world!"


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_prompt_from_standard_input(chat_ui: Server, arguments: list[str]) -> None:
    """Without a prompt, or with "-", the prompt is read from a pipe; invalid UTF-8 is replaced."""
    with start("chat", "--url", chat_ui.url, *arguments, stdin=subprocess.PIPE) as process:
        out, err = process.communicate(b"from a \xff pipe\n", PATIENCE)
    assert (process.returncode, out, err) == (0, b"Hello, world!\n", b"")
    assert '"inputs":"from a \ufffd pipe\\n"'.encode() in chat_ui.last.body


def test_a_missing_prompt(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal, no prompt is a usage error of one line."""
    monkeypatch.setattr(sys, "stdin", type("Tty", (io.StringIO,), {"isatty": lambda self: True})())
    code, out, err = command("chat", "--url", "http://127.0.0.1:9")
    assert (code, out) == (2, "")
    assert err.startswith("hfclient: the prompt is missing")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["chat", "--nonsense"], 2, "--nonsense"),
        (["nonsense"], 2, "nonsense"),
        (["chat", "--local", "--url", "http://x", "Hi"], 2, "exclude"),
        (["chat", "--local", "--impersonate", "chrome", "Hi"], 2, "exclude"),
        (["chat", "--timeout", "0", "--url", "http://127.0.0.1:9", "Hi"], 2, "positive"),
        (["chat", "--url", "not a URL", "Hi"], 2, "http://"),
        (["chat", "--url", "http://127.0.0.1:9", " "], 2, "empty"),
        (["chat", "--url", "http://127.0.0.1:9", "--file", "/no/such/file", "Hi"], 2, "/no/such/file"),
        (["chat", "Hi"], 1, "HFCLIENT_COOKIE"),
        (["serve", "--port", "70000"], 2, "70000"),
    ],
)
def test_usage_errors(command: Any, arguments: list[str], code: int, message: str) -> None:
    """A usage error is one line, and no request is sent."""
    ended, out, err = command(*arguments)
    assert (ended, out) == (code, "")
    assert err.startswith("hfclient: ")
    assert message in err
    assert err.count("\n") == 1


def test_connection_refused(command: Any) -> None:
    """A refused connection is one line and exit code 1."""
    code, out, err = command("chat", "--url", "http://127.0.0.1:9", "Hi")
    assert (code, out, err.count("\n")) == (1, "", 1)


def test_unknown_model_names_the_nearest(chat_ui: Server, command: Any) -> None:
    """For a typo in --model the error names similar models."""
    chat_ui.on("/conversation", json_answer({"message": "Invalid request"}, 400))
    code, _, err = command("chat", "--url", chat_ui.url, "--model", "org/on", "Hi")
    assert code == 1
    assert "org/one" in err


def test_error_in_the_stream(chat_ui: Server, command: Any) -> None:
    """After an error in mid-answer the output has the text so far, and the error is one line with the server's text."""
    failure = line(type="status", status="error", message="402 pay\nup", statusCode=402)
    says(chat_ui, chunked(token("Half"), failure))
    code, out, err = command("chat", "--url", chat_ui.url, "Hi")
    assert (code, out) == (1, "Half\n")
    assert err == "hfclient: the generation failed: 402 pay up\n"


def test_a_broken_connection_is_an_error(chat_ui: Server, command: Any) -> None:
    """An answer that breaks off and cannot be resumed exits with 1 after the text so far."""
    says(chat_ui, [head(200, "Transfer-Encoding: chunked"), chunk(token("Half")), RST])
    chat_ui.on(f"/conversation/{CONVERSATION}/stream", plain(b"{}", 404))
    chat_ui.on(f"/api/v2/conversations/{CONVERSATION}", plain(b"{}", 404))
    code, out, err = command("chat", "--url", chat_ui.url, "--timeout", "10", "Hi")
    assert (code, out) == (1, "Half\n")
    assert err.startswith("hfclient: ")
    assert err.count("\n") == 1


@posix
def test_ctrl_c_stops_the_generation(chat_ui: Server) -> None:
    """Ctrl-C during an answer stops the generation on the server, ends the line and exits with 130."""
    says(chat_ui, unending(token("Half")))
    with start("chat", "--url", chat_ui.url, "Hi") as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"Half"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out, err) == (130, b"\n", b"")
    assert chat_ui.last.path == STOP
    assert chat_ui.last.json()["seenContentLength"] == 4


@posix
def test_sigterm_stops_the_generation_too(chat_ui: Server) -> None:
    """SIGTERM does the same as Ctrl-C, with its own exit code."""
    says(chat_ui, unending(token("Half")))
    with start("chat", "--url", chat_ui.url, "Hi") as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"Half"
        process.terminate()
        process.communicate(timeout=LONG)
    assert process.returncode == 128 + signal.SIGTERM
    assert chat_ui.last.path == STOP


@posix
def test_second_ctrl_c_exits_at_once(chat_ui: Server) -> None:
    """While the server is slow to stop, a second Ctrl-C ends the process."""
    says(chat_ui, unending(token("Half")))
    chat_ui.on(STOP, [PATIENCE * 2])
    with start("chat", "--url", chat_ui.url, "Hi") as stopping:
        assert stopping.stdout is not None
        assert stopping.stdout.read(4) == b"Half"
        stopping.send_signal(signal.SIGINT)
        chat_ui.wait_for(4)
        stopping.send_signal(signal.SIGINT)
        assert stopping.wait(PATIENCE) == 130


@posix
def test_the_reader_of_the_pipe_exits(chat_ui: Server) -> None:
    """When the pipe's reader exits (``| head``), the generation is stopped and no error is printed."""
    says(chat_ui, [*chunked(token("one\n"), *[step for i in range(200) for step in (token(f"more {i}\n"), 0.01)])[:-1]])
    with start("chat", "--url", chat_ui.url, "Hi") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        process.stdout.close()
        assert process.wait(PATIENCE) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert chat_ui.last.path == STOP


def test_locale_without_unicode(chat_ui: Server) -> None:
    """In a locale without Unicode the answer is still printed, and a lone surrogate is replaced."""
    says(chat_ui, answer(token("caf\u00e9 \ud83d"), token("."), text="caf\u00e9 \ud83d."))
    env = environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    with start("chat", "--url", chat_ui.url, "Hi", env=env) as process:
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, err) == (0, b"")
    assert out.startswith(b"caf")
    assert out.endswith(b".\n")


@posix
def test_terminal_shows_more(chat_ui: Server, terminal: Any) -> None:
    """With --raw reasoning is dimmed and separate from the answer; tools and the title are printed as notes."""
    says(
        chat_ui,
        answer(
            line(type="title", title="Greetings"),
            token("<think>hm"),
            token("</think>Hello"),
            line(type="tool", subtype="call", uuid="u", call={"name": "echo", "parameters": {}}),
            token("world!"),
        ),
    )
    code, shown = terminal("chat", "--raw", "--url", chat_ui.url, "Hi").finish()
    assert code == 0
    assert shown == (
        "\x1b[2mhm\x1b[0m\n\nHello\n\x1b[2m[tool: echo]\x1b[0m\nworld!\n\x1b[2m[title: Greetings]\x1b[0m\n"
    )


@posix
def test_escape_sequences_do_not_reach_a_terminal(chat_ui: Server, terminal: Any) -> None:
    """Control characters of an answer or an error are removed before they reach a terminal."""
    failure = line(type="status", status="error", message="\x1b[2Jgone")
    says(chat_ui, chunked(token("a\x1b]0;x\x07b"), token("\rc\n"), failure))
    code, shown = terminal("chat", "--raw", "--url", chat_ui.url, "Hi").finish()
    assert (code, shown) == (1, "a]0;xbc\nhfclient: the generation failed: \\x1b[2Jgone\n")


@posix
@pytest.mark.parametrize("steps", [unending(line(type="status", status="started")), [PATIENCE * 2]], ids=["begun", "silent"])
def test_ctrl_c_at_a_terminal_ends_the_line(chat_ui: Server, terminal: Any, steps: Any) -> None:
    """After Ctrl-C the shell's prompt begins on a new line, even if nothing was printed yet, or the server has not answered."""
    says(chat_ui, steps)
    shell = terminal("chat", "--url", chat_ui.url, "Hi")
    chat_ui.wait_for(3)
    shell.interrupt()
    code, shown = shell.finish()
    assert code == 130
    assert shown.endswith("\n")


def test_an_answer_that_was_stopped_on_the_server(chat_ui: Server, command: Any) -> None:
    """A script learns from the exit code that the text in its pipe is not the whole answer."""
    ending = line(type="finalAnswer", text="Half an", interrupted=True) + line(type="status", status="finished")
    says(chat_ui, chunked(token("Half an"), ending, headers=["Content-Type: application/jsonl"]))
    code, out, err = command("chat", "--url", chat_ui.url, "Hi")
    assert (code, out) == (1, "Half an\n")
    assert err == "hfclient: the answer is not complete: it was stopped on the server\n"
