"""How much the commands of this machine's user have used: counts by day, command and model, in a small file.

The file holds counts only, never a prompt, an answer or a secret, and only its owner can read it. ``HFCLIENT_USAGE=0`` switches
it off. A count that cannot be written is lost without a message: it must not disturb the command.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict, field, frozen

from hfclient.redaction.control_characters import collapsed

if TYPE_CHECKING:
    from hfclient import Client

__all__ = ["VARIABLE", "Count", "add_count", "count_answer", "forget_counts", "is_counting", "read_counts", "usage_file"]

VARIABLE = "HFCLIENT_USAGE"
_FILE = "usage.json"
_WAIT = 0.5
"""Seconds to wait for another process that writes the file."""
_MOST = 3000
"""Entries of the file; the oldest are removed first."""
_MAX_NAME = 120
_LARGEST = 10**15
"""The largest number of an entry; a server says how many tokens there were."""


@frozen
class Count:
    """What one command used of one model on one day.

    Attributes:
        day: In this machine's time zone, such as ``"2026-11-29"``.
        command: Such as ``"image"``.
        model, provider: Their names; empty if unknown.
        calls: How many calls succeeded.
        results: How many images, texts, ... came.
        prompt_tokens, completion_tokens: As the server counted them; 0 if it does not.
    """

    day: str
    command: str
    model: str = ""
    provider: str = ""
    calls: int = field(default=0, kw_only=True)
    results: int = field(default=0, kw_only=True)
    prompt_tokens: int = field(default=0, kw_only=True)
    completion_tokens: int = field(default=0, kw_only=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON types."""
        return asdict(self)


_NUMBERS = ("calls", "results", "prompt_tokens", "completion_tokens")


def is_counting() -> bool:
    """Return whether counts are written."""
    return os.environ.get(VARIABLE, "").strip().lower() not in ("0", "off", "no", "false")


def usage_file() -> Path | None:
    """Return the file of the counts, whether or not it exists; None if this user has no home folder."""
    from hfclient.credentials.secret_files import settings_folder

    folder = settings_folder()
    return None if folder is None else folder / _FILE


def add_count(command: str, model: str | None = None, provider: str | None = None, **numbers: int) -> None:
    """Count one call.

    Args:
        command: Name of the command.
        model, provider: As far as they are known.
        numbers: ``results``, ``prompt_tokens`` and ``completion_tokens``.
    """
    path = usage_file()
    if path is None or not is_counting():
        return
    from hfclient.credentials.secret_files import DamagedFile

    day = datetime.datetime.now().astimezone().strftime("%Y-%m-%d")
    key = "\t".join((day, command, _name(model), _name(provider)))
    with contextlib.suppress(OSError, DamagedFile), _file(path).edit(_WAIT) as entries:
        before = entries.get(key, {})
        given = {"calls": 1, **numbers}
        entries[key] = {name: min(_LARGEST, before.get(name, 0) + max(0, int(given.get(name, 0)))) for name in _NUMBERS}
        for old in sorted(entries)[: max(0, len(entries) - _MOST)]:
            del entries[old]


def count_answer(command: str, client: Client) -> None:
    """Count the last answer of *client*, if its server has counted the tokens."""
    reply = client.last
    if reply is None or reply.usage is None:
        return
    route = reply.route
    model = (route.model if route is not None else None) or reply.model
    tokens = {"prompt_tokens": reply.usage.prompt_tokens, "completion_tokens": reply.usage.completion_tokens}
    add_count(command, model, route.provider if route is not None else None, results=1, **tokens)


def read_counts(days: int | None = None) -> list[Count]:
    """Return the counts of the last *days* (None: of all days), oldest first; an unreadable file has none."""
    path = usage_file()
    if path is None:
        return []
    from hfclient.credentials.secret_files import DamagedFile

    try:
        entries = _file(path).read()
    except (OSError, DamagedFile):
        return []
    first = ""
    if days is not None:
        first = (datetime.datetime.now().astimezone() - datetime.timedelta(days=days - 1)).strftime("%Y-%m-%d")
    parts = ((key.split("\t"), entry) for key, entry in sorted(entries.items()))
    return [
        Count(*names, **{name: entry.get(name, 0) for name in _NUMBERS})
        for names, entry in parts
        if len(names) == 4 and names[0] >= first
    ]


def forget_counts() -> None:
    """Delete the file of the counts; raises ``OSError`` if that is not possible."""
    if (path := usage_file()) is not None:
        path.unlink(missing_ok=True)


def _file(path: Path) -> Any:
    from hfclient.credentials.secret_files import SecretsFile

    return SecretsFile(path, "counts", _check)


def _check(entry: Any) -> None:
    if not isinstance(entry, dict) or not all(isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST for value in entry.values()):
        raise ValueError("not a count")


def _name(text: str | None) -> str:
    return collapsed(text or "")[:_MAX_NAME]
