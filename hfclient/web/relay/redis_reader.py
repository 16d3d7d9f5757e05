"""One blocked read (XREAD BLOCK) for all logs that a process follows.

A blocked read cannot be given another log, so the process also reads a stream of its own, its inbox: an entry there ends the
read, and the next one has all logs. What concerns the runs that this process generates, above all a stop, arrives in the
inbox, too: their logs are not read, because this process wrote them. So two hundred followers need one connection, one thread and
one round trip for all that has come, and nothing polls.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from typing import Final

from hfclient.web.errors import StoreUnavailable
from hfclient.web.relay.redis_commands import Entry, Reading, RedisCommands
from hfclient.web.relay.redis_scripts import LAST_IDS, POST
from hfclient.web.relay.store import Batch, Notify

__all__ = ["BlockedReader", "WatchedRun"]

_LONGEST_PAUSE: Final = 2.0
_INTERVAL: Final = 0.01
"""Least seconds between two reads: a hundred runs write three thousand batches a second, which a hundred reads fetch."""
_ENTRIES: Final = 200
"""Most entries of a log in one read: a process that has much to catch up holds little of it at once."""
_log = logging.getLogger("hfclient.web")


class WatchedRun:
    """The watches of one run.

    Args:
        run_id: The run.
        log: The key of its log.
        held: This store generates the run, so its log is not read.

    Attributes:
        position: The id behind which the log is read; None until it is known.
        notifies: A callback for each watch.
    """

    def __init__(self, run_id: str, log: str, *, held: bool) -> None:
        self.run_id = run_id
        self.log = log
        self.held = held
        self.position: str | None = None
        self.notifies: list[Notify] = []

    def notify(self, batch: Batch | None) -> None:
        """Call all watches."""
        for notify in tuple(self.notifies):
            try:
                notify(batch)
            except Exception:  # noqa: BLE001 (one watch must not end those of other readers)
                _log.exception("a watch of run %s failed", self.run_id)

    def received(self, entries: list[Entry]) -> None:
        """Notify what *entries* of the log say."""
        other = False
        for number, fields in entries:
            if (data := fields.get(b"d")) is None:
                other = True
            else:
                count = int(fields[b"n"])
                self.notify(Batch(int(number.partition("-")[0]) - count + 1, count, data))
        if other:
            self.notify(None)


class BlockedReader:
    """Reads the logs of all watched runs whose keys have one hash tag, in a thread that exists while there are any.

    Args:
        commands: The server.
        inbox: Start of the keys of inboxes, with the hash tag.
        name: The rest of the key of this one's inbox.
    """

    def __init__(self, commands: RedisCommands, inbox: str, name: str) -> None:
        self._commands = commands
        self._prefix = inbox
        self._inbox = inbox + name
        self._position = "0-0"
        self._lock = threading.Lock()
        self._runs: dict[str, WatchedRun] = {}
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def add(self, run: WatchedRun) -> None:
        """Read *run* from now on. Its watches are notified when the reading has begun."""
        with self._lock:
            self._runs[run.run_id] = run
            wake = self._thread is not None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="hfclient-redis", daemon=True)
                self._thread.start()
        if wake and not run.held:
            self.wake()

    def remove(self, run: WatchedRun) -> None:
        """Do not read *run* any longer."""
        with self._lock:
            if self._runs.get(run.run_id) is run:
                del self._runs[run.run_id]

    def post(self, name: str, run_id: str) -> None:
        """Notify the watches of the store called *name* that this run has changed.

        Raises:
            StoreUnavailable: Redis could not be reached.
        """
        self._commands.run(POST, [self._prefix + name], run_id)

    def wake(self) -> None:
        """End the read, if there is one, so that the next one has all runs."""
        with contextlib.suppress(StoreUnavailable):  # then the read fails, too
            self._commands.run(POST, [self._inbox], "")

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            self._runs.clear()
            thread = self._thread
        self._closing.set()
        if thread is not None and thread is not threading.current_thread():
            self.wake()
            thread.join(self._commands.longest_wait + 1)

    def _run(self) -> None:
        pause = 0.0
        reading = Reading(self._commands)
        try:
            while runs := self._snapshot():
                started = time.monotonic()
                try:
                    found = self._read(reading, runs, 0.0 if pause else self._commands.longest_wait)
                except Exception as error:  # noqa: BLE001 (without this thread no follower would get anything any more)
                    if not isinstance(error, StoreUnavailable):
                        _log.exception("an error in the reading of Redis")
                    # Its logs may be other ones when it is back: older, or empty.
                    for run in runs:
                        run.position = None
                    self._position = "0-0"
                    pause = min(_LONGEST_PAUSE, pause * 2 or 0.05)
                    self._closing.wait(pause * random.uniform(0.5, 1))  # noqa: S311 (not a secret)
                    continue
                if pause:
                    pause = 0.0
                    for run in runs:
                        if run.held:  # the others were notified by _read
                            run.notify(None)
                try:
                    self._deliver(runs, found)
                except ValueError:
                    _log.exception("an entry in Redis is not of a relay")
                if found and (rest := started + _INTERVAL - time.monotonic()) > 0:
                    self._closing.wait(rest)
        finally:
            reading.close()
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _snapshot(self) -> list[WatchedRun]:
        """Return the runs to read; none ends the thread."""
        with self._lock:
            runs = [] if self._closing.is_set() else list(self._runs.values())
            if not runs:
                self._thread = None
            return runs

    def _read(self, reading: Reading, runs: list[WatchedRun], seconds: float) -> dict[str, list[Entry]]:
        reading.open()  # before the positions are asked for: if they are lost afterwards, so is the connection
        new = [run for run in runs if run.position is None and not run.held]
        if new:
            ids = self._commands.run(LAST_IDS, [run.log for run in new])
            for run, number in zip(new, ids, strict=True):
                run.position = number.decode()
                run.notify(None)  # there may be changes since the call of watch
        positions = {run.log: run.position for run in runs if run.position is not None and not run.held}
        positions[self._inbox] = self._position
        return reading.read(positions, seconds, _ENTRIES)

    def _deliver(self, runs: list[WatchedRun], found: dict[str, list[Entry]]) -> None:
        messages = found.pop(self._inbox, ())
        if messages:
            self._position = messages[-1][0]
        changed = {fields.get(b"run", b"").decode() for _, fields in messages}
        for run in runs:
            if entries := found.get(run.log):
                run.position = entries[-1][0]
                run.received(entries)
            if run.run_id in changed:
                run.notify(None)
