"""Which answers of a conversation are still being written, and the wait until none is.

chat-ui saves all messages of a conversation when a run ends, as they were when that run began, and a run ends only after
its title. A message that is sent meanwhile is answered, and then the older run's save wipes out both. So a send looks
first, and waits.

What tells that a run is over: its event log, which ends after the save (since July 2026); ``finished`` or an error among
the stored updates, which are written last (since February 2026); before that a final answer, once the title has come,
too. Servers of before September 2025 end a run with its connection.

Reference: chat-ui, src/routes/conversation/[id]/+server.ts and src/lib/server/generation, seen 2026-11-28.
"""

from __future__ import annotations

import datetime
import logging
import math
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

from attrs import evolve

from hfclient.chat.conversations.resume import NO_LOG, end_of
from hfclient.chat.servers.service import ChatService
from hfclient.chat.wire.messages import ConversationState, find_answer
from hfclient.chat.wire.turn import Turn
from hfclient.decoding.frames import SSEParser
from hfclient.errors import (
    APIStatusError,
    ConnectError,
    ConversationBusy,
    HFClientError,
    InvalidInputError,
    NotAChatServer,
    ProtocolError,
    TransportTimeout,
)
from hfclient.process.forks import reset_after_fork
from hfclient.transport import Cancellation, Response
from hfclient.types import Message

__all__ = ["WAIT", "Runs", "checked_wait", "lock_wait"]

WAIT = 60.0
"""Seconds that a message waits for the answers before it, unless the caller says otherwise."""

_log = logging.getLogger("hfclient")
_POLL = 1.0  # seconds between looks at a conversation whose server keeps no log
_PAUSE = 0.5  # before a log that broke off is asked for again
_LOOKS = 3  # for the log of a run that is just beginning
_APART = 0.4  # most seconds of a pause after another's run, so that two that wait for it do not go on together
_ONE_LOOK = 5.0  # seconds that a look may take, however little is left of the wait
_BEYOND = 2**31 - 1  # number of an event that no log has: only its end is of interest
_ABANDONED = datetime.timedelta(minutes=30)  # since an answer was last written to: every few seconds where there is a log
_NEW = "New Chat"  # the title of a conversation that has none yet

_Key: TypeAlias = "tuple[str, str | None]"  # a message and the run that writes it
_Look: TypeAlias = Literal["over", "log", "poll"]


def checked_wait(wait: float | None, total: float | None = None) -> float:
    """Return *wait* in seconds, infinite for None, and no more than *total*, the call's own deadline.

    Raises:
        InvalidInputError: It is negative or no number.
    """
    seconds = math.inf if wait is None else _seconds(wait)
    if not seconds >= 0:
        raise InvalidInputError(f"wait is a number of seconds, or None to wait without end, not {wait!r}")
    seconds = math.inf if seconds > threading.TIMEOUT_MAX else seconds
    return seconds if total is None else min(seconds, total)


def _seconds(wait: Any) -> float:
    """Return a number, numpy's too, as a float; NaN for what is none."""
    try:
        return math.nan if isinstance(wait, (bool, str)) else float(wait)
    except OverflowError:  # larger than any
        return math.inf if wait > 0 else -math.inf
    except (TypeError, ValueError):
        return math.nan


def lock_wait(seconds: float) -> float:
    """Return *seconds* as `threading.Lock.acquire` takes them."""
    return -1 if seconds == math.inf else min(max(0.0, seconds), threading.TIMEOUT_MAX)


class _Locks:
    """A lock for each conversation in which this process is about to send."""

    def __init__(self) -> None:
        self._reset_after_fork()
        reset_after_fork(self)

    def _reset_after_fork(self) -> None:
        self._all: weakref.WeakValueDictionary[tuple[str, str], Any] = weakref.WeakValueDictionary()
        self._adding = threading.Lock()

    def of(self, base: str, conversation_id: str) -> Any:
        with self._adding:
            return self._all.setdefault((base, conversation_id), threading.Lock())


_locks = _Locks()


class Runs:
    """What is known of the runs of one conversation.

    Args:
        service: The server.
    """

    def __init__(self, service: ChatService) -> None:
        self._service = service
        self._own: list[tuple[Turn, bool]] = []  # turns whose answer was read or left, and whether their run is over
        self._over: set[_Key] = set()
        self._left: set[_Key] = set()

    def note(self, turn: Turn, *, over: bool) -> None:
        """Remember that the caller is done with the answer to *turn*, and whether its run is known to be over."""
        self._own.append((turn, over))

    def forget(self) -> None:
        """Forget the turns so far: messages were deleted."""
        self._own.clear()

    @property
    def may_live(self) -> bool:
        """Whether a run of the caller's own may still be going on."""
        return any(not over for _, over in self._own) or bool(self._left)

    @contextmanager
    def alone(self, conversation_id: str, until: float) -> Iterator[None]:
        """Look and send without another object or thread of this process doing the same in between.

        Raises:
            ConversationBusy: One still did at *until*.
        """
        lock = _locks.of(self._service.endpoints.base, conversation_id)
        if not lock.acquire(timeout=lock_wait(until - time.monotonic())):
            raise ConversationBusy("another object of this process is about to send in this conversation")
        try:
            yield
        finally:
            lock.release()

    def settle(
        self,
        conversation_id: str,
        until: float,
        *,
        cancellation: Cancellation | None = None,
        use: Callable[[Response], None] = lambda response: None,
    ) -> ConversationState:
        """Return the conversation once no run writes into it any more.

        Args:
            conversation_id: Which one.
            until: When to give up, by `time.monotonic`. One look is always taken.
            cancellation: Ends every wait.
            use: Told each log that is opened, so that it can be aborted.

        Raises:
            ConversationBusy: A run still goes on at *until*.
            HFClientError: The conversation could not be read.
        """
        cancellation = cancellation or Cancellation()
        unknown: Counter[_Key] = Counter()  # looks for a log that is not there
        while True:
            state = self._service.read_state(conversation_id, cancellation)
            self._recognise(conversation_id, state)
            message, look = self._first_live(state)
            if message is None:
                return state
            key = _key(message)
            if look == "log" and self._log_ends(conversation_id, message, until, cancellation, use):
                self._over.add(key)
                if key not in self._left:  # another may have waited for it, too
                    cancellation.pause(min(random.random() * _APART, max(0.0, until - time.monotonic())))  # noqa: S311
                continue
            unknown[key] += look == "log"
            if unknown[key] >= _LOOKS:
                self._over.add(key)
            elif time.monotonic() >= until:
                raise _busy(message)
            else:
                cancellation.pause(min(_POLL, until - time.monotonic()))

    def _first_live(self, state: ConversationState) -> tuple[Message | None, _Look]:
        for message in state.messages:
            if (look := self._look(message, state)) != "over":
                return message, look
        return None, "over"

    def _recognise(self, conversation_id: str, state: ConversationState) -> None:
        """Find the answers of the caller's own turns among the messages."""
        own, self._own = self._own, []
        for turn, over in own:
            answer = find_answer(state, turn)
            if answer is not None:
                (self._over if over else self._left).add(_key(answer))
            elif over and turn.conversation_id == conversation_id:  # none that was deleted and made anew
                _log.warning(
                    "conversation %s does not hold the answer of run %s any more: it was deleted, or a run that had begun "
                    "before it has overwritten it",
                    conversation_id,
                    turn.generation_id,
                )
        here = {_key(message) for message in state.messages}
        self._over &= here
        self._left &= here

    def _look(self, message: Message, state: ConversationState) -> _Look:
        """Say whether a message is complete, and if that is not known, where to find out."""
        if message.role != "assistant" or _key(message) in self._over:
            return "over"
        stored = message.raw.get("updates")
        updates = [update for update in stored if isinstance(update, dict)] if isinstance(stored, list) else []
        kinds = {update.get("type") for update in updates}
        is_last = any(u.get("type") == "status" and u.get("status") in ("finished", "error") for u in updates)
        # A run that goes on after a parked question writes into a message that had ended before.
        if is_last and not (message.generation_id and "elicitation" in kinds):
            return "over"
        if _is_old(message):
            return "over"
        if message.generation_id:
            return "log"
        if self._ends_with_its_connection():  # and saves what there is then
            left = _key(message) in self._left
            return "over" if left or message.finished or updates or message.raw.get("content") else "poll"
        if message.finished:
            return "over" if "title" in kinds or state.title != _NEW else "poll"
        return "poll"

    def _ends_with_its_connection(self) -> bool:
        try:
            return not self._service.version().outlives_connection
        except HFClientError:
            return False

    def _log_ends(
        self,
        conversation_id: str,
        message: Message,
        until: float,
        cancellation: Cancellation,
        use: Callable[[Response], None],
    ) -> bool:
        """Follow a run's log to its end; False if the server has none, and the message does not say that it is complete.

        Raises:
            ConversationBusy: The run still goes on at *until*.
        """
        while True:
            left = max(_ONE_LOOK, until - time.monotonic())
            timeouts = evolve(self._service.session.timeouts, first_token=None, next_token=None, total=min(left, 1e8))
            request = self._service.endpoints.resume(conversation_id, message.generation_id, _BEYOND, timeouts)
            try:
                response = self._service.session.send(evolve(request, cancellation=cancellation))
                use(response)
                end = _end_of(response, until)
            except (APIStatusError, ProtocolError):  # a server that was set back to an older version, say
                end = "gone"
            except (ConnectError, TransportTimeout) as error:
                if time.monotonic() >= until:
                    raise _busy(message) from error
                end = None
            if end in NO_LOG:
                return message.finished
            if end is not None:
                return True
            if time.monotonic() >= until:
                raise _busy(message)
            cancellation.pause(_PAUSE)


def _end_of(response: Response, until: float) -> str | None:
    """Return how the run ended whose log this is; None if it broke off, or still goes on at *until*."""
    try:
        if response.content_type != "text/event-stream":
            raise NotAChatServer("the server has no event log")
        parser = SSEParser(response.limits.line)
        for data in response.chunks("stream"):
            for frame in parser.feed(data):
                if frame.event == "end":
                    return end_of(frame.data)
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
    if written is None:  # of before 2024, or no chat-ui's
        return not message.generation_id and bool(message.raw.get("content"))
    now = datetime.datetime.now(written.tzinfo and datetime.timezone.utc)
    return now - written > _ABANDONED


def _busy(message: Message) -> ConversationBusy:
    run = f" (run {message.generation_id})" if message.generation_id else ""
    return ConversationBusy(
        f"an earlier answer of this conversation is still being written{run}, and a message that is sent now would be lost "
        "when it ends. Wait longer (wait=), or stop it (attach() and stop() on its stream); the run of a server that died is "
        "given up by its successor after about two minutes"
    )
