"""One small piece of work at a provider: asked, waited for, and taken to the next provider if the first one fails.

Reference: docs/protocol/inference ("Errors").
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import evolve

from hfclient.errors import (
    APIStatusError,
    GenerationError,
    HFClientError,
    ModelNotFound,
    NotFoundError,
    ProtocolError,
    ServerError,
    TransportTimeout,
    Unsupported,
)
from hfclient.inference.failures import generation_error, refined
from hfclient.inference.media.jobs import GOODBYE, Line
from hfclient.inference.providers import Answer
from hfclient.inference.providers.base import child, has_failed, id_path, word
from hfclient.inference.providers.results import bodied
from hfclient.inference.routing.candidates import Candidate
from hfclient.inference.routing.failover import impatient
from hfclient.transport import Request, Session, Timeouts
from hfclient.transport.status_errors import restated

__all__ = ["TOTAL", "ask", "errand", "settled", "through"]

_T = TypeVar("_T")

TOTAL = 300.0
"""Seconds for the whole of a call that has no ``Timeouts.total``."""

_LOOKS = 0.5  # seconds before the second look at a prediction, and then more
_SLOWEST = 5.0
_MISSES = 5  # looks that may be none
_NO_ROUTE = frozenset({404, 405, 501})


def errand(session: Session, timeouts: Timeouts | None, headers: Mapping[str, str] | None = None) -> Line:
    """Return the way to the providers for one call, its clock started."""
    timeouts = session.deadlines(timeouts)
    line = Line(session, evolve(timeouts, total=TOTAL if timeouts.total is None else timeouts.total))
    line.headers = dict(headers or {})
    return line


def ask(
    line: Line, candidate: Candidate, request: Request, *, patient: bool = True, repeatable: bool = True
) -> tuple[Answer, str | None]:
    """Return the answer to *request* and the provider's id for it.

    Args:
        line: The call's way to the network.
        candidate: Who is asked.
        request: What is asked.
        patient: Nobody else can be asked: wait for a model that is being loaded, and for limits that last.
        repeatable: It does not matter if it is done twice: repeat it as the session's `Retry` says.

    Raises:
        ModelNotFound: The provider does not serve the model.
        APIStatusError, TransportError: It refused, or did not answer.
    """

    def refine(error: APIStatusError) -> HFClientError:
        return _refined(error, candidate)

    request = evolve(request, refine=refine)
    if not repeatable:
        return line.submit(request, patient=patient)
    session = line.session if patient else line.session.with_retry(impatient(line.session.retry))
    while True:
        try:
            return line.ask(evolve(request, retryable=True, whole="file"), session)
        except ServerError as error:
            # Loading a model takes longer than a session's `Retry` has patience.
            if not patient or error.status != 503 or error.retry_after is None:
                raise
            wait = min(max(error.retry_after, 0.1), max(line.session.retry.max_wait, 0.1))
            if wait >= line.remaining():
                raise
        line.pause(wait)


def _refined(error: APIStatusError, candidate: Candidate) -> HFClientError:
    model = candidate.entry.model or candidate.entry.provider_id
    better = refined(error, model)
    is_hf = candidate.provider == "hf-inference" and candidate.target.routed
    if better is not error or not is_hf or not isinstance(error, NotFoundError) or not model:
        return better
    missing = restated(ModelNotFound, error, f"hf-inference does not serve {model}: {error.message}")
    missing.model = model
    return missing


def settled(line: Line, candidate: Candidate, answer: Answer) -> Answer:
    """Return replicate's answer once its prediction is done; others are done when they answer.

    Raises:
        GenerationError: The prediction failed.
        TransportTimeout: It was not done in time; it has been cancelled.
    """
    if candidate.provider != "replicate":
        return answer
    wait = _LOOKS
    with bodied(answer):
        if _is_result(answer) or _is_done(answer):
            return answer
        data = answer.json()
    misses = 0
    while True:
        links, path = child(data, "urls"), f"/v1/predictions/{id_path(str(data.get('id')))}"
        try:
            line.pause(wait)
            wait = min(wait * 1.3, _SLOWEST)
            answer, _ = line.ask(Request.read(candidate.target.follow(_link(links, "get") or path)))
            try:
                with bodied(answer):
                    if _is_done(answer):
                        return answer
                    data = answer.json()
            except ProtocolError:  # the page of a proxy, say: the prediction goes on
                misses += 1
                if misses > _MISSES:
                    raise
        except (TransportTimeout, KeyboardInterrupt, SystemExit):
            with contextlib.suppress(HFClientError):  # nobody waits for it any more; it need not cost more
                url = candidate.target.follow(_link(links, "cancel") or f"{path}/cancel")
                line.notify(Request(method="POST", url=url, timeouts=GOODBYE))
            raise


def _is_result(answer: Answer) -> bool:
    """Tell whether an answer is no prediction, but already what it would hold."""
    if answer.is_media:
        return True
    data = answer.value()
    return not isinstance(data, dict) or not any(key in data for key in ("id", "status", "output", "detail", "urls"))


def _is_done(answer: Answer) -> bool:
    """Tell whether the result is there; the status may lag behind it."""
    data = answer.json()
    state = word(data, "status")
    if state == "succeeded" or (data.get("output") not in (None, "", [], {}) and not has_failed(state)):
        return True
    if state in ("starting", "processing"):
        return False
    if data.get("detail"):
        raise generation_error(data)
    raise GenerationError(f"replicate: the prediction is {state!r}")


def _link(links: Mapping[str, Any], name: str) -> str | None:
    return links[name] if isinstance(links.get(name), str) else None


def through(function: Callable[[], _T], *otherwise: Callable[[], _T]) -> _T:
    """Return what *function* gives; if the server does not know its route, what the first of *otherwise* gives that it knows.

    If none is known, the first error is raised: it is about the usual route.
    """
    try:
        return function()
    except NotFoundError as error:
        first = error
    for other in otherwise:
        try:
            return other()
        except (APIStatusError, Unsupported) as error:
            if isinstance(error, APIStatusError) and error.status not in _NO_ROUTE:
                raise
    raise first
