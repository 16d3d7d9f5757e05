"""Blocks of Markdown as lines for a terminal, by rich.

The text comes from a model: no control character, no escape sequence, no markup of rich and no hidden address leaves this
module. A link is followed by its address; the address alone is clickable, and only if it is an http(s) address.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import evolve
from markdown_it.token import Token
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, HorizontalRule, ListItem, Markdown, MarkdownElement
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from hfclient.cli.rendering.markdown_blocks import Block
from hfclient.redaction.control_characters import collapsed, stripped

if TYPE_CHECKING:
    from pygments.lexer import Lexer

__all__ = ["BlockRenderer"]

_TEXT_COLUMNS = 100
"""Columns of prose in a wider terminal; tables and code use the whole width."""
_CONTEXT = 60
"""Lines of code before the new ones that the highlighter reads again, for strings of several lines."""
_MAX_LINE = 500
"""Characters of the longest line of code that is highlighted: some lexers need quadratic time."""
_MIN_CELL = 8
"""Columns of a table's column; with less, the table is shown as a list."""
# The lookbehind keeps this linear: without it, the search would start at each blank of a row.
_TRAILING = re.compile(r"(?<! )[ ]+((?:\x1b\[[0-9;]*m)*)$")
_ATTRIBUTES = re.compile(r"\x1b\[[0-9;]*m")
_CODE_THEME = "ansi_dark"  # the sixteen colours of the terminal, and no background
_THEME = Theme(
    {
        "markdown.code": "cyan",
        "markdown.code_block": "none",
        "markdown.h1": "bold underline",
        "markdown.h2": "bold underline",
        "markdown.h3": "bold",
        "markdown.h4": "bold",
        "markdown.h5": "bold italic",
        "markdown.h6": "italic",
        "markdown.block_quote": "none",
        "markdown.link_url": "dim underline",
        "markdown.item.bullet": "bold",
        "markdown.item.number": "bold",
        "markdown.hr": "dim",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
    }
)


class _Heading(Heading):
    """A heading at the left; without colours it keeps its number signs."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text if console.color_system else Text(f"{'#' * int(self.tag[1:])} ").append_text(self.text)


class _CodeBlock(CodeBlock):
    """A block of code inside a list or a quotation, between its fences."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip("\n")
        name = "" if self.lexer_name == "text" else self.lexer_name
        yield Text(f"```{name}", style="dim")
        yield _highlighted(code, _lexer(name), console)
        yield Text("```", style="dim")


class _ListItem(ListItem):
    """An item of a list, with a point after its number."""

    def render_number(self, console: Console, options: ConsoleOptions, number: int, last_number: int) -> RenderResult:
        mark = f" {number}. "
        style = console.get_style("markdown.item.number")
        lines = console.render_lines(
            self.elements, options.update(width=options.max_width - len(mark)), style=self.style
        )
        for index, line in enumerate(lines):
            yield Segment(mark if index == 0 else " " * len(mark), style)
            yield from line
            yield Segment("\n")


class _HorizontalRule(HorizontalRule):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("─" * min(options.max_width, 40), style="markdown.hr")


class _Markdown(Markdown):
    """rich's Markdown, of the tokens in ``parsed``."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
        "hr": _HorizontalRule,
        "list_item_open": _ListItem,
    }


class BlockRenderer:
    """Renders blocks, in their order.

    Args:
        has_colour: Use colours and other attributes, and clickable addresses.
    """

    def __init__(self, *, has_colour: bool) -> None:
        self._has_colour = has_colour
        self._console = Console(
            file=io.StringIO(),
            force_terminal=has_colour,
            color_system="auto" if has_colour else None,
            no_color=not has_colour,
            force_jupyter=False,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
            theme=_THEME,
            width=80,
        )
        self._markdown = _Markdown("", code_theme=_CODE_THEME)  # once: each one creates a parser
        self._is_first = True
        self._context: list[str] = []  # the last lines of code

    def restart(self) -> None:
        """Begin a text: without an empty line before its first block."""
        self._is_first, self._context = True, []

    def final(self, block: Block, columns: int) -> list[str]:
        """Return the lines of the next block, after an empty line unless it is joined to the one before."""
        lines = self._lines(block, columns)
        if block.code is not None:
            self._context = [] if block.closes else [*self._context, *block.code][-_CONTEXT:]
        gap = [] if self._is_first or block.joined else [""]
        self._is_first = False
        return [*gap, *lines]

    def growing(self, blocks: Iterable[Block], columns: int) -> list[str]:
        """Return the lines of the blocks after the last final one."""
        found: list[str] = []
        for block in blocks:
            if (found or not self._is_first) and not block.joined:
                found.append("")
            if block.code and not block.closes:  # the end of the line is what changes
                block = evolve(block, code=[_end_of(line, columns) for line in block.code])
            found += self._lines(block, columns)
        return found

    def plain(self, text: str, columns: int, style: str = "") -> list[str]:
        """Return *text*, which is not Markdown, as lines."""
        return self._rendered(Text(stripped(text), style=style), columns)

    def _lines(self, block: Block, columns: int) -> list[str]:
        try:
            if block.code is not None:
                return self._code_lines(block)
            is_table = block.tokens[0].type == "table_open"
            if is_table and columns < _MIN_CELL * sum(token.type == "th_open" for token in block.tokens):
                return self._rendered(_table_as_list(block.tokens), columns)
            self._markdown.parsed = [self._safe(token) for token in block.tokens]
            return self._rendered(self._markdown, columns if is_table else min(columns, _TEXT_COLUMNS))
        except Exception:  # noqa: BLE001 (whatever a renderer does not survive is shown as text)
            texts = [token.content for token in block.tokens if token.content]
            return stripped("\n".join([*texts, *(block.code or ())])).split("\n")

    def _rendered(self, value: Any, columns: int) -> list[str]:
        with self._console.capture() as capture:
            self._console.print(value, width=max(columns, 8), end="")
        lines = [_TRAILING.sub(r"\1", line) for line in capture.get().split("\n")]
        filled = [number for number, line in enumerate(lines) if _ATTRIBUTES.sub("", line).strip()]
        return lines[filled[0] : filled[-1] + 1] if filled else []

    def _code_lines(self, block: Block) -> list[str]:
        code = [stripped(line).expandtabs(4) for line in block.code or ()]
        context = [] if block.opens else self._context
        lines = []
        if code:
            text = _highlighted("\n".join([*context, *code]), _lexer(block.language), self._console)
            # Lines of code are not wrapped here, so that a copy has the line ends of the original only.
            with self._console.capture() as capture:
                self._console.print(text, soft_wrap=True, end="")
            lines = capture.get().split("\n")[-len(code) :]
        first = self._fence(f"```{stripped(block.language)}") if block.opens else []
        return [*first, *lines, *(self._fence("```") if block.closes else [])]

    def _fence(self, text: str) -> list[str]:
        return [f"\x1b[2m{text}\x1b[0m" if self._has_colour else text]

    def _safe(self, token: Token) -> Token:
        if token.children is None:
            content, info = stripped(token.content), stripped(token.info)
            is_same = content == token.content and info == token.info  # a copy takes 15 µs
            return token if is_same else token.copy(content=content, info=info)
        return token.copy(children=list(self._safe_inline(token.children)))

    def _safe_inline(self, children: list[Token]) -> Iterator[Token]:
        """Yield the tokens of a line, with the address after the text of a link."""
        opened: list[tuple[str, str]] = []  # addresses and texts of links
        for token in children:
            content = stripped(token.content)
            if token.type == "link_open":
                opened.append((stripped(str(token.attrs.get("href", ""))), ""))
            elif token.type == "link_close" and opened:
                address, text = opened.pop()
                yield from self._address(address, text)
            elif token.type == "image":
                yield Token("text", "", 0, content=f"[image: {content}]" if content else "[image]")
                yield from self._address(stripped(str(token.attrs.get("src", ""))), "")
            else:
                if opened:
                    opened[-1] = (opened[-1][0], opened[-1][1] + content)
                    if token.type == "text" and _is_address(content, opened[-1][0]):
                        continue  # the address follows
                if token.type == "code_inline" and not self._has_colour:
                    content = f"`{content}`"
                is_same = content == token.content and token.children is None
                yield token if is_same else token.copy(content=content, children=None)

    def _address(self, address: str, text: str) -> Iterator[Token]:
        is_shown = _is_address(text, address)
        if not is_shown:
            yield Token("text", "", 0, content=" (")
        if self._has_colour and address.startswith(("https://", "http://")):
            yield Token("link_open", "a", 1, attrs={"href": address})
            yield Token("text", "", 0, content=address)
            yield Token("link_close", "a", -1)
        else:
            yield Token("text", "", 0, content=address)
        if not is_shown:
            yield Token("text", "", 0, content=")")


def _is_address(text: str, address: str) -> bool:
    return text in (address, address.removeprefix("mailto:")) and bool(text)


# A search for an unknown name reads the metadata of all installed packages.
@lru_cache(maxsize=64)
def _lexer(name: str) -> Lexer | None:
    try:
        return get_lexer_by_name(name, stripnl=False) if name and len(name) < 40 else None
    except ClassNotFound:
        return None


def _highlighted(code: str, lexer: Lexer | None, console: Console) -> Text:
    code = stripped(code)
    if lexer is None or not console.color_system or any(len(line) > _MAX_LINE for line in code.split("\n")):
        return Text(code)
    text = Syntax("", lexer, theme=_CODE_THEME, background_color="default").highlight(code)
    if text.plain == f"{code}\n":  # lexers end each text with a line end
        text.right_crop(1)
    return text if text.plain == code else Text(code)


def _end_of(line: str, columns: int) -> str:
    """Return the end of a long line, at most as long as the terminal is wide."""
    return line if len(line) < columns else f"…{line[-max(1, columns - 2) :]}"


def _table_as_list(tokens: list[Token]) -> Text:
    """Return a table for a narrow terminal: each cell on a line, after its heading."""
    heads: list[str] = []
    text = Text()
    column = 0
    for index, token in enumerate(tokens):
        content = collapsed(tokens[index + 1].content) if token.type in ("th_open", "td_open") else ""
        if token.type == "th_open":
            heads.append(content)
        elif token.type == "tr_open":
            column = 0
            if heads and text.plain:
                text.append("\n")
        elif token.type == "td_open":
            head = heads[column] if column < len(heads) else ""
            text.append(f"{head}: ", style="bold").append(f"{content}\n")
            column += 1
    return text
