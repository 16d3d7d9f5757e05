"""Commands of the conversation in a terminal, such as ``/model``: one table with their help."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import frozen

from hfclient.cli.chat.mcp_servers import chosen_servers
from hfclient.errors import InvalidInputError, Unsupported
from hfclient.redaction.control_characters import collapsed, one_line

if TYPE_CHECKING:
    from hfclient.chat.wire.tree import MessageTree
    from hfclient.cli.chat.interactive import Session
    from hfclient.types import Message

__all__ = ["COMMANDS", "Command", "complete", "find_command", "not_a_command", "show_messages"]

_KEYS = (
    ("Enter", "Send the prompt."),
    ("Alt-Enter, Ctrl-J", "Begin a new line, as a backslash before Enter does."),
    ("Ctrl-X Ctrl-E", "Write the prompt in your editor."),
    ("Ctrl-C", "Stop the answer; empty the line; twice in an empty line: exit."),
    ("Up, Ctrl-R", "Earlier prompts; one that begins with a space is not saved."),
)


@frozen
class Command:
    """A command.

    Attributes:
        name: Without the slash.
        argument: How the help shows its argument.
        help: One sentence.
        run: Called with the session and the argument, which may be empty.
    """

    name: str
    argument: str
    help: str
    run: Callable[[Session, str], object]


def find_command(line: str) -> tuple[Command | None, str]:
    """Return the command of a line that begins with a slash, or None, and its argument."""
    name, _, argument = line.strip().removeprefix("/").partition(" ")
    name = {"quit": "exit", "q": "exit", "?": "help"}.get(name, name)
    return next((command for command in COMMANDS if command.name == name), None), argument.strip()


def not_a_command(line: str) -> str:
    """Return a sentence for a line that begins with a slash and for which `find_command` has found no command."""
    typed = line.split()[0]
    if find_command(typed)[0] is not None:  # such as two commands that were typed during an answer
        return f"{typed} and its argument are one line, and these are several."
    return f"{typed} is not a command{_nearest_command(typed)}; /help lists them."


def _nearest_command(typed: str) -> str:
    """Return the most similar command as the middle of a sentence, or an empty text."""
    found = difflib.get_close_matches(typed.lower(), [f"/{command.name}" for command in COMMANDS], 1, 0.7)
    return f" (did you mean {found[0]}?)" if found else ""


def complete(before: str, models: list[str]) -> list[tuple[str, int]]:
    """Return completions of a line: commands, models, paths; each with the length of the text that it replaces."""
    if not before.startswith("/") or "\n" in before:
        return []
    name, space, argument = before.partition(" ")
    if not space:
        return [(f"/{command.name}", len(before)) for command in COMMANDS if f"/{command.name}".startswith(name)]
    if name == "/model":
        # A name with control characters would not be visible in the line as it is.
        found = [model for model in models if argument.lower() in model.lower() and one_line(model) == model]
        return [(model, len(argument)) for model in found]
    if name in ("/file", "/save"):
        return [(path, len(argument)) for path in _paths(argument)]
    return []


def _paths(start: str) -> list[str]:
    folder, _, name = start.rpartition("/")
    try:
        base = Path(f"{folder}/" if "/" in start else ".").expanduser()
        found = sorted(base.iterdir(), key=lambda path: path.name)[:5_000]
        shown = [
            path for path in found if path.name.startswith(name) and (name.startswith(".") or path.name[:1] != ".")
        ]
        return [f"{folder}/{path.name}" if "/" in start else path.name for path in shown if path.is_file()] + [
            f"{folder}/{path.name}/" if "/" in start else f"{path.name}/" for path in shown if path.is_dir()
        ]
    except (OSError, RuntimeError):
        return []


def show_messages(session: Session, count: int) -> None:
    """Show the last messages of the active branch."""
    messages = [message for message in session.conversation.messages() if message.role != "system"]
    title = session.conversation.title
    session.note(f"{one_line(title) if title else 'Conversation'}: {len(messages)} messages")
    for message in messages[-count:]:
        if message.role == "user":
            session.say("\n".join(f"> {line}" for line in message.content.split("\n")))
        else:
            session.show_markdown(message.content)
        for file in message.files:
            session.note(f"[file: {one_line(file.name)}]")


# Commands


def _help(session: Session, argument: str) -> None:
    formatter = click.HelpFormatter(width=min(session.output.width, 100))
    rows = [(f"/{command.name} {command.argument}".rstrip(), command.help) for command in COMMANDS]
    formatter.write_dl([*rows, *_KEYS])
    session.say(formatter.getvalue().rstrip())


def _model(session: Session, argument: str) -> None:
    if argument:
        session.conversation.set_model(argument)
        session.note(f"{one_line(session.conversation.model or argument)} answers from now on.")
        return
    models = session.models()
    session.model_names = [name for name, _ in models]
    current = session.conversation.model
    for index, (name, description) in enumerate(models):
        mark = "*" if name == current or (current is None and index == 0 and not session.uses_inference) else " "
        session.say(_cut(one_line(f"{mark} {name}  {' '.join(description.split())}"), session.output.width - 1).rstrip())


def _system(session: Session, argument: str) -> None:
    conversation = session.conversation
    if not argument:
        prompt = conversation.system_prompt
        if conversation.id is not None and not prompt:
            prompt = next((message.content for message in conversation.messages() if message.role == "system"), "")
        session.say(prompt or "The model's own system prompt is used.")
    elif conversation.id is None:
        conversation.system_prompt = argument
    else:  # the server keeps the system prompt of a conversation as it was created
        session.new(model=conversation.model, system_prompt=argument)
        session.note("A new conversation begins with this system prompt.")


def _retry(session: Session, argument: str) -> None:
    session.answer(lambda: session.conversation.retry(**session.answer_options))


def _edit(session: Session, argument: str) -> None:
    prompts = [message for message in session.conversation.messages() if message.role == "user"]
    if not prompts:
        raise InvalidInputError("there is no prompt to edit yet")
    session.draft = argument or prompts[-1].content
    session.next_line_edits = True


def _branches(session: Session, argument: str) -> None:
    if session.conversation.id is None:
        raise InvalidInputError("the conversation has no messages yet")
    tree = session.conversation.tree()
    active = {message.id for message in session.conversation.messages()}
    lines, leaves = _drawn(tree, active, session.output.width - 1)
    if not argument:
        session.say("\n".join(lines))
        if len(leaves) < 2:
            return
        try:
            argument = session.ask(f"Branch (1 to {len(leaves)}, Enter keeps this one):")
        except (EOFError, KeyboardInterrupt):
            return
    if not argument:
        return
    if not (argument.isascii() and argument.isdigit() and 1 <= int(argument) <= len(leaves)):
        raise InvalidInputError(f"a branch is a number from 1 to {len(leaves)}")
    session.conversation.choose_branch(leaves[int(argument) - 1].id)
    session.show_messages()


def _drawn(tree: MessageTree, active: set[str], width: int) -> tuple[list[str], list[Message]]:
    """Return the lines of the tree, and the ends of its branches by their numbers."""
    lines: list[str] = []
    leaves: list[Message] = []
    stack = [(message, 0) for message in reversed(tree.children(None))]
    drawn: set[str] = set()
    while stack:
        message, depth = stack.pop()
        if message.id in drawn:
            continue
        drawn.add(message.id)
        children = tree.children(message.id)
        number = ""
        if not children:
            leaves.append(message)
            number = f"  [{len(leaves)}]"
        if message.role != "system":
            text = collapsed(message.content)
            start = f"{'*' if message.id in active else ' '} {'  ' * min(depth, 20)}{'> ' if message.role == 'user' else ''}"
            free = max(12, width - len(start) - len(number))
            lines.append(f"{start}{_cut(text, free)}{number}")
        stack += [(child, depth + (len(children) > 1)) for child in reversed(children)]
    return lines, leaves


def _cut(text: str, columns: int) -> str:
    """Return *text*, or its beginning with an ellipsis, in at most *columns* columns; East Asian characters take two."""
    from rich.cells import cell_len, set_cell_size  # rich takes a moment; see Session._prepare()

    return text if cell_len(text) <= columns else f"{set_cell_size(text, columns - 1).rstrip()}…"


def _file(session: Session, argument: str) -> None:
    if argument == "-":
        session.files = []
    elif argument:
        path = Path(argument.strip("'\"")).expanduser()
        if not path.is_file() and "\\ " in argument:
            path = Path(argument.replace("\\ ", " ")).expanduser()
        if not path.is_file() or not os.access(path, os.R_OK):
            raise InvalidInputError(f"{path} is not a file that can be read")
        session.files.append(path)
    elif session.files:
        session.say("\n".join(one_line(file[0] if isinstance(file, tuple) else str(file)) for file in session.files))
        session.note("/file - removes them.")
    else:
        session.note("No file is attached to the next message; /file PATH attaches one.")


def _mcp(session: Session, argument: str) -> None:
    if session.uses_inference:
        raise Unsupported("an inference server has no MCP servers; a chat-ui does (hfclient chat --url)")
    if argument == "off":
        session.mcp = ()
    elif argument == "all":
        session.mcp = "all"
    elif argument:
        session.mcp = chosen_servers(session.client, [argument])
    else:
        servers = session.client.server.mcp_servers()
        names = [one_line(str(server.get("name", ""))) for server in servers]
        for name in names:
            session.say(f"{'*' if session.mcp == 'all' or name in session.mcp else ' '} {name}")
        for name in () if session.mcp == "all" else session.mcp:
            if name not in names:
                session.say(f"* {one_line(name)}")
        if not names:
            session.note("The server has no MCP servers of its own; /mcp URL uses yours.")
    if argument:
        used = "all servers" if session.mcp == "all" else ", ".join(map(one_line, session.mcp)) or "no server"
        session.note(f"MCP: {used}.")


def _save(session: Session, argument: str) -> None:
    path = Path(argument or ".").expanduser()
    overwrite = path.is_file() and session.confirm(f"Replace {path}?", default=False)
    if path.is_file() and not overwrite:
        return
    session.say(f"Saved as {session.conversation.export(path, overwrite=overwrite)}")


def _share(session: Session, argument: str) -> None:
    if session.conversation.id is None:
        raise InvalidInputError("the conversation has no messages yet")
    session.say(one_line(session.conversation.share().url))


def _new(session: Session, argument: str) -> None:
    model, system = session.conversation.model, session.conversation.system_prompt
    session.new(model=model, system_prompt=system)
    session.note("A new conversation begins.")


def _exit(session: Session, argument: str) -> None:
    raise EOFError


COMMANDS = (
    Command("model", "[NAME]", "List the models, or let another one answer.", _model),
    Command("system", "[TEXT]", "Show the system prompt, or begin a conversation with another one.", _system),
    Command("retry", "", "Generate another answer to the last prompt.", _retry),
    Command("edit", "", "Edit the last prompt and send it again, as another branch.", _edit),
    Command("branches", "[NUMBER]", "Show all branches and choose one.", _branches),
    Command("file", "[PATH]", "Attach a file to the next message.", _file),
    Command("mcp", "[NAME, ...|all|off]", "List the MCP servers, or choose those that answers may use.", _mcp),
    Command("save", "[PATH]", "Save the conversation as .md, .json or .ipynb.", _save),
    Command("share", "", "Publish the conversation and show its link.", _share),
    Command("new", "", "Begin a new conversation.", _new),
    Command("help", "", "Show this list.", _help),
    Command("exit", "", "Exit, as Ctrl-D does.", _exit),
)
"""All commands, in the order of the help."""
