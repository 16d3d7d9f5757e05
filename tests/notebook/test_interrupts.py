"""An interrupt of a real kernel, wherever a cell waits: the generation stops, the partial answer stays, the next cell runs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chat.replay import JSONL, STARTED, ChatUI, final, lines, token
from tests.inference.answers import CHAT, begun, call, calls, delta, says
from tests.notebook.kernel import Cell, Kernel
from tests.server import UNTIL_GONE, Server, chunk, head

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kernels are interrupted by another mechanism there")

SILENT = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED)), UNTIL_GONE]
HALF = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED, token("half"))), UNTIL_GONE]
READS = {
    "value": "client.chat('Hi')",
    "show": "client.chat('Hi').show()",
    "text": "text = client.chat('Hi').text",
    "print": "print(client.chat('Hi').result())",
    "loop": "for event in client.chat('Hi'):\n    pass",
    "with": "with client.chat('Hi') as stream:\n    list(stream)",
    "ask": "client.conversation().ask('Hi')",
    "ticks": "for event in hfclient.ticks(lambda: client.chat('Hi'), 30): pass",
}


# In the kernel: makes a file once a stream that is being read has a text.
TELL = """
import gc, hfclient, pathlib, threading, time
def _tell(mark, text):
    def is_read(one):
        return isinstance(one, hfclient.Stream) and one._state == "reading" and one._reader and one.partial.text == text
    def look():
        while not any(map(is_read, gc.get_objects())):
            time.sleep(0.05)
        pathlib.Path(mark).touch()
    threading.Thread(target=look, daemon=True).start()
"""


def has_read(kernel: Kernel, folder: Path, text: str) -> Callable[[], bool]:
    """A condition: a stream of the next cell has read *text*."""
    mark = folder / "read"
    assert kernel.run(f"{TELL}_tell({str(mark)!r}, {text!r})").status == "ok"
    return mark.exists


@pytest.fixture(params=["None", "'chrome'"], ids=["requests", "curl_cffi"])
def cell(request: pytest.FixtureRequest, one_kernel: Kernel, ui: ChatUI) -> Iterator[Callable[..., Cell]]:
    """Run a cell with a ``client`` of the server over each transport, and interrupt it."""
    if request.param != "None":
        pytest.importorskip("curl_cffi")
    options = f"token='', session='', impersonate={request.param}"
    made = one_kernel.run(f"import hfclient\nclient = hfclient.Client({ui.url!r}, {options})")
    assert made.status == "ok", made.traceback
    yield one_kernel.interrupted
    one_kernel.run("client.close()")


def check_short(shown: Cell, line: str) -> None:
    """The traceback has the caller's line and no frame of hfclient or of another library."""
    assert (shown.status, shown.error, shown.errors) == ("error", "KeyboardInterrupt", 1)
    text = shown.traceback
    assert line in text
    assert "site-packages" not in text
    assert "File " not in text
    assert text.count("---->") == 1
    assert len(text.strip().splitlines()) <= 7


@pytest.mark.parametrize("way", READS)
@pytest.mark.parametrize("answer", [SILENT, HALF], ids=["first token", "middle"])
def test_while_reading(
    ui: ChatUI, one_kernel: Kernel, cell: Callable[..., Cell], way: str, answer: list[object], tmp_path: Path
) -> None:
    """While the first token is awaited, and in the middle of an answer."""
    ui.says(b"", answer)
    text = "half" if answer is HALF else ""
    shown = cell(READS[way], has_read(one_kernel, tmp_path, text))
    check_short(shown, READS[way].split("\n")[0] if way != "with" else "list(stream)")
    assert shown.traceback.strip().endswith("The answer so far is in client.last.")
    assert len(ui.stops) == 1
    kept = one_kernel.run("print((client.last.text, client.last.interrupted))")
    assert kept.text == f"{(text, True)}\n"
    if way in ("value", "show"):
        assert "interrupted" in shown.markdown
        assert shown.markdown.startswith(text)


def test_while_opening(ui: ChatUI, one_kernel: Kernel, cell: Callable[..., Cell]) -> None:
    """Before the server answers: the run that may have begun is stopped, and there is no partial answer."""
    ui.says(b"", [UNTIL_GONE])
    shown = cell("stream = client.chat('Hi')", lambda: ui.count("send") == 1)
    check_short(shown, "stream = client.chat('Hi')")
    assert "client.last" not in shown.traceback
    assert one_kernel.run("print(client.last)").text == "None\n"


def test_the_conversation_goes_on(ui: ChatUI, one_kernel: Kernel, cell: Callable[..., Cell], tmp_path: Path) -> None:
    """After an interrupt the same conversation takes the next message at once."""
    ui.says(b"", HALF, stored={"content": "half", "interrupted": True, "updates": [final("half", True)]})
    ui.says(lines(STARTED, token("again"), final("again")), stored={"content": "again"})
    one_kernel.run("conversation = client.conversation()")
    check_short(cell("conversation.send('Hi')", has_read(one_kernel, tmp_path, "half")), "conversation.send('Hi')")
    after = one_kernel.run("conversation.send('Hi')")
    assert after.status == "ok"
    assert after.markdown.startswith("again")


def test_twice(ui: ChatUI, one_kernel: Kernel, cell: Callable[..., Cell], tmp_path: Path) -> None:
    """A second interrupt does not wait for the stop, and the kernel can be used."""
    ui.says(b"", HALF)
    ui.always("stop", [UNTIL_GONE])
    shown = cell("client.chat('Hi')", has_read(one_kernel, tmp_path, "half"), lambda: ui.count("stop") == 1)
    assert (shown.status, shown.error) == ("error", "KeyboardInterrupt")
    assert one_kernel.run("print(client.last.text)").text == "half\n"


def test_while_a_retry_waits(server: Server, one_kernel: Kernel) -> None:
    """In the pause before another attempt."""
    from tests.server import json_answer

    server.on("*", json_answer({"message": "later"}, 503))
    made = one_kernel.run(
        f"import hfclient\nclient = hfclient.Client({server.url!r}, token='', session='', retry=hfclient.Retry(backoff=30, max_wait=60))"
    )
    assert made.status == "ok"
    shown = one_kernel.interrupted("client.chat('Hi').text", lambda: len(server.requests) >= 1)
    check_short(shown, "client.chat('Hi').text")


@pytest.mark.parametrize("way", [".result()", ".show()", ""], ids=["result", "show", "value"])
def test_in_a_tool(server: Server, one_kernel: Kernel, tmp_path: object, way: str) -> None:
    """In a function of the caller: its own line is in the traceback if it was interrupted itself, and the run ends."""
    import pathlib

    mark = pathlib.Path(str(tmp_path)) / "called"
    server.on(CHAT, calls(call("wait"), text="Let me wait."), says("never"))
    code = (
        "import hfclient, pathlib, time\n"
        f"client = hfclient.Client({server.url!r}, token='', session='', inference_url={server.url + '/v1'!r})\n"
        "def wait():\n    'Wait.'\n"
        f"    pathlib.Path({str(mark)!r}).touch()\n"
        "    for _ in range(6000):\n        time.sleep(0.01)\n"
    )
    assert one_kernel.run(code).status == "ok"
    shown = one_kernel.interrupted(f"client.inference.run_tools('?', [wait], model='m'){way}", mark.exists)
    assert (shown.status, shown.error, shown.errors) == ("error", "KeyboardInterrupt", 1)
    assert "site-packages" not in shown.traceback
    assert "client.inference.run_tools" in shown.traceback
    assert ("time.sleep" in shown.traceback) == (way == ".result()")
    assert one_kernel.run("print(client.last.text, client.last.tool_calls[0].name)").text == "Let me wait. wait\n"
    assert len(server.requests) == 1


def test_inference(server: Server, one_kernel: Kernel, tmp_path: Path) -> None:
    """A completion: leaving it ends the connection, and the partial answer is marked."""
    gone = threading.Event()
    server.on(CHAT, [*begun(delta(content="half")), UNTIL_GONE, lambda request: gone.set()])
    one_kernel.run(f"client = hfclient.Client({server.url!r}, token='', session='', inference_url={server.url + '/v1'!r})")
    code = "client.inference.chat('Hi', model='m')"
    check_short(one_kernel.interrupted(code, has_read(one_kernel, tmp_path, "half")), code)
    assert one_kernel.run("print((client.last.text, client.last.interrupted))").text == "('half', True)\n"


def test_all_frames(ui: ChatUI, one_kernel: Kernel, cell: Callable[..., Cell], tmp_path: Path) -> None:
    """With %xmode Verbose the traceback has all frames, for reports of bugs."""
    ui.says(b"", HALF)
    one_kernel.run("%xmode Verbose")
    try:
        shown = cell("client.chat('Hi').text", has_read(one_kernel, tmp_path, "half"))
    finally:
        one_kernel.run("%xmode Context")
    assert "stream.py" in shown.traceback
