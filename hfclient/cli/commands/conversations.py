"""``hfclient conversations``: list, read, search, change, share and export the conversations on a chat server."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfclient.cli.ask import confirm
from hfclient.cli.options import json_option, open_client, server_options
from hfclient.cli.output import Output, as_json
from hfclient.cli.rendering.status import Status, warn
from hfclient.cli.rendering.tables import cell, print_table
from hfclient.errors import APIStatusError, HFClientError, InvalidInputError, ProtocolError

if TYPE_CHECKING:
    from hfclient import Client, Conversation, ConversationInfo, Message

__all__ = ["conversations"]

_EXCERPT = 60
"""Characters before and after a found word."""
_NAMES = {"user": "You", "assistant": "Assistant", "system": "System"}


@click.group()
def conversations() -> None:
    """List, read, search, rename, delete, share and export conversations."""


@conversations.command("list")
@server_options
@click.option("-n", "--limit", type=click.IntRange(1), metavar="N", help="Only the newest N.")
@json_option
def _list(limit: int | None, as_lines: bool, **server: Any) -> None:
    """List the conversations, newest first."""
    output = Output()
    with open_client(**server) as client:
        found: list[ConversationInfo] = []
        try:
            for info in _newest(client, limit):
                if as_lines:
                    output.write_json(info.to_dict())
                else:
                    found.append(info)
        finally:  # what came before an error is shown
            if not as_lines and (found or sys.exc_info()[0] is None):
                rows = [(info.id, info.title, _date(info.updated_at), info.model) for info in found]
                print_table(output, ("ID", "TITLE", "CHANGED", "MODEL"), rows)


@conversations.command("show")
@click.argument("id")
@server_options
@click.option("--branches", is_flag=True, help="All branches, as a tree with one line for each message.")
@json_option
def _show(id: str, branches: bool, as_lines: bool, **server: Any) -> None:
    """Print the conversation ID: its newest branch, or with --branches all of them.

    ID may also be the id of a shared conversation.
    """
    output = Output()
    with open_client(**server) as client:
        conversation = client.conversation(id)
        tree = conversation.tree()
        messages = list(tree) if branches else tree.path(tree.newest_leaf())
    if as_lines:
        fields = {"id": conversation.id, "title": conversation.title, "model": conversation.model}
        output.write_json({**fields, "messages": [message.to_dict() for message in messages]})
    elif branches:
        output.write(f"{cell(conversation.title)}\n{tree}\n")
    else:
        _print_messages(output, conversation, messages)


@conversations.command("search")
@click.argument("words", nargs=-1, required=True)
@server_options
@click.option("--text", "in_text", is_flag=True, help="Search the messages, too: each conversation is fetched.")
@click.option("-n", "--limit", type=click.IntRange(1), metavar="N", help="Only among the newest N.")
@json_option
def _search(
    words: tuple[str, ...], in_text: bool, limit: int | None, as_lines: bool, timeout: float | None, **server: Any
) -> None:
    """Print the conversations whose title, or with --text a message, contains all WORDS.

    They are printed as they are found. --timeout is the time for the whole search. Capital letters do not matter.
    """
    from hfclient import deadline

    output = Output()
    wanted = [word.casefold() for word in " ".join(words).split()]
    if not wanted:
        raise click.UsageError("there is no word to search for")
    with open_client(**server, timeout=None) as client, deadline(timeout), Status() as status:
        for number, info in enumerate(_newest(client, limit), 1):
            matches = [("title", info.title)] if _has(info.title, wanted) else []
            if in_text and not matches:
                status.show(f"{number} conversations searched")
                matches = [(message.role, message.content) for message in _read(client, info) if _has(message.content, wanted)]
            if matches:
                status.clear()
                _print_match(output, info, [(role, _excerpt(text, wanted)) for role, text in matches], as_lines)


@conversations.command("rename")
@click.argument("id")
@click.argument("title")
@server_options
def _rename(id: str, title: str, **server: Any) -> None:
    """Give the conversation ID another TITLE."""
    with open_client(**server) as client:
        client.conversation(id).rename(title)
    click.echo(f"Renamed {cell(id)} to {cell(title)}.", err=True)


@conversations.command("delete")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@server_options
@click.option("--all", "everything", is_flag=True, help="Delete all conversations.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def _delete(ids: tuple[str, ...], everything: bool, yes: bool, **server: Any) -> None:
    """Delete conversations. Asks first; in a pipe --yes is needed. Prints the ids of those that were deleted."""
    if bool(ids) == everything:
        raise click.UsageError("name conversations, or pass --all")
    output = Output()
    with open_client(**server) as client:
        if everything:
            _confirm("Delete ALL conversations?", yes)
            count = client.conversations.delete_all()
            click.echo(f"Deleted {count} conversations.", err=True)
            return
        _confirm(f"Delete {_titles(client, ids)}?" if not yes else "", yes)
        _each(ids, client.conversations.delete, output)


@conversations.command("share")
@click.argument("id")
@server_options
@json_option
def _share(id: str, as_lines: bool, **server: Any) -> None:
    """Publish the conversation ID as it is now, and print the link. The link shows it to anyone."""
    output = Output()
    with open_client(**server) as client:
        published = client.conversation(id).share()
    output.write((as_json(published.to_dict()) if as_lines else cell(published.url)) + "\n")


@conversations.command("export")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@server_options
@click.option("-o", "--output", "target", type=click.Path(), metavar="PATH", help="A folder; or for one ID also a file.")
@click.option("--format", "kind", type=click.Choice(("md", "json", "ipynb")), help="Default: as the file's name ends, or md.")
@click.option("-n", "--limit", type=click.IntRange(1), metavar="N", help="Without IDs: only the newest N.")
@click.option("--since", metavar="DATE", help="Without IDs: only those that have changed since then, such as 2026-11-01.")
@click.option("--active", is_flag=True, help="Only the newest branch of each conversation.")
@click.option("--no-files", is_flag=True, help="Leave out attachments and files of tools.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@json_option
def _export(
    ids: tuple[str, ...],
    target: str | None,
    kind: Any,
    limit: int | None,
    since: str | None,
    active: bool,
    no_files: bool,
    overwrite: bool,
    as_lines: bool,
    **server: Any,
) -> None:
    """Save conversations, with their files, and print the paths: those with the given IDs, or all into a folder.

    A second export of all into the same folder fetches only what has changed.
    """
    output = Output()

    def saved(path: Path) -> None:
        output.write((as_json({"path": str(path)}) if as_lines else str(path)) + "\n")

    if not ids and target is None:
        raise click.UsageError("name the folder for all conversations: hfclient conversations export -o FOLDER")
    options: dict[str, Any] = {"files": not no_files, "branches": "active" if active else "all"}
    with open_client(**server) as client:
        if not ids:
            assert target is not None
            options |= {"format": kind} if kind else {}
            for path in client.conversations.export(target, limit=limit, since=since, **options):
                saved(path)
            return
        if limit is not None or since is not None:
            raise click.UsageError("--limit and --since are for the export of all conversations")
        place = target or "."
        if len(ids) > 1 and not place.endswith(("/", "\\")):
            place += "/"

        def save(id: str) -> None:
            saved(client.conversation(id).export(place, format=kind, overwrite=overwrite, **options))

        _each(ids, save, None)


# Helpers


def _newest(client: Client, limit: int | None) -> Iterator[ConversationInfo]:
    for number, info in enumerate(client.conversations):
        if number == limit:
            return
        yield info


def _read(client: Client, info: ConversationInfo) -> list[Message]:
    """Return the messages of all branches; none of a conversation that cannot be read."""
    try:
        return list(client.conversation(info.id).tree())
    except (APIStatusError, ProtocolError) as error:
        if isinstance(error, APIStatusError) and error.status_code in (401, 429):
            raise
        warn(f"{info.id} was left out: {error.message}")
        return []


def _each(ids: tuple[str, ...], act: Callable[[str], object], output: Output | None) -> None:
    """Call *act* with each id, also after errors; print the ids, and raise the first error at the end."""
    first: HFClientError | None = None
    for one in dict.fromkeys(ids):
        try:
            act(one)
        except (APIStatusError, ProtocolError, InvalidInputError) as error:
            if len(ids) > 1:
                warn(f"{one}: {error.message}")
            first = first or error
            continue
        if output is not None:
            output.write(f"{cell(one)}\n")
    if first is not None:
        if len(ids) > 1:
            raise HFClientError("not all conversations were processed; the first error was: " + first.message) from first
        raise first


def _titles(client: Client, ids: tuple[str, ...]) -> str:
    """Return how many conversations it is about, and their titles, as far as the server knows them."""
    titles = []
    for one in ids[:5]:
        conversation = client.conversation(one)
        with contextlib.suppress(APIStatusError, ProtocolError):
            conversation.tree()
        titles.append(f'"{cell(conversation.title)[:60]}"' if conversation.title else cell(one))
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return ", ".join(titles) + more


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError("without a terminal to ask at, pass --yes")
    if not confirm(question):
        raise click.exceptions.Exit(1)


def _has(text: str, words: list[str]) -> bool:
    folded = text.casefold()
    return all(word in folded for word in words)


def _excerpt(text: str, words: list[str]) -> str:
    line = " ".join(text.split())
    at = max(0, line.casefold().find(words[0]))
    start, end = max(0, at - _EXCERPT), at + len(words[0]) + _EXCERPT
    return ("..." if start else "") + line[start:end] + ("..." if end < len(line) else "")


def _print_match(output: Output, info: ConversationInfo, matches: list[tuple[str, str]], as_lines: bool) -> None:
    if as_lines:
        found = [{"role": role, "excerpt": text} for role, text in matches if role != "title"]
        output.write_json({**info.to_dict(), "matches": found})
        return
    output.write(f"{cell(info.id)}  {_date(info.updated_at) or '-':16}  {cell(info.title)}\n")
    for role, text in matches:
        if role != "title":
            output.write(f"  {_NAMES.get(role, cell(role))}: {cell(text)}\n", dim=True)


def _print_messages(output: Output, conversation: Conversation, messages: list[Message]) -> None:
    output.write(f"{cell(conversation.title)} ({cell(conversation.model)})\n")
    for message in messages:
        if message.role == "system" and not message.content:
            continue
        when = _date(message.created_at)
        output.write(f"\n{_NAMES.get(message.role, cell(message.role))}{f', {when}' if when else ''}:\n", dim=True)
        for file in message.files:
            output.write(f"[file: {cell(file.name)}]\n", dim=True)
        if message.role == "assistant" and output.is_terminal:
            from hfclient import events
            from hfclient.cli.rendering.markdown import answer_printer

            with answer_printer(output, has_summary=False) as printer:
                printer.show(events.Token(message.content))
        elif message.content:
            output.write(message.content.rstrip("\n") + "\n")
        if message.interrupted:
            output.write("[interrupted]\n", dim=True)


def _date(time: datetime | None) -> str | None:
    """Return *time* in the time zone of this machine."""
    return None if time is None else time.replace(tzinfo=time.tzinfo or timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M")

