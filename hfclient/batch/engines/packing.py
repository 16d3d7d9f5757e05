"""`PackingEngine`: several items with one request, for calls that can (embeddings)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from hfclient.batch.calls import PackedCall
from hfclient.batch.engines import Engine, take
from hfclient.batch.jobs import Job
from hfclient.errors import BadRequestError, HFClientError, InvalidInputError, RequestTooLargeError

__all__ = ["PackingEngine"]


class PackingEngine:
    """Packs jobs with equal options into jobs of another engine; see `Engine`.

    A request that is refused because of one of its items is halved until that item is alone: the others get their answers.
    """

    def __init__(self, engine: Engine, call: PackedCall) -> None:
        self._engine = engine
        self._call = call
        self._numbers = itertools.count()
        self._packed: dict[int, list[Job]] = {}  # by the number of the pack
        self._ended: list[Job] = []  # packs
        self._done: list[Job] = []

    def submit(self, jobs: Iterable[Job]) -> None:
        groups: dict[str, list[Job]] = {}
        for job in jobs:
            groups.setdefault(repr(sorted(job.item.options.items())), []).append(job)
        size = self._call.pack_size
        packs = [group[at : at + size] for group in groups.values() for at in range(0, len(group), size)]
        self._engine.submit([self._pack(pack) for pack in packs])

    def finished(self, seconds: float | None = None) -> list[Job]:
        self._ended += self._engine.finished(seconds)
        while self._ended:
            pack = self._ended[0]
            jobs = self._unpack(pack)
            if len(jobs) > 1 and _is_of_one(pack.error):
                middle = len(jobs) // 2
                self._engine.submit([self._pack(jobs[:middle]), self._pack(jobs[middle:])])
            else:
                self._done += jobs
            del self._ended[0]
            self._packed.pop(pack.number)
        return take(self._done)

    def close(self) -> list[Job]:
        self._ended += self._engine.close()
        while self._ended:
            self._done += self._unpack(self._ended[0])
            del self._ended[0]
        return take(self._done)

    def _pack(self, jobs: list[Job]) -> Job:
        number = next(self._numbers)
        self._packed[number] = jobs
        return Job(number, self._call.pack([job.item for job in jobs]), jobs[0].key)

    def _unpack(self, pack: Job) -> list[Job]:
        jobs = self._packed[pack.number]
        for place, job in enumerate(jobs):
            job.attempts += pack.attempts
            job.seconds += pack.seconds
            job.error = pack.error
            if pack.error is None:
                job.value = pack.value[place]
        return jobs


def _is_of_one(error: HFClientError | None) -> bool:
    """Whether one item may be the cause of *error*."""
    return isinstance(error, (BadRequestError, RequestTooLargeError, InvalidInputError))
