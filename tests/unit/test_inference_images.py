"""Images and videos as values: types and sizes from their bytes, saving, display, Pillow, and images in requests."""

from __future__ import annotations

import base64
import io
import json
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hfclient.errors import InvalidInputError, MissingDependencyError, ProtocolError, Unsupported
from hfclient.events import Failover
from hfclient.files.data_urls import decode_base64, decode_data_url
from hfclient.files.media_types import SUFFIXES, dimensions, sniff
from hfclient.inference.content.image_inputs import ImageInput, load_image
from hfclient.inference.media.image_lists import Images
from hfclient.inference.media.images import Image, Video, media_from
from hfclient.inference.providers.results import OutputFile
from hfclient.inference.tasks.audio import Audio
from tests.inference.test_media import MP4, PNG, png

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp", "BMP": "image/bmp", "TIFF": "image/tiff"}


def an_image(**fields: Any) -> Image:
    return media_from(Image, fields.pop("content", PNG), OutputFile(), prompt="a red fox", model="acme/m", provider="p", **fields)


def drawn(kind: str, size: tuple[int, int] = (33, 21)) -> bytes:
    """A real image in the format, created by Pillow."""
    pil = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    pil.new("RGB", size, "red").save(buffer, kind)
    return buffer.getvalue()


# Types and sizes


@pytest.mark.parametrize("kind", FORMATS)
def test_formats(kind: str) -> None:
    """The formats that Pillow writes are detected by their first bytes, most of them with their size."""
    data = drawn(kind)
    assert sniff(data) == FORMATS[kind]
    assert dimensions(data) == ((33, 21) if kind in ("PNG", "JPEG", "GIF", "WEBP") else None)


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}, {"exif": b"Exif\0\0x"}])
def test_kinds_of_webp(options: dict[str, Any]) -> None:
    """All three kinds of WebP have their size."""
    pil = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    pil.new("RGB", (300, 200), "red").save(buffer, "WEBP", **options)
    assert dimensions(buffer.getvalue()) == (300, 200)


def test_progressive_jpeg() -> None:
    """A progressive JPEG with a leading comment has its size, too."""
    pil = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    pil.new("RGB", (300, 200)).save(buffer, "JPEG", progressive=True, comment=b"x" * 5000)
    assert dimensions(buffer.getvalue()) == (300, 200)


@pytest.mark.parametrize("kind", FORMATS)
def test_any_cut(kind: str) -> None:
    """Reading a truncated image raises nothing."""
    data = drawn(kind)
    for end in range(min(len(data), 300)):
        sniff(data[:end])
        dimensions(data[:end])


def test_endless_markers() -> None:
    """A JPEG with megabytes of fill bytes or meaningless markers is given up early."""

    class Counted(bytes):
        looks = 0

        def __getitem__(self, at: Any) -> Any:
            Counted.looks += 1
            return super().__getitem__(at)

    assert dimensions(Counted(b"\xff\xd8" + b"\xff" * 2_000_000)) is None
    assert dimensions(Counted(b"\xff\xd8" + b"\xff\xd0" * 1_000_000)) is None
    assert 0 < Counted.looks < 200_000


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (MP4, "video/mp4"),
        (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
        (b"\0\0\0\x1cftypavif", "image/avif"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x88matroska", "video/x-matroska"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>", "image/svg+xml"),
        (b"<html><svg></svg></html>", None),
        (b"", None),
        (b"{}", None),
    ],
)
def test_other_formats(data: bytes, mime: str | None) -> None:
    """Videos and vector graphics are detected; HTML is not an image."""
    assert sniff(data) == mime


def test_provider_data_of_a_result() -> None:
    """Data from the provider is kept; its seed takes precedence over the requested one, the image's own size over its claim."""
    said = OutputFile(url="https://cdn/x", width=9, height=9, seed=5, nsfw=True, prompt="a fox, oil on canvas")
    made = media_from(Image, PNG, said, seed=4, request_id="r")
    assert (made.seed, made.nsfw, made.width, made.height) == (5, True, 16, 8)
    assert (made.url, made.revised_prompt, made.request_id) == ("https://cdn/x", "a fox, oil on canvas", "r")
    assert media_from(Image, b"BM" + bytes(50), said).width == 9
    assert media_from(Image, b"\xff\x4f\xff\x51", OutputFile(mime="image/jp2")).mime == "image/jp2"


@pytest.mark.parametrize(
    ("cls", "content", "mime"),
    [
        (Image, b"", "image/png"),
        (Image, b"<html>", "image/png"),
        (Image, b"{}", "image/jp2"),
        (Image, b"something", "image/png"),
        (Image, b"something", None),
        (Image, MP4, "image/png"),
        (Video, PNG, "video/mp4"),
    ],
)
def test_results_that_are_not_images(cls: Any, content: bytes, mime: str | None) -> None:
    """Bytes of another kind, or HTML, are not a result, for any claimed type."""
    with pytest.raises(ProtocolError):
        media_from(cls, content, OutputFile(mime=mime))


@pytest.mark.parametrize(
    ("cls", "content", "mime", "kept"),
    [
        (Image, MP4, "image/png", "video/mp4"),
        (Video, PNG, "video/mp4", "image/png"),
        (Audio, PNG, "audio/wav", "image/png"),
        (Image, b"\0\1\2\xff", None, "application/octet-stream"),
        (Audio, b"\0\1\2\xff", "application/octet-stream", "application/octet-stream"),
    ],
)
def test_a_file_of_another_kind_is_kept(cls: Any, content: bytes, mime: str | None, kept: str) -> None:
    """A file of an unexpected kind is on the error: it may have been paid for."""
    with pytest.raises(ProtocolError) as caught:
        media_from(cls, content, OutputFile(mime=mime, url="https://cdn/x?sig=1"), prompt="a fox")
    (made,) = caught.value.completed
    assert (made.content, made.mime, made.prompt) == (content, kept, "a fox")
    assert caught.value.links == ("https://cdn/x?sig=1",)


def test_text_instead_of_a_file_is_kept() -> None:
    """Text in place of a file is on the error."""
    with pytest.raises(ProtocolError) as caught:
        media_from(Image, b"<html>Pay at https://h/pay</html>", OutputFile())
    assert caught.value.body == "<html>Pay at https://h/pay</html>"
    assert caught.value.links == ("https://h/pay",)


def test_equivalent_kinds(tmp_path: Path) -> None:
    """Audio in a video container is audio, an animated image is a video, and unknown bytes of a claimed audio type are audio."""
    webm = b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm"
    assert media_from(Audio, webm, OutputFile(mime="video/webm")).mime == "audio/webm"
    assert media_from(Audio, MP4, OutputFile()).save(tmp_path / "a").suffix == ".m4a"
    assert media_from(Audio, b"\0\1\2", OutputFile(mime="audio/pcm")).mime == "audio/pcm"
    assert media_from(Video, b"GIF89a" + bytes(20), OutputFile()).mime == "image/gif"


# Saving


def test_save(tmp_path: Path) -> None:
    """An image is saved under the given name; folders are created and a missing suffix is added."""
    image = an_image()
    assert image.save(tmp_path / "a" / "b" / "fox.png") == tmp_path / "a" / "b" / "fox.png"
    assert image.save(tmp_path / "fox") == tmp_path / "fox.png"
    assert image.save(str(tmp_path / "v1.5")) == tmp_path / "v1.5.png"
    assert image.save(tmp_path / "FOX.PNG").read_bytes() == PNG
    assert bytes(image) == PNG


@pytest.mark.parametrize("name", ["fox.jpg", "fox.webp", "fox.mp4", "fox.JPEG"])
def test_wrong_suffixes(tmp_path: Path, name: str) -> None:
    """A suffix of another type is refused."""
    with pytest.raises(InvalidInputError, match=r"save it as \.png"):
        an_image().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_suffixes_of_one_type(tmp_path: Path) -> None:
    """All suffixes of a type are accepted."""
    image = an_image(content=drawn("JPEG"))
    assert image.suffix == ".jpg"
    assert image.save(tmp_path / "fox.jpeg").exists()
    assert image.save(tmp_path / "fox.jpg").exists()


def test_save_into_a_folder(tmp_path: Path) -> None:
    """In a folder, the file is named after its prompt, safely, and never overwrites another one."""
    image = an_image()
    assert image.save(tmp_path) == tmp_path / "a red fox.png"
    assert image.save(tmp_path) == tmp_path / "a red fox-2.png"
    assert image.save(f"{tmp_path}/new/") == tmp_path / "new" / "a red fox.png"
    nasty = media_from(Image, PNG, OutputFile(), prompt="../../etc/passwd\n" + "x" * 500)
    saved = nasty.save(tmp_path)
    assert saved.parent == tmp_path
    assert len(saved.name) < 100
    assert media_from(Image, PNG, OutputFile()).save(tmp_path).name == "image.png"


def test_overwriting(tmp_path: Path) -> None:
    """An existing file is replaced only if requested."""
    target = tmp_path / "fox.png"
    target.write_bytes(b"mine")
    with pytest.raises(InvalidInputError, match="exists already"):
        an_image().save(target)
    assert target.read_bytes() == b"mine"
    an_image().save(target, overwrite=True)
    assert target.read_bytes() == PNG


def test_no_metadata_by_default(tmp_path: Path) -> None:
    """The saved bytes are the received ones: no prompt is added to a file that is passed on."""
    assert b"red fox" not in an_image().save(tmp_path / "fox").read_bytes()


def test_metadata(tmp_path: Path) -> None:
    """With metadata, a PNG has prompt, model and seed in any script, and the same image."""
    pil = pytest.importorskip("PIL.Image")
    image = media_from(Image, PNG, OutputFile(), prompt="ein Fuchs 🦊", model="acme/m", provider="p", seed=7)
    saved = image.save(tmp_path / "fox", metadata=True)
    with pil.open(saved) as opened:
        opened.load()
        assert opened.text == {"prompt": "ein Fuchs 🦊", "model": "acme/m", "provider": "p", "seed": "7"}
        assert opened.size == (16, 8)
    assert dimensions(saved.read_bytes()) == (16, 8)


NOTES = {"prompt": "ein Fuchs 🦊 <\"&'> \n{x}", "model": "acme/m", "provider": "p", "seed": 7}


def pictures(kind: str) -> list[bytes]:
    """Images of a format: with and without transparency, with metadata of their own, moving."""
    pil = pytest.importorskip("PIL.Image")
    picture = pil.effect_noise((33, 21), 80).convert("RGB")
    exif = pil.Exif()
    exif[0x010E] = "a camera's own"
    modes = [picture] if kind == "JPEG" else [picture, picture.convert("RGBA")]
    options: dict[str, list[dict[str, Any]]] = {
        "PNG": [{}],
        "JPEG": [{}, {"exif": exif, "icc_profile": b"x" * 999}, {"progressive": True}],
        "WEBP": [{"lossless": True}, {"quality": 50}, {"xmp": b"<x/>", "exif": exif}, {"append_images": [picture], "save_all": True}],
    }  # fmt: skip
    made = []
    for mode in modes:
        for option in options[kind]:
            buffer = io.BytesIO()
            mode.save(buffer, kind, **option)
            made.append(buffer.getvalue())
    return made


def pixels(content: bytes) -> list[tuple[Any, ...]]:
    pil = pytest.importorskip("PIL.Image")
    with pil.open(io.BytesIO(content)) as opened:
        return [(opened.seek(number), opened.mode, opened.size, opened.tobytes()) for number in range(getattr(opened, "n_frames", 1))]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_metadata_of_all_formats(kind: str, tmp_path: Path) -> None:
    """Pillow reads the prompt of each format, the pixels stay, and the image is loaded with everything that was written."""
    pil = pytest.importorskip("PIL.Image")
    for number, content in enumerate(pictures(kind)):
        image = media_from(Image, content, OutputFile(), **NOTES)
        saved = image.save(tmp_path / f"{kind}-{number}", metadata=True)
        assert pixels(saved.read_bytes()) == pixels(content)
        assert dimensions(saved.read_bytes()) == (33, 21)
        with pil.open(saved) as opened:
            if kind != "PNG":
                assert opened.info["xmp"].startswith(b"<?xpacket begin=")
                assert b"trainedAlgorithmicMedia" in opened.info["xmp"]
            for kept in ("exif", "icc_profile"):
                with pil.open(io.BytesIO(content)) as before:
                    assert opened.info.get(kept) == before.info.get(kept)
        loaded = Image.load(saved)
        assert (loaded.prompt, loaded.model, loaded.provider, loaded.seed) == tuple(NOTES.values())
        assert (loaded.mime, loaded.width, loaded.height) == (image.mime, 33, 21)
        again = loaded.save(tmp_path / f"again-{kind}-{number}", metadata=True)  # a second copy changes nothing
        assert Image.load(again).prompt == NOTES["prompt"]
        assert pixels(again.read_bytes()) == pixels(content)


def test_xmp_is_xml() -> None:
    """The packet is XML with the properties of IPTC, whatever the prompt contains."""
    from xml.etree import ElementTree

    image = media_from(Image, drawn("JPEG"), OutputFile(), prompt='"/>\0\ud800\uffff\x1b</x:xmpmeta>{i}' + "ż" * 500, model="m")
    content = image.with_metadata()
    packet = content[content.index(b"<?xpacket") : content.index(b'<?xpacket end="r"?>')]
    root = ElementTree.fromstring(packet.split(b"?>", 1)[1])
    (description,) = root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    iptc = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
    assert description.attrib[f"{iptc}AIPromptInformation"].startswith('"/>\ufffd\ufffd\ufffd\ufffd</x:xmpmeta>{i}ż')
    assert description.attrib[f"{iptc}AISystemUsed"] == "m"
    assert "".join(description.itertext()).strip() == description.attrib[f"{iptc}AIPromptInformation"]


def test_metadata_without_space() -> None:
    """A format without a place for it, a prompt that is too long for a JPEG and a broken file are refused."""
    with pytest.raises(Unsupported, match="image/gif has not"):
        an_image(content=drawn("GIF")).with_metadata()
    with pytest.raises(InvalidInputError, match="too long"):
        media_from(Image, drawn("JPEG"), OutputFile(), prompt="x" * 70_000).with_metadata()
    for broken in (b"\xff\xd8\xff", b"RIFF....WEBP", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(Unsupported):
            Image(content=broken, mime=str(sniff(broken)), prompt="x").with_metadata()


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + b"\xff" * 100,
        PNG[:33] + b"\0\0\0\x20iTXtseed\0\0\0\0\0" + b"9" * 23 + b"\0\0\0\0" + PNG[33:],
        b"\xff\xd8\xff" + b'hfclient:facts="{"',
        b"\xff\xd8\xff" + b'hfclient:facts="[1]"',
        b"\xff\xd8\xff" + b'hfclient:facts="{&quot;prompt&quot;: 7, &quot;content&quot;: &quot;x&quot;, &quot;seed&quot;: &quot;x&quot;}"',
        b"\xff\xd8\xff" + b'hfclient:facts="\xff"' * 1000,
    ],
)
def test_hostile_files(tmp_path: Path, content: bytes) -> None:
    """A file of another program is loaded, with the facts that make sense."""
    (tmp_path / "x").write_bytes(content)
    loaded = Image.load(tmp_path / "x")
    assert (loaded.content, loaded.prompt, loaded.seed) == (content, "", None)


def test_files_that_are_not_images(tmp_path: Path) -> None:
    """A missing file, and one that is something else, are errors of this package."""
    (tmp_path / "x.png").write_text("hello")
    for name in ("x.png", "y.png", "."):
        with pytest.raises(InvalidInputError, match=r"x\.png is not an image|cannot read"):
            Image.load(tmp_path / name)


def some_images(*seeds: int | None, prompt: str = "A red fox,\nin the snow!") -> Images:
    return Images([Image(content=PNG, mime="image/png", prompt=prompt, model="acme/m", provider="p", seed=seed) for seed in seeds])


def test_save_all(tmp_path: Path) -> None:
    """A list of images is saved by a pattern: its fields are safe, an ending is added, a folder has a default."""
    images = some_images(7, 8)
    saved = images.save_all(f"{tmp_path}/out/{{i:02d}}-{{slug}}.png")
    assert [str(path.relative_to(tmp_path)) for path in saved] == ["out/00-a-red-fox-in-the-snow.png", "out/01-a-red-fox-in-the-snow.png"]
    (tmp_path / "new").mkdir()
    assert [path.name for path in images.save_all(tmp_path / "new", metadata=False)] == [path.name for path in saved]
    assert Image.load(saved[1]).seed == 8
    assert (tmp_path / "new" / saved[1].name).read_bytes() == PNG
    assert [path.name for path in images.save_all(f"{tmp_path}/{{seed}} {{model}} {{provider}} {{prompt}}")] == [
        "7 acme_m p A red fox, in the snow!.png",
        "8 acme_m p A red fox, in the snow!.png",
    ]
    assert Images().save_all(tmp_path / "nothing") == []


def test_save_all_of_other_formats(tmp_path: Path) -> None:
    """Files that cannot hold the metadata are saved without it, unless it was required."""
    images = Images([Image(content=drawn("GIF"), mime="image/gif", prompt="a"), *some_images(1)])
    saved = images.save_all(tmp_path / "{i}")
    assert saved[0].read_bytes() == drawn("GIF")
    assert Image.load(saved[1]).seed == 1
    with pytest.raises(Unsupported):
        images.save_all(tmp_path / "again-{i}", metadata=True)
    assert list(tmp_path.glob("again*")) == []


@pytest.mark.parametrize("prompt", ["../../etc/passwd", "..", "/", "", "CON", "\x1b[2J\u202ea", "a" * 999, ".hidden", "日本語の狐", "{i}"])
def test_prompts_do_not_become_paths(tmp_path: Path, prompt: str) -> None:
    """Whatever the prompt contains, the files stay in their folder."""
    folder = tmp_path / "in"
    for field in ("slug", "prompt"):
        (path,) = some_images(1, prompt=prompt).save_all(f"{folder}/{{{field}}}")
        assert path.parent == folder
        assert path.name.isprintable()
        assert not path.name.startswith(".")
        path.unlink()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["in"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a", "put {i} into"),
        ("{slug}", "put {i} into"),
        ("{seed}.png", "no known seed"),
        ("{number}", "not {number}"),
        ("{i.__class__}", "not {i.__class__}"),
        ("{i[0]}", "not {i"),
        ("{}", "not {}"),
        ("{0}", "not {0}"),
        ("{i", "is not a pattern"),
        ("}", "is not a pattern"),
        ("{slug:d}", "is not a pattern"),
        ("{i:{x}}", "is not a pattern"),
        ("{i}.jpg", "save it as .png"),
        ("there{i}", "exists already"),
    ],
)
def test_patterns_that_do_not_work(tmp_path: Path, pattern: str, message: str) -> None:
    """They are refused before anything is written."""
    (tmp_path / "there1.png").touch()
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        some_images(1, None).save_all(f"{tmp_path}/{pattern}")
    assert [path.name for path in tmp_path.iterdir()] == ["there1.png"]


def test_video(tmp_path: Path) -> None:
    """A video is saved the same way, without metadata."""
    video = media_from(Video, MP4, OutputFile(), prompt="a fox runs")
    assert video.save(tmp_path / "fox").name == "fox.mp4"
    with pytest.raises(InvalidInputError):
        video.save(tmp_path / "fox.png")


def test_all_types_have_suffixes() -> None:
    """No suffix belongs to two types, except those of containers that may hold only audio."""
    endings = [ending for found in SUFFIXES.values() for ending in found]
    assert sorted(ending for ending in set(endings) if endings.count(ending) > 1) == [".3gp", ".webm"]


# Showing


def test_repr() -> None:
    """A repr is short and has neither bytes nor a signed link."""
    made = media_from(Image, png(padding=2_000_000), OutputFile(url="https://cdn/x?sig=secret"), prompt="a fox " * 50)
    assert repr(made).startswith("<Image 16x8 png, 2.0 MB, 'a fox a fox")
    assert len(repr(made)) < 100
    assert "secret" not in repr(made)
    assert repr(media_from(Video, MP4, OutputFile())) == f"<Video mp4, {len(MP4)} bytes>"


def test_notebooks() -> None:
    """A notebook gets the image in a format that it displays."""
    image = an_image()
    assert (image._repr_png_(), image._repr_jpeg_()) == (PNG, None)
    bundle = image._repr_mimebundle_(include=None, exclude=None)
    assert base64.b64decode(bundle["image/png"]) == PNG
    assert bundle["text/plain"] == repr(image)
    photo = an_image(content=drawn("JPEG"))
    assert (photo._repr_png_(), photo._repr_jpeg_()) == (None, photo.content)
    assert set(photo._repr_mimebundle_()) == {"text/plain", "image/jpeg"}


def test_notebooks_and_other_types() -> None:
    """Other types and videos are displayed by the browser; a prompt cannot break out of the HTML."""
    made = media_from(Image, drawn("WEBP"), OutputFile(), prompt='"><script>alert(1)</script>')
    page = made._repr_mimebundle_()["text/html"]
    assert page.startswith('<img src="data:image/webp;base64,')
    assert "<script>" not in page
    video = media_from(Video, MP4, OutputFile())
    assert "<video controls" in video._repr_mimebundle_()["text/html"]


def test_pil() -> None:
    """Pillow gets the image, loaded."""
    pytest.importorskip("PIL.Image")
    found = an_image().to_pil()
    assert (found.size, found.getpixel((0, 0))) == ((16, 8), (128, 128, 128))


def test_pillow_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pillow, the error names the package to install."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingDependencyError, match="pip install pillow"):
        an_image().to_pil()


def test_broken_images() -> None:
    """An image that Pillow cannot read is an hfclient error."""
    pytest.importorskip("PIL.Image")
    with pytest.raises(ProtocolError, match="Pillow cannot read"):
        an_image(content=PNG[:40]).to_pil()


def test_values() -> None:
    """Images compare by value, pickle, and convert to JSON and back."""
    made = media_from(Image, PNG, OutputFile(nsfw=False), prompt="x", seed=3, failovers=(Failover("a", "b", "down", 500),))
    assert pickle.loads(pickle.dumps(made)) == made
    written = json.dumps(made.to_dict())
    assert Image.from_dict(json.loads(written)) == made
    assert made != an_image()


# Images in requests


@pytest.mark.parametrize(
    "source",
    [
        lambda path: path,
        str,
        lambda path: path.read_bytes(),
        lambda path: bytearray(path.read_bytes()),
        lambda path: io.BytesIO(path.read_bytes()),
        lambda path: "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
        lambda path: an_image(content=path.read_bytes()),
        lambda path: ImageInput(path.read_bytes()),
    ],
)
def test_sources(tmp_path: Path, source: Callable[[Path], Any]) -> None:
    """An image comes from a path, bytes, an open file, a data URL or an earlier result."""
    path = tmp_path / "fox.png"
    path.write_bytes(PNG)
    assert load_image(source(path)) == ImageInput(PNG)
    assert load_image(source(path)).mime == "image/png"


def test_pil_as_a_source() -> None:
    """A PIL image is sent as a PNG."""
    pytest.importorskip("PIL.Image")
    assert load_image(an_image().to_pil()).mime == "image/png"


def test_urls_as_a_source() -> None:
    """A URL is kept unchanged; nothing is fetched here."""
    found = load_image("https://example.org/fox.png?signature=1")
    assert (found.as_url(), found.content) == ("https://example.org/fox.png?signature=1", None)
    assert "signature" not in repr(found)


@pytest.mark.parametrize(
    "source",
    ["/no/such/file.png", "", b"", b"text", b"<html>", MP4, io.BytesIO(b""), io.StringIO("x"), "data:image/png", 3, None, "a\0b"],
)
def test_sources_that_are_not_images(source: Any) -> None:
    """An object that is not an image is refused before a request."""
    with pytest.raises(InvalidInputError):
        load_image(source)


def test_too_large_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is too large is not read to its end."""
    monkeypatch.setattr("hfclient.inference.content.image_inputs.MAX_IMAGE", 1000)
    path = tmp_path / "fox.png"
    path.write_bytes(png(padding=2000))
    with pytest.raises(InvalidInputError, match="larger than"):
        load_image(path)


@pytest.mark.parametrize(
    ("url", "content"),
    [
        ("data:text/plain,a%20b", b"a b"),
        ("data:image/png;base64,YWI=", b"ab"),
        ("data:image/png;base64,YWI", b"ab"),
        ("data:image/png;charset=x;base64,YW%49%3D", b"ab"),
        ("data:;BASE64,YWI=", b"ab"),
        ("data:image/png;base64,-_-_", b"\xfb\xff\xbf"),
        ("data:image/png;base64", None),
        ("data:image/png;base64,\u00e4", None),
        ("data:image/png;base64,A", None),
    ],
)
def test_data_urls(url: str, content: bytes | None) -> None:
    """All kinds of data URLs are read; broken ones give None."""
    assert decode_data_url(url) == content


def test_base64() -> None:
    """White space is skipped; empty text gives None."""
    assert decode_base64("Y\n W I=\r\n") == b"ab"
    assert decode_base64("") is None
