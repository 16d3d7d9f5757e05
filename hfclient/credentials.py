"""Tokens and cookies: where they are looked up, where they may go, and how they hide.

A token goes to the hub, the router and ``/api/`` of a chat server; a cookie goes to the chat server only. Which header
a request gets depends on nothing but its URL (:meth:`Credentials.headers_for`), so nothing can follow a redirect or a
result link to another host. A token that was found rather than passed (environment, file) belongs to Hugging Face and
goes to no other site.

Sources in order: the argument, the environment (``HF_TOKEN``, ``HUGGING_FACE_HUB_TOKEN``, ``HFCLIENT_COOKIE``), and
huggingface_hub's own token file (``$HF_TOKEN_PATH``, else ``$HF_HOME/token``).
"""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hfclient.errors import CredentialsError, InvalidInputError

__all__ = ["SESSION_COOKIE", "Credentials", "Secret", "find_cookies", "find_token", "origin_of", "parse_cookies"]

SESSION_COOKIE = "hf-chat"
"""chat-ui's default for its setting COOKIE_NAME."""

_HUGGING_FACE = ("huggingface.co", "hf.co")
# Anybody can deploy a container here: a token goes to the ones that the caller named, never to one that a link names.
_DEPLOYMENTS = ("huggingface.cloud",)
_TRUE = {"1", "on", "yes", "true"}
_NOT_IN_URLS = re.compile(r"[\\\x00-\x20\x7f]")
_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Secret(str):
    """A string that does not show itself: ``repr`` and ``format`` give stars; :meth:`reveal` gives the value.

    >>> Secret("hf_abc")
    Secret('***')
    >>> f"{Secret('hf_abc')}"
    '***'
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __reduce_ex__(self, protocol: Any) -> tuple[type[Secret], tuple[str]]:
        return Secret, (self.reveal(),)  # some of the ways that str has go through __str__

    def reveal(self) -> str:
        """Return the value as a plain string."""
        return "".join(self)


def origin_of(url: str) -> str:
    """Return scheme, host and port of *url*, lower case, default ports left out: what cookies and tokens are bound to.

        >>> origin_of("HTTPS://user:pw@HuggingFace.co:443/chat")
        'https://huggingface.co'

    Raises:
        InvalidInputError: *url* is not an absolute http(s) URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise InvalidInputError(f"not a usable URL: {exc}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise InvalidInputError("a URL must begin with http:// or https:// and name a host")
    if _NOT_IN_URLS.search(parts.netloc) or _NOT_IN_URLS.search(url.strip(" ").partition("?")[0].replace(" ", "")):
        # Libraries disagree about where the host ends here, and a secret might follow the other one's opinion.
        raise InvalidInputError("not a usable URL: it holds a backslash or an invisible character")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS[parts.scheme] else "")


def _clean(token: str | None) -> str | None:
    return (token or "").replace("\r", "").replace("\n", "").strip() or None


def find_token(argument: str | None = None, environ: Mapping[str, str] | None = None) -> tuple[Secret | None, bool]:
    """Return ``(token, explicit)``: the argument, or else what the environment or huggingface_hub's file holds.

    An empty string as *argument* means "no token, whatever the environment says"; so does a truthy
    ``HF_HUB_DISABLE_IMPLICIT_TOKEN``. Reads at most one small file; no network.

    Raises:
        CredentialsError: The token holds characters that no HTTP header can carry.
    """
    env = os.environ if environ is None else environ
    if argument is not None:
        token = _clean(argument)
        return (_checked(token), True) if token else (None, True)
    if env.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").lower() in _TRUE:
        return None, False
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := _clean(env.get(name)):
            return _checked(token), False
    token = _clean(_read_token_file(env))
    return (_checked(token), False) if token else (None, False)


def _checked(token: str) -> Secret:
    if not token.isascii() or any(ch.isspace() for ch in token):
        raise CredentialsError("the token holds characters that a token never has; was something else pasted?")
    return Secret(token)


def _read_token_file(env: Mapping[str, str]) -> str | None:
    path = env.get("HF_TOKEN_PATH")
    if not path:
        home = env.get("HF_HOME") or f"{env.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
        path = f"{home}/token"
    try:
        return Path(os.path.expandvars(path)).expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError):  # RuntimeError: there is no home
        return None


def parse_cookies(cookies: Mapping[str, str] | str) -> dict[str, Secret]:
    """Return cookies from a mapping, from a ``Cookie`` header's text, or from the bare value of the session cookie.

        >>> sorted(parse_cookies("hf-chat=abc; token=xyz"))
        ['hf-chat', 'token']

    Raises:
        CredentialsError: Nothing in it is a cookie, or a value holds characters that no header can carry.
    """
    if isinstance(cookies, Mapping):
        pairs = [(name, "".join(value)) for name, value in cookies.items() if isinstance(value, str)]
    else:
        text = cookies.strip()
        if text.lower().startswith("cookie:"):
            text = text[len("cookie:") :].strip()
        if text and "=" not in text and ";" not in text:
            pairs = [(SESSION_COOKIE, text)]
        else:
            split = (part.partition("=") for part in text.split(";") if part.strip())
            pairs = [(name.strip(), value.strip()) for name, _, value in split]
    found = {}
    for name, value in pairs:
        if not name or not value:
            continue
        if not _COOKIE_NAME.fullmatch(name) or any(ch in "\r\n\0;" or ord(ch) > 255 for ch in value):
            raise CredentialsError(f"the cookie {name!r} holds characters that a cookie never has")
        found[name] = Secret(value)
    if not found:
        raise CredentialsError(
            'no cookie was found in what was given; pass {"hf-chat": "..."} or the text of a Cookie header '
            '("hf-chat=...; token=...")'
        )
    return found


def find_cookies(
    argument: Mapping[str, str] | str | None = None, environ: Mapping[str, str] | None = None
) -> dict[str, Secret]:
    """Return the chat server's cookies from the argument or from ``HFCLIENT_COOKIE``; empty if there are none."""
    env = os.environ if environ is None else environ
    given = env.get("HFCLIENT_COOKIE", "").strip() if argument is None else argument
    return parse_cookies(given) if given else {}


class Credentials:
    """One caller's token and cookies, each bound to the places where it may go.

    Args:
        token: A Hub token, or None.
        explicit: Whether the caller passed it; if not it goes to Hugging Face's own sites only.
        cookies: The chat server's cookies.
        chat_url: Base URL of the chat server: cookies go below it and nowhere else.
        token_urls: Base URLs that an explicit token may go to besides.
    """

    def __init__(
        self,
        *,
        token: Secret | None = None,
        explicit: bool = False,
        cookies: Mapping[str, Secret] | None = None,
        chat_url: str | None = None,
        token_urls: Iterable[str] = (),
    ) -> None:
        self.token = token
        self.explicit = explicit
        self._cookies = dict(cookies or {})
        self._chat_origin = origin_of(chat_url) if chat_url else None
        self._chat_path = urlsplit(chat_url).path.rstrip("/") + "/" if chat_url else "/"
        self._token_origins = {origin_of(url) for url in token_urls}
        self._keys: dict[str, Secret] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Credentials(token={'***' if self.token else None}, cookies={sorted(self._cookies)})"

    def __getstate__(self) -> dict[str, object]:
        state = self.__dict__.copy()
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def has_session(self) -> bool:
        """Whether there is a cookie to chat with."""
        return bool(self._cookies)

    def cookies(self) -> dict[str, Secret]:
        """Return the cookies as they are now: the server may have rotated them since."""
        with self._lock:
            return dict(self._cookies)

    def start_anonymous_session(self) -> None:
        """Invent a session cookie if there is none: to chat-ui any value is an anonymous session of its own."""
        with self._lock:
            if not self._cookies:
                self._cookies[SESSION_COOKIE] = Secret(str(uuid.uuid4()))

    def with_keys(self, keys: Mapping[str, Secret]) -> Credentials:
        """Return the same credentials with keys of inference providers added.

        Args:
            keys: The value of the Authorization header for each provider's base URL. It goes to that origin only, and the
                token goes there no more.

        Raises:
            InvalidInputError: One of the URLs belongs to Hugging Face: no provider's key is sent there.
        """
        added = {origin_of(url): key for url, key in keys.items()}
        if any(self._is_hugging_face(origin) for origin in added):
            raise InvalidInputError("a provider's key does not go to Hugging Face; pass a Hub token as token=")
        new = Credentials.__new__(Credentials)
        new.__setstate__(self.__getstate__())
        new._cookies = self.cookies()
        new._keys = {**self._keys, **added}
        return new

    def headers_for(self, url: str) -> dict[str, str]:
        """Return the headers that carry credentials to *url*; empty for every place that is not theirs."""
        origin = origin_of(url)
        if origin in self._keys:
            return {"Authorization": self._keys[origin].reveal()}
        path = urlsplit(url).path
        if origin == self._chat_origin and f"{path}/".startswith(self._chat_path):
            with self._lock:
                cookies = dict(self._cookies)
            if cookies:  # the server ignores a bearer token next to a session cookie
                return {"Cookie": "; ".join(f"{name}={value.reveal()}" for name, value in cookies.items())}
            if not path.startswith(self._chat_path + "api/"):
                return {}
        named = self._is_named(origin) and (self.explicit or _is_below(origin, _DEPLOYMENTS))
        if self.token and (named or self._is_hugging_face(origin)):
            return {"Authorization": f"Bearer {self.token.reveal()}"}
        return {}

    def keep_cookies(self, url: str, set_cookie: Iterable[str]) -> None:
        """Take over what the chat server set in a successful answer: it renews and rotates its session cookie.

        Cookies that an answer to a bearer token sets are dropped: stored, they would turn the caller into a stranger,
        because the server ignores the token as soon as there is a cookie.
        """
        if origin_of(url) != self._chat_origin:
            return
        with self._lock:
            if not self._cookies:
                return
            for line in set_cookie:
                first, *attributes = line.split(";")
                name, _, value = first.partition("=")
                name, value = name.strip(), value.strip()
                expired = any(part.strip().lower() == "max-age=0" for part in attributes)
                known = name in self._cookies or (_COOKIE_NAME.fullmatch(name) and len(self._cookies) < 20)
                if value and known and not expired:
                    self._cookies[name] = Secret(value)

    def _is_hugging_face(self, origin: str) -> bool:
        return _is_below(origin, _HUGGING_FACE)

    def _is_named(self, origin: str) -> bool:
        return origin == self._chat_origin or origin in self._token_origins


def _is_below(origin: str, sites: tuple[str, ...]) -> bool:
    """Whether *origin* is one of *sites* or below it, over https."""
    parts = urlsplit(origin)
    host = parts.hostname or ""
    return parts.scheme == "https" and any(host == site or host.endswith("." + site) for site in sites)
