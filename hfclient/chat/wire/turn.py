"""`Turn`: the ids of one sent message, enough to find its answer from any process."""

from __future__ import annotations

from attrs import frozen

from hfclient.values import Value

__all__ = ["Turn", "new_generation_id"]


@frozen(eq=False, repr=False)
class Turn(Value):
    """One message that was sent.

    Attributes:
        conversation_id: Its conversation.
        generation_id: The run on the server; None for the newest run, whose id is not known.
        parent_id: The message that the prompt was attached to, or None if unknown.
        text: The prompt, or None if unknown.
        user_id: The user message that is answered again, for a retry.
        known: Ids of earlier answers to it.
        message_id: The assistant message that the run continues, after a parked question.
    """

    conversation_id: str
    generation_id: str | None
    parent_id: str | None = None
    text: str | None = None
    user_id: str | None = None
    known: tuple[str, ...] = ()
    message_id: str | None = None


def new_generation_id() -> str:
    """Return a unique id for a run."""
    import uuid  # imported late: it loads much

    return str(uuid.uuid4())
