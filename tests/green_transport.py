"""The transport of batches for the tests of all transports: each step runs in a greenlet, and the caller's thread waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from hfclient.transport import Deadline, Request, Response
from hfclient.transport.aiohttp_transport import AiohttpTransport
from hfclient.transport.green_threads import GreenThreads

__all__ = ["GreenTransport"]


class GreenTransport:
    """`AiohttpTransport` for blocking calls."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._transport = AiohttpTransport(**options)
        self._green = GreenThreads(self._transport.aclose, lambda error: None)
        self._lock = threading.Lock()

    def __reduce__(self) -> Any:
        return _with, (self._options,)

    def open(self, request: Request, headers: Mapping[str, str], deadline: Deadline) -> Response:
        response: Response = self.run(lambda: self._transport.open(request, headers, deadline))
        response._body = _Body(response._body, self)
        return response

    def close(self) -> None:
        self._green.close()

    def run(self, function: Callable[[], Any]) -> Any:
        """Return what *function* returns or raises in a greenlet."""
        outcome: list[Any] = []
        ended = threading.Event()

        def call() -> None:
            try:
                outcome.extend((function(), None))
            except BaseException as error:
                outcome.extend((None, error))
            ended.set()

        with self._lock:
            self._green.call(lambda: self._green.spawn(call))
        ended.wait()
        value, error = outcome
        if error is not None:
            raise error
        return value


def _with(options: dict[str, Any]) -> GreenTransport:
    return GreenTransport(**options)


class _Body:
    """A body that is read in greenlets."""

    can_tick = False

    def __init__(self, body: Any, transport: GreenTransport) -> None:
        self._body = body
        self._transport = transport

    def read_some(self) -> bytes:
        data: bytes = self._transport.run(self._body.read_some)
        return data

    def close(self) -> None:
        self._transport.run(self._body.close)

    def abort(self) -> None:
        self._body.abort()
