"""A string that keeps itself to itself."""

from __future__ import annotations

from typing import Any

__all__ = ["Secret"]


class Secret(str):
    """A string that does not show itself: ``repr`` and ``format`` give stars; :meth:`reveal` gives the value.

    >>> Secret("hf_abc")
    Secret('***')
    >>> f"{Secret('hf_abc')}"
    '***'
    """

    __slots__ = ()

    def __new__(cls, value: str = "") -> Secret:
        return super().__new__(cls, "".join(value))  # str() of another one would be stars

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __reduce_ex__(self, protocol: Any) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self.reveal(),)  # some of the ways that str has go through __str__

    def reveal(self) -> str:
        """Return the value as a plain string."""
        return "".join(self)
