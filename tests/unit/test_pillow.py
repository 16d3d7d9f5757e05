"""Pillow images in requests: their own format and similar size, upright, all modes, and errors."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from typing import Any

import pytest

from hfclient.chat.files.uploads import upload_parts
from hfclient.errors import InvalidInputError
from hfclient.files.pillow_images import encode_image
from hfclient.inference.content.attachments import file_part, image_part
from hfclient.inference.content.image_inputs import load_image

PIL = pytest.importorskip("PIL.Image")

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F", "I;16", "I;16B", "I;16L")


def saved(picture: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(content: bytes) -> Any:
    return PIL.open(io.BytesIO(content))


def noise(width: int = 300, height: int = 200) -> Any:
    return PIL.effect_noise((width, height), 60).convert("RGB")


def by_chat(picture: Any) -> bytes:
    (part,) = upload_parts([picture])
    assert isinstance(part.content, bytes)
    return part.content


def by_data_url(part: dict[str, Any]) -> bytes:
    return base64.b64decode(part["image_url"]["url"].partition(",")[2])


WAYS: list[Callable[[Any], bytes]] = [
    by_chat,
    lambda picture: load_image(picture).content or b"",
    lambda picture: by_data_url(image_part(picture)),
    lambda picture: by_data_url(file_part(picture)),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MODES)
def test_modes(mode: str, way: Callable[[Any], bytes]) -> None:
    """An image of any mode is sent with the same appearance, in chat and in inference."""
    through = {"RGBa": "RGBA", "PA": "P", "I;16": "I", "I;16B": "I", "I;16L": "I"}.get(mode, "RGB")  # older releases need that
    source = PIL.new("RGB", (8, 8), (255, 0, 0)).convert(through).convert(mode)
    red, green, blue = opened(way(source)).convert("RGB").getpixel((4, 4))
    if mode in ("1", "L", "LA", "I", "F") or mode.startswith("I;"):
        assert red == green == blue
        assert red < 120 or mode == "1"  # a pattern of black and white
    else:
        assert red > 240
        assert green < 15
        assert blue < 15


def test_lab() -> None:
    """CIE Lab, which older releases of Pillow do not convert themselves."""
    cms = pytest.importorskip("PIL.ImageCms")
    profiles = cms.createProfile("sRGB"), cms.createProfile("LAB")
    lab = cms.applyTransform(
        PIL.new("RGB", (8, 8), (255, 0, 0)), cms.buildTransformFromOpenProfiles(*profiles, "RGB", "LAB")
    )
    red, green, _ = opened(encode_image(lab)[0]).convert("RGB").getpixel((4, 4))
    assert red > 240
    assert green < 20


@pytest.mark.parametrize(
    ("value", "shown"), [(("I;16", 65535), 255), (("I;16", 200), 200), (("F", 0.5), 127), (("F", 255.0), 255), (("I", 65535), 255)]
)
def test_grey_levels_of_any_range(value: tuple[str, Any], shown: int) -> None:
    """Sixteen bits and floats are scaled to eight bits by their range, and not clipped to white."""
    assert opened(encode_image(PIL.new(value[0], (4, 4), value[1]))[0]).getpixel((1, 1)) == shown


def test_transparency() -> None:
    """Transparency stays: palettes, premultiplied colors, alpha."""
    palette = PIL.new("P", (4, 4))
    palette.info["transparency"] = 0
    for source in (palette, PIL.new("RGBA", (4, 4)), PIL.new("RGBa", (4, 4)), PIL.new("LA", (4, 4)), PIL.new("La", (4, 4))):
        assert opened(encode_image(source)[0]).convert("RGBA").getpixel((1, 1))[3] == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 85}), ("JPEG", {"quality": 40}), ("WEBP", {}), ("GIF", {})])
def test_formats_stay(kind: str, options: dict[str, Any], way: Callable[[Any], bytes]) -> None:
    """An image from a file is sent in its own format, with about the same size."""
    content = saved(noise(), kind, **options)
    sent = way(opened(content))
    assert opened(sent).format == kind
    assert len(sent) < 1.4 * len(content)


def test_photos_of_formats_that_servers_do_not_read() -> None:
    """Lossy formats become JPEG, because as PNG they would be many times as large; others and images without a format become PNG."""
    features = pytest.importorskip("PIL.features")
    if features.check("jpg_2000"):
        assert opened(encode_image(opened(saved(noise(), "JPEG2000")))[0]).format == "JPEG"
    for kind in ("TIFF", "BMP", "PPM"):
        assert opened(encode_image(opened(saved(noise(), kind)))[0]).format == "PNG"
    assert opened(encode_image(noise())[0]).format == "PNG"


@pytest.mark.parametrize(("kind", "key"), [("JPEG", "comment"), ("GIF", "comment"), ("JPEG", "xmp"), ("WEBP", "xmp"), ("PNG", "pnginfo")])
@pytest.mark.parametrize("frames", [1, 2])
def test_metadata_is_removed(kind: str, key: str, frames: int) -> None:
    """Comments and other data about an image are not sent."""
    value: Any = b"secret place"
    if key == "pnginfo":
        value = pytest.importorskip("PIL.PngImagePlugin").PngInfo()
        value.add_text("Author", "secret place")
    several = {"save_all": True, "append_images": [noise()]} if frames > 1 and kind != "JPEG" else {}
    content = saved(noise(), kind, **several, **{key: value})
    assert b"secret place" not in encode_image(opened(content))[0]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations(kind: str) -> None:
    """All frames are sent; if the current frame is not the first, only that one. The image keeps its frame."""
    frames = [PIL.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    picture = opened(saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100))
    assert opened(encode_image(picture)[0]).n_frames == 3
    assert picture.tell() == 0
    picture.seek(1)
    shown = opened(encode_image(picture)[0])
    assert getattr(shown, "n_frames", 1) == 1
    assert shown.convert("RGB").getpixel((4, 4))[1] > 100
    assert picture.tell() == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("change", [None, "CMYK", "L"])
def test_upright(kind: str, change: str | None) -> None:
    """The orientation is applied for any target format; other EXIF data is not sent."""
    exif = PIL.Exif()
    exif[0x0112], exif[0x0110] = 6, "secret camera"
    picture = opened(saved(PIL.new("RGB", (40, 20), "blue"), kind, exif=exif.tobytes()))
    sent = encode_image(picture if change is None else picture.convert(change))[0]
    assert opened(sent).size == (20, 40)
    assert opened(sent).getexif().get(0x0112, 1) == 1
    assert b"secret camera" not in sent


def test_a_profile_of_other_colors_is_removed() -> None:
    """A color profile is sent only with the colors that it describes."""
    profile = b"\0" * 128
    kept = encode_image(opened(saved(noise(), "JPEG", icc_profile=profile)))[0]
    assert opened(kept).info["icc_profile"] == profile
    printed = PIL.new("CMYK", (8, 8))
    printed.info["icc_profile"] = profile
    assert "icc_profile" not in opened(encode_image(printed)[0]).info


def _closed() -> Any:
    picture = opened(saved(noise(), "PNG"))
    picture.close()
    return picture


class Broken:
    """An image whose code fails with an unexpected error."""

    size = (1, 1)

    def tobytes(self) -> bytes:
        return b""

    def save(self, file: Any, format: str) -> None:
        raise SyntaxError("not a picture")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: opened(saved(noise(), "JPEG")[:3000]), "truncated"),
        (lambda: opened(saved(noise(), "PNG")[:3000]), "truncated|Pillow"),
        (lambda: PIL.new("RGB", (0, 5)), "no pixels"),
        (_closed, "closed"),
        (lambda: PIL.new("F", (2, 2), float("inf")), "not grey levels"),
        (Broken, "not a picture"),
    ],
)
def test_pillow_errors(make: Callable[[], Any], words: str, way: Callable[[Any], bytes]) -> None:
    """An error of Pillow is an hfclient error with the reason."""
    with pytest.raises(InvalidInputError, match=re.compile(words, re.IGNORECASE)):
        way(make())


def test_decompression_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that Pillow refuses as a decompression bomb is an hfclient error."""
    content = saved(PIL.new("L", (200, 200)), "PNG")
    picture = opened(content)
    monkeypatch.setattr(picture, "load", lambda: (_ for _ in ()).throw(PIL.DecompressionBombError("too many pixels")))
    with pytest.raises(InvalidInputError, match="too many pixels"):
        encode_image(picture)


def test_names() -> None:
    """An image from a path keeps its name, with the suffix of the new format."""
    picture = opened(saved(noise(), "TIFF"))
    picture.filename = "/home/x/scan.tif"
    assert encode_image(picture)[1] == "scan.png"
    assert encode_image(noise())[1] == "image.png"
