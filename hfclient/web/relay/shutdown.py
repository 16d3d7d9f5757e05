"""The end of a process with runs: wait for them, hand them over or end them, and stop what they generate."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hfclient.errors import InvalidInputError
from hfclient.web.relay.generation import Generation

if TYPE_CHECKING:
    from hfclient.web.relay.relay import Relay

__all__ = ["Intake", "on_sigterm", "shut_down", "wait_for_handlers"]

_FLUSH, _LEAVE = 5.0, 2.5  # seconds for the last write, and to stop generations
_PAUSE = 0.02  # seconds between checks whether they are stopped


class Intake:
    """Context manager around each start and each takeover of a run. A shutdown waits for them: else it would miss the run."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0

    def __enter__(self) -> None:
        with self._changed:
            self._inside += 1

    def __exit__(self, *exc_info: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait, up to *seconds*, until no start and no takeover is in progress."""
        with self._changed:
            self._changed.wait_for(lambda: not self._inside, seconds)


def shut_down(relay: Relay, timeout: float) -> None:
    """Shut a relay down; see `Relay.close`."""
    end = time.monotonic() + timeout
    relay.closing = True  # what enters from now on begins nothing
    relay.intake.wait(_FLUSH)
    writer = relay.writer
    with writer.finished:
        while writer.generations and (left := end - time.monotonic()) > 0:
            writer.finished.wait(left)
    left_over = list(writer.generations.values())
    for generation in left_over:
        can_continue = generation.launched and relay.recovery.can_continue(generation.state, generation.chat)
        if not (can_continue and generation.end is None and generation.in_store):
            generation.stop()
    if left_over or relay.mirrors:
        done = threading.Event()
        if not relay.scheduler.soon(lambda: _finish(relay, left_over, done)):  # the interpreter shuts down and starts no thread
            _finish(relay, left_over, done)
        done.wait(_FLUSH)
    end = time.monotonic() + _LEAVE
    while writer.lingering and time.monotonic() < end:
        time.sleep(_PAUSE)


def _finish(relay: Relay, generations: list[Generation], done: threading.Event) -> None:
    try:
        for generation in generations:
            if generation.end is None:
                relay.writer.hand_over(generation)
        relay.writer.flush(retry=True)
        relay.mirrors.close()
    finally:
        done.set()


class _Handlers:
    """The handlers of SIGTERM.

    Attributes:
        running: For each one whose *close* has begun and not ended, its process.
        postpone: Whether uvicorn has to get the signal when all have ended.
    """

    def __init__(self) -> None:
        self.running: dict[threading.Event, int] = {}
        self.postpone = False


_handlers = _Handlers()


def on_sigterm(close: Callable[[], object]) -> None:
    """Call *close* in a thread when SIGTERM arrives, beside the present handler. For the main thread.

    uvicorn ends its connections, and then raises the signal once more with the default action, which ends the process at once. Without
    connections this takes 0.1 seconds, and *close* may take longer. So uvicorn begins to end now, and gets the signal after *close*.
    """
    before = signal.getsignal(signal.SIGTERM)
    uvicorn = _uvicorn_of(before)
    done = threading.Event()
    begun = False

    def call() -> None:
        try:
            close()
        finally:
            _handlers.running.pop(done, None)
            if _handlers.postpone and not _handlers.running:
                os.kill(os.getpid(), signal.SIGTERM)
            done.set()

    def handle(number: int, frame: Any) -> None:
        nonlocal begun
        if uvicorn is not None:
            _handlers.postpone = True
        if not begun:
            begun = True
            _handlers.running[done] = os.getpid()
            # Not Thread.start(): it waits for the thread, which gevent forbids in a handler (the handler may run in its event loop), and it
            # takes a lock that the interrupted code may hold.
            _thread.start_new_thread(call, ())
        if uvicorn is not None and _handlers.running:
            uvicorn.should_exit = True
        elif callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            raise SystemExit(128 + number)

    try:
        signal.signal(signal.SIGTERM, handle)
    except ValueError:
        raise InvalidInputError("close_on_sigterm() sets a signal handler, which only the main thread of a process can do") from None


def _uvicorn_of(handler: object) -> Any:
    """Return the server whose method *handler* is, if it is one of uvicorn."""
    module, server = sys.modules.get("uvicorn.server"), getattr(handler, "__self__", None)
    return server if module is not None and isinstance(server, module.Server) else None


def wait_for_handlers() -> None:
    """Wait for the handlers of SIGTERM, at the end of the process: they end within their time limits."""
    waiting = [done for done, process in list(_handlers.running.items()) if process == os.getpid()]
    if not waiting:
        return
    # Some get it twice: systemd sends it to all processes of a service, and uvicorn to its workers.
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for done in waiting:
        done.wait()
    signal.signal(signal.SIGTERM, before)
