"""The modules of the front end in node: the parser of server-sent events, reconnects, and Markdown from hostile models."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hfclient.web
from tests.server import RST, Server, chunked, json_answer, plain

MODULES = Path(hfclient.web.__file__).parent / "static" / "hfclient"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run JavaScript in node and return what it passes to `done`; ``data`` holds the arguments, the modules' names are defined."""
    folder = tmp_path_factory.mktemp("javascript")
    (folder / "package.json").write_text('{"type": "module"}', "utf-8")
    for source in [*MODULES.glob("*.js"), Path(__file__).parent / "javascript" / "dom.mjs"]:
        shutil.copy(source, folder)

    def call(code: str, **data: Any) -> Any:
        script = folder / "script.mjs"
        script.write_text(
            'import { readFileSync } from "node:fs";\n'
            'import { elements, serialize } from "./dom.mjs";\n'
            'import { EventParser, follow } from "./stream.js";\n'
            'import { Markdown, render } from "./markdown.js";\n'
            'import { safeUrl } from "./elements.js";\n'
            'const data = JSON.parse(readFileSync(0, "utf-8"));\n'
            "const done = (value) => console.log(JSON.stringify(value));\n"
            'const html = (text, options) => render(text, options).map(serialize).join("");\n' + code,
            "utf-8",
        )
        ended = subprocess.run(
            [str(NODE), str(script)], check=False, input=json.dumps(data), capture_output=True, text=True, timeout=100, encoding="utf-8"
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout.rstrip("\n").rsplit("\n", 1)[-1])

    return call


# The parser of server-sent events

PARSE = """
const parse = (pieces) => {
  const parser = new EventParser();
  const events = pieces.flatMap((piece) => parser.push(Uint8Array.from(piece)));
  return { events, last: parser.lastEventId, retry: parser.retry };
};
"""
STREAM = (
    "\ufeff: a comment\r\n\r\nretry: 1500\n\nid: r:1\ndata: {\"text\": \"Gr\u00fc\u00dfe \U0001f30d\u2028\"}\n\n"
    "id: r:2\r\ndata:two\r\ndata: lines\r\n\r\nevent: problem\rdata: x\r\rdata\n\nid: bad\0id\ndata: y\n\nid: r:3\n\n: ping\n\ndata: never ends"
).encode()


def test_fields_of_events(run: Run) -> None:
    """Ids, types, data of several lines, comments, retry and all three line ends are read as the standard says."""
    parsed = run(PARSE + "done(parse([data.stream]))", stream=list(STREAM))
    assert parsed["events"] == [
        {"type": "message", "data": '{"text": "Gr\u00fc\u00dfe \U0001f30d\u2028"}', "id": "r:1"},
        {"type": "message", "data": "two\nlines", "id": "r:2"},
        {"type": "problem", "data": "x", "id": None},
        {"type": "message", "data": "", "id": None},
        {"type": "message", "data": "y", "id": None},
    ]
    assert (parsed["last"], parsed["retry"]) == ("r:3", 1500)


def test_each_cut_gives_the_same_events(run: Run) -> None:
    """A stream cut into two pieces at any byte, or into single bytes, has the same events."""
    cut = "const whole = JSON.stringify(parse([data.stream]));"
    cut += "const pieces = data.stream.map((_, at) => [data.stream.slice(0, at), data.stream.slice(at)]);"
    cut += "pieces.push(data.stream.map((byte) => [byte]));"
    assert run(PARSE + cut + "done(pieces.filter((piece) => JSON.stringify(parse(piece)) !== whole).length)", stream=list(STREAM)) == 0


def test_an_endless_line_is_refused(run: Run) -> None:
    """A line without an end does not fill the memory."""
    code = 'const parser = new EventParser(), piece = new TextEncoder().encode("data: " + "x".repeat(1 << 20)); let count = 0;'
    assert run(code + "try { for (;;) parser.push(piece), count++; } catch (error) { done([error.name, count < 32]); }") == ["RangeError", True]


# Following an answer over broken connections

FOLLOW = """
const events = [];
for await (const event of follow(data.url, { wait: 0.01, silence: 2, ...data.options })) events.push(event);
done(events);
"""
TYPE = "Content-Type: text/event-stream; charset=utf-8"
END = b'event: end\ndata: {"status":"completed"}\n\n'


def token(number: int) -> bytes:
    return b'id: r:%d\ndata: {"event":"Token","text":"t%d"}\n\n' % (number, number)


def names(events: list[dict[str, Any]]) -> list[str]:
    """The texts of tokens, and the names of other events."""
    return [event.get("text") or event["event"] for event in events]


def answers(*pieces: Any) -> list[Any]:
    return chunked(*pieces, headers=[TYPE])


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that plays scripts."""
    with Server() as running:
        yield running


def test_a_whole_answer(run: Run, server: Server) -> None:
    """The events come with their ids, the last is the end, and nothing is asked twice."""
    server.on("/r", answers(b"retry: 10\n\n", token(1), b": ping\n\n", token(2), END))
    events = run(FOLLOW, url=server.url + "/r")
    assert names(events) == ["open", "t1", "t2", "end"]
    assert events[-1] == {"event": "end", "status": "completed", "lastEventId": "r:2"}
    assert len(server.requests) == 1
    assert "last-event-id" not in server.requests[0].headers


def test_a_run_that_another_worker_continues(run: Run, server: Server) -> None:
    """Numbers begin again behind a position: what is new is shown, what was there before is not."""

    def event(event_id: str, text: str) -> bytes:
        return f'id: {event_id}\ndata: {{"event":"Token","text":"{text}"}}\n\n'.encode()

    first = event("r:1", "t1") + event("r.4.0.0:2", "t2") + event("r.6.0.0:3", "t3")
    second = event("r.6.0.0:2", "t3") + event("r.9.0.0:2", "t4") + event("r.11.0.0:3", "t5") + event("r:4", "t6") + event("r:4", "t6")
    server.on("/r", answers(b"retry: 10\n\n", first), answers(second, END))
    events = run(FOLLOW, url=server.url + "/r")
    assert [name for name in names(events) if name not in ("open", "lost")] == ["t1", "t2", "t3", "t4", "t5", "t6", "end"]
    assert server.requests[1].headers["last-event-id"] == "r.6.0.0:3"


@pytest.mark.parametrize("cut", range(0, len(token(1) + token(2)), 7))
def test_a_connection_that_breaks_at_any_byte(run: Run, server: Server, cut: int) -> None:
    """After a reset, the rest is asked for with the id of the last event, and no event is lost or shown twice."""
    stream = token(1) + token(2)

    def rest(request: Any) -> bytes:
        after = int(request.headers.get("last-event-id", "r:0").split(":")[1])
        pieces = b"".join(token(number) for number in range(after + 1, 4)) + END
        return plain(pieces, 200, TYPE)

    server.on("/r", [answers(stream[:cut])[0], *answers(stream[:cut] or b": ping\n\n")[1:-1], 0.05, RST], [rest])
    events = run(FOLLOW, url=server.url + "/r")
    assert [name for name in names(events) if name not in ("open", "lost")] == ["t1", "t2", "t3", "end"]
    assert len(server.requests) == 2


def test_a_proxy_that_repeats_events(run: Run, server: Server) -> None:
    """Events that were there before are skipped by their number; problems and ends have no id of their own and are not."""
    server.on("/r", answers(token(1), token(2)), answers(token(1), token(2), token(3), b'event: problem\ndata: {"title":"x"}\n\n', END))
    assert names(run(FOLLOW, url=server.url + "/r")) == ["open", "t1", "t2", "lost", "open", "t3", "problem", "end"]


def test_silence_is_a_dead_connection(run: Run, server: Server) -> None:
    """Without a byte for the given time the connection is opened again; heartbeats keep it."""
    server.on("/r", answers(token(1), 1.5, b": ping\n\n", 1.5, token(2), 30.0), answers(END))
    assert names(run(FOLLOW, url=server.url + "/r")) == ["open", "t1", "t2", "lost", "open", "end"]


def test_a_server_that_always_fails(run: Run, server: Server) -> None:
    """The number of attempts is bounded, and the answer ends with a problem; an empty stream is a failure as well."""
    server.on("/r", plain(b"", 502), answers(b"retry: 0\n\n"))
    events = run(FOLLOW, url=server.url + "/r", options={"attempts": 3, "wait": 0.01})
    assert names(events)[-3:] == ["open", "problem", "end"]
    assert (events[-2]["code"], events[-1]["status"]) == ("connection-lost", "failed")
    assert len(server.requests) == 4


def test_nothing_listens(run: Run, server: Server) -> None:
    """A refused connection is tried again as well, and then reported."""
    url = server.url + "/r"
    server.close()
    assert names(run(FOLLOW, url=url, options={"attempts": 2})) == ["lost", "lost", "problem", "end"]


@pytest.mark.parametrize("status", [404, 410, 403, 500])
def test_refusals_end_it(run: Run, server: Server, status: int) -> None:
    """A refusal is a problem with the server's title, and is not asked again."""
    server.on("/r", json_answer({"title": "The answer is gone.", "code": "gone", "status": status}, status))
    events = run(FOLLOW, url=server.url + "/r")
    assert [(event["event"], event.get("title"), event["status"]) for event in events] == [
        ("problem", "The answer is gone.", status),
        ("end", None, "failed"),
    ]
    assert len(server.requests) == 1


def test_no_content_ends_it(run: Run, server: Server) -> None:
    """204 is an end without a problem."""
    server.on("/r", answers(token(1)), plain(b"", 204))
    assert names(run(FOLLOW, url=server.url + "/r")) == ["open", "t1", "lost", "end"]


def test_retry_after(run: Run, server: Server) -> None:
    """503 waits as long as the server says; a wait that is too long for that is a problem with its time."""
    server.on("/r", plain(b"", 503, "Retry-After: 1"), answers(END))
    events = run(FOLLOW, url=server.url + "/r")
    assert (names(events), events[0]["wait"]) == (["lost", "open", "end"], 1)
    server.on("/long", json_answer({"title": "Busy."}, 503, "Retry-After: 3600"))
    problem = run(FOLLOW, url=server.url + "/long")[0]
    assert (problem["event"], problem["title"], problem["retry_after"]) == ("problem", "Busy.", 3600)


def test_problems_of_the_application(run: Run, server: Server) -> None:
    """A failure of the run is final whatever its status; a store that is down for a moment is asked again."""
    server.on("/r", json_answer({"title": "The answer broke off.", "code": "interrupted"}, 502))
    assert names(run(FOLLOW, url=server.url + "/r")) == ["problem", "end"]
    server.on("/s", json_answer({"title": "Later.", "code": "store-unavailable"}, 503), answers(END))
    assert names(run(FOLLOW, url=server.url + "/s")) == ["lost", "open", "end"]


def test_a_page_instead_of_a_stream(run: Run, server: Server) -> None:
    """A login page with status 200 is a problem, not an answer; the head of a stream that was cut off is asked for again."""
    server.on("/r", plain("<html>Log in</html>", 200, "Content-Type: text/html"))
    assert names(run(FOLLOW, url=server.url + "/r")) == ["lost", "lost", "problem", "end"]
    server.on("/cut", plain(b"", 200), answers(END))
    assert names(run(FOLLOW, url=server.url + "/cut")) == ["lost", "open", "end"]


def test_damaged_events(run: Run, server: Server) -> None:
    """An event that is not JSON is a broken connection: what follows is asked for again."""
    server.on("/r", answers(token(1), b"id: r:2\ndata: {\n\n", token(3)), answers(token(2), END))
    assert names(run(FOLLOW, url=server.url + "/r")) == ["open", "t1", "lost", "open", "t2", "end"]


def test_a_stream_of_a_post(run: Run, server: Server) -> None:
    """Without a URL to follow, the answer of the POST is read, and a broken connection is a problem."""
    post = FOLLOW.replace("follow(data.url, {", "follow(null, { response: await fetch(data.url, { method: 'POST' }),")
    server.on("/ask", answers(token(1), END), answers(token(1)))
    assert names(run(post, url=server.url + "/ask")) == ["open", "t1", "end"]
    assert names(run(post, url=server.url + "/ask")) == ["open", "t1", "problem", "end"]


def test_leaving(run: Run, server: Server) -> None:
    """A signal ends it at once, in mid-answer and while it waits for the next attempt."""
    server.on("/r", answers(token(1), 60.0))
    code = """
    const leave = new AbortController(), events = [];
    for await (const event of follow(data.url, { signal: leave.signal, wait: 10 })) {
      events.push(event.event);
      if (event.event === data.at) setTimeout(() => leave.abort(), 10);
    }
    done(events);
    """
    assert run(code, url=server.url + "/r", at="Token") == ["open", "Token"]
    server.on("/bad", plain(b"", 502))
    assert run(code, url=server.url + "/bad", at="lost") == ["lost"]


# Markdown

MARKDOWN = [
    ("one\ntwo", "<p>one\ntwo</p>"),
    ("one  \ntwo\\\nthree<br>four", "<p>one<br></br>two<br></br>three<br></br>four</p>"),
    ("# A *b* ##\n## C\nD\n===\nE\n---", "<h1>A <em>b</em></h1><h2>C</h2><h1>D</h1><h2>E</h2>"),
    ("**a *b* `c*`** _d_ snake_case_name ~~e~~ 2 * 3 * 4", "<p><strong>a <em>b</em> <code>c*</code></strong> <em>d</em> snake_case_name <del>e</del> 2 * 3 * 4</p>"),
    ("***a*** **b", "<p><em><strong>a</strong></em> **b</p>"),
    ("**Use `**kwargs`**", "<p><strong>Use <code>**kwargs</code></strong></p>"),
    ("`` a`b `` `c", "<p><code>a`b</code> `c</p>"),
    ("\\*a\\* &lt;b&gt; &#65; &amp;amp; &bogus;", "<p>*a* &lt;b> A &amp;amp; &amp;bogus;</p>"),
    ("- a\n- b\n  - c\n\n1. d\n   e\n2. f", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><ol><li>d\ne</li><li>f</li></ol>"),
    ("3. a\n\n4. b", '<ol start="3"><li><p>a</p></li><li><p>b</p></li></ol>'),
    ("- [x] a\n- [ ] b", '<ul><li class="task"><input checked="" disabled="" type="checkbox"></input>a</li>'
     '<li class="task"><input disabled="" type="checkbox"></input>b</li></ul>'),
    ("> a\nb\n> > c\n\nd", "<blockquote><p>a\nb</p><blockquote><p>c</p></blockquote></blockquote><p>d</p>"),
    ("a\n\n---\n\nb", "<p>a</p><hr></hr><p>b</p>"),
    ("|a|b|\n|-|:-:|\n|`c`|d \\| e|\n|f|\n\ng", '<div class="table" tabindex="0"><table><thead><tr><th>a</th><th class="center">b</th></tr></thead>'
     '<tbody><tr><td><code>c</code></td><td class="center">d | e</td></tr><tr><td>f</td><td class="center"></td></tr></tbody></table></div><p>g</p>'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MARKDOWN)
def test_markdown(run: Run, text: str, expected: str) -> None:
    """What models write becomes the elements that CommonMark and GitHub's tables describe."""
    assert run("done(html(data.text))", text=text) == expected


def test_code_blocks(run: Run) -> None:
    """A fence keeps its text as it is, in lists as well; an open one at the end is code, too."""
    code = "const found = render(data.text).flatMap(elements).filter((node) => node.localName === 'code').map((node) => node.textContent); done(found)"
    text = "1. a\n   ```python\n   if x:\n   \ty = '<b>'\n   ```\n2. b\n\n~~~~\n```\n~~~\n~~~~\n\n    four\n\n```js\nopen"
    assert run(code, text=text) == ["if x:\n\ty = '<b>'", "```\n~~~", "four", "open"]


def test_links(run: Run) -> None:
    """Links are http, https or mailto with the address as their title, and lead to a new page without a referrer."""
    code = "const a = render(data.text).flatMap(elements).filter((node) => node.localName === 'a'); done(a.map((node) => [...node.attributes, node.textContent]))"
    links = run(code, text='[a **b**](https://h/x_(y) "t") <mailto:a@b.c> (see https://h/p?q=1&r=2). **https://h/z**')
    rest = [["rel", "noopener noreferrer nofollow"], ["target", "_blank"]]
    assert [link[0][1] for link in links] == ["https://h/x_(y)", "mailto:a@b.c", "https://h/p?q=1&r=2", "https://h/z"]
    assert [link[4] for link in links] == ["a b", "mailto:a@b.c", "https://h/p?q=1&r=2", "https://h/z"]
    assert all(link[1] == ["title", link[0][1]] and link[2:4] == rest for link in links)


def test_images(run: Run) -> None:
    """A picture of another host is a link unless the page allows it: its URL can carry text of the conversation."""
    text = "![a](https://h/p.png?secret) [![b](https://h/q.png)](https://h/) ![c](data:image/svg+xml,x)"
    assert "img" not in run("done(html(data.text))", text=text)
    shown = run("done(html(data.text, { images: (url) => url.endsWith('q.png') }))", text=text)
    assert shown.count("<img ") == 1
    assert 'referrerpolicy="no-referrer" src="https://h/q.png"' in shown


SCHEMES = [
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "java\nscript:alert(1)", "\x01javascript:alert(1)",
    "javascript&colon;alert(1)", "&#106;avascript:alert(1)", "&#x6a;avascript:alert(1)", "javascript\\:alert(1)", "%6aavascript:alert(1)",
    "data:text/html,<script>alert(1)</script>", "vbscript:x", "file:///etc/passwd", "blob:https://h/x", "//h/x", "/logout", "view-source:https://h",
    "https://google.com@evil.example/", "feed:javascript:alert(1)", "filesystem:https://h/x", "ht\u200btp://h", "jAvascript\u2028:alert(1)", "#", "",
]  # fmt: skip


def test_addresses_that_are_no_links(run: Run) -> None:
    """Other schemes in every disguise, relative addresses and user names never become the address of an element."""
    code = """
    const forms = (x) => [`[a](${x})`, `[a](<${x}>)`, `![a](${x})`, `<${x}>`, `[![a](${x})](${x})`, `[a](${x} "t")`, `> - [a](${x})`, `|[a](${x})|b|\n|-|-|\n|<${x}>|c|`];
    const nodes = data.schemes.flatMap(forms).flatMap((text) => render(text, { images: true })).flatMap(elements);
    const addresses = nodes.flatMap((node) => [node.attributes.get("href"), node.attributes.get("src")]).filter((value) => value !== undefined);
    const own = addresses.filter((value) => !/^https:\\/\\/h\\b/.test(value)); // a URL inside of the text may be a link of its own
    done([own, data.schemes.filter((scheme) => safeUrl(scheme) !== null)]);
    """
    assert run(code, schemes=SCHEMES) == [[], []]


HOSTILE = [
    "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "<svg/onload=alert(1)>", "<a href='javascript:alert(1)'>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'>", "[a](https://h\" onmouseover=\"alert(1))", "![\" onerror=\"alert(1)](https://h/x.png)",
    "```<script>\nalert(1)\n```", "```js\" onclick=\"alert(1)\n</code><script>alert(1)</script>\n```", "`<b>`", "<!-- --><b>", "</div></main><h1>x",
    "[<img src=x onerror=alert(1)>](https://h)", "<https://h/\"onmouseover=alert(1)>", "&lt;script&gt;alert(1)&lt;/script&gt;", "<math><mi//xlink:href=\"data:x\">",
    "| <script>x</script> |\n|-|\n| <img onerror=x> |", "# <svg onload=x>", "> <style>*{display:none}</style>", "- <form action=//evil><input>", "\x00<b>\x1b[31m",
]  # fmt: skip
ALLOWED = {
    "a", "blockquote", "br", "button", "code", "del", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "img", "input", "li", "ol", "p", "pre", "span",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip


def test_html_stays_text(run: Run) -> None:
    """Only the elements of Markdown are made, with attributes of their own, and the text of the HTML can be read."""
    names = "[...new Set(data.texts.flatMap((text) => render(text, { images: true })).flatMap((node) => [node, ...elements(node)]).map((node) => node.localName))]"
    assert set(run(f"done({names})", texts=HOSTILE)) <= ALLOWED
    text = "done(render(data.text)[0].textContent)"
    assert run(text, text=HOSTILE[0]) == HOSTILE[0]
    assert run(text, text=HOSTILE[14]) == "<script>alert(1)</script>"


LONG = "\n\n".join([text for text, _ in MARKDOWN] + HOSTILE + ["```py\na\n\nb\n```", "x\r\ny\rz", "1. a\n\n   b\n\n- c\n\nd"])


def test_growing_text_becomes_the_same_elements(run: Run) -> None:
    """Text that arrives in pieces of any size, rendered after each piece, ends with the same elements as the whole text."""
    code = """
    let seed = 1;
    const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
    const whole = html(data.text), bad = [];
    for (const size of [1, 2, 3, 7, 50, 0, 0, 0]) {
      const parent = document.createElement("div"), markdown = new Markdown(parent);
      for (let i = 0; i < data.text.length; ) {
        const next = i + (size || 1 + Math.trunc(random() * 30));
        markdown.append(data.text.slice(i, next));
        markdown.flush();
        i = next;
      }
      markdown.end();
      if (parent.childNodes.map(serialize).join("") !== whole || markdown.text !== data.text) bad.push(size);
    }
    done(bad);
    """
    assert run(code, text=LONG) == []


def test_finished_blocks_are_not_touched_again(run: Run) -> None:
    """The elements of earlier blocks stay the same objects while text arrives, and so does an open code block."""
    code = """
    const parent = document.createElement("div"), markdown = new Markdown(parent);
    markdown.append("# A\\n\\nb\\n\\n```py\\nc");
    markdown.flush();
    const before = [...parent.childNodes, ...elements(parent)];
    markdown.append("d\\ne\\n```\\nf **g**\\n\\nh");
    markdown.end();
    const after = [...parent.childNodes, ...elements(parent)];
    done([before.every((node) => after.includes(node)), parent.textContent]);
    """.replace("\\\\", "\\")
    assert run(code) == [True, "AbpyCopycd\nef gh"]


def test_unfinished_marks_do_not_flicker(run: Run) -> None:
    """While text arrives, an open mark holds to the end of the text, and half a mark or half an address is not shown."""
    code = """
    const shown = (text) => { const parent = document.createElement("div"), markdown = new Markdown(parent); markdown.append(text); markdown.flush(); return parent.childNodes.map(serialize).join(""); };
    done(data.texts.map(shown));
    """
    texts = ["a **b", "a `b", "a *", "a [b](https://h", "a\n-", "| a | b |", "a\n\n| a |\n|--"]
    expected = ["<p>a <strong>b</strong></p>", "<p>a <code>b</code></p>", "<p>a </p>", "<p>a b</p>", "<p>a</p>", "", "<p>a</p>"]
    assert run(code, texts=texts) == expected


BOMBS = {
    "brackets": "[" * 200_000, "stars": "*a " * 60_000, "pairs": "*a* " * 30_000, "nested stars": "*a " * 20_000 + "a* " * 20_000, "backticks": "".join("`" * n + " " for n in range(500)),
    "quotes": ">" * 100_000, "items": "- " * 50_000 + "a", "links": "[a](" * 50_000, "images": "![" * 100_000, "spaces": "a" + " " * 200_000 + "b", "rule": "- " * 100_000 + "x",
    "fence": "```" + " " * 200_000 + "`", "tildes": "~" * 200_000 + "`", "delimiters": "|a|\n|-" + " " * 200_000 + "x", "heading": "# " + "# " * 100_000 + "x", "entities": "&" * 200_000,
    "tags": "<" * 200_000, "urls": "https://" * 40_000, "escapes": "\\" * 200_001, "code spaces": "`  " + " " * 200_000 + "a`", "lines": "a\n" * 50_000, "blank": "\n" * 200_000,
    "under": "_a" * 100_000, "parens": "[a](" + "(" * 200_000, "label": "[" + "[a]" * 60_000, "table": "|a|\n|-|\n" + "|b|\n" * 20_000, "deep": "\n".join("  " * n + "- a" for n in range(400)),
}  # fmt: skip


@pytest.mark.parametrize("is_open", [False, True], ids=["complete", "arriving"])
def test_no_text_takes_long(run: Run, is_open: bool) -> None:
    """Texts that are slow for many readers of Markdown are rendered in linear time of the processor; nesting is bounded."""
    code = """
    const used = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1000; };
    const slow = [], depth = (node) => { let most = 0; for (const stack = [[node, 1]]; stack.length; ) { const [top, level] = stack.pop(); most = Math.max(most, level); for (const child of top.childNodes) stack.push([child, level + 1]); } return most; };
    for (const [name, text] of Object.entries(data.texts)) {
      const begun = used(), nodes = render(text, { open: data.open });
      slow.push([name, Math.round(used() - begun), Math.max(0, ...nodes.map(depth))]);
    }
    done(slow);
    """
    measured = run(code, texts=BOMBS, open=is_open)
    assert [name for name, milliseconds, _ in measured if milliseconds > 10_000] == []
    assert max(depth for _, _, depth in measured) < 100
