"""The commands with their options, and the exit codes."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from hfclient import __version__
from hfclient.cli.signals import exit_at_once, handled
from hfclient.errors import (
    AuthenticationError,
    CloudflareChallenge,
    ConnectError,
    GenerationError,
    HFClientError,
    InvalidInputError,
    MissingDependencyError,
    NotAChatServer,
)
from hfclient.redaction.control_characters import one_line

__all__ = ["COMMANDS", "GROUPS", "app", "run"]


class _Entry(NamedTuple):
    module: str
    summary: str


COMMANDS = {
    "chat": _Entry("hfclient.cli.chat.command", "Send PROMPT and print the answer while it is generated."),
    "conversations": _Entry(
        "hfclient.cli.commands.conversations", "List, read, search, rename, delete, share and export conversations."
    ),
    "batch": _Entry("hfclient.cli.commands.batch", "Ask a model about each line or row of FILE, and write the answers beside it."),
    "image": _Entry("hfclient.cli.commands.image", "Make images of PROMPT, save them and print their paths."),
    "video": _Entry("hfclient.cli.commands.video", "Make a video of PROMPT, save it and print its path."),
    "transcribe": _Entry("hfclient.cli.commands.transcribe", "Print what is said in FILE."),
    "speak": _Entry("hfclient.cli.commands.speak", "Read TEXT aloud, save the audio and print its path."),
    "embed": _Entry("hfclient.cli.commands.embed", "Print a vector for each of TEXTS."),
    "classify": _Entry("hfclient.cli.commands.classify", "Print labels for TEXT, an image or a recording."),
    "models": _Entry("hfclient.cli.commands.models", "List the models of the server, its default first."),
    "login": _Entry("hfclient.cli.commands.login", "Save a browser's login, so that hfclient can use your account."),
    "logout": _Entry("hfclient.cli.commands.login", "Log out and delete the saved login."),
    "whoami": _Entry("hfclient.cli.commands.login", "Show the logged-in user."),
    "usage": _Entry(
        "hfclient.cli.commands.usage",
        "Show the account of the Hub token, and what hfclient's commands have used on this machine.",
    ),
    "doctor": _Entry(
        "hfclient.cli.commands.doctor",
        "Check the installation, the logins and the servers: what works, what does not, and the remedy.",
    ),
    "serve": _Entry("hfclient.cli.commands.serve", "Run a chat-ui-compatible server."),
    "completion": _Entry("hfclient.cli.completion", "Print the completion script for SHELL."),
}
"""The commands, each with the first sentence of its own help; the function has the command's name."""
GROUPS = {
    "Chat": "chat conversations batch",
    "Models": "models image video transcribe speak embed classify",
    "Account": "login logout whoami usage",
    "This machine": "doctor serve completion",
}
"""The sections of the help, and the commands in each."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process.

    Args:
        arguments: Arguments after the command's name; None takes those of the process.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A locale without Unicode, or a lone surrogate in an answer, must not abort the output.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        with handled({"SIGINT": _interrupt, "SIGTERM": _terminate}):
            if os.environ.get("_HFCLIENT_COMPLETE"):  # set by the script of `hfclient completion`
                from hfclient.cli.completion import handle_completion

                code = handle_completion(app)
                sys.stdout.flush()
                return code
            # Not app.main(): it prints errors in several lines, and handles Ctrl-C and a closed pipe differently.
            with app.make_context("hfclient", list(sys.argv[1:] if arguments is None else arguments)) as context:
                app.invoke(context)
            sys.stdout.flush()
        return 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "hfclient"
        return _fail(f"{error.format_message()} (see {command} --help)", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except (InvalidInputError, MissingDependencyError) as error:
        return _fail(str(error), 2)
    except (AuthenticationError, CloudflareChallenge, ConnectError, NotAChatServer) as error:
        return _fail(f"{str(error).rstrip('.')}; for the cause, run: {_doctor(arguments)}", 1)
    except GenerationError as error:  # the server's own words, such as "terminated"
        return _fail(str(error) if str(error).startswith("the ") else f"the generation failed: {error}", 1)
    except HFClientError as error:
        return _fail(str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:  # the reader has exited, as in `hfclient chat ... | head -1`
        _discard_output()
        return 141
    except OSError as error:  # a full disk, a closed terminal
        _discard_output()
        return _fail(f"the output cannot be written: {error.strerror or error}", 1)
    except Exception as error:
        if (ended := _code_of_signal(error)) is None:
            raise
        return ended


def _code_of_signal(error: BaseException | None) -> int | None:
    """Return the exit code if *error* comes from a handler of a signal: Python wraps an exception inside ``__set_name__``."""
    for _ in range(20):
        if isinstance(error, KeyboardInterrupt):
            return 130
        if isinstance(error, SystemExit) and isinstance(error.code, int):
            return error.code
        error = error and (error.__cause__ or error.__context__)
    return None


def _discard_output() -> None:
    """Send the rest of standard output to the null device: at exit the interpreter flushes it and would print an error."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_closed_streams() -> None:
    """Replace a standard stream that the caller has closed (``>&-``), and that is None in Python, by the null device."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (never closed)


def _doctor(arguments: Sequence[str] | None) -> str:
    """Return the command that checks the server of *arguments*."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = ["hfclient doctor"]
    for name in ("--url", "--inference-url", "--local"):
        for word, following in zip(given, [*given[1:], ""], strict=True):
            value = following if word == name != "--local" else word.partition("=")[2]
            # An address with a password is not shown.
            if word.partition("=")[0] == name and "@" not in value and not set(value) & set(" '\"$`\\"):
                words += [name, value] if value else [name]
                break
    return " ".join(words)


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"hfclient: {one_line(message)}\n")
    return code


def _interrupt(number: int, frame: object) -> None:
    """Raise on Ctrl-C, so that streams are closed and generations stopped; a second Ctrl-C exits at once."""
    signal.signal(signal.SIGINT, exit_at_once)
    raise KeyboardInterrupt


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


# Commands


class _Commands(click.Group):
    """A group whose commands are imported when they are called: the help of the group needs none of them."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[name].module), name.replace("-", "_"))
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            if near := difflib.get_close_matches(args[0], COMMANDS, n=1):
                context.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, COMMANDS))
        grouped = {name for names in GROUPS.values() for name in names.split()}
        others = " ".join(name for name in COMMANDS if name not in grouped)
        for title, names in {**GROUPS, "Others": others}.items():
            rows = [(f"{name:{widest}}", COMMANDS[name].summary) for name in names.split() if name in COMMANDS]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExamples:\n"
    '  hfclient chat --local "Why is the sky blue?"\n'
    '  git diff | hfclient chat "Summarise this:"\n'
    "  hfclient chat      a conversation in the terminal\n"
    "  hfclient doctor    what works here, and what does not",
)
@click.version_option(__version__, prog_name="hfclient")
@click.pass_context
def app(context: click.Context) -> None:
    """Chat with HuggingChat, a self-hosted chat-ui, or a small model on this machine.

    Tokens and cookies are read from the environment (HF_TOKEN, HFCLIENT_COOKIE) or a saved login. There are no options for
    them: other users of a machine can see the arguments of a process.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
