"""`Stream`: one response, one consumer.

A stream owns its response. The request has been sent before the stream exists, so a refusal raises at the call; later
errors raise from the iterator. A subclass yields blocks of events, and the stream yields the events of each block: no
function is called for each event.
"""

from __future__ import annotations

import contextlib
import operator
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

from attrs import evolve

from hfclient.decoding.think_tags import split_thinking
from hfclient.errors import Cancelled, HFClientError, StreamConsumed, StreamInterrupted
from hfclient.events import (
    AnyEvent,
    Elicitation,
    ElicitationResolved,
    Failover,
    File,
    FinalAnswer,
    Finish,
    Reasoning,
    ReasoningStatus,
    Route,
    Sources,
    Title,
    Token,
    ToolCall,
    ToolError,
    ToolEta,
    ToolProgress,
    ToolResult,
    Usage,
    WebSearch,
)
from hfclient.process.forks import reset_after_fork
from hfclient.process.once_flag import OnceFlag
from hfclient.transport import Response
from hfclient.transport.response import add_address
from hfclient.types import Reply

__all__ = ["ReplyBuilder", "Stream"]

_S = TypeVar("_S", bound="Stream")
_PAGE = 4096  # pieces that are not joined yet
# Not content, but a sign of progress.
_PROGRESS = frozenset({ElicitationResolved, ReasoningStatus, ToolEta, ToolProgress, WebSearch})


class _TextBuffer:
    """Text in pieces, which are joined into pages from time to time: a token of four characters takes 60 bytes.

    Other threads and signal handlers may read it at any moment: each change of *pieces* is atomic and keeps the text,
        and only one thread joins at a time.
    """

    __slots__ = ("_joining", "_paged", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._paged = 0  # number of pages among them
        self._joining = threading.Lock()

    def compact(self) -> None:
        """Join the pieces since the last page into another page, if there are enough."""
        if len(self.pieces) - self._paged > _PAGE:
            self._join(self._paged)

    def whole(self) -> str:
        """Return the whole text and keep it joined."""
        self._join(0)
        return "".join(self.pieces)

    def _join(self, start: int) -> None:
        if self._joining.acquire(blocking=False):
            try:
                count = len(self.pieces)  # the reader may append meanwhile
                if count > start:
                    self.pieces[start:count] = ["".join(self.pieces[start:count])]
                    self._paged = start + 1
            finally:
                self._joining.release()


class ReplyBuilder:
    """Builds the `Reply` of one answer from its events, a block at a time."""

    def __init__(self) -> None:
        self._text = _TextBuffer()
        self._reasoning = _TextBuffer()
        self._fields: dict[str, Any] = {}
        self._lists: dict[str, list[Any]] = {}
        self.final: FinalAnswer | None = None
        self.questions: set[str] = set()  # ids of questions of tools that are not answered yet
        self._taken: tuple[int, int] | None = None  # lengths of text and reasoning that the reader had received

    @property
    def title(self) -> str | None:
        """The conversation's title, or None."""
        return self._fields.get("title")

    def add(self, events: list[AnyEvent]) -> bool:
        """Add *events*; True if they have content (text, reasoning, tools, files)."""
        if len(events) == 1 and type(event := events[0]) is Token:  # one token
            texts = self._text.pieces
            texts.append(event.text)
            if len(texts) > _PAGE:
                self._text.compact()
            return True
        texts, thoughts = self._text.pieces, self._reasoning.pieces
        before = len(texts) + len(thoughts) + len(self._lists)
        for event in events:
            if type(event) is Token:
                texts.append(event.text)
            elif type(event) is Reasoning:
                thoughts.append(event.text)
            else:
                self._add_rare(event)
        has_content = self.final is not None or before != len(texts) + len(thoughts) + len(self._lists)
        self._text.compact()
        self._reasoning.compact()
        return has_content

    def _add_rare(self, event: AnyEvent) -> None:
        match event:
            case Title(title):
                self._fields["title"] = title
            case FinalAnswer():
                self.final = event
            case Finish(reason):
                self._fields["finish_reason"] = reason
            case Usage():
                self._fields["usage"] = event
            case Route():
                self._fields["route"] = _merged(self._fields.get("route"), event)
            case Failover():
                # Not content. The route and the usage so far are those of the provider that failed.
                self._fields["failovers"] = (*self._fields.get("failovers", ()), event)
                self._fields.pop("route", None)
                self._fields.pop("usage", None)
            case Sources(sources):
                self._lists.setdefault("sources", []).extend(sources)
            case ToolCall():
                self._lists.setdefault("tool_calls", []).append(event)
            case ToolResult():
                self.questions.clear()
                self._lists.setdefault("tool_results", []).append(event)
            case ToolError():
                self.questions.clear()
                self._lists.setdefault("tool_errors", []).append(event)
            case File():
                self._lists.setdefault("files", []).append(event)
            case Elicitation():
                self._lists.setdefault("elicitations", []).append(event)
                self.questions.add(event.elicitation_id)
            case ElicitationResolved():
                self.questions.discard(event.elicitation_id)
            case _:
                pass

    def text(self) -> str:
        """Return the text of all tokens so far."""
        return self._text.whole()

    def thoughts(self) -> str:
        """Return the reasoning so far."""
        return self._reasoning.whole()

    def reader_left(self, undelivered: list[AnyEvent]) -> None:
        """Record that the reader stopped without *undelivered* and all later events."""
        texts = sum(len(event.text) for event in undelivered if isinstance(event, Token))
        thoughts = sum(len(event.text) for event in undelivered if isinstance(event, Reasoning))
        self._taken = len(self.text()) - texts, len(self.thoughts()) - thoughts

    def reply(self, **fields: Any) -> Reply:
        """Return the answer so far, with *fields* added.

        The server's final answer is authoritative. Without tools it replaces the tokens, which may include a failed
        first attempt; with tools it covers the last round only and is merged as the server merges it. An interrupted
        one may be shorter than the text that the reader has received; then it is not used.
        """
        text, reasoning = self.text(), self.thoughts()
        if self.final is not None:
            if self.final.extra:
                fields["extra"] = {**(fields.get("extra") or {}), **self.final.extra}
            fields["interrupted"] = self.final.interrupted
            answer, thoughts = split_thinking(self.final.text)
            if self.final.interrupted:
                had_text, had_thoughts = self._taken or (len(text), len(reasoning))
                text = answer if len(answer) >= had_text else text
                reasoning = thoughts if len(thoughts) >= max(1, had_thoughts) else reasoning
            elif "tool_calls" not in self._lists:
                text = answer
                reasoning = thoughts or reasoning
            elif answer.startswith(text):
                text = answer
            elif not text.endswith(answer):
                text = f"{text}{'' if text.endswith(chr(10) * 2) else chr(10) * 2}{answer}"
        fields.update(self._fields)
        fields.update((name, tuple(items)) for name, items in list(self._lists.items()))
        return Reply(text=text, reasoning=reasoning, **fields)


def _merged(old: Route | None, new: Route) -> Route:
    if old is None:
        return new
    return evolve(
        old,
        route=new.route or old.route,
        model=new.model or old.model,
        provider=new.provider or old.provider,
        extra={**(old.extra or {}), **(new.extra or {})} or None,
    )


class Stream:
    """A blocking iterator over the events of one answer.

    Read it once: by iterating, with :meth:`iter_text`, or whole with :attr:`text` or :meth:`result`. Leaving early
        (``break``, the end of a ``with``, an exception) closes it and frees the connection at once.

    Args:
        response: The response, which the stream owns from now on.
        on_event: Called with each event before the reader gets it.
        fields: Fields of the `Reply` that are known already, such as the model.
    """

    def __init__(
        self,
        response: Response,
        *,
        on_event: Callable[[AnyEvent], object] | None = None,
        fields: dict[str, Any] | None = None,
    ) -> None:
        self._response = response
        response.deadline.pause()  # until the first read
        self._on_event = on_event
        self._fields: dict[str, Any] = {"request_id": response.request_id, **(fields or {})}
        self._builder = ReplyBuilder()
        self._events: Iterator[AnyEvent] | None = None
        self._block: list[AnyEvent] = []
        self._rest: Iterator[AnyEvent] = iter(())
        self._state = "open"  # open, reading, done (complete), failed, closed (left early)
        self._error: HFClientError | None = None
        self._waiting = True  # for the first content
        self._closed_by: int | None = None  # a thread's id
        self._reader: int | None = None  # id of the last thread that read
        self._pulling = False  # the reader is inside `next(blocks)`
        self._settled = OnceFlag()  # set by the reader or by close(): the first one ends the stream
        self._released = OnceFlag()  # the connection is freed
        reset_after_fork(self._reset_after_fork)

    def _reset_after_fork(self) -> None:
        if self._reader != threading.get_ident():  # a forked child does not have that thread
            self._pulling = False

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            "a stream cannot be copied or pickled: it owns a connection; its events can, and so can what result() returns"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state}>"

    # Reading

    def __iter__(self) -> Iterator[AnyEvent]:
        """Return an iterator over the remaining events.

        Raises:
            StreamConsumed: It was read to its end or closed.
        """
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
            return next(self._events)
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
            for _ in self:
                pass
        if self._error is not None:
            raise self._error
        if self._state == "closed":
            raise StreamConsumed(
                "the stream was left before its end; `partial` holds what had come", partial=self.partial
            )
        return self.partial

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

    def _read(self) -> Iterator[AnyEvent]:
        builder, blocks, on_event = self._builder, self._blocks(), self._on_event
        try:
            while True:
                self._reader = threading.get_ident()  # may change between reads, as in some web servers
                self._pulling = True  # before the check of the state; see _begin_closing
                if self._state == "closed":
                    break
                events = next(blocks, None)
                self._pulling = False
                if events is None:
                    break
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
        finally:
            self._pulling = False
            if self._state == "reading":  # a break, a GeneratorExit, Ctrl-C, or an exception of the consumer's
                self.close()
            else:
                self._free()

    def _blocks(self) -> Iterator[list[AnyEvent]]:
        """Yield the events of the answer in blocks; raise the error that ended it, if any."""
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
        self._closed_by = threading.get_ident()
        self._state = "closed"
        if self._pulling:
            self._interrupt()
            return False
        return True

    def cancel(self) -> None:
        """Stop the reader, from any thread: its loop raises `Cancelled`. Returns at once."""
        self._interrupt()

    def _interrupt(self) -> None:
        """Wake up the reader, which raises `Cancelled`."""
        self._response.abort()

    def _free(self) -> None:
        if self._released.set():
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
