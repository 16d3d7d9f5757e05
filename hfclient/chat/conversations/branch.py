"""`Branch`: the active branch of a conversation, to whose end the next message is attached, and how it is saved."""

from __future__ import annotations

from typing import Any

from hfclient.chat.wire.messages import find_answer
from hfclient.chat.wire.tree import MessageTree
from hfclient.chat.wire.turn import Turn
from hfclient.errors import InvalidInputError, ProtocolError
from hfclient.types import Message

__all__ = ["Branch", "check_state"]

_VERSION = 1
_TURN = ("generation_id", "parent_id", "user_id", "message_id")
_TEXTS = (*_TURN, "id", "model", "assistant", "system_prompt", "leaf", "leaf_before")


class Branch:
    """The active branch of one conversation.

    Attributes:
        leaf: Id of its last message; None if that is the answer to the last turn, which is found when it is needed.
        leaf_before: The leaf that a message that may have arrived was to be attached to, or None.
        last_turn: The last turn that may have arrived, or None.
    """

    def __init__(self) -> None:
        self.leaf: str | None = None
        self.leaf_before: str | None = None
        self.last_turn: Turn | None = None

    def add(self, turn: Turn, *, arrived: bool) -> None:
        """Note that *turn* was sent. If it may not have arrived, the next message looks for its answer first."""
        self.leaf, self.leaf_before = None, None if arrived else self.leaf
        self.last_turn = turn

    def forget(self) -> None:
        """Forget the end of the branch, which may be among deleted messages."""
        self.leaf = self.last_turn = None

    def leaf_in(self, tree: MessageTree) -> str | None:
        """Return the leaf if it is there, else the answer to the last turn, else the end of the newest branch."""
        if self.leaf is not None and self.leaf in tree:
            return self.leaf
        answer = find_answer(tree.state, self.last_turn) if self.last_turn is not None else None
        if answer is not None:
            return answer.id
        return self.leaf_before if self.leaf_before in tree else tree.newest_leaf()

    def parent_in(self, tree: MessageTree) -> str:
        """Return the leaf, which becomes the parent of the next message.

        Raises:
            ProtocolError: The conversation has no messages.
        """
        leaf = self.leaf_in(tree)
        if leaf is None:
            raise ProtocolError(f"conversation {tree.state.id} holds no message to attach the next one to")
        self.leaf = leaf
        return leaf

    def message_in(self, tree: MessageTree, message_id: str | None, role: str) -> Message:
        """Return the message called *message_id*, or the last one of the branch, whose role is *role*.

        Raises:
            InvalidInputError: There is no such message.
        """
        path = tree.path(message_id if message_id is not None else self.leaf_in(tree))
        candidates = path[-1:] if message_id is not None else path[::-1]
        found = next((message for message in candidates if message.role == role), None)
        if found is None:
            what = f"no {role} message" + (f" {message_id!r}" if message_id is not None else "")
            raise InvalidInputError(f"conversation {tree.state.id} has {what}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the branch as a part of the state that `Conversation.to_dict` returns: ids, no texts."""
        turn = self.last_turn
        return {
            "version": _VERSION,
            "leaf": self.leaf,
            "leaf_before": self.leaf_before,
            **{name: getattr(turn, name, None) for name in _TURN},
            "known": list(turn.known) if turn is not None else [],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`to_dict` returned, from a state that `check_state` has accepted."""
        self.leaf, self.leaf_before = state.get("leaf"), state.get("leaf_before")
        if state.get("id") is not None and state.get("generation_id"):
            ids = {name: state.get(name) for name in _TURN}
            self.last_turn = Turn(state["id"], **ids, known=tuple(state.get("known", ())))


def check_state(state: object) -> None:
    """Check a state that `Conversation.to_dict` returned, perhaps in another release.

    Raises:
        InvalidInputError: It is of a later version, or not such a state.
    """
    if not _is_state(state):
        raise InvalidInputError("this is not a state that Conversation.to_dict() of this release returned")


def _is_state(state: object) -> bool:
    if not isinstance(state, dict) or state.get("version") != _VERSION:
        return False
    known = state.get("known", [])
    return (
        all(isinstance(state.get(name), (str, type(None))) for name in _TEXTS)
        and isinstance(state.get("temporary", False), bool)
        and isinstance(known, list)
        and all(isinstance(item, str) for item in known)
    )
