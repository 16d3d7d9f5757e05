"""Values of decoded JSON by type. A server may send any type in any field; a value of another type counts as absent."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from hfclient.decoding.json_repair import loads_repaired

__all__ = [
    "date_or_none",
    "int_or_none",
    "is_int",
    "json_or_none",
    "list_or_empty",
    "number_or_none",
    "object_or_empty",
    "text_or_none",
]


def text_or_none(value: Any) -> str | None:
    """Return *value* if it is a string and not an empty one."""
    return value if isinstance(value, str) and value else None


def is_int(value: Any) -> bool:
    """Return whether *value* is an int; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def int_or_none(value: Any) -> int | None:
    """Return *value* if it is an int; True and False are not.

    >>> int_or_none(3), int_or_none(True), int_or_none("3")
    (3, None, None)
    """
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number_or_none(value: Any) -> float | None:
    """Return *value* if it is an int or a float; True and False are not."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def list_or_empty(value: Any) -> list[Any]:
    """Return *value* if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def object_or_empty(value: Any) -> Mapping[str, Any]:
    """Return *value* if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def date_or_none(value: Any) -> datetime.datetime | None:
    """Return the date in an ISO 8601 string, in UTC; a date without a zone is one in UTC.

    >>> date_or_none("2026-08-21T03:27:06.397Z").year
    2026
    """
    if not isinstance(value, str):
        return None
    try:
        # Python 3.10 accepts neither "Z" nor fractions of any other length than three and six digits.
        date = datetime.datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith("Z") else value)
        utc = datetime.timezone.utc
        return date.replace(tzinfo=utc) if date.tzinfo is None else date.astimezone(utc)
    except (ValueError, OverflowError):  # before year 1, after 9999, or not a date
        return None


def json_or_none(body: bytes | str | None) -> Any:
    """Return the decoded JSON of *body*, or None if it is not JSON."""
    try:
        return loads_repaired(body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body or b"")
    except ValueError:
        return None
