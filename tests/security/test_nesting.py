"""A document with extreme nesting or extreme numbers is an ordinary hfclient error."""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, Retry, events, types
from hfclient.chat.legacy import devalue
from hfclient.chat.wire import superjson
from hfclient.chat.wire.messages import parse_conversation
from hfclient.chat.wire.update_events import parse_update
from hfclient.chat.wire.updates import UpdateDecoder
from hfclient.credentials import LoginStore, parse_cookies
from hfclient.errors import HFClientError, from_dict
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.models.hub import parse_hub_model
from hfclient.inference.providers.results import Answer, parse_result
from hfclient.inference.schemas.partial_json import PartialJSON
from hfclient.inference.text.generation_events import GenerationReader
from hfclient.transport.status_errors import message_in
from tests.server import Server, plain

DEEP = 20_000
NESTED = {
    "lists": b"[" * DEEP + b"]" * DEEP,
    "objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "cut lists": b"[" * DEEP,
    "cut objects": b'{"a":' * DEEP,
    "errors": b'{"error":' * 900 + b'"no"' + b"}" * 900,
    "as deep as decoders go": b'{"a":' * 900 + b"1" + b"}" * 900,
    "a number": b'{"a":' + b"9" * 20_000 + b"}",
    "an exponent": b'{"a":1e999999999}',
}


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def _lines(data: bytes) -> None:
    decoder = UpdateDecoder()
    for line in (data, b'{"type":"stream","token":"a","x":' + data + b"}", b'{"type":"new","x":' + data + b"}"):
        with contextlib.suppress(HFClientError):
            for event in decoder.feed(line + b"\n"):
                _used(event)


def _used(event: Any) -> None:
    """Use an event as callers do."""
    pickle.dumps(event)
    with contextlib.suppress(HFClientError):
        events.from_dict(events.to_dict(event))


def _chunks(data: bytes) -> None:
    for reader in (None, GenerationReader()):
        decoder = ChunkDecoder(reader=reader)
        for piece in (b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', b"data: " + data + b"\n\n"):
            for event in decoder.feed(piece):
                _used(event)
        decoder.finish()
        with contextlib.suppress(HFClientError):
            decoder.check_end()
    whole = ChunkDecoder()
    whole.feed(data)
    whole.finish()
    with contextlib.suppress(HFClientError):
        whole.check_end()


DECODERS: dict[str, Callable[[bytes], object]] = {
    "lines": _lines,
    "chunks": _chunks,
    "superjson": superjson.loads,
    "superjson within": lambda data: superjson.loads(b'{"json":' + data + b',"meta":{"values":' + data + b"}}"),
    "devalue": lambda data: devalue.parse_page(b'{"type":"data","nodes":[{"type":"data","data":' + data + b"}]}"),
    "devalue itself": devalue.parse_page,
    "a picture": lambda data: parse_result(Answer(data, "application/json")),
    "a piece of JSON": lambda data: PartialJSON().feed(data.decode()),
    "cookies": lambda data: parse_cookies(data.decode(), "https://a.example"),
}


@pytest.mark.parametrize("what", DECODERS)
def test_decoders(what: str) -> None:
    """All readers of a server's JSON accept it or raise an hfclient error."""
    for document in NESTED.values():
        with contextlib.suppress(HFClientError):
            DECODERS[what](document)


@pytest.mark.parametrize("kind", ["lists", "objects", "errors", "a number"])
def test_on_the_wire(server: Server, kind: str) -> None:
    """All calls raise an error of this package if the document is the response or the body of an error."""
    client = Client(
        server.url,
        token="hf_x",
        cookies={"hf-chat": "c"},
        retry=Retry(attempts=1, resume=0),
        inference_url=f"{server.url}/v1",
        hub_url=server.url,
    )
    conversation = client.conversation("65a000000000000000000001")
    calls: list[Callable[[], object]] = [
        client.whoami,
        client.models.list,
        conversation.messages,
        client.server.config,
        lambda: next(client.conversations.watch()),
        lambda: client.inference.chat("hi", model="m").result(),
        lambda: client.inference.text("hi", model="m").result(),
        lambda: client.inference.image("a fox", model="m", provider="hf-inference"),
        lambda: client.inference.embed(["a"], model="m"),
        lambda: next(client.inference.models()),
    ]
    for status, mime in ((200, "application/json"), (500, "application/json"), (200, "text/event-stream")):
        body = NESTED[kind] if mime == "application/json" else b"event: sync\ndata: " + NESTED[kind] + b"\n\n"
        server.on("*", plain(body, status, f"Content-Type: {mime}", "Retry-After: 999"))
        for call in calls:
            with contextlib.suppress(HFClientError, StopIteration):
                call()
    client.close()


@pytest.mark.parametrize("depth", [100, 500, 900])
def test_parsers(depth: int) -> None:
    """Functions that read a decoded document are not affected by its depth."""
    deep = _deep(depth)
    for parse in (parse_update, parse_hub_model, message_in, parse_conversation, types.Reply.from_dict, from_dict):
        for data in (deep, {"type": "tool", "subtype": "call", "uuid": "u", "call": {"name": "n", "parameters": deep}}):
            with contextlib.suppress(HFClientError, ValueError, TypeError, KeyError):
                parse(data)


def test_a_saved_login(tmp_path: Path) -> None:
    """A manipulated file of logins is reported as damaged."""
    path = tmp_path / "logins.json"
    for kind in NESTED.values():
        path.write_bytes(b'{"version":1,"logins":' + kind + b"}")
        path.chmod(0o600)
        with contextlib.suppress(HFClientError):
            LoginStore(path).get("https://a.example")


def test_huge_numbers() -> None:
    """A number with five thousand digits in a stream does not raise Python's ValueError."""
    decoder = UpdateDecoder()
    line = json.dumps({"type": "status", "status": "started", "statusCode": 1}).replace("1}", "9" * 5000 + "}")
    with contextlib.suppress(HFClientError):
        for event in decoder.feed(line.encode() + b"\n"):
            _used(event)
