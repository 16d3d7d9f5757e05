"""The reference of all commands, from the help that they print: docs/conf.py puts it on the page when it is built."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from hfclient.cli.app import COMMANDS, GROUPS, app

__all__ = ["commands", "reference"]


def commands(group: click.Group = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield all commands with their names, in the order of the help; a group comes before its commands."""
    context = click.Context(group)
    names = [name for names in GROUPS.values() for name in names.split() if name in COMMANDS] if not path else []
    for name in [*names, *(name for name in group.list_commands(context) if name not in names)]:
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def reference() -> str:
    """Return a section for each command, as reStructuredText."""
    return "\n".join(line for name, command in commands() for line in _section(name, command))


def _section(name: str, command: click.Command) -> Iterator[str]:
    title = f"hfclient {name}"
    context = click.Context(command, info_name=title)
    yield from (f".. _{title.replace(' ', '-')}:", "", title, ("~" if " " in name else "-") * len(title), "")
    yield from (".. code-block:: text", "", f"   {title} {' '.join(command.collect_usage_pieces(context))}", "")
    yield from (*_paragraphs(command.help or ""), "")
    yield from (f".. program:: {title}", "")
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None and not parameter.hidden:
            names, described = record
            yield from (f".. option:: {names}", "", f"   {_text(described)}", "")
    if command.epilog:
        yield from ("::", "", *(f"   {line}" for line in command.epilog.replace("\b", "").strip("\n").split("\n")), "")


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.startswith("\b"):
            yield from ("::", "", *(f"   {line}" for line in paragraph.split("\n")[1:]), "")
        else:
            yield from (_text(" ".join(paragraph.split())), "")


def _text(text: str) -> str:
    """Escape the marks of reStructuredText, and make options literal."""
    escaped = re.sub(r"([\\*`|_])", r"\\\1", text)
    return re.sub(r"(?<![\w-])(--?[a-z][a-z-]*)", r"``\1``", escaped)
