"""Files out of a conversation: what tools produced and what was attached."""

from __future__ import annotations

import contextlib
import mimetypes
import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Literal

from attrs import evolve

from hfclient.chat.servers.service import ChatService, shorter
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.errors import ConnectError, InvalidInputError, ProtocolError
from hfclient.events import File
from hfclient.files.saving import free_path, safe_name, write_file
from hfclient.transport import Request, Response, Timeouts
from hfclient.types import StoredFile

__all__ = ["Downloadable", "fetch_file", "file_name", "is_file_id", "save_file"]

_LONGEST_ID = 200

Downloadable = File | StoredFile | str
"""A `File` event, a file of a message, or the id of either."""


def is_file_id(text: str) -> bool:
    """Whether *text* can be the id of a file: letters and digits, a hash in hex on today's servers."""
    return text.isascii() and text.isalnum() and len(text) <= _LONGEST_ID


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
    return name if "." in name else name + (mimetypes.guess_extension(file.mime) or "")


@contextlib.contextmanager
def fetch_file(
    service: ChatService, conversation_id: str, file: Downloadable, timeouts: Timeouts | None, *, keep: bool = False
) -> Iterator[Iterator[bytes]]:
    """Ask for a file and give its bytes as they arrive; leaving frees the connection, also if nobody began to read.

    ``Limits.file`` holds if they are kept. When the connection breaks, the file is asked for again, and what had come is
    passed over: its id is a hash of its content, so it is the same file.

    Reference: GET {base}/conversation/{id}/output/{sha}
    """
    endpoints: Endpoints = service.endpoints
    request = Request.file(endpoints.file_url(conversation_id, _sha(file)), timeouts=timeouts, refine=endpoints.refine)
    response = service.session.send(request)
    pieces = _pieces(service, request, response, "file" if keep else None)
    try:
        yield pieces
    finally:
        pieces.close()
        response.close()  # of pieces that nobody began to read


def _pieces(
    service: ChatService, request: Request, response: Response, within: Literal["file"] | None
) -> Generator[bytes, None, None]:
    first = response.deadline
    had, tries = 0, 1
    while True:
        before, to_skip = had, had
        try:
            for data in response.chunks(within):
                skipped = min(to_skip, len(data))
                to_skip -= skipped
                if skipped < len(data):
                    had += len(data) - skipped
                    yield data[skipped:] if skipped else data
            if to_skip:
                raise ProtocolError("the file was shorter when it was asked for again")
            return
        except ConnectError as error:
            tries = 2 if had > before else tries + 1  # as long as something comes, it is worth while
            wait, left = service.session.retry.wait_before(tries, error), first.remaining()
            if wait is None or (left is not None and wait >= left):
                raise
        finally:
            response.close()
        time.sleep(wait)
        timeouts = shorter(request.timeouts or service.session.timeouts, first.remaining())
        response = service.session.send(evolve(request, timeouts=timeouts))


def save_file(
    service: ChatService,
    conversation_id: str,
    file: Downloadable,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    timeouts: Timeouts | None = None,
) -> Path:
    """Save a file: under *path*, or in it under the file's own name, made safe, if it is a folder."""
    target = Path(path)
    if target.is_dir() or os.fspath(path).endswith(("/", os.sep)):
        name = file_name(file)
        target = target / name if overwrite else free_path(target, name)
    if target.exists() and not overwrite:
        raise InvalidInputError(f"{target} exists already; choose another name or pass overwrite=True")
    with fetch_file(service, conversation_id, file, timeouts) as pieces:
        return write_file(target, pieces, overwrite=overwrite)
