"""Whom the server takes a client for, and what to say when that is nobody.

A chat-ui seldom says that a login has expired. Reads go on to succeed, with a stranger's empty lists; only what writes is
refused, with 401 or with a redirect to a login page. And an answer to a stranger may set a stranger's cookie, so what the
server rotates is looked into before it counts. The one question that is always answered is ``GET /api/v2/user``; it is
asked here, and only where something is in doubt.

Reference: docs/protocol/huggingchat ("base url, headers, cookies", "errors").
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve

from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.failures import HOW_TO_LOG_IN, is_foreign_origin, is_missing_route
from hfclient.chat.wire.messages import parse_user
from hfclient.credentials import (
    HUGGING_CHAT,
    SESSION_COOKIE,
    Secret,
    host_origin,
    is_hugging_face,
    place_of,
)
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    HFClientError,
    NotAChatServer,
    NotFoundError,
    PasswordRequired,
    PermissionDeniedError,
    ProtocolError,
    ServerError,
    SessionExpired,
)
from hfclient.process.forks import renew_in_children
from hfclient.transport import Request, Response, Session, Timeouts
from hfclient.transport.status_errors import restated, safe_url
from hfclient.types import User

__all__ = ["Identity"]

_log = logging.getLogger("hfclient")
_ASKING = Timeouts(connect=5.0, first_token=10.0, idle=10.0, total=10.0)
_PAUSE = 60.0  # seconds before a doubt that could not be settled, or was settled badly, is asked about again
_PAGE = 64 * 1024  # bytes of the server's page, in which its name is looked for
_OG_URL = re.compile(rb'<meta property="og:url" content="([^"<>]{1,300})"')
_GENERIC = "An error occurred"


class Identity:
    """Carries one client's requests to its chat server, and notices when they are no longer taken for its user's.

    Threads may share it.

    Args:
        session: The way to the network.
        endpoints: The server's paths.
        read: Returns what the server answers to a request, decoded; it knows how servers of every age are asked, and
            comes back here to send.
    """

    def __init__(self, session: Session, endpoints: Endpoints, read: Callable[[Request], Any]) -> None:
        self._session = session
        self._endpoints = endpoints
        self._read = read
        self._login_enabled: bool | None = True if is_hugging_face(endpoints.base) else None
        self._not_before = 0.0
        self._refused = False
        self._renew()
        renew_in_children(self)

    def _renew(self) -> None:
        self._settling = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_settling": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _not_before=0.0)
        self._renew()
        renew_in_children(self)

    def send(self, request: Request) -> Response:
        """Send *request* with the client's credentials.

        Where a saved login has expired that another process has renewed, the renewed one is taken and the request sent
        again: it was refused at the door, so nothing happens twice.

        Raises:
            SessionExpired: Cookies were given, and the server takes their bearer for nobody.
            AuthenticationError: The server wants a login, or refuses the token.
            APIStatusError, TransportError: As `Session.send` does.
        """
        credentials = self._session.credentials
        credentials.follow_session()
        for renewed in (False, True):
            before = credentials.cookies()
            try:
                with contextlib.nullcontext() if request.method == "GET" else credentials.first_write():
                    response = self._carry(request)
            except APIStatusError as error:
                if not renewed and (self._has_new_session(before, error) or self._is_visitor(request, error)):
                    continue
                if not self._has_expired(request, error):
                    raise self._explained(request, error) from None
                if renewed or not credentials.reload():
                    raise self.expired(error) from None
            else:
                break
        if credentials.rotated:
            try:
                self._settle()
            except BaseException:  # Ctrl-C
                response.close()
                raise
        return response

    def _has_new_session(self, before: Mapping[str, Secret], error: APIStatusError) -> bool:
        """Whether the server has refused an anonymous session and set another one with the same answer."""
        credentials = self._session.credentials
        if error.status != 401 or isinstance(error, PasswordRequired) or credentials.claims_login or not before:
            return False
        credentials.use_session(begin=True)  # it may have ended the old one without setting another
        return credentials.cookies() != before

    def _is_visitor(self, request: Request, error: APIStatusError) -> bool:
        """Whether the token is for a gate alone: the chat-ui behind it has no login, and fails at a token that it sees.

        It looks at none next to a session cookie, so from now on there is one.
        """
        if is_hugging_face(self._endpoints.base) or not self._is_about_token(request, error):
            return False
        self._session.credentials.use_session()
        with contextlib.suppress(HFClientError):
            if not self.login_enabled():
                return True
        self._session.credentials.end_anonymous_session()
        return False

    def _carry(self, request: Request) -> Response:
        """Send *request*; a form that is refused for its Origin once more, with the name that the server gives itself.

        It is refused before anything is looked at, so nothing happens twice.

        Reference: chat-ui's src/lib/server/hooks/handle.ts ("CSRF protection"), seen 2026-11-28
        """
        try:
            return self._session.send(request)
        except PermissionDeniedError as error:
            if not is_foreign_origin(error):
                raise
            refused: PermissionDeniedError = error
        sent = request.headers.get("Origin", "")
        own = self._public_origin()
        if own is not None and own != sent and not self._is_named_by_caller:
            try:
                response = self._session.send(evolve(request, headers={**request.headers, "Origin": own}))
            except PermissionDeniedError as error:
                if not is_foreign_origin(error):
                    raise
                refused = error
            else:
                self._endpoints.form_origin = own
                return response
        raise restated(
            PermissionDeniedError,
            refused,
            f"{refused.message.rstrip('.')}: the server takes messages under its own name only, the header Origin said "
            f"{sent or 'nothing'}, and the server {f'gives its name as {own}' if own else 'does not say what its name is'}. "
            'Use the URL by which it knows itself, or Client(headers={"Origin": "https://its.own.name"}); on the server, set '
            "PUBLIC_ORIGIN or ORIGIN to the address that is used",
        )

    def _public_origin(self) -> str | None:
        """Return the name that the server gives itself, or None.

        Its page names it, too, and says what the setting ORIGIN is where there is no PUBLIC_ORIGIN.

        Reference: GET {base}/api/v2/public-config; ``og:url`` in chat-ui's src/routes/+layout.svelte, seen 2026-11-28
        """
        try:
            config = self._read(evolve(self._endpoints.public_config(), timeouts=_ASKING, retryable=False))
            return host_origin(config["PUBLIC_ORIGIN"])
        except (HFClientError, TypeError, KeyError, AttributeError):
            pass
        try:
            page = self._session.send(evolve(self._endpoints.page(), timeouts=_ASKING)).read_start(_PAGE)
            named = _OG_URL.search(page)
            return host_origin(named[1].decode("ascii")) if named else None
        except (HFClientError, UnicodeDecodeError):
            return None

    @property
    def _is_named_by_caller(self) -> bool:
        """Whether the caller's headers say what the server's name is."""
        return any(name.lower() in ("origin", "host") for name in self._session.headers)

    # Who we are

    def user(self) -> User | None:
        """Return whom the server takes the client for; None for nobody.

        Reference: GET {base}/api/v2/user
        """
        credentials = self._session.credentials
        cookies = credentials.cookies()
        user = self._ask()
        if user is None and credentials.reload():
            cookies = credentials.cookies()
            user = self._ask()
        if user is not None and credentials.claims_login and credentials.user_id in (None, user.id):
            credentials.confirm(cookies, user.id)
        return user

    def _ask(self, timeouts: Timeouts | None = None) -> User | None:
        """Ask; with *timeouts* once and no more, because a call of somebody else waits for it."""
        try:
            request = evolve(self._endpoints.user(), timeouts=timeouts, retryable=timeouts is None)
            return parse_user(self._read(request))
        except AuthenticationError as error:
            # A token that is no good, or something in front of the server: it was not the server that said "nobody".
            if error.status >= 500 or isinstance(error, PasswordRequired) or self._is_behind_gate():
                raise
            return None

    def _is_behind_gate(self) -> bool:
        """Whether a missing login is that of something in front of the server: a chat-ui says to everybody how it is.

        Reference: GET {base}/healthcheck; chat-ui's src/lib/server/hooks/handle.ts exempts it from its own login
        """
        try:
            self._session.send(evolve(self._endpoints.health(), timeouts=_ASKING, retryable=False)).close()
        except AuthenticationError:
            return True
        except HFClientError:
            pass
        return False

    def login_enabled(self) -> bool:
        """Return whether the server has a login at all; False where it does not say.

        Raises:
            NotAChatServer: What answered is no chat-ui.
            PasswordRequired: Something in front of the server wants a user name and a password.

        Reference: GET {base}/api/v2/feature-flags
        """
        if self._login_enabled is None:
            try:
                flags = self._read(self._endpoints.features())
                self._login_enabled = isinstance(flags, Mapping) and flags.get("loginEnabled") is True
            except PasswordRequired:
                raise
            except AuthenticationError:  # one that lets nobody see anything before a login
                self._login_enabled = True
            except NotAChatServer:
                raise
            except (NotFoundError, ProtocolError):
                self._login_enabled = False
        return self._login_enabled

    def check_empty_list(self) -> bool:
        """Find out whether an empty list is the user's or a stranger's; True if another look is worth it.

        Raises:
            SessionExpired: It is a stranger's.
        """
        credentials = self._session.credentials
        if not credentials.claims_login or not self.login_enabled():
            return False
        before = credentials.cookies()
        if self.user() is None:
            raise self.expired()
        return credentials.cookies() != before

    # What went wrong

    def expired(self, error: APIStatusError | None = None) -> SessionExpired:
        """Return the error for a login that is none any more, with how to renew it; *error* is what showed it."""
        if error is None:  # an answer that was a success, and held nothing
            error = SessionExpired(status=200, method="GET", url=safe_url(self._endpoints.user().url))
        credentials = self._session.credentials
        missing = ""
        if is_hugging_face(self._endpoints.base):
            names = [name for name in (SESSION_COOKIE, "token") if name not in credentials.cookies()]
            if names:
                verb = "is" if len(names) == 1 else "are"
                missing = f" (HuggingChat wants two cookies; {' and '.join(map(repr, names))} {verb} missing)"
        again = f'run "{self.login_command}"' if credentials.is_saved else (
            f'take its cookies from the browser again, once that is logged in, or run "{self.login_command}"'
        )
        return restated(
            SessionExpired, error, f"the login has expired, or was ended: the server takes it for nobody's{missing}; {again}"
        )

    @property
    def login_command(self) -> str:
        """The command that logs in to this server."""
        place = place_of(self._endpoints.base)
        return "hfclient login" if place == HUGGING_CHAT else f"hfclient login --url {place}"

    def _has_expired(self, request: Request, error: APIStatusError) -> bool:
        if not self._session.credentials.claims_login:
            return False
        if isinstance(error, AuthenticationError):
            return error.status < 500 and not isinstance(error, PasswordRequired)
        # To a stranger who reads, a conversation of ours is somebody else's, or not there; to write is a 401 or a 302.
        if request.method != "GET" or type(error) not in (PermissionDeniedError, NotFoundError) or is_missing_route(error):
            return False
        if request.url in (self._endpoints.user().url, self._endpoints.features().url):
            return False
        try:
            return self.login_enabled() and self._ask(_ASKING) is None
        except HFClientError:
            return False

    def _explained(self, request: Request, error: APIStatusError) -> APIStatusError:
        credentials = self._session.credentials
        if isinstance(error, PasswordRequired):
            return error
        if isinstance(error, AuthenticationError) and credentials.has_session:
            if credentials.is_anonymous and credentials.token_reaches_chat and self._is_behind_gate():
                return restated(
                    AuthenticationError,
                    error,
                    "what stands in front of the server does not accept the token; is it valid, and may its user come here?",
                )
            credentials.end_anonymous_session()  # next to a cookie a token would count for nothing from now on
            if not credentials.token_reaches_chat:
                return error
            return restated(
                AuthenticationError,
                error,
                f"this server wants a login; a token alone reads and lists but cannot chat: {HOW_TO_LOG_IN}",
            )
        if self._is_about_token(request, error):
            return restated(
                AuthenticationError,
                error,
                "the server does not accept the token: it is not valid, or its user has never logged in to this server "
                'with a browser, or the Hub could not be asked. Client(token="") goes without one',
            )
        is_foreign = type(error) is PermissionDeniedError and "access to this conversation" in error.message
        if is_foreign and credentials.is_anonymous:
            hint = "it belongs to another session than this client's; Client(session=...) says which one to be"
            return restated(PermissionDeniedError, error, f"{error.message} ({hint})")
        return error

    def _is_about_token(self, request: Request, error: APIStatusError) -> bool:
        """Whether it is the token that makes the server fail, and not this request.

        It looks at a token where there is no cookie.
        """
        sent = self._session.credentials.headers_for(request.url)
        if not _is_generic(error) or "Cookie" in sent or not sent.get("Authorization", "").startswith("Bearer "):
            return False
        question = evolve(self._endpoints.user(), timeouts=_ASKING, retryable=False)
        if request.url == question.url:
            return True
        try:
            self._session.send(question).close()
        except HFClientError as error:
            return _is_generic(error)
        return False

    # What the server rotates

    def _settle(self) -> None:
        """Find out whether new cookies are the same user's; go back to the old ones if not."""
        credentials = self._session.credentials
        if not self._settling.acquire(blocking=False):
            return
        try:
            cookies = credentials.cookies()
            if time.monotonic() < self._not_before:
                if self._refused:
                    credentials.restore(cookies)
                return
            try:
                user = self._ask(_ASKING)
            except HFClientError as error:
                _log.info("whose the renewed cookies are could not be asked: %s", error.message)
                self._not_before, self._refused = time.monotonic() + _PAUSE, False
                return
            if user is not None and credentials.user_id in (None, user.id):
                credentials.confirm(cookies, user.id)
                return
            credentials.restore(cookies)
            self._not_before, self._refused = time.monotonic() + _PAUSE, True
            if self._login_enabled is not False:
                _log.warning("the server set a cookie of somebody else; the login may have expired")
        finally:
            self._settling.release()


def _is_generic(error: HFClientError) -> bool:
    return type(error) is ServerError and error.status == 500 and error.message == _GENERIC
