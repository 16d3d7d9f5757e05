"""superjson in both directions: dates, undefined and ids, both spellings of paths, and hostile documents."""

from __future__ import annotations

import datetime

import pytest

from hfclient.chat.wire import superjson
from hfclient.chat.wire.superjson import UNDEFINED, ObjectId, decode, encode, loads
from hfclient.errors import ProtocolError

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
EPOCH_TEXT = "1970-01-01T00:00:00.000Z"

ANSWER = r"""
{"json":{"d":"1970-01-01T00:00:00.000Z","u":null,"a.b":{"c\\d":"1970-01-01T00:00:00.000Z"},"arr":[null,"1970-01-01T00:00:00.000Z"]},
 "meta":{"values":{"d":["Date"],"u":["undefined"],"a\\.b.c\\\\d":["Date"],"arr.0":["undefined"],"arr.1":["Date"]},
         "referentialEqualities":{"d":["arr.1","a\\.b.c\\\\d"]},"v":1}}
"""


def annotated(value, kind, **meta):
    return decode({"json": {"x": value}, "meta": {"values": {"x": kind}, "v": 1, **meta}})["x"]


def test_dates_and_undefined_at_once():
    """Dates, undefined and escaped paths decode together; equalities only repeat what the plain JSON holds."""
    assert loads(ANSWER) == {"d": EPOCH, "u": None, "a.b": {"c\\d": EPOCH}, "arr": [None, EPOCH]}


@pytest.mark.parametrize(
    ("plain", "kind", "expected"),
    [
        (EPOCH_TEXT, ["Date"], EPOCH),
        ("1970-01-01T01:00:00+01:00", ["Date"], EPOCH),
        ("1970-01-01", ["Date"], EPOCH),
        ("", ["Date"], ""),
        ("+012026-01-01T00:00:00.000Z", ["Date"], "+012026-01-01T00:00:00.000Z"),
        (None, ["Date"], None),
        (None, ["undefined"], None),
        ("6b010f31c065be6a00896989", [["custom", "ObjectId"]], "6b010f31c065be6a00896989"),
        ("-12345678901234567890", ["bigint"], "-12345678901234567890"),
        ("Infinity", ["number"], "Infinity"),
        ([1, 2], ["set"], [1, 2]),
        ([1, EPOCH_TEXT], ["set", {"1": ["Date"]}], [1, EPOCH_TEXT]),
        ([["k", 1]], ["map"], [["k", 1]]),
        ({"name": "E", "message": "m"}, ["Error"], {"name": "E", "message": "m"}),
        ([1, 255], [["typed-array", "Uint8Array"]], [1, 255]),
        (1, ["a type of tomorrow"], 1),
        (1, [None], 1),
        (1, [], 1),
        (1, "no annotation", 1),
    ],
)
def test_one_annotation(plain, kind, expected):
    """A date becomes a datetime; any other type, and what is not a date, stays as it was."""
    value = annotated(plain, kind)
    assert value == expected
    assert type(value) is type(expected)


def test_the_root_can_be_a_date():
    """A document may be a single date."""
    assert loads('{"json":"1970-01-01T00:00:00.000Z","meta":{"values":["Date"],"v":1}}') == EPOCH


def test_a_path_with_a_version_knows_two_escapes():
    """With v 1 a backslash escapes a dot or itself."""
    document = {"json": {"a\\.b": EPOCH_TEXT}, "meta": {"values": {"a\\\\\\.b": ["Date"]}, "v": 1}}
    assert decode(document) == {"a\\.b": EPOCH}


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
    assert decode({"json": dict(plain), "meta": {"values": {path: ["Date"]}, "v": 1}}) == plain


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


def test_long_paths_cost_no_more_than_their_length():
    """The cost of many long paths is linear."""
    path = ".".join("a" * 20_000)
    keys = {f"{path}{n}": ["Date"] for n in range(50)}
    assert decode({"json": {"a": {}}, "meta": {"values": keys, "v": 1}}) == {"a": {}}


# Encoding


def test_encoding_matches_what_chat_ui_sends():
    """A list of conversations encodes to the document that a real server gives, without its referentialEqualities."""
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
            "v": 1,
        },
    }


@pytest.mark.parametrize(
    ("value", "document"),
    [
        (None, {"json": None}),
        ({"hasMore": False, "conversations": []}, {"json": {"hasMore": False, "conversations": []}}),
        (UNDEFINED, {"json": None, "meta": {"values": ["undefined"], "v": 1}}),
        ({"a.b\\": EPOCH}, {"json": {"a.b\\": EPOCH_TEXT}, "meta": {"values": {"a\\.b\\\\": ["Date"]}, "v": 1}}),
        (EPOCH.replace(tzinfo=None), {"json": EPOCH_TEXT, "meta": {"values": ["Date"], "v": 1}}),
        (({"": EPOCH},), {"json": [{"": EPOCH_TEXT}], "meta": {"values": {"0.": ["Date"]}, "v": 1}}),
    ],
)  # fmt: skip
def test_one_value_encodes(value, document):
    """Each Python type has its annotation, and plain JSON has none at all."""
    assert encode(value) == document


def test_what_cannot_be_encoded_is_a_value_error():
    """Any other type, and endless nesting, are refused by name."""
    for value in (1j, {1}, {1: "x"}, b"x"):
        with pytest.raises(ValueError, match=type(value).__name__):
            encode({"x": value})
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match="nests"):
        encode(deep)


def test_undefined_is_one_value_and_false():
    """There is one UNDEFINED, and it is false."""
    assert superjson.Undefined() is UNDEFINED
    assert not UNDEFINED
    assert repr(UNDEFINED) == "UNDEFINED"
