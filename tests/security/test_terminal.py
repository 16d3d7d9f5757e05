"""What a model, a server or a file can put on the screen of a terminal: text, and nothing that the terminal obeys.

The renderers run in memory. All that they write is looked at: apart from the sequences that hfclient itself sends, there is no
control character, and the time and the output do not grow faster than the input.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from hfclient import events
from hfclient.chat.wire.messages import parse_share
from hfclient.chat.wire.update_events import parse_update
from hfclient.cli import usage_counts
from hfclient.cli.chat.line_editor import open_history
from hfclient.cli.chat.slash_commands import complete
from hfclient.cli.output import Output
from hfclient.cli.rendering.markdown import MarkdownPrinter
from hfclient.cli.rendering.markdown_blocks import BlockSplitter
from hfclient.cli.rendering.tables import print_table
from hfclient.cli.rendering.text import TextPrinter
from hfclient.notebook.growing import GrowingAnswer
from hfclient.progress import ProgressBar
from hfclient.types import Reply

HOSTILE = (
    "\x1b]52;c;AAAA\x07\x1b[2J\x9b31m\x9d8;;http://e\x9c\x90q\x9c\x00\x07\x08\x7f\r\t\x0b\x0c\x1c\x85\u2028\u202e\u200b\ud800\ufeff"
    "\x1bPq\x1b\\\x1b_G\x1b\\\x1b]8;;file:///x\x1b\\a\x1b]8;;\x1b\\"
)
OURS = re.compile(
    r"\x1b\[[0-9;]*m|\x1b\]8;(?:id=\d+)?;(?:https?://[^\x1b\x07]*)?\x1b\\|\x1b\[\?7[lh]|\x1b\[\d*[AB]|\x1b\[[KJ]|\r(?=\x1b)|\n|\t"
)
CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


class Recorded:
    """Standard output and error that are a terminal, and keep what is written."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """A terminal in memory."""
    recorded = Recorded()
    monkeypatch.setattr(sys, "stdout", recorded)
    monkeypatch.setattr(sys, "stderr", recorded)
    monkeypatch.setattr("hfclient.cli.output._is_same_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return recorded


def show(found: list[Any], kind: str) -> None:
    printer = MarkdownPrinter(Output()) if kind == "markdown" else TextPrinter(Output())
    with printer:
        for event in found:
            printer.show(event)


def assert_harmless(text: str) -> None:
    rest = OURS.sub("", text)
    found = CONTROL.search(rest)
    assert found is None, rest[max(0, found.start() - 50) : found.end() + 50]


EVENTS = [
    events.Token(HOSTILE),
    events.Token(
        f"\n\n```{HOSTILE}\n{HOSTILE}\n```\n[{HOSTILE}](http://e.org/{HOSTILE}) <http://e.org/&#27;]52;&#x9b;&#x202e;>\n"
    ),
    events.Token(
        "\n|"
        + HOSTILE.replace("\r", "")
        + "|b|\n|-|-|\n|"
        + HOSTILE
        + "|&#27;]52|\n\n# "
        + HOSTILE
        + "\n- "
        + HOSTILE
        + "\n\n> "
        + HOSTILE
    ),
    events.Token(
        "![&#27;[2J](data:image/png;base64,x) [x](javascript:x) [y](file:///etc/passwd) [z](http://e.org/&#x9b;31m&#7;)\n"
    ),
    events.Reasoning(HOSTILE),
    events.ReasoningStatus(HOSTILE),
    events.ToolCall(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}),
    events.ToolProgress(HOSTILE, 1, 3, HOSTILE),
    events.ToolError(HOSTILE, HOSTILE),
    events.WebSearch(HOSTILE, [HOSTILE]),
    events.Sources([events.Source(HOSTILE, HOSTILE)]),
    events.File(HOSTILE, "sha", HOSTILE, None),
    events.Title(HOSTILE),
    events.Route(HOSTILE, HOSTILE, HOSTILE),
]


@pytest.mark.parametrize("kind", ["markdown", "text"])
@pytest.mark.parametrize("number", range(len(EVENTS)))
def test_no_event_controls_the_terminal(kind: str, number: int, terminal: Recorded) -> None:
    """Whatever an event holds, the terminal gets only sequences of ours."""
    show([EVENTS[number], None, EVENTS[0]] if kind == "markdown" else [EVENTS[number]], kind)
    assert_harmless(terminal.text)


def test_pieces_of_hostile_text(terminal: Recorded) -> None:
    """Also sequences that come one character at a time are removed."""
    show([events.Token(character) for character in HOSTILE * 3], "markdown")
    assert_harmless(terminal.text)


@pytest.mark.parametrize(
    "text",
    [
        "|a|b|\n|-|-|\n" + "x" * 20_000,
        "|a|b|\n|-|-|\n|1|2|\n" + "|x " * 10_000 + "\n\nend",
        "|a" * 2_000 + "|\n" + "|-" * 1_990 + "|\n" + "|b|\n" * 1_000,
        "> |a|b|\n> |-|-|\n> " + "x" * 20_000,
        "- |a|b|\n  |-|-|\n  " + "x" * 20_000,
    ],
)
def test_a_row_longer_than_the_window(text: str) -> None:
    """Each look at the text makes the rest shorter; a table with a huge head or row does not stop the display for ever."""
    splitter = BlockSplitter()
    splitter.feed(text)
    for count, _ in enumerate(splitter.final_blocks(is_end=True)):
        assert count < len(text) // 10


def test_short_rows_of_a_wide_table(terminal: Recorded) -> None:
    """The parser fills rows with empty cells; they are not written if there are more of them than the text has characters."""
    text = "|a" * 300 + "|\n" + "|-" * 300 + "|\n" + "|\n" * 1_000
    show([events.Token(text)], "markdown")
    assert len(terminal.text) < 3 * len(text)


def test_a_huge_status_is_one_line(terminal: Recorded) -> None:
    """The message of a tool is cut to a line."""
    show([events.ToolProgress("1", 1, 3, "word " * 200_000), None], "markdown")
    assert len(terminal.text) < 2_000


def test_one_huge_name_among_many(terminal: Recorded, capfd: pytest.CaptureFixture[str]) -> None:
    """The columns of a table are not as wide as one huge cell: the output grows with the input, not with its square."""
    names = ["x" * 20_000, *(f"m{number}" for number in range(1_000))]
    output = Output()
    output.is_terminal = False
    print_table(output, ("A", "B"), [(name, "b") for name in names])
    assert len(terminal.text) < 250_000


def test_numbers_that_are_too_large() -> None:
    """An integer of 400 digits does not stop the display of an answer, and nothing of the update is lost."""
    huge = 10**400
    update = {"type": "tool", "subtype": "progress", "uuid": "1", "progress": huge, "total": 3}
    event = parse_update(update)
    assert str(huge) in str(event.raw if isinstance(event, events.Unknown) else vars(event))
    total = parse_update({**update, "progress": 1, "total": huge})
    GrowingAnswer(Reply()).add(total)  # type: ignore[arg-type]
    assert isinstance(total, events.ToolProgress)
    assert total.total is None


def test_a_progress_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar for an infinite number never fails."""
    monkeypatch.setenv("HFCLIENT_PROGRESS", "1")
    with ProgressBar(True, total=float("inf")) as bar:
        for done in (1.0, float("inf"), float("nan"), 10**400, -1.0):
            bar._next = 0.0
            bar.update(done, HOSTILE)


def test_the_link_of_a_share() -> None:
    """A program that prints the link of a share prints no control character."""
    for answer in ({"shareId": HOSTILE}, {"url": f"http://e.org/r/{HOSTILE}"}):
        share = parse_share(answer, "http://e.org")
        assert share is not None
        assert_harmless(str(share))


def test_completion_of_models() -> None:
    """A model's name with control characters is not offered: what is in the line would not be what is seen."""
    assert complete("/model ", ["good/model", "bad\x1b[2J", "bad\u202e", "two\nlines"]) == [("good/model", 0)]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_in_the_place_of_the_shortened_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history that is shortened is not written through a link that another user has put there."""
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path))
    other = tmp_path / "other"
    other.write_text("theirs")
    (tmp_path / f"chat-history.{os.getpid()}").symlink_to(other)
    history = tmp_path / "chat-history"
    history.write_bytes(b"\n# 2026-01-01\n+" + b"a" * 3_000_000 + b"\n# 2026-01-02\n+last\n")
    list(open_history().load_history_strings())
    assert other.read_text() == "theirs"
    assert history.stat().st_size < 1_000_100
    assert history.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_pipes_in_the_place_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named pipes where the files of a user are do not make a command wait for ever."""
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path))
    monkeypatch.setenv("HFCLIENT_USAGE", "1")
    for name in ("chat-history", "usage.json"):
        os.mkfifo(tmp_path / name)
    assert list(open_history().load_history_strings()) == []
    usage_counts.add_count("chat", "m", "p")
    assert usage_counts.read_counts() == []


def test_counts_stay_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that claims a number of tokens of 400 digits does not damage the counts."""
    monkeypatch.setenv("HFCLIENT_HOME", str(tmp_path))
    monkeypatch.setenv("HFCLIENT_USAGE", "1")
    for _ in range(2):
        usage_counts.add_count("chat", HOSTILE, HOSTILE, prompt_tokens=10**400)
    (count,) = usage_counts.read_counts()
    assert (count.calls, count.prompt_tokens) == (2, 10**15)
    assert_harmless(count.model)
