"""Any bytes in place of generated text: the decoder yields events and at most one hfclient error."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfclient.errors import HFClientError
from hfclient.events import AnyEvent, Event, to_dict
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.text.generation_events import GenerationReader
from tests.property.framing import pieces, places, written

LEAVES = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=5) | st.just("\ud83d")
NAMES = st.sampled_from(
    "token text id logprob special generated_text details finish_reason tokens top_tokens generated_tokens input_length "
    "prefill error error_type choices logprobs token_logprobs index".split()
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)

TEXTS = st.sampled_from(
    ["a", " b", "é光", "", " \n", "<", "<think>", "</think>", "think>", "x<th", "\ud83d", "\ude00", "x\ud83d"]
)
TOKEN = {"id": 3, "text": "a", "logprob": -1.5, "special": False}
CHOICE = {"index": 0, "text": "a", "logprobs": None, "finish_reason": None}
ODD_TOKENS: list[dict[str, Any]] = [
    *({"special": value} for value in (True, None, 1)),
    *({"id": value} for value in (2**70, 1.0, True, None, "1")),
    *({"logprob": value} for value in (0, -0.0, None, True, 2**70, float("nan"), "0")),
    *({"text": value} for value in (None, 1, ["a"], "", "é", "<", " ")),
]
ODD_CHOICES: list[dict[str, Any]] = [
    *({"index": value} for value in (1, None, "0")),
    *({"text": value} for value in (None, 1, ["a"], "", "é", "<", " ")),
    *({"finish_reason": value} for value in ("", "stop", "error", 1)),
    *({"logprobs": value} for value in ({"token_logprobs": [-1.0]}, {"content": []})),
    *({"delta": value} for value in (None, {"content": "d"}, {})),
    *({"message": value} for value in (None, {"content": "m"})),
    *({"usage": value} for value in (None, {"prompt_tokens": 1})),
]
ODD_FIELDS: list[dict[str, Any]] = [
    *({"generated_text": value} for value in (None, "a", "ab", 1)),
    *({"generated_text": "a", "details": value} for value in ({"generated_tokens": 2}, {"finish_reason": "length"})),
    *({"generated_text": "a", "token": value} for value in (None, {**TOKEN, "special": True})),
    *({"details": value} for value in (None, {"generated_tokens": 2})),
    *({"top_tokens": value} for value in (None, [], [[{"id": 1}]])),
    *({"usage": value} for value in (None, {"prompt_tokens": 1})),
    *({"error": value} for value in (None, "", "no")),
    *({"error": value, "error_type": "overloaded"} for value in (None, "no")),
    *({"x_groq": value} for value in (None, {"usage": {"prompt_tokens": 1}}, {"error": "no"})),
    *({"x-router-metadata": value} for value in (None, {"route": "r"})),
    *({"choices": value} for value in (None, [], CHOICE, [CHOICE, {**CHOICE, "index": 1}])),
    *({"choices": [{**CHOICE, **value}]} for value in ({}, {"text": "b"}, {"finish_reason": "stop"})),
]


def step(**token: Any) -> dict[str, Any]:
    """A step of text-generation-inference."""
    return {"index": 1, "token": {**TOKEN, **token}, "generated_text": None, "details": None}


def choice(**fields: Any) -> dict[str, Any]:
    """A chunk of ``/v1/completions``."""
    return {"object": "text_completion", "choices": [{**CHOICE, **fields}]}


# Objects that are plain except for one thing, or look plain.
ODD = [
    *(step(**odd) for odd in ODD_TOKENS),
    *(choice(**odd) for odd in ODD_CHOICES),
    *({**base, **odd} for base in (step(), choice(), {}) for odd in ODD_FIELDS),
]
PLAIN = st.builds(lambda text: step(text=text), TEXTS) | st.builds(lambda text: choice(text=text), TEXTS)


class Thorough(GenerationReader):
    """A reader that parses each object completely."""

    def take_plain(self, parts: Iterable[bytes], out: list[AnyEvent]) -> bytes | None:
        """Treat no object as plain."""
        return next(iter(parts), None)


def in_lines(values: Iterable[Any]) -> bytes:
    """Return events of one line each."""
    return b"".join(b"data:" + json.dumps(value).encode() + b"\n\n" for value in values)


@st.composite
def streams(draw: Any) -> bytes:
    """Many events of one line each, and some with other framing."""
    steps = draw(st.lists(PLAIN | st.sampled_from(ODD), max_size=8))
    if draw(st.booleans()):
        return in_lines(steps)
    return b"".join(written(draw, one) for one in steps)


def decoded(
    parts: list[bytes], make: type[GenerationReader] = GenerationReader, **options: Any
) -> tuple[list[AnyEvent], str | None]:
    """Return the events, and the error's class."""
    decoder = ChunkDecoder(reader=make(**options))
    events = [event for part in parts for event in decoder.feed(part)] + decoder.finish()
    try:
        decoder.check_end()
    except HFClientError as error:
        return events, type(error).__name__
    return events, None


def as_json(events: list[AnyEvent]) -> bytes:
    """Return the events as JSON in UTF-8, which lone surrogates cannot be written in."""
    return json.dumps([to_dict(event) for event in events], ensure_ascii=False).encode()


def outcome(
    parts: list[bytes], make: type[GenerationReader] = GenerationReader, **options: Any
) -> tuple[bytes, str | None]:
    """Return all events with `extra`, which their repr omits, and the error's class."""
    events, error = decoded(parts, make, **options)
    return as_json(events), error


@given(streams(), st.booleans(), st.booleans(), places)
@settings(deadline=None, max_examples=500)
def test_fast_and_full_parser_agree(data: bytes, splits: bool, strips: bool, at: list[int]) -> None:
    """The fast path yields the same as the full parser, for any framing and any chunks."""
    options = {"splits_reasoning": splits, "strips": strips}
    expected = outcome([data], Thorough, **options)
    for parts in ([data], *pieces(data, at)):
        assert outcome(parts, **options) == expected


@pytest.mark.parametrize("first", [step(special=True), *(step(text=text) for text in ("<", "<think>", " ", "x\ud83d"))])
@pytest.mark.parametrize("options", [{}, {"splits_reasoning": True}, {"strips": True}])
def test_one_unusual_object(first: dict[str, Any], options: dict[str, bool]) -> None:
    """For any unusual object and those after it, the fast path yields the same as the full parser."""
    for odd in ODD:
        for values in (
            [first, step(text="x"), odd, step(text="y"), {"token": None, "generated_text": "z"}],
            [first, choice(text="x"), odd, choice(text="y", finish_reason="stop")],
        ):
            expected = outcome([in_lines(values)], Thorough, **options)
            assert outcome([in_lines(values)], **options) == expected, odd
            assert outcome([in_lines([value]) for value in values], **options) == expected, odd


@given(
    st.lists(st.dictionaries(NAMES, VALUES, max_size=4) | VALUES, max_size=5),
    st.booleans(),
    st.booleans(),
    st.integers(0, 200),
)
@settings(deadline=None, max_examples=200)
def test_any_objects(values: list[Any], splits: bool, strips: bool, cut: int) -> None:
    """Any objects yield events that can be encoded, the same ones for any chunks."""
    body = in_lines(values)
    options = {"splits_reasoning": splits, "strips": strips}
    assert all(isinstance(event, Event) for event in decoded([body], **options)[0])
    assert outcome([body[:cut], body[cut:]], **options) == outcome([body], **options)


@given(VALUES, st.binary(max_size=40))
@settings(deadline=None, max_examples=100)
def test_documents(value: Any, rest: bytes) -> None:
    """A document in place of a stream, complete or broken, yields events and at most one error."""
    for body in (json.dumps(value).encode(), json.dumps([value]).encode() + rest, rest):
        events, _ = decoded([body])
        as_json(events)


@given(st.text(max_size=20), st.text(max_size=20), st.booleans())
@settings(deadline=None)
def test_text_is_kept(first: str, second: str, special: bool) -> None:
    """The text of all tokens is the text that the server generated, with any characters."""
    whole = first + ("" if special else second)
    steps = [
        {"token": {"id": 1, "text": first, "logprob": -1.0, "special": False}},
        {"token": {"id": 2, "text": second, "special": special}, "generated_text": whole},
    ]
    body = in_lines(steps)
    events, error = decoded([body])
    assert error is None
    assert "".join(getattr(event, "text", "") for event in events) == whole
