"""The inline parts of Markdown, rewritten so that they do no harm: links, images, code, math, entities, HTML.

`hfclient.redaction.markdown` says what holds for the result.
"""

from __future__ import annotations

import html
import re
import string
from bisect import bisect_left
from urllib.parse import quote, urlsplit

from hfclient.redaction.control_characters import stripped

__all__ = ["BACKSLASH", "DOLLAR", "PUNCTUATION", "safe_formula", "safe_inline", "safe_link"]

_MAX_URL = 4000  # characters
PUNCTUATION = {ord(char): f"&#{ord(char)};" for char in string.punctuation} | {ord("\t"): "&#9;"}
# An element of its own: MathJax, which reads the finished page, does not see math that crosses elements.
DOLLAR = "<span>&#36;</span>"
BACKSLASH = "<span>&#92;</span>"
_SPACE = re.compile(r"\s")
_TOKEN = re.compile(
    r"""\\[!-/:-@\[-`{-~]   # an escaped character
    | \\                    # a macro, a path of Windows, a hard line break
    | `+ | \$\$? | < | \[!\[ | !\[ | \]\( | \]: | ~{3,}
    | &(?:\#[0-9]{1,8}|\#[xX][0-9A-Fa-f]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});
    | https?:// | ftp:// | www\.
    """,
    re.VERBOSE | re.IGNORECASE,
)
_TARGET = re.compile(
    r"""\]\([ ]{0,9}
    (?: <([^<>\n]{0,4000})>
      | ((?:[^\s()<>\\]|\\[^\s]|\((?:[^\s()<>\\]|\\[^\s]){0,500}\)){0,4000}) )
    (?:[ ]{1,9}(?:"[^"\n]{0,500}"|'[^'\n]{0,500}'|\([^()\n]{0,500}\)))?[ ]{0,9}\)""",
    re.VERBOSE,
)
_IMAGE = re.compile(r"!\[[^\[\]\n]{0,1000}\][(\[]")
_LINKED_IMAGE = re.compile(r"\[!\[([^\[\]\n]{0,1000})(?=\]\()")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^\s<>`]{1,2000}|[\w.+-]{1,64}@[A-Za-z0-9.-]{1,255})>", re.IGNORECASE)
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_WORD = re.compile(r"\S*")
_FORMULA = re.compile(r"\$((?:[^$\\]|\\[\s\S])+)\$|\$\$((?:[^$\\]|\\[\s\S])+)\$\$")
# Macros that make links, load things, set CSS or change how other formulas are read.
_MACRO = re.compile(
    r"(?:href|url|class|style|cssId|data|require|includegraphics|bbox|mmlToken|unicode|html(?:Class|Id|Style|Data)?"
    r"|texttip|mathtip|toggle|csname|special|input|include|write|catcode|loop)(?![A-Za-z])",
    re.IGNORECASE,
)
# Inline code stays as it is unless it has something that is more than text for a renderer that does not take it for code.
_MORE_THAN_TEXT = re.compile(r"[\\$`]|<[A-Za-z/!?]|!\[|\]\(|\]:|&#?\w{1,40};|~~~|://|www\.", re.ASCII | re.IGNORECASE)
# Within math a blank changes nothing, and an entity would be visible.
_NOT_IN_MATH = re.compile(
    rf"<(?=[A-Za-z/!?])|!(?=\[)|\](?=[(:])|&(?=#?\w)|`|~(?=~~)|:(?=//)|www(?=\.)|\\(?={_MACRO.pattern})", re.IGNORECASE
)


def safe_link(url: str) -> str | None:
    """Return *url* if it may be a link: absolute http, https or mailto, or ``#fragment``; None for another.

    Characters with a meaning in Markdown or TeX are percent-encoded. A URL with a user name in it is not a link, because it
    looks like one to another host.

    >>> safe_link("HTTPS://example.com/$a(b)?q=é&r=1")
    'https://example.com/%24a%28b%29?q=é&r=1'
    >>> safe_link("javascript:alert(1)")
    """
    url = url.strip(" \n")
    if not url or len(url) > _MAX_URL or stripped(url) != url or _SPACE.search(url) or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme in ("http", "https"):
        allowed = bool(host) and "@" not in parts.netloc
    elif parts.scheme == "mailto":
        allowed = bool(parts.path) and not parts.netloc
    else:
        allowed = len(url) > 1 and url.startswith("#")
    if not allowed:
        return None
    url = parts.scheme + url[len(parts.scheme) :]
    return "".join(quote(char, safe=":/?#@&+,;=%._~-") if char.isascii() else char for char in url)


def safe_formula(formula: str) -> str:
    """Return TeX with blanks where it could be more than TeX; they change nothing in math."""
    return _NOT_IN_MATH.sub(r"\g<0> ", formula)


def safe_inline(text: str) -> str:
    """Return the lines of a paragraph, rewritten; line ends stay where they are."""
    return _Inline(text).rewritten()


class _Inline:
    """The inline parts of a paragraph; line ends stay where they are."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._out: list[str] = []
        self._ticks: dict[int, list[int]] | None = None
        self._found: dict[str, int] = {}
        self._url_end = 0  # up to here, a renderer may read a URL

    def rewritten(self) -> str:
        at = 0
        while token := _TOKEN.search(self._text, at):
            if at < token.start():
                self._out.append(self._text[at : token.start()])
            at = self._mark(token[0], token.start())
        self._out.append(self._text[at:])
        return "".join(self._out)

    def _mark(self, mark: str, start: int) -> int:
        """Write a mark, or what begins with it; return where the text goes on."""
        text, end = self._text, start + len(mark)
        first = mark[0]
        if first == "\\":
            if len(mark) == 1:
                is_macro = start < self._url_end or _MACRO.match(text, end)
                self._out.append(BACKSLASH if is_macro else "\\")
            elif mark in ("\\(", "\\[") and (after := self._formula_end(mark, start)):
                return after
            else:
                self._out.append(self._character(mark[1], end))
        elif first == "`":
            return self._code(mark, end)
        elif first == "$":
            return self._dollar(mark, start)
        elif first == "<":
            if (link := _AUTOLINK.match(text, start)) and (
                url := safe_link(link[1]) or safe_link(f"mailto:{link[1]}" if ":" not in link[1] else "")
            ):
                self._open_bracket()
                self._out.append(f"{link[1].translate(PUNCTUATION)}]({url.replace('&', '&amp;')})")
                self._in_url(link.end())
                return link.end()
            self._out.append("&lt;")
        elif first == "[":
            self._open_bracket()
            image = _LINKED_IMAGE.match(text, start)
            if image and (target := _TARGET.match(text, image.end())) and text.startswith("](", target.end()):
                self._out.append(safe_inline(image[1]))
                return target.end()
            return start + 1
        elif first == "!":
            if not _IMAGE.match(text, start):
                self._out.append("&#33;")
            self._open_bracket()
        elif mark == "](":
            if (target := _TARGET.match(text, start)) and (link_url := _target_url(target)):
                self._out.append(f"]({link_url})")
                self._in_url(target.end())  # without a "[" before it, the URL is one in the text
                return target.end()
            self._out.append("]&#40;")
        elif mark == "]:":
            self._out.append("]&#58;")
        elif first == "&":
            self._entity(mark, end)
        elif first == "~":
            self._out.append("&#126;" * len(mark))
        else:
            self._out.append(mark if first not in "fF" else f"{mark[:3]}&#58;//")
            self._in_url(end)
        return end

    def _in_url(self, start: int) -> None:
        if start >= self._url_end and (word := _WORD.match(self._text, start)):
            self._url_end = word.end()

    def _open_bracket(self) -> None:
        if self._out and self._out[-1].endswith("!"):
            self._out[-1] = f"{self._out[-1][:-1]}&#33;"
        self._out.append("[")

    def _character(self, char: str, end: int) -> str:
        if char == "$" and self._url_end <= end:
            return DOLLAR
        if char == "\\" and (_MACRO.match(self._text, end) or end < self._url_end):
            return BACKSLASH
        return f"&#{ord(char)};"

    def _entity(self, mark: str, end: int) -> None:
        char = html.unescape(mark)
        if char == mark:
            self._out.append(mark)
        elif not (char := stripped(char)):
            self._out.append("<span></span>")  # what is beside it must not come together
        elif char.isspace():
            self._out.append(char if not char.isascii() else " ")
        elif len(char) == 1 and char.isascii() and not char.isalnum():
            self._out.append(self._character(char, end))
        elif not any(part.isascii() for part in char):
            self._out.append(char)
        else:
            self._out.append(f"&amp;{mark[1:]}")

    def _code(self, marks: str, end: int) -> int:
        if self._ticks is None:
            self._ticks = {}
            for run in re.finditer("`+", self._text):
                self._ticks.setdefault(len(run[0]), []).append(run.start())
        runs = self._ticks.get(len(marks), [])
        place = bisect_left(runs, end)
        if place == len(runs):
            self._out.append("&#96;" * len(marks))
            return end
        code = self._text[end : runs[place]]
        if not _MORE_THAN_TEXT.search(code):
            self._out.append(f"`{code}`")
        else:
            if code.strip() and code[0] in " \n" and code[-1] in " \n" and "\n" not in (code[0], code[-1]):
                code = code[1:-1]
            if self._text.lstrip().startswith("|"):
                code = code.replace("\\|", "|")  # the row of a table
            self._out.append(f"<code>{code.translate(PUNCTUATION)}</code>")
        return runs[place] + len(marks)

    def _dollar(self, mark: str, start: int) -> int:
        if start < self._url_end:
            self._out.append("%24" * len(mark))
            return start + len(mark)
        found = _FORMULA.match(self._text, start)
        if found and self._is_formula(found):
            self._out.append(safe_formula(found[0]))
            return found.end()
        self._out.append(DOLLAR * len(mark))
        return start + len(mark)

    def _is_formula(self, found: re.Match[str]) -> bool:
        """Whether it is math: two amounts of dollars in a sentence are not (the rule of Pandoc)."""
        inner = found[1]
        if inner is None:
            return True
        after = self._text[found.end() : found.end() + 1]
        return not (inner[0].isspace() or inner[-1].isspace() or after.isdigit() or after == "$")

    def _formula_end(self, mark: str, start: int) -> int | None:
        close = "\\)" if mark == "\\(" else "\\]"
        end = self._found.get(close, 0)
        if 0 <= end < start + 2:
            end = self._found[close] = self._text.find(close, start + 2)
        is_link = mark == "\\[" and self._text[end + 2 : end + 3] in ("(", "[", ":")
        if end < 0 or is_link or start < self._url_end or end - start > 5000:
            return None
        formula = self._text[start + 2 : end]
        if "$" in formula or "`" in formula or not formula.strip():
            return None
        dollars = "$" if mark == "\\(" else "$$"
        self._out.append(dollars + safe_formula(formula.strip(" ")) + dollars)
        return end + 2


def _target_url(target: re.Match[str]) -> str | None:
    url = safe_link(html.unescape(_ESCAPED.sub(r"\1", target[1] or target[2] or "")))
    return url and url.replace("&", "&amp;")
