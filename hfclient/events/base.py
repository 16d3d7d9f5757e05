"""The base class of events."""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import define, field

from hfclient.errors import ProtocolError
from hfclient.values import Value

__all__ = ["Event", "plain_fields"]


def plain_fields(value: object) -> dict[str, Any]:
    """Return the fields of a value as plain JSON types, without those that are None.

    Raises:
        ProtocolError: The value is nested too deeply for the stack that is left.
    """
    try:
        fields: dict[str, Any] = msgspec.to_builtins(value)
    except RecursionError:
        raise ProtocolError(f"this {type(value).__name__} nests too deeply to be written out") from None
    return {name: field for name, field in fields.items() if field is not None}


@define(eq=False, repr=False)
class Event(Value):
    """The base class of events.

    Attributes:
        extra: Fields of the wire object that this release does not know, or None.
    """

    extra: dict[str, Any] | None = field(default=None, kw_only=True, repr=False)

    __hash__ = None  # type: ignore[assignment]  # an event can be changed
