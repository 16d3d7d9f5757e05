"""Stored anonymous sessions, which identify a user to a chat server without login.

Such a server identifies its users by a random cookie. The cookie is stored as a browser stores it: in ``sessions.json``
next to the saved logins, one entry for each server, base path and name. The first request that needs a session loads the
entry, or creates it under the file's lock, so that processes that start at the same time are the same user. If the file
cannot be used, the session is kept in memory.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hfclient.credentials.cookie_matching import COOKIE_NAME, SESSION_COOKIE
from hfclient.credentials.locks import file_lock
from hfclient.credentials.origins import server_key
from hfclient.credentials.secret import Secret, revealed
from hfclient.credentials.secret_files import DamagedFile, SecretsFile, settings_folder
from hfclient.errors import CredentialsError, InvalidInputError

__all__ = ["PRIVATE", "AnonymousSession"]

PRIVATE = "private"
"""The name of a session that is not stored."""

_log = logging.getLogger("hfclient")
_FILE = "sessions.json"
_NAME = re.compile(r"[^\x00-\x20\x7f#]{1,100}")
_VALUE = re.compile(r"[\x20-\x3a\x3c-\x7e\x80-\xff]{1,8192}")
_MAX_ENTRIES = 1000  # the least recently used entries are deleted first
_DAY = 24 * 3600.0
_LOCK_TIMEOUT = 2.0  # seconds; a request waits meanwhile
_in_memory: dict[str, dict[str, Secret]] = {}  # cookies by entry, if the file cannot be used
_logged: set[str] = set()


class AnonymousSession:
    """The session of one chat server, stored for other processes unless it is private.

    Threads may share it; a forked child and an unpickled copy refer to the same session.

    Args:
        entry: Key of the stored entry; empty for a private session.
        file: The file of sessions; None keeps the session in memory.
    """

    def __init__(self, entry: str = "", file: SecretsFile | None = None) -> None:
        self._entry = entry
        self._file = file
        # Created here, so that processes forked before the first request use the same value.
        self._new = {SESSION_COOKIE: _new_value()}
        # Of the file before it was last read. Not after a change: another process may have changed it since, too.
        self._stamp: tuple[int, int, int] | None = None
        self.is_new = True
        """Whether no program has used it before."""

    @classmethod
    def find(
        cls, chat_url: str, name: str | None = None, environ: Mapping[str, str] | None = None
    ) -> AnonymousSession:
        """Return the session called *name*; no file is read yet.

        Args:
            chat_url: The chat server's base URL.
            name: One of several sessions at the same server; None uses ``HFCLIENT_SESSION``, else the session without a
                name; ``"private"`` or ``""`` is not stored.
            environ: Environment variables; None uses those of the process.

        Raises:
            InvalidInputError: The name is not allowed.
        """
        env = os.environ if environ is None else environ
        source = "session"
        if name is None:
            name, source = env.get("HFCLIENT_SESSION") or None, "HFCLIENT_SESSION"
        if name in ("", PRIVATE):
            return cls()
        if name is not None and not _NAME.fullmatch(name):
            raise InvalidInputError(f"{source}: the name of a session has 1 to 100 characters, without spaces and #")
        place = server_key(chat_url)
        folder = settings_folder(env)
        if folder is not None and not (env.get("HFCLIENT_HOME") or env.get("XDG_CONFIG_HOME")):
            # A service account may have a home directory that does not exist; it is not created for this.
            folder = folder if Path("~").expanduser().is_dir() else None
        file = None if folder is None else SecretsFile(folder / _FILE, "sessions", _check)
        return cls(place if name is None else f"{place}#{name}", file)

    def exists(self) -> bool:
        """Whether the session is stored, by this process or another one."""
        return self._entry in _in_memory or self._read() is not None

    def peek(self) -> tuple[dict[str, Secret], bool]:
        """Return the cookies and whether they are stored; cookies that are not stored are new, and nothing is written."""
        if self._entry in _in_memory:
            return dict(_in_memory[self._entry]), True
        self._stamp = None if self._file is None else self._file.fingerprint()
        found = self._read()
        return (dict(self._new), False) if found is None else (_secrets(found), True)

    def load_or_create(self) -> tuple[dict[str, Secret], bool]:
        """Return the cookies of the stored session, or of a new one that is now stored; and True."""
        if not self._entry:
            return dict(self._new), True
        if self._file is not None and self._entry not in _in_memory:
            self._stamp = self._file.fingerprint()
            found = self._read()
            self.is_new = self.is_new and found is None
            if found is not None and time.time() - found["used_at"] < _DAY:
                return _secrets(found), True
            try:
                return self._create_stored(self._file), True
            except (OSError, DamagedFile) as error:
                self._log_once(error)
            if found is not None:  # the file is read-only
                return _secrets(found), True
        # One for all clients of this process; setdefault, because several threads may call this at once.
        return dict(_in_memory.setdefault(self._entry, self._new)), True

    def _create_stored(self, file: SecretsFile) -> dict[str, Secret]:
        try:
            file.read()
        except DamagedFile as damage:
            if damage.newer:
                raise
            damaged = file.rename_damaged(_LOCK_TIMEOUT)
            _log.warning("the anonymous sessions in %s were damaged; the old file is now %s", file.path, damaged)
        with file.edit(_LOCK_TIMEOUT) as sessions:
            entry = sessions.get(self._entry) or {"cookies": revealed(self._new)}
            sessions[self._entry] = entry = {**entry, "used_at": time.time()}
            for oldest in sorted(sessions, key=lambda name: float(sessions[name]["used_at"]))[: max(0, len(sessions) - _MAX_ENTRIES)]:
                del sessions[oldest]
        return _secrets(entry)

    def changes(self) -> dict[str, Secret] | None:
        """Return the cookies if the file has changed since it was last read, else None."""
        if self._file is None or (stamp := self._file.fingerprint()) == self._stamp:
            return None
        self._stamp = stamp
        found = self._read()
        return None if found is None else _secrets(found)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Exclude other processes and threads that call this for a session of the same file.

        If the lock is not free in time, the block runs without it.
        """
        with contextlib.ExitStack() as held:
            if self._file is not None:
                with contextlib.suppress(OSError):  # a timeout, or the folder is read-only
                    held.enter_context(file_lock(self._file.path.with_name(f"{_FILE}.first"), _LOCK_TIMEOUT))
            yield

    def renew(self, before: Mapping[str, Secret], after: Mapping[str, Secret]) -> dict[str, Secret] | None:
        """Store the cookies that the server set; if another process has stored newer ones meanwhile, return those.

        Args:
            before: The cookies of the request.
            after: The cookies that identify the user from now on.
        """
        if self._entry in _in_memory:
            _in_memory[self._entry] = dict(after)
        if self._file is None or self._read() is None:  # not stored, or deleted meanwhile
            return None
        try:
            with self._file.edit(_LOCK_TIMEOUT) as sessions:
                entry = sessions.get(self._entry)
                if entry is None:
                    return None
                if any(before.get(name, "") != value for name, value in entry["cookies"].items()):
                    return _secrets(entry)
                sessions[self._entry] = {"cookies": revealed(after), "used_at": time.time()}
        except (OSError, DamagedFile) as error:
            self._log_once(error)
        return None

    def forget(self, cookies: Mapping[str, Secret] | None = None) -> bool:
        """Delete the session, so that the next client of the server is a new user; False if it does not exist.

        Args:
            cookies: Delete it only if it has these cookies; None for any.

        Raises:
            CredentialsError: The file cannot be changed.
        """
        self._new = {SESSION_COOKIE: _new_value()}
        forgotten = _in_memory.pop(self._entry, None) is not None
        if self._file is None:
            return forgotten
        try:
            if self._entry not in self._file.read():
                return forgotten
            with self._file.edit(_LOCK_TIMEOUT) as sessions:
                entry = sessions.get(self._entry)
                if entry is None or (cookies is not None and _secrets(entry) != cookies):
                    return forgotten
                del sessions[self._entry]
        except (OSError, DamagedFile) as error:
            raise CredentialsError(
                f"the anonymous sessions in {self._file.path} cannot be changed: {_reason(error)}"
            ) from None
        return True

    def _read(self) -> dict[str, Any] | None:
        if self._file is None:
            return None
        try:
            return self._file.read().get(self._entry)
        except (OSError, DamagedFile):
            return None

    def _log_once(self, error: OSError | DamagedFile) -> None:
        assert self._file is not None
        path = str(self._file.path)
        if path not in _logged:
            _logged.add(path)
            _log.info("anonymous sessions are not stored in %s: %s; they end with this process", path, _reason(error))


def _reason(error: OSError | DamagedFile) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _new_value() -> Secret:
    """Return a random UUID, without the import time of the module uuid."""
    digits = os.urandom(16).hex()
    return Secret(f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}")


def _check(entry: Any) -> None:
    cookies = entry["cookies"]
    if not cookies or not all(isinstance(value, str) for value in cookies.values()):
        raise ValueError("the entry has no cookies")
    for name, value in cookies.items():
        if not COOKIE_NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("a cookie is malformed")
    float(entry["used_at"])


def _secrets(entry: Mapping[str, Any]) -> dict[str, Secret]:
    return {name: Secret(value) for name, value in entry["cookies"].items()}
