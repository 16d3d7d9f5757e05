"""`ExecutorEngine`: chunks of items in the workers of an executor, with the interface of `concurrent.futures`.

Threads, processes, Dask's ``client.get_executor()``, `RayExecutor` and mpi4py's ``MPIPoolExecutor``. The thread that iterates the batch
stays the only one that reads items and writes the checkpoint. Each worker keeps its client, its connections and its adaptive limit
from one chunk to the next.
"""

from __future__ import annotations

import collections
import os
import queue
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from hfclient.batch.clusters.batch_call import BatchCall, Worker
from hfclient.batch.engines import Engine, take
from hfclient.batch.items import Item
from hfclient.batch.jobs import Job
from hfclient.errors import HFClientError, InvalidInputError

if TYPE_CHECKING:
    from hfclient.inference import InferenceClient
    from hfclient.types import Reply

__all__ = ["ExecutorEngine", "in_executor"]

_CHUNKS_AT_ONCE = 2  # for each worker: one that runs, and one that it takes when that has ended
_MOST_DEATHS = 3  # of workers with the same chunk; then it may be the chunk that ends them

_OUTSIDE = ("ordered", "errors", "checkpoint", "cache", "on_change", "progress", "price", "executor", "column", "template", "service")
"""Options that apply where the batch is iterated; the others apply in the workers."""

Outcome = tuple[Any, "HFClientError | None", int, float, "Reply | None"]
"""Value, error, attempts, seconds, and the answer that the value was read from, if that is another object."""


def in_executor(
    client: InferenceClient, call: str, own: Mapping[str, Any], options: Mapping[str, Any], workers: int
) -> tuple[Callable[[Callable[[], Engine]], Engine], int]:
    """Return the maker of the engine for ``executor=``, and for how many calls at a time the batch has to hold items.

    Args:
        client: The client of the batch.
        call: The call, as for `InferenceClient.map`.
        own: The options of the batch.
        options: Those of the call.
        workers: Most calls at a time in each worker.

    Raises:
        InvalidInputError: An option cannot be used with an executor.
    """
    for name in ("rate", "tokens"):
        if own.get(name) is not None:
            raise InvalidInputError(f'{name}= counts in one process; with executor= use guard=Guard("redis://...", ...), which all processes share')
    executor = own["executor"]
    if not hasattr(executor, "submit") and not callable(executor):
        raise InvalidInputError(f"executor= is an executor, with submit(), or a function that returns one, not {executor!r}")
    inside: dict[str, Any] = {**options, **{name: value for name, value in own.items() if name not in _OUTSIDE}}
    return lambda _: ExecutorEngine(executor, client, call, inside, size=workers), workers * _worker_count(executor)


class ExecutorEngine:
    """Runs jobs in an executor; see `Engine`.

    Args:
        executor: The executor, or a function that returns a new one. With a function a pool of processes that has lost one is
            replaced, and its chunks are submitted again.
        client: The client of the batch.
        call: The call, as for `InferenceClient.map`.
        options: Those of the batch that apply in each worker, and those of the call.
        size: Items of a chunk.

    Raises:
        InvalidInputError: It is not an executor.
        CredentialsError: The client has a secret that no environment variable has.
    """

    def __init__(
        self,
        executor: Executor | Callable[[], Executor],
        client: InferenceClient,
        call: str,
        options: Mapping[str, Any],
        *,
        size: int,
    ) -> None:
        self._new = None if hasattr(executor, "submit") else executor
        made = executor if self._new is None else self._new()
        if not hasattr(made, "submit"):
            raise InvalidInputError(f"executor= is an executor, with submit(), or a function that returns one, not {type(made).__name__}")
        self._executor: Executor = made  # type: ignore[assignment]
        if isinstance(made, ThreadPoolExecutor):
            self._answer: Callable[[Sequence[Item]], list[Outcome]] = _Here(client, call, options)
        else:
            self._answer = _There(BatchCall(call, **client.worker_options(), **options))
        self._size = size
        self._workers = _worker_count(made)
        self._waiting: collections.deque[Job] = collections.deque()
        self._again: collections.deque[tuple[list[Job], int]] = collections.deque()  # chunks whose worker has died, and how often
        self._running: dict[Future[Any], tuple[list[Job], int]] = {}
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._done: list[Job] = []
        self._failure: HFClientError | None = None  # of the executor

    def submit(self, jobs: Iterable[Job]) -> None:
        self._waiting.extend(jobs)
        self._start()

    def finished(self, seconds: float | None = None) -> list[Job]:
        end = None if seconds is None else time.monotonic() + seconds
        while self._failure is None:
            try:
                wait = 0.0 if self._done else None if end is None else max(0.0, end - time.monotonic())
                future = self._ended.get(timeout=wait) if wait != 0.0 else self._ended.get_nowait()
            except queue.Empty:
                break
            try:
                self._add_outcome(future)
                self._start()
            except HFClientError as error:
                self._failure = error
        if self._failure is not None and not self._done:
            raise self._failure
        return take(self._done)

    def close(self) -> list[Job]:
        self._waiting.clear()
        self._again.clear()
        for future in self._running:
            future.cancel()
        for future in [future for future in self._running if future.done() and not future.cancelled() and future.exception() is None]:
            self._add_outcome(future)
        self._running.clear()
        if isinstance(self._answer, _Here):
            self._answer.close()
        if self._new is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        return take(self._done)

    def _start(self) -> None:
        """Submit chunks while the workers have less than they can take."""
        while (self._again or self._waiting) and len(self._running) < self._workers * _CHUNKS_AT_ONCE:
            if self._again:
                jobs, deaths = self._again.popleft()
            else:
                share = -(-len(self._waiting) // self._workers)  # few items are for all workers, too
                jobs, deaths = [self._waiting.popleft() for _ in range(min(self._size, share))], 0
            items = [job.item for job in jobs]
            try:
                future = self._executor.submit(self._answer, items)
            except BrokenExecutor as error:
                self._again.append((jobs, deaths))
                self._replace(error)
                continue
            except RuntimeError as error:
                raise InvalidInputError(f"the executor takes no more work: {error}") from error
            self._running[future] = jobs, deaths
            future.add_done_callback(self._ended.put)

    def _add_outcome(self, future: Future[Any]) -> None:
        """Add the jobs of a chunk to those that have ended, or run it again."""
        if future not in self._running:  # of an executor that was replaced
            return
        jobs, deaths = self._running[future]
        error: HFClientError | None = None
        outcomes: list[Outcome] = []
        try:
            outcomes = future.result()
        except BrokenExecutor as exc:
            del self._running[future]
            self._again.append((jobs, deaths + 1))
            self._replace(exc)
            return
        except HFClientError as exc:
            error = exc
        except CancelledError:
            error = HFClientError("the executor cancelled the call")
        except Exception as exc:  # noqa: BLE001 (each executor has its own)
            error = HFClientError(f"the executor failed: {type(exc).__name__}: {exc}")
            error.__cause__ = exc
        for job, (value, failure, attempts, spent, reply) in zip(jobs, outcomes, strict=error is None):
            job.value, job.error, job.reply = value, failure, reply
            job.attempts += attempts
            job.seconds += spent
        if error is not None:
            for job in jobs:
                job.error = error
        self._done += jobs
        del self._running[future]

    def _replace(self, error: BrokenExecutor) -> None:
        """Continue with a new executor; all chunks of the old one run again."""
        died = f"a worker process ended suddenly ({error or type(error).__name__}), so this pool takes no more work"
        if self._new is None:
            raise HFClientError(
                f"{died}. What was answered is in the checkpoint, if there is one, and in Batch.unread; to go on after that, pass a function that "
                "makes the pool: executor=lambda: ProcessPoolExecutor(4)"
            ) from error
        for jobs, deaths in self._running.values():
            self._again.append((jobs, deaths + 1))
        self._running.clear()
        if any(deaths >= _MOST_DEATHS for _, deaths in self._again):
            raise HFClientError(f"{died}, {_MOST_DEATHS} times with the same items: look for what ends it, such as a lack of memory") from error
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = self._new()


class _Here:
    """Answers chunks in threads of this process, with the client itself."""

    def __init__(self, client: InferenceClient, call: str, options: Mapping[str, Any]) -> None:
        self._client = client
        self._call = call
        self._options = options
        self._idle: collections.deque[Worker] = collections.deque()
        self._is_closed = False

    def __call__(self, items: Sequence[Item]) -> list[Outcome]:
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = Worker(self._client, self._call, self._options)
        try:
            return _outcomes(worker, items)
        finally:
            self._idle.append(worker)
            if self._is_closed:
                self.close()

    def close(self) -> None:
        """Close the connections of those that wait; one that runs does so when it ends."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()


class _There:
    """Answers chunks in another process."""

    def __init__(self, call: BatchCall) -> None:
        self._call = call

    def __call__(self, items: Sequence[Item]) -> list[Outcome]:
        with self._call.worker() as worker:
            return _outcomes(worker, items)


def _outcomes(worker: Worker, items: Sequence[Item]) -> list[Outcome]:
    # Numbers of the whole input may have gaps in a chunk; the worker's own are from 0.
    numbered = [Item(at, item.input, item.options, item.id) for at, item in enumerate(items)]
    return [
        (result.value, result.error, result.attempts, result.seconds, result.reply if result.ok and result.reply is not result.value else None)
        for result in worker.answer(numbered)
    ]


def _worker_count(executor: Any) -> int:
    """Return how many chunks *executor* runs at a time, as far as it says."""
    for name in ("_max_workers", "num_workers"):  # concurrent.futures and mpi4py
        if isinstance(found := getattr(executor, name, None), int) and found > 0:
            return found
    dask: Any = getattr(executor, "_client", None)
    if dask is not None and hasattr(dask, "nthreads"):
        return max(1, len(dask.nthreads()))
    return os.cpu_count() or 1
