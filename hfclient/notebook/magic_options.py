"""Options of the magics: their table, parsing, and the lines of their help.

IPython's own parser (``IPython.core.magic_arguments``) splits the whole line as a shell does: an apostrophe in a question is an
error there, and quotes are lost. Here the options come first, and all after them is the question, unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from attrs import frozen
from IPython.core.error import UsageError

__all__ = ["CHAT", "LOGIN", "MODELS", "Option", "Words", "help_lines", "parse", "split"]


@frozen
class Option:
    """An option of a magic.

    Attributes:
        name: With its dashes.
        value: What its value is called in the help; empty for an option without one.
        help: One sentence.
        short: Another name.
        repeated: It may be given several times; its value is a list.
    """

    name: str
    value: str
    help: str
    short: str = ""
    repeated: bool = False

    @property
    def key(self) -> str:
        """Its name among the parsed values."""
        return self.name.lstrip("-")


_CLIENT = Option("--client", "NAME", "variable with the client (default: client); made if it does not exist")
_LOCAL = Option("--local", "", "make the client with Client.local(): a small model on this machine")
_INFERENCE = Option("--inference", "", "ask a model of client.inference (Hugging Face's router): needs a Hub token, and no login")
CHAT = (
    Option("--model", "MODEL", "model that answers (default: the server's)", short="-m"),
    _INFERENCE,
    Option("--provider", "NAME", "inference provider, or several with commas in the order to try"),
    Option("--system", "TEXT", "system prompt of a new conversation; quote it"),
    Option("--file", "PATH", "attach a file; {name} attaches the value of a variable; may be repeated", repeated=True),
    Option("--new", "", "start another conversation"),
    Option("--name", "NAME", "variable with the conversation (default: conversation); made if it does not exist"),
    Option("--into", "NAME", "variable for the reply, which is also the value _"),
    Option("--raw", "", "send {name} as it is"),
    _CLIENT,
    _LOCAL,
)
MODELS = (_INFERENCE, _CLIENT, _LOCAL)
LOGIN = (
    Option("--url", "URL", "base URL of a chat-ui server (default: HuggingChat)"),
    Option("--client", "NAME", "variable for the client that is logged in (default: client)"),
)

_WORD = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S+))""")


@frozen
class Words:
    """A line that was split.

    Attributes:
        given: The options and their values as written, in order; None for a value that is missing.
        rest: What follows the options.
    """

    given: list[tuple[str, str | None]]
    rest: str


def split(line: str, options: Sequence[Option]) -> Words:
    """Split *line* into its leading options and the rest. An option that is not among *options* has no value."""
    takes_value = {name for option in options for name in (option.name, option.short) if option.value}
    given: list[tuple[str, str | None]] = []
    position = 0
    while (found := _WORD.match(line, position)) is not None:
        word = found[3] or ""
        is_short = word in {option.short for option in options if option.short}
        if not (word.startswith("--") or is_short):
            break
        position = found.end()
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if equals and name in takes_value:
            opening = line[found.start(3) + len(name) + 1 :]
            if opening[:1] in "\"'" and (quoted := _WORD.match(opening)) is not None:  # --system="Be terse."
                value, position = _text_of(quoted), len(line) - len(opening) + quoted.end()
            given.append((name, value))
        elif name in takes_value:
            following = _WORD.match(line, position)
            given.append((name, _text_of(following) if following else None))
            position = following.end() if following else position
        else:
            given.append((word, None))
    return Words(given, line[position:].strip())


def _text_of(found: re.Match[str]) -> str:
    if found[1] is not None:
        return re.sub(r'\\(["\\])', r"\1", found[1])
    return found[2] if found[2] is not None else found[3]


def parse(line: str, options: Sequence[Option]) -> tuple[dict[str, Any], str]:
    """Return the values of the options, by their names without dashes, and what follows them.

    Raises:
        UsageError: An option does not exist, or its value is missing.
    """
    words = split(line, options)
    known = {name: option for option in options for name in (option.name, option.short) if name}
    values: dict[str, Any] = {option.key: [] if option.repeated else None for option in options}
    for name, value in words.given:
        option = known.get(name)
        if option is None:
            raise UsageError(_unknown(name, options))
        if option.value and value is None:
            raise UsageError(f"{name} needs a value: {name} {option.value}")
        if option.repeated:
            values[option.key].append(value)
        else:
            values[option.key] = value if option.value else True
    return values, words.rest


def _unknown(name: str, options: Sequence[Option]) -> str:
    import difflib  # for typing errors only

    names = [option.name for option in options]
    near = difflib.get_close_matches(name.partition("=")[0], names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the options are {', '.join(names)}"
    return f"there is no option {name}; {hint} (a text that begins with dashes follows --)"


def help_lines(options: Sequence[Option]) -> str:
    """Return the options for a docstring, one per line."""
    shown = [
        (f"{option.short + ', ' if option.short else ''}{option.name} {option.value}".rstrip(), option.help)
        for option in options
    ]
    width = max(len(name) for name, _ in shown)
    return "\n".join(f"    {name:<{width}}  {text}" for name, text in shown)
