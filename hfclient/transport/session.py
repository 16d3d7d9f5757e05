"""`Session`: credentials, deadlines, status codes, redirects and retries, the same for every HTTP library.

Credentials are added here, by URL, just before a request is sent, and again for every redirect that is followed. A 3xx, 4xx
or 5xx raises here, at the call.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Callable, Generator, Mapping
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

from attrs import evolve

from hfclient._version import __version__
from hfclient.credentials import (
    Credentials,
    Secret,
    hidden_header,
    host_origin,
    is_space,
    normalize_url,
    origin_of,
    without_user_info,
)
from hfclient.display import shorten
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    HFClientError,
    InvalidInputError,
    TransportError,
)
from hfclient.redaction.masking import sanitized
from hfclient.transport.base import Transport
from hfclient.transport.deadline import Clock, Deadline, Timeouts
from hfclient.transport.limits import Limits
from hfclient.transport.request import Request, safe_url
from hfclient.transport.response import Response
from hfclient.transport.retry import Retry, retrying
from hfclient.transport.retry_after import watching
from hfclient.transport.status_errors import error_for, is_bot_check

__all__ = ["Auth", "AuthFlow", "Session"]

_log = logging.getLogger("hfclient")
_PYTHON = ".".join(map(str, sys.version_info[:3]))
_REDIRECTS = 5
_P = TypeVar("_P", Timeouts, Retry, Limits)
_HARMLESS = {"accept", "accept-encoding", "accept-language", "range", "user-agent"}


AuthFlow = Generator[Request, Response, None]


class Auth(Protocol):
    """An authentication hook, in the shape of httpx's: prepares credentials, sends again after a renewal, explains a refusal."""

    def auth_flow(self, request: Request, session: Session) -> AuthFlow:
        """Yield the request to send. Each ``yield`` returns the answer, a 2xx, or raises the `APIStatusError` instead.

        After an error the flow yields another request, or raises the error for the caller of `Session.send`. After an answer
        it returns. Any other error closes the generator.

        Args:
            request: The caller's request.
            session: The session that sends it. The hook's own requests use ``session.with_auth(None)``.
        """


class Session:
    """Sends requests over a transport, with credentials, deadlines and retries. Threads may share it.

    Args:
        transport: The HTTP library.
        credentials: Added to requests to their own origins.
        timeouts: Deadlines of requests that have no clock of their own.
        retry: For requests that may be repeated.
        headers: Sent with every request; those of the request itself override them.
        limits: How much of an answer may be held in memory.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 (immutable)
        retry: Retry = Retry(),  # noqa: B008 (immutable)
        headers: Mapping[str, str] | None = None,
        limits: Limits = Limits(),  # noqa: B008 (immutable)
    ) -> None:
        self.transport = transport
        self.credentials = credentials
        self.timeouts = _of(Timeouts, "timeouts", timeouts)
        self.retry = _of(Retry, "retry", retry)
        self.limits = _of(Limits, "limits", limits)
        self.refine: Callable[[APIStatusError], HFClientError] | None = None
        self._last_headers: tuple[tuple[Any, ...], dict[str, tuple[str, str]]] | None = None
        self.auth: Auth | None = None
        own = {"Accept": "*/*"}
        # A transport that impersonates a browser has a User-Agent that fits its TLS handshake.
        if not getattr(transport, "has_browser_headers", False):
            own["User-Agent"] = f"hfclient/{__version__}; python/{_PYTHON}"
        self.headers = _merged(own, {name: hidden_header(name, value) for name, value in (headers or {}).items()})

    def with_options(
        self, *, transport: Transport | None = None, timeouts: Timeouts | None = None, retry: Retry | None = None
    ) -> Session:
        """Return a session with other options; those that are None, and everything else, are the same."""
        other = copy.copy(self)
        other.transport = self.transport if transport is None else transport
        other.timeouts = self.deadlines(timeouts)
        other.retry = self.retry if retry is None else _of(Retry, "retry", retry)
        return other

    def with_credentials(self, credentials: Credentials) -> Session:
        """Return a session with other credentials; everything else is the same."""
        other = copy.copy(self)
        other.credentials = credentials
        return other

    def with_auth(self, auth: Auth | None) -> Session:
        """Return a session with another authentication hook, or with none; everything else is the same."""
        other = copy.copy(self)
        other.auth = auth
        return other

    def with_refining(self, refine: Callable[[APIStatusError], HFClientError] | None) -> Session:
        """Return a session that passes status errors to *refine*, before the request's own ``refine``."""
        other = copy.copy(self)
        other.refine = refine
        return other

    def bare(self) -> Session:
        """Return a session for foreign origins: without credentials and without the caller's headers."""
        other = self.with_credentials(Credentials())
        other.refine = other.auth = None
        other.headers = {name: value for name, value in self.headers.items() if name.lower() in _HARMLESS}
        return other

    def deadlines(self, given: Timeouts | None) -> Timeouts:
        """Return *given*, or the session's deadlines if it is None.

        Raises:
            InvalidInputError: It is something else, such as a number of seconds.
        """
        return self.timeouts if given is None else _of(Timeouts, "timeouts", given)

    def clock(self, timeouts: Timeouts | None, *, total: float | None = None) -> Clock:
        """Return the clock of a call, started now.

        Args:
            timeouts: Those of the call; None takes the session's.
            total: ``Timeouts.total`` of a call without one.

        Raises:
            InvalidInputError: *timeouts* is something else, such as a number of seconds.
        """
        timeouts = self.deadlines(timeouts)
        return Clock(timeouts if timeouts.total is not None or total is None else evolve(timeouts, total=total))

    def send(self, request: Request) -> Response:
        """Return the answer to *request*, a 2xx; redirects that may be followed are.

        Raises:
            APIStatusError: Any other status, as the subclass that fits.
            TransportError: No response arrived, or not in time.
            Cancelled: The call was cancelled.
        """
        clock = request.clock or Clock(self.timeouts)
        flow = None if self.auth is None else self.auth.auth_flow(request, self)
        try:
            if flow is not None:
                request = next(flow)
            while True:
                try:
                    for attempt in retrying(request.retry or self.retry, clock, on=request.may_repeat, what=request):
                        with attempt:
                            deadline = Deadline(clock, stream=request.stream)
                            url = normalize_url(without_user_info(request.url)[0])
                            hop = request if url == request.url else evolve(request, url=url)
                            for _ in range(_REDIRECTS):
                                headers, credentials = self._headers(hop, request)
                                clock.cancellation.check()
                                response = self.transport.open(hop, headers, deadline)
                                target = self._redirect(hop, response, credentials)
                                if target is None:
                                    break
                                response.close()
                                hop = hop.at(target)
                            else:
                                raise APIStatusError(
                                    f"more than {_REDIRECTS} redirects",
                                    status_code=response.status,
                                    method=hop.method,
                                    url=safe_url(hop.url),
                                )
                            if request.whole is not None:
                                _hold(response, request.whole, request.max_bytes)
                except (TransportError, APIStatusError) as error:
                    error.attempts = attempt.number
                    refined = self._refined(request, error)
                    if flow is not None and isinstance(refined, APIStatusError):
                        request = flow.throw(refined)
                    elif refined is not error:
                        raise refined from None
                    else:
                        raise
                else:
                    if flow is None:
                        return response
                    try:
                        request = flow.send(response)
                    except StopIteration:
                        return response
        except KeyboardInterrupt as interrupt:
            shorten(interrupt)
            raise
        finally:
            if flow is not None:
                flow.close()

    def _refined(self, request: Request, error: TransportError | APIStatusError) -> HFClientError:
        """Return *error* with its request; a status error as the service's own, more specific one.

        If a withheld token may be the reason, the message says why the token was not sent.
        """
        if isinstance(error, TransportError):
            error.method, error.url = request.method, sanitized(safe_url(request.url))
            return error
        refined: HFClientError = error
        for refine in (self.refine, request.refine):
            if refine is not None and isinstance(refined, APIStatusError):
                refined = refine(refined)
        is_gate = isinstance(refined, AuthenticationError) or 300 <= error.status_code < 400
        is_page = error.status_code in (403, 404) and ((error.body or "").lstrip().startswith("<") or is_space(request.url))
        if (is_gate or is_page) and (hint := self.credentials.missing_token_hint(request.url)):
            refined.message = f"{refined.message}; {hint}"
            refined.args = (refined.message,)
        return refined

    def _headers(self, hop: Request, first: Request) -> tuple[dict[str, str], Mapping[str, str]]:
        """Return all headers of *hop*, credentials included, and the credentials alone.

        Args:
            hop: The caller's request, or the redirect of it that is followed.
            first: The caller's request.
        """
        credentials = self.credentials.headers_for(hop.url)
        origin = origin_of(hop.url)
        first_origin = origin if hop.url == first.url else origin_of(first.url)
        found = dict(self._plain_headers(hop, origin, is_foreign=origin != first_origin))
        if origin == first_origin and (login := without_user_info(first.url)[1]) is not None:
            credentials["Authorization"] = login
        found.update((name.lower(), (name, value)) for name, value in credentials.items())
        if hop.body is not None and not isinstance(hop.body, bytes):
            found["content-type"] = ("Content-Type", hop.body.content_type)
        headers = dict(found.values())
        for value in headers.values():
            if isinstance(value, Secret):
                value.mark_used()
        return headers, credentials

    def _plain_headers(self, hop: Request, origin: str, *, is_foreign: bool) -> dict[str, tuple[str, str]]:
        """Return the headers of *hop* without credentials, with their names, by name in lower case.

        Args:
            hop: The request, which most often has the headers of the one before it: then they are not merged again.
            origin: Its origin.
            is_foreign: Another one than that of the caller's request.
        """
        key = (self.headers, origin, is_foreign, tuple(hop.headers.items()))
        last = self._last_headers
        if last is not None and last[0][0] is self.headers and last[0][1:] == key[1:]:
            return last[1]
        headers = _merged(self.headers, hop.headers)
        if is_foreign:  # the caller's own headers are for the first origin only, not for a redirect
            headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
        own = {}
        if (named := host_origin(origin)) != origin:  # libcurl leaves a dot at the end of the host, other libraries do not
            own["Host"] = named.partition("://")[2]
        found = {name.lower(): (name, value) for name, value in _merged(own, headers).items()}
        self._last_headers = key, found
        return found

    def _redirect(self, request: Request, response: Response, credentials: Mapping[str, str]) -> str | None:
        """Return the URL that an answer redirects to; None for a success, whose cookies are kept.

        Raises:
            APIStatusError: It is neither a success nor a redirect that may be followed.
        """
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s: %d after %.3f s", request, response.status, response.deadline.clock.elapsed)
        response.limits = self.limits
        is_success = response.status < 300 and not is_bot_check(response.headers)
        # A 401 ends an anonymous session, or renews it; for a login it means that the session cookie is another user's.
        if "Cookie" in credentials and (is_success or (response.status == 401 and not self.credentials.has_login_cookies)):
            self.credentials.keep_cookies(request.url, response.headers.all("set-cookie"))
        if is_success and (watch := watching.get()) is not None:
            watch(response.headers)
        target = None if is_success else _redirect_target(request, response)
        if target is None and not is_success:
            raise error_for(response, with_password=credentials.get("Authorization", "").startswith("Basic "))
        return None if target is None else normalize_url(without_user_info(target)[0])

    def close(self) -> None:
        """Close idle connections; the session opens new ones when it is used again."""
        self.transport.close()


def _of(kind: type[_P], name: str, given: object) -> _P:
    """Return *given* if it is of that type: a number in its place would fail much later."""
    if not isinstance(given, kind):
        example = {Timeouts: "total=30", Retry: "attempts=1"}.get(kind, "...")
        raise InvalidInputError(f"{name} is {kind.__name__}({example}), not {given!r}")
    return given


def _redirect_target(request: Request, response: Response) -> str | None:
    """Return the URL that an answer redirects to, if that may be followed."""
    location = response.headers.get("location")
    if not location or response.status not in (301, 302, 303, 307, 308):
        return None
    try:
        target = urljoin(request.url, location)
        same_origin = origin_of(target) == origin_of(request.url)
    except (ValueError, InvalidInputError):
        return None
    if request.method == "GET":
        here, there = urlsplit(request.url).path.rstrip("/"), urlsplit(target).path.rstrip("/")
        if request.follow_redirects or (same_origin and here == there and target != request.url):  # a slash
            return target
    return target if same_origin and response.status in (307, 308) else None


def _hold(response: Response, within: Literal["body", "file"], max_bytes: int | None) -> None:
    """Read the whole body, so that a broken response raises here, where the request can be retried."""
    try:
        with response.deadline.clock.cancellation.waking(response.abort):
            response.buffer(within, max_bytes)
    except BaseException as error:
        response.close()
        if isinstance(error, HFClientError):
            error.request_id = error.request_id or response.request_id
        raise


def _merged(*layers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of all *layers*; later ones override earlier ones, in whatever case a name is written."""
    found = {name.lower(): (name, value) for layer in layers for name, value in layer.items()}
    return dict(found.values())


