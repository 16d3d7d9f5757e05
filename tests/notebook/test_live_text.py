"""show() without a notebook: in a script, in a pipe, on a terminal, in IPython on a terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from hfclient import Client, GenerationError
from hfclient.events import Reasoning, Token
from hfclient.notebook.text_output import TextOutput
from hfclient.notebook.times import Times
from hfclient.types import Reply
from tests.chat.replay import STARTED, ChatUI, final, lines, token
from tests.processes.helpers import ROOT


@pytest.fixture
def client(ui: ChatUI) -> Iterator[Client]:
    """A client of the test's server."""
    with Client(ui.url, token="", session="") as client:
        yield client


def says(ui: ChatUI, *updates: dict[str, Any]) -> None:
    ui.says(lines(STARTED, *updates))


class Terminal(io.StringIO):
    """A file that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_in_a_script(ui: ChatUI, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe gets the text of the answer, a line end, and no control character of the model."""
    says(
        ui,
        {"type": "reasoning", "subtype": "stream", "token": "hm"},
        token("One\x1b[2J"),
        token(" two\r\n\x07three\u202e"),
        final("One\x1b[2J two\r\n\x07three\u202e"),
    )
    client.chat("Hi").show()
    out = capsys.readouterr()
    assert (out.out, out.err) == ("One[2J two\nthree\n", "")


def test_an_error_in_a_script(ui: ChatUI, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """What had come is printed, and the error is raised."""
    says(ui, token("half"), {"type": "status", "status": "error", "message": "no"})
    stream = client.chat("Hi")
    with pytest.raises(GenerationError):
        stream.show()
    assert capsys.readouterr().out == "half\n"
    stream.show()
    assert capsys.readouterr().out == "half\n"


def test_nothing_is_imported(ui: ChatUI) -> None:
    """show() in a script does not import IPython; a chat without it imports nothing of hfclient.notebook."""
    says(ui, token("a"), final("a"))
    code = (
        "import sys, hfclient\n"
        f"client = hfclient.Client({ui.url!r}, token='', session='')\n"
        "client.chat('Hi').text\n"
        "assert not [name for name in sys.modules if name.startswith('hfclient.notebook')]\n"
        "client.chat('Hi').show()\n"
        "assert 'IPython' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "a\n"), done.stderr


@pytest.mark.parametrize("styles", [True, False])
def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch, styles: bool) -> None:
    """Reasoning and notes are dimmed, without NO_COLOR; a wait is shown and cleared."""
    monkeypatch.setenv("TERM", "xterm")
    if not styles:
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.delenv("NO_COLOR", raising=False)
    screen, times = Terminal(), Times(earlier=0)
    output = TextOutput(Reply(), screen)
    output.begin(times)
    times._last -= 12
    output.tick(times)
    for event in (Reasoning("why\x1b]52;c;x\x07"), Token("because")):
        times.content_came()
        output.add(event, times)
    output.end(Reply(text="because", model="m\x1b[31m"), times)
    shown = screen.getvalue()
    if styles:
        assert shown.startswith("\r\x1b[K\x1b[2mwaiting 12 s\x1b[0m\r\x1b[K\x1b[2mwhy]52;c;x\n\x1b[0mbecause\n\x1b[2m[m")
        assert shown.endswith("\x1b[0m")
    else:
        assert shown.startswith("why]52;c;x\nbecause\n[m")
        assert "\x1b" not in shown


def test_in_ipython_on_a_terminal(ui: ChatUI) -> None:
    """The value of an input is printed as it comes; an error shows its line, and IPython goes on."""
    pytest.importorskip("pty")
    from tests.terminals import Terminal as RealTerminal

    says(ui, token("Hello **there**"), final("Hello **there**"))
    says(ui, token("half"), {"type": "status", "status": "error", "message": "overloaded"})
    options = ["--simple-prompt", "--no-banner", "--colors=NoColor", "--HistoryManager.enabled=False"]
    shell = RealTerminal([sys.executable, "-m", "IPython", *options], {**os.environ, "PYTHONPATH": str(ROOT)}, columns=120, rows=40)
    try:
        shell.wait_for("In [1]:")
        shell.type(f"import hfclient; client = hfclient.Client({ui.url!r}, token='', session='')\n")
        shell.wait_for("In [2]:")
        shell.type("client.chat('Hi')\n")
        shell.wait_for("Hello **there**\n", "In [3]:")
        shell.type("client.chat('Hi')\n")
        shell.wait_for("half\n", "GenerationError: overloaded\n", "The answer so far is in client.last", "In [4]:")
        shell.type("client.last.text\n")
        shell.wait_for("'half'")
        shell.type("exit\n")
        assert shell.finish() == 0
    finally:
        shell.close()
