"""Whatever bytes come instead of generated text: the decoder ends them with events and at most one error of ours."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hfclient.errors import HFClientError
from hfclient.events import AnyEvent, Event, to_dict
from hfclient.inference.completions.chunks import ChunkDecoder
from hfclient.inference.text.generation_events import GenerationReader

LEAVES = st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=5) | st.just("\ud83d")
NAMES = st.sampled_from(
    "token text id logprob special generated_text details finish_reason tokens top_tokens generated_tokens input_length "
    "prefill error error_type choices logprobs token_logprobs index".split()
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)


def decoded(pieces: list[bytes], **options: Any) -> tuple[list[AnyEvent], str | None]:
    """Return the events, and the error's class."""
    decoder = ChunkDecoder(reader=GenerationReader(**options))
    events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.finish()
    try:
        decoder.check_end()
    except HFClientError as error:
        return events, type(error).__name__
    return events, None


def written(events: list[AnyEvent]) -> bytes:
    """Return the events as JSON in UTF-8, which lone surrogates cannot be written in."""
    return json.dumps([to_dict(event) for event in events], ensure_ascii=False).encode()


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
    written(events)
    cut_events, cut_error = decoded([body[:cut], body[cut:]], **options)
    assert repr(cut_events) == repr(events)
    assert cut_error == error


@given(VALUES, st.binary(max_size=40))
@settings(deadline=None, max_examples=100)
def test_documents(value: Any, rest: bytes) -> None:
    """A document instead of a stream, whole or broken, gives events and at most one error."""
    for body in (json.dumps(value).encode(), json.dumps([value]).encode() + rest, rest):
        events, _ = decoded([body])
        written(events)


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
