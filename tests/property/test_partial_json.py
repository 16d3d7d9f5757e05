"""Incomplete JSON: at any cut the value is a start of the final value, and nothing raises."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfclient.inference.schemas.partial_json import NOTHING, PartialJSON

SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)
CONTAINERS = st.lists(VALUES, max_size=4) | st.dictionaries(st.text(), VALUES, max_size=4)


_settings = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def is_start(part: Any, whole: Any) -> bool:
    """Return whether *part* can be the value of an incomplete *whole*."""
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(
            is_start(one, other) if number == len(part) - 1 else one == other
            for number, (one, other) in enumerate(zip(part, whole, strict=False))
        )
    if isinstance(part, dict) and isinstance(whole, dict):
        return list(part) == list(whole)[: len(part)] and all(is_start(part[key], whole[key]) for key in part)
    return type(part) is type(whole) and part == whole


def is_hollow(value: Any) -> bool:
    """Return whether *value* has only opening brackets and the content of an open string."""
    return isinstance(value, str) or (isinstance(value, list) and len(value) < 2 and all(map(is_hollow, value))) or value == {}


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(places)]


@_settings
@given(CONTAINERS, st.booleans(), st.sampled_from([None, 1]), st.lists(st.integers(0, 2000), max_size=12))
def test_certain_at_any_cut(value: Any, ascii_only: bool, indent: int | None, cuts: list[int]) -> None:
    """Each intermediate value is a start of the next one and of the final value."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    partial = PartialJSON()
    before: Any = NOTHING
    for piece in pieces_of(text, cuts):
        partial.feed(piece)
        now = partial.value()
        assert before is NOTHING or is_start(before, now)
        assert now is NOTHING or is_start(now, value)
        before = now
    assert before == value
    assert partial.complete
    assert partial.size == len(text)


@_settings
@given(CONTAINERS, st.lists(st.integers(0, 2000), max_size=12))
def test_chunks_do_not_matter(value: Any, cuts: list[int]) -> None:
    """The value after a number of characters does not depend on the chunks, or on earlier calls of `value`."""
    text = "Here [sic] it is: " + json.dumps(value)
    for end in (len(text) // 2, len(text)):
        whole, cut = PartialJSON(), PartialJSON()
        whole.feed(text[:end])
        for piece in pieces_of(text[:end], cuts):
            cut.feed(piece)
            cut.value()
        assert cut.value() == whole.value() or cut.value() is whole.value()


@_settings
@given(st.text(alphabet='{}[]",:\\ud83e0129.-tfnNaI \n`x', max_size=80), st.lists(st.integers(0, 100), max_size=6))
def test_any_text(text: str, cuts: list[int]) -> None:
    """No text raises, and an intermediate value is never taken back, except an empty one."""
    partial = PartialJSON()
    before: Any = NOTHING
    for piece in pieces_of(text, cuts):
        partial.feed(piece)
        now = partial.value()
        assert before is NOTHING or is_hollow(before) or is_start(before, now)
        before = now
    if partial.complete:
        json.dumps(before)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", NOTHING),
        ("no JSON", NOTHING),
        ("{", {}),
        ('{"a"', {}),
        ('{"a": ', {}),
        ('{"a": "', {"a": ""}),
        ('{"a": "x\\', {"a": "x"}),
        ('{"a": "x\\u00e', {"a": "x"}),
        ('{"a": "x\\ud83d', {"a": "x"}),
        ('{"a": "x\\ud83d\\ude', {"a": "x"}),
        ('{"a": "x\\ud83d\\ude00', {"a": "x😀"}),
        ('{"a": 1', {}),
        ('{"a": 1,', {"a": 1}),
        ('{"a": tru', {}),
        ('{"a": true}', {"a": True}),
        ("[1, 2", [1]),
        ("[[1, [2, {", [[1, [2, {}]]]),
        ('[1}{"a": 2}', [1]),
        ("{'a': 1}", NOTHING),
        ("{'a': 1} {\"a\": 1}", {"a": 1}),
        ('see [here]: {"a": 1}', {"a": 1}),
        ('{"a": 1.2.3, "b"', {}),
        ('{"a": 1, "b": 1.2.3, "c"', {"a": 1}),
        ('{"a": "x\\q", "c"', {"a": "x"}),
        ('{"a": 1, "b": "x\\u00zz", "c"', {"a": 1, "b": "x"}),
        ('{"a\\q": 1', NOTHING),
        ('{"a": 1} {"b": 2}', {"a": 1}),
        ("[1] trailing", [1]),
    ],
)
def test_examples(text: str, expected: Any) -> None:
    """Strings are certain as far as they have arrived; keys, numbers and words when they are complete."""
    for cut in range(len(text) + 1):
        partial = PartialJSON()
        partial.feed(text[:cut])
        partial.feed(text[cut:])
        assert partial.value() == expected or partial.value() is expected
