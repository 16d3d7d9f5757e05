"""Saved logins: one file for each user of the machine, one entry for each chat server.

The file is ``$HFCLIENT_HOME/logins.json``, else ``$XDG_CONFIG_HOME/hfclient/logins.json``, else
``~/.config/hfclient/logins.json``. `secret_files` reads and writes it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from hfclient.credentials.cookie_matching import sendable_cookies
from hfclient.credentials.origins import server_key
from hfclient.credentials.secret import Secret, revealed
from hfclient.credentials.secret_files import DamagedFile, SecretsFile, settings_folder
from hfclient.errors import CredentialsError
from hfclient.values import Value

__all__ = ["LoginStore", "SavedLogin"]

_log = logging.getLogger("hfclient")
_FILE = "logins.json"
_LOCK_TIMEOUT = 10.0  # seconds, at a login
_RENEW_LOCK_TIMEOUT = 2.0  # seconds, while an answer waits


@frozen(eq=False, repr=False)
class SavedLogin(Value):
    """One entry.

    Attributes:
        cookies: By name.
        user_id: The account's id on the server.
        username: The account's name, for display.
        saved_at: Time of the login, in seconds since 1970; rotated cookies do not change it.
    """

    cookies: dict[str, Secret] = field(repr=False)
    user_id: str
    username: str | None = None
    saved_at: float = 0.0


class LoginStore:
    """The file of saved logins.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = SecretsFile(self.path, "logins", _parse)

    def __repr__(self) -> str:
        return f"LoginStore({str(self.path)!r})"

    @classmethod
    def find(cls, environ: Mapping[str, str] | None = None) -> LoginStore | None:
        """Return this user's store, whether or not its file exists; None if the user has no home directory."""
        folder = settings_folder(environ)
        return None if folder is None else cls(folder / _FILE)

    def get(self, chat_url: str) -> SavedLogin | None:
        """Return the saved login for the chat server at *chat_url*, or None.

        Raises:
            CredentialsError: The file does not have the expected content; the message names it.
        """
        try:
            entry = self._read().get(server_key(chat_url))
        except OSError as error:
            # A service may run with the home directory of another user: it has no saved login then.
            if self._is_visible():
                _log.warning("the saved logins in %s cannot be read: %s", self.path, error.strerror)
            return None
        if entry is None:
            return None
        login = _parse(entry)
        # The file may have been edited.
        return evolve(login, cookies=sendable_cookies(login.cookies.items(), f"the saved login in {self.path}", chat_url=chat_url))

    def put(self, chat_url: str, login: SavedLogin) -> None:
        """Save *login* for the chat server at *chat_url*; it replaces an older one.

        Raises:
            CredentialsError: The file cannot be written; the message names it.
        """
        entry = {
            "cookies": revealed(login.cookies),
            "user_id": login.user_id,
            "username": login.username,
            "saved_at": login.saved_at or time.time(),
        }
        with self._edit(_LOCK_TIMEOUT) as logins:
            logins[server_key(chat_url)] = entry

    def renew(self, chat_url: str, user_id: str, cookies: Mapping[str, Secret]) -> None:
        """Save values that the server rotated, unless the login was removed or replaced by another user's.

        Raises:
            CredentialsError: The file cannot be written.
        """
        saved = self.get(chat_url)
        if saved is None or {**saved.cookies, **cookies} == saved.cookies:
            return
        with self._edit(_RENEW_LOCK_TIMEOUT) as logins:
            entry = logins.get(server_key(chat_url))
            if entry is not None and entry.get("user_id") == user_id:
                entry["cookies"] = {**entry["cookies"], **revealed(cookies)}

    def remove(self, chat_url: str) -> bool:
        """Delete the login for the chat server at *chat_url*; False if it does not exist.

        Raises:
            CredentialsError: The file cannot be written.
        """
        if self.get(chat_url) is None:
            return False
        with self._edit(_LOCK_TIMEOUT) as logins:
            return logins.pop(server_key(chat_url), None) is not None

    # The file

    def _read(self) -> dict[str, dict[str, Any]]:
        """Return the entries; raises ``OSError`` if the file exists and cannot be opened."""
        try:
            return self._file.read()
        except DamagedFile:
            raise self._damaged() from None

    def _is_visible(self) -> bool:
        try:
            return self.path.is_file()
        except OSError:
            return False

    @contextlib.contextmanager
    def _edit(self, timeout: float) -> Iterator[dict[str, dict[str, Any]]]:
        try:
            with self._file.edit(timeout) as logins:
                yield logins
        except DamagedFile:
            raise self._damaged() from None
        except OSError as error:
            raise CredentialsError(f"the saved logins in {self.path} cannot be changed: {error.strerror or error}") from None

    def _damaged(self) -> CredentialsError:
        return CredentialsError(
            f"the saved logins in {self.path} are damaged, or were written by a later release; delete that file and "
            'log in again with "hfclient login"'
        )


def _parse(entry: Mapping[str, Any]) -> SavedLogin:
    cookies = {str(name): Secret(value) for name, value in entry["cookies"].items()}
    if not cookies or not all(isinstance(value, str) for value in entry["cookies"].values()):
        raise ValueError("the entry has no cookies")
    return SavedLogin(cookies, str(entry["user_id"]), entry.get("username"), float(entry.get("saved_at") or 0.0))
