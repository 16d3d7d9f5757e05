"""Work that waits in a provider's queue: looking again until it is done, and no longer than was agreed.

Everything that one call does (submitting, looking, fetching the result) shares one deadline, ``Timeouts.total``, which is
finite here even where the client's is not. Looking is free, so a look that fails is repeated; submitting is not.

Reference: docs/protocol/inference ("queued jobs").
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NoReturn, TypeVar
from urllib.parse import urljoin

import msgspec
from attrs import asdict, evolve

from hfclient.credentials import origin_of
from hfclient.errors import (
    APIStatusError,
    ConnectError,
    GenerationError,
    HFClientError,
    InvalidInputError,
    ProtocolError,
    RateLimitError,
    ServerError,
    TransportError,
    TransportTimeout,
)
from hfclient.events import AnyEvent, JobProgress
from hfclient.inference.media.images import Image, Media, Video, media_from
from hfclient.inference.providers.base import Provider, Ticket
from hfclient.inference.providers.places import Target
from hfclient.inference.providers.results import Answer, Outcome, Output, bodied
from hfclient.process.forks import reset_after_fork
from hfclient.redaction.control_characters import escaped
from hfclient.redaction.masking import masked, sanitized
from hfclient.transport import Cancellation, Request, Response, Session, Timeouts

__all__ = ["GOODBYE", "Job", "Line", "kind_for", "ticket_from"]

_M = TypeVar("_M", bound=Media)

_SLOWEST = 5.0  # seconds between two looks in the long run
_SLOWER = 1.3
_PACE = 1.0  # tests have no time
_MISSES = 5  # looks that may fail in a row
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 522, 524})
# What a request for a result may answer without the job having failed.
_NOT_THE_JOB = _PASSING - {500} | {401, 402, 403, 404}
_FETCHES = 3
GOODBYE = Timeouts(connect=3.0, idle=3.0, first_token=3.0, total=5.0)
"""Deadlines of a request that cancels: whoever leaves does not wait for it."""


class Line:
    """One call's way to its provider: a session, headers for all requests, and one deadline.

    Args:
        session: The way to the network.
        timeouts: Deadlines of each request; ``total`` is that of the call.

    Attributes:
        headers: For all requests to the provider.
        request_id: Of the last request that got an answer, if the server gave it one.
        cancellation: Ends whatever is waited for here.
    """

    def __init__(self, session: Session, timeouts: Timeouts) -> None:
        assert timeouts.total is not None
        self.session = session
        self.headers: dict[str, str] = {}
        self.request_id: str | None = None
        self._timeouts = timeouts
        self._started = time.monotonic()
        self._response: Response | None = None
        self.cancellation = Cancellation()

    @property
    def elapsed(self) -> float:
        """Seconds since the call was made."""
        return time.monotonic() - self._started

    def remaining(self) -> float:
        """Return how many seconds are left; raises `TransportTimeout` if there are none."""
        left = (self._timeouts.total or 0.0) - self.elapsed
        if left <= 0:
            raise self.expired()
        return left

    def expired(self) -> TransportTimeout:
        """Return the error for the whole call."""
        seconds = self._timeouts.total or 0.0
        return TransportTimeout(
            f"the result was not there within {seconds:g} s (Timeouts.total)", deadline="total", seconds=seconds
        )

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the deadline, and not after :meth:`cancel`."""
        self.cancellation.pause(min(seconds, self.remaining()))

    def cancel(self) -> None:
        """End whatever another thread waits for here."""
        self.cancellation.cancel()
        response = self._response
        if response is not None:
            response.abort()

    def send(self, request: Request, session: Session | None = None) -> Response:
        """Return the answer to *request*, within what is left of the deadline."""
        timeouts = evolve(self._timeouts, total=self.remaining())
        self.request_id = None
        try:
            response = (session or self.session).send(
                evolve(request, timeouts=timeouts, cancellation=self.cancellation)
            )
        except TransportTimeout as error:
            raise self._whole(error) from error.__cause__
        self.request_id = response.request_id
        return response

    def name(self, error: HFClientError) -> None:
        """Let *error* say which request it belongs to, if it does not."""
        error.request_id = error.request_id or self.request_id

    def ask(self, request: Request, session: Session | None = None) -> tuple[Answer, str | None]:
        """Return the whole answer of the provider, and the request's id."""
        response = self.send(evolve(request, headers={**request.headers, **self.headers}), session)
        return Answer(self._read(response), response.content_type), response.request_id

    def submit(self, request: Request, *, patient: bool) -> tuple[Answer, str | None]:
        """Send what may be billed: repeated only when the provider refused it, and only if *patient*.

        A model that is being loaded (503 with an estimated time) is waited for within the deadline, a limit (429) as the
        session's `Retry` says.
        """
        attempt = 1
        while True:
            try:
                return self.ask(request)
            except (RateLimitError, ServerError) as error:
                wait = self._wait_after(error, attempt) if patient else None
                if wait is None or wait >= self.remaining():
                    raise
            self.pause(wait)
            attempt += 1

    def notify(self, request: Request) -> None:
        """Send a last request, whatever the deadline says, and ignore what it answers."""
        headers = {**request.headers, **self.headers}
        self.session.send(evolve(request, headers=headers)).close()

    def _wait_after(self, error: APIStatusError, attempt: int) -> float | None:
        retry = self.session.retry
        if error.status == 503 and error.retry_after is not None:
            return min(max(error.retry_after, 0.1), retry.max_wait)
        return retry.wait_before(attempt + 1, error) if error.status == 429 else None

    def fetch(self, url: str, base: str | None = None, *, limit: int | None = None) -> tuple[bytes, str]:
        """Return what a link leads to, at most *limit* bytes of it, and its claimed type.

        Credentials and the caller's own headers go along to the host of *base* only.

        Raises:
            ProtocolError: It is no link, or longer than ``Limits.file``.
            APIStatusError, TransportError: It could not be fetched. The error has the link in ``links``: what lies there may
                have been paid for.
        """
        try:
            return self._fetched(url, base, limit)
        except HFClientError as error:
            error.links = (*error.links, masked(url))
            raise

    def _fetched(self, url: str, base: str | None, limit: int | None) -> tuple[bytes, str]:
        try:
            url = urljoin(base, url) if base else url  # servers of one's own may leave themselves out
            url.encode()  # JSON may hold half of a surrogate pair
            is_own = origin_of(url) == (base and origin_of(base))
        except (InvalidInputError, ValueError) as error:
            raise ProtocolError("this link to a file leads nowhere", frame=url[:200]) from error
        bare = None if is_own else self.session.bare()
        request = Request.file(url, follow_redirects=True)
        attempt = 1
        while True:  # it was paid for: a connection that breaks in its middle is no reason to lose it
            try:
                response = self.send(request, bare)
                return self._read(response, limit), response.content_type
            except InvalidInputError as error:  # only the way out showed that nobody can be there
                raise ProtocolError("this link to a file leads nowhere", frame=url[:200]) from error
            except ConnectError:
                if attempt >= _FETCHES:
                    raise
            self.pause(self.session.retry.backoff * attempt)
            attempt += 1

    def _read(self, response: Response, limit: int | None = None) -> bytes:
        self._response = response
        try:
            self.cancellation.check()
            return response.read("file") if limit is None else response.read_at_most(limit)
        except TransportTimeout as error:
            raise self._whole(error) from error.__cause__
        finally:
            self._response = None
            response.close()

    def _whole(self, error: TransportTimeout) -> TransportTimeout:
        """Return the error of the whole call, if it is that deadline which one request met."""
        if error.deadline != "total":
            return error
        whole = self.expired()
        whole.method, whole.url, whole.attempts = error.method, error.url, error.attempts
        return whole


class Job(Generic[_M]):
    """Work at a provider: done already, or waiting in its queue.

    Iterating waits and gives a `JobProgress` whenever something changed; :meth:`result` waits for the end. Leaving a
    ``with`` before the end cancels, as does Ctrl-C while waiting; leaving a loop does not.

        job = inference.video_job("a fox runs through snow", model="Wan-AI/Wan2.2-T2V-A14B")
        for progress in job:
            print(progress.state, progress.position)
        job.result()[0].save("fox.mp4")

    Attributes:
        id: The provider's id of it, or None if it was done at once.
        provider: Who works on it.
        model: The model's name.
        task: Such as ``"text-to-video"``.
    """

    def __init__(
        self,
        line: Line,
        provider: Provider,
        target: Target,
        state: Outcome | Ticket,
        *,
        task: str,
        facts: Mapping[str, Any],
        on_event: Callable[[AnyEvent], object] | None = None,
    ) -> None:
        self.id = state.id if isinstance(state, Ticket) else None
        self.provider = provider.name
        self.model: str = facts.get("model", "")
        self.task = task
        self._line = line
        self._maker = provider
        self._target = target
        self._at = state
        self._facts = dict(facts)
        self._on_event = on_event
        self._made: list[_M] | None = None
        self._failure: HFClientError | None = None
        self._misses = 0
        self._stopped = False
        self._reset_after_fork()
        reset_after_fork(self)

    def _reset_after_fork(self) -> None:
        self._lock = threading.RLock()

    def __getstate__(self) -> NoReturn:
        raise TypeError("a job cannot be copied or pickled: it holds the way to its provider; to_dict() can be stored")

    def __repr__(self) -> str:
        return f"<Job {self.task} at {self.provider}, {escaped(self.state)}>"

    @property
    def state(self) -> str:
        """``"queued"``, ``"running"``, ``"done"``, ``"failed"`` or ``"cancelled"``: as the last look showed it."""
        if self._made is not None or isinstance(self._at, Outcome):
            return "done"
        if self._line.cancellation.requested:
            return "cancelled"
        return "failed" if isinstance(self._failure, GenerationError) else self._at.state

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "failed", "cancelled")

    def __iter__(self) -> Iterator[JobProgress]:
        """Wait for the end; see :meth:`result` for what is raised."""
        last: JobProgress | None = None
        wait = 0.0
        while isinstance(self._at, Ticket):
            if self._failure is not None:
                raise self._failure
            ticket = self._at
            progress = self._progress(ticket)
            if last is None or evolve(progress, elapsed=last.elapsed) != last:
                last = progress
                self._tell(progress)
                yield progress
            wait = min(max(ticket.every, wait * _SLOWER), max(_SLOWEST, ticket.every)) if ticket.every else 0.0
            try:
                self._line.pause(wait * _PACE)
                self.refresh()
            except (KeyboardInterrupt, SystemExit):
                self._say_goodbye()
                raise
            except TransportTimeout as error:
                if error.deadline != "total":
                    raise
                raise self._given_up(error) from error.__cause__

    def result(self) -> list[_M]:
        """Wait for the end and return what was made: at least one picture or video. May be asked again.

        Raises:
            GenerationError: The job failed.
            Cancelled: It was cancelled from here.
            TransportTimeout: It was not done within ``Timeouts.total``; it has been cancelled, if the provider can do that.
            ProtocolError: The result is no picture or video.
            APIStatusError, TransportError: The provider could not be asked, or the result not be fetched. Of several results
                ``completed`` on the error holds those that are there.
        """
        with self._lock:
            if self._made is None:
                for _ in self:
                    pass
                assert isinstance(self._at, Outcome)
                made: list[_M] = []
                for output in self._at.outputs:
                    try:
                        made.append(self._collect(output))
                    except HFClientError as error:
                        error.completed = (*made, *error.completed)
                        raise
                self._made = made
            return list(self._made)

    def refresh(self) -> str:
        """Look once, without waiting for the end, and return the state: for a page that is loaded again and again.

        Raises:
            HFClientError: As :meth:`result`.
        """
        with self._lock:
            ticket = self._at
            if not isinstance(ticket, Ticket) or self.is_finished:
                return self.state
            try:
                self._look(ticket)
            except GenerationError as error:
                error.request_id = ticket.id
                self._failure = error
                raise
            return self.state

    def cancel(self) -> bool:
        """Stop waiting, from any thread, and ask the provider to stop working.

        Returns:
            Whether the provider agreed. Those that cannot be asked go on, and may charge for it.
        """
        if self.is_finished:
            return False
        self._line.cancel()
        return self._say_goodbye()

    def to_dict(self) -> dict[str, Any]:
        """Return the job as plain JSON types, for ``inference.restore_job`` in this or another process. No secrets.

        Raises:
            InvalidInputError: It is over: there is nothing to come back to.
        """
        if not isinstance(self._at, Ticket) or self.is_finished:
            raise InvalidInputError(f"the job is {self.state}; save its result instead")
        facts = {name: value for name, value in self._facts.items() if isinstance(value, (str, int))}
        return {"task": self.task, "provider": self.provider, "facts": facts, "ticket": asdict(self._at)}

    def __enter__(self) -> Job[_M]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cancel()

    # Looking

    def _look(self, ticket: Ticket) -> None:
        try:
            request = Request(method="GET", url=ticket.url, headers={"Accept": "application/json"})
            answer, _ = self._line.ask(request)
        except (APIStatusError, TransportError) as error:
            self._bear(ticket, error)
            return
        try:
            with bodied(answer):
                self._at = self._maker.follow(ticket, self._target, answer)
        except ProtocolError as error:
            if ticket.is_done and answer.is_json:  # the result: it will be the same the next time
                raise
            self._bear(ticket, error)  # the page of a proxy, say: the job goes on
            return
        self._misses = 0

    def _bear(self, ticket: Ticket, error: APIStatusError | TransportError | ProtocolError) -> None:
        """Let a failed look pass if the next one may do better; otherwise raise."""
        self._misses += 1
        if isinstance(error, APIStatusError):
            if ticket.is_done and error.status not in _NOT_THE_JOB:  # fal-ai gives the job's own failure as a status
                raise GenerationError(error.message, status_code=error.status, code=error.code) from error
            passes = error.status in _PASSING
        else:
            passes = not (isinstance(error, TransportTimeout) and error.deadline == "total")
        if not passes or self._misses > _MISSES:
            raise error
        hint = error.retry_after if isinstance(error, APIStatusError) else None
        self._line.pause(min(self._line.session.retry.max_wait, hint or self._line.session.retry.backoff * self._misses))

    def _progress(self, ticket: Ticket) -> JobProgress:
        return JobProgress(
            ticket.provider,
            ticket.id,
            ticket.state,
            position=ticket.position,
            progress=ticket.progress,
            message=ticket.message,
            elapsed=round(self._line.elapsed, 3),
        )

    def _tell(self, event: AnyEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)

    # Ending

    def _collect(self, output: Output) -> _M:
        content, mime = output.content, output.mime
        try:
            if content is None and output.url is not None:
                content, claimed = self._line.fetch(output.url, self._target.own_site)
                mime = mime or claimed
            kind: Any = kind_for(self.task)
            made: _M = media_from(kind, content or b"", evolve(output, mime=mime), **self._facts)
        except HFClientError as error:
            error.request_id = self._facts.get("request_id")
            raise
        return made

    def _given_up(self, error: TransportTimeout) -> TransportTimeout:
        stopped = self._say_goodbye()
        fate = "it was cancelled" if stopped else "it could not be cancelled and may still be charged for"
        error.message = sanitized(f"{error.message}; job {self.id} at {self.provider} was {self.state}, {fate}")
        error.args = (error.message,)
        return error

    def _say_goodbye(self) -> bool:
        """Ask the provider to stop; True if it agreed. What goes wrong here is nobody's concern any more."""
        ticket = self._at
        if not isinstance(ticket, Ticket) or ticket.cancel is None:
            return False
        if self._stopped:  # it need not be told twice
            return True
        method, url = ticket.cancel
        request = Request(method=method, url=url, timeouts=GOODBYE)
        with contextlib.suppress(HFClientError):
            self._line.notify(request)
            self._stopped = True
        return self._stopped


def kind_for(task: str) -> type[Image] | type[Video]:
    """Return what *task* makes."""
    return Video if task.endswith("-to-video") else Image


def ticket_from(data: Any) -> Ticket:
    """Return the ticket in what `Job.to_dict` gave; raises `InvalidInputError` if there is none."""
    try:
        return msgspec.convert(data, Ticket)
    except (msgspec.ValidationError, TypeError) as error:
        raise InvalidInputError(f"this describes no job: {error}") from error
