"""The command ``chat`` and its options."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfclient.cli.chat.prompt import read_input, read_prompt
from hfclient.cli.completion import complete_files, complete_models, complete_names
from hfclient.cli.options import call_options, open_client, open_inference, server_options
from hfclient.errors import CredentialsError, NotFoundError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from hfclient import Client, Conversation
    from hfclient.cli.chat.one_shot import File, Peer
    from hfclient.cli.chat.questions import Questions

__all__ = ["chat"]


def _complete_templates(context: click.Context, parameter: click.Parameter, start: str) -> list[CompletionItem]:
    """Return the saved templates; if none begins so, let the shell complete the names of files."""
    from hfclient.cli.chat.template import saved_templates

    return complete_names(*saved_templates())(context, parameter, start) or complete_files(context, parameter, start)


@click.command()
@click.argument("prompt", nargs=-1)
@click.option(
    "-m", "--model", metavar="NAME", help="Model to use (default: the server's).", shell_complete=complete_models
)
@click.option("--system", metavar="TEXT", help="System prompt of a new conversation.")
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(allow_dash=True),
    help='Attach a file; "-" is standard input. May be repeated.',
)
@click.option("-c", "--continue", "go_on", is_flag=True, help="Continue the last conversation with this server.")
@click.option("--conversation", "of", metavar="ID", help="Continue this one, or a copy of a shared one (id or link).")
@click.option("--temporary", is_flag=True, help="Delete the conversation in the end.")
@click.option("-x", "--extract", is_flag=True, help="Print only the code of the first code block.")
@click.option(
    "--schema", metavar="FILE|JSON", help="Print JSON that fits this JSON schema.", shell_complete=complete_files
)
@click.option(
    "-t",
    "--template",
    metavar="FILE|NAME",
    help="Text with $input and other $names that becomes the prompt.",
    shell_complete=_complete_templates,
)
@click.option("-p", "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="Value for the template.")
@click.option("--mcp", multiple=True, metavar="NAME", help='MCP server to use, or "all". May be repeated.')
@click.option("--no-history", is_flag=True, help="Do not save the prompts of a conversation on this terminal.")
@click.option("--raw", is_flag=True, help="Do not render Markdown on a terminal.")
@click.option("--no-reasoning", is_flag=True, help="Do not print reasoning on a terminal.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is complete.")
@click.option(
    "--json", "as_lines", is_flag=True, help="Print one event per line, or with --no-stream the reply, as JSON."
)
@server_options
@click.option("--inference", is_flag=True, help="Ask Hugging Face's router: needs a Hub token, and no login.")
@click.option("--inference-url", metavar="URL", help="Ask an OpenAI-compatible server.")
@click.option("--provider", metavar="NAME", help="Ask the router for this provider, or several with commas.")
def chat(
    prompt: tuple[str, ...],
    model: str | None,
    system: str | None,
    files: tuple[str, ...],
    go_on: bool,
    of: str | None,
    temporary: bool,
    template: str | None,
    parameters: tuple[str, ...],
    mcp: tuple[str, ...],
    inference: bool,
    inference_url: str | None,
    provider: str | None,
    **more: Any,
) -> None:
    """Send PROMPT and print the answer while it is generated.

    Standard input is appended to the prompt after a blank line, as in git diff | hfclient chat "Summarise this:". Without
    words, or with "-", it is the whole prompt. Without words on a terminal a conversation begins. Ctrl-C stops the answer.

    A chat-ui answers. With --inference it is Hugging Face's router, which needs a Hub token only; with --inference-url any
    OpenAI-compatible server.
    """
    server = {name: more.pop(name) for name in ("url", "local", "impersonate", "timeout")}
    form = more  # how to print: extract, schema, raw, no_reasoning, no_stream, as_lines; no_history
    uses_inference = inference or bool(inference_url) or bool(provider)
    _exclude({"--continue": go_on, "--conversation": of, "--temporary": temporary})
    _exclude({"--continue": go_on, "--conversation": of, "--system": system})
    _exclude({"--extract": form["extract"], "--schema": form["schema"], "--json": form["as_lines"]})
    if uses_inference:
        of_chat = {
            "--continue": go_on,
            "--conversation": of,
            "--temporary": temporary,
            "--mcp": mcp,
            "--url": server["url"],
        }
        for name, value in of_chat.items():
            _exclude({"--inference": True, name: value})
    if parameters and template is None:
        raise click.UsageError("--param needs --template")

    is_form = any(form[name] for name in ("extract", "schema", "no_stream", "as_lines"))
    is_conversation = not (prompt or is_form or template or "-" in files) and _is_terminal()
    text = "" if is_conversation else _prompt(prompt, template, parameters, input_is_file="-" in files)
    attached: list[File] = [("input", read_input()) if name == "-" else Path(name) for name in files]
    if is_conversation and uses_inference:
        with open_inference(inference_url, server["local"], server["timeout"]) as client:
            from hfclient.cli.chat.inference_conversation import InferenceConversation

            _run(client, InferenceConversation(client, system_prompt=system, **call_options(model, provider)), attached, form)
        return
    if is_conversation:
        _converse(server, model, system, go_on, of, temporary, attached, mcp, form)
        return

    from hfclient.cli.chat.one_shot import ChatServer, InferenceServer
    from hfclient.cli.chat.questions import Questions
    from hfclient.cli.usage_counts import count_answer

    schema = None
    if form["schema"]:
        from hfclient.cli.chat.json_answer import JSONSchema  # needs a part of inference

        schema = JSONSchema(form["schema"])
    questions = Questions()
    if uses_inference:
        with open_inference(inference_url, server["local"], server["timeout"]) as client:
            fields = {"system_prompt": system, "response_format": schema and schema.response_format}
            peer: Peer = InferenceServer(client, files=attached, **call_options(model, provider, **fields))
            try:
                _print(peer, text, questions, schema, form)
            finally:
                count_answer("chat", client)
        return
    with open_client(**server) as client, _explaining(go_on):
        talk = _conversation(client, server, model, system, go_on, of)
        peer = ChatServer(
            client,
            talk,
            files=attached,
            mcp=_mcp(client, mcp),
            questions=questions,
            started=lambda started: None if temporary else _remember(client, server, started),
        )
        try:
            _print(peer, text, questions, schema, form)
        finally:
            if temporary and peer.conversation.id is not None:
                peer.conversation.delete()


def _print(peer: Peer, text: str, questions: Questions, schema: Any, form: Mapping[str, Any]) -> None:
    from hfclient.cli.chat import one_shot

    if schema is not None:
        one_shot.print_json(peer, text, questions, schema)
    elif form["extract"]:
        one_shot.print_code(peer, text, questions)
    elif form["no_stream"] and form["as_lines"]:
        one_shot.print_reply(peer, text, questions)
    elif form["as_lines"]:
        one_shot.print_events(peer, text, questions)
    else:
        one_shot.print_answer(
            peer, text, questions, raw=form["raw"], reasoning=not form["no_reasoning"], at_once=form["no_stream"]
        )


def _converse(
    server: Mapping[str, Any],
    model: str | None,
    system: str | None,
    go_on: bool,
    of: str | None,
    temporary: bool,
    files: list[File],
    mcp: tuple[str, ...],
    form: Mapping[str, Any],
) -> None:
    """Run a conversation at the terminal."""
    with open_client(**server) as client, _explaining(go_on):
        talk = _conversation(client, server, model, system, go_on, of)
        remember = None if temporary else functools.partial(_remember, client, server)
        _run(client, talk, files, form, mcp=_mcp(client, mcp), deletes=temporary, started=remember)


def _run(client: Client, talk: Any, files: list[File], form: Mapping[str, Any], **options: Any) -> None:
    from hfclient.cli.chat.interactive import ChatOptions, run
    from hfclient.cli.output import Output

    shown = {"raw": form["raw"], "reasoning": not form["no_reasoning"], "keeps_history": not form["no_history"]}
    run(client, talk, output=Output(), options=ChatOptions(files=files, **shown, **options))


def _conversation(
    client: Client, server: Mapping[str, Any], model: str | None, system: str | None, go_on: bool, of: str | None
) -> Conversation:
    """Return the conversation of the options, a new one by default."""
    from hfclient.cli.chat.last_conversation import last_conversation

    if go_on:
        of = last_conversation(None if server["local"] else client.base_url)
        if of is None:
            raise click.UsageError(
                f"there is no earlier conversation with {client.base_url}; start one without --continue"
            )
    if of is None:
        return client.conversation(model=model, system_prompt=system)
    short = of.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2]
    # A share is read-only; its copy belongs to the caller.
    found = client.conversations.import_share(short) if len(short) == 7 else client.conversation(short)
    if model is not None:
        found.set_model(model)
    return found


def _mcp(client: Client, given: tuple[str, ...]) -> list[str]:
    if not given or given == ("all",):
        return list(given)
    from hfclient.cli.chat.mcp_servers import chosen_servers

    return chosen_servers(client, given)


def _remember(client: Client, server: Mapping[str, Any], conversation: Conversation) -> None:
    from hfclient.cli.chat.last_conversation import remember

    remember(None if server["local"] else client.base_url, conversation.id)


@contextlib.contextmanager
def _explaining(go_on: bool) -> Iterator[None]:
    """Add to an error what this command can do about it."""
    try:
        yield
    except CredentialsError as error:
        if "needs a login" not in str(error):
            raise
        raise CredentialsError(
            "HuggingChat needs a login: run hfclient login, or set HFCLIENT_COOKIE. With a Hub token alone, in HF_TOKEN, ask a model directly: "
            "hfclient chat --inference -m MODEL"
        ) from None
    except NotFoundError as error:
        if not go_on:
            raise
        raise click.ClickException(f"{error.message.rstrip('.')}; start a new conversation without --continue") from None


def _prompt(words: tuple[str, ...], template: str | None, parameters: tuple[str, ...], *, input_is_file: bool) -> str:
    if template is None:
        return read_prompt(words, with_input=not input_is_file)
    from hfclient.cli.chat.template import fill, read_template

    found = read_template(template)
    return fill(found, parameters, read_prompt(words, with_input=not input_is_file, may_be_empty=True))


def _exclude(options: Mapping[str, object]) -> None:
    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given[:2])} exclude each other")


def _is_terminal() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
