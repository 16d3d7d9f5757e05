"""The transport that the arguments of a client choose."""

from __future__ import annotations

from typing import TypeAlias

from hfclient.errors import InvalidInputError
from hfclient.transport.base import Transport

__all__ = ["TransportLike", "transport_for"]

TransportLike: TypeAlias = "Transport | str | None"


def transport_for(given: TransportLike, impersonate: str | None = None, proxy: str | None = None) -> Transport:
    """Return *given*, or a new transport; the arguments are those of `Client`.

    Raises:
        InvalidInputError: The arguments contradict each other.
        MissingDependencyError: curl_cffi is needed and not installed.
    """
    if given is not None and not isinstance(given, str):
        if impersonate or proxy:
            raise InvalidInputError("a transport object has its own proxy and impersonation")
        return given
    if given not in (None, "requests", "curl_cffi"):
        raise InvalidInputError(f'transport is "requests", "curl_cffi" or an object, not {given!r}')
    if given == "requests" and impersonate:
        raise InvalidInputError('impersonation needs transport="curl_cffi"')
    if given == "curl_cffi" or impersonate:
        from hfclient.transport.curl_transport import (
            ImpersonateTransport,  # its import takes 100 ms
        )

        return ImpersonateTransport(impersonate or "chrome", proxy=proxy)
    from hfclient.transport.requests_transport import (
        RequestsTransport,  # requests takes half of the import time
    )

    return RequestsTransport(proxy=proxy)
