"""Bytes to frames: any chunks, all line ends, and the irregular forms of servers."""

from __future__ import annotations

import pytest

from hfclient.decoding.frames import LineFramer, ServerSentEvent, SSEParser, excerpt
from hfclient.errors import ProtocolError


def _lines(data: bytes, size: int | None = None, **options: int) -> list[bytes]:
    """All lines of *data*, read in chunks of *size* bytes."""
    framer = LineFramer(**options)
    size = size or len(data) or 1
    blocks = [framer.feed(data[start : start + size]) for start in range(0, len(data), size)]
    assert all(block.endswith(b"\n") or not block for block in blocks)
    return (b"".join(blocks) + framer.finish()).splitlines(keepends=True) if b"\r" not in data else [b"".join(blocks)]


def _events(data: bytes, size: int | None = None, **options: int) -> list[ServerSentEvent]:
    parser = SSEParser(**options)
    size = size or len(data) or 1
    found = [event for start in range(0, len(data), size) for event in parser.feed(data[start : start + size])]
    return found + parser.finish()


LINES = [b"", b"\n", b"a\n", b"a", b"a\nb", b"a\n\nb\n", b'{"a":1}\n{"b":2}\n', b"\n\n\n", "é\u2028☃\x85\n".encode()]


@pytest.mark.parametrize("data", LINES)
def test_lines(data: bytes) -> None:
    """Whole, byte by byte or in pairs: the same lines."""
    whole = b"".join(_lines(data))
    assert whole == data
    for size in (1, 2, 3):
        assert b"".join(_lines(data, size)) == data


def test_lines_come_when_they_are_complete() -> None:
    """A block has all complete lines, and no incomplete one."""
    framer = LineFramer()
    assert framer.feed(b"one\ntw") == b"one\n"
    assert framer.feed(b"o") == b""
    assert framer.feed(b"\nthree\nfo") == b"two\nthree\n"
    assert framer.feed(b"") == b""
    assert framer.feed(b"ur\n") == b"four\n"
    assert framer.finish() == b""
    assert framer.feed(b"five") == b""
    assert (framer.finish(), framer.finish()) == (b"five", b"")


def test_unicode_line_ends_are_content() -> None:
    """U+2028, U+0085, form feeds and a lone CR are ordinary characters."""
    odd = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\rh\n".encode()
    assert LineFramer().feed(odd) == odd


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_a_line_over_the_limit(size: int) -> None:
    """A line over the limit is refused with its start, for any chunks; a line at the limit passes."""
    fine = b"x" * 100 + b"\n"
    assert b"".join(_lines(fine + fine, size, limit=100)) == fine + fine
    framer = LineFramer(limit=100)
    data = b"ok\n" + b"y" * 101 + b"\n"
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    with pytest.raises(ProtocolError, match="more than 100 bytes") as caught:
        list(map(framer.feed, pieces))
    assert "y" in (caught.value.frame or "")


def test_a_long_line_in_small_chunks() -> None:
    """A line of the maximum length in small chunks is read without copying it for each chunk."""
    framer = LineFramer()
    pieces = [b"x" * 4096] * 16_384
    assert not any(map(framer.feed, pieces))
    with pytest.raises(ProtocolError, match="67,108,864"):
        framer.feed(b"x")


def test_excerpt() -> None:
    """An excerpt is short, printable text for any bytes."""
    assert excerpt(b"  hi \n") == "hi"
    assert excerpt("é".encode() * 300, 10) == "é" * 9 + "…"
    assert excerpt(b"\xff\xfe\x00") == "\ufffd\ufffd\x00"
    assert len(excerpt(b"\xf0\x9f\x98\x80" * 500)) <= 200


SSE = {
    "plain": (b"data: a\n\ndata: b\n\n", [ServerSentEvent(b"a"), ServerSentEvent(b"b")]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [ServerSentEvent(b"a"), ServerSentEvent(b"b")]),
    "CR": (b"data: a\r\rdata: b\r\r", [ServerSentEvent(b"a"), ServerSentEvent(b"b")]),
    "mixed": (
        b"data: a\r\n\ndata: b\r\r\ndata: c\n\r",
        [ServerSentEvent(b"a"), ServerSentEvent(b"b"), ServerSentEvent(b"c")],
    ),
    "no space": (b"data:{}\n\n", [ServerSentEvent(b"{}")]),
    "one space is taken": (b"data:  a\n\n", [ServerSentEvent(b" a")]),
    "several lines": (b'data: {"a":\ndata: 1}\n\n', [ServerSentEvent(b'{"a":\n1}')]),
    "BOM": (b"\xef\xbb\xbfdata: a\n\n", [ServerSentEvent(b"a")]),
    "a second BOM is content": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [ServerSentEvent(b"a")]),
    "comments": (b":\n\n: hi\n\ndata: a\n:in between\ndata: b\n\n", [ServerSentEvent(b"a\nb")]),
    "names and ids": (
        b"event: end\nid: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
        [
            ServerSentEvent(b"a", "end", "7"),
            ServerSentEvent(b"b", "message", "7"),
            ServerSentEvent(b"c", "message", ""),
        ],
    ),
    "id with NUL is ignored": (b"id: a\0b\ndata: a\n\n", [ServerSentEvent(b"a")]),
    "retry and unknown fields": (b"retry: 10\nfoo: bar\nbaz\ndata: a\n\n", [ServerSentEvent(b"a")]),
    "a name without data": (b"event: end\n\n", [ServerSentEvent(b"", "end")]),
    "error as a field": (b'error: {"code":500}\n\n', [ServerSentEvent(b'{"code":500}', "error")]),
    "empty data": (b"data:\n\ndata\n\n", [ServerSentEvent(b""), ServerSentEvent(b"")]),
    "no last blank line": (b"data: a\n\ndata: [DONE]\n", [ServerSentEvent(b"a"), ServerSentEvent(b"[DONE]")]),
    "no last line end": (b"data: a\n\ndata: [DONE]", [ServerSentEvent(b"a"), ServerSentEvent(b"[DONE]")]),
    "a last lone CR": (b"data: a\r", [ServerSentEvent(b"a")]),
    "nothing": (b"", []),
    "blank lines": (b"\n\n\r\n\r\r\n\n", []),
    "unicode line ends": (
        "data: a\u2028b\u0085c\x0bd\x0ce\n\n".encode(),
        [ServerSentEvent("a\u2028b\u0085c\x0bd\x0ce".encode())],
    ),
    "colons in data": (b"data: a:b: c\n\n", [ServerSentEvent(b"a:b: c")]),
    "a JSON body": (b'{"error": "no stream"}', []),
    "field names are exact": (b"Data: a\n data: b\ndata : c\n\n", []),
}


@pytest.mark.parametrize("name", SSE)
def test_server_sent_events(name: str) -> None:
    """Each sample whole, byte by byte, and in chunks of all small sizes: the same events."""
    data, expected = SSE[name]
    assert _events(data) == expected
    for size in range(1, min(len(data), 12) + 1):
        assert _events(data, size) == expected, size


def test_events_come_when_they_are_complete() -> None:
    """An event is returned with its blank line, not later."""
    parser = SSEParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\n") == [ServerSentEvent(b"a")]
    assert parser.feed(b"data: b\r\n\r") == []  # the CR may be half of a CRLF, which here does not matter
    assert parser.feed(b"\n") == [ServerSentEvent(b"b")]


def test_comments_are_counted() -> None:
    """A comment shows that the connection is alive."""
    parser = SSEParser()
    parser.feed(b":\n\n: ping\n\n")
    assert parser.comments == 2


@pytest.mark.parametrize(
    "data", [b"data: " + b"x" * 200, b"data: " + b"x" * 200 + b"\n\n", (b"data: " + b"x" * 30 + b"\n") * 9, b"y" * 200]
)
@pytest.mark.parametrize("size", [1, 10, 1000])
def test_an_event_over_the_limit(data: bytes, size: int) -> None:
    """Neither one long line nor many lines of one event exceed the limit."""
    with pytest.raises(ProtocolError, match="more than 100 bytes"):
        _events(data, size, limit=100)


def test_many_small_events_have_no_limit() -> None:
    """The limit applies to one event, not to all events of one read."""
    assert len(_events(b"data: abc\n\n" * 1000, limit=100)) == 1000


def test_at_the_limit() -> None:
    """An event of exactly the maximum length passes."""
    assert _events(b"data: " + b"x" * 94 + b"\n\n", limit=100) == [ServerSentEvent(b"x" * 94)]
    assert _events(b"data: 1234\ndata: 12345\n\n", limit=10) == [ServerSentEvent(b"1234\n12345")]


def test_empty_data_lines_count() -> None:
    """Lines without content count for the limit, too."""
    for line in (b"data:\n", b"data\n", b"error:\n"):
        with pytest.raises(ProtocolError):
            _events(line * 1000, limit=100)


def test_take_rest() -> None:
    """The bytes of an incomplete line can be taken back before an event has begun."""
    parser = SSEParser()
    assert parser.take_rest() is None  # a byte order mark may still come
    parser.feed(b"data: a\n\ndat")
    assert parser.take_rest() == b"dat"
    assert parser.take_rest() == b""
    parser.feed(b"data: b\nda")
    assert parser.take_rest() is None
    assert parser.feed(b"ta: c\n\n") == [ServerSentEvent(b"b\nc")]
