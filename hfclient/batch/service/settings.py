"""`BatchService`: limits and times of a batch that goes to the provider's batch service."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from hfclient.errors import InvalidInputError

__all__ = ["BatchService"]


@frozen(kw_only=True)
class BatchService:
    """How a batch uses the provider's batch service: ``inference.map(..., service=BatchService(window="7d"))``.

    ``service="batch"`` is the same with the defaults, which are OpenAI's limits.

    Attributes:
        window: The time that the server may take: ``"24h"``. Other servers take other values, Groq up to ``"7d"``.
        max_requests: Most requests in a file.
        max_bytes: Largest size of a file.
        poll: Most seconds between two looks at a job; the first ones are closer.
        attempts: How often an item is submitted if a job ends without its answer.
        on_expired: ``"redo"`` submits what was not done in time again; ``"error"`` hands it out as failed.
        deadline: Seconds to wait for all of it; None for as long as it takes. The jobs go on afterwards.
        metadata: Texts that every job gets, for the provider's own pages.
    """

    window: str = "24h"
    max_requests: int = 50_000
    max_bytes: int = 200_000_000
    poll: float = 60.0
    attempts: int = 3
    on_expired: Literal["redo", "error"] = "redo"
    deadline: float | None = None
    metadata: dict[str, str] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for name in ("max_requests", "max_bytes", "poll", "attempts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                raise InvalidInputError(f"{name} is a number above 0, not {value!r}")
        if self.on_expired not in ("redo", "error"):
            raise InvalidInputError(f'on_expired is "redo" or "error", not {self.on_expired!r}')
