"""A multipart form that is encoded while it is sent.

HTTP libraries build a form in memory, and chat-ui wants files as base64 text: a file of 10 MiB would need four times
its size. Here a part's content is read and encoded in pieces, and the length is known beforehand.

Reference: RFC 7578; file names are escaped as browsers do it (``"`` becomes ``%22``), because chat-ui refuses RFC 5987.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import Factory, field, frozen

from hfclient.errors import InvalidInputError
from hfclient.values import Value

__all__ = ["Multipart", "Part"]

_PIECE = 48 * 1024  # a multiple of 3, so that pieces of base64 join without padding


@frozen(kw_only=True, eq=False, repr=False)
class Part(Value):
    """One field of a form.

    Attributes:
        name: The field's name.
        content: Its bytes, or the path of a file to read while sending.
        filename: Makes it a file part.
        content_type: Its media type, or None.
        as_base64: Send the content as base64 text.
        size: Length of the content in bytes when the part was created.
        on_sent: Called with the number of bytes of the content that the transport has taken so far.

    Raises:
        InvalidInputError: The path is missing, cannot be read, or is not a regular file.
    """

    name: str
    content: bytes | Path = field(repr=False)
    filename: str | None = None
    content_type: str | None = None
    as_base64: bool = False
    size: int = Factory(lambda self: _size(self.content), takes_self=True)
    on_sent: Callable[[int], object] | None = field(default=None, repr=False, eq=False)

    def length(self) -> int:
        """Length in bytes of what is sent as the part's content."""
        return (self.size + 2) // 3 * 4 if self.as_base64 else self.size

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes that are sent as the part's content."""
        sent = 0
        for piece in self._raw():
            yield base64.b64encode(piece) if self.as_base64 else piece
            if self.on_sent is not None:
                sent += len(piece)
                self.on_sent(sent)

    def _raw(self) -> Iterator[bytes]:
        if isinstance(self.content, bytes):
            for start in range(0, len(self.content), _PIECE):
                yield self.content[start : start + _PIECE]
            return
        left = self.size
        try:
            with self.content.open("rb") as file:
                while left > 0 and (piece := file.read(min(_PIECE, left))):
                    left -= len(piece)
                    yield piece
        except OSError as exc:  # an error of the file, not of the connection
            raise InvalidInputError(f"{self.content.name} cannot be read: {exc.strerror or type(exc).__name__}") from exc
        if left:  # Content-Length has been sent; the server must not wait for missing bytes
            raise InvalidInputError(f"{self.content.name} became shorter while it was being sent")


def _size(content: bytes | Path) -> int:
    if isinstance(content, bytes):
        return len(content)
    try:
        status = content.stat()
    except OSError as exc:
        raise InvalidInputError(f"{content} cannot be read: {exc.strerror or type(exc).__name__}") from exc
    if not stat.S_ISREG(status.st_mode):  # a pipe or a device has no size to promise
        raise InvalidInputError(f"{content} is not a file")
    return status.st_size


@frozen(eq=False, repr=False)
class Multipart(Value):
    """A form; iterating yields its bytes, ``len()`` is their number.

    Attributes:
        parts: The fields, in order.
        boundary: The separator of the fields.
    """

    parts: tuple[Part, ...]
    boundary: str = field(factory=lambda: os.urandom(16).hex(), eq=False)

    @property
    def content_type(self) -> str:
        """The value of the Content-Type header."""
        return f"multipart/form-data; boundary={self.boundary}"

    def __len__(self) -> int:
        return sum(len(self._head(part)) + part.length() + 2 for part in self.parts) + len(self._tail())

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            yield self._head(part)
            yield from part.pieces()
            yield b"\r\n"
        yield self._tail()

    def _head(self, part: Part) -> bytes:
        lines = [f"--{self.boundary}", f'Content-Disposition: form-data; name="{_quoted(part.name)}"']
        if part.filename is not None:
            lines[-1] += f'; filename="{_quoted(part.filename)}"'
        if part.content_type is not None:
            lines.append(f"Content-Type: {_quoted(part.content_type)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")

    def _tail(self) -> bytes:
        return f"--{self.boundary}--\r\n".encode()


def _quoted(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
