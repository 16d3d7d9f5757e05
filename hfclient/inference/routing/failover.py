"""What happens when one who was asked fails: it is asked again, or the next one is, or the failure is raised.

Only before anything of an answer has come. By what went wrong:

- What the caller has to mend (a bad request, a token that is refused, a context that overflows, a filter) is raised at
  once: everybody else would say the same.
- What passes (`Retry` says what: limits, an overload, a gateway, a connection that broke) is asked for again where it
  was asked first, as often as `Retry` says; but nobody is waited for long while somebody else could be asked.
- Then, and at once after whatever does not pass but is that provider's own (another 5xx, a model that it does not have,
  silence, an answer that is none), the next one is asked, if there is a choice.
- 402 says that a purse is empty. All that Hugging Face's router leads to is paid from one, so only somebody with a key of
  its own is asked then.

What is billed whether or not its result arrives (pictures, videos, speech) is not sent twice to the same place, and the
next one is asked only when it is certain that the first one is not at it any more.

Reference: docs/protocol/inference ("Errors"); design: retries only before the first token.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeAlias, TypeGuard, TypeVar

from attrs import evolve

from hfclient.credentials import origin_of
from hfclient.errors import (
    APIStatusError,
    ConnectError,
    CreditsExhausted,
    GenerationError,
    HFClientError,
    InvalidInputError,
    ModelNotFound,
    NotFoundError,
    ProtocolError,
    ServerError,
    StreamInterrupted,
    TransportError,
    TransportTimeout,
)
from hfclient.events import Failover
from hfclient.inference.rounds import RoundClock
from hfclient.inference.routing.candidates import Candidate
from hfclient.stream import Decoder
from hfclient.transport import Request, Response, Retry, Timeouts

__all__ = ["ONCE", "Attempts", "Begin", "Begun", "impatient", "may_fail_over", "try_each"]

_T = TypeVar("_T")

ONCE = Retry(attempts=1)
"""For requests of which `Attempts` decides whether they are sent again."""

_log = logging.getLogger("hfclient")

# The provider said no before it did anything, or that it failed.
_REFUSALS = frozenset({402, 404, 408, 410, 424, 425, 429})
# A gateway lost patience, or its connection: the provider may still be at work, and charge for it.
_AMBIGUOUS = frozenset({408, 502, 504, 520, 522, 524})
_NOT_BEGUN = frozenset({429, 503})
_SHORT = 2.0  # seconds: with somebody else to ask, nobody is waited for longer than that
_PATIENCE = 600.0  # seconds for a model that is being loaded, if nothing else bounds the call
_REASON = 300  # characters of what each one said


def may_fail_over(error: HFClientError, *, billed: bool) -> bool:
    """Tell whether another provider may be asked after *error*, before anything of an answer has come.

    Args:
        error: What the first one failed with.
        billed: The work costs money even if its result never arrives (pictures, videos). Then nobody else is asked while
            the first one may still be at it: after a timeout or a broken connection that came when it had been told.
    """
    if isinstance(error, ModelNotFound):
        return True
    if isinstance(error, GenerationError):
        if billed:  # inside an answer: whatever was done is done
            return error.status_code in _NOT_BEGUN
        return error.status_code is None or _is_its_own(error.status_code)
    if isinstance(error, APIStatusError):
        return _is_its_own(error.status) and not (billed and error.status in _AMBIGUOUS)
    if isinstance(error, (ConnectError, TransportTimeout)):
        deadline = getattr(error, "deadline", None)
        return deadline != "total" and (not error.sent or deadline == "connect" or not billed)
    return not billed and isinstance(error, (StreamInterrupted, ProtocolError))


def _is_its_own(status: int) -> bool:
    return status in _REFUSALS or status >= 500


def impatient(retry: Retry) -> Retry:
    """Return *retry* for one who need not be waited for long, because somebody else can be asked."""
    return evolve(retry, max_wait=min(retry.max_wait, _SHORT))


def try_each(
    candidates: Sequence[Candidate],
    attempt: Callable[[Candidate, bool], _T],
    *,
    billed: bool,
    tell: Callable[[Failover], object],
) -> tuple[_T, Candidate, tuple[Failover, ...]]:
    """Return the first result of *attempt*, from whom it came, and who failed before.

    Args:
        candidates: Whom to ask, in order.
        attempt: Asks one of them, and again if that makes sense; the flag says that it is the last, for which it pays to
            be patient.
        billed: See :func:`may_fail_over`.
        tell: Called with each step to the next one.

    Raises:
        HFClientError: What the last one failed with, or the first one after which nobody else may be asked; its message
            says what the others failed with.
    """
    steps: list[Failover] = []
    left = list(candidates)
    previous: HFClientError | None = None
    while left:
        candidate = left.pop(0)
        try:
            return attempt(candidate, not left), candidate, tuple(steps)
        except HFClientError as error:
            _chain(error, previous)
            left = _others(error, candidate, left, billed=billed)
            if not left:
                _tell_all(error, candidate.provider, steps)
                raise
            steps.append(_step(error, candidate.provider, left[0].provider))
            previous = error
        tell(steps[-1])
    raise InvalidInputError("there is no provider to ask")


def _others(error: HFClientError, failed: Candidate, left: list[Candidate], *, billed: bool) -> list[Candidate]:
    """Return those of *left* that may be asked after *error*."""
    if not may_fail_over(error, billed=billed):
        return []
    if isinstance(error, CreditsExhausted) or getattr(error, "status_code", None) == 402:
        return [one for one in left if _purse(one) != _purse(failed)]
    return left


def _purse(candidate: Candidate) -> str:
    """Return what tells whose money *candidate* is paid with."""
    return origin_of(candidate.target.base) if candidate.billed else candidate.provider


def _step(error: HFClientError, provider: str, to: str) -> Failover:
    status = getattr(error, "status", None) or getattr(error, "status_code", None)
    step = Failover(provider, to, error.message[:_REASON], status)
    _log.info("%s failed (%s); asking %s", step.provider, step.reason, step.to)
    return step


def _chain(error: HFClientError, previous: HFClientError | None) -> None:
    if previous is not None and error.__cause__ is None:
        error.__cause__ = previous


def _tell_all(error: HFClientError, provider: str, steps: Iterable[Failover]) -> None:
    """Let the last error say what all the others were."""
    if before := "; ".join(f"{step.provider}: {step.reason}" for step in steps):
        error.message = f"{error.message} ({provider} was asked last; before it failed {before})"
        error.args = (error.message,)


# Streams

_D = TypeVar("_D", bound=Decoder)

Begun: TypeAlias = "tuple[_D, dict[str, Any]]"
"""What a stream needs to read an answer: a decoder, and the fields of the reply that are known already."""

Begin: TypeAlias = "Callable[[Response, Candidate, Sequence[Failover]], Begun[_D]]"


class Attempts(Generic[_D]):
    """The way of one streamed answer through those who may give it.

    A stream that fails before its first content comes back here: :meth:`after` says who is asked now, and :meth:`open`
    asks. All of that shares the call's ``Timeouts.total``; the other deadlines begin anew with each request.

    Args:
        candidates: Whom to ask, in order; not empty.
        send: Sends one request, :meth:`bounded`, and sends it once.
        begin: Makes what is needed to read an answer; gets the steps that were made since there was one.
        retry: How often each is asked.
        timeouts: Of the whole call. The clock starts now.
        stand_ins: Returns who else may be asked when the last of *candidates* failed, given that one's name; asked once.

    Attributes:
        cancellation: Ends whatever is waited for here, from any thread.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        send: Callable[[Candidate, Attempts[_D]], Response],
        begin: Begin[_D],
        *,
        retry: Retry,
        timeouts: Timeouts,
        stand_ins: Callable[[str], list[Candidate]] | None = None,
    ) -> None:
        self._candidate, *self._left = candidates
        self._send = send
        self._begin = begin
        self._retry = retry
        self._stand_ins = stand_ins
        self._clock = RoundClock(timeouts)
        patience = timeouts.total or timeouts.first_token
        self._patient_until = time.monotonic() + (_PATIENCE if patience is None else patience)
        self._tries = 0
        self._served_by: str | None = None
        self._steps: list[Failover] = []
        self._previous: HFClientError | None = None
        self.cancellation = self._clock.cancellation

    def bounded(self, request: Request) -> Request:
        """Return *request* with what is left of the deadlines; raises `TransportTimeout` if there is nothing left."""
        return evolve(request, timeouts=self._clock.next_timeouts(), cancellation=self.cancellation)

    def start(self) -> tuple[Response, Begun[_D]]:
        """Return the first answer that has a head, and what is needed to read it.

        Raises:
            HFClientError: There is none.
        """
        steps: list[Failover] = []
        while True:
            try:
                response = self.open()
            except HFClientError as error:
                step = self.after(error)
            else:
                return response, self._begin(response, self._candidate, steps)
            if step is not None:
                steps.append(step)

    def open(self) -> Response:
        """Ask whoever's turn it is, once; raises what goes wrong."""
        self._tries += 1
        self._served_by = None
        response = self._send(self._candidate, self)
        self._served_by = response.headers.get("x-inference-provider")
        return response

    def begin(self, response: Response) -> Begun[_D]:
        """Return what is needed to read *response*."""
        return self._begin(response, self._candidate, ())

    def settle(self) -> None:
        """An answer has begun: nothing is asked again, and the request, with pictures in it perhaps, need not be kept."""
        del self._send, self._begin

    def after(self, error: HFClientError) -> Failover | None:
        """Decide who is asked after *error*, and wait if that is the same one.

        Returns:
            The step, if it is somebody else.

        Raises:
            HFClientError: *error* itself: nobody can be asked.
            Cancelled: It was cancelled meanwhile.
        """
        self.restate(error)
        if isinstance(error, (APIStatusError, TransportError)):
            error.attempts = self._tries
        wait = self._wait_after(error)
        if wait is not None:
            _log.info("%s failed (%s); asking again in %.2f s", self._candidate.provider, error.message, wait)
            self.cancellation.pause(wait)
            return None
        _chain(error, self._previous)
        failed = self._served_by or self._candidate.provider
        left = _others(error, self._candidate, self._left or self._more(error, failed), billed=False)
        if not left:
            _tell_all(error, failed, self._steps)
            raise error
        step = _step(error, failed, left[0].provider)
        self._steps.append(step)
        self._previous = error
        self._candidate, *self._left = left
        self._tries = 0
        return step

    def restate(self, error: HFClientError) -> None:
        """Let the error of one request, which had what was left of the call's ``total``, speak of all of it."""
        self._clock.restate(error)

    def _wait_after(self, error: HFClientError) -> float | None:
        """Return how long to wait before the same one is asked again; None if it is not."""
        refusal = _as_refusal(error)
        if refusal is None:
            return None
        if not self._left and self._retry.attempts > 1 and _is_loading(error):
            # Loading a model takes longer than `Retry` has patience. It may be done sooner than it says.
            wait = min(max(error.retry_after or 0.0, 0.1), max(self._retry.max_wait, 0.1))
            if time.monotonic() + wait < self._patient_until:
                self._tries -= 1
                return wait
        retry = impatient(self._retry) if self._left else self._retry
        found, left = retry.wait_before(self._tries + 1, refusal), self._clock.remaining()
        return None if found is None or (left is not None and found >= left) else found

    def _more(self, error: HFClientError, failed: str) -> list[Candidate]:
        find, self._stand_ins = self._stand_ins, None
        status = getattr(error, "status", None) or getattr(error, "status_code", None)
        # The router knows all who serve a model: if it finds none, or no money, there is none.
        if find is None or isinstance(error, NotFoundError) or status == 402 or not may_fail_over(error, billed=False):
            return []
        try:
            return find(failed)
        except HFClientError as trouble:
            _log.info("nobody else can be found: %s", trouble.message)
            return []


def _is_loading(error: HFClientError) -> TypeGuard[ServerError]:
    """Tell whether a model is being loaded, and the server says for how long."""
    return isinstance(error, ServerError) and error.status == 503 and "estimated_time" in (error.body or "")


def _as_refusal(error: HFClientError) -> HFClientError | None:
    """Return what *error* is to `Retry`: inside an answer without content, failures are what they are in its place."""
    if isinstance(error, StreamInterrupted):
        return ConnectError(error.message)
    if isinstance(error, GenerationError):
        return None if error.status_code is None else APIStatusError(error.message, status=error.status_code)
    return error
