"""Completion by shells: the script that a shell loads, and the names of models and browsers.

click does the work: the script sets the environment variable that `VARIABLE` names and calls the command, which then prints
completions instead of doing anything.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    shell_complete,
    split_arg_string,
)

from hfclient import Client, HFClientError, Retry, Timeouts
from hfclient.redaction.control_characters import one_line

__all__ = ["VARIABLE", "answer_shell", "browser_names", "completion", "model_names"]

VARIABLE = "_HFCLIENT_COMPLETE"
_HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]*")
"""Names that mean nothing to a shell: what is completed is put on the command line as it is."""
_PATIENCE = Timeouts(connect=1.0, total=2.0)
_FILES = {
    "bash": 'eval "$(hfclient completion bash)" in ~/.bashrc (bash 4.4 or later)',
    "zsh": 'eval "$(hfclient completion zsh)" in ~/.zshrc, below compinit',
    "fish": "hfclient completion fish > ~/.config/fish/completions/hfclient.fish",
}


class _Bash(BashComplete):
    """click's completion for bash, which besides takes words with a colon or an equals sign in them.

    bash takes those characters for the ends of words: a URL comes as three, and of ``llama3:8b`` only what follows the colon
    may be answered. So the line itself is read, and what bash has already is taken off the front of each completion.
    """

    source_template = BashComplete.source_template.replace(
        "$(env COMP_WORDS", '$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDS'
    )
    _known = 0

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("COMP_LINE")
        if line is None:
            return super().get_completion_args()
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        # bash's own word under the cursor; words are joined with line ends.
        number = os.environ.get("COMP_CWORD", "")
        own = os.environ.get("COMP_WORDS", "").split("\n")[int(number) if number.isdecimal() else 0 :][:1]
        ending = own[0] if own and own[0] not in (":", "=") else ""
        value = incomplete.partition("=")[2] if incomplete.startswith("--") and "=" in incomplete else incomplete
        self._known = len(value) - len(ending) if value.endswith(ending) else 0
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value[self._known :]}"


class _Joined(ShellComplete):
    """For shells that replace the whole word: a value that is joined to its option keeps the option before it."""

    _option = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        words, incomplete = super().get_completion_args()
        if incomplete.startswith("--") and "=" in incomplete:
            self._option = incomplete.partition("=")[0] + "="
        return words, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        if item.type == "plain" and self._option:
            item = CompletionItem(self._option + item.value, help=item.help)
        return super().format_completion(item)


class _Zsh(_Joined, ZshComplete):
    pass


class _Fish(_Joined, FishComplete):
    pass


_CLASSES: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def answer_shell(app: click.Command) -> int | None:
    """Print what a shell has asked for, and return the exit code; None if no shell asks."""
    instruction = os.environ.get(VARIABLE)
    if not instruction:
        return None
    for found in _CLASSES.values():
        add_completion_class(found)
    logging.getLogger("hfclient").addHandler(logging.NullHandler())  # a warning would be printed amid the completions
    return shell_complete(app, {}, "hfclient", VARIABLE, instruction)


@click.command(epilog="\b\nWhere it goes:\n" + "".join(f"  {shell}: {line}\n" for shell, line in _FILES.items()))
@click.argument("shell", type=click.Choice(list(_CLASSES)))
def completion(shell: str) -> None:
    """Print the script that completes commands, options and names of models in SHELL."""
    # Not source(): for bash that starts bash, to warn of versions older than 4.4.
    script = _CLASSES[shell](click.Command("hfclient"), {}, "hfclient", VARIABLE)
    click.echo(script.source_template % script.source_vars())


def model_names(context: click.Context, parameter: click.Parameter, start: str) -> list[CompletionItem]:
    """Return the models of the server that the line so far names; none if it cannot be asked within two seconds."""
    options: dict[str, Any] = {"timeouts": _PATIENCE, "retry": Retry(attempts=1)}
    if context.params.get("local"):
        return []
    try:
        if url := context.params.get("url"):
            options["base_url"] = url
        with Client(**options) as client:
            found = [(model.id, model.display_name) for model in client.models]
    except (HFClientError, OSError):
        return []
    return [
        CompletionItem(name, help=one_line(label) if label != name else None)
        for name, label in found
        if start.lower() in name.lower() and _HARMLESS.fullmatch(name)
    ]


def browser_names(*names: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return a completion of fixed *names*, which are not the only ones that work."""

    def complete(context: click.Context, parameter: click.Parameter, start: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names if name.startswith(start)]

    return complete
