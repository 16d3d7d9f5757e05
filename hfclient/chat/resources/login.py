"""``client.login``: save a login for other processes, or log out. No password is needed."""

from __future__ import annotations

import logging
import time

from hfclient.chat.servers.service import ChatService
from hfclient.credentials import LoginStore, SavedLogin, origin_of
from hfclient.errors import APIStatusError, AuthenticationError, CredentialsError, HFClientError
from hfclient.transport import Response
from hfclient.types import User

__all__ = ["Login"]

_log = logging.getLogger("hfclient")


class Login:
    """The login of a client: check it, save it, log out. The command ``hfclient login`` uses this.

    client = Client(cookies="browser:firefox")
    print(client.login.save().username)   # from now on Client() finds it
    """

    def __init__(self, service: ChatService) -> None:
        self._service = service

    def __repr__(self) -> str:
        return f"<Login {self._service.endpoints.origin}>"

    @property
    def enabled(self) -> bool:
        """Whether the server has a login; without one all users are anonymous, and may chat.

        Reference: GET {base}/api/v2/feature-flags
        """
        return self._service.auth.login_enabled(self._service.session)

    @property
    def missing(self) -> bool:
        """Whether the server is known to require a login and this client has no cookie for it. Sends nothing.

        Only HuggingChat is known to; other servers say so when they are asked (:attr:`enabled`).
        """
        return self._service.auth.lacks_login(self._service.session.credentials)

    @property
    def page(self) -> str:
        """The page where a browser logs in."""
        return f"{self._service.endpoints.base}/login"

    def save(self) -> User:
        """Save the client's cookies for this user of the machine, after the server has confirmed them.

        Later clients of the same server use them, unless they are given others. Rotated cookies are saved as well.

        Returns:
            The user who is logged in.

        Raises:
            CredentialsError: There are no cookies to save, the server has no login, or the file cannot be written.
            SessionExpired: The server does not accept the cookies as a login. Nothing was saved.

        Reference: GET {base}/api/v2/user
        """
        credentials = self._service.session.credentials
        if not credentials.has_login_cookies:
            raise CredentialsError("there is no login to save: pass Client(cookies=...) first")
        user = self._service.auth.user(self._service.session)
        if user is None and not self.enabled:
            raise CredentialsError("this server has no login: anonymous users may chat there, and there is nothing to save")
        if user is None:
            raise self._service.auth.expired(credentials)
        store = LoginStore.find()
        if store is None:
            raise CredentialsError("this user has no home folder to save a login in; set HFCLIENT_HOME to a folder")
        store.put(
            self._service.endpoints.base, SavedLogin(credentials.cookies(), user.id, user.username, saved_at=time.time())
        )
        credentials.link_saved_login(store, user.id)
        return user

    def log_out(self) -> bool:
        """Log out: tell the server, drop the cookies, and forget the saved login if it is this one.

        A browser from which the session cookie was copied is logged out of the chat too: it is the same session. A client
        without a login forgets its anonymous session: this client and later ones are a new user.

        Returns:
            Whether the server confirmed the logout; if it cannot be reached, the cookies are forgotten all the same.

        Raises:
            CredentialsError: The saved login, or the session, cannot be removed.

        Reference: POST {base}/logout
        """
        credentials = self._service.session.credentials
        store = LoginStore.find()
        saved = store.get(self._service.endpoints.base) if store is not None else None
        confirmed = False
        if credentials.has_login_cookies:
            confirmed = self._log_out_at_server()
            same = saved is not None and (
                saved.user_id == credentials.user_id or saved.cookies == credentials.cookies()
            )
            if store is not None and same:
                store.remove(self._service.endpoints.base)
            credentials.clear_cookies()
        else:
            credentials.forget_session()
        return confirmed

    def _log_out_at_server(self) -> bool:
        try:
            response = self._service.session.with_auth(None).send(self._service.endpoints.logout())
        except APIStatusError as error:
            if self._leads_to_start(error):
                return True
            problem: HFClientError = error
        except HFClientError as error:
            problem = error
        else:
            return self._is_done(response)
        _log.info("the server could not be reached for the logout: %s", problem.message)
        return False

    def _leads_to_start(self, error: APIStatusError) -> bool:
        """Whether this is the redirect to the start page, with which a chat-ui confirms a logout."""
        base = self._service.endpoints.base
        target = error.location
        if target is None or isinstance(error, AuthenticationError):
            return False
        return origin_of(target) == origin_of(base) and not target.endswith("/logout")

    @staticmethod
    def _is_done(response: Response) -> bool:
        """Whether an answer with status 200 is an older server's confirmation, and not a page or another API's error."""
        try:
            data = response.read()
        except HFClientError:
            return False
        return not data.lstrip().startswith((b"<", b'{"error"', b'{"detail"'))
