"""Questions of tools (elicitations), asked at the terminal; without one they are declined."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import click

from hfclient.cli.ask import ask, ask_hidden
from hfclient.events import Elicitation
from hfclient.redaction.control_characters import one_line

__all__ = ["Questions"]


class Questions:
    """The answers to the questions of one stream.

    The loop over the events passes each `Elicitation` to `ask`, in the thread of the terminal. The stream itself, perhaps in a
    helper thread, then calls this object.
    """

    def __init__(self) -> None:
        self._answers: dict[str, dict[str, Any] | bool] = {}

    def ask(self, question: Elicitation) -> None:
        """Ask the user; without a terminal decline the question, with a note."""
        if all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)):
            from hfclient.notebook.questions import ask_user  # not needed in a pipe

            _forget_typed()
            self._answers[question.elicitation_id] = ask_user(question, _say, _read)
        else:
            text = one_line(f"{question.server} asks {question.message!r}; without a terminal it is declined")
            click.echo(f"hfclient: {text}", err=True)

    def __call__(self, question: Elicitation) -> dict[str, Any] | bool:
        """Return the user's answer, for *on_elicitation*."""
        return self._answers.pop(question.elicitation_id, False)


def _forget_typed() -> None:
    """Discard what was typed before the question was shown: a line that was meant for something else must not consent."""
    try:
        import termios
    except ImportError:  # Windows
        return
    with contextlib.suppress(termios.error, OSError, ValueError):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _read(prompt: str, is_hidden: bool) -> str:
    return ask_hidden(prompt) if is_hidden else ask(prompt)
