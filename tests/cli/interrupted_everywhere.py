"""Run ``hfclient`` in this process; at each chosen line a forked child gets Ctrl-C, and its end is looked at.

Arguments: a file for the report, a number, and the arguments of ``hfclient``. Every so many of the lines of the command itself and
of its prompts are chosen, and a call of another module per 400. The report has one JSON line per child: where it was
interrupted, its exit code, and whether the terminal echoes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import termios
from pathlib import Path
from typing import Any

CHOSEN = ("/hfclient/cli/", "/getpass.py", "/click/termui.py")


class Forks:
    """A trace function.

    Attributes:
        is_short: This process is a child that leaves out the exit of the interpreter, as most of them do: it takes long.
    """

    def __init__(self, report: Path, step: int) -> None:
        self._report = report.open("w")
        self._step = step
        self.is_short = False
        self._number = self._others = 0
        self._seen: set[tuple[str, int]] = set()
        self._inside = self._has_begun = False

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        if not self._has_begun:  # before the command's first own line, only Python can do something
            self._has_begun = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
            return self
        if self._inside:
            return None
        name = frame.f_code.co_filename
        if any(part in name for part in CHOSEN) and frame.f_code.co_name != "<module>":
            if event == "line" and (name, frame.f_lineno) not in self._seen:
                self._seen.add((name, frame.f_lineno))
                if len(self._seen) % self._step == 0:
                    self._interrupt_child(frame)
            return self
        # CPython's import system does not release its locks in every case: there, only a second Ctrl-C helps. The same where the
        # destructor of a file calls these methods: it drops exceptions without a word.
        is_destructor = frame.f_code.co_name in ("close", "closed", "flush", "isclosed")
        if event == "call" and "importlib" not in name and not is_destructor:
            self._others += 1
            if self._others % 400 == 0:
                self._interrupt_child(frame)
        return None

    def _interrupt_child(self, frame: Any) -> None:
        self._inside = True
        self._number += 1
        before = termios.tcgetattr(0)
        pid = os.fork()
        if pid == 0:
            sys.settrace(None)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)
            self.is_short = self._number % 8 != 0
            os.kill(os.getpid(), signal.SIGINT)
            return
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        echoes = bool(termios.tcgetattr(0)[3] & termios.ECHO)
        place = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
        self._report.write(json.dumps([place, code, echoes]) + "\n")
        self._report.flush()
        termios.tcsetattr(0, termios.TCSANOW, before)
        self._inside = False


def main() -> None:
    from hfclient.cli import main as run

    report, step, *arguments = sys.argv[1:]
    sys.argv = ["hfclient", *arguments]
    forks = Forks(Path(report), int(step))
    sys.settrace(forks)
    code = run()
    if forks.is_short:
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
