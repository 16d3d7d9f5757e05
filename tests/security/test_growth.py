"""A short answer of a chat server costs little, and its values can be written out."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client, HFClientError, Retry, types
from hfclient.chat.legacy import devalue
from hfclient.chat.wire import superjson
from hfclient.errors import ProtocolError
from hfclient.inference.completions.tool_calls import ToolCallMerger
from tests.server import Server, json_answer, plain

ID, SHA = "65a000000000000000000001", "ab" * 32
MIB = 1024 * 1024


@contextmanager
def _at_most(size: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def _flat_chain(levels: int) -> list[Any]:
    return [[index + 1, index + 1] for index in range(levels)] + ["x"]


DEVALUE: dict[str, Callable[[], Any]] = {
    "doubling": lambda: _flat_chain(60),
    "deep": lambda: [[index + 1] for index in range(5000)] + ["x"],
    "a long text": lambda: [[1] * 1000, "x" * 20_000],
}


def test_superjson_equalities() -> None:
    """Equalities do not make a value larger than its plain JSON: they are ignored."""
    plain = {f"x{i}": [None, None] for i in range(60)} | {"x60": None}
    same = {f"x{i + 1}": [f"x{i}.0", f"x{i}.1"] for i in range(60)}
    with _at_most(MIB):
        value = superjson.decode({"json": copy.deepcopy(plain), "meta": {"referentialEqualities": same, "v": 1}})
    assert value == plain


@pytest.mark.parametrize("name", DEVALUE)
def test_devalue(name: str) -> None:
    """A page's data that would be too large when written out is refused before that."""
    with _at_most(20 * MIB), pytest.raises(ProtocolError, match=r"too large|deep"):
        devalue.unflatten(DEVALUE[name]())


def test_shared_values_of_servers() -> None:
    """A document with as many repetitions as real servers send is accepted."""
    prompt = "You are helpful. " * 600
    page = devalue.unflatten([[1] * 300, {"content": 2}, prompt])
    assert len(page) == 300
    assert page[299] == {"content": prompt}


CIRCLE = {"providers": [{"provider": "p", "self": None}], "self": None}


def test_cycles(server: Server, tmp_path: Path) -> None:
    """Models and messages that contain themselves can be shown, turned into JSON and exported."""
    model = {"id": "m", "name": "m", **CIRCLE}
    message = {"id": "u", "from": "user", "content": "hi", "ancestors": [], "children": [], **CIRCLE}
    same = {"0": ["0.self"], "0.providers.0": ["0.providers.0.self"]}
    server.on("/api/v2/models", json_answer({"json": [model], "meta": {"referentialEqualities": same, "v": 1}}))
    state = {"id": ID, "title": "t", "model": "m", "messages": [message]}
    same = {"messages.0": ["messages.0.self"], "messages": ["messages.0.providers.0.self"]}
    server.on(
        f"/api/v2/conversations/{ID}", json_answer({"json": state, "meta": {"referentialEqualities": same, "v": 1}})
    )
    client = Client(server.url, cookies="hf-chat=me", token="", retry=Retry(attempts=1, resume=0))
    talk = client.conversation(ID)
    assert json.loads(json.dumps(client.models.list()[0].to_dict()))["raw"]["self"] is None
    assert json.loads(json.dumps(talk.messages()[0].to_dict()))["content"] == "hi"
    for name in ("a.json", "a.md"):
        assert "hi" in talk.export(tmp_path / name).read_text("utf-8")


def test_the_growth_of_a_page(server: Server) -> None:
    """A list of conversations, or a conversation, that is too large is an hfclient error with a short text."""
    nodes = [{"type": "data", "data": _flat_chain(60)}, {"type": "data", "data": _flat_chain(60)}]
    server.on("*", plain("<!doctype html><title>ChatUI</title>", 200, "Content-Type: text/html"))
    server.on("/api/models", json_answer([{"id": "m"}]))
    server.on("/__data.json", json_answer({"type": "data", "nodes": nodes}))
    server.on(f"/conversation/{ID}/__data.json", json_answer({"type": "data", "nodes": nodes}))
    client = Client(server.url, cookies="hf-chat=me", token="", retry=Retry(attempts=1, resume=0))
    for call in (client.conversation(ID).messages, client.conversations.list):
        with pytest.raises(HFClientError) as caught:
            call()
        assert len(str(caught.value)) < 1000


def test_nesting_beyond_the_stack() -> None:
    """A value that is nested too deeply for the caller's stack is an hfclient error."""
    deep: Any = 1
    for _ in range(20_000):  # Python 3.13 writes 3,000
        deep = {"a": deep}
    with pytest.raises(ProtocolError, match="Model nests too deeply"):
        types.Model("m", raw=deep).to_dict()


def test_decoders_do_not_allocate_by_lengths() -> None:
    """Numbers that servers send as lengths or positions allocate nothing by themselves."""
    from hfclient.inference.completions.chunks import ChunkDecoder

    decoder = ChunkDecoder()
    delta = {"tool_calls": [{"index": 10**9, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}
    with _at_most(MIB):
        decoder.feed(b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n")
        decoder.feed(b'data: {"choices":[{"index":1000000000,"delta":{"content":"x"}}]}\n\n')
        decoder.finish()


def test_a_message_of_megabytes() -> None:
    """An error and a log line have the start of a huge message."""
    assert len(HFClientError("x" * 50_000_000).message) == 8001
    record = logging.LogRecord("hfclient", logging.INFO, "", 0, "a %s", ("y" * 50_000_000,), None)
    assert logging.getLogger("hfclient").filter(record)
    assert len(record.getMessage()) == 8003


def test_thousands_of_calls() -> None:
    """Each of many tool calls in one answer is found without a search through all others."""
    merger = ToolCallMerger()
    for number in range(30_000):
        merger.add({"index": number % 7, "id": f"call-{number}", "function": {"name": "f", "arguments": "{}"}})
    events, broken = merger.finish(good=True)
    assert (len(events), broken) == (30_000, [])


@pytest.mark.parametrize("depth", [150, 500, 900])
def test_nesting_that_cannot_be_pickled(server: Server, depth: int) -> None:
    """A document that a program could not pickle, copy or write out is refused; any other is accepted."""
    deep = "[" * depth + "]" * depth
    models = json.dumps([{"id": "m", "x": 1}]).replace("1", deep)
    server.on("/api/v2/models", plain(f'{{"json":{models}}}', 200, "Content-Type: application/json"))
    server.on("/v1/models", plain(f'{{"data":{models}}}', 200, "Content-Type: application/json"))
    client = Client(server.url, cookies="hf-chat=me", token="", retry=Retry(attempts=1), inference_url=f"{server.url}/v1")
    for call in (client.models.list, lambda: list(client.inference.models())):
        if depth > 200:
            with pytest.raises(HFClientError):
                call()
        else:
            (model,) = call()
            assert copy.deepcopy(pickle.loads(pickle.dumps(model))).id == "m"
            assert json.dumps(model.raw)
