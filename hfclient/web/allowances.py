"""What is left of limits, as values and as header fields."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import frozen

from hfclient.web.limit_store import CREDIT, Counter

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Allowance", "rate_limit_headers"]


@frozen
class Allowance:
    """A limit, and what is left of it in the current window.

    Attributes:
        scope: ``"requests"``, ``"tokens"`` or ``"credits"``.
        per: ``"user"``, ``"key"`` or ``"total"``.
        amount: What the window admits.
        used: What has been used and reserved; more than *amount* if the last answer was longer than expected.
        window: The window's length in seconds.
        reset: Seconds until the next window.
    """

    scope: str
    per: str
    amount: float
    used: float
    window: int
    reset: float

    @classmethod
    def of(cls, counter: Counter, used: int, now: float) -> Self:
        """Return the allowance of *counter* when its sum is *used*, at the time *now*."""
        limit = counter.limit
        left = max(0.0, counter.end - now)
        if limit.scope == "credits":
            return cls(limit.scope, limit.per, limit.amount / CREDIT, used / CREDIT, limit.window, left)
        return cls(limit.scope, limit.per, limit.amount, used, limit.window, left)

    @property
    def remaining(self) -> float:
        """What is left, never negative."""
        return max(0, self.amount - self.used)


def rate_limit_headers(allowances: Iterable[Allowance]) -> dict[str, str]:
    """Return ``RateLimit-Policy`` and ``RateLimit``, without the limits in all; empty if there are no others.

    Reference: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (10)
    """
    policies, states = [], []
    for one in allowances:
        if one.per != "total":
            unit = CREDIT if one.scope == "credits" else 1
            name = f'"{one.scope}-{one.per}-{one.window}"'
            policies.append(f"{name};q={round(one.amount * unit)};w={one.window}")
            states.append(f"{name};r={round(one.remaining * unit)};t={math.ceil(one.reset)}")
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)} if policies else {}
