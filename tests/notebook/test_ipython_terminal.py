"""IPython in a pseudo-terminal: the magics as a person types them, with the screen that the person sees."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("IPython")
pytest.importorskip("pyte")
pytest.importorskip("pty")
pytest.importorskip("waitress", reason="the embedded server needs the extra: local")

from hfclient.local import LocalServer
from tests.local.upstream import ScriptedUpstream, Think
from tests.processes.helpers import environment
from tests.terminals import Terminal


def ipython(folder: Path, **variables: str) -> Terminal:
    """IPython behind a terminal of 100 columns and 40 rows."""
    (folder / "ipython").mkdir()
    command = [sys.executable, "-m", "IPython", "--no-banner", "--no-confirm-exit", "--TerminalInteractiveShell.term_title=False"]
    return Terminal(command, environment(IPYTHONDIR=str(folder / "ipython")), columns=100, rows=40, **variables)


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as running:
        yield running


@pytest.fixture
def terminal(tmp_path: Path, upstream: ScriptedUpstream) -> Iterator[Terminal]:
    """IPython with the extension, and the embedded server as its chat server."""
    with LocalServer(upstream=upstream.url) as server:
        running = ipython(tmp_path, HFCLIENT_BASE_URL=server.url, HFCLIENT_SESSION="private")
        try:
            running.wait_for("In [1]:")
            running.type("%load_ext hfclient\n")
            running.wait_for("In [2]:")
            yield running
        finally:
            running.close()


def test_a_chat(terminal: Terminal, upstream: ScriptedUpstream) -> None:
    """An answer is text in a terminal; a question mark at the end of the line is a part of the question."""
    upstream.say("What's rain?", [Think("Water."), "It is ", "\x1b[31mwater\x1b]52;c;cHduZWQ=\x07."])
    terminal.type("%chat What's rain?\n")
    terminal.wait_for("In [3]:")
    screen = terminal.wait_for("It is ")
    assert "Object" not in screen
    assert b"\x1b]52" not in terminal.received
    terminal.type("_.text[:5]\n")
    terminal.wait_for("Out[3]: 'It is'")


def test_control_c(terminal: Terminal, upstream: ScriptedUpstream) -> None:
    """Ctrl-C stops the answer: one line, no traceback, and the prompt is back."""
    gate = threading.Event()
    upstream.say("Long", ["The beginning.", gate, "The end."])
    terminal.type("%chat Long\n")
    terminal.wait_for("The beginning.")
    terminal.type("\x03")
    screen = terminal.wait_for("In [3]:")
    gate.set()
    assert "KeyboardInterrupt" in screen
    assert "Traceback" not in screen
    assert 'File "' not in screen
    terminal.type("_.interrupted, client.last == _\n")
    terminal.wait_for("Out[3]: (True, True)")


def test_the_tab_key(terminal: Terminal) -> None:
    """Tab completes an option, and the name of a model that several share asks with a list."""
    terminal.type("%chat --mod\t")
    terminal.wait_for("%chat --model")
    while "test/model" not in terminal.text:  # the names of models come a little later; until then Tab offers names of Python
        terminal.type("\x15%chat --model test/m\t")
        terminal.read(0.5)


def test_errors(terminal: Terminal) -> None:
    """Errors are one line."""
    terminal.type("%chat --modle x Hi\n")
    terminal.wait_for("UsageError: there is no option --modle; did you mean --model?")
    terminal.type("%chat --file /no/such.png Hi\n")
    screen = terminal.wait_for("InvalidInputError: ")
    assert "Traceback" not in screen


def test_a_hidden_login(terminal: Terminal, upstream: ScriptedUpstream) -> None:
    """The input of ``%chat_login`` is not echoed, and not in the history of IPython."""
    terminal.type("import hfclient.chat.resources.login as m; m.Login.enabled = True\n")
    terminal.wait_for("In [3]:")
    terminal.type("%chat_login\n")
    terminal.wait_for("Cookies (hidden):")
    terminal.type("hf-chat=the-secret-value\n")
    terminal.wait_for("In [4]:")
    terminal.type("%history\n")
    terminal.wait_for("In [5]:")
    assert b"the-secret-value" not in terminal.received
