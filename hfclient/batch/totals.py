"""`Totals`: how many items of a batch have ended, and what they used."""

from __future__ import annotations

import time
from collections.abc import Callable

from hfclient.batch.results import BatchResult
from hfclient.events import Usage

__all__ = ["Price", "Totals"]

Price = Callable[[Usage, str, "str | None"], "float | None"]
"""Returns the US dollars of a usage, for a model and a provider; None if the price is unknown. `hfclient.web.RouterPrices` is one."""

_AFTER = 1.0  # seconds until a rate says something


class Totals:
    """Counts of a batch. Tokens are added up for each model and provider, so the cost is computed when it is needed.

    Attributes:
        answered, failed: Items with an answer, and without one.
        stored: Those of the answered items whose answer was in the checkpoint or the cache.
    """

    def __init__(self, price: Price | None) -> None:
        self.answered = self.failed = self.stored = 0
        self._price = price
        self._began = time.monotonic()
        self._used: dict[tuple[str, str | None], list[int]] = {}

    def begin(self) -> None:
        """Count the time from now on."""
        self._began = time.monotonic()

    def add(self, result: BatchResult) -> None:
        """Count *result*."""
        if result.error is not None:
            self.failed += 1
        else:
            self.answered += 1
        if result.stored:
            self.stored += 1
            return  # it was paid for before
        if (reply := result.reply) is not None and (usage := reply.usage) is not None:
            route = reply.route
            model = reply.model or (route.model if route is not None else "")
            used = self._used.setdefault((model, None if route is None else route.provider), [0] * 5)
            counts = (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, usage.cached_tokens, usage.reasoning_tokens)
            for place, count in enumerate(counts):
                used[place] += count or 0

    @property
    def usage(self) -> Usage:
        """The tokens of all answers that were not stored before."""
        return _usage([sum(column) for column in zip(*self._used.values(), strict=True)] or [0] * 5)

    @property
    def cost(self) -> float | None:
        """The US dollars of these tokens; None if a price is unknown."""
        if self._price is None:
            return None
        cost = 0.0
        for (model, provider), used in self._used.items():
            if (part := self._price(_usage(used), model, provider)) is None:
                return None
            cost += part
        return cost

    def text(self, state: str = "", total: float | None = None) -> str:
        """Return the counts as a short text for a progress bar, the most important ones first.

        Args:
            state: Why nothing is answered now; then neither a rate nor a time is true.
            total: Number of items, if it is known, for the time that is left. Stored answers say nothing about it.
        """
        seconds = time.monotonic() - self._began
        done = self.answered + self.failed
        asked = done - self.stored
        parts = [state] if state else []
        if not state and asked and seconds > _AFTER:
            parts.append(f"{asked / seconds:.3g}/s")
            if total is not None:
                parts.append(f"{_time(max(0.0, total - done) * seconds / asked)} left")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if cost := self.cost:
            parts.append(f"${cost:.2f}")
        if tokens := self.usage.total_tokens:
            parts.append(f"{_short(tokens)} tokens")
        return ", ".join(parts)


def _usage(used: list[int]) -> Usage:
    return Usage(
        prompt_tokens=used[0], completion_tokens=used[1], total_tokens=used[2], cached_tokens=used[3], reasoning_tokens=used[4]
    )


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _short(number: float) -> str:
    for unit in ("", "k", "M", "G"):  # noqa: B007 (used below)
        if number < 1000:
            break
        number /= 1000
    return f"{number:.3g}{unit}"
