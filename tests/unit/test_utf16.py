"""Text in UTF-16 units, and surrogate pairs in two chunks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfclient.decoding.utf16 import SurrogateJoiner, repair_all, repair_surrogates, skip_utf16, utf16_length

any_text = st.text(st.one_of(st.characters(), st.sampled_from("\ud83d\ude00\ud800\udfff")), max_size=12)


def units(text: str) -> list[bytes]:
    data = text.encode("utf-16-le", "surrogatepass")
    return [data[i : i + 2] for i in range(0, len(data), 2)]


@given(any_text)
def test_length(text: str) -> None:
    """Characters beyond the basic plane count two, lone surrogates one."""
    assert utf16_length(text) == len(units(text))


@given(any_text, st.integers(0, 30))
def test_skip(text: str, count: int) -> None:
    """Skipping counts units, and may end within a character."""
    assert units(skip_utf16(text, count)) == units(text)[count:]


@given(any_text)
def test_repaired_text_can_be_encoded(text: str) -> None:
    """Surrogate pairs are joined, lone surrogates are replaced, and other text stays."""
    repaired = repair_surrogates(text)
    repaired.encode()
    assert repaired == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") or text.startswith("\ufeff")
    assert repair_surrogates(repaired) == repaired


@given(st.lists(any_text, max_size=6))
def test_joining_chunks_is_repairing_the_whole(pieces: list[str]) -> None:
    """For any chunks, the results together are the repaired text."""
    joiner = SurrogateJoiner()
    out = [joiner.feed(piece) for piece in pieces]
    for piece in out:
        piece.encode()
    assert "".join(out) + joiner.finish() == repair_surrogates("".join(pieces))


@pytest.mark.parametrize("cut", range(5))
def test_a_cut_between_units(cut: int) -> None:
    """A text that is cut at any unit is complete again afterwards."""
    text = "a\U0001f600b"
    data = text.encode("utf-16-le")
    joiner = SurrogateJoiner()
    halves = [part.decode("utf-16-le", "surrogatepass") for part in (data[: 2 * cut], data[2 * cut :])]
    assert "".join(map(joiner.feed, halves)) + joiner.finish() == text


def test_repair_all() -> None:
    """Strings are repaired at any position of a value, keys included; other values stay."""
    value = {"a\ud83d": ["\ude00", 1, None, True, {"b": "\ud83d\ude00"}], "c": 1.5}
    assert repair_all(value) == {"a\ufffd": ["\ufffd", 1, None, True, {"b": "\U0001f600"}], "c": 1.5}
