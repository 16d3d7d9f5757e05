"""``hfclient conversations``: every sub-command, in a pipe and on a terminal, with hostile titles and messages."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat.replay import Chat, ChatUI
from tests.cli.conftest import environment, start
from tests.cli.screens import on_screen
from tests.server import LONG, PATIENCE, json_answer, plain

EVIL = "\x1b]0;owned\x07\x1b[2Jred\u202edre\x9b31m\r\nnext\x00"


@pytest.fixture
def ui() -> Iterator[ChatUI]:
    """A chat-ui with two conversations, the first of which has two branches."""
    with ChatUI() as running:
        stored(running, "Rain in Spain", "Where does it rain?", "Mainly in the plain.")
        stored(running, "Recipes", "A soup?", "Take *onions*, then boil.")
        yield running


def stored(ui: ChatUI, title: str, question: str, *answers: str) -> str:
    """Store a conversation with one question and its answers, each a branch; returns its id."""
    root = {"id": str(uuid.uuid4()), "from": "system", "content": "", "ancestors": [], "children": []}
    chat = Chat(f"{len(ui.chats) + 0xA1:024x}", "org/first", [root], title)
    ui.chats[chat.id] = chat
    asked = ui._add(chat, root, {"from": "user", "content": question, "createdAt": "2026-11-01T10:00:00Z"})
    for answer in answers:
        ui._add(chat, asked, {"from": "assistant", "content": answer, "updates": []})
    return chat.id


def first(ui: ChatUI) -> str:
    return next(iter(ui.chats))


# list


def test_list_in_a_pipe(ui: ChatUI, command: Any) -> None:
    """One aligned line for each conversation, with whole titles; -n takes the newest ones and reads no more pages than that."""
    code, out, err = command("conversations", "list", "--url", ui.url)
    assert (code, err) == (0, "")
    lines = out.split("\n")
    assert lines[0].split() == ["ID", "TITLE", "CHANGED", "MODEL"]
    assert [line.split()[0] for line in lines[1:-1]] == list(ui.chats)
    assert lines[1].endswith("Rain in Spain  -        org/first")
    assert command("conversations", "list", "--url", ui.url, "-n", "1")[1].count("\n") == 2


def test_list_as_json(ui: ChatUI, command: Any) -> None:
    """One object per line."""
    _, out, _ = command("conversations", "list", "--url", ui.url, "--json")
    assert [json.loads(line) for line in out.split("\n")[:-1]] == [
        {"id": one, "title": chat.title, "model": "org/first"} for one, chat in ui.chats.items()
    ]


def test_an_empty_list(ui: ChatUI, command: Any) -> None:
    """Without conversations the head remains, and the exit code is 0."""
    ui.chats.clear()
    assert command("conversations", "list", "--url", ui.url) == (0, "ID  TITLE  CHANGED  MODEL\n", "")


@pytest.mark.parametrize("columns", [30, 60, 200])
def test_list_fits_the_terminal(ui: ChatUI, columns: int) -> None:
    """On a terminal no line is wider than it, the ids are whole, a long title ends with an ellipsis, and columns without space are left out."""
    ui.chats[first(ui)].title = "Rain " * 40
    shown = on_screen("conversations", "list", "--url", ui.url, columns=columns)
    assert shown.code == 0
    assert len(shown.lines) == 3, shown.text
    assert shown.lines[2].startswith(list(ui.chats)[1])
    assert "…" in shown.lines[1] or columns != 60
    assert b"\x1b[1m" in shown.raw  # the head is bold


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_list_without_colour(ui: ChatUI, env: dict[str, str]) -> None:
    """NO_COLOR and a dumb terminal get no escape sequence."""
    assert b"\x1b" not in on_screen("conversations", "list", "--url", ui.url, **env).raw


def test_hostile_titles(ui: ChatUI) -> None:
    """A title cannot send escape sequences or begin another line, on a terminal and in a pipe."""
    ui.chats[first(ui)].title = EVIL
    shown = on_screen("conversations", "list", "--url", ui.url, columns=100, NO_COLOR="1")
    assert b"\x1b" not in shown.raw
    assert "]0;owned[2Jreddre31m next" in shown.lines[1]
    process = start("conversations", "list", "--url", ui.url, env=environment())
    out, _ = process.communicate(timeout=LONG)
    assert b"\x1b" not in out
    assert out.count(b"\n") == 3


def test_a_locale_without_unicode(ui: ChatUI) -> None:
    """Characters that the locale does not have become question marks; nothing fails, and there is no ellipsis."""
    ui.chats[first(ui)].title = "Straße " * 30
    env = {"PYTHONIOENCODING": "ascii:replace", "LC_ALL": "C", "PYTHONUTF8": "0"}
    shown = on_screen("conversations", "list", "--url", ui.url, columns=60, **env)
    assert shown.code == 0
    assert "Stra?e" in shown.text
    assert shown.raw.isascii()


def test_list_keeps_what_came_before_an_error(ui: ChatUI, command: Any) -> None:
    """If the second page fails, the first one is printed, then the error."""
    for number in range(40):
        stored(ui, f"Chat {number}", "?")
    ui.fault("list", None, json_answer({"message": "no more"}, 403))
    code, out, err = command("conversations", "list", "--url", ui.url)
    assert (code, out.count("\n")) == (1, 31)
    assert err.startswith("hfclient: ")
    assert err.count("\n") == 1


# show


def test_show(ui: ChatUI, command: Any) -> None:
    """The newest branch, with the names of the roles; --json has the messages."""
    code, out, _ = command("conversations", "show", first(ui), "--url", ui.url)
    assert code == 0
    assert out.startswith("Rain in Spain (org/first)\n\nYou, 2026-11-01 ")
    assert out.endswith(":\nWhere does it rain?\n\nAssistant:\nMainly in the plain.\n")
    _, out, _ = command("conversations", "show", first(ui), "--url", ui.url, "--json")
    found = json.loads(out)
    assert (found["id"], found["title"], found["model"]) == (first(ui), "Rain in Spain", "org/first")
    assert [message["role"] for message in found["messages"]] == ["system", "user", "assistant"]


def test_show_branches(ui: ChatUI, command: Any) -> None:
    """--branches draws all of them, and prints all messages as JSON."""
    made = stored(ui, "Two", "Heads or tails?", "Heads.", "Tails.")
    _, out, _ = command("conversations", "show", made, "--url", ui.url)
    assert "Heads." not in out
    _, out, _ = command("conversations", "show", made, "--url", ui.url, "--branches")
    assert "Heads." in out
    assert "Tails." in out
    _, out, _ = command("conversations", "show", made, "--url", ui.url, "--branches", "--json")
    assert len(json.loads(out)["messages"]) == 4


def test_show_is_safe_on_a_terminal(ui: ChatUI) -> None:
    """A message cannot send escape sequences."""
    made = stored(ui, "Evil", "hi", EVIL)
    shown = on_screen("conversations", "show", made, "--url", ui.url, NO_COLOR="1")
    assert shown.code == 0
    assert not any(sequence in shown.raw for sequence in (b"\x1b]", b"\x1b[2J", b"\x07", "\x9b".encode(), "\u202e".encode()))
    assert "]0;owned[2Jreddre31m next" in shown.lines


def test_show_renders_markdown_on_a_terminal(ui: ChatUI) -> None:
    """An answer is shown as Markdown; in a pipe it stays as it is."""
    made = stored(ui, "Bold", "hi", "Take **onions**:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    shown = on_screen("conversations", "show", made, "--url", ui.url)
    assert "Take onions:" in shown.lines
    assert "**" not in shown.text


def test_a_conversation_that_does_not_exist(ui: ChatUI, command: Any) -> None:
    """One line, and exit code 1."""
    code, out, err = command("conversations", "show", "f" * 24, "--url", ui.url)
    assert (code, out, err.count("\n")) == (1, "", 1)


# search


def test_search_in_titles(ui: ChatUI, command: Any) -> None:
    """All words must be in the title; capitals do not matter; nothing is fetched but the list."""
    _, out, _ = command("conversations", "search", "SPAIN", "rain", "--url", ui.url)
    assert out.split() == [first(ui), "-", "Rain", "in", "Spain"]
    assert command("conversations", "search", "onions", "--url", ui.url) == (0, "", "")
    assert ui.count("read") == 0


def test_search_in_texts(ui: ChatUI, command: Any) -> None:
    """With --text the messages are searched, too; the words around the first one are shown."""
    _, out, _ = command("conversations", "search", "--text", "onions", "--url", ui.url)
    assert out.split("\n")[1] == "  Assistant: Take *onions*, then boil."
    _, out, _ = command("conversations", "search", "--text", "onions", "--url", ui.url, "--json")
    assert json.loads(out)["matches"] == [{"role": "assistant", "excerpt": "Take *onions*, then boil."}]


def test_search_leaves_out_what_cannot_be_read(ui: ChatUI, command: Any) -> None:
    """A conversation that the server does not return is named, and the search continues."""
    ui.fault("read", json_answer({"message": "gone"}, 404))
    code, out, err = command("conversations", "search", "--text", "onions", "--url", ui.url)
    assert code == 0
    assert "Recipes" in out
    assert f"{first(ui)} was left out" in err


def test_search_has_a_time_limit(ui: ChatUI, command: Any) -> None:
    """--timeout ends the whole search; what was found before is printed."""
    ui.fault("read", None, [PATIENCE])
    code, out, err = command("conversations", "search", "--text", "plain", "--url", ui.url, "--timeout", "1")
    assert code == 1
    assert "Rain in Spain" in out
    assert err.count("\n") == 1


def test_search_shows_progress_on_a_terminal(ui: ChatUI) -> None:
    """A line that counts, and that has gone at the end."""
    shown = on_screen("conversations", "search", "--text", "onions", "--url", ui.url)
    assert b"1 conversations searched" in shown.raw
    assert [line.split()[0] for line in shown.lines] == [list(ui.chats)[1], "Assistant:"]


# rename, delete, share


def test_rename(ui: ChatUI, command: Any) -> None:
    """The conversation gets the title; an empty one is refused before anything is sent."""
    assert command("conversations", "rename", first(ui), "Weather", "--url", ui.url)[0] == 0
    assert ui.chats[first(ui)].title == "Weather"
    code, _, err = command("conversations", "rename", first(ui), " ", "--url", ui.url)
    assert (code, err) == (2, "hfclient: a title has 1 to 100 characters\n")


def test_delete_in_a_pipe_needs_yes(ui: ChatUI, command: Any) -> None:
    """Without a terminal nothing is deleted without --yes."""
    ids = list(ui.chats)
    assert command("conversations", "delete", *ids, "--url", ui.url)[0] == 2
    assert len(ui.chats) == 2
    assert command("conversations", "delete", *ids, "--url", ui.url, "--yes") == (0, "".join(f"{one}\n" for one in ids), "")
    assert not ui.chats


def test_delete_continues_after_an_error(ui: ChatUI, command: Any) -> None:
    """One that does not exist is named; the others are deleted; the exit code is 1."""
    ids = list(ui.chats)
    code, out, err = command("conversations", "delete", ids[0], "f" * 24, ids[1], "--url", ui.url, "--yes")
    assert (code, out.split()) == (1, ids)
    assert err.startswith(f"hfclient: {'f' * 24}: ")
    assert not ui.chats


@pytest.mark.parametrize(("keys", "left"), [(b"y\n", 1), (b"n\n", 2), (b"\n", 2), (b"\x03", 2)])
def test_delete_asks_on_a_terminal(ui: ChatUI, keys: bytes, left: int) -> None:
    """The question names the title; only yes deletes; Ctrl-C deletes nothing."""
    shown = on_screen("conversations", "delete", first(ui), "--url", ui.url, keys=keys)
    assert 'Delete "Rain in Spain"? [y/N]' in shown.text
    assert len(ui.chats) == left
    assert shown.code == {b"y\n": 0, b"\x03": 130}.get(keys, 1)


def test_delete_all(ui: ChatUI, command: Any) -> None:
    """--all deletes all, and does not go together with ids."""
    assert command("conversations", "delete", "--all", first(ui), "--yes", "--url", ui.url)[0] == 2
    assert command("conversations", "delete", "--yes", "--url", ui.url)[0] == 2
    assert command("conversations", "delete", "--all", "--yes", "--url", ui.url)[2] == "Deleted 2 conversations.\n"


def test_share(ui: ChatUI, command: Any) -> None:
    """The link is the output."""
    ui.on(f"/conversation/{first(ui)}/share", json_answer({"shareId": "abc1234", "url": f"{ui.url}/r/abc1234"}))
    code, out, _ = command("conversations", "share", first(ui), "--url", ui.url)
    assert (code, out) == (0, f"{ui.url}/r/abc1234\n")
    _, out, _ = command("conversations", "share", first(ui), "--url", ui.url, "--json")
    assert json.loads(out) == {"id": "abc1234", "url": f"{ui.url}/r/abc1234"}


# export


def test_export_all(ui: ChatUI, command: Any, tmp_path: Path) -> None:
    """All conversations into a folder; the paths are printed."""
    code, out, err = command("conversations", "export", "-o", str(tmp_path / "out"), "--url", ui.url)
    assert (code, err) == (0, "")
    paths = [Path(line) for line in out.split("\n")[:-1]]
    assert [path.suffix for path in paths] == [".md", ".md"]
    assert "Mainly in the plain." in paths[0].read_text("utf-8")


def test_export_since_as_notebooks(ui: ChatUI, command: Any, tmp_path: Path) -> None:
    """--since is passed on, a wrong date is a usage error; notebooks are a format."""
    arguments = ("conversations", "export", "-o", str(tmp_path), "--format", "ipynb", "--url", ui.url)
    code, out, _ = command(*arguments, "-n", "1")
    assert (code, out.count(".ipynb")) == (0, 1)
    code, _, err = command(*arguments, "--since", "yesterday")
    assert (code, err.count("\n")) == (2, 1)
    assert command("conversations", "export", first(ui), "--since", "2026-01-01", "--url", ui.url)[0] == 2


def test_export_one(ui: ChatUI, command: Any, tmp_path: Path) -> None:
    """One conversation to a file, in the format of its name; an existing file stays without --overwrite."""
    target = tmp_path / "chat.json"
    arguments = ("conversations", "export", first(ui), "-o", str(target), "--url", ui.url)
    assert command(*arguments)[:2] == (0, f"{target}\n")
    assert json.loads(target.read_text("utf-8"))["title"] == "Rain in Spain"
    code, _, err = command(*arguments)
    assert (code, "exists already" in err) == (2, True)
    assert command(*arguments, "--overwrite")[0] == 0


def test_export_several(ui: ChatUI, command: Any, tmp_path: Path) -> None:
    """Several go into a folder; one that fails does not stop the others."""
    ids = [first(ui), "f" * 24, list(ui.chats)[1]]
    code, out, err = command("conversations", "export", *ids, "-o", str(tmp_path / "out"), "--url", ui.url, "--json")
    assert code == 1
    assert all(Path(json.loads(line)["path"]).exists() for line in out.split("\n")[:-1])
    assert out.count("\n") == 2
    assert "f" * 24 in err


def test_export_of_all_needs_a_folder(ui: ChatUI, command: Any) -> None:
    """Without ids and without -o nothing is written into the current folder."""
    code, _, err = command("conversations", "export", "--url", ui.url)
    assert (code, "-o FOLDER" in err) == (2, True)


def test_other_servers(ui: ChatUI, command: Any) -> None:
    """A server that is not a chat-ui gives one line for each command."""
    ui.on("*", plain(b"<html>", 200, "Content-Type: text/html"))
    for arguments in (["list"], ["show", "f" * 24], ["search", "x"], ["delete", "f" * 24, "--yes"], ["share", "f" * 24]):
        code, out, err = command("conversations", *arguments, "--url", ui.url)
        assert (code, out) == (1, ""), arguments
        assert err.startswith("hfclient: ")
        assert err.count("\n") == 1
