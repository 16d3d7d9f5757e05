"""Pictures on their way to a model: whatever the caller has becomes bytes with a type, or a URL that is passed on."""

from __future__ import annotations

import base64
from typing import TypeAlias

from attrs import Factory, field, frozen

from hfclient.errors import InvalidInputError
from hfclient.files.media_types import sniff
from hfclient.files.sources import FileLike, is_url, open_source

__all__ = ["MAX_PICTURE", "Picture", "PictureLike", "load_picture"]

MAX_PICTURE = 64 * 1024 * 1024
"""Most bytes of a picture that is sent."""

PictureLike: TypeAlias = FileLike
"""What names a file; an http(s) URL besides, which the provider fetches."""


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
    if isinstance(source, str) and is_url(source):
        return Picture(url=source.strip())
    picture = Picture(open_source(source, MAX_PICTURE, "picture").read())
    if not picture.mime.startswith("image/"):
        raise InvalidInputError(f"this is no picture, but {picture.mime or 'something else'}")
    return picture
