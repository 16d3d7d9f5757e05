"""`ChatStream`: the answer to one message, with all that HuggingChat adds to a stream.

It goes on by itself when its connection breaks (`resume.py`), and it ends on purpose: leaving it early stops the
generation on the server, because closing a connection alone does not.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias

from attrs import evolve

from hfclient.chat.resume import LogReader
from hfclient.chat.tools import Answer
from hfclient.chat.turn import Turn
from hfclient.chat.updates import UpdateDecoder
from hfclient.errors import (
    Cancelled,
    ConnectError,
    GenerationError,
    HFClientError,
    StreamInterrupted,
    TransportTimeout,
)
from hfclient.events import AnyEvent, Elicitation, Token
from hfclient.stream import Stream
from hfclient.surrogates import utf16_length
from hfclient.transport import Response, Timeouts
from hfclient.types import Reply

if TYPE_CHECKING:
    from hfclient.chat.conversation import Conversation
    from hfclient.chat.sending import Sender, SendOptions

__all__ = ["ChatStream", "OnClose"]

OnClose: TypeAlias = Literal["stop", "detach"]

_log = logging.getLogger("hfclient")
_STOP_BUDGET = 2.0  # seconds that a stop may take in all
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
        self._updates = UpdateDecoder(file_url=conversation.file_url)
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
        self._cancelled = threading.Event()
        self._released = False
        self._stopped = False

    def _blocks(self) -> Iterator[list[AnyEvent]]:
        on_elicitation = self._options.on_elicitation
        if on_elicitation is None:
            yield from self._run_blocks()
            return
        while True:
            parked: Elicitation | None = None
            for events in self._run_blocks():
                yield events
                for event in events:
                    if type(event) is Elicitation and self._sender.answer(
                        self._turn, event.elicitation_id, Answer.of(on_elicitation(event))
                    ):
                        parked = event
            if parked is None:
                return
            self._go_on(parked)

    def _go_on(self, question: Elicitation) -> None:
        """Start the run that goes on after the answer to a question that had ended the one before."""
        self._response.close()
        self._turn, data = self._sender.parked_turn(self._turn.conversation_id, question.elicitation_id)
        data.update(self._options.tools)
        response, self._live = self._sender.post(self._turn, data, (), self._options.timeouts)
        self._sender.last = self._turn
        self.generation_id = self._turn.generation_id
        self._fields["generation_id"] = self.generation_id
        self._updates = UpdateDecoder(file_url=self.conversation.file_url)
        self._use(response)

    def _run_blocks(self) -> Iterator[list[AnyEvent]]:
        trouble: HFClientError | None = None
        log = LogReader(
            self.conversation.service,
            self._turn,
            self._updates,
            timeouts=self._options.timeouts,
            deadline=self._response.deadline,
            use=self._use,
            cancelled=self._cancelled,
        )
        if not self._live:
            yield from log.blocks(self._response)
            return
        try:
            for data in self._response.chunks():
                if events := self._updates.feed(data):
                    yield events
            if events := self._updates.end_of_body():
                yield events
            if self._updates.complete or self._stopped:  # servers up to 0.10 end a stopped answer without a word
                yield from self._finish()
                return
            trouble = StreamInterrupted("the answer ended before the server said that it was complete")
        except ConnectError as error:
            trouble = StreamInterrupted(f"the answer broke off: {error.message}")
            trouble.__cause__ = error
        except TransportTimeout as error:
            if error.deadline != "idle":
                raise
            trouble = error  # keep-alives stopped: the connection is dead, the run need not be
        yield from self._mend(trouble, log)

    def _finish(self) -> Iterator[list[AnyEvent]]:
        if events := self._updates.finish():
            yield events
        if not self._stopped or self._updates.error is not None:
            self._updates.check_end()

    def _mend(self, trouble: HFClientError, log: LogReader) -> Iterator[list[AnyEvent]]:
        """Go on after *trouble* where the stream broke; raise it if that does not work."""
        _log.info("conversation %s: %s; going on through the log", self._turn.conversation_id, trouble.message)
        self._response.close()
        self._updates.drop_line()
        log.start_after(self._updates)
        try:
            yield from log.blocks()
        except (GenerationError, Cancelled):
            raise
        except HFClientError as error:
            if self._updates.ended:  # only a title can be missing
                yield from self._finish()
                return
            if isinstance(error, TransportTimeout) and error.deadline == "total":
                raise
            raise self._interrupted(trouble, error) from trouble

    def _interrupted(self, trouble: HFClientError, error: HFClientError) -> StreamInterrupted:
        return StreamInterrupted(
            f"{trouble.message}; it could not be picked up again ({error.message}). The answer may be complete on the "
            f"server: client.conversation({self._turn.conversation_id!r}).attach({self._turn.generation_id!r})",
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
        if self._cancelled.is_set():
            response.abort()

    def _fail(self, error: HFClientError) -> None:
        if isinstance(error, (GenerationError, StreamInterrupted)):
            error.conversation_id = self._turn.conversation_id
            error.generation_id = self._turn.generation_id
        super()._fail(error)

    # Ending

    def stop(self) -> None:
        """Stop the generation on the server and keep reading: the answer then ends early. From any thread.

        Raises:
            TransportError, APIStatusError: The server could not be told.
        """
        self._stopped = True
        self._send_stop()

    def close(self) -> None:
        """Leave the stream now: stop the generation (or detach from it) and free the connection; idempotent.

        A server that still speaks is given up to two seconds to say how the answer ended; a silent one is left in less
        than half a second. Never raises over an error that is already on its way.
        """
        if self._reader not in (None, threading.get_ident()):
            self.cancel()
            return
        with self._closing:
            if self._state in ("done", "failed", "closed"):
                return
            self._state = "closed"
        try:
            if self._options.on_close == "stop" and not self._updates.complete:
                self._stop_and_wait()
        finally:
            self._release()

    def cancel(self) -> None:
        """Stop the reader, from any thread: its loop raises `Cancelled`, and the generation is stopped like by `close`."""
        self._cancelled.set()
        self._response.abort()
        if self._reader is None:
            self.close()
        elif self._options.on_close == "stop":
            threading.Thread(target=self._try_stop, name="hfclient-stop", daemon=True).start()

    def _stop_and_wait(self) -> None:
        self._stopped = True
        told = threading.Thread(target=self._try_stop, name="hfclient-stop", daemon=True)
        started = time.monotonic()
        told.start()
        self._response.deadline.wind_down(idle=_SILENCE, total=_STOP_BUDGET)
        try:
            if self._live:
                for data in self._response.chunks():
                    self._transcript.add(self._updates.feed(data))
                    if self._updates.ended:
                        break
        except Exception as error:  # noqa: BLE001 (interrupted in mid-read, the response may be in any state)
            _log.debug("reading on after a stop: %s", type(error).__name__)
        told.join(max(0.0, started + _SILENCE - time.monotonic()))

    def _try_stop(self) -> None:
        try:
            self._send_stop()
        except HFClientError as error:
            _log.info("the generation could not be stopped: %s", error.message)

    def _send_stop(self) -> None:
        service = self.conversation.service
        seen = self._updates.text_units - sum(
            utf16_length(event.text) for event in self._undelivered() if type(event) is Token
        )
        timeouts = Timeouts(connect=_STOP_BUDGET / 2, idle=_STOP_BUDGET, total=_STOP_BUDGET)
        request = service.endpoints.stop(self._turn.conversation_id, self.generation_id or "", seen, timeouts)
        service.send(request).close()

    def _release(self) -> None:
        super()._release()
        if not self._released:
            self._released = True
            self._ended_with(self)

    @property
    def stop_unconfirmed(self) -> bool:
        """Whether a stop was asked for without a sign that it ended this run: it may then hit the next one."""
        return self._stopped and not self._updates.ended
