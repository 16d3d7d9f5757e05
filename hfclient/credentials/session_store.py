"""Anonymous sessions: who this user of the machine is to a chat server without login.

Such a server tells its users apart by a random cookie alone, so the cookie is kept as a browser keeps it: in
``sessions.json`` beside the saved logins, one entry for each server, base path and name. The first request that needs a
session takes the entry, or makes one under the file's lock, so that processes that start at once are the same user. Where
the file cannot be used the session lives in the memory of this process.
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
from hfclient.credentials.secret import Secret
from hfclient.credentials.secret_files import DamagedFile, SecretsFile, settings_folder
from hfclient.errors import CredentialsError, InvalidInputError

__all__ = ["PRIVATE", "AnonymousSession"]

PRIVATE = "private"
"""The name of sessions that are kept nowhere."""

_log = logging.getLogger("hfclient")
_FILE = "sessions.json"
_NAME = re.compile(r"[^\x00-\x20\x7f#]{1,100}")
_VALUE = re.compile(r"[\x20-\x3a\x3c-\x7e\x80-\xff]{1,8192}")
_MOST = 1000  # entries; those that were not used for longest go first
_DAY = 24 * 3600.0
_LOCK_TIMEOUT = 2.0  # seconds for the lock; a request waits
_in_memory: dict[str, dict[str, Secret]] = {}  # cookies by entry, where the file cannot be used
_logged: set[str] = set()


class AnonymousSession:
    """The session of one chat server, which is kept for other processes unless it is private.

    Threads may share it; a forked child or an unpickled copy means the same session.

    Args:
        entry: Under which key it is kept; empty for a private one.
        file: Where it is kept; None keeps it in the memory of this process.
    """

    def __init__(self, entry: str = "", file: SecretsFile | None = None) -> None:
        self._entry = entry
        self._file = file
        # Made now, so that children that are forked before the first request agree about it.
        self._new = {SESSION_COOKIE: _new_value()}
        self._stamp: tuple[int, int, int] | None = None
        self.is_new = True
        """No program has used it before."""

    @classmethod
    def find(
        cls, chat_url: str, name: str | None = None, environ: Mapping[str, str] | None = None
    ) -> AnonymousSession:
        """Return the session called *name*; no file is read yet.

        Args:
            chat_url: The chat server's base URL.
            name: One of several at the same server; None takes ``HFCLIENT_SESSION``, or else the one without a name;
                ``"private"`` or ``""`` is kept nowhere.
            environ: Environment variables; None takes the process's.

        Raises:
            InvalidInputError: No session can have that name.
        """
        env = os.environ if environ is None else environ
        source = "session"
        if name is None:
            name, source = env.get("HFCLIENT_SESSION") or None, "HFCLIENT_SESSION"
        if name in ("", PRIVATE):
            return cls()
        if name is not None and not _NAME.fullmatch(name):
            raise InvalidInputError(f"{source}: the name of a session has 1 to 100 characters, no space and no # among them")
        place = server_key(chat_url)
        folder = settings_folder(env)
        if folder is not None and not (env.get("HFCLIENT_HOME") or env.get("XDG_CONFIG_HOME")):
            # The account of a service may have a home that does not exist; it is not made for this.
            folder = folder if Path("~").expanduser().is_dir() else None
        file = None if folder is None else SecretsFile(folder / _FILE, "sessions", _check)
        return cls(place if name is None else f"{place}#{name}", file)

    def exists(self) -> bool:
        """Whether it is kept, by this process or another one."""
        return self._entry in _in_memory or self._read() is not None

    def peek(self) -> tuple[dict[str, Secret], bool]:
        """Return its cookies, and whether they are kept; where they are not, they are new and nothing is written."""
        if self._entry in _in_memory:
            return dict(_in_memory[self._entry]), True
        self._stamp = None if self._file is None else self._file.fingerprint()
        found = self._read()
        return (dict(self._new), False) if found is None else (_secrets(found), True)

    def load_or_create(self) -> tuple[dict[str, Secret], bool]:
        """Return its cookies: what is kept, or a new session, which is kept from now on; and True."""
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
                self._tell(error)
            if found is not None:  # it can be read, only not be changed
                return _secrets(found), True
        # One for all clients of this process; setdefault, because threads may meet here.
        return dict(_in_memory.setdefault(self._entry, self._new)), True

    def _create_stored(self, file: SecretsFile) -> dict[str, Secret]:
        try:
            file.read()
        except DamagedFile as damage:
            if damage.newer:
                raise
            aside = file.set_aside(_LOCK_TIMEOUT)
            _log.warning("the anonymous sessions in %s were damaged; what was there is in %s now", file.path, aside)
        with file.edit(_LOCK_TIMEOUT) as sessions:
            entry = sessions.get(self._entry) or {"cookies": _revealed(self._new)}
            sessions[self._entry] = entry = {**entry, "used_at": time.time()}
            for oldest in sorted(sessions, key=lambda name: float(sessions[name]["used_at"]))[: max(0, len(sessions) - _MOST)]:
                del sessions[oldest]
        self._stamp = file.fingerprint()
        return _secrets(entry)

    def changes(self) -> dict[str, Secret] | None:
        """Return its cookies if the file has changed since the last look, else None."""
        if self._file is None or (stamp := self._file.fingerprint()) == self._stamp:
            return None
        self._stamp = stamp
        found = self._read()
        return None if found is None else _secrets(found)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes and threads out that call this for a session of the same file; for a while at most."""
        with contextlib.ExitStack() as held:
            if self._file is not None:
                with contextlib.suppress(OSError):  # it took too long, or nothing can be written here
                    held.enter_context(file_lock(self._file.path.with_name(f"{_FILE}.first"), _LOCK_TIMEOUT))
            yield

    def renew(self, before: Mapping[str, Secret], after: Mapping[str, Secret]) -> dict[str, Secret] | None:
        """Keep what the server set; if another process has renewed the session meanwhile, return what that has kept.

        Args:
            before: The cookies that the server answered to.
            after: Those that say who the user is from now on.
        """
        if self._entry in _in_memory:
            _in_memory[self._entry] = dict(after)
        if self._file is None or self._read() is None:  # not kept, or forgotten meanwhile
            return None
        try:
            with self._file.edit(_LOCK_TIMEOUT) as sessions:
                entry = sessions.get(self._entry)
                if entry is None:
                    return None
                if any(before.get(name, "") != value for name, value in entry["cookies"].items()):
                    return _secrets(entry)
                sessions[self._entry] = {"cookies": _revealed(after), "used_at": time.time()}
        except (OSError, DamagedFile) as error:
            self._tell(error)
        self._stamp = self._file.fingerprint()
        return None

    def forget(self, cookies: Mapping[str, Secret] | None = None) -> bool:
        """Remove it, so that the next client of the server is another user; False if there was none.

        Args:
            cookies: Remove it only if it has these; None for any.

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

    def _tell(self, error: OSError | DamagedFile) -> None:
        assert self._file is not None
        path = str(self._file.path)
        if path not in _logged:
            _logged.add(path)
            _log.info("anonymous sessions are not kept in %s: %s; they end with this process", path, _reason(error))


def _reason(error: OSError | DamagedFile) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _new_value() -> Secret:
    """Return a random UUID; the module of that name loads much, for which import hfclient need not wait."""
    digits = os.urandom(16).hex()
    return Secret(f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}")


def _check(entry: Any) -> None:
    cookies = entry["cookies"]
    if not cookies or not all(isinstance(value, str) for value in cookies.values()):
        raise ValueError("no cookies")
    for name, value in cookies.items():
        if not COOKIE_NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("no cookie of a server")
    float(entry["used_at"])


def _secrets(entry: Mapping[str, Any]) -> dict[str, Secret]:
    return {name: Secret(value) for name, value in entry["cookies"].items()}


def _revealed(cookies: Mapping[str, Secret]) -> dict[str, str]:
    return {name: value.reveal() for name, value in cookies.items()}
