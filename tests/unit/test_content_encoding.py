"""Compressed bodies are decoded completely, for any chunks."""

from __future__ import annotations

import gzip
import zlib

import pytest

from hfclient.errors import ConnectError
from hfclient.transport.content_encoding import decoded
from hfclient.transport.response import Headers


class _Pieces:
    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def read_some(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        """Do nothing."""

    abort = close


def _read(coding: str, *pieces: bytes) -> bytes:
    body = decoded(_Pieces(*filter(None, pieces)), Headers([("Content-Encoding", coding)]))
    return b"".join(iter(body.read_some, b""))


def _raw(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


@pytest.mark.parametrize(
    ("coding", "packed", "content"),
    [
        ("gzip", gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two"), b"one two"),
        ("gzip", gzip.compress(b"one") + b"\0" * 3 + b"\x1f\x8b", b"one"),
        ("deflate", zlib.compress(b"one"), b"one"),
        ("deflate", _raw(b"one"), b"one"),
    ],
    ids=["three members", "padding", "zlib", "raw"],
)
def test_every_cut(coding: str, packed: bytes, content: bytes) -> None:
    """In two chunks, cut anywhere, and byte by byte: all members, both meanings of "deflate", and no padding."""
    for cut in range(len(packed) + 1):
        assert _read(coding, packed[:cut], packed[cut:]) == content
    assert _read(coding, *(packed[at : at + 1] for at in range(len(packed)))) == content


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_every_end(coding: str) -> None:
    """An early end is reported, unless it is that of one of several members."""
    one = gzip.compress(b"one") if coding == "gzip" else zlib.compress(b"one")
    packed = one * 2 if coding == "gzip" else one
    for end in range(1, len(packed)):
        if end == len(one):
            continue
        with pytest.raises(ConnectError):
            _read(coding, packed[:end])
