"""Which answers of a conversation are still being written, and the wait until they are complete.

chat-ui saves all messages of a conversation when a run ends, as they were when that run began, and a run ends only after
its title. A message that is sent meanwhile is answered, and then the save of the older run overwrites both. So a send
checks this first, and waits.

A run is over when its event log ends, which is after the save (since July 2026); when ``finished`` or an error is among
the stored updates, which are written last (since February 2026); before that, when there is a final answer and the title
has come. Servers before September 2025 end a run with its connection.

Reference: chat-ui, src/routes/conversation/[id]/+server.ts and src/lib/server/generation, seen 2026-11-28.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from attrs import evolve

from hfclient.chat.conversations.branch import Branch
from hfclient.chat.conversations.elicitation import turn_after
from hfclient.chat.conversations.run import LOG_UNAVAILABLE, Run, log_end, may_have_arrived
from hfclient.chat.conversations.send_lock import SendLock, exclusive
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.messages import ConversationState, find_answer
from hfclient.decoding.frames import SSEParser
from hfclient.errors import (
    APIStatusError,
    ConnectError,
    ConversationBusy,
    HFClientError,
    NotAChatServer,
    ProtocolError,
    StreamInterrupted,
    TransportTimeout,
)
from hfclient.events import Elicitation
from hfclient.transport import Cancellation, Clock, Part, Response
from hfclient.types import Message

__all__ = ["RunTracker"]

_log = logging.getLogger("hfclient")
_POLL = 1.0  # seconds between reads of a conversation whose server keeps no log
_PAUSE = 0.5  # before a log that broke off is requested again
_LOOKS = 3  # for the log of a run that is just beginning
_JITTER = 0.4  # longest random pause after the run of another client, so that clients that wait for it do not send together
_ONE_LOOK = 5.0  # minimum timeout of a read, even if less is left of the wait
_BEYOND = 2**31 - 1  # number of an event that no log has: only the end of the log is of interest
_ABANDONED = datetime.timedelta(minutes=30)  # since an answer was last written to: every few seconds where there is a log
_NEW = "New Chat"  # the title of a conversation that has none yet
_STOP_MARK = 5.0  # seconds in which a stop that found no run to stop would hit the next one
_STOP_LOOK = 0.3  # seconds between checks whether it did find its run

_Key: TypeAlias = "tuple[str, str | None]"  # a message and the run that writes it
_Look: TypeAlias = Literal["over", "log", "poll"]


class RunTracker:
    """Posts the runs of one conversation object, and waits for all runs that appear in its messages.

    Args:
        service: The server.
        branch: The active branch of the conversation; each turn that is sent becomes its last one.

    Attributes:
        lock: Held while an answer is read.
    """

    def __init__(self, service: ChatService, branch: Branch) -> None:
        self._service = service
        self._branch = branch
        self.lock = SendLock()
        self._ended: list[Run] = []  # whose answer was read or left, and not yet found among the messages
        self._over: set[_Key] = set()
        self._left: set[_Key] = set()
        self._stopped: Run | None = None  # by a stop that may hit another run
        self._not_before = 0.0  # when that is over

    def post(self, run: Run, data: dict[str, Any], parts: tuple[Part, ...] = ()) -> Response:
        """Post a run and record its state, also if that fails; arguments and errors are those of `Run.post`."""
        try:
            response = run.post(data, parts)
            if run.clock.cancellation.requested:
                response.close()
                run.clock.cancellation.check()
        except BaseException as error:
            if may_have_arrived(error):
                self._branch.add(run.turn, arrived=False)
                if run.options.on_close == "stop" and not isinstance(error, (ConnectError, StreamInterrupted)):
                    run.stop_in_background(0)  # its answer has no reader
                    run.stop_unconfirmed = True
                self.add_ended(run)
            raise
        self._branch.add(run.turn, arrived=True)  # its stream carries no ids: the answer is found when it is needed
        return response

    def post_after(
        self, question: Elicitation, asking: Run, until: float, use: Callable[[Response], None] = lambda response: None
    ) -> tuple[Run, Response]:
        """Post the run that continues after the answer to a parked question.

        Args:
            question: The question, which has been answered.
            asking: The run that asked and has ended.
            until, use: As for :meth:`wait_until_idle`.
        """
        conversation_id, cancellation = asking.turn.conversation_id, asking.clock.cancellation
        with exclusive(self._service.endpoints.base, conversation_id, until):
            state = self.wait_until_idle(conversation_id, until, cancellation=cancellation, use=use)
            turn, data = turn_after(state, question.elicitation_id)
            run = Run(self._service, turn, asking.options, cancellation)
            return run, self.post(run, data)

    def add_ended(self, run: Run) -> None:
        """Note, the first time, that the caller no longer reads the answer of *run*."""
        if run.is_left:
            return
        run.is_left = True
        self._ended.append(run)
        if run.stop_unconfirmed:
            self._stopped, self._not_before = run, time.monotonic() + _STOP_MARK

    def forget(self) -> None:
        """Forget all runs: messages were deleted."""
        self._stopped = None
        self._ended.clear()

    @property
    def may_be_running(self) -> bool:
        """Whether a run of this object may still be in progress."""
        return any(not run.is_over for run in self._ended) or bool(self._left)

    def wait_until_idle(
        self,
        conversation_id: str,
        until: float,
        *,
        cancellation: Cancellation | None = None,
        use: Callable[[Response], None] = lambda response: None,
    ) -> ConversationState:
        """Return the conversation once no run writes into it and no stop can hit the next run.

        Args:
            conversation_id: Which one.
            until: When to give up, by `time.monotonic`. The conversation is read at least once.
            cancellation: Ends every wait.
            use: Called with each log that is opened, so that it can be aborted.

        Raises:
            ConversationBusy: A run is still in progress at *until*.
            HFClientError: The conversation could not be read.
        """
        cancellation = cancellation or Cancellation()
        self._wait_for_stop(cancellation)
        unknown: Counter[_Key] = Counter()  # requests for a log that does not exist
        while True:
            state = self._service.read_state(conversation_id, Clock(self._service.session.timeouts, cancellation))
            self._find_own(conversation_id, state)
            message, look = self._first_running(state)
            if message is None:
                return state
            key = _key(message)
            if look == "log" and self._log_ends(conversation_id, message, until, cancellation, use):
                self._over.add(key)
                if key not in self._left:  # other clients may have waited for it, too
                    import random  # most calls do not wait

                    cancellation.pause(min(random.random() * _JITTER, max(0.0, until - time.monotonic())))  # noqa: S311
                continue
            unknown[key] += look == "log"
            if unknown[key] >= _LOOKS:
                self._over.add(key)
            elif time.monotonic() >= until:
                raise _busy(message)
            else:
                cancellation.pause(min(_POLL, until - time.monotonic()))

    def _wait_for_stop(self, cancellation: Cancellation) -> None:
        """Wait until a stop of unknown effect cannot hit another run: its own run has ended, or some time has passed."""
        while (wait := self._not_before - time.monotonic()) > 0:
            cancellation.pause(min(wait, _STOP_LOOK))
            if self._stopped is None:
                continue
            turn, timeouts = self._stopped.turn, evolve(self._service.session.timeouts, total=max(wait, 0.001))
            try:
                answer = find_answer(self._service.read_state(turn.conversation_id, Clock(timeouts, cancellation)), turn)
            except HFClientError:
                continue
            if answer is not None and answer.interrupted:
                self._not_before = 0.0

    def _first_running(self, state: ConversationState) -> tuple[Message | None, _Look]:
        for message in state.messages:
            if (look := self._look(message, state)) != "over":
                return message, look
        return None, "over"

    def _find_own(self, conversation_id: str, state: ConversationState) -> None:
        """Find the answers of this object's runs among the messages."""
        ended, self._ended = self._ended, []
        for run in ended:
            answer = find_answer(state, run.turn)
            if answer is not None:
                (self._over if run.is_over else self._left).add(_key(answer))
            elif run.is_over and run.turn.conversation_id == conversation_id:  # not one that was deleted and created anew
                _log.warning(
                    "conversation %s no longer holds the answer of run %s: it was deleted, or a run that had begun "
                    "before it has overwritten it",
                    conversation_id,
                    run.turn.generation_id,
                )
        here = {_key(message) for message in state.messages}
        self._over &= here
        self._left &= here

    def _look(self, message: Message, state: ConversationState) -> _Look:
        """Return whether a message is complete, or where to find out."""
        if message.role != "assistant" or _key(message) in self._over:
            return "over"
        stored = message.raw.get("updates")
        updates = [update for update in stored if isinstance(update, dict)] if isinstance(stored, list) else []
        kinds = {update.get("type") for update in updates}
        is_last = any(u.get("type") == "status" and u.get("status") in ("finished", "error") for u in updates)
        # A run that continues after a parked question writes into a message that had ended before.
        if is_last and not (message.generation_id and "elicitation" in kinds):
            return "over"
        if _is_old(message):
            return "over"
        if message.generation_id:
            return "log"
        if self._service.ends_with_connection():  # and then saves the incomplete answer
            left = _key(message) in self._left
            return "over" if left or message.finished or updates or message.raw.get("content") else "poll"
        if message.finished:
            return "over" if "title" in kinds or state.title != _NEW else "poll"
        return "poll"

    def _log_ends(
        self,
        conversation_id: str,
        message: Message,
        until: float,
        cancellation: Cancellation,
        use: Callable[[Response], None],
    ) -> bool:
        """Follow the log of a run to its end; False if there is no log, and the message does not say that it is complete.

        Raises:
            ConversationBusy: The run is still in progress at *until*.
        """
        while True:
            left = max(_ONE_LOOK, until - time.monotonic())
            timeouts = evolve(self._service.session.timeouts, first_token=None, next_token=None, total=min(left, 1e8))
            clock = Clock(timeouts, cancellation)
            request = self._service.endpoints.resume(conversation_id, message.generation_id, _BEYOND, clock)
            try:
                response = self._service.session.send(request)
                use(response)
                with contextlib.closing(response), cancellation.waking(response.abort):
                    end = _end_of(response, until)
            except (APIStatusError, ProtocolError):  # a server that was set back to an older version, say
                end = LOG_UNAVAILABLE[0]
            except (ConnectError, TransportTimeout) as error:
                if time.monotonic() >= until:
                    raise _busy(message) from error
                end = None
            if end in LOG_UNAVAILABLE:
                return message.finished
            if end is not None:
                return True
            if time.monotonic() >= until:
                raise _busy(message)
            cancellation.pause(_PAUSE)


def _end_of(response: Response, until: float) -> str | None:
    """Return how the run of this log ended; None if the log broke off, or the run is still in progress at *until*."""
    try:
        if response.content_type != "text/event-stream":
            raise NotAChatServer("the server has no event log")
        parser = SSEParser(response.limits.line)
        for data in response.chunks("stream"):
            for frame in parser.feed(data):
                if frame.event == "end":
                    return log_end(frame.data)
            if time.monotonic() >= until:
                return None
        return None
    finally:
        response.close()


def _key(message: Message) -> _Key:
    return message.id, message.generation_id


def _is_old(message: Message) -> bool:
    """Whether a message was last written to so long ago that its run must have died."""
    written = message.updated_at or message.created_at
    if written is None:  # before 2024, or not a chat-ui
        return not message.generation_id and bool(message.raw.get("content"))
    now = datetime.datetime.now(written.tzinfo and datetime.timezone.utc)
    return now - written > _ABANDONED


def _busy(message: Message) -> ConversationBusy:
    run = f" (run {message.generation_id})" if message.generation_id else ""
    return ConversationBusy(
        f"an earlier answer of this conversation is still being written{run}, and a message that is sent now would be lost "
        "when it ends. Wait longer (wait=), or stop it (attach() and stop() on its stream); if the server was restarted, it ends "
        "the run after about two minutes"
    )
