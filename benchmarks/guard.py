"""What a guard costs: an event, and an admission with its end, in memory and in Redis.

    python -m benchmarks.guard [redis://localhost:6379/1]
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator

from hfclient.events import AnyEvent, Token
from hfclient.web import Guard

LIMITS = {"requests": "1000000/day", "tokens": "1000000000/day"}
TOTAL = {"requests": "1000000000/day"}


class Answer:
    """An answer that costs nothing itself."""

    def __init__(self, count: int) -> None:
        self._events = [Token("word ")] * count

    def __iter__(self) -> Iterator[AnyEvent]:
        return iter(self._events)

    def ticks(self, seconds: float) -> Iterator[AnyEvent | None]:
        """Yield the events."""
        return iter(self._events)

    def close(self) -> None:
        """Do nothing."""


def best(run: Callable[[], object], count: int) -> tuple[float, float]:
    """Return microseconds of CPU and of time for one of *count*, the best of five runs."""
    found = []
    for _ in range(5):
        cpu, clock = time.process_time(), time.perf_counter()
        run()
        found.append((time.process_time() - cpu, time.perf_counter() - clock))
    return min(cpu for cpu, _ in found) / count * 1e6, min(clock for _, clock in found) / count * 1e6


def main() -> None:
    """Measure and print."""
    answer = Answer(100_000)
    plain, _ = best(lambda: sum(1 for _ in answer), 100_000)
    guarded, _ = best(lambda: sum(1 for _ in Guard().watch(lambda: answer)), 100_000)
    print(f"an event: {guarded - plain:.2f} us more")
    for store in ["memory://", *sys.argv[1:]]:
        guard = Guard(store, **LIMITS, total=TOTAL)
        users = itertools.cycle(range(100))
        cpu, clock = best(lambda guard=guard, users=users: [guard.admit(next(users)).close() for _ in range(500)], 500)  # type: ignore[misc]
        print(f"an admission and its end, three limits, {store.partition(':')[0]}: {cpu:.0f} us of CPU, {clock:.0f} us in all")


if __name__ == "__main__":
    main()
