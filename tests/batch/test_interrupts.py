"""Ctrl-C at any moment of a batch: what had ended is handed out, in ``unread``, and in the checkpoint."""

from __future__ import annotations

import _weakrefset
import contextlib
import itertools
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from hfclient import Client
from hfclient.batch import read_results
from hfclient.batch.batch import Batch
from hfclient.batch.checkpoints import open_checkpoint
from hfclient.batch.checkpoints.file_lock import FileLock
from hfclient.batch.engines import Engine, take
from hfclient.batch.engines.threads import ThreadEngine
from hfclient.batch.items import Item, read_items
from hfclient.batch.jobs import Job
from hfclient.batch.pacing.pace import Pace
from hfclient.errors import HFClientError
from hfclient.transport import Retry, Timeouts
from hfclient.types import Reply
from tests.batch.local_call import LocalCall
from tests.server import PATIENCE


class Capitals(LocalCall):
    def run(self, item: Item) -> Any:
        return item.input.upper()


class Steady:
    """An engine that answers two jobs each time that it is asked.

    Attributes:
        ended: The numbers of the jobs that it has answered.
    """

    def __init__(self) -> None:
        self.ended: list[int] = []
        self._jobs: list[Job] = []
        self._done: list[Job] = []

    def submit(self, jobs: Iterable[Job]) -> None:
        self._jobs += jobs

    def finished(self, seconds: float | None = None) -> list[Job]:
        self.answer()
        return take(self._done)

    def answer(self) -> None:
        for job in self._jobs[:2]:
            job.value = job.item.input.upper()
        self._done += self._jobs[:2]
        self.ended += [job.number for job in self._jobs[:2]]
        del self._jobs[:2]

    def close(self) -> list[Job]:
        return take(self._done)


class Interrupt:
    """Raises `KeyboardInterrupt` at one call in the code below `Batch.__next__`, as Python does after a signal.

    Args:
        at: The number of the call.

    Attributes:
        has_come: Whether there were so many calls.
    """

    def __init__(self, at: int) -> None:
        self._left = at
        self.has_come = False

    def __enter__(self) -> Interrupt:
        sys.setprofile(self._look)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        # The locks of Python itself are not safe: a Condition that was interrupted may release a lock that it does not have.
        # In the callbacks of weak references Python drops an exception.
        if event not in ("call", "c_return") or frame.f_code.co_filename in (__file__, threading.__file__, _weakrefset.__file__):
            return
        if sys.version_info < (3, 11) and event == "call" and frame.f_lasti >= 0:
            return  # a generator goes on: there an exception of a profile function, unlike Ctrl-C, passes by its `finally`
        self._left -= 1
        if self._left == 0:
            sys.setprofile(None)
            self.has_come = True
            raise KeyboardInterrupt


def interrupted_at(number: int, path: Path | None, *, ordered: bool) -> bool:
    """Run a batch with Ctrl-C at the call with this number; return whether there is one."""
    engine = Steady()

    def make(own: Any) -> Engine:
        return engine

    items = read_items([f"prompt {at}" for at in range(4)])
    batch = Batch(Capitals(), items, workers=3, ordered=ordered, checkpoint=lambda: open_checkpoint(path), engine=make)
    received: list[int] = []
    with contextlib.suppress(KeyboardInterrupt), Interrupt(number) as interrupt:
        for result in batch:
            received.append(result.index)  # noqa: PERF401 (what has come is kept)
    batch.close()
    kept = [*received, *(result.index for result in batch.unread)]
    assert sorted(kept) == sorted(engine.ended), number
    if path is not None:
        assert sorted(result.index for result in read_results(path)) == sorted(engine.ended), number
        again = open_checkpoint(path)
        assert again is not None
        again.close()
        path.unlink()
    return interrupt.has_come


@pytest.mark.parametrize(("name", "step"), [(None, 1), ("out.jsonl", 13), ("out.sqlite", 23)])  # a step saves time
@pytest.mark.parametrize("ordered", [True, False])
def test_at_any_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None, step: int, ordered: bool) -> None:
    """All answers are handed out or unread, each one once; they are in the checkpoint, and that can be opened again."""
    monkeypatch.setattr("hfclient.batch.checkpoints.jsonl._fdatasync", lambda file: None)  # of hundreds of files
    monkeypatch.setattr("hfclient.batch.checkpoints.jsonl.sync_folder", lambda folder: None)
    path = None if name is None else tmp_path / name
    number = next(number for number in itertools.count(1 + ordered, step) if not interrupted_at(number, path, ordered=ordered))
    assert number > 50


class Stopped(Steady):
    """An engine that Ctrl-C finds with two answers, at its second question; the second Ctrl-C comes behind that.

    Args:
        again: The second one.
    """

    def __init__(self, again: Interrupt) -> None:
        super().__init__()
        self._again = again

    def finished(self, seconds: float | None = None) -> list[Job]:
        if not self.ended:
            return super().finished(seconds)
        self.answer()
        sys.setprofile(self._again._look)
        raise KeyboardInterrupt


def interrupted_again_at(number: int, path: Path | None, *, reader: str) -> bool:
    """Interrupt a batch, and once more at the call with this number while it closes; return whether there is one."""
    again = Interrupt(number)
    engine = Stopped(again)
    items = read_items([f"prompt {at}" for at in range(5)])
    batch = Batch(Capitals(), items, workers=5, checkpoint=lambda: open_checkpoint(path), engine=lambda own: engine)
    received: list[int] = []
    try:
        if reader == "results":
            batch.results()
        elif reader == "loop":
            for result in batch:
                received.append(result.index)  # noqa: PERF401 (what has come is kept)
        else:
            with batch:
                received.append(next(batch).index)
                engine.answer()
                sys.setprofile(again._look)
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.setprofile(None)
    if reader == "with":  # Ctrl-C may have come before `close` had begun
        batch.close()
    assert sorted([*received, *(result.index for result in batch.unread)]) == [0, 1, 2, 3], number
    batch.close()
    assert len(batch.unread) + len(received) == 4
    if path is not None:
        assert sorted(result.index for result in read_results(path)) == [0, 1, 2, 3], number
        if path.suffix == ".sqlite":
            with contextlib.closing(sqlite3.connect(path)) as database:
                assert database.execute("SELECT (SELECT count(*) FROM owners) + (SELECT count(*) FROM claims)").fetchone() == (0,)
        else:
            assert not path.with_name(f"{path.name}.lock").exists()
        path.unlink()
    return again.has_come


@pytest.mark.parametrize(("name", "step"), [(None, 1), ("out.jsonl", 7), ("out.sqlite", 11)])  # a step saves time
@pytest.mark.parametrize("reader", ["loop", "with", "results"])
def test_again_while_it_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None, step: int, reader: str) -> None:
    """A second Ctrl-C at any call of the closing loses no answer: they are in ``unread`` and in the checkpoint, which is free."""
    monkeypatch.setattr("hfclient.batch.checkpoints.jsonl._fdatasync", lambda file: None)  # of hundreds of files
    path = None if name is None else tmp_path / name
    number = next(number for number in itertools.count(1, step) if not interrupted_again_at(number, path, reader=reader))
    assert number > 20


def green_engine() -> Engine:
    """An engine with an event loop."""
    pytest.importorskip("greenlet")
    from hfclient.batch.engines.green import GreenEngine
    from hfclient.transport.aiohttp_transport import AiohttpTransport

    return GreenEngine(Capitals(), Pace(3), transport=AiohttpTransport(), timeouts=Timeouts(), retry=Retry())


@pytest.mark.parametrize("make", [green_engine, lambda: ThreadEngine(Capitals(), Pace(3), 3)], ids=["green", "threads"])
def test_an_engine_that_is_closed_again(make: Callable[[], Any]) -> None:
    """Ctrl-C at any call of `close` leaves an engine that can be closed again, and that returns all answers."""
    for number in itertools.count(1):
        engine = make()
        engine.submit([Job(at, item, "") for at, item in enumerate(read_items(["a", "b", "c"]))])
        end = time.monotonic() + PATIENCE
        while len(engine._done) < 3 and time.monotonic() < end:
            time.sleep(0.001)
        jobs: list[Job] = []
        with contextlib.suppress(KeyboardInterrupt), Interrupt(number) as interrupt:
            jobs += engine.close()
        jobs += engine.close()
        assert sorted(job.value for job in jobs) == ["A", "B", "C"], number
        if not interrupt.has_come:
            break
    assert number > 5


def test_a_lock_of_another_process(tmp_path: Path) -> None:
    """A lock whose release was cut behind the removal of its file leaves the file that another process has made since."""
    lock = FileLock(str(tmp_path / "out.jsonl"))
    other = tmp_path / "out.jsonl.lock"
    other.rename(tmp_path / "removed")
    other.write_text("{}")
    lock.release()
    assert other.exists()


def test_threads_that_have_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the first thread of an engine begins ends the batch with `KeyboardInterrupt`."""
    start = threading.Thread.start
    begun: list[threading.Thread] = []

    def interrupted(thread: threading.Thread) -> None:
        if thread.name == "hfclient-batch":
            begun.append(thread)
            raise KeyboardInterrupt
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    batch = Batch(Capitals(), read_items(["a"]), workers=1, engine=lambda own: ThreadEngine(Capitals(), Pace(1), 1))
    with pytest.raises(KeyboardInterrupt):
        next(batch)
    assert len(begun) == 1


def test_a_loop_that_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the loop of the greenlets is made ends the thread, and `close` does not wait for ever."""
    pytest.importorskip("greenlet")
    from hfclient.transport import green_threads

    is_closing = threading.Event()
    new_loop = green_threads.asyncio.new_event_loop

    def interrupted() -> Any:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        assert is_closing.wait(PATIENCE)
        return new_loop()

    async def stop() -> None:
        raise AssertionError("the loop has not begun")

    monkeypatch.setattr(green_threads.asyncio, "new_event_loop", interrupted)
    green = green_threads.GreenThreads(stop, lambda error: None)
    with pytest.raises(KeyboardInterrupt):
        green.call(lambda: None)
    monkeypatch.setattr(threading.Thread, "join", _after(is_closing.set, threading.Thread.join))
    green.close()
    assert not green.is_running


def _after(first: Any, function: Any) -> Any:
    def both(*args: Any) -> Any:
        first()
        return function(*args)

    return both


class Broken(Executor):
    """An executor that answers one chunk, and then has lost a process."""

    _max_workers = 2

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Any, /, *args: Any, **options: Any) -> Future[Any]:
        self.futures.append(Future())
        if len(self.futures) == 2:
            one, other = self.futures
            one.set_result([(Reply(text="A"), None, 1, 0.0, None)])
            other.set_exception(BrokenExecutor("a process has ended"))
            return other
        return self.futures[-1]


def test_an_executor_that_breaks(tmp_path: Path) -> None:
    """A chunk that has ended when the executor breaks is handed out and stored before the error is raised."""
    path = tmp_path / "out.jsonl"
    with Client(token="", cookies="", session="", inference_url="http://127.0.0.1:9/v1") as client:
        batch = client.inference.map(["a", "b"], model="m", workers=1, executor=Broken(), checkpoint=path, ordered=False)
        assert next(batch).value.text == "A"
        with pytest.raises(HFClientError, match="a worker process ended suddenly"):
            next(batch)
    assert [result.index for result in read_results(path)] == [0]
