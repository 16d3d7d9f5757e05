"""Questions of a command to the user of its terminal, on standard error.

Not `input()`, which click's prompts use: it drops an exception that comes while it writes its prompt, so Ctrl-C there had no effect.
"""

from __future__ import annotations

import getpass
import sys

import click

__all__ = ["ask", "ask_hidden", "confirm"]


def ask(question: str) -> str:
    """Return the line that the user types.

    Raises:
        click.Abort: Ctrl-D, or the terminal was closed.
    """
    click.echo(f"{question}: ", nl=False, err=True)
    line = sys.stdin.readline()
    if not line:
        click.echo(err=True)
        raise click.Abort
    return line.rstrip("\r\n")


def ask_hidden(question: str) -> str:
    """Return the line that the user types, without spaces at its ends; the terminal does not show it. Raises as `ask`."""
    try:
        return getpass.getpass(f"{question}: ").strip()
    except EOFError:
        click.echo(err=True)
        raise click.Abort from None
    except KeyboardInterrupt:  # which the terminal does not show as ^C
        click.echo(err=True)
        raise


def confirm(question: str) -> bool:
    """Return whether the user says yes; an empty line says no. Raises as `ask`."""
    while True:
        answer = ask(f"{question} [y/N]").strip().lower()
        if answer in ("y", "yes"):
            return True
        if answer in ("", "n", "no"):
            return False
        click.echo("Answer y or n.", err=True)
