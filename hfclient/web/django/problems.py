"""`problem_response`: an error as a response of Django."""

from __future__ import annotations

import logging

from django.http import HttpResponse

from hfclient.web.problems import Problem, log_problem, problem

__all__ = ["problem_response"]

_log = logging.getLogger("hfclient.web")


def problem_response(error: BaseException, described: Problem | None = None) -> HttpResponse:
    """Return *error* as a response with its status and ``application/problem+json``, and log it. The text of the error is in the log only.

    Args:
        error: Any exception; one that is not of hfclient is a 500.
        described: What `hfclient.web.problem` returned for it, with options; None takes the default.
    """
    made = described if described is not None else problem(error)
    log_problem(_log, error, "was refused", made.status)
    return HttpResponse(made.json(), status=made.status, headers=made.headers)
