r"""The Markdown of a model or a server, rewritten so that it can do no harm in any renderer.

Notebooks render ``text/markdown`` with their own theme, highlighting and math. For outputs of the running session JupyterLab
trusts raw HTML in it, and every renderer loads remote images. Renderers also disagree about the structure: JupyterLab takes
``$...$`` out before it reads Markdown and puts it back into the finished HTML, even into an attribute. So the result does not
depend on how a renderer reads it. Outside code that we fence ourselves, it never has

- ``<`` before a letter, ``/``, ``!`` or ``?``, except our own ``<code>``, ``<pre>`` and ``<span>`` around letters and entities;
- ``![``, so images are links;
- ``](`` before anything but a URL of `safe_link`, nor a link definition with another URL;
- three backticks or tildes in a row, so a fence of ours (column 0, blank lines around it, longer than all runs of backticks
  within it) is never inside another one;
- ``$`` or a backslash within a URL;
- TeX macros that make links, load things or set CSS, control characters, or characters that change the reading direction.

Code stays exact, apart from those characters. ``\(...\)`` and ``\[...\]`` become ``$...$`` and ``$$...$$``, which notebooks
render. The time grows linearly with the length.

Reference: https://spec.commonmark.org/0.31.2/, https://github.github.com/gfm/, ``latex.ts`` in JupyterLab's rendermime
"""

from __future__ import annotations

import re

from hfclient.redaction.control_characters import collapsed, stripped
from hfclient.redaction.inline_markdown import BACKSLASH, DOLLAR, PUNCTUATION, safe_formula, safe_inline, safe_link

__all__ = ["as_markdown_text", "fenced", "link_to", "safe_link", "safe_markdown"]

_MAX_DEPTH = 12  # lists and quotes within each other; renderers are recursive
_NOT_DRAWN = frozenset({"mermaid"})  # front ends draw such a fence, and a diagram can load images
_AS_TEXT = PUNCTUATION | {ord("$"): DOLLAR, ord("\\"): BACKSLASH, ord(","): ","}

# Blocks.
_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r" {0,3}(?:[-+*]|\d{1,9}[.)])(?: {1,4}(?=[^ ])| (?= {4})|$)")
_RULE = re.compile(r" {0,3}([*_-])(?: *\1){2,} *$")
_FENCE = re.compile(r"( {0,3})(`{3,}|~{3,})(.*)$")
_LANGUAGE = re.compile(r"[A-Za-z0-9+#_.-]{1,40}(?!\S)")
_ONE_LINE = re.compile(r" {0,3}(?:#{1,6}(?: |$)|\|)")  # a heading, a row of a table
_DEFINITION = re.compile(
    r" {0,3}\[([^\[\]\\`<$!&^]{1,200})\]: *<?([^\s<>]{1,4000})>?(?: +(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))? *$"
)
_MATH_BLOCK = re.compile(r" {0,3}(?:(\$\$)|(\\\[)|(\\begin)\{[a-z]{1,20}\*?\})")
_MATH_ENDS = {"$$": "$$", "\\[": "\\]", "\\begin": "\\end{"}
_MARGIN = re.compile(r"[ \t>*+.)\d-]*")


def safe_markdown(text: str) -> str:
    """Return Markdown that renders as *text* does, without HTML, images or unsafe links of its own.

    HTML is visible as text, an image becomes a link with its description, and a link that `safe_link` refuses becomes text.

    Args:
        text: Markdown of a model or a server, also incomplete: a fence without an end is closed.
    """
    lines = stripped(text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    return _Blocks(lines).rewritten()


def as_markdown_text(text: str) -> str:
    """Return Markdown, one line of it, that shows *text* as it is: for a title, a name, the cell of a table.

    >>> as_markdown_text("a <b> *c*")
    'a &#60;b&#62; &#42;c&#42;'
    """
    return collapsed(text).translate(_AS_TEXT)


def link_to(url: str, text: str) -> str:
    """Return a Markdown link that shows *text*, or the text alone if `safe_link` refuses *url*.

    >>> link_to("https://example.com/?a=1&b=2", "A [b]"), link_to("javascript:alert(1)", "here")
    ('[A &#91;b&#93;](https://example.com/?a=1&amp;b=2)', 'here')
    """
    shown, link = as_markdown_text(text), safe_link(url)
    return f"[{shown}]({link.replace('&', '&amp;')})" if link else shown


def fenced(code: str, language: str = "") -> str:
    """Return *code* as a block of Markdown, whose fence is longer than any run of backticks within."""
    marks = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return f"{marks}{language}\n{code}\n{marks}"


class _Blocks:
    """Lines as blocks: quotes, lists, code, math, text.

    Only the looks depend on whether a renderer reads the blocks in the same way.
    """

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0
        self._out: list[str] = []
        self._containers: list[int] = []  # -1 for a quote, else the width of an item's margin
        self._text: list[tuple[str, str]] = []  # margins and lines of a paragraph
        self._without_end: dict[str, int] = {}  # ends of math blocks: no such end before that line

    def rewritten(self) -> str:
        while self._at < len(self._lines):
            self._block()
        self._end_text()
        return "\n".join(self._out)

    def _end_text(self) -> None:
        if self._text:
            margins, lines = zip(*self._text, strict=True)
            self._out += map(str.__add__, margins, safe_inline("\n".join(lines)).split("\n"))
            self._text = []

    def _inside(self, line: str) -> tuple[int, str, str]:
        """Return how many of the open containers go on in *line*, its margin, and the rest of it."""
        margin, rest = "", line
        if "\t" in line:
            blank = _MARGIN.match(line)
            end = blank.end() if blank else 0
            rest = line[:end].expandtabs(4) + line[end:]
        for depth, width in enumerate(self._containers):
            if width < 0:
                if not (quote_mark := _QUOTE.match(rest)):
                    return depth, margin, rest
                width = quote_mark.end()
            elif not rest.strip():
                continue
            elif rest[:width].strip():
                return depth, margin, rest
            margin, rest = margin + rest[:width], rest[width:]
        return len(self._containers), margin, rest

    def _block(self) -> None:
        line = self._lines[self._at]
        depth, margin, rest = self._inside(line)
        if not rest.strip():
            self._end_text()
            self._containers = self._containers[:depth]
            self._out.append(margin.rstrip())
            self._at += 1
            return
        if depth < len(self._containers) and self._text and not _starts_block(rest):
            self._text.append((margin, rest))  # the paragraph goes on without the marks of its containers
            self._at += 1
            return
        if depth < len(self._containers):
            self._end_text()
            self._containers = self._containers[:depth]
        while not _RULE.match(rest) and (mark := _QUOTE.match(rest) or _ITEM.match(rest)):
            self._end_text()
            if len(self._containers) >= _MAX_DEPTH:
                first = rest.lstrip()
                rest = f"&#{ord(first[0])};{first[1:]}"
                break
            is_quote = mark[0].lstrip().startswith(">")
            self._containers.append(-1 if is_quote else max(mark.end(), len(mark[0].rstrip()) + 1))
            margin, rest = margin + mark[0], rest[mark.end() :]
        self._leaf(margin, rest)

    def _leaf(self, margin: str, rest: str) -> None:
        fence = _FENCE.match(rest)
        if rest.startswith("    ") and not self._text and rest.strip():
            self._code(margin, "", self._indented_lines(rest))
        elif fence and not (fence[2][0] == "`" and "`" in fence[3]):
            self._end_text()
            language = _LANGUAGE.match(fence[3].strip())
            name = language[0] if language and language[0].lower() not in _NOT_DRAWN else ""
            self._code(margin, name, self._fenced_lines(len(fence[1]), fence[2]))
        elif (math := _MATH_BLOCK.match(rest)) and (count := self._math_lines(math[1] or math[2] or math[3], rest)):
            self._end_text()
            self._math(margin, rest, count)
        elif (
            not self._text
            and not self._containers
            and (defined := _DEFINITION.match(rest))
            and (link := safe_link(defined[2]))
        ):
            # The blank line: the next line is not the title of the link.
            self._out += [f"[{defined[1]}]: {link.replace('&', '&amp;')}", ""]
            self._at += 1
        else:
            if _ONE_LINE.match(rest):
                self._end_text()
            self._text.append((margin, rest))
            self._at += 1
            if _ONE_LINE.match(rest):
                self._end_text()

    def _fenced_lines(self, indent: int, marks: str) -> list[str]:
        end = re.compile(rf" {{0,3}}{re.escape(marks[0])}{{{len(marks)},}}[ \t]*$")
        lines: list[str] = []
        self._at += 1
        while self._at < len(self._lines):
            line = self._lines[self._at]
            depth, margin, rest = self._inside(line)
            if depth < len(self._containers):
                return lines
            if "\t" in line:
                rest = _after_columns(line, len(margin))
            self._at += 1
            if end.match(rest):
                return lines
            lines.append(rest[min(indent, len(rest) - len(rest.lstrip(" "))) :])
        return lines

    def _indented_lines(self, first: str) -> list[str]:
        lines = []
        found = self._lines[self._at] if not self._containers else first
        while True:
            lines.append(found.removeprefix("\t") if found.startswith("\t") else found[4:])
            self._at += 1
            if self._at == len(self._lines):
                break
            line = self._lines[self._at]
            depth, _, rest = self._inside(line)
            if depth < len(self._containers) or (rest.strip() and not rest.startswith("    ")):
                break
            found = rest if self._containers else line
        while not lines[-1].strip():
            lines.pop()
            self._at -= 1
        return lines

    def _code(self, margin: str, language: str, lines: list[str]) -> None:
        if self._containers:
            # One line of letters and entities: it stays in its list or quote, and nothing around it can end it.
            name = f' class="language-{language}"' if language else ""
            code = "".join(f"{line.translate(PUNCTUATION)}&#10;" for line in lines)
            self._out.append(f"{margin}<pre><code{name}>{code}</code></pre>")
            return
        self._out += ["", fenced("\n".join(lines), language), ""]

    def _math_lines(self, start: str, rest: str) -> int:
        """Return how many lines the block of math has that begins in this line; 0 if it does not end."""
        end = _MATH_ENDS[start]
        if self._without_end.get(end, -1) > self._at:
            return 0
        begun = rest.index(start) + len(start)
        if end in rest[begun:]:
            return int(start != "$$" and start != "\\[")
        for place in range(self._at + 1, len(self._lines)):
            line = self._lines[place]
            if not line.strip():
                break
            if end in line:
                if end == "\\end{" or not line.partition(end)[2].strip():
                    return place - self._at + 1
                break  # text after the end: not a block of its own
        else:
            place = len(self._lines)
        self._without_end[end] = place
        return 0

    def _math(self, margin: str, rest: str, count: int) -> None:
        for place in range(count):
            if place:
                _, margin, rest = self._inside(self._lines[self._at + place])
            if place == 0:
                rest = rest.replace("\\[", "$$", 1) if rest.lstrip().startswith("\\[") else rest
            if place == count - 1:
                rest = rest.replace("\\]", "$$", 1) if rest.rstrip().endswith("\\]") else rest
            self._out.append(margin + safe_formula(rest))
        self._at += count


def _after_columns(line: str, count: int) -> str:
    """Return *line* without its first columns; later tabs stay tabs."""
    column = place = 0
    while column < count and place < len(line):
        column += 4 - column % 4 if line[place] == "\t" else 1
        place += 1
    return " " * (column - count) + line[place:]


def _starts_block(rest: str) -> bool:
    return any(pattern.match(rest) for pattern in (_QUOTE, _ITEM, _FENCE, _ONE_LINE, _RULE))
