"""A real IPython kernel and what its cells show."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from attrs import define, field
from jupyter_client.manager import start_new_kernel
from jupyter_core.utils import ensure_event_loop

from tests.server import PATIENCE

__all__ = ["Cell", "Kernel"]


@define
class Cell:
    """What a cell has shown.

    Attributes:
        status: ``"ok"`` or ``"error"``.
        error: Name of the exception, or "".
        shown: The bundles of its displays in order of their first appearance, each as it is now.
        updates: The number of messages that changed a display.
        text: What it printed.
        traceback: The lines of its error, without colours.
        asked: The prompts for input, and whether it was hidden.
    """

    status: str = ""
    error: str = ""
    shown: dict[str, dict[str, Any]] = field(factory=dict)
    updates: int = 0
    text: str = ""
    traceback: str = ""
    errors: int = 0
    asked: list[tuple[str, bool]] = field(factory=list)

    def take(self, message: dict[str, Any]) -> None:
        """Take one message of the kernel."""
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            self.text += content["text"]
        elif kind == "error":
            self.errors += 1
            self.traceback = _without_colours("\n".join(content["traceback"]))
        elif kind in ("display_data", "update_display_data", "execute_result"):
            name = content.get("transient", {}).get("display_id") or f"display {len(self.shown)}"
            self.updates += kind == "update_display_data"
            assert kind != "update_display_data" or name in self.shown
            self.shown[name] = content["data"]

    @property
    def markdown(self) -> str:
        """The Markdown of the first display."""
        return str(next(iter(self.shown.values()))["text/markdown"])


class Kernel:
    """A kernel; leaving the ``with`` ends it."""

    def __init__(self) -> None:
        self._manager, self._client = start_new_kernel(
            kernel_name="python3", extra_arguments=["--HistoryManager.enabled=False"], startup_timeout=60
        )

    def run(
        self, code: str, on_message: Callable[[Cell], object] = lambda cell: None, answers: Sequence[str | None] | None = None
    ) -> Cell:
        """Run a cell and return what it has shown.

        Args:
            code: The cell.
            on_message: Called with the cell so far after each message.
            answers: What the user types, line by line, or None for an interrupt; without *answers* the front end has no input.
        """
        cell = Cell()
        left = list(answers or ())

        def answer(message: dict[str, Any]) -> None:
            cell.asked.append((message["content"]["prompt"], message["content"]["password"]))
            text = left.pop(0)
            if text is None:
                self.interrupt()
            else:
                self._client.input(text)

        def take(message: dict[str, Any]) -> None:
            cell.take(message)
            on_message(cell)

        options = {"allow_stdin": answers is not None, "stdin_hook": answer, "output_hook": take}
        reply = self._client.execute_interactive(code, timeout=2 * PATIENCE, **options)["content"]
        cell.status, cell.error = reply["status"], reply.get("ename", "")
        return cell

    def interrupt(self) -> None:
        """Interrupt the running cell, as the front end's button does."""
        self._manager.interrupt_kernel()

    def interrupted(self, code: str, *when: Callable[[], bool]) -> Cell:
        """Run a cell and interrupt it when the first condition holds, again when the second one does, and so on.

        The last interrupt is sent again if the cell goes on, as a user presses the button again. CPython checks for signals, and then
        calls the system; a signal between the two is noted, and the call waits nevertheless. Measured with a read of a silent server: a
        microsecond of each wait (28 of 5,000 signals in its first 150 microseconds). A kernel that is stopped and continued all the
        time meets it.
        """
        ended = threading.Event()

        def watch() -> None:
            from tests.chat.replay import wait_until

            try:
                for condition in when:
                    wait_until(condition)
                    threading.Event().wait(0.3)  # until it waits again
                    self.interrupt()
                while not ended.wait(PATIENCE / 3):
                    self.interrupt()
            finally:
                ensure_event_loop().close()  # the one that jupyter_client has made for this thread

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            return self.run(code)
        finally:
            ended.set()
            thread.join()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()


def _without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
