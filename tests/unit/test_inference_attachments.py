"""Pictures and files as parts of messages: every source, every type, and what is refused before anything is sent."""

from __future__ import annotations

import base64
import io
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from hfclient.errors import InvalidInputError
from hfclient.inference.completions.messages import build_messages
from hfclient.inference.completions.roles import UserMessage
from hfclient.inference.content import attachments
from hfclient.inference.content.attachments import file_part, parts_of, picture_part, with_attachments
from hfclient.inference.media.images import Image


def _png() -> bytes:
    def block(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + block(b"IHDR", head) + block(b"IDAT", zlib.compress(b"\0\0")) + block(b"IEND", b"")


PNG = _png()
AS_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
PART = {"type": "image_url", "image_url": {"url": AS_URL}}


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


class FakePIL:
    """What a PIL image looks like from outside."""

    def tobytes(self) -> bytes:
        return b""

    def save(self, file: io.BytesIO, kind: str) -> None:
        assert kind == "PNG"
        file.write(PNG)


def test_every_source_of_a_picture(tmp_path: Path) -> None:
    """A path, bytes, an open file, an `Image`, a PIL image and a data URL all become the same data URL."""
    path = tmp_path / "dot.jpg"  # its name lies; its first bytes do not
    path.write_bytes(PNG)
    made = Image(content=PNG, mime="image/png")
    for source in (path, str(path), PNG, bytearray(PNG), io.BytesIO(PNG), made, FakePIL(), AS_URL):
        assert picture_part(source) == PART


def test_url_stays() -> None:
    """A URL goes out as it is, signature and all; nothing is fetched."""
    assert picture_part("https://h/a.png?sig=1", detail="low") == image("https://h/a.png?sig=1", detail="low")


def test_open_file_is_left_where_it_was() -> None:
    """An open file is read from where it stands and left there, so that the next round reads it again."""
    file = io.BytesIO(b"junk" + PNG)
    file.seek(4)
    assert picture_part(file) == picture_part(file) == PART
    assert file_part(file) == PART


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "empty"),
        (b"no picture", "no picture"),
        (b"<svg xmlns='x'></svg>", "svg"),
        (b"II*\0" + b"\0" * 60, "tiff"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 60, "heic"),
        ("missing.png", "missing.png"),
        ("nul\0byte.png", "cannot read"),
        ("data:image/png;base64,????", "data URL|empty"),
        (7, "int"),
    ],
)
def test_refused_pictures(source: Any, words: str) -> None:
    """What is no picture, or one that hardly any server reads, is refused by name."""
    with pytest.raises(InvalidInputError, match=words):
        picture_part(source)


def test_too_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that is too large is refused, and no more of it is read than is needed to know."""
    monkeypatch.setattr(attachments, "MAX_FILE", 1000)
    monkeypatch.setattr(attachments, "MAX_TEXT", 100)
    path = tmp_path / "big.txt"
    path.write_bytes(b"x" * 5000)
    with pytest.raises(InvalidInputError, match=r"big\.txt is larger"):
        file_part(path)
    with pytest.raises(InvalidInputError, match="more than any model reads"):
        file_part(("n.txt", b"x" * 101))


def test_files_by_what_they_hold(tmp_path: Path) -> None:
    """Texts, sounds, PDFs, videos and pictures each become their kind of part."""
    path = tmp_path / "notes.md"
    path.write_text("# Caf\u00e9", "utf-8")
    assert file_part(path) == {"type": "text", "text": "notes.md:\n\n# Caf\u00e9"}
    assert file_part(b"\xff\xfeh\0i\0") == {"type": "text", "text": "hi"}
    assert file_part(("../x/a.svg", b"<svg></svg>")) == {"type": "text", "text": "a.svg:\n\n<svg></svg>"}
    wav = b"RIFF\0\0\0\0WAVEfmt "
    encoded = base64.b64encode(wav).decode()
    assert file_part(wav) == {"type": "input_audio", "input_audio": {"data": encoded, "format": "wav"}}
    pdf = file_part(("C.pdf", b"%PDF-1.7"))
    assert pdf == {
        "type": "file",
        "file": {"filename": "C.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjc="},
    }
    video = file_part(b"\0\0\0\x18ftypisom")
    assert video["video_url"]["url"].startswith("data:video/mp4;base64,")
    assert file_part(PNG) == file_part(FakePIL()) == PART


@pytest.mark.parametrize(
    "source", [b"", b"\x00\x01\x02", b"\xff\xfe\x00", "https://h/a.pdf", "missing.txt", 7, {"a": 1}]
)
def test_refused_files(source: Any) -> None:
    """What no message carries is refused."""
    with pytest.raises(InvalidInputError):
        file_part(source)


def test_parts(tmp_path: Path) -> None:
    """In a message's content strings are text, never paths; objects become parts, the protocol's own dicts stay."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    own = {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}
    remote = image("https://h/a.png", detail="low")
    assert parts_of("text") == "text"
    assert parts_of(path) == [PART]
    assert parts_of([str(path), path, own, remote]) == [{"type": "text", "text": str(path)}, PART, own, remote]
    assert parts_of([image(AS_URL)])[0] == PART
    assert parts_of([{"type": "image_url", "image_url": "https://h/a.png"}]) == [image("https://h/a.png")]
    assert parts_of([{"type": "image_url", "image_url": {"url": path, "detail": "high"}}]) == [
        image(AS_URL, detail="high")
    ]
    assert parts_of([{"type": "image", "image": FakePIL()}, {"type": "image", "path": path}]) == [PART, PART]
    assert parts_of([{"type": "image", "base64": AS_URL.partition(",")[2]}]) == [PART]


@pytest.mark.parametrize("form", ["text", "object", "transformers", "path"])
def test_dicts_open_no_files(tmp_path: Path, form: str) -> None:
    """A dict may come from a browser: a path in it does not make a file of this machine part of the request."""
    path = tmp_path / "secret.png"
    path.write_bytes(PNG)
    part = {
        "text": {"type": "image_url", "image_url": str(path)},
        "object": {"type": "image_url", "image_url": {"url": str(path)}},
        "transformers": {"type": "image", "image": str(path)},
        "path": {"type": "image", "path": str(path)},
    }[form]
    with pytest.raises(InvalidInputError, match="is no URL"):
        build_messages([{"role": "user", "content": [part]}])


def test_messages() -> None:
    """Messages may hold pictures as they are; the caller's own list is not changed."""
    given = [{"role": "user", "content": ["What?", PNG]}, UserMessage([PNG])]
    before = pickle.dumps(given)
    assert [message["content"] for message in build_messages(given)] == [
        [{"type": "text", "text": "What?"}, PART],
        [PART],
    ]
    assert pickle.dumps(given) == before


def test_attached() -> None:
    """Pictures and files go behind the text of the last message of the user's; one alone needs no list."""
    messages = build_messages([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    got = with_attachments(messages, PNG, [("n.txt", b"t")])
    assert got[0]["content"] == [{"type": "text", "text": "a"}, PART, {"type": "text", "text": "n.txt:\n\nt"}]
    assert got[1] is messages[1]
    assert messages[0]["content"] == "a"
    assert with_attachments(messages, None, []) is messages
    again = with_attachments(got, [FakePIL()])
    assert again[0]["content"][-1] == PART
    with pytest.raises(InvalidInputError, match="there is none"):
        with_attachments([{"role": "assistant", "content": "b"}], [PNG])
    with pytest.raises(InvalidInputError, match="list"):
        with_attachments(messages, {"a": PNG})
