"""The caller's own limits of one process: ``rate="20/second"`` and ``tokens="100000/minute"``."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from hfclient.errors import MissingDependencyError
from hfclient.events import Usage

__all__ = ["Allowance", "Allowances", "Budget", "Limits", "estimate"]

Limits: TypeAlias = "str | Mapping[str, str] | None"
"""Limits for each provider, or by the name of the provider."""

_EVEN = 60.0  # seconds: requests are spread evenly over shorter windows; a longer window may be used up at its beginning
_SLACK = 0.02  # seconds that a start may come late without the next one being later, too
_PARTS = 64  # of a long window, which are forgotten one by one
_MOST_TOKENS = 10**8  # of one request: no model reads so many, and a wrong report must not hold the batch for years
_FIRST_ANSWER = 500.0  # tokens expected of an answer before the first one


class Budget:
    """An amount that may be used in a time.

    Args:
        amount: In one window.
        window: Seconds.
    """

    def __init__(self, amount: float, window: float) -> None:
        self.amount = amount
        self.window = window
        self._next = -math.inf  # when the next request may start, of a short window
        self._used = 0.0  # in a long window
        self._parts: collections.deque[list[float]] = collections.deque()  # (its begin, what was used)

    def wait(self, now: float) -> float:
        """Return the seconds until something may be used; 0 if it may now."""
        if self.window <= _EVEN:
            return max(0.0, self._next - now)
        while self._parts and self._parts[0][0] <= now - self.window:
            self._used -= self._parts.popleft()[1]
        return self._parts[0][0] + self.window - now if self._parts and self._used >= self.amount else 0.0

    def use(self, amount: float, now: float) -> None:
        """Count *amount* as used; negative to give it back."""
        if self.window <= _EVEN:
            self._next = max(self._next, now - _SLACK) + amount * self.window / self.amount
            return
        if not self._parts or now - self._parts[-1][0] >= self.window / _PARTS:
            self._parts.append([now, 0.0])
        self._parts[-1][1] += amount
        self._used += amount


class Allowance:
    """What one server may be asked: its budgets of requests and of tokens. Called under the lock of the pace.

    Args:
        requests, tokens: The budgets.
    """

    def __init__(self, requests: list[Budget], tokens: list[Budget]) -> None:
        self._requests = requests
        self._tokens = tokens
        self._answer = _FIRST_ANSWER  # tokens of an answer, smoothed

    def wait(self, now: float) -> float:
        """Return the seconds until a request may start; 0 if it may now."""
        return max((budget.wait(now) for budget in (*self._requests, *self._tokens)), default=0.0)

    def start(self, prompt: float, now: float) -> float:
        """Count a request whose prompt has *prompt* tokens, and return the tokens that are reserved for it."""
        for budget in self._requests:
            budget.use(1.0, now)
        if not self._tokens:
            return 0.0
        reserved = prompt + self._answer
        for budget in self._tokens:
            budget.use(reserved, now)
        return reserved

    def end(self, reserved: float, usage: Usage | None, now: float) -> None:
        """Replace what was reserved by what was used; without a report, or with an absurd one, the reservation stays."""
        if not self._tokens or usage is None:
            return
        used = usage.total_tokens or usage.prompt_tokens + usage.completion_tokens
        if max(used, usage.completion_tokens) > _MOST_TOKENS:
            return
        self._answer += 0.1 * (usage.completion_tokens - self._answer)
        for budget in self._tokens:
            budget.use(used - reserved, now)


class Allowances:
    """The allowance of each provider, from the options ``rate=`` and ``tokens=``.

    Args:
        rate, tokens: Limits such as ``"20/second"`` or ``"500/minute; 10000/day"`` for each provider, or a mapping from the names
            of providers to limits.

    Raises:
        InvalidInputError: One of them is not a limit.
        MissingDependencyError: The package limits is not installed.
    """

    def __init__(self, rate: Limits = None, tokens: Limits = None) -> None:
        self._rate = _parsed("rate", rate)
        self._tokens = _parsed("tokens", tokens)
        self._known: dict[str | None, Allowance | None] = {}

    def of(self, provider: str | None) -> Allowance | None:
        """Return the allowance of *provider*, None for the server without one; None if it has no limits."""
        if provider not in self._known:
            requests, tokens = _budgets(self._rate, provider), _budgets(self._tokens, provider)
            self._known[provider] = Allowance(requests, tokens) if requests or tokens else None
        return self._known[provider]


_Parsed: TypeAlias = "dict[str | None, list[tuple[float, float]]]"


def _parsed(name: str, given: Limits) -> _Parsed:
    """Return the amounts and windows by provider; None are those of all others."""
    if given is None:
        return {}
    try:
        import limits  # noqa: F401 (in the extra, although the limits are counted here)
    except ImportError:
        raise MissingDependencyError(f"{name}= needs the package limits: pip install 'hfclient[batch]'") from None
    from hfclient.web.limit_store import parse_limits

    texts: Mapping[Any, str] = given if isinstance(given, Mapping) else {None: given}
    return {
        provider: [(float(limit.amount), float(limit.window)) for limit in parse_limits(name, "map", text)]
        for provider, text in texts.items()
    }


def _budgets(parsed: _Parsed, provider: str | None) -> list[Budget]:
    return [Budget(*limit) for limit in parsed.get(provider, parsed.get(None, []))]


def estimate(content: Any) -> float:
    """Return the tokens of a prompt, roughly."""
    from hfclient.web.text_sizes import BYTES_PER_TOKEN, size_of_texts  # only with tokens=

    return size_of_texts(content) / BYTES_PER_TOKEN
