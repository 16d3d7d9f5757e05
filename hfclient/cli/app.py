"""The commands and their options, and how a run ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from hfclient import Client, HFClientError, Timeouts, __version__
from hfclient.cli.completion import answer_shell, browser_names, completion, model_names
from hfclient.cli.login import login, logout, whoami
from hfclient.cli.output import AnswerPrinter, JSONPrinter, Screen, as_json, model_table
from hfclient.cli.prompt import read_prompt
from hfclient.errors import InvalidInputError, MissingDependencyError
from hfclient.redaction.control_characters import one_line

__all__ = ["app", "run"]

_F = TypeVar("_F", bound=Callable[..., Any])


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code of the process.

    Args:
        arguments: What follows the command's name; None takes the process's own.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A locale without Unicode, or half a surrogate pair in an answer, must not end the answer.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        with _signals():
            if (code := answer_shell(app)) is not None:
                sys.stdout.flush()
                return code
            # Not app.main(): it prints errors in several lines, and swallows Ctrl-C and a closed pipe in ways of its own.
            with app.make_context("hfclient", list(sys.argv[1:] if arguments is None else arguments)) as context:
                app.invoke(context)
            sys.stdout.flush()
        return 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "hfclient"
        return _failed(f"{error.format_message()} (see {where} --help)", 2)
    except click.ClickException as error:
        return _failed(error.format_message(), error.exit_code)
    except (InvalidInputError, MissingDependencyError) as error:
        return _failed(str(error), 2)
    except HFClientError as error:
        return _failed(str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:  # the reader left, as in `hfclient chat ... | head -1`
        _drop_output()
        return 141
    except OSError as error:  # a full disk, a terminal that is gone
        _drop_output()
        return _failed(f"the output cannot be written: {error.strerror or error}", 1)


def _drop_output() -> None:
    """Let what is left of standard output go nowhere: the interpreter would complain while it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_closed_streams() -> None:
    """Put the null device in the place of a stream that was closed by the caller (``>&-``): Python has None there."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (for as long as the process)


def _failed(message: str, code: int) -> int:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"hfclient: {one_line(message)}\n")
    return code


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM unwind, so that streams are closed and generations stopped; a second Ctrl-C leaves at once."""

    def interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        raise KeyboardInterrupt

    def terminate(number: int, frame: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before: list[tuple[int, Any]] = []
    if threading.current_thread() is threading.main_thread():  # elsewhere signals are somebody else's business
        for number, handler in ((signal.SIGINT, interrupt), (signal.SIGTERM, terminate)):
            # nohup and shells' background jobs ignore signals on purpose.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before.append((number, signal.signal(number, handler)))
    try:
        yield
    finally:
        for caught, old_handler in before:
            signal.signal(caught, old_handler)


# Commands


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hfclient")
@click.pass_context
def app(context: click.Context) -> None:
    """Talk to HuggingChat, to a chat-ui of your own, or to a small model on this machine.

    Tokens and cookies come from the environment (HF_TOKEN, HFCLIENT_COOKIE) or a saved login, never from options: other
    users of a machine can see those.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (completion, login, logout, whoami):
    app.add_command(_command)


def _server_options(command: _F) -> _F:
    """Add the options that say which server, and how to get there."""
    for option in reversed(
        [
            click.option("--url", metavar="URL", help="Base URL of a chat-ui; HuggingChat if it is left out."),
            click.option("--local", is_flag=True, help="A small model on this machine (extra: local)."),
            click.option(
                "--impersonate",
                metavar="BROWSER",
                help='Pose as a browser such as "chrome" (extra: impersonate).',
                shell_complete=browser_names("chrome", "edge", "firefox", "safari"),
            ),
            click.option("--timeout", type=float, metavar="SECONDS", help="Longest time for the whole call."),
        ]
    ):
        command = option(command)
    return command


def _open_client(url: str | None, local: bool, impersonate: str | None, timeout: float | None) -> Client:
    if local and url:
        raise click.UsageError("--local and --url exclude each other")
    if local and impersonate:
        raise click.UsageError("--local and --impersonate exclude each other")
    options: dict[str, Any] = {"timeouts": Timeouts() if timeout is None else Timeouts(total=timeout)}
    if local:
        return Client.local(**options)
    if impersonate:
        options["impersonate"] = impersonate
    return Client(url, **options) if url else Client(**options)


@app.command()
@click.argument("prompt", nargs=-1)
@_server_options
@click.option(
    "--model",
    metavar="NAME",
    help="Which model answers; the server's default if it is left out.",
    shell_complete=model_names,
)
@click.option("--system", metavar="TEXT", help="System prompt.")
@click.option("--file", "files", multiple=True, type=click.Path(), help="Attach a file; may be repeated.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is complete.")
@click.option(
    "--json", "as_lines", is_flag=True, help="Print one event a line, or with --no-stream the reply, as JSON."
)
def chat(
    prompt: tuple[str, ...],
    model: str | None,
    system: str | None,
    files: tuple[str, ...],
    no_stream: bool,
    as_lines: bool,
    **server: Any,
) -> None:
    """Ask PROMPT and print the answer as it comes.

    What is piped in is part of the prompt: it follows the words after a blank line, as in
    git diff | hfclient chat "Summarise this:". Without words, or with "-" for them, it is the whole prompt. Ctrl-C stops the
    generation.
    """
    text = read_prompt(prompt)
    with _open_client(**server) as client, client.chat(text, model=model, system_prompt=system, files=files) as stream:
        if no_stream:
            reply = stream.result()
            Screen().write(f"{as_json(reply.to_dict()) if as_lines else reply.text}\n")
            return
        printer = JSONPrinter() if as_lines else AnswerPrinter(Screen())
        with printer:
            for event in stream:
                printer.show(event)


@app.command()
@_server_options
@click.option("--json", "as_lines", is_flag=True, help="Print one model a line as JSON.")
def models(as_lines: bool, **server: Any) -> None:
    """List the models that the server offers; its default comes first."""
    with _open_client(**server) as client:
        found = list(client.models)
    click.echo("\n".join(as_json(model.to_dict()) for model in found) if as_lines else model_table(found))


@app.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=3000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option("--upstream", metavar="URL", help="An OpenAI-compatible API that answers instead of the small model.")
@click.option("--model", metavar="NAME", help="The upstream's model, or the path of a GGUF file.")
@click.option(
    "--database",
    type=click.Path(dir_okay=False),
    help='SQLite file that keeps the conversations; ":memory:" forgets them. By default one in your data folder.',
)
@click.option("--base-path", default="", metavar="PATH", help='Serve below a path such as "/chat".')
@click.option(
    "--allowed-host", multiple=True, metavar="NAME", help="A name by which a proxy calls it; may be repeated."
)
def serve(
    host: str,
    port: int,
    upstream: str | None,
    model: str | None,
    database: str | None,
    base_path: str,
    allowed_host: tuple[str, ...],
) -> None:
    """Serve chat-ui's protocol, answered by a small model or by an OpenAI-compatible API.

    The key for --upstream, if it needs one, comes from the environment variable HFCLIENT_UPSTREAM_KEY.
    """
    from hfclient.local import serve as serve_forever

    serve_forever(
        host=host,
        port=port,
        upstream=upstream,
        model=model,
        database=database,
        api_key=os.environ.get("HFCLIENT_UPSTREAM_KEY") or None,
        base_path=base_path,
        allowed_hosts=allowed_host,
    )
