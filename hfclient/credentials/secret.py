"""Strings that are hidden in repr and format, and masked in errors and logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hfclient.redaction.masking import may_be_secret, register_secret

__all__ = ["Secret", "hidden_header", "revealed"]


class Secret(str):
    """A string whose ``repr`` and ``format`` give stars; :meth:`reveal` gives the value.

    It is also masked where a server repeats it in the text of an error or a log (`hfclient.redaction.masking`).

    Args:
        value: The secret.

    >>> Secret("hf_abc")
    Secret('***')
    >>> f"{Secret('hf_abc')}"
    '***'
    """

    __slots__ = ()
    _is_masked: ClassVar[bool] = True

    def __new__(cls, value: str = "") -> Secret:
        plain = "".join(value)  # str() of a Secret gives stars
        if cls._is_masked:
            register_secret(plain)
        return super().__new__(cls, plain)

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __reduce_ex__(self, protocol: Any) -> tuple[type[Secret], tuple[str]]:
        return type(self), (self.reveal(),)  # str's own reduce may use __str__

    def mark_used(self) -> None:
        """Make it one of the most recent secrets, which are masked: a server that receives it may repeat it."""
        if self._is_masked:
            register_secret(self.reveal())

    def reveal(self) -> str:
        """Return the value as a plain string."""
        return "".join(self)


class _Hidden(Secret):
    """A string with a hidden repr that is not masked elsewhere, because it may be an ordinary word."""

    __slots__ = ()
    _is_masked = False


def hidden_header(name: str, value: str) -> Secret:
    """Return the value of a caller's header: hidden in repr, and masked if it may be a secret rather than a word."""
    return Secret(value) if may_be_secret(name, "".join(value)) else _Hidden(value)


def revealed(cookies: Mapping[str, Secret]) -> dict[str, str]:
    """Return cookies as plain strings, for a file of secrets."""
    return {name: value.reveal() for name, value in cookies.items()}
