"""superjson in both directions: every type of the format, both spellings of paths, and documents that mean harm."""

from __future__ import annotations

import datetime
import json
import math

import pytest

from hfclient.chat.wire import superjson
from hfclient.chat.wire.superjson import UNDEFINED, ObjectId, decode, encode, loads
from hfclient.errors import ProtocolError

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
EPOCH_TEXT = "1970-01-01T00:00:00.000Z"

EVERYTHING = r"""
{"json":{"d":"1970-01-01T00:00:00.000Z","u":null,"n":"NaN","b":"10","s":[1,"1970-01-01T00:00:00.000Z"],
         "m":[["k","1970-01-01T00:00:00.000Z"]],"a.b":{"c\\d":"1970-01-01T00:00:00.000Z"},"arr":[null,1]},
 "meta":{"values":{"d":["Date"],"u":["undefined"],"n":["number"],"b":["bigint"],"s":["set",{"1":["Date"]}],
                   "m":["map",{"0.1":["Date"]}],"a\\.b.c\\\\d":["Date"],"arr.0":["undefined"]},
         "referentialEqualities":{"d":["s.1","a\\.b.c\\\\d","m.0.1"]},"v":1}}
"""


def annotated(value, kind, **meta):
    return decode({"json": {"x": value}, "meta": {"values": {"x": kind}, "v": 1, **meta}})["x"]


def test_every_kind_of_annotation_at_once():
    """Dates, undefined, numbers, sets, maps, escaped paths and shared objects decode together."""
    value = loads(EVERYTHING)
    assert math.isnan(value.pop("n"))
    assert value == {
        "d": EPOCH,
        "u": None,
        "b": 10,
        "s": {1, EPOCH},
        "m": {"k": EPOCH},
        "a.b": {"c\\d": EPOCH},
        "arr": [None, 1],
    }
    assert value["m"]["k"] is value["d"]
    assert value["a.b"]["c\\d"] is value["d"]


@pytest.mark.parametrize(
    ("plain", "kind", "expected"),
    [
        (EPOCH_TEXT, ["Date"], EPOCH),
        ("1970-01-01T01:00:00+01:00", ["Date"], EPOCH),
        ("1970-01-01", ["Date"], EPOCH),
        ("", ["Date"], ""),
        ("+012026-01-01T00:00:00.000Z", ["Date"], "+012026-01-01T00:00:00.000Z"),
        (None, ["Date"], None),
        ("anything", ["undefined"], None),
        ("-12345678901234567890", ["bigint"], -12345678901234567890),
        ("0x10", ["bigint"], "0x10"),
        ("9" * 100_000, ["bigint"], "9" * 100_000),
        ("Infinity", ["number"], math.inf),
        ("-Infinity", ["number"], -math.inf),
        ("12", ["number"], "12"),
        ("/a+/g", ["regexp"], "/a+/g"),
        ([1, 2, 2], ["set"], {1, 2}),
        ([[1], [2]], ["set"], [[1], [2]]),
        ("no list", ["set"], "no list"),
        ([["k", 1], [2, "v"]], ["map"], {"k": 1, 2: "v"}),
        ([[["k"], 1]], ["map"], [[["k"], 1]]),
        ([["k"]], ["map"], [["k"]]),
        ("https://x/", ["URL"], "https://x/"),
        ({"name": "E", "message": "m"}, ["Error"], {"name": "E", "message": "m"}),
        ("6b010f31c065be6a00896989", [["custom", "ObjectId"]], "6b010f31c065be6a00896989"),
        ([1, 255], [["typed-array", "Uint8Array"]], b"\x01\xff"),
        ([1, 256], [["typed-array", "Uint8Array"]], [1, 256]),
        ([1, 2], [["typed-array", "Float32Array"]], [1, 2]),
        ({"a": 1}, [["class", "Thing"]], {"a": 1}),
        ("s", [["symbol", "s"]], "s"),
        (1, ["a type of tomorrow"], 1),
        (1, [None], 1),
        (1, [], 1),
        (1, "no annotation", 1),
    ],
)
def test_one_annotation(plain, kind, expected):
    """Each type becomes its Python value; what does not fit, or is not known, stays as it was."""
    value = annotated(plain, kind)
    assert value == expected
    assert type(value) is type(expected)


def test_negative_zero_keeps_its_sign():
    """Minus zero is the one number that equals another and is not it."""
    assert math.copysign(1, annotated("-0", ["number"])) == -1


def test_the_root_itself_can_be_annotated():
    """A document may be nothing but a date."""
    assert loads('{"json":"1970-01-01T00:00:00.000Z","meta":{"values":["Date"],"v":1}}') == EPOCH


def test_members_are_converted_before_their_container():
    """A set in a map in a set: the innermost annotation is applied first."""
    document = {
        "json": [[["k", [EPOCH_TEXT]]]],
        "meta": {"values": {"0": ["map", {"0.1": ["set", {"0": ["Date"]}]}]}, "v": 1},
    }
    assert decode(document) == [{"k": {EPOCH}}]


def test_a_path_with_a_version_knows_two_escapes():
    """With v 1 a backslash escapes a dot or itself; any other backslash makes the path one that leads nowhere."""
    document = {"json": {"a\\.b": EPOCH_TEXT, "c\\d": EPOCH_TEXT}, "meta": {"values": {}, "v": 1}}
    document["meta"]["values"] = {"a\\\\\\.b": ["Date"], "c\\d": ["Date"]}
    assert decode(document) == {"a\\.b": EPOCH, "c\\d": EPOCH_TEXT}


def test_a_path_without_a_version_escapes_only_dots():
    """Servers before 2026 send no v: there a backslash before anything but a dot stands for itself."""
    document = {
        "json": {"a.b": EPOCH_TEXT, "c\\d": EPOCH_TEXT},
        "meta": {"values": {"a\\.b": ["Date"], "c\\d": ["Date"]}},
    }
    assert decode(document) == {"a.b": EPOCH, "c\\d": EPOCH}


@pytest.mark.parametrize("path", ["y", "x.0", "x.y.z", "l.1", "l.-1", "l.٣", "l.1e0", "l.9999999999999999999", "", "."])
def test_a_path_that_leads_nowhere_is_ignored(path):
    """An annotation for a place that does not exist changes nothing."""
    plain = {"x": "text", "l": [EPOCH_TEXT]}
    equal = {"referentialEqualities": {path: ["x"], "l": [path]}}
    assert decode({"json": dict(plain), "meta": {"values": {path: ["Date"]}, **equal, "v": 1}}) == plain


def test_shared_objects_are_one_object():
    """What was one object on the server is one object here, inside maps too."""
    document = {
        "json": {"a": {"n": 1}, "b": [{"n": 1}], "m": [["k", {"n": 1}]]},
        "meta": {"values": {"m": ["map"]}, "referentialEqualities": {"a": ["b.0", "m.0.1"]}, "v": 1},
    }
    value = decode(document)
    assert value["a"] is value["b"][0]
    assert value["a"] is value["m"]["k"]


def test_a_circle_through_the_root():
    """A place that is identical to the root, inside of which it is, holds None."""
    value = loads('{"json":{"name":"c","self":{"a":1}},"meta":{"referentialEqualities":[["self"]],"v":1}}')
    assert value == {"name": "c", "self": None}


def test_a_document_without_annotations():
    """No meta, an empty one and one of the wrong type all leave the JSON as it is."""
    for meta in ({}, None, [], {"values": None}, {"values": 3, "referentialEqualities": 4, "v": "x"}):
        assert decode({"json": {"a": [1]}, "meta": meta}) == {"a": [1]}
    assert loads(b'{"json":null}') is None


@pytest.mark.parametrize("document", ["", "[", "[]", "{}", "null", '{"meta":{}}', b"\xff", "[" * 100_000])
def test_what_is_not_superjson_is_a_protocol_error(document):
    """Neither broken JSON nor a document without ``json`` raises anything else."""
    with pytest.raises(ProtocolError):
        loads(document)


def test_annotations_that_nest_without_end_are_refused():
    """Depth is bounded before Python's own recursion is."""
    tree: object = ["Date"]
    for _ in range(5000):
        tree = ["set", tree]
    with pytest.raises(ProtocolError, match="nest"):
        decode({"json": [], "meta": {"values": tree, "v": 1}})


def test_long_paths_cost_no_more_than_their_length():
    """A hostile document of many long paths is looked at once, not squared."""
    path = ".".join("a" * 20_000)
    keys = {f"{path}{n}": ["Date"] for n in range(50)}
    assert decode({"json": {"a": {}}, "meta": {"values": {"a": keys}, "v": 1}}) == {"a": {}}


# Encoding


def test_encoding_matches_what_chat_ui_sends():
    """A list of conversations encodes to the very document that a real server gives."""
    same = ObjectId("6b01124e8e55bdd588663d24")
    when = datetime.datetime(2026, 8, 21, 3, 38, 54, 891_000, tzinfo=datetime.timezone.utc)
    value = {"conversations": [{"_id": same, "id": same, "title": "New Chat", "updatedAt": when}], "hasMore": False}
    assert encode(value) == {
        "json": {
            "conversations": [
                {
                    "_id": "6b01124e8e55bdd588663d24",
                    "id": "6b01124e8e55bdd588663d24",
                    "title": "New Chat",
                    "updatedAt": "2026-08-21T03:38:54.891Z",
                }
            ],
            "hasMore": False,
        },
        "meta": {
            "values": {
                "conversations.0._id": [["custom", "ObjectId"]],
                "conversations.0.id": [["custom", "ObjectId"]],
                "conversations.0.updatedAt": ["Date"],
            },
            "referentialEqualities": {"conversations.0._id": ["conversations.0.id"]},
            "v": 1,
        },
    }


@pytest.mark.parametrize(
    ("value", "document"),
    [
        (None, {"json": None}),
        ({"hasMore": False, "conversations": []}, {"json": {"hasMore": False, "conversations": []}}),
        (UNDEFINED, {"json": None, "meta": {"values": ["undefined"], "v": 1}}),
        (2**53, {"json": "9007199254740992", "meta": {"values": ["bigint"], "v": 1}}),
        (-math.inf, {"json": "-Infinity", "meta": {"values": ["number"], "v": 1}}),
        (b"\x01", {"json": [1], "meta": {"values": [["typed-array", "Uint8Array"]], "v": 1}}),
        ({1: EPOCH}, {"json": [[1, EPOCH_TEXT]], "meta": {"values": ["map", {"0.1": ["Date"]}], "v": 1}}),
        ({"a.b\\": {EPOCH}}, {"json": {"a.b\\": [EPOCH_TEXT]}, "meta": {"values": {"a\\.b\\\\": ["set", {"0": ["Date"]}]}, "v": 1}}),
        (EPOCH.replace(tzinfo=None), {"json": EPOCH_TEXT, "meta": {"values": ["Date"], "v": 1}}),
        (({"": EPOCH},), {"json": [{"": EPOCH_TEXT}], "meta": {"values": {"0.": ["Date"]}, "v": 1}}),
    ],
)  # fmt: skip
def test_one_value_encodes(value, document):
    """Each Python type has its annotation, and plain JSON has none at all."""
    assert encode(value) == document


def test_cycles_are_cut_and_noted():
    """A value inside itself becomes null there, and its place is kept in the equalities."""
    value: dict[str, object] = {"n": 1}
    value["self"] = value
    document = encode(value)
    assert document == {
        "json": {"n": 1, "self": None},
        "meta": {"referentialEqualities": [["self"]], "v": 1},
    }
    assert decode(json.loads(json.dumps(document))) == {"n": 1, "self": None}


def test_what_cannot_be_encoded_is_a_value_error():
    """A type without a form, and nesting without end, are refused by name."""
    with pytest.raises(ValueError, match="complex"):
        encode({"x": 1j})
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match="nests"):
        encode(deep)


def test_undefined_is_one_value_and_false():
    """There is one UNDEFINED however often it is made, and it counts as nothing."""
    assert superjson.Undefined() is UNDEFINED
    assert not UNDEFINED
    assert repr(UNDEFINED) == "UNDEFINED"
