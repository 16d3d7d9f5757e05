"""Files of images that are made to harm the program that reads their metadata: nothing in them is unpacked or expanded."""

from __future__ import annotations

import contextlib
import zlib
from pathlib import Path

import pytest

from hfclient.errors import InvalidInputError, Unsupported
from hfclient.inference import Image

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9"


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    found = [(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\2\0\0\0"), *chunks, (b"IDAT", b"x"), (b"IEND", b"")]
    made = (
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in found
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def facts(text: bytes) -> bytes:
    return JPEG + b'<x hfclient:facts="' + text + b'"/>'


BOMB = zlib.compress(b"\0" * 20_000_000)
FILES = {
    "a compressed text": (png((b"iTXt", b"prompt\0\1\0\0\0" + BOMB), (b"zTXt", b"prompt\0\0" + BOMB)), ""),
    "a chunk of 4 GB": (png()[:33] + b"\xff\xff\xff\xffiTXtprompt", ""),
    "very many chunks": (png(*[(b"tEXt", b"")] * 200_000, (b"iTXt", b"prompt\0\0\0\0\0late")), ""),
    "deep arrays": (facts(b"[" * 190_000), ""),
    "deep objects": (facts(b"{&quot;prompt&quot;:" * 9_000), ""),
    "a number of 100,000 digits": (facts(b"{&quot;seed&quot;: " + b"9" * 100_000 + b"}"), ""),
    "entities of its own": (
        JPEG
        + b'<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]><x hfclient:facts="{&quot;prompt&quot;: &quot;&b;&quot;}"/>',
        "&b;",
    ),
    "many starts": (JPEG + b'hfclient:facts="' * 200_000, ""),
    "segments without a length": (b"\xff\xd8" + b"\xff\xe0\0\0" * 100_000, ""),
    "not text": (facts(b"\xff\xfe\x80"), ""),
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_files(name: str, tmp_path: Path) -> None:
    """A file is loaded with the prompt that is written in it or with none, and a copy with metadata is made or refused."""
    content, prompt = FILES[name]
    path = tmp_path / "image"
    path.write_bytes(content)
    image = Image.load(path)
    assert (image.prompt, image.content) == (prompt, content)
    with contextlib.suppress(Unsupported, InvalidInputError):
        assert len(image.with_metadata()) < len(content) + 10_000
    assert image._repr_mimebundle_()
