"""Files on their way to a chat: what the caller names becomes parts of the form, checked before anything is sent.

A server stores every file but shows a model only pictures and text. So text goes out as text, whatever its ending is
registered as, and what no model would ever see is refused here instead of being ignored there.

Reference: docs/protocol/huggingchat ("send"): a part named ``files`` with the file name ``base64;NAME`` and base64 text.
"""

from __future__ import annotations

import io
import mimetypes
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, TypeAlias

from attrs import frozen

from hfclient.errors import InvalidInputError, Unsupported
from hfclient.transport import Part
from hfclient.types import StoredFile

__all__ = ["MAX_FILE", "MAX_UPLOAD", "FileLike", "RemoteFile", "stored_part", "upload_parts"]

MAX_FILE = 10 * 1024 * 1024
"""Most bytes of one file: the server's own limit."""

MAX_UPLOAD = 15_728_640
"""Most bytes of a whole request, base64 included: the server's default."""


@frozen
class RemoteFile:
    """A file at a URL, fetched by this client without credentials and then sent: naming it so is asking for that.

    Attributes:
        url: Its address.
    """

    url: str


FileLike: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | tuple[str, bytes] | RemoteFile | Any"
"""A path, bytes, an open binary file, ``(name, bytes)``, a PIL image, or a `RemoteFile`."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png", ".png"),
    (b"\xff\xd8\xff", "image/jpeg", ".jpg"),
    (b"GIF8", "image/gif", ".gif"),
)
_TEXT_TYPES = ("application/json", "application/xml", "application/csv", "application/vnd.chatui.clipboard")
_START = 4096  # bytes that are looked at to tell text from everything else


def upload_parts(files: Iterable[FileLike], *, fetch: Callable[[str, int], bytes] | None = None) -> tuple[Part, ...]:
    """Return one form part per file, in order. Paths are read while sending, not before.

    Args:
        files: What to send; a single one needs no list.
        fetch: Gets the content at a URL, at most so many bytes; for `RemoteFile`.

    Raises:
        InvalidInputError: A file is missing, empty or over 10 MB, all together exceed the request, or it is a bare URL.
        Unsupported: A file is neither a picture nor text.
    """
    single = isinstance(files, (str, bytes, os.PathLike, RemoteFile)) or hasattr(files, "read") or _is_picture(files)
    if single or (isinstance(files, tuple) and tuple(map(type, files)) == (str, bytes)):  # (name, bytes)
        files = [files]  # files="cat.png" would otherwise be seven files of one letter
    parts = tuple(_part(file, fetch) for file in files)
    total = sum(part.length() for part in parts)
    if total > MAX_UPLOAD - 64 * 1024:  # room for the rest of the form
        raise InvalidInputError(
            f"the files are too large together: {total / 1e6:.1f} MB as base64; a request takes {MAX_UPLOAD / 1e6:.1f} MB"
        )
    return parts


def stored_part(file: StoredFile) -> Part:
    """Return the form part that names a file which the conversation holds already, instead of sending it again."""
    return Part(
        name="files", content=file.sha.encode(), filename=f"hash;{file.name or 'file'}", content_type=file.mime or None
    )


def _part(file: FileLike, fetch: Callable[[str, int], bytes] | None) -> Part:
    if isinstance(file, bytes):
        return _build("", file)
    if isinstance(file, tuple) and len(file) == 2 and isinstance(file[0], str) and isinstance(file[1], bytes):
        return _build(file[0], file[1])
    if isinstance(file, (str, os.PathLike)):
        return _from_path(os.fspath(file))
    if isinstance(file, RemoteFile):
        if fetch is None:
            raise InvalidInputError("a file at a URL cannot be fetched here; download it and pass the bytes")
        return _build(file.url.partition("?")[0].rpartition("/")[2], fetch(file.url, MAX_FILE + 1))
    if hasattr(file, "read"):
        content = file.read(MAX_FILE + 1)
        if not isinstance(content, bytes):
            raise InvalidInputError("open the file in binary mode: open(path, 'rb')")
        name = getattr(file, "name", "")
        return _build(name if isinstance(name, str) else "", content)
    if _is_picture(file):
        buffer = io.BytesIO()
        picture: Any = file
        picture.save(buffer, "PNG")
        return _build("image.png", buffer.getvalue())
    raise InvalidInputError(
        f"a file is a path, bytes, an open binary file, (name, bytes) or a PIL image, not {type(file).__name__}"
    )


def _is_picture(file: object) -> bool:
    """Whether it is a PIL image; PIL itself is not imported to find out."""
    return hasattr(file, "save") and hasattr(file, "tobytes") and hasattr(file, "size")


def _from_path(name: str) -> Part:
    if name.startswith(("http://", "https://", "data:")):
        raise InvalidInputError("a URL is not fetched unless asked: pass RemoteFile(url), or download it yourself")
    path = Path(name)
    try:
        if not path.is_file():
            raise InvalidInputError(f"no such file: {name}" if not path.exists() else f"not a file: {name}")
        with path.open("rb") as opened:
            start = opened.read(_START)
        return _build(path.name, path, start)
    except (OSError, ValueError) as exc:
        if isinstance(exc, InvalidInputError):
            raise
        raise InvalidInputError(f"cannot read {name!r}: {getattr(exc, 'strerror', None) or exc}") from exc


def _build(name: str, content: bytes | Path, start: bytes | None = None) -> Part:
    name = name.replace("\\", "/").rpartition("/")[2]
    start = content[:_START] if isinstance(content, bytes) else start or b""
    if not start:
        raise InvalidInputError(f"the file {name or '(bytes)'} is empty; the server would drop it in silence")
    mime, suffix = _kind(name, start)
    part = Part(
        name="files", content=content, filename="base64;" + (name or "file" + suffix), content_type=mime, as_base64=True
    )
    if part.size > MAX_FILE:
        raise InvalidInputError(
            f"{name or 'the file'} has {part.size / 1e6:.1f} MB; the server takes at most {MAX_FILE / 1e6:.1f} MB a file"
        )
    return part


def _kind(name: str, start: bytes) -> tuple[str, str]:
    """Return the media type and a suffix: what the content says counts more than the name."""
    for signature, mime, suffix in _SIGNATURES:
        if start.startswith(signature):
            return mime, suffix
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp", ".webp"
    guessed = mimetypes.guess_type(name)[0] or ""
    if guessed.startswith("image/") and guessed != "image/svg+xml":
        return guessed, ""
    if _is_text(start):
        return (guessed if guessed.startswith("text/") or guessed in _TEXT_TYPES else "text/plain"), ".txt"
    raise Unsupported(
        f"{name or 'the file'} is neither a picture nor text; the server would store it and never show it to the model. "
        "Extract its text, or turn its pages into pictures"
    )


def _is_text(start: bytes) -> bool:
    if b"\0" in start:
        return False
    try:
        start.decode()
    except UnicodeDecodeError as exc:
        return len(start) == _START and exc.start > _START - 4  # a character cut by the end of what was looked at
    return True
