"""Images and files become parts of messages.

An image becomes ``image_url`` with a data URL, audio ``input_audio``, a text its text with its name in front, a PDF ``file``, a
video ``video_url``. The first bytes tell the type, which is checked before anything is sent, because a server's error about an
image that it cannot read may be any error. A part that the caller wrote as the protocol's dict is sent unchanged; a string in
it is never read as a path, and a path is never sent as a URL.

Reference: docs/protocol/inference ("messages").
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

from hfclient.errors import InvalidInputError
from hfclient.files.data_urls import data_url
from hfclient.files.media_types import media_type
from hfclient.files.message_fields import FILE_KEYS, file_values, reject_path, remote_url
from hfclient.files.sources import FileLike, as_file_list, is_data_url, is_url, open_source
from hfclient.inference.content.image_inputs import ImageLike, load_image

__all__ = ["MAX_FILE", "MAX_TEXT", "FileLike", "attached_parts", "file_part", "image_part", "parts_of", "with_attachments"]

MAX_FILE = 64 * 1024 * 1024
"""Maximum size of a file that is sent, in bytes."""

MAX_TEXT = 4 * 1024 * 1024
"""Maximum size of a text that is sent, in bytes: more than any model reads."""

# The types that servers of chat completions can read; for others their errors are about something else.
_IMAGES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp")
_AUDIO = {
    "audio/3gpp": "3gp",
    "audio/aac": "aac",
    "audio/aiff": "aiff",
    "audio/amr": "amr",
    "audio/flac": "flac",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "audio/webm": "webm",
}
_KINDS = ("text", "image_url", "image", "input_audio", "audio_url", "audio", "video_url", "video", "file")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=_\-\s]")
_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


def with_attachments(
    messages: list[dict[str, Any]],
    images: Iterable[ImageLike] | ImageLike | None = None,
    files: Iterable[FileLike] | FileLike | None = None,
) -> list[dict[str, Any]]:
    """Return *messages* with *images* and *files* in the last user message, after its text.

    Raises:
        InvalidInputError: A file cannot be sent, or there is no user message.
    """
    parts = [image_part(image) for image in as_file_list(images, "images")]
    parts += [file_part(file) for file in as_file_list(files, "files")]
    if not parts:
        return messages
    places = [number for number, message in enumerate(messages) if message["role"] == "user"]
    if not places:
        raise InvalidInputError("images and files belong in a user message, and the prompt has none")
    message = messages[places[-1]]
    said = message["content"]
    before = [{"type": "text", "text": said}] if isinstance(said, str) else list(said)
    changed = {**message, "content": [*before, *parts]}
    return [*messages[: places[-1]], changed, *messages[places[-1] + 1 :]]


def parts_of(content: Any, where: str = "a message") -> Any:
    """Return the content of a message in the form of a request: text as it is, everything else as parts.

        >>> parts_of(["What is this?", {"type": "image", "url": "https://h/a.png"}])[1]
        {'type': 'image_url', 'image_url': {'url': 'https://h/a.png'}}

    Raises:
        InvalidInputError: A part cannot be sent.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list) or (isinstance(content, tuple) and not _is_file_tuple(content)):
        return [_part(part, where) for part in content]
    return [_part(content, where)]


def attached_parts(message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Return the files under the keys of a message (``images``, ``files``, ...) as parts.

    Raises:
        InvalidInputError: One cannot be sent, or is a path written as a string.
    """
    parts = []
    for key in FILE_KEYS:
        for value in file_values(message.get(key), key, where):
            if isinstance(value, Mapping):
                parts.append(_part(_typed(value, key), where))
            else:
                parts.append(image_part(value) if key.startswith("image") else file_part(value, is_audio=key.startswith("audio")))
    return parts


def image_part(source: ImageLike, *, detail: str | None = None) -> dict[str, Any]:
    """Return an image as a part of a message: a URL stays a URL, everything else becomes a data URL.

    Args:
        source: A file in any form that `open_source` reads, or an http(s) URL.
        detail: ``"low"``, ``"high"`` or ``"auto"``, for servers that support it.

    Raises:
        InvalidInputError: It is not an image, of a type that hardly any server reads, too large, or missing.
    """
    image = load_image(source)
    if image.content is not None and image.mime not in _IMAGES:
        kinds = ", ".join(kind.partition("/")[2] for kind in _IMAGES)
        raise InvalidInputError(
            f"servers read {kinds}, but this image is {image.mime}: convert it, with Pillow for instance"
        )
    url = {"url": image.as_url()} if detail is None else {"url": image.as_url(), "detail": detail}
    return {"type": "image_url", "image_url": url}


def file_part(source: FileLike, *, is_audio: bool = False) -> dict[str, Any]:
    """Return a file as a part of a message, by its content.

    Args:
        source: The file.
        is_audio: It was given as audio; a video in it is still recognized as one.

    Raises:
        InvalidInputError: It is empty, too large, missing, or of a type that messages cannot have.
    """
    if is_url(source):
        raise InvalidInputError(
            "a file cannot be a URL: servers fetch images only (images=[url]); download it and pass the path"
        )
    file = open_source(source, MAX_FILE)
    name, content = file.name, file.read()
    mime = media_type(content, name, file.claimed, is_audio=is_audio) or ""
    if mime.startswith("image/") and mime != "image/svg+xml":  # that is a text, too
        return image_part(content)
    if mime in _AUDIO:
        data = base64.b64encode(content).decode()
        return {"type": "input_audio", "input_audio": {"data": data, "format": _AUDIO[mime]}}
    if mime.startswith("video/"):
        return {"type": "video_url", "video_url": {"url": data_url(content, mime)}}
    if content.startswith(b"%PDF-"):
        url = data_url(content, "application/pdf")
        return {"type": "file", "file": {"filename": name or "file.pdf", "file_data": url}}
    text = _decoded(content)
    if text is None:
        raise InvalidInputError(f"{name or 'this file'} is not text, an image, audio, a video or a PDF")
    if len(content) > MAX_TEXT:
        raise InvalidInputError(f"the text {name} is larger than {MAX_TEXT / 1e6:.0f} MB, more than any model reads")
    return {"type": "text", "text": f"{name}:\n\n{text}" if name else text}


def _typed(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an object under a key of a message as a part: it has a ``type``, or is like ``{"url": ...}``."""
    if value.get("type") is not None or any(kind in value for kind in _KINDS):
        return value
    if "data" in value and key.startswith("audio"):
        return {"type": "input_audio", "input_audio": value}
    if "url" in value:
        kind = "image_url" if key.startswith(("image", "file")) else f"{key.rstrip('s')}_url"
        return {"type": kind, kind: value}
    return {"type": "file", "file": value} if "file_data" in value or "file_id" in value else value


def _is_file_tuple(content: tuple[Any, ...]) -> bool:
    """Return whether a tuple is ``(name, content)``, not several parts."""
    return len(content) in (2, 3) and isinstance(content[0], str) and isinstance(content[1], (bytes, bytearray, memoryview))


def _part(part: Any, where: str) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        return file_part(part)
    kind = part.get("type") or next((key for key in _KINDS if part.get(key) is not None), None)
    if kind is None:
        raise InvalidInputError(f"a part of {where} has no type; it has {', '.join(map(str, part)) or 'nothing'}")
    if part.get("type") is None:
        part = {"type": kind, **part}
    if kind == "text" and not isinstance(part.get("text"), str):
        raise InvalidInputError(f"a part of {where} is a text, but has none under 'text'; it has {', '.join(map(str, part))}")
    if kind == "image":  # the form of transformers' templates and Anthropic's API
        return _image_of(part, where)
    if kind == "image_url":
        return _url_part(part, "image_url", where)
    if kind in ("audio", "video", "file", "input_audio"):
        return _data_part(part, kind, where)
    for key in part:
        if isinstance(key, str) and key.endswith("_url"):
            part = _url_part(part, key, where)
    return part


def _image_of(part: Mapping[str, Any], where: str) -> Any:
    source = part.get("source")
    given = {**part, **source} if isinstance(source, Mapping) else part
    for key in ("image", "url", "path"):
        if given.get(key) is not None:
            return image_part(reject_path(given[key], where), detail=part.get("detail"))
    if packed := given.get("base64") or given.get("data"):
        return image_part(packed if is_data_url(packed) or not isinstance(packed, str) else f"data:;base64,{packed}")
    return part


def _url_part(part: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    """Return a part with a URL under *key*: a file becomes a data URL, a string must be a URL that a server can fetch."""
    value = part.get(key)
    if value is None and key == "image_url":  # the flat form
        value = {name: part[name] for name in ("url", "detail") if name in part}
        part = {**{name: item for name, item in part.items() if name not in value}, key: value}
    if value is None:
        return part
    inner = value if isinstance(value, Mapping) else {"url": value}
    url = inner.get("url")
    if isinstance(url, str):
        remote_url(url, where)
        return part if isinstance(value, Mapping) or key != "image_url" else {**part, key: inner}
    if url is None:
        if key == "image_url":
            raise InvalidInputError(f"the image_url of a part of {where} has no url; it has {', '.join(map(str, inner)) or 'nothing'}")
        return part
    if key == "image_url":
        return {**part, key: {**inner, **image_part(url)["image_url"]}}
    file = open_source(url, MAX_FILE)
    content = file.read()
    mime = media_type(content, file.name, file.claimed, is_audio=key == "audio_url") or "application/octet-stream"
    return {**part, key: {**inner, "url": data_url(content, mime)}}


def _data_part(part: Mapping[str, Any], kind: str, where: str) -> Any:
    """Return a part with a file: in the protocol's form, or with an object as the file."""
    value = part.get(kind)
    if value is None:  # the form of transformers' templates
        value = next((part[key] for key in ("path", "url") if part.get(key) is not None and not is_url(part[key])), None)
    if value is None:
        return part
    if not isinstance(value, Mapping):
        if isinstance(value, list):  # frames of a video, by their URLs
            for url in value:
                remote_url(url, where)
            return part
        if kind == "video" and is_url(value):
            return part
        return file_part(reject_path(value, where), is_audio="audio" in kind)
    key = "data" if kind == "input_audio" else "file_data"
    data = value.get(key)
    if data is None or isinstance(data, str):
        if data and not is_url(data) and not is_data_url(data) and _NOT_BASE64.search(data[:1000]):
            raise InvalidInputError(f"{data[:200]!r} in {where} is not base64; pass a path as pathlib.Path, or in files=")
        return part
    name = value.get("filename")
    return file_part((name, data) if isinstance(name, str) else data, is_audio="audio" in kind)


def _decoded(content: bytes) -> str | None:
    """Return *content* as text, or None for invalid UTF-8 and for control characters that texts do not have."""
    coding = next((name for bom, name in _BOMS.items() if content.startswith(bom)), "utf-8")
    try:
        text = content.decode(coding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
