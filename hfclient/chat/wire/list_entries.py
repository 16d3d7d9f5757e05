"""Lists that a server sends: a malformed entry does not affect the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from hfclient.errors import ProtocolError

__all__ = ["read_entries"]

_T = TypeVar("_T")
_log = logging.getLogger("hfclient")


def read_entries(entries: Iterable[Any], parse: Callable[[Any], _T], what: str) -> list[_T]:
    """Return the parsed entries; those that *parse* refuses are left out with a warning.

    Args:
        entries: The list that the server sent.
        parse: Raises `ProtocolError` for a malformed entry.
        what: The list, for the warning.

    Raises:
        ProtocolError: *parse* refuses all of them: it is another kind of list.
    """
    found: list[_T] = []
    first: ProtocolError | None = None
    bad = 0
    for entry in entries:
        try:
            found.append(parse(entry))
        except ProtocolError as error:
            first = first or error
            bad += 1
    if first is not None:
        if not found:
            raise first
        _log.warning("%d of the %s are left out: %s (%s)", bad, what, first.message, first.frame)
    return found
