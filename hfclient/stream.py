"""`Stream`: one response, one consumer.

A stream owns its response. The request has been sent before the stream exists, so a refusal raises at the call; later
errors raise from the iterator. A subclass yields blocks of events, and the stream yields the events of each block: no
function is called for each event.
"""

from __future__ import annotations

import contextlib
import operator
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from hfclient.display import LiveDisplayed, shorten
from hfclient.errors import Cancelled, HFClientError, StreamConsumed, StreamInterrupted
from hfclient.events import AnyEvent, ElicitationResolved, ReasoningStatus, Token, ToolEta, ToolProgress, WebSearch
from hfclient.process.forks import reset_after_fork
from hfclient.process.once_flag import OnceFlag
from hfclient.reply_builder import ReplyBuilder
from hfclient.transport import Response
from hfclient.transport.response import add_address
from hfclient.types import Reply

if TYPE_CHECKING:
    from hfclient.ticking import Puller

__all__ = ["LastReply", "Stream"]

_S = TypeVar("_S", bound="Stream")
# Not content, but a sign of progress.
_PROGRESS = frozenset({ElicitationResolved, ReasoningStatus, ToolEta, ToolProgress, WebSearch})


class LastReply(threading.local):
    """The last answer of each thread, for ``client.last``. A pickled copy has none.

    It keeps no stream alive. While the stream exists, the answer is the one of the stream; when it goes, its `Reply` stays.
    """

    _entry: _Entry | None = None

    def __reduce__(self) -> tuple[type[LastReply], tuple[()]]:
        return LastReply, ()

    def note(self, stream: Stream) -> None:
        """Make the answer of *stream* the last one of this thread."""
        if stream._entry is None:
            stream._entry = _Entry(stream)
        self._entry = stream._entry

    def keep(self, reply: Reply) -> None:
        """Make *reply* the last answer of this thread."""
        self._entry = _Entry(None, reply)

    def get(self) -> Reply | None:
        """Return the last answer of this thread, complete or as far as it has been received."""
        entry = self._entry
        if entry is None:
            return None
        stream = None if entry.stream is None else entry.stream()
        return entry.reply if stream is None else stream.partial


class _Entry:
    """One answer: its stream while that exists, then its reply."""

    __slots__ = ("reply", "stream")

    def __init__(self, stream: Stream | None, reply: Reply | None = None) -> None:
        self.stream = None if stream is None else weakref.ref(stream)
        self.reply = reply


class Stream(LiveDisplayed):
    """A blocking iterator over the events of one answer.

    Read it once: by iterating, with :meth:`iter_text`, or whole with :attr:`text` or :meth:`result`. Leaving early
        (``break``, the end of a ``with``, an exception) closes it and frees the connection at once.

    Args:
        response: The response, which the stream owns from now on.
        on_event: Called with each event before the reader gets it.
        fields: Fields of the `Reply` that are known already, such as the model.
        last: Gets the answer as the last one of this thread, and of the thread that reads it.

    Attributes:
        opened_after: Seconds from the call until the server had accepted the request.
    """

    _entry: _Entry | None = None

    def __init__(
        self,
        response: Response,
        *,
        on_event: Callable[[AnyEvent], object] | None = None,
        fields: dict[str, Any] | None = None,
        last: LastReply | None = None,
    ) -> None:
        self._response = response
        response.deadline.pause()  # until the first read
        self.opened_after = response.deadline.clock.elapsed
        self._on_event = on_event
        self._fields: dict[str, Any] = {"request_id": response.request_id, **(fields or {})}
        self._builder = ReplyBuilder()
        self._events: Iterator[Any] | None = None
        self._block: list[AnyEvent] = []
        self._rest: Iterator[AnyEvent] = iter(())
        self._state = "open"  # open, reading, done (complete), failed, closed (left early)
        self._error: HFClientError | None = None
        self._waiting = True  # for the first content
        self._closed_by: int | None = None  # a thread's id
        self._reader: int | None = None  # id of the last thread that read
        self._pulling = False  # the reader is inside `next(blocks)`, or waits for its helper thread
        self._puller: Puller[list[AnyEvent]] | None = None  # of ticks()
        self._seconds: float | None = None  # between two ticks
        self._settled = OnceFlag()  # set by the reader or by close(): the first one ends the stream
        self._released = OnceFlag()  # the connection is freed
        reset_after_fork(self._reset_after_fork)
        self._last = last
        if last is not None:
            last.note(self)
        scope = response.deadline.clock.cancellation.scope
        if scope is not None and scope.add(self):  # it was cancelled before. A subclass sets its attributes before this
            response.abort()

    def _reset_after_fork(self) -> None:
        if self._reader != threading.get_ident():  # a forked child does not have that thread
            self._pulling = False

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            "a stream cannot be copied or pickled: it owns a connection; its events can, and so can what result() returns"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state}>"

    def __str__(self) -> str:
        hint = (
            "show() shows the answer as it comes, .text is the whole of it"
            if self._state in ("open", "reading")
            else "what has come is in .partial"
            if self._state in ("failed", "closed")
            else "result() has the answer"
        )
        return f"{self!r}: {hint}"

    # Reading

    def __iter__(self) -> Iterator[AnyEvent]:
        """Return an iterator over the remaining events.

        Raises:
            StreamConsumed: It was read to its end or closed.
        """
        self._seconds = None
        if self._events is not None and self._state == "reading":  # after next(): the same iterator
            return self._events
        if self._state != "open":
            raise self._consumed()
        self._state = "reading"
        # Not an attribute: leaving a loop then drops the last reference, and the generator closes the stream.
        return self._read()

    def __next__(self) -> AnyEvent:
        if self._events is None:
            self._events = iter(self)
        try:
            while (event := next(self._events)) is None:
                pass  # a tick: ticks() continued the same iterator
            return event
        except ValueError as exc:
            if str(exc) != "generator already executing":  # of a callback
                raise
            raise StreamConsumed("two threads read one stream; give each a stream of its own") from exc

    def __contains__(self, item: object) -> bool:
        raise TypeError("a stream can be read once only; look in stream.text, or in list(stream)")

    def iter_text(self) -> Iterator[str]:
        """Yield the pieces of the answer's text, without reasoning."""
        for event in self:
            if type(event) is Token:
                yield event.text

    def ticks(self, seconds: float) -> Iterator[AnyEvent | None]:
        """Iterate over the remaining events; yield None each time that nothing came for *seconds*.

        The loop may send a heartbeat then, or leave. Nothing is lost, and deadlines continue. There are ticks in every
        wait: for the next event, before a retry, for another provider, while a stream resumes, and in a tool's function.

        Waits for the body of the answer need no thread. All other steps run in a helper thread while this loop waits, so
        functions of the caller (tools, ``approve``, ``on_elicitation``) are called there, in a copy of the reader's context;
        ``on_event`` is called in the reader's thread. Leaving does not wait for such a function longer than two seconds.
        Under gevent the thread is a greenlet.

        Raises:
            InvalidInputError: *seconds* is not a positive number.
            StreamConsumed: It was read to its end or closed.
        """
        from hfclient.ticking import Puller, checked_seconds

        seconds = checked_seconds(seconds)
        events: Iterator[AnyEvent | None] = iter(self)
        self._puller = self._puller or Puller()
        self._seconds = seconds
        return events

    @property
    def pending(self) -> int:
        """The number of events that have arrived and can be read without waiting."""
        return operator.length_hint(self._rest)

    @property
    def text(self) -> str:
        """The whole text of the answer; reads the stream to its end."""
        return self.result().text

    def result(self) -> Reply:
        """Return the whole answer; reads the stream to its end. Later calls return the same.

        Raises:
            HFClientError: The error that ended the answer early; its ``partial`` has the answer so far.
        """
        if self._state in ("open", "reading"):
            self._drain()
        if self._error is not None:
            raise self._error
        if self._state == "closed":
            raise StreamConsumed(
                "the stream was left before its end; `partial` holds what had come", partial=self.partial
            )
        reply = self.partial
        if self._entry is not None and self._state == "done":
            self._entry.reply = reply  # it does not change any more
        return reply

    def _drain(self) -> None:
        """Read the events, which the caller does not see."""
        deque(self, maxlen=0)

    @property
    def partial(self) -> Reply:
        """The answer so far, as a `Reply`. Never reads, never raises."""
        return self._builder.reply(**self._known())

    def _known(self) -> dict[str, Any]:
        """Return the fields of the reply that no event has."""
        return self._fields

    def _consumed(self) -> StreamConsumed:
        return StreamConsumed(
            "a stream is read once; use `partial` or `result()` for what it held"
            if self._state in ("done", "failed")
            else "the stream was left before its end, or a loop is still reading it; `partial` holds what has come",
            partial=self.partial,
        )

    def _read(self) -> Iterator[Any]:
        builder, blocks, on_event = self._builder, self._blocks(), self._on_event
        if self._last is not None:
            self._last.note(self)
        try:
            while True:
                self._reader = threading.get_ident()  # may change between reads, as in some web servers
                self._pulling = True  # before the check of the state; see _begin_closing
                if self._state == "closed":
                    break
                events = next(blocks, None) if self._puller is None else self._next_or_tick(blocks, self._puller)
                self._pulling = False
                if events is None:
                    break
                if not events and self._puller is not None:  # a tick
                    self._response.deadline.clock.cancellation.check()  # a callback may delay the thread's own error
                    yield None
                    continue
                if builder.add(events) or (not self._waiting and any(type(event) in _PROGRESS for event in events)):
                    self._waiting = False
                    self._response.deadline.content_arrived()
                    if builder.questions:
                        self._response.deadline.pause_content()
                else:
                    self._response.deadline.pause()  # until the next read
                self._block = events
                rest = self._rest = iter(events)
                yield from rest if on_event is None else self._observed(rest, on_event)
            if not self._settled.set():
                if self._closed_by != threading.get_ident():
                    raise Cancelled("the stream was closed while it was being read")
                return  # closed inside its own loop, which then ends
            self._state = "done"
        except HFClientError as error:
            if self._state == "closed" and self._closed_by == threading.get_ident():
                return  # an error after close() is not relevant
            self._fail(error)
            raise
        except KeyboardInterrupt as interrupt:
            shorten(interrupt, has_answer=True)
            raise
        finally:
            self._pulling = False
            if self._state == "reading":  # a break, a GeneratorExit, Ctrl-C, or an exception of the consumer's
                self.close()
            else:
                self._free()

    def _next_or_tick(self, blocks: Iterator[list[AnyEvent]], puller: Puller[list[AnyEvent]]) -> list[AnyEvent] | None:
        """Return the next block, None at the end, or an empty list for a tick.

        A read of the body is interrupted and continued; every other step runs in the helper thread.
        """
        while True:
            response = self._response
            if response.can_tick and not puller.is_asked:
                response.deadline.begin_tick(self._seconds)
                events = next(blocks, None)
                if events == [] and response.can_tick:
                    response.deadline.pause()  # until the next read
                    return events
            else:
                from hfclient.ticking import TICK

                response.deadline.begin_tick(None)
                found = puller.next(blocks, self._seconds)
                if found is TICK:
                    return []
                events = found
            if events != []:
                return events

    def _blocks(self) -> Iterator[list[AnyEvent]]:
        """Yield the events of the answer in blocks; raise the error that ended it, if any.

        An empty block is a tick; or the next step is not a read of the response, whose ``can_tick`` is False then.
        """
        raise NotImplementedError

    def _use(self, response: Response) -> None:
        """Read *response* from now on; the previous one has failed or ended."""
        self._response = response

    @staticmethod
    def _observed(events: Iterator[AnyEvent], on_event: Callable[[AnyEvent], object]) -> Iterator[AnyEvent]:
        for event in events:
            on_event(event)
            yield event

    def _fail(self, error: HFClientError) -> None:
        self._settled.set()
        self._state = "failed"
        if isinstance(error, StreamInterrupted):
            add_address(error, self._response.deadline.address)
        self._error = error
        if error.partial is None:
            error.partial = self.partial

    def _undelivered(self) -> list[AnyEvent]:
        """Events that were received, but not delivered."""
        left = operator.length_hint(self._rest)
        return self._block[len(self._block) - left :] if left else []

    # Ending

    def close(self) -> None:
        """Stop reading and free the connection at once; idempotent. From another thread: as :meth:`cancel`.

        May be called at any moment, also by a signal handler that interrupts the reader.
        """
        if self._begin_closing():
            self._free()

    def _begin_closing(self) -> bool:
        """Mark the stream as closed; True if the caller has to free it.

        The reader may be in another thread, or in this one below a signal handler or a callback. If it is reading, it
        is woken up and frees the stream itself, because another thread must not use a connection that is being read.
        The reader sets ``_pulling`` and then checks the state; this method sets the state and then checks ``_pulling``,
        so one of them sees the other. No lock: the interrupted thread may hold it.
        """
        if not self._settled.set():
            return False
        is_below = self._puller is not None and self._puller.is_own_thread()  # in a callback
        self._closed_by = self._reader if is_below else threading.get_ident()
        self._state = "closed"
        if self._pulling or is_below:
            self._interrupt()
            return False
        if self._puller is not None and (events := self._puller.ready()):  # received since the last tick
            self._builder.add(events)
            self._block, self._rest = events, iter(events)
        return True

    def cancel(self) -> None:
        """Stop the reader, from any thread: its loop raises `Cancelled`. Returns at once."""
        self._interrupt()

    def _interrupt(self) -> None:
        """Wake up the reader, which raises `Cancelled`."""
        self._wake()

    def _wake(self) -> None:
        """End the wait of the thread that reads the response."""
        self._response.abort()

    def _free(self) -> None:
        # Only one thread may use the response: a helper thread that is reading it frees it.
        if (self._puller is None or self._puller.leave(self._wake, self._free)) and self._released.set():
            self._release()

    def _release(self) -> None:
        """Free the connection and all other resources of the stream; called once."""
        self._response.close()

    def __enter__(self: _S) -> _S:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Close the connection of a stream that was not read to its end.
        if getattr(self, "_state", "done") in ("open", "reading"):
            with contextlib.suppress(Exception):  # the interpreter may be shutting down
                self.close()
        if self._entry is not None and self._entry.reply is None:
            with contextlib.suppress(Exception):
                self._entry.reply = self.partial
