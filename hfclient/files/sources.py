"""Files as callers pass them: a path, bytes, an open file, a data URL, a Pillow image, or an `Image`, `Video` or `Audio`.

Chat and inference accept all of these. This module fetches no URLs; its callers pass them on or refuse them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias

from attrs import field, frozen

from hfclient.errors import HFClientError, InvalidInputError
from hfclient.files.data_urls import data_url_media_type, decode_base64, decode_data_url
from hfclient.files.media_types import sniff
from hfclient.files.pillow_images import encode_image, is_pillow_image
from hfclient.values import Value

__all__ = ["FileLike", "SourceFile", "as_file_list", "is_data_url", "is_single_file", "is_url", "open_source"]

FileLike: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | tuple[str, Any] | tuple[str, Any, str] | Any"
)
"""A path, bytes, an open binary file, a data URL, a PIL image, an `Image`, `Video` or `Audio`; or, for all but strings,
``(name, content)`` or ``(name, content, mime)``."""

_BYTES = (bytes, bytearray, memoryview)
_URL = re.compile(r"\s*https?:", re.IGNORECASE)
_DATA = re.compile(r"\s*data:", re.IGNORECASE)
_OTHER_URL = re.compile(r"\s*([a-z][a-z0-9+.-]+)://?", re.IGNORECASE)  # two letters at least: C:\ is a drive
_CHUNK_SIZE = 1 << 20
_MIN_BASE64 = 64  # characters, a multiple of 4; shorter base64 is too short for a file
_SHOWN = 200  # characters of a path in an error; the "path" may be a whole file in base64


@frozen(eq=False, repr=False)
class SourceFile(Value):
    """A file of the caller.

    Attributes:
        content: Its bytes, or the path of a regular file with them.
        name: Its name without folders; empty if unknown.
        claimed: The media type that the caller gave, or empty.
    """

    content: bytes | Path = field(repr=False)
    name: str = ""
    claimed: str = ""

    def start(self, size: int) -> bytes:
        """Return its first *size* bytes; raises `InvalidInputError` if it cannot be read."""
        if isinstance(self.content, bytes):
            return self.content[:size]
        with _reading("file", self.content), self.content.open("rb") as file:
            return file.read(size)

    def read(self) -> bytes:
        """Return all of its bytes; raises `InvalidInputError` if it cannot be read."""
        if isinstance(self.content, bytes):
            return self.content
        with _reading("file", self.content):
            return self.content.read_bytes()


def is_url(source: object) -> bool:
    """Return whether *source* is an http(s) URL."""
    return isinstance(source, str) and _URL.match(source) is not None


def is_data_url(source: object) -> bool:
    """Return whether *source* is a ``data:`` URL."""
    return isinstance(source, str) and _DATA.match(source) is not None


def is_single_file(source: object) -> bool:
    """Return whether *source* is one file rather than a list of files.

    A tuple of a name and content is one file; a tuple of two paths, or of two contents, is two.
    """
    if isinstance(source, tuple):
        return (
            len(source) in (2, 3)
            and isinstance(source[0], str)
            and (isinstance(source[1], _BYTES) or hasattr(source[1], "read"))
        )
    single = isinstance(source, (str, *_BYTES, os.PathLike)) or hasattr(source, "read") or is_pillow_image(source)
    return single or isinstance(getattr(source, "content", None), bytes)


def as_file_list(files: Any, what: str) -> list[Any]:
    """Return *files* as a list; a single file becomes a list of one, None an empty list.

    Args:
        files: The value of an argument.
        what: The argument's name, for errors.

    Raises:
        InvalidInputError: It is a dict.
    """
    if files is None:
        return []
    if is_single_file(files) or not isinstance(files, Iterable):
        return [files]
    if isinstance(files, Mapping):
        raise InvalidInputError(f"{what} is a list, not a dict; to give a file a name, pass (name, bytes)")
    return list(files)


def open_source(source: Any, limit: int, what: str = "file") -> SourceFile:
    """Return *source* as a file of 1 to *limit* bytes. A path is checked, not read; an open file keeps its position.

    Args:
        source: See `FileLike`.
        limit: The maximum size in bytes.
        what: Its name in errors.

    Raises:
        InvalidInputError: It is missing, a folder, empty, too large, closed, open as text, or not a file at all.
    """
    if isinstance(source, SourceFile):
        return source
    if isinstance(source, tuple):
        return _with_name(source, limit, what)
    if isinstance(source, _BYTES):
        with _reading(what, None):
            return _checked(SourceFile(bytes(source)), limit, what)
    if isinstance(source, (str, os.PathLike)):
        return _from_text(source, limit, what)
    if is_pillow_image(source):  # before open files: some Pillow images have a method read()
        content, name = encode_image(source)
        return _checked(SourceFile(content, name), limit, what)
    if hasattr(source, "read"):
        return _from_open(source, limit, what)
    held = getattr(source, "content", None)  # an `Image`, a `Video`, an `Audio`
    if isinstance(held, bytes):
        mime = getattr(source, "mime", "")
        return _checked(SourceFile(held, claimed=mime if isinstance(mime, str) else ""), limit, what)
    raise InvalidInputError(_not_a_file(source, what))


def _not_a_file(source: object, what: str) -> str:
    kind = type(source).__name__
    a_file = _with_article(what)
    if isinstance(source, Mapping):
        return f"{a_file} is not a dict: pass its path or its bytes, or (name, bytes)"
    if hasattr(source, "__array_interface__") or kind == "Tensor":
        return f"{a_file} is not an array: convert it to an image first, for instance with PIL.Image.fromarray(array)"
    if isinstance(source, Iterable):
        return f"one {what} is expected, not a {kind} of several"
    return f"{a_file} is a path, bytes, an open binary file, (name, bytes), a data URL, an Image or a PIL image, not {kind}"


def _with_article(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"


def _with_name(pair: tuple[Any, ...], limit: int, what: str) -> SourceFile:
    name, mime = pair[0] if pair else None, pair[2] if len(pair) == 3 else ""
    if len(pair) not in (2, 3) or not isinstance(name, str) or not (mime is None or isinstance(mime, str)):
        raise InvalidInputError(f"{_with_article(what)} with a name is (name, bytes) or (name, bytes, media type)")
    if isinstance(pair[1], str) and not is_data_url(pair[1]):
        raise InvalidInputError(
            f"in (name, content) the content is bytes, not a string: text.encode(), or Path(...) for {_with_article(what)}"
        )
    file = open_source(pair[1], limit, what)
    return SourceFile(file.content, _base_name(name) or file.name, mime or file.claimed)


def _from_text(source: str | os.PathLike[str], limit: int, what: str) -> SourceFile:
    with _reading(what, source):
        text = os.fsdecode(source)  # a PathLike may give bytes
    if isinstance(source, str):
        if is_data_url(source):
            return _from_data_url(source.strip(), limit, what)
        if is_url(source):
            raise InvalidInputError(f"a URL is not fetched here: download the {what} and pass its bytes")
    path = Path(text)
    with _reading(what, text):
        if text and path.is_file():
            return _checked(SourceFile(path, path.name), limit, what)
    raise InvalidInputError(_no_file(text, path, what))


def _no_file(text: str, path: Path, what: str) -> str:
    shown = repr(text[:_SHOWN]) + ("..." if len(text) > _SHOWN else "")
    if not text:
        return f"the path of the {what} is empty"
    if other := _OTHER_URL.match(text):
        advice = "pass the path itself" if other[1].lower() == "file" else f"download the {what} and pass its bytes"
        return f"{shown} is a URL, not a path: {advice}"
    if path.is_dir():
        return f"{shown} is a folder: pass the files in it"
    if path.exists():
        return f"{shown} is not a regular file: open it and pass the open file"
    if len(text) > _MIN_BASE64 and sniff(decode_base64(text[:_MIN_BASE64]) or b""):
        return f"the {what} is base64 without a prefix: put data:;base64, in front, or decode it"
    if text.startswith("~"):
        return f"no such file: {shown}; ~ is not expanded: Path({text[:20]!r}).expanduser()"
    return f"no such file: {shown}"


def _from_data_url(url: str, limit: int, what: str) -> SourceFile:
    if len(url) > limit * 3 + 1000:  # all bytes percent-encoded
        raise InvalidInputError(_too_large("", limit, what))
    content = decode_data_url(url)
    if content is None:
        raise InvalidInputError(f"the data URL of the {what} cannot be read")
    return _checked(SourceFile(content, claimed=data_url_media_type(url)), limit, what)


def _from_open(file: Any, limit: int, what: str) -> SourceFile:
    name = _name_of(file)
    pieces: list[bytes] = []
    size = 0
    with _reading(what, name or None), _rewound(file):
        while size <= limit:  # a pipe may return less than requested
            piece = file.read(min(_CHUNK_SIZE, limit + 1 - size) if pieces else limit + 1)
            if not isinstance(piece, _BYTES):
                raise InvalidInputError(_no_bytes(piece, what))
            if not piece:
                break
            pieces.append(bytes(piece))
            size += len(piece)
    if not size:
        raise InvalidInputError(
            f"the {what} {name or ''} is empty, or was read to its end before: file.seek(0)".replace("  ", " ")
        )
    return _checked(SourceFile(b"".join(pieces), name), limit, what)


def _no_bytes(piece: Any, what: str) -> str:
    if hasattr(piece, "__await__"):
        with contextlib.suppress(Exception):
            piece.close()  # prevents Python's warning about a coroutine that was never awaited
        return f"the {what} is read asynchronously: await its read() and pass the bytes"
    return f"open the {what} in binary mode: open(path, 'rb')"


def _name_of(file: Any) -> str:
    """Return the name of an open file. Uploads of web frameworks have it in ``filename``, and the form field in ``name``."""
    for key in ("name",) if isinstance(file, io.IOBase) else ("filename", "name"):
        name = getattr(file, key, None)
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        if isinstance(name, str):
            return _base_name(name)  # an int is the descriptor that the file was opened with
    return ""


def _base_name(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _checked(file: SourceFile, limit: int, what: str) -> SourceFile:
    size = len(file.content) if isinstance(file.content, bytes) else file.content.stat().st_size
    if not size and (isinstance(file.content, bytes) or not file.start(1)):  # files in /proc have the size 0
        raise InvalidInputError(f"the {what} {file.name} is empty".replace("  ", " "))
    if size > limit:
        raise InvalidInputError(_too_large(file.name, limit, what))
    return file


def _too_large(name: str, limit: int, what: str) -> str:
    return f"the {what} {name} is larger than the limit of {limit / 1e6:.1f} MB".replace("  ", " ")


@contextlib.contextmanager
def _reading(what: str, source: object) -> Iterator[None]:
    """Turn an exception from reading into an InvalidInputError that names the file."""
    try:
        yield
    except HFClientError:
        raise
    except Exception as exc:
        named = f" {str(source)[:_SHOWN]!r}" if source else ""
        reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
        raise InvalidInputError(f"cannot read the {what}{named}: {reason}") from exc


@contextlib.contextmanager
def _rewound(file: Any) -> Iterator[None]:
    """Restore the position of an open file: a call of several rounds reads it once per round."""
    place = None
    if hasattr(file, "seek"):
        with contextlib.suppress(Exception):
            place = file.tell()
    yield
    if place is not None:
        with contextlib.suppress(Exception):
            file.seek(place)
