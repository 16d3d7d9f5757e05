"""`Reply.save`: Markdown, plain text and JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hfclient import InvalidInputError, events
from hfclient.types import Reply

REPLY = Reply(
    "The sky is **blue**.\n\n```python\nprint(1)\n```",
    reasoning="Rayleigh.\n",
    title="The sky",
    tool_calls=(events.ToolCall("1", "search", {"q": "sky"}), events.ToolCall("2", "weather")),
    tool_results=(events.ToolResult("1", "success", [{"text": "```\nfound\n```"}]),),
    tool_errors=(events.ToolError("2", "offline"),),
    sources=(events.Source("https://a.example/x y", "A [page]"), events.Source("https://b.example")),
    files=(events.File("../plot`.png", "abc", "image/png"),),
)


def test_markdown(tmp_path: Path) -> None:
    """Markdown has the text unchanged, with reasoning, tool calls, sources and names of files around it."""
    path = REPLY.save(tmp_path / "new" / "a.md")
    text = path.read_text("utf-8")
    assert path == tmp_path / "new" / "a.md"
    for part in (
        "<details><summary>Reasoning</summary>\n\nRayleigh.\n\n</details>",
        '**Tool** `search`\n\n```json\n{"q": "sky"}\n```\n\n````\n```\nfound\n```\n````',
        "**Tool** `weather`\n\n```\nfailed: offline\n```",
        f"\n\n{REPLY.text}\n\n",
        "**Sources**\n\n1. [A \\[page\\]](<https://a.example/xy>)\n2. [https://b.example](<https://b.example>)",
        "**Files**\n\n- ``../plot`.png`` (image/png)\n",
    ):
        assert part in text


def test_plain_answers(tmp_path: Path) -> None:
    """An answer without anything else is saved as its text, with one newline at the end."""
    for name in ("a", "b.txt", "c.md", "d.MD"):
        assert Reply("Hi\r\n\u2028é").save(tmp_path / name).read_bytes() == "Hi\r\n\u2028é\n".encode()
    assert sorted(os.listdir(tmp_path)) == ["a.md", "b.txt", "c.md", "d.MD"]
    assert Reply("Hi", interrupted=True).save(tmp_path / "e").read_text() == "Hi\n\n*(interrupted)*\n"
    assert REPLY.save(tmp_path / "f.txt").read_text("utf-8") == REPLY.text + "\n"
    assert Reply("lone \ud800").save(tmp_path / "g").read_bytes() == b"lone ?\n"


def test_json(tmp_path: Path) -> None:
    """JSON has every field, and becomes the same reply again."""
    path = REPLY.save(tmp_path / "a.json")
    assert Reply.from_dict(json.loads(path.read_text("utf-8"))) == REPLY


def test_existing_files_stay(tmp_path: Path) -> None:
    """Nothing is replaced without *overwrite*."""
    path = Reply("old").save(tmp_path / "a.md")
    with pytest.raises(InvalidInputError, match="overwrite=True"):
        Reply("new").save(path)
    assert path.read_text() == "old\n"
    Reply("new").save(str(path), overwrite=True)
    assert path.read_text() == "new\n"


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        (REPLY, "The sky.md"),
        (Reply("../../etc/passwd. Then"), "etc_passwd Then.md"),
        (Reply(""), "reply.md"),
        (Reply("x" * 5000), "x" * 60 + ".md"),
    ],
)
def test_folders(tmp_path: Path, reply: Reply, name: str) -> None:
    """In a folder the file is named for the answer, and a second one gets a number."""
    assert [reply.save(f"{tmp_path}{os.sep}new{os.sep}") for _ in range(2)] == [
        tmp_path / "new" / name,
        tmp_path / "new" / f"{name[:-3]}-2.md",
    ]
    assert reply.save(tmp_path / "new", overwrite=True).name == name


@pytest.mark.parametrize("name", ["a.py", "a.html", "a.pdf", "v1.5"])
def test_other_endings(tmp_path: Path, name: str) -> None:
    """An ending that would promise another content is refused."""
    with pytest.raises(InvalidInputError, match=r"\.md, \.txt or \.json"):
        REPLY.save(tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "link", ["https://x/>)<script>", "https://x/\n\n# heading", "https://x/](evil)"]
)
def test_hostile_sources(tmp_path: Path, link: str) -> None:
    """An address from a server stays inside its link."""
    reply = Reply("x", sources=(events.Source(link, "]( \n\n<script>`"),), files=(events.File("a\n\n# b", "s", "x<script>/y"),))
    line = reply.save(tmp_path / "a").read_text().split("\n")[4]
    assert line.startswith("1. [\\](")
    assert line.endswith(">)")
    assert line.count("<") - line.count("\\<") == 1


def test_links_that_run(tmp_path: Path) -> None:
    """An address that is not of the web is not a link."""
    text = Reply("x", sources=(events.Source("javascript:alert(1)", "t"),)).save(tmp_path / "a").read_text()
    assert text.endswith("1. t: `javascript:alert(1)`\n")


def test_values_that_json_lacks(tmp_path: Path) -> None:
    """A field that JSON lacks is written as text."""
    extra: dict[str, Any] = {"when": REPLY.title}
    assert json.loads(Reply("a", extra=extra).save(tmp_path / "a.json").read_text())["extra"] == extra
