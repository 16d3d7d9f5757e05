"""Questions of tools (elicitations): a form that is filled in line by line, in a notebook or a terminal.

Without a way to ask the user, a question is declined: the tool would wait for an hour.
"""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from hfclient.events import Elicitation
from hfclient.redaction.control_characters import one_line, stripped

__all__ = ["Questions", "ask_user"]

_TRIES = 3
"""Invalid answers to one field, after which the question is declined."""
_SECRET = re.compile(r"passw|passphrase|secret|token|api.?key|\bpin\b|credential", re.IGNORECASE)


class Questions:
    """Asks with ``input()``, for which the kernel of a notebook asks its front end.

    The loop over the events passes each `Elicitation` to `ask`, in the thread of the cell. The stream itself, in a helper thread,
    then calls this object.

    Args:
        can_ask: Whether there is a user who can answer.
    """

    def __init__(self, *, can_ask: bool) -> None:
        self._can_ask = can_ask
        self._answers: dict[str, dict[str, Any] | bool] = {}

    def ask(self, question: Elicitation) -> None:
        """Ask the user; where there is no input, decline the question with a note."""
        if self._can_ask:
            try:
                self._answers[question.elicitation_id] = ask_user(question, _say, _read)
                return
            except (EOFError, RuntimeError):  # RuntimeError: also IPython's StdinNotImplementedError
                pass
        note = f"{question.server} asks {question.message!r}; without input it is declined (on_elicitation= can answer it)"
        print(one_line(note), file=sys.stderr)  # noqa: T201

    def __call__(self, question: Elicitation) -> dict[str, Any] | bool:
        """Return the user's answer, for *on_elicitation*."""
        return self._answers.pop(question.elicitation_id, False)


def _say(text: str) -> None:
    print(text)  # noqa: T201 (the output of a cell, beside the answer)


def _read(prompt: str, is_hidden: bool) -> str:
    return getpass.getpass(f"{prompt} (hidden): ") if is_hidden else input(f"{prompt}: ")


def ask_user(
    question: Elicitation, say: Callable[[str], object], read: Callable[[str, bool], str]
) -> dict[str, Any] | bool:
    """Ask the user, and return the values by field name, True for a page that was visited, or False to decline.

    An empty line takes the default of a field, or leaves an optional one out; for a required field it declines.

    Args:
        question: The question, whose texts are not trusted.
        say: Writes a line.
        read: Returns the line that the user types; called with a prompt, and with whether the input must be hidden.
    """
    say(f"{one_line(question.server)} asks: {stripped(question.message).strip()}")
    if question.mode == "url":
        # Shown, never opened: the page is the choice of a tool.
        say(f"  {one_line(question.url or '')}")
        return read("  Continue, after you have visited this page? [y/N]", False).strip().lower() in ("y", "yes")
    values: dict[str, Any] = {}
    for field in question.fields:
        value = _ask(field, say, read)
        if value is not None:
            values[str(field.get("name"))] = value
        elif field.get("required"):
            say("  declined")
            return False
    return values


def _ask(field: Mapping[str, Any], say: Callable[[str], object], read: Callable[[str, bool], str]) -> Any:
    """Return the value of one field, or None if it is left out."""
    label = one_line(str(field.get("title") or field.get("name") or "value"))
    if described := field.get("description"):
        label = f"{label} ({one_line(str(described))})"
    options = [option for option in field.get("options") or () if isinstance(option, Mapping)]
    for number, option in enumerate(options, 1):
        say(f"  {number}. {one_line(str(option.get('label') or option.get('value')))}")
    default = field.get("default")
    hint = "" if default is None else f" [{one_line(str(default))}]"
    more = " (y/n)" if field.get("kind") == "boolean" else " (numbers, with commas)" if field.get("multiple") else ""
    is_hidden = _SECRET.search(f"{field.get('name')} {field.get('title')}") is not None
    for _ in range(_TRIES):
        given = read(f"  {label}{more}{hint}", is_hidden).strip()
        if not given:
            return default
        try:
            return _value(given, field, options)
        except ValueError as error:
            say(f"  {error}")
    return None


def _value(given: str, field: Mapping[str, Any], options: list[Mapping[str, Any]]) -> Any:
    match field.get("kind"):
        case "number":
            try:
                return int(given) if field.get("integer") else float(given)
            except ValueError:
                raise ValueError("this is not a number") from None
        case "boolean":
            if given.lower() not in ("y", "yes", "true", "n", "no", "false"):
                raise ValueError("answer y or n")
            return given.lower() in ("y", "yes", "true")
        case "select":
            chosen = [
                _option(part.strip(), options) for part in (given.split(",") if field.get("multiple") else [given])
            ]
            return chosen if field.get("multiple") else chosen[0]
        case _:
            return given


def _option(given: str, options: list[Mapping[str, Any]]) -> Any:
    if given.isdecimal() and 1 <= int(given) <= len(options):
        return options[int(given) - 1].get("value")
    for option in options:
        if given in (option.get("value"), option.get("label")):
            return option.get("value")
    raise ValueError(f"answer with a number from 1 to {len(options)}")
