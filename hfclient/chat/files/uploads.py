"""Uploads: files become parts of the form, checked before anything is sent.

A server stores every file but shows a model only images and text. So text is sent as text, whatever its suffix, and a
file that the server would not show to a model is refused.

Reference: docs/protocol/huggingchat ("send"): a part named ``files`` with the file name ``base64;NAME`` and base64 text.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import evolve, frozen

from hfclient.errors import InvalidInputError, Unsupported
from hfclient.events import File
from hfclient.files.media_types import media_type
from hfclient.files.sources import FileLike as SourceLike
from hfclient.files.sources import SourceFile, as_file_list, is_url, open_source
from hfclient.transport import Part
from hfclient.types import StoredFile
from hfclient.values import Value

if TYPE_CHECKING:
    from hfclient.progress import Progress

__all__ = ["MAX_FILE", "MAX_UPLOAD", "FileLike", "RemoteFile", "listed_files", "stored_part", "upload_parts", "uploading"]

MAX_FILE = 10 * 1024 * 1024
"""Maximum bytes of one file: the server's own limit."""

MAX_UPLOAD = 15_728_640
"""Maximum bytes of a whole request, base64 included: the server's default."""


@frozen(eq=False, repr=False)
class RemoteFile(Value):
    """A file at a URL, which this client fetches without credentials and then sends.

    Attributes:
        url: Its address.
    """

    url: str


FileLike: TypeAlias = "SourceLike | RemoteFile | StoredFile | File | Any"
"""A path, bytes, an open binary file, a data URL, a PIL image, an `Image`, ``(name, content)``, a `RemoteFile`, or a file
that the conversation holds already."""

_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp"}
_TEXT_TYPES = ("application/json", "application/xml", "application/csv", "application/vnd.chatui.clipboard")
_START = 4096  # bytes that are inspected to tell text from other content


def upload_parts(
    files: Iterable[FileLike] | FileLike | None,
    *,
    fetch: Callable[[str, int], bytes] | None = None,
    is_new: bool = False,
) -> tuple[Part, ...]:
    """Return one form part per file, in order. Paths are read while sending, not before.

    Args:
        files: One file, or several.
        fetch: Returns the content at a URL, with a maximum number of bytes; for `RemoteFile`.
        is_new: The conversation does not exist yet, so it holds no files.

    Raises:
        InvalidInputError: A file is missing, empty or over 10 MB, all together exceed the request, or it is a bare URL.
        Unsupported: A file is neither an image nor text.
    """
    parts = tuple(_part(file, fetch, is_new) for file in listed_files(files))
    total = sum(part.length() for part in parts)
    if total > MAX_UPLOAD - 64 * 1024:  # space for the rest of the form
        raise InvalidInputError(
            f"the files are too large together: {total / 1e6:.1f} MB as base64; a request takes {MAX_UPLOAD / 1e6:.1f} MB"
        )
    return parts


@contextlib.contextmanager
def uploading(parts: tuple[Part, ...], progress: Progress) -> Iterator[tuple[Part, ...]]:
    """Give the parts to send inside the ``with``, whose progress is then shown."""
    if not parts:
        yield parts
        return
    from hfclient.progress import ProgressBar  # not for a plain chat

    with ProgressBar(progress, total=sum(part.size for part in parts), label="Upload") as bar:
        yield parts if bar.is_silent else tuple(_observed(parts, bar.update))


def _observed(parts: tuple[Part, ...], report: Callable[[float], object]) -> Iterator[Part]:
    sent = [0] * len(parts)  # a request that is repeated begins again

    def note(number: int, count: int) -> None:
        sent[number] = count
        report(sum(sent))

    for number, part in enumerate(parts):
        yield evolve(part, on_sent=functools.partial(note, number))


def listed_files(files: Iterable[FileLike] | FileLike | None) -> list[FileLike]:
    """Return what was passed as ``files``, which may be a single one, as a list.

    Raises:
        InvalidInputError: It is a dict.
    """
    return [files] if isinstance(files, (RemoteFile, StoredFile, File)) else as_file_list(files, "files")


def stored_part(file: StoredFile | File) -> Part:
    """Return the form part that refers to a file of the conversation, instead of sending it again."""
    return Part(
        name="files", content=file.sha.encode(), filename=f"hash;{file.name or 'file'}", content_type=file.mime or None
    )


def _part(file: FileLike, fetch: Callable[[str, int], bytes] | None, is_new: bool) -> Part:
    if isinstance(file, (StoredFile, File)):
        if is_new:
            raise InvalidInputError(
                f"the file {file.name!r} is in another conversation: call its read_file() and pass the bytes"
            )
        return stored_part(file)
    if isinstance(file, RemoteFile):
        if fetch is None:
            raise InvalidInputError("a file at a URL cannot be fetched here; download it and pass the bytes")
        file = (file.url.partition("?")[0].rpartition("/")[2], fetch(file.url, MAX_FILE + 1))
    elif is_url(file):
        raise InvalidInputError("a URL is not fetched: pass RemoteFile(url), or download it yourself")
    return _build(open_source(file, MAX_FILE))


def _build(file: SourceFile) -> Part:
    mime, suffix = _kind(file)
    name = file.name or "file" + suffix
    return Part(name="files", content=file.content, filename=f"base64;{name}", content_type=mime, as_base64=True)


def _kind(file: SourceFile) -> tuple[str, str]:
    """Return the media type and a suffix: the content takes precedence over the name."""
    start = file.start(_START)
    mime = media_type(start, file.name, file.claimed) or ""
    if mime.startswith("image/") and mime != "image/svg+xml":
        return mime, _SUFFIXES.get(mime, "")
    if _is_text(start):
        import mimetypes  # not for a call without files

        claimed = (file.claimed, mimetypes.guess_type(file.name)[0] or "")
        return next((kind for kind in claimed if kind.startswith("text/") or kind in _TEXT_TYPES), "text/plain"), ".txt"
    raise Unsupported(
        f"{file.name or 'the file'} is neither an image nor text; the server would store it and never show it to the model. "
        "Extract its text, or convert its pages to images"
    )


def _is_text(start: bytes) -> bool:
    if b"\0" in start:
        return False
    try:
        start.decode()
    except UnicodeDecodeError as exc:
        return len(start) == _START and exc.start > _START - 4  # a character that is cut at the end
    return True
