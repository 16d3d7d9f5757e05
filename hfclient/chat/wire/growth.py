"""Documents whose values may stand in several places: what a short one is allowed to mean.

superjson and devalue can say that one value stands in many places, even inside itself. In memory that costs nothing, but
whatever writes the value out (``to_dict``, an export, the text of an error) writes it in each place: twenty lists, each
holding the next one twice, are a million places.
"""

from __future__ import annotations

from typing import Any

from hfclient.errors import ProtocolError

__all__ = ["Budget", "settled"]

_ROOM = 8_000_000
_COST = 16
_SHORT = 64  # characters; the document pays for each reference to a shorter string


class Budget:
    """How much a document may stand for beyond what is written in it, roughly in characters.

    Args:
        what: The document, for the error.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._left = _ROOM

    def spend(self, cost: int) -> None:
        """Count *cost* before what costs it is made.

        Raises:
            ProtocolError: It is too much.
        """
        self._left -= cost
        if self._left < 0:
            raise ProtocolError(f"{self.what} is too large when it is written out")


def settled(value: Any, budget: Budget, depth: int) -> Any:
    """Return *value*, made of dicts, lists and other values, fit to be written out.

    A place where a container stands inside itself becomes None. What stands in several places is paid for in each but the
    first.

    Raises:
        ProtocolError: It is too large when it is written out, or nests deeper than *depth*.
    """
    return _Settling(budget, depth).visit(value, depth)


class _Settling:
    def __init__(self, budget: Budget, depth: int) -> None:
        self._budget = budget
        self._sizes: dict[int, int] = {}
        self._size = 0
        self._depth = depth

    def visit(self, value: Any, depth: int) -> Any:
        if isinstance(value, (str, bytes)):
            if len(value) > _SHORT:
                self._again(value, len(value))
            return value
        if not isinstance(value, (dict, list)):
            return value
        size = self._sizes.get(id(value))
        if size is not None:
            if not size:  # it is being visited: this place is inside of it
                return None
            self._budget.spend(size)
            self._size += size
            return value
        if not depth:
            raise ProtocolError(f"{self._budget.what} nests deeper than {self._depth}")
        self._sizes[id(value)] = 0
        before = self._size
        self._size += _COST
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(item, (str, bytes, dict, list)):
                kept = self.visit(item, depth - 1)
                if kept is not item:
                    value[key] = kept
            else:
                self._size += _COST
        self._sizes[id(value)] = self._size - before
        return value

    def _again(self, text: str | bytes, cost: int) -> None:
        if id(text) in self._sizes:
            self._budget.spend(cost)
        self._sizes[id(text)] = cost
        self._size += cost
