"""Conversations in a terminal, with Ctrl-C at calls of functions spread over them, where Python calls handlers of signals.

In a process of its own: Ctrl-C may leave a socket to the garbage collection, whose warnings would fail a test.

Argument: ``once``, for calls from a typed message to the next prompt, or ``twice``, for those after Ctrl-C has stopped the answer.
Prints one JSON line for each conversation: the function, the exit code, the number of prompts, and what the terminal shows.
"""

from __future__ import annotations

import io
import json
import signal
import sys
import threading
from types import FrameType
from typing import Any
from unittest.mock import patch

from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import DummyInput
from prompt_toolkit.output import DummyOutput

from hfclient import Client
from hfclient.cli.chat import interactive
from hfclient.cli.output import Output
from hfclient.cli.signals import own_process
from hfclient.transport.connections import _DeadlineReader
from tests.chat.replay import FINISHED, JSONL, STARTED, ChatUI, final, lines, token
from tests.server import LAST_CHUNK, chunk, head, json_answer
from tests.terminals import Screen

TEXT = "Half an answer"
MOMENTS = 150


def ctrl_c() -> None:
    """Call the handler, as Python does."""
    handler = signal.getsignal(signal.SIGINT)
    assert callable(handler)
    handler(signal.SIGINT, sys._getframe())


class Written(io.StringIO):
    """What is written to a terminal; none of its methods is Python code, where Ctrl-C would come."""

    def isatty(self) -> bool:
        return True


class Moment:
    """Calls `ctrl_c` at a call of a function.

    Args:
        chosen: Its number, from `begin` on; 0 chooses none.

    Attributes:
        count: The calls until `end`.
        place: Where it was called.
    """

    def __init__(self, chosen: int) -> None:
        self._chosen = chosen
        self.count = 0
        self.place = ""

    def begin(self) -> None:
        sys.settrace(self._trace)

    def end(self) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: Any) -> None:
        if "/logging/" in frame.f_code.co_filename:  # Python 3.10 would not release its lock
            return
        self.count += 1
        if self.count == self._chosen:
            self.end()
            self.place = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
            ctrl_c()


def converse(url: str, moment: Moment, *, is_stopped: bool) -> tuple[int, int, str]:
    """Send one message, and press Ctrl-C until its answer has stopped.

    Args:
        url: Of the server.
        moment: Of one more Ctrl-C.
        is_stopped: It comes after the first Ctrl-C; otherwise after the message.
    """
    written = Written()
    prompts = []
    read = _DeadlineReader.recv

    def line_of_user(*arguments: Any, **options: Any) -> str:
        moment.end()
        prompts.append("> ")
        if len(prompts) > 1:
            raise EOFError
        if not is_stopped:
            moment.begin()
        return "Hi"

    def recv(reader: _DeadlineReader, size: int = 65536) -> bytes:
        if threading.current_thread() is threading.main_thread() and TEXT in written.getvalue():
            if is_stopped and not moment.count:
                moment.begin()
            ctrl_c()
        return read(reader, size)

    with (
        patch.object(sys, "stdout", written),
        patch.object(sys, "stderr", written),
        patch.object(interactive.LineEditor, "read", line_of_user),
        patch.object(_DeadlineReader, "recv", recv),
        create_app_session(DummyInput(), DummyOutput()),
        Client(url, cookies="", token="") as client,
    ):
        output, options = Output(), interactive.ChatOptions(keeps_history=False)
        output.has_notes = True
        code = interactive.run(client, client.conversation(), output=output, options=options)
        for thread in threading.enumerate():
            # A stop or a signal that is still on its way would meet the next conversation.
            if thread.name == "hfclient-stop" or isinstance(thread, threading.Timer):
                thread.join()
    screen = Screen(columns=80, rows=24)
    screen.write(written.getvalue())
    return code, len(prompts), screen.text


def main() -> None:
    is_stopped = sys.argv[1] == "twice"
    with ChatUI() as ui, own_process():
        signal.signal(signal.SIGINT, lambda *_: None)  # between two conversations
        stopped = threading.Event()
        begun = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(STARTED, token(TEXT)))]
        ended = [chunk(lines(final(TEXT, interrupted=True), FINISHED)), LAST_CHUNK]
        ui.says(b"", live=[*begun, stopped, *ended])
        ui.always("stop", [lambda request: stopped.set(), json_answer({})])
        whole = Moment(0)
        converse(ui.url, whole, is_stopped=is_stopped)
        for number in range(MOMENTS + 1):
            stopped.clear()
            moment = Moment(round(1 + number * (whole.count - 1) / MOMENTS))
            shown = converse(ui.url, moment, is_stopped=is_stopped)
            print(json.dumps([moment.place, *shown]), flush=True)


if __name__ == "__main__":
    main()
