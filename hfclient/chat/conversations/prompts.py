"""A prompt as the caller has it, a string or a list of messages, becomes what chat-ui takes: a system prompt, a text, files."""

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
# What answers bring along, here and in chat completions; a chat has no place for it, and needs none.
_BROUGHT = frozenset(
    (
        *("id", "parent_id", "children", "created_at", "updated_at", "interrupted", "generation_id", "finished", "raw"),
        *("annotations", "audio", "cache_control", "finish_reason", "function_call", "metadata", "model", "reasoning"),
        *("reasoning_content", "reasoning_details", "refusal", "usage"),
    )
)
_NAMES = {"user": "User", "assistant": "Assistant"}


@frozen(eq=False, repr=False)
class Prompt(Value):
    """What a prompt says.

    Attributes:
        text: The last user message: what a running conversation is sent.
        system: The system messages, joined; None if there are none.
        earlier: ``(role, text)`` of the turns before the last user message.
        files: What is attached to the last user message.
        earlier_files: What is attached to those before it, in order.
    """

    text: str
    system: str | None = None
    earlier: tuple[tuple[str, str], ...] = ()
    files: tuple[Any, ...] = ()
    earlier_files: tuple[Any, ...] = ()

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
        InvalidInputError: It is empty, ends with something else than a user message, or holds an unknown role, key or part.
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
        raise InvalidInputError("the last message of a prompt must be the user's")
    if files and not text.strip():
        raise InvalidInputError("a message with files needs a text, too")
    told = "\n\n".join(filter(None, system)) or None
    return Prompt(_not_empty(text), told, tuple(turns), tuple(files), tuple(before))


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


def _read(message: Any, where: str) -> tuple[str, str, list[Any]]:
    """Return the role, the text and the files of a message."""
    if not isinstance(message, Mapping):
        raise InvalidInputError(f"{where} is no mapping with 'role' and 'content'")
    fields = without_empty_fields(message)
    is_answer = fields.get("role") == "assistant"
    for key, value in fields.items():
        if (key not in _BROUGHT and not (key == "tool_calls" and not value)) or (key in FILE_KEYS and not is_answer):
            check_key(key, _KEYS, where)
    role = fields.get("role")
    if role not in _ROLES:
        check_role(role, where)
        raise InvalidInputError(f"{where} has the role {role!r}; a chat knows {', '.join(_ROLES)}")
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
        if key in fields and not (is_answer and key in _BROUGHT):
            files += [_of_mapping(value, where) for value in file_values(fields[key], key, where)]
    if files and role != "user":
        raise InvalidInputError(f"{where} ({role}) has files, which belong into a message of the user's")
    return role, _whole("".join(texts)), [_local(file, where) for file in files]


def _part(part: Any, where: str) -> tuple[str | None, Any]:
    """Return the text or the file that a part of a message is."""
    if not isinstance(part, Mapping):
        return None, part
    kind = part.get("type", "text" if "text" in part else None)
    if kind == "text" and isinstance(part.get("text"), str):
        return part["text"], None
    return None, _of_mapping(part, where)


def _of_mapping(value: Any, where: str) -> Any:
    """Return the file in a part as chat completions have it, or *value* if it is no dict."""
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
            return (name, _local(file, where)) if isinstance(name, str) and isinstance(file, (str, bytes)) else file
    packed = given.get("base64") or given.get("data")
    if isinstance(packed, str):
        return reject_path(packed if is_data_url(packed) else f"data:;base64,{packed}", where)
    raise InvalidInputError(
        f"{where} holds a part that is neither text nor picture; pass pictures and other files as files=[...]"
    )


def _local(file: Any, where: str) -> Any:
    if is_url(file):
        raise InvalidInputError(
            f"a URL in {where} is not fetched unless asked: RemoteFile(url) in its place, or download it yourself"
        )
    return file
