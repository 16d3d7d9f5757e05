"""Any updates in any chunks: the same events, only hfclient errors, and the server's count of text."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfclient.chat.wire.update_events import parse_update
from hfclient.chat.wire.updates import UpdateDecoder
from hfclient.decoding.think_tags import split_thinking
from hfclient.decoding.utf16 import repair_surrogates, utf16_length
from hfclient.events import AnyEvent, Reasoning, Token, from_dict, to_dict
from tests.chat.recordings import RECORDINGS
from tests.unit.test_updates import UPDATES, read

_settings = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

# Parts with a meaning in one of the layers, alone and in combination.
_text = st.one_of(
    st.text(max_size=5),
    st.sampled_from(
        ["<think>", "</think>", "<", "th", "ink>", "\ud83d", "\ude00", "\0\0", "a\u2028b", "é\0", "\n", "", "x" * 20]
    ),
)
_scalar = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 600), st.integers(), st.floats(), st.sampled_from([1e300, 404.0]), _text
)
_json = st.recursive(
    _scalar,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_text, inner, max_size=3)),
    max_leaves=6,
)
_TYPES = (
    "status title stream reasoning finalAnswer tool file routerMetadata elicitation webSearch error agent new".split()
)
_SUBTYPES = "stream status call result error eta progress request resolved update sources finished new".split()
_fields: dict[str, st.SearchStrategy[Any]] = {
    name: st.one_of(_text, _json)
    for name in (
        "token status message statusCode title text interrupted webSources uuid eta progress total result call request "
        "expiresAt toolUuid elicitationId action resolution content name sha mime route model provider sources args len new "
        "argumentsRaw originalId"
    ).split()
}
_inner = st.fixed_dictionaries(
    {},
    optional={
        name: st.one_of(_text, _json)
        for name in "name parameters toolId status outputs display message elicitationId server mode fields url call".split()
    },
)
_update = st.one_of(
    st.fixed_dictionaries({"type": st.just("stream"), "token": _text}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(_TYPES)},
        optional={
            "subtype": st.one_of(st.sampled_from(_SUBTYPES), _scalar),
            **_fields,
            "call": st.one_of(_inner, _json),
            "result": st.one_of(_inner, _json),
            "request": st.one_of(_inner, _json),
        },
    ),
    st.sampled_from([json.loads(line) for line, _ in UPDATES]),
    _json,
)
_cuts = st.lists(st.integers(0, 10_000), max_size=8)


def _encode(update: Any, ascii_only: bool) -> bytes:
    # Without spaces, as the server writes: only then the quick ways see them.
    text = json.dumps(update, ensure_ascii=ascii_only, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


@_settings
@given(st.lists(st.tuples(_update, st.booleans()), max_size=8), _cuts)
def test_any_updates_in_any_chunks(updates: list[tuple[Any, bool]], cuts: list[int]) -> None:
    """Events do not depend on the chunks, nor on the code path: a line, a block of tokens, any lines."""
    lines = [_encode(update, ascii_only) for update, ascii_only in updates]
    data = b"".join(lines)
    whole, ended = read([data])
    for pieces in (_cut(data, cuts), lines):
        events, again = read(pieces)
        assert repr(events) == repr(whole)  # as text: NaN does not equal itself
        assert repr(again) == repr(ended)


@_settings
@given(st.sampled_from(RECORDINGS), _cuts)
def test_recordings_in_any_chunks(item: Any, cuts: list[int]) -> None:
    """The same holds for recordings of real servers."""
    whole, ended = read([item.stream])
    events, again = read(_cut(item.stream, cuts))
    assert (events, repr(again)) == (whole, repr(ended))


@_settings
@given(st.sampled_from(RECORDINGS), st.integers(0, 10_000))
def test_recordings_cut_anywhere(item: Any, cut: int) -> None:
    """The text of an interrupted answer is a start of the whole text, except what may begin a tag."""
    whole, _ = read([item.stream])
    decoder = UpdateDecoder()
    events = decoder.feed(item.stream[: cut % len(item.stream)])
    assert events == whole[: len(events)]


@_settings
@given(st.lists(st.binary(max_size=30), max_size=5))
def test_any_bytes(pieces: list[bytes]) -> None:
    """Any bytes raise only hfclient errors (`read` allows no others)."""
    read(pieces)


@_settings
@given(
    st.lists(st.one_of(st.binary(max_size=8), _update.map(lambda u: _encode(u, False)), st.just(b"\n")), max_size=8),
    _cuts,
)
def test_garbage_between_updates(pieces: list[bytes], cuts: list[int]) -> None:
    """Garbage between valid lines ends the stream at the same position for any chunks."""
    data = b"".join(pieces)
    whole, ended = read([data])
    events, again = read(_cut(data, cuts))
    assert (repr(events), repr(again)) == (repr(whole), repr(ended))


@_settings
@given(st.lists(_text, max_size=8), st.booleans(), _cuts)
def test_text_is_that_of_the_tokens(tokens: list[str], ascii_only: bool, cuts: list[int]) -> None:
    """Tokens and reasoning together are the tokens' text without padding, split at the tags, with all characters complete."""
    lines = [_encode({"type": "stream", "token": token}, ascii_only) for token in tokens]
    for pieces in (_cut(b"".join(lines), cuts), lines):
        decoder = UpdateDecoder()
        events = [event for piece in pieces for event in decoder.feed(piece)] + decoder.finish()
        text = "".join(token.replace("\0", "") for token in tokens)
        assert decoder.text_units == utf16_length("".join(t.replace("\0", "") for t in tokens))
        answer = "".join(event.text for event in events if isinstance(event, Token))
        thoughts = "".join(event.text for event in events if isinstance(event, Reasoning))
        assert (answer, thoughts) == split_thinking(repair_surrogates(text))


@_settings
@given(_update)
def test_parsing_never_raises(update: Any) -> None:
    """Any JSON value has an event, which converts to a dict and back."""
    event: AnyEvent = parse_update(update)
    again = from_dict(json.loads(json.dumps(to_dict(event))))
    assert again == event or repr((again, again.extra)) == repr((event, event.extra))  # NaN does not equal itself
