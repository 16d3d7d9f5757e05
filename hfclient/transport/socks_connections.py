"""Connections through a SOCKS proxy: urllib3's, which need PySocks, with what `connections.py` adds.

Reference: https://urllib3.readthedocs.io/en/stable/reference/contrib/socks.html
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any
from urllib.parse import unquote

import urllib3

from hfclient.errors import MissingDependencyError
from hfclient.transport.connections import Connection, pools_of

__all__ = ["socks_manager"]


def socks_manager(proxy: str, **settings: Any) -> urllib3.PoolManager:
    """Return the pools of one SOCKS proxy.

    Args:
        proxy: Its URL, with user name and password if required.
        settings: As for `urllib3.PoolManager`.

    Raises:
        MissingDependencyError: PySocks is not installed.
    """
    if importlib.util.find_spec("socks") is None:
        raise MissingDependencyError("a SOCKS proxy needs the package PySocks: pip install PySocks")
    from urllib3.contrib.socks import SOCKSProxyManager

    user, colon, password = (urllib3.util.parse_url(proxy).auth or "").partition(":")
    if colon:
        settings.update(username=unquote(user), password=unquote(password))
    manager = SOCKSProxyManager(proxy, **settings)
    manager.pool_classes_by_scheme = _pools()
    return manager


@functools.cache
def _pools() -> dict[str, type[urllib3.HTTPConnectionPool]]:
    from urllib3.contrib.socks import SOCKSConnection, SOCKSHTTPSConnection

    class HTTPConnection(Connection, SOCKSConnection):
        """A connection without TLS."""

    class HTTPSConnection(Connection, SOCKSHTTPSConnection):
        """A connection with TLS."""

    return pools_of(HTTPConnection, HTTPSConnection)
