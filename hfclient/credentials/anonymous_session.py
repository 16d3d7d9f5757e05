"""How `Credentials` use an anonymous session: when it is created, reloaded, renewed and dropped.

`session_store` stores it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping

from hfclient.credentials.cookie_matching import SESSION_COOKIE
from hfclient.credentials.secret import Secret
from hfclient.credentials.session_store import AnonymousSession
from hfclient.errors import CredentialsError

__all__ = ["SessionCookies"]

_log = logging.getLogger("hfclient")


class SessionCookies:
    """The base of `Credentials`: the chat server's cookies, which may be those of an anonymous session."""

    _lock: threading.Lock

    def __init__(self, cookies: Mapping[str, Secret] | None, session: AnonymousSession | None) -> None:
        self._cookies = dict(cookies or {})
        self._session = session or AnonymousSession()
        self._is_anonymous = False  # the cookies are the anonymous session's
        self._is_stored = False  # and the session is stored
        self._has_written = False  # and the server has accepted it, or replaced it
        self._is_confirmed = False  # the server has set the session cookie by its usual name

    @property
    def is_anonymous(self) -> bool:
        """Whether the cookies are the anonymous session's."""
        return self._is_anonymous

    @property
    def token_reaches_chat(self) -> bool:
        """Whether a token is sent to the chat server."""
        raise NotImplementedError

    @property
    def has_stored_session(self) -> bool:
        """Whether an anonymous session has been used for a write, in this process or another one."""
        return self._is_stored or self._session.exists()

    def use_session(self, *, begin: bool = False) -> None:
        """Use the anonymous session if there are no cookies. chat-ui accepts any value as a new session.

        Args:
            begin: A write follows: store the session.
        """
        with self._lock:
            if self._cookies and (not self._is_anonymous or self._is_stored or not begin):
                return
            self._cookies, self._is_stored = self._session.load_or_create() if begin else self._session.peek()
            self._is_anonymous, self._is_confirmed = True, False

    def set_session(self, value: Secret) -> None:
        """Use the anonymous session with this value; the caller stores it."""
        with self._lock:
            self._cookies = {SESSION_COOKIE: value}
            self._is_anonymous = self._is_stored = True

    def reload_session(self) -> None:
        """Load the cookies that another process has stored for the same anonymous session since."""
        with self._lock:  # a thread that finds no change has those that another one found
            if self._is_anonymous and (news := self._session.changes()) is not None:
                self._cookies.update(news)
                self._is_stored = True

    @contextlib.contextmanager
    def first_write(self) -> Iterator[None]:
        """Let one process at a time send the first write of an anonymous session.

        A server may replace a session that it does not know. Processes that start at the same time would each get a different
        session. So the second process waits, and uses the session that the first one got.
        """
        if not self._is_stored or self._has_written:
            yield
            return
        with self._session.exclusive():
            self.reload_session()
            yield
            self._has_written = True

    def end_anonymous_session(self) -> None:
        """Drop the anonymous session that the server refused, so that the token is used again; other cookies stay.

        A session with which this client has written stays, because its conversations belong to it. A session that the server
        never accepted is deleted from the store, unless it was stored before and no token replaces it.
        """
        with self._lock:
            if not self._is_anonymous or self._has_written:
                return
            cookies = dict(self._cookies)
            is_useless = self._is_stored and not self._is_confirmed and (self._session.is_new or self.token_reaches_chat)
            self._drop_session()
        if is_useless:
            self._forget(cookies)

    def forget_session(self) -> bool:
        """Drop the anonymous session here and in the store; False if it does not exist.

        Raises:
            CredentialsError: The file of sessions cannot be changed.
        """
        with self._lock:
            was_here = self._is_stored
            if self._is_anonymous:
                self._drop_session()
        return self._session.forget() or was_here

    def _drop_session(self) -> None:
        # The caller holds the lock.
        self._cookies.clear()
        self._is_anonymous = self._is_stored = self._has_written = False

    def _forget(self, cookies: Mapping[str, Secret]) -> None:
        try:
            self._session.forget(cookies)
        except CredentialsError as error:
            _log.info("%s", error.message)

    def _keep_session(self, before: Mapping[str, Secret], after: dict[str, Secret]) -> None:
        if SESSION_COOKIE in before and SESSION_COOKIE not in after:
            with self._lock:
                self._drop_session()
            self._forget(self._identity(before))
            return
        who = self._identity(after)
        if who != self._identity(before):
            theirs = self._session.renew(before, who)
            if theirs is not None:
                with self._lock:
                    self._cookies.update(theirs)

    def _identity(self, cookies: Mapping[str, Secret]) -> dict[str, Secret]:
        """Return the cookies that identify the user: all of them until the server sets the session cookie."""
        return {name: value for name, value in cookies.items() if name == SESSION_COOKIE or not self._is_confirmed}
