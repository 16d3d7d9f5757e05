"""The messages of a conversation in the order in which an export shows them: the active branch, then what others add to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

from attrs import frozen

from hfclient.chat.wire.messages import ConversationState
from hfclient.chat.wire.tree import MessageTree
from hfclient.types import Message, StoredFile
from hfclient.values import Value

__all__ = ["Branch", "Branches", "Exported", "beginning", "branches_of", "heading", "one_line_title"]

Branches: TypeAlias = Literal["all", "active"]
_ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}


@frozen(eq=False, repr=False)
class Exported(Value):
    """A conversation as it is exported.

    Attributes:
        state: The conversation.
        saved: The path of each saved file, relative to the export, by sha.
        pictures: The content and the media type of small images among them, by sha; for formats that hold them.
        leaf_id: End of the active branch; None for the newest.
        branches: Which branches are exported.
    """

    state: ConversationState
    saved: Mapping[str, str]
    pictures: Mapping[str, tuple[bytes, str]]
    leaf_id: str | None
    branches: Branches

    def files(self, message: Message) -> Iterator[tuple[StoredFile, str, str | None]]:
        """Yield each file of a message, with a label in one line and its path, or None if it was not saved."""
        for file in message.files:
            label = " ".join(file.name.split()) or file.sha[:16]
            yield file, label, self.saved.get(file.sha)


@frozen(eq=False, repr=False)
class Branch(Value):
    """The messages of one branch that earlier branches do not have.

    Attributes:
        number: 1 for the active branch.
        parent: The message above the first one; None at the root.
        messages: Its messages, the first one first; without an empty system message.
    """

    number: int
    parent: Message | None
    messages: tuple[Message, ...]


def branches_of(exported: Exported) -> Iterator[Branch]:
    """Yield the active branch, then the others, oldest first; each message is in one of them."""
    tree = MessageTree(exported.state)
    active = exported.leaf_id or tree.newest_leaf()
    leaves = [active, *(leaf.id for leaf in tree.leaves if leaf.id != active)] if exported.branches == "all" else [active]
    by_id = {message.id: message for message in tree}
    seen: set[str] = set()
    number = 0
    for leaf in leaves:
        added = _path_to_seen(by_id, leaf, seen)
        if number and not added:
            continue
        number += 1
        parent = by_id.get(added[0].parent_id or "") if added else None
        yield Branch(number, parent, tuple(message for message in added if message.role != "system" or message.content))


def _path_to_seen(by_id: Mapping[str, Message], leaf: str | None, seen: set[str]) -> list[Message]:
    """Return the messages from *leaf* up to the first one that was seen, and count them as seen.

    Each message is visited once, so a conversation with many branches takes time in proportion to its messages.
    """
    path: list[Message] = []
    step = by_id.get(leaf or "")
    while step is not None and step.id not in seen:
        seen.add(step.id)
        path.append(step)
        step = by_id.get(step.parent_id or "")
    return path[::-1]


def heading(message: Message) -> str:
    """Return role and time of a message."""
    when = f" · {message.created_at:%Y-%m-%d %H:%M} UTC" if message.created_at else ""
    return f"{_ROLES.get(message.role, message.role)}{when}"


def one_line_title(state: ConversationState) -> str:
    """Return the title in one line."""
    return " ".join(state.title.split()) or "Conversation"


def beginning(message: Message | None) -> str:
    """Return the first words of a message, to name the place where a branch begins."""
    words = " ".join(message.content[:200].split()) if message is not None else ""
    return words if len(words) <= 60 else words[:59] + "…"
