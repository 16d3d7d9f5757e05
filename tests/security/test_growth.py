"""A short answer of a chat server costs little, and what is made of it can be written out."""

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
from hfclient.chat.wire import devalue, superjson
from hfclient.errors import ProtocolError
from hfclient.inference.completions.toolcalls import ToolCallMerger
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


def _chain(levels: int, width: int = 2, last: Any = None) -> dict[str, Any]:
    """Lists, each of which holds the next one *width* times: superjson of a few hundred bytes."""
    plain = {f"x{i}": [None] * width for i in range(levels)} | {f"x{levels}": last}
    same = {f"x{i + 1}": [f"x{i}.{j}" for j in range(width)] for i in range(levels)}
    return {"json": plain, "meta": {"referentialEqualities": same, "v": 1}}


def _flat_chain(levels: int) -> list[Any]:
    return [[index + 1, index + 1] for index in range(levels)] + ["x"]


SUPERJSON: dict[str, Callable[[], Any]] = {
    "doubling": lambda: _chain(30),
    "a hundredfold": lambda: _chain(4, 100),
    "long texts": lambda: _chain(8, 4, "x" * 100_000),
    "a hundred thousand times one text": lambda: {
        "json": {"a": "x" * 100_000, "b": [None] * 10_000},
        "meta": {"referentialEqualities": {"a": [f"b.{i}" for i in range(10_000)]}, "v": 1},
    },
    "deep": lambda: _chain(5000, 1),
}
DEVALUE: dict[str, Callable[[], Any]] = {
    "doubling": lambda: _flat_chain(60),
    "deep": lambda: [[index + 1] for index in range(5000)] + ["x"],
    "a long text": lambda: [[1] * 1000, "x" * 20_000],
    "holes": lambda: [list(range(1, 200)), *[[-7, 50_000]] * 200],
    "more holes than memory": lambda: [[-7, 10**15]],
    "views": lambda: [[*range(2, 1002)], ["ArrayBuffer", "A" * 80_000], *[["Uint8Array", 1, 0, 60_000]] * 1001],
    "bytes": lambda: [[1] * 1000, ["ArrayBuffer", "A" * 80_000]],
}


@pytest.mark.parametrize("name", SUPERJSON)
def test_superjson(name: str) -> None:
    """Places that hold one value are refused when there would be too many, before anybody writes them out."""
    document = SUPERJSON[name]()
    with _at_most(20 * MIB), pytest.raises(ProtocolError, match=r"too large|deep"):
        superjson.decode(document)


@pytest.mark.parametrize("name", DEVALUE)
def test_devalue(name: str) -> None:
    """The same for a page's data, and for lengths that are just a number in it."""
    with _at_most(20 * MIB), pytest.raises(ProtocolError, match=r"too large|deep"):
        devalue.unflatten(DEVALUE[name]())


def test_what_servers_share() -> None:
    """A document that repeats as much as real ones do is taken as it is."""
    prompt = "You are helpful. " * 600
    messages = [{"content": None, "n": i} for i in range(300)]
    same = {"prompt": [f"messages.{i}.content" for i in range(300)]}
    value = superjson.decode(
        {"json": {"prompt": prompt, "messages": messages}, "meta": {"referentialEqualities": same}}
    )
    assert all(message["content"] is prompt for message in value["messages"])
    page = devalue.unflatten([[1] * 300, {"content": 2}, prompt])
    assert len(page) == 300
    assert page[299] == {"content": prompt}


def test_integers_with_one_hash() -> None:
    """Integers that all have one hash, whose lookup takes quadratic time, stay in a list; a few, and small ones, do not."""
    texts = [str(i * (2**61 - 1)) for i in range(1, 30_000)]
    kinds = {str(i): ["bigint"] for i in range(len(texts))}
    found = superjson.decode({"json": texts, "meta": {"values": ["set", kinds]}})
    assert isinstance(found, list)
    rows = [[text, 1] for text in texts]
    kinds = {f"{i}.0": ["bigint"] for i in range(len(texts))}
    assert isinstance(superjson.decode({"json": rows, "meta": {"values": ["map", kinds]}}), list)
    flat = [["Map", *range(1, 2 * len(texts) + 1)], *(entry for text in texts for entry in (["BigInt", text], 1))]
    assert isinstance(devalue.unflatten(flat), list)
    assert superjson.decode({"json": texts[:3], "meta": {"values": ["set", {"0": ["bigint"]}]}}) == {
        2**61 - 1,
        *texts[1:3],
    }


CIRCLE = {"providers": [{"provider": "p", "self": None}], "self": None}


def test_circles(server: Server, tmp_path: Path) -> None:
    """Models and messages that hold themselves can be shown, turned into JSON and exported."""
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
    """Whoever lists the models or reads a conversation gets an error of ours, and its text is short."""
    document = _chain(40)
    document["json"] = {"id": ID, "messages": [], "title": None, **document["json"]}
    server.on("*", json_answer(document))
    client = Client(server.url, cookies="hf-chat=me", token="", retry=Retry(attempts=1, resume=0))
    for call in (client.models.list, client.conversation(ID).messages, client.conversations.list):
        with pytest.raises(HFClientError) as caught:
            call()
        assert len(str(caught.value)) < 1000


def test_nesting_beyond_the_stack() -> None:
    """What nests more deeply than can be written where the caller is, is an error of ours."""
    deep: Any = 1
    for _ in range(20_000):  # Python 3.13 writes 3,000
        deep = {"a": deep}
    with pytest.raises(ProtocolError, match="Model nests too deeply"):
        types.Model("m", raw=deep).to_dict()


def test_no_decoder_of_ours_counts_on_lengths() -> None:
    """Numbers that servers send as lengths or places allocate nothing by themselves."""
    from hfclient.inference.completions.chunks import ChunkDecoder

    decoder = ChunkDecoder()
    delta = {"tool_calls": [{"index": 10**9, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}
    with _at_most(MIB):
        decoder.feed(b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n")
        decoder.feed(b'data: {"choices":[{"index":1000000000,"delta":{"content":"x"}}]}\n\n')
        decoder.finish()


def test_a_message_of_megabytes() -> None:
    """Of an endless message an error, and a line of the log, hold the beginning."""
    assert len(HFClientError("x" * 50_000_000).message) == 8001
    record = logging.LogRecord("hfclient", logging.INFO, "", 0, "a %s", ("y" * 50_000_000,), None)
    assert logging.getLogger("hfclient").filter(record)
    assert len(record.getMessage()) == 8003


def test_thousands_of_calls() -> None:
    """Each of many calls of tools in one answer is found without a look at all the others."""
    merger = ToolCallMerger()
    for number in range(30_000):
        merger.add({"index": number % 7, "id": f"call-{number}", "function": {"name": "f", "arguments": "{}"}})
    events, broken = merger.finish(good=True)
    assert (len(events), broken) == (30_000, [])


@pytest.mark.parametrize("depth", [150, 500, 900])
def test_nesting_that_pickles_fail_at(server: Server, depth: int) -> None:
    """A document that a program could not pickle, copy or write out is refused, whatever it is; one that it could is taken."""
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
