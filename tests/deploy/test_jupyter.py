"""Notebooks as people see them: JupyterLab with a real kernel, in Chromium."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("jupyterlab")
pytest.importorskip("waitress", reason="the embedded server needs the extra: local")
pytest.importorskip("playwright")

from hfclient.local import LocalServer
from tests.deploy.jupyter import JupyterLab, Notebook
from tests.local.upstream import ScriptedUpstream, Think
from tests.server import Server

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def chat_server(upstream: ScriptedUpstream) -> Iterator[LocalServer]:
    with LocalServer(upstream=upstream.url) as running:
        yield running


@pytest.fixture(scope="module")
def lab(upstream: ScriptedUpstream, chat_server: LocalServer) -> Iterator[JupyterLab]:
    """A JupyterLab whose kernels find the embedded server as their chat server and inference server."""
    with JupyterLab(HFCLIENT_BASE_URL=chat_server.url, UPSTREAM=upstream.url, HFCLIENT_SESSION="private") as running:
        yield running


def texts(notebook: Notebook, number: int) -> str:
    """The text that a cell's output shows."""
    shown: str = notebook.output(number).inner_text()
    return shown


def test_a_cell_with_chat(lab: JupyterLab, page: Any, upstream: ScriptedUpstream) -> None:
    """``%%chat`` shows formatted Markdown, the next cell continues the conversation, and the reply is a variable."""
    upstream.say("Hi", ["Hello **there**.\n\n", "| a | b |\n|---|---|\n| 1 | 2 |\n"])
    upstream.say("And now?", ["More."])
    notebook = lab.open(page, ["%load_ext hfclient", "%%chat --into answer\nHi", "%chat And now?", "print(answer.text[:5], len(conversation.messages()))"])
    notebook.run(0)
    answer = notebook.run(1)
    assert answer.locator("strong").inner_text() == "there"
    assert answer.locator("td").all_inner_texts() == ["1", "2"]
    assert "More." in notebook.run(2).inner_text()
    assert [message["content"] for message in upstream.last_messages() if message["role"] == "user"] == ["Hi", "And now?"]
    assert notebook.run(3).inner_text().strip() == "Hello 5"


def test_an_answer_grows(lab: JupyterLab, page: Any, upstream: ScriptedUpstream) -> None:
    """A stream as the last value of a cell shows the answer while it arrives, with the reasoning folded, in one output."""
    gate = threading.Event()
    upstream.say("Grow", [Think("The user wants growth."), "The **first** half, ", gate, "and the second."])
    notebook = lab.open(page, ["from hfclient import Client\nclient = Client()", "client.chat('Grow')"])
    notebook.run(0)
    notebook.start(1)
    output = notebook.output(1)
    output.locator("strong", has_text="first").wait_for()
    assert "second" not in texts(notebook, 1)
    gate.set()
    output.get_by_text("and the second.").wait_for()
    notebook.wait(1)
    folded = output.locator("details")
    assert folded.count() == 1
    assert not folded.get_by_text("The user wants growth.").is_visible()
    folded.locator("summary").click()
    folded.get_by_text("The user wants growth.").wait_for()
    outputs = notebook.save()["cells"][1]["outputs"]
    assert [output["output_type"] for output in outputs] == ["display_data"]
    assert "text/markdown" in outputs[0]["data"] or "text/html" in outputs[0]["data"]
    assert "and the second." in "".join(outputs[0]["data"]["text/plain"])


def test_interrupt(lab: JupyterLab, page: Any, upstream: ScriptedUpstream, chat_server: LocalServer) -> None:
    """The button of the toolbar stops the answer, on the server too; what came stays, and the next cell works."""
    gate = threading.Event()
    upstream.say("Long", ["The beginning.", gate, "The end."])
    upstream.say("Next", ["It works."])
    notebook = lab.open(page, ["%load_ext hfclient", "%%chat\nLong", "print(_.text, _.interrupted, client.last == _)", "%chat Next"])
    notebook.run(0)
    notebook.start(1)
    notebook.output(1).get_by_text("The beginning.").wait_for()
    page.click("[data-command='notebook:interrupt-kernel']")
    notebook.wait(1)
    gate.set()
    shown = texts(notebook, 1)
    assert "The beginning." in shown
    assert "KeyboardInterrupt" in shown
    assert "site-packages" not in shown
    assert "hfclient/" not in shown
    assert len(shown.split("\n")) < 12
    assert notebook.run(2).inner_text().strip() == "The beginning. True True"
    assert "It works." in notebook.run(3).inner_text()


HOSTILE = """<script>window.pwned = 1</script><img src="{url}/html.png" onerror="window.pwned = 2">
<svg onload="window.pwned = 3"></svg><iframe src="{url}/frame"></iframe><style>@import url({url}/style.css); body {{ display: none }}</style>

![picture]({url}/markdown.png) ![reference][1] [link](javascript:window.pwned=4) [data](data:text/html,<script>window.pwned=5</script>)
<a href="javascript:window.pwned=6">anchor</a> <form action="{url}/form"><input autofocus onfocus="window.pwned=7"></form>

[1]: {url}/reference.png
<details open ontoggle="window.pwned = 8"><summary>x</summary></details> <link rel=stylesheet href="{url}/link.css">
<math><mtext><table><mglyph><style><img src=x onerror="window.pwned=9"></style></mglyph></table></mtext></math>

$$\\require{{html}}\\href{{javascript:window.pwned=10}}{{x}} \\style{{background: url({url}/math.png)}}{{y}} \\unicode{{60}}$$

| a | b |
|---|---|
| <b onmouseover="window.pwned=11">1</b> | ![]({url}/cell.png) |

`<img src={url}/code.png>`

```html"><img src={url}/fence.png>
<img src="{url}/block.png" onerror="window.pwned=12">
```
</div></div><div style="position:fixed;inset:0;background:url({url}/fixed.png)">covered</div> the last words
"""


def test_hostile_markdown(lab: JupyterLab, page: Any, upstream: ScriptedUpstream, other_server: Server) -> None:
    """Markdown of a model runs no script, loads nothing and has no link to a script: live, as a value, and after a reload."""
    text = HOSTILE.format(url=other_server.url)
    upstream.say("Hostile", [Think(text), *(text[i : i + 37] for i in range(0, len(text), 37))])
    cells = ["from hfclient import Client, Client as C\nclient = Client()", "client.chat('Hostile')", "client.last", "client.conversation(client.last.conversation_id).tree()"]
    notebook = lab.open(page, cells)
    for number in range(len(cells)):
        notebook.run(number)
    page.wait_for_timeout(500)

    def check() -> None:
        assert page.evaluate("window.pwned") is None
        links = page.eval_on_selector_all(".jp-OutputArea a", "all => all.map(one => one.getAttribute('href') || one.getAttribute('xlink:href'))")
        assert [link for link in links if link and not link.startswith(("http://", "https://", "mailto:", "#"))] == []
        assert page.locator(".jp-OutputArea :is(script, iframe, form, input, link, style:has-text('import'))").count() == 0
        assert page.locator(".jp-OutputArea img").count() == 0
        handlers = "all => all.filter(one => one.tagName != 'THEAD').flatMap(one => one.getAttributeNames()).filter(name => name.startsWith('on'))"
        assert page.eval_on_selector_all(".jp-OutputArea *", handlers) == []
        assert "the last words" in texts(notebook, 1)

    check()
    for output in page.locator(".jp-OutputArea details").all():
        output.evaluate("one => one.open = true")
    page.wait_for_timeout(300)
    check()
    notebook.save()
    page.reload()
    page.wait_for_selector(".jp-Notebook .jp-Cell:nth-child(4)")
    notebook.output(1).get_by_text("the last words").last.wait_for()
    check()
    assert other_server.requests == []


def test_tables_and_pictures(lab: JupyterLab, page: Any) -> None:
    """A click on a heading sorts a table, and a list of images is a grid of pictures that are in the notebook itself."""
    cells = [
        "from tests.docs.scripted import start_in_kernel\nstart_in_kernel()\nfrom hfclient import Client\nclient = Client.local()",
        "for prompt in ('banana', 'apple', 'cherry'): client.chat(prompt).result()\nclient.conversations.list()",
        "client.inference.images('a lighthouse by the sea', 4)",
        "%load_ext hfclient\n%chat_models",
    ]
    notebook = lab.open(page, cells)
    notebook.run(0)
    table = notebook.run(1).locator("table")
    titles = table.locator("tbody tr td:first-child")
    assert sorted(titles.all_inner_texts()) == ["apple", "banana", "cherry"]
    heading = table.locator("thead th").first
    heading.click()
    assert titles.all_inner_texts() == ["apple", "banana", "cherry"]
    heading.click()
    assert titles.all_inner_texts() == ["cherry", "banana", "apple"]
    pictures = notebook.run(2).locator("img")
    assert pictures.count() == 4
    pictures.last.wait_for()
    assert pictures.evaluate_all("all => all.map(one => [one.naturalWidth, one.src.slice(0, 22)])") == [[240, "data:image/png;base64,"]] * 4
    boxes = [picture.bounding_box() for picture in pictures.all()]
    assert len({box["x"] for box in boxes}) > 1, "the pictures are beside each other"
    assert "SmolLM2-135M-Instruct" in notebook.run(3).locator("table").inner_text()


_IS_COMPLETED = (
    "([one, text]) => one.innerText.includes(text) || (document.querySelector('.jp-Completer')?.innerText ?? '').includes(text)"
)


def test_completion(lab: JupyterLab, page: Any) -> None:
    """The Tab key completes an option of ``%%chat``, and the name of a model of the server."""
    from playwright.sync_api import TimeoutError as NotYet

    notebook = lab.open(page, ["%load_ext hfclient", "%%chat --mod", "%%chat --model test/m"])
    notebook.run(0)
    for number, completed in ((1, "--model"), (2, "test/model")):
        notebook.cell(number).locator(".cm-content").click()
        page.keyboard.press("End")
        arguments = [notebook.cell(number).locator(".cm-content").element_handle(), completed]
        # JupyterLab shows nothing if the kernel takes longer than a second, as on a busy machine; then the key is pressed again.
        while not page.evaluate(_IS_COMPLETED, arguments):
            page.keyboard.press("Tab")
            with contextlib.suppress(NotYet):
                page.wait_for_function(_IS_COMPLETED, arg=arguments, timeout=3000)
        page.keyboard.press("Escape")


def test_login(lab: JupyterLab, page: Any, chat_server: LocalServer) -> None:
    """``%chat_login`` asks with a hidden field of the notebook; the input is neither in the file nor in the page."""
    code = "import hfclient.chat.resources.login as module\nmodule.Login.enabled = True\n%load_ext hfclient"
    notebook = lab.open(page, [code, f"%chat_login --url {chat_server.url}"])
    notebook.run(0)
    notebook.start(1)
    field = page.locator(".jp-Stdin-input")
    field.wait_for()
    assert field.get_attribute("type") == "password"
    field.fill("hf-chat=the-secret-value")
    field.press("Enter")
    notebook.wait(1)
    assert "the-secret-value" not in page.content()
    assert "the-secret-value" not in str(notebook.save())

