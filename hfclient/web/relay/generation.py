"""`Generation`: a run that this process generates: it reads the source, and prepares what the store gets.

States: *queued* (in its queue), *running* (its thread opens or reads the source), then one of two:

* *finished*, by whichever comes first: the end of the source, its error, a stop, the shutdown. Later events do not count.
* *lost*: another process has the lease. Nothing is written any more; followers look for the run in the store.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, cast

from attrs import evolve

import hfclient
from hfclient.errors import HFClientError
from hfclient.events import AnyEvent, to_dict
from hfclient.types import Reply
from hfclient.web.admission import Watched
from hfclient.web.relay.encoding import Encoder, lengths_before, pack
from hfclient.web.relay.log import EventLog
from hfclient.web.relay.runs import End, Run, chat_of, described, pack_state
from hfclient.web.relay.store import Batch, Bounds, Record, Status, Write
from hfclient.web.source import Opener, Source, events_of

__all__ = ["Generation", "OnEnd", "StateOf", "apart"]

_log = logging.getLogger("hfclient.web")
_EVENTS = 2000  # events in a batch, at most
_PAUSE = 0.02  # seconds between checks whether the writer has caught up

OnEnd: TypeAlias = Callable[[Run, Reply, "BaseException | None"], object]
"""Called when a run ends, before its followers see the end: with the run, the answer (perhaps partial), and the error or None."""
StateOf: TypeAlias = Callable[[Any], Any]
"""Returns the state of a run, plain JSON types, from its stream: when the stream was opened, and when the run ends."""


class Generation:
    """A run that this process generates.

    Args:
        record: The run, with the fence of this process.
        opener: Opens the source, in the thread of the run.
        state: Its state, or a function that returns it.
        chat: As `Run.chat`, if another process has begun the run.
        on_end: Called once when it ends.
        changed: Called when there is something to write: with True if at once.
        filtered: Filters the events of the source.
        encoder: Has encoded the events that the store has.
        most: Maximum number of events in memory.
        name: The name in the store of its idempotency key.
    """

    def __init__(
        self,
        record: Record,
        opener: Opener,
        *,
        state: Any = None,
        chat: dict[str, Any] | None = None,
        on_end: OnEnd | None = None,
        changed: Callable[[Generation, bool], object],
        filtered: Callable[[Iterable[AnyEvent]], Iterator[AnyEvent]] | None = None,
        encoder: Encoder | None = None,
        most: int,
        name: str | None = None,
    ) -> None:
        self.id, self.key, self.owner, self.created = record.id, record.key, record.owner, record.created
        self.fence, self.name, self._most = record.fence, name, most
        self.log = EventLog(record.last)
        self.status: Status = record.status
        self.head = threading.Event()  # opened, or finished
        self.error: BaseException | None = None
        self.lost = False
        self.in_store = True  # False until the store can be reached (`memory_only`)
        self.abandoned = False  # the store cannot have the rest
        self.queue_renewed = time.monotonic()
        self.launched = False
        self.alone_since = time.monotonic()  # without a follower in this process
        self.written_at = self.ended_at = self.attended_at = 0.0
        self._opener, self._on_end, self._changed, self._filtered = opener, on_end, changed, filtered
        self._state_of: StateOf | None = state if callable(state) else None
        self.state: Any = None if callable(state) else state
        self.chat = chat
        self._lock = threading.Lock()
        self._source: Source | None = None
        self._opening: Any = None  # the scope of the call
        self._finishing = False
        self._left = threading.Lock()  # held for good by the thread that leaves the source early
        self.end: End | None = None
        self.over = threading.Event()  # the end is written, or cannot be
        self.thread_over = True
        self._leaving = 0  # threads that leave the source
        self._dirty = False  # a flush is scheduled
        # For the store
        self._encoder = encoder or Encoder()
        self._encoded = record.last
        self._pending: deque[Batch] = deque()
        self._kept: deque[Batch] = deque()  # of the log, for its bounds
        self._size = 0
        self._news: dict[str, Any] = {}
        self._noted = record.state  # what the store has
        self.lease_back = False

    # Reading

    def launch(self) -> None:
        """Open and read the source in a thread."""
        with self._lock:
            if self.launched or self._finishing or self.lost:
                return
            self.launched, self.thread_over = True, False
        self.status = self._news["status"] = "running"
        self._changed(self, True)
        try:
            threading.Thread(target=self._run, name=f"hfclient-run-{self.id[:6]}", daemon=True).start()
        except RuntimeError as error:
            self.thread_over = True
            self.finish("failed", error)

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as error:  # the thread ends here; the error is the run's
            self.finish("failed", error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._drop_opener()
            self.thread_over = True
            self.head.set()

    def _drop_opener(self) -> None:
        """Give back what a guard has reserved for a call that is not made."""
        if isinstance(self._opener, Watched):
            self._opener.close()

    def _read(self) -> None:
        with hfclient.deadline() as scope:
            with self._lock:
                self._opening = scope
            if self._is_over():
                return
            source = self._opener()
        with self._lock:
            self._source = source
        if self._is_over():
            self._leave(source, stop=not self.lost)
            return
        self._note_state(source)
        self.head.set()
        try:
            self._read_events(source)
        except Exception as error:  # noqa: BLE001 (the run's end, whichever it is)
            self.finish("failed", error)
        else:
            reply = self.reply()
            self.finish("interrupted" if reply.interrupted else "completed")
        finally:
            if not self._left.locked():  # else the thread that stops it closes it, after the stop
                source.close()

    def _is_over(self) -> bool:
        return self._finishing or self.lost

    def _read_events(self, source: Source) -> None:
        """Put the events of the source into the log, until the run ends."""
        events: Iterator[Any] = events_of(source)
        if self._filtered is not None:
            events = self._filtered(events)
        log = self.log
        for event in events:
            if self._finishing or self.lost:
                self._leave(source, stop=not self.lost)
                return
            log.events.append(event)
            if log.waiting:
                log.wake()
            if not self._dirty:
                self._dirty = True
                self._changed(self, False)
            if len(log.events) > self._most:
                self._slow_down()

    def _slow_down(self) -> None:
        """Wait until the writer, which trims the log, has caught up: it waits for a slow store."""
        while len(self.log.events) > self._most and not self._is_over():
            self._changed(self, True)
            time.sleep(_PAUSE)

    def _note_state(self, source: Source | None) -> None:
        """Note what another process needs to continue the run, and what the application wants to keep with it."""
        if source is None:
            return
        self.chat = chat_of(source) or self.chat
        if self._state_of is not None:
            try:
                state = self._state_of(source)
                pack(state)
            except Exception:  # noqa: BLE001 (the application's function)
                _log.exception("the state of run %s cannot be kept", self.id)
            else:
                self.state = state
        if (data := self.packed_state()) != self._noted:
            self._noted = self._news["state"] = data
            self._changed(self, True)

    def packed_state(self) -> bytes | None:
        """Return state and chat for the store."""
        return pack_state(self.state, self.chat)

    def reply(self) -> Reply:
        """Return the answer so far."""
        try:
            partial = getattr(self._source, "partial", None)
        except Exception:  # noqa: BLE001 (of a source of the application)
            _log.exception("the partial answer of run %s cannot be read", self.id)
            partial = None
        if isinstance(partial, Reply):
            return partial
        return hfclient.reply_from_events(self.log.since(self.log.base))

    # Ending

    def stop(self) -> None:
        """End the run as interrupted, with what it has, and stop its source."""
        with self._lock:
            self._leaving += 1  # before the end is written, so that a shutdown waits
        try:
            if self.finish("interrupted"):
                self._leave_apart(stop=True)
        except BaseException:  # of *on_end*
            self._leave_apart(stop=True)
            raise
        finally:
            with self._lock:
                self._leaving -= 1

    def stop_apart(self) -> None:
        """As :meth:`stop`, in another thread: the application's *on_end* may take long."""
        apart(self.stop)

    def detach(self) -> None:
        """Leave the source without stopping it: another process continues the run."""
        self.lost = True
        self._leave_apart(stop=False)
        self.log.leave()

    def _leave_apart(self, *, stop: bool) -> None:
        with self._lock:
            source, scope = self._source, self._opening
            self._leaving += 1

        def leave() -> None:
            try:
                if source is not None:
                    self._leave(source, stop=stop)
                elif scope is not None:
                    scope.cancel()
            finally:
                with self._lock:
                    self._leaving -= 1

        apart(leave)

    @property
    def is_left(self) -> bool:
        """Whether no thread uses the source any more."""
        return self.thread_over and not self._leaving

    def _leave(self, source: Source, *, stop: bool) -> None:
        """Leave the source once: this thread, or the one that reads, whichever comes first."""
        if self._left.acquire(blocking=False):
            _leave(source, stop=stop)

    def finish(self, status: Status, error: BaseException | None = None) -> bool:
        """End the run, unless it has ended; True if this call did it."""
        with self._lock:
            if self._finishing or self.lost:
                return False
            self._finishing = True
        if not self.launched:
            self._drop_opener()
        self.error = error
        end = End(status, self.log.last, None if error is None else described(error))
        try:  # a run ends whatever the application's functions raise: else its key would be busy for good
            end = self._conclude(end, error)
        finally:
            self._ended(end, error)
        return True

    def _conclude(self, end: End, error: BaseException | None) -> End:
        """Tell the application; return the end with what it adds."""
        reply = getattr(error, "partial", None)
        if not isinstance(reply, Reply):
            reply = self.reply()
        self._note_state(self._source)
        usage = to_dict(reply.usage) if reply.usage is not None else None
        if usage is not None:
            usage.pop("event", None)
        end = evolve(end, last=self.log.last, usage=usage)
        if self._on_end is not None:
            try:
                self._on_end(self.run(end), reply, error)
            except Exception:  # noqa: BLE001 (the application's function)
                _log.exception("on_end= failed for run %s", self.id)
        return end

    def _ended(self, end: End, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, HFClientError):
            _log.error("run %s failed", self.id, exc_info=error)
        self._news.update(status=end.status, end=end.pack())
        self.log.cause = error
        self.log.finish(end)  # before the writer may take the end: it takes no later events
        self.end, self.status, self.ended_at = end, end.status, time.monotonic()
        self.head.set()
        self._changed(self, True)

    def run(self, end: End | None = None) -> Run:
        """Return the run as it is now."""
        end = end or self.end
        return Run(
            id=self.id, key=self.key, owner=self.owner, status=end.status if end else self.status, created=self.created,
            last=self.log.last, state=self.state, chat=self.chat, problem=end.shown if end else None, usage=end.usage if end else None,
        )  # fmt: skip

    # For the store; the thread of the scheduler calls these

    def prepare(self, lease: float, bounds: Bounds, *, drop: bool = False) -> Write:
        """Return what has to be written now.

        Args:
            lease, bounds: Of the relay.
            drop: The store is down: forget the oldest events if there are too many, although they were not written.
        """
        self._dirty = False  # before the events are taken
        self._encode(bounds, drop=drop)
        news = dict(self._news)
        if self.end is None and "end" in news:  # it is about to end
            del news["end"], news["status"]
        return Write(
            run_id=self.id, fence=self.fence, batches=tuple(self._pending), lease=0.0 if self.lease_back else lease,
            status=cast("Status | None", news.get("status")), state=news.get("state"), end=news.get("end"),
        )  # fmt: skip

    def _encode(self, bounds: Bounds, *, drop: bool) -> None:
        events = self.log.since(self._encoded)
        step = max(1, min(_EVENTS, bounds.max_events // 4))  # whole batches are trimmed
        for at in range(0, len(events), step):
            batch = self._encoder.batch(self._encoded + 1, events[at : at + step])
            self._encoded = batch.last
            self._pending.append(batch)
            self._kept.append(batch)
            self._size += len(batch.data)
        kept = self._kept
        while len(kept) > 1 and (self._size > bounds.max_bytes or kept[-1].last - kept[0].first >= bounds.max_events):
            if self._pending and self._pending[0] is kept[0]:
                if not drop:
                    break
                self._pending.popleft()  # the store never had it, and will see the gap
            self._size -= len(kept.popleft().data)
        if kept:
            self.log.trim(kept[0].first)

    def written(self, write: Write, record: Record) -> bool:
        """Take the result of a write; False if the store lacks events that this process no longer has."""
        self.written_at = time.monotonic()
        self.log.note_stored(record.last)
        pending = self._pending
        while pending and pending[0].last <= record.last:
            pending.popleft()
        if write.batches and record.last < write.batches[-1].last:
            return self._rewind(record.last)
        for name in ("status", "state", "end"):
            if (value := getattr(write, name)) is not None and self._news.get(name) == value:
                del self._news[name]
        return True

    def recreated(self) -> int:
        """Prepare to write everything again, into a store that has lost the run; return the number of the last event before it."""
        self._rewind(self.log.base)
        self.log.note_stored(self.log.base)
        self._news["status"] = self.status
        if (state := self.packed_state()) is not None:
            self._news["state"] = state
        if self.end is not None:
            self._news["end"] = self.end.pack()
        return self.log.base

    def _rewind(self, last: int) -> bool:
        """Encode the events behind *last* again; False if they are no longer here."""
        if last < self.log.base:
            return False
        events = self.log.since(self.log.base)[: last - self.log.base]
        before = lengths_before(self._kept[0].data) if self._kept else (self._encoder.text, self._encoder.reasoning, self._encoder.others)
        self._encoder = Encoder(*before)
        self._pending.clear()
        self._kept.clear()
        self._size = 0
        if events:
            batch = self._encoder.batch(self.log.base + 1, events)  # sets the lengths; the store has it
            self._kept.append(batch)
            self._size = len(batch.data)
        self._encoded = last
        return True

    @property
    def unwritten(self) -> bool:
        """Whether there is something that cannot wait for the next event."""
        # What `finish` has prepared but not ended yet cannot be written, and it says so when it has: a writer that asked again and
        # again would keep the only thread of a gevent worker from it.
        is_ending = self.end is None and "end" in self._news
        return bool(self._pending or (self._news and not is_ending))

    @property
    def complete(self) -> bool:
        """Whether the store has everything, with the end."""
        return self.end is not None and not self._news and not self._pending and self._encoded >= self.end.last


def apart(call: Callable[[], object]) -> None:
    """Call *call* in a thread; in this one if no thread can start."""
    try:
        threading.Thread(target=call, name="hfclient-relay-stop", daemon=True).start()
    except RuntimeError:  # the interpreter shuts down and starts no thread
        call()


def _leave(source: Source, *, stop: bool) -> None:
    """Leave *source*: stop its generation on the server, or only detach from it."""
    try:
        if stop and callable(halt := getattr(source, "stop", None)):
            halt()
    except Exception as error:  # noqa: BLE001 (it is left anyway)
        _log.info("the generation could not be stopped: %s", error)
    try:
        # Not after a stop: the reader may be leaving the stream itself, which then stops the generation.
        if not stop and callable(detach := getattr(source, "detach", None)):
            detach()
        cancel = getattr(source, "cancel", None)
        (cancel or source.close)()
    except Exception as error:  # noqa: BLE001 (as above)
        _log.info("the answer could not be left: %s", error)
