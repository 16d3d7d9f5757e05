"""The base class of events."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from hfclient.values import Value

__all__ = ["Event"]


@define(eq=False, repr=False)
class Event(Value):
    """The base class of events.

    Attributes:
        extra: Fields of the wire object that this release does not know, or None.
    """

    extra: dict[str, Any] | None = field(default=None, kw_only=True, repr=False)

    __hash__ = None  # type: ignore[assignment]  # an event can be changed
