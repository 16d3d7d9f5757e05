"""The content of a prompt: a string, or a list of messages with role and content."""

from __future__ import annotations

import base64
import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from hfclient.chat.conversations.prompts import Prompt, parse_prompt
from hfclient.chat.files.uploads import RemoteFile
from hfclient.errors import InvalidInputError
from hfclient.files.sources import open_source
from hfclient.types import Message


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_a_string() -> None:
    """A string is the user's text, unchanged, with leading spaces and line ends."""
    assert parse_prompt("  Hi\r\n") == Prompt("  Hi\r\n")
    assert parse_prompt("Hi").as_one_message() == "Hi"


def test_a_single_message() -> None:
    """A list of one message is equal to the string."""
    assert parse_prompt([user("Hi")]) == parse_prompt((user("Hi"),)) == Prompt("Hi")
    assert parse_prompt([MappingProxyType(user("Hi"))]) == Prompt("Hi")


def test_system_messages() -> None:
    """System and developer messages are joined, at any position; empty ones are ignored."""
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
    """Text parts are joined, including those that are plain strings."""
    assert parse_prompt([user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, "c"])]).text == "abc"


def test_folding() -> None:
    """For a new conversation, the earlier turns are included in order, and the question comes last."""
    folded = parse_prompt([user("one"), {"role": "assistant", "content": "two"}, user("three")]).as_one_message()
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
    [user(["x", {"type": "image_url", "image_url": {"url": "/etc/passwd"}}])],
    "half \ud83d",
    [user("half \ud83d")],
    [user("half \ud83d"), user("x")],
    [{"role": "system", "content": "half \ud83d"}, user("x")],
]


@pytest.mark.parametrize("prompt", BAD, ids=ascii)
def test_invalid_prompts(prompt: Any) -> None:
    """Anything else is refused with a message that names the problem."""
    with pytest.raises(InvalidInputError) as caught:
        parse_prompt(prompt)
    assert len(caught.value.message) > 10


PNG = b"\x89PNG\r\n\x1a\n"
AS_URL = "data:image/png;base64,iVBORw0KGgo="


def test_a_history_of_gradio() -> None:
    """Gradio's additional keys are removed if they are empty."""
    beside = {"metadata": {"title": None}, "options": []}
    history = [{"role": role, "content": role, **beside} for role in ("user", "assistant", "user")]
    assert parse_prompt(history) == parse_prompt([{"role": one["role"], "content": one["content"]} for one in history])


@pytest.mark.parametrize("key", ["image", "images", "file", "files", "audio"])
def test_files_under_keys(key: str) -> None:
    """A message may have files under keys or as parts: objects, data URLs and plain base64."""
    for value in (PNG, Path("a.png"), ("a.png", PNG), AS_URL, RemoteFile("https://h/a.png")):
        assert parse_prompt([{**user("Hi"), key: value}]) == Prompt("Hi", files=(value,))
        assert parse_prompt([{**user("Hi"), key: [value, value]}]).files == (value, value)
        assert parse_prompt([user(["Hi", value])]).files == (() if isinstance(value, str) else (value,))  # a text
    packed = base64.b64encode(PNG + b"\0" * 20).decode()
    assert parse_prompt([{**user("Hi"), key: packed}]).files == (PNG + b"\0" * 20,)
    assert parse_prompt([{**user("Hi"), key: None}]).files == ()


def test_parts_of_chat_completions() -> None:
    """Parts of chat completions are files here."""
    for part in (
        {"type": "image_url", "image_url": {"url": AS_URL}},
        {"type": "image_url", "image_url": AS_URL},
        {"type": "image", "image": AS_URL},
        {"type": "image", "base64": AS_URL.partition(",")[2]},
        {"type": "image", "source": {"type": "base64", "data": AS_URL.partition(",")[2]}},
        {"type": "file", "file": {"filename": "a.png", "file_data": AS_URL}},
        {"type": "file", "file": {"filename": "a.png", "file_data": PNG}},
    ):
        (file,) = parse_prompt([user(["Hi", part])]).files
        assert open_source(file, 100).read() == PNG
        assert open_source(file, 100).name == ("a.png" if part["type"] == "file" else "")


def test_files_of_earlier_turns() -> None:
    """Files of earlier turns are separate from those of the question: only a new conversation gets them."""
    prompt = parse_prompt([{**user("one"), "image": PNG}, {"role": "assistant", "content": "two"}, {**user("three"), "file": AS_URL}])
    assert (prompt.earlier_files, prompt.files) == ((PNG,), (AS_URL,))


@pytest.mark.parametrize(
    "source", ["/etc/passwd", "file:///etc/passwd", "C:\\a.png", "~/a.png", "a.png", "https://h/a.png", "http://169.254.169.254/"]
)
@pytest.mark.parametrize(
    "build",
    [
        lambda source: {"image": source},
        lambda source: {"files": [source]},
        lambda source: {"content": ["x", {"type": "image_url", "image_url": {"url": source}}]},
        lambda source: {"content": ["x", {"type": "image", "path": source}]},
        lambda source: {"content": ["x", {"type": "file", "file": source}]},
        lambda source: {"content": ["x", {"type": "file", "file": {"filename": "a", "file_data": source}}]},
        lambda source: {"content": ["x", {"type": "image", "source": {"type": "url", "url": source}}]},
        lambda source: {"images": [{"type": "image_url", "image_url": source}]},
    ],
)
def test_messages_open_nothing(build: Any, source: str) -> None:
    """A message may come from a browser: a string in it opens no file of this machine and fetches nothing."""
    with pytest.raises(InvalidInputError, match=r"is not a URL|is not fetched"):
        parse_prompt([{"role": "user", "content": "x", **build(source)}])


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "user", "contents": "hi"}, "'contents'.*'content'"),
        ({"rol": "user", "content": "hi"}, "'rol'.*'role'"),
        ({"role": "User", "content": "hi"}, "'User'.*'user'"),
        ({"role": "user", "content": "hi", "attachments": []}, "'attachments'.*'files'"),
        ({"role": "user", "content": "hi", "custom": 1}, "'custom'"),
        ({"role": "user", "image": PNG}, "needs a text"),
        ({"role": "system", "content": "hi", "image": PNG}, "only user messages"),
        ({"role": "user", "content": "hi", "files": [{"name": "a", "mime": "", "sha": "b"}]}, "neither text nor an image"),
    ],
)
def test_unknown_keys(message: dict[str, Any], words: str) -> None:
    """An unknown key or role is refused; the error names the known one that it resembles."""
    with pytest.raises(InvalidInputError, match=words):
        parse_prompt([message])


def test_messages_of_conversations_and_answers() -> None:
    """Further fields of answers and stored messages are ignored."""
    stored = Message("1", "user", "Hi", created_at=datetime.datetime.now(datetime.timezone.utc)).to_dict()
    said = {"role": "assistant", "content": "Hello", "reasoning_content": "hm", "refusal": None, "audio": {"id": "x"}, "annotations": [], "tool_calls": []}
    assert parse_prompt([stored, said, user("Bye")]).earlier == (("user", "Hi"), ("assistant", "Hello"))
