"""Lock files, so that one process at a time changes a file of secrets."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["file_lock"]

_POLL_INTERVAL = 0.01
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextlib.contextmanager
def file_lock(path: Path, timeout: float) -> Iterator[None]:
    """Hold a lock that excludes all other processes and threads that lock the same *path*.

    The operating system holds the lock, and frees it when the process ends. On file systems without locks (some network
    file systems) the lock is a file with the suffix ``.held`` that names its process.

    Args:
        path: The lock file; it stays when the lock is free.
        timeout: Seconds to wait for the lock.

    Raises:
        TimeoutError: The lock was not free in time.
        OSError: The file cannot be created.
    """
    import filelock  # imported late, because it takes 11 ms

    lock: BaseFileLock = filelock.FileLock(path, timeout, 0o600, poll_interval=_POLL_INTERVAL, fallback_to_soft=False)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        # filelock's own fallback covers ENOSYS only, and warns.
        held = path.with_name(path.name + ".held")
        lock = filelock.SoftFileLock(held, timeout, 0o600, poll_interval=_POLL_INTERVAL)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
