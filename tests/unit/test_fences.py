"""Fenced code in answers: `Reply.code_blocks`, and the scanner below it."""

from __future__ import annotations

import time

import pytest

from hfclient.decoding.fences import Fence, split_fences
from hfclient.types import CodeBlock, Message, Reply

CASES = {
    "backticks": ("a\n```python\nx = 1\n```\nb", [("python", "x = 1")]),
    "tildes": ("~~~sh\nls\n~~~", [("sh", "ls")]),
    "without a language": ("```\nx\n```", [("", "x")]),
    "empty": ("```\n```", [("", "")]),
    "empty lines": ("```py\n\nx\n\n\n```", [("py", "\nx\n\n")]),
    "several": ("```a\n1\n```\ntext\n\n~~~b\n2\n~~~\n", [("a", "1"), ("b", "2")]),
    "adjacent": ("```a\n1\n```\n```b\n2\n```", [("a", "1"), ("b", "2")]),
    "a longer fence holds shorter ones": ("````markdown\n```python\nx\n```\n````", [("markdown", "```python\nx\n```")]),
    "the other character is text": ("~~~\n```\n~~~", [("", "```")]),
    "a longer end": ("```\nx\n`````\ny", [("", "x")]),
    "a shorter end is code": ("````\nx\n```\n````", [("", "x\n```")]),
    "a fence with words does not end": ("```\n```python\n```", [("", "```python")]),
    "in a list": ("1. First:\n\n   ```python\n   if x:\n       y\n   ```\n2. Then", [("python", "if x:\n    y")]),
    "in a nested list": ("- a\n  - b\n\n        ```sh\n        ls\n        ```\n", [("sh", "ls")]),
    "behind a marker": ("- ```sh\n  ls\n  ```\n- b", [("sh", "ls")]),
    "code that is not indented": ("1. a\n   ```python\nx = 1\n   ```\nb", [("python", "x = 1")]),
    "in a quote": ("> Look:\n> ```js\n>   x()\n>\n> ```\n> end", [("js", "  x()\n")]),
    "in two quotes": ("> > ```\n> > x\n> > ```", [("", "x")]),
    "a quote that ends": ("> ```js\n> x()\nthen\n```py\ny\n```", [("js", "x()"), ("py", "y")]),
    "in a quote in a list": ("- > ```js\n  > x()\n  > ```", [("js", "x()")]),
    "a list in a quote": ("> - ```js\n>   x()\n>   ```", [("js", "x()")]),
    "tabs": ("\t```make\n\tall:\n\t\tcc\n\t```", [("make", "all:\n\tcc")]),
    "CRLF": ("a\r\n```py\r\nx\r\ny\r\n```\r\n", [("py", "x\ny")]),
    "other ends of lines in code": ("```\na\u2028b\x0cc\n```", [("", "a\u2028b\x0cc")]),
    "spaces behind the end": ("```\nx\n```  \t\ny", [("", "x")]),
    "a title": ('```python title="x.py"\nx\n```', [("python", "x")]),
    "attributes": ("``` {.python .numberLines}\nx\n```", [("python", "x")]),
    "braces": ("```{python}\nx\n```", [("python", "x")]),
    "a file": ("```python:main.py\nx\n```", [("python", "x")]),
    "options": ("```rust,ignore\nx\n```", [("rust", "x")]),
    "signs": ("```C++\nx\n```\n```c#\ny\n```\n```objective-c\nz\n```", [("c++", "x"), ("c#", "y"), ("objective-c", "z")]),
    "hostile words": ('```"><script>\nx\n```', [("", "x")]),
    "inline code": ("Type ```x``` or ``` y ``` here.\n```not ` a fence\n", []),
    "two backticks": ("``\nx\n``", []),
    "behind words": ("see ```python\nx\n```", [("", "")]),
    "nothing": ("", []),
    "plain": ("a\nb", []),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_blocks(text: str, expected: list[tuple[str, str]]) -> None:
    """Each block has its language and its code; an answer and a message agree."""
    blocks = Reply(text).code_blocks()
    assert [(block.language, block.code) for block in blocks] == expected
    assert Message("m", "assistant", text).code_blocks() == blocks


@pytest.mark.parametrize("ends", ["", "\n", "\r\n"])
def test_interrupted(ends: str) -> None:
    """The last block of an answer that was stopped is there, and says that it is not complete."""
    text = f"```a\n1\n```\n\n```python\nfor x in y:\n    pri{ends}"
    assert Reply(text, interrupted=True).code_blocks() == [
        CodeBlock("a", "1"),
        CodeBlock("python", "for x in y:\n    pri", closed=False),
    ]
    assert Reply("```py").code_blocks() == [CodeBlock("py", "", closed=False)]


def test_text_between() -> None:
    """The scanner yields the text between blocks with its line ends as newlines, and the lines of the blocks."""
    fence = Fence("", "x", True, False, "```\nx\n```\n")
    assert list(split_fences("a\r\nb\r\n\r\n```\r\nx\r\n```\r\nc\r\n")) == ["a\nb\n\n", fence, "c\n"]
    assert list(split_fences("a\rb")) == ["a\nb"]
    assert list(split_fences("- ```\n  x\n  ```")) == [Fence("", "x", True, True, "- ```\n  x\n  ```\n")]


@pytest.mark.parametrize("text", [text for text, _ in CASES.values()])
def test_nothing_is_lost(text: str) -> None:
    """The parts together are the text again."""
    parts = "".join(part if isinstance(part, str) else part.source for part in split_fences(text))
    assert parts.rstrip("\n") == text.replace("\r\n", "\n").rstrip("\n")


def test_a_block_is_its_code() -> None:
    """A block prints as its code."""
    assert str(Reply("```\nx = 1\n```").code_blocks()[0]) == "x = 1"


@pytest.mark.parametrize(
    "text",
    [
        "`" * 1_000_000,
        "```\n" * 100_000,
        "> " * 200_000 + "```\n" + "> x\n" * 100_000,
        ("> " * 500 + "```\n") * 1_000,
        "- " * 300_000 + "```\nx\n```",
        " " * 500_000 + "```\n" + " \n" * 200_000,
        "```\n" + "\t" * 300_000 + "```\n",
        "```" + " " * 500_000 + "x\n```",
        "```" + "{" * 500_000 + "\n",
        "~~~`" * 200_000,
        "```\n" + "``` x\n" * 100_000,
    ],
    ids=range(11),
)
def test_time_is_linear(text: str) -> None:
    """An answer made to be slow takes time in proportion to its length."""
    start = time.process_time()
    sum(1 for _ in split_fences(text))
    assert time.process_time() - start < 5
