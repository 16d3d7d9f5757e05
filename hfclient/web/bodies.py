"""Bodies of responses: the events of an answer as bytes, for WSGI and ASGI.

A body reads its source in the thread that iterates over it. It writes what has arrived together in one piece, and a heartbeat while
nothing comes: a server notices that the browser has left when it writes. Then it calls ``close()``, which leaves the answer.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

from attrs import evolve

from hfclient.errors import Cancelled, InvalidInputError, StreamInterrupted
from hfclient.events import AnyEvent, Failover, File, FinalAnswer, Route, Status, Title, Token, Unknown
from hfclient.web import problems
from hfclient.web.formats import EventStream, Format, JsonLines, Text
from hfclient.web.reader import Reader, logger, quietly
from hfclient.web.source import Entry, SourceLike

__all__ = ["Body", "ndjson", "sse", "text"]

_HEADERS = {
    # A proxy must neither keep nor compress the pieces. RFC 9111, sections 5.2.2.4 and 5.2.2.6
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx would collect the pieces
    "X-Content-Type-Options": "nosniff",  # text of a model must not be taken for HTML
}
_LONGEST_TICK, _SHORTEST_TICK = 1.0, 0.02  # seconds
_NOT_YET = frozenset({Failover, Route, Status, Title})  # an answer has not begun with these
_LONGEST_RETRY = 86_400  # seconds
_BUFFER = 65_536  # bytes that wait for a slow browser under ASGI


class Body:
    """The body of a response: an iterable of bytes for WSGI; :meth:`asgi` is for ASGI.

    Give it to the framework as the response's body, with `status` and `headers`; `hfclient.web.flask` and `hfclient.web.django` do so.

    Args:
        source: A stream, a follower of a run, or a function that returns one. A function is called apart from the request, so there
            are heartbeats while the service has not answered yet; it must not use the request. A body that is never read never
            calls it.
        format: Writes the events. Each body needs an object of its own.
        heartbeat: Seconds without a byte after which a heartbeat is sent; None: none.
        wait: Seconds to wait for the beginning of the answer before the body is returned, so that a refusal raises here and can
            become the status of the response; None: a refusal is the first event of the body. A slower answer is not affected.
        problem: Describes errors: `hfclient.web.problem`, perhaps with options, as in ``functools.partial(problem, titles=...)``.
        details: Show what else is kept from browsers: the text of errors (see `problem`), the message of `Status`, the reason of
            `Failover`, the URL of `File` (which needs the application's login), the content of `Unknown`, and ``extra`` fields.
        on_close: Called once when the body has ended or was closed.

    Attributes:
        status: The HTTP status, 200.
        headers: The headers of the response.

    Raises:
        HFClientError: The error that came within *wait* seconds.
        InvalidInputError: An argument is invalid.
    """

    def __init__(
        self,
        source: SourceLike,
        format: Format,
        *,
        heartbeat: float | None = 1.0,
        wait: float | None = None,
        problem: Callable[..., problems.Problem] = problems.problem,
        details: bool = False,
        on_close: Callable[[], object] | None = None,
    ) -> None:
        for name, value in (("heartbeat", heartbeat), ("wait", wait)):
            if value is not None and not value > 0:
                raise InvalidInputError(f"{name}= is a number of seconds above 0, or None, not {value!r}")
        self.status = 200
        self.headers = {**format.headers, **_HEADERS}
        self._reader = Reader(source)
        self._format = format
        self._heartbeat = heartbeat if format.heartbeat is not None else None
        self._problem = functools.partial(problem, details=True) if details else problem
        self._details = details
        self._on_close = on_close
        self._once = threading.Lock()  # taken by the thread that calls on_close; never given back
        self._tick = max(_SHORTEST_TICK, min(seconds for seconds in (_LONGEST_TICK, heartbeat, wait) if seconds is not None))
        self._early: list[list[AnyEvent | Entry]] = []
        self._pieces: Generator[bytes, None, None] | None = None
        if wait is not None:
            self._wait(wait)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {type(self._format).__name__}{' closed' if self._reader.closed else ''}>"

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._pieces is None:
            self._pieces = self._write(self._tick, self._heartbeat)
        return next(self._pieces)

    def asgi(self) -> AsyncIterator[bytes]:
        """Return an async iterator over the bytes, which never blocks the loop. Leaving or cancelling it closes the body."""
        from hfclient.web.asgi import Handover

        if self._pieces is None:
            self._pieces = self._write(None, None)  # the loop keeps the time of heartbeats
        pieces = ([piece] for piece in self._pieces)
        return Handover(
            pieces,
            self.close,
            seconds=self._heartbeat,
            idle=self._format.heartbeat,
            join=b"".join,
            weight=len,
            limit=_BUFFER,
        )

    def close(self) -> None:
        """Leave the answer: stops or detaches it, as the stream's ``on_close`` says. Idempotent, from any thread, never raises."""
        self._reader.close()
        if self._pieces is not None:
            quietly(self._pieces.close)
        self._ended()

    def _ended(self) -> None:
        if self._on_close is not None and self._once.acquire(blocking=False):
            quietly(self._on_close)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        try:
            for batch in self._reader.batches(self._tick):
                if batch:
                    self._early.append(batch)
                # A refusal may come behind these: chat-ui 0.20 says "started", and often names the conversation, before the model refuses.
                if any(type(_event(item)) not in _NOT_YET for item in batch) or time.monotonic() >= end:
                    return
        except BaseException:
            self.close()
            raise

    def _failure(self, error: Exception) -> bytes:
        try:
            shown = self._problem(error)
        except Exception as mistake:  # noqa: BLE001 (of the application's function)
            problems.log_problem(logger, mistake, "failed")
            shown = problems.problem(error)
        return self._format.problem(shown, error) + self._format.end("failed")

    def _write(self, tick: float | None, heartbeat: float | None) -> Generator[bytes, None, None]:
        """Yield the pieces of the body; a heartbeat after so many seconds without a piece, as far as there are ticks."""
        form, reader, hides = self._format, self._reader, not self._details
        status, last = "completed", time.monotonic()
        pieces: list[bytes] = []
        try:
            if not reader.closed and (piece := form.begin()):
                yield piece
            for batch in itertools.chain(self._early, reader.batches(tick)):
                for item in batch:
                    event, event_id = (item.event, item.id) if isinstance(item, Entry) else (item, None)
                    if type(event) is FinalAnswer:
                        status = "interrupted" if event.interrupted else "completed"
                    if hides and (type(event) is not Token or event.extra is not None):
                        event = _public(event)
                    pieces.append(form.event(event, event_id))
                piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                if heartbeat is not None:
                    now = time.monotonic()
                    # A tick comes after that time, except for rounding.
                    if piece:
                        last = now
                    elif now - last > heartbeat - _SHORTEST_TICK / 2:
                        last, piece = now, form.heartbeat or b""
                if piece:
                    yield piece
            status = reader.status or status
            if reader.closed:
                return
            if status == "running":  # this process shuts down, and another one continues the run
                if not form.can_resume:
                    yield self._failure(StreamInterrupted("the process that read the run was shut down"))
            elif piece := form.end(status):
                yield piece
        except Cancelled:
            # The application stopped the answer, unless the body was closed: then the browser has left.
            if not reader.closed and (piece := form.end("interrupted")):
                yield piece
        except Exception as error:  # noqa: BLE001 (it becomes the end of the body)
            if not reader.closed:
                problems.log_problem(logger, error, "failed")
                if piece := b"".join(pieces):  # the error may be that a later event cannot be written
                    yield piece
                yield self._failure(error)
        finally:
            reader.close()
            self._ended()


def _public(event: AnyEvent) -> AnyEvent:
    """Return the event without what concerns the application alone: texts of the server about failures, its URLs, what is unknown."""
    if event.extra is not None:
        event = evolve(event, extra=None)
    match event:
        case Status() if event.message is not None:
            return evolve(event, message=None)
        case Failover():
            return evolve(event, reason="")
        case File() if event.url is not None:
            return evolve(event, url=None)
        case Unknown():
            return evolve(event, raw={})
        case _:
            return event


def _event(item: AnyEvent | Entry) -> AnyEvent:
    return item.event if isinstance(item, Entry) else item


def sse(
    source: SourceLike,
    *,
    format: Callable[[], Format] | None = None,
    retry: float = 1.0,
    **options: Any,
) -> Body:
    """Return the body of a response with server-sent events.

    Args:
        source: A stream, a follower of a run, or a function that returns one.
        format: A function that returns a `Format`, such as the class itself; None: `EventStream`.
        retry: Seconds that a browser waits before it reconnects, in the format `EventStream`.
        options: ``heartbeat``, ``wait``, ``problem``, ``details``, ``on_close``: those of `Body`.

    Reference: the HTML standard, section 9.2 (server-sent events)
    """
    if not 0 <= retry <= _LONGEST_RETRY:
        raise InvalidInputError(f"retry= is a number of seconds from 0 to {_LONGEST_RETRY}, not {retry!r}")
    if format is None:
        return Body(source, EventStream(retry), **options)
    if not callable(format):
        name = type(format).__name__  # type: ignore[unreachable]
        raise InvalidInputError(f"format= is a class, or a function that returns a format, since each body needs one of its own; not a {name}")
    return Body(source, format(), **options)


def ndjson(source: SourceLike, **options: Any) -> Body:
    """Return the body of a response with a JSON object on each line. *options* are those of `Body`.

    Reference: https://github.com/ndjson/ndjson-spec
    """
    return Body(source, JsonLines(), **options)


def text(source: SourceLike, **options: Any) -> Body:
    """Return the body of a response with the text of the answer alone. *options* are those of `Body`.

    Text has no place for heartbeats, so a server notices only at the next token that the browser has left. A failure in
    mid-answer breaks the connection off.
    """
    return Body(source, Text(), **options)
