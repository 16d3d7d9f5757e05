"""The page of all commands, which is made from their help when the documentation is built."""

from __future__ import annotations

import re

import click

from docs.command_reference import commands, reference


def test_each_command_and_option_is_there() -> None:
    """Each command has a section, and each of its options an entry, in the order of the help."""
    text = reference()
    titles = re.findall(r"^(hfclient .*)\n[-~]+$", text, re.MULTILINE)
    assert titles == [f"hfclient {name}" for name, _ in commands()]
    assert titles[0] == "hfclient chat"
    sections = dict(zip(titles, re.split(r"^\.\. _hfclient-.*:$", text, flags=re.MULTILINE)[1:], strict=True))
    for name, command in commands():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert re.search(rf"^\.\. option:: .*{re.escape(parameter.opts[-1])}\b", sections[f"hfclient {name}"], re.MULTILINE)


def test_marks_are_escaped() -> None:
    """Help has no marks of reStructuredText that the page would interpret."""
    prose = re.sub(r"``.*?``", "", "\n".join(line for line in reference().split("\n") if not line.startswith((".. ", "   "))))
    assert not re.search(r"(?<!\\)[*`|]", prose)
