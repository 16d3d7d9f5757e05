"""Running generations: one thread per answer, any number of readers.

The thread pulls events from the upstream. Each event becomes a line of the live stream and an entry of the event log, where
the tokens of 200 ms are merged. The response to the client's POST is only one of the readers: closing it stops nothing. A
generation ends exactly once, under its lock. The answer is stored before the last line can be read, so a client that reads
the conversation after its stream finds the whole answer. Tokens are also stored before a reader gets them, so a killed
process loses nothing that was delivered.

A stop does not wait for the upstream: it ends the generation at once and cancels the upstream's stream, which wakes the thread.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from waitress.channel import ClientDisconnected

from hfclient.errors import APIStatusError, GenerationError, HFClientError
from hfclient.events import AnyEvent, Reasoning, Route, Token
from hfclient.local import event_encoding
from hfclient.local.records import MessageRecord, now
from hfclient.local.sqlite_store import Store
from hfclient.local.upstream import EventStream

__all__ = ["Generation", "Generations"]

_log = logging.getLogger("hfclient.local")
_MERGE_SECONDS = 0.2  # tokens within this time are one entry of the log
_KEEP_ALIVE_SECONDS = 0.1
_HEARTBEAT_SECONDS = 0.25
_MAX_LOG_SECONDS = 300.0  # a response with the log ends after this time; the client resumes from its last number
_NO_OUTPUT = "No output was generated. Something went wrong."


class Generation:
    """One answer while it is generated.

    Args:
        number: Key of its row in the store.
        owner: Session that it belongs to.
        conversation_id, generation_id: Its ids in the protocol.
        message: The assistant message that it writes.
        store: Stores the log and the message.
    """

    def __init__(
        self, number: int, owner: str, conversation_id: str, generation_id: str, message: MessageRecord, store: Store
    ) -> None:
        self.number = number
        self.owner = owner
        self.conversation_id = conversation_id
        self.generation_id = generation_id
        self.message_id = message.id
        self.status = "running"  # then completed, interrupted or error
        self.aborted = False  # the server shuts down: responses are cut off instead of completed
        self._message = message
        self._store = store
        self._changed = threading.Condition()
        self._lines: list[bytes] = []
        self._entries: list[bytes] = []
        self._updates: list[dict[str, Any]] = []
        self._texts: list[str] = []
        self._pending: list[str] = []  # tokens that are not yet an entry of the log
        self._pending_since = 0.0
        self._pending_stored = 0  # number of pending tokens that are stored already
        self._reasoning = False
        self._stream: EventStream | None = None

    # Writing

    def run(self, request: Callable[[], EventStream], title: str | None) -> None:
        """Read the whole stream that *request* returns; runs in a thread of its own and never raises."""
        error: dict[str, Any] | None = None
        try:
            self._emit({"type": "status", "status": "started"})
            if title is not None:
                self._emit({"type": "title", "title": title})
            stream = request()
            try:
                if self._set_stream(stream):
                    for event in stream:
                        self._receive(event)
                        if self.status != "running":
                            break
            finally:
                stream.close()
        except HFClientError as problem:
            error = _error_event(problem)
        except Exception:  # noqa: BLE001 (an upstream may be any object, and readers need an end)
            _log.exception("generation %s failed", self.generation_id)
            error = _failure("An error occurred")
        self._end(error)

    def _set_stream(self, stream: EventStream) -> bool:
        """Keep *stream*, so that a stop can cancel it; False if the generation was stopped before."""
        with self._changed:
            self._stream = stream
            return self.status == "running"

    def _receive(self, event: AnyEvent) -> None:
        if isinstance(event, Reasoning) and event.text:
            text = event.text if self._reasoning else "<think>" + event.text
            self._reasoning = True
            self._emit(event_encoding.token(text))
        elif isinstance(event, Token) and event.text:
            text = "</think>" + event.text if self._reasoning else event.text
            self._reasoning = False
            self._emit(event_encoding.token(text))
        elif isinstance(event, Route):
            route = {"route": event.route, "model": event.model, "provider": event.provider}
            self._emit({"type": "routerMetadata", **{key: value for key, value in route.items() if value is not None}})

    def _emit(self, event: dict[str, Any]) -> None:
        with self._changed:
            if self.status == "running":
                self._add(event)
                self._changed.notify_all()

    # The methods from here to stop() need the lock.

    def _add(self, event: dict[str, Any]) -> None:
        self._updates.append(event_encoding.stored_update(event))
        self._lines.append(event_encoding.live_line(event))
        if event["type"] != "stream":
            self._flush()
            self._log_event(event)
            return
        self._texts.append(event["token"])
        clock = time.monotonic()
        if self._pending and clock - self._pending_since >= _MERGE_SECONDS:
            self._flush()
        if not self._pending:
            self._pending_since = clock
        self._pending.append(event["token"])

    def _flush(self) -> None:
        """Make one entry of the log from the pending tokens."""
        if self._pending:
            self._log_event(event_encoding.token("".join(self._pending)))
            self._pending.clear()
            self._pending_stored = 0

    def _store_pending(self) -> None:
        """Store pending tokens before a reader gets them: the process may be killed."""
        if len(self._pending) > self._pending_stored:
            self._pending_stored = len(self._pending)
            entry = msgspec.json.encode(event_encoding.token("".join(self._pending)))
            self._store_entry(len(self._entries) + 1, entry)

    def _log_event(self, event: dict[str, Any]) -> None:
        entry = msgspec.json.encode(event)
        self._entries.append(entry)
        self._store_entry(len(self._entries), entry)

    def _store_entry(self, number: int, entry: bytes) -> None:
        try:
            self._store.log(self.number, number, entry)
        except sqlite3.Error:  # a full disk: readers still get everything
            _log.exception("the log of generation %s cannot be written", self.generation_id)

    def _finish(self, text: str, *, interrupted: bool) -> None:
        self._add({"type": "finalAnswer", "text": text, "interrupted": interrupted})
        self._lines.append(event_encoding.PADDING)
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
            _log.exception("the answer of generation %s cannot be stored", self.generation_id)
            self._lines.append(event_encoding.live_line(_failure("The answer could not be stored")))
            status = "error"
        self.status = status
        self._changed.notify_all()

    # Ending

    def _end(self, error: dict[str, Any] | None) -> None:
        with self._changed:
            if self.status != "running":
                return
            text = "".join(self._texts).rstrip()
            if error is None and not text:
                error = _failure(_NO_OUTPUT)
            if error is not None:
                self._add(error)
                self._close("error", "".join(self._texts), interrupted=None)
            else:
                self._finish(text, interrupted=False)

    def stop(self, seen: int | None = None) -> None:
        """End the generation now.

        Args:
            seen: Number of UTF-16 units that the reader has; the stored text is cut to that length. None keeps everything.
        """
        with self._changed:
            if self.status != "running":
                return
            text = "".join(self._texts)
            self._finish(text if seen is None else event_encoding.clamp_utf16(text, seen), interrupted=True)
        self._cancel_stream()

    def abort(self) -> None:
        """End because the server shuts down: store the text so far as interrupted and cut off all readers."""
        with self._changed:
            if self.status != "running":
                return
            self.aborted = True
            self._flush()
            self._close("interrupted", "".join(self._texts), interrupted=True)
        self._cancel_stream()

    def _cancel_stream(self) -> None:
        if self._stream is not None:
            self._stream.cancel()

    # Reading

    def update_message(self, message: MessageRecord) -> None:
        """Set the text and updates so far in a message that was read from the store, if this generation writes it."""
        with self._changed:
            if self.status == "running" and message.id == self._message.id:
                self._flush()
                message.content = "".join(self._texts)
                message.updates = list(self._updates)
                message.materialized = len(self._entries)

    def live_lines(self) -> Iterator[bytes]:
        """Yield the lines of the live stream as they arrive, with a keep-alive every 100 ms until the end.

        Raises:
            ClientDisconnected: The server shuts down; waitress then cuts the response off, without its last chunk.
        """
        position = 0
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self.status != "running")
        keep_alive_at = time.monotonic()
        while True:
            with self._changed:
                while position == len(self._lines) and self.status == "running" and time.monotonic() < keep_alive_at:
                    self._changed.wait(keep_alive_at - time.monotonic())
                lines = self._lines[position:]
                running = self.status == "running"
                if lines:
                    self._store_pending()
            position += len(lines)
            if running and time.monotonic() >= keep_alive_at:
                lines.append(event_encoding.KEEP_ALIVE)
                keep_alive_at = time.monotonic() + _KEEP_ALIVE_SECONDS
            if lines:
                yield b"".join(lines)
            if not running:
                self._raise_if_aborted()
                return

    def log_frames(self, after: int) -> Iterator[bytes]:
        """Yield the log after entry number *after* as server-sent events, until the generation has ended."""
        until = time.monotonic() + _MAX_LOG_SECONDS
        while time.monotonic() < until:
            with self._changed:
                if len(self._entries) <= after and self.status == "running":
                    self._changed.wait(_HEARTBEAT_SECONDS if not self._pending else _MERGE_SECONDS)
                    if self._pending and time.monotonic() - self._pending_since >= _MERGE_SECONDS:
                        self._flush()
                entries = self._entries[after:]
                running = self.status == "running"
            if entries:
                yield b"".join(event_encoding.log_frame(number, entry) for number, entry in enumerate(entries, after + 1))
                after += len(entries)
            elif running:
                yield event_encoding.HEARTBEAT
            else:
                self._raise_if_aborted()
                yield event_encoding.sse_frame("end", {"status": self.status})
                return

    def _raise_if_aborted(self) -> None:
        if self.aborted:
            raise ClientDisconnected


def _failure(message: str) -> dict[str, Any]:
    return {"type": "status", "status": "error", "message": message}


def _error_event(error: HFClientError) -> dict[str, Any]:
    """Return the stream's event for a failure of the upstream."""
    message, status = error.message, None
    if isinstance(error, APIStatusError) and error.status_code:
        message, status = f"{error.status_code} {error.message}", error.status_code
    elif isinstance(error, GenerationError):
        status = error.status_code
    event = _failure(message or type(error).__name__)
    if status is not None:
        event["statusCode"] = status
    return event


class Generations:
    """The running generations of a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, tuple[Generation, threading.Thread]] = {}
        self._closed = threading.Event()

    def start(self, generation: Generation, request: Callable[[], EventStream], title: str | None) -> None:
        """Run *generation* in a thread of its own."""

        def work() -> None:
            try:
                generation.run(request, title)
            finally:
                with self._lock:
                    self._running.pop(generation.number, None)

        thread = threading.Thread(target=work, name="hfclient-generation", daemon=True)
        with self._lock:
            closed = self._closed.is_set()
            if not closed:
                self._running[generation.number] = (generation, thread)
        if closed:
            generation.abort()
            return
        try:
            thread.start()
        except RuntimeError:  # no more threads
            with self._lock:
                del self._running[generation.number]
            generation.abort()
            raise

    def find(self, conversation_id: str, generation_id: str | None) -> Generation | None:
        """Return the running generation with that id, or the conversation's newest if *generation_id* is None."""
        found = [one for one in self.of_conversation(conversation_id) if generation_id in (None, one.generation_id)]
        return max(found, key=lambda one: one.number, default=None)

    def of_conversation(self, conversation_id: str) -> list[Generation]:
        """Return the running generations of a conversation."""
        return [one for one in self._all() if one.conversation_id == conversation_id]

    def of_owner(self, owner: str) -> list[Generation]:
        """Return the running generations of all conversations of a session."""
        return [one for one in self._all() if one.owner == owner and one.status == "running"]

    def _all(self) -> list[Generation]:
        with self._lock:
            return [generation for generation, _ in self._running.values()]

    @property
    def closed(self) -> bool:
        """The server shuts down."""
        return self._closed.is_set()

    def wait_closed(self, seconds: float) -> None:
        """Sleep for *seconds*, or until the server shuts down."""
        self._closed.wait(seconds)

    def close(self, timeout: float = 2.0) -> None:
        """Abort all generations, store their text, and wait up to *timeout* seconds for their threads."""
        with self._lock:
            self._closed.set()
            running = list(self._running.values())
        for generation, _ in running:
            generation.abort()
        until = time.monotonic() + timeout
        for _, thread in running:
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))
