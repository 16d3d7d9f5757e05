"""`Pace`: which item is asked next, and when.

Each server has a lane (`Lane`), which learns how much the server takes: a provider with a model, or the client's own server. An item
whose call names several providers takes the first one that has space; the next one only if the ones before it have refused requests.

An item that was refused for a limit goes back to the items that wait, however often. After an outage, too: the items wait while one
request at a time looks whether the server is back. A failure that may pass is retried after a pause, a few times for each item. What
every further item would be refused for (a wrong key, used-up credits, an outage without an end) stops the batch.
"""

from __future__ import annotations

import collections
import copy
import functools
import heapq
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import evolve

from hfclient.batch.jobs import Job
from hfclient.batch.pacing.budgets import Allowance, Allowances, estimate
from hfclient.batch.pacing.lane import Lane
from hfclient.batch.pacing.refusals import NotAdmitted, kind_of, told_wait, was_received
from hfclient.errors import APIStatusError, HFClientError
from hfclient.transport.response import Headers
from hfclient.transport.retry_after import used_up

if TYPE_CHECKING:
    from hfclient.web import Guard

__all__ = ["Pace"]

_log = logging.getLogger("hfclient")

_TRIES = 5.0  # for each item, of failures that may pass
_OUTAGE_WEIGHT = 0.25  # of a try in an outage: it is the server's failure more than the item's
_FIRST_PAUSE, _MAX_PAUSE = 0.5, 30.0  # seconds between them
_IN_A_ROW = 10  # lasting errors without an answer between them: every further item would be refused
_QUIET = 10.0  # seconds without an answer because of a limit or a failure, after which the log says why
_SHORT = 1.0  # seconds: a shorter wait is not shown
_MOST_ANNOUNCED = 60.0  # seconds that the headers of a successful answer may hold

_Names: TypeAlias = "tuple[str | None, ...]"  # of providers, in the order to try; None lets the call choose


class _Server(Lane):
    """A lane with what the pace knows besides.

    Attributes:
        name: The provider, or the model; for messages.
        error: Why it is not asked any more.
        lasting: Lasting errors in a row.
        allowance: The caller's own limits.
        watch: Gets the headers of its successful answers.
        quiet_since: When the first call began that was refused or failed without a success since then; None after a success.
        is_logged: The log has said that it is quiet.
    """

    def __init__(
        self, most: int, draw: Callable[[], float], patience: float | None, name: str, allowance: Allowance | None
    ) -> None:
        super().__init__(most, draw, patience)
        self.name = name
        self.error: HFClientError | None = None
        self.lasting = 0
        self.allowance = allowance
        self.watch: Callable[[Headers], None] | None = None
        self.quiet_since: float | None = None
        self.is_logged = False


class _Group:
    """Items that wait for the same servers."""

    def __init__(self, names: _Names, model: Any, servers: list[_Server]) -> None:
        self.names = names
        self.model = model
        self.servers = servers
        self.jobs: collections.deque[Job] = collections.deque()


class Pace:
    """Keeps the jobs that wait, and decides which one starts when. Threads may share it.

    Args:
        most: Most requests at a time.
        options: Those of the calls: ``provider`` and ``model`` name the server, unless an item has its own.
        rate, tokens: The caller's own limits; see `Allowances`.
        guard: Admits each request; see `guarded`.
        patience: Seconds for which a server that does not answer is asked again. None is 600 seconds, and 60 seconds if there
            was no answer yet.
        repeats: Whether a request that the server may have received can be sent again. Not for images, which are charged
            twice, and not where functions of the caller have run. An attribute, too.
        clock: Returns the time in seconds.
        draw: Returns a random number from 0 to 1, for jitter.

    Attributes:
        most: As given.
        failure: Why the batch stops: then nothing starts any more, and the jobs that wait are not asked.
    """

    def __init__(
        self,
        most: int,
        *,
        options: Mapping[str, Any] | None = None,
        rate: str | Mapping[str, str] | None = None,
        tokens: str | Mapping[str, str] | None = None,
        guard: Guard | None = None,
        patience: float | None = None,
        repeats: bool = True,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.failure: HFClientError | None = None
        self.most = most
        self.options = dict(options or {})
        self.guard = guard
        self._allowances = Allowances(rate, tokens)
        self._counts_tokens = tokens is not None
        self._patience = patience
        self.repeats = repeats
        self._clock = clock
        self._draw = draw
        self._lock = threading.Lock()
        self._running = 0
        self._servers: dict[tuple[str | None, Any], _Server] = {}
        self._groups: dict[tuple[_Names, Any], _Group] = {}
        self._later: list[tuple[float, int, Job]] = []  # a heap: failed, and start again then
        self._order = itertools.count()

    def submit(self, jobs: Iterable[Job]) -> None:
        """Add *jobs* to those that wait."""
        with self._lock:
            for job in jobs:
                group = job.group = self._group(*self._names(job))
                group.jobs.append(job)

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._later) + sum(len(group.jobs) for group in self._groups.values())

    @property
    def running(self) -> int:
        """How many jobs run."""
        return self._running

    def next(self) -> Job | float | None:
        """Return the next job, which starts now; the seconds until the next question; or None for after the next end."""
        with self._lock:
            if self.failure is not None or self._running >= self.most:
                return None
            now = self._clock()
            while self._later and self._later[0][0] <= now:
                job = heapq.heappop(self._later)[2]
                job.group.jobs.appendleft(job)
            groups = [group for group in self._groups.values() if group.jobs]
            if len(groups) > 1:
                groups.sort(key=lambda group: group.jobs[0].number)
            first = self._later[0][0] - now if self._later else None
            for group in groups:
                found = self._start(group, now)
                if isinstance(found, Job):
                    return found
                if found is not None and (first is None or found < first):
                    first = found
            return first

    def held(self) -> float:
        """Return the seconds for which no request starts because of a limit or an outage; 0 if one may."""
        server = self._first_free()
        return 0.0 if server is None else max(0.0, server.held_until - self._clock())

    def state(self) -> str:
        """Return why nothing is answered, as a short text for a progress bar; empty if requests run."""
        server = self._first_free()
        if server is None:
            return ""
        if server.is_out:
            now = self._clock()
            return f"no answer for {now - (server.quiet_since or now):.0f} s"
        wait = self.held()
        return f"limit, next in {wait:.0f} s" if wait >= _SHORT else ""

    def _first_free(self) -> _Server | None:
        """Return the server whose next request may start first."""
        servers = [server for server in list(self._servers.values()) if server.error is None]
        return min(servers, key=lambda server: (server.is_out, server.held_until), default=None)

    def ended(self, job: Job) -> bool:
        """Count the end of *job*; return whether it will be started again, for which it has been put back."""
        with self._lock:
            self._running -= 1
            now = self._clock()
            server: _Server = job.server
            if server.allowance is not None:
                server.allowance.end(job.reserved, getattr(job.reply or job.value, "usage", None), now)
            error = job.error
            if error is None:
                server.succeeded(job.began, now)
                server.lasting = 0
                server.quiet_since = None
                return False
            if job.refusal is not None:
                server.left(now)
                return False
            return self._failed(job, server, error, now)

    def clear(self) -> None:
        """Forget the jobs that wait."""
        with self._lock:
            self._later.clear()
            for group in self._groups.values():
                group.jobs.clear()

    # All below is called under the lock

    def _names(self, job: Job) -> tuple[_Names, Any]:
        own = job.item.options
        provider = own["provider"] if "provider" in own else self.options.get("provider")
        model = own["model"] if "model" in own else self.options.get("model")
        if isinstance(provider, (list, tuple)) and len(provider) > 1:
            return tuple(provider), model
        if isinstance(provider, (list, tuple)):
            provider = provider[0] if provider else None
        return (provider,), model

    def _group(self, names: _Names, model: Any) -> _Group:
        group = self._groups.get((names, model))
        if group is None:
            group = self._groups[names, model] = _Group(names, model, [self._server(name, model) for name in names])
        return group

    def _server(self, provider: str | None, model: Any) -> _Server:
        server = self._servers.get((provider, model))
        if server is None:
            name = " of ".join(str(part) for part in (model, provider) if part) or "the server"
            server = self._servers[provider, model] = _Server(self.most, self._draw, self._patience, name, self._allowances.of(provider))
            server.watch = functools.partial(self._watch, server)
        return server

    def _start(self, group: _Group, now: float) -> Job | float | None:
        """Start the first job of *group* if one of its servers admits it; else return the seconds until one may."""
        least: float | None = None
        server = None
        for at, server in enumerate(group.servers):
            if server.error is not None:
                continue
            wait = server.admit(now)
            is_full = server.is_limited or now < server.held_until
            if wait == 0.0 and server.allowance is not None:
                wait = server.allowance.wait(now)
                is_full = is_full or wait > 0.0
            if wait == 0.0:
                return self._started(group, at, server, now)
            if wait is not None and (least is None or wait < least):
                least = wait
            if not is_full:
                return least  # it takes more in the next round
        if server is not None and all(server.error is not None for server in group.servers):
            job = self._started(group, len(group.servers) - 1, server, now)
            job.refusal = copy.copy(server.error)
            return job
        return least

    def _started(self, group: _Group, at: int, server: _Server, now: float) -> Job:
        job = group.jobs.popleft()
        job.server = server
        job.began = now
        job.watch = server.watch
        job.asked = job.item
        name = group.names[at]
        if name is not None and name != job.item.options.get("provider", self.options.get("provider")):
            job.asked = evolve(job.item, options={**job.item.options, "provider": name})
        if server.allowance is not None:
            job.reserved = server.allowance.start(estimate(job.item.input) if self._counts_tokens else 0.0, now)
        server.start(now)
        self._running += 1
        return job

    def _failed(self, job: Job, server: _Server, error: HFClientError, now: float) -> bool:
        kind = kind_of(error)
        if kind == "own":
            server.answered(now)
            return False
        if server.quiet_since is None:
            server.quiet_since = job.began
        if kind == "limited":
            self._limited(server, error, job.began, now)
            if not self._may_repeat(error):
                return False
        elif kind == "lasting":
            server.answered(now)
            server.lasting += 1
            if server.lasting >= _IN_A_ROW:
                self._give_up(server, error, f"{server.lasting} calls in a row failed in the same way")
            return self._try_others(job, server)
        else:
            was_out = server.is_out
            server.failed(now)
            if server.is_out and not was_out:
                server.is_logged = False  # a new outage
            if server.is_out or now - server.quiet_since >= _QUIET:
                self._say(server, "does not answer: %s; it is asked again from time to time", error.message)
            received = was_received(error)
            if received:
                job.failures += _OUTAGE_WEIGHT if was_out else 1.0
            if (received and not self.repeats) or job.failures >= _TRIES:
                self._check_patience(server, error, now)
                return False
            if received and not was_out:
                pause = min(_MAX_PAUSE, _FIRST_PAUSE * 2.0 ** (job.failures - 1.0)) * (0.5 + self._draw() / 2)
                self._check_patience(server, error, now)
                heapq.heappush(self._later, (now + pause, next(self._order), job))
                return self.failure is None
        self._check_patience(server, error, now)
        if self.failure is not None:
            return False
        if server.is_out:
            job.group.jobs.append(job)  # another one looks next: this one may be the reason
        else:
            job.group.jobs.appendleft(job)
        return True

    def _limited(self, server: _Server, error: HFClientError, began: float, now: float) -> None:
        told = told_wait(error)
        server.limited(began, now, told, is_busy=getattr(error, "status_code", 429) != 429)
        wait = max(0.0, server.held_until - now)
        if wait > _QUIET or (server.quiet_since is not None and now - server.quiet_since >= _QUIET):
            self._say(server, "refuses requests for its limits: %s; the next one starts in %.0f s", error.message, wait)

    def _say(self, server: _Server, what: str, *values: object) -> None:
        """Log that *server* is quiet: once, or once for each outage."""
        if not server.is_logged:
            server.is_logged = True
            _log.warning(f"%s {what}", server.name, *values)

    def _may_repeat(self, error: HFClientError) -> bool:
        """Return whether a call that was refused for a limit has not done anything before, such as run a function."""
        partial = error.partial
        return self.repeats or (isinstance(error, (APIStatusError, NotAdmitted)) and (partial is None or not (partial.text or partial.tool_calls)))

    def _try_others(self, job: Job, server: _Server) -> bool:
        """Put *job* back for the servers other than *server*, if there are some; return whether there are."""
        group: _Group = job.group
        left = tuple(name for name, one in zip(group.names, group.servers, strict=True) if one is not server and one.error is None)
        if not left or self.failure is not None:
            return False
        job.group = self._group(left, group.model)
        job.group.jobs.appendleft(job)
        return True

    def _check_patience(self, server: _Server, error: HFClientError, now: float) -> None:
        if server.failing_since is not None and now >= server.failing_since + server.patience:
            seconds = now - server.failing_since
            self._give_up(server, error, f"{server.name} has not answered for {seconds:.0f} s (patience={server.patience:g})")

    def _give_up(self, server: _Server, error: HFClientError, why: str) -> None:
        """Do not ask *server* any more; if it is the last one, stop the batch."""
        if server.error is not None:
            return
        if isinstance(error, NotAdmitted) and isinstance(error.__cause__, HFClientError):
            error = error.__cause__
        server.error = error
        if all(one.error is not None for one in self._servers.values()):
            failure = copy.copy(error)
            failure.message = f"the batch stopped, because {why}: {error.message}. The items that were not asked are left for the next run"
            failure.args = (failure.message,)
            failure.__cause__ = error
            self.failure = failure
        else:
            _log.warning("%s is not asked any more: %s: %s", server.name, why, error.message)

    def _watch(self, server: _Server, headers: Headers) -> None:
        """Take note of the headers of a successful answer: they may say that nothing is left. Without the lock."""
        wait = used_up(headers)
        if wait:
            with self._lock:
                server.hold(self._clock(), min(wait, _MOST_ANNOUNCED))
