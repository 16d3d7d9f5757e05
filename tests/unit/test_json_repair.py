"""JSON with small errors of servers is read, and all results can be encoded."""

from __future__ import annotations

from typing import Any

import pytest

from hfclient.chat.legacy.devalue import parse_page
from hfclient.chat.wire.superjson import loads as load_superjson
from hfclient.credentials import Credentials
from hfclient.decoding.json_repair import loads, loads_repaired
from hfclient.errors import ProtocolError
from hfclient.transport import Request, Session
from hfclient.transport.requests_transport import RequestsTransport
from tests.server import Server, plain

HALF = rb'{"title": "smile \ud83d", "\ude00": ["\ud83d\ude00"]}'
REPAIRED = {"title": "smile \ufffd", "\ufffd": ["\U0001f600"]}


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (HALF, REPAIRED),
        (b'{"a": 1}', {"a": 1}),
        (b'["a\nb", Infinity]', ["a\nb", float("inf")]),
        (b'["\xff"]', ["\ufffd"]),
        (rb'"\ud83d"', "\ufffd"),
    ],
)
def test_repaired(data: bytes, value: Any) -> None:
    """Lone surrogates, raw line ends, odd numbers and broken bytes are read, and give valid strings."""
    assert loads_repaired(data) == value


def test_halves_of_a_stream_are_kept() -> None:
    """A surrogate that may be completed by the next chunk is not replaced yet."""
    assert loads(rb'"\ud83d"') == "\ud83d"


@pytest.mark.parametrize("read", [loads, loads_repaired])
@pytest.mark.parametrize("data", [b"", b"<html>", b"{", b"[" * 100_000, b'["\\ud83d", ' + b"[" * 100_000])
def test_not_json(read: Any, data: bytes) -> None:
    """Text that is not JSON, or is nested too deeply, raises one kind of error."""
    with pytest.raises(ValueError, match=r"."):
        read(data)


def test_bodies(server: Server) -> None:
    """A body that JavaScript cut within a character is read; HTML is not."""
    server.on("/half", plain(HALF, 200, "Content-Type: application/json"))
    server.on("/page", plain(b"<html>", 200, "Content-Type: text/html"))
    transport = RequestsTransport()
    session = Session(transport, Credentials())
    assert session.send(Request.read(f"{server.url}/half")).json() == REPAIRED
    with pytest.raises(ProtocolError, match="an HTML page"):
        session.send(Request.read(f"{server.url}/page")).json()
    transport.close()


def test_stored_conversations() -> None:
    """Titles and messages of a chat server are repaired in both of its notations."""
    assert load_superjson(rb'{"json": {"title": "x\ud83d"}}') == {"title": "x\ufffd"}
    assert load_superjson('{"json": {"title": "x\\ud83d"}}') == {"title": "x\ufffd"}
    page = rb'{"type":"data","nodes":[{"type":"data","data":[{"title":1},"x\ud83d"]}]}'
    assert parse_page(page).node(0) == {"title": "x\ufffd"}
