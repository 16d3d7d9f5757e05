"""`Stream`: one response, one consumer.

A stream owns its response. The request has been sent when it exists, so what the server refused was raised at the
call; what breaks later raises from the iterator. A subclass reads the response and yields events by the block, and out go
the events of that block one by one: there is no layer that is called per event.
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
_PAGE = 4096  # pieces that are kept apart
# No content of its own, but a sign that the work behind the answer goes on.
_PROGRESS = frozenset({ElicitationResolved, ReasoningStatus, ToolEta, ToolProgress, WebSearch})


class _TextBuffer:
    """Text that comes in pieces, which are joined into pages from time to time: a token of four characters takes 60 bytes.

    Another thread may read it, or a signal handler in the middle of anything here: *pieces* only changes in single steps that
    leave the text as it is, and while one thread joins, the others do not.
    """

    __slots__ = ("_joining", "_paged", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._paged = 0  # how many of them are pages
        self._joining = threading.Lock()

    def compact(self) -> None:
        """Join the pieces since the last page into another page, if they are enough for one."""
        if len(self.pieces) - self._paged > _PAGE:
            self._join(self._paged)

    def whole(self) -> str:
        """Return the whole text, which is kept joined."""
        self._join(0)
        return "".join(self.pieces)

    def _join(self, start: int) -> None:
        if self._joining.acquire(blocking=False):
            try:
                count = len(self.pieces)  # the reader may add to them meanwhile
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
        self.questions: set[str] = set()  # of tools, that wait for an answer
        self._taken: tuple[int, int] | None = None  # how much of text and reasoning the reader had when it left

    @property
    def title(self) -> str | None:
        """The conversation's title, if it came."""
        return self._fields.get("title")

    def add(self, events: list[AnyEvent]) -> bool:
        """Take over *events*; True if there is content among them (text, reasoning, tools, files)."""
        if len(events) == 1 and type(event := events[0]) is Token:  # a token at a time
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
                # Not content; and the route and the usage so far are those of the provider that failed.
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

    def left(self, undelivered: list[AnyEvent]) -> None:
        """Note that the reader has gone and will not get *undelivered*, nor what comes from now on."""
        texts = sum(len(event.text) for event in undelivered if isinstance(event, Token))
        thoughts = sum(len(event.text) for event in undelivered if isinstance(event, Reasoning))
        self._taken = len(self.text()) - texts, len(self.thoughts()) - thoughts

    def reply(self, **fields: Any) -> Reply:
        """Return the answer as it stands, with *fields* added.

        The server's final answer is authoritative. Without tools it replaces the tokens, which may hold a failed first
        attempt; with tools it covers the last round only and is merged as the server itself merges it. But one that was
        interrupted is only what the server had kept by then: it takes nothing away that the reader has had.
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

    Read it once: by iterating, with :meth:`iter_text`, or whole with :attr:`text` or :meth:`result`. Leaving early (a
    ``break``, the end of a ``with``, an exception) closes it and frees the connection at once.

    Args:
        response: The answer that it owns from now on.
        on_event: Called with each event before it is handed out.
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
        response.deadline.pause()  # until it is read
        self._on_event = on_event
        self._fields: dict[str, Any] = {"request_id": response.request_id, **(fields or {})}
        self._builder = ReplyBuilder()
        self._events: Iterator[AnyEvent] | None = None
        self._block: list[AnyEvent] = []
        self._rest: Iterator[AnyEvent] = iter(())
        self._state = "open"  # open, reading, done (read to a good end), failed, closed (left early)
        self._error: HFClientError | None = None
        self._waiting = True  # for the first content
        self._closed_by: int | None = None  # the thread that did
        self._reader: int | None = None  # the thread that reads, or was the last to
        self._pulling = False  # it is in the middle of that
        self._settled = OnceFlag()  # how the stream ends is decided: by its reader or by close(), whichever comes first
        self._released = OnceFlag()  # its connection is given up
        reset_after_fork(self)

    def _reset_after_fork(self) -> None:
        if self._reader != threading.get_ident():  # in a forked child: that thread is not there
            self._pulling = False

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            "a stream cannot be copied or pickled: it owns a connection; its events can, and so can what result() returns"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state}>"

    # Reading

    def __iter__(self) -> Iterator[AnyEvent]:
        """Return the events still to come.

        Raises:
            StreamConsumed: It was read to its end or closed.
        """
        if self._events is not None and self._state == "reading":  # next() was used before: continue with that iterator
            return self._events
        if self._state != "open":
            raise self._consumed()
        self._state = "reading"
        # Not kept on self: a loop that is left then drops the last reference, and the generator closes the stream.
        return self._read()

    def __next__(self) -> AnyEvent:
        if self._events is None:
            self._events = iter(self)
        try:
            return next(self._events)
        except ValueError as exc:
            if str(exc) != "generator already executing":  # a callback's own
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
        """Return the whole answer; reads the stream to its end. May be asked again.

        Raises:
            HFClientError: What ended the answer early; ``partial`` on it holds what had come.
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
        """What has come so far, as a `Reply`. Never reads, never raises."""
        return self._builder.reply(**self._known())

    def _known(self) -> dict[str, Any]:
        """Return the fields of the reply that no event tells of."""
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
                self._reader = threading.get_ident()  # not always the same: a web server may take turns
                self._pulling = True  # before the look at the state; see _begin_closing
                if self._state == "closed":
                    break
                events = next(blocks, None)
                self._pulling = False
                if events is None:
                    break
                if builder.add(events) or (not self._waiting and any(type(event) in _PROGRESS for event in events)):
                    self._waiting = False
                    self._response.deadline.content_came()
                    if builder.questions:
                        self._response.deadline.hold()
                else:
                    self._response.deadline.pause()  # while the caller handles it: it is not content
                self._block = events
                rest = self._rest = iter(events)
                yield from rest if on_event is None else self._observed(rest, on_event)
            if not self._settled.set():
                if self._closed_by != threading.get_ident():
                    raise Cancelled("the stream was closed while it was being read")
                return  # by its own loop, which then ends
            self._state = "done"
        except HFClientError as error:
            if self._state == "closed" and self._closed_by == threading.get_ident():
                return  # what reading on after its end gives is of no interest
            self._fail(error)
            raise
        finally:
            self._pulling = False
            if self._state == "reading":  # a break, a GeneratorExit, Ctrl-C, or an exception of the consumer's
                self.close()
            else:
                self._free()

    def _blocks(self) -> Iterator[list[AnyEvent]]:
        """Yield the events of the answer by the block; raise the error that ended it, if any."""
        raise NotImplementedError

    def _use(self, response: Response) -> None:
        """Read this response from now on, instead of one that failed or has ended."""
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
        """Events that have been received but not handed out."""
        left = operator.length_hint(self._rest)
        return self._block[len(self._block) - left :] if left else []

    # Ending

    def close(self) -> None:
        """Stop reading and free the connection at once; idempotent. From another thread it does what :meth:`cancel` does.

        May be called at any moment, also by a signal handler that interrupts the reader.
        """
        if self._begin_closing():
            self._free()

    def _begin_closing(self) -> bool:
        """Mark the stream as closed; True if the caller is to end it, False if nothing is left to do.

        The reader may be in another thread, or below: this may be a signal handler, or a callback. Then it is woken up and
        ends the stream itself, because no other thread can touch a connection that is being read. It says that it pulls and
        then looks at the state; here the state is set first, so that one of the two notices the other. No lock: the
        thread that holds it may be the one that was interrupted.
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
        """Free the connection and all else that the stream holds: called once."""
        self._response.close()

    def __enter__(self: _S) -> _S:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        # A stream that was not read: its connection must not stay open until the server gives up.
        if getattr(self, "_state", "done") in ("open", "reading"):
            with contextlib.suppress(Exception):  # the interpreter may be shutting down, and no caller can catch it
                self.close()
