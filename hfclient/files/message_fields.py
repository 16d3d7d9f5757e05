"""Messages as callers write them: the keys that they may have, and the files that stand in them.

A message often comes from elsewhere: from the browser that a web application serves, from a file, from a model. So a
string in one never names a file of this machine, and never leaves as if it were a URL; objects (a `pathlib.Path`, bytes, an
open file) can only come from the program itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from hfclient.errors import InvalidInputError
from hfclient.files.data_urls import decode_base64
from hfclient.files.media_types import sniff
from hfclient.files.sources import is_data_url, is_single_file, is_url

__all__ = ["FILE_KEYS", "check_key", "check_role", "file_values", "reject_path", "remote_url", "suggested_key", "without_empty_fields"]

FILE_KEYS = ("image", "images", "file", "files", "audio", "audios", "video", "videos")
"""Keys of a user's message that hold files: one, or a list."""

_OF_GRADIO = ("metadata", "options")
_SCHEME = re.compile(r"\s*([a-z][a-z0-9+.-]+)://", re.IGNORECASE)  # two letters at least: C:// is a drive
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_SHOWN = 200
# What other clients and APIs call the same thing.
_MEANT = {
    **dict.fromkeys(("body", "contents", "input", "message", "msg", "parts", "prompt", "text", "value"), "content"),
    **dict.fromkeys(("author", "from", "sender", "speaker"), "role"),
    **dict.fromkeys(("calls", "function_calls", "tool_call"), "tool_calls"),
    **dict.fromkeys(("call_id", "tool_id", "tool_use_id"), "tool_call_id"),
    **dict.fromkeys(
        (
            "image_path",
            "image_paths",
            "image_url",
            "image_urls",
            "img",
            "imgs",
            "photo",
            "photos",
            "picture",
            "pictures",
        ),
        "images",
    ),
    **dict.fromkeys(
        ("attachment", "attachments", "document", "documents", "file_path", "file_paths", "path", "paths"), "files"
    ),
    **dict.fromkeys(("audio_path", "audio_url", "recording", "sound", "sounds"), "audio"),
    **dict.fromkeys(("video_path", "video_url"), "video"),
}
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_ROLES_MEANT = {"ai": "assistant", "bot": "assistant", "human": "user", "model": "assistant"}


def without_empty_fields(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without what is None in it, and without what Gradio's histories have besides where that says nothing.

    >>> without_empty_fields({"role": "user", "content": "hi", "name": None, "metadata": {"title": None}, "options": []})
    {'role': 'user', 'content': 'hi'}
    """
    return {
        key: value for key, value in message.items() if value is not None and not (key in _OF_GRADIO and _says_nothing(value))
    }


def _says_nothing(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_says_nothing, value.values()))
    return value is None or (isinstance(value, (str, list, tuple)) and not value)


def check_key(key: Any, known: Collection[str], where: str, otherwise: str = "") -> None:
    """Raise for a key that a message does not have.

    Args:
        key: The key.
        known: The keys that it may have.
        where: Which message, for the error: ``"messages[0]"``.
        otherwise: What to do with a key that is meant.

    Raises:
        InvalidInputError: The message says which key was probably meant.
    """
    if key not in known:
        meant = suggested_key(key, known)
        hint = f"; did you mean {meant!r}?" if meant else f"; it has {', '.join(known)}{otherwise}"
        raise InvalidInputError(f"{where} has a key {str(key)[:_SHOWN]!r} that no message has{hint}")


def suggested_key(key: Any, known: Collection[str]) -> str | None:
    """Return which of the keys *known* may have been meant by another one, or None."""
    name = str(key).strip().lower()
    if name in known:
        return name
    if _MEANT.get(name) in known:
        return _MEANT[name]
    return _closest(name, known)


def _closest(name: str, known: Collection[str]) -> str | None:
    import difflib  # only for those who mistyped

    return next(iter(difflib.get_close_matches(name, list(known), 1, 0.75)), None)


def check_role(role: Any, where: str, others: Collection[str] = ()) -> str:
    """Return the role of a message; one that the protocol does not have passes, unless it is a known one misspelt.

    Raises:
        InvalidInputError: There is none, or another one was probably meant.
    """
    if not isinstance(role, str) or not role:
        raise InvalidInputError(f"{where} has no role")
    if role not in _ROLES and role not in others:
        name = role.strip().lower()
        meant = _ROLES_MEANT.get(name) or (name if name in _ROLES else _closest(name, _ROLES))
        if meant is not None:
            raise InvalidInputError(f"{where} has the role {role[:_SHOWN]!r}; did you mean {meant!r}?")
    return role


def file_values(value: Any, key: str, where: str) -> list[Any]:
    """Return the files under a key of a message, each one as `reject_path` gives it.

    Raises:
        InvalidInputError: A string among them is a path.
    """
    if value is None:
        return []
    many = isinstance(value, (list, tuple)) and not is_single_file(value)
    return [reject_path(entry, f"{key!r} of {where}") for entry in (value if many else [value])]


def reject_path(source: Any, where: str) -> Any:
    """Return *source* unless it is a path written as a string; plain base64 of a picture or a sound becomes its bytes.

    Raises:
        InvalidInputError: It is a string, and neither a URL nor a file in base64.
    """
    if not isinstance(source, str) or is_url(source) or is_data_url(source):
        return source
    packed = source.strip()
    if _BASE64.fullmatch(packed):  # as Ollama's API has it
        content = decode_base64(packed)
        if content and sniff(content):
            return content
    raise InvalidInputError(
        f"{source[:_SHOWN]!r} in {where} is no URL, and a string in a message is never read as a path; a file of yours is a "
        "pathlib.Path there, or goes into images= or files="
    )


def remote_url(url: Any, where: str) -> str:
    """Return a URL that a server is to fetch.

    Raises:
        InvalidInputError: It is a local path, or a ``file:`` URL.
    """
    if isinstance(url, str):
        scheme = _SCHEME.match(url)
        if is_data_url(url) or (scheme and scheme[1].lower() != "file"):
            return url
    raise InvalidInputError(
        f"{str(url)[:_SHOWN]!r} in {where} is no URL that a server could fetch; a file of yours is a pathlib.Path there, or goes "
        "into images= or files="
    )
