"""Events and bytes of a blocking source for an event loop: one thread for each stream reads, the loop only takes.

The two meet in a buffer of bounded size. A full buffer stops the thread, which then reads no more from the service; an empty one
lets the loop wait without a thread of its own. The thread wakes the loop once, however much arrives before it comes.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from hfclient.events import AnyEvent
from hfclient.web.reader import Reader
from hfclient.web.source import Entry, SourceLike

if TYPE_CHECKING:
    import asyncio

__all__ = ["Handover", "asgi_events"]

_T = TypeVar("_T")
_LOOK = 1.0  # seconds between two looks at the loop while the buffer is full: a loop that was closed takes no more


class _Buffer(Generic[_T]):
    """What the thread and the loop share. It does not refer to the iterator, so dropping that one ends the thread."""

    def __init__(self, batches: Iterator[list[_T]], close: Callable[[], object], weight: Callable[[_T], int], limit: int) -> None:
        self.batches = batches
        self.close_source = close
        self.weight = weight
        self.limit = limit
        self.items: deque[_T] = deque()
        self.size = 0
        self.ended = False
        self.closed = False
        self.error: BaseException | None = None
        self.changed = threading.Condition()
        self.closer: threading.Thread | None = None
        self.waiting: asyncio.Future[None] | None = None
        self.timer: asyncio.TimerHandle | None = None  # one for many waits: most of them are short
        self.since = 0.0  # time of the last item, by the loop
        self.is_idle = False
        self.loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> None:
        """Read the source to its end, in the thread."""
        error: BaseException | None = None
        try:
            for batch in self.batches:
                if not self._put(batch):
                    break
        except BaseException as exc:  # noqa: BLE001 (raised again in the loop)
            error = exc
        with self.changed:
            self.error, self.ended = error, True
            waiting = self._taken_off()
        self._wake(waiting)
        if self.closed:
            self.close_source()

    def _put(self, batch: list[_T]) -> bool:
        with self.changed:
            while self.size >= self.limit and not self.closed:
                self.changed.wait(_LOOK)
                if self.loop is not None and self.loop.is_closed():
                    self.closed = True
            if self.closed or (self.loop is not None and self.loop.is_closed()):
                self.closed = True
                return False
            self.items.extend(batch)
            self.size += sum(map(self.weight, batch))
            waiting = self._taken_off()
        return self._wake(waiting)

    def take(self) -> list[_T]:
        """Return what has come; called by the loop, which holds the lock."""
        items = list(self.items)
        if items and self.loop is not None:
            self.items.clear()
            if self.size >= self.limit:
                self.changed.notify()
            self.size, self.is_idle, self.since = 0, False, self.loop.time()
        return items

    def tick(self, seconds: float) -> None:
        """Wake the reader if it has waited for *seconds*; called by a timer of the loop."""
        self.timer = None
        with self.changed:
            if self.loop is None or self.ended or self.closed or self.waiting is None:
                return
            left = self.since + seconds - self.loop.time()
            if left > 0:
                self.timer = self.loop.call_later(left, self.tick, seconds)
            else:
                self.is_idle, self.since = True, self.loop.time()
                _set(self.waiting)

    def _taken_off(self) -> asyncio.Future[None] | None:
        """Return what the reader waits for, once; called with the lock."""
        waiting, self.waiting = self.waiting, None
        return waiting

    def _wake(self, waiting: asyncio.Future[None] | None) -> bool:
        """Wake the reader; False if its loop was closed. Called without the lock, which the reader takes at once."""
        if waiting is not None and self.loop is not None:
            try:
                self.loop.call_soon_threadsafe(_set, waiting)
            except RuntimeError:  # the loop was closed
                self.closed = True
                return False
        return True

    def leave(self) -> None:
        """Leave the source, once; returns at once, because leaving an answer may send a request."""
        with self.changed:
            if self.closer is not None:
                return
            self.closed = True
            self.items.clear()
            self.size = 0
            self.changed.notify()
            if self.ended:
                return
            self.closer = threading.Thread(target=self.close_source, name="hfclient-asgi-close", daemon=True)
        try:
            self.closer.start()
        except RuntimeError:  # the interpreter shuts down
            self.close_source()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Handover(Generic[_T]):
    """An async iterator over what a blocking iterator yields in batches. For asyncio.

    ``aclose()``, ``close()``, the cancellation of a task that waits for the next item, and dropping the object leave the source.

    Args:
        batches: Read in a thread, which the first item starts.
        close: Leaves the source, from any thread.
        seconds: Yield *idle* each time nothing came for that long; None: never.
        idle: What is yielded then.
        join: Makes one item of all that have come; None: one by one.
        weight: The size of an item.
        limit: The size that may wait for the loop. One batch may exceed it.
    """

    def __init__(
        self,
        batches: Iterator[list[_T]],
        close: Callable[[], object],
        *,
        seconds: float | None = None,
        idle: Any = None,
        join: Callable[[list[_T]], _T] | None = None,
        weight: Callable[[_T], int] = lambda item: 1,
        limit: int = 128,
    ) -> None:
        self._buffer = _Buffer(batches, close, weight, limit)
        self._seconds = seconds
        self._idle = idle
        self._join = join
        self._taken: Iterator[_T] = iter(())
        self._thread: threading.Thread | None = None

    def __aiter__(self) -> AsyncIterator[_T]:
        return self

    async def __anext__(self) -> _T:
        for item in self._taken:
            return item
        items = await self._next()
        if items is None:
            return cast("_T", self._idle)
        if self._join is not None:
            return self._join(items)
        self._taken = iter(items)
        return next(self._taken)

    async def _next(self) -> list[_T] | None:
        """Return what has come, or None if nothing came in time."""
        import asyncio

        buffer = self._buffer
        loop = asyncio.get_running_loop()
        if self._thread is None and not buffer.closed:
            buffer.loop, buffer.since = loop, loop.time()
            run = contextvars.copy_context().run
            self._thread = threading.Thread(target=run, args=(buffer.run,), name="hfclient-asgi", daemon=True)
            self._thread.start()
        has_waited = False
        try:
            while True:
                with buffer.changed:
                    if items := buffer.take():
                        break
                    if buffer.is_idle:
                        buffer.is_idle = False
                        return None
                    if buffer.ended or buffer.closed:
                        break
                    waiting = buffer.waiting = loop.create_future()
                if self._seconds is not None and buffer.timer is None:
                    buffer.timer = loop.call_later(self._seconds, buffer.tick, self._seconds)
                has_waited = True
                await waiting
            if not has_waited:
                await asyncio.sleep(0)  # a source that is always ahead must not keep the loop for itself
        except asyncio.CancelledError:
            self.close()
            raise
        if items:
            return items
        if buffer.error is not None and not buffer.closed:
            error, buffer.error = buffer.error, None
            raise error
        raise StopAsyncIteration

    def close(self) -> None:
        """Leave the source, from any thread; returns at once."""
        self._buffer.leave()

    async def aclose(self) -> None:
        """Leave the source and wait until its thread has ended, which takes the stream's stop budget at most."""
        import asyncio

        self.close()
        while any(thread is not None and thread.is_alive() for thread in (self._thread, self._buffer.closer)):
            await asyncio.sleep(0.01)

    def __del__(self) -> None:
        buffer: _Buffer[_T] | None = getattr(self, "_buffer", None)
        if buffer is None or buffer.ended or buffer.closer is not None:
            return
        # The garbage collector may be the caller, in a thread that holds locks which starting a thread needs: the loop does it.
        loop = buffer.loop
        if loop is None and (asyncio := sys.modules.get("asyncio")) is not None:
            loop = asyncio._get_running_loop()
        try:
            if loop is None:
                buffer.leave()
            else:
                loop.call_soon_threadsafe(buffer.leave)
        except RuntimeError:  # the loop was closed
            buffer.leave()


def asgi_events(source: SourceLike, seconds: float | None = None) -> AsyncIterator[AnyEvent | Entry | None]:
    """Return an async iterator over the events of *source*, which never blocks the loop. For asyncio.

    Leaving it (``aclose()``, ``close()``, the cancellation of a task that waits for an event, dropping it) leaves the answer, as
    ``close()`` of the stream does. At most about 128 events wait for a slow reader; then the service waits, too.

    Args:
        source: A stream, a follower of a run (whose items are `Entry`), or a function that returns one, which is called in the thread
            that reads.
        seconds: Yield None each time nothing came for that long; None: only events.

    Raises:
        InvalidInputError: *source* is something else.
        HFClientError: While iterating: the error that ended the answer early.
    """
    reader = Reader(source)
    batches: Iterator[list[Any]] = reader.batches(None)
    return Handover(batches, reader.close, seconds=seconds)
