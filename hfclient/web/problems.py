"""Errors as answers to a browser: status, headers and a JSON body that show nothing internal.

The browser talks to the application, not to the service behind it. So a status of the service is passed on only if it means the
same to the browser: 404 for a model, 413, 429. The service's 401 and 403 concern the application's own login there: the browser
would ask its user for a password, or log the user out, so both become 502.

Reference: RFC 9457 (problem details), RFC 9110 section 15 (status codes) and section 10.2.3 (Retry-After)
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from hfclient import errors
from hfclient.web import errors as web

__all__ = ["KINDS", "Kind", "Problem", "log_problem", "problem"]

_LONGEST_WAIT = 31 * 86_400  # seconds in Retry-After; a longer wait is not a wait


@frozen
class Kind:
    """How errors of one class are shown.

    Attributes:
        status: HTTP status, 400 to 599.
        code: A stable name for programs, such as ``"rate-limited"``.
        title: A sentence for users, without anything from the server.
        why: Why this status is right for the application's browser.
    """

    status: int
    code: str
    title: str
    why: str = ""


@frozen
class Problem:
    """An error as a response.

    Attributes:
        status: HTTP status.
        headers: ``Content-Type``, ``Cache-Control`` and, if waiting helps, ``Retry-After``.
        body: ``type``, ``title``, ``status``, ``code``; ``retry_after`` in whole seconds; ``run`` with `RunBusy`; ``scope`` with
            `LimitExceeded`; ``detail`` if it was asked for.
    """

    status: int
    headers: dict[str, str]
    body: dict[str, Any] = field(hash=False)

    @property
    def code(self) -> str:
        """The stable name of the kind of error."""
        return str(self.body["code"])

    def json(self) -> str:
        """Return the body as JSON in ASCII."""
        return json.dumps(self.body)


_LATER = "Please try again later."

KINDS: Mapping[type[BaseException], Kind] = {
    # Other exceptions
    BaseException: Kind(500, "internal-error", "Something went wrong.", "a bug of the application, or of a library"),
    errors.HFClientError: Kind(500, "internal-error", "Something went wrong.", "a class that this table does not know"),
    # The request cannot be sent
    errors.InvalidInputError: Kind(
        400, "invalid-input", "This request cannot be answered as it is.", "an empty prompt or a bad file; the user can change it"
    ),
    errors.Unsupported: Kind(
        400, "unsupported", "The model cannot do this.", "the user chose a model or an option that do not fit together"
    ),
    errors.CredentialsError: Kind(
        500, "misconfigured", "The application is not set up correctly.", "the application has no token or cookie; the user cannot help"
    ),
    errors.MissingDependencyError: Kind(
        500, "misconfigured", "The application is not set up correctly.", "the application lacks a package"
    ),
    errors.LocalServerError: Kind(
        500, "misconfigured", "The application is not set up correctly.", "the embedded server did not start"
    ),
    errors.ConversationBusy: Kind(
        409, "busy", "Another answer in this conversation has not ended yet.", "the state of the conversation; it changes by itself"
    ),
    errors.StreamConsumed: Kind(500, "internal-error", "Something went wrong.", "a bug: one stream was read twice"),
    errors.Cancelled: Kind(
        503, "cancelled", "The answer was stopped.", "the application stopped it, as in a shutdown; it can be asked again"
    ),
    # The answer is not what was asked for
    errors.ParseError: Kind(
        502, "invalid-answer", "The model's answer cannot be used. Please try again.", "the model wrote something else"
    ),
    errors.TooManyRounds: Kind(
        502, "too-many-rounds", "The model did not come to an answer. Please try again.", "the model called tools without end"
    ),
    # Without a response of the service
    errors.TransportError: Kind(
        503, "service-unreachable", f"The service cannot be reached. {_LATER}", "the application works, the service behind it does not"
    ),
    errors.ConnectError: Kind(
        503, "service-unreachable", f"The service cannot be reached. {_LATER}", "the application works, the service behind it does not"
    ),
    errors.TransportTimeout: Kind(
        504, "timeout", "The answer took too long. Please try again.", "what a gateway says when the server behind it is late"
    ),
    errors.StreamInterrupted: Kind(
        502, "interrupted", "The answer broke off. Please try again.", "what a gateway says when the server behind it fails"
    ),
    errors.ProtocolError: Kind(
        502, "invalid-response", f"The service sent something unexpected. {_LATER}", "the literal meaning of 502"
    ),
    errors.NotAChatServer: Kind(
        502, "invalid-response", f"The service sent something unexpected. {_LATER}", "the application's base URL is wrong"
    ),
    # Responses of the service
    errors.APIStatusError: Kind(502, "service-error", f"The service failed. {_LATER}", "a status that means nothing to the browser"),
    errors.BadRequestError: Kind(
        400, "bad-request", "The service does not accept this request.", "usually the prompt: too long, or content that is refused"
    ),
    errors.AuthenticationError: Kind(
        502, "service-login", f"The application is not logged in to the service. {_LATER}", "its login, not the browser's: never 401"
    ),
    errors.PasswordRequired: Kind(
        502, "service-login", f"The application is not logged in to the service. {_LATER}", "its login, not the browser's: never 401"
    ),
    errors.SessionExpired: Kind(
        502, "service-login-expired", "The login to the service has expired.", "the cookie of the service, not of the application"
    ),
    errors.CreditsExhausted: Kind(
        402, "credits-exhausted", "The service has no credits left.", "browsers attach no behaviour to 402, and users know what it means"
    ),
    errors.PermissionDeniedError: Kind(
        502, "service-forbidden", "The application has no access to this.", "its account lacks a right; the browser's user may have all"
    ),
    errors.CloudflareChallenge: Kind(
        502, "service-blocked", f"The service cannot be reached. {_LATER}", "a bot check stopped the application, not the browser"
    ),
    errors.NotFoundError: Kind(
        404, "not-found", "This does not exist.", "the conversation or file that the browser asked for does not exist"
    ),
    errors.ModelNotFound: Kind(404, "model-not-found", "This model does not exist.", "the browser asked for this model"),
    errors.ModelGone: Kind(
        404, "model-gone", "This model is no longer available.", "410 would say that the application's own page was removed"
    ),
    errors.ConflictError: Kind(409, "conflict", "This was changed in the meantime.", "the same meaning to the browser"),
    errors.RequestTooLargeError: Kind(413, "too-large", "This request is too large.", "the same meaning to the browser"),
    errors.RateLimitError: Kind(
        429, "rate-limited", "Too many requests. Please wait a moment.", "the browser has to wait, whichever server counts"
    ),
    errors.ConversationLimit: Kind(
        429, "conversation-limit", "There are too many conversations or messages.", "without Retry-After: waiting does not help"
    ),
    errors.ServerError: Kind(
        502, "service-error", f"The service failed. {_LATER}", "the application works, the service does not; its 503 and 504 are kept"
    ),
    errors.GenerationError: Kind(
        502, "generation-failed", "The model failed. Please try again.", "by the status that the service reports, if it reports one"
    ),
    # hfclient.web
    web.WebError: Kind(500, "internal-error", "Something went wrong.", "a class that this table does not know"),
    web.InvalidRequest: Kind(400, "invalid-request", "This request is not valid.", "the browser sent it"),
    web.RunNotFound: Kind(404, "run-not-found", "This answer does not exist.", "404 also for the answer of another user"),
    web.RunGone: Kind(410, "run-gone", "This answer is no longer kept.", "it was here and will not return"),
    web.RunBusy: Kind(409, "busy", "Another answer in this conversation has not ended yet.", "follow that one, or wait for its end"),
    web.RunFailed: Kind(502, "run-failed", "The answer failed. Please try again.", "by the problem that the run ended with"),
    web.StoreUnavailable: Kind(503, "store-unavailable", f"Answers cannot be kept at the moment. {_LATER}", "a part that returns"),
    web.TooManyRuns: Kind(503, "too-many-runs", f"There are too many answers at the moment. {_LATER}", "another worker, or a moment later"),
    web.LimitExceeded: Kind(
        429, "limit-exceeded", "Your limit is used up. Please wait.", "the literal meaning of 429, with the application's own count"
    ),
}
"""The kind of problem for each class of error; a class that is not listed has that of its nearest base class.

`problem` takes additions and replacements: ``problem(error, kinds={MyError: Kind(422, "my-code", "My sentence.")})``.
"""

_BY_STATUS: dict[int, Kind] = {
    400: KINDS[errors.BadRequestError],
    401: KINDS[errors.AuthenticationError],
    402: KINDS[errors.CreditsExhausted],
    403: KINDS[errors.PermissionDeniedError],
    404: KINDS[errors.ModelNotFound],
    408: KINDS[errors.TransportTimeout],
    410: KINDS[errors.ModelGone],
    413: KINDS[errors.RequestTooLargeError],
    422: KINDS[errors.BadRequestError],
    429: KINDS[errors.RateLimitError],
    503: Kind(503, "service-busy", f"The service is overloaded. {_LATER}"),
    504: KINDS[errors.TransportTimeout],
}
"""What a status means that is known only after the answer began (`GenerationError`), or among the 5xx (`ServerError`)."""


def problem(
    error: BaseException,
    *,
    details: bool = False,
    kinds: Mapping[type[BaseException], Kind] | None = None,
    titles: Mapping[str, object] | None = None,
) -> Problem:
    """Return *error* as a response: status, headers and the JSON of RFC 9457.

    Args:
        error: Any exception; one that is not of hfclient is a 500.
        details: Add ``detail``, the text of the error. It names hosts, may quote the server, and advises the operator: only for
            users who may see that.
        kinds: Additions to `KINDS`, or replacements, by class. For a class of `KINDS` it replaces the choice by status, too.
        titles: Other titles by code, such as translations; ``str()`` is called on the value now, so lazy translations work.

    Reference: RFC 9457; RFC 9110, section 10.2.3
    """
    body: dict[str, Any] = {"type": "about:blank"}
    if isinstance(error, web.RunFailed) and (given := _reported(error.problem, titles)):
        body.update(given)
        status, wait = given["status"], given.get("retry_after")
    else:
        kind = _kind_of(error, kinds or {})
        status, wait = kind.status, _wait(error)
        body.update(title=_title(kind, titles), status=status, code=kind.code)
        if isinstance(error, web.RunBusy) and error.run_id:
            body["run"] = error.run_id
        if isinstance(error, web.LimitExceeded) and error.scope:
            body["scope"] = error.scope
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    if wait is not None:
        body["retry_after"] = wait
        headers["Retry-After"] = str(wait)
    if details and (detail := _detail(error)):
        body["detail"] = detail
    return Problem(status, headers, body)


def log_problem(logger: logging.Logger, error: BaseException, what: str, status: int | None = None) -> None:
    """Log what the browser does not see of *error*: a mistake of the application, or of hfclient, with its traceback.

    Args:
        logger: Of the framework.
        error: The error.
        what: What became of the answer: "failed" or "was refused".
        status: That of its problem; 500 is a mistake.
    """
    if isinstance(error, errors.HFClientError) and status != 500:
        logger.warning("an answer %s: %s: %s", what, type(error).__name__, error)
    else:
        logger.error("an answer failed: %s", type(error).__name__, exc_info=error)


def _kind_of(error: BaseException, own: Mapping[type[BaseException], Kind]) -> Kind:
    for cls in type(error).__mro__:
        if cls in own:
            return own[cls]
        if cls in (errors.ServerError, errors.GenerationError):
            status = getattr(error, "status_code", None)
            if isinstance(status, int) and (status >= 500 or cls is errors.GenerationError) and status in _BY_STATUS:
                return _BY_STATUS[status]
        if cls in KINDS:
            return KINDS[cls]
    return KINDS[BaseException]


def _title(kind: Kind, titles: Mapping[str, object] | None) -> str:
    return str((titles or {}).get(kind.code, kind.title))


def _wait(error: BaseException) -> int | None:
    """Return the seconds for Retry-After: whole, at least 1, or None."""
    if isinstance(error, errors.ConversationLimit):
        return None
    return _seconds(getattr(error, "retry_after", None)) if isinstance(error, errors.HFClientError) else None


def _seconds(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        return None
    return int(max(1, math.ceil(min(value, _LONGEST_WAIT))))


def _reported(given: object, titles: Mapping[str, object] | None) -> dict[str, Any] | None:
    """Return the problem that another process stored for a run, or None if it is not a problem."""
    if not isinstance(given, dict):
        return None
    status, code, title = (given.get(name) for name in ("status", "code", "title"))
    if not (isinstance(status, int) and 400 <= status <= 599 and isinstance(code, str) and isinstance(title, str)):
        return None
    found: dict[str, Any] = {"title": str((titles or {}).get(code, title)), "status": status, "code": code}
    if (wait := _seconds(given.get("retry_after"))) is not None:
        found["retry_after"] = wait
    return found


def _detail(error: BaseException) -> str:
    if isinstance(error, web.RunFailed) and isinstance(error.problem.get("detail"), str):
        return str(error.problem["detail"])
    if isinstance(error, errors.HFClientError):
        return str(error)
    # As the messages of hfclient: one line, without secrets and control characters.
    return errors.HFClientError(f"{type(error).__name__}: {error}").message
