"""Pictures of Pillow become files: in their own format where servers read that, upright, and of a mode that it can hold.

Pillow is not imported to find out whether something is a picture of its own: where there is one it has been imported.
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
# Formats with losses, of which hardly any server reads the others: as PNG a photo would be many times as large.
_PHOTOS = frozenset({"JPEG", "MPO", "HEIF", "AVIF", "JPEG2000", "JPEG2K"})
_MODES = {
    "JPEG": ("L", "RGB"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "WEBP": ("L", "RGB", "RGBA"),
    "GIF": ("1", "L", "P"),
}
_WITHOUT: dict[str, Any] = {"comment": b"", "xmp": b""}  # which would be taken over from the picture's own file
_QUALITY = 90  # where the picture does not say with which it was made


def is_pillow_image(source: object) -> bool:
    """Return whether *source* is a picture of Pillow, or behaves as one."""
    return hasattr(source, "save") and hasattr(source, "tobytes")


def encode_image(picture: Any) -> tuple[bytes, str]:
    """Return a picture as bytes, with a name for them.

    JPEG stays JPEG with the tables that it was made with, so about its own size; WebP, GIF and PNG stay, with all their
    frames if the first one is shown. All other pictures become PNG, photos of other formats JPEG. The orientation in
    EXIF is applied; other EXIF, XMP and comments (places, cameras, names) do not go out.

    Raises:
        InvalidInputError: Pillow cannot read the picture (it is cut off, or its file is closed), or cannot write it.
    """
    pillow = sys.modules.get("PIL.Image")
    try:
        if pillow is None or not isinstance(picture, pillow.Image):
            buffer = io.BytesIO()
            picture.save(buffer, "PNG")
            return buffer.getvalue(), "image.png"
        return _encoded(picture)
    except HFClientError:
        raise
    except Exception as exc:  # of many kinds, SyntaxError and struct.error among them
        raise InvalidInputError(f"Pillow cannot write this picture: {exc or type(exc).__name__}") from exc


def _encoded(picture: Image) -> tuple[bytes, str]:
    if 0 in picture.size:
        raise InvalidInputError(f"the picture has no pixels: it is {picture.width} x {picture.height}")
    picture.load()  # what is broken shows here
    source = picture.format or ""
    buffer = io.BytesIO()
    if source in ("GIF", "PNG", "WEBP") and getattr(picture, "n_frames", 1) > 1 and picture.tell() == 0:
        quality = {"quality": _QUALITY} if source == "WEBP" else {}
        picture.save(buffer, source, save_all=True, **_WITHOUT, **quality)
        picture.seek(0)
        return buffer.getvalue(), _name(picture, source)
    # Pillow turns a TIFF itself, and older releases leave the tag that said so.
    shown = _plain(picture) if source == "TIFF" else _upright(_plain(picture))
    target = "JPEG" if source in _PHOTOS else source if source in _MODES else "PNG"
    if shown.mode not in _MODES[target]:
        target = "PNG"
    shown.save(buffer, target, **_options(picture, shown, target))
    return buffer.getvalue(), _name(picture, target)


def _upright(picture: Image) -> Image:
    """Return the picture as its camera was held."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture) or picture


def _plain(picture: Image) -> Image:
    """Return the picture in a mode that PNG holds in eight bits."""
    mode = picture.mode
    if mode in _MODES["PNG"]:
        return picture
    if mode in ("F", "I") or mode.startswith("I;16"):
        return _with_meta(_in_bytes(picture), picture)
    if mode in ("La", "RGBa", "PA"):  # premultiplied, or with transparency beside a palette
        return _with_meta(picture.convert("LA" if mode == "La" else "RGBA"), picture)
    if mode == "LAB":
        return _with_meta(_from_lab(picture), picture)
    return _with_meta(picture.convert("RGB"), picture)


def _with_meta(converted: Image, picture: Image) -> Image:
    """Return *converted* with what says how *picture* lies, and without its profile, which is one of other colours."""
    converted.info = {key: value for key, value in picture.info.items() if key == "exif"}
    return converted


def _in_bytes(picture: Image) -> Image:
    """Return grey levels of any range as 0 to 255: as they are if they fit, else by the range that they seem to have."""
    wide = picture if picture.mode in ("F", "I") else picture.convert("I")
    low, high = wide.getextrema()
    assert isinstance(low, (int, float))
    assert isinstance(high, (int, float))
    if low >= 0 and high <= 1 and picture.mode == "F":
        scale, offset = 255.0, 0.0
    elif low >= 0 and high <= 255:
        scale, offset = 1.0, 0.0
    elif low >= 0 and high <= 65535:
        scale, offset = 1 / 257, 0.0
    elif low < high < float("inf") and low > float("-inf"):
        scale = 255 / (high - low)
        offset = -low * scale
    else:  # not a number, or infinite
        raise InvalidInputError(f"the picture's values reach from {low} to {high}, which is no range of grey levels")
    # In floats: a table for whole numbers would be cut by Pillow before it is scaled.
    return wide.convert("F").point(lambda value: value * scale + offset).convert("L")


def _from_lab(picture: Image) -> Image:
    from PIL import ImageCms

    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransformFromOpenProfiles(*profiles, "LAB", "RGB")
    converted = ImageCms.applyTransform(picture, transform)
    assert converted is not None
    return converted


def _options(picture: Image, shown: Image, target: str) -> dict[str, Any]:
    profile = shown.info.get("icc_profile")
    options: dict[str, Any] = {**_WITHOUT, "icc_profile": profile if shown.mode == picture.mode else None}
    if target == "WEBP":
        options["quality"] = _QUALITY
    elif target == "JPEG":
        tables = getattr(picture, "quantization", None)
        if not tables or picture.mode not in ("L", "RGB"):
            options["quality"] = _QUALITY
        else:
            from PIL.JpegImagePlugin import get_sampling

            options |= {"qtables": tables, "subsampling": get_sampling(picture)}
    return options


def _name(picture: Image, target: str) -> str:
    """Return the name of the file that the picture was read from, with the ending of what it is now."""
    found = getattr(picture, "filename", "")
    name = Path(os.fsdecode(found)).stem if isinstance(found, (str, bytes, os.PathLike)) else ""
    return (name or "image") + _SUFFIXES[target]
