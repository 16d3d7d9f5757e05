"""The chat server's cookies, parsed from all forms that callers may have."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from hfclient.credentials.browser_cookies import browser_cookies
from hfclient.credentials.cookie_files import looks_like_export, parse_cookie_export, read_cookie_file
from hfclient.credentials.cookie_matching import (
    COOKIE_NAME,
    SESSION_COOKIE,
    Cookie,
    cookies_for,
    cookies_from_jar,
    sendable_cookies,
)
from hfclient.credentials.origins import HUGGING_CHAT, is_hugging_face, is_loopback, server_key
from hfclient.credentials.secret import Secret
from hfclient.errors import CredentialsError, InvalidInputError

if TYPE_CHECKING:
    from http.cookiejar import CookieJar
    from typing import TypeGuard

__all__ = ["CookiesLike", "find_cookies", "find_cookies_with_paths", "parse_cookies", "parse_cookies_with_paths"]

CookiesLike: TypeAlias = (
    "Mapping[str, Any] | str | os.PathLike[str] | CookieJar | Sequence[Mapping[str, Any]]"
)
"""Forms of cookies that `parse_cookies` accepts."""

_log = logging.getLogger("hfclient")
_HUB_COOKIE = "token"  # the login of huggingface.co itself
_BARE_VALUE = re.compile(r"[A-Za-z0-9._~+/%-]+|[A-Za-z0-9+/_-]{16,}={1,2}")
_HUB_TOKEN = re.compile(r"hf_[A-Za-z0-9]{16,}")
_PATH_START = re.compile(r"~|\.{1,2}[/\\]|[/\\]|[A-Za-z]:[/\\]")


def parse_cookies(cookies: CookiesLike, chat_url: str | None = None) -> dict[str, Secret]:
    """Return the chat server's cookies from any supported form.

        >>> sorted(parse_cookies("hf-chat=abc; token=xyz"))
        ['hf-chat', 'token']

    From an export, a jar or a browser, only the cookies that a browser would send to the chat server are used.

    Args:
        cookies: A mapping of names and values; the text of a ``Cookie`` header; the bare value of the session cookie; the
            path or the text of a ``cookies.txt``, or of the JSON that browser extensions export; a list of the objects of
            such JSON; a cookie jar of the standard library, requests, httpx or curl_cffi; ``"browser:firefox"``
            (and other browsers, see `hfclient.credentials.browser_cookies`).
        chat_url: The chat server's base URL; not needed for a mapping, a header or a value.

    Raises:
        CredentialsError: No cookie belongs to the server, all of them have expired, the file cannot be read, or the
            session cookie has characters that an HTTP header cannot carry. Other cookies that cannot be sent are ignored
            with a warning that names them.
        MissingDependencyError: A browser was named and the extra is not installed.
    """
    return _by_name(parse_cookies_with_paths(cookies, chat_url))


def parse_cookies_with_paths(cookies: CookiesLike, chat_url: str | None = None) -> list[Cookie]:
    """Return what `parse_cookies` returns, with the path of each cookie.

    Raises:
        CredentialsError: As for `parse_cookies`.
    """
    if chat_url is not None and not isinstance(chat_url, str):
        raise InvalidInputError(f"chat_url must be a string, not {type(chat_url).__name__}")
    pairs = _plain_pairs(cookies)
    if pairs is not None:
        found = [Cookie(name, value) for name, value in sendable_cookies(pairs, "what was given", chat_url=chat_url).items()]
    else:
        all_of_them, source = _with_domains(cookies)
        if chat_url is None:
            raise InvalidInputError("chat_url is required to select cookies from those of several sites")
        found = cookies_for(chat_url, all_of_them, source)
    if not found:
        raise CredentialsError(
            'no cookie was found in what was given; pass {"hf-chat": "..."} or the text of a Cookie header '
            '("hf-chat=...; token=...")'
        )
    return found


def _by_name(cookies: Iterable[Cookie]) -> dict[str, Secret]:
    return {cookie.name: cookie.value for cookie in sorted(cookies, key=lambda cookie: cookie.path == "/")}


def _plain_pairs(cookies: CookiesLike) -> list[tuple[str, str]] | None:
    """Return names and values if *cookies* has nothing else; None if it also has domains."""
    if isinstance(cookies, str):
        text = (cookies.reveal() if isinstance(cookies, Secret) else cookies).strip()
        if looks_like_export(text) or text.startswith("browser:") or _is_path(text):
            return None
        return _header_pairs(text)
    if isinstance(cookies, Mapping) and not _is_jar(getattr(cookies, "jar", cookies)):
        if isinstance(cookies.get("cookies"), (list, tuple)):
            return None
        return [(str(name), _value(value)) for name, value in cookies.items()]
    return None


def _is_jar(cookies: object) -> TypeGuard[CookieJar]:
    from http.cookiejar import CookieJar  # slow to import, and few calls need it

    return isinstance(cookies, CookieJar)


def _value(value: Any) -> str:
    from http.cookies import Morsel

    if isinstance(value, Morsel):
        value = value.value
    return "".join(value) if isinstance(value, str) else ""  # str() of a Secret would give stars


def _is_path(text: str) -> bool:
    """Whether *text* is the path of a file rather than a header or a value.

    Raises:
        CredentialsError: It begins like a path, but the file does not exist; it may be a value, so the error does not show it.
    """
    if "\n" in text or ";" in text or re.match(rf"(?i:cookie:)|{COOKIE_NAME.pattern}=", text):
        return False
    if text.lower().endswith((".txt", ".json")):
        return True
    if not _PATH_START.match(text):
        return False
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # no home directory; a NUL in the name
        if Path(text).expanduser().exists():
            return True
    raise CredentialsError(
        "the cookies begin like the path of a file, which cannot be read: it does not exist. If they are the value of the "
        'session cookie, pass it with its name: cookies={"hf-chat": ...}, or "hf-chat=..." in HFCLIENT_COOKIE and at a prompt'
    )


def _header_pairs(text: str) -> list[tuple[str, str]]:
    if text[:7].lower() == "cookie:":
        text = text[7:].strip()
    if _HUB_TOKEN.fullmatch(text):
        raise CredentialsError(
            "this is a Hub token, not a cookie: pass it as token=. A token allows reading and listing; to chat, the cookies "
            "of a logged-in browser are needed"
        )
    if _BARE_VALUE.fullmatch(text):
        return [(SESSION_COOKIE, text)]
    split = (part.partition("=") for part in text.split(";") if part.strip())
    return [(name.strip(), value.strip()) for name, _, value in split]


def _with_domains(cookies: CookiesLike) -> tuple[list[Cookie], str]:
    """Return cookies with their domains, and the name of their source for messages."""
    if isinstance(cookies, str):
        text = cookies.strip()
        if text.startswith("browser:"):
            name = text[len("browser:") :]
            return browser_cookies(name), name.partition(":")[0]
        if looks_like_export(text):
            return parse_cookie_export(text), "the export"
        return read_cookie_file(text), str(Path(text).expanduser())
    if isinstance(cookies, os.PathLike):
        return read_cookie_file(cookies), os.fspath(cookies)
    jar = getattr(cookies, "jar", cookies)  # httpx and curl_cffi wrap one
    if _is_jar(jar):
        return cookies_from_jar(jar), "the cookie jar"
    if isinstance(cookies, (Mapping, Sequence)):
        return parse_cookie_export(cookies), "what was given"
    raise InvalidInputError(
        f"cookies are a mapping, a text, a path, a list of cookies or a cookie jar, not {type(cookies).__name__}"
    )


def find_cookies(
    argument: CookiesLike | None = None, environ: Mapping[str, str] | None = None, chat_url: str | None = None
) -> dict[str, Secret]:
    """Return the chat server's cookies from the argument or from ``HFCLIENT_COOKIE``; empty if neither has any.

    Raises:
        CredentialsError: As for `parse_cookies`.
    """
    return _by_name(find_cookies_with_paths(argument, environ, chat_url))


def find_cookies_with_paths(
    argument: CookiesLike | None = None, environ: Mapping[str, str] | None = None, chat_url: str | None = None
) -> list[Cookie]:
    """Return what `find_cookies` returns, with the path of each cookie.

    An empty argument means no cookies, also if the environment has some. A login of the Hub that comes from the environment
    is sent to Hugging Face, to the server that ``HFCLIENT_BASE_URL`` names and to this machine only.

    Raises:
        CredentialsError: As for `parse_cookies`.
    """
    env = os.environ if environ is None else environ
    if argument is not None:
        nothing = isinstance(argument, (str, dict, list, tuple)) and not argument
        return [] if nothing else parse_cookies_with_paths(argument, chat_url)
    given = env.get("HFCLIENT_COOKIE", "").strip()
    if not given:
        return []
    found = parse_cookies_with_paths(given, chat_url)
    if chat_url is not None and any(cookie.name == _HUB_COOKIE for cookie in found) and not _is_meant(chat_url, env):
        _log.warning(
            "HFCLIENT_COOKIE has a login of huggingface.co and is not sent to %s; pass cookies= to send it",
            urlsplit(chat_url).hostname,
        )
        return []
    return found


def _is_meant(chat_url: str, env: Mapping[str, str]) -> bool:
    if is_hugging_face(chat_url) or is_loopback(urlsplit(chat_url).hostname or ""):
        return True
    return server_key(chat_url) == server_key(env.get("HFCLIENT_BASE_URL") or HUGGING_CHAT)
