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
        """Send *request* with exactly these *headers* and return once the answer's headers are there, with any status.

        Raises:
            ConnectError: No answer: the name, the connection, TLS or the proxy failed.
            TransportTimeout: A deadline passed first.
            Cancelled: The request's cancellation said so; a connection that is being made is waited for, not longer
                than ``Timeouts.connect``.
        """

    def close(self) -> None:
        """Close idle connections; open streams are not touched."""
