"""Encoding of Pillow images: in their own format if servers read it, upright, in a mode that the format supports.

Pillow is not imported for the check whether an object is a Pillow image: if it is, Pillow is imported already.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfclient.errors import HFClientError, InvalidInputError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["encode_image", "is_pillow_image"]

_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif"}
# Lossy formats. Few servers read those other than JPEG, and a photo as PNG would be many times as large.
_PHOTOS = frozenset({"JPEG", "MPO", "HEIF", "AVIF", "JPEG2000", "JPEG2K"})
_MODES = {
    "JPEG": ("L", "RGB"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "WEBP": ("L", "RGB", "RGBA"),
    "GIF": ("1", "L", "P"),
}
_NO_METADATA: dict[str, Any] = {"comment": b"", "xmp": b""}  # Pillow would copy these from the image's file
_QUALITY = 90  # if the image does not have its own quantization tables


def is_pillow_image(source: object) -> bool:
    """Return whether *source* is a Pillow image, or has its methods."""
    return hasattr(source, "save") and hasattr(source, "tobytes")


def encode_image(image: Any) -> tuple[bytes, str]:
    """Return an image as bytes, with a file name.

    JPEG stays JPEG with its own quantization tables, so its size hardly changes; WebP, GIF and PNG stay, with all frames if
    the current one is the first. Other lossy formats become JPEG, all others PNG. The orientation in EXIF is applied; other
    EXIF data, XMP and comments (places, cameras, names) are removed.

    Raises:
        InvalidInputError: Pillow cannot read the image (it is cut off, or its file is closed), or cannot write it.
    """
    pillow = sys.modules.get("PIL.Image")
    try:
        if pillow is None or not isinstance(image, pillow.Image):
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            return buffer.getvalue(), "image.png"
        return _encoded(image)
    except HFClientError:
        raise
    except Exception as exc:  # many kinds, such as SyntaxError and struct.error
        raise InvalidInputError(f"Pillow cannot write this image: {exc or type(exc).__name__}") from exc


def _encoded(image: Image) -> tuple[bytes, str]:
    if 0 in image.size:
        raise InvalidInputError(f"the image has no pixels: it is {image.width} x {image.height}")
    image.load()  # raises for a broken file
    source = image.format or ""
    buffer = io.BytesIO()
    if source in ("GIF", "PNG", "WEBP") and getattr(image, "n_frames", 1) > 1 and image.tell() == 0:
        quality = {"quality": _QUALITY} if source == "WEBP" else {}
        image.save(buffer, source, save_all=True, **_NO_METADATA, **quality)
        image.seek(0)
        return buffer.getvalue(), _name(image, source)
    # Pillow applies the orientation of a TIFF itself, and older releases keep the tag.
    shown = _plain(image) if source == "TIFF" else _upright(_plain(image))
    target = "JPEG" if source in _PHOTOS else source if source in _MODES else "PNG"
    if shown.mode not in _MODES[target]:
        target = "PNG"
    shown.save(buffer, target, **_options(image, shown, target))
    return buffer.getvalue(), _name(image, target)


def _upright(image: Image) -> Image:
    """Return the image with the orientation from EXIF applied."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(image) or image


def _plain(image: Image) -> Image:
    """Return the image in a mode that PNG stores with eight bits."""
    mode = image.mode
    if mode in _MODES["PNG"]:
        return image
    if mode in ("F", "I") or mode.startswith("I;16"):
        return _with_meta(_in_eight_bits(image), image)
    if mode in ("La", "RGBa", "PA"):  # premultiplied alpha, or a palette with alpha
        return _with_meta(image.convert("LA" if mode == "La" else "RGBA"), image)
    if mode == "LAB":
        return _with_meta(_from_lab(image), image)
    return _with_meta(image.convert("RGB"), image)


def _with_meta(converted: Image, image: Image) -> Image:
    """Return *converted* with the EXIF data of *image* (the orientation), without its color profile, which does not fit."""
    converted.info = {key: value for key, value in image.info.items() if key == "exif"}
    return converted


def _in_eight_bits(image: Image) -> Image:
    """Return grey levels scaled to 0 to 255: unchanged if they fit, else by the range that the values suggest."""
    wide = image if image.mode in ("F", "I") else image.convert("I")
    low, high = wide.getextrema()
    assert isinstance(low, (int, float))
    assert isinstance(high, (int, float))
    if low >= 0 and high <= 1 and image.mode == "F":
        scale, offset = 255.0, 0.0
    elif low >= 0 and high <= 255:
        scale, offset = 1.0, 0.0
    elif low >= 0 and high <= 65535:
        scale, offset = 1 / 257, 0.0
    elif low < high < float("inf") and low > float("-inf"):
        scale = 255 / (high - low)
        offset = -low * scale
    else:  # not a number, or infinite
        raise InvalidInputError(f"the image's values range from {low} to {high}, which are not grey levels")
    # As floats: Pillow clips integers before it scales them.
    return wide.convert("F").point(lambda value: value * scale + offset).convert("L")


def _from_lab(image: Image) -> Image:
    from PIL import ImageCms

    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransformFromOpenProfiles(*profiles, "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


def _options(image: Image, shown: Image, target: str) -> dict[str, Any]:
    profile = shown.info.get("icc_profile")
    options: dict[str, Any] = {**_NO_METADATA, "icc_profile": profile if shown.mode == image.mode else None}
    if target == "WEBP":
        options["quality"] = _QUALITY
    elif target == "JPEG":
        tables = getattr(image, "quantization", None)
        if not tables or image.mode not in ("L", "RGB"):
            options["quality"] = _QUALITY
        else:
            from PIL.JpegImagePlugin import get_sampling

            options |= {"qtables": tables, "subsampling": get_sampling(image)}
    return options


def _name(image: Image, target: str) -> str:
    """Return the name of the image's file, with the suffix of the new format."""
    found = getattr(image, "filename", "")
    name = Path(os.fsdecode(found)).stem if isinstance(found, (str, bytes, os.PathLike)) else ""
    return (name or "image") + _SUFFIXES[target]
