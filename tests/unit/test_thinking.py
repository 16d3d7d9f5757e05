"""Reasoning inside tags, in one text or in pieces."""

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
def test_whole_and_in_pieces(text: str, answer: str, thoughts: str) -> None:
    """Cut anywhere, a text is split the same."""
    assert split_thinking(text) == (answer, thoughts)
    for size in range(1, 9):
        splitter = ThinkSplitter()
        pieces = [found for start in range(0, len(text), size) for found in splitter.feed(text[start : start + size])]
        pieces += splitter.finish()
        assert "".join(piece for inside, piece in pieces if not inside) == answer
        assert "".join(piece for inside, piece in pieces if inside) == thoughts


def test_nothing_waits_that_cannot_be_a_tag() -> None:
    """Only the start of a tag is held back, and no longer than it may become one."""
    splitter = ThinkSplitter()
    assert splitter.feed("1 <") == [(False, "1 ")]
    assert splitter.held == "<"
    assert splitter.feed(" 2") == [(False, "< 2")]
    assert splitter.feed("<thi") == []
    assert splitter.feed("s") == [(False, "<this")]
    assert splitter.finish() == []


def test_finish_gives_back() -> None:
    """What looked like a tag at the end was none; afterwards the splitter is as new, inside or not."""
    splitter = ThinkSplitter()
    splitter.feed("<think>hm</th")
    assert splitter.finish() == [(True, "</th")]
    assert (splitter.inside, splitter.held) == (True, "")
