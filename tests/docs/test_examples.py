"""The examples run, and every command line of the documentation parses; the examples on the pages are run by Sphinx (tox -e docs)."""

from __future__ import annotations

import contextlib
import re
import runpy
import shlex
from pathlib import Path

import click
import pytest

from hfclient.cli.app import app
from tests.docs.scripted import LocalScripted, ScriptedModel
from tests.docs.scripted_batches import DATA

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.rst"))]


def run(name: str) -> None:
    """Run an example as a program."""
    path = ROOT / "examples" / name
    with LocalScripted():
        exec(compile(path.read_text("utf-8"), str(path), "exec"), {"__name__": __name__})


def test_first_script(capsys: pytest.CaptureFixture[str]) -> None:
    """The first script prints an answer, a streamed one with its title, and two of a conversation."""
    run("first_script.py")
    said = capsys.readouterr().out
    assert said.startswith("Because air scatters blue light more than red.\n")
    assert "Water that falls from clouds." in said
    assert said.endswith("Paris.\nRome.\n")


def test_inference(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of inference prints a streamed answer and an object."""
    run("inference.py")
    assert capsys.readouterr().out == "Because air scatters blue light more than red.\nParis (France)\n"


def test_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The comparison of models has a table and an interval; one more model costs only its own answers, and the judge only its grades."""
    evaluate = runpy.run_path(str(ROOT / "examples" / "evaluate.py"))["main"]
    with ScriptedModel() as model:
        arguments = [str(DATA / "questions.jsonl"), "--inference-url", model.url, "--checkpoint", str(tmp_path / "answers.jsonl"), "--models"]
        evaluate([*arguments, "small", "large"])
        first = capsys.readouterr().out
        evaluate([*arguments, "small", "large", "other"])
        second = capsys.readouterr().out
        evaluate([*arguments, "small", "large", "--judge", "large"])
        third = capsys.readouterr().out
    assert re.search(r"^small +58% +0 +190 ", first, re.MULTILINE)
    assert "large against small: +25% (95 %: -4% to +50%), may be chance" in first
    assert first.endswith("asked 48 of 48\n")
    assert second.endswith("asked 24 of 72\n")
    assert re.search(r"^large +96% ", third, re.MULTILINE)
    assert "large against small: +25% (95 %: +8% to +42%), a difference" in third
    assert third.endswith("asked 0 of 48\n")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_command_lines_parse(path: Path) -> None:
    """Every ``hfclient ...`` line that the documentation shows has commands and options that exist."""
    for line in re.findall(
        r"^ *\$ (?:[^#\n]*? \| )?(hfclient (?!-).*)$", path.read_text("utf-8"), re.MULTILINE
    ):
        shell = re.split(r" [|<>] ", line)[0]  # options of other programs, and files
        words = shlex.split(shell, comments=True)[1:]
        command: click.Command | None = app
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, line
        with contextlib.suppress(click.exceptions.Exit):  # --help
            command.make_context("hfclient", words)


def test_examples_compile() -> None:
    """The examples are valid Python."""
    for path in sorted((ROOT / "examples").glob("*.py")):
        compile(path.read_text("utf-8"), str(path), "exec")
