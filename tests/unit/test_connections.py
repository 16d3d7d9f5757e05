"""The head of a response, without a socket: what http.client and its e-mail parser make of the same lines."""

from __future__ import annotations

import http.client
import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfclient.transport.connections import parse_fields

_name = st.sampled_from(
    ["Content-Type", "x-a", "X-A", "Set-Cookie", "Transfer-Encoding", "a_b", "From", "", "b c", "é"]
)
_value = st.text(st.characters(max_codepoint=255), max_size=12) | st.sampled_from(
    ["text/html", " a", "\ta ", "a:b", "multipart/mixed; boundary=x", "\x85", "a\rb", "a\x00b"]
)
_end = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r\n folded\r\n"])
_field = st.tuples(
    _name, st.sampled_from([":", ":", ": ", " : ", ""]), _value.filter(lambda text: "\n" not in text), _end
)


@given(st.lists(_field, max_size=6))
def test_the_same_fields_as_http_client(fields: list[tuple[str, str, str, str]]) -> None:
    """Any lines give the fields that http.client finds in them, well-formed or not."""
    text = "".join(map("".join, fields)).encode("iso-8859-1")
    lines = io.BytesIO(text).readlines()
    expected = http.client.parse_headers(io.BytesIO(text + b"\r\n"))
    found = parse_fields([line for line in lines if line not in (b"\r\n", b"\n")])
    if len(lines) == sum(line not in (b"\r\n", b"\n") for line in lines):  # else the head ends earlier
        assert found.items() == expected.items()
        assert bool(_defects_of_fields(found)) == bool(_defects_of_fields(expected))


def _defects_of_fields(message: Any) -> list[Any]:
    """The defects without those of the body: http.client's parser looks for its parts, if the type is multipart."""
    return [defect for defect in message.defects if not re.search("ultipart|Boundary", type(defect).__name__)]


@pytest.mark.parametrize("value", ["", " ", "a", " a b ", "a\tb"])
def test_values_keep_their_spaces_inside(value: str) -> None:
    """White space in front of a value is dropped, all other characters stay for urllib3."""
    text = f"X-A:{value}\r\nX-B: 2\r\n"
    expected = http.client.parse_headers(io.BytesIO(f"{text}\r\n".encode()))
    assert parse_fields([line.encode() for line in text.splitlines(keepends=True)]).items() == expected.items()
