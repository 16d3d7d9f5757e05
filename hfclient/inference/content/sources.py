"""What a caller may hand in as a file becomes bytes: a path, bytes, an open file, a data URL, a result of ours."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfclient.errors import InvalidInputError
from hfclient.inference.content.dataurls import data_url_content

__all__ = ["checked_size", "read_source"]


def read_source(source: Any, limit: int, what: str) -> bytes | None:
    """Return the bytes of *source*, which is called *what* in errors; None if it is nothing that holds any.

    Of one that is longer than *limit* only so much is read that `checked_size` notices.

    Raises:
        InvalidInputError: It cannot be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, str) and source.startswith("data:"):
        found = data_url_content(source)
        if found is None:
            raise InvalidInputError("this data URL cannot be read")
        return found
    if isinstance(source, (str, os.PathLike)):
        try:
            with Path(source).open("rb") as file:
                return file.read(limit + 1)
        except (OSError, ValueError) as exc:
            raise InvalidInputError(f"cannot read the {what} {os.fspath(source)[:200]!r}: {exc}") from exc
    if hasattr(source, "read"):
        with _rewound(source):
            content = source.read(limit + 1)
        if not isinstance(content, bytes):
            raise InvalidInputError(f"open the {what} in binary mode: open(path, 'rb')")
        return content
    content = getattr(source, "content", None)  # an `Image`, a `Video`, an `Audio`
    return content if isinstance(content, bytes) else None


def checked_size(content: bytes, limit: int, what: str) -> bytes:
    """Return *content*; raises `InvalidInputError` if it is empty or longer than *limit*."""
    if not content:
        raise InvalidInputError(f"the {what} is empty")
    if len(content) > limit:
        raise InvalidInputError(f"the {what} is larger than {limit / 1e6:.0f} MB")
    return content


@contextlib.contextmanager
def _rewound(source: Any) -> Iterator[None]:
    """Leave an open file where it was: a call of several rounds reads it once for each."""
    place = None
    if hasattr(source, "read") and hasattr(source, "seek"):
        with contextlib.suppress(OSError, ValueError):
            place = source.tell()
    yield
    if place is not None:
        with contextlib.suppress(OSError, ValueError):
            source.seek(place)
