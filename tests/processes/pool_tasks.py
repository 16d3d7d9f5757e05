"""Functions that processes of a pool run; importable, so that they can be pickled."""

from __future__ import annotations

from typing import Any

from hfclient import Client, Reply
from hfclient.events import AnyEvent


def ask(client: Client, prompt: str) -> Reply:
    """Ask with a client that was pickled."""
    return client.chat(prompt).result()


def stream(client: Client, prompt: str) -> list[AnyEvent]:
    """Return all events of an answer."""
    return list(client.chat(prompt))


def continue_conversation(client: Client, state: dict[str, Any], prompt: str) -> dict[str, Any]:
    """Continue a conversation from its saved state."""
    conversation = client.restore(state)
    conversation.ask(prompt)
    return conversation.to_dict()
