"""Cookies in files: Netscape's ``cookies.txt``, and the JSON that browser extensions and test drivers write.

Not http.cookiejar for ``cookies.txt``: it prints a traceback for a line with spaces instead of tabs, and the error for a malformed
line holds the line, and so the cookie.
"""

from __future__ import annotations

import datetime
import logging
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from hfclient.credentials.cookie_matching import Cookie
from hfclient.credentials.secret import Secret
from hfclient.errors import CredentialsError

__all__ = ["looks_like_export", "parse_cookie_export", "read_cookie_file", "read_secret_file"]

_log = logging.getLogger("hfclient")
_MAX_SIZE = 16 * 1024 * 1024  # all cookies of a browser are one or two megabytes
_HTTP_ONLY = "#HttpOnly_"
_FIELDS = 7  # domain, include subdomains, path, secure, expiry, name, value
_MILLISECONDS = 1e11  # in seconds this is the year 5138
_warned: set[str] = set()


def read_secret_file(path: Path) -> bytes:
    """Return the content of a file of secrets; logs one warning if other users may read it.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) and str(path) not in _warned:
            _warned.add(str(path))
            _log.warning("%s has cookies, and other users of this machine may read it: chmod 600 %s", path, path)
        return file.read(_MAX_SIZE + 1)


def read_cookie_file(path: str | os.PathLike[str]) -> list[Cookie]:
    """Return the cookies in an exported file of any supported format.

    Raises:
        CredentialsError: The file cannot be read, or is not an export.
    """
    try:
        file = Path(path).expanduser()
        data = read_secret_file(file)
    except (OSError, RuntimeError, ValueError) as error:  # no home directory; a NUL in the name
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it cannot be opened"
        raise CredentialsError(f"the cookies in {os.fspath(path)!r} cannot be read: {why}") from None
    if len(data) > _MAX_SIZE:
        raise CredentialsError(f"{file} is too large for an export of cookies")
    try:
        return parse_cookie_export(data.decode("utf-8", "replace"))  # a UnicodeDecodeError holds the data
    except CredentialsError as error:
        raise CredentialsError(f"{file}: {error.message}") from None


def looks_like_export(text: str) -> bool:
    """Whether *text* is the content of an export, not a header or a value."""
    start = text.lstrip("\ufeff \t\r\n")
    return start[:1] in ("[", "{") or start.startswith(("# Netscape", "# HTTP Cookie", _HTTP_ONLY)) or "\t" in text


def parse_cookie_export(source: str | Iterable[Any] | Mapping[str, Any]) -> list[Cookie]:
    """Return the cookies in the text of an export, or in its decoded JSON.

    Raises:
        CredentialsError: *source* is not an export.
    """
    if isinstance(source, str):
        text = source.lstrip("\ufeff \t\r\n")
        if text[:1] not in ("[", "{"):
            return _netscape(text)
        try:
            return parse_cookie_export(msgspec.json.decode(text))  # errors of the module json hold the whole text
        except (msgspec.DecodeError, RecursionError):
            raise CredentialsError("this begins like JSON but cannot be parsed; was it cut off?") from None
    if isinstance(source, Mapping):
        if isinstance(source.get("cookies"), (list, tuple)):  # Playwright's storage state
            source = source["cookies"]
        else:  # names and values
            return [Cookie(name, Secret(value)) for name, value in source.items() if isinstance(value, str)]
    found = [_from_json(item) for item in source if isinstance(item, Mapping)]
    cookies = [cookie for cookie in found if cookie is not None]
    if not cookies:
        raise CredentialsError('the JSON has no cookies: a list of {"name": ..., "value": ..., "domain": ...} is expected')
    return cookies


def _netscape(text: str) -> list[Cookie]:
    cookies = []
    for line in text.split("\n"):
        line = line.rstrip("\r")
        if line.startswith(_HTTP_ONLY):
            line = line[len(_HTTP_ONLY) :]
        elif line.startswith("#"):
            continue
        fields = line.split("\t")
        if len(fields) < _FIELDS:
            fields = line.split(None, _FIELDS - 1)  # a terminal or an editor has replaced the tabs by spaces
        if len(fields) != _FIELDS:
            continue
        domain, subdomains, path, secure, expires, name, value = (part.strip() for part in fields)
        if not name or not domain:
            continue
        cookies.append(
            Cookie(
                name,
                Secret(value),
                domain,
                path,
                _time(expires),
                secure.upper() == "TRUE",
                host_only=subdomains.upper() == "FALSE" and not domain.startswith("."),
            )
        )
    if not cookies:
        raise CredentialsError("no cookie was found: a line of cookies.txt has seven fields with tabs between them")
    return cookies


def _from_json(item: Mapping[str, Any]) -> Cookie | None:
    name, value = item.get("name"), item.get("value")
    if not isinstance(name, str) or not isinstance(value, str) or not name:
        return None
    expires = next((item[key] for key in ("expirationDate", "expires", "expiry") if item.get(key) is not None), None)
    return Cookie(
        name,
        Secret(value),
        str(item.get("domain") or item.get("host") or ""),
        str(item.get("path") or "/"),
        None if item.get("session") is True else _time(expires),
        bool(item.get("secure")),
        bool(item.get("hostOnly")),
    )


def _time(value: Any) -> float | None:
    """Return seconds since 1970, or None for a cookie of the browser session, which has several notations."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        try:
            return datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
        except (ValueError, OverflowError):
            return None
    if not 0 < seconds < float("inf"):
        return None
    return seconds / 1000 if seconds > _MILLISECONDS else seconds
