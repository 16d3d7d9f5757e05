"""The end of a process with runs: wait for them, hand them over or end them, and stop what they generate."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hfclient.errors import InvalidInputError
from hfclient.web.relay.generation import Generation

if TYPE_CHECKING:
    from hfclient.web.relay.relay import Relay

__all__ = ["on_sigterm", "shut_down"]

_FLUSH, _LEAVE = 5.0, 2.5  # seconds for the last write, and to stop generations
_PAUSE = 0.02  # seconds between checks whether they are stopped


def shut_down(relay: Relay, timeout: float) -> None:
    """Shut a relay down; see `Relay.close`."""
    relay.closing = True
    end = time.monotonic() + timeout
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


def on_sigterm(close: Callable[[], object]) -> None:
    """Call *close* in a thread when SIGTERM arrives, beside the present handler. For the main thread."""
    before = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: Any) -> None:
        # Not Thread.start(): it waits for the thread, which gevent forbids in a handler (the handler may run in its event loop), and it takes
        # a lock that the interrupted code may hold.
        _thread.start_new_thread(close, ())
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            raise SystemExit(128 + number)

    try:
        signal.signal(signal.SIGTERM, handle)
    except ValueError:
        raise InvalidInputError("close_on_sigterm() sets a signal handler, which only the main thread of a process can do") from None
