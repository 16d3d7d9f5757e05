"""Pictures and files in messages: whatever the caller has becomes a part of a message.

A picture becomes ``image_url``, its bytes a data URL; a sound ``input_audio``; a text its text, with its name in front; a
PDF ``file``; a video ``video_url``. Types are told by the first bytes and checked before anything is sent, because a server
answers a picture that it cannot read with any error at all. A part that the caller wrote as a dict of the protocol's own
goes out unchanged; a string in it is never a path.

Reference: docs/protocol/inference ("messages").
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import IO, Any, TypeAlias

from hfclient.errors import InvalidInputError
from hfclient.inference.content.magic import sniff
from hfclient.inference.content.pictures import PictureLike, load_picture
from hfclient.inference.content.sources import checked_size, read_source

__all__ = ["MAX_FILE", "MAX_TEXT", "FileLike", "file_part", "parts_of", "picture_part", "with_attachments"]

MAX_FILE = 64 * 1024 * 1024
"""Most bytes of a file that is sent."""

MAX_TEXT = 4 * 1024 * 1024
"""Most bytes of a text that is sent: more than any model reads."""

FileLike: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | tuple[str, bytes] | Any"
"""A path, bytes, an open binary file, a pair of name and bytes, an `Image` or another result, a PIL image, a data URL."""

# What the servers behind chat completions can read: others answer with errors about something else.
_PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp")
_SOUNDS = {"audio/wav": "wav", "audio/mpeg": "mp3", "audio/flac": "flac", "audio/ogg": "ogg", "audio/mp4": "m4a"}
_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


def with_attachments(
    messages: list[dict[str, Any]],
    images: Iterable[PictureLike] | None = None,
    files: Iterable[FileLike] | None = None,
) -> list[dict[str, Any]]:
    """Return *messages* with *images* and *files* in the last one of the user's, behind its text.

    Raises:
        InvalidInputError: Something cannot be sent, or no message is the user's.
    """
    parts = [picture_part(image) for image in _each(images, "images")]
    parts += [file_part(file) for file in _each(files, "files")]
    if not parts:
        return messages
    places = [number for number, message in enumerate(messages) if message["role"] == "user"]
    if not places:
        raise InvalidInputError("images and files belong to the user's message, and there is none")
    message = messages[places[-1]]
    said = message["content"]
    before = [{"type": "text", "text": said}] if isinstance(said, str) else list(said)
    changed = {**message, "content": [*before, *parts]}
    return [*messages[: places[-1]], changed, *messages[places[-1] + 1 :]]


def parts_of(content: Any) -> Any:
    """Return the content of a message as a request has it: text as it is, everything else as parts.

        >>> parts_of(["What is this?", {"type": "image", "url": "https://h/a.png"}])[1]
        {'type': 'image_url', 'image_url': {'url': 'https://h/a.png'}}

    Raises:
        InvalidInputError: A part is nothing that can be sent.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, (list, tuple)):
        return [_part(part) for part in content]
    return [_part(content)]


def picture_part(source: PictureLike, *, detail: str | None = None) -> dict[str, Any]:
    """Return a picture as a part of a message: a URL stays a URL, everything else becomes a data URL.

    Args:
        source: A path, bytes, an open binary file, an `Image`, a PIL image, an http(s) or data URL.
        detail: ``"low"``, ``"high"`` or ``"auto"``, where the server knows that.

    Raises:
        InvalidInputError: It is no picture, of a type that hardly any server reads, too large, or missing.
    """
    picture = load_picture(source)
    if picture.content is not None and picture.mime not in _PICTURES:
        kinds = ", ".join(kind.partition("/")[2] for kind in _PICTURES)
        raise InvalidInputError(
            f"servers read {kinds}, but this picture is {picture.mime}: convert it, with Pillow for instance"
        )
    url = {"url": picture.as_url()} if detail is None else {"url": picture.as_url(), "detail": detail}
    return {"type": "image_url", "image_url": url}


def file_part(source: FileLike) -> dict[str, Any]:
    """Return a file as a part of a message, by what it holds.

    Raises:
        InvalidInputError: It is empty, too large, missing, or of a type that no message carries.
    """
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        raise InvalidInputError(
            "a file is no URL: servers fetch pictures only (images=[url]); download it and pass the path"
        )
    name, content = _named(source)
    if content is None:
        return picture_part(source)  # PIL's
    checked_size(content, MAX_FILE, f"file {name}" if name else "file")
    mime = sniff(content) or ""
    if mime.startswith("image/") and mime != "image/svg+xml":  # that is a text, too
        return picture_part(content)
    if mime in _SOUNDS:
        data = base64.b64encode(content).decode()
        return {"type": "input_audio", "input_audio": {"data": data, "format": _SOUNDS[mime]}}
    if mime.startswith("video/"):
        return {"type": "video_url", "video_url": {"url": _data_url(mime, content)}}
    if content.startswith(b"%PDF-"):
        url = _data_url("application/pdf", content)
        return {"type": "file", "file": {"filename": name or "file.pdf", "file_data": url}}
    text = _decoded(content)
    if text is None:
        raise InvalidInputError(f"{name or 'this file'} is neither text nor picture, sound, video or PDF")
    if len(content) > MAX_TEXT:
        raise InvalidInputError(f"the text {name} is larger than {MAX_TEXT / 1e6:.0f} MB, more than any model reads")
    return {"type": "text", "text": f"{name}:\n\n{text}" if name else text}


def _each(values: Any, what: str) -> list[Any]:
    """Return *values* as a list; one alone, which is an easy mistake, counts as a list of one."""
    if values is None:
        return []
    alone = isinstance(values, (str, bytes, bytearray, memoryview, os.PathLike)) or hasattr(values, "read")
    if alone or not isinstance(values, Iterable):
        return [values]
    if isinstance(values, Mapping):
        raise InvalidInputError(f"{what} is a list, not a dict")
    return list(values)


def _part(part: Any) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        return file_part(part)
    kind, value = part.get("type"), part.get("image_url")
    if kind == "image_url" and value is not None:
        inner = value if isinstance(value, Mapping) else {"url": value}
        source = inner.get("url")
        if isinstance(source, str) and isinstance(value, Mapping) and "://" in source[:16]:
            return part
        if isinstance(source, str) and source.startswith("data:"):
            return {**part, "image_url": inner}  # the caller knows what the server reads
        return {**part, "image_url": {**inner, **picture_part(_no_path(source))["image_url"]}}
    if kind == "image":  # as transformers' templates have it
        for key in ("image", "url", "path"):
            if part.get(key) is not None:
                return picture_part(_no_path(part[key]), detail=part.get("detail"))
        if part.get("base64"):
            return picture_part(f"data:;base64,{part['base64']}")
    return part


def _no_path(source: Any) -> Any:
    """Return *source* unless it is a path written as a string.

    Dicts often come from elsewhere, such as the browser that a web application serves; whoever writes one must not be able
    to have a file of this machine sent.
    """
    if isinstance(source, str) and not source.startswith(("http://", "https://", "data:")):
        raise InvalidInputError(
            f"{source[:200]!r} in a message is no URL; a file of yours is a pathlib.Path there, or goes into images="
        )
    return source


def _named(source: Any) -> tuple[str, bytes | None]:
    """Return a file's name, without its folders, and its bytes; None for what is no file."""
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], str):
        return PurePath(source[0]).name, bytes(source[1])
    content = read_source(source, MAX_FILE, "file")
    if content is None and not (hasattr(source, "save") and hasattr(source, "tobytes")):
        raise InvalidInputError(
            f"a file is a path, bytes, an open binary file or a pair of name and bytes, not {type(source).__name__}"
        )
    return _name_of(source), content


def _name_of(source: Any) -> str:
    if isinstance(source, str) and source.startswith("data:"):
        return ""
    if hasattr(source, "read"):
        source = getattr(source, "name", "")  # a number, for a file that was opened by its descriptor
    return PurePath(source).name if isinstance(source, (str, os.PathLike)) else ""


def _decoded(content: bytes) -> str | None:
    """Return a text, or None if it is none: broken UTF-8, or control characters that no text has."""
    coding = next((name for bom, name in _BOMS.items() if content.startswith(bom)), "utf-8")
    try:
        text = content.decode(coding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _data_url(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
