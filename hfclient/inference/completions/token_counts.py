"""The tokens of several answers."""

from __future__ import annotations

from collections.abc import Sequence

from hfclient.events import Usage

__all__ = ["sum_of"]


def sum_of(usages: Sequence[Usage]) -> Usage | None:
    """Return the sum of all counts; a count that no round has stays None."""
    if len(usages) < 2:
        return usages[0] if usages else None

    def optional(name: str) -> int | None:
        counts = [getattr(usage, name) for usage in usages]
        return sum(count or 0 for count in counts) if any(count is not None for count in counts) else None

    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        total_tokens=sum(usage.total_tokens for usage in usages),
        cached_tokens=optional("cached_tokens"),
        reasoning_tokens=optional("reasoning_tokens"),
    )
