"""`ChatStream`: the answer to one message, with all that HuggingChat adds to a stream.

It goes on by itself when its connection breaks (`resume.py`), and it ends on purpose: leaving it early stops the
generation on the server, because closing a connection alone does not.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import evolve

from hfclient.chat.conversations.resume import LogReader
from hfclient.chat.conversations.runs import WAIT, checked_wait
from hfclient.chat.conversations.stopping import STOP_BUDGET, leave_at_exit, send_stop, stop_in_background, try_stop
from hfclient.chat.wire.tools import ElicitationAnswer, OnElicitation
from hfclient.chat.wire.turn import Turn
from hfclient.chat.wire.updates import UpdateDecoder
from hfclient.decoding.utf16 import utf16_length
from hfclient.errors import (
    Cancelled,
    ConflictError,
    ConnectError,
    GenerationError,
    HFClientError,
    NotFoundError,
    StreamInterrupted,
    TransportTimeout,
)
from hfclient.events import AnyEvent, Elicitation, ElicitationResolved, Reasoning, Token
from hfclient.process.garbage_collection import in_gc_finalizer
from hfclient.process.latch import Latch
from hfclient.stream import Stream
from hfclient.transport import Cancellation, Response
from hfclient.types import Reply

if TYPE_CHECKING:
    from hfclient.chat.conversations.conversation import Conversation
    from hfclient.chat.conversations.sending import Sender, SendOptions

__all__ = ["ChatStream", "OnClose"]

OnClose: TypeAlias = Literal["stop", "detach"]

_log = logging.getLogger("hfclient")
_SILENCE = 0.4  # seconds without a byte after which close() no longer waits to be told how the answer ended


class ChatStream(Stream):
    """A blocking iterator over the events of one answer of a `Conversation`.

    Leaving it early (``break``, the end of a ``with``, Ctrl-C, an exception, :meth:`close`) stops the generation on the
    server, unless ``on_close="detach"`` was asked for: then it goes on there and ``Conversation.attach`` picks it up.

    Attributes:
        conversation: The conversation that it belongs to.
        generation_id: The id of the run on the server.
    """

    def __init__(
        self,
        response: Response,
        conversation: Conversation,
        turn: Turn,
        *,
        sender: Sender,
        options: SendOptions,
        live: bool,
        on_end: Callable[[ChatStream], object],
    ) -> None:
        self._ended_with = on_end
        self._turn = turn
        self._updates = UpdateDecoder(file_url=conversation.file_url, limit=response.limits.line)
        super().__init__(
            response,
            self._updates,
            on_event=conversation.service.on_event,
            fields={
                "model": conversation.model,
                "conversation_id": turn.conversation_id,
                "generation_id": turn.generation_id,
            },
        )
        self.conversation = conversation
        self.generation_id = turn.generation_id
        self._sender = sender
        self._options = options
        self._live = live
        self._cancellation = Cancellation()
        self._stopped = False
        self._told = Latch()  # the server knows that the run is not read to its end
        self._told_its_end = False
        self._run_is_over = False
        self._process = os.getpid()
        leave_at_exit(self)

    def _blocks(self) -> Iterator[list[AnyEvent]]:
        on_elicitation = self._options.on_elicitation
        if on_elicitation is None:
            yield from self._run_blocks()
            return
        while True:
            parked: Elicitation | None = None
            for events in self._run_blocks():
                yield events
                settled = {event.elicitation_id for event in events if type(event) is ElicitationResolved}
                for event in events:
                    if type(event) is Elicitation and event.elicitation_id not in settled:
                        parked = event if self._answer(event, on_elicitation) else parked
            if parked is None:
                return
            self._go_on(parked)

    def _answer(self, question: Elicitation, on_elicitation: OnElicitation) -> bool:
        answer = ElicitationAnswer.of(on_elicitation(question))
        try:
            return self._sender.answer(self._turn, question, answer, self._cancellation)
        except (ConflictError, NotFoundError) as error:  # somebody was quicker, or the log tells of one long settled
            _log.info("the question %s needs no answer: %s", question.elicitation_id, error.message)
            return False

    def _go_on(self, question: Elicitation) -> None:
        """Start the run that goes on after the answer to a question that had ended the one before."""
        self._response.close()
        conversation_id, cancellation = self._turn.conversation_id, self._cancellation
        until = time.monotonic() + checked_wait(WAIT, self._response.deadline.remaining())
        self._sender.runs.note(self._turn, over=self._run_is_over)
        with self._sender.runs.alone(conversation_id, until):
            state = self._sender.settle(conversation_id, until, cancellation=cancellation, use=self._use)
            self._turn, data = self._sender.parked_turn(state, question.elicitation_id)
            data.update(self._options.tools)
            response, self._live = self._sender.post(self._turn, data, (), self._options, cancellation)
        self._waiting, self._told_its_end, self._run_is_over, self._told = True, False, False, Latch()
        self._sender.last = self._turn
        self.generation_id = self._turn.generation_id
        self._fields["generation_id"] = self.generation_id
        self._updates = UpdateDecoder(file_url=self.conversation.file_url, limit=response.limits.line)
        self._use(response)

    def _run_blocks(self) -> Iterator[list[AnyEvent]]:
        trouble: HFClientError | None = None
        body_ended = title_is_late = False
        log = LogReader(
            self.conversation.service,
            self._turn,
            self._updates,
            timeouts=self._options.timeouts,
            deadline=self._response.deadline,
            use=self._use,
            cancellation=self._cancellation,
        )
        if not self._live:
            try:
                yield from log.blocks(self._response)
            except (GenerationError, StreamInterrupted, Cancelled, TransportTimeout):
                raise
            except HFClientError as error:
                raise self._interrupted(f"the answer's log cannot be read: {error.message}") from error
            finally:
                self._run_is_over = log.run_is_over
            return
        try:
            for data in self._response.chunks("stream"):
                if events := self._updates.feed(data):
                    yield events
                    if self._updates.broken is not None:
                        raise self._updates.broken
                    if self._updates.finished:  # all that is left is the end of the body, so that the connection can be kept
                        self._response.deadline.wind_down(idle=_SILENCE, total=_SILENCE)
                if self._waiting and self._updates.kept_alive:  # from then on their absence tells of a dead connection
                    self._response.deadline.count_bytes()
            if events := self._updates.end_of_body():
                yield events
            if self._updates.complete or self._stopped:  # servers up to 0.10 end a stopped answer without a word
                self._told_its_end = True
                # The server saves before it ends the body, whose end is certain if it says so itself.
                self._run_is_over = self._is_framed()
                yield from self._finish()
                return
            body_ended = not self._updates.is_cut
            trouble = StreamInterrupted("the answer ended before the server said that it was complete")
        except ConnectError as error:
            trouble = StreamInterrupted(f"the answer broke off: {error.message}")
            trouble.__cause__ = error
        except TransportTimeout as error:
            title_is_late = error.deadline == "next_token" and self._updates.ended
            if error.deadline != "idle" and not self._updates.finished and not title_is_late:
                raise
            trouble = error  # keep-alives stopped: the connection is dead, the run need not be
        if self._updates.finished or title_is_late:  # nothing comes after that
            yield from self._finish()
            return
        log.start_after(self._updates, body_ended=body_ended, is_over=body_ended and self._is_framed())
        yield from self._mend(trouble, log)

    def _is_framed(self) -> bool:
        return "transfer-encoding" in self._response.headers or "content-length" in self._response.headers

    def _finish(self) -> Iterator[list[AnyEvent]]:
        if events := self._updates.finish():
            yield events
        if not self._stopped or self._updates.error is not None:
            self._updates.check_end()

    def _mend(self, trouble: HFClientError, log: LogReader) -> Iterator[list[AnyEvent]]:
        """Go on after *trouble* where the stream broke; raise it if that does not work."""
        if self._state != "reading":
            raise trouble
        self._live = False
        _log.info("conversation %s: %s; going on through the log", self._turn.conversation_id, trouble.message)
        self._response.close()
        self._updates.drop_line()
        try:
            yield from log.blocks()
        except (GenerationError, Cancelled):
            raise
        except HFClientError as error:
            if self._updates.ended:  # only a title can be missing
                yield from self._finish()
                return
            if isinstance(error, TransportTimeout) and error.deadline in ("total", "next_token"):
                raise
            what = f"{trouble.message}; it could not be picked up again ({error.message})"
            raise self._interrupted(what) from trouble
        finally:
            self._run_is_over = log.run_is_over

    def _interrupted(self, what: str) -> StreamInterrupted:
        return StreamInterrupted(
            f"{what}. The answer may be complete on the server: "
            f"client.conversation({self._turn.conversation_id!r}).attach({self._turn.generation_id!r})",
            conversation_id=self._turn.conversation_id,
            generation_id=self._turn.generation_id,
            method="POST",
            url=self._response.url,
        )

    @property
    def partial(self) -> Reply:
        """What has come so far, as a `Reply`. Never reads, never raises."""
        reply = super().partial
        return evolve(reply, interrupted=True) if self._stopped and not self._updates.ended else reply

    def _use(self, response: Response) -> None:
        self._response = response
        if not self._waiting:  # what came before counts: from now on silence alone is bounded
            response.deadline.content_came()
        if self._cancellation.requested:
            response.abort()

    def _fail(self, error: HFClientError) -> None:
        if isinstance(error, (GenerationError, StreamInterrupted)):
            error.conversation_id = self._turn.conversation_id
            error.generation_id = self._turn.generation_id
        # After a deadline, say, nobody waits for the rest. An answer that was interrupted may be picked up again.
        stops = not isinstance(error, (GenerationError, StreamInterrupted)) and self._may_stop()
        self._stopped = self._stopped or stops
        super()._fail(error)
        if stops:
            self._stop_in_background()

    # Ending

    def stop(self) -> None:
        """Stop the generation on the server and keep reading: the answer then ends early. From any thread.

        Does nothing once the answer is complete: a stop without a run would hit the next one.

        Raises:
            TransportError, APIStatusError: The server could not be told.
        """
        if self._state in ("open", "reading") and not self._updates.complete:
            self._stopped = True
            service, conversation_id = self.conversation.service, self._turn.conversation_id
            send_stop(service, conversation_id, self.generation_id, self._seen_units())

    def close(self) -> None:
        """Leave the stream now: stop the generation (or detach from it) and free the connection; idempotent.

        A server that still speaks is given up to two seconds to say how the answer ended; a silent one is left in less
        than half a second. Never raises over an error that is already on its way. May be called at any moment, also by a
        signal handler that interrupts the reader.
        """
        if not self._begin_closing():
            return
        try:
            if self._may_stop():
                self._stop_and_wait()
        finally:
            self._free()

    def cancel(self) -> None:
        """Stop the reader, from any thread: its loop raises `Cancelled`, and the generation is stopped like by `close`."""
        if self._pulling:
            self._interrupt()
            return
        self._cancellation.cancel()
        self._response.abort()
        self.close()
        self._closed_by = None  # also a loop of this thread's is told

    def _interrupt(self) -> None:
        if self._may_stop():
            self._stopped = True
            self._stop_in_background()
        self._cancellation.cancel()
        self._response.abort()

    def _may_stop(self) -> bool:
        """Whether leaving stops the run: not one that has ended, nor a parent process's, of which this is a copy."""
        return self._options.on_close == "stop" and not self._updates.complete and self._process == os.getpid()

    def _stop_and_wait(self) -> None:
        self._stopped = True
        started = time.monotonic()
        told = self._stop_in_background()
        if in_gc_finalizer():  # whatever thread that is has other things to do than to wait
            return
        self._transcript.left(self._undelivered())
        self._response.deadline.wind_down(idle=_SILENCE, total=STOP_BUDGET)
        try:
            # Another thread's loop may be about to go on: a body has one reader.
            if self._live and self._reader in (None, threading.get_ident()):
                for data in self._response.chunks():
                    self._transcript.add(self._updates.feed(data))
                    if self._updates.ended:
                        break
                else:
                    self._told_its_end = True
                    self._run_is_over = self._is_framed()
        except Exception as error:  # noqa: BLE001 (interrupted in mid-read, the response may be in any state)
            _log.debug("reading on after a stop: %s", type(error).__name__)
        if told is not None:
            told.join(max(0.0, started + _SILENCE - time.monotonic()))

    def _leave_for_good(self, budget: float) -> None:
        """The process ends: stop the generation in this thread, and wait for no last words. For `hfclient.chat.conversations.stopping`."""
        others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
        read_on = self._reader in others  # by a daemon thread, for as long as it may: it is not to be startled
        if self._state not in ("open", "reading") or (not read_on and not self._begin_closing()):
            return
        if self._may_stop():
            self._stopped = True
            service, conversation_id = self.conversation.service, self._turn.conversation_id
            try_stop(service, conversation_id, self.generation_id, self._seen_units(), budget)
        if not read_on:
            self._free()
        self.conversation.service.session.close()  # what this took, Python would otherwise warn of

    def _stop_in_background(self) -> threading.Thread | None:
        """Tell the server, unless it was told; see `stop_in_background`."""
        if not self._told.set():
            return None
        service, conversation_id = self.conversation.service, self._turn.conversation_id
        return stop_in_background(service, conversation_id, self.generation_id, self._seen_units())

    def _seen_units(self) -> int:
        """Return how much of the stored text has been handed out, in UTF-16 units: where the server shall cut it."""
        seen = self._updates.text_units - self._updates.held_units
        left = self._undelivered()
        if self._updates.thought_units:  # reasoning that comes apart is no part of the text
            return seen - sum(utf16_length(event.text) for event in left if isinstance(event, Token))
        texts = [event for event in self._block if isinstance(event, (Token, Reasoning))]
        unseen = [event for event in left if isinstance(event, (Token, Reasoning))]
        seen -= sum(utf16_length(event.text) for event in unseen)
        # The tags between the pieces are part of it, too.
        for before, event in itertools.pairwise(texts[-len(unseen) - 1 :] if unseen else ()):
            if type(event) is not type(before):
                seen -= len("<think>" if isinstance(event, Reasoning) else "</think>")
        return seen

    def _release(self) -> None:
        super()._release()
        if self._process == os.getpid():  # of a child's copy the conversation learns nothing: it is the parent's answer
            self._ended_with(self)

    @property
    def turn(self) -> Turn:
        """What was sent."""
        return self._turn

    @property
    def run_is_over(self) -> bool:
        """Whether the run is known to have ended on the server: the end of its body or of its log has been read."""
        return self._run_is_over

    @property
    def stop_unconfirmed(self) -> bool:
        """Whether a stop was asked for without a sign that it ended this run: it may then hit the next one."""
        final = self._transcript.final
        return self._stopped and not (final.interrupted if final is not None else self._told_its_end)
