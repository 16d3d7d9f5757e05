"""A run: one answer being written, whoever listens.

A thread of its own pulls events from the upstream. Each becomes a line for those who listen live and an entry of the
log, where tokens of 200 ms are joined; the answer to the client's POST is only one of the listeners, and closing it
stops nothing. A run ends exactly once, under its lock: what is stored is stored before the last line can be seen, so a
client that reads the conversation after its stream finds the whole answer there. In mid-answer, too, what a listener gets
is stored before it leaves, so that a process that is killed loses nothing that was delivered.

Stopping does not wait for the upstream: it ends the run at once, and the thread finds that out when the upstream speaks
next, or is woken by the cancelled stream.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from hfclient.errors import APIStatusError, GenerationError, HFClientError
from hfclient.events import AnyEvent, Reasoning, Route, Token
from hfclient.local import wire
from hfclient.local.records import Message, now
from hfclient.local.store import Store
from hfclient.local.upstream import Answer

__all__ = ["Run", "Runs"]

_log = logging.getLogger("hfclient.local")
_MERGE = 0.2  # seconds: tokens that come within it are one entry of the log
_BEAT = 0.1
_LOG_BEAT = 0.25
_LOG_LIFE = 300.0  # a follower of the log is sent away after it, and comes back with its last number
_NOTHING = "No output was generated. Something went wrong."


class Run:
    """One generation.

    Args:
        number: The run's key in the store.
        owner: The session that it belongs to.
        conversation_id, generation_id: Where it is.
        message: The assistant message that it writes.
        store: Where log and message go.
    """

    def __init__(
        self, number: int, owner: str, conversation_id: str, generation_id: str, message: Message, store: Store
    ) -> None:
        self.number = number
        self.owner = owner
        self.conversation_id = conversation_id
        self.generation_id = generation_id
        self.message_id = message.id
        self.status = "running"  # then completed, interrupted or error
        self.cut = False  # the server goes down: listeners are cut off instead of being told an end
        self._message = message
        self._store = store
        self._changed = threading.Condition()
        self._lines: list[bytes] = []
        self._entries: list[bytes] = []
        self._updates: list[dict[str, Any]] = []
        self._texts: list[str] = []
        self._waiting: list[str] = []  # tokens on their way into the log
        self._kept = 0  # so many of them are stored already
        self._waiting_since = 0.0
        self._thinking = False
        self._answer: Answer | None = None

    # Writing

    def write(self, ask: Callable[[], Answer], title: str | None) -> None:
        """Pull the whole answer from *ask*; runs in a thread of its own and never raises."""
        error: dict[str, Any] | None = None
        try:
            self._emit({"type": "status", "status": "started"})
            if title is not None:
                self._emit({"type": "title", "title": title})
            answer = ask()
            try:
                if self._take(answer):
                    for event in answer:
                        self._receive(event)
                        if self.status != "running":
                            break
            finally:
                answer.close()
        except HFClientError as problem:
            error = _error_event(problem)
        except Exception:  # noqa: BLE001 (an upstream may be anybody's object; its listeners must hear of an end)
            _log.exception("the answer of run %s failed", self.generation_id)
            error = _failure("An error occurred")
        self._end(error)

    def _take(self, answer: Answer) -> bool:
        """Remember the stream so that a stop can wake it; False if the run was stopped before it came."""
        with self._changed:
            self._answer = answer
            return self.status == "running"

    def _receive(self, event: AnyEvent) -> None:
        if isinstance(event, Reasoning) and event.text:
            text = event.text if self._thinking else "<think>" + event.text
            self._thinking = True
            self._emit(wire.token(text))
        elif isinstance(event, Token) and event.text:
            text = "</think>" + event.text if self._thinking else event.text
            self._thinking = False
            self._emit(wire.token(text))
        elif isinstance(event, Route):
            route = {"route": event.route, "model": event.model, "provider": event.provider}
            self._emit({"type": "routerMetadata", **{key: value for key, value in route.items() if value is not None}})

    def _emit(self, event: dict[str, Any]) -> None:
        with self._changed:
            if self.status == "running":
                self._add(event)
                self._changed.notify_all()

    def _add(self, event: dict[str, Any]) -> None:
        # With the lock held.
        self._updates.append(wire.marker(event))
        self._lines.append(wire.live_line(event))
        if event["type"] != "stream":
            self._flush()
            self._enter(event)
            return
        self._texts.append(event["token"])
        clock = time.monotonic()
        if self._waiting and clock - self._waiting_since >= _MERGE:
            self._flush()
        if not self._waiting:
            self._waiting_since = clock
        self._waiting.append(event["token"])

    def _flush(self) -> None:
        if self._waiting:
            self._enter(wire.token("".join(self._waiting)))
            self._waiting.clear()
            self._kept = 0

    def _keep(self) -> None:
        """Store the tokens that wait for more as they are: a reader is about to get them, and the process may be killed."""
        if len(self._waiting) > self._kept:
            self._kept = len(self._waiting)
            self._write(len(self._entries) + 1, msgspec.json.encode(wire.token("".join(self._waiting))))

    def _enter(self, event: dict[str, Any]) -> None:
        entry = msgspec.json.encode(event)
        self._entries.append(entry)
        self._write(len(self._entries), entry)

    def _write(self, number: int, entry: bytes) -> None:
        try:
            self._store.log(self.number, number, entry)
        except sqlite3.Error:  # a full disk: those who listen still get everything
            _log.exception("the log of run %s cannot be written", self.generation_id)

    # Ending

    def _end(self, error: dict[str, Any] | None) -> None:
        with self._changed:
            if self.status != "running":
                return
            text = "".join(self._texts).rstrip()
            if error is None and not text:
                error = _failure(_NOTHING)
            if error is not None:
                self._add(error)
                self._close("error", "".join(self._texts), interrupted=None)
            else:
                self._finish(text, interrupted=False)

    def stop(self, seen: int | None = None) -> None:
        """End the run where it is.

        Args:
            seen: How many UTF-16 units the reader has; what is stored is cut back to that. None keeps everything.
        """
        with self._changed:
            if self.status != "running":
                return
            text = "".join(self._texts)
            self._finish(text if seen is None else wire.clamp_utf16(text, seen), interrupted=True)
        self._wake()

    def abandon(self) -> None:
        """The server goes down: keep what there is, marked as interrupted, and cut off all listeners."""
        with self._changed:
            if self.status != "running":
                return
            self.cut = True
            self._flush()
            self._close("interrupted", "".join(self._texts), interrupted=True)
        self._wake()

    def _finish(self, text: str, *, interrupted: bool) -> None:
        self._add({"type": "finalAnswer", "text": text, "interrupted": interrupted})
        self._lines.append(wire.PADDING)
        self._add({"type": "status", "status": "finished"})
        self._close("interrupted" if interrupted else "completed", text, interrupted=interrupted)

    def _close(self, status: str, text: str, *, interrupted: bool | None) -> None:
        message = self._message
        message.content = text
        message.updates = self._updates
        message.interrupted = interrupted
        message.updated_at = now()
        message.materialized = len(self._entries)
        try:
            self._store.finish(self.number, message, self.conversation_id, status=status)
        except sqlite3.Error:
            _log.exception("the answer of run %s cannot be stored", self.generation_id)
            self._lines.append(wire.live_line(_failure("The answer could not be stored")))
            status = "error"
        self.status = status
        self._changed.notify_all()

    def _wake(self) -> None:
        answer = self._answer
        if answer is not None:
            answer.cancel()

    # Reading

    def show(self, message: Message) -> None:
        """Bring a stored message up to now, if it is the one that is being written."""
        with self._changed:
            if self.status == "running" and message.id == self._message.id:
                self._flush()
                message.content = "".join(self._texts)
                message.updates = list(self._updates)
                message.materialized = len(self._entries)

    def live(self) -> Iterator[bytes]:
        """Yield the lines of the live stream as they come, with a keep-alive every 100 ms until the answer is complete.

        Raises:
            ConnectionAbortedError: The server goes down.
        """
        position = 0
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self.status != "running")
        beat = time.monotonic()
        while True:
            with self._changed:
                while position == len(self._lines) and self.status == "running" and time.monotonic() < beat:
                    self._changed.wait(beat - time.monotonic())
                pieces = self._lines[position:]
                running = self.status == "running"
                if pieces:
                    self._keep()
            position += len(pieces)
            if running and time.monotonic() >= beat:
                pieces.append(wire.KEEP_ALIVE)
                beat = time.monotonic() + _BEAT
            if pieces:
                yield b"".join(pieces)
            if not running:
                if self.cut:
                    raise ConnectionAbortedError("the server is going down")
                return

    def log(self, after: int) -> Iterator[bytes]:
        """Yield the log from the entry after number *after* on as server-sent events, until the run has ended."""
        leave = time.monotonic() + _LOG_LIFE
        while time.monotonic() < leave:
            with self._changed:
                if len(self._entries) <= after and self.status == "running":
                    self._changed.wait(_LOG_BEAT if not self._waiting else _MERGE)
                    if self._waiting and time.monotonic() - self._waiting_since >= _MERGE:
                        self._flush()
                new = self._entries[after:]
                running = self.status == "running"
            if new:
                yield b"".join(wire.log_frame(after + count, entry) for count, entry in enumerate(new, 1))
                after += len(new)
            elif running:
                yield wire.HEARTBEAT
            else:
                if self.cut:
                    raise ConnectionAbortedError("the server is going down")
                yield wire.sse_frame("end", {"status": self.status})
                return


def _failure(message: str) -> dict[str, Any]:
    return {"type": "status", "status": "error", "message": message}


def _error_event(error: HFClientError) -> dict[str, Any]:
    """Return the event that tells a client in the stream what went wrong behind the server."""
    message, status = error.message, None
    if isinstance(error, APIStatusError) and error.status:
        message, status = f"{error.status} {error.message}", error.status
    elif isinstance(error, GenerationError):
        status = error.status_code
    event = _failure(message or type(error).__name__)
    if status is not None:
        event["statusCode"] = status
    return event


class Runs:
    """The runs that are going on now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._runs: dict[int, tuple[Run, threading.Thread]] = {}
        self._closed = threading.Event()

    def start(self, run: Run, ask: Callable[[], Answer], title: str | None) -> None:
        """Let *run* go in a thread of its own."""

        def work() -> None:
            try:
                run.write(ask, title)
            finally:
                with self._lock:
                    self._runs.pop(run.number, None)

        thread = threading.Thread(target=work, name="hfclient-run", daemon=True)
        with self._lock:
            closed = self._closed.is_set()
            if not closed:
                self._runs[run.number] = (run, thread)
        if closed:
            run.abandon()
            return
        try:
            thread.start()
        except RuntimeError:  # no more threads
            with self._lock:
                del self._runs[run.number]
            run.abandon()
            raise

    def find(self, conversation_id: str, generation_id: str | None) -> Run | None:
        """Return a run that is going on: the one asked for, or the conversation's newest."""
        found = [run for run in self.of_conversation(conversation_id) if generation_id in (None, run.generation_id)]
        return max(found, key=lambda run: run.number, default=None)

    def of_conversation(self, conversation_id: str) -> list[Run]:
        """Return the conversation's runs that are going on."""
        return [run for run in self._all() if run.conversation_id == conversation_id]

    def of_owner(self, owner: str) -> list[Run]:
        """Return the runs of all conversations of a session that are going on."""
        return [run for run in self._all() if run.owner == owner and run.status == "running"]

    def _all(self) -> list[Run]:
        with self._lock:
            return [run for run, _ in self._runs.values()]

    @property
    def closed(self) -> bool:
        """The server goes down: whoever waits should leave."""
        return self._closed.is_set()

    def wait_closed(self, seconds: float) -> None:
        """Sleep, but not longer than the server lives."""
        self._closed.wait(seconds)

    def close(self, timeout: float = 2.0) -> None:
        """End all runs, keeping what they have written, and wait a little for their threads."""
        with self._lock:
            self._closed.set()
            left = list(self._runs.values())
        for run, _ in left:
            run.abandon()
        until = time.monotonic() + timeout
        for _, thread in left:
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))
