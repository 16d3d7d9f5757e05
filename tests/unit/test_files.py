"""Files of callers: all sources, names and media types, and what is refused; types of audio and video."""

from __future__ import annotations

import base64
import gzip
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from hfclient.chat.files.uploads import upload_parts
from hfclient.errors import InvalidInputError
from hfclient.files.media_types import media_type, sniff
from hfclient.files.sources import as_file_list, is_single_file, open_source
from hfclient.inference.content.attachments import file_part
from hfclient.inference.content.image_inputs import load_image
from hfclient.inference.media.images import Image, Video
from hfclient.inference.tasks.audio import Audio, load_audio

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
WAV = b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 28
AS_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


class Upload:
    """The used part of a web framework's upload: ``name`` is the form field, ``filename`` the file."""

    name, filename = "field", "C:\\Users\\x\\cat.png"

    def __init__(self, content: bytes) -> None:
        self.read = io.BytesIO(content).read


class Trickle:
    """A source that returns less than requested, like a pipe."""

    def __init__(self, content: bytes) -> None:
        self.left = content

    def read(self, size: int) -> bytes:
        piece, self.left = self.left[:3], self.left[3:]
        return piece


class Late:
    """An upload with an asynchronous read()."""

    async def read(self, size: int) -> bytes:
        return PNG


def sources(tmp_path: Path) -> list[tuple[Any, str]]:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    return [
        (path, "cat.png"),
        (str(path), "cat.png"),
        (PNG, ""),
        (bytearray(PNG), ""),
        (memoryview(PNG), ""),
        (io.BytesIO(PNG), ""),
        (Trickle(PNG), ""),
        (Upload(PNG), "cat.png"),
        (AS_URL, ""),
        (AS_URL.replace("data:", "DATA:"), ""),
        (Image(content=PNG, mime="image/png"), ""),
        (("a.png", PNG), "a.png"),
        (("a.png", bytearray(PNG)), "a.png"),
        (("a.png", io.BytesIO(PNG), "image/png"), "a.png"),
        (("a.png", path), "a.png"),
        (("a.png", AS_URL), "a.png"),
        (gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(PNG))), ""),
    ]


def test_every_source(tmp_path: Path) -> None:
    """Chat and inference read the same bytes from all sources, and repeatedly if the source allows it."""
    for source, name in sources(tmp_path):
        file = open_source(source, 1000)
        assert (file.read(), file.name) == (PNG, name), source
    for source, _ in sources(tmp_path):
        (part,) = upload_parts([source])
        assert base64.b64decode(b"".join(part.pieces())) == PNG, source
    for source, _ in sources(tmp_path):
        assert load_image(source).content == PNG
    for source, _ in sources(tmp_path):
        assert file_part(source)["image_url"]["url"] == AS_URL


def test_results_of_models_are_files(tmp_path: Path) -> None:
    """The result of one call is the file of the next one, with its media type."""
    assert load_audio(Audio(content=WAV, mime="audio/wav")).mime == "audio/wav"
    assert open_source(Video(content=b"\0\1", mime="video/mp4"), 10).claimed == "video/mp4"


def test_an_open_file_keeps_its_position(tmp_path: Path) -> None:
    """An open file is read from its position, which is restored; a temporary file, too."""
    with tempfile.SpooledTemporaryFile() as file:
        file.write(b"ab" + PNG)
        file.seek(2)
        assert [open_source(file, 1000).read() for _ in range(2)] == [PNG, PNG]
        file.seek(0, io.SEEK_END)
        with pytest.raises(InvalidInputError, match=r"read to its end before: file\.seek"):
            open_source(file, 1000)


def _refused(tmp_path: Path) -> list[tuple[Any, str]]:
    folder, empty, closed = tmp_path / "folder", tmp_path / "empty", (tmp_path / "closed").open("wb+")
    folder.mkdir()
    empty.touch()
    closed.close()
    return [
        (tmp_path / "missing.png", r"no such file.*missing\.png"),
        (str(folder), "is a folder"),
        (empty, "empty"),
        (b"", "empty"),
        (bytearray(), "empty"),
        (io.BytesIO(), "empty"),
        (io.StringIO("x"), "binary mode"),
        (closed, "closed file"),
        (Late(), "asynchronously"),
        ("", "path of the .* is empty"),
        ("~/no such picture.png", "expanduser"),
        ("file:///etc/hostname", "pass the path itself"),
        ("s3://bucket/x.png", "is a URL, not a path"),
        (base64.b64encode(PNG * 3).decode(), "base64 without a prefix"),
        ("x" * 10_000, "no such file|cannot read"),
        ("data:image/png;base64,???", "empty|cannot be read"),
        (b"x" * 101, "larger than"),
        (io.BytesIO(b"x" * 101), "larger than"),
        ("data:text/plain," + "x" * 101, "larger than"),
        ([PNG], "one .* is expected, not a list"),
        ((PNG, PNG), "with a name"),
        ({"a": PNG}, "is not a dict"),
        ((one for one in [PNG]), "one .* is expected"),
        (("a.txt", "text"), r"text\.encode"),
        (("a.txt", PNG, 7), "media type"),
        (5, "not int"),
        (None, "not NoneType"),
    ]


def test_what_is_refused(tmp_path: Path) -> None:
    """An object that is not a file is an hfclient error with advice, for both readers."""
    for source, words in _refused(tmp_path):
        with pytest.raises(InvalidInputError, match=words):
            open_source(source, 100, "recording")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_pipes_are_not_opened(tmp_path: Path) -> None:
    """A path that would block forever is refused; the caller may open it."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInputError, match="not a regular file"):
        open_source(tmp_path / "pipe", 100)


def test_released_memory() -> None:
    """A released memoryview is an hfclient error."""
    view = memoryview(PNG)
    view.release()
    with pytest.raises(InvalidInputError, match="released"):
        open_source(view, 100)


@pytest.mark.parametrize(("what", "words"), [("file", "a file is a path"), ("image", "an image is a path")])
def test_the_article(what: str, words: str) -> None:
    """Errors use the article that fits the word."""
    with pytest.raises(InvalidInputError, match=words):
        open_source(5, 100, what)


def test_arrays() -> None:
    """For an array, the error shows how to convert it to an image."""
    numpy = pytest.importorskip("numpy")
    with pytest.raises(InvalidInputError, match="fromarray"):
        open_source(numpy.zeros((2, 2)), 100)


def test_one_or_several() -> None:
    """A single file needs no list; a tuple of a name and content is one file, of two paths or contents it is two."""
    for one in (PNG, "a.png", Path("a.png"), ("a.png", PNG), ("a.png", io.BytesIO(), "image/png"), AS_URL):
        assert is_single_file(one)
        assert as_file_list(one, "files") == [one]
    assert as_file_list(("a.png", "b.png"), "files") == ["a.png", "b.png"]
    assert as_file_list((PNG, PNG), "files") == [PNG, PNG]
    assert as_file_list(None, "files") == as_file_list((), "files") == []
    with pytest.raises(InvalidInputError, match="files is a list, not a dict"):
        as_file_list({"a.png": PNG}, "files")


# Types


def _box(kind: bytes) -> bytes:
    return b"\0\0\0\x20hdlr" + b"\0" * 8 + kind + b"\0" * 12


def _mp4(brand: bytes, *tracks: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0" * 12 + b"\0" * 50 + b"".join(map(_box, tracks))


def _webm(kind: bytes, *codecs: bytes) -> bytes:
    return b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84" + kind + b"\0" * 20 + b"".join(b"\x86" + bytes([0x80 + len(c)]) + c for c in codecs)


CONTENT = [
    (WAV, "audio/wav"),
    (b"RF64\xff\xff\xff\xffWAVE", "audio/wav"),
    (b"fLaC\0", "audio/flac"),
    (b"OggS\0\2" + b"\0" * 22 + b"\1\x13OpusHead", "audio/ogg"),
    (b"OggS\0\2" + b"\0" * 22 + b"\1\x2a\x80theora", "video/ogg"),
    (b"ID3\3\0\0\0\0\0\x02xx\xff\xfb\x90\0", "audio/mpeg"),
    (b"ID3\3\0\0\0\0\0\x02xxfLaC", "audio/flac"),
    (b"ID3\3\0\0\0\0\0\x02xx\xff\xf1", "audio/aac"),
    (b"\xff\xfb\x90\0", "audio/mpeg"),
    (b"\xff\xf3\x90\0", "audio/mpeg"),
    (b"\xff\xf1\x50\x80", "audio/aac"),
    (b"FORM\0\0\0\0AIFF", "audio/aiff"),
    (b"FORM\0\0\0\0AIFC", "audio/aiff"),
    (b"#!AMR\n", "audio/amr"),
    (b"#!AMR-WB\n", "audio/amr-wb"),
    (b"caff\0\1", "audio/x-caf"),
    (_mp4(b"M4A "), "audio/mp4"),
    (_mp4(b"isom", b"soun"), "audio/mp4"),
    (_mp4(b"isom", b"soun", b"vide"), "video/mp4"),
    (_mp4(b"isom"), "video/mp4"),
    (_mp4(b"qt  ", b"vide"), "video/quicktime"),
    (_mp4(b"3gp4", b"soun"), "audio/3gpp"),
    (_mp4(b"3gp4", b"vide"), "video/3gpp"),
    (_webm(b"webm", b"A_OPUS"), "audio/webm"),
    (_webm(b"webm", b"V_VP9", b"A_OPUS"), "video/webm"),
    (_webm(b"webm"), "video/webm"),
    (_webm(b"matroska", b"A_VORBIS"), "audio/x-matroska"),
    (b"\xff\xfeh\0i\0", None),
    (b"text", None),
]


@pytest.mark.parametrize(("content", "mime"), CONTENT)
def test_types_by_content(content: bytes, mime: str | None) -> None:
    """The first bytes determine the format; a container with only audio is audio."""
    assert sniff(content) == mime


@pytest.mark.parametrize(
    ("content", "name", "claimed", "mime"),
    [
        (_mp4(b"isom"), "memo.m4a", "", "audio/mp4"),
        (_mp4(b"isom"), "MEMO.M4A", "", "audio/mp4"),
        (_mp4(b"isom"), "clip.mp4", "", "video/mp4"),
        (_mp4(b"isom"), "", "audio/x-m4a", "audio/mp4"),
        (_mp4(b"isom", b"vide"), "memo.m4a", "audio/mp4", "video/mp4"),
        (_mp4(b"3gp4"), "call.3gp", "audio/3gpp", "audio/3gpp"),
        (_webm(b"webm"), "", "audio/webm;codecs=opus", "audio/webm"),
        (_webm(b"webm"), "clip.webm", "", "video/webm"),
        (WAV, "x.mp3", "audio/mpeg", "audio/wav"),
        (b"\0\1", "x.mp3", "", "audio/mpeg"),
        (b"\0\1", "x.opus", "", "audio/ogg"),
        (b"\0\1", "x.bin", "audio/mp3", "audio/mpeg"),
        (b"\0\1", "notes.txt", "text/plain", None),
        (b"\0\1", "", "", None),
    ],
)
def test_types_by_name_and_claim(content: bytes, name: str, claimed: str, mime: str | None) -> None:
    """If the content is ambiguous, the given media type decides, then the suffix of the name."""
    assert media_type(content, name, claimed) == mime


@pytest.mark.parametrize(
    ("content", "name", "claimed", "mime", "file"),
    [
        (_webm(b"webm"), "rec.webm", "", "audio/webm", "audio.webm"),
        (_webm(b"webm"), "", "video/webm", "audio/webm", "audio.webm"),
        (_webm(b"webm", b"V_VP8"), "rec.webm", "", "video/webm", "audio.webm"),
        (_mp4(b"isom"), "", "", "audio/mp4", "audio.m4a"),
        (_mp4(b"isom"), "memo.m4a", "", "audio/mp4", "audio.m4a"),
        (_mp4(b"isom"), "book.M4B", "", "audio/mp4", "audio.M4B"),
        (_mp4(b"isom"), "talk.mp4", "", "video/mp4", "audio.mp4"),
        (_mp4(b"3gp4"), "call.3gp", "", "audio/3gpp", "audio.3gp"),
        (b"OggS\0\2", "voice.opus", "", "audio/ogg", "audio.opus"),
        (b"\xff\xf1\x50", "", "", "audio/aac", "audio.aac"),
        (WAV, "x.mp3", "audio/mpeg", "audio/wav", "audio.wav"),
    ],
)
def test_recordings(content: bytes, name: str, claimed: str, mime: str, file: str) -> None:
    """A file that is given as a recording is audio unless something shows that it is a video, in forms and data URLs."""
    sound = load_audio((name, content, claimed))
    assert (sound.mime, sound.filename) == (mime, file)
    assert sound.as_url().startswith(f"data:{mime};base64,")


def test_a_container_of_many_boxes_is_fast() -> None:
    """A file with nothing but the searched boxes takes little time."""
    assert sniff(_mp4(b"isom") + b"hdlr" * 1_000_000) == "video/mp4"
