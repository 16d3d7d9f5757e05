"""Files on their way to a chat: what the caller names becomes parts of the form, checked before anything is sent.

Reference: docs/protocol/huggingchat ("send"): a part named ``files`` with the file name ``base64;NAME`` and base64 text.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TypeAlias

from hfclient.errors import InvalidInputError
from hfclient.transport import Part
from hfclient.types import StoredFile

__all__ = ["MAX_FILE", "MAX_UPLOAD", "FileLike", "stored_part", "upload_parts"]

MAX_FILE = 10 * 1024 * 1024
"""Most bytes of one file: the server's own limit."""

MAX_UPLOAD = 15_728_640
"""Most bytes of a whole request, base64 included: the server's default."""

FileLike: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | tuple[str, bytes]"
"""A path, bytes, an open binary file, or ``(name, bytes)``."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png", ".png"),
    (b"\xff\xd8\xff", "image/jpeg", ".jpg"),
    (b"GIF8", "image/gif", ".gif"),
    (b"%PDF-", "application/pdf", ".pdf"),
)


def upload_parts(files: Iterable[FileLike]) -> tuple[Part, ...]:
    """Return one form part per file, in order. Paths are read while sending, not before.

    Raises:
        InvalidInputError: A file is missing, empty or over 10 MB, all together exceed the request, or it is a URL.
    """
    if isinstance(files, (str, bytes, os.PathLike)):
        files = [files]  # files="cat.png" would otherwise be seven files of one letter
    parts = tuple(_part(file) for file in files)
    total = sum(part.length() for part in parts)
    if total > MAX_UPLOAD - 64 * 1024:
        raise InvalidInputError(
            f"the files are too large together: {total / 1e6:.1f} MB as base64, and a request takes {MAX_UPLOAD / 1e6:.1f} MB"
        )
    return parts


def stored_part(file: StoredFile) -> Part:
    """Return the form part that names a file which the conversation holds already, instead of sending it again."""
    return Part(
        name="files", content=file.sha.encode(), filename=f"hash;{file.name or 'file'}", content_type=file.mime or None
    )


def _part(file: FileLike) -> Part:
    if isinstance(file, bytes):
        return _build("", file)
    if isinstance(file, tuple):
        name, content = file
        return _build(Path(name).name, content)
    if isinstance(file, (str, os.PathLike)):
        return _from_path(os.fspath(file))
    if hasattr(file, "read"):
        content = file.read(MAX_FILE + 1)
        if not isinstance(content, bytes):
            raise InvalidInputError("open the file in binary mode: open(path, 'rb')")
        name = getattr(file, "name", "")
        return _build(Path(name).name if isinstance(name, str) else "", content)
    raise InvalidInputError(f"a file is a path, bytes, an open binary file or (name, bytes), not {type(file).__name__}")


def _from_path(name: str) -> Part:
    if name.startswith(("http://", "https://", "data:")):
        raise InvalidInputError("a URL is not fetched for you; download it and pass the bytes")
    path = Path(name)
    try:
        if not path.is_file():
            raise InvalidInputError(f"no such file: {name}" if not path.exists() else f"not a file: {name}")
        with path.open("rb") as opened:
            start = opened.read(16)
    except OSError as exc:
        raise InvalidInputError(f"cannot read {name}: {exc.strerror}") from exc
    return _build(path.name, path, start)


def _build(name: str, content: bytes | Path, start: bytes | None = None) -> Part:
    start = content[:16] if isinstance(content, bytes) else start or b""
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
    guessed = mimetypes.guess_type(name)[0]
    if guessed:
        return guessed, ""
    return ("application/octet-stream", ".bin") if b"\0" in start else ("text/plain", ".txt")
