"""Properties of superjson: encoded values are restored, and any other data raises at most a ProtocolError."""

from __future__ import annotations

import contextlib
import datetime
import json

from hypothesis import given
from hypothesis import strategies as st

from hfclient.chat.wire.superjson import decode, encode, loads
from hfclient.errors import ProtocolError
from hfclient.types import Model

KEYS = st.text(st.sampled_from("ab.\\0é"), max_size=4)
DATES = st.datetimes(timezones=st.just(datetime.timezone.utc)).map(
    lambda date: date.replace(microsecond=date.microsecond // 1000 * 1000)  # what the wire keeps
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | DATES
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=20,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)
TYPES = st.sampled_from(
    ["Date", "undefined", "bigint", "number", "set", "map", "regexp", "URL", "Error", "?"]
) | st.lists(st.sampled_from(["custom", "typed-array", "Uint8Array", "ObjectId", "class"]), max_size=3)
PATHS = st.text(st.sampled_from("ab.\\01"), max_size=6)
TREES = st.recursive(
    JSON | st.tuples(TYPES).map(list),
    lambda inner: st.dictionaries(PATHS, inner, max_size=4) | st.tuples(TYPES, inner).map(list),
    max_leaves=15,
)
EQUALITIES = st.dictionaries(PATHS, st.lists(PATHS, max_size=3), max_size=3)
DOCUMENTS = st.fixed_dictionaries(
    {"json": JSON},
    optional={
        "meta": st.fixed_dictionaries(
            {},
            optional={
                "values": TREES,
                "referentialEqualities": JSON
                | EQUALITIES
                | st.tuples(st.lists(PATHS, max_size=3), EQUALITIES).map(list),
                "v": st.sampled_from([0, 1, 2, "1", None]),
            },
        )
        | JSON
    },
)


@given(VALUES)
def test_round_trip(value):
    """decode(encode(x)) == x for all types that Python and superjson have, via JSON text."""
    assert decode(json.loads(json.dumps(encode(value)))) == value


@given(VALUES)
def test_encoding_gives_plain_json(value):
    """A document has only JSON types, and loads accepts it as text and as bytes."""
    text = json.dumps(encode(value), ensure_ascii=False, allow_nan=False)
    assert loads(text) == loads(text.encode())


@given(DOCUMENTS)
def test_any_document_decodes_or_is_a_protocol_error(document):
    """Any annotation, path or equality raises at most a ProtocolError."""
    with contextlib.suppress(ProtocolError):
        decode(document)


@given(DOCUMENTS)
def test_decoded_values_can_be_encoded(document):
    """A model or a message with any decoded document converts to JSON."""
    with contextlib.suppress(ProtocolError):
        json.dumps(Model("m", raw={"value": decode(document)}).to_dict())


@given(st.binary(max_size=60) | st.text(max_size=60) | DOCUMENTS.map(json.dumps))
def test_any_bytes_load_or_are_a_protocol_error(document):
    """Any bytes raise at most a ProtocolError."""
    with contextlib.suppress(ProtocolError):
        loads(document)
