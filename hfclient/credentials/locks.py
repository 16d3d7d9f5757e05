"""Lock files, so that one process at a time changes a file of secrets.

Not filelock (4.3): importing it fails in a thread that outlives the main thread (Python 3.10), and each new chat locks its
session.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["file_lock"]

_POLL_INTERVAL = 0.01
_STALE = 10.0  # seconds; what is done under the lock takes a few milliseconds
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextlib.contextmanager
def file_lock(path: Path, timeout: float) -> Iterator[None]:
    """Hold a lock that excludes all other processes and threads that lock the same *path*.

    The operating system holds the lock, and frees it when the process ends. Without such locks (Windows, some network file
    systems) the lock is a file with the suffix ``.held``, which is replaced when it is older than 10 s.

    Args:
        path: The lock file; it stays when the lock is free.
        timeout: Seconds to wait for the lock.

    Raises:
        TimeoutError: The lock was not free in time.
        OSError: The file cannot be created.
    """
    end = time.monotonic() + timeout
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if _flock(descriptor, end):
            try:
                yield
            finally:
                # Closing is not enough: a child that was forked meanwhile has a copy of the descriptor.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            return
    finally:
        os.close(descriptor)
    held = path.with_name(path.name + ".held")
    _create(held, end)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            held.unlink()


def _flock(descriptor: int, end: float) -> bool:
    """Lock with the operating system; False if it has no locks here."""
    module: Any = fcntl
    if module is None:
        return False
    while True:
        try:
            module.flock(descriptor, module.LOCK_EX | module.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return False
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EINTR):
                raise
        _pause(end)


def _create(held: Path, end: float) -> None:
    while True:
        try:
            os.close(os.open(held, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            return
        except (FileExistsError, PermissionError) as error:  # Windows raises the latter for a file that is being deleted
            if isinstance(error, PermissionError) and os.name == "posix":
                raise
            with contextlib.suppress(OSError):
                if time.time() - held.stat().st_mtime > _STALE:
                    held.unlink()
                    continue
        _pause(end)


def _pause(end: float) -> None:
    if time.monotonic() >= end:
        raise TimeoutError("another process holds the lock")
    time.sleep(_POLL_INTERVAL)
