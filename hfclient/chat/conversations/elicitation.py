"""Questions of tools (elicitations): declining them, and the turn that continues after a parked one."""

from __future__ import annotations

import logging
from typing import Any

from hfclient.chat.wire.messages import ConversationState
from hfclient.chat.wire.turn import Turn, new_generation_id
from hfclient.errors import InvalidInputError
from hfclient.events import Elicitation

__all__ = ["decline", "report_open", "turn_after"]

_log = logging.getLogger("hfclient")


def decline(question: Elicitation) -> bool:
    """Decline a question: the default of `Conversation.ask`."""
    _log.warning("a tool of %s asks %r; without on_elicitation= it is declined", question.server, question.message)
    return False


def report_open(question: Elicitation) -> None:
    """Tell a caller that does not see the events why the answer does not continue."""
    _log.warning(
        "a tool of %s asks %r, and waits for an answer; on_elicitation= gives it", question.server, question.message
    )


def turn_after(state: ConversationState, elicitation_id: str) -> tuple[Turn, dict[str, Any]]:
    """Return the turn, with the fields of its form, that continues the message in which a parked question was asked.

    Raises:
        InvalidInputError: The conversation holds no answer.
    """
    answers = [message for message in reversed(state.messages) if message.role == "assistant"]
    asking = (message for message in answers if elicitation_id in str(message.raw.get("updates")))
    message = next(asking, answers[0] if answers else None)
    if message is None:
        raise InvalidInputError(f"conversation {state.id} holds no answer that waits for this question")
    turn = Turn(state.id, new_generation_id(), message_id=message.id)
    return turn, {"id": message.id, "resumeElicitationId": elicitation_id}
