"""Standard input as part of the prompt, and output to a terminal, a pipe, and a closed stream."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CONVERSATION, answer, environment, line, says, start, token
from tests.server import LONG, PATIENCE, Server, json_answer, plain

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes and terminals")
EVIL = "A\x1b]0;pwned\x07B\x1b[2J\x1b]52;c;cm0=\x07\x9b31m\u202eC\u2066\bD\x7f\u200b\r"


def _asked(chat_ui: Server, *arguments: str, piped: bytes = b"", **options: Any) -> tuple[int, str, str]:
    """Run the command with *piped* on its standard input; return exit code, the prompt that was sent, and standard error."""
    before = len(chat_ui.requests)
    given = {"stdin": subprocess.PIPE, **options}
    with start("chat", "--url", chat_ui.url, *arguments, **given) as process:
        _, err = process.communicate(piped if given["stdin"] == subprocess.PIPE else None, PATIENCE * 2)
    sent = [request for request in chat_ui.requests[before:] if request.path == f"/conversation/{CONVERSATION}"]
    prompt = sent[0].body.partition(b'name="data"')[2].partition(b"\r\n\r\n")[2] if sent else b""
    return process.returncode, json.loads(prompt.partition(b"\r\n--")[0])["inputs"] if prompt else "", err.decode()


@pytest.mark.parametrize(
    ("words", "piped", "prompt"),
    [
        (["Summarise", "this:"], b"THE TEXT\n", "Summarise this:\n\nTHE TEXT\n"),
        (["--no-stream", "Summarise:"], b"THE TEXT", "Summarise:\n\nTHE TEXT"),
        (["--json", "Summarise:"], "\ufeffé".encode(), "Summarise:\n\né"),
        (["only words"], b"", "only words"),
        (["only words"], b" \n\n", "only words"),
        (["-"], b"THE TEXT", "THE TEXT"),
        ([], b"THE TEXT", "THE TEXT"),
        ([" "], b"THE TEXT", "THE TEXT"),
        (["what is", "-", "?"], b"x", "what is - ?\n\nx"),
        (["a"], "text of PowerShell: é\r\n".encode("utf-16"), "a\n\ntext of PowerShell: é\r\n"),
        (["a"], b"\xff\xfe-less \xe9", None),
        (["a"], b"caf\xe9", "a\n\ncaf\ufffd"),
    ],
)
def test_words_and_a_pipe(chat_ui: Server, words: list[str], piped: bytes, prompt: str | None) -> None:
    """Words and piped input are one prompt with a blank line between them; one alone is the prompt."""
    code, sent, err = _asked(chat_ui, *words, piped=piped)
    if prompt is not None:
        assert (code, sent, err) == (0, prompt, "")
    else:
        assert code == 0


@pytest.mark.parametrize(
    ("words", "piped", "message"),
    [
        (["a"], b"\x7fELF\0\0\1", "--file"),
        (["-"], b"\0" * 100, "--file"),
        ([], b"x" * (10 * 1024 * 1024 + 1), "10,485,760"),
        ([], b"", "empty"),
        (["-"], b" \n", "empty"),
        ([""], b"", "empty"),
    ],
)
def test_invalid_input(chat_ui: Server, words: list[str], piped: bytes, message: str) -> None:
    """Input that is not text, too large or empty is an error of one line, and no request is sent."""
    code, sent, err = _asked(chat_ui, *words, piped=piped)
    assert (code, sent) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert chat_ui.requests == []


@posix
def test_closed_and_empty_inputs(chat_ui: Server, tmp_path: Path) -> None:
    """A closed standard input and /dev/null change nothing; a file and a socket are read like a pipe."""
    with Path(os.devnull).open("rb") as null:
        assert _asked(chat_ui, "words", stdin=null)[:2] == (0, "words")
    code = "import os, subprocess, sys; os.close(0); sys.exit(subprocess.call(sys.argv[1:], close_fds=True))"
    arguments = [sys.executable, "-m", "hfclient", "chat", "--url", chat_ui.url]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "words"], capture_output=True, check=True, env=environment()
    )
    assert done.stdout == b"Hello, world!\n"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=False, env=environment())
    assert done.returncode == 2
    assert b"empty" in done.stderr
    path = tmp_path / "a.txt"
    path.write_text("from a file")
    with path.open("rb") as file:
        assert _asked(chat_ui, "words", stdin=file)[1] == "words\n\nfrom a file"
    with path.open("ab") as file:  # must not be read
        assert _asked(chat_ui, "words", stdin=file)[:2] == (0, "words")
        assert "the prompt is empty" in _asked(chat_ui, stdin=file)[2]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"from a socket")
        ours.shutdown(socket.SHUT_WR)
        assert _asked(chat_ui, "words", stdin=theirs)[1] == "words\n\nfrom a socket"


@posix
def test_a_pipe_that_stays_open(chat_ui: Server) -> None:
    """If the command waits for a pipe without a writer, it prints a notice."""
    with start("chat", "--url", chat_ui.url, "words", stdin=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        assert b"waiting for standard input" in process.stderr.readline()
        process.stdin.write(b"late")
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b"Hello, world!\n"
    assert b"words\\n\\nlate" in chat_ui.last.body


@posix
@pytest.mark.parametrize(
    "options", [[], ["--raw"], ["--no-stream"], ["--no-reasoning"], ["--json"], ["--no-stream", "--json"]], ids=" ".join
)
def test_terminals(chat_ui: Server, terminal: Any, options: list[str]) -> None:
    """With no option can an answer, its reasoning, tools, sources, files or title send control characters to a terminal."""
    says(
        chat_ui,
        answer(
            line(type="reasoning", subtype="stream", token=EVIL),
            line(type="tool", subtype="call", uuid="u", call={"name": EVIL, "parameters": {}}),
            line(type="tool", subtype="error", uuid="u", message=EVIL),
            line(type="webSearch", messageType="update", message=EVIL, args=[EVIL]),
            line(type="webSearch", messageType="sources", message="", sources=[{"link": EVIL, "title": EVIL}]),
            line(type="file", name=EVIL, sha="ab" * 32, mime=EVIL),
            line(type="title", title=EVIL),
            *map(token, EVIL),
            text=EVIL,
        ),
    )
    code, shown = terminal("chat", "--url", chat_ui.url, *options, "Hi", NO_COLOR="1").finish()
    assert code == 0
    assert "A" in shown
    assert "D" in shown
    assert _unseen(shown) == set()


def _unseen(text: str) -> set[str]:
    # The renderer's own: wrapping off and on, erasing, moving up, the start of the line.
    text = re.sub(r"\x1b\[(?:\?7[lh]|[KJ]|\d+A)|\r", "", text)
    return {ch for ch in text if unicodedata.category(ch) in ("Cc", "Cf") and ch not in "\n\t"}


@posix
def test_other_commands(chat_ui: Server, terminal: Any) -> None:
    """The same holds for models, users and errors."""
    entry = {"id": f"m{EVIL}", "name": EVIL, "displayName": EVIL, "description": f"{EVIL}\n{EVIL}"}
    chat_ui.on("/api/v2/models", json_answer({"json": [entry]}))
    user = {"id": "u", "username": f"ann{EVIL}\nLogged in as root"}
    chat_ui.on("/api/v2/user", json_answer({"json": user}))
    for arguments in (["models"], ["models", "--json"], ["whoami"], ["whoami", "--json"]):
        _, shown = terminal(*arguments, "--url", chat_ui.url, NO_COLOR="1").finish()
        assert "A" in shown
        assert "\nLogged in" not in shown
        assert _unseen(shown) == set()
    chat_ui.on("/api/v2/user", json_answer({"message": f"no\n{EVIL}"}, 400))
    chat_ui.on("*", plain(f"<title>{EVIL}</title>", 502))
    chat_ui.on("/api/v2/models", json_answer({"message": f"no\n{EVIL}"}, 400))
    for command in ("models", "whoami", "login"):
        code, shown = terminal(command, "--url", chat_ui.url).finish()
        assert code == 1
        assert _unseen(shown) == set()
        assert shown.count("\n") == 1


def test_pipes_get_unchanged_text(chat_ui: Server, command: Any) -> None:
    """In a pipe the text of an answer is unchanged, escape sequences included."""
    evil = EVIL.replace("\r", "")
    says(chat_ui, answer(*map(token, evil), text=evil))
    for options in ([], ["--no-stream"]):
        assert command("chat", "--url", chat_ui.url, *options, "Hi")[:2] == (0, f"{evil}\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("options", [[], ["--no-stream"], ["--json"]], ids=" ".join)
def test_locales(chat_ui: Server, encoding: str, options: list[str]) -> None:
    """Characters that the locale cannot encode are replaced, and the command succeeds."""
    says(chat_ui, answer(token("a é 日 \U0001f600"), text="a é 日 \U0001f600"))
    with start("chat", "--url", chat_ui.url, *options, "Hi", env=environment(PYTHONIOENCODING=encoding)) as process:
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, err) == (0, b"")
    if options != ["--json"]:
        assert out.decode(encoding).rstrip() == "a é 日 \U0001f600".encode(encoding, "replace").decode(encoding)


@posix
def test_closed_outputs(chat_ui: Server) -> None:
    """With standard output or standard error closed, the exit code is the same."""
    for closed, code in ((1, 0), (2, 0)):
        script = f"import os, subprocess, sys; os.close({closed}); sys.exit(subprocess.call(sys.argv[1:]))"
        arguments = [sys.executable, "-m", "hfclient", "chat", "--url", chat_ui.url, "Hi"]
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            env=environment(),
        )
        assert done.returncode == code
        assert b"Traceback" not in done.stdout + done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["completion", "bash"], ["models"], ["chat", "Hi"]])
def test_a_full_disk(chat_ui: Server, words: list[str]) -> None:
    """An output that cannot be written is one line on standard error, and exit code 1."""
    with Path("/dev/full").open("wb") as full:
        options = ["--url", chat_ui.url] if words[0] in ("models", "chat") else []
        with start(*words, *options, stdout=full) as process:
            _, err = process.communicate(timeout=LONG)
    assert process.returncode == 1
    assert err == b"hfclient: the output cannot be written: No space left on device\n"


@posix
def test_no_colour(chat_ui: Server, terminal: Any) -> None:
    """Reasoning is dimmed on a terminal, except with NO_COLOR or a dumb terminal."""
    says(chat_ui, answer(token("<think>hm"), token("</think>Hello"), text="<think>hm</think>Hello"))
    for raw in ([], ["--raw"]):
        _, shown = terminal("chat", *raw, "--url", chat_ui.url, "Hi").finish()
        assert "\x1b[2mhm" in shown
    for arguments, more in ((["--raw"], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})):
        assert terminal("chat", *arguments, "--url", chat_ui.url, "Hi", **more).finish() == (0, "hm\n\nHello\n")
    _, shown = terminal("chat", "--url", chat_ui.url, "Hi", NO_COLOR="1").finish()
    assert not re.search(r"\x1b\[[\d;]*m", shown)
