"""Chunked transfer coding, without a socket."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfclient.transport.chunked import ChunkedDecoder

tricky = st.sampled_from([b"\r\n", b"a\r\n", b"1\r\na\r\n", b'{"type":"stream","token":"a"}\n', b"0\r\n\r\n", b"x" * 300])
contents = st.lists(st.binary(min_size=1, max_size=300) | tricky, max_size=40)


def encode(pieces: list[bytes], *, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
    return chunks + b"0\r\n" + trailers + b"\r\n"


@given(contents, st.lists(st.integers(min_value=0, max_value=4000)), st.sampled_from([b"", b';x="y"', b" ; a=b"]))
def test_any_cut_gives_the_same_content(pieces: list[bytes], cuts: list[int], extension: bytes) -> None:
    """For any chunks, the content is complete, and the data after it is not consumed."""
    wire = encode(pieces, extension=extension, trailers=b"X-Checksum: 1\r\n") + b"next"
    reader = ChunkedDecoder()
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    found = b"".join(reader.feed(wire[a:b]) for a, b in itertools.pairwise(places) if not reader.done)
    assert found == b"".join(pieces)
    assert reader.done
    assert b"next".startswith(reader.rest)


def test_one_wrong_size_among_many() -> None:
    """A chunk with a wrong size is found in the middle of a large block, too."""
    pieces = [b'{"token":"%d"}\n' % (number % 10) for number in range(200)]
    wire = encode(pieces)
    assert ChunkedDecoder().feed(wire) == b"".join(pieces)
    lying = wire.replace(b'"7"}\n\r\n', b'"77"}\n\r\n', 1)
    reader = ChunkedDecoder()
    with pytest.raises(ValueError):  # noqa: PT012 (the valid start may be returned first)
        assert reader.feed(lying).startswith(b"".join(pieces[:7]))
        reader.feed(b"")


@given(st.binary(max_size=200))
def test_any_bytes_raise_value_error_at_most(data: bytes) -> None:
    """Bytes that are not chunked coding are refused."""
    reader = ChunkedDecoder()
    with contextlib.suppress(ValueError):
        reader.feed(data)


@pytest.mark.parametrize(
    "wire",
    [b"-5\r\nhello", b"+5\r\nhello", b"0x5\r\nhello", b"\r\n", b"5\r\nhelloworld", b"zz\r\n", b"f" * 16 + b"\r\n"],
)
def test_invalid_sizes_are_refused(wire: bytes) -> None:
    """Signs, prefixes, empty sizes, huge sizes and chunks without an end are refused."""
    reader = ChunkedDecoder()
    with pytest.raises(ValueError, match="chunk"):
        list(map(reader.feed, (wire, b"")))  # the content before the error comes first
    assert reader.error is not None


@pytest.mark.parametrize("wire", [b"5" + b";x" * 20_000, b"0\r\n" + b"a: b\r\n" * 200])
def test_lines_and_trailers_are_bounded(wire: bytes) -> None:
    """The size line and the trailers have a limit."""
    with pytest.raises(ValueError, match="end"):
        ChunkedDecoder().feed(wire)


def test_done_only_after_the_trailers() -> None:
    """The last chunk alone is not the end."""
    reader = ChunkedDecoder()
    assert reader.feed(b"2\r\nok\r\n0\r\n") == b"ok"
    assert not reader.done
    assert reader.feed(b"\r\n") == b""
    assert reader.done
