"""Reading a source in batches of the events that have arrived together."""

from __future__ import annotations

import contextvars
import itertools
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import hfclient
from hfclient.errors import InvalidInputError
from hfclient.events import AnyEvent
from hfclient.web.source import Entry, Source, SourceLike, events_of

__all__ = ["Reader", "quietly"]

logger = logging.getLogger("hfclient.web")

_SECONDS = 1.0  # between two ticks, at most: how soon close() is noticed while the head of the answer is awaited


class Reader:
    """Reads a source once. A source that is a function is called when the reading begins.

    Args:
        source: A stream, a follower of a run, or a function that returns one.

    Attributes:
        closed: `close` was called.

    Raises:
        InvalidInputError: It is something else.
    """

    def __init__(self, source: SourceLike) -> None:
        if not (isinstance(source, Source) or callable(source)):
            raise InvalidInputError(f"a stream, a follower or a function that returns one is needed, not a {type(source).__name__}")
        self.closed = False
        self._source: Source | None = None
        self._open: Callable[[], Source] | None = None
        self._scope: Any = None  # of a call that has not been answered yet
        self._context = contextvars.copy_context()  # with the deadline of the block that the body is created in
        if isinstance(source, Source):
            self._source = source
        if callable(source):  # what `Guard.watch` returns is both
            self._open = source
        self._batches: Generator[list[AnyEvent | Entry], None, None] | None = None
        self._once = threading.Lock()  # taken by the thread that closes the source; never given back

    def batches(self, seconds: float | None) -> Iterator[list[AnyEvent | Entry]]:
        """Return an iterator over batches of events; each call returns the same one.

        Args:
            seconds: Yield an empty list each time nothing came for that long; None: no ticks are needed. Of the first call.

        Raises:
            Exception: From the iterator: the error that ended the answer early, or that of the function.
        """
        if self._batches is None:
            self._batches = self._read(seconds)
        return self._batches

    @property
    def status(self) -> str | None:
        """For a follower, how its run has ended; ``"running"`` if it continues in another process. None for other sources."""
        status = getattr(self._source, "status", None)
        return status if isinstance(status, str) else None

    def _read(self, seconds: float | None) -> Generator[list[AnyEvent | Entry], None, None]:
        pages: Callable[[float], Iterator[list[AnyEvent | Entry]]] | None = getattr(self._source, "pages", None)
        if pages is not None:  # a follower has its events in lists
            try:
                yield from pages(seconds or _SECONDS)  # it ends after `close`
            finally:
                self._release()
            return
        items = self._items(seconds)
        try:
            for item in items:
                if item is None:
                    yield []
                elif pending := getattr(self._source, "pending", 0):
                    batch = [item]
                    try:
                        batch.extend(item for item in itertools.islice(items, pending) if item is not None)
                    finally:  # an error comes behind the events before it
                        yield batch
                else:
                    yield [item]
                if self.closed:
                    return
        finally:
            quietly(getattr(items, "close", None))
            self._release()

    def _items(self, seconds: float | None) -> Iterator[AnyEvent | Entry | None]:
        if self._source is None and seconds is not None:
            if self.closed:
                return iter(())
            return self._context.run(lambda: hfclient.ticks(self._opened, min(_SECONDS, seconds)))
        if self._open is not None and seconds is None:
            self._context.run(self._open_here)
        if self.closed or self._source is None:
            return iter(())
        return events_of(self._source) if seconds is None else self._source.ticks(seconds)

    def _open_here(self) -> None:
        """Call the function in this thread; `close` cancels the call."""
        with hfclient.deadline() as self._scope:
            if not self.closed:
                self._opened()
        self._scope = None

    def _opened(self) -> Source:
        assert self._open is not None
        source = self._source = self._open()
        if self.closed:  # meanwhile
            quietly(source.close)
        return source

    def close(self) -> None:
        """Leave the answer. Idempotent, from any thread, never raises; a thread that reads gets the end or an error."""
        self.closed = True
        if (scope := self._scope) is not None:
            quietly(scope.cancel)
        self._release()
        if self._batches is not None:
            quietly(self._batches.close)

    def _release(self) -> None:
        if self._source is not None and self._once.acquire(blocking=False):
            quietly(self._source.close)  # wakes up a thread that reads


def quietly(close: Callable[[], object] | None) -> None:
    """Call *close*; an error is logged: neither the server nor the browser can do anything about it."""
    if close is None:
        return
    try:
        close()
    except Exception as error:
        # Another thread reads: it sees that the body is closed, and closes it itself.
        if not (isinstance(error, ValueError) and str(error) == "generator already executing"):
            logger.warning("an answer could not be left", exc_info=error)
