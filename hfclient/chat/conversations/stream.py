"""`RunStream`: the events of one answer, with resuming and stopping of HuggingChat's runs.

It resumes when its connection breaks (`resume.py`). Leaving it early stops the generation on the server, because closing
a connection alone does not.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

from attrs import evolve

from hfclient.chat.conversations.background import STOP_BUDGET, close_at_exit
from hfclient.chat.conversations.elicitation import report_open
from hfclient.chat.conversations.resume import LogReader
from hfclient.chat.conversations.run import Run
from hfclient.chat.wire.tools import ElicitationAnswer, OnElicitation
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
from hfclient.stream import Stream
from hfclient.transport import Response
from hfclient.types import Reply

__all__ = ["ContinueRun", "RunStream"]

_log = logging.getLogger("hfclient")
_SILENCE = 0.4  # seconds without a byte after which close() no longer waits for the server to end the answer


ContinueRun: TypeAlias = "Callable[[Run, Elicitation, Callable[[Response], None]], tuple[Run, Response]]"
"""Starts the run that continues an answer after a parked question.

Takes the run that has ended, its question, and a function that is called with each response that is opened meanwhile, so
that it can be aborted.
"""


class RunStream(Stream):
    """A blocking iterator over the events of one answer. It knows the run on the server, but not the conversation object.

    Args:
        run: The run on the server.
        response: Its answer or its log.
        model: The LLM, as far as it is known.
        continue_run: Starts the run that continues after a parked question.
        on_end: Called once with the last run and the title that came, when the connection has been freed.
    """

    def __init__(
        self,
        run: Run,
        response: Response,
        *,
        model: str | None,
        continue_run: ContinueRun,
        on_end: Callable[[Run, str | None], object] | None = None,
    ) -> None:
        self._run = run
        self._updates = self._new_decoder(response)
        self._continue_run = continue_run
        self._on_end = on_end
        self._process = os.getpid()
        turn = run.turn
        super().__init__(
            response,
            on_event=run.service.on_event,
            fields={"model": model, "conversation_id": turn.conversation_id, "generation_id": turn.generation_id},
            last=run.service.last,
        )
        close_at_exit(self)

    def _new_decoder(self, response: Response) -> UpdateDecoder:
        file_url = functools.partial(self._run.service.endpoints.file_url, self._run.turn.conversation_id)
        return UpdateDecoder(file_url=file_url, limit=response.limits.line)

    @property
    def generation_id(self) -> str | None:
        """The id of the run on the server; None if the newest run is read and its id is not known."""
        return self._run.turn.generation_id

    @property
    def on_elicitation(self) -> OnElicitation | None:
        """The function that answers the questions of tools; it can be set before the first event is read."""
        return self._run.options.on_elicitation

    @on_elicitation.setter
    def on_elicitation(self, answer: OnElicitation | None) -> None:
        self._run.options = evolve(self._run.options, on_elicitation=answer)

    def _blocks(self) -> Iterator[list[AnyEvent]]:
        on_elicitation = self._run.options.on_elicitation
        return self._run_blocks() if on_elicitation is None else self._answering_blocks(on_elicitation)

    def _drain(self) -> None:
        if self._run.options.on_elicitation is not None:
            super()._drain()
            return
        for event in self:
            if type(event) is Elicitation:
                report_open(event)

    def _answering_blocks(self, on_elicitation: OnElicitation) -> Iterator[list[AnyEvent]]:
        while True:
            parked: Elicitation | None = None
            for events in self._run_blocks():
                settled = {event.elicitation_id for event in events if type(event) is ElicitationResolved}
                asked = [one for one in events if type(one) is Elicitation and one.elicitation_id not in settled]
                can_tick = self._response.can_tick
                self._response.can_tick = can_tick and not asked  # the next step calls the caller's function
                yield events
                for question in asked:
                    parked = question if self._answer(question, on_elicitation) else parked
                self._response.can_tick = can_tick
            if parked is None:
                return
            self._continue(parked)

    def _answer(self, question: Elicitation, on_elicitation: OnElicitation) -> bool:
        answer = ElicitationAnswer.of(on_elicitation(question))
        try:
            return self._run.answer(question, answer)
        except (ConflictError, NotFoundError) as error:  # another client answered it, or the log has an old question
            _log.info("the question %s needs no answer: %s", question.elicitation_id, error.message)
            return False

    def _continue(self, question: Elicitation) -> None:
        """Read the run that continues after the answer to a parked question."""
        self._response.close()
        self._run, response = self._continue_run(self._run, question, self._use)
        self._waiting = True
        self._fields["generation_id"] = self.generation_id
        self._updates = self._new_decoder(response)
        self._use(response)

    def _run_blocks(self) -> Iterator[list[AnyEvent]]:
        failure: HFClientError | None = None
        body_ended = title_is_late = False
        run = self._run
        log = LogReader(run, self._updates, use=self._use)
        if not run.is_live:
            try:
                yield from log.blocks(self._response)
            except (GenerationError, StreamInterrupted, Cancelled, TransportTimeout):
                raise
            except HFClientError as error:
                raise self._interrupted(f"the log of the answer cannot be read: {error.message}") from error
            return
        try:
            for data in self._response.chunks("stream"):
                if not data:  # a tick
                    yield []
                elif events := self._updates.feed(data):
                    yield events
                    if self._updates.broken is not None:
                        raise self._updates.broken
                    if self._updates.finished:  # only the end of the body remains; reading it keeps the connection
                        self._response.deadline.limit_rest(idle=_SILENCE, total=_SILENCE)
                if self._waiting and self._updates.kept_alive:  # if they stop from now on, the connection is dead
                    self._response.deadline.count_bytes()
            if events := self._updates.end_of_body():
                yield events
            if self._updates.complete or run.stop_requested:  # servers up to 0.10 end a stopped answer without an event
                run.end_seen = True
                # The server saves before it ends the body, whose end is certain if its framing says so.
                run.is_over = self._is_framed()
                yield from self._finish()
                return
            body_ended = not self._updates.is_cut
            failure = StreamInterrupted("the answer ended before the server said that it was complete")
        except ConnectError as error:
            failure = StreamInterrupted(f"the answer broke off: {error.message}")
            failure.__cause__ = error
        except TransportTimeout as error:
            title_is_late = error.deadline == "next_token" and self._updates.ended
            if error.deadline != "idle" and not self._updates.finished and not title_is_late:
                raise
            failure = error  # keep-alives stopped: the connection is dead, the run may continue
        if self._updates.finished or title_is_late:  # nothing follows
            yield from self._finish()
            return
        log.skip_taken(body_ended=body_ended, is_over=body_ended and self._is_framed())
        yield from self._resume(failure, log)

    def _is_framed(self) -> bool:
        return "transfer-encoding" in self._response.headers or "content-length" in self._response.headers

    def _finish(self) -> Iterator[list[AnyEvent]]:
        if events := self._updates.finish():
            yield events
        if not self._run.stop_requested or self._updates.error is not None:
            self._updates.check_end()

    def _resume(self, failure: HFClientError, log: LogReader) -> Iterator[list[AnyEvent]]:
        """Resume where *failure* broke the stream; raise it if that does not work."""
        if self._state != "reading":
            raise failure
        self._run.is_live = False
        _log.info("%s: %s; resuming from the log", self._run, failure.message)
        self._response.close()
        self._updates.drop_line()
        try:
            yield from log.blocks()
        except (GenerationError, Cancelled):
            raise
        except HFClientError as error:
            if self._updates.ended:  # only the title is missing
                yield from self._finish()
                return
            if isinstance(error, TransportTimeout) and error.deadline in ("total", "next_token"):
                raise
            what = f"{failure.message}; it could not be resumed ({error.message})"
            raise self._interrupted(what) from failure

    def _interrupted(self, what: str) -> StreamInterrupted:
        turn = self._run.turn
        return StreamInterrupted(
            f"{what}. The answer may be complete on the server: "
            f"client.conversation({turn.conversation_id!r}).attach({turn.generation_id!r})",
            conversation_id=turn.conversation_id,
            generation_id=turn.generation_id,
            method="POST",
            url=self._response.url,
        )

    @property
    def partial(self) -> Reply:
        """The answer so far, as a `Reply`. Never reads, never raises."""
        reply = super().partial
        return evolve(reply, interrupted=True) if self._run.stop_requested and not self._updates.ended else reply

    def _use(self, response: Response) -> None:
        self._response = response
        if not self._waiting:  # earlier content counts: from now on ``next_token`` applies
            response.deadline.content_arrived()
        if self._run.clock.cancellation.requested:
            response.abort()

    def _fail(self, error: HFClientError) -> None:
        if isinstance(error, (GenerationError, StreamInterrupted)) and error.conversation_id is None:
            error.conversation_id = self._run.turn.conversation_id
            error.generation_id = self._run.turn.generation_id
        # After a deadline, for example, the rest has no reader. An interrupted answer may be resumed.
        stops = not isinstance(error, (GenerationError, StreamInterrupted)) and self._may_stop()
        self._run.stop_requested = self._run.stop_requested or stops
        super()._fail(error)
        if stops:
            self._run.stop_in_background(self._seen_units())

    # Ending

    def stop(self) -> None:
        """Stop the generation on the server and keep reading: the answer then ends early. From any thread.

        Does nothing once the answer is complete: a stop without a run would hit the next one.

        Raises:
            TransportError, APIStatusError: The server could not be reached, or refused.
        """
        if self._state in ("open", "reading") and not self._updates.complete:
            self._run.stop(self._seen_units())

    def detach(self) -> None:
        """Leave the generation to the server: from now on, leaving the stream does not stop it, as with ``on_close="detach"``."""
        self._run.options = evolve(self._run.options, on_close="detach")

    def close(self) -> None:
        """Leave the stream now: stop the generation (or detach from it) and free the connection; idempotent.

        A server that still sends has up to two seconds to end the answer; a silent one less than half a second. Does not
        replace an exception that is being raised. May be called at any moment, also by a signal handler that interrupts the
        reader.
        """
        if not self._begin_closing():
            return
        try:
            if self._may_stop():
                self._stop_and_wait()
        finally:
            self._free()

    def cancel(self) -> None:
        """Stop the reader, from any thread: its loop raises `Cancelled`, and the generation is stopped as by `close`."""
        if self._pulling:
            self._interrupt()
            return
        self._wake()
        self.close()
        self._closed_by = None  # a loop of this thread raises, too

    def _interrupt(self) -> None:
        if self._may_stop():
            self._run.stop_in_background(self._seen_units())
        self._wake()

    def _wake(self) -> None:
        self._run.clock.cancellation.cancel()
        self._response.abort()

    def _may_stop(self) -> bool:
        """Whether leaving stops the run: it has not ended, and this is not a forked copy of a parent's stream."""
        return self._run.options.on_close == "stop" and not self._updates.complete and self._process == os.getpid()

    def _stop_and_wait(self) -> None:
        run = self._run
        started = time.monotonic()
        stopping = run.stop_in_background(self._seen_units())
        if in_gc_finalizer():  # this may run in any thread, so it must not wait
            return
        self._builder.reader_left(self._undelivered())
        self._response.deadline.limit_rest(idle=_SILENCE, total=STOP_BUDGET)
        try:
            if self._puller is not None and self._puller.is_working:
                for events in self._puller.rest(_SILENCE, STOP_BUDGET, self._was_kept_alive):
                    self._builder.add(events)
            # A body has one reader, and another thread's loop may be about to continue.
            elif run.is_live and self._reader in (None, threading.get_ident()):
                for data in self._response.chunks():
                    self._builder.add(self._updates.feed(data))
                    if self._updates.ended:
                        break
                else:
                    run.end_seen = True
                    run.is_over = self._is_framed()
        except Exception as error:  # noqa: BLE001 (interrupted in mid-read, the response may be in any state)
            _log.debug("reading after a stop: %s", type(error).__name__)
        if stopping is not None:
            stopping.join(max(0.0, started + _SILENCE - time.monotonic()))

    def _was_kept_alive(self) -> bool:
        was, self._updates.kept_alive = self._updates.kept_alive, False
        return was

    def _close_at_exit(self, budget: float) -> None:
        """Stop the generation in this thread, without waiting for the end of the answer: the process ends.

        Args:
            budget: Maximum seconds that this may take.
        """
        others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}
        is_read = self._reader in others  # by a daemon thread, which reads until the process ends
        if self._state not in ("open", "reading") or (not is_read and not self._begin_closing()):
            return
        if self._may_stop():
            self._run.try_stop(self._seen_units(), budget)
        if not is_read:
            self._free()
        self._run.service.session.close()  # otherwise Python warns of an unclosed connection

    def _seen_units(self) -> int:
        """Return the length of the text that the reader has received, in UTF-16 units: the server cuts it there."""
        seen = self._updates.text_units - self._updates.held_units
        left = self._undelivered()
        if self._updates.thought_units:  # reasoning that comes in updates of its own is not part of the text
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
        run, final = self._run, self._builder.final
        confirmed = final.interrupted if final is not None else run.end_seen
        run.stop_unconfirmed = run.stop_requested and not confirmed
        if self._on_end is not None and self._process == os.getpid():  # a forked copy does not end the parent's answer
            self._on_end(run, self._builder.title)
