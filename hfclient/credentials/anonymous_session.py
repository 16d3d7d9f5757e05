"""How `Credentials` use an anonymous session: when one is begun, followed, renewed and given up.

Where it is kept is `sessions.py`.
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

__all__ = ["AnonymousSessionMixin"]

_log = logging.getLogger("hfclient")


class AnonymousSessionMixin:
    """The base of `Credentials` that does it."""

    _lock: threading.Lock
    _session: AnonymousSession
    _cookies: dict[str, Secret]
    _is_anonymous: bool  # the cookies are the anonymous session's
    _is_stored: bool  # and it is kept
    _has_written: bool  # and the server has taken it, or given another one
    _is_confirmed: bool  # the server has set the session cookie by its usual name

    @property
    def is_anonymous(self) -> bool:
        """Whether the cookies are the anonymous session's."""
        return self._is_anonymous

    @property
    def token_reaches_chat(self) -> bool:
        """Whether there is a token that goes to the chat server."""
        raise NotImplementedError

    @property
    def has_stored_session(self) -> bool:
        """Whether there is an anonymous session that something was written with, here or in another process."""
        return self._is_stored or self._session.exists()

    def use_session(self, *, begin: bool = False) -> None:
        """Take the anonymous session if there is no cookie: to chat-ui any value is a session of its own.

        Args:
            begin: Something is written with it: from now on it is kept.
        """
        with self._lock:
            if self._cookies and (not self._is_anonymous or self._is_stored or not begin):
                return
            self._cookies, self._is_stored = self._session.load_or_create() if begin else self._session.peek()
            self._is_anonymous, self._is_confirmed = True, False

    def set_session(self, value: Secret) -> None:
        """Be the anonymous session with this value, which is kept elsewhere."""
        with self._lock:
            self._cookies = {SESSION_COOKIE: value}
            self._is_anonymous = self._is_stored = True

    def reload_session(self) -> None:
        """Take over what another process has kept of the same anonymous session since, if that is what we have."""
        if not self._is_anonymous:
            return
        news = self._session.changes()
        if news is not None:
            with self._lock:
                if self._is_anonymous:
                    self._cookies.update(news)
                    self._is_stored = True

    @contextlib.contextmanager
    def first_write(self) -> Iterator[None]:
        """Let one process at a time send the first write of an anonymous session.

        A server may answer to a session that it does not know with another one. Processes that start at once would be given
        one each; so the second waits for what the first is given, and takes that.
        """
        if not self._is_stored or self._has_written:
            yield
            return
        with self._session.exclusive():
            self.reload_session()
            yield
            self._has_written = True

    def end_anonymous_session(self) -> None:
        """Drop the anonymous session that was refused, so that a token counts again; other cookies stay.

        One with which the server has taken something of this client stays: what was made with it must be found. One that it
        has never accepted is not kept any longer, unless it was kept before and there is no token to take its place.
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
        """Drop the anonymous session here, and for all programs to come; False if there was none.

        Raises:
            CredentialsError: The file that keeps it cannot be changed.
        """
        with self._lock:
            was_here = self._is_stored
            if self._is_anonymous:
                self._drop_session()
        return self._session.forget() or was_here

    def _drop_session(self) -> None:
        # With the lock held.
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
        """Return the cookies that tell users apart; all of them as long as the server has not set the one that we know."""
        return {name: value for name, value in cookies.items() if name == SESSION_COOKIE or not self._is_confirmed}
