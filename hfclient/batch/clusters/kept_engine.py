"""`KeptEngine`: an engine that is used by one batch after the other, with its connections and its pace."""

from __future__ import annotations

from collections.abc import Iterable

from hfclient.batch.engines import Engine, take
from hfclient.batch.jobs import Job

__all__ = ["KeptEngine"]


class KeptEngine:
    """An engine whose :meth:`close` does nothing while it has no jobs; see `Engine`.

    Attributes:
        is_closed: Whether a batch ended before its jobs, by an error or by Ctrl-C: then the engine is at its end.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs = 0
        self._done: list[Job] = []
        self.is_closed = False

    def submit(self, jobs: Iterable[Job]) -> None:
        jobs = list(jobs)
        self._jobs += len(jobs)
        self._engine.submit(jobs)

    def finished(self, seconds: float | None = None) -> list[Job]:
        self._done += self._engine.finished(seconds)
        self._jobs -= len(self._done)
        return take(self._done)

    def close(self) -> list[Job]:
        return self.end() if self._jobs else []

    def end(self) -> list[Job]:
        """Close it, with or without jobs."""
        self.is_closed = True
        self._done += self._engine.close()
        return take(self._done)
