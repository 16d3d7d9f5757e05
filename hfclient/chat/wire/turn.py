"""`Turn`: what is known of one send, enough to find its answer again from any process."""

from __future__ import annotations

from attrs import frozen

from hfclient.values import Value

__all__ = ["Turn", "new_generation_id"]


@frozen(eq=False, repr=False)
class Turn(Value):
    """One send, as a value.

    Attributes:
        conversation_id: Where it is.
        generation_id: The run on the server; None if somebody else's run is followed without naming it.
        parent_id: The message that the prompt was hung from, or None if unknown.
        text: The prompt, or None if unknown.
        user_id: The user message that is answered once more, for a retry.
        known: Answers that were there before, which can therefore not be this one.
        message_id: The assistant message that the run goes on writing, for the answer to a parked question.
    """

    conversation_id: str
    generation_id: str | None
    parent_id: str | None = None
    text: str | None = None
    user_id: str | None = None
    known: tuple[str, ...] = ()
    message_id: str | None = None


def new_generation_id() -> str:
    """Return an id for a run that nobody else has."""
    import uuid  # loads much, for which import hfclient need not wait

    return str(uuid.uuid4())
