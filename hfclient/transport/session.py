"""What every request goes through, whichever library carries it: credentials, deadlines, status codes, retries.

Credentials are added here, by URL, at the last moment before a request leaves, and again for every redirect that is
followed; 3xx, 4xx and 5xx raise here, at the call.
"""

from __future__ import annotations

import copy
import logging
import random
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

from attrs import Attribute, evolve, field, frozen

from hfclient._version import __version__
from hfclient.credentials import (
    Credentials,
    Secret,
    hidden_header,
    host_origin,
    is_space,
    one_spelling,
    origin_of,
    without_user_info,
)
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    ConnectError,
    HFClientError,
    InvalidInputError,
    TransportError,
    TransportTimeout,
)
from hfclient.redaction.masking import said
from hfclient.transport.auth import Auth
from hfclient.transport.base import Request, Response, Transport
from hfclient.transport.deadline import Deadline, Timeouts
from hfclient.transport.limits import Limits
from hfclient.transport.status_errors import error_for, is_bot_check, safe_url

__all__ = ["Retry", "Session"]

_log = logging.getLogger("hfclient")
_PYTHON = ".".join(map(str, sys.version_info[:3]))
_REDIRECTS = 5
_P = TypeVar("_P", Timeouts, "Retry", Limits)
_HARMLESS = {"accept", "accept-encoding", "accept-language", "range", "user-agent"}


def _not_negative(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if value is None and attribute.name == "resume":
        return
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and value >= 0):
        raise InvalidInputError(f"Retry.{attribute.name} must not be negative: {value!r}")


def _statuses(value: Iterable[int]) -> frozenset[int]:
    found = frozenset(value) if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) else None
    if found is None or not all(isinstance(status, int) for status in found):
        raise InvalidInputError(f"Retry.statuses are several HTTP status codes, such as {{429, 503}}, not {value!r}")
    return found


@frozen(kw_only=True)
class Retry:
    """When and how often a request that may be repeated is repeated.

    Reads may, and inference before its first token. Everything else, a chat turn above all, is repeated only while
    nothing can have reached the server.

    Attributes:
        attempts: At most so many tries in all; 1 never repeats.
        backoff: Seconds before the second try; doubled for each further one, with jitter of half its size.
        max_wait: Most seconds of one wait. A server that asks for more is not waited for: its error is raised.
        statuses: Answers worth another try, besides connections that fail.
        resume: Seconds without anything new after which a chat gives up: on going on with an answer whose connection
            broke, and on finding out what became of a message whose connection broke while it was being sent. At least
            two looks are taken. None never gives up; ``Timeouts.total`` ends it earlier.
    """

    attempts: int = field(default=3, validator=_not_negative)
    backoff: float = field(default=0.5, validator=_not_negative)
    max_wait: float = field(default=30.0, validator=_not_negative)
    statuses: frozenset[int] = field(default=frozenset({408, 429, 502, 503, 504}), converter=_statuses)
    resume: float | None = field(default=20.0, validator=_not_negative)

    def wait_before(self, attempt: int, error: HFClientError) -> float | None:
        """Return the seconds to wait before try number *attempt* (2 is the first repeat); None to give up."""
        if attempt > self.attempts:
            return None
        if isinstance(error, APIStatusError):
            if error.status not in self.statuses:
                return None
            if error.retry_after is not None:
                return error.retry_after if error.retry_after <= self.max_wait else None
        elif isinstance(error, TransportTimeout):
            if error.deadline != "connect":
                return None
        elif not isinstance(error, ConnectError):
            return None
        wait = min(self.max_wait, self.backoff * 2.0 ** min(attempt - 2, 64))
        return wait * (0.5 + random.random() / 2)  # noqa: S311 (jitter, not a secret)


class Session:
    """One caller's way to the network: a transport, credentials and policy. May be shared by threads.

    Args:
        transport: Carries the requests.
        credentials: Added to requests that go where they belong.
        timeouts: Deadlines, unless a request has its own.
        retry: Policy for requests that may be repeated.
        headers: Sent with every request, under those of the request itself.
        limits: How much of an answer may be held in memory.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 (immutable)
        retry: Retry = Retry(),
        headers: Mapping[str, str] | None = None,
        limits: Limits = Limits(),  # noqa: B008 (immutable)
    ) -> None:
        self.transport = transport
        self.credentials = credentials
        self.timeouts = _of(Timeouts, "timeouts", timeouts)
        self.retry = _of(Retry, "retry", retry)
        self.limits = _of(Limits, "limits", limits)
        self.refine: Callable[[APIStatusError], HFClientError] | None = None
        self.auth: Auth | None = None
        own = {"Accept": "*/*"}
        # A transport that looks like a browser has a User-Agent that fits its handshake: ours would give it away.
        if not getattr(transport, "has_browser_headers", False):
            own["User-Agent"] = f"hfclient/{__version__}; python/{_PYTHON}"
        self.headers = _merged(own, {name: hidden_header(name, value) for name, value in (headers or {}).items()})

    def with_credentials(self, credentials: Credentials) -> Session:
        """Return a session with other credentials over the same transport and with the same policy."""
        other = copy.copy(self)
        other.credentials = credentials
        return other

    def with_auth(self, auth: Auth | None) -> Session:
        """Return a session that asks *auth* about each request and its answer, with all else as it is; None asks nothing."""
        other = copy.copy(self)
        other.auth = auth
        return other

    def with_refining(self, refine: Callable[[APIStatusError], HFClientError] | None) -> Session:
        """Return a session whose status errors go through *refine*, before the request's own ``refine`` sees them."""
        other = copy.copy(self)
        other.refine = refine
        return other

    def with_retry(self, retry: Retry) -> Session:
        """Return a session with another policy over the same transport and with the same credentials."""
        other = copy.copy(self)
        other.retry = retry
        return other

    def bare(self) -> Session:
        """Return a session for places that are none of the caller's: without credentials and without the caller's headers."""
        other = self.with_credentials(Credentials())
        other.refine = other.auth = None
        other.headers = {name: value for name, value in self.headers.items() if name.lower() in _HARMLESS}
        return other

    def deadlines(self, given: Timeouts | None) -> Timeouts:
        """Return the deadlines of a call that was *given* some, or none.

        Raises:
            InvalidInputError: It is something else, such as a number of seconds.
        """
        return self.timeouts if given is None else _of(Timeouts, "timeouts", given)

    def send(self, request: Request) -> Response:
        """Return the answer to *request*, a 2xx.

        Raises:
            APIStatusError: Any other status, as the subclass that fits.
            TransportError: No answer came, or not in time.
            Cancelled: The request's cancellation said so.
        """
        deadline = Deadline(request.timeouts or self.timeouts, stream=request.stream)
        flow = self.auth.auth_flow(request, self) if self.auth is not None else None
        try:
            if flow is not None:
                request = next(flow)
            attempt = 1
            while True:
                try:
                    response = self._attempt(request, deadline)
                except (TransportError, APIStatusError) as error:
                    error.attempts = attempt
                    wait = self._wait_before(attempt + 1, request, error, deadline)
                    if wait is not None:
                        attempt += 1
                    else:
                        refined = self._hinted(request, error, self._refined(request, error))
                        if flow is not None and isinstance(refined, APIStatusError):
                            request, attempt, wait = flow.throw(refined), 1, 0.0
                        elif refined is not error:
                            raise refined from None
                        else:
                            raise
                else:
                    if flow is None:
                        return response
                    try:
                        request, attempt, wait = flow.send(response), 1, 0.0
                    except StopIteration:
                        return response
                if request.cancellation is not None:
                    request.cancellation.pause(wait)
                elif wait:
                    time.sleep(wait)
                deadline.begin_attempt()
        finally:
            if flow is not None:
                flow.close()

    def _wait_before(
        self, attempt: int, request: Request, error: TransportError | APIStatusError, deadline: Deadline
    ) -> float | None:
        """Return the seconds to wait before try number *attempt* of *request*, or None if there is to be no further try."""
        if isinstance(error, TransportError):
            error.method, error.url = request.method, said(safe_url(request.url))
        may_repeat = request.retryable or (isinstance(error, TransportError) and not error.sent)
        wait = self.retry.wait_before(attempt, error) if may_repeat else None
        left = deadline.remaining()
        if wait is None or (left is not None and wait >= left):
            return None
        _log.info("%s %s: %s; again in %.2f s", request.method, safe_url(request.url), error.message, wait)
        return wait

    def _refined(self, request: Request, error: TransportError | APIStatusError) -> HFClientError:
        for refine in (self.refine, request.refine):
            if refine is not None and isinstance(error, APIStatusError):
                refined = refine(error)
                if not isinstance(refined, APIStatusError):
                    return refined
                error = refined
        return error

    def _hinted(self, request: Request, error: HFClientError, refined: HFClientError) -> HFClientError:
        """Return *refined* with why the token did not go along, if that may be the reason."""
        if not isinstance(error, APIStatusError):
            return refined
        is_gate = isinstance(refined, AuthenticationError) or 300 <= error.status < 400
        is_page = error.status in (403, 404) and ((error.body or "").lstrip().startswith("<") or is_space(request.url))
        if (is_gate or is_page) and (hint := self.credentials.withheld_from(request.url)):
            refined.message = f"{refined.message}; {hint}"
            refined.args = (refined.message,)
        return refined

    def _attempt(self, request: Request, deadline: Deadline) -> Response:
        """Send *request* once, follow redirects, and return the answer if it is a success."""
        home = origin_of(request.url)
        url, login = without_user_info(request.url)
        request = evolve(request, url=one_spelling(url))
        for _ in range(_REDIRECTS):
            is_home = origin_of(request.url) == home
            credentials = self.credentials.headers_for(request.url)
            if is_home and login is not None:
                credentials["Authorization"] = login
            headers = self._headers(request, credentials, is_home=is_home)
            started = time.monotonic()
            if request.cancellation is not None:
                request.cancellation.check()
            response = self.transport.open(request, headers, deadline)
            response.limits = self.limits
            if _log.isEnabledFor(logging.DEBUG):
                took = time.monotonic() - started
                _log.debug("%s %s: %d in %.3f s", request.method, safe_url(request.url), response.status, took)
            # A 401 ends an anonymous session, or renews it; to a login it means that the server takes this session for another user.
            counts = _is_success(response) or (response.status == 401 and not self.credentials.claims_login)
            if counts and "Cookie" in credentials:
                self.credentials.keep_cookies(request.url, response.headers.all("set-cookie"))
            if _is_success(response):
                return response if request.whole is None else _held(response, request)
            target = self._redirect_target(request, response)
            if target is None:
                raise error_for(response, with_password=credentials.get("Authorization", "").startswith("Basic "))
            response.close()
            request = request.at(one_spelling(without_user_info(target)[0]))
        raise APIStatusError(
            f"more than {_REDIRECTS} redirects",
            status=response.status,
            method=request.method,
            url=safe_url(request.url),
        )

    def _headers(self, request: Request, credentials: Mapping[str, Secret], *, is_home: bool) -> dict[str, str]:
        """Return all headers of *request*. Those of the caller go to the first place only, not along with a redirect."""
        headers = _merged(self.headers, request.headers)
        if not is_home:
            headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
        own = {}
        origin = origin_of(request.url)
        if (named := host_origin(origin)) != origin:  # libcurl would leave the dot at its end, requests would not
            own["Host"] = named.partition("://")[2]
        content = {}
        if request.body is not None and not isinstance(request.body, bytes):
            content["Content-Type"] = request.body.content_type
        headers = _merged(own, headers, credentials, content)
        for value in headers.values():
            if isinstance(value, Secret):
                value.note_use()
        return headers

    def _redirect_target(self, request: Request, response: Response) -> str | None:
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
            if request.follow_redirects or (same_origin and here == there and target != request.url):  # but for a slash
                return target
        return target if same_origin and response.status in (307, 308) else None

    def close(self) -> None:
        """Close idle connections; the session opens new ones when it is used again."""
        self.transport.close()


def _of(kind: type[_P], name: str, given: object) -> _P:
    """Return *given* if it is of that kind: a number in its place would fail somewhere far from here."""
    if not isinstance(given, kind):
        example = {Timeouts: "total=30", Retry: "attempts=1"}.get(kind, "...")
        raise InvalidInputError(f"{name} is {kind.__name__}({example}), not {given!r}")
    return given


def _held(response: Response, request: Request) -> Response:
    assert request.whole is not None
    try:
        if request.cancellation is None:
            response.hold(request.whole)
        else:
            with request.cancellation.waking(response.abort):
                response.hold(request.whole)
    except BaseException:
        response.close()
        raise
    return response


def _is_success(response: Response) -> bool:
    return response.status < 300 and not is_bot_check(response.headers)


def _merged(*layers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of all *layers*, of which later ones win, however they write a name."""
    found = {name.lower(): (name, value) for layer in layers for name, value in layer.items()}
    return dict(found.values())


