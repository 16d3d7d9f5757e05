"""A conversation with an inference server, which keeps nothing: the list of its messages is a variable of the notebook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hfclient import Client, Reply, Stream

__all__ = ["Messages", "keep", "send", "system_prompt", "user_message"]

_URL = re.compile(r"(?:https?|data):", re.IGNORECASE)


class Messages(list[Any]):
    """The messages of a conversation, as ``client.inference.chat`` takes them: dicts, and a `Reply` for each answer.

    Attributes:
        model: The model that was asked last; None for the server's default.
        provider: The provider or the providers that were given last, or None.
    """

    model: str | None = None
    provider: str | list[str] | None = None

    @classmethod
    def like(cls, other: object) -> Messages:
        """Return an empty list, with the model and provider of *other* if it is such a list."""
        made = cls()
        if isinstance(other, Messages):
            made.model, made.provider = other.model, other.provider
        return made


def system_prompt(messages: list[Any]) -> str | None:
    """Return the text of the system message with which *messages* begin, or None."""
    first = messages[0] if messages else None
    return first.get("content") if isinstance(first, dict) and first.get("role") == "system" else None


def user_message(text: str, files: list[Any]) -> dict[str, Any]:
    """Return the message with *text* and *files*, of which strings are paths or URLs."""
    given = [Path(file) if isinstance(file, str) and not _URL.match(file) else file for file in files]
    return {"role": "user", "content": text, **({"files": given} if given else {})}


def send(client: Client, messages: list[Any], turn: dict[str, Any], model: str | None, provider: str | None) -> Stream:
    """Send *messages* and *turn*, which is the next one; *messages* stays as it is.

    Args:
        client: The client.
        messages: If it is a `Messages`, what is not given is what was given last.
        turn: A user message.
        model: The model to ask from now on, or None.
        provider: One or several names, with commas, from now on; or None.
    """
    names = [name.strip() for name in (provider or "").split(",") if name.strip()]
    before = messages if isinstance(messages, Messages) else Messages()
    model = model or before.model
    providers = (names if len(names) > 1 else names[0]) if names else before.provider
    options: dict[str, Any] = {key: value for key, value in {"model": model, "provider": providers}.items() if value is not None}
    stream = client.inference.chat([*messages, turn], **options)
    before.model, before.provider = model, providers  # the server has accepted them
    return stream


def keep(messages: list[Any], turn: dict[str, Any], reply: Reply) -> None:
    """Append *turn* and its *reply*, also one that was cut; without a text there is nothing to go on from."""
    if reply.text:
        messages += [turn, reply]
