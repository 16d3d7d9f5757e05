"""A scripted chat-ui, and three ways to run the command: in this process, in a process of its own, and behind a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient.cli.app import run
from tests.server import PATIENCE, Script, Server, Step, chunked, json_answer, plain

ROOT = Path(__file__).parents[2]
CONVERSATION = "65f000000000000000000001"
ROOT_MESSAGE = "5e097ef1-bb47-4631-944b-4696fc8d0a69"
STOP = f"/conversation/{CONVERSATION}/stop-generating"


def line(**update: Any) -> bytes:
    """One line of chat-ui's stream."""
    return json.dumps(update).encode() + b"\n"


def token(text: str) -> bytes:
    return line(type="stream", token=text.ljust(16, "\0"))


def answer(*pieces: Step, text: str = "Hello, world!") -> list[Step]:
    """A whole answer: *pieces* between the start and a final answer of *text*."""
    return chunked(
        line(type="status", status="started"),
        *pieces,
        line(type="finalAnswer", text=text, interrupted=False) + b" " * 4096,
        line(type="status", status="finished"),
        headers=["Content-Type: application/jsonl"],
    )


def unending(*pieces: bytes) -> list[Step]:
    """An answer that stops in the middle, with the connection open."""
    return [*chunked(*pieces)[:-1], PATIENCE * 2]


@pytest.fixture
def chat_ui(server: Server) -> Server:
    """A chat-ui with two models; `says` sets its answer."""
    models = [
        {"id": "org/one", "description": "The first\nmodel", "supportsTools": True, "multimodal": True},
        {"id": "org/two", "description": "", "supportsReasoning": True},
    ]
    system = {"id": ROOT_MESSAGE, "from": "system", "content": "", "children": [], "ancestors": []}
    conversation = {"messages": [system], "title": "New Chat", "model": "org/one", "rootMessageId": ROOT_MESSAGE}
    created = {"conversationId": CONVERSATION, "conversation": json.dumps({"json": conversation})}
    server.on("/api/v2/models", json_answer({"json": models}))
    server.on("/conversation", json_answer(created))
    server.on(STOP, plain(b""))
    says(server, answer(token("Hello"), token(", world!")))
    return server


def says(server: Server, script: Script) -> None:
    server.on(f"/conversation/{CONVERSATION}", script)


def environment(**more: str) -> dict[str, str]:
    """The environment of the command: that of this process, without its credentials."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def start(
    *arguments: str, env: dict[str, str] | None = None, code: str | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """Start the command, or *code* instead, in its own process."""
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    what = ["-m", "hfclient"] if code is None else ["-c", code]
    return subprocess.Popen([sys.executable, *what, *arguments], env=env or environment(), **given)


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Any:
    """Run the command in this process; returns the exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(list(arguments))
        out, err = capfd.readouterr()
        return code, out, err

    return call


class Terminal:
    """A process behind a pseudo-terminal."""

    def __init__(self, *arguments: str, code: str | None = None, **env: str) -> None:
        import pty

        self._master, slave = pty.openpty()
        self.process = start(
            *arguments,
            code=code,
            env=environment(**{"TERM": "xterm", **env}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.shown = ""

    def read_until(self, text: str) -> str:
        """Read the output until it contains *text*."""
        end = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            if not self._read():
                break
        assert text in self.shown, self.shown
        return self.shown

    def finish(self) -> tuple[int, str]:
        """Read to the end and return the exit code and the whole output."""
        while self._read():
            pass
        return self.process.wait(PATIENCE), self.shown.replace("\r\n", "\n")

    def type(self, text: str) -> None:
        """Write to the terminal as a keyboard does."""
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux's error after the other side has closed
            data = b""
        self.shown += data.decode("utf-8", "replace")
        return bool(data)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Any]:
    """Start the command behind a terminal; see `Terminal`."""
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, **options: Any) -> Terminal:
        opened.append(Terminal(*arguments, **options))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()
