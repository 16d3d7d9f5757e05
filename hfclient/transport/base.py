"""`Transport`: the interface between a `Session` and an HTTP library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hfclient.transport.deadline import Deadline
from hfclient.transport.request import Request
from hfclient.transport.response import Response

__all__ = ["Transport"]


class Transport(Protocol):
    """Opens requests. Everything that imports an HTTP library implements this and nothing more."""

    def open(self, request: Request, headers: Mapping[str, str], deadline: Deadline) -> Response:
        """Send *request* with exactly these *headers* and return when the response's headers have arrived.

        Any status is returned.

        Raises:
            ConnectError: No response: the name, the connection, TLS or the proxy failed.
            TransportTimeout: A deadline passed before that.
            Cancelled: The call was cancelled. While a connection is being opened, this raises when that has ended,
                after ``Timeouts.connect`` at most.
        """

    def close(self) -> None:
        """Close idle connections; open streams continue."""
