"""Logins at a chat-ui: the authentication hook of the chat's session.

Most answers of a chat-ui do not show an expired login. Reads still succeed, with an anonymous user's empty lists; only writes
are refused, with 401 or with a redirect to a login page. The answer to an anonymous request may also set an anonymous session
cookie, so a rotated cookie is checked before it is used for good. ``GET /api/v2/user`` always returns the user; the
hook sends it only when an answer leaves the login unclear.

Reference: docs/protocol/huggingchat ("base url, headers, cookies", "errors").
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from hfclient.chat.legacy.server_errors import is_missing_route
from hfclient.chat.servers.api import ServerApi, as_question
from hfclient.chat.servers.form_origin import origin_flow
from hfclient.chat.wire.endpoints import Endpoints
from hfclient.chat.wire.messages import parse_user
from hfclient.chat.wire.server_errors import HOW_TO_LOG_IN
from hfclient.credentials import (
    HUGGING_CHAT,
    SESSION_COOKIE,
    Credentials,
    Secret,
    is_hugging_face,
    origin_of,
    server_key,
)
from hfclient.errors import (
    APIStatusError,
    AuthenticationError,
    CredentialsError,
    HFClientError,
    NotAChatServer,
    NotFoundError,
    PasswordRequired,
    PermissionDeniedError,
    ProtocolError,
    ServerError,
    SessionExpired,
)
from hfclient.process.forks import reset_after_fork
from hfclient.transport import Request, Session
from hfclient.transport.request import safe_url
from hfclient.transport.session import AuthFlow
from hfclient.transport.status_errors import restated
from hfclient.types import User

__all__ = ["ChatAuth"]

_log = logging.getLogger("hfclient")
_LOGIN_HOSTS = ("huggingface.co", "hf.co")
_PAUSE = 60.0  # seconds after which rotated cookies that were refused, or could not be checked, are checked again
_GENERIC = "An error occurred"


class ChatAuth:
    """The authentication hook of one chat server; a `hfclient.transport.session.Auth`. Threads may share it.

    It chooses the session cookie of a request, sends a request again when an expired login was renewed, explains refusals, and
    checks rotated cookies.

    Args:
        endpoints: The server's paths.
        api: Reads the user, the feature flags and the public configuration, from servers of every version.
    """

    def __init__(self, endpoints: Endpoints, api: ServerApi) -> None:
        self._endpoints = endpoints
        self._api = api
        self._needs_login = urlsplit(endpoints.origin).hostname in _LOGIN_HOSTS  # known to require one for chats
        self._login_enabled: bool | None = True if is_hugging_face(endpoints.base) else None
        self._next_check = 0.0
        self._was_refused = False
        reset_after_fork(self._reset_after_fork)

    def _reset_after_fork(self) -> None:
        self._checking = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_checking": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _next_check=0.0)
        reset_after_fork(self._reset_after_fork)

    def auth_flow(self, request: Request, session: Session) -> AuthFlow:
        """Yield *request* with a session cookie chosen for it, and again if its login has been renewed since.

        A refused request has not been processed, so nothing happens twice.

        Raises:
            CredentialsError: The server requires a login and there is no cookie. Nothing was sent.
            SessionExpired: Cookies were given, and the server does not accept them as a login.
            AuthenticationError: The server requires a login, or refuses the token.
            APIStatusError: Any other status.
        """
        if origin_of(request.url) != self._endpoints.origin:
            yield request
            return
        credentials = session.credentials
        if request.method == "GET":
            self._use_session(credentials)
        elif request.url.startswith(self._endpoints.api_conversations):  # these writes accept a token alone
            self._use_session(credentials, begin=True)
        else:
            self.need_session(credentials)
        credentials.reload_session()
        for renewed in (False, True):
            before = credentials.cookies()
            try:
                with contextlib.nullcontext() if request.method == "GET" else credentials.first_write():
                    response = yield from origin_flow(request, session, self._endpoints, self._api)
            except APIStatusError as error:
                asking = session.with_auth(None)
                if not renewed and (
                    self._has_new_session(before, error, credentials) or self._is_token_for_gateway(request, error, asking)
                ):
                    continue
                if not self._has_expired(request, error, asking):
                    raise self._explained(request, error, asking) from None
                if renewed or not credentials.reload_login():
                    raise self.expired(credentials, error) from None
            else:
                break
        if credentials.has_unconfirmed_cookies:
            try:
                self._check_rotated(session.with_auth(None))
            except BaseException:  # Ctrl-C
                response.close()
                raise

    # The session cookie

    def need_session(self, credentials: Credentials) -> None:
        """Make sure that there is a session cookie to write with, an anonymous one if that will do.

        Raises:
            CredentialsError: This server requires a login and there is no cookie. Nothing was sent.
        """
        if not self._needs_login:
            credentials.use_session(begin=True)
        elif self.lacks_login(credentials):
            have = "a token alone reads and lists but cannot chat; " if credentials.token else ""
            raise CredentialsError(f"HuggingChat needs a login: {have}{HOW_TO_LOG_IN}")

    def lacks_login(self, credentials: Credentials) -> bool:
        """Whether this server is known to require a login and there is no cookie for it."""
        return self._needs_login and not credentials.has_session

    def _use_session(self, credentials: Credentials, *, begin: bool = False) -> None:
        """Take the anonymous session unless a token reads as its user, so that reads and writes have one user.

        A token reads as its user until something was written at the server without it.

        Args:
            begin: Something is written: the session is kept from now on.
        """
        if self._needs_login:
            return
        if credentials.has_session or not credentials.token_reaches_chat or credentials.has_stored_session:
            credentials.use_session(begin=begin)

    def _has_new_session(
        self, before: Mapping[str, Secret], error: APIStatusError, credentials: Credentials
    ) -> bool:
        """Whether the server has refused an anonymous session and set another one with the same answer."""
        if error.status_code != 401 or isinstance(error, PasswordRequired) or credentials.has_login_cookies or not before:
            return False
        credentials.use_session(begin=True)  # it may have ended the old session without a new one
        return credentials.cookies() != before

    def _is_token_for_gateway(self, request: Request, error: APIStatusError, session: Session) -> bool:
        """Whether the token is for a gateway alone: the chat-ui has no login, and fails at a token.

        The server ignores a token next to a session cookie, so from now on there is one.
        """
        if is_hugging_face(self._endpoints.base) or not self._is_token_at_fault(request, error, session):
            return False
        session.credentials.use_session()
        with contextlib.suppress(HFClientError):
            if not self.login_enabled(session):
                return True
        session.credentials.end_anonymous_session()
        return False

    # The user

    def user(self, session: Session) -> User | None:
        """Return the user that the server takes the client for; None for an anonymous one.

        Reference: GET {base}/api/v2/user
        """
        credentials = session.credentials
        cookies = credentials.cookies()
        user = self._user_in(self._endpoints.user(), session)
        if user is None and credentials.reload_login():
            cookies = credentials.cookies()
            user = self._user_in(self._endpoints.user(), session)
        if user is not None and credentials.has_login_cookies and credentials.user_id in (None, user.id):
            credentials.confirm_cookies(cookies, user.id)
        return user

    def _user_in(self, request: Request, session: Session) -> User | None:
        """Return the user in the answer to *request*."""
        try:
            return parse_user(self._api.read(request, session))
        except AuthenticationError as error:
            # An invalid token, or a gateway: the answer is not the server's own "not logged in".
            if error.status_code >= 500 or isinstance(error, PasswordRequired) or self._gateway_wants_login(session):
                raise
            return None

    def _gateway_wants_login(self, session: Session) -> bool:
        """Whether a gateway requires the missing login: a chat-ui answers its health check without one.

        Reference: GET {base}/healthcheck; chat-ui's src/lib/server/hooks/handle.ts exempts it from its own login
        """
        try:
            session.with_auth(None).send(as_question(self._endpoints.health())).close()
        except AuthenticationError:
            return True
        except HFClientError:
            pass
        return False

    def login_enabled(self, session: Session) -> bool:
        """Return whether the server has logins; False if its answer does not show it.

        Raises:
            NotAChatServer: The answer is not a chat-ui's.
            PasswordRequired: A gateway in front of the server requires a user name and a password.

        Reference: GET {base}/api/v2/feature-flags
        """
        if self._login_enabled is None:
            try:
                flags = self._api.read(self._endpoints.features(), session)
                self._login_enabled = isinstance(flags, Mapping) and flags.get("loginEnabled") is True
            except PasswordRequired:
                raise
            except AuthenticationError:  # one that shows nothing before a login
                self._login_enabled = True
            except NotAChatServer:
                raise
            except (NotFoundError, ProtocolError):
                self._login_enabled = False
        return self._login_enabled

    def check_empty_list(self, session: Session) -> bool:
        """Find out whether an empty list is the user's own; True if the login was renewed and the list is worth another look.

        Raises:
            SessionExpired: It is an anonymous user's.
        """
        credentials = session.credentials
        if not credentials.has_login_cookies or not self.login_enabled(session):
            return False
        before = credentials.cookies()
        if self.user(session) is None:
            raise self.expired(credentials)
        return credentials.cookies() != before

    # Errors

    def expired(self, credentials: Credentials, error: APIStatusError | None = None) -> SessionExpired:
        """Return the error for an expired login, with how to renew it; *error* is the answer that showed it."""
        if error is None:  # an answer that was a success, and held nothing
            error = SessionExpired(status_code=200, method="GET", url=safe_url(self._endpoints.user().url))
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
            SessionExpired, error, f"the login has expired, or was ended: to the server this client is not logged in{missing}; {again}"
        )

    @property
    def login_command(self) -> str:
        """The command line that logs in to this server."""
        place = server_key(self._endpoints.base)
        return "hfclient login" if place == HUGGING_CHAT else f"hfclient login --url {place}"

    def _has_expired(self, request: Request, error: APIStatusError, session: Session) -> bool:
        credentials = session.credentials
        if not credentials.has_login_cookies:
            return False
        if isinstance(error, AuthenticationError):
            return error.status_code < 500 and not isinstance(error, PasswordRequired)
        # An anonymous read of a user's conversation is a 403 or a 404; a write is a 401 or a 302.
        if request.method != "GET" or type(error) not in (PermissionDeniedError, NotFoundError) or is_missing_route(error):
            return False
        if request.url in (self._endpoints.user().url, self._endpoints.features().url):
            return False
        try:
            if not self.login_enabled(session) or self._user_in(as_question(self._endpoints.user()), session) is not None:
                return False
        except HFClientError:
            return False
        credentials.restore_cookies(credentials.cookies())  # the answer to an anonymous request may set an anonymous session
        return True

    def _explained(self, request: Request, error: APIStatusError, session: Session) -> APIStatusError:
        credentials = session.credentials
        if isinstance(error, PasswordRequired):
            return error
        if isinstance(error, AuthenticationError) and credentials.has_session:
            if credentials.is_anonymous and credentials.token_reaches_chat and self._gateway_wants_login(session):
                return restated(
                    AuthenticationError,
                    error,
                    "the gateway in front of the server does not accept the token; is it valid, and does its user have access?",
                )
            credentials.end_anonymous_session()  # a server ignores a token next to a cookie
            if not credentials.token_reaches_chat:
                return error
            return restated(
                AuthenticationError,
                error,
                f"this server requires a login; a token alone reads and lists but cannot chat: {HOW_TO_LOG_IN}",
            )
        if self._is_token_at_fault(request, error, session):
            return restated(
                AuthenticationError,
                error,
                "the server does not accept the token: it is not valid, or its user has never logged in to this server "
                'with a browser, or the server could not reach the Hub. Client(token="") sends none',
            )
        is_foreign = type(error) is PermissionDeniedError and "access to this conversation" in error.message
        if is_foreign and credentials.is_anonymous:
            hint = "it belongs to another session than this client's; Client(session=...) chooses the session"
            return restated(PermissionDeniedError, error, f"{error.message} ({hint})")
        return error

    def _is_token_at_fault(self, request: Request, error: APIStatusError, session: Session) -> bool:
        """Whether the server fails because of the token, and not because of this request.

        The server reads a token only if there is no cookie.
        """
        sent = session.credentials.headers_for(request.url)
        if not _is_generic(error) or "Cookie" in sent or not sent.get("Authorization", "").startswith("Bearer "):
            return False
        question = as_question(self._endpoints.user())
        if request.url == question.url:
            return True
        try:
            session.send(question).close()
        except HFClientError as error:
            return _is_generic(error)
        return False

    # Rotated cookies

    def _check_rotated(self, session: Session) -> None:
        """Find out whether new cookies are the same user's; go back to the old ones if not."""
        credentials = session.credentials
        if not self._checking.acquire(blocking=False):
            return
        try:
            cookies = credentials.cookies()
            if time.monotonic() < self._next_check:
                if self._was_refused:
                    credentials.restore_cookies(cookies)
                return
            try:
                user = self._user_in(as_question(self._endpoints.user()), session)
            except HFClientError as error:
                _log.info("the user of the renewed cookies could not be read: %s", error.message)
                self._next_check, self._was_refused = time.monotonic() + _PAUSE, False
                return
            if user is not None and credentials.user_id in (None, user.id):
                credentials.confirm_cookies(cookies, user.id)
                return
            credentials.restore_cookies(cookies)
            self._next_check, self._was_refused = time.monotonic() + _PAUSE, True
            if self._login_enabled is not False:
                _log.warning("the server set the cookie of another user; the login may have expired")
        finally:
            self._checking.release()


def _is_generic(error: HFClientError) -> bool:
    return type(error) is ServerError and error.status_code == 500 and error.message == _GENERIC
