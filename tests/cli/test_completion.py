"""Shell completion: the completions that the command prints, and a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hfclient.cli.completion import VARIABLE
from tests.cli.conftest import environment
from tests.server import PATIENCE, Server, json_answer, plain


@pytest.fixture
def models(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A chat-ui whose models have unusual names, and that is waited for."""
    monkeypatch.setattr("hfclient.cli.completion._WAIT", PATIENCE)
    names = ["org/alpha-one", "org/beta", "llama3:8b", "$(touch x)", "a b", "`id`", "*", "x;y", "\x1b[2Jz"]
    server.on("*", json_answer({"json": [{"id": name, "name": name, "displayName": "A\x1b[2J\nb"} for name in names]}))
    return server


def _answers(command: Any, monkeypatch: pytest.MonkeyPatch, shell: str, line: str) -> list[str]:
    """Return the completions for *line*, with the cursor at its end."""
    words = line.split(" ")
    monkeypatch.setenv(VARIABLE, f"{shell}_complete")
    if shell == "bash":
        monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_WORDS", line.replace(" ", "\n") if shell == "bash" else line)
    monkeypatch.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words) - 1))
    code, out, err = command()
    assert (code, err) == (0, "")
    lines = out.split("\n")
    if shell == "zsh":  # zsh needs colons escaped
        return [text.replace("\\:", ":") for text in lines[1::3]]
    return [text.partition(",")[2].partition("\t")[0] for text in lines if text]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(models: Server, command: Any, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    """Commands, options, choices, browsers, and the models of the selected server complete."""
    asked = lambda line: _answers(command, monkeypatch, shell, line)  # noqa: E731
    assert asked("hfclient mod") == ["models"]
    assert {"chat", "models", "serve", "completion", "login"} <= set(asked("hfclient "))
    assert asked("hfclient chat --sy") == ["--system"]
    assert asked("hfclient completion z") == ["zsh"]
    assert asked("hfclient chat --impersonate ch") == ["chrome"]
    assert asked("hfclient login --from-browser fire") == ["firefox"]
    assert asked(f"hfclient chat --url {models.url} --model org/a") == ["org/alpha-one"]
    assert asked(f"hfclient chat --url {models.url} --model ALPHA") == ["org/alpha-one"]
    joined = asked(f"hfclient chat --url {models.url} --model=org/a")
    assert joined == (["org/alpha-one"] if shell == "bash" else ["--model=org/alpha-one"])
    monkeypatch.setenv("HFCLIENT_BASE_URL", models.url)
    assert set(asked("hfclient chat --model ")) == {"org/alpha-one", "org/beta", "llama3:8b"}


def test_templates_and_files(command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Names of saved templates complete; where none fits, and for a schema, the shell completes names of files."""
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path))
    assert _answers(command, monkeypatch, "bash", "hfclient chat -t tr") == ["tr"]
    (tmp_path / "templates").mkdir()
    for name in ("translate.txt", "review.md", "a b.txt"):
        (tmp_path / "templates" / name).write_text("x")
    assert _answers(command, monkeypatch, "bash", "hfclient chat -t tr") == ["translate"]
    assert _answers(command, monkeypatch, "bash", "hfclient chat -t ") == ["review", "translate"]
    monkeypatch.setenv("_HFCLIENT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_LINE", "hfclient chat --schema ci")
    assert command()[1].startswith("file,")


def test_a_server_that_does_not_answer(server: Server, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models do not complete if the server does not answer, fails, or is the local model; nothing is printed."""
    server.on("*", plain("no", 500))
    for url in (server.url, "http://127.0.0.1:9", "nonsense"):
        assert _answers(command, monkeypatch, "bash", f"hfclient chat --url {url} --model o") == []
    assert _answers(command, monkeypatch, "bash", "hfclient chat --local --model o") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script(command: Any, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    """The command prints the same script as click does."""
    code, script, err = command("completion", shell)
    assert (code, err) == (0, "")
    assert VARIABLE in script
    monkeypatch.setenv(VARIABLE, f"{shell}_source")
    code, same, _ = command()
    assert code == 0
    assert same.strip() == script.strip()


def test_scripts_are_valid(command: Any) -> None:
    """Each installed shell parses its script without an error."""
    for shell in ("bash", "zsh", "fish"):
        if shutil.which(shell):
            _, script, _ = command("completion", shell)
            subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=60)


def test_an_unknown_shell(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another shell is a usage error that lists the three; an invalid variable is an exit code."""
    code, _, err = command("completion", "tcsh")
    assert code == 2
    assert "'bash', 'zsh', 'fish'" in err
    monkeypatch.setenv(VARIABLE, "tcsh_source")
    assert command()[0] == 1


@pytest.mark.skipif(not shutil.which("bash") or sys.platform == "win32", reason="there is no bash here")
@pytest.mark.parametrize(
    ("line", "words", "replies"),
    [
        ("hfclient mod", ["hfclient", "mod"], ["models"]),
        ("hfclient chat --model org/b", ["hfclient", "chat", "--model", "org/b"], ["org/beta"]),
        ("hfclient chat --model=org/b", ["hfclient", "chat", "--model", "=", "org/b"], ["org/beta"]),
        ("hfclient chat --model llama3:8", ["hfclient", "chat", "--model", "llama3", ":", "8"], ["8b"]),
        ("hfclient chat --model llama3:", ["hfclient", "chat", "--model", "llama3", ":"], ["8b"]),
        ("hfclient chat --model $", ["hfclient", "chat", "--model", "$"], []),
    ],
)
def test_bash(models: Server, tmp_path: Path, line: str, words: list[str], replies: list[str]) -> None:
    """In bash, which splits words at colons and equals signs, the right part of the word is completed."""
    program = tmp_path / "hfclient"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m hfclient "$@"\n')
    program.chmod(0o755)
    script = "\n".join(
        [
            'eval "$(hfclient completion bash)" 2>/dev/null',  # complete has no effect outside an interactive shell
            f"COMP_WORDS=({' '.join(repr(word) for word in words)})",
            f"COMP_LINE={line!r} COMP_POINT={len(line)} COMP_CWORD={len(words) - 1}",
            "_hfclient_completion hfclient",
            'printf "%s\\n" "${COMPREPLY[@]}"',
        ]
    )
    env = environment(HFCLIENT_BASE_URL=models.url, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True, env=env, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == replies
