"""Files out of a conversation: what tools produced and what was attached."""

from __future__ import annotations

import contextlib
import mimetypes
import os
from collections.abc import Iterator
from pathlib import Path

from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.failures import refine
from hfclient.errors import InvalidInputError
from hfclient.events import File
from hfclient.saving import free_path, safe_name, write_file
from hfclient.transport import Request, Timeouts
from hfclient.types import StoredFile

__all__ = ["Downloadable", "fetch_file", "file_name", "save_file"]

Downloadable = File | StoredFile | str
"""A `File` event, a file of a message, or the id of either."""


def _sha(file: Downloadable) -> str:
    sha = file if isinstance(file, str) else file.sha
    if not sha or not sha.isalnum():
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

    ``Limits.file`` holds if they are kept.

    Reference: GET {base}/conversation/{id}/output/{sha}
    """
    endpoints: Endpoints = service.endpoints
    response = service.identity.send(
        Request.file(endpoints.file_url(conversation_id, _sha(file)), timeouts=timeouts, refine=refine)
    )
    try:
        yield response.chunks("file" if keep else None)
    finally:
        response.close()


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
