"""Cookies of a browser on this machine (extra: browser).

yt-dlp reads them. It has no dependencies and keeps up with the browsers: Firefox changed its folders and times in 2025 and
again in 2026, Chrome changes its encryption often, and the packages made for this alone have not been released since.
"""

from __future__ import annotations

import logging
from typing import Any

from hfclient.credentials.cookie_matching import Cookie, cookies_from_jar
from hfclient.errors import CredentialsError, MissingDependencyError

__all__ = ["browser_cookies"]

_log = logging.getLogger("hfclient")


class _Quiet:
    """The logger for yt-dlp: all messages become debug lines."""

    def __getattr__(self, name: str) -> Any:
        return lambda message="", *rest, **options: _log.debug("reading the browser's cookies: %s", message)

    def progress_bar(self) -> None:
        return None


def browser_cookies(browser: str) -> list[Cookie]:
    """Return all cookies of a browser.

    Args:
        browser: ``"firefox"``, ``"chrome"``, ``"chromium"``, ``"brave"``, ``"edge"``, ``"opera"``, ``"safari"``,
            ``"vivaldi"``, ``"whale"``; after another colon a profile's name or path, as in ``"firefox:default-release"``.

    Raises:
        MissingDependencyError: The extra is not installed.
        CredentialsError: The browser or profile does not exist, or its cookies cannot be decrypted.
    """
    try:
        from yt_dlp.cookies import SUPPORTED_BROWSERS, extract_cookies_from_browser
    except ImportError:
        raise MissingDependencyError(
            'reading a browser\'s cookies needs one more package: pip install "hfclient[browser]"'
        ) from None
    name, _, profile = browser.strip().partition(":")
    name = name.strip().lower()
    if name not in SUPPORTED_BROWSERS:
        raise CredentialsError(f"the browser {name!r} is not supported; supported are {', '.join(sorted(SUPPORTED_BROWSERS))}")
    try:
        jar = extract_cookies_from_browser(name, profile.strip() or None, _Quiet())
    except Exception as error:  # noqa: BLE001 (files, databases, keyrings and ciphers raise many kinds)
        raise CredentialsError(
            f"the cookies of {name} cannot be read ({type(error).__name__}: {error}); export them with an extension "
            "of the browser, as cookies.txt or JSON, and pass the file's path"
        ) from None
    return cookies_from_jar(jar)
