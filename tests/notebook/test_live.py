"""A stream as the value of a cell, in a real kernel: it renders as it comes, and what ends it early makes the cell fail."""

from __future__ import annotations

import base64
import html
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from hfclient.events import Token
from hfclient.notebook import cell_output
from hfclient.notebook.cell_output import CellOutput
from hfclient.notebook.times import Times
from hfclient.types import Reply
from tests.chat.replay import JSONL, STARTED, ChatUI, final, lines, token
from tests.notebook.kernel import Cell, Kernel
from tests.server import LAST_CHUNK, RST, Server, Step, chunk, head, json_answer, plain

BEGUN = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED))]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def tool(subtype: str, uuid: str = "u1", **fields: Any) -> dict[str, Any]:
    return {"type": "tool", "subtype": subtype, "uuid": uuid, **fields}


def says(ui: ChatUI, *updates: dict[str, Any] | Step, end: Step = LAST_CHUNK) -> None:
    """Answer the next message with updates; other steps of a script stand between them."""
    steps = [chunk(lines(one)) if isinstance(one, dict) else one for one in updates]
    ui.says(b"", [*BEGUN, *steps, end])


def test_a_value_renders_live(ui: ChatUI, kernel: Kernel) -> None:
    """One display grows while the answer comes, and ends as the display of the reply with a line of times."""
    go = threading.Event()
    seen: list[str] = []
    plain: list[str] = []

    def note(cell: Cell) -> None:
        if cell.shown:
            plain.append(next(iter(cell.shown.values()))["text/plain"])
            seen.append(cell.markdown)
            if "One" in cell.markdown:
                go.set()

    says(ui, token("**One**"), go, token(" two"), final("**One** two"))
    cell = kernel.run("client.chat('Hi')", note)
    assert cell.status == "ok"
    assert len(cell.shown) == 1
    assert seen[0].startswith("<small>waiting for the answer")
    assert plain[0].endswith("client.last has the answer: this front end does not update displays)")
    assert "does not update" not in plain[-1]
    assert any(text.startswith("**One**\n\n<small>7 characters") for text in seen)
    assert html.unescape(cell.markdown).startswith("**One** two\n\n<small>org/first · ")
    assert cell.updates >= 2
    assert kernel.run("assert client.last.text == '**One** two'; assert str(_) == '<ChatStream done>: result() has the answer'").status == "ok"


def test_the_clock_moves_in_silence(ui: ChatUI, kernel: Kernel) -> None:
    """While nothing comes, the seconds and the state of a tool are shown."""
    go = threading.Event()

    def note(cell: Cell) -> None:
        if cell.shown and "search is running · 2 s" in cell.shown[next(iter(cell.shown))]["text/plain"]:
            go.set()

    says(ui, tool("call", call={"name": "search", "parameters": {"q": "a"}}), go, token("ok"), final("ok"))
    assert kernel.run("client.chat('Hi').show()", note).status == "ok"
    assert go.is_set()


def test_all_parts(ui: ChatUI, kernel: Kernel) -> None:
    """Reasoning, tools with arguments and results, sources, and pictures that are fetched and embedded; nothing of it is HTML."""
    evil = "<img src=x onerror=alert(1)>"
    seen: list[str] = []
    go = threading.Event()

    def note(cell: Cell) -> None:
        if cell.shown:
            seen.append(cell.markdown)
            if "50%" in html.unescape(cell.markdown):
                go.set()

    says(
        ui,
        {"type": "reasoning", "subtype": "stream", "token": f"thinking {evil}"},
        tool("call", call={"name": f"search{evil}", "parameters": {"q": evil}}),
        tool("progress", progress=1, total=2, message=evil),
        go,
        tool("result", result={"status": "success", "outputs": [{"text": f"found {evil}\n```\n# x"}]}),
        tool("call", "u2", call={"name": "draw", "parameters": {}}),
        tool("error", "u2", message=evil),
        token(f"text {evil} ![a](https://evil.example/a.png) [b](javascript:alert(1))"),
        {
            "type": "webSearch",
            "subtype": "sources",
            "sources": [{"title": f"T]({evil}", "link": "https://a.example/?q=1"}, {"title": "bad", "link": "javascript:alert(1)"}],
        },
        {"type": "file", "name": f"{evil}.png", "sha": "a" * 64, "mime": "image/png"},
        final(f"text {evil} ![a](https://evil.example/a.png) [b](javascript:alert(1))"),
    )
    ui.on(f"/conversation/{1:024x}/output/{'a' * 64}", plain(PNG, 200, "Content-Type: image/png"))
    ui.always("other", plain(PNG, 200, "Content-Type: image/png"))
    cell = kernel.run("client.chat('Hi')", note)
    assert cell.status == "ok"
    assert any("<details open><summary>Reasoning</summary>" in text for text in seen)
    final_one = cell.markdown
    assert "<details><summary>Reasoning</summary>" in final_one
    assert "| <code>search" in final_one
    assert "| <code>draw</code> | <code>{}</code> | error: " in html.unescape(final_one)
    assert "](https://a.example/?q=1)" in final_one
    assert list(cell.shown.values())[1]["image/png"]
    for text in seen:
        outside = _outside_fences(text)
        assert "<img" not in outside
        assert "![" not in outside
        assert "](javascript" not in outside


def _outside_fences(markdown: str) -> str:
    kept, fence = [], ""
    for line in markdown.split("\n"):
        if fence:
            fence = "" if line == fence else fence
        elif line.startswith("```"):
            fence = "`" * (len(line) - len(line.lstrip("`")))
        else:
            kept.append(line)
    return "\n".join(kept)


def test_pictures_in_the_result_of_a_tool(ui: ChatUI, kernel: Kernel) -> None:
    """Pictures that an MCP server sends inside its result are shown; what only claims to be one is not."""
    bodies = [PNG, b"<svg onload='alert(1)'/>", PNG[:20]]
    content: list[Any] = [{"type": "image", "data": base64.b64encode(body).decode(), "mimeType": "image/png"} for body in bodies]
    outputs = [{"text": "a square", "content": [*content, {"type": "image", "data": "%"}, {"type": "image"}, None]}, {"content": 1}]
    call = {"name": "draw", "parameters": {}}
    says(ui, tool("call", call=call), tool("result", result={"status": "success", "call": call, "outputs": outputs}), token("a"), final("a"))
    cell = kernel.run("client.chat('Hi')")
    assert cell.status == "ok"
    assert [list(one) for one in cell.shown.values()][1:] == [["image/png", "text/plain"]]
    assert "a square" in cell.markdown


def test_a_picture_that_is_none(ui: ChatUI, kernel: Kernel) -> None:
    """What the server calls a picture is shown only if it is one; a page, SVG or an error is not."""
    for body in (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", b"<html>", PNG[:20], None):
        ui.always("other", plain(body, 200, "Content-Type: image/png") if body else json_answer({}, 500))
        says(ui, token("a"), {"type": "file", "name": "a", "sha": "a" * 64, "mime": "image/png"}, final("a"))
        cell = kernel.run("client.chat('Hi')")
        assert cell.status == "ok"
        assert len(cell.shown) == 1
        assert "<code>a</code>" in cell.markdown


def test_an_error_makes_the_cell_fail(ui: ChatUI, kernel: Kernel) -> None:
    """The partial answer and the error are shown once each, and the cell fails, as a value and with show()."""
    for code, exception in (("client.chat('Hi')", "GenerationError"), ("client.chat('Hi').show()", "GenerationError")):
        says(ui, token("half"), {"type": "status", "status": "error", "message": "overloaded"})
        cell = kernel.run(f"{code}")
        assert (cell.status, cell.error, cell.errors) == ("error", exception, 1)
        assert cell.markdown.startswith("half\n\n<small>")
        assert cell.markdown.endswith("ended by GenerationError</small>")
        assert "GenerationError: overloaded" in cell.traceback
        assert cell.traceback.endswith("The answer so far is in client.last.")
        assert "hfclient" not in cell.traceback.replace("hfclient.Client", "")
        assert kernel.run("client.last.text").shown["display 0"]["text/plain"] == "'half'"


def test_a_cut_answer(ui: ChatUI, kernel: Kernel) -> None:
    """A connection that breaks for good ends in StreamInterrupted, and the next cell can go on."""
    kernel.run("client = hfclient.Client(client.base_url, token='', session='', retry=hfclient.Retry(resume=0.1))")
    says(ui, token("half"), end=RST)
    ui.always("log", [RST])
    ui.fault("read", *[[RST]] * 30)
    cell = kernel.run("client.chat('Hi')")
    assert (cell.status, cell.error) == ("error", "StreamInterrupted")
    assert cell.markdown.startswith("half")


def test_a_stream_that_was_read(ui: ChatUI, kernel: Kernel) -> None:
    """A finished, failed or closed stream shows what it has, without an error and without a request."""
    says(ui, token("all"), final("all"))
    says(ui, token("half"), {"type": "status", "status": "error", "message": "no"})
    says(ui, token("begun"), token("rest"), final("begunrest"))
    kernel.run("a = client.chat('1'); a.result()")
    kernel.run("b = client.chat('2')\ntry: b.result()\nexcept hfclient.HFClientError: pass")
    kernel.run("c = client.chat('3'); next(t for t in c.iter_text()); c.close()")
    before = len(ui.seen)
    for name, text in (("a", "all"), ("b", "half"), ("c", "begun")):
        for code in (name, f"{name}.show()"):
            cell = kernel.run(code)
            assert cell.status == "ok"
            assert cell.markdown.startswith(text)
    assert len(ui.seen) == before


def test_the_rest_of_a_stream(ui: ChatUI, kernel: Kernel) -> None:
    """A stream of which events were taken one by one shows all that came."""
    says(ui, token("One"), token(" two"), final("One two"))
    cell = kernel.run("s = client.chat('1')\nwhile not s.partial.text: next(s)\ns")
    assert cell.status == "ok"
    assert cell.markdown.startswith("One two\n")


def test_tools_of_the_caller(server: Server, kernel: Kernel) -> None:
    """A run with functions: their calls and results are shown, and the text is that of the last round."""
    from tests.inference.answers import CHAT, call, calls, says

    server.on(CHAT, calls(call("add", {"a": 1, "b": 2}), text="Let me see."), says("It is **3**.", counts=(5, 7)))
    cell = kernel.run(
        f"inference = client.inference.at({server.url + '/v1'!r})\n"
        "def add(a: int, b: int) -> int:\n    'Add.'\n    return a + b\n"
        "inference.run_tools('1 + 2', [add], model='m')"
    )
    assert cell.status == "ok"
    assert "| <code>add</code> | " in cell.markdown
    assert "It is **3**." in cell.markdown
    assert "Let me see" not in cell.markdown
    assert "5 + 7 tokens" in html.unescape(cell.markdown)


def test_other_parts_of_the_cell(ui: ChatUI, kernel: Kernel) -> None:
    """print(stream) says what to do and reads nothing; display() in the middle of a cell shows it, and the cell goes on."""
    says(ui, token("a"), final("a"))
    cell = kernel.run("s = client.chat('Hi')\nprint(s)\ndisplay(s)\nprint('after', s.text)")
    assert cell.text == "<ChatStream open>: show() shows the answer as it comes, .text is the whole of it\nafter a\n"
    assert cell.markdown.startswith("a\n")


def test_an_object(server: Server, kernel: Kernel) -> None:
    """The stream of an object shows the object so far as JSON; an answer that is not one makes the cell fail."""
    from tests.inference.answers import CHAT, says

    server.on(CHAT, says('{"name": "Par', 'is"}'), says("no"), says("no"))
    kernel.run(
        f"inference = client.inference.at({server.url + '/v1'!r})\nimport dataclasses\n"
        "@dataclasses.dataclass\nclass City:\n    name: str"
    )
    cell = kernel.run("stream = inference.parse_stream('?', into=City, model='m')\nstream")
    assert cell.status == "ok"
    assert cell.markdown.strip().startswith('```json\n{\n  "name": "Paris"\n}\n```\n')
    assert kernel.run("print(stream.result().name, stream)").text == "Paris <ParseStream done>: result() has the object\n"
    cell = kernel.run("inference.parse_stream('?', into=City, model='m')")
    assert (cell.status, cell.error) == ("error", "ParseError")
    assert cell.markdown.startswith("no")


QUESTION = {"elicitationId": "6cff0873-9b03-4a86-9147-c142d6aabb6f", "server": "booking", "mode": "form", "message": "How many?", "fields": []}


def test_a_question_of_a_tool(ui: ChatUI, kernel: Kernel) -> None:
    """While a tool waits for an answer the cell says so and how to give one; once it is answered it does not."""
    go = threading.Event()
    seen: list[str] = []

    def note(cell: Cell) -> None:
        if cell.shown:
            seen.append(html.unescape(cell.markdown))
            if "a tool waits for an answer: How many?; on_elicitation=" in seen[-1]:
                go.set()

    says(
        ui,
        tool("call", call={"name": "book", "parameters": {}}),
        {"type": "elicitation", "subtype": "request", "request": QUESTION, "toolUuid": "u1", "expiresAt": 1795235814881},
        go,
        {"type": "elicitation", "subtype": "resolved", "elicitationId": QUESTION["elicitationId"], "action": "accept"},
        tool("result", result={"status": "success", "call": {"name": "book", "parameters": {}}, "outputs": [{"text": "2"}]}),
        token("Booked."),
        final("Booked."),
    )
    assert kernel.run("client.chat('Hi')", note).status == "ok"
    assert go.is_set()
    assert "waits" not in seen[-1]


class Display:
    """What `IPython.display` is for a cell's output: keeps what is shown, and fails as often as the test asks to."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.shown: list[dict[str, str]] = []
        self.display_id = "1"

    def display(self, bundle: dict[str, str], **options: Any) -> Display:
        return self.update_display(bundle)

    def update_display(self, bundle: dict[str, str], **options: Any) -> Display:
        if len(self.shown) == 1 and self.failures:
            raise self.failures.pop()
        self.shown.append(bundle)
        return self


def output_on(display: Display, monkeypatch: pytest.MonkeyPatch) -> CellOutput:
    monkeypatch.setattr(cell_output, "_display", display)
    return CellOutput(SimpleNamespace(partial=Reply(text="half")), Reply(text="half"))


def test_an_interrupt_during_the_last_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """The display does not stay as it was in the middle of the answer."""
    display = Display(KeyboardInterrupt())
    output = output_on(display, monkeypatch)
    output.begin(Times())
    with pytest.raises(KeyboardInterrupt):
        output.end(Reply(text="the whole answer"), Times())
    assert "the whole answer" in display.shown[-1]["text/markdown"]
    assert len(display.shown) == 2


def test_an_answer_that_cannot_be_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the renderer does not end the answer: it is shown as plain text."""

    def fail(*values: Any, **options: Any) -> str:
        raise RecursionError

    monkeypatch.setattr(cell_output, "reply_markdown", fail)
    display = Display()
    output = output_on(display, monkeypatch)
    output.begin(Times())
    output.add(Token("half"), Times())
    output.end(Reply(text="the whole answer"), Times())
    assert list(display.shown[-1]) == ["text/plain"]
    assert display.shown[-1]["text/plain"].startswith("the whole answer")
