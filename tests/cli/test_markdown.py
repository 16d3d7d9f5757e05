"""Live Markdown of a growing answer, on a screen drawn by pyte."""

from __future__ import annotations

import random
import re
import sys
import time
import types
from collections.abc import Callable

import pytest
from pygments.util import ClassNotFound

from hfclient import events
from hfclient.cli.output import Output
from hfclient.cli.rendering import block_renderer, live_region
from hfclient.cli.rendering.markdown import MarkdownPrinter, answer_printer
from hfclient.cli.rendering.markdown_blocks import BlockSplitter
from hfclient.cli.rendering.text import TextPrinter

pytest.importorskip("pty")
from tests.terminals import Screen

Show = Callable[..., Screen]

ANSWER = """# Why

The sky is *blue* because of **air** and `scattering` of [light](https://example.org/light).

1. first
2. second
   - nested
3. third

```python
def f(x):
    return x + 1

print("x")
```

| A | Bee |
|---|--:|
| 1 | 2 |
| 日本 | 😀 |

> quoted

---

End.
"""
SHOWN = """Why

The sky is blue because of air and scattering of light
(https://example.org/light).

 1. first
 2. second
     • nested
 3. third

```python
def f(x):
    return x + 1

print("x")
```

 A     Bee
 ─────────
 1       2
 日本   😀

▌ quoted

────────────────────────────────────────

End."""


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal with colours that does not wrap its lines again, as xterm."""
    found = Screen()
    for module in ("hfclient.cli.output", "hfclient.cli.rendering.live_region"):  # pytest sets sys.stdout itself
        monkeypatch.setattr(f"{module}.sys", types.SimpleNamespace(stdout=found, stderr=sys.stderr))
    monkeypatch.setattr(live_region, "terminal_size", lambda: found.size)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("XTERM_VERSION", "XTerm(390)")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TMUX", raising=False)
    return found


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw after each event."""
    monkeypatch.setattr("hfclient.cli.rendering.markdown._INTERVAL", 0.0)
    monkeypatch.setattr("hfclient.cli.rendering.markdown._COST", 0)


def printer_on(screen: Screen) -> MarkdownPrinter:
    return MarkdownPrinter(Output())


def pieces(text: str, seed: int = 1) -> list[str]:
    """*text* in pieces of random length, as tokens."""
    random_ = random.Random(seed)
    found, at = [], 0
    while at < len(text):
        length = random_.randint(1, 9)
        found.append(text[at : at + length])
        at += length
    return found


def show(screen: Screen, text: str, seed: int = 1) -> str:
    with printer_on(screen) as printer:
        for piece in pieces(text, seed):
            printer.show(events.Token(piece))
    return without_time(screen)


def without_time(screen: Screen) -> str:
    """The text of the screen without the line of the time."""
    return re.sub(r"\n?\[[^\n]*\d\.\d s\]$", "", screen.text)


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("seed", range(5))
def test_blocks_of_markdown(screen: Screen, seed: int) -> None:
    """Headings, lists, code, tables and quotations are drawn, and each line is in the scrollback once."""
    assert show(screen, ANSWER, seed) == SHOWN


@pytest.mark.usefixtures("no_pause")
def test_what_is_final_stays(screen: Screen) -> None:
    """An answer that is longer than the screen is in the scrollback as if it was written at once."""
    text = "\n\n".join(f"Paragraph {number} has **bold** text that is long enough for two lines of a terminal." for number in range(25))
    shown = show(screen, text)
    found = re.findall(r"^Paragraph (\d+) has bold text that is long enough for two lines$", shown, re.MULTILINE)
    assert found == [str(number) for number in range(25)]


@pytest.mark.usefixtures("no_pause")
def test_a_growing_table_and_an_unclosed_fence(screen: Screen) -> None:
    """A table that is higher than the screen, and code without an end, are complete at the end."""
    table = "| N | Square |\n|---|---|\n" + "".join(f"| {n} | {n * n} |\n" for n in range(30))
    shown = show(screen, f"{table}\n```python\n" + "".join(f"x{n} = {n}\n" for n in range(30)))
    lines = shown.split("\n")
    assert [line.split() for line in lines if re.match(r" \d", line)] == [[str(n), str(n * n)] for n in range(30)]
    assert [line for line in lines if line.startswith("x")] == [f"x{n} = {n}" for n in range(30)]


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize(("columns", "rows"), [(20, 10), (200, 50), (8, 3), (1, 1)])
def test_narrow_and_wide(screen: Screen, columns: int, rows: int) -> None:
    """No width loses a word of the answer."""
    screen.resize(columns, rows)
    shown = show(screen, ANSWER)
    joined = "".join(shown.split())
    for word in ("Why", "blue", "scattering", "first", "nested", "return", "End."):
        assert word in joined


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("columns", [30, 100])
def test_resize_in_mid_answer(screen: Screen, columns: int) -> None:
    """After a change of the width the growing block is drawn again for the new one, and nothing is lost or doubled."""
    before, after = "alpha " * 15, "omega " * 15
    with printer_on(screen) as printer:
        printer.show(events.Token(f"First.\n\n{before}"))
        screen.resize(columns, 20)
        printer.show(None)
        printer.show(events.Token(after))
    words = without_time(screen).split()
    assert words.count("First.") == 1
    assert (words.count("alpha"), words.count("omega")) == (15, 15)


@pytest.mark.usefixtures("no_pause")
def test_control_characters_of_a_model(screen: Screen) -> None:
    """Escape sequences, titles, the clipboard, bidi and line ends of a model do nothing but line feeds."""
    text = "a\x1b[2Jb\x1b]0;owned\x07c\x1b]52;c;aGk=\x07d\u202ee &#x202e;f\x9b31mg\x00h\n\n10%\r20%\r30%\r\n\r\ni `j\x1b[31m` [k\x1b](https://x.org/\x1b]8)"
    shown = show(screen, text)
    assert screen.title == ""
    assert shown.split("\n")[0] == "a[2Jb]0;ownedc]52;c;aGk=de f31mgh"
    assert "10% 20% 30%" in shown
    allowed = rb"\x1b\[[0-9;]*m|\x1b\[\?7[lh]|\x1b\[\d*[ABJK]|\x1b\]8;(id=\d+;https?://[!-~]*|;)\x1b\\"
    assert b"\x1b" not in re.sub(allowed, b"", screen.received)
    assert "\u202e" not in screen.received.decode()


@pytest.mark.usefixtures("no_pause")
def test_line_ends_in_two_pieces(screen: Screen) -> None:
    """CR and LF of one line end may come in two tokens."""
    with printer_on(screen) as printer:
        for piece in ("```\r", "\none\r", "\ntwo\r", "\n```\r", "\n\r\n", "end"):
            printer.show(events.Token(piece))
    assert without_time(screen) == "```\none\ntwo\n```\n\nend"


@pytest.mark.usefixtures("no_pause")
def test_markup_of_rich_and_html_are_text(screen: Screen) -> None:
    """Rich's own markup, emoji codes and HTML stay the text that they are."""
    assert show(screen, "[bold red]x[/] :smile: <b>y</b>\n\n<script>z</script>") == "[bold red]x[/] :smile: <b>y</b>\n\n<script>z</script>"


@pytest.mark.usefixtures("no_pause")
def test_links_show_their_address(screen: Screen) -> None:
    """A link's address follows its text; only http(s) addresses are clickable, and only the address itself is."""
    text = "[https://bank.example](https://evil.example/a) <https://x.org/> [f](file:///etc/passwd) [m](ssh://h/x) ![p](https://e.org/t.png)"
    shown = " ".join(show(screen, text).split())
    assert "https://bank.example (https://evil.example/a)" in shown
    assert "https://x.org/ [f](file:///etc/passwd) m (ssh://h/x) [image: p] (https://e.org/t.png)" in shown
    clickable = re.findall(rb"\x1b\]8;id=\d+;([^\x1b]+)\x1b\\(?:\x1b\[[\d;]*m)*([^\x1b]+)", screen.received)
    assert clickable
    assert all(text in address for address, text in clickable)
    assert {address for address, _ in clickable} == {b"https://evil.example/a", b"https://x.org/", b"https://e.org/t.png"}


@pytest.mark.usefixtures("no_pause")
def test_definitions_of_links_are_not_hidden(screen: Screen) -> None:
    """A definition of a link is shown, because the model wrote it."""
    assert show(screen, "See [1].\n\n[1]: https://x.org") == "See [1].\n\n[1]: https://x.org"


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        "\n" * 30_000 + "x",
        ">" * 5_000 + "x",
        "[" * 5_000 + "x",
        "- " * 3_000 + "x",
        "```x" + "y" * 50_000,
        "|" * 3_000 + "\n" + "|-" * 3_000 + "|\n" + "|x" * 3_000,
        "*_" * 5_000 + "x",
        "`" * 5_001 + " x",
        "| a | b |\n|---|---|\n" + "| x | y |\n" * 700,
        "1. x\n" + "   ```\n" + "   y\n" * 3_000,
        "a\u0301" * 10_000 + "x",
        "#" * 1_000 + " x",
    ],
    ids=lambda text: repr(text[:8]),
)
def test_hostile_markdown(text: str, screen: Screen) -> None:
    """Huge lines, deep nesting and blocks without an end are shown in a time proportional to their length."""
    with printer_on(screen) as printer:
        for at in range(0, len(text), 5_000):
            printer.show(events.Token(text[at : at + 5_000]))
    assert "x" in screen.text


def test_the_work_is_linear() -> None:
    """An answer in tokens is parsed in windows: three times the text needs about three times the characters to be parsed."""

    def work(text: str) -> int:
        splitter = BlockSplitter()
        parsed = 0
        parse = splitter._parser.parse

        def counted(source: str) -> object:
            nonlocal parsed
            parsed += len(source)
            return parse(source)

        splitter._parser.parse = counted  # type: ignore[method-assign, assignment]
        for at in range(0, len(text), 2_000):
            splitter.feed(text[at : at + 2_000])
            for _ in splitter.final_blocks():
                pass
        for _ in splitter.final_blocks(is_end=True):
            pass
        return parsed

    for text in (ANSWER, "word " * 200, "- item\n" * 100, "| a | b |\n|---|---|\n" + "| x | y |\n" * 100):
        assert work(text * 15) < 5 * work(text * 5)


@pytest.mark.parametrize("step", [1, 3, 7, 50, 10_000])
def test_all_cuts_give_the_same_blocks(step: int) -> None:
    """How the text is cut into pieces does not change its blocks."""

    def blocks(step: int) -> list[str]:
        splitter, found = BlockSplitter(), []
        for at in range(0, len(ANSWER), step):
            splitter.feed(ANSWER[at : at + step])
            found += splitter.final_blocks()
        found += splitter.final_blocks(is_end=True)
        texts: list[str] = []
        for block in found:
            text = "\n".join(block.code) if block.code is not None else " ".join(token.content for token in block.tokens)
            if block.code is not None and not block.opens:
                texts[-1] += f"\n{text}" if block.code else ""
            else:
                texts.append(text)
        return texts

    assert blocks(step) == blocks(len(ANSWER))


@pytest.mark.usefixtures("no_pause")
def test_a_growing_line_as_wide_as_the_screen(screen: Screen) -> None:
    """The last character of a line that fills the screen is shown while the answer grows, also after shorter lines."""
    text = "abcd " * 11 + "vwxyz"
    with printer_on(screen) as printer:
        printer.show(events.Token(text))
        assert screen.text == text
        printer.show(events.Token(" next"))
        assert screen.lines == [text, "next"]
    assert without_time(screen) == f"{text}\nnext"


def test_redraws_are_limited(screen: Screen) -> None:
    """Tokens in quick succession are drawn together: the cursor moves for a redraw at most ten times a second."""
    started = time.monotonic()
    with printer_on(screen) as printer:
        for _ in range(3_000):
            printer.show(events.Token("word "))
    redraws = screen.received.count(b"\x1b[?7l")
    assert redraws <= 10 * (time.monotonic() - started) + 5


@pytest.mark.usefixtures("no_pause")
def test_a_lexer_is_searched_once(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The letters of a language that still grows are not looked up, because each unknown name reads the metadata of all packages."""
    searched: list[str] = []

    def search(name: str, **options: object) -> None:
        searched.append(name)
        raise ClassNotFound(name)

    monkeypatch.setattr(block_renderer, "get_lexer_by_name", search)
    with printer_on(screen) as printer:
        for letter in "```quipu-lang\nknots\nand cords\n```\n\ntext\n\n```quipu-lang\nmore\n```\n":
            printer.show(events.Token(letter))
    assert searched == ["quipu-lang"]
    assert "knots" in screen.text


def test_one_parser_for_all_redraws(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redraw creates no parser of Markdown."""
    with printer_on(screen) as printer:
        printer.show(events.Token("begin "))
        monkeypatch.setattr("rich.markdown.MarkdownIt", None)
        for letter in "a **paragraph**\n\n- item\n\n> quoted\n":
            printer.show(events.Token(letter))
    assert "paragraph" in screen.text


def test_without_colour(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR no escape sequence is written, headings keep their signs and code its marks."""
    monkeypatch.setenv("NO_COLOR", "1")
    shown = show(screen, "## Why\n\n**b** `code` [l](https://x.org)\n\n```python\nx = 1\n```")
    assert shown == "## Why\n\nb `code` l (https://x.org)\n\n```python\nx = 1\n```"
    assert b"\x1b" not in screen.received


def test_which_printer(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Markdown is for terminals that can move their cursor; --raw, a dumb terminal and a pipe get the text."""
    assert isinstance(answer_printer(Output()), MarkdownPrinter)
    assert isinstance(answer_printer(Output(), raw=True), TextPrinter)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(answer_printer(Output()), TextPrinter)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(screen, "isatty", lambda: False)
    assert isinstance(answer_printer(Output()), TextPrinter)


class _Notes(Output):
    """Notes on the same screen."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self.screen = screen
        self.has_notes = True

    def note(self, text: str) -> None:
        self.screen.write(f"{' '.join(text.split())}\n")


@pytest.mark.usefixtures("no_pause")
def test_reasoning_tools_and_sources(screen: Screen) -> None:
    """Reasoning is dimmed, tools are lines, their progress is replaced, sources are numbered at the end with the time."""
    with MarkdownPrinter(_Notes(screen)) as printer:
        for event in (
            events.Reasoning("I think"),
            events.Reasoning(" so.\nAnd on."),
            events.ToolCall(uuid="u", name="search"),
            events.ToolProgress(uuid="u", progress=1, total=4, message="half\x1b[2J"),
        ):
            printer.show(event)
        assert screen.lines[-1] == "tool: 25% half\\x1b[2J"
        for event in (
            events.Token("It is **blue**."),
            events.Sources((events.Source(link="https://a.example", title="A"), events.Source(link="https://b.example"))),
            events.Route(model="org/one", provider="p"),
            events.Usage(total_tokens=1234),
        ):
            printer.show(event)
    lines = screen.lines
    assert lines[:-1] == [
        "I think so.", "And on.", "[tool: search]", "It is blue.", "[1] A https://a.example", "[2] https://b.example",
    ]  # fmt: skip
    assert re.fullmatch(r"\[org/one · p · 1,234 tokens · \d\.\d s\]", lines[-1])
    assert b"\x1b[2mI think so." in screen.received


@pytest.mark.usefixtures("no_pause")
def test_reasoning_and_answer_are_apart(screen: Screen) -> None:
    """An empty line is between the reasoning and the answer."""
    with printer_on(screen) as printer:
        printer.show(events.Reasoning("hm"))
        printer.show(events.Token("Hello"))
    assert without_time(screen) == "hm\n\nHello"


def test_the_last_tokens_appear_with_the_next_tick(screen: Screen) -> None:
    """What comes right after a redraw is shown when the stream yields a tick."""
    with printer_on(screen) as printer:
        printer.show(events.Token("one "))
        printer.show(events.Token("two"))
        end = time.monotonic() + 10
        while "two" not in screen.text and time.monotonic() < end:
            time.sleep(0.02)
            printer.show(None)
        assert screen.text == "one two"


def test_an_interrupt_removes_the_echo(screen: Screen) -> None:
    """After Ctrl-C the text so far stays, without the ^C that the terminal has echoed."""
    with printer_on(screen) as printer:
        printer.show(events.Token("Half an answer"))
        screen.write("^C")
        printer.__exit__(KeyboardInterrupt, None, None)
    assert without_time(screen) == "Half an answer"
