"""The header Origin of forms: a chat-ui accepts its own origin only, which may differ from the base URL's."""

from __future__ import annotations

import re
from collections.abc import Generator

from attrs import evolve

from hfclient.chat.servers.api import ServerApi, as_question
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.server_errors import is_foreign_origin
from hfclient.credentials import host_origin
from hfclient.errors import HFClientError, PermissionDeniedError
from hfclient.transport import Request, Response, Session
from hfclient.transport.status_errors import restated

__all__ = ["origin_flow", "public_origin"]

_PAGE = 64 * 1024  # bytes of the server's page that are searched for its origin
_OG_URL = re.compile(rb'<meta property="og:url" content="([^"<>]{1,300})"')


def origin_flow(
    request: Request, session: Session, endpoints: Endpoints, api: ServerApi
) -> Generator[Request, Response, Response]:
    """Yield *request*, and one that is refused for its Origin again with the server's own origin.

    The server checks the Origin before it processes anything, so nothing happens twice.

    Reference: chat-ui's src/lib/server/hooks/handle.ts ("CSRF protection"), seen 2026-11-28
    """
    try:
        return (yield request)
    except PermissionDeniedError as error:
        if not is_foreign_origin(error):
            raise
        refused: PermissionDeniedError = error
    sent = request.headers.get("Origin", "")
    own = public_origin(session.with_auth(None), endpoints, api)
    if own is not None and own != sent and not _sets_origin(session):
        try:
            response = yield evolve(request, headers={**request.headers, "Origin": own})
        except PermissionDeniedError as error:
            if not is_foreign_origin(error):
                raise
            refused = error
        else:
            endpoints.form_origin = own
            return response
    raise restated(
        PermissionDeniedError,
        refused,
        f"{refused.message.rstrip('.')}: the server accepts messages from its own origin only. The header Origin was "
        f"{sent or 'empty'}, the server's origin is {own or 'not known'}. Use the server's own URL, or "
        'Client(headers={"Origin": "https://its.own.name"}); on the server, set PUBLIC_ORIGIN or ORIGIN to the address in use',
    )


def public_origin(session: Session, endpoints: Endpoints, api: ServerApi) -> str | None:
    """Return the server's own origin, or None.

    Without the setting PUBLIC_ORIGIN the server's page has the value of ORIGIN.

    Reference: GET {base}/api/v2/public-config; ``og:url`` in chat-ui's src/routes/+layout.svelte, seen 2026-11-28
    """
    try:
        config = api.read(as_question(endpoints.public_config()), session)
        return host_origin(config["PUBLIC_ORIGIN"])
    except (HFClientError, TypeError, KeyError, AttributeError):
        pass
    try:
        page = session.send(as_question(endpoints.page())).read_start(_PAGE)
        named = _OG_URL.search(page)
        return host_origin(named[1].decode("ascii")) if named else None
    except (HFClientError, UnicodeDecodeError):
        return None


def _sets_origin(session: Session) -> bool:
    """Whether the caller's headers set the origin."""
    return any(name.lower() in ("origin", "host") for name in session.headers)
