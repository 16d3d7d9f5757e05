"""A string that does not show itself, and that is masked in errors and logs."""

from __future__ import annotations

from typing import Any, ClassVar

from hfclient.redaction.masking import may_be_secret, register_secret

__all__ = ["Secret", "hidden_header"]


class Secret(str):
    """A string that does not show itself: ``repr`` and ``format`` give stars; :meth:`reveal` gives the value.

    Where others repeat it in the text of an error or of a log, it is masked too (`hfclient.redaction.masking`).

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
        plain = "".join(value)  # str() of another one would be stars
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
        return type(self), (self.reveal(),)  # some of the ways that str has go through __str__

    def mark_used(self) -> None:
        """Count it among the newest secrets, which are masked: a server that gets it may repeat it."""
        if self._is_masked:
            register_secret(self.reveal())

    def reveal(self) -> str:
        """Return the value as a plain string."""
        return "".join(self)


class _Hidden(Secret):
    """A string that does not show itself, but may well be an ordinary word that others say for reasons of their own."""

    __slots__ = ()
    _is_masked = False


def hidden_header(name: str, value: str) -> Secret:
    """Return a header of the caller's: no log shows it, and it is masked where it may be a secret rather than a word."""
    return Secret(value) if may_be_secret(name, "".join(value)) else _Hidden(value)
