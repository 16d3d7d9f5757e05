"""Errors of `hfclient.web`. `hfclient.web.problem` turns these and all other errors of hfclient into responses."""

from __future__ import annotations

from typing import Any

from hfclient.errors import HFClientError

__all__ = ["InvalidRequest", "LimitExceeded", "RunBusy", "RunFailed", "RunGone", "RunNotFound", "StoreUnavailable", "TooManyRuns", "WebError"]


class WebError(HFClientError):
    """The base class of the errors of this package."""


class InvalidRequest(WebError, ValueError):
    """The body or a header of the browser's request cannot be used (400)."""


class RunNotFound(WebError, LookupError):
    """There is no run with this id, or it belongs to another user (404 in both cases)."""


class RunGone(WebError, LookupError):
    """The run's time to live has passed (410). The answer is not generated again."""


class RunBusy(WebError):
    """Another run with the same key has not ended yet (409).

    Attributes:
        run_id: The id of that run.
    """

    def __init__(self, message: str = "", *, run_id: str | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id


class RunFailed(WebError):
    """The run ended with an error, perhaps in another process.

    Attributes:
        problem: The error as the process that generated the answer described it: ``status``, ``code``, ``title``, ...
    """

    def __init__(self, message: str = "", *, problem: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = problem or {}


class StoreUnavailable(WebError):
    """The store of the runs, or of the limits, cannot be reached (503)."""


class TooManyRuns(WebError):
    """This process generates as many answers as it may, or shuts down (503).

    Attributes:
        retry_after: Seconds until another attempt makes sense.
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LimitExceeded(WebError):
    """A limit of the application, not of the provider, is used up (429).

    Attributes:
        retry_after: Seconds until the limit admits the request.
        scope: Which limit: ``"requests"``, ``"tokens"`` or ``"credits"``.
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None, scope: str | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.scope = scope
