"""A chat-ui whose answers depend on the prompt, forked children, and scripts in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chat.replay import FINISHED, JSONL, KEEP_ALIVE, STARTED, ChatUI, final, form_data, lines, token, wait_until
from tests.server import LAST_CHUNK, LONG, PATIENCE, Recorded, Step, chunk, head

ROOT = Path(__file__).parents[2]
HAS_FDS = os.path.isdir("/proc/self/fd")

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")


def wait_for_stops(before: Iterable[threading.Thread]) -> None:
    """Wait for the stops in the background, but for threads of *before*; one that does not end is shown with its stack."""
    for thread in set(threading.enumerate()).difference(before):
        if thread.name == "hfclient-stop":
            thread.join(PATIENCE)
            stack = sys._current_frames().get(thread.ident or 0)
            assert not thread.is_alive(), "".join(traceback.format_stack(stack))


def text_for(prompt: str, count: int = 40) -> str:
    """The answer to *prompt*: *count* words that are in no other answer."""
    return "".join(f"{prompt.replace(' ', '-')}.{number} " for number in range(count))


class PromptedChatUI(ChatUI):
    """Answers each prompt with its own words.

    The first word of the prompt selects the answer: ``count`` is all of `text_for`; ``hold`` is half of it, and the rest after
    `go` is set; ``few`` is two words; ``endless`` continues until it is stopped; ``mute`` sends no headers; ``fail`` fails in
    the middle.

    Attributes:
        together: The second half of a ``count`` is sent after this number of first halves.
        go: Lets ``hold`` continue.
        goes_after: So does the end of the answer to this prompt.
        begun: Prompts whose first half has been sent.
        ended: Prompts whose answer was sent completely.
    """

    def __init__(self) -> None:
        self.together = 1
        self.go = threading.Event()
        self.goes_after = ""
        self.begun: list[str] = []
        self.ended: list[str] = []
        super().__init__()
        self.says(lines(STARTED), [self._act])  # type: ignore[list-item]

    def wait_for_prompt(self, prompt: str) -> None:
        """Wait until the first half of the answer to *prompt* has been sent."""
        wait_until(lambda: prompt in self.begun)

    def stops_for(self, prompt: str) -> list[dict[str, Any]]:
        """The stop requests for the generations that answer *prompt*."""
        runs = {data["generationId"] for request in self.of("send") if (data := form_data(request))["inputs"] == prompt}
        return [stop for stop in self.stops if stop["generationId"] in runs]

    def _act(self, request: Recorded) -> Iterator[Step]:
        prompt = form_data(request)["inputs"]
        how = prompt.split()[0]
        if how == "mute":
            self.begun.append(prompt)
            yield self.go
        yield head(200, JSONL, "Transfer-Encoding: chunked")
        yield chunk(lines(STARTED))
        text = text_for(prompt, 2 if how == "few" else 40)
        words = [word + " " for word in text.split(" ")[:-1]] if how != "endless" else [text_for(prompt, 1)]
        half = len(words) // 2
        for word in words[:half] or words:
            yield chunk(lines(token(word)))
        with self._changing:
            self.begun.append(prompt)
        if how == "count":
            wait_until(lambda: len(self.begun) >= self.together)
        elif how == "hold":
            while not (self.go.is_set() or self.goes_after in self.ended or self._closing.is_set()):
                yield 0.05
                yield chunk(lines(KEEP_ALIVE))
        elif how == "endless":
            while not self.stops_for(prompt):
                yield 0.02
                yield chunk(lines(token("more ")))
                words.append("more ")
            yield chunk(lines(final("".join(words), interrupted=True), FINISHED))
            yield LAST_CHUNK
            return
        elif how == "fail":
            yield chunk(lines({"type": "status", "status": "error", "message": "the model is tired", "statusCode": 500}))
            yield LAST_CHUNK
            return
        for word in words[half:]:
            yield chunk(lines(token(word)))
        yield chunk(lines(final(text), FINISHED))
        self.ended.append(prompt)
        yield LAST_CHUNK


def in_child(run: Callable[[], object]) -> int:
    """Run *run* in a forked child that exits right after it; return its process id. A child that hangs is killed."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # in the parent it ends a test that takes too long
        signal.alarm(60)
        run()
        status = 0
    except BaseException as error:
        os.write(2, f"in the child: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)


def succeeded(*children: int) -> bool:
    """Wait for *children*; True if all succeeded."""
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * len(children)


def environment(**more: str) -> dict[str, str]:
    """The environment of a script: it finds the package and the tests, and warns about unclosed resources."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", "PYTHONUNBUFFERED": "1", **more}


class Script:
    """Python code in a process of its own, as a context manager; ``{url}`` and similar names in it are filled in."""

    def __init__(self, code: str, *, options: tuple[str, ...] = (), **values: object) -> None:
        for name, value in values.items():
            code = code.replace(f"{{{name}}}", repr(value))
        self.process = subprocess.Popen(
            [sys.executable, *options, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env=environment(),
        )  # fmt: skip

    def line(self) -> str:
        """Return the next line of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return its exit status and the rest of its standard output and error."""
        out, err = self.process.communicate(timeout=LONG)
        return self.process.returncode, out, err

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        with self.process:
            pass


def run_script(code: str, *, options: tuple[str, ...] = (), **values: object) -> tuple[int, str, str]:
    """Run a `Script` to its end."""
    with Script(code, options=options, **values) as script:
        return script.end()
