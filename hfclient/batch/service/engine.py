"""`ServiceEngine`: the jobs of a batch go to the provider's batch service.

Items are written to files as they come. A full file is uploaded and submitted at once. Answers are fetched to the disk when a job has ended, and are handed over in pieces.
"""

from __future__ import annotations

import collections
import logging
import re
import secrets
import time
from array import array
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

from attrs import define, field

from hfclient.batch.calls import Call
from hfclient.batch.checkpoints import Checkpoint
from hfclient.batch.jobs import Job
from hfclient.batch.service.answers import Answers
from hfclient.batch.service.batch_jobs import MAY_PASS, BatchJob, BatchJobs, on_disk
from hfclient.batch.service.journal import Journal, JournalEntry, digest
from hfclient.batch.service.lines import CHAT, AnswerLine, LineReader, RequestLine
from hfclient.batch.service.request_files import RequestFile, RequestFiles
from hfclient.batch.service.settings import BatchService
from hfclient.errors import (
    APIStatusError,
    BadRequestError,
    Cancelled,
    GenerationError,
    HFClientError,
    InvalidInputError,
    NotFoundError,
    ProtocolError,
    ServerError,
    TransportError,
    TransportTimeout,
)

if TYPE_CHECKING:
    from hfclient.inference import InferenceClient

__all__ = ["ServiceEngine"]

_log = logging.getLogger("hfclient")
_T = TypeVar("_T")

_PIECE = 256  # answers that are handed over, and stored, together
_MARK = "hfclient_batch"  # the name of the mark in a job's metadata
_CREATIONS = 5
_LIMITS = ("token_limit_exceeded", "rate_limit_exceeded")
_PATIENCE = 3  # refusals for a limit, before a file is divided
_WIRE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@define(eq=False)
class _Submission:
    """A job at the server, and the items that wait for it."""

    number: int
    job: BatchJob
    file_id: str
    order: array[int]  # the digests of all its items, by line
    pending: collections.deque[Job]
    members: frozenset[int] = frozenset()  # of a job of an earlier run
    was_fetched: bool = False  # by an earlier run
    answers: Answers | None = None
    refused: dict[int, str] = field(factory=dict)  # by digest, why the server refused the line
    limited: int = 0  # how often it was refused for a limit


class ServiceEngine:
    """An engine for `Batch`; see `Engine`.

    Args:
        call: What answers an item.
        client: The client of the server.
        options: Limits and times.
        checkpoint: Keeps the ids of the jobs; None forgets them at the end of the process.
        in_order: Fetch the answers in the order of the items.
    """

    def __init__(
        self, call: Call, client: InferenceClient, options: BatchService, checkpoint: Checkpoint | None, *, in_order: bool
    ) -> None:
        self._jobs = BatchJobs(client)
        self._writer = RequestLine(call, client)
        self._reader = LineReader(call, client)
        self._options = options
        self._in_order = in_order
        self._journal = Journal(checkpoint)
        self._earlier: list[_Submission] | None = None  # of earlier runs, the newest first
        self._running: list[_Submission] = []  # with pending items
        self._files = RequestFiles(options)
        self._ended: list[Job] = []
        self._pause = options.poll / 30  # between two looks; it grows
        self._look_at = time.monotonic() + self._pause
        self._ends = None if options.deadline is None else time.monotonic() + options.deadline
        self._is_cancelled = False

    # For Batch

    def submit(self, jobs: Iterable[Job]) -> None:
        """Attach *jobs* to those of earlier runs, or write them to files; a full file is submitted."""
        earlier = self._load()
        for job in jobs:
            job.key = job.key or f"item-{job.number}"  # without a checkpoint
            code = digest(job.key)
            found = next((one for one in earlier if code in one.members), None)
            if found is None:
                self._write(job)
                continue
            job.attempts = max(job.attempts, 1)
            found.pending.append(job)
            if found not in self._running:
                self._running.append(found)

    def finished(self, seconds: float | None = None) -> list[Job]:
        """Return the jobs whose answers are there; wait for some. Empty only if *seconds* passed, or is 0: answers need no hurry."""
        if seconds == 0:
            ended, self._ended = self._ended, []
            return ended
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            self._submit_files()
            if self._ended:
                ended, self._ended = self._ended, []
                return ended
            submission = self._next()
            if submission is not None:
                self._hand_over(submission)
                continue
            if not self._running:
                return []
            pause = max(0.0, self._look_at - time.monotonic())
            left = None if until is None else until - time.monotonic()
            if left is not None and left < pause:
                self._sleep(max(0.0, left))
                return []
            self._sleep(pause)
            self._look()

    def close(self) -> list[Job]:
        """Leave the jobs running at the server, say which ones these are, and remove the files."""
        going = [one.job.id for one in self._running if not one.job.has_ended]
        for one in [*self._running, *(self._earlier or ())]:
            if one.answers is not None:
                one.answers.close()
        self._files.close()
        if going and not self._is_cancelled:
            _log.warning(
                "%d batch job(s) keep running at the server: %s. The same call with the same checkpoint continues; "
                "cancel() of the batch ends them.",
                len(going),
                ", ".join(going),
            )
        ended, self._ended = self._ended, []
        return ended

    # For the caller of a batch

    @property
    def jobs(self) -> list[BatchJob]:
        """The jobs at the server that items wait for, and all of earlier runs."""
        return [one.job for one in {id(one): one for one in [*(self._load()[::-1]), *self._running]}.values()]

    @property
    def done_at_server(self) -> int:
        """How many items are done at the server, but not handed over."""
        return sum(
            len(one.pending) if one.job.has_ended else min(len(one.pending), one.job.completed + one.job.failed)
            for one in self._running
        )

    def text(self) -> str:
        """Return what the server does, for a progress bar; empty if nothing runs there."""
        going = [one.job.status for one in self._running if not one.job.has_ended]
        return f"{going[0]} ({len(going)} job{'s' if len(going) > 1 else ''} at the server)" if going else ""

    def cancel(self) -> None:
        """Ask the server to end all jobs that run."""
        self._is_cancelled = True
        for job in self.jobs:
            if not job.has_ended:
                try:
                    job.cancel()
                except APIStatusError:  # it has ended meanwhile
                    if not job.refresh().has_ended:
                        raise

    # Files

    def _write(self, job: Job) -> None:
        """Write the line of *job*; an item that cannot be sent has ended."""
        try:
            line, endpoint, model, inputs = self._writer.write(job.item, _wire_id(job.key))
            if len(line) > self._options.max_bytes:
                raise InvalidInputError(f"item {job.item.index} is larger than a file may be ({self._options.max_bytes} bytes)")
        except HFClientError as error:
            job.error = error
            self._ended.append(job)
            return
        full = self._files.add(job, line, (endpoint, model), inputs)
        if full is not None:
            self._submit(full)

    def _submit_files(self) -> None:
        while (file := self._files.take()) is not None:
            self._submit(file)

    def _submit(self, file: RequestFile) -> None:
        file_id = self._patiently(lambda: self._jobs.upload(file.path, name=f"hfclient-{secrets.token_hex(16)}.jsonl"))
        with on_disk(file.path):
            file.path.unlink()
        order = array("Q", (digest(job.key) for job in file.jobs))
        number, job = self._begin(file_id, file.endpoint, order)
        for one in file.jobs:
            one.attempts += 1
            one.error = None
        _log.info("batch job %s: %d requests, %d bytes", job.id, len(file.jobs), file.size)
        self._running.append(_Submission(number, job, file_id, order, collections.deque(file.jobs)))
        self._pause = self._options.poll / 30
        self._look_at = time.monotonic() + self._pause

    def _begin(self, file_id: str, endpoint: str, order: array[int]) -> tuple[int, BatchJob]:
        """Start a job over a file that was uploaded; return its number in the journal, which knows it before the server does, and the job."""
        mark = secrets.token_hex(16)
        number = self._journal.add(mark, file_id, order)
        job = self._create(mark, file_id, endpoint)
        self._journal.note(number, job.id)
        return number, job

    def _create(self, mark: str, file_id: str, endpoint: str) -> BatchJob:
        """Start a job once: after a failure that leaves it open whether the server has it, look for it first."""
        metadata = {**self._options.metadata, _MARK: mark}
        attempt = 1
        while True:
            try:
                return self._patiently(
                    partial(self._jobs.create, file_id, endpoint, window=self._options.window, metadata=metadata, key=mark)
                )
            except BadRequestError as error:
                if not metadata or "metadata" not in f"{error.message} {error.body}":
                    raise
                metadata = {}  # this server has none; the job can be found by its file
            except (TransportError, ServerError, ProtocolError) as error:
                if not isinstance(error, TransportError) or error.sent:
                    found = self._find(mark, file_id)
                    if found is not None:
                        return found
                if attempt >= _CREATIONS:
                    raise
                _log.info("batch job: %s; again", error.message)
                self._sleep(self._options.poll / 60 * 2**attempt)
                attempt += 1

    def _find(self, mark: str, file_id: str) -> BatchJob | None:
        """Return the job that has the mark, or has none and the file; None if the server has no such job.

        A file that was refused for a limit has another job with another mark, and not every server lists the newest first.
        """
        for job in self._jobs.list():
            found = job.metadata.get(_MARK)
            if found == mark or (found is None and job.input_file_id == file_id):
                return job
        return None

    # Earlier runs

    def _load(self) -> list[_Submission]:
        if self._earlier is None:
            self._earlier = [found for entry in self._journal.load() if (found := self._attach(entry)) is not None][::-1]
        return self._earlier

    def _attach(self, entry: JournalEntry) -> _Submission | None:
        """Return the job of an earlier run; None if the server has none."""
        try:
            job = self._find(entry.mark, entry.file_id) if entry.job_id is None else self._jobs.get(entry.job_id)
        except NotFoundError:
            job = None
        if job is None:
            if entry.job_id is not None:
                _log.warning("the server does not know the batch job %s any more; its items are asked again", entry.job_id)
            return None
        if entry.job_id is None:
            self._journal.note(entry.number, job.id)
        return _Submission(
            entry.number,
            job,
            entry.file_id,
            entry.digests,
            collections.deque(),
            members=frozenset(entry.digests),
            was_fetched=entry.was_fetched,
        )

    # Watching

    def _next(self) -> _Submission | None:
        """Return the job whose answers are fetched next, if one has ended."""
        if not self._running:
            return None
        if self._in_order:
            first = min(self._running, key=lambda one: one.pending[0].number)
            return first if first.job.has_ended else None
        return next((one for one in self._running if one.job.has_ended), None)

    def _sleep(self, seconds: float) -> None:
        """Wait, at most until the deadline.

        Raises:
            TransportTimeout: It has passed.
        """
        if self._ends is not None:
            left = self._ends - time.monotonic()
            if left <= 0:
                raise TransportTimeout(
                    f"the batch service did not end within {self._options.deadline:g} s (BatchService.deadline)",
                    deadline="total",
                    seconds=self._options.deadline,
                )
            seconds = min(seconds, left)
        time.sleep(seconds)

    def _look(self) -> None:
        """Ask for the state of the jobs."""
        for one in self._running:
            if one.job.has_ended:
                continue
            status, done = one.job.status, one.job.completed + one.job.failed
            try:
                one.job.refresh()
            except MAY_PASS as error:
                _log.info("batch job %s: %s; asked again later", one.job.id, error.message)
                continue
            if one.job.status != status or one.job.completed + one.job.failed != done:
                _log.info("%r", one.job)
        self._pause = min(self._options.poll, self._pause * 1.3)
        self._look_at = time.monotonic() + self._pause

    # Answers

    def _hand_over(self, one: _Submission) -> None:
        """Move the next answers of a job that has ended to what is returned; items without one are submitted again."""
        if one.job.status == "failed" and not one.job.output_file_id and not one.job.error_file_id:
            if self._submit_again(one):
                return
        elif one.answers is None:
            one.answers = self._fetch(one)
        for _ in range(min(_PIECE, len(one.pending))):
            job = one.pending.popleft()
            self._finish(job, one)
        if not one.pending:
            self._running.remove(one)
            if one.answers is not None and not one.members:  # more items may be attached to a job of an earlier run
                one.answers.close()
                one.answers = None

    def _fetch(self, one: _Submission) -> Answers:
        answers = Answers()
        try:
            for name in filter(None, (one.job.output_file_id, one.job.error_file_id)):
                path = self._jobs.download(name, self._files.new_path())
                with on_disk(path):
                    answers.add(path)
        except BaseException:
            answers.close()
            raise
        _log.info("batch job %s is %s: %d answers", one.job.id, one.job.status, len(answers))
        self._journal.note(one.number, one.job.id, was_fetched=True)
        return answers

    def _finish(self, job: Job, one: _Submission) -> None:
        """Set the outcome of *job*, or submit it again."""
        line = None if one.answers is None else one.answers.get(_wire_id(job.key))
        refusal = one.refused.get(digest(job.key))
        if line is not None and not line.was_limited:
            self._reader.read(job, line)
            job.seconds = _seconds(one.job)
            if job.error is None or not one.was_fetched:
                self._ended.append(job)
                return
        elif refusal is not None:
            job.error = BadRequestError(refusal, status_code=400)
            self._ended.append(job)
            return
        elif (error := self._no_answer(job, line, one)) is not None:
            job.error = error
            self._ended.append(job)
            return
        self._write(job)

    def _no_answer(self, job: Job, line: AnswerLine | None, one: _Submission) -> HFClientError | None:
        """Return the error of an item without an answer; None if it is submitted again."""
        status, name = one.job.status, one.job.id
        if self._is_cancelled or (status in ("cancelled", "canceled") and not one.was_fetched):
            return Cancelled(f"the batch job {name} was cancelled before it answered this item")
        is_late = self._options.on_expired == "error" and status == "expired" and not one.was_fetched
        if not is_late and job.attempts < self._options.attempts:
            return None
        if line is not None:
            self._reader.read(job, line)
            return job.error
        if status == "expired":
            return GenerationError(f"the batch job {name} expired before it answered this item", code="batch_expired")
        return ProtocolError(f"the batch job {name} is {status}, but its files have no answer to this item")

    def _submit_again(self, one: _Submission) -> bool:
        """Deal with a file that the server refused. Return whether the same file was submitted again.

        Raises:
            InvalidInputError: The server refused all of it.
        """
        if one.refused:
            return False
        errors = one.job.errors
        if any(error["code"] in _LIMITS and not error["line"] for error in errors):
            # Too many tokens wait in this account's jobs. That passes when others end.
            one.limited += 1
            if one.limited > _PATIENCE and all(other.job.has_ended for other in self._running):
                return self._halve(one)
            wait = min(self._options.poll * 10, self._options.poll * 2 ** min(one.limited - 1, 8))
            _log.info("%s; again in %.0f s", one.job.failure(), wait)
            self._sleep(wait)
            one.number, one.job = self._begin(one.file_id, one.job.endpoint or CHAT, one.order)
            return True
        for error in errors:
            line = error["line"]
            if line is not None and 0 < line <= len(one.order):
                one.refused[one.order[line - 1]] = f"the batch service refused line {line} of its file: {error['message'] or error['code']}"
        if not one.refused:
            if one.was_fetched:  # by an earlier run, which has reported it
                return False
            self._journal.note(one.number, one.job.id, was_fetched=True)
            raise InvalidInputError(one.job.failure())
        self._journal.note(one.number, one.job.id, was_fetched=True)
        return False

    def _halve(self, one: _Submission) -> bool:
        """Submit a file that is refused for a limit, although no other job runs, as two files.

        Raises:
            InvalidInputError: It has one request only.
        """
        jobs = list(one.pending)
        if len(jobs) < 2:
            raise InvalidInputError(one.job.failure())
        _log.info("%s; submitted as two files", one.job.failure())
        self._running.remove(one)
        self._journal.note(one.number, one.job.id, was_fetched=True)
        for half in (jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :]):
            for job in half:
                job.attempts -= 1  # nothing has run
                self._write(job)
            self._submit_files()
        return True

    def _patiently(self, request: Callable[[], _T]) -> _T:
        """Return what *request* returns; a limit of the server costs time only."""
        pause = self._options.poll / 30
        while True:
            try:
                return request()
            except APIStatusError as error:
                if error.status_code not in (429, 503) or error.code in ("insufficient_quota", "billing_hard_limit_reached"):
                    raise
                wait = pause if error.retry_after is None else error.retry_after
                _log.info("batch service: %s; again in %.1f s", error.message, wait)
                self._sleep(wait)
                pause = min(self._options.poll, pause * 2)


def _wire_id(key: str) -> str:
    """Return the ``custom_id`` for the key of an item: at most 64 letters, digits, ``_``, ``.`` and ``-``."""
    return key if _WIRE_ID.fullmatch(key) else sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _seconds(job: BatchJob) -> float:
    ended = next((job.raw[name] for name in ("completed_at", "expired_at", "cancelled_at") if job.raw.get(name)), None)
    return max(0.0, float(ended) - job.created_at) if isinstance(ended, (int, float)) and job.created_at is not None else 0.0
