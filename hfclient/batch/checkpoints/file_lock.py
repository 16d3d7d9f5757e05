"""`FileLock`: one process at a time uses a file; the others learn which one it is."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import sys
import weakref
from pathlib import Path
from typing import Any

from hfclient.batch.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["FileLock", "is_alive", "this_process"]

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_HELD: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """A lock on *path*, which is a file beside it with the suffix ``.lock`` and the holder's process number and host.

    The operating system holds it and frees it when the process ends, however it ends; NFS, too. On a file system without locks
    the file itself is the lock, which a living process removes at the end; one that a dead process of this machine left is replaced.

    Raises:
        CheckpointError: Another process has it, or the folder cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._target = path
        self._path = f"{path}.lock"
        self._file = -1
        try:
            while not self._acquire():
                pass
        except FileNotFoundError as error:
            raise CheckpointError(f"the folder of {path} does not exist") from error
        except OSError as error:
            raise CheckpointError(f"{self._path} cannot be written: {error.strerror or error}") from error
        _HELD.add(self)

    def release(self) -> None:
        """Free the lock."""
        if self._file < 0:
            return
        _HELD.discard(self)
        if os.name == "posix":  # Windows does not delete open files; the file stays, unlocked
            with contextlib.suppress(OSError):
                # Ctrl-C may have come behind this line, so that it is reached again: the file may be another process's now.
                if os.fstat(self._file).st_ino == Path(self._path).stat().st_ino:
                    Path(self._path).unlink()
        self._forget()

    def _forget(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _acquire(self) -> bool:
        """Take the lock; False if it was being released, so that another attempt is due."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            try:
                _lock(file)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                if (holder := _holder(file)) and is_alive(holder) is not False:
                    raise BlockingIOError from error
        except (BlockingIOError, PermissionError) as error:
            holder = _holder(file)
            os.close(file)
            if not isinstance(error, BlockingIOError) and error.errno != errno.EACCES:
                raise
            raise CheckpointError(self._refusal(holder)) from None
        try:
            if os.name == "posix" and os.fstat(file).st_ino != Path(self._path).stat().st_ino:
                raise FileNotFoundError
        except FileNotFoundError:  # its holder has removed it
            os.close(file)
            return False
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, json.dumps(this_process()).encode())
        self._file = file
        return True

    def _refusal(self, holder: dict[str, Any] | None) -> str:
        where, remedy = "another process", ""
        if holder:
            same = holder.get("pid") == os.getpid() and holder.get("host") == platform.node()
            where = "another batch of this process" if same else f"process {holder.get('pid')} on {holder.get('host')}"
            if is_alive(holder) is None:
                remedy = f". If that process has ended, delete {self._path}"
        return (
            f"{self._target} is in use by {where}. Close that batch first, or give another file; several processes of one machine "
            f'can share a checkpoint that ends in ".sqlite"{remedy}'
        )


def this_process() -> dict[str, Any]:
    """Return what names this process: pid, host, and the time of its start, because numbers are used again."""
    return {"pid": os.getpid(), "host": platform.node(), "started": _started(os.getpid())}


def is_alive(process: dict[str, Any]) -> bool | None:
    """Return whether the process of a `this_process` runs; None if this cannot be known, as on another machine."""
    pid = process.get("pid")
    if process.get("host") != platform.node() or not isinstance(pid, int) or os.name != "posix":
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _started(pid) == process.get("started")


def _started(pid: int) -> str | None:
    """Return the start of a process in ticks since boot, with its namespace; None where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] == b"Z" else fields[19].decode()  # a zombie has ended
    except (OSError, IndexError):
        return None


def _lock(file: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(file, 1 << 30, os.SEEK_SET)  # behind the content, which stays readable
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
        finally:
            os.lseek(file, 0, os.SEEK_SET)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(file: int) -> dict[str, Any] | None:
    try:
        os.lseek(file, 0, os.SEEK_SET)
        found = json.loads(os.read(file, 4096))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _forget_in_child() -> None:
    """Close the copies of a forked child: the lock is free when its holder ends, even if the child lives longer."""
    for lock in list(_HELD):
        lock._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
