"""`ProviderClient`: the requests that one call sends to providers."""

from __future__ import annotations

from urllib.parse import urljoin

from attrs import evolve

from hfclient.credentials import origin_of
from hfclient.errors import HFClientError, InvalidInputError, ProtocolError, RateLimitError
from hfclient.inference.providers.results import Answer
from hfclient.inference.routing.failover import ModelLoading, is_loading
from hfclient.redaction.masking import masked
from hfclient.transport import Clock, Request, Session, Timeouts
from hfclient.transport.scope import no_scope

__all__ = ["ProviderClient"]

_FETCHES = 3  # attempts to fetch a result, which has been paid for
_CANCEL_TIMEOUTS = Timeouts(connect=3.0, idle=3.0, first_token=3.0, total=5.0)


class ProviderClient:
    """Sends the requests of one call to its providers, and fetches what their answers link to.

    Args:
        session: Sends them.
        clock: Of the call.

    Attributes:
        headers: For all requests to the current provider.
        request_id: Of the last answer, if the server gave it one.
    """

    def __init__(self, session: Session, clock: Clock) -> None:
        self.session = session
        self.clock = clock
        self.headers: dict[str, str] = {}
        self.request_id: str | None = None

    def send(self, request: Request) -> tuple[Answer, str | None]:
        """Return the whole answer to *request*, and the request's id."""
        self.request_id = None
        headers = {**request.headers, **self.headers}
        response = self.session.send(evolve(request, headers=headers, clock=self.clock, whole="file"))
        self.request_id = response.request_id
        return Answer(response.read("file"), response.content_type), response.request_id

    def send_once(self, request: Request, *, is_last: bool) -> tuple[Answer, str | None]:
        """Return the answer to a request that may be billed: it is repeated only if the provider refused it.

        Args:
            request: It may not be repeated otherwise.
            is_last: There is no other provider. Then a model that is being loaded (503 with an estimated time) is waited for
                until the call's clock ends, and a limit (429) as the session's `Retry` says.
        """
        if is_last:
            request = evolve(request, retry=ModelLoading(self.session.retry), retry_on=_did_nothing)
        return self.send(request)

    def send_cancel(self, method: str, url: str) -> None:
        """Send a request that cancels a job, within some seconds even if the call's time is over; ignore the answer."""
        with no_scope():
            clock = Clock(_CANCEL_TIMEOUTS)
            self.session.send(Request(method=method, url=url, headers=self.headers, clock=clock)).close()

    def fetch(self, url: str, base: str | None = None, *, limit: int | None = None) -> tuple[bytes, str]:
        """Return the content of a link, at most *limit* bytes of it, and its claimed type.

        Credentials and the caller's own headers go along to the host of *base* only.

        Raises:
            ProtocolError: It is not a link, or its content is longer than ``Limits.file``.
            APIStatusError, TransportError: It could not be fetched. The error has the link in ``links``: the file may have
                been paid for.
        """
        try:
            return self._fetch(url, base, limit)
        except HFClientError as error:
            error.links = (*error.links, masked(url))
            raise

    def _fetch(self, url: str, base: str | None, limit: int | None) -> tuple[bytes, str]:
        try:
            url = urljoin(base, url) if base else url  # a server of the caller's own may send a path alone
            url.encode()  # JSON may hold half of a surrogate pair
            is_own = origin_of(url) == (base and origin_of(base))
        except (InvalidInputError, ValueError) as error:
            raise ProtocolError("this link to a file leads nowhere", frame=url[:200]) from error
        session = self.session if is_own else self.session.bare()
        retry = evolve(session.retry, attempts=max(_FETCHES, session.retry.attempts))
        try:
            response = session.send(
                Request.file(url, follow_redirects=True, clock=self.clock, retry=retry, whole="file", max_bytes=limit)
            )
        except InvalidInputError as error:  # the host's name cannot exist
            raise ProtocolError("this link to a file leads nowhere", frame=url[:200]) from error
        self.request_id = response.request_id
        return response.read("file"), response.content_type


def _did_nothing(error: HFClientError) -> bool:
    return isinstance(error, RateLimitError) or is_loading(error)
