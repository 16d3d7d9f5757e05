"""`UpdateFields`: the fields of one decoded update, by type."""

from __future__ import annotations

from typing import Any

__all__ = ["UpdateFields", "joined"]


class UpdateFields:
    """Reads an update's fields by type, and knows which ones were not read.

    An absent field and null are the same: the database stores an unset value as null. An optional field of another type than
    today's stays in ``extra``, so that the rest of the event is kept.
    """

    __slots__ = ("_read", "raw")

    def __init__(self, data: dict[str, Any], read: tuple[str, ...] = ("type", "subtype")) -> None:
        self.raw = data
        self._read = set(read)

    def _take(self, name: str, kinds: type | tuple[type, ...]) -> Any:
        """Return a value of one of *kinds*, or None."""
        value = self.raw.get(name)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)):
            return None
        self._read.add(name)
        return value

    def text(self, name: str) -> str:
        """Return a required text."""
        value: str | None = self._take(name, str)
        if value is None:
            raise KeyError(name)
        return value

    def text_or_none(self, name: str) -> str | None:
        value: str | None = self._take(name, str)
        return value

    def int_or_none(self, name: str) -> int | None:
        value: int | float | None = self._take(name, (int, float))
        if isinstance(value, float):
            if value.is_integer():
                return int(value)
            self._read.discard(name)
            return None
        return value

    def number(self, name: str) -> float:
        value = self.number_or_none(name)
        if value is None:
            raise KeyError(name)
        return value

    def number_or_none(self, name: str) -> float | None:
        value: float | None = self._take(name, (int, float))
        try:
            float(value or 0)
        except OverflowError:  # an integer of hundreds of digits, with which nothing can be calculated
            self._read.discard(name)
            return None
        return value

    def flag(self, name: str) -> bool | None:
        value: bool | None = self._take(name, bool)
        return value

    def object_or_none(self, name: str) -> dict[str, Any] | None:
        value: dict[str, Any] | None = self._take(name, dict)
        return value

    def inner(self, name: str) -> UpdateFields:
        value = self.object_or_none(name)
        if value is None:
            raise KeyError(name)
        return UpdateFields(value, read=())

    def items(self, name: str) -> list[Any]:
        value: list[Any] | None = self._take(name, list)
        return value or []

    def objects(self, name: str) -> list[dict[str, Any]]:
        """Return a list of objects; any other item becomes an object with the key ``value``."""
        return [item if isinstance(item, dict) else {"value": item} for item in self.items(name)]

    def extra(self) -> dict[str, Any] | None:
        """Return the fields that were not read, or None."""
        return {key: value for key, value in self.raw.items() if key not in self._read} or None


def joined(*extras: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return all fields of several ``extra``, or None."""
    found: dict[str, Any] = {}
    for extra in extras:
        found.update(extra or {})
    return found or None
