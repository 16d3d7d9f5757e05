"""Signals of a process that is the command, and handlers of signals for the time of a ``with`` block."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["Interrupts", "exit_at_once", "handled", "own_process", "wakeup_kept"]

_ENDING = 5.0
"""Seconds that a call may take to end after Ctrl-C: a little more than the longest clean-up of the library."""
_SOON = 0.05
"""Seconds between two attempts to interrupt the main thread."""


@contextlib.contextmanager
def handled(handlers: Mapping[str, Callable[[int, Any], object]]) -> Iterator[None]:
    """Handle signals, and give them back at the end.

    A signal that is ignored stays ignored: nohup and background jobs of shells ignore signals on purpose. Outside of the main
    thread, where Python does not allow handlers, nothing happens.

    Args:
        handlers: By name, such as ``"SIGINT"``; those that the system does not have are left out.
    """
    before: list[tuple[int, Any]] = []
    if threading.current_thread() is threading.main_thread():
        for name, handler in handlers.items():
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before.append((number, signal.signal(number, handler)))
    try:
        yield
    finally:
        for number, old in before:
            signal.signal(number, old)


class Interrupts:
    """Ctrl-C for a program that continues after it.

    It raises KeyboardInterrupt inside of a ``with`` block of this object. Another one does nothing while that exception is handled:
    what it has stopped is being ended, which takes seconds at most, and a second exception would leave half of it.
    """

    def __init__(self) -> None:
        self._raises = False
        self._last = float("-inf")

    def __enter__(self) -> None:
        self._raises = True

    def __exit__(self, *exc_info: object) -> None:
        self._raises = False

    def repeat(self) -> None:
        """Python has dropped the exception: raise it again as soon as the main thread has left the place that drops it."""
        again = threading.Timer(_SOON, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()

    def __call__(self, number: int, frame: object) -> None:
        """Handle SIGINT."""
        now = time.monotonic()
        if self._raises and (now - self._last > _ENDING or not _is_interrupt(sys.exc_info()[1])):
            self._last = now
            raise KeyboardInterrupt


def _is_interrupt(error: BaseException | None) -> bool:
    """Return whether *error* is a KeyboardInterrupt, or came while one was handled."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


@contextlib.contextmanager
def own_process() -> Iterator[None]:
    """The block is all that this process does: Ctrl-C at any moment of it, and after it, is never lost, and prints nothing.

    Ctrl-C exits at once where the block has no other handler, as during the exit of the interpreter. The terminal is left with
    the settings that it had before the block.
    """
    _Terminal.remember()
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, exit_at_once)
        _Watch().start()
        sys.unraisablehook = _exit_or_report
    try:
        yield
    finally:
        _Terminal.restore()


def exit_at_once(number: int, frame: object = None) -> None:
    """Exit without any clean-up, but with the terminal as it was: a handler of signals."""
    _Terminal.restore()
    os._exit(128 + number)


def _exit_or_report(problem: Any) -> None:
    """In a destructor or a callback of a weak reference, where Python drops exceptions, Ctrl-C and SIGTERM exit at once.

    Only a program that continues after Ctrl-C is interrupted a little later.
    """
    if isinstance(problem.exc_value, (KeyboardInterrupt, SystemExit)):
        handler = signal.getsignal(signal.SIGINT)
        if isinstance(handler, Interrupts) and isinstance(problem.exc_value, KeyboardInterrupt):
            handler.repeat()
            return
        exit_at_once(signal.SIGINT if isinstance(problem.exc_value, KeyboardInterrupt) else signal.SIGTERM)
    sys.__unraisablehook__(problem)


class _Terminal:
    """The settings of the terminal of standard input: a program that reads hidden text changes them for a while."""

    settings: list[Any] | None = None

    @classmethod
    def remember(cls) -> None:
        with contextlib.suppress(ImportError):  # Windows
            import termios

            with contextlib.suppress(termios.error):
                cls.settings = termios.tcgetattr(0)

    @classmethod
    def restore(cls) -> None:
        if cls.settings is None:
            return
        import termios

        try:
            if os.tcgetpgrp(0) != os.getpgrp():  # a job in the background would be stopped
                return
        except OSError:  # not the terminal of this session
            pass
        with contextlib.suppress(termios.error):
            if termios.tcgetattr(0) != cls.settings:
                termios.tcsetattr(0, termios.TCSANOW, cls.settings)


class _Watch:
    """Wakes the main thread after each signal, until Python has run its handlers.

    A signal ends a system call that waits. If it comes in the moment before the call, CPython only notes it, and the call
    waits nevertheless: Ctrl-C at a prompt that has just been shown had no effect until the next key. Another thread sees the note
    (`signal.set_wakeup_fd`), and ends the call with a signal that means nothing else.
    """

    def __init__(self) -> None:
        self._main = threading.get_ident()
        self._is_handled = False

    def start(self) -> None:
        if not hasattr(signal, "pthread_kill"):  # Windows: there Ctrl-C ends the calls of a console
            return
        source, target = os.pipe()
        os.set_blocking(target, False)
        try:
            threading.Thread(target=self._run, args=(source,), name="hfclient-signals", daemon=True).start()
        except RuntimeError:  # this user has no thread left
            return
        signal.signal(signal.SIGURG, self._handle)
        signal.set_wakeup_fd(target, warn_on_full_buffer=False)

    def _handle(self, number: int, frame: object) -> None:
        self._is_handled = True

    def _run(self, source: int) -> None:
        while numbers := os.read(source, 4096):
            if set(numbers) <= {signal.SIGURG}:
                continue
            self._is_handled = False
            while not self._is_handled:
                signal.pthread_kill(self._main, signal.SIGURG)
                time.sleep(_SOON)


@contextlib.contextmanager
def wakeup_kept() -> Iterator[None]:
    """After the block `signal.set_wakeup_fd` has the value of before: the event loop of a prompt leaves none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
