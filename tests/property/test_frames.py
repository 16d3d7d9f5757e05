"""Any bytes in any chunks: the same frames as from one chunk, and no foreign exception."""

from __future__ import annotations

import contextlib
import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hfclient.decoding.frames import LineFramer, ServerSentEvent, SSEParser
from hfclient.decoding.think_tags import ThinkSplitter, split_thinking
from hfclient.errors import ProtocolError

SOME = [
    b"data:",
    b"data: x",
    b"event: e",
    b"id: 1",
    b":",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\xef\xbb\xbf",
    b" ",
    b"error: z",
    b"\0",
]
stream_bytes = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(st.sampled_from(SOME), st.binary(max_size=5)), max_size=40).map(b"".join),
)


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


cut_points = st.lists(st.integers(min_value=0, max_value=300), max_size=12)


@given(stream_bytes, cut_points)
def test_lines(data: bytes, cuts: list[int]) -> None:
    """For any chunks, blocks are complete lines, and together they are the input."""
    framer = LineFramer()
    blocks = [framer.feed(piece) for piece in _pieces(data, cuts)]
    rest = framer.finish()
    assert all(block.endswith(b"\n") for block in blocks if block)
    assert b"\n" not in rest
    assert b"".join(blocks) + rest == data


@given(stream_bytes, cut_points, st.integers(min_value=1, max_value=60))
def test_line_limits(data: bytes, cuts: list[int], limit: int) -> None:
    """Lines within the limit pass; a longer line is a `ProtocolError` for any chunks."""
    framer = LineFramer(limit)
    too_long = any(len(line) > limit for line in data.split(b"\n"))
    try:
        for piece in [*_pieces(data, cuts), b""]:  # the next call reports a line after others
            framer.feed(piece)
    except ProtocolError:
        assert too_long
    else:
        assert not too_long


def _parse(pieces: list[bytes]) -> list[ServerSentEvent]:
    parser = SSEParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.finish()


@given(stream_bytes, cut_points)
def test_events(data: bytes, cuts: list[int]) -> None:
    """Events do not depend on the chunks."""
    whole = _parse([data])
    assert _parse(_pieces(data, cuts)) == whole
    assert _parse([bytes([byte]) for byte in data]) == whole
    assert _parse([part for piece in _pieces(data, cuts) for part in (b"", piece)]) == whole


def _reference(data: bytes) -> list[ServerSentEvent]:
    """The specification's algorithm, implemented as simply as possible."""
    events, values, name, last_id = [], [], None, None
    for line in [*re.split(rb"\r\n|\n|\r", data.removeprefix(b"\xef\xbb\xbf")), b""]:
        if not line:
            if values or name is not None:
                events.append(ServerSentEvent(b"\n".join(values), name or "message", last_id))
            values, name = [], None
            continue
        key, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if key == b"data":
            values.append(value)
        elif key == b"event":
            name = value.decode("utf-8", "replace")
        elif key == b"error":
            values.append(value)
            name = "error"
        elif key == b"id" and b"\0" not in value:
            last_id = value.decode("utf-8", "replace")
    return events


@given(stream_bytes)
def test_events_follow_the_specification(data: bytes) -> None:
    """The parser agrees with the simple implementation of the specification."""
    assert _parse([data]) == _reference(data)


@given(st.lists(st.tuples(st.text(max_size=30), st.sampled_from(["\n", "\r\n", "\r"])), max_size=8), cut_points)
def test_written_events_are_read(messages: list[tuple[str, str]], cuts: list[int]) -> None:
    """Data in the forms that servers write is read, with all line ends and any characters."""
    texts = [re.sub(r"[\r\n]", " ", text) for text, _ in messages]
    wire = "".join(f"data: {text}{end}{end}" for text, (_, end) in zip(texts, messages, strict=True)).encode()
    assert [event.data.decode() for event in _parse(_pieces(wire, cuts))] == texts


@given(stream_bytes, cut_points, st.integers(min_value=1, max_value=60))
def test_event_limits(data: bytes, cuts: list[int], limit: int) -> None:
    """With any limit, only hfclient's own error is raised."""
    parser = SSEParser(limit)
    with contextlib.suppress(ProtocolError):
        for piece in _pieces(data, cuts):
            parser.feed(piece)
        parser.finish()


tags = st.lists(
    st.one_of(st.sampled_from(["<think>", "</think>", "<", "<th", "ink>", "</", "</think", ">"]), st.text(max_size=4)),
    max_size=20,
).map("".join)


@given(tags, cut_points)
def test_thinking(text: str, cuts: list[int]) -> None:
    """A text in chunks is split like the whole text, and only complete tags are removed."""
    splitter = ThinkSplitter()
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    pieces = [found for start, end in pairwise(places) for found in splitter.feed(text[start:end])] + splitter.finish()
    answer = "".join(piece for inside, piece in pieces if not inside)
    thoughts = "".join(piece for inside, piece in pieces if inside)
    assert (answer, thoughts) == split_thinking(text)
    assert all(piece for _, piece in pieces)
    lost = len(text) - len(answer) - len(thoughts)
    assert lost <= 8 * (text.count("<think>") + text.count("</think>"))
