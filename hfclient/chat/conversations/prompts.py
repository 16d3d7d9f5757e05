"""A prompt as the caller has it, a string or a list of messages, becomes what chat-ui takes: a system prompt and a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from attrs import frozen

from hfclient.errors import InvalidInputError

__all__ = ["Prompt", "PromptLike", "parse_prompt"]

PromptLike: TypeAlias = "str | Sequence[Mapping[str, Any]]"

_ROLES = ("system", "developer", "user", "assistant")
_NAMES = {"user": "User", "assistant": "Assistant"}


@frozen
class Prompt:
    """What a prompt says.

    Attributes:
        text: The last user message: what a running conversation is sent.
        system: The system messages, joined; None if there are none.
        earlier: ``(role, text)`` of the turns before the last user message.
    """

    text: str
    system: str | None = None
    earlier: tuple[tuple[str, str], ...] = ()

    def folded(self) -> str:
        """Return the text for a new conversation: the server takes one user message, so earlier turns are told in it."""
        if not self.earlier:
            return self.text
        turns = "\n\n".join(f"{_NAMES[role]}: {text}" for role, text in self.earlier)
        return f"This conversation goes on. So far:\n\n{turns}\n\nUser: {self.text}"


def parse_prompt(prompt: PromptLike) -> Prompt:
    """Return what *prompt* says.

        >>> parse_prompt([{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}])
        Prompt(text='Hi', system='Be terse.', earlier=())

    Raises:
        InvalidInputError: It is empty, ends with something else than a user message, or holds an unknown role or part.
    """
    if isinstance(prompt, str):
        return Prompt(_not_empty(prompt))
    if isinstance(prompt, Mapping) or not isinstance(prompt, Sequence):
        raise InvalidInputError(
            f"a prompt is a string or a list of {{'role': ..., 'content': ...}} messages, not {type(prompt).__name__}"
        )
    system: list[str] = []
    turns: list[tuple[str, str]] = []
    for position, message in enumerate(prompt):
        role, text = _read(message, position)
        if role in ("system", "developer"):
            system.append(text)
        else:
            turns.append((role, text))
    if not turns:
        raise InvalidInputError("the prompt holds no user message")
    role, text = turns.pop()
    if role != "user":
        raise InvalidInputError("the last message of a prompt must be the user's")
    return Prompt(_not_empty(text), "\n\n".join(filter(None, system)) or None, tuple(turns))


def _not_empty(text: str) -> str:
    if not text.strip():
        raise InvalidInputError("the prompt is empty")
    return _whole(text)


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(
            "the prompt holds half of a character (a lone surrogate), which UTF-8 cannot carry"
        ) from None
    return text


def _read(message: Any, position: int) -> tuple[str, str]:
    if not isinstance(message, Mapping):
        raise InvalidInputError(f"message {position} is no mapping with 'role' and 'content'")
    role = message.get("role")
    if role not in _ROLES:
        raise InvalidInputError(f"message {position} has the role {role!r}; a chat knows {', '.join(_ROLES)}")
    content = message.get("content")
    if isinstance(content, str):
        return role, _whole(content)
    if isinstance(content, Sequence):
        return role, _whole("".join(_part_text(part, position) for part in content))
    raise InvalidInputError(f"message {position} has no content")


def _part_text(part: Any, position: int) -> str:
    if isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str):
        text: str = part["text"]
        return text
    raise InvalidInputError(f"message {position} holds a part that is no text; pass pictures and other files as files=[...]")
