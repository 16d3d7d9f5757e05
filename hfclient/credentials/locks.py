"""One process at a time."""

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

_PAUSE = 0.01
_STALE = 10.0  # seconds; what is done under the lock takes a few milliseconds
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextlib.contextmanager
def file_lock(path: Path, patience: float) -> Iterator[None]:
    """Keep every other process and thread out that locks the same *path*.

    The kernel's lock, which ends with its process; where there is none (Windows, some network disks), a file that only
    one can create, taken over if whoever made it seems to have died.

    Args:
        path: The lock's file; it stays when the lock is free.
        patience: Seconds to wait for it.

    Raises:
        TimeoutError: Somebody else kept it for so long.
        OSError: The file cannot be made.
    """
    end = time.monotonic() + patience
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if _lock(descriptor, end):
            try:
                yield
            finally:
                # In so many words: a child that was forked meanwhile holds a copy of the descriptor.
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


def _lock(descriptor: int, end: float) -> bool:
    """Take the kernel's lock; False if there is none here."""
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
        _wait(end)


def _create(held: Path, end: float) -> None:
    while True:
        try:
            os.close(os.open(held, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            return
        except (FileExistsError, PermissionError) as error:  # Windows says the latter of a file that is being deleted
            if isinstance(error, PermissionError) and os.name == "posix":
                raise
            with contextlib.suppress(OSError):
                if time.time() - held.stat().st_mtime > _STALE:
                    held.unlink()
                    continue
        _wait(end)


def _wait(end: float) -> None:
    if time.monotonic() >= end:
        raise TimeoutError("another process keeps it locked")
    time.sleep(_PAUSE)
