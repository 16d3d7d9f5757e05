"""Shell completion: the script that a shell loads, and completions of models and browsers.

This is click's mechanism: the script sets the environment variable `VARIABLE` and calls the command, which then prints
completions and exits.
"""

from __future__ import annotations

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

from hfclient.redaction.control_characters import one_line

__all__ = [
    "VARIABLE",
    "complete_files",
    "complete_models",
    "complete_names",
    "completion",
    "handle_completion",
]

VARIABLE = "_HFCLIENT_COMPLETE"
_SHELL_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]*")
"""Names without special characters of a shell: completions are not quoted."""
_WAIT = 2.0  # seconds for the models of a server
_SETUP = {
    "bash": 'eval "$(hfclient completion bash)" in ~/.bashrc (bash 4.4 or later)',
    "zsh": 'eval "$(hfclient completion zsh)" in ~/.zshrc, below compinit',
    "fish": "hfclient completion fish > ~/.config/fish/completions/hfclient.fish",
}


class _Bash(BashComplete):
    """click's completion for bash, which also completes words with a colon or an equals sign.

    bash splits words at these characters: it passes a URL as three words, and the completion of ``llama3:8b`` must be the part
    after the colon. So this class reads the whole line, and removes the part before bash's word from each completion.
    """

    source_template = BashComplete.source_template.replace(
        "$(env COMP_WORDS", '$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDS'
    )
    _prefix = 0  # characters of each completion that bash has already

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ.get("COMP_LINE")
        if line is None:
            return super().get_completion_args()
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        # The word under the cursor as bash splits it; click's script joins words with line ends.
        number = os.environ.get("COMP_CWORD", "")
        own = os.environ.get("COMP_WORDS", "").split("\n")[int(number) if number.isdecimal() else 0 :][:1]
        ending = own[0] if own and own[0] not in (":", "=") else ""
        value = incomplete.partition("=")[2] if incomplete.startswith("--") and "=" in incomplete else incomplete
        self._prefix = len(value) - len(ending) if value.endswith(ending) else 0
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value[self._prefix :]}"


class _Joined(ShellComplete):
    """For shells that replace the whole word: the completion of ``--option=value`` keeps the option."""

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


def handle_completion(app: click.Command) -> int:
    """Print the completions that a shell has requested, and return the exit code."""
    import logging

    for shell_class in _CLASSES.values():
        add_completion_class(shell_class)
    logging.getLogger("hfclient").addHandler(logging.NullHandler())  # a warning would be printed among the completions
    return shell_complete(app, {}, "hfclient", VARIABLE, os.environ[VARIABLE])


@click.command(epilog="\b\nInstall it with:\n" + "".join(f"  {shell}: {line}\n" for shell, line in _SETUP.items()))
@click.argument("shell", type=click.Choice(list(_CLASSES)))
def completion(shell: str) -> None:
    """Print the completion script for SHELL. It completes commands, options, models and browsers."""
    # Not source(): it starts bash, to warn about versions older than 4.4.
    script = _CLASSES[shell](click.Command("hfclient"), {}, "hfclient", VARIABLE)
    click.echo(script.source_template % script.source_vars())


def complete_models(context: click.Context, parameter: click.Parameter, start: str) -> list[CompletionItem]:
    """Return the models of the server in the options so far; an empty list if it does not answer within two seconds."""
    from hfclient import Client, HFClientError, Retry, Timeouts  # imported late: help needs no client

    options: dict[str, Any] = {"timeouts": Timeouts(connect=_WAIT / 2, total=_WAIT), "retry": Retry(attempts=1)}
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
        if start.lower() in name.lower() and _SHELL_SAFE.fullmatch(name)
    ]


def complete_names(*names: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Return a completion of *names*; other values are valid too."""

    def complete(context: click.Context, parameter: click.Parameter, start: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in names if name.startswith(start) and _SHELL_SAFE.fullmatch(name)]

    return complete


def complete_files(context: click.Context, parameter: click.Parameter, start: str) -> list[CompletionItem]:
    """Let the shell complete the names of files."""
    return [CompletionItem(start, type="file")]
