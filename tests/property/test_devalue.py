"""Properties of devalue: flattened values are restored, and any other data raises at most a ProtocolError."""

from __future__ import annotations

import contextlib
import datetime
import json

from hypothesis import given
from hypothesis import strategies as st

from hfclient.chat.legacy.devalue import parse_page, unflatten
from hfclient.errors import ProtocolError

DATES = st.datetimes(timezones=st.just(datetime.timezone.utc)).map(
    lambda date: date.replace(microsecond=date.microsecond // 1000 * 1000)  # what the wire keeps
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | DATES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=25,
)
TAGS = st.sampled_from(
    ["Date", "Set", "Map", "RegExp", "BigInt", "Object", "null", "URL", "ArrayBuffer", "Uint8Array", "Promise", "Other"]
)
REFERENCES = st.integers(-9, 12)
PLACES = (
    st.lists(REFERENCES, max_size=4)
    | st.dictionaries(st.text(max_size=3), REFERENCES, max_size=3)
    | st.tuples(TAGS, REFERENCES | st.text(max_size=3), REFERENCES | st.text(max_size=3)).map(list)
    | st.tuples(TAGS, REFERENCES).map(list)
    | st.tuples(st.just(-7), st.integers(-1, 9), REFERENCES, REFERENCES).map(list)
    | st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.text(max_size=3)
)
FLAT = st.lists(PLACES, max_size=10)
LINES = st.fixed_dictionaries(
    {"type": st.sampled_from(["data", "chunk", "error", "redirect", "skip"])},
    optional={
        "id": st.integers(0, 3),
        "data": FLAT,
        "error": FLAT | st.dictionaries(st.just("message"), st.text(max_size=3)),
        "status": st.integers(0, 3) | st.text(max_size=2),
        "location": st.text(max_size=3),
        "nodes": st.lists(
            st.none()
            | st.fixed_dictionaries({"type": st.sampled_from(["data", "skip", "error"])}, optional={"data": FLAT}),
            max_size=3,
        ),
    },
)


def flatten(value):
    """The inverse, as the framework on the server does it: each distinct value once."""
    flat, places = [], {}

    def place(value):
        key = (type(value), repr(value))
        if key not in places:
            places[key] = index = len(flat)
            flat.append(None)
            if isinstance(value, dict):
                flat[index] = {name: place(item) for name, item in value.items()}
            elif isinstance(value, list):
                flat[index] = [place(item) for item in value]
            elif isinstance(value, datetime.datetime):
                flat[index] = ["Date", value.isoformat(timespec="milliseconds").replace("+00:00", "Z")]
            else:
                flat[index] = value
        return places[key]

    place(value)
    return json.loads(json.dumps(flat))


@given(VALUES)
def test_round_trip(value):
    """Any JSON value with dates is unchanged after it is flattened and unflattened."""
    assert unflatten(flatten(value)) == value


@given(VALUES)
def test_promised_values(later):
    """A value in a chunk of its own replaces its promise."""
    node = {"type": "data", "data": [{"later": 1}, ["Promise", 2], 1]}
    chunk = {"type": "chunk", "id": 1, "data": flatten(later)}
    body = json.dumps({"type": "data", "nodes": [None, node]}) + "\n" + json.dumps(chunk) + "\n"
    assert parse_page(body.encode()).node(-1) == {"later": later}


@given(FLAT)
def test_any_flat_array_is_a_value_or_a_protocol_error(flat):
    """Any array, including loops and wrong tags, is a value or a ProtocolError."""
    with contextlib.suppress(ProtocolError):
        json.dumps(unflatten(flat), default=str)  # the result can be encoded


@given(st.lists(LINES, min_size=1, max_size=4))
def test_any_document_is_a_page_or_a_protocol_error(lines):
    """Any lines are a page or a ProtocolError, and any node can be read."""
    body = "\n".join(map(json.dumps, lines)).encode()
    with contextlib.suppress(ProtocolError):
        parsed = parse_page(body)
        for index in range(-4, 4):
            parsed.node(index)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_page_or_a_protocol_error(body):
    """Bytes that are not JSON are a ProtocolError, too."""
    with contextlib.suppress(ProtocolError):
        parse_page(body)
    with contextlib.suppress(ProtocolError):
        parse_page(b'{"type":"data","nodes":[]}\n' + body)
