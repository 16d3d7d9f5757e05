"""Markdown of a model in a notebook: whatever it writes, no renderer makes HTML, images or unsafe links of it.

The renderers read it as notebooks do: raw HTML is allowed (JupyterLab trusts the outputs of the running session), and math is
taken out before and put back into the finished HTML, as JupyterLab does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hfclient.redaction.markdown import safe_link, safe_markdown

markdown_it = pytest.importorskip("markdown_it")
mistune = pytest.importorskip("mistune")

TAGS = set(
    "a blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr input li ol p pre s span strong summary table tbody td th thead tr ul".split()
)
ATTRIBUTES = {"href", "class", "start", "align", "style", "type", "checked", "disabled", "id"}
STYLE = re.compile(r"text-align: ?(left|right|center);?")


class _Problems(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            value = value or ""
            if name not in ATTRIBUTES or (name == "style" and not STYLE.fullmatch(value)):
                self.found.append(f"<{tag} {name}={value!r}>")
            if name == "type" and value != "checkbox":
                self.found.append(f"type {value!r}")
            if name == "href" and not _is_safe(value):
                self.found.append(f"link {value!r}")

    def handle_comment(self, data: str) -> None:
        self.found.append(f"<!--{data}")

    def handle_decl(self, decl: str) -> None:
        self.found.append(f"<!{decl}")

    def handle_pi(self, data: str) -> None:
        self.found.append(f"<?{data}")

    def unknown_decl(self, data: str) -> None:
        self.found.append(f"<![{data}")


def _is_safe(url: str) -> bool:
    return re.match(r"#|https?:|mailto:", url, re.IGNORECASE) is not None


def problems(page: str) -> list[str]:
    """Return what a browser would make of *page* that text cannot be."""
    parser = _Problems()
    parser.feed(page)
    parser.close()
    return parser.found


_MATH = re.compile(
    r"@@\d+@@|(\$\$?)(?:(?!\n\s*\n)[^$])+\1|\\\\\((?:(?!\n\s*\n)[\s\S])+?\\\\\)|\\begin\{(\w*\*?)\}(?:(?!\n\s*\n)[\s\S])+?\\end\{\2\}"
)


def _with_math(render: Callable[[str], str]) -> Callable[[str], str]:
    """A renderer to which math is a mark, and whose HTML gets the math back, with its quotes as they are."""

    def rendered(text: str) -> str:
        math: list[str] = []

        def keep(found: re.Match[str]) -> str:
            math.append(found[0].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
            return f"@@{len(math) - 1}@@"

        # In code, JupyterLab does not look for math.
        hidden = re.sub(
            r"^(?P<f>`{3,}|~{3,})[^`\n]*\n[\s\S]*?^(?P=f)`*$",
            lambda m: m[0].replace("$", "\ue000"),
            text,
            flags=re.MULTILINE,
        )
        page = render(_MATH.sub(keep, hidden).replace("\ue000", "$"))
        return re.sub(r"@@(\d+)@@", lambda m: math[int(m[1])] if int(m[1]) < len(math) else "", page)

    return rendered


def _renderers() -> Iterator[tuple[str, Callable[[str], str]]]:
    commonmark = markdown_it.MarkdownIt("commonmark", {"html": True}).render
    # A renderer with rules of its own for links: all links that it is given are made.
    tables = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tables.validateLink = lambda url: True
    plugins = ["strikethrough", "footnotes", "table", "url", "task_lists", "def_list", "abbr"]
    other = mistune.create_markdown(escape=False, plugins=plugins)
    for name, render in [("commonmark", commonmark), ("tables", tables.render), ("mistune", other)]:
        yield name, render
        yield f"{name} with math", _with_math(render)


RENDERERS = dict(_renderers())
SAFE_SPANS = re.compile(r"<span>|</span>")

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<IMG\nSRC=http://evil.example/x.png\nONERROR=alert(1)>",
    "text <svg/onload=alert(1)> <iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<style>* { background: url(http://evil.example) }</style>",
    "<div style='position:fixed'>\n\n# hi\n\n</div>",
    "<!-- a --> <!doctype html> <?php x ?> <![CDATA[ <b> ]]>",
    "<a href='javascript:alert(1)'>x</a> <form action=http://evil.example><input></form>",
    "![x](http://evil.example/p.png) ![y][r] ![r]\n\n[r]: http://evil.example/q.png",
    "[![x](http://evil.example/p.png)](http://evil.example) [![x](javascript:alert(1))](javascript:alert(2))",
    "[x](javascript:alert(1)) [x](JaVaScRiPt:alert(1)) [x](<javascript:alert(1)>) [x]( javascript:alert(1) )",
    "[x](&#106;avascript:alert(1)) [x](&#x6A;avascript&colon;alert(1)) [x](java\tscript:alert(1)) [x](\x01javascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=) [x](vbscript:x) [x](file:///etc/passwd) [x](//evil.example) [x](/api/shutdown)",
    "[x]: javascript:alert(1)\n[y]:\ndata:text/html,x\n[z]: <vbscript:x> 'title'\n\n[x] [y] [z] [x][z]",
    "[^1]: javascript:alert(1)\n\n[^1]",
    "[x][y]\n\n> [y]: javascript:alert(1)\n\n- [y]: javascript:alert(2)",
    "[x](http://a.example 'title $\" onmouseover=alert(1) x=\"$')",
    '[x](http://a.example/$"onmouseover=alert(1)//$)',
    'http://a.example/$"onmouseover=alert(1)//$ and www.a.example/$"onmouseover=alert(1)$',
    '](http://a.example)$"onmouseover=alert(1)//$',
    '<http://a.example>$"onmouseover=alert(1)//$',
    'http://a.example/\\begin{x}"onmouseover=alert(1)\\end{x} http://a.example/\\\\("onmouseover=alert(1)\\\\)',
    '[x]: http://a.example\n"$\\"onmouseover=alert(1)$"\n\n[x]',
    "```html\n<script>alert(1)</script>\n",
    "````\n```\n<img src=x onerror=alert(1)>\n```\n````\n<img src=x onerror=alert(1)>",
    "~~~ x\n```\n<img src=x onerror=alert(1)>\n~~~\n<b onclick=x>\n```\n~~~\n",
    "- a\n  ```\n  <img src=x onerror=alert(1)>\n```\n<img src=x onerror=alert(1)>\n```\n",
    "> ```\n> <img src=x onerror=alert(1)>\n```\n<img src=x onerror=alert(1)>\n```\n",
    "$$\n```\n$$\n<img src=x onerror=alert(1)>\n```\n",
    "$ ` $ ` <img src=x onerror=alert(1)> `",
    "`a\n\n<img src=x onerror=alert(1)>`",
    "`` ` <img src=x onerror=alert(1)> ` `` <img src=x onerror=alert(1)>",
    "\\`<img src=x onerror=alert(1)>` \\\\`<b>` \\<b onclick=alert(1)>",
    "    <img src=x onerror=alert(1)>\n\ntext\n    <img src=x onerror=alert(1)>",
    "1. a\n\n        <img src=x onerror=alert(1)>\n\n   \t<b>\n",
    "| a | b |\n|--|--|\n| `<b>|` | <img src=x onerror=alert(1)> |",
    "```<img src=x onerror=alert(1)>\nx\n```",
    '```a" onclick="alert(1)\nx\n```',
    "\\href{javascript:alert(1)}{x} $\\href{javascript:alert(1)}{x}$",
    "&lt;img src=x onerror=alert(1)&gt; &#60;script&#62;alert(1)&#60;/script&#62;",
    "<\x00script>alert(1)</script> <\u200bscript> <\u202escript> !\u200b[x](http://evil.example/a.png) ]\u2060(javascript:1)",
    "<a\r\nhref=javascript:alert(1)>x</a>\r<b>",
    "@@0@@ $x$ @@1@@ <@@0@@>",
    "<$x$script>alert(1)</script> <$x$>",
    "*[x](javascript:alert(1)*) **<b**>** ~~<s~~",
    "[a]: # (comment)\n[b]: #\n[c]: <> (x)\n",
    "- " * 500 + "<b>",
    "> " * 500 + "<b>",
]
PIECES = [
    *"<>!?/\\`~$[]():\"'&;#-*+|= \n\t@a1",
    *(
        "```",
        "~~~",
        "``",
        "$$",
        "![",
        "](",
        "]:",
        "    ",
        "\n\n",
        "> ",
        "- ",
        "1. ",
        "<b>",
        "</b>",
        "<!--",
        "-->",
        "<?",
        "\\(",
        "\\)",
    ),
    *(
        "\\[",
        "\\]",
        "\\begin{a}",
        "\\end{a}",
        "http://a.example/",
        "https://b.example",
        "www.c.example",
        "javascript:alert(1)",
    ),
    *(
        "data:x",
        "onerror=x ",
        "<img src=x onerror=y>",
        "[x]",
        "[^1]",
        "|--|",
        "&#60;",
        "&lt;",
        "&#36;",
        "&bsol;",
        "\x00",
        "\u202e",
        "\r",
    ),
    *(
        "<code>",
        "</code>",
        "</pre>",
        "<http://a.example>",
        "@@0@@",
        "{",
        "}",
        "html\n",
        "mailto:a@b.example",
        "\\href",
        "```html\n",
    ),
]


@pytest.mark.parametrize("name", RENDERERS)
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_markdown_is_harmless_in_each_renderer(name: str, text: str) -> None:
    """Known attacks, alone and after an unclosed structure, become text and links."""
    for before in (
        "",
        "a\n",
        "- a\n\n  ",
        "> ",
        "```\nx\n```\n",
        "`",
        "$",
        "$$\n",
        "~~~\n",
        "<details>\n\n",
        "[a]: http://b.example\n",
    ):
        page = RENDERERS[name](safe_markdown(before + text))
        assert problems(page) == [], (before + text, page)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
@example('](http://a.example/)$"onmouseover=x$')
@example("- ```\n```\n<b>")
def test_any_markdown_is_harmless_in_each_renderer(text: str) -> None:
    """Random sequences of what has a meaning in Markdown, HTML and TeX become text and links."""
    safe = safe_markdown(text)
    for render in RENDERERS.values():
        page = render(safe)
        assert problems(page) == [], (safe, page)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
def test_outside_its_own_fences_the_text_has_nothing_that_depends_on_a_renderer(text: str) -> None:
    """The promises of the module hold for the text itself, whatever a renderer makes of it."""
    safe = safe_markdown(text)
    outside, fence = [], None
    for line in safe.split("\n"):
        if fence is None and (opened := re.fullmatch(r"(`{3,})[A-Za-z0-9+#_.-]*", line)):
            fence = opened[1]
            assert outside[-1:] == [""]
        elif fence is None:
            outside.append(line)
        elif line == fence:
            fence = None
        else:
            assert fence not in line
    assert fence is None
    rest = "\n".join(outside)
    assert not re.search(r'<(?!/?(?:code|pre|span)>|code class="language-[A-Za-z0-9+#_.-]*">)[A-Za-z/!?]', rest)
    assert not re.search(r"!\[|\]\((?!https?://|mailto:|#)|```|~~~|[\x00-\x08\u202e]", rest)
    assert not re.search(r"\\href(?![A-Za-z])|(?:https?://|www\.)[^\s<]*[$\\]", rest)
    assert all(re.fullmatch(r"\[[^\]]*\]: (https?://|mailto:|#)\S*", line) for line in outside if "]:" in line)


ORDINARY = [
    "Hello **world**, *this* is `code`, ~~old~~ and [a link](https://example.com/a?b=1&c=2).",
    "# Title\n\ntext\nmore text  \nafter a break\n\n---\n\nSetext\n======\n",
    "- one\n- two\n  - nested\n\n    paragraph of nested\n- three\n\n1. a\n2. b\n\n3) c",
    "```python\nfor i in range(3):\n\tprint(f'<b>{i}</b>', \"a\\n\")\n```\n\ntext\n\n~~~\ntilde ``` inside\n~~~",
    "Steps:\n\n1. Install:\n   ```bash\n   pip install 'a<2' && echo \"$HOME\"\n\n   ls\n   ```\n   Then go on.\n2. Done.\n",
    "* a\n\n        indented code\n\n* b",
    "> a quote\n> with `code`\n>\n> ```js\n> if (a < b) { alert(`x`) }\n> ```\n",
    "text:\n\n    indented <code>\n\n    more\n\nafter",
    "| a | b |\n|:--|--:|\n| `x` | 1 < 2 |\n| [l](https://x.example) | a \\| b |\n",
    'A & B, a < b > c, 5 > 3, it\'s "quoted", 100% [sic] (really), f[x](1 + 2), AT&T &amp; &copy; &eacute; &#169;',
    "C:\\data\\new, \\*escaped\\*, 1\\. no list, a\\\nhard break",
    "`` a`b ``, `a<b>`, `![x](y)`, `$HOME`, ` spaced `, `C:\\dir`, `&lt;`, `a\nb`",
    "<https://example.com/x> and <me@example.com>",
    "[one][r] and [r]\n\n[r]: https://example.com/r\n",
    "$x_1 + y^2$ and\n\n$$\n\\frac{a}{b}\n$$\n",
    "日本語 **太字** 🎉 café",
    "- [ ] open\n- [x] done",
    "Wow! [1] and a! [x](https://a.example)",
    "```\nunclosed\n",
]


@pytest.mark.parametrize("name", RENDERERS)
@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_answer_renders_as_it_was_written(name: str, text: str) -> None:
    """Texts, lists, tables, code and math look the same as without the rewriting."""
    page, expected = RENDERERS[name](safe_markdown(text)), RENDERERS[name](text)
    assert _shown(page) == _shown(expected)


def _shown(page: str) -> list[tuple[str, str]]:
    """Return the elements and texts of a page, without those of no meaning."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.parts: list[tuple[str, str]] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag != "span":
                kept = [(key, value) for key, value in attrs if key not in ("checked", "disabled", "id")]
                self.parts.append((tag, repr(sorted(kept, key=str))))

        def handle_endtag(self, tag: str) -> None:
            if tag != "span":
                self.parts.append((f"/{tag}", ""))

        def handle_data(self, data: str) -> None:
            if self.parts and self.parts[-1][0] == "":
                data = self.parts.pop()[1] + data
            self.parts.append(("", data))

    reader = Reader()
    reader.feed(page)
    joined: list[tuple[str, str]] = []
    for tag, text in reader.parts:
        text = text.rstrip("\n") if tag == "" else text
        if (tag, text) == ("", "") or (not text.strip() and tag == ""):
            continue
        joined.append((tag, re.sub(r"\s*\n\s*", "\n", text).strip("\n")))
    return joined


def test_code_stays_exactly_as_it_is() -> None:
    """A copied block of code is the model's, to the last blank and tab."""
    code = "def f(x):\n\treturn f'''{x}\n```\n<b>&amp;$HOME\\n''' \n\n    # ![x](y)   \n"
    for text in (f"````py\n{code}````", f"~~~~py\n{code}~~~~"):
        assert code in safe_markdown(text)
    nested = "".join(f"  {line}\n" for line in ("- x", "```", *code.split("\n")[:2], "```"))
    assert "&#10;&#9;return" in safe_markdown(nested[2:])


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTP://Example.com/a b", None),
        ("https://example.com/a(b)$c`d\"e'f|g*h[i]", "https://example.com/a%28b%29%24c%60d%22e%27f%7Cg%2Ah%5Bi%5D"),
        ("https://例え.jp/ü", "https://例え.jp/ü"),
        ("mailto:me@example.com", "mailto:me@example.com"),
        ("#top", "#top"),
        ("https://huggingface.co@evil.example/", None),
        ("https:\\\\evil.example", None),
        ("http:evil.example", None),
        ("https://", None),
        ("https://[::1", None),
        ("//evil.example", None),
        ("/api/shutdown", None),
        ("page.html", None),
        ("javascript:alert(1)", None),
        ("\x01javascript:alert(1)", None),
        ("java\nscript:alert(1)", None),
        ("data:text/html,x", None),
        ("https://a.example/\u202egpj.exe", None),
        ("https://a.example/" + "a" * 5000, None),
        ("", None),
        ("#", None),
    ],
)
def test_only_links_to_the_web_and_to_mail_are_links(url: str, safe: str | None) -> None:
    """Other schemes, relative links and links that look like another host are refused; characters of Markdown are encoded."""
    assert safe_link(url) == safe


def test_math_of_brackets_becomes_math_of_dollars_and_prices_stay_prices() -> None:
    r"""Models write \(x\), which notebooks do not render, and prices, which they would render as math."""
    assert safe_markdown(r"\(a<b\) and \[ c \]") == "$a< b$ and $$c$$"
    assert safe_markdown("\\[\nE = mc^2\n\\]") == "$$\nE = mc^2\n$$"
    assert safe_markdown("$5 or $6") == "<span>&#36;</span>5 or <span>&#36;</span>6"
    assert safe_markdown(r"\[not a link\](https://a.example)").startswith("&#91;not a link&#93;")


def test_a_front_end_draws_no_diagram_of_a_model() -> None:
    """Mermaid can load images, so such a fence stays code."""
    assert "mermaid" not in safe_markdown(
        "```mermaid\ngraph TD; A[<img src=http://evil.example>]\n```\n- ```mermaid\n  x\n  ```"
    )
