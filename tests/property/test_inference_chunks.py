"""Any bytes in any chunks: the same events, and only hfclient errors."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfclient.decoding.frames import SSEParser
from hfclient.events import AnyEvent, to_dict
from hfclient.inference.completions.deltas import DeltaReader
from tests.property.framing import cut, pieces, places, written
from tests.unit.test_inference_chunks import EXPECTED, SAMPLES, read

_settings = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])

# Parts with a meaning in one of the layers, alone and in combination.
_text = st.one_of(
    st.text(max_size=5),
    st.sampled_from(
        ["<think>", "</think>", "<", "th", "ink>", "\ud83d", "\ude00", "a\u2028b", "data: x", "\n\n", "[DONE]", ""]
    ),
)
_scalar = st.one_of(st.none(), st.booleans(), st.integers(-3, 600), st.just(1e400), _text)
_json = st.recursive(
    _scalar,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_text, inner, max_size=3)),
    max_leaves=6,
)
_or_json = st.one_of(_text, _json)
_call = st.fixed_dictionaries(
    {},
    optional={
        "index": st.one_of(st.integers(-1, 2), _scalar),
        "id": st.one_of(st.sampled_from(["a", "b", "0", ""]), _scalar),
        "function": st.one_of(
            st.fixed_dictionaries({}, optional={"name": st.sampled_from(["f", "g", "", None]), "arguments": _or_json}),
            _json,
        ),
    },
)
_delta = st.fixed_dictionaries(
    {},
    optional={
        "role": st.one_of(st.just("assistant"), _scalar),
        "content": st.one_of(
            _text, _json, st.lists(st.fixed_dictionaries({"type": _text, "text": _or_json}), max_size=2)
        ),
        "reasoning": _or_json,
        "reasoning_content": _or_json,
        "reasoning_details": _json,
        "refusal": _or_json,
        "tool_calls": st.one_of(_call, st.lists(_call, max_size=3), _json),
        "token_id": _scalar,
        "new": _json,
    },
)
_choice = st.fixed_dictionaries(
    {},
    optional={
        "index": st.one_of(st.just(0), _scalar),
        "delta": st.one_of(_delta, st.none(), _json),
        "text": _or_json,
        "finish_reason": st.one_of(st.sampled_from([None, "", "stop", "error"]), _json),
        "logprobs": st.one_of(st.none(), st.fixed_dictionaries({"content": st.lists(_json, max_size=2)}), _json),
        "error": _json,
    },
)
_plain = st.builds(lambda text: {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}, _text)
_chunk = st.one_of(
    _plain,
    st.fixed_dictionaries(
        {},
        optional={
            "choices": st.one_of(st.lists(_choice, max_size=2), _json),
            "usage": st.one_of(st.none(), st.fixed_dictionaries({"prompt_tokens": _scalar}), _json),
            "error": st.one_of(st.none(), _json),
            "x-router-metadata": _json,
            "x_groq": _json,
            "object": _or_json,
            "message": _or_json,
        },
    ),
    _json,
)


@st.composite
def _streams(draw: Any) -> bytes:
    events = [written(draw, chunk) for chunk in draw(st.lists(_chunk, max_size=8))]
    if draw(st.booleans()):
        events.append(draw(st.sampled_from([b"data: [DONE]\n\n", b"data:[DONE]", b"data: [DO"])))
    return b"".join(events)


def _thorough(data: bytes) -> list[AnyEvent]:
    """The events of a stream from the general parser and the full reader only."""
    numbers = itertools.count(1)
    reader, parser = DeltaReader(new_id=lambda: f"made-up-{next(numbers)}"), SSEParser()
    parser.feed(b"\n")
    out: list[AnyEvent] = []
    for event in parser.feed(data.lstrip(b" \t\r\n")):
        reader.message(event.data, out, name=event.event)
    for event in parser.finish():
        reader.message(event.data, out, name=event.event, last=True)
    if not reader.over:
        (reader.end if reader.finished else reader.stop)(out)
    return out


def _plain_values(events: list[AnyEvent]) -> str:
    return repr([to_dict(event) for event in events])  # by repr, as NaN is not equal to itself


@_settings
@given(name=st.sampled_from(sorted(EXPECTED)), places=places)
def test_samples_in_any_chunks(name: str, places: list[int]) -> None:
    """A sample yields the same events for any chunks."""
    assert read(cut((SAMPLES / name).read_bytes(), places)) == EXPECTED[name]


@_settings
@given(data=_streams(), places=places)
def test_streams_in_any_chunks(data: bytes, places: list[int]) -> None:
    """Any stream yields the same events whole, event by event, byte by byte and in any chunks; all can be encoded."""
    events, error = read([data])
    for parts in pieces(data, places):
        again, error_again = read(parts)
        assert (_plain_values(again), error_again) == (_plain_values(events), error)
    for event in events:
        json.dumps(to_dict(event), ensure_ascii=False).encode()
    "".join(error or ()).encode()


@_settings
@given(data=_streams())
def test_fast_and_full_parser_agree(data: bytes) -> None:
    """The fast path yields the same events as the full parser."""
    if data.lstrip()[:1] not in (b"{", b"[", b"<"):
        assert _plain_values(read([data])[0]) == _plain_values(_thorough(data))


def test_open_tags_and_surrogates() -> None:
    """A tag or a surrogate pair that one chunk leaves open continues in the next ones, in one block or in several."""
    texts = ["a", "<", "think>", "<think>", "</think>", "\ud83d", "\ude00"]
    deltas = [*({"content": text} for text in texts), {"reasoning": "r"}, {"reasoning": "\ud83d"}]
    written_ones = [b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n" for delta in deltas]
    for events in itertools.product(written_ones, repeat=3):
        data = b"".join(events)
        expected = _plain_values(_thorough(data))
        assert _plain_values(read([data])[0]) == expected, data
        assert _plain_values(read(list(events))[0]) == expected, data


def test_line_ends_inside_an_event() -> None:
    """A line end between two tokens of JSON ends a line, also in a chunk with a single event."""
    plain = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    for end in (b"\n", b"\r", b"\r\n", b"\ndata: ", b"\rdata:", b"\n\n", b"\r\r", b"\n\ndata: "):
        events = [plain, plain.replace(b":[", b":" + end + b"["), plain]
        expected = _plain_values(_thorough(b"".join(events)))
        assert _plain_values(read(events)[0]) == _plain_values(read([b"".join(events)])[0]) == expected, end
    begun = [plain, b"data: ", plain]  # the last chunk looks like an event, but another one has begun
    assert _plain_values(read(begun)[0]) == _plain_values(_thorough(b"".join(begun)))


@_settings
@given(
    data=st.one_of(
        st.binary(max_size=200), st.sampled_from(sorted(EXPECTED)).map(lambda name: (SAMPLES / name).read_bytes())
    ),
    edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 3), st.binary(max_size=4)), max_size=6),
    places=places,
)
def test_any_bytes(data: bytes, edits: list[tuple[int, int, bytes]], places: list[int]) -> None:
    """Any bytes, and damaged samples, raise only hfclient errors, and yield the same for any chunks."""
    for place, length, new in edits:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + length :]
    events, error = read([data])
    again, error_again = read(cut(data, places))
    assert (_plain_values(again), error_again) == (_plain_values(events), error)
