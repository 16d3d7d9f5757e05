"""Messages, trees of messages, conversations and lists of them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from typing import Any

from hfclient.notebook.bundles import Forms
from hfclient.notebook.escaping import amount, line, shortened, text_in_html
from hfclient.notebook.replies import folded
from hfclient.notebook.tables import Cell, Table
from hfclient.redaction.control_characters import stripped
from hfclient.redaction.markdown import as_markdown_text, link_to, safe_markdown
from hfclient.types import ConversationInfo, Message, Share, User

__all__ = [
    "conversation_forms",
    "conversations_forms",
    "info_forms",
    "infos_forms",
    "message_forms",
    "messages_forms",
    "share_forms",
    "tree_forms",
    "user_forms",
]

_MAX_TEXT = 100_000  # characters of a message
_MAX_MESSAGES = 100  # of a list
_MAX_NODES = 300  # messages of a tree
_MAX_DEPTH = 60  # lists within lists; deeper messages are shown at this depth


def message_forms(message: Message) -> Forms:
    """Return the forms of a message: its text; as Markdown with its role, reasoning and files."""
    return {"text/plain": lambda: _message_text(message), "text/markdown": lambda: _message_markdown(message)}


def messages_forms(messages: list[Message]) -> Forms:
    """Return the forms of several messages, one below another."""
    shown, more = messages[:_MAX_MESSAGES], len(messages) - _MAX_MESSAGES
    rest = [f"… and {more:,} more messages"] if more > 0 else []
    return {
        "text/plain": lambda: "\n\n".join([*map(_message_text, shown), *rest]),
        "text/markdown": lambda: "\n\n---\n\n".join([*map(_message_markdown, shown), *rest]),
    }


def _message_text(message: Message) -> str:
    return f"{line(message.role, 40)}: {stripped(message.content[:_MAX_TEXT])}{_cut(message)}"


def _cut(message: Message) -> str:
    more = len(message.content) - _MAX_TEXT
    return f"\n… and {more:,} more characters" if more > 0 else ""


def _message_markdown(message: Message) -> str:
    parts = [f"**{as_markdown_text(line(message.role, 40))}**"]
    if message.created_at is not None:
        parts[0] += f" <small>{_time(message.created_at)}</small>"
    if message.reasoning:
        parts.append(folded("Reasoning", safe_markdown(message.reasoning[:_MAX_TEXT])))
    parts.append(safe_markdown(message.content[:_MAX_TEXT]) + ("\n" if _cut(message) else "") + _cut(message))
    if message.files:
        parts.append("Files: " + ", ".join(as_markdown_text(line(file.name, 100)) for file in message.files[:20]))
    if message.interrupted:
        parts.append("<small>⚠ interrupted: the answer is not complete</small>")
    elif not message.finished:
        parts.append("<small>the answer may still be running</small>")
    return "\n\n".join(parts)


# Trees


def tree_forms(tree: Any) -> Forms:
    """Return the forms of a conversation with its branches: lines with the branches drawn, and lists within lists."""
    return {"text/plain": lambda: "\n".join(_drawn(tree)), "text/html": lambda: _nested(tree)}


def _children(messages: Iterable[Message]) -> dict[str | None, list[Message]]:
    known = {message.id for message in messages}
    children: dict[str | None, list[Message]] = {}
    for message in messages:
        children.setdefault(message.parent_id if message.parent_id in known else None, []).append(message)
    return children


def _walk(tree: Any) -> Iterator[tuple[Message, int, int, int]]:
    """Yield the first messages in the order of the tree: each with its depth, its number among its siblings, and their count.

    Only a branch adds depth: the one answer to a question is drawn below it, not beside it.
    """
    children = _children(tree.messages)
    roots = children.get(None, [])
    stack = [(message, 0, i, len(roots)) for i, message in reversed(list(enumerate(roots, 1)))]
    seen: set[str] = set()  # a hostile tree may have a cycle
    while stack and len(seen) < _MAX_NODES:
        message, depth, number, count = stack.pop()
        if message.id in seen:
            continue
        seen.add(message.id)
        yield message, depth, number, count
        below = children.get(message.id, [])
        deeper = min(depth + (len(below) > 1), _MAX_DEPTH)
        stack += [(child, deeper, i, len(below)) for i, child in reversed(list(enumerate(below, 1)))]


def _drawn(tree: Any) -> Iterator[str]:
    count = len(tree.messages)
    parents = {message.parent_id for message in tree.messages}
    leaves = sum(message.id not in parents for message in tree.messages)
    yield f"{amount(count, 'message')}, {amount(leaves, 'branch', 'branches')}" if count else "no messages"
    for message, depth, number, siblings in _walk(tree):
        branch = f"{number}/{siblings} " if siblings > 1 else ""
        mark = "├ " if number < siblings else "└ " if siblings > 1 else "  " if depth else ""
        yield f"{'  ' * max(depth - 1, 0)}{mark}{branch}{line(message.role, 20)} {line(message.id[:8], 8)}: {line(message.content, 70)}"
    if count > _MAX_NODES:
        yield f"… and {count - _MAX_NODES:,} more"


def _nested(tree: Any) -> str:
    out, level = [f"<p>{text_in_html(next(_drawn(tree)))}</p><ul>"], 0
    for message, depth, number, siblings in _walk(tree):
        if depth > level:
            out.append('<li style="list-style:none"><ul>' * (depth - level))
        elif depth < level:
            out.append("</ul></li>" * (level - depth))
        level = depth
        branch = f" <small>{number} of {siblings}</small>" if siblings > 1 else ""
        text = message.content
        summary = f"<b>{text_in_html(line(message.role, 20))}</b>{branch} {text_in_html(line(text, 90))}"
        if len(text) > 90 or "\n" in text:
            whole = text_in_html(shortened(text, 5000))
            summary = f'<details><summary>{summary}</summary><div style="white-space:pre-wrap">{whole}</div></details>'
        out.append(f"<li>{summary}</li>")
    out.append("</ul></li>" * level + "</ul>")
    more = len(tree.messages) - _MAX_NODES
    return "".join(out) + (f"<p>… and {more:,} more</p>" if more > 0 else "")


# Conversations


def conversation_forms(conversation: Any) -> Forms:
    """Return the forms of a conversation: what is known without a request, and how to read the rest."""
    facts = [("title", conversation.title), ("id", conversation.id or "not created yet"), ("model", conversation.model)]
    known = [(name, line(str(value), 120)) for name, value in facts if value]
    hint = "conversation.messages() reads its messages, conversation.tree() also its branches."
    if conversation.id is None:
        hint = 'conversation.send("...") creates it.'
    return {
        "text/plain": lambda: "\n".join(
            ["Conversation", *(f"  {name}: {value}" for name, value in known), f"  {hint}"]
        ),
        "text/markdown": lambda: _facts(
            f"**{as_markdown_text(line(conversation.title or 'Conversation', 120))}**", known[-2:], hint
        ),
    }


def _facts(first: str, known: list[tuple[str, str]], hint: str) -> str:
    words = " · ".join(f"{name} <code>{as_markdown_text(value)}</code>" for name, value in known)
    return f"{first}<br>{words}<br><small>{as_markdown_text(hint)}</small>"


def conversations_forms(conversations: Any) -> Forms:
    """Return how to get the conversations: a display sends nothing."""
    return {
        "text/plain": lambda: (
            "The conversations on the server: client.conversations.list(20) is a table of the newest 20."
        )
    }


def info_forms(info: ConversationInfo) -> Forms:
    """Return the forms of an entry of the list of conversations."""
    return infos_forms([info])


def infos_forms(infos: list[ConversationInfo]) -> Forms:
    """Return the forms of a list of conversations: a table."""

    def table() -> Table:
        rows = (
            [Cell(info.title), Cell(info.model), Cell(_time(info.updated_at), _seconds(info.updated_at)), Cell(info.id)]
            for info in infos
        )
        return Table(["Title", "Model", "Updated", "Id"], rows, total=len(infos))

    return {"text/plain": lambda: table().text(), "text/html": lambda: table().html()}


def share_forms(share: Share) -> Forms:
    """Return the forms of a published conversation: its link."""
    return {
        "text/plain": lambda: line(share.url, 2000),
        "text/markdown": lambda: link_to(share.url, line(share.url, 2000)),
    }


def user_forms(user: User) -> Forms:
    """Return the forms of a user: names; the picture would be a request."""
    words = [line(str(value), 120) for value in (user.username, user.email, user.id) if value]
    return {"text/plain": lambda: f"User {' · '.join(words)}"}


def _time(when: datetime.datetime | None) -> str:
    """Return a time of the server in UTC, because a notebook is read in other places, too."""
    return f"{when:%Y-%m-%d %H:%M} UTC" if when is not None else ""


def _seconds(when: datetime.datetime | None) -> float | None:
    return when.timestamp() if when is not None else None
