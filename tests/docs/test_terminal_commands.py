"""The console examples of the page on commands: each is a valid call, and those with an output print it."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from hfclient.cli.app import app, run
from tests.chat.replay import ChatUI
from tests.cli.test_conversations import stored
from tests.docs.scripted import WAV, ScriptedModel
from tests.server import json_answer

PAGE = (Path(__file__).parents[2] / "docs" / "terminal-commands.rst").read_text("utf-8")
BLOCK = re.compile(r"^\.\. code-block:: console\n\n((?:   .*\n|\n)+)", re.MULTILINE)
FOR_MODELS = ("batch", "image", "video", "transcribe", "speak", "embed", "classify")


def examples() -> list[tuple[str, str]]:
    """The commands of the page, each with its output."""
    found: list[tuple[str, str]] = []
    for block in BLOCK.findall(PAGE):
        for line in textwrap.dedent(block).split("\n"):
            if line.startswith("$ "):
                found.append((line[2:], ""))
            elif line:
                found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


def arguments_of(line: str) -> list[str]:
    """The arguments of ``hfclient`` in a line of a shell, without pipes, redirections and the comment."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    own = words[words.index("hfclient") + 1 :]
    end = next((at for at, word in enumerate(own) if word in ("|", ">", "<", ";", "&&")), len(own))
    return own[:end]


@pytest.mark.parametrize("line", [line for line, _ in examples()])
def test_each_call_is_valid(line: str) -> None:
    """The command and its options exist."""
    arguments = arguments_of(line)
    command: click.Command = app
    context: click.Context | None = None
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        found = command.get_command(context or click.Context(command), arguments[0])
        assert found is not None, line
        command, arguments = found, arguments[1:]
    command.make_context("hfclient", arguments, resilient_parsing=False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A chat-ui with conversations, a scripted model and some files; yields the model's URL."""
    monkeypatch.chdir(tmp_path)
    Path("talk.wav").write_bytes(WAV)
    Path("texts.txt").write_text("one\ntwo\n")
    with ChatUI() as ui, ScriptedModel() as model:
        first = stored(ui, "Rain in Spain", "Where does it rain?", "Mainly in the plain.")
        stored(ui, "Recipes", "A soup?", "Take *onions*, then boil.")
        ui.on(f"/conversation/{first}/share", json_answer({"shareId": "abc1234", "url": f"{ui.url}/r/abc1234"}))
        monkeypatch.setenv("HFCLIENT_BASE_URL", ui.url)
        yield model.url


def test_outputs(place: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples with an output print exactly that, in the order of the page."""
    shown = [example for example in examples() if example[1]]
    assert len(shown) > 8
    for line, output in shown:
        arguments: list[Any] = arguments_of(line)
        if arguments[0] in FOR_MODELS:
            arguments += ["--inference-url", place, "-m", "model"]
        capfd.readouterr()
        assert run(arguments) == 0, (line, capfd.readouterr().err)
        assert capfd.readouterr().out == output, line
