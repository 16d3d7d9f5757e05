"""`GreenEngine`: how many jobs run while the loop is busy, and the break in which the other thread works alone."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("greenlet")
pytest.importorskip("aiohttp")

from hfclient.batch.engines import green
from hfclient.batch.engines.green import GreenEngine
from hfclient.batch.items import Item
from hfclient.batch.jobs import Job
from hfclient.batch.pacing.pace import Pace
from hfclient.transport.green_threads import await_here
from tests.batch.local_call import LocalCall
from tests.server import PATIENCE


class Waiting(LocalCall):
    """A call that waits a moment, or until *together* of them run.

    Attributes:
        begun: How many have begun.
        running, most: How many run now, and ran at a time.
    """

    def __init__(self, together: int | None = None) -> None:
        self.begun = self.running = self.most = 0
        self._together = together
        self._all: asyncio.Future[None] | None = None

    def run(self, item: Item) -> Any:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        if self._together is None:
            await_here(asyncio.sleep(0.001))
        else:
            self._all = self._all or asyncio.get_running_loop().create_future()
            if self.running == self._together and not self._all.done():
                self._all.set_result(None)
            await_here(asyncio.shield(self._all))
        self.running -= 1
        return item.input


async def nothing() -> None:
    """Close nothing."""


def engine_for(call: Waiting, workers: int) -> GreenEngine:
    transport: Any = SimpleNamespace(aclose=nothing)
    options: Any = {"timeouts": None, "retry": None}
    return GreenEngine(call, Pace(workers), transport=transport, **options)


def jobs(count: int) -> list[Job]:
    return [Job(number, Item(number, f"prompt {number}"), "") for number in range(count)]


def collected(engine: GreenEngine, count: int) -> Iterator[Job]:
    found = 0
    for _ in itertools.count():
        ended = engine.finished(PATIENCE)
        yield from ended
        found += len(ended)
        if found >= count:
            return


def test_all_run_when_the_loop_has_nothing_to_do() -> None:
    """Jobs that are held back begin although no other job ends."""
    call = Waiting(together=20)
    engine = engine_for(call, 20)
    engine.submit(jobs(20))
    assert len(list(collected(engine, 20))) == 20
    engine.close()


@pytest.mark.parametrize(("busy", "most"), [(-1.0, 16), (1e9, 64)])
def test_enough_run_while_the_loop_is_busy(monkeypatch: pytest.MonkeyPatch, busy: float, most: int) -> None:
    """Sixteen at a time while the loop is busy, and else as many as may."""
    monkeypatch.setattr(green, "_BUSY", busy)
    call = Waiting(None if busy < 0 else most)
    engine = engine_for(call, 64)
    engine.submit(jobs(256))
    assert len({job.number for job in collected(engine, 256)}) == 256
    assert call.most == most
    engine.close()


def test_the_loop_lets_the_other_thread_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the time when jobs are handed over, nothing runs in the loop until new jobs are submitted."""
    monkeypatch.setattr(green, "_BREAK", PATIENCE)
    call = Waiting()
    engine = engine_for(call, 4)
    engine.submit(jobs(100))
    ended = engine.finished(PATIENCE)
    begun = call.begun
    time.sleep(0.05)
    assert call.begun == begun < 100
    engine.submit([])
    assert len(ended) + len(list(collected(engine, 100 - len(ended)))) == 100
    engine.close()


def test_the_loop_does_not_wait_for_a_thread_that_does_something_else() -> None:
    """The break is short: all jobs run, although the other thread neither submits nor asks."""
    call = Waiting()
    engine = engine_for(call, 4)
    engine.submit(jobs(100))
    ended = engine.finished(PATIENCE)
    end = time.monotonic() + PATIENCE
    while call.begun < 100:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert len(ended) + len(list(collected(engine, 100 - len(ended)))) == 100
    engine.close()
