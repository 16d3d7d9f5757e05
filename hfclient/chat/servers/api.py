"""`ServerApi`: reads a chat-ui's v2 API. Servers without one are read through `hfclient.chat.legacy.api`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from hfclient.chat.legacy.server_errors import is_missing_route
from hfclient.chat.wire import superjson
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.server_errors import not_a_chat_server
from hfclient.errors import HFClientError, NotAChatServer, NotFoundError, PermissionDeniedError, ProtocolError
from hfclient.transport import Clock, Request, Response, Session, Timeouts

if TYPE_CHECKING:
    from hfclient.chat.legacy.api import LegacyApi
    from hfclient.chat.legacy.versions import ServerVersion

__all__ = ["ServerApi", "as_question"]

_ASKING = Timeouts(connect=5.0, first_token=10.0, idle=10.0, total=10.0)


class ServerApi:
    """Reads one chat-ui's API. Threads may share it.

    Args:
        endpoints: The server's paths.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._version: ServerVersion | None = None

    def version(self, session: Session) -> ServerVersion:
        """Return the server's version; asked once, and only when it matters.

        Raises:
            NotAChatServer: It is not a chat-ui of any version.
        """
        if self._version is None:  # two threads that ask at once get the same answer
            from hfclient.chat.legacy.versions import detect_version  # not loaded before it is needed

            self._version = detect_version(session.with_auth(None), self._endpoints)
        return self._version

    def read(self, request: Request, session: Session) -> Any:
        """Return the v2 API's answer to *request*, decoded.

        Raises:
            NotAChatServer: The answer is not a chat-ui's.
        """
        if self._version is not None and not self._version.has_v2:
            return self._read_legacy(request, session)
        try:
            return _decoded(session.send(request), request)
        except (NotAChatServer, NotFoundError, PermissionDeniedError) as error:
            if is_missing_route(error) and self._is_without_v2(session, error):
                return self._read_legacy(request, session)
            if isinstance(error, NotFoundError) and not _is_json(error.body):
                legacy = self._legacy(session)
                if legacy.can_replace(request):
                    return legacy.read(request)
            raise

    def _legacy(self, session: Session) -> LegacyApi:
        from hfclient.chat.legacy.api import LegacyApi  # not loaded for today's servers

        return LegacyApi(session, self._endpoints)

    def _read_legacy(self, request: Request, session: Session) -> Any:
        try:
            return self._legacy(session).read(request)
        except ProtocolError:
            self._version = None  # the server may have been upgraded
            raise

    def _is_without_v2(self, session: Session, error: HFClientError) -> bool:
        try:
            return not self.version(session).has_v2
        except NotAChatServer:
            raise error from None


def as_question(request: Request) -> Request:
    """Return *request* with short deadlines and without retries, because another call waits for the answer."""
    return evolve(request, clock=Clock(_ASKING), retryable=False)


def _decoded(response: Response, request: Request) -> Any:
    body = response.read()
    if not body and request.method != "GET":  # the answer to a change of settings is empty
        return None
    try:
        return superjson.loads(body)
    except ProtocolError as error:
        frame = body[:2000].decode("utf-8", "replace") if body.lstrip()[:1] == b"<" else error.frame
        raise not_a_chat_server(response.url, frame) from None


def _is_json(body: str | None) -> bool:
    return (body or "").lstrip().startswith("{")
