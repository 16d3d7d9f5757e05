"""A small JSON file of secrets: mode 0600 in a folder of mode 0700, replaced atomically, changed under a lock.

Reading takes no lock, because each version replaces the previous one atomically. Each change reads the file under the lock
first, so that processes that save at the same time keep each other's changes.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hfclient.credentials.cookie_files import read_secret_file
from hfclient.credentials.locks import file_lock

__all__ = ["DamagedFile", "SecretsFile", "settings_folder"]

_VERSION = 1
_MAX_SIZE = 1024 * 1024


class DamagedFile(ValueError):
    """The file exists and does not have the expected content.

    Attributes:
        newer: A later release wrote it.
    """

    def __init__(self, newer: bool = False) -> None:
        super().__init__(newer)
        self.newer = newer

    def __str__(self) -> str:
        return "a later release wrote it" if self.newer else "it is damaged"


class SecretsFile:
    """A JSON file of secrets; it need not exist.

    Args:
        path: Its path.
        key: The key of the entries in the file.
        check: Called with each entry; raises ValueError, TypeError, KeyError or AttributeError for an invalid entry.
    """

    def __init__(self, path: Path, key: str, check: Callable[[Any], object]) -> None:
        self.path = path
        self._key = key
        self._check = check

    def read(self) -> dict[str, Any]:
        """Return the entries; an empty dict if the file does not exist.

        Raises:
            OSError: The file exists and cannot be opened.
            DamagedFile: The file does not have the expected content.
        """
        try:
            if stat.S_ISFIFO(self.path.stat().st_mode):  # reading it would wait for a writer
                raise DamagedFile
            data = read_secret_file(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        newer = False
        try:
            if len(data) > _MAX_SIZE:
                raise ValueError("too large")
            content = msgspec.json.decode(data)  # the standard library's errors hold the whole text
            newer = isinstance(content["version"], int) and content["version"] > _VERSION
            if content["version"] != _VERSION:
                raise ValueError("another version")
            entries = content[self._key]
            for entry in entries.values():
                self._check(entry)
        except (msgspec.DecodeError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise DamagedFile(newer) from None
        return dict(entries)

    @contextlib.contextmanager
    def edit(self, timeout: float) -> Iterator[dict[str, Any]]:
        """Yield the entries for changes, and write them after the block; without a change nothing is written.

        Args:
            timeout: Seconds to wait for the lock.

        Raises:
            OSError: The file cannot be written, or the lock was not free in time (``TimeoutError``).
            DamagedFile: The file does not have the expected content; it stays unchanged.
        """
        path = Path(os.path.realpath(self.path))  # a symbolic link, for instance to a folder of dotfiles, stays one
        # Only a new folder gets this mode: HFCLIENT_HOME may be a folder with other uses.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_lock(path.with_name(path.name + ".lock"), timeout):
            before = self.read()
            entries = {name: dict(entry) for name, entry in before.items()}
            yield entries
            if entries != before:
                _replace(path, msgspec.json.format(msgspec.json.encode({"version": _VERSION, self._key: entries})))

    def rename_damaged(self, timeout: float) -> Path:
        """Rename a damaged file and return its new path; a valid file stays.

        Raises:
            OSError: The file cannot be renamed.
        """
        path = Path(os.path.realpath(self.path))
        aside = path.with_name(path.name + ".damaged")
        with file_lock(path.with_name(path.name + ".lock"), timeout):
            try:
                self.read()  # another process may have replaced it already
            except DamagedFile:
                path.replace(aside)
        return aside

    def fingerprint(self) -> tuple[int, int, int] | None:
        """Return a value that differs after each change of the file; None if the file does not exist."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size


def settings_folder(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the folder of this user's files, whether or not it exists; None if the user has no home directory."""
    # Not platformdirs (4.14): it gives the same folder on Linux, and each client needs the folder, so every chat would import it.
    env = os.environ if environ is None else environ
    try:
        if home := env.get("HFCLIENT_HOME"):
            return Path(home).expanduser()
        config = Path(env.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    except RuntimeError:
        return None
    return config / "hfclient"


def _replace(path: Path, data: bytes) -> None:
    """Replace the file at *path* atomically, also if the machine stops in between."""
    new = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    with contextlib.suppress(OSError):  # not all systems can sync a folder
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
