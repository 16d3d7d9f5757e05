"""Downloads and exports: safe names, complete files or none, and exports that continue."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.errors import (
    ConnectError,
    HFClientError,
    InvalidInputError,
    NotFoundError,
    ProtocolError,
    TransportTimeout,
)
from hfclient.events import File
from hfclient.files.saving import free_path, safe_name, write_file
from hfclient.transport import Timeouts
from hfclient.types import StoredFile
from tests.chat.recordings import recording
from tests.chat.replay import Chat, ChatUI
from tests.server import PATIENCE, RST, UNTIL_GONE, chunk, head, json_answer, plain

SHA = "569f9f52" * 8
ID = f"{1:024x}"
EVIL = [
    "../../x",
    "..\\..\\x",
    "/etc/passwd",
    "C:\\x",
    ".bashrc",
    "..",
    "",
    "a/../../b",
    "x\0y",
    "con",
    "NUL.txt",
    "a\u202egnp.exe",
    "\n",
]


@pytest.fixture(autouse=True)
def _says_hello(ui: ChatUI) -> None:
    ui.says(recording("plain"))


def file_at(ui: ChatUI, *scripts: Any, sha: str = SHA, id: str = ID) -> None:
    ui.on(f"/conversation/{id}/output/{sha}", *scripts)


def inside(folder: Path) -> list[str]:
    """Everything below *folder*, and a check that nothing was written beside it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# Names


@pytest.mark.parametrize("name", EVIL, ids=ascii)
def test_safe_names(name: str) -> None:
    """No name from a server is a path, a hidden file, or has another suffix than it shows."""
    safe = safe_name(name)
    assert Path(safe).name == safe
    assert not safe.startswith(".")
    assert safe.isprintable()
    assert safe.partition(".")[0].lower() not in ("con", "nul", "")


def test_long_names() -> None:
    """They are cut by bytes, between characters, and keep their suffix."""
    safe = safe_name("ż" * 500 + ".png")
    assert len(safe.encode()) <= 120
    assert safe.endswith("ż.png")


def test_free_names(tmp_path: Path) -> None:
    """The next free name has a number."""
    for expected in ("a.txt", "a-2.txt", "a-3.txt"):
        path = free_path(tmp_path, "a.txt")
        assert path.name == expected
        path.touch()


# Writing


def test_writing(tmp_path: Path) -> None:
    """A file appears when it is complete, with the usual permissions; folders are created."""
    path = write_file(tmp_path / "a" / "b.txt", [b"x", b"y"])
    assert path.read_bytes() == b"xy"
    assert inside(tmp_path) == [os.path.join("a", "b.txt")]
    if sys.platform != "win32":
        mask = os.umask(0)
        os.umask(mask)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
        assert stat.S_IMODE(write_file(tmp_path / "c", [b""], mode=0o600).stat().st_mode) == 0o600


def test_existing_files_stay(tmp_path: Path) -> None:
    """Nothing is replaced without *overwrite*, and nothing is lost when writing fails."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(InvalidInputError, match="exists already"):
        write_file(path, [b"new"])

    def breaks() -> Any:
        yield b"new"
        raise TransportTimeout("late", deadline="idle")

    with pytest.raises(TransportTimeout):  # which is an OSError, too, but not of the disk
        write_file(path, breaks(), overwrite=True)
    assert path.read_bytes() == b"old"
    assert inside(tmp_path) == ["a"]
    assert write_file(path, [b"new"], overwrite=True).read_bytes() == b"new"


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    """An error of this package names the path."""
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="cannot write"):
        write_file(tmp_path / "file" / "x", [b""])


# Downloads


@pytest.mark.parametrize("file", [SHA, File("cat.png", SHA, "image/png"), StoredFile("cat.png", "image/png", SHA)])
def test_downloads(ui: ChatUI, any_client: Client, tmp_path: Path, file: Any) -> None:
    """A file is read into memory, or saved under a name, or into a folder under its own name."""
    file_at(ui, plain(b"\x89PNG", 200, "Content-Type: image/png"))
    any_client.conversations.list()
    conversation = any_client.conversation(ID)
    assert conversation.read_file(file) == b"\x89PNG"
    assert conversation.download(file, tmp_path / "a.png") == tmp_path / "a.png"
    names = [Path(str(conversation.download(file, tmp_path))).name for _ in range(2)]
    assert names == ([SHA[:16], SHA[:16] + "-2"] if isinstance(file, str) else ["cat.png", "cat-2.png"])
    with pytest.raises(InvalidInputError, match="exists already"):
        conversation.download(file, tmp_path / "a.png")
    conversation.download(file, tmp_path / "a.png", overwrite=True)
    assert len({request.headers["cookie"] for request in ui.requests}) == 1


def test_progress_of_downloads(ui: ChatUI, any_client: Client, tmp_path: Path) -> None:
    """Bytes are counted as they come; the total is the server's, if it is not that of a compressed body."""
    conversation = any_client.conversation(ID)
    content = bytes(200_000)
    for name, headers, total in (("a", (), len(content)), ("b", ("Content-Encoding: identity",), None)):
        file_at(ui, plain(content, 200, *headers))
        for call in (
            lambda report, name=name: conversation.download(SHA, tmp_path / name, progress=report),
            lambda report: conversation.read_file(SHA, progress=report),
        ):
            calls: list[tuple[float, float | None, str]] = []
            call(lambda *args, calls=calls: calls.append(args))
            assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)
            assert calls[-1] == (len(content), total, "")
    file_at(ui, [head(200, f"Content-Length: {len(content)}"), content[:99_000], RST], plain(content))
    calls = []
    conversation.read_file(SHA, progress=lambda *args: calls.append(args))
    assert calls[-1][0] == len(content)
    with pytest.raises(InvalidInputError, match="progress is True"):
        conversation.read_file(SHA, progress="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", ["send", "edit"])
def test_progress_of_uploads(ui: ChatUI, any_client: Client, verb: str) -> None:
    """The files of a message are counted as the transport takes them."""
    ui.says(recording("plain"))
    conversation = any_client.conversation()
    files = [("a.txt", b"x" * 150_000), ("b.txt", b"y" * 10)]
    calls: list[tuple[float, float | None, str]] = []
    conversation.ask("hi", files=files, progress=lambda *args: calls.append(args))
    if verb == "edit":
        ui.says(recording("plain"))
        calls.clear()
        conversation.edit("ho", files=files, progress=lambda *args: calls.append(args)).result()
    assert {total for _, total, _ in calls} == {150_010}
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)
    assert calls[-1][0] == 150_010
    calls.clear()
    ui.says(recording("plain"))
    conversation.ask("hi", progress=lambda *args: calls.append(args))
    assert calls == []


@pytest.mark.parametrize("name", EVIL, ids=ascii)
def test_downloads_stay_in_their_folder(ui: ChatUI, client: Client, tmp_path: Path, name: str) -> None:
    """Names from the server never lead out of the folder."""
    file_at(ui, plain(b"x"))
    folder = tmp_path / "in"
    folder.mkdir()
    path = client.conversation(ID).download(File(name, SHA, "text/plain"), folder)
    assert isinstance(path, Path)
    assert path.parent == folder
    assert len(inside(tmp_path)) == 1


@pytest.mark.parametrize("sha", ["", "../../x", "a/b", "a?b", "é/"])
def test_invalid_ids_of_files(ui: ChatUI, client: Client, sha: str) -> None:
    """A text that is not an id never becomes a path."""
    with pytest.raises(InvalidInputError):
        client.conversation(ID).read_file(sha)
    assert ui.connections == 0


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (json_answer({"message": "File not found"}, 404), NotFoundError),
        ([head(200, "Content-Length: 9"), b"half", RST], HFClientError),
        ([head(200, "Transfer-Encoding: chunked"), chunk(b"half"), UNTIL_GONE], TransportTimeout),
    ],
    ids=["missing", "broken", "silent"],
)
def test_downloads_that_fail(
    ui: ChatUI, any_client: Client, tmp_path: Path, script: Any, error: type[Exception]
) -> None:
    """An incomplete file is deleted."""
    file_at(ui, script)
    timeouts = Timeouts(idle=0.2 if error is TransportTimeout else PATIENCE)
    with pytest.raises(error):
        any_client.conversation(ID).download(SHA, tmp_path / "x", timeouts=timeouts)
    assert inside(tmp_path) == []


def test_downloads_that_break_off(ui: ChatUI, any_client: Client, tmp_path: Path) -> None:
    """A file is requested again when its connection breaks, repeatedly, and no bytes come twice."""
    content = bytes(range(256)) * 40
    cut = [[head(200, f"Content-Length: {len(content)}"), content[:at], RST] for at in (10, 3000, 7000)]
    file_at(ui, *cut, plain(content))
    assert any_client.conversation(ID).download(SHA, tmp_path / "x").read_bytes() == content
    file_at(ui, cut[1], cut[0], cut[0], plain(content))
    with pytest.raises(ConnectError):  # without anything new
        any_client.conversation(ID).download(SHA, tmp_path / "y")
    file_at(ui, cut[1], plain(content[:100]))
    with pytest.raises(ProtocolError, match="shorter"):
        any_client.conversation(ID).download(SHA, tmp_path / "y")
    assert inside(tmp_path) == ["x"]


def test_a_path_that_cannot_be_written(ui: ChatUI, any_client: Client, tmp_path: Path) -> None:
    """The connection is free at once, although the body was not read, and not only when the error is deleted."""
    file_at(ui, [head(200, "Content-Length: 9"), b"half", UNTIL_GONE])
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidInputError, match="cannot write") as caught:
        any_client.conversation(ID).download(SHA, tmp_path / "file" / "x")
    assert ui.client_gone.wait(PATIENCE), caught


# Exports


def stored(ui: ChatUI, number: int = 1, title: str = "A title", **answer: Any) -> Chat:
    chat_id = f"{number:024x}"
    messages: list[dict[str, Any]] = [
        {"id": "r", "from": "system", "content": "Be terse.", "ancestors": [], "children": ["u"]},
        {"id": "u", "from": "user", "content": "Hi", "ancestors": ["r"], "children": ["a"], "createdAt": "2026-11-21T03:22:12.262Z",
         "files": [{"type": "hash", "name": "../cat.png", "value": SHA, "mime": "image/png"}]},
        {"id": "a", "from": "assistant", "content": "<think>hm</think>Hello", "ancestors": ["r", "u"], "children": [], **answer},
    ]  # fmt: skip
    ui.chats[chat_id] = Chat(chat_id, "org/first", messages, title=title)
    file_at(ui, plain(b"\x89PNG"), id=chat_id)
    return ui.chats[chat_id]


def test_markdown(ui: ChatUI, client: Client, tmp_path: Path) -> None:
    """Markdown has the active branch, with its files beside it."""
    stored(ui, interrupted=True)
    path = client.conversation(ID).export(tmp_path / "chat.md")
    text = path.read_text("utf-8")
    assert text.startswith("# A title\n")
    for part in (
        "Be terse.",
        "## User · 2026-11-21 03:22 UTC",
        "\n\nHi\n",
        "\n\nHello\n",
        "<summary>Reasoning</summary>\n\nhm",
        "*(interrupted)*",
    ):
        assert part in text
    link = text.partition("](<")[2].partition(">)")[0]
    assert (tmp_path / link).read_bytes() == b"\x89PNG"
    assert len(inside(tmp_path)) == 2


def test_json(ui: ChatUI, client: Client, tmp_path: Path) -> None:
    """JSON has all branches and every field."""
    stored(ui)
    path = client.conversation(ID).export(tmp_path, format="json", files=False)
    data = json.loads(path.read_text("utf-8"))
    assert (data["version"], data["title"], data["system_prompt"]) == (1, "A title", "")
    assert [message["content"] for message in data["messages"]] == ["Be terse.", "Hi", "Hello"]
    assert data["messages"][2]["raw"]["content"] == "<think>hm</think>Hello"
    assert inside(tmp_path) == [path.name]


@pytest.mark.parametrize("title", EVIL, ids=ascii)
def test_titles_do_not_become_paths(ui: ChatUI, client: Client, tmp_path: Path, title: str) -> None:
    """Titles and other names from a server do not become paths."""
    folder = tmp_path / "in"
    folder.mkdir()
    stored(ui, title=title)
    path = client.conversation(ID).export(folder)
    (entry,) = client.conversations.export(folder / "all", progress=False)
    assert (path.parent, entry.parent) == (folder, folder / "all")
    assert all(name.startswith("in" + os.sep) for name in inside(tmp_path))


def test_export_of_all(ui: ChatUI, any_client: Client, tmp_path: Path) -> None:
    """Each conversation once; unchanged ones are not fetched again; an interrupted export continues; renamed ones move."""
    for number in (1, 2, 3):
        stored(ui, number, f"No. {number}")
    ui.fault("read", None, json_answer({"message": "An error occurred"}, 501))
    with pytest.raises(HFClientError):
        any_client.conversations.export(tmp_path)
    assert ui.count("read") == 2
    calls: list[tuple[int, int, str]] = []
    paths = any_client.conversations.export(tmp_path, progress=lambda *args: calls.append(args))
    assert ui.count("read") == 4
    assert calls == [(0, 3, "No. 1"), (1, 3, "No. 2"), (2, 3, "No. 3"), (3, 3, "")]
    assert [path.read_text("utf-8")[:9] for path in paths] == ["# No. 1\n\n", "# No. 2\n\n", "# No. 3\n\n"]
    assert any_client.conversations.export(tmp_path) == paths
    assert ui.count("read") == 4
    (tmp_path / paths[0].name).unlink()
    any_client.conversations.export(tmp_path)
    assert ui.count("read") == 5


def test_an_index_that_leads_elsewhere(ui: ChatUI, client: Client, tmp_path: Path) -> None:
    """Nothing outside the folder is deleted, whatever the index contains."""
    outside = tmp_path / "precious.md"
    outside.write_text("x")
    folder = tmp_path / "in"
    folder.mkdir()
    stored(ui)
    entry = {"file": "../precious.md", "stamp": "old", "kind": "md+files", "title": "t"}
    (folder / "index.json").write_text(json.dumps({ID: entry}))
    client.conversations.export(folder, progress=False)
    assert outside.read_text() == "x"
    (folder / "index.json").write_text("nonsense")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        client.conversations.export(folder, progress=False)


@pytest.mark.parametrize(("path", "format"), [("a.md", "json"), ("a.json", "md"), ("a", "pdf")])
def test_invalid_formats(ui: ChatUI, client: Client, tmp_path: Path, path: str, format: Any) -> None:
    """The suffix and the format must agree, and be one of the two."""
    stored(ui)
    with pytest.raises(InvalidInputError):
        client.conversation(ID).export(tmp_path / path, format=format)
    assert inside(tmp_path) == []


def test_missing_files_do_not_stop_an_export(ui: ChatUI, client: Client, tmp_path: Path) -> None:
    """Imported shares refer to files that they do not contain."""
    stored(ui)
    file_at(ui, json_answer({"message": "File not found"}, 404))
    assert "(../cat.png, not saved)" in client.conversation(ID).export(tmp_path / "x.md").read_text("utf-8")
