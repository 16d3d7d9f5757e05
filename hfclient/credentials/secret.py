"""A string that does not show itself, and that is masked in errors and logs."""

from __future__ import annotations

from typing import Any

from hfclient.masking import remember

__all__ = ["Secret"]


class Secret(str):
    """A string that does not show itself: ``repr`` and ``format`` give stars; :meth:`reveal` gives the value.

    Where others repeat it in the text of an error or of a log, it is masked too (`hfclient.masking`).

    Args:
        value: The secret.
        mask: False for a value that is not to be shown, but that may well be an ordinary word.

    >>> Secret("hf_abc")
    Secret('***')
    >>> f"{Secret('hf_abc')}"
    '***'
    """

    __slots__ = ()

    def __new__(cls, value: str = "", *, mask: bool = True) -> Secret:
        plain = "".join(value)  # str() of another one would be stars
        if mask:
            remember(plain)
        return super().__new__(cls, plain)

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
