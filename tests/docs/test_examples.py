"""The examples run, and every command line of the documentation parses; the examples on the pages are run by Sphinx (tox -e docs)."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from hfclient.cli.app import app
from tests.docs.scripted import LocalScripted

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


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_command_lines_parse(path: Path) -> None:
    """Every ``hfclient ...`` line that the documentation shows has commands and options that exist."""
    for line in re.findall(
        r"^ *\$ (?:[^#\n]* \| )?(hfclient (?:chat|models|serve).*)$", path.read_text("utf-8"), re.MULTILINE
    ):
        words = shlex.split(line.partition(" | ")[0], comments=True)
        app.commands[words[1]].make_context(words[1], words[2:])


def test_examples_compile() -> None:
    """The examples are valid Python."""
    for path in sorted((ROOT / "examples").glob("*.py")):
        compile(path.read_text("utf-8"), str(path), "exec")
