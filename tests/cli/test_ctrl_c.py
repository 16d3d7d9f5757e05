"""Ctrl-C at any moment of a command: at every line of it, while it starts, while it waits, and while it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hfclient.cli.ask import ask, confirm
from hfclient.cli.signals import wakeup_kept
from tests.cli.conftest import environment
from tests.server import PATIENCE, Server

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


def everywhere(report: Path, *arguments: str, step: int = 1, prompt: str = "\0", keys: str = "") -> list[Any]:
    """Run a command on a terminal, with Ctrl-C at each of its lines; return the places, exit codes and whether it echoes."""
    from tests.terminals import Terminal

    driver = [sys.executable, "-m", "tests.cli.interrupted_everywhere", str(report), str(step), *arguments]
    terminal = Terminal(driver, environment(PYTHONWARNINGS="ignore::DeprecationWarning"))
    try:
        while terminal.read(0.2) or terminal.process.poll() is None:
            if prompt in terminal.text:
                terminal.type(keys)  # again and again: a child that leaves a prompt discards what was typed
        for word in ("Traceback", "Exception", "Error", "ignored"):
            assert word not in terminal.text, terminal.text
    finally:
        terminal.close()
    return [json.loads(line) for line in report.read_text().splitlines()]


def test_at_every_line_of_a_prompt(tmp_path: Path) -> None:
    """The exit code is 130, nothing is printed, and the terminal echoes."""
    found = everywhere(tmp_path / "report", "login", "--hub", prompt="Token:", keys="\n")
    assert [one for one in found if one[1:] != [130, True]] == []
    assert any("in _raw_input" in place for place, *_ in found)
    assert any("in restore" in place for place, *_ in found)


def test_at_every_line_of_an_answer(chat_ui: Server, tmp_path: Path) -> None:
    """The same while an answer is printed, whatever has been drawn."""
    found = everywhere(tmp_path / "report", "chat", "--url", chat_ui.url, "Hi", step=5)
    assert [one for one in found if one[1:] != [130, True]] == []
    assert len(found) > 60


def conversations(when: str) -> list[Any]:
    """Place, exit code, number of prompts and screen of many conversations; see `tests.cli.interrupted_answers`."""
    command = [sys.executable, "-m", "tests.cli.interrupted_answers", when]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=2 * PATIENCE)
    assert "Traceback" not in done.stderr, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one for one in found if one[1:3] != [0, 2]] == []
    assert len({place for place, *_ in found}) > 50
    return found


def test_in_a_conversation() -> None:
    """The next prompt comes, below what has become of the message, at whichever line Ctrl-C comes."""
    known = ("Ctrl-C again", "[not sent]", "[stopped]")
    assert [one for one in conversations("once") if not any(words in one[3] for words in known)] == []


def test_twice_in_a_conversation() -> None:
    """The text stays, with a line that it was stopped, and the next prompt comes, at whichever line the second Ctrl-C comes."""
    found = conversations("twice")
    assert [one for one in found if "Half an answer" not in one[3] or "[stopped]" not in one[3]] == []


def _run(code: str, *arguments: str, path: Path | None = None) -> tuple[int, str, str]:
    env = environment()
    if path is not None:
        env["PYTHONPATH"] = f"{path}{os.pathsep}{env['PYTHONPATH']}"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=2 * PATIENCE)
    return done.returncode, done.stdout, done.stderr


CTRL_C = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
MAIN = "import sys; from hfclient.cli import main; sys.exit(main())"


def test_while_it_is_imported(tmp_path: Path) -> None:
    """The command exits with 130 and prints nothing, in whichever module it is."""
    (tmp_path / "click.py").write_text(f"try:\n    {CTRL_C}\nexcept BaseException: pass\n")
    assert _run(MAIN, path=tmp_path) == (130, "", "")


def test_while_the_interpreter_exits() -> None:
    """After the last line of the command, too."""
    code = f"import atexit, os, signal; atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT)); {MAIN}"
    assert _run(code, "--version")[::2] == (130, "")


def test_where_python_drops_exceptions() -> None:
    """In a destructor the exception would be printed and dropped; the command exits instead. Others are reported as ever."""
    code = f"""
import signal
from hfclient.cli.signals import own_process
class Late:
    def __init__(self, act): self.act = act
    def __del__(self): exec(self.act)
with own_process():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Late("1/0")
    Late({CTRL_C!r})
    print("it went on")
"""
    status, out, err = _run(code)
    assert (status, out) == (130, "")
    assert err.count("Exception ignored") == 1
    assert "ZeroDivisionError" in err


def test_where_python_drops_exceptions_in_a_conversation() -> None:
    """A program that continues after Ctrl-C is interrupted behind the destructor, and only where it expects that."""
    code = f"""
import os, signal, time
from hfclient.cli.signals import Interrupts, own_process
class Late:
    def __del__(self): os.kill(os.getpid(), signal.SIGINT)
with own_process():
    interrupts = Interrupts()
    signal.signal(signal.SIGINT, interrupts)
    os.kill(os.getpid(), signal.SIGINT)
    try:
        with interrupts:
            Late()
            time.sleep({PATIENCE})
    except KeyboardInterrupt:
        print("interrupted")
"""
    assert _run(code) == (0, "interrupted\n", "")


class _Interrupted(io.StringIO):
    """Standard error; Ctrl-C comes when a prompt has been written to it."""

    def flush(self) -> None:
        if self.getvalue():
            raise KeyboardInterrupt


@pytest.mark.parametrize("question", [ask, confirm])
def test_while_a_question_is_written(monkeypatch: pytest.MonkeyPatch, question: Any) -> None:
    """The exception is not lost, as it would be inside of `input()`."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    monkeypatch.setattr(sys, "stderr", _Interrupted())
    with pytest.raises(KeyboardInterrupt):
        question("Delete it?")


def test_while_python_does_not_look(terminal: Any) -> None:
    """Ctrl-C in the moment before the command waits for a key is not lost.

    Here another thread gets the signal, as if it had come then: the call that waits is not interrupted by it.
    """
    code = """
import getpass, signal, sys
from hfclient.cli import main
read = getpass._raw_input
def deaf(*arguments, **options):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    return read(*arguments, **options)
getpass._raw_input = deaf
sys.argv[1:] = ["login", "--hub"]
sys.exit(main())
"""
    shell = terminal(code=code)
    shell.read_until("Token: ")
    shell.interrupt()
    assert shell.finish()[0] == 130


def test_the_descriptor_that_is_woken() -> None:
    """An event loop of a prompt removes it; after the prompt it is back."""
    source, target = os.pipe()
    os.set_blocking(target, False)
    before = signal.set_wakeup_fd(target)
    try:
        with wakeup_kept():
            signal.set_wakeup_fd(-1)
        assert signal.set_wakeup_fd(before) == target
    finally:
        signal.set_wakeup_fd(before)
        os.close(source)
        os.close(target)
