"""Forms as values: their bytes, their length, and safe headers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfclient.errors import InvalidInputError
from hfclient.transport import Multipart, Part


def test_bytes() -> None:
    """A small form, byte for byte."""
    form = Multipart(
        (
            Part(name="data", content=b"{}"),
            Part(name="files", content=b"abc", filename="a.txt", content_type="text/plain", as_base64=True),
        ),
        boundary="B",
    )
    assert b"".join(form) == (
        b'--B\r\nContent-Disposition: form-data; name="data"\r\n\r\n{}\r\n'
        b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
        b"YWJj\r\n--B--\r\n"
    )
    assert form.content_type == "multipart/form-data; boundary=B"


@given(
    st.lists(
        st.builds(
            Part,
            name=st.text(max_size=10),
            content=st.binary(max_size=300),
            filename=st.none() | st.text(max_size=20),
            content_type=st.none() | st.text(max_size=10),
            as_base64=st.booleans(),
        ),
        max_size=4,
    ).map(tuple)
)
def test_length_is_known_before(parts: tuple[Part, ...]) -> None:
    """``len`` is the number of bytes for any parts, and no name breaks the structure."""
    form = Multipart(parts)
    data = b"".join(form)
    assert len(data) == len(form)
    assert data == b"".join(form), "it can be read again"
    assert data.count(f"--{form.boundary}\r\n".encode()) == len(parts)
    heads = [form._head(part) for part in parts]
    assert all(
        head.count(b"\r\n") == (3 if part.content_type is None else 4) for head, part in zip(heads, parts, strict=True)
    )


@pytest.mark.parametrize("size", [0, 1, 2, 3, 48 * 1024 - 1, 48 * 1024, 48 * 1024 + 1, 200_000])
@pytest.mark.parametrize("as_base64", [False, True])
def test_sizes(tmp_path: Path, size: int, as_base64: bool) -> None:
    """A file and the same bytes give the same form, at all unusual sizes."""
    content = os.urandom(size)
    path = tmp_path / "f"
    path.write_bytes(content)
    forms = [
        Multipart((Part(name="f", content=source, filename="f", as_base64=as_base64),), boundary="B")
        for source in (content, path)
    ]
    assert b"".join(forms[0]) == b"".join(forms[1])
    assert len(forms[0]) == len(forms[1]) == len(b"".join(forms[0]))


def test_chunks_are_small(tmp_path: Path) -> None:
    """No chunk is larger than base64 of 48 KiB: the form is never in memory as a whole."""
    path = tmp_path / "f"
    path.write_bytes(b"x" * 500_000)
    form = Multipart((Part(name="f", content=path, as_base64=True), Part(name="g", content=b"y" * 500_000)))
    assert max(map(len, form)) <= 64 * 1024


def test_boundaries_differ() -> None:
    """Two forms have different boundaries, and are equal."""
    first, second = Multipart((Part(name="a", content=b"b"),)), Multipart((Part(name="a", content=b"b"),))
    assert first.boundary != second.boundary
    assert first == second


def test_not_a_file(tmp_path: Path) -> None:
    """A missing path, a folder and a pipe are refused by name when the part is created."""
    pipe = tmp_path / "pipe"
    paths = [tmp_path / "missing", tmp_path]
    if hasattr(os, "mkfifo"):
        os.mkfifo(pipe)
        paths.append(pipe)
    for path in paths:
        with pytest.raises(InvalidInputError, match=path.name):
            Part(name="f", content=path)


def test_contents_stay_out_of_reprs() -> None:
    """A form's repr does not show the content of files."""
    assert "private" not in repr(Multipart((Part(name="f", content=b"private", filename="f.txt"),)))
