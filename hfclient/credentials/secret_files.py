"""A small JSON file of secrets: mode 0600 in a folder of mode 0700, replaced whole, changed under a lock.

Reading takes no lock, because a new version replaces the old one whole; every change is made under the lock, to what the
file then holds, so that processes that save at once lose nothing of each other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hfclient.credentials.cookie_files import read_secret_file
from hfclient.credentials.locks import file_lock

__all__ = ["DamagedFile", "SecretsFile", "settings_folder"]

_VERSION = 1
_LARGEST = 1024 * 1024


class DamagedFile(ValueError):
    """The file is there, and it is not what hfclient writes.

    Attributes:
        newer: A later release wrote it.
    """

    def __init__(self, newer: bool = False) -> None:
        super().__init__(newer)
        self.newer = newer

    def __str__(self) -> str:
        return "a later release wrote it" if self.newer else "it is damaged"


class SecretsFile:
    """One such file; it need not exist.

    Args:
        path: Where it is.
        key: The name of the entries in the file.
        check: Called with each entry; raises if it is none (any of the errors of reading a wrong type).
    """

    def __init__(self, path: Path, key: str, check: Callable[[Any], object]) -> None:
        self.path = path
        self._key = key
        self._check = check

    def read(self) -> dict[str, Any]:
        """Return the entries; none if there is no file.

        Raises:
            OSError: There is a file that cannot be opened.
            DamagedFile: It holds something else.
        """
        try:
            data = read_secret_file(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        newer = False
        try:
            if len(data) > _LARGEST:
                raise ValueError("too large")
            content = msgspec.json.decode(data)  # the standard library's errors hold the whole text
            newer = isinstance(content["version"], int) and content["version"] > _VERSION
            if content["version"] != _VERSION:
                raise ValueError("of another version")
            entries = content[self._key]
            for entry in entries.values():
                self._check(entry)
        except (msgspec.DecodeError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise DamagedFile(newer) from None
        return dict(entries)

    @contextlib.contextmanager
    def edit(self, timeout: float) -> Iterator[dict[str, Any]]:
        """Give the entries to a block that changes them, and write them after it; nothing is written if it changes nothing.

        Args:
            timeout: Seconds to wait for the lock.

        Raises:
            OSError: The file cannot be written, or the lock was not free in time (``TimeoutError``).
            DamagedFile: It holds something else; it is left as it is.
        """
        path = Path(os.path.realpath(self.path))  # a link, such as one into a folder of dotfiles, stays one
        # Only what is made here gets its mode here: HFCLIENT_HOME may be a folder with another life.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_lock(path.with_name(path.name + ".lock"), timeout):
            before = self.read()
            entries = {name: dict(entry) for name, entry in before.items()}
            yield entries
            if entries != before:
                _replace(path, msgspec.json.format(msgspec.json.encode({"version": _VERSION, self._key: entries})))

    def set_aside(self, timeout: float) -> Path:
        """Rename a damaged file, so that a new one can be made, and return its new name; one that is whole stays.

        Raises:
            OSError: It cannot be renamed.
        """
        path = Path(os.path.realpath(self.path))
        aside = path.with_name(path.name + ".damaged")
        with file_lock(path.with_name(path.name + ".lock"), timeout):
            try:
                self.read()  # another process may have been here first
            except DamagedFile:
                path.replace(aside)
        return aside

    def fingerprint(self) -> tuple[int, int, int] | None:
        """Return what differs after each change of the file; None if there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size


def settings_folder(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the folder where this user's files are, whether or not it exists; None for a user without a home."""
    # Not platformdirs (4.14): on Linux it gives the same folder, and every client needs the folder, so every chat would load it.
    env = os.environ if environ is None else environ
    try:
        if home := env.get("HFCLIENT_HOME"):
            return Path(home).expanduser()
        config = Path(env.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    except RuntimeError:
        return None
    return config / "hfclient"


def _replace(path: Path, data: bytes) -> None:
    """Put *data* in the place of *path*, whole or not at all, whenever the machine stops."""
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
    with contextlib.suppress(OSError):  # a folder cannot be synced everywhere
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
