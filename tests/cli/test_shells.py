"""Completion in shells that run in a terminal: the tab key completes a command, an option and a model."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, environment
from tests.server import LONG, Server, json_answer

if sys.platform == "win32":
    pytest.skip("POSIX terminals", allow_module_level=True)

SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(hfclient completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit && compinit -u -D && eval "$(hfclient completion zsh)"'),
    "fish": (["fish", "--no-config", "-i"], "hfclient completion fish | source"),
}


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # fish needs its job control


class Shell:
    """An interactive shell behind a pseudo-terminal."""

    def __init__(self, command: list[str], env: dict[str, str], folder: Path) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
        options = {"stdin": slave, "stdout": slave, "stderr": slave, "env": env, "cwd": folder}
        self._process = subprocess.Popen(command, **options, preexec_fn=_own_terminal)  # noqa: PLW1509
        os.close(slave)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str, *, again: str = "") -> None:
        """Read until *text* is shown after what was found before; type *again* every five seconds without output."""
        end = time.monotonic() + LONG
        silent = 0
        while True:
            plain = re.sub(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()=>].?)|\r", "", self.shown)
            if text in plain:
                self.shown = ""
                return
            assert time.monotonic() < end, (text, plain)
            if select.select([self._master], [], [], 0.2)[0]:
                data, silent = os.read(self._master, 65536), 0
                self.shown += data.decode("utf-8", "replace")
                if b"\x1b[c" in data or b"\x1b[0c" in data:  # fish asks the terminal what it is, and waits
                    self.type("\x1b[?62;22c")
            elif (silent := silent + 1) % 25 == 0:
                self.type(again)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@pytest.fixture
def models(server: Server) -> Server:
    server.on("/api/v2/models", json_answer({"json": [{"id": "org/alpha-one"}, {"id": "org/beta"}]}))
    return server


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, models: Server, tmp_path: Path) -> Iterator[Shell]:
    """Each shell that is installed, with the completion loaded."""
    name: str = request.param
    if not shutil.which(name):
        pytest.skip(f"there is no {name} here")
    program = tmp_path / "hfclient"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m hfclient "$@"\n')
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    env = environment(
        HFCLIENT_BASE_URL=models.url, PATH=path, TERM="xterm", PS1="$ ", PYTHONPATH=str(ROOT), HOME=str(tmp_path)
    )
    command, setup = SHELLS[name]
    opened = Shell(command, env, tmp_path)
    try:
        opened.type(f"{setup}; echo rea''dy\r")
        opened.wait_for("ready")
        yield opened
    finally:
        opened.close()


def test_the_tab_key(shell: Shell) -> None:
    """A unique beginning of a command, an option or a model is completed on the line."""
    shell.type("hfclient mod\t")
    shell.wait_for("hfclient models")
    shell.type("\x15hfclient chat --no-r\t")
    shell.wait_for("--no-reasoning")
    shell.type("\x15hfclient chat -m org/a\t")
    shell.wait_for("org/alpha-one", again="\t")  # a server that is slow is not waited for
    shell.type("\x15hfclient completion z\t")
    shell.wait_for("completion zsh")
