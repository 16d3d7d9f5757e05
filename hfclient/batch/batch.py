"""`Batch`: an iterator over the results of many calls.

All decisions are taken in the thread that iterates: it reads the items, asks the checkpoint, gives jobs to the engine, writes what has
ended to the checkpoint, and hands it out. So the caller's iterable and the stores are used by one thread only, and memory does not
grow: at most four items for each call in flight are held.
"""

from __future__ import annotations

import collections
import inspect
import itertools
import os
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve

from hfclient.batch.calls import Call, PackedCall, PreparedCall
from hfclient.batch.checkpoints import Checkpoint, Record
from hfclient.batch.checkpoints.keys import Keys
from hfclient.batch.checkpoints.notes import Notes
from hfclient.batch.engines import Engine, engine_for
from hfclient.batch.engines.packing import PackingEngine
from hfclient.batch.formats.result_rows import AnswerFields, data_frame
from hfclient.batch.items import Item
from hfclient.batch.jobs import Job
from hfclient.batch.one_thread import by_one_thread
from hfclient.batch.outcomes import record_of, result_of, stored_result
from hfclient.batch.outgoing import Entry, Outgoing
from hfclient.batch.pacing.pace import Pace
from hfclient.batch.results import BatchResult
from hfclient.batch.totals import Price, Totals
from hfclient.errors import Cancelled, HFClientError, InvalidInputError
from hfclient.events import Usage
from hfclient.progress import Progress, ProgressBar
from hfclient.transport import Retry, Timeouts
from hfclient.types import Results

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Batch"]

_AHEAD = 4  # items held for each call in flight: those that wait, run, and have ended before an earlier one
_STORE_EVERY = 0.05  # seconds between two looks at what has ended while results are handed out
_BAR_POLL = 0.5  # seconds between two updates of the bar while nothing ends
_TAKEN_POLL = 0.25  # seconds between two looks at items that another process asks
_TAKEN_AHEAD = 16  # such items held for each call in flight: while they are answered, this process asks later ones
# The pace retries, so that all calls wait, not this one alone. But a call that has run functions, or is charged when it begins, is not
# begun again: its own requests are retried, and longer than usual.
_RETRY, _RETRY_INSIDE = Retry(attempts=1), Retry(attempts=6, max_wait=120.0)
_TIMEOUTS = Timeouts(first_token=600.0, idle=600.0)  # a whole answer comes in one piece
_CLOSED = (
    "this batch was closed before its end; batch.unread has what it had received, and map() of the same items asks the rest "
    "(with a checkpoint nothing is asked twice)"
)


class Batch:
    """The results of many calls, as a blocking iterator. `InferenceClient.map` describes the options.

        with inference.map(prompts, model="Qwen/Qwen3-8B", checkpoint="out.jsonl") as batch:
            for result in batch:
                print(result.index, result.value.text if result.ok else result.error)
        print(batch.usage.total_tokens, len(batch.errors))

    Leaving the ``with`` block early, Ctrl-C and :meth:`close` cancel what is in flight. What had ended by then is in the checkpoint
    and in `unread`.

    Attributes:
        columns: The names of all columns of the input; None if they are not known before it is read.
        unread: Results that were received, but not handed out when the batch was closed; also those of an interrupted `results`.
    """

    def __init__(
        self,
        call: Call,
        items: Iterable[Item],
        *,
        workers: int,
        ordered: bool = True,
        errors: Literal["return", "raise"] = "return",
        checkpoint: Callable[[], Checkpoint | None] = lambda: None,
        pace: Callable[[], Pace] | None = None,
        price: Price | None = None,
        progress: Progress = None,
        total: int | None = None,
        columns: Collection[str] | None = None,
        row_names: Any = None,
        keys: Mapping[int, str] | None = None,
        engine: Callable[[Callable[[], Engine]], Engine] | None = None,
    ) -> None:
        self._call = call
        self._items: Iterator[Item] = iter(items)
        self._row_names = row_names
        self._prepared = call if isinstance(call, PreparedCall) else None
        self._workers = workers
        self._most = workers * (call.pack_size if isinstance(call, PackedCall) else 1)  # items in flight
        self._ordered = ordered
        self._raises = errors == "raise"
        self._open_checkpoint = checkpoint
        self._checkpoint = checkpoint()
        self._make_pace = pace or (lambda: Pace(workers))
        self._pace = self._make_pace()
        self._make_engine = engine
        self._price = price
        self._progress = progress
        self._bar = ProgressBar(progress, total=total, unit="item", label="Batch")
        self.columns = columns
        self._keys = keys or {}  # of items that were asked before
        self._new_keys = Keys()
        self._unstored: collections.deque[Job] = collections.deque()  # ended, and on the way to the checkpoint
        self._is_unstorable = False  # the disk is full, ...
        self._totals = Totals(price)
        self._failed: list[Entry] = []
        self._outgoing = Outgoing(ordered=ordered)
        self._taken: list[tuple[int, Item, str]] = []  # another process asks these
        self._look_at = 0.0  # when to see whether they have been answered
        self._read = 0  # items read, which are numbered from 0
        self._ahead: list[tuple[int, Item, str]] = []  # read, and not looked up in the checkpoint
        self._waiting: collections.deque[Job] = collections.deque()  # jobs that the engine does not have yet
        self._outstanding = 0  # jobs in the engine
        self._collected = 0.0  # when the engine was asked for what has ended
        self._has_more = True
        self._is_complete = False  # all results have been handed out
        self._is_left = False  # `unread` has what was left
        self._running: Engine | None = None
        self._found: list[BatchResult] = []  # of `results`, which has not returned them
        self._unreadable: Exception | None = None  # the error of the items
        self.unread: list[BatchResult] = []
        self._results = self._run()

    def __repr__(self) -> str:
        totals, total = self._totals, self._bar.total
        of = "" if total is None else f" of {total:.0f}"
        return f"<Batch {self._call.name}: {totals.answered}{of} answered, {totals.failed} failed>"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> BatchResult:
        self._outgoing.received()
        try:
            with by_one_thread:
                return next(self._results)
        except (KeyboardInterrupt, SystemExit):
            self._outgoing.is_cut = True
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what is in flight and close the checkpoint. Results that have been received are in `unread`."""
        try:
            self._close()
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C while it is closed, often the second one
            self._close()
            raise

    def _close(self) -> None:
        self._outgoing.received()
        with by_one_thread:
            self._results.close()
        self._end()  # of a batch that has not begun; or again, if Ctrl-C came

    def results(self) -> Results[BatchResult]:
        """Read all results that have not been read yet and return them in the order of the input. A notebook shows a table.

        After Ctrl-C or an error, all that it had read is in `unread`.

        Raises:
            InvalidInputError: The batch was closed, or interrupted, before its end.
        """
        if self._is_ended and not self._is_complete:
            raise InvalidInputError(_CLOSED)
        found = self._found = []
        try:
            for result in self:
                found.append(result)  # noqa: PERF402 (what has come is kept if an error follows)
            results = Results(sorted(found, key=lambda result: result.index))
        except BaseException:
            self.close()
            raise
        if found:
            self._found, self.unread = [], []
        return results

    def to_dataframe(self, *, expand: bool = False) -> Any:
        """Read all results that have not been read yet and return them as a pandas DataFrame, a row for each item.

        The columns are index, id, input, answer (the text of a reply, otherwise the value), error, finish_reason, prompt_tokens,
        completion_tokens, attempts and seconds. The rows are named as those of a pandas input, so that ``frame["answer"] =
        answers["answer"]`` works, and otherwise by the numbers of the items.

        Args:
            expand: With ``call="parse"`` and a class with fields: a column for each field of the answers instead of one with the
                objects. The values are those of the answer's JSON.

        Raises:
            InvalidInputError: All results have been read already, or the answers have no fields, or one with the name of a column.
            MissingDependencyError: pandas is not installed; nothing was asked.
        """
        self._refuse_ended("to_dataframe()")
        return data_frame(self.results, self._fields() if expand else None, self._row_names)

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False, prefix: str = "", expand: bool = False) -> Path:
        """Write all results that have not been read yet to a file, as they come, and return its path.

            inference.map("in.csv", model="Qwen/Qwen3-8B", template="Summarise: {text}").write("out.csv")

        A row has the columns of its input and ``answer``, ``error``, ``finish_reason``, ``prompt_tokens`` and ``completion_tokens``.
        If the input is one of OpenAI's batch files, a ``.jsonl`` has the lines that a batch service would write, and failed requests
        are in ``out.errors.jsonl``. Until it is complete, the file has ``.part`` at the end of its name.

        Args:
            path: Ends in ``.jsonl``, ``.csv``, ``.tsv`` or ``.parquet``.
            overwrite: Replace an existing file.
            prefix: Put in front of the names of these columns, for an input that has one of them.
            expand: With ``call="parse"`` and a class with fields: a column for each field instead of ``answer``, whose objects are
                JSON in a table.

        Raises:
            InvalidInputError: There is such a file already, it cannot be written, a name of a column would come twice (nothing
                was asked, except for the items of an iterator), all results have been read already, or the answers have no
                fields.
            MissingDependencyError: The package for this kind of file is not installed; nothing was asked.
        """
        from hfclient.batch.formats.result_files import ResultFile

        self._refuse_ended("write()")
        columns, fields = self.columns, self._fields() if expand else None
        with ResultFile(path, columns, are_requests=self.are_requests, overwrite=overwrite, prefix=prefix, fields=fields) as file:
            for result in self:
                file.add(result)
            return file.complete()

    @property
    def are_requests(self) -> bool:
        """Whether the items are requests of OpenAI's batch files."""
        return self._call.name == "request"

    @property
    def errors(self) -> Results[BatchResult]:
        """The failed results so far, as they came."""
        return Results(result for _, _, result in self._failed)

    def retry_failed(self) -> Batch:
        """Return a batch of the items that have failed so far, with the same options. Their numbers and keys stay.

        This batch has to be at its end, or closed, because both use the same checkpoint.
        """
        if not self._is_ended:
            raise InvalidInputError("the batch is not at its end; read all results or close() it before retry_failed()")
        return self._like(
            self._call,
            [item for item, _, _ in self._failed],
            workers=self._workers,
            ordered=self._ordered,
            errors="raise" if self._raises else "return",
            checkpoint=self._open_checkpoint,
            pace=self._make_pace,
            price=self._price,
            progress=self._progress,
            total=len(self._failed),
            columns=self.columns,
            row_names=self._row_names,
            keys={item.index: key for item, key, _ in self._failed},
            engine=self._make_engine,
        )

    def _fields(self) -> AnswerFields:
        fields: AnswerFields | None = getattr(self._call, "fields", None)
        if fields is None:
            raise InvalidInputError('expand=True is for call="parse" with into= a class with fields, such as a dataclass')
        return fields

    def _refuse_ended(self, name: str) -> None:
        """Raise if there is nothing left to read: an empty table would look like an empty input."""
        if self._is_ended:
            if not self._is_complete:
                raise InvalidInputError(_CLOSED)
            raise InvalidInputError(
                f"all results of this batch have been read already, so {name} would have none; call it instead of results() "
                f"or a loop, or map the same items again (with a checkpoint nothing is asked twice)"
            )

    def _like(self, *args: Any, **options: Any) -> Batch:
        """Return another batch of the same kind."""
        return Batch(*args, **options)

    @property
    def usage(self) -> Usage:
        """The tokens of all results so far, as the server counted them; without answers that were stored before."""
        return self._totals.usage

    @property
    def cost(self) -> float | None:
        """The US dollars of `usage`, by the router's prices or ``price=``; None if a price is unknown."""
        return self._totals.cost

    @property
    def _is_ended(self) -> bool:
        return inspect.getgeneratorstate(self._results) == inspect.GEN_CLOSED

    # The loop

    def _run(self) -> Generator[BatchResult, None, None]:
        try:
            self._bar.begin()
            self._totals.begin()
            engine = self._running = self._own_engine() if self._make_engine is None else self._make_engine(self._own_engine)
            while True:
                self._refill(engine)
                self._report()
                while (entry := self._outgoing.take()) is not None:
                    if (error := entry[2].error) is not None:
                        if not self._failed or self._failed[-1] is not entry:  # it is, if Ctrl-C came on its way to the caller
                            self._failed.append(entry)
                        if self._raises:
                            self._outgoing.received()
                            raise error
                    yield entry[2]
                    if self._outstanding and time.monotonic() - self._collected > _STORE_EVERY:
                        self._collect(engine, 0)
                        self._refill(engine)
                        self._report()
                if self._outstanding:
                    self._collect(engine, self._seconds())
                elif self._taken:
                    time.sleep(max(0.0, self._look_at - time.monotonic()))
                elif not self._has_more:
                    if self._unreadable is not None:
                        raise self._unreadable
                    self._is_complete = True
                    return
        finally:
            try:
                self._end()
            except (KeyboardInterrupt, SystemExit):  # Ctrl-C again: what has come is kept nevertheless
                self._end()
                raise

    def _end(self) -> None:
        """Cancel what is in flight, store what has ended, and close. After Ctrl-C in the middle of it, it is called again."""
        if not self._is_left:
            try:
                if self._running is not None:
                    self._unstored += self._running.close()
                    self._unstored = collections.deque(job for job in self._unstored if not isinstance(job.error, Cancelled))
                    self._running = None
                self._store()
            except Exception:  # what cannot be stored is in `unread`
                self._leave()
                raise
        self._leave()

    def _leave(self) -> None:
        if not self._is_left:
            self._outgoing.add_jobs(self._unstored, self._totals.add)
            left = self._outgoing.left()
            last = self._failed[-1] if self._failed else None
            failed = [entry for entry in left if entry[2].error is not None and entry is not last]
            unread = [*self._found, *(result for _, _, result in left)]
            self._failed += failed  # from here on nothing is called
            self.unread, self._is_left = unread, True
        self._bar.close()
        self._new_keys.close()
        if self._checkpoint is not None:
            self._checkpoint.close()

    def _own_engine(self) -> Engine:
        retry = _RETRY if self._pace.repeats else _RETRY_INSIDE
        engine = engine_for(self._call, self._pace, self._workers, timeouts=_TIMEOUTS, retry=retry)
        return PackingEngine(engine, self._call) if isinstance(self._call, PackedCall) else engine

    def _seconds(self) -> float | None:
        """Return how long to wait for the engine: as long as it takes, unless something else has to be looked at."""
        return _TAKEN_POLL if self._taken else None if self._bar.is_silent else _BAR_POLL

    def _report(self) -> None:
        if not self._bar.is_silent:
            totals = self._totals
            self._bar.update(totals.answered + totals.failed, totals.text(self._pace.state(), self._bar.total))

    def _refill(self, engine: Engine) -> None:
        """Give the engine more jobs. The checkpoint is asked before: until it gets jobs, a `GreenEngine` lets this thread work alone."""
        if (taken := self._taken) and time.monotonic() >= self._look_at:
            self._taken = []
            self._start(taken)
        self._start_ahead(engine)
        held = self._outstanding + len(self._waiting) + len(self._outgoing)
        space = min(self._most * _AHEAD - held, self._most * _TAKEN_AHEAD - len(self._taken))
        if self._has_more and space > 0 and (space >= self._most or not self._outstanding):
            self._read_ahead(space)
        if not self._outstanding:
            self._start_ahead(engine)

    def _read_ahead(self, space: int) -> None:
        count = 0
        try:
            for count, item in enumerate(itertools.islice(self._items, space), 1):  # noqa: B007 (also after the loop)
                self._add(item, self._ahead)
            self._has_more = count == space
        except Exception as error:  # noqa: BLE001 (of the caller's iterable; it is raised after the results before it)
            self._has_more, self._unreadable = False, error

    def _start_ahead(self, engine: Engine) -> None:
        items, self._ahead = self._ahead, []
        if items:
            self._start(items)
        self._submit(engine)

    def _submit(self, engine: Engine) -> None:
        """Give the engine jobs. Those whose answers are not in the checkpoint yet are at most as many as may be in flight."""
        most = len(self._waiting) if self._checkpoint is None else self._most - self._outstanding
        jobs = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        self._outstanding += len(jobs)
        if jobs:
            engine.submit(jobs)

    def _add(self, item: Item, items: list[tuple[int, Item, str]]) -> None:
        """Append *item* to *items* with its number and key. One that cannot be asked has failed."""
        number = self._read
        self._read += 1
        error = item.error
        if error is None:
            try:
                items.append((number, item, self._key(item)))
                return
            except InvalidInputError as invalid:
                error = invalid
        result = BatchResult(index=item.index, id=item.id, input=item.input, error=error, source=item.source)
        self._hand_out(number, item, "", result)

    def _key(self, item: Item) -> str:
        if key := self._keys.get(item.index):
            return key
        if self._prepared is not None:
            self._prepared.prepare(item)
        return self._new_keys.key(item, None if self._checkpoint is None else self._call.settings(item))

    def _start(self, items: list[tuple[int, Item, str]]) -> None:
        """Make jobs of those of *items* that have no answer yet and that no other process asks."""
        if self._checkpoint is None:
            jobs = [Job(number, item, key) for number, item, key in items]
        else:
            jobs = []
            cached: list[Record] = []
            for claim, (number, item, key) in zip(self._checkpoint.claim([key for _, _, key in items]), items, strict=True):
                if isinstance(claim, Record):
                    if claim.index < 0:  # of the cache
                        cached.append(evolve(claim, index=item.index, id=item.id))
                    self._hand_out(number, item, key, stored_result(item, claim, self._call))
                elif claim == "taken":
                    if not self._taken:
                        self._look_at = time.monotonic() + _TAKEN_POLL
                    self._taken.append((number, item, key))
                else:
                    jobs.append(Job(number, item, key))
            if cached:
                self._checkpoint.save(cached)
        if self._call.keeps_notes and jobs:
            notes = {} if self._checkpoint is None else self._checkpoint.notes([job.key for job in jobs])
            for job in jobs:
                job.item = job.asked = evolve(job.item, notes=Notes(self._checkpoint, job.key, notes.get(job.key)))
        self._waiting += jobs

    # Ctrl-C may come at any call. What has ended is in `_unstored`, and then in `_outgoing`. If Ctrl-C comes while jobs are stored,
    # closing stores them.

    def _collect(self, engine: Engine, seconds: float | None) -> None:
        """Store and hand out what has ended."""
        self._unstored += engine.finished(seconds)
        self._collected = time.monotonic()
        self._outstanding -= len(self._unstored)
        self._store()

    def _store(self) -> None:
        """Store and hand out what has ended. What cannot be stored is in `unread` and in the error's ``completed``."""
        try:
            if self._checkpoint is not None and self._unstored and not self._is_unstorable:
                self._checkpoint.save(record_of(job, self._call) for job in self._unstored)  # many at once start the garbage collector
        except HFClientError as error:
            self._is_unstorable = True
            error.completed = tuple(map(result_of, self._unstored))
            raise
        self._outgoing.add_jobs(self._unstored, self._totals.add)

    def _hand_out(self, number: int, item: Item, key: str, result: BatchResult) -> None:
        self._totals.add(result)
        self._outgoing.add(number, (item, key, result))
