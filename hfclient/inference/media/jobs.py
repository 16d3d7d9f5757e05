"""`Job`: images and videos that wait in a provider's queue, polled until they are done.

All requests of one call (submit, poll, fetch the result) share its clock, whose ``Timeouts.total`` is finite here even if the
client's is not. Polling is free, so a poll that fails is repeated; submitting is not.

Reference: docs/protocol/inference ("queued jobs").
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NoReturn, TypeVar

import msgspec
from attrs import asdict, evolve

from hfclient.display import Displayed
from hfclient.errors import (
    APIStatusError,
    GenerationError,
    HFClientError,
    InvalidInputError,
    ProtocolError,
    TransportError,
    TransportTimeout,
)
from hfclient.events import AnyEvent, JobProgress
from hfclient.inference.media.image_lists import Images
from hfclient.inference.media.images import Image, Media, Video, media_from
from hfclient.inference.providers.addresses import Target
from hfclient.inference.providers.base import Provider, QueuedJob
from hfclient.inference.providers.results import MediaResult, OutputFile, keep_body
from hfclient.inference.routing.provider_client import ProviderClient
from hfclient.process.forks import reset_after_fork
from hfclient.progress import Progress, ProgressBar
from hfclient.redaction.control_characters import escaped
from hfclient.redaction.masking import sanitized
from hfclient.transport import Request, retrying
from hfclient.types import Results

__all__ = ["Job", "kind_for", "queued_job_from"]

_M = TypeVar("_M", bound=Media)

_MAX_PAUSE = 5.0  # seconds between two polls in the long run
_GROWTH = 1.3
_PACE = 1.0  # tests make pauses shorter
_MISSES = 5  # polls that may fail in a row
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524})
# Statuses of a request for a result that do not mean that the job failed.
_NOT_THE_JOB = _PASSING - {500} | {401, 402, 403, 404}


class Job(Displayed, Generic[_M]):
    """A request for images or a video at a provider: done already, or in its queue.

    Iterating waits and yields a `JobProgress` whenever something changed; :meth:`result` waits for the end. Leaving a
    ``with`` before the end cancels, as does Ctrl-C while waiting; leaving a loop does not.

        job = inference.video_job("a fox runs through snow", model="Wan-AI/Wan2.2-T2V-A14B")
        for progress in job:
            print(progress.state, progress.position)
        job.result()[0].save("fox.mp4")

    Attributes:
        id: The provider's id of it, or None if it was done at once.
        provider: The provider's id.
        model: The model's name.
        task: Such as ``"text-to-video"``.
    """

    def __init__(
        self,
        client: ProviderClient,
        provider: Provider,
        target: Target,
        state: MediaResult | QueuedJob,
        *,
        task: str,
        facts: Mapping[str, Any],
        on_event: Callable[[AnyEvent], object] | None = None,
        progress: Progress = None,
    ) -> None:
        self.id = state.id if isinstance(state, QueuedJob) else None
        self.provider = provider.name
        self.model: str = facts.get("model", "")
        self.task = task
        self._client = client
        self._provider = provider
        self._target = target
        self._current = state
        self._facts = dict(facts)
        self._on_event = on_event
        self._progress = progress
        self._made: list[_M] | None = None
        self._failure: HFClientError | None = None
        self._misses = 0
        self._pauses = _Pauses()
        self._cancelled = False  # at the provider
        reset_after_fork(self._reset_after_fork)

    def _reset_after_fork(self) -> None:
        self._lock = threading.RLock()

    def __getstate__(self) -> NoReturn:
        raise TypeError("a job cannot be copied or pickled: it holds a connection; what to_dict() returns can be stored")

    def __repr__(self) -> str:
        return f"<Job {self.task} at {self.provider}, {escaped(self.state)}>"

    @property
    def state(self) -> str:
        """``"queued"``, ``"running"``, ``"done"``, ``"failed"`` or ``"cancelled"``: as of the last poll."""
        if self._made is not None or isinstance(self._current, MediaResult):
            return "done"
        if self._client.clock.cancellation.requested:
            return "cancelled"
        return "failed" if isinstance(self._failure, GenerationError) else self._current.state

    @property
    def is_finished(self) -> bool:
        """Whether its state is final."""
        return self.state in ("done", "failed", "cancelled")

    def __iter__(self) -> Iterator[JobProgress]:
        """Wait for the end; see :meth:`result` for what is raised."""
        return self._wait(ProgressBar(False))

    def _wait(self, bar: ProgressBar) -> Iterator[JobProgress]:
        last: JobProgress | None = None
        try:
            for attempt in retrying(self._pauses, self._client.clock):
                with attempt:
                    if attempt.number > 1:
                        self.refresh()
                    if not isinstance(self._current, QueuedJob):
                        return
                    if self._failure is not None:
                        raise self._failure
                    progress = self._state_of(self._current)
                    if not bar.is_silent:
                        _show(bar, progress)
                    if last is None or evolve(progress, elapsed=last.elapsed) != last:
                        last = progress
                        if self._on_event is not None:
                            self._on_event(progress)
                        yield progress
                    self._pauses.every = self._current.every
                    attempt.again()
        except (KeyboardInterrupt, SystemExit):
            self._cancel_at_provider()
            raise
        except TransportTimeout as error:
            if error.deadline != "total":
                raise
            raise self._given_up(error) from error.__cause__

    def result(self) -> list[_M]:
        """Wait for the end and return the results, at least one image or video. Later calls return the same.

        Raises:
            GenerationError: The job failed.
            Cancelled: It was cancelled from here.
            TransportTimeout: It was not done within ``Timeouts.total``; it has been cancelled, if the provider can do that.
            ProtocolError: The result is not an image or video.
            APIStatusError, TransportError: The provider could not be polled, or the result could not be fetched. Of several
                results, ``completed`` on the error holds those that were fetched.
        """
        with self._lock:
            if self._made is None:
                with ProgressBar(self._progress, unit="%", label=kind_for(self.task).__name__) as bar:
                    for _ in self._wait(bar):
                        pass
                    self._made = self._collected(bar)
            as_list: Any = Images if kind_for(self.task) is Image else Results
            results: list[_M] = as_list(self._made)
            return results

    def refresh(self) -> str:
        """Poll once, without a wait, and return the state: for a web page that reloads, say.

        Raises:
            HFClientError: As :meth:`result`.
        """
        with self._lock:
            job = self._current
            if not isinstance(job, QueuedJob) or self.is_finished:
                return self.state
            try:
                self._poll(job)
            except GenerationError as error:
                error.request_id = job.id
                self._failure = error
                raise
            return self.state

    def cancel(self) -> bool:
        """Stop waiting, from any thread, and ask the provider to stop working.

        Returns:
            Whether the provider agreed. A provider that cannot cancel continues, and may charge for it.
        """
        if self.is_finished:
            return False
        self._client.clock.cancellation.cancel()
        return self._cancel_at_provider()

    def to_dict(self) -> dict[str, Any]:
        """Return the job as plain JSON types, for ``inference.restore_job`` in this or another process. No secrets.

        Raises:
            InvalidInputError: It is finished.
        """
        if not isinstance(self._current, QueuedJob) or self.is_finished:
            raise InvalidInputError(f"the job is {self.state}; save its result instead")
        facts = {name: value for name, value in self._facts.items() if isinstance(value, (str, int))}
        return {"task": self.task, "provider": self.provider, "facts": facts, "queued": asdict(self._current)}

    def __enter__(self) -> Job[_M]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cancel()

    # Polling

    def _poll(self, job: QueuedJob) -> None:
        try:
            answer, _ = self._client.send(Request(method="GET", url=job.url, headers={"Accept": "application/json"}))
        except (APIStatusError, TransportError) as error:
            self._miss(job, error)
            return
        try:
            with keep_body(answer):
                self._current = self._provider.decode_poll(job, self._target, answer)
        except ProtocolError as error:
            if job.is_done and answer.is_json:  # the result: it will be the same the next time
                raise
            self._miss(job, error)  # a proxy's page, say: the job goes on
            return
        self._misses, self._pauses.hint = 0, 0.0

    def _miss(self, job: QueuedJob, error: APIStatusError | TransportError | ProtocolError) -> None:
        """Count a failed poll, and raise its error unless the next one may succeed."""
        self._misses += 1
        if isinstance(error, APIStatusError):
            if job.is_done and error.status_code not in _NOT_THE_JOB:  # fal-ai gives the job's own failure as a status
                raise GenerationError(error.message, status_code=error.status_code, code=error.code) from error
            passes = error.status_code in _PASSING
        else:
            passes = not (isinstance(error, TransportTimeout) and error.deadline == "total")
        if not passes or self._misses > _MISSES:
            raise error
        hint = error.retry_after if isinstance(error, APIStatusError) else None
        retry = self._client.session.retry
        self._pauses.hint = min(retry.max_wait, hint or retry.backoff * self._misses)

    def _state_of(self, job: QueuedJob) -> JobProgress:
        return JobProgress(
            job.provider,
            job.id,
            job.state,
            position=job.position,
            progress=job.progress,
            message=job.message,
            elapsed=round(self._client.clock.elapsed, 3),
        )

    # Ending

    def _collected(self, bar: ProgressBar) -> list[_M]:
        assert isinstance(self._current, MediaResult)
        made: list[_M] = []
        for output in self._current.outputs:
            bar.update(text="download")
            try:
                made.append(self._collect(output))
            except HFClientError as error:
                error.completed = (*made, *error.completed)
                raise
        return made

    def _collect(self, output: OutputFile) -> _M:
        content, mime = output.content, output.mime
        try:
            if content is None and output.url is not None:
                content, claimed = self._client.fetch(output.url, self._target.own_site)
                mime = mime or claimed
            kind: Any = kind_for(self.task)
            made: _M = media_from(kind, content or b"", evolve(output, mime=mime), **self._facts)
        except HFClientError as error:
            error.request_id = self._facts.get("request_id")
            raise
        return made

    def _given_up(self, error: TransportTimeout) -> TransportTimeout:
        cancelled = self._cancel_at_provider()
        fate = "it was cancelled" if cancelled else "it could not be cancelled and may still be charged for"
        error.message = sanitized(f"{error.message}; job {self.id} at {self.provider} was {self.state}, {fate}")
        error.args = (error.message,)
        return error

    def _cancel_at_provider(self) -> bool:
        """Ask the provider to stop, once; True if it agreed. An error here does not matter to the caller."""
        job = self._current
        if not isinstance(job, QueuedJob) or job.cancel is None:
            return False
        if not self._cancelled:
            with contextlib.suppress(HFClientError):
                self._client.send_cancel(*job.cancel)
                self._cancelled = True
        return self._cancelled


def _show(bar: ProgressBar, progress: JobProgress) -> None:
    before = f", {progress.position} before it" if progress.position else ""
    if progress.progress is not None:
        bar.total = 100.0
    bar.update(None if progress.progress is None else 100.0 * progress.progress, progress.state + before)


class _Pauses:
    """The pauses between two polls of a job: they grow, as a `Schedule`.

    Attributes:
        every: Shortest pause that the provider wants, in seconds; 0 polls at once.
        hint: Seconds that a failed poll asks for.
    """

    def __init__(self) -> None:
        self.every = 0.0
        self.hint = 0.0
        self._pause = 0.0

    def wait_before(self, attempt: int, error: HFClientError | None) -> float | None:
        """Return the seconds to wait before the next poll; None after an error."""
        if error is not None:
            return None
        grown = self._pause * _GROWTH if attempt > 2 else 0.0
        self._pause = min(max(self.every, grown), max(_MAX_PAUSE, self.every)) if self.every else 0.0
        return max(self._pause * _PACE, self.hint)


def kind_for(task: str) -> type[Image] | type[Video]:
    """Return the type of the results of *task*."""
    return Video if task.endswith("-to-video") else Image


def queued_job_from(data: Any) -> QueuedJob:
    """Return the queued job from `Job.to_dict`; raises `InvalidInputError` if *data* does not describe one."""
    try:
        return msgspec.convert(data, QueuedJob)
    except (msgspec.ValidationError, TypeError) as error:
        raise InvalidInputError(f"this does not describe a job: {error}") from error
