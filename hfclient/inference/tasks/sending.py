"""Sending one request to a provider, and waiting for its result.

Reference: docs/protocol/inference ("Errors").
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import evolve

from hfclient.errors import (
    APIStatusError,
    GenerationError,
    HFClientError,
    ModelNotFound,
    NotFoundError,
    ProtocolError,
    TransportTimeout,
    Unsupported,
)
from hfclient.inference.generation_errors import generation_error, refined
from hfclient.inference.providers import Answer
from hfclient.inference.providers.base import child, has_failed, id_path, word
from hfclient.inference.providers.results import keep_body
from hfclient.inference.routing.candidates import Candidate
from hfclient.inference.routing.failover import ModelLoading, short_waits
from hfclient.inference.routing.provider_client import ProviderClient
from hfclient.transport import Polling, Request, Session, Timeouts, retrying
from hfclient.transport.status_errors import restated

__all__ = ["finished", "provider_client", "send_request", "try_routes"]

_T = TypeVar("_T")

_TOTAL = 300.0  # seconds for a call without Timeouts.total
_FIRST_PAUSE = 0.5  # seconds between two polls of a prediction, then longer
_MAX_PAUSE = 5.0
_MISSES = 5  # polls that may fail
_NO_ROUTE = frozenset({404, 405, 501})


def provider_client(session: Session, timeouts: Timeouts | None) -> ProviderClient:
    """Return the client for the requests of one call, whose clock starts now."""
    return ProviderClient(session, session.clock(timeouts, total=_TOTAL))


def send_request(
    client: ProviderClient, candidate: Candidate, request: Request, *, is_last: bool = True, repeatable: bool = True
) -> tuple[Answer, str | None]:
    """Return the answer of *candidate* to *request*, and the provider's id for it.

    Args:
        client: Of the call.
        candidate: The provider.
        request: For it.
        is_last: There is no other provider: wait for a model that is being loaded, and for limits that last.
        repeatable: It may be done twice, so it is repeated as the session's `Retry` says.

    Raises:
        ModelNotFound: The provider does not serve the model.
        APIStatusError, TransportError: It refused, or did not answer.
    """

    def refine(error: APIStatusError) -> HFClientError:
        return _refined(error, candidate)

    request = evolve(request, refine=refine)
    if not repeatable:
        return client.send_once(request, is_last=is_last)
    retry = client.session.retry
    return client.send(evolve(request, retryable=True, retry=ModelLoading(retry) if is_last else short_waits(retry)))


def _refined(error: APIStatusError, candidate: Candidate) -> HFClientError:
    model = candidate.entry.model or candidate.entry.provider_id
    better = refined(error, model)
    is_hf = candidate.provider == "hf-inference" and candidate.target.routed
    if better is not error or not is_hf or not isinstance(error, NotFoundError) or not model:
        return better
    missing = restated(ModelNotFound, error, f"hf-inference does not serve {model}: {error.message}")
    missing.model = model
    return missing


def finished(client: ProviderClient, candidate: Candidate, answer: Answer) -> Answer:
    """Return replicate's answer once its prediction is done; other providers are done when they answer.

    Raises:
        GenerationError: The prediction failed.
        TransportTimeout: It was not done in time; it has been cancelled.
    """
    if candidate.provider != "replicate":
        return answer
    with keep_body(answer):
        if _is_result(answer) or _is_done(answer):
            return answer
        data = answer.json()
    misses = 0
    polling = Polling(_FIRST_PAUSE, growth=1.3, max_wait=_MAX_PAUSE, errors=False)  # the client repeats requests itself
    try:
        for attempt in retrying(polling, client.clock):
            with attempt:
                if attempt.number > 1:
                    answer, _ = client.send(Request.read(candidate.target.resolve_link(_url(data, "get"))))
                    try:
                        with keep_body(answer):
                            if _is_done(answer):
                                return answer
                            data = answer.json()
                    except ProtocolError:  # a proxy's page, say: the prediction goes on
                        misses += 1
                        if misses > _MISSES:
                            raise
                attempt.again()
    except (TransportTimeout, KeyboardInterrupt, SystemExit):
        with contextlib.suppress(HFClientError):  # so that it costs nothing more
            client.send_cancel("POST", candidate.target.resolve_link(_url(data, "cancel")))
        raise
    return answer


def _url(prediction: Mapping[str, Any], name: str) -> str:
    """Return the URL of a prediction to get or cancel it."""
    link = child(prediction, "urls").get(name)
    path = f"/v1/predictions/{id_path(str(prediction.get('id')))}"
    return link if isinstance(link, str) else path + ("/cancel" if name == "cancel" else "")


def _is_result(answer: Answer) -> bool:
    """Return whether an answer is not a prediction, but already its result."""
    if answer.is_media:
        return True
    data = answer.value()
    return not isinstance(data, dict) or not any(key in data for key in ("id", "status", "output", "detail", "urls"))


def _is_done(answer: Answer) -> bool:
    """Return whether the result is there; the status may lag behind it."""
    data = answer.json()
    state = word(data, "status")
    if state == "succeeded" or (data.get("output") not in (None, "", [], {}) and not has_failed(state)):
        return True
    if state in ("starting", "processing"):
        return False
    if data.get("detail"):
        raise generation_error(data)
    raise GenerationError(f"replicate: the prediction is {state!r}")


def try_routes(candidates: Sequence[Candidate], send: Callable[[Candidate], _T]) -> _T:
    """Return the result of *send* for the first of *candidates* whose route the server has.

    They are one server with several protocols. If it has none of the routes, the first error is raised.
    """
    first: NotFoundError | None = None
    for candidate in candidates:
        try:
            return send(candidate)
        except (APIStatusError, Unsupported) as error:
            if first is None and isinstance(error, NotFoundError):
                first = error
            elif first is None or (isinstance(error, APIStatusError) and error.status_code not in _NO_ROUTE):
                raise
    assert first is not None
    raise first
