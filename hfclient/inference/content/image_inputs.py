"""Images for a model: any input becomes bytes with a type, or a URL that is passed on."""

from __future__ import annotations

import base64
from typing import TypeAlias

from attrs import Factory, field, frozen

from hfclient.errors import InvalidInputError
from hfclient.files.data_urls import data_url
from hfclient.files.media_types import sniff
from hfclient.files.sources import FileLike, is_url, open_source

__all__ = ["MAX_IMAGE", "ImageInput", "ImageLike", "load_image"]

MAX_IMAGE = 64 * 1024 * 1024
"""Maximum size of an image that is sent, in bytes."""

ImageLike: TypeAlias = FileLike
"""A path, bytes, an open binary file, an `Image`, a PIL image, a data URL, or an http(s) URL, which the provider fetches."""


@frozen
class ImageInput:
    """An image to send.

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
            raise InvalidInputError("this provider does not take an image by its URL; download it and pass the bytes")
        return base64.b64encode(self.content).decode()

    def as_url(self) -> str:
        """Return the image's URL, or a data URL of its bytes."""
        return self.url if self.url is not None else data_url(self.content or b"", self.mime)


def load_image(source: ImageLike) -> ImageInput:
    """Return *source* as an `ImageInput`. Reads a file; fetches nothing.

    Raises:
        InvalidInputError: It is not an image, too large, missing, or of a type that is not a source of images.
    """
    if isinstance(source, ImageInput):
        return source
    if isinstance(source, str) and is_url(source):
        return ImageInput(url=source.strip())
    image = ImageInput(open_source(source, MAX_IMAGE, "image").read())
    if not image.mime.startswith("image/"):
        raise InvalidInputError(f"this is not an image, but {image.mime or 'something else'}")
    return image
