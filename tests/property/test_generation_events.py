"""Whatever bytes come instead of generated text: the decoder ends them with events and at most one error of ours."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

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

# What servers send, with at most one thing in each place that is not usual.
TEXTS = st.sampled_from(
    ["a", " b", "é光", "", " \n", "<", "<think>", "</think>", "think>", "x<th", "\ud83d", "\ude00", "x\ud83d"]
)
TOKEN = {"id": 3, "text": "a", "logprob": -1.5, "special": False}
PLAIN = st.builds(lambda text: {"index": 1, "token": {**TOKEN, "text": text}}, TEXTS)
TOKENS = st.sampled_from(
    [
        *({**TOKEN, "special": value} for value in (True, True, True, None, 1)),
        *({**TOKEN, "id": value} for value in (2**70, 1.0, True, None, "1")),
        *({**TOKEN, "logprob": value} for value in (0, -0.0, None, True, 2**70, float("nan"), "0")),
        *({**TOKEN, "text": value} for value in (None, 1, ["a"])),
        {"text": "a"},
        {"id": 3},
        None,
    ]
)
CHOICE = {"index": 0, "text": "a", "logprobs": None, "finish_reason": None}
CHOICES = st.fixed_dictionaries(
    {"index": st.just(0), "text": TEXTS, "finish_reason": st.sampled_from(["", None])}
) | st.sampled_from(
    [
        {"text": "a"},
        *({**CHOICE, "index": value} for value in (1, None, "0")),
        *({**CHOICE, "text": value} for value in (None, 1, ["a"])),
        *({**CHOICE, "finish_reason": value} for value in ("stop", "error", 1)),
        *({**CHOICE, "logprobs": value} for value in ({"token_logprobs": [-1.0]}, {"content": []})),
        *({**CHOICE, "delta": value} for value in (None, {"content": "d"}, {})),
        *({**CHOICE, "message": value} for value in (None, {"content": "m"})),
        *({**CHOICE, "usage": value} for value in (None, {"prompt_tokens": 1})),
    ]
)
ODD = st.sampled_from(
    [
        *({"generated_text": value} for value in (None, "a", "ab", 1)),
        *(
            {"generated_text": "a", "details": value}
            for value in (None, {"generated_tokens": 2}, {"finish_reason": "length"})
        ),
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
)
STEPS = st.builds(lambda token: {"index": 1, "token": token}, TOKENS)
TEXT_CHUNKS = st.builds(lambda choice: {"object": "text_completion", "choices": [choice]}, CHOICES)
ODD_STEPS = st.builds(lambda step, odd: {**step, **odd}, STEPS | TEXT_CHUNKS | st.just({}), ODD)


class Thorough(GenerationReader):
    """Takes every object apart."""

    def take_plain(self, parts: Iterable[bytes], out: list[AnyEvent]) -> bytes | None:
        """Find none of them plain."""
        return next(iter(parts), None)


@st.composite
def streams(draw: Any) -> bytes:
    """Many events one line each, and some framed in other ways."""
    steps = draw(st.lists(PLAIN | PLAIN | TEXT_CHUNKS | PLAIN | STEPS | ODD_STEPS, max_size=8))
    if draw(st.booleans()):
        return b"".join(b"data:" + json.dumps(step).encode() + b"\n\n" for step in steps)
    return b"".join(written(draw, step) for step in steps)


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


@given(streams(), st.booleans(), st.booleans(), places)
@settings(deadline=None, max_examples=500)
def test_quick_and_thorough_agree(data: bytes, splits: bool, strips: bool, at: list[int]) -> None:
    """The quick way gives what the thorough one does, however the objects are framed and wherever they are cut."""
    options = {"splits_thoughts": splits, "strips": strips}
    events, error = decoded([data], Thorough, **options)
    for parts in ([data], *pieces(data, at)):
        again, again_error = decoded(parts, **options)
        assert (repr(again), again_error) == (repr(events), error)


@given(
    st.lists(st.dictionaries(NAMES, VALUES, max_size=4) | VALUES, max_size=5),
    st.booleans(),
    st.booleans(),
    st.integers(0, 200),
)
@settings(deadline=None, max_examples=200)
def test_anything(values: list[Any], splits: bool, strips: bool, cut: int) -> None:
    """Any objects give events that can be written as text, the same ones wherever the bytes are cut."""
    body = b"".join(b"data:" + json.dumps(value).encode() + b"\n\n" for value in values)
    options = {"splits_thoughts": splits, "strips": strips}
    events, error = decoded([body], **options)
    assert all(isinstance(event, Event) for event in events)
    as_json(events)
    cut_events, cut_error = decoded([body[:cut], body[cut:]], **options)
    assert repr(cut_events) == repr(events)
    assert cut_error == error


@given(VALUES, st.binary(max_size=40))
@settings(deadline=None, max_examples=100)
def test_documents(value: Any, rest: bytes) -> None:
    """A document instead of a stream, whole or broken, gives events and at most one error."""
    for body in (json.dumps(value).encode(), json.dumps([value]).encode() + rest, rest):
        events, _ = decoded([body])
        as_json(events)


@given(st.text(max_size=20), st.text(max_size=20), st.booleans())
@settings(deadline=None)
def test_text_is_kept(first: str, second: str, special: bool) -> None:
    """The text of all tokens is what the server generated, whatever characters are in it."""
    whole = first + ("" if special else second)
    steps = [
        {"token": {"id": 1, "text": first, "logprob": -1.0, "special": False}},
        {"token": {"id": 2, "text": second, "special": special}, "generated_text": whole},
    ]
    body = b"".join(b"data:" + json.dumps(step).encode() + b"\n\n" for step in steps)
    events, error = decoded([body])
    assert error is None
    assert "".join(getattr(event, "text", "") for event in events) == whole
