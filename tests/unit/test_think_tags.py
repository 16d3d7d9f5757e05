"""Reasoning inside tags, in one text or in chunks."""

from __future__ import annotations

import pytest

from hfclient.decoding.think_tags import ThinkSplitter, split_thinking


@pytest.mark.parametrize(
    ("text", "answer", "thoughts"),
    [
        ("", "", ""),
        ("42", "42", ""),
        ("<think>6 x 7</think>42", "42", "6 x 7"),
        ("a<think>b</think>c<think>d</think>e", "ace", "bd"),
        ("<think>never closed", "", "never closed"),
        ("<think></think>x", "x", ""),
        ("a < b and </think> alone", "a < b and </think> alone", ""),
        ("<think>a <think> b</think>c", "c", "a <think> b"),
        ("<THINK>no</THINK>", "<THINK>no</THINK>", ""),
        ("<think >no</think>", "<think >no</think>", ""),
        ("<<think>a</think>", "<", "a"),
        ("<th", "<th", ""),
        ("<think>a</thin", "", "a</thin"),
        ("<think>☃\n\n</think>\n\n4", "\n\n4", "☃\n\n"),
    ],
)
def test_whole_and_in_chunks(text: str, answer: str, thoughts: str) -> None:
    """For any chunks, a text is split the same."""
    assert split_thinking(text) == (answer, thoughts)
    for size in range(1, 9):
        splitter = ThinkSplitter()
        pieces = [found for start in range(0, len(text), size) for found in splitter.feed(text[start : start + size])]
        pieces += splitter.finish()
        assert "".join(piece for inside, piece in pieces if not inside) == answer
        assert "".join(piece for inside, piece in pieces if inside) == thoughts


def test_only_a_possible_tag_waits() -> None:
    """Only the start of a tag is held back, and only as long as it may become one."""
    splitter = ThinkSplitter()
    assert splitter.feed("1 <") == [(False, "1 ")]
    assert splitter.held == "<"
    assert splitter.feed(" 2") == [(False, "< 2")]
    assert splitter.feed("<thi") == []
    assert splitter.feed("s") == [(False, "<this")]
    assert splitter.finish() == []


def test_finish_gives_back() -> None:
    """An incomplete tag at the end is text; afterwards the splitter is in its initial state."""
    splitter = ThinkSplitter()
    splitter.feed("<think>hm</th")
    assert splitter.finish() == [(True, "</th")]
    assert (splitter.inside, splitter.held) == (True, "")
