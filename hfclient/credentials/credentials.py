"""`Credentials`: what one client may show to whom."""

from __future__ import annotations

import logging
import os
import re
import threading
import weakref
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from hfclient.credentials.anonymous_session import AnonymousSessionMixin
from hfclient.credentials.cookie_matching import SESSION_COOKIE, Cookie, display_name, parse_set_cookie
from hfclient.credentials.cookies import CookiesLike, find_cookies_with_paths
from hfclient.credentials.origins import (
    base_path,
    is_deployment,
    is_hugging_face,
    is_space,
    origin_of,
    path_matches,
    without_user_info,
)
from hfclient.credentials.saved_logins import LoginStore
from hfclient.credentials.secret import Secret
from hfclient.credentials.session_store import AnonymousSession
from hfclient.credentials.tokens import find_token
from hfclient.errors import CredentialsError, InvalidInputError

__all__ = ["Credentials"]

_log = logging.getLogger("hfclient")
_MOST = 20  # cookies that are kept of what a server sets
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)  # libraries resolve these, and are elsewhere then
_IDENTITY = (SESSION_COOKIE, "token")


class Credentials(AnonymousSessionMixin):
    """One caller's token and cookies, each bound to the places where it may go.

    Args:
        token: A Hub token, or None.
        explicit: Whether the caller passed it; if not it goes to Hugging Face's own sites only.
        cookies: The chat server's cookies.
        path_cookies: More of them, for paths further down, which a browser keeps to these paths.
        chat_url: Base URL of the chat server: cookies go below it and nowhere else.
        token_urls: Base URLs that an explicit token may go to besides. User name and password in these URLs go to the
            URL's own origin.
        store: Where the cookies came from, if that was a saved login: what the server rotates is saved there.
        user_id: Whose cookies they are, if that is known.
        session: Who the user is at a server without login; None for a private session.
    """

    def __init__(
        self,
        *,
        token: Secret | None = None,
        explicit: bool = False,
        cookies: Mapping[str, Secret] | None = None,
        path_cookies: Iterable[Cookie] = (),
        chat_url: str | None = None,
        token_urls: Iterable[str] = (),
        store: LoginStore | None = None,
        user_id: str | None = None,
        session: AnonymousSession | None = None,
    ) -> None:
        self.token = token
        self.explicit = explicit
        self.user_id = user_id
        self._cookies = dict(cookies or {})
        self._path_cookies = {(cookie.name, cookie.path): cookie.value for cookie in path_cookies}
        self._refused: set[str] = set()  # names of cookies that were warned about
        self._session = session or AnonymousSession()
        self._is_anonymous = False  # the cookies are the anonymous session's
        self._is_stored = False  # and it is kept
        self._has_written = False  # and the server has taken it, or given another one
        self._is_confirmed = False  # the server has set the session cookie by its usual name
        self._before: dict[str, Secret] = {}
        self._store = store
        self._logins: dict[str, Secret] = {}
        chat_url = self._note_login(chat_url) if chat_url else None
        self._chat_url = chat_url
        self._chat_origin = origin_of(chat_url) if chat_url else None
        self._chat_path = base_path(chat_url) if chat_url else "/"
        self._token_origins = {origin_of(self._note_login(url)) for url in token_urls}
        self._keys: dict[str, Secret] = {}
        self._lock = threading.Lock()
        _live.add(self)

    @classmethod
    def find(
        cls,
        *,
        token: str | None = None,
        cookies: CookiesLike | None = None,
        session: str | None = None,
        chat_url: str,
        token_urls: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> Credentials:
        """Return what the arguments, the environment, a saved login and huggingface_hub hold, in this order.

        Reads at most two small files (and what *cookies* names); no network.

        Args:
            token, cookies, chat_url, token_urls: As `Client` takes them.
            session: Name of an anonymous session: no cookies are looked for then. None takes the usual one where there
                are no cookies, or, if there are none because *cookies* says so, a private one.
            environ: Environment variables; None takes the process's.

        Raises:
            CredentialsError: What was found is malformed, has expired, or belongs to another site.
            InvalidInputError: Both *cookies* and *session* were given.
        """
        found, explicit = find_token(token, environ)
        looked_for = cookies is None and session is None
        given = [] if cookies is None and session is not None else find_cookies_with_paths(cookies, environ, chat_url)
        if given and session is not None:
            raise InvalidInputError("cookies are a session already; pass either cookies= or session=")
        store = LoginStore.find(environ) if looked_for and not given else None
        login = store.get(chat_url) if store is not None else None
        return cls(
            token=found,
            explicit=explicit,
            cookies=login.cookies if login is not None else {one.name: one.value for one in given if one.path == "/"},
            path_cookies=[cookie for cookie in given if cookie.path != "/"],
            chat_url=chat_url,
            token_urls=token_urls,
            store=store if login is not None else None,
            user_id=login.user_id if login is not None else None,
            session=AnonymousSession.find(
                chat_url, "" if cookies is not None and session is None else session, environ
            ),
        )

    def __repr__(self) -> str:
        # What was pasted as a whole may have become a name: only what looks like one is shown.
        names = sorted(name if len(name) <= 32 else "***" for name in self._cookies)
        return f"Credentials(token={'***' if self.token else None}, cookies={names})"

    def __getstate__(self) -> dict[str, object]:
        state = self.__dict__.copy()
        del state["_lock"]
        for name in ("_cookies", "_path_cookies", "_refused", "_before", "_keys"):
            state[name] = state[name].copy()
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        _live.add(self)

    # Cookies

    @property
    def has_session(self) -> bool:
        """Whether there is a cookie to chat with."""
        return bool(self._cookies)

    @property
    def has_login_cookies(self) -> bool:
        """Whether the cookies are somebody's, rather than invented here."""
        return bool(self._cookies) and not self._is_anonymous

    @property
    def is_saved(self) -> bool:
        """Whether the cookies came from a saved login."""
        return self._store is not None

    def cookies(self) -> dict[str, Secret]:
        """Return the cookies as they are now: the server may have rotated them since."""
        with self._lock:
            return dict(self._cookies)

    # Where they go

    def with_keys(self, keys: Mapping[str, Secret]) -> Credentials:
        """Return the same credentials with keys of inference providers added.

        Args:
            keys: The value of the Authorization header for each provider's base URL. It goes to that origin only, and the
                token goes there no more.

        Raises:
            InvalidInputError: One of the URLs belongs to Hugging Face: no provider's key is sent there.
        """
        added = {origin_of(url): key for url, key in keys.items()}
        if any(is_hugging_face(origin) for origin in added):
            raise InvalidInputError("a provider's key does not go to Hugging Face; pass a Hub token as token=")
        new = self._copy()
        new._keys = {**self._keys, **added}
        return new

    def with_token_url(self, url: str) -> Credentials:
        """Return the same credentials for a client of *url* besides: the token goes there, by the rules of ``token_urls``."""
        new = self._copy()
        new._token_origins = {*self._token_origins, origin_of(url)}
        return new

    def _copy(self) -> Credentials:
        new = Credentials.__new__(Credentials)
        with self._lock:
            state = self.__getstate__()
        new.__setstate__(state)
        return new

    def _note_login(self, url: str) -> str:
        bare, login = without_user_info(url)
        if login is not None:
            self._logins[origin_of(bare)] = login
        return bare

    def headers_for(self, url: str) -> dict[str, Secret]:
        """Return the headers that carry credentials to *url*; empty for every place that is not theirs.

        There is room for one Authorization header. A user name and a password that a base URL held go to the URL's own
        origin before a token, because nothing is reached without them. Next to a cookie a chat-ui does not look at a
        token; what stands in front of it may (a private Space wants one on every path), so that one goes along to every
        server but Hugging Face's own.
        """
        origin = origin_of(url)
        if origin in self._keys:
            return {"Authorization": self._keys[origin]}
        headers: dict[str, Secret] = {}
        path = urlsplit(url).path
        wants_token = True
        if origin == self._chat_origin and f"{path}/".startswith(self._chat_path) and not _DOTS.search(path):
            cookies = self._cookies_at(path)
            if cookies:
                headers["Cookie"] = Secret("; ".join(f"{name}={value.reveal()}" for name, value in cookies.items()))
            below_api = not cookies and path.startswith(self._chat_path + "api/")
            wants_token = below_api or not is_hugging_face(origin)
        if origin in self._logins:
            headers["Authorization"] = self._logins[origin]
        elif self.token and wants_token and self._token_may_go(origin):
            headers["Authorization"] = Secret(f"Bearer {self.token.reveal()}")
        return headers

    def _cookies_at(self, path: str) -> dict[str, Secret]:
        with self._lock:
            found = dict(self._cookies)
            for (name, below), value in self._path_cookies.items():
                if path_matches(below, path):
                    found[name] = value
        return found

    @property
    def token_reaches_chat(self) -> bool:
        """Whether there is a token that goes to the chat server."""
        origin = self._chat_origin
        return self.token is not None and origin is not None and origin not in self._logins and self._token_may_go(origin)

    def missing_token_hint(self, url: str) -> str | None:
        """Say in words why no token went to *url*, which refused a request; None if one went, or none was to be expected."""
        origin = origin_of(url)
        if self.token is None:
            return "a private Space answers so to requests without a token: pass token=" if is_space(url) else None
        if origin in self._keys or (origin != self._chat_origin and origin not in self._token_origins):
            return None
        if origin in self._logins:
            return "the token did not go along: the user name and the password of the URL take its place"
        if not self._token_may_go(origin):
            return (
                "the token that was found in the environment goes to Hugging Face's own sites only and did not go along; "
                "pass token= if this server should get it"
            )
        return None

    def _token_may_go(self, origin: str) -> bool:
        named = origin == self._chat_origin or origin in self._token_origins
        return is_hugging_face(origin) or (named and (self.explicit or is_deployment(origin)))

    # What the server sets

    def keep_cookies(self, url: str, set_cookie: Iterable[str]) -> None:
        """Take over what the chat server set in a successful answer: it renews and rotates its session cookie.

        For callers of answers to cookies only: those that an answer to a bearer token sets would turn the caller into a
        stranger, because the server ignores the token as soon as there is a cookie. A server that takes us for nobody
        sets a stranger's cookie, too; so the value before stays at hand until somebody calls :meth:`confirm`.
        """
        if origin_of(url) != self._chat_origin:
            return
        with self._lock:
            if not self._cookies:
                return
            had, invented = dict(self._cookies), self._is_anonymous
            for line in set_cookie:
                self._keep(line)
            after = dict(self._cookies)
        if invented and after != had:
            self._keep_session(had, after)

    def _keep(self, line: str) -> None:
        # With the lock held.
        cookie, problem = parse_set_cookie(line, self._chat_url or "")
        if cookie is None:
            return
        name, value = cookie.name, cookie.value
        if problem and self._cookies.get(name) != value:  # the same once more is no news, on whatever terms
            if name not in self._refused and len(self._refused) < _MOST:
                self._refused.add(name)
                _log.warning("a cookie that the server set is left out: %s (%s)", display_name(name), problem)
            return
        is_new = len(self._cookies) + len(self._path_cookies) < _MOST
        if cookie.path != "/":
            if not value:
                self._path_cookies.pop((name, cookie.path), None)
            elif is_new or (name, cookie.path) in self._path_cookies:
                self._path_cookies[name, cookie.path] = value
            return
        if not value:
            if self._is_anonymous:
                self._cookies.pop(name, None)  # the server has ended the session
            return
        if name == SESSION_COOKIE:
            self._is_confirmed = True
        if self._cookies.get(name) == value:
            return
        if self._is_identity_cookie(name):
            before = self._before.setdefault(name, self._cookies[name])
            if before == value:
                del self._before[name]
        if is_new or name in self._cookies:
            self._cookies[name] = value

    def _is_identity_cookie(self, name: str) -> bool:
        if self._is_anonymous or name not in self._cookies:
            return False
        # A server may call its session cookie otherwise; then every cookie that we were given may be it.
        return name in _IDENTITY or SESSION_COOKIE not in self._cookies

    @property
    def rotated(self) -> bool:
        """Whether there are values of which nobody has looked yet whether they are the same user's."""
        return bool(self._before)

    def confirm(self, cookies: Mapping[str, Secret], user_id: str) -> None:
        """Note that *cookies* (what :meth:`cookies` returned) belong to *user_id*; a saved login gets what is new."""
        with self._lock:
            self.user_id = user_id
            new = {name: cookies[name] for name in self._before if name in cookies}
            for name, value in new.items():
                if self._cookies.get(name) == value:
                    del self._before[name]
        if new and self._store is not None and self._chat_url is not None:
            try:
                self._store.renew(self._chat_url, user_id, new)
            except CredentialsError as error:  # this client can go on; only the next one has to log in
                _log.warning("what the server renewed could not be saved: %s", error.message)

    def restore(self, cookies: Mapping[str, Secret]) -> None:
        """Go back to the values before *cookies*, which turned out to be a stranger's."""
        with self._lock:
            for name, before in list(self._before.items()):
                if self._cookies.get(name) == cookies.get(name):
                    self._cookies[name] = before
                    del self._before[name]

    def reload(self) -> bool:
        """Take over what another process saved for the same user since; True if that is something else than we had.

        Raises:
            CredentialsError: The saved logins cannot be read.
        """
        if self._store is None or self._chat_url is None:
            return False
        login = self._store.get(self._chat_url)
        if login is None or login.user_id != self.user_id:
            return False
        with self._lock:
            if all(self._cookies.get(name) == value for name, value in login.cookies.items()):
                return False
            self._cookies.update(login.cookies)
            self._before.clear()
        return True

    def link_saved_login(self, store: LoginStore, user_id: str) -> None:
        """Count the cookies as those of a saved login of *user_id* from now on."""
        self._store, self.user_id = store, user_id

    def clear_cookies(self) -> None:
        """Be nobody from now on."""
        with self._lock:
            self._drop_session()
            self._path_cookies.clear()
            self._before.clear()
            self._store = self.user_id = None


_live: weakref.WeakSet[Credentials] = weakref.WeakSet()


def _after_fork() -> None:
    for credentials in list(_live):  # another thread of the parent may have held it
        credentials._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
