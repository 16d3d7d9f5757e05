"""The last conversation with each server, for ``--continue``: its id, in ``conversations.json`` beside the saved logins."""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import Any

from hfclient.credentials import server_key
from hfclient.credentials.secret_files import DamagedFile, SecretsFile, settings_folder

__all__ = ["last_conversation", "remember"]

_FILE = "conversations.json"
_ID = re.compile(r"[0-9a-zA-Z-]{1,64}")
_LOCK_TIMEOUT = 2.0
_MAX_ENTRIES = 200


def last_conversation(url: str | None) -> str | None:
    """Return the id of the last conversation with the server at *url* (None: the model on this machine), or None."""
    file = _file()
    if file is None:
        return None
    try:
        entry = file.read().get(_key(url))
    except (OSError, DamagedFile):
        return None
    return None if entry is None else entry["id"]


def remember(url: str | None, conversation_id: str | None) -> None:
    """Store the id of a conversation with the server at *url*; without a folder that can be written nothing happens."""
    file = _file()
    if file is None or not conversation_id or not _ID.fullmatch(conversation_id):
        return
    with contextlib.suppress(OSError, DamagedFile), file.edit(_LOCK_TIMEOUT) as entries:
        entries[_key(url)] = {"id": conversation_id, "used_at": int(time.time())}
        for oldest in sorted(entries, key=lambda name: entries[name]["used_at"])[:-_MAX_ENTRIES]:
            del entries[oldest]


def _key(url: str | None) -> str:
    place = "local" if url is None else server_key(url)
    session = os.environ.get("HFCLIENT_SESSION")
    return f"{place}#{session}" if session else place


def _file() -> SecretsFile | None:
    folder = settings_folder()
    return None if folder is None else SecretsFile(folder / _FILE, "conversations", _check)


def _check(entry: Any) -> None:
    if not _ID.fullmatch(entry["id"]) or not isinstance(entry["used_at"], int):
        raise ValueError("invalid")
