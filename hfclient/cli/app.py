"""The commands with their options, and the exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from hfclient import HFClientError, __version__
from hfclient.cli.completion import complete_models, completion, handle_completion
from hfclient.cli.login import login, logout, whoami
from hfclient.cli.options import open_client, server_options
from hfclient.cli.output import AnswerPrinter, JSONPrinter, Output, as_json, model_table
from hfclient.cli.prompt import read_prompt
from hfclient.errors import InvalidInputError, MissingDependencyError
from hfclient.redaction.control_characters import one_line

__all__ = ["app", "run"]

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
        with _signals():
            if (code := handle_completion(app)) is not None:
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


def _discard_output() -> None:
    """Send the rest of standard output to the null device: at exit the interpreter flushes it and would print an error."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_closed_streams() -> None:
    """Replace a standard stream that the caller has closed (``>&-``), and that is None in Python, by the null device."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 (never closed)


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"hfclient: {one_line(message)}\n")
    return code


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Raise on Ctrl-C and SIGTERM, so that streams are closed and generations stopped; a second Ctrl-C exits at once."""

    def interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        raise KeyboardInterrupt

    def terminate(number: int, frame: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before: list[tuple[int, Any]] = []
    if threading.current_thread() is threading.main_thread():  # only there Python allows it
        for number, handler in ((signal.SIGINT, interrupt), (signal.SIGTERM, terminate)):
            # nohup and background jobs of shells ignore signals on purpose.
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
    """Chat with HuggingChat, a self-hosted chat-ui, or a small model on this machine.

    Tokens and cookies are read from the environment (HF_TOKEN, HFCLIENT_COOKIE) or a saved login. There are no options for
    them: other users of a machine can see the arguments of a process.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (completion, login, logout, whoami):
    app.add_command(_command)


@app.command()
@click.argument("prompt", nargs=-1)
@server_options
@click.option(
    "--model",
    metavar="NAME",
    help="Model to use (default: the server's).",
    shell_complete=complete_models,
)
@click.option("--system", metavar="TEXT", help="System prompt.")
@click.option("--file", "files", multiple=True, type=click.Path(), help="Attach a file; may be repeated.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is complete.")
@click.option(
    "--json", "as_lines", is_flag=True, help="Print one event per line, or with --no-stream the reply, as JSON."
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
    """Send PROMPT and print the answer while it is generated.

    Standard input is appended to the prompt after a blank line, as in git diff | hfclient chat "Summarise this:". Without
    words, or with "-", it is the whole prompt. Ctrl-C stops the generation.
    """
    text = read_prompt(prompt)
    with open_client(**server) as client, client.chat(text, model=model, system_prompt=system, files=files) as stream:
        if no_stream:
            reply = stream.result()
            Output().write(f"{as_json(reply.to_dict()) if as_lines else reply.text}\n")
            return
        printer = JSONPrinter() if as_lines else AnswerPrinter(Output())
        with printer:
            for event in stream:
                printer.show(event)


@app.command()
@server_options
@click.option("--json", "as_lines", is_flag=True, help="Print one model per line as JSON.")
def models(as_lines: bool, **server: Any) -> None:
    """List the models of the server, its default first."""
    with open_client(**server) as client:
        found = list(client.models)
    click.echo("\n".join(as_json(model.to_dict()) for model in found) if as_lines else model_table(found))


@app.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=3000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option("--upstream", metavar="URL", help="OpenAI-compatible API to use instead of the small model.")
@click.option("--model", metavar="NAME", help="The upstream's default model, or the path of a GGUF file.")
@click.option(
    "--database",
    type=click.Path(dir_okay=False),
    help='SQLite file for the conversations, or ":memory:" (default: a file in your data folder).',
)
@click.option("--base-path", default="", metavar="PATH", help='Path prefix, such as "/chat".')
@click.option(
    "--allowed-host", multiple=True, metavar="NAME", help="Host name of a proxy to accept; may be repeated."
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
    """Run a chat-ui-compatible server. A small model answers, or an OpenAI-compatible API.

    The API key of --upstream is read from the environment variable HFCLIENT_UPSTREAM_KEY.
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
