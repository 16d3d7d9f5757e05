"""``hfclient doctor``: its report on a terminal and in a pipe, its JSON, its exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.chat.gateway import Gateway, always
from tests.cli.conftest import Terminal, environment, start
from tests.server import LONG, PATIENCE, Server, plain

QUIET = ("--skip", "installation", "--skip", "environment", "--skip", "hub", "--skip", "inference")


def test_what_does_not_work(command: Any) -> None:
    """A failed check has its remedy below it, and the summary the first remedy; the exit code is 1."""
    code, out, err = command("doctor", "--url", "http://127.0.0.1:1", *QUIET)
    lines = out.split("\n")
    assert (code, err) == (1, "")
    assert "FAIL  connection: 127.0.0.1, port 1 refuses connections: nothing listens there" in lines
    assert lines[lines.index("Network") + 3].startswith("      -> Start the server")
    assert "skip  chat server, clock, version, login, origin, " in out
    assert lines[-2].startswith("1 problem (connection). First: Start the server")


def test_json(command: Any, chat_ui: Server) -> None:
    """One object per line, with stable names, and the summary as the last one; warnings count with --strict only."""
    chat_ui.on("/healthcheck", plain("OK"))
    chat_ui.on("/api/v2/feature-flags", plain('{"json":{"loginEnabled":false,"transcriptionEnabled":false}}'))
    for options, expected in (((), 0), (("--strict",), 1)):
        code, out, _ = command("doctor", "--url", chat_ui.url, *QUIET, "--skip", "settings", "--skip", "conversations", "--skip", "login",
                               "--skip", "mcp servers", "--skip", "messages", "--skip", "configuration", "--json", *options)  # fmt: skip
        *checks, last = [json.loads(line) for line in out.strip().split("\n")]
        assert code == expected, checks
        assert {tuple(check) for check in checks} == {("group", "name", "status", "detail", "remedy", "seconds")}
        assert {check["name"]: check["status"] for check in checks}["models"] == "warning"
        assert (last["ok"], last["counts"]["warning"], last["counts"]["failed"]) == (not expected, 1, 0)


def test_options(command: Any) -> None:
    """Unknown checks, wrong values and options that exclude each other are usage errors."""
    for arguments in (("--skip", "modles"), ("--timeout", "0"), ("--local", "--url", "http://x")):
        code, _, err = command("doctor", *arguments)
        assert (code, err.startswith("hfclient: ")) == (2, True), err


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
@pytest.mark.parametrize("columns", [30, 40, 120])
def test_on_a_terminal(columns: int) -> None:
    """Lines are wrapped to the width, marks have colours, and control characters of a server are removed."""
    with Gateway() as gateway:
        gateway.reply = always(plain("<title>Evil \x1b]0;title\x07 \u202e page</title>", 404, "Content-Type: text/html"))
        terminal = Terminal("doctor", "--url", gateway.url, *QUIET, COLUMNS=str(columns))
        code, shown = terminal.finish()
    assert code == 1
    assert "\x1b[31mFAIL" in shown
    assert "\x1b]0;" not in shown
    assert "\u202e" not in shown
    for text in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"):
        shown = shown.replace(text, "")
    long = [line for line in shown.split("\n") if len(line) > columns and len(line.split()) > 2]
    assert long == []


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_without_colours() -> None:
    """NO_COLOR and a dumb terminal get plain text."""
    for more in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        _, shown = Terminal("doctor", "--url", "http://127.0.0.1:1", *QUIET, **more).finish()
        assert "\x1b" not in shown


def test_a_closed_pipe() -> None:
    """A reader that leaves ends the command without a traceback."""
    shell = f"{sys.executable} -m hfclient doctor --url http://127.0.0.1:1 --skip hub | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], env=environment(), capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("hfclient ")
    assert done.stderr == ""
    assert done.returncode in (1, 141)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c(server: Server) -> None:
    """Ctrl-C ends a check that waits, at once; what was found stays on the screen."""
    server.on("*", [PATIENCE, plain("OK")])
    process = start("doctor", "--url", server.url, *QUIET, "--timeout", str(PATIENCE))
    server.wait_for(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LONG)
    assert (process.returncode, err) == (130, b"")
    assert b"connection: 127.0.0.1" in out


def test_it_is_imported_when_it_runs() -> None:
    """The help of the command imports neither the doctor nor inference."""
    code = (
        "import sys; from hfclient.cli.app import run; run(['doctor', '--help']);"
        "print([name for name in ('hfclient.doctor', 'hfclient.inference', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
