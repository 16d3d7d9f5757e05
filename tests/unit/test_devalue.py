"""The data of pages in devalue form: dates, promises, failures, and hostile documents."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from hfclient.chat.legacy.devalue import ChunkError, NodeError, parse_page, unflatten
from hfclient.errors import ProtocolError

FIXTURES = Path(__file__).parent.parent / "fixtures" / "chat-ui-0.9.5"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
EPOCH_TEXT = "1970-01-01T00:00:00.000Z"


def page(*nodes, chunks=()):
    lines = [{"type": "data", "nodes": list(nodes)}, *chunks]
    return parse_page(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def data(*flat):
    return {"type": "data", "data": list(flat), "uses": {}}


def test_objects_lists_and_shared_values():
    """Members are references; a value with several references is one object."""
    value = unflatten([{"a": 1, "b": 2, "c": 2}, [2, -1], {"x": 3}, "deep"])
    assert value == {"a": [{"x": "deep"}, None], "b": {"x": "deep"}, "c": {"x": "deep"}}
    assert value["a"][0] is value["b"] is value["c"]


def test_numbers_and_references():
    """A number in the array is a value, a number in a member is a reference."""
    assert unflatten([[1, 2, 3], -7, 0, 1.5]) == [-7, 0, 1.5]


@pytest.mark.parametrize(
    ("flat", "value"),
    [
        ([[1], ["Date", EPOCH_TEXT]], [EPOCH]),
        ([[1], ["Date", "1970-01-01T01:00:00+01:00"]], [EPOCH]),
        ([[1], ["Date", ""]], [None]),
        ([[1], ["Date", "+275760-09-13T00:00:00.000Z"]], ["+275760-09-13T00:00:00.000Z"]),
        ([[1], ["Set", 2], "x"], [["Set", 2]]),
        ([[1], ["BigInt", "12"]], [["BigInt", "12"]]),
        ([[1], ["Temporal.Instant", "now"]], [["Temporal.Instant", "now"]]),
        ([[-3, -6, -7, 1], "x"], [None, None, None, "x"]),
        ([[]], []),
        (["text"], "text"),
        ([None], None),
        (-1, None),
        (-4, None),
        ([[-2]], [None]),
    ],
)
def test_values(flat, value):
    """Dates and constants become Python values; other tags stay as they are."""
    assert unflatten(flat) == value


def test_cycles():
    """A list or an object inside itself is None there, so that the value can be written out."""
    assert unflatten([{"self": 0, "list": 1, "n": 2}, [0, 1, 2], 7]) == {"self": None, "list": [None, None, 7], "n": 7}


@pytest.mark.parametrize(
    "flat",
    [
        [],
        {},
        None,
        True,
        "text",
        1.5,
        [[1]],
        [[5]],
        [[0.5]],
        [[True]],
        [{"a": "b"}],
        [{"a": None}],
        [[1], ["Promise", 2], "no number"],
        [[1], ["Promise"]],
    ],
)
def test_malformed_arrays(flat):
    """A reference to nothing, or a wrong shape, is a ProtocolError and never another exception."""
    with pytest.raises(ProtocolError):
        unflatten(flat)


def test_nesting_is_bounded():
    """Deep nesting is refused before Python's own stack is exhausted."""
    deep = [[index + 1] for index in range(5000)] + ["bottom"]
    with pytest.raises(ProtocolError, match="deep"):
        unflatten(deep)


def test_growth_is_bounded():
    """Sixty lists, each holding the next one twice, are 2**60 values when they are written out."""
    with pytest.raises(ProtocolError, match="large"):
        unflatten([[index + 1, index + 1] for index in range(60)] + ["x"])
    chunks = [{"type": "chunk", "id": number, "data": [[1, 1], ["Promise", 2], number + 1]} for number in range(1, 60)]
    with pytest.raises(ProtocolError, match=r"large|deep"):
        page(data([1], ["Promise", 2], 1), chunks=chunks)


def test_json_that_nests_without_end_is_refused():
    """The JSON itself may nest to any depth."""
    with pytest.raises(ProtocolError):
        parse_page(b'{"type":"data","nodes":' + b"[" * 100_000)


def test_promises_come_with_their_chunks():
    """A promised value is in the place of its promise; one that never came is None."""
    parsed = page(
        data({"now": 1, "later": 2, "never": 4}, "here", ["Promise", 3], 1, ["Promise", 5], 9),
        chunks=[{"type": "chunk", "id": 1, "data": [{"x": 1}, "there"]}],
    )
    assert parsed.node(0) == {"now": "here", "later": {"x": "there"}, "never": None}


def test_a_promise_that_failed_says_so():
    """The chunk's error is in the value's place."""
    parsed = page(
        data({"later": 1}, ["Promise", 2], 7), chunks=[{"type": "chunk", "id": 7, "error": [{"message": 1}, "boom"]}]
    )
    assert parsed.node(0) == {"later": ChunkError({"message": "boom"})}


def test_chunks_that_promise_themselves_end():
    """Two chunks that wait for each other do not wait forever."""
    parsed = page(
        data({"a": 1}, ["Promise", 2], 1),
        chunks=[
            {"type": "chunk", "id": 1, "data": [[1], ["Promise", 2], 2]},
            {"type": "chunk", "id": 2, "data": [[1], ["Promise", 2], 1]},
        ],
    )
    assert parsed.node(0) == {"a": [[None]]}


def test_empty_nodes():
    """A skipped layer, one without data and a missing one are None."""
    parsed = page({"type": "skip"}, None, "odd", {"type": "data"}, data({"title": 1}, "T"), data("text"))
    assert parsed.nodes == (None, None, None, None, {"title": "T"}, "text")
    assert [parsed.node(index) for index in (0, 1, 4, 5, 6, -7)] == [None, None, {"title": "T"}, None, None, None]
    assert parsed.node(-2) == {"title": "T"}


def test_failures_and_redirects():
    """The failure of a layer keeps its status, the answer's own being 200; a login page is a redirect."""
    failed = page({"type": "skip"}, {"type": "error", "error": {"message": "Conversation not found."}, "status": 404})
    assert failed.node(-1) == NodeError("Conversation not found.", 404)
    assert page({"type": "error", "error": {"message": "An error occurred"}}).node(0) == NodeError("An error occurred")
    assert page({"type": "error", "error": None, "status": "x"}).node(0) == NodeError("the page failed")
    assert parse_page(b'{"type":"error","error":{"message":"all of it"}}').node(-1) == NodeError("all of it")
    assert parse_page(b'{"type":"redirect","location":"/login"}').redirect == "/login"
    assert parse_page(b'{"type":"redirect"}\n').redirect == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"<!doctype html>",
        b"[]",
        b"{}",
        b'{"type":"data"}',
        b'{"type":"data","nodes":{}}',
        b'{"type":"weather"}',
        b'\xff{"type":"data"}',
        b'{"type":"data","nodes":[]}\n{broken',
        b'{"type":"data","nodes":[{"type":"data","data":[[1]]}]}',
    ],
)
def test_other_documents(body):
    """Any other document is a ProtocolError with the start of the body."""
    with pytest.raises(ProtocolError):
        parse_page(body)


def test_a_page_of_a_real_server():
    """Layout and page as chat-ui 0.9.5 sent them (2026-11-21): models, settings, tools, a promise, and a conversation."""
    parsed = parse_page((FIXTURES / "layout_and_page.data").read_bytes())
    layout, conversation = parsed.nodes
    assert [model["id"] for model in layout["models"]] == ["lab/legacy-model", "lab/plain-model"]
    assert [entry["title"] for entry in layout["conversations"]] == ["New Chat", "New Chat"]
    assert layout["settings"]["searchEnabled"] is True
    assert layout["user"] is None
    assert layout["assistants"] == []  # it came in a chunk
    assert [tool["name"] for tool in layout["tools"]] == ["calculator", "fetchUrl", "websearch"]
    assert isinstance(layout["conversations"][0]["updatedAt"], datetime.datetime)
    (root,) = conversation["messages"]
    assert (root["from"], root["content"], root["children"], root["ancestors"]) == ("system", "Be terse.", [], [])
    assert conversation["rootMessageId"] == root["id"]
    assert conversation["shared"] is False
