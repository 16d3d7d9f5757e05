"""Questions to the terminal, and to tmux, with short timeouts."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time

__all__ = ["passes_through_tmux", "supports_sixel", "terminal_behind_tmux"]

_WAIT = 0.3
"""Seconds for the answer of a terminal on this machine."""
_WAIT_FAR = 1.0
"""Seconds for one at the other end of SSH."""
_ANSWER = re.compile(rb"\x1b\[\?([\d;]*)c")
_SIXEL = b"4"


def supports_sixel() -> bool:
    """Ask the terminal for its attributes (DA1), and return whether sixel is among them.

    Nothing is asked unless standard input and output are one terminal, this process is in its foreground and no key has been
    typed ahead: the answer comes as if it were typed.

    Reference: https://vt100.net/docs/vt510-rm/DA1
    """
    try:
        import select
        import termios
        import tty

        fd = sys.stdin.fileno()
        if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.fstat(fd).st_rdev != os.fstat(sys.stdout.fileno()).st_rdev:
            return False
        if os.tcgetpgrp(fd) != os.getpgrp() or select.select([fd], [], [], 0)[0]:
            return False
        before = termios.tcgetattr(fd)
        found = None
        try:
            tty.setcbreak(fd, termios.TCSADRAIN)
            sys.stdout.flush()
            os.write(sys.stdout.fileno(), b"\x1b[c")
            answer, end = b"", time.monotonic() + (_WAIT_FAR if os.environ.get("SSH_CONNECTION") else _WAIT)
            while found is None and len(answer) < 200:
                # Also when the time is over: the answer may have come while this process was stopped.
                if not select.select([fd], [], [], max(0.0, end - time.monotonic()))[0]:
                    break
                answer += os.read(fd, 64)
                found = _ANSWER.search(answer)
        finally:
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
    except (ImportError, OSError, ValueError, AttributeError):  # Windows, a closed stream, an object that is not a file
        return False
    except Exception as error:
        if type(error).__name__ != "error":  # termios.error is not an OSError
            raise
        return False
    return found is not None and _SIXEL in found[1].split(b";")[1:]


def passes_through_tmux() -> bool:
    """Return whether tmux passes sequences on to its terminal (option ``allow-passthrough``)."""
    return _ask_tmux("show-options", "-Apv", "allow-passthrough") in ("on", "all")


def terminal_behind_tmux() -> str:
    """Return the ``TERM`` of the terminal that tmux is attached to, or an empty text."""
    return _ask_tmux("display-message", "-p", "#{client_termname}")


def _ask_tmux(*arguments: str) -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(  # noqa: S603 (fixed arguments)
            ["tmux", *arguments],  # noqa: S607 (the tmux of this user)
            capture_output=True,
            timeout=1.0,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.stdout.decode("utf-8", "replace").strip()
    return ""
