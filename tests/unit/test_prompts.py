"""What a prompt says: a string, or a list of role/content messages."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from hfclient.chat.conversations.prompts import Prompt, parse_prompt
from hfclient.errors import InvalidInputError


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_a_string() -> None:
    """A string is what the user says, as it is: leading spaces, line ends and all."""
    assert parse_prompt("  Hi\r\n") == Prompt("  Hi\r\n")
    assert parse_prompt("Hi").folded() == "Hi"


def test_a_single_message() -> None:
    """A list of one says the same as the string."""
    assert parse_prompt([user("Hi")]) == parse_prompt((user("Hi"),)) == Prompt("Hi")
    assert parse_prompt([MappingProxyType(user("Hi"))]) == Prompt("Hi")


def test_system_messages() -> None:
    """System and developer messages are joined, wherever they stand; empty ones are none."""
    prompt = parse_prompt(
        [
            {"role": "system", "content": "A"},
            user("Hi"),
            {"role": "assistant", "content": "Hello"},
            {"role": "developer", "content": "B"},
            {"role": "system", "content": ""},
            user("Bye"),
        ]
    )
    assert prompt == Prompt("Bye", "A\n\nB", (("user", "Hi"), ("assistant", "Hello")))
    assert parse_prompt([{"role": "system", "content": ""}, user("Hi")]).system is None


def test_parts() -> None:
    """Text parts are joined."""
    assert parse_prompt([user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])]).text == "ab"


def test_folding() -> None:
    """For a new conversation the earlier turns are told in order, and the question comes last."""
    folded = parse_prompt([user("one"), {"role": "assistant", "content": "two"}, user("three")]).folded()
    assert folded.split("\n\n") == ["This conversation goes on. So far:", "User: one", "Assistant: two", "User: three"]


BAD = [
    "",
    " \t\n",
    [],
    (),
    {},
    {"role": "user", "content": "x"},
    None,
    5,
    b"bytes",
    ["x"],
    [None],
    [user("")],
    [user([])],
    [user(None)],
    [user(5)],
    [user(b"x")],
    [{"role": "user"}],
    [{"content": "x"}],
    [{"role": "tool", "content": "x"}],
    [{"role": ["user"], "content": "x"}],
    [{"role": "system", "content": "x"}],
    [user("x"), {"role": "assistant", "content": "y"}],
    [user([{"type": "image_url", "image_url": {"url": "https://x"}}])],
    [user([{"type": "text"}])],
    [user(["x"])],
    "half \ud83d",
    [user("half \ud83d")],
    [user("half \ud83d"), user("x")],
    [{"role": "system", "content": "half \ud83d"}, user("x")],
]


@pytest.mark.parametrize("prompt", BAD, ids=ascii)
def test_what_is_no_prompt(prompt: Any) -> None:
    """All else is refused, with a sentence that says what is wrong."""
    with pytest.raises(InvalidInputError) as caught:
        parse_prompt(prompt)
    assert len(caught.value.message) > 10
