"""A conversation as Markdown. The texts stay as the model and the user wrote them."""

from __future__ import annotations

from collections.abc import Iterator

from hfclient.chat.files.formats.branches import Exported, beginning, branches_of, heading, one_line_title
from hfclient.files.replies import inline_code, link_label, reasoning_markdown
from hfclient.types import Message

__all__ = ["as_markdown"]


def as_markdown(exported: Exported) -> str:
    """Return the active branch as Markdown, then what other branches add."""
    state = exported.state
    parts = [f"# {one_line_title(state)}", f"*{state.model}* · `{state.id}`"]
    for branch in branches_of(exported):
        if branch.number > 1:
            parts += ["---", f"## Branch {branch.number}"]
            if words := beginning(branch.parent):
                parts.append(f"Continues after: {inline_code(words)}")
        for message in branch.messages:
            parts += _message_parts(message, exported)
    return "\n\n".join(parts) + "\n"


def _message_parts(message: Message, exported: Exported) -> Iterator[str]:
    yield f"## {heading(message)}"
    for file, label, link in exported.files(message):
        prefix = "!" if file.mime.startswith("image/") else ""
        yield f"{prefix}[{link_label(label)}](<{link}>)" if link else f"({link_label(label)}, not saved)"
    if message.reasoning:
        yield reasoning_markdown(message.reasoning)
    if message.content:
        yield message.content
    if message.interrupted:
        yield "*(interrupted)*"
