"""Uploads to a chat: the parts of the form, their names and types, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from hfclient.chat.files.uploads import MAX_FILE, RemoteFile, stored_part, upload_parts
from hfclient.errors import HFClientError, InvalidInputError, Unsupported
from hfclient.transport import Part
from hfclient.types import StoredFile

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def only(file: Any) -> Part:
    (part,) = upload_parts([file])
    return part


def shown(part: Part) -> tuple[str | None, str | None]:
    return part.filename, part.content_type


@pytest.mark.parametrize(
    ("file", "name", "mime"),
    [
        (("cat.png", PNG), "base64;cat.png", "image/png"),
        (("cat.jpg", PNG), "base64;cat.jpg", "image/png"),
        (PNG, "base64;file.png", "image/png"),
        (b"\xff\xd8\xff\xe0", "base64;file.jpg", "image/jpeg"),
        (b"GIF89a", "base64;file.gif", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "base64;file.webp", "image/webp"),
        (("x.bmp", b"BM\0\0"), "base64;x.bmp", "image/bmp"),
        (("notes.txt", b"hello"), "base64;notes.txt", "text/plain"),
        (("table.csv", b"a,b"), "base64;table.csv", "text/csv"),
        (("page.html", b"<p>"), "base64;page.html", "text/html"),
        (("data.json", b"{}"), "base64;data.json", "application/json"),
        (("code.py", b"x = 1"), "base64;code.py", "text/x-python"),
        (("drawing.svg", b"<svg/>"), "base64;drawing.svg", "text/plain"),
        (("Makefile", b"all:"), "base64;Makefile", "text/plain"),
        (b"text", "base64;file.txt", "text/plain"),
        (("zażółć; v2.txt", "zażółć".encode()), "base64;zażółć; v2.txt", "text/plain"),
        (("../../etc/passwd", b"x"), "base64;passwd", "text/plain"),
        (("C:\\Temp\\a.txt", b"x"), "base64;a.txt", "text/plain"),
        (("dir/", b"x"), "base64;file.txt", "text/plain"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_names_and_types(file: Any, name: str, mime: str) -> None:
    """The content decides the type, else the name; text is text for any suffix."""
    part = only(file)
    assert shown(part) == (name, mime)
    assert (part.name, part.as_base64) == ("files", True)


def test_paths(tmp_path: Path) -> None:
    """A path may be a string or a `Path`; its content is read while it is sent."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello")
    for file in (path, str(path)):
        part = only(file)
        assert shown(part) == ("base64;a.txt", "text/plain")
        assert part.content == path
        assert b"".join(part.pieces()) == b"aGVsbG8="


def test_open_files(tmp_path: Path) -> None:
    """An open file is read from its position; a file without a name gets one."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"xxhello")
    with path.open("rb") as file:
        file.read(2)
        part = only(file)
    assert (shown(part), part.content) == (("base64;a.txt", "text/plain"), b"hello")
    assert shown(only(io.BytesIO(PNG))) == ("base64;file.png", "image/png")


class FakeImage:
    """The used part of a PIL image."""

    size = (1, 1)

    def tobytes(self) -> bytes:
        return b""

    def save(self, file: io.BytesIO, format: str) -> None:
        assert format == "PNG"
        file.write(PNG)


def test_pil_images() -> None:
    """A PIL image is sent as PNG, without importing PIL for the check."""
    assert shown(only(FakeImage())) == ("base64;image.png", "image/png")


def test_a_single_file_needs_no_list(tmp_path: Path) -> None:
    """A single file of any kind needs no list; a tuple of several bytes is several files."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello")
    for file in (path, str(path), b"hello", ("a.txt", b"hello"), io.BytesIO(b"hello"), FakeImage()):
        assert len(upload_parts(file)) == 1
    assert len(upload_parts((b"one", b"two"))) == 2
    assert len(upload_parts((path, b"two"))) == 2
    assert upload_parts([]) == ()
    assert [part.content for part in upload_parts(iter([b"a", b"b"]))] == [b"a", b"b"]


def test_remote_files() -> None:
    """A file at a URL is fetched only if it is given as a `RemoteFile`."""
    asked: list[tuple[str, int]] = []

    def fetch(url: str, limit: int) -> bytes:
        asked.append((url, limit))
        return PNG

    (part,) = upload_parts([RemoteFile("https://example.com/a/cat.png?size=1")], fetch=fetch)
    assert shown(part) == ("base64;cat.png", "image/png")
    assert asked == [("https://example.com/a/cat.png?size=1", MAX_FILE + 1)]
    with pytest.raises(InvalidInputError):
        upload_parts([RemoteFile("https://example.com/x")])


@pytest.mark.parametrize("url", ["https://example.com/x.png", "http://x", "HTTPS://EXAMPLE.COM/x.png"])
def test_bare_urls_are_refused(url: str) -> None:
    """A string that is a URL is not fetched, and not searched on the disk."""
    with pytest.raises(InvalidInputError, match="RemoteFile"):
        upload_parts([url])


def test_limits(tmp_path: Path) -> None:
    """Ten MiB a file are accepted, one byte more is not, nor two files that exceed the limit of the request."""
    assert only(b"a" * MAX_FILE).size == MAX_FILE
    path = tmp_path / "large.txt"
    path.write_bytes(b"a" * (MAX_FILE + 1))
    for file in (b"a" * (MAX_FILE + 1), path, io.BytesIO(b"a" * (MAX_FILE + 1))):
        with pytest.raises(InvalidInputError, match=r"10\.5 MB"):
            upload_parts([file])
    with pytest.raises(InvalidInputError, match="together"):
        upload_parts([b"a" * 6_000_000] * 2)
    assert len(upload_parts([b"a" * 5_500_000] * 2)) == 2


def test_empty_files() -> None:
    """The server would drop them silently."""
    for file in (b"", ("a.txt", b""), io.BytesIO()):
        with pytest.raises(InvalidInputError, match="empty"):
            upload_parts([file])


def test_types_that_models_cannot_read() -> None:
    """A file that is neither an image nor text is refused."""
    for file in (b"\0\1", b"PK\3\4\0", b"\xff\xfeh\0i\0", ("a.pdf", b"%PDF-1.7\n\xe2\xe3\xcf\xd3")):
        with pytest.raises(Unsupported):
            upload_parts([file])


@pytest.mark.parametrize("cut", range(4))
def test_text_cut_within_a_character(cut: int) -> None:
    """Text stays text if the examined part ends within a character."""
    assert only(b"a" * (4096 - cut) + "😀".encode() * 10).content_type == "text/plain"


@pytest.mark.parametrize(
    "file", [5, None, object(), ("a", "b"), ("a", b"x", 1), io.StringIO("x"), ["x"], b"x\0".decode()]
)
def test_invalid_files(file: Any) -> None:
    """Anything else is an hfclient error."""
    with pytest.raises(HFClientError):
        upload_parts([file])


def test_stored_files() -> None:
    """A file that the conversation has already is sent by its hash."""
    part = stored_part(StoredFile("cat.png", "image/png", "569f"))
    assert (shown(part), part.content, part.as_base64) == (("hash;cat.png", "image/png"), b"569f", False)
    assert shown(stored_part(StoredFile("", "", "569f"))) == ("hash;file", None)
