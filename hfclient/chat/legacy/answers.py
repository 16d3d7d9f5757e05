"""Answers on servers before July 2026, which store no generation ids with their messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hfclient.chat.wire.turn import Turn
from hfclient.types import Message

__all__ = ["find_answer_by_text"]


def find_answer_by_text(answers: Iterable[Message], by_id: Mapping[str, Message], turn: Turn) -> Message | None:
    """Return the newest answer to the same text below the same parent as in *turn*, or None.

    Args:
        answers: The assistant messages of the conversation, newest first.
        by_id: All of its messages.
        turn: The turn.
    """
    for message in answers:
        asked = by_id.get(message.parent_id or "")
        if asked is None or message.id in turn.known:
            continue
        if turn.user_id is not None:
            if asked.id == turn.user_id:
                return message
        elif turn.parent_id is not None and asked.parent_id == turn.parent_id and _is_text(asked.content, turn.text):
            return message
    return None


def _is_text(stored: str, sent: str | None) -> bool:
    return sent is None or stored == sent.replace("\r\n", "\n")
