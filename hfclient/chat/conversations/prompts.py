"""Prompts: a string or a list of messages becomes the system prompt, the text and the files that chat-ui takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from attrs import frozen

from hfclient.errors import InvalidInputError
from hfclient.files.message_fields import (
    FILE_KEYS,
    check_key,
    check_role,
    file_values,
    reject_path,
    without_empty_fields,
)
from hfclient.files.sources import is_data_url, is_single_file, is_url
from hfclient.values import Value

__all__ = ["Prompt", "PromptLike", "parse_prompt"]

PromptLike: TypeAlias = "str | Sequence[Mapping[str, Any]]"

_ROLES = ("system", "developer", "user", "assistant")
_KEYS = ("role", "content", "name", *FILE_KEYS)
# Fields of answers, here and in chat completions. A message to chat-ui has no place for them.
_ANSWER_FIELDS = frozenset(
    (
        *("id", "parent_id", "children", "created_at", "updated_at", "interrupted", "generation_id", "finished", "raw"),
        *("annotations", "audio", "cache_control", "finish_reason", "function_call", "metadata", "model", "reasoning"),
        *("reasoning_content", "reasoning_details", "refusal", "usage"),
    )
)
_NAMES = {"user": "User", "assistant": "Assistant"}


@frozen(eq=False, repr=False)
class Prompt(Value):
    """A parsed prompt.

    Attributes:
        text: The last user message, which is what an existing conversation gets.
        system: The system messages, joined; None without any.
        earlier: ``(role, text)`` of the turns before the last user message.
        files: Attachments of the last user message.
        earlier_files: Attachments of those before it, in order.
    """

    text: str
    system: str | None = None
    earlier: tuple[tuple[str, str], ...] = ()
    files: tuple[Any, ...] = ()
    earlier_files: tuple[Any, ...] = ()

    def as_one_message(self) -> str:
        """Return the text for a new conversation: the server takes one user message, so earlier turns become part of it."""
        if not self.earlier:
            return self.text
        turns = "\n\n".join(f"{_NAMES[role]}: {text}" for role, text in self.earlier)
        return f"This conversation goes on. So far:\n\n{turns}\n\nUser: {self.text}"


def parse_prompt(prompt: PromptLike) -> Prompt:
    """Return *prompt*, parsed.

        >>> parse_prompt([{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}])
        Prompt(text='Hi', system='Be terse.', earlier=())

    Raises:
        InvalidInputError: It is empty, does not end with a user message, or holds an unknown role, key or part.
    """
    if isinstance(prompt, str):
        return Prompt(_not_empty(prompt))
    if isinstance(prompt, Mapping) or not isinstance(prompt, Sequence):
        raise InvalidInputError(
            f"a prompt is a string or a list of {{'role': ..., 'content': ...}} messages, not {type(prompt).__name__}"
        )
    system: list[str] = []
    turns: list[tuple[str, str]] = []
    before: list[Any] = []
    files: list[Any] = []
    for position, message in enumerate(prompt):
        role, text, attached = _read(message, f"message {position}")
        if role in ("system", "developer"):
            system.append(text)
            continue
        turns.append((role, text))
        if role == "user":
            before, files = before + files, attached
    if not turns:
        raise InvalidInputError("the prompt holds no user message")
    role, text = turns.pop()
    if role != "user":
        raise InvalidInputError("the last message of a prompt must be a user message")
    if files and not text.strip():
        raise InvalidInputError("a message with files needs a text, too")
    system_prompt = "\n\n".join(filter(None, system)) or None
    return Prompt(_not_empty(text), system_prompt, tuple(turns), tuple(files), tuple(before))


def _not_empty(text: str) -> str:
    if not text.strip():
        raise InvalidInputError("the prompt is empty")
    return _encodable(text)


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(
            "the prompt holds half of a character (a lone surrogate), which UTF-8 cannot carry"
        ) from None
    return text


def _read(message: Any, where: str) -> tuple[str, str, list[Any]]:
    """Return the role, the text and the files of a message."""
    if not isinstance(message, Mapping):
        raise InvalidInputError(f"{where} is not a mapping with 'role' and 'content'")
    fields = without_empty_fields(message)
    is_answer = fields.get("role") == "assistant"
    for key, value in fields.items():
        if (key not in _ANSWER_FIELDS and not (key == "tool_calls" and not value)) or (key in FILE_KEYS and not is_answer):
            check_key(key, _KEYS, where)
    role = fields.get("role")
    if role not in _ROLES:
        check_role(role, where)
        raise InvalidInputError(f"{where} has the role {role!r}; a chat has the roles {', '.join(_ROLES)}")
    texts: list[str] = []
    files: list[Any] = []
    content = fields.get("content", [] if any(key in fields for key in FILE_KEYS) else None)
    if content is None:
        raise InvalidInputError(f"{where} has no content")
    for part in content if isinstance(content, (list, tuple)) and not is_single_file(content) else [content]:
        if isinstance(part, str):
            texts.append(part)
        else:
            text, file = _part(part, where)
            texts += [] if text is None else [text]
            files += [] if file is None else [file]
    for key in FILE_KEYS:
        if key in fields and not (is_answer and key in _ANSWER_FIELDS):
            files += [_of_mapping(value, where) for value in file_values(fields[key], key, where)]
    if files and role != "user":
        raise InvalidInputError(f"{where} ({role}) has files; only user messages can have them")
    return role, _encodable("".join(texts)), [_not_url(file, where) for file in files]


def _part(part: Any, where: str) -> tuple[str | None, Any]:
    """Return the text or the file that a part of a message is."""
    if not isinstance(part, Mapping):
        return None, part
    kind = part.get("type", "text" if "text" in part else None)
    if kind == "text" and isinstance(part.get("text"), str):
        return part["text"], None
    return None, _of_mapping(part, where)


def _of_mapping(value: Any, where: str) -> Any:
    """Return the file in a part as chat completions have it, or *value* if it is not a dict."""
    if not isinstance(value, Mapping):
        return value
    source = value.get("source")  # Anthropic's
    given = {**value, **source} if isinstance(source, Mapping) else value
    for key in ("image_url", "image", "url", "path", "file"):
        inner = given.get(key)
        name = inner.get("filename") if isinstance(inner, Mapping) else None
        if isinstance(inner, Mapping):
            inner = inner.get("url", inner.get("file_data"))
        if inner is not None:
            file = reject_path(inner, where)
            return (name, _not_url(file, where)) if isinstance(name, str) and isinstance(file, (str, bytes)) else file
    encoded = given.get("base64") or given.get("data")
    if isinstance(encoded, str):
        return reject_path(encoded if is_data_url(encoded) else f"data:;base64,{encoded}", where)
    raise InvalidInputError(
        f"{where} holds a part that is neither text nor an image; pass images and other files as files=[...]"
    )


def _not_url(file: Any, where: str) -> Any:
    if is_url(file):
        raise InvalidInputError(
            f"a URL in {where} is not fetched: use RemoteFile(url) instead, or download it yourself"
        )
    return file
