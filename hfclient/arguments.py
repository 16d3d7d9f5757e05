"""What callers pass, looked at before it is used: a wrong argument is told at the call and by its name."""

from __future__ import annotations

from hfclient.errors import InvalidInputError

__all__ = ["checked_limit"]


def checked_limit(limit: int | None) -> int | None:
    """Return *limit* if a list can have it: None, or a whole number that is not negative.

    Raises:
        InvalidInputError: It is something else.
    """
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise InvalidInputError(f"a limit is a whole number, 0 or more, not {limit!r}")
    return limit
