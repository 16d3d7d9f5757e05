"""`Credentials`: the token and cookies of one client, and the URLs that they are sent to."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from hfclient.credentials.anonymous_session import SessionCookies
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
from hfclient.process.forks import reset_after_fork

__all__ = ["Credentials", "reference_to"]

_log = logging.getLogger("hfclient")
_MAX_COOKIES = 20  # including those that the server sets
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)  # HTTP libraries resolve these to another path
_IDENTITY = (SESSION_COOKIE, "token")


_NOT_SENT = "secrets are not sent to other processes"


def reference_to(secret: Secret, name: str) -> str:
    """Return ``"env:NAME"`` for the environment variable that has *secret*.

    Raises:
        CredentialsError: There is not any; *name* says in the message what the secret is.
    """
    value = secret.reveal().removeprefix("Bearer ")
    for variable, text in os.environ.items():
        if text.strip() == value:
            return f"env:{variable}"
    raise CredentialsError(
        f"{_NOT_SENT}, and no environment variable has {name}: set one (HF_TOKEN, HFCLIENT_INFERENCE_KEY, or any other name) here and in each worker"
    )


class Credentials(SessionCookies):
    """One caller's token and cookies, each bound to the URLs that it may be sent to.

    Args:
        token: A Hub token, or None.
        explicit: Whether the caller passed the token; any other token is sent to Hugging Face's sites only.
        cookies: The chat server's cookies.
        path_cookies: Cookies for paths below the base path, sent to these paths only.
        chat_url: Base URL of the chat server; cookies are sent only below it.
        token_urls: Further base URLs that an explicit token may be sent to. A user name and a password in these URLs are
            sent to the URL's own origin.
        store: The store of the saved login that the cookies came from; rotated cookies are saved there.
        user_id: The user of the cookies, if known.
        session: The anonymous session for servers without login; None for a private session.
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
        super().__init__(cookies, session)
        self.token = token
        self.explicit = explicit
        self.user_id = user_id
        self._path_cookies = {(cookie.name, cookie.path): cookie.value for cookie in path_cookies}
        self._refused: set[str] = set()  # names of cookies that were warned about
        self._previous: dict[str, Secret] = {}  # of unconfirmed cookies
        self._store = store
        self._logins: dict[str, Secret] = {}
        chat_url = self._note_login(chat_url) if chat_url else None
        self._chat_url = chat_url
        self._chat_origin = origin_of(chat_url) if chat_url else None
        self._chat_path = base_path(chat_url) if chat_url else "/"
        self._token_origins = {origin_of(self._note_login(url)) for url in token_urls}
        self._keys: dict[str, Secret] = {}
        reset_after_fork(self._reset_after_fork)

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
        """Return the credentials from the arguments, the environment, a saved login and huggingface_hub, in this order.

        Reads at most two small files (and the file that *cookies* names); no network.

        Args:
            token, cookies, chat_url, token_urls: As `Client` takes them.
            session: Name of an anonymous session; no cookies are looked up then. None uses the default session if no cookies
                are found, and a private session if *cookies* is empty.
            environ: Environment variables; None uses those of the process.

        Raises:
            CredentialsError: A credential is malformed, has expired, or belongs to another site.
            InvalidInputError: Both *cookies* and *session* were given.
        """
        found, explicit = find_token(token, environ)
        looked_for = cookies is None and session is None
        given = [] if cookies is None and session is not None else find_cookies_with_paths(cookies, environ, chat_url)
        if given and session is not None:
            raise InvalidInputError("cookies identify a session already; pass either cookies= or session=")
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
        # Pasted text may have become a cookie name: only short names are shown.
        names = sorted(name if len(name) <= 32 else "***" for name in self._cookies)
        return f"Credentials(token={'***' if self.token else None}, cookies={names})"

    def __getstate__(self) -> dict[str, object]:
        state = self.__dict__.copy()
        del state["_lock"]
        for name in ("_cookies", "_path_cookies", "_refused", "_previous", "_keys"):
            state[name] = state[name].copy()
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        reset_after_fork(self._reset_after_fork)

    def _reset_after_fork(self) -> None:
        self._lock = threading.Lock()

    # Cookies

    @property
    def has_session(self) -> bool:
        """Whether a cookie for the chat server is known."""
        return bool(self._cookies)

    @property
    def has_login_cookies(self) -> bool:
        """Whether the cookies are a user's, rather than those of an anonymous session."""
        return bool(self._cookies) and not self._is_anonymous

    @property
    def is_saved(self) -> bool:
        """Whether the cookies came from a saved login."""
        return self._store is not None

    def cookies(self) -> dict[str, Secret]:
        """Return the current cookies, with the values that the server has rotated."""
        with self._lock:
            return dict(self._cookies)

    # Destinations

    def with_keys(self, keys: Mapping[str, Secret]) -> Credentials:
        """Return a copy with keys of inference providers.

        Args:
            keys: The value of the Authorization header for each provider's base URL. It is sent to that origin only, in
                place of the token.

        Raises:
            InvalidInputError: A URL belongs to Hugging Face, where provider keys are never sent.
        """
        added = {origin_of(url): key for url, key in keys.items()}
        if any(is_hugging_face(origin) for origin in added):
            raise InvalidInputError("a provider's key is not sent to Hugging Face; pass a Hub token as token=")
        return self._copy(_keys={**self._keys, **added})

    def with_inference_key(self, key: str | None, url: str) -> Credentials:
        """Return a copy with the API key of an inference server.

        Args:
            key: The key; None takes ``HFCLIENT_INFERENCE_KEY``, if *url* has the origin of ``HFCLIENT_INFERENCE_URL``: the
                environment's key is meant for no other server. ``""`` for none.
            url: The base URL of the server.

        Raises:
            CredentialsError: The key has characters that a header cannot hold.
            InvalidInputError: The server is Hugging Face's.
        """
        if key is None:
            its_url = os.environ.get("HFCLIENT_INFERENCE_URL")
            key = os.environ.get("HFCLIENT_INFERENCE_KEY", "") if its_url and origin_of(its_url) == origin_of(url) else ""
        key = key.strip()
        if not key:
            return self
        if not key.isascii() or not key.isprintable() or " " in key:
            raise CredentialsError("the key of the inference server has characters that no key has; copy it again")
        if is_hugging_face(origin_of(url)):
            raise InvalidInputError("inference_key is for servers that are not Hugging Face's; pass a Hub token as token=")
        return self.with_keys({url: Secret(f"Bearer {key}")})

    def with_token_url(self, url: str) -> Credentials:
        """Return a copy with *url* added to ``token_urls``."""
        return self._copy(_token_origins={*self._token_origins, origin_of(url)})

    def references(self, url: str) -> dict[str, str]:
        """Return the options of a client with these credentials for *url*, by the names of environment variables that have them.

        Raises:
            CredentialsError: No environment variable has the key, the token or the password that was passed.
        """
        origin = origin_of(url)
        if origin in self._logins:
            raise CredentialsError(f"{_NOT_SENT}: take a server whose URL has no user name and password")
        if origin in self._keys:
            return {"inference_key": reference_to(self._keys[origin], "the key of the inference server")}
        if self.token is not None and self.explicit:
            return {"token": reference_to(self.token, "the token")}
        return {}

    def _copy(self, **changes: object) -> Credentials:
        new = Credentials.__new__(Credentials)
        with self._lock:
            state = self.__getstate__()
        new.__setstate__({**state, **changes})
        return new

    def _note_login(self, url: str) -> str:
        bare, login = without_user_info(url)
        if login is not None:
            self._logins[origin_of(bare)] = login
        return bare

    def headers_for(self, url: str) -> dict[str, Secret]:
        """Return the headers with credentials for *url*; empty for a URL of any other origin.

        A request has one Authorization header. A user name and a password from a base URL take precedence over a token at
        the URL's origin, because a proxy there requires them. chat-ui ignores a token next to a cookie, but a proxy in front
        of it may need the token (a private Space requires one on every path), so it is sent with cookies to all servers
        except Hugging Face's own.
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
            wants_token = below_api or (bool(self.token) and not is_hugging_face(origin))
        if origin in self._logins:
            headers["Authorization"] = self._logins[origin]
        elif self.token and wants_token and self._is_token_allowed(origin):
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
        """Whether a token is sent to the chat server."""
        origin = self._chat_origin
        return self.token is not None and origin is not None and origin not in self._logins and self._is_token_allowed(origin)

    def missing_token_hint(self, url: str) -> str | None:
        """Return why no token was sent to *url*, which refused a request; None if one was sent, or none was expected."""
        origin = origin_of(url)
        if self.token is None:
            return "a private Space refuses requests without a token: pass token=" if is_space(url) else None
        if origin in self._keys or (origin != self._chat_origin and origin not in self._token_origins):
            return None
        if origin in self._logins:
            return "the token was not sent: the user name and the password of the URL replace it"
        if not self._is_token_allowed(origin):
            return (
                "the token from the environment is sent to Hugging Face's own sites only; pass token= to send it to this "
                "server"
            )
        return None

    def _is_token_allowed(self, origin: str) -> bool:
        named = origin == self._chat_origin or origin in self._token_origins
        return is_hugging_face(origin) or (named and (self.explicit or is_deployment(origin)))

    # Cookies that the server sets

    def keep_cookies(self, url: str, set_cookie: Iterable[str]) -> None:
        """Store the cookies that the chat server set in a successful answer: it renews and rotates its session cookie.

        Only for answers to requests with cookies. An answer to a bearer token may set the cookie of an anonymous session, and
        the server ignores the token once a cookie is sent. A server that no longer knows the session sets such a cookie,
        too; so the previous value is kept until :meth:`confirm_cookies` is called.
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
        # The caller holds the lock.
        cookie, problem = parse_set_cookie(line, self._chat_url or "")
        if cookie is None:
            return
        name, value = cookie.name, cookie.value
        if problem and self._cookies.get(name) != value:  # an unchanged value is accepted with any attributes
            if name not in self._refused and len(self._refused) < _MAX_COOKIES:
                self._refused.add(name)
                _log.warning("a cookie that the server set is ignored: %s (%s)", display_name(name), problem)
            return
        is_new = len(self._cookies) + len(self._path_cookies) < _MAX_COOKIES
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
            before = self._previous.setdefault(name, self._cookies[name])
            if before == value:
                del self._previous[name]
        if is_new or name in self._cookies:
            self._cookies[name] = value

    def _is_identity_cookie(self, name: str) -> bool:
        if self._is_anonymous or name not in self._cookies:
            return False
        # A server may use another name for its session cookie; then each of the given cookies may be it.
        return name in _IDENTITY or SESSION_COOKIE not in self._cookies

    @property
    def has_unconfirmed_cookies(self) -> bool:
        """Whether the server has set values that are not confirmed to be the same user's."""
        return bool(self._previous)

    def confirm_cookies(self, cookies: Mapping[str, Secret], user_id: str) -> None:
        """Record that *cookies* (from :meth:`cookies`) belong to *user_id*; new values are saved in the saved login."""
        with self._lock:
            self.user_id = user_id
            new = {name: cookies[name] for name in self._previous if name in cookies}
            for name, value in new.items():
                if self._cookies.get(name) == value:
                    del self._previous[name]
        if new and self._store is not None and self._chat_url is not None:
            try:
                self._store.renew(self._chat_url, user_id, new)
            except CredentialsError as error:  # this client works on; the next one has to log in
                _log.warning("the renewed login could not be saved: %s", error.message)

    def restore_cookies(self, cookies: Mapping[str, Secret]) -> None:
        """Return to the values before *cookies*, which turned out to be another user's."""
        with self._lock:
            for name, before in list(self._previous.items()):
                if self._cookies.get(name) == cookies.get(name):
                    self._cookies[name] = before
                    del self._previous[name]

    def reload_login(self) -> bool:
        """Load the cookies that another process has saved for the same user; True if they differ from the current ones.

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
            self._previous.clear()
        return True

    def link_saved_login(self, store: LoginStore, user_id: str) -> None:
        """Treat the cookies as those of the saved login of *user_id* from now on."""
        self._store, self.user_id = store, user_id

    def clear_cookies(self) -> None:
        """Drop all cookies, and the link to a saved login."""
        with self._lock:
            self._drop_session()
            self._path_cookies.clear()
            self._previous.clear()
            self._store = self.user_id = None
