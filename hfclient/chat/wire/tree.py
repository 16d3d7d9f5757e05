"""`MessageTree`: a conversation with all its branches.

Below one system root user and assistant messages alternate. Another answer to a question is a sibling of the first
answer, an edited question is a sibling of the first question; the context of the model is always one path from the root.
"""

from __future__ import annotations

from collections.abc import Iterator

from hfclient.arguments.argument_types import check_arguments
from hfclient.chat.wire.messages import ConversationState
from hfclient.display import Displayed
from hfclient.redaction.control_characters import collapsed, escaped
from hfclient.types import Message

__all__ = ["MessageTree"]


class MessageTree(Displayed):
    """All messages of a conversation at the time of a read. Iterating gives them in order of creation.

    Attributes:
        state: The conversation as it was read.
    """

    def __init__(self, state: ConversationState) -> None:
        self.state = state
        self._by_id = {message.id: message for message in state.messages}

    def __repr__(self) -> str:
        return f"<MessageTree of {len(self)} messages, {len(self.leaves)} branches>"

    def __len__(self) -> int:
        return len(self.state.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self.state.messages)

    def __contains__(self, message: object) -> bool:
        """Whether there is a message with this id, or this `Message`."""
        return (message.id if isinstance(message, Message) else message) in self._by_id

    def __getitem__(self, message_id: str) -> Message:
        return self._by_id[message_id]

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages, in order of creation."""
        return self.state.messages

    @property
    def root(self) -> Message | None:
        """The system message above all others; None in an empty conversation."""
        if self.state.root_id in self._by_id:
            return self._by_id[self.state.root_id or ""]
        return next((message for message in self.state.messages if message.parent_id is None), None)

    @property
    def leaves(self) -> list[Message]:
        """The ends of all branches, oldest first."""
        parents = {message.parent_id for message in self.state.messages}
        return [message for message in self.state.messages if message.id not in parents]

    def children(self, message_id: str | None) -> list[Message]:
        """Return the messages directly below one, oldest first; those without a parent for None."""
        check_arguments(MessageTree.children, locals())
        return [message for message in self.state.messages if message.parent_id == message_id]

    def path(self, message_id: str | None) -> list[Message]:
        """Return the messages from the root to *message_id*, root first; empty if there is no such message."""
        check_arguments(MessageTree.path, locals())
        path: dict[str, Message] = {}
        step = self._by_id.get(message_id or "")
        while step is not None and step.id not in path:  # a hostile tree may hold a cycle
            path[step.id] = step
            step = self._by_id.get(step.parent_id or "")
        return list(path.values())[::-1]

    def newest_leaf(self, below: str | None = None) -> str | None:
        """Return the id of the end of the newest branch, or of the newest one below a message; None if it does not exist.

        The newest branch is the one through the newest message: where the server's own page would continue.
        """
        check_arguments(MessageTree.newest_leaf, locals())
        newest = self.state.messages[-1] if self.state.messages else None
        step = newest if below is None else self._by_id.get(below)
        seen = set()
        while step is not None and step.id not in seen:
            seen.add(step.id)
            children = self.children(step.id)
            if not children:
                return step.id
            step = children[-1]
        return None

    def __str__(self) -> str:
        """Draw the tree, one line per message."""
        lines: list[str] = []
        stack = [(message, "") for message in reversed(self.children(None))]
        drawn: set[str] = set()
        while stack:
            message, indent = stack.pop()
            if message.id in drawn:
                continue
            drawn.add(message.id)
            text = collapsed(message.content)
            lines.append(f"{indent}{escaped(message.role)} {escaped(message.id[:8])}: {text[:60]}{'…' if len(text) > 60 else ''}")
            stack += [(child, indent + "  ") for child in reversed(self.children(message.id))]
        return "\n".join(lines)
