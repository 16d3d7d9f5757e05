"""Comparison, hash and repr for attrs classes, shared instead of generated for each class."""

from __future__ import annotations

import functools
from typing import Any

from attrs import fields

from hfclient.display import Displayed

__all__ = ["Value"]


class Value(Displayed):
    """``==``, ``hash()`` and ``repr()`` by the fields of an attrs class, as attrs would generate them.

    attrs writes and compiles these methods for each class, which is half of the time that a class takes when it is imported;
    there are about a hundred. Their classes derive from this one and are decorated with ``eq=False, repr=False``; the
    options ``eq`` and ``repr`` of a field work as usual.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        cls: Any = self.__class__
        return all(getattr(self, name) == getattr(other, name) for name in _compared(cls))

    def __hash__(self) -> int:
        cls: Any = self.__class__
        return hash((cls, *(getattr(self, name) for name in _compared(cls))))

    def __repr__(self) -> str:
        cls: Any = self.__class__
        shown = (f"{name}={write(getattr(self, name))}" for name, write in _shown(cls))
        return f"{cls.__qualname__.rpartition('>.')[2]}({', '.join(shown)})"


@functools.cache
def _compared(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls) if field.eq)


@functools.cache
def _shown(cls: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, repr if field.repr is True else field.repr) for field in fields(cls) if field.repr)
