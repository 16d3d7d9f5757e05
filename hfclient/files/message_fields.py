"""Messages as callers write them: their keys, and the files in them.

A message often comes from outside of the program: from a browser, a file or a model. So a string in a message is never read
as a path of this machine. Objects (a `pathlib.Path`, bytes, an open file) can only come from the program itself.
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
"""Keys of a user's message for files: one file, or a list."""

_GRADIO_KEYS = ("metadata", "options")
_SCHEME = re.compile(r"\s*([a-z][a-z0-9+.-]+)://", re.IGNORECASE)  # two letters at least: C:// is a drive
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_SHOWN = 200
# Names that other clients and APIs have for the same keys.
_KEY_ALIASES = {
    **dict.fromkeys(("body", "contents", "input", "message", "msg", "parts", "prompt", "text", "value"), "content"),
    **dict.fromkeys(("author", "from", "sender", "speaker"), "role"),
    **dict.fromkeys(("calls", "function_calls", "tool_call"), "tool_calls"),
    **dict.fromkeys(("call_id", "tool_id", "tool_use_id"), "tool_call_id"),
    **dict.fromkeys(
        ("image_path", "image_paths", "image_url", "image_urls", "img", "imgs", "photo", "photos", "picture", "pictures"),
        "images",
    ),
    **dict.fromkeys(
        ("attachment", "attachments", "document", "documents", "file_path", "file_paths", "path", "paths"), "files"
    ),
    **dict.fromkeys(("audio_path", "audio_url", "recording", "sound", "sounds"), "audio"),
    **dict.fromkeys(("video_path", "video_url"), "video"),
}
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_ROLE_ALIASES = {"ai": "assistant", "bot": "assistant", "human": "user", "model": "assistant"}


def without_empty_fields(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without values that are None, and without Gradio's additional keys if they are empty.

    >>> without_empty_fields({"role": "user", "content": "hi", "name": None, "metadata": {"title": None}, "options": []})
    {'role': 'user', 'content': 'hi'}
    """
    return {
        key: value for key, value in message.items() if value is not None and not (key in _GRADIO_KEYS and _is_empty(value))
    }


def _is_empty(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_empty, value.values()))
    return value is None or (isinstance(value, (str, list, tuple)) and not value)


def check_key(key: Any, known: Collection[str], where: str, otherwise: str = "") -> None:
    """Raise for an unknown key of a message.

    Args:
        key: The key.
        known: The known keys.
        where: The message, for the error: ``"messages[0]"``.
        otherwise: Advice for a key that is not a misspelling, for the error.

    Raises:
        InvalidInputError: The key is unknown; the error names a similar key.
    """
    if key not in known:
        meant = suggested_key(key, known)
        hint = f"; did you mean {meant!r}?" if meant else f"; it has {', '.join(known)}{otherwise}"
        raise InvalidInputError(f"{where} has the unknown key {str(key)[:_SHOWN]!r}{hint}")


def suggested_key(key: Any, known: Collection[str]) -> str | None:
    """Return the one of the keys *known* that *key* probably stands for, or None."""
    name = str(key).strip().lower()
    if name in known:
        return name
    if _KEY_ALIASES.get(name) in known:
        return _KEY_ALIASES[name]
    return _closest(name, known)


def _closest(name: str, known: Collection[str]) -> str | None:
    import difflib  # needed for a misspelling only

    return next(iter(difflib.get_close_matches(name, list(known), 1, 0.75)), None)


def check_role(role: Any, where: str) -> str:
    """Return the role of a message; an unknown role is accepted, unless it looks like a misspelling of a known one.

    Raises:
        InvalidInputError: The role is missing or misspelt.
    """
    if not isinstance(role, str) or not role:
        raise InvalidInputError(f"{where} has no role")
    if role not in _ROLES:
        name = role.strip().lower()
        meant = _ROLE_ALIASES.get(name) or (name if name in _ROLES else _closest(name, _ROLES))
        if meant is not None:
            raise InvalidInputError(f"{where} has the role {role[:_SHOWN]!r}; did you mean {meant!r}?")
    return role


def file_values(value: Any, key: str, where: str) -> list[Any]:
    """Return the files under a key of a message, each checked by `reject_path`.

    Raises:
        InvalidInputError: A string is a path.
    """
    if value is None:
        return []
    many = isinstance(value, (list, tuple)) and not is_single_file(value)
    return [reject_path(entry, f"{key!r} of {where}") for entry in (value if many else [value])]


def reject_path(source: Any, where: str) -> Any:
    """Return *source* unless it is a path in a string; base64 of an image, a video or audio becomes bytes.

    Raises:
        InvalidInputError: It is a string, and neither a URL nor a file in base64.
    """
    if not isinstance(source, str) or is_url(source) or is_data_url(source):
        return source
    packed = source.strip()
    if _BASE64.fullmatch(packed):  # the form of Ollama's API
        content = decode_base64(packed)
        if content and sniff(content):
            return content
    raise InvalidInputError(
        f"{source[:_SHOWN]!r} in {where} is not a URL, and a string in a message is never read as a path; for a local file "
        "pass a pathlib.Path there, or images= or files="
    )


def remote_url(url: Any, where: str) -> str:
    """Return *url*, which a server fetches.

    Raises:
        InvalidInputError: It is a local path or a ``file:`` URL.
    """
    if isinstance(url, str):
        scheme = _SCHEME.match(url)
        if is_data_url(url) or (scheme and scheme[1].lower() != "file"):
            return url
    raise InvalidInputError(
        f"{str(url)[:_SHOWN]!r} in {where} is not a URL that a server could fetch; for a local file pass a pathlib.Path there, "
        "or images= or files="
    )
