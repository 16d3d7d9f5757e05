"""Saved logins: one small file for each user of the machine, one entry for each chat server.

``$HFCLIENT_HOME/logins.json``, else ``$XDG_CONFIG_HOME/hfclient/logins.json``, else ``~/.config/hfclient/logins.json``;
mode 0600 in a folder of mode 0700. Reading takes no lock, because a new version replaces the old one whole; every change
is made under a lock, to what the file then holds, so that processes that save at once lose nothing of each other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from attrs import field, frozen

from hfclient.credentials.exports import read_private
from hfclient.credentials.locks import file_lock
from hfclient.credentials.places import place_of
from hfclient.credentials.secret import Secret
from hfclient.errors import CredentialsError

__all__ = ["LoginStore", "SavedLogin"]

_log = logging.getLogger("hfclient")
_FILE = "logins.json"
_VERSION = 1
_LARGEST = 1024 * 1024
_PATIENCE = 10.0  # seconds for the lock when a person waits
_HASTE = 2.0  # when an answer does


@frozen
class SavedLogin:
    """One entry.

    Attributes:
        cookies: By name.
        user_id: The account's id on the server, by which it is told apart from another one.
        username: For people.
        saved_at: Seconds since 1970 of the login; what is rotated later does not change it.
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

    def __repr__(self) -> str:
        return f"LoginStore({str(self.path)!r})"

    @classmethod
    def find(cls, environ: Mapping[str, str] | None = None) -> LoginStore | None:
        """Return this user's store, whether or not its file exists; None for a user without a home."""
        env = os.environ if environ is None else environ
        try:
            if home := env.get("HFCLIENT_HOME"):
                return cls(Path(home).expanduser() / _FILE)
            config = Path(env.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
        except RuntimeError:
            return None
        return cls(config / "hfclient" / _FILE)

    def get(self, chat_url: str) -> SavedLogin | None:
        """Return the saved login for the chat server at *chat_url*, or None.

        Raises:
            CredentialsError: The file is there, and it is not what this class writes; the message names it.
        """
        try:
            entry = self._read().get(place_of(chat_url))
        except OSError as error:
            # A service may run with somebody else's home: then there is no login of its own, and no reason to fail.
            if self._is_visible():
                _log.warning("the saved logins in %s cannot be read: %s", self.path, error.strerror)
            return None
        return _parse(entry) if entry is not None else None

    def put(self, chat_url: str, login: SavedLogin) -> None:
        """Save *login* for the chat server at *chat_url*, in the place of an older one.

        Raises:
            CredentialsError: The file cannot be written; the message names it.
        """
        entry = {
            "cookies": _revealed(login.cookies),
            "user_id": login.user_id,
            "username": login.username,
            "saved_at": login.saved_at or time.time(),
        }
        with self._changing(_PATIENCE) as logins:
            logins[place_of(chat_url)] = entry

    def renew(self, chat_url: str, user_id: str, cookies: Mapping[str, Secret]) -> None:
        """Take over values that the server rotated, unless the login was removed or is another user's by now.

        Raises:
            CredentialsError: The file cannot be written.
        """
        saved = self.get(chat_url)
        if saved is None or {**saved.cookies, **cookies} == saved.cookies:
            return
        with self._changing(_HASTE) as logins:
            entry = logins.get(place_of(chat_url))
            if entry is not None and entry.get("user_id") == user_id:
                entry["cookies"] = {**entry["cookies"], **_revealed(cookies)}

    def remove(self, chat_url: str) -> bool:
        """Forget the login for the chat server at *chat_url*; False if there was none.

        Raises:
            CredentialsError: The file cannot be written.
        """
        if self.get(chat_url) is None:
            return False
        with self._changing(_PATIENCE) as logins:
            return logins.pop(place_of(chat_url), None) is not None

    # The file

    def _read(self) -> dict[str, dict[str, Any]]:
        """Return the entries; raises ``OSError`` if there is a file that cannot be opened."""
        try:
            data = read_private(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        try:
            if len(data) > _LARGEST:
                raise ValueError("too large")
            content = msgspec.json.decode(data)  # the standard library's errors hold the whole text
            if content["version"] != _VERSION:
                raise ValueError("of another version")
            logins = content["logins"]
            for entry in logins.values():
                _parse(entry)
        except (msgspec.DecodeError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise CredentialsError(
                f"the saved logins in {self.path} are damaged, or were written by a later release; delete that file and "
                'log in again with "hfclient login"'
            ) from None
        return dict(logins)

    def _is_visible(self) -> bool:
        try:
            return self.path.is_file()
        except OSError:
            return False

    @contextlib.contextmanager
    def _changing(self, patience: float) -> Iterator[dict[str, dict[str, Any]]]:
        path = Path(os.path.realpath(self.path))  # a link that somebody's dotfiles made stays one
        try:
            # Only what is made here gets its mode here: HFCLIENT_HOME may be a folder with another life.
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with file_lock(path.with_name(path.name + ".lock"), patience):
                before = self._read()
                logins = {place: dict(entry) for place, entry in before.items()}
                yield logins
                if logins != before:
                    _replace(path, msgspec.json.format(msgspec.json.encode({"version": _VERSION, "logins": logins})))
        except OSError as error:
            raise CredentialsError(f"the saved logins in {self.path} cannot be changed: {error.strerror or error}") from None


def _parse(entry: Mapping[str, Any]) -> SavedLogin:
    cookies = {str(name): Secret(value) for name, value in entry["cookies"].items()}
    if not cookies or not all(isinstance(value, str) for value in entry["cookies"].values()):
        raise ValueError("no cookies")
    return SavedLogin(cookies, str(entry["user_id"]), entry.get("username"), float(entry.get("saved_at") or 0.0))


def _revealed(cookies: Mapping[str, Secret]) -> dict[str, str]:
    return {name: value.reveal() for name, value in cookies.items()}


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
