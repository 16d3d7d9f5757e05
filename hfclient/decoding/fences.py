"""Fenced code in the Markdown of a model: where a block begins, where it ends, and what it holds.

The rules are those of CommonMark, but more tolerant: models indent a fence deeper than the list item that it belongs to, and do
not indent the lines of its code. So a fence may have any indentation, and only a fence or the end of its quote ends a block.

Reference: https://spec.commonmark.org/0.31.2/#fenced-code-blocks
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Fence", "split_fences"]

_LINE_END = re.compile(r"\r\n|\n|\r")
_FENCE = re.compile(r"`{3,}|~{3,}")
_LANGUAGE = re.compile(r"[\s{.]*([A-Za-z0-9][A-Za-z0-9+#_.-]*)?")
_MARKER = re.compile(r"(?:[-+*]|[0-9]{1,9}[.)])(?=[ \t])")
_SPACE = " \t"
_TAB = 4


class Fence(NamedTuple):
    """A block of fenced code.

    Attributes:
        language: The first word of its info string, in lower case; empty without one.
        code: Its lines, without the indentation of the fence, without a newline at the end.
        closed: False if the text ends inside the block.
        nested: True if it is in a list or a quote, or indented.
        source: Its lines as they are in the text, with the fences.
    """

    language: str
    code: str
    closed: bool
    nested: bool = False
    source: str = ""


class _Opening(NamedTuple):
    character: str
    length: int
    info: str
    quotes: int  # levels of block quotes around it
    indent: int  # columns after the last quote
    marked: bool  # there is a list marker in front of it


def split_fences(text: str) -> Iterator[str | Fence]:
    r"""Yield the text between blocks, and the blocks, in order; takes time in proportion to the text.

    Lines end with ``\n`` in both, whatever the text has.

        >>> before, block, after = split_fences('Run:\n```python title="x"\nprint(1)\n```\nDone.')
        >>> before, block.language, block.code, after
        ('Run:\n', 'python', 'print(1)', 'Done.')
    """
    if "```" not in text and "~~~" not in text:
        if text:
            yield _LINE_END.sub("\n", text)
        return
    lines = _LINE_END.split(text)
    plain: list[str] = []
    code: list[str] = []
    source: list[str] = []
    opening: _Opening | None = None
    for line in lines:
        if opening is not None:
            inner = _inside(line, opening)
            if inner is None:  # its quote has ended, so this line is not code
                yield _fence(opening, code, source, closed=True)
            elif _closes(inner, opening):
                yield _fence(opening, code, [*source, line], closed=True)
                opening = None
                continue
            else:
                source.append(line)
                code.append(_outdented(inner, opening.indent))
                continue
        opening = _opening(line)
        if opening is None:
            plain.append(line)
        else:
            code, source = [], [line]
            if plain:
                yield "\n".join([*plain, ""])
            plain = []
    if opening is not None:
        if code and not code[-1]:  # the text ends with a newline
            code.pop()
        yield _fence(opening, code, source, closed=False)
    elif any(plain):
        yield "\n".join(plain)


def _fence(opening: _Opening, code: list[str], source: list[str], *, closed: bool) -> Fence:
    found = _LANGUAGE.match(opening.info)
    language = (found and found[1]) or ""
    nested = bool(opening.quotes or opening.indent or opening.marked)
    return Fence(language.lower(), "\n".join(code), closed, nested, "\n".join(source) + "\n")


def _opening(line: str) -> _Opening | None:
    """Return the fence that opens in this line, behind any quotes, list markers and spaces."""
    found = _FENCE.search(line)
    if found is None:
        return None
    quotes = indent = at = 0
    marked = False
    while at < found.start():
        character = line[at]
        if character == ">":
            quotes += 1
            at += 1
            indent = 0
            if line[at : at + 1] == " ":  # belongs to the quote
                at += 1
        elif character in _SPACE:
            indent += 1 if character == " " else _TAB - indent % _TAB
            at += 1
        elif marker := _MARKER.match(line, at):
            marked = True
            indent += marker.end() - at
            at = marker.end()
        else:
            return None
    info = line[found.end() :].strip()
    if found[0][0] == "`" and "`" in info:  # inline code
        return None
    return _Opening(found[0][0], len(found[0]), info, quotes, indent, marked)


def _inside(line: str, opening: _Opening) -> str | None:
    """Return *line* without the quotes around the block; None if it is outside of them."""
    at = 0
    for _ in range(opening.quotes):
        while line[at : at + 1] and line[at] in _SPACE:
            at += 1
        if line[at : at + 1] != ">":
            return None
        at += 2 if line[at + 1 : at + 2] == " " else 1
    return line[at:] if at else line


def _closes(line: str, opening: _Opening) -> bool:
    mark = line.strip(_SPACE)
    if len(mark) < opening.length or mark.strip(opening.character):
        return False
    indent = len(line.expandtabs(_TAB)) - len(line.expandtabs(_TAB).lstrip(" "))
    return indent < opening.indent + _TAB  # a deeper one is code


def _outdented(line: str, columns: int) -> str:
    """Return *line* without up to *columns* of its indentation."""
    column = at = 0
    while column < columns and line[at : at + 1] and line[at] in _SPACE:
        width = 1 if line[at] == " " else _TAB - column % _TAB
        column += width
        at += 1
    return " " * (column - columns) + line[at:] if at else line
