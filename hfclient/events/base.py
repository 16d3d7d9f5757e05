"""The base class of events."""

from __future__ import annotations

from typing import Any

from attrs import define, field

__all__ = ["Event"]


@define
class Event:
    """The base class of events.

    Attributes:
        extra: Fields of the wire object that this release does not know, or None.
    """

    extra: dict[str, Any] | None = field(default=None, kw_only=True, repr=False)
