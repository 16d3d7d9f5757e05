"""What holds for each command: its help, its errors, and its output in a pipe."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from hfclient.cli.app import COMMANDS, GROUPS, app
from tests.cli.conftest import CONVERSATION, environment, start
from tests.server import LONG

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX terminals")
NOWHERE = "http://127.0.0.1:9"
SENDS_NOTHING = {"completion", "doctor", "logout", "serve", "usage"}
"""Commands that send nothing here, or print a report with and without the server."""
PRINTS_NO_DATA = {
    "chat",  # tested with its own options
    "completion",
    "conversations delete",
    "conversations export",
    "conversations rename",
    "login",
    "logout",
    "serve",
    "speak",
}


def _leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


LEAVES = dict(_leaves(app))
EACH = pytest.mark.parametrize("name", LEAVES)


def _has(command: click.Command, option: str) -> bool:
    return any(option in parameter.opts for parameter in command.params)


def _arguments(name: str, tmp_path: Path) -> list[str]:
    """Arguments with which the command begins to work, and a server that does not answer."""
    command = LEAVES[name]
    file = tmp_path / "file.txt"
    file.write_text("text")
    given = name.split()
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            is_file = isinstance(parameter.type, click.Path) or "file" in (parameter.name or "")
            given.append(str(file) if is_file else CONVERSATION)
    if _has(command, "--yes"):
        given.append("--yes")
    if _has(command, "--url"):
        return [*given, "--url", NOWHERE]
    if _has(command, "--inference-url"):
        given += ["--inference-url", f"{NOWHERE}/v1"]
    return [*given, "--model", "m"] if _has(command, "--model") else given


def test_groups() -> None:
    """Each command is in one section of the help."""
    grouped = [name for names in GROUPS.values() for name in names.split()]
    assert len(grouped) == len(set(grouped))
    assert set(COMMANDS) <= set(grouped)


@EACH
def test_help(command: Any, name: str) -> None:
    """--help and -h print the help of each command, without escape sequences, and exit with 0."""
    code, out, err = command(*name.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: hfclient {name}")
    assert "\x1b" not in out
    assert command(*name.split(), "-h")[1] == out


@posix
@pytest.mark.parametrize("columns", [40, 120])
def test_help_on_a_terminal(columns: int) -> None:
    """On a narrow terminal no line of the help is longer than the screen."""
    from tests.cli.screens import on_screen

    for name in ("", *COMMANDS):
        shown = on_screen(*name.split(), "--help", columns=columns, rows=50)
        assert shown.code == 0
        plain = re.sub(r"\x1b\[[\d;]*m", "", shown.raw.decode())
        # Words that cannot be broken, as the examples.
        long = [line for line in plain.splitlines() if len(line) > columns and "  hfclient " not in line]
        assert not [line for line in long if " " in line.strip() and columns > 60], long


@EACH
def test_a_server_that_does_not_answer(name: str, tmp_path: Path) -> None:
    """A refused connection is one line on standard error, nothing on standard output, and exit code 1."""
    if name in SENDS_NOTHING:
        pytest.skip("sends nothing")
    env = environment(HF_TOKEN="hf_" + "a" * 34, HF_ENDPOINT=NOWHERE, NO_COLOR="1")
    with start(*_arguments(name, tmp_path), env=env, cwd=tmp_path) as process:
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out) == (1, b""), err
    lines = err.decode().splitlines()
    assert lines[-1].startswith("hfclient: "), err
    assert b"\x1b" not in err
    assert len(lines) == 1, err


@EACH
def test_an_unknown_option(command: Any, name: str) -> None:
    """An unknown option is a usage error of one line that names the help of that command."""
    code, out, err = command(*name.split(), "--nonsense")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"hfclient {name} --help" in err


@EACH
def test_json(name: str) -> None:
    """Each command that prints data has --json."""
    assert _has(LEAVES[name], "--json") or name in PRINTS_NO_DATA


@EACH
def test_the_same_options_everywhere(name: str) -> None:
    """Options that several commands have take the same kind of value."""
    metavars = {"--url": "URL", "--inference-url": "URL", "--model": "NAME", "--timeout": "SECONDS", "--local": None}
    for parameter in LEAVES[name].params:
        for option in set(metavars) & set(parameter.opts):
            assert parameter.metavar == metavars[option], option
