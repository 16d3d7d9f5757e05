"""Downloads of files of a conversation: attachments, and files that tools have made."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attrs import evolve

from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.errors import InvalidInputError, ProtocolError
from hfclient.events import File
from hfclient.files.saving import free_path, safe_name, write_file
from hfclient.transport import ONCE, Clock, Request, Response, Session, Timeouts, retrying
from hfclient.types import StoredFile

if TYPE_CHECKING:
    from hfclient.progress import Progress, ProgressBar

__all__ = ["Downloadable", "fetch_file", "file_name", "is_file_id", "read_file", "save_file"]

_MAX_ID = 200

Downloadable = File | StoredFile | str
"""A `File` event, a file of a message, or the id of either."""


def is_file_id(text: str) -> bool:
    """Whether *text* can be the id of a file: letters and digits, a hash in hex on today's servers."""
    return text.isascii() and text.isalnum() and len(text) <= _MAX_ID


def _sha(file: Downloadable) -> str:
    if not isinstance(file, Downloadable):
        raise InvalidInputError(f"a file is a File event, a file of a message, or its id, not {type(file).__name__}")
    sha = file if isinstance(file, str) else file.sha
    if not is_file_id(sha):
        raise InvalidInputError("this file has no id on the server")
    return sha


def file_name(file: Downloadable) -> str:
    """Return a safe name to save *file* under."""
    if isinstance(file, str):
        return safe_name(file[:16])
    name = safe_name(file.name, _sha(file)[:16])
    import mimetypes  # not for a call without files

    return name if "." in name else name + (mimetypes.guess_extension(file.mime) or "")


@contextlib.contextmanager
def fetch_file(
    service: ChatService,
    conversation_id: str,
    file: Downloadable,
    timeouts: Timeouts | None,
    *,
    keep: bool = False,
    bar: ProgressBar | None = None,
) -> Iterator[Iterator[bytes]]:
    """Request a file and yield its bytes as they arrive; leaving the ``with`` frees the connection.

    ``Limits.file`` holds if they are kept. When the connection breaks, the file is requested again, and the bytes that had
    come are skipped: its id is a hash of its content, so it is the same file.

    Reference: GET {base}/conversation/{id}/output/{sha}
    """
    endpoints: Endpoints = service.endpoints
    clock = service.session.clock(timeouts)
    request = Request.file(endpoints.file_url(conversation_id, _sha(file)), clock=clock, refine=endpoints.refine)
    response = service.session.send(request)
    pieces = _pieces(service.session, request, clock, response, "file" if keep else None)
    if bar is not None and not bar.is_silent:
        pieces = _counted(pieces, response, bar)
    try:
        yield pieces
    finally:
        pieces.close()
        response.close()  # if the generator was never started


def _counted(pieces: Generator[bytes, None, None], response: Response, bar: ProgressBar) -> Generator[bytes, None, None]:
    length = response.headers.get("content-length", "")
    if length.isdecimal() and len(length) < 20 and "content-encoding" not in response.headers:
        bar.total = int(length)
    try:
        for piece in pieces:
            bar.add(len(piece))
            yield piece
    finally:
        pieces.close()


def _pieces(
    session: Session, request: Request, clock: Clock, response: Response, within: Literal["file"] | None
) -> Generator[bytes, None, None]:
    again = evolve(request, retry=ONCE)
    had, is_first = 0, True
    for attempt in retrying(session.retry, clock, what=request):
        with attempt:
            response = response if is_first else session.send(again)
            is_first, to_skip = False, had
            try:
                for data in response.chunks(within):
                    skipped = min(to_skip, len(data))
                    to_skip -= skipped
                    if skipped < len(data):
                        had += len(data) - skipped
                        attempt.restart()  # progress: try again
                        yield data[skipped:] if skipped else data
                if to_skip:
                    raise ProtocolError("the file was shorter when it was requested again")
            finally:
                response.close()


def read_file(
    service: ChatService,
    conversation_id: str,
    file: Downloadable,
    *,
    max_bytes: int | None = None,
    timeouts: Timeouts | None = None,
    progress: Progress = None,
) -> bytes:
    """Return the content of a file; arguments and errors are those of `Conversation.read_file`."""
    with _bar(progress, file) as bar, fetch_file(service, conversation_id, file, timeouts, keep=True, bar=bar) as pieces:
        content = bytearray()
        for piece in pieces:
            content += piece
            if max_bytes is not None and len(content) > max_bytes:
                raise ProtocolError(f"the file is longer than {max_bytes} bytes (max_bytes)")
        return bytes(content)


def _bar(progress: Progress, file: Downloadable) -> ProgressBar:
    from hfclient.progress import ProgressBar  # not for a plain chat

    return ProgressBar(progress, label=getattr(file, "name", "Download"))  # its type is checked with its id


def save_file(
    service: ChatService,
    conversation_id: str,
    file: Downloadable,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    timeouts: Timeouts | None = None,
    progress: Progress = None,
) -> Path:
    """Save a file: under *path*, or in it under the file's own name, made safe, if it is a folder."""
    target = Path(path)
    if target.is_dir() or os.fspath(path).endswith(("/", os.sep)):
        name = file_name(file)
        target = target / name if overwrite else free_path(target, name)
    if target.exists() and not overwrite:
        raise InvalidInputError(f"{target} exists already; choose another name or pass overwrite=True")
    with _bar(progress, file) as bar, fetch_file(service, conversation_id, file, timeouts, bar=bar) as pieces:
        return write_file(target, pieces, overwrite=overwrite)
