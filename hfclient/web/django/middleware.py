"""`ProblemMiddleware`: errors of hfclient that a view raises become responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse

from hfclient import HFClientError
from hfclient.web.django.problems import problem_response
from hfclient.web.problems import Problem, problem

__all__ = ["ProblemMiddleware"]


class ProblemMiddleware:
    """Answers an `HFClientError` of a view with its status and ``application/problem+json``, under WSGI and ASGI.

        MIDDLEWARE = [..., "hfclient.web.django.middleware.ProblemMiddleware"]

    All other exceptions are the application's own, and stay with Django. For other sentences, such as translations, override
    `problem` in a subclass.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)  # under ASGI a coroutine, which Django awaits

    def process_exception(self, request: HttpRequest, exception: BaseException) -> HttpResponse | None:
        """Return the response for an error of hfclient; None leaves the exception to Django."""
        if not isinstance(exception, HFClientError):
            return None
        return problem_response(exception, self.problem(exception))

    def problem(self, error: HFClientError) -> Problem:
        """Return *error* as a response of any framework; see `hfclient.web.problem`."""
        return problem(error)
