"""Exports with branches, notebooks, and exports of what has changed."""

from __future__ import annotations

import base64
import datetime
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.chat.files.formats import notebook as notebook_format
from hfclient.chat.files.formats.branches import Exported
from hfclient.chat.files.formats.markdown import as_markdown
from hfclient.chat.wire.messages import parse_conversation
from hfclient.errors import InvalidInputError
from hfclient.redaction.markdown import safe_markdown
from tests.chat.replay import Chat, ChatUI
from tests.inference.test_media import PNG
from tests.server import json_answer, plain

ID = f"{1:024x}"
PICTURE, TEXT, LOST = "a" * 64, "b" * 64, "c" * 64
CODE = "Run this:\n\n```python\nprint(1)\n```\n\nIn a list:\n\n- ```python\n  x\n  ```\n\n```sh\nls\n```\n\n~~~py\ny = 2\n~~~\nDone."


def message(id: str, role: str, content: str, *ancestors: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "from": role, "content": content, "ancestors": list(ancestors), "children": [], **more}


@pytest.fixture
def chat(ui: ChatUI) -> Chat:
    """A conversation with two answers to one question, an edited question, and files."""
    files = [
        {"type": "hash", "name": "../c]a\nt.png", "value": PICTURE, "mime": "image/png"},
        {"type": "hash", "name": "notes <b>.txt", "value": TEXT, "mime": "text/plain"},
        {"type": "hash", "name": "lost.png", "value": LOST, "mime": "image/png"},
    ]
    messages = [
        message("r", "system", ""),
        message("u1", "user", "First question", "r", createdAt="2026-11-21T03:22:12.262Z", files=files),
        message("a1", "assistant", "<think>hm <b></think>Old answer", "r", "u1"),
        message("a2", "assistant", CODE, "r", "u1"),
        message("u2", "user", "Edited question", "r"),
        message("a3", "assistant", "Third answer", "r", "u2"),
        message("u3", "user", "More\n```python\nmine()\n```", "r", "u1", "a2"),
        message("a4", "assistant", "Last answer\n\n```python\nhalf", "r", "u1", "a2", "u3", interrupted=True),
    ]
    for entry in messages:
        entry["children"] = [other["id"] for other in messages if other["ancestors"][-1:] == [entry["id"]]]
    ui.chats[ID] = Chat(ID, "org/first", messages, title="A *title* <script>")
    for sha, script in ((PICTURE, plain(PNG)), (TEXT, plain(b"hello")), (LOST, json_answer({"message": "File not found"}, 404))):
        ui.on(f"/conversation/{ID}/output/{sha}", script)
    return ui.chats[ID]


def notebook(client: Client, path: Path, **options: Any) -> dict[str, Any]:
    """Export as a notebook, check it, and return it."""
    nbformat = pytest.importorskip("nbformat")
    saved = client.conversation(ID).export(path, **options)
    nbformat.validate(nbformat.read(saved, as_version=4), relax_add_props=False)
    data: dict[str, Any] = json.loads(saved.read_text("utf-8"))
    return data


def text(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


# Branches


def test_branches_in_markdown(chat: Chat, client: Client, tmp_path: Path) -> None:
    """The active branch comes first, then what each other branch adds, once."""
    exported = client.conversation(ID).export(tmp_path / "a.md").read_text("utf-8")
    places = [exported.index(part) for part in ("First question", "Run this", "More", "Last answer", "## Branch 2", "Old answer", "## Branch 3", "Edited question", "Third answer")]
    assert places == sorted(places)
    assert exported.count("First question") == 2  # the second time as the place where a branch begins
    assert "## Branch 2\n\nContinues after: `First question`\n\n## Assistant\n" in exported
    assert "## Branch 3\n\n## User\n" in exported
    alone = client.conversation(ID).export(tmp_path / "b.md", branches="active").read_text("utf-8")
    assert exported.startswith(alone.rstrip("\n").replace("b_files", "a_files"))
    assert "Old answer" not in alone


def test_a_chosen_branch_is_active(chat: Chat, client: Client, tmp_path: Path) -> None:
    """The branch that the caller has chosen comes first."""
    conversation = client.conversation(ID)
    conversation.choose_branch("a3")
    exported = conversation.export(tmp_path / "a.md").read_text("utf-8")
    places = [exported.index(part) for part in ("Edited question", "Third answer", "## Branch 2", "First question", "Old answer", "## Branch 3", "Run this")]
    assert places == sorted(places)


def test_branches_in_json(chat: Chat, client: Client, tmp_path: Path) -> None:
    """JSON has all messages, or those of one branch."""
    for branches, ids in (("all", "r u1 a1 a2 u2 a3 u3 a4"), ("active", "u1 a2 u3 a4")):
        path = client.conversation(ID).export(tmp_path / f"{branches}.json", branches=branches)  # type: ignore[arg-type]
        assert [entry["id"] for entry in json.loads(path.read_text("utf-8"))["messages"]] == ids.split()


def test_a_tree_with_a_cycle(chat: Chat, client: Client, tmp_path: Path) -> None:
    """A hostile tree ends."""
    chat.messages[1]["ancestors"] = ["a4"]
    for kind in ("md", "json", "ipynb"):
        assert client.conversation(ID).export(tmp_path, format=kind).exists()  # type: ignore[arg-type]


@pytest.mark.parametrize("write", [as_markdown, notebook_format.as_notebook], ids=["md", "ipynb"])
def test_many_branches(write: Any) -> None:
    """A conversation with thousands of branches takes time in proportion to its messages."""
    messages = [message("m", "system", "")]
    for number in range(10_000):
        messages.append(message(f"m{number}", "user", f"m{number}", f"m{number - 1}" if number else "m"))
        messages.append(message(f"b{number}", "assistant", f"b{number}", f"m{number}"))
    state = parse_conversation({"id": ID, "title": "t", "model": "m", "messages": messages})
    start = time.process_time()
    text = write(Exported(state, {}, {}, None, "all"))
    assert time.process_time() - start < 10
    assert text.count("## Branch") == 9_999


@pytest.mark.parametrize("branches", ["one", None, True])
def test_wrong_branches(chat: Chat, client: Client, tmp_path: Path, branches: Any) -> None:
    """Another value is refused."""
    with pytest.raises(InvalidInputError, match="branches is"):
        client.conversation(ID).export(tmp_path / "a.md", branches=branches)
    with pytest.raises(InvalidInputError, match="branches is"):
        client.conversations.export(tmp_path, branches=branches)


# Notebooks


def test_notebook(chat: Chat, client: Client, tmp_path: Path) -> None:
    """A notebook has prompts and answers as Markdown, Python of answers as code without outputs, and the branches."""
    data = notebook(client, tmp_path / "chat.ipynb")
    cells = data["cells"]
    assert [(cell["cell_type"], text(cell).split("\n")[0]) for cell in cells] == [
        ("markdown", "# A *title* &lt;script>"),
        ("markdown", "### User · 2026-11-21 03:22 UTC"),
        ("markdown", "### Assistant"),
        ("code", "print(1)"),
        ("markdown", "In a list:"),
        ("code", "y = 2"),
        ("markdown", "Done."),
        ("markdown", "### User"),
        ("markdown", "### Assistant"),
        ("markdown", "---"),
        ("markdown", "### Assistant"),
        ("markdown", "---"),
        ("markdown", "### User"),
        ("markdown", "### Assistant"),
    ]
    assert "ls" in text(cells[4])  # other languages stay in the text
    assert "half" in text(cells[8])  # code that was cut is not a cell
    assert text(cells[8]).endswith("*(interrupted)*")
    assert "mine()" in text(cells[7])  # the user's own code, too
    assert text(cells[9]) == "---\n\n## Branch 2\n\nContinues after: <code>First question</code>"
    assert "<details><summary>Reasoning</summary>\n\nhm &lt;b>\n\n</details>\n\nOld answer" in text(cells[10])
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")
    assert data["metadata"]["kernelspec"]["name"] == "python3"
    assert data["metadata"]["hfclient"] == {"conversation_id": ID, "model": "org/first", "title": "A *title* <script>"}
    assert cells[1]["metadata"]["hfclient"] == {"message_id": "u1", "role": "user", "created_at": "2026-11-21T03:22:12.262000+00:00"}
    assert len(notebook(client, tmp_path / "b.ipynb", branches="active")["cells"]) == 9


def test_files_in_a_notebook(chat: Chat, client: Client, tmp_path: Path) -> None:
    """Images are attachments of their cell, all files are links into the folder, and a missing file is named."""
    cell = notebook(client, tmp_path / "chat.ipynb")["cells"][1]
    (name,) = cell["attachments"]
    assert base64.b64decode(cell["attachments"][name]["image/png"]) == PNG
    assert f"![image](attachment:{name})" in text(cell)
    links = re.findall(r"\]\(<([^>]*)>\)", text(cell))
    assert [Path(link).parent.name for link in links] == ["chat_files"] * 2
    for link in links:
        from urllib.parse import unquote

        assert (tmp_path / unquote(link)).is_file()
    assert "<code>lost&#46;png</code>: not saved" in text(cell)
    assert "<b>" not in text(cell)
    alone = notebook(client, tmp_path / "alone.ipynb", files=False)["cells"][1]
    assert "attachments" not in alone
    assert not (tmp_path / "alone_files").exists()


def test_large_and_false_pictures(chat: Chat, client: Client, ui: ChatUI, tmp_path: Path) -> None:
    """An image of several megabytes, and what only claims to be one, are links alone."""
    for content in (PNG + bytes(5_000_000), b"<svg onload='alert(1)'/>", b"<html>", b""):
        ui.on(f"/conversation/{ID}/output/{PICTURE}", plain(content))
        cell = notebook(client, tmp_path / "x.ipynb", overwrite=True)["cells"][1]
        assert "attachments" not in cell
        assert "x_files/" in text(cell)


def test_many_pictures(chat: Chat, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook holds a limited number of bytes of images; the others are links."""
    monkeypatch.setattr(notebook_format, "MAX_PICTURES", 2 * len(PNG))
    for entry in chat.messages:
        entry["files"] = chat.messages[1]["files"]
    cells = notebook(client, tmp_path / "x.ipynb")["cells"]
    assert sum("attachments" in cell for cell in cells) == 2
    assert sum("x_files/" in text(cell) for cell in cells) == 7


def test_two_exports_are_equal(chat: Chat, client: Client, tmp_path: Path) -> None:
    """The ids of cells depend on the messages alone, and a longer conversation keeps those that were there."""
    first = notebook(client, tmp_path / "a.ipynb")
    assert (tmp_path / "a.ipynb").read_bytes() == client.conversation(ID).export(tmp_path / "a.ipynb", overwrite=True).read_bytes()
    chat.messages.append(message("u5", "user", "Next", "r", "u1", "a2", "u3", "a4"))
    chat.messages[-2]["children"] = ["u5"]
    ids = [cell["id"] for cell in notebook(client, tmp_path / "a.ipynb", overwrite=True)["cells"]]
    assert set(ids) > {cell["id"] for cell in first["cells"]}
    assert len(set(ids)) == len(ids)


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://evil.example/track.png)",
    "[x](javascript:alert(1))",
    "</details><iframe src='http://evil.example'>",
    "<style>body{display:none}</style>",
    "[a]: javascript:alert(1)\n\n[a]",
    "````\n```python\nimport os\n```\n````",
    "> ```python\n> import os\n> ```",
    "```python\n",
    "\x1b[2J\u202e\0",
    "$\\href{javascript:alert(1)}{x}$",
]


@pytest.mark.parametrize("evil", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts(chat: Chat, client: Client, tmp_path: Path, evil: str) -> None:
    """Texts, reasoning, titles, names and models of a server become neither HTML, nor remote images, nor unsafe links."""
    for entry in chat.messages[1:]:
        entry["content"] = evil
        entry["reasoning"] = evil
    chat.messages[1]["files"][0]["name"] = chat.messages[1]["files"][2]["name"] = evil
    chat.title = chat.model = evil
    cells = notebook(client, tmp_path / "x.ipynb")["cells"]
    assert {cell["cell_type"] for cell in cells} == {"markdown"}
    ours = re.compile(r"</?(?:code|details|summary|pre|span)\b[^<>]*>|<x_files/[^<>\s]*>|!\[image\]\(attachment:\w+\.png\)")
    for cell in cells:
        rest = ours.sub("", text(cell))
        assert not re.search(r"<[a-zA-Z/!?]|!\[|\]\((?!https?://|#|\))", rest.replace(safe_markdown(evil).strip("\n"), "")), rest
        assert "\x1b" not in rest
        assert "\u202e" not in rest


def test_languages(chat: Chat, client: Client, tmp_path: Path) -> None:
    """Only complete Python code at the margin of an answer becomes a cell."""
    for block, kind in (
        ("```python\nx\n```", "code"),
        ("```Py title='a'\nx\n```", "code"),
        ("~~~python3\nx\n~~~", "code"),
        ("```\nx\n```", "markdown"),
        ("```pycon\n>>> x\n```", "markdown"),
        ("```pythonic\nx\n```", "markdown"),
        ("    ```python\n    x\n    ```", "markdown"),
        ("```python\n\n```", "markdown"),
        ("```python\nx", "markdown"),
    ):
        chat.messages[-1]["content"] = block
        cells = notebook(client, tmp_path / "x.ipynb", overwrite=True, branches="active", files=False)["cells"]
        assert any(cell["metadata"]["hfclient"]["message_id"] == "a4" and cell["cell_type"] == "code" for cell in cells[1:]) is (kind == "code"), block


def test_export_of_all_as_notebooks(chat: Chat, client: Client, tmp_path: Path) -> None:
    """A folder of notebooks is continued like one of Markdown; another choice of branches is another export."""
    (path,) = client.conversations.export(tmp_path, format="ipynb", progress=False)
    assert path.suffix == ".ipynb"
    path.write_text("mine")
    client.conversations.export(tmp_path, format="ipynb")
    assert path.read_text() == "mine"
    client.conversations.export(tmp_path, format="ipynb", branches="active")
    assert path.read_text() != "mine"


# since


@pytest.fixture
def three(ui: ChatUI) -> None:
    """Conversations of three days."""
    for number, day in ((3, 23), (2, 22), (1, 21)):
        chat_id = f"{number:024x}"
        ui.chats[chat_id] = Chat(chat_id, "org/first", [message("r", "system", "")], title=f"Day {day}")
        ui.chats[chat_id].updated_at = f"2026-11-{day}T12:00:00.000Z"


@pytest.mark.parametrize(
    ("since", "count"),
    [
        (None, 3),
        ("2026-11-22T12:00:00Z", 2),
        ("2026-11-22T12:00:01+00:00", 1),
        ("2026-11-22T13:30:00+02:00", 2),
        ("2026-11-22", 2),
        (datetime.date(2026, 11, 23), 1),
        (datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.timezone.utc), 2),
        (datetime.datetime(2026, 11, 24), 0),
        (datetime.date(9000, 1, 1), 0),
    ],
)
def test_since(three: None, client: Client, tmp_path: Path, since: Any, count: int) -> None:
    """Only conversations that have changed since a moment are exported; the moment itself counts."""
    assert len(client.conversations.export(tmp_path, since=since)) == count


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs tzset")
def test_since_without_a_zone(three: None, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment without a zone is local time."""
    try:
        for zone, count in (("UTC-3", 2), ("UTC+3", 1)):  # noon in UTC is 15:00 and 9:00
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert len(client.conversations.export(tmp_path, since="2026-11-22T11:00")) == count
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("since", ["yesterday", "", "2026-13-01", 7, datetime.timedelta(1)])
def test_wrong_dates(three: None, client: Client, tmp_path: Path, since: Any) -> None:
    """What is not a date is refused."""
    with pytest.raises(InvalidInputError, match="since is a date"):
        client.conversations.export(tmp_path, since=since)
