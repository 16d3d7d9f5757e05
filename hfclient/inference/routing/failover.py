"""What happens when a provider fails: the request is repeated, another provider gets it, or the error is raised.

All of this happens only before the first content of an answer, by the kind of the error:

- An error that the caller has to fix (a bad request, a refused token, a prompt that is too long, a filter) is raised at
once: other providers would refuse the request, too.
- After a transient error (rate limit, overload, gateway, broken connection) the same provider gets the request again,
as `Retry` says. If another provider is available, a Retry-After above 2 s moves on to it.
- After the last of these attempts, and at once after other errors of the provider (another 5xx, a model that it does
not have, a timeout, an invalid answer), the next provider gets the request, if there is a choice.
- 402 means that an account has no credits. All calls through Hugging Face's router are paid from one account, so only a
provider with a key of its own is tried then.

A request that is billed even if its result never arrives (images, videos, speech) is not sent twice to the same
provider. The next provider gets it only if the first one certainly does not work on it any more.

Reference: docs/protocol/inference ("Errors"); design: retries only before the first token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

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
from hfclient.inference.routing.candidates import Candidate
from hfclient.transport import Clock, Response, Retry, retrying

__all__ = ["Attempts", "Begin", "Begun", "ModelLoading", "Providers", "is_loading", "may_fail_over", "short_waits"]

_log = logging.getLogger("hfclient")

# The provider refused before it did anything, or says that it failed.
_REFUSALS = frozenset({402, 404, 408, 410, 424, 425, 429})
# A gateway gave up, or lost its connection: the provider may still work on the request, and charge for it.
_AMBIGUOUS = frozenset({408, 502, 504, 520, 522, 524})
_NOT_BEGUN = frozenset({429, 503})
_MAX_WAIT = 2.0  # seconds: longest wait while another provider is available
_LOADING_LIMIT = 600.0  # seconds for a model that is being loaded, if the call has no other limit
_REASON = 300  # characters of each provider's error


def may_fail_over(error: HFClientError, *, billed: bool) -> bool:
    """Return whether another provider may be tried after *error*, before the first content.

    Args:
        error: The error of the first one.
        billed: The work costs money even if its result never arrives (images, videos). Then there is no failover while the
            first provider may still work on it: after a timeout or a broken connection once the request had arrived.
    """
    if isinstance(error, ModelNotFound):
        return True
    if isinstance(error, GenerationError):
        if billed:  # inside an answer: the work may be done
            return error.status_code in _NOT_BEGUN
        return error.status_code is None or _is_provider_error(error.status_code)
    if isinstance(error, APIStatusError):
        return _is_provider_error(error.status_code) and not (billed and error.status_code in _AMBIGUOUS)
    if isinstance(error, (ConnectError, TransportTimeout)):
        deadline = getattr(error, "deadline", None)
        return deadline != "total" and (not error.sent or deadline == "connect" or not billed)
    return not billed and isinstance(error, (StreamInterrupted, ProtocolError))


def _is_provider_error(status: int) -> bool:
    return status in _REFUSALS or status >= 500


def short_waits(retry: Retry) -> Retry:
    """Return *retry* for a provider that is not the last one: a long wait moves on to the next."""
    return evolve(retry, max_wait=min(retry.max_wait, _MAX_WAIT))


def is_loading(error: HFClientError) -> bool:
    """Return whether a model is being loaded, and the server says for how long."""
    return isinstance(error, ServerError) and error.status_code == 503 and error.retry_after is not None


class ModelLoading:
    """A schedule for a model that may have to be loaded: that takes longer than `Retry` allows, so it is not counted.

    Args:
        retry: For all other errors.
    """

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._waits = 0

    def wait_before(self, attempt: int, error: HFClientError | None) -> float | None:
        """Return the seconds to wait before attempt number *attempt*; None to give up."""
        if isinstance(error, ServerError) and is_loading(error):
            self._waits += 1
            return _loading_wait(error, self._retry)
        return self._retry.wait_before(attempt - self._waits, error)


def _loading_wait(error: ServerError, retry: Retry) -> float:
    """Return the seconds to wait for a model that is being loaded; it may be there sooner than the server says."""
    return min(max(error.retry_after or 0.0, 0.1), max(retry.max_wait, 0.1))


class Providers:
    """The providers of one call, as a `Schedule`: after an error that allows it, the next one is tried without a wait.

    Args:
        candidates: The providers, in the order to try.
        billed: See :func:`may_fail_over`.

    Attributes:
        candidate: The provider to try now.
        left: Those after it.
        failovers: The failures so far.

    Raises:
        InvalidInputError: There are no candidates.
    """

    def __init__(self, candidates: Sequence[Candidate], *, billed: bool) -> None:
        if not candidates:
            raise InvalidInputError("no provider is left")
        self.candidate, *self.left = candidates
        self.failovers: list[Failover] = []
        self._billed = billed
        self._previous: HFClientError | None = None

    def wait_before(self, attempt: int, error: HFClientError | None) -> float | None:
        """Move on to the next provider; None if *error* must be raised, which then has the errors of the other providers."""
        return None if error is None or not self._fail_over(error, self.candidate.provider) else 0.0

    def _fail_over(self, error: HFClientError, failed: str) -> bool:
        if self._previous is not None and error.__cause__ is None:
            error.__cause__ = self._previous
        left = self._others(error)
        if not left:
            if before := "; ".join(f"{one.provider}: {one.reason}" for one in self.failovers):
                error.message = f"{error.message} ({failed} was asked last; before it failed {before})"
                error.args = (error.message,)
            return False
        status = getattr(error, "status_code", None)
        self.failovers.append(Failover(failed, left[0].provider, error.message[:_REASON], status))
        _log.info("%s failed (%s); trying %s", failed, error.message[:_REASON], left[0].provider)
        self._previous = error
        self.candidate, *self.left = left
        return True

    def _others(self, error: HFClientError) -> list[Candidate]:
        """Return the providers that may be tried after *error*."""
        if not may_fail_over(error, billed=self._billed):
            return []
        if isinstance(error, CreditsExhausted) or getattr(error, "status_code", None) == 402:
            return [one for one in self.left if _account(one) != _account(self.candidate)]
        return self.left


def _account(candidate: Candidate) -> str:
    """Return a name of the account that pays for *candidate*."""
    return origin_of(candidate.target.base) if candidate.billed else candidate.provider


# Streams

_D = TypeVar("_D")  # the decoder

Begun: TypeAlias = "tuple[_D, dict[str, Any]]"
"""What a stream needs to read an answer: a decoder, and the fields of the reply that are known already."""

Begin: TypeAlias = "Callable[[Response, Candidate, Sequence[Failover]], Begun[_D]]"


class Attempts(Providers, Generic[_D]):
    """The attempts of one streamed answer, over all its providers.

    A stream that fails before its first content continues here: its loop is ``retrying(attempts, attempts.clock)``, like the
    one of :meth:`start`, with :meth:`send_again`.

    Args:
        candidates: The providers, in the order to try; not empty.
        send: Sends the request once, with the given clock.
        begin: Returns what is needed to read an answer; gets the failovers that were not reported yet.
        retry: How often each provider is tried.
        clock: Of the whole call.
        fallbacks: Returns further providers when the last of *candidates* failed, given that one's name; called once.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        send: Callable[[Candidate, Clock], Response],
        begin: Begin[_D],
        *,
        retry: Retry,
        clock: Clock,
        fallbacks: Callable[[str], list[Candidate]] | None = None,
    ) -> None:
        super().__init__(candidates, billed=False)
        self.clock = clock
        self._send = send
        self._begin = begin
        self._retry = retry
        self._fallbacks = fallbacks
        self._started = clock.elapsed
        self._tries = 0  # of the current provider that failed
        self._reported = 0  # failovers
        self._served_by: str | None = None  # as the headers of the answer say that is being read

    def start(self) -> tuple[Response, Begun[_D]]:
        """Return the first response, and what is needed to read it.

        Raises:
            HFClientError: No provider answered.
        """
        for attempt in retrying(self, self.clock):
            with attempt:
                response = self._send(self.candidate, self.clock)
        return response, self.begin(response)

    def send_again(self) -> Response:
        """Send the request to the current provider, once, after an answer that failed."""
        return self._send(self.candidate, self.clock)

    def begin(self, response: Response) -> Begun[_D]:
        """Return what is needed to read *response*."""
        self._served_by = response.headers.get("x-inference-provider")
        return self._begin(response, self.candidate, self.new_failovers())

    def new_failovers(self) -> list[Failover]:
        """Return the failovers since this was last called."""
        start, self._reported = self._reported, len(self.failovers)
        return self.failovers[start:]

    def settle(self) -> None:
        """An answer has begun: there are no further attempts, so the request, perhaps with large images, is dropped."""
        del self._send, self._begin

    def wait_before(self, attempt: int, error: HFClientError | None) -> float | None:
        """Return the seconds to wait after *error*, 0 for another provider; None if there is no further attempt."""
        if error is None:
            return None
        self._tries += 1
        served_by, self._served_by = self._served_by, None
        if isinstance(error, (APIStatusError, TransportError)):
            error.attempts = self._tries
        wait = self._wait_after(error)
        if wait is not None:
            return wait
        failed = served_by or self.candidate.provider
        self.left = self.left or self._find_more(error, failed)
        if not self._fail_over(error, failed):
            return None
        self._tries = 0
        return 0.0

    def _wait_after(self, error: HFClientError) -> float | None:
        """Return the seconds to wait before the same provider is tried again; None if it is not."""
        failure = _as_refusal(error)
        if failure is None:
            return None
        left = self.clock.remaining()
        if not self.left and self._retry.attempts > 1 and isinstance(error, ServerError) and _is_estimated(error):
            wait = _loading_wait(error, self._retry)
            limit = (self.clock.timeouts.first_token or _LOADING_LIMIT) + self._started - self.clock.elapsed
            if wait < (limit if left is None else left):
                self._tries -= 1
                return wait
        retry = short_waits(self._retry) if self.left else self._retry
        found = retry.wait_before(self._tries + 1, failure)
        return None if found is None or (left is not None and found >= left) else found

    def _find_more(self, error: HFClientError, failed: str) -> list[Candidate]:
        find, self._fallbacks = self._fallbacks, None
        status = getattr(error, "status_code", None)
        # The router knows all providers of a model: without one there, or without credits, no other can be tried.
        if find is None or isinstance(error, NotFoundError) or status == 402 or not may_fail_over(error, billed=False):
            return []
        try:
            return find(failed)
        except HFClientError as trouble:
            _log.info("no other provider can be found: %s", trouble.message)
            return []


def _is_estimated(error: ServerError) -> bool:
    """Return whether a model is being loaded, and the body of the response estimates for how long."""
    return error.status_code == 503 and "estimated_time" in (error.body or "")


def _as_refusal(error: HFClientError) -> HFClientError | None:
    """Return *error* as `Retry` knows it: a failure inside an answer without content counts like one in its place."""
    if isinstance(error, StreamInterrupted):
        return ConnectError(error.message)
    if isinstance(error, GenerationError):
        return None if error.status_code is None else APIStatusError(error.message, status_code=error.status_code)
    return error
