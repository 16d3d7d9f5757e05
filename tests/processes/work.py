"""What processes of a pool do: importable by any of them, and by nobody's leave."""

from __future__ import annotations

from typing import Any

from hfclient import Client, Reply
from hfclient.events import AnyEvent


def ask(client: Client, prompt: str) -> Reply:
    """Ask over a client that came as a pickle."""
    return client.chat(prompt).result()


def stream(client: Client, prompt: str) -> list[AnyEvent]:
    """Return all events of an answer."""
    return list(client.chat(prompt))


def go_on(client: Client, state: dict[str, Any], prompt: str) -> dict[str, Any]:
    """Go on with a conversation that came as its state."""
    conversation = client.restore(state)
    conversation.ask(prompt)
    return conversation.to_dict()
