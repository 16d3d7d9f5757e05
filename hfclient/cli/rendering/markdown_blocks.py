"""The Markdown of a growing answer, cut into blocks that are final and a last one that still grows.

The text is parsed in windows of limited length, and what is final leaves the window: the work is proportional to the length
of the answer. Inside a long block of code each complete line is final.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import define, evolve, field
from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["Block", "BlockSplitter"]

_WINDOW = 4_000
"""Characters of a block that is still open; a longer one is cut at the end of a line or a word."""
_LARGE_WINDOW = 8_000
"""The same for a table, and for an item of a list that ends in code: a cut shows the head again, or breaks the code."""
_MAX_CELLS = _LARGE_WINDOW // 2
"""Cells of a table in a window; with more, most are not written: the parser adds the empty cells of short rows."""
_DEEPEST = 16
"""Levels of quotations and lists; deeper blocks are shown as they were written. The parser leaves out what is below level 20."""
# The lookaheads keep these linear: only the whole row of marks is tried, and one hyphen is found before the rest is read.
_FENCE = re.compile(r"( {0,3})(`{3,}(?!`)|~{3,}(?!~))([^\n]*)")
_TABLE_RULE = re.compile(r"(?=[ \t|:]*-)[ \t|:-]+")


@define
class Block:
    """A part of the answer that is shown apart from the others.

    Attributes:
        tokens: The tokens of markdown-it, or an empty list for lines of code.
        code: Lines of a block of code, without its fences.
        language: The language of the code.
        opens, closes: The block has the first, the last line of its code.
        joined: Without an empty line before it: the next item of a list, more lines of the same code.
    """

    tokens: list[Token] = field(factory=list)
    code: list[str] | None = None
    language: str = ""
    opens: bool = True
    closes: bool = True
    joined: bool = False


@define
class _Fence:
    """A block of code that is open."""

    indent: int
    mark: str
    language: str
    opened: bool = False  # its first line was returned

    def closes(self, line: str) -> bool:
        return re.fullmatch(rf" {{0,3}}{re.escape(self.mark[0])}{{{len(self.mark)},}}[ \t]*", line) is not None

    def is_closing(self, partial: str) -> bool:
        return re.fullmatch(rf" {{0,3}}{re.escape(self.mark[0])}+[ \t]*", partial) is not None

    def without_indent(self, line: str) -> str:
        return line[min(self.indent, len(line) - len(line.lstrip(" "))) :]


class BlockSplitter:
    """Takes pieces of text, returns blocks that are final, and knows the one that grows."""

    def __init__(self) -> None:
        # HTML and definitions of links are shown as the text that they are.
        self._parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("reference")
        self._pieces: list[str] = []  # not looked at yet
        self._open = ""
        self._fence: _Fence | None = None
        self._joined = False
        self._item: tuple[str, int] | None = None  # the mark of a list that was cut, and the number of its next item
        self._growing: list[Block] = []
        self._limit = _WINDOW

    def feed(self, text: str) -> None:
        """Append *text*, which has no other line ends than line feeds."""
        self._pieces.append(text)

    def final_blocks(self, *, is_end: bool = False) -> Iterator[Block]:
        """Yield the blocks that no further text changes.

        Args:
            is_end: There is no further text, so that all blocks are final.
        """
        waiting, at = "".join(self._pieces), 0
        self._pieces.clear()
        while True:
            free = max(0, (_LARGE_WINDOW if self._fence else self._limit) - len(self._open))
            self._open += waiting[at : at + free]
            at += free
            rest = at < len(waiting)
            before = self._fence
            if self._fence is not None:
                yield from self._code(self._fence, is_end and not rest)
            else:
                yield from self._blocks(is_end and not rest)
            if not rest and before is self._fence and not (is_end and self._open):
                return

    @property
    def growing_blocks(self) -> list[Block]:
        """The blocks after the final ones."""
        if self._fence is None:
            return self._growing
        partial = "" if self._fence.is_closing(self._open) else self._fence.without_indent(self._open)
        opened, code = self._fence.opened, [partial] if partial else []
        if opened and not code:
            return []
        return [Block(code=code, language=self._fence.language, opens=not opened, closes=False, joined=opened)]

    def _code(self, fence: _Fence, is_end: bool) -> Iterator[Block]:
        """Yield the complete lines of a block of code."""
        lines = self._open.split("\n")
        self._open = lines.pop()
        if self._open and (is_end or len(self._open) >= _WINDOW):  # a line without an end
            lines.append(self._open)
            self._open = ""
        end = next((index for index, line in enumerate(lines) if fence.closes(line)), None)
        code = [fence.without_indent(line) for line in lines[:end]]
        closes = end is not None or is_end
        if code or closes:
            block = Block(
                code=code, language=fence.language, opens=not fence.opened, closes=closes, joined=fence.opened
            )
            yield self._counted(block)
            fence.opened = True
        if closes:
            self._fence = None
            if end is not None:
                self._open = "\n".join([*lines[end + 1 :], self._open])

    def _blocks(self, is_end: bool) -> Iterator[Block]:
        """Yield the final blocks of the window."""
        self._growing, self._limit = [], _WINDOW
        text = self._open
        if not text.strip():
            self._open = "" if is_end else text.rpartition("\n")[2][-100:]
            return
        parts = list(self._parts(text))
        lines = text.split("\n")
        complete = len(lines) if is_end else len(lines) - 1  # the last line has no end yet
        last_start, last = parts[-1]
        fence = self._opening_fence(last, lines[last_start]) if last_start < complete else None
        count = len(parts)
        if fence is not None and not any(map(fence.closes, lines[last_start + 1 : complete])):
            yield from map(self._counted, (block for _, block in parts[:-1]))
            self._fence, self._growing = fence, []  # its lines are final one by one from now on
            self._open = "\n".join(lines[last_start + 1 :])
            return
        if not is_end and fence is None:  # a block is final if the next one begins on a complete line
            count = next((n for n in range(count - 1, 0, -1) if parts[n][0] < complete), 0)
        yield from map(self._counted, (block for _, block in parts[:count]))
        if count == len(parts):
            self._open = ""
            return
        start = parts[count][0]
        self._open = "\n".join(lines[start:])
        self._limit = self._limit_of(last)
        if len(self._open) >= self._limit:
            yield from self._cut(lines[start:])
        else:
            self._growing = [block for _, block in parts[count:]]
            if self._joined:
                self._growing[0] = evolve(self._growing[0], joined=True)

    @staticmethod
    def _limit_of(last: Block) -> int:
        is_large = last.tokens and (last.tokens[0].type == "table_open" or last.tokens[-3:][0].type == "fence")
        return _LARGE_WINDOW if is_large else _WINDOW

    def _cut(self, lines: list[str]) -> Iterator[Block]:
        """Yield the start of a block that is too long, and keep its end."""
        if len(lines) > 1:
            head, tail = "\n".join(lines[:-1]), lines[-1]
        else:
            at = lines[0].rfind(" ", len(lines[0]) // 2) + 1 or len(lines[0])
            head, tail = lines[0][:at], lines[0][at:]
        # Not before a row that is longer than the window, nor below a head that fills it: what is left must become shorter.
        is_table = (
            len(lines) > 3
            and "|" in lines[0]
            and len(lines[0]) + len(lines[1]) < _WINDOW
            and _TABLE_RULE.fullmatch(lines[1]) is not None
        )
        yield from map(self._counted, (block for _, block in self._parts(head)))
        self._open = "\n".join([*lines[:2], tail]) if is_table else tail
        self._joined = True

    def _counted(self, block: Block) -> Block:
        """Return *block* as the last one that is final."""
        block = evolve(block, joined=block.joined or self._joined)
        kind = block.tokens[0].type if block.tokens else ""
        is_item = kind in ("bullet_list_open", "ordered_list_open")
        self._item = (block.tokens[0].markup, int(block.tokens[0].attrs.get("start", 1)) + 1) if is_item else None
        self._joined = False
        return block

    def _parts(self, text: str) -> Iterator[tuple[int, Block]]:
        """Yield the blocks of *text* with their first line; each item of a list is a block."""
        tokens, at = self._parser.parse(text), 0
        while at < len(tokens):
            first, end = tokens[at], at + 1
            while first.nesting == 1 and (tokens[end - 1].level or tokens[end - 1].nesting != -1):
                end += 1
            start, stop = first.map or (0, 0)
            if any(token.level > _DEEPEST for token in tokens[at:end]) or _has_too_many_cells(tokens[at:end]):
                yield start, Block(_as_text("\n".join(text.split("\n")[start:stop])))
            elif first.type in ("bullet_list_open", "ordered_list_open"):
                continued = self._item if at == 0 and self._item is not None and self._item[0] == first.markup else None
                number = continued[1] if continued else int(first.attrs.get("start", 1))
                yield from self._items(tokens[at:end], number, is_continued=continued is not None)
            elif first.type in ("fence", "code_block"):
                code = first.content.removesuffix("\n").split("\n") if first.content else []
                yield start, Block(code=code, language=first.info.strip().partition(" ")[0])
            else:
                yield start, Block(tokens[at:end])
            at = end

    @staticmethod
    def _items(tokens: list[Token], number: int, *, is_continued: bool) -> Iterator[tuple[int, Block]]:
        start = 1
        for index, token in enumerate(tokens):
            if token.type == "list_item_close" and token.level == 1:
                opening = tokens[0].copy(attrs={**tokens[0].attrs, "start": number})
                block = Block([opening, *tokens[start : index + 1], tokens[-1]], joined=is_continued)
                yield (tokens[start].map or [0])[0], block
                start, number, is_continued = index + 1, number + 1, True

    @staticmethod
    def _opening_fence(block: Block, line: str) -> _Fence | None:
        found = _FENCE.fullmatch(line) if block.code is not None else None
        return _Fence(len(found[1]), found[2], found[3].strip().partition(" ")[0]) if found else None


def _has_too_many_cells(tokens: list[Token]) -> bool:
    return tokens[0].type == "table_open" and sum(token.type == "td_open" for token in tokens) > _MAX_CELLS


def _as_text(source: str) -> list[Token]:
    """Return the tokens of a paragraph that is *source* unchanged."""
    inline = Token("inline", "", 0, content=source, children=[Token("text", "", 0, content=source)], level=1)
    return [Token("paragraph_open", "p", 1), inline, Token("paragraph_close", "p", -1)]
