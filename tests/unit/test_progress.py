"""The progress bar: where it appears, with which package, and how it leaves."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from hfclient import InvalidInputError, progress
from hfclient.errors import MissingDependencyError
from hfclient.progress import ProgressBar
from tests.server import PATIENCE

ROOT = Path(__file__).parents[2]
WITHOUT = {"tqdm": "", "rich": "sys.modules['tqdm'] = None\n", "neither": "sys.modules['tqdm'] = sys.modules['rich'] = None\n"}
START = """
import sys, time, types
{without}
from hfclient import progress
from hfclient.progress import ProgressBar

seconds = 0.0  # of work, on a machine that is never busy
progress.time = types.SimpleNamespace(monotonic=lambda: seconds)
"""
WORK = """
with ProgressBar({progress}, total=2_000_000, label="cat\\x1b[31m.png") as bar:
    for number in range({steps}):
        seconds += 0.05
        bar.add(100_000)
        {each}
print("done")
"""

needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")


def script(package: str = "tqdm", *, progress: str = "None", steps: int = 16, each: str = "pass", first: str = "") -> str:
    work = WORK.format(progress=progress, steps=steps, each=each)
    return START.format(without=WITHOUT[package]) + first + work


def in_terminal(code: str, columns: int = 80, interrupt_at: str = "", **env: str) -> tuple[list[str], list[str], int]:
    """Run *code* behind a terminal; return the first lines that it showed, one by one, all lines at the end and the exit code.

    *code* must run until it is interrupted, once its first line has had the text *interrupt_at*.
    """
    import fcntl
    import pty
    import struct
    import termios

    pytest.importorskip("pyte")
    from tests.terminals import Screen

    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n" + code],
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True, cwd=ROOT,
        env={**inherited, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **env},
    )  # fmt: skip
    os.close(slave)
    screen = Screen(columns, 40)  # keeps what scrolls off: a traceback may have a hundred lines
    seen: list[str] = []
    try:
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            for piece in re.split(rb"(?=\r)", data):  # each begins the line anew; several may have come together
                screen.feed(piece)
                seen.append("".join(screen.lines[:1]))
            if interrupt_at and any(interrupt_at in line for line in seen):
                interrupt_at = ""
                process.send_signal(signal.SIGINT)
        code_of_exit = process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert screen.cursor is not None
    return seen, [line for line in screen.lines if line], code_of_exit


@needs_pty
@pytest.mark.parametrize("package", ["tqdm", "rich"])
@pytest.mark.parametrize("columns", [80, 30])
def test_on_a_terminal(package: str, columns: int) -> None:
    """A bar appears by itself, fits, shows no control character of a name, and is removed at the end."""
    seen, last, _ = in_terminal(script(package), columns)
    bars = [line for line in seen if "cat\\x1b" in line]
    assert len(bars) >= 2
    assert columns == 30 or any("/2.0" in line and "MB" in line for line in bars)
    assert last == ["done"]


@needs_pty
def test_without_packages() -> None:
    """Without tqdm and rich, work that did not ask for a bar is silent."""
    assert in_terminal(script("neither"))[1] == ["done"]


@needs_pty
@pytest.mark.parametrize(
    ("given", "env"),
    [
        ({"steps": 3}, {}),
        ({"progress": "False"}, {}),
        ({}, {"TERM": "dumb"}),
        ({}, {"HFCLIENT_PROGRESS": "0"}),
        ({"first": "import types; sys.modules['gunicorn.workers'] = types.ModuleType('w')\n"}, {}),
        ({"first": "import os; os.setpgid(0, 0) if os.fork() == 0 else os._exit(os.wait()[1])\n"}, {}),
        ({"first": "sys.stderr = open('/dev/null', 'w')\n"}, {}),
        ({"first": "sys.stderr = None\n"}, {}),
    ],
    ids=["short", "refused", "dumb", "environment", "worker", "background", "redirected", "closed"],
)
def test_silent_terminals(given: dict[str, Any], env: dict[str, str]) -> None:
    """A terminal shows nothing for short work, where it was refused, and where another program uses it."""
    if "fork" in given.get("first", ""):  # a session leader cannot leave its group
        given = {"first": "import os, signal; signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
                          "if os.fork(): os.wait(); os._exit(0)\nos.setpgid(0, 0)\n"}  # fmt: skip
    seen, last, _ = in_terminal(script(**given), **env)
    assert last == ["done"]
    assert not any("cat" in line for line in seen)


@needs_pty
@pytest.mark.parametrize("package", ["tqdm", "rich"])
@pytest.mark.parametrize("kind", ["error", "interrupt"])
def test_no_bar_stays(package: str, kind: str) -> None:
    """After an error and after Ctrl-C, the screen has the traceback alone, and the cursor is visible."""
    each = "1 / (number - 13)" if kind == "error" else f"time.sleep({PATIENCE} if number == 19 else 0)"
    code = script(package, each=each, steps=20)
    _, last, status = in_terminal(code, interrupt_at="cat" if kind == "interrupt" else "")
    assert status != 0
    assert last[0] == "Traceback (most recent call last):"  # and no rest of a bar
    assert not any("cat" in line for line in last)


@pytest.mark.skipif(sys.platform == "win32", reason="tests.terminals needs a system with pseudo-terminals")
@pytest.mark.parametrize("package", ["tqdm", "rich"])
def test_interrupts_at_each_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever Ctrl-C arrives while a bar is drawn or removed, the line of the terminal is empty afterwards."""
    pytest.importorskip("pyte")
    from tests.terminals import Screen

    if package == "tqdm":
        monkeypatch.delattr("tqdm.std.tqdm.__del__")  # Python ignores what it raises, and pytest does not
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "20")
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((40, 20)))
    shown: type[Any] = {"tqdm": progress._Tqdm, "rich": progress._Rich}[package]
    codes = {shown.show.__code__, shown.close.__code__}
    folder = f"{os.sep}tqdm{os.sep}"
    left = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code not in codes and folder not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    screens: list[Screen] = []

    def interrupt_each_line() -> None:
        nonlocal left
        while left <= 0:
            screen = Screen(40, 20)
            screens.append(screen)
            monkeypatch.setattr(sys, "stderr", screen)
            left = len(screens)
            sys.settrace(trace)
            try:
                with contextlib.suppress(KeyboardInterrupt), ProgressBar(True, total=10, label="cat") as bar:
                    for done in (1, 2):
                        bar._next = 0.0
                        bar.update(done)
            finally:
                sys.settrace(None)

    # A thread of its own: after an exception that a trace function raises inside a handler, Python 3.13 believes for the rest of the
    # thread that it is still in there, and later exceptions of other tests get a context.
    thread = threading.Thread(target=interrupt_each_line)
    thread.start()
    thread.join()
    monkeypatch.undo()
    assert [(screen.text, screen.cursor) for screen in screens] == [("", (0, 0))] * len(screens)
    assert b"cat" in screens[-1].received
    assert len(screens) > 10


@needs_pty
def test_a_terminal_that_closes() -> None:
    """Work continues when the terminal is gone."""
    code = script(each="number == 12 and sys.stderr.close()").replace('print("done")', 'print("all", number)')
    assert "".join(in_terminal(code)[1]).endswith("all 15")


@pytest.mark.parametrize("package", WITHOUT)
@pytest.mark.parametrize("env", [{}, {"HFCLIENT_PROGRESS": "1"}])
def test_in_a_pipe(package: str, env: dict[str, str]) -> None:
    """A script whose output goes to a pipe is silent, unless the environment asks for a bar."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script(package)], capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, **env}
    )  # fmt: skip
    assert done.stdout == "done\n"
    assert bool(done.stderr.strip()) is (bool(env) and package == "tqdm")


def test_asked_for_in_a_pipe() -> None:
    """A bar that was asked for is there in a pipe, too, on standard error, and starts no thread."""
    each = "import threading; assert threading.active_count() == 1"
    done = subprocess.run(
        [sys.executable, "-c", script(progress="True", steps=2, each=each)], capture_output=True, text=True, check=True, cwd=ROOT
    )  # fmt: skip
    assert done.stdout == "done\n"
    assert "/2.00M" in done.stderr


def test_asked_for_without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar that cannot be shown is refused before the work, with the command that helps."""
    for name in ("tqdm", "rich"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match="pip install tqdm"):
        ProgressBar(True)
    assert ProgressBar(None).is_silent


@pytest.mark.parametrize("wrong", ["yes", 7, 1.0])
def test_wrong_values(wrong: Any) -> None:
    """Another value is refused."""
    with pytest.raises(InvalidInputError, match="progress is True"):
        ProgressBar(wrong)


def test_a_function() -> None:
    """A function gets each step, from any thread, and its errors are the caller's."""
    calls: list[tuple[float, float | None, str]] = []

    def work() -> None:
        with ProgressBar(lambda *args: calls.append(args), unit="file") as bar:
            bar.update(1, "a")
            bar.total = 3
            bar.add(1)
            bar.update(text="b")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert calls == [(1, None, "a"), (2, 3, ""), (2, 3, "b")]
    with pytest.raises(ZeroDivisionError), ProgressBar(lambda *args: 1 / 0) as bar:
        bar.add(1)


def test_threads_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the main thread shows a bar by itself."""
    monkeypatch.setattr(progress, "_is_terminal", lambda: True)
    monkeypatch.setattr(progress, "_SILENT", ())  # other tests import servers
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(ProgressBar(None).is_silent))
    thread.start()
    thread.join()
    assert found == [True]
    assert not ProgressBar(None).is_silent
