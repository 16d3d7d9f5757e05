"""`Relay`: answers that outlive the request that asked for them."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import time
import weakref
from typing import Any, Literal

from hfclient import Client
from hfclient.errors import InvalidInputError
from hfclient.events import AnyEvent
from hfclient.web.admission import Watched
from hfclient.web.errors import RunFailed, RunGone, RunNotFound, StoreUnavailable, TooManyRuns
from hfclient.web.forks import reset_after_fork
from hfclient.web.relay.access import Allowed, may_read, one_of, scoped_name, text_of
from hfclient.web.relay.encoding import decode
from hfclient.web.relay.follower import Follower
from hfclient.web.relay.generation import Generation, OnEnd
from hfclient.web.relay.log import EventLog
from hfclient.web.relay.memory import MemoryStore
from hfclient.web.relay.mirror import PAGE_BYTES, Mirrors
from hfclient.web.relay.position import Rest, locate
from hfclient.web.relay.queues import Queues
from hfclient.web.relay.recovery import Recover, Recovery
from hfclient.web.relay.registration import RESERVED, Registration
from hfclient.web.relay.runs import End, Run, number_after, valid_id
from hfclient.web.relay.scheduler import Scheduler
from hfclient.web.relay.shutdown import Intake, on_sigterm, shut_down, wait_for_handlers
from hfclient.web.relay.store import Bounds, Record, Store
from hfclient.web.relay.writer import Writer
from hfclient.web.source import Opener

__all__ = ["Relay"]

_log = logging.getLogger("hfclient.web")
_RETRY = 2.0  # seconds after which a process that is full may have capacity again


class Relay:
    """Runs answers apart from the requests that asked for them, and lets any worker follow them.

    Make one for each process, as a global; one that was made before a fork works in each worker. It opens nothing before the first run.

    Args:
        store: Where the runs are: a `MemoryStore` (the default, for one worker), a `RedisStore`, or another `Store`.
        ttl: Seconds for which an answer is kept after its end.
        tombstone: Seconds from then on for which it is known to be gone (410), and an idempotency key starts no new run.
        lease: Seconds after which another process notices that the one that generates a run has died.
        on_leave: What happens to a run without followers: ``"finish"``, or ``"stop"`` after *grace* seconds, also if none ever came.
        grace: Seconds, for ``on_leave="stop"``.
        busy: What `start` does if a run with the same key has not ended: ``"refuse"`` raises RunBusy, ``"queue"`` starts the new
            run when those before it have ended.
        max_queue: Maximum number of runs that wait for one key.
        max_runs: Maximum number of runs of this process at a time, with those that wait; each that runs has a thread.
        max_followers: Maximum number of followers of one run in this process.
        max_events, max_bytes: How much of a run is kept; its oldest events are removed first.
        coalesce: Seconds in which events are collected for one write to the store. Followers in this process do not wait for it.
        recover: Continues the runs of a process that has died. A client: the chats, from the log of its server. With a client for
            each user, a function that takes the `Run` and returns a stream of the same answer from its start:
            ``lambda run: run.attach(clients.get(run.owner))``. Without it such a run fails, with the code ``generator-lost``.
        on_end: Called when a run ends in this process: ``on_end(run, reply, error)``. See `start`.
        memory_only: Whether a run may start while the store is down. Until the store is back only this process can follow it.

    Raises:
        InvalidInputError: An argument is invalid.
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        ttl: float = 600.0,
        tombstone: float = 86_400.0,
        lease: float = 15.0,
        on_leave: Literal["finish", "stop"] = "finish",
        grace: float = 30.0,
        busy: Literal["refuse", "queue"] = "refuse",
        max_queue: int = 10,
        max_runs: int = 100,
        max_followers: int = 1000,
        max_events: int = 100_000,
        max_bytes: int = 4 * 1024 * 1024,
        coalesce: float = 0.05,
        recover: Recover | Client | None = None,
        on_end: OnEnd | None = None,
        memory_only: bool = False,
    ) -> None:
        numbers = {"ttl": ttl, "lease": lease, "max_runs": max_runs, "max_events": max_events, "max_bytes": max_bytes, "coalesce": coalesce}
        for name, value in numbers.items():
            if isinstance(value, bool) or not (isinstance(value, (int, float)) and value > 0):
                raise InvalidInputError(f"{name}= is a positive number, not {value!r}")
        one_of("on_leave", on_leave, ("finish", "stop"))
        one_of("busy", busy, ("refuse", "queue"))
        self.store: Store = MemoryStore() if store is None else store
        self.lease, self.busy = lease, busy
        self._on_leave, self._grace = on_leave, grace
        self.max_runs, self._max_followers = max_runs, max_followers
        self.memory_only = memory_only
        self.bounds = Bounds(ttl=ttl, keep=tombstone, max_events=max_events, max_bytes=max_bytes)
        self.most = 2 * max_events  # in memory, for each run
        self.scheduler = Scheduler("hfclient-relay")
        self.writer = Writer(
            self.store, self.scheduler, lease=lease, bounds=self.bounds, coalesce=coalesce, checked=self._checked
        )
        self.on_end = on_end
        self.recovery = Recovery(self, recover)
        self.queues = Queues(self, max_queue)
        self._registration = Registration(self)
        self._reset()
        _relays.add(self)
        reset_after_fork(self._after_fork)

    def _reset(self) -> None:
        self.mirrors = Mirrors(
            self.store, self.scheduler, patience=self.lease, attend=self._grace / 4 if self._on_leave == "stop" else None, lost=self.recovery.look
        )
        self.closing = False
        self.intake = Intake()
        self._process = os.getpid()

    def _after_fork(self) -> None:
        self.scheduler.reset()
        self.writer.reset()
        self._registration.reset()
        self._reset()

    def __repr__(self) -> str:
        return f"<Relay with {len(self.writer.generations)} runs in this process, {self.store!r}>"

    # Starting

    def start(
        self,
        key: object,
        open: Opener,
        *,
        owner: object = None,
        idempotency_key: str | None = None,
        busy: Literal["refuse", "queue"] | None = None,
        wait: float | None = None,
        state: Any = None,
        on_end: OnEnd | None = None,
    ) -> Run:
        """Start an answer and return its run at once.

        Args:
            key: At most one run with this key is active, in all processes: the id of the conversation, for instance. A text, a number or a UUID.
            open: Returns the stream: ``lambda: conversation.send(prompt)``. It is called in a thread of the relay, so it must not use
                the request. The stream is read to its end, whether it has followers or not.
            owner: The user that the run belongs to, as text, number or UUID: only this one can follow and stop it.
            idempotency_key: A text of the browser's, new for each message. Repeated, also in another worker and after the end, it returns the run
                that it started. It is the owner's own: two owners may use the same.
            busy: Instead of the relay's.
            wait: Seconds to wait for *open* to return; an error of it in that time is raised here, such as a 429. None: do not wait. An error
                that the stream itself brings, as a chat-ui reports a model's refusal, is the run's.
            state: What the application wants to keep with the run, plain JSON types; or a function that returns it from the stream, called
                when the stream has opened and again when the run ends. The run has it as `Run.state`. A chat needs none to be recovered:
                see `Run.chat`.
            on_end: Called once when the run ends, before its followers see the end: ``on_end(run, reply, error)``, where *reply* may be
                partial and *error* is None for a complete answer. It can save the message. In the thread of the run; an exception is logged. If
                another process continues the run, that one calls the *on_end* of its relay. Default: the relay's.

        Raises:
            RunBusy: Another run with the key is active, or too many wait (409).
            TooManyRuns: This process has *max_runs* runs, or shuts down (503).
            StoreUnavailable: The store cannot be reached (503).
            RunGone: The idempotency key belongs to a run that is no longer kept (410).
            InvalidRequest: The idempotency key was used with another key, or is too long (400).
            LimitExceeded: *open* is of `Guard.watch`, and a limit is used up (429).
            Exception: With *wait*: what *open* raised.
        """
        key_text, owner_text = text_of("key", key), None if owner is None else text_of("owner", owner)
        if not callable(open):
            raise InvalidInputError(f"open is a function that returns a stream, not a {type(open).__name__}")
        name = None if idempotency_key is None else scoped_name(owner_text, idempotency_key)
        if name is not None and (found := self._registration.named(name, key_text)) is not None:
            return found
        may_wait = (busy or self.busy) == "queue"
        with self.intake:
            self.check_capacity()
            with contextlib.ExitStack() as unless_started:
                if isinstance(open, Watched):
                    open.admit()  # before the run exists: refused requests leave nothing in the store
                    unless_started.callback(open.close)
                made = self._registration.register(key_text, owner_text, name, may_wait=may_wait, state=state, lease=self.lease)
                if isinstance(made, Run):
                    return made
                unless_started.pop_all()
            record, queue, in_store = made
            generation = Generation(
                record, open, state=state, on_end=on_end or self.on_end, changed=self.writer.changed, most=self.most, name=name
            )
            generation.in_store = in_store
            self.launch(generation, queue)
        if wait is not None and generation.head.wait(wait) and (error := generation.error) is not None:
            if not isinstance(error, Exception):  # such as SystemExit, which would end the server's worker
                raise RunFailed(f"the answer was ended by {type(error).__name__}") from error
            raise error
        return generation.run()

    def check_capacity(self) -> None:
        """Raise TooManyRuns if no run may begin in this process. Call it inside of `intake`."""
        if self.closing:
            raise TooManyRuns("this process shuts down and starts no further runs", retry_after=_RETRY)
        if self.is_full:
            raise TooManyRuns(f"this process has {self.max_runs} runs (max_runs=)", retry_after=_RETRY)

    @property
    def is_full(self) -> bool:
        """Whether this process has as many runs as it may."""
        return self.writer.count() >= self.max_runs

    def launch(self, generation: Generation, queue: tuple[str, ...]) -> None:
        """Generate a run as soon as it is the first in its queue."""
        self.writer.add(generation)
        if queue[0] == generation.id:
            generation.launch()
        else:
            self.queues.wait(generation, queue)
        if self._on_leave == "stop":
            self.scheduler.later(self._grace, lambda: self._check_followers(generation))

    def reserve(
        self,
        key: object,
        *,
        owner: object = None,
        idempotency_key: str | None = None,
        busy: Literal["refuse", "queue"] | None = None,
        state: Any = None,
        patience: float = 60.0,
    ) -> Run:
        """Announce a run that another process generates with :meth:`run`, such as a Celery task. It can be followed and stopped at once.

        Args:
            key, owner, idempotency_key, busy: As for :meth:`start`.
            state: Plain JSON types; the run has it as `Run.state`.
            patience: Seconds until a run that no process has begun fails, with the code ``generator-lost``.

        Raises:
            RunBusy, StoreUnavailable, RunGone, InvalidRequest: As for :meth:`start`.
        """
        key_text, owner_text = text_of("key", key), None if owner is None else text_of("owner", owner)
        name = None if idempotency_key is None else scoped_name(owner_text, idempotency_key)
        if name is not None and (found := self._registration.named(name, key_text)) is not None:
            return found
        may_wait = (busy or self.busy) == "queue"
        made = self._registration.register(key_text, owner_text, name, may_wait=may_wait, state=state, lease=patience, fence=RESERVED)
        return made if isinstance(made, Run) else Run.of(made[0])

    def run(self, run_id: str, open: Opener, *, state: Any = None, on_end: OnEnd | None = None) -> Run:
        """Generate a run of :meth:`reserve` and return when it has ended, however it did: see `Run.status`.

        A run that has ended is returned as it is.

        Args:
            run_id: The run.
            open, state, on_end: As for :meth:`start`.

        Raises:
            RunBusy: Another process generates it, such as the first one of a task that was delivered twice.
            RunNotFound: It does not exist.
            TooManyRuns, RunGone, StoreUnavailable: As for :meth:`start`.
        """
        return self._registration.run(run_id, open, state, on_end)

    # Reading

    def follow(self, run_id: str, after: str | None = None, *, owner: object = None, allowed: Allowed | None = None) -> Follower:
        """Return the events of a run behind the event *after*, live ones as they come.

        Args:
            run_id: The run, as it comes from the browser.
            after: ``Last-Event-ID`` as the browser sends it; None or empty for the start.
            owner: The user: only the run's own owner may follow it.
            allowed: The application's own check, instead of *owner*.

        Raises:
            RunNotFound: It does not exist, or the caller may not follow it (404).
            RunGone: It is no longer kept, or the events that would follow are not (410).
            InvalidRequest: *after* is not the id of an event of this run (400).
            TooManyRuns: It has *max_followers* followers in this process (503).
            StoreUnavailable: The store cannot be reached (503).
        """
        generation, record = self._look_up(run_id, owner, allowed)
        number, had = number_after(run_id, after)
        if record is not None and record.gone:
            raise RunGone("this answer is no longer kept")
        log = generation.log if generation is not None else self._log_of(record)
        if len(log.followers) >= self._max_followers:
            raise TooManyRuns(f"this answer has {self._max_followers} readers in this process (max_followers=)", retry_after=_RETRY)
        rest = None
        if had is not None:
            number, rest = locate(self.store, run_id, log, number, had)
        if number < log.base and (record or self.store.get(run_id) or Record(id=run_id, key="", first=number + 2)).first > number + 1:
            raise RunGone("the beginning of this answer is no longer kept")
        return Follower(self, run_id, number, log, rest)

    def _log_of(self, record: Record | None) -> EventLog:
        assert record is not None
        if record.ended:
            log = EventLog(record.last)
            log.finish(End.of(record))
            return log
        return self.mirrors.of(record).log

    def adopted(self, generation: Generation) -> None:
        """This process now generates a run that it has followed: the followers move to it."""
        self.writer.add(generation)
        if (mirror := self.mirrors.pop(generation.id)) is not None:
            mirror.close()
            for waiter in mirror.waiters:
                self.mirrors.of(Record(id=generation.id, key=generation.key, last=generation.log.last), waiter)
        if self._on_leave == "stop":
            self.scheduler.later(self._grace, lambda: self._check_followers(generation))

    def locate(self, run_id: str, log: EventLog, number: int, had: tuple[int, int, int]) -> tuple[int, Rest | None]:
        """Return where a follower continues that has had events which the store may not have."""
        return locate(self.store, run_id, log, number, had)

    def enter(self, run_id: str) -> EventLog | None:
        """Return the log of a run for a follower whose log has ended in mid-answer; None if this process shuts down."""
        if self.closing:
            return None
        generation = self.writer.generations.get(run_id)
        if generation is not None and not generation.lost:
            return generation.log
        record = self.store.get(run_id)
        if record is None or record.gone:
            raise RunGone("this answer is no longer kept")
        return self._log_of(record)

    def left(self, run_id: str) -> None:
        """A follower has left."""
        if (generation := self.writer.generations.get(run_id)) is not None:
            generation.alone_since = time.monotonic()
        if (mirror := self.mirrors.get(run_id)) is not None:
            self.scheduler.soon(mirror.check_use)

    def stored(self, run_id: str, number: int) -> list[AnyEvent]:
        """Return some of the events behind *number*, from the store."""
        found = self.store.read(run_id, number, PAGE_BYTES)
        if found is None or found[0].gone or not found[1] or found[1][0].first > number + 1:
            raise RunGone("events of this answer are no longer kept")
        batches = found[1]
        events = [event for batch in batches for event in decode(batch.data)]
        return events[number + 1 - batches[0].first :]

    def get(self, run_id: str, *, owner: object = None, allowed: Allowed | None = None) -> Run:
        """Return a run. Raises RunNotFound, RunGone and StoreUnavailable as :meth:`follow`."""
        generation, record = self._look_up(run_id, owner, allowed)
        if generation is not None:
            return generation.run()
        assert record is not None
        if record.gone:
            raise RunGone("this answer is no longer kept")
        return Run.of(record)

    def running(self, key: object) -> Run | None:
        """Return the active run with this key, or None: for a page that is opened again in mid-answer.

        Raises:
            StoreUnavailable: The store cannot be reached.
        """
        text = text_of("key", key)
        try:
            for run_id in self.store.queue(text):
                if not self.queues.is_over(run_id):
                    return self._registration.run_of(run_id, text)
        except RunGone:
            return None
        except StoreUnavailable:
            for generation in list(self.writer.generations.values()):
                if generation.key == text and generation.end is None:
                    return generation.run()
            raise
        return None

    def _look_up(self, run_id: str, owner: object, allowed: Allowed | None) -> tuple[Generation | None, Record | None]:
        """Return a run that the caller may read: as this process generates it, or as the store has it."""
        generation = record = None
        if valid_id(run_id):
            generation = self.writer.generations.get(run_id)
            if generation is not None and generation.lost:
                generation = None
            if generation is None:
                record = self.store.get(run_id)
        run = generation.run() if generation is not None else Run.of(record) if record is not None else None
        if run is None or not may_read(run, owner, allowed):
            raise RunNotFound("this answer does not exist")
        return generation, record

    # Ending

    def stop(self, run_id: str, *, owner: object = None, allowed: Allowed | None = None) -> Run:
        """Stop a run, in whichever process it is: it ends as ``"interrupted"`` with the answer so far. Returns the run.

        It is immediate for followers in the process that generates it, and takes a moment for others. A run that has ended stays as it is.

        Raises:
            RunNotFound, RunGone, StoreUnavailable: As :meth:`follow`.
        """
        generation, record = self._look_up(run_id, owner, allowed)
        if generation is not None:
            generation.stop()
            return generation.run()
        assert record is not None
        if record.gone:
            raise RunGone("this answer is no longer kept")
        if not record.ended:
            record = self._registration.stop(self.store.stop(run_id) or record)
            if record.lease_left <= 0 and not record.ended:
                self.recovery.take(record)
                record = self.store.get(run_id) or record
        return Run.of(record)

    def recover_lost(self) -> int:
        """Look for runs whose process has died, and continue (*recover*) or end each; return their number.

        Followers do this for the runs that they follow. A worker may call it when it starts, for the others.

        Raises:
            StoreUnavailable: The store cannot be reached.
        """
        return sum(self.recovery.take(record) for run_id in self.store.active() if (record := self.store.get(run_id)) is not None)

    def _checked(self, generation: Generation, record: Record) -> None:
        """The store has this record of a run that this process generates. For the scheduler's thread."""
        if record.stop and generation.end is None:
            generation.stop_apart()
        if record.attended is not None:
            generation.attended_at = time.monotonic() - record.attended

    def _check_followers(self, generation: Generation) -> None:
        """Stop a run that has had no follower for *grace* seconds. For the scheduler's thread."""
        if generation.end is not None or generation.lost or self.closing:
            return
        now = time.monotonic()
        if generation.log.followers:
            generation.alone_since = now
        try:
            record = self.store.get(generation.id)
        except StoreUnavailable:
            record = None
            generation.alone_since = now  # followers elsewhere are unknown
        if record is not None:
            self._checked(generation, record)
        alone = now - max(generation.alone_since, generation.attended_at)
        if alone >= self._grace:
            _log.info("run %s has had no follower for %s seconds; it is stopped", generation.id, self._grace)
            generation.stop_apart()
        else:
            self.scheduler.later(max(0.02, min(self._grace / 4, self._grace - alone)), lambda: self._check_followers(generation))

    def close(self, timeout: float = 25.0) -> None:
        """Shut down: start no further runs, wait for those of this process, then hand over or end what is left.

        A run that *recover* can continue is handed over: another process does so at once, when it is followed there or by
        `recover_lost`. Any other ends as ``"interrupted"`` with the answer so far. Followers in this process end without an
        end of the run, so that the browser reconnects. Idempotent.
        At the end of a process that has not called it, it is called with a timeout of 1 second.

        Args:
            timeout: Seconds to wait for runs.
        """
        shut_down(self, timeout)

    def close_on_sigterm(self, timeout: float = 20.0) -> None:
        """Call :meth:`close` when this process receives SIGTERM, beside what it does then anyway.

        A server lets its requests end after SIGTERM, and so waits for the followers; with this they end in time, and browsers reconnect to
        another worker. Call it in the main thread of a worker, after the server has set its own handler: in gunicorn's ``post_worker_init``.

        Args:
            timeout: Seconds to wait for runs; less than the server waits for requests.
        """
        on_sigterm(lambda: self.close(timeout))


_relays: weakref.WeakSet[Relay] = weakref.WeakSet()


@atexit.register
def _at_exit() -> None:
    wait_for_handlers()
    for relay in list(_relays):
        if relay._process == os.getpid() and (relay.writer.count() or relay.mirrors):
            relay.close(1.0)
