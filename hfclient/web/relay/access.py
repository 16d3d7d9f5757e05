"""Keys, owners and rights."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TypeAlias
from uuid import UUID

from hfclient.errors import InvalidInputError
from hfclient.web.errors import InvalidRequest
from hfclient.web.relay.runs import Run

__all__ = ["Allowed", "may_read", "one_of", "scoped_name", "text_of"]

_LONGEST = 500  # characters of a key, an owner, an idempotency key

Allowed: TypeAlias = Callable[[Run], object]
"""The application's own check: true if the caller may read this run."""


def one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    """Check that an argument has one of the known values."""
    if value not in known:
        raise InvalidInputError(f"{name}= is one of {', '.join(known)}, not {value!r}")


def text_of(name: str, value: object) -> str:
    """Return a key or an owner as text."""
    if isinstance(value, bool) or not isinstance(value, (str, int, UUID)):
        raise InvalidInputError(f"{name} is a text, a whole number or a UUID, not {value!r}")
    text = str(value)
    if not 0 < len(text) <= _LONGEST:
        raise InvalidInputError(f"{name} has 1 to {_LONGEST} characters, not {len(text)}")
    return text


def scoped_name(owner: str | None, key: object) -> str:
    """Return the name in the store of an owner's idempotency key."""
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST:
        raise InvalidRequest(f"an idempotency key is a text of 1 to {_LONGEST} characters")
    return f"{'' if owner is None else len(owner)}:{owner or ''}:{key}"


def may_read(run: Run, owner: object, allowed: Allowed | None) -> bool:
    """Whether a caller with this *owner*, or for whom *allowed* is true, may read the run."""
    if allowed is not None:
        return bool(allowed(run))
    if owner is None or run.owner is None:
        return owner is None and run.owner is None
    return hmac.compare_digest(text_of("owner", owner).encode("utf-8", "replace"), run.owner.encode("utf-8", "replace"))
