"""Pictures on their way to a model: whatever the caller has becomes bytes with a type, or a URL that is passed on."""

from __future__ import annotations

import base64
import io
import os
from typing import IO, Any, TypeAlias

from attrs import Factory, field, frozen

from hfclient.errors import InvalidInputError
from hfclient.inference.content.magic import sniff
from hfclient.inference.content.sources import checked_size, read_source

__all__ = ["MAX_PICTURE", "Picture", "PictureLike", "load_picture"]

MAX_PICTURE = 64 * 1024 * 1024
"""Most bytes of a picture that is sent."""

PictureLike: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | Any"
"""A path, bytes, an open binary file, an `Image`, a PIL image, or an http(s) or data URL as a string."""


@frozen
class Picture:
    """A picture to send.

    Attributes:
        content: Its bytes; None if only its URL is known.
        url: Where a provider can fetch it, or None.
        mime: Its type, by its first bytes; empty for a URL.
    """

    content: bytes | None = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    mime: str = Factory(lambda self: (sniff(self.content) or "") if self.content else "", takes_self=True)

    def as_base64(self) -> str:
        """Return the bytes as plain base64.

        Raises:
            InvalidInputError: There is only a URL.
        """
        if self.content is None:
            raise InvalidInputError("this provider takes no picture by its URL; download it and pass the bytes")
        return base64.b64encode(self.content).decode()

    def as_url(self) -> str:
        """Return the picture's URL, or all of it as a data URL."""
        return self.url if self.url is not None else f"data:{self.mime};base64,{self.as_base64()}"


def load_picture(source: PictureLike) -> Picture:
    """Return *source* as a `Picture`. Reads a file; fetches nothing.

    Raises:
        InvalidInputError: It is no picture, too large, missing, or nothing that a picture can be read from.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return Picture(url=source)
    content = read_source(source, MAX_PICTURE, "picture")
    if content is None:
        content = _drawn(source)
    picture = Picture(checked_size(content, MAX_PICTURE, "picture"))
    if not picture.mime.startswith("image/"):
        raise InvalidInputError(f"this is no picture, but {picture.mime or 'something else'}")
    return picture


def _drawn(source: Any) -> bytes:
    if hasattr(source, "save") and hasattr(source, "tobytes"):  # PIL's; it is not imported to find out
        buffer = io.BytesIO()
        source.save(buffer, "PNG")
        return buffer.getvalue()
    raise InvalidInputError(
        f"a picture is a path, bytes, an open binary file, a URL, an Image or a PIL image, not {type(source).__name__}"
    )
