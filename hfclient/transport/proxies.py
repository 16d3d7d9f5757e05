"""The proxy of a request, the same for both transports.

A proxy that was passed is used for all requests. Otherwise the environment's proxy is used, except for servers on this
machine, which a proxy cannot reach.

Reference: https://everything.curl.dev/usingcurl/proxies/env.html; Go's net/http, ProxyFromEnvironment (loopback).
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import time
import urllib.request
from urllib.parse import urlsplit

from hfclient.credentials import Secret, is_loopback
from hfclient.errors import InvalidInputError

__all__ = ["address_for", "as_url", "proxy_for", "refused_tunnel"]

_VARIABLES = tuple(
    case(name) for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for case in (str.lower, str.upper)
)
_LASTS = 30.0  # seconds; changes of the system's settings are not announced
_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 (an address that servers of this machine listen on)
_DIRECT = Secret()
_known: tuple[int, float, dict[str, Secret]] = (0, 0.0, {})


def proxy_for(url: str, given: str | None) -> Secret:
    """Return the URL of the proxy for *url*, with its password; empty for a direct connection.

    Args:
        url: The URL of the request.
        given: The caller's proxy; ``""`` for none, None for the environment's.

    Raises:
        InvalidInputError: The proxy's URL cannot be used.
    """
    if given is not None:
        return _checked(given)
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or host in _ANY_ADDRESS:
        return _DIRECT
    proxies = _environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return _checked(proxy) if proxy and not _is_excepted(host, parts.port) else _DIRECT


def _checked(proxy: str) -> Secret:
    text = as_url(proxy).reveal()
    if text and (_host_and_port(text) is None or urlsplit(text).scheme not in _PORTS):
        _, _, host = text.rpartition("@")
        raise InvalidInputError(
            f"the proxy {host.partition('://')[2] or host!r} cannot be used: its URL is like http://host:3128, and begins "
            f"with {', '.join(_PORTS)}"
        )
    return Secret(text)


def as_url(proxy: str) -> Secret:
    """Return a proxy as a URL: some environments have only ``host:3128``, which would be masked like a password."""
    text = "".join(proxy)  # a Secret formats as stars
    return Secret(f"http://{text}" if text and "://" not in text else text)


def address_for(url: str, proxy: str) -> str:
    """Return host and port of the server and of the proxy, for messages; nothing else of either URL."""
    asked = _host_and_port(url) or ""
    return f"{asked} through the proxy {_host_and_port(''.join(proxy))}" if proxy else asked


def refused_tunnel(status: int) -> str:
    """Return the message for a proxy that answered CONNECT with *status*."""
    if status == 407:
        return 'it requires a user name and a password (status 407): put them in its URL, proxy="http://user:password@host:port"'
    return f"it answered with status {status}"


@functools.lru_cache(maxsize=64)
def _host_and_port(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return f"{f'[{host}]' if ':' in host else host}:{port}" if host else None


def _environment() -> dict[str, Secret]:
    """Return the proxies of the environment, or of the system, by scheme. A look-up is slow."""
    global _known  # noqa: PLW0603 (a cache)
    # The cache key is a hash, because the variables may have passwords of proxies.
    key, now = hash(tuple(map(os.environ.get, _VARIABLES))), time.monotonic()
    known = _known
    if known[0] != key or now >= known[1]:
        found = urllib.request.getproxies()
        proxies = {scheme: as_url(proxy) for scheme, proxy in found.items() if scheme != "no"}  # NO_PROXY: names of hosts
        _known = known = key, now + _LASTS, proxies
    return known[2]


def _is_excepted(host: str, port: int | None) -> bool:
    """Whether *host* bypasses the proxy, by NO_PROXY or the system's settings."""
    with contextlib.suppress(OSError):  # the system's settings may cause DNS look-ups
        if urllib.request.proxy_bypass(host if port is None else f"{host}:{port}"):
            return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").replace(" ", "").split(","):
        with contextlib.suppress(ValueError):  # the name of a host
            if address in ipaddress.ip_network(entry.strip("[]"), strict=False):  # an address, or 10.0.0.0/8
                return True
    return False
