"""The pace of a batch, with a clock that only a simulation moves."""

from __future__ import annotations

import collections
import heapq
import itertools
import random
from typing import Any

import pytest
from attrs import define, field

from hfclient import errors
from hfclient.batch.items import Item
from hfclient.batch.jobs import Job
from hfclient.batch.pacing.budgets import Allowances, Budget
from hfclient.batch.pacing.pace import Pace
from hfclient.batch.pacing.refusals import kind_of
from hfclient.errors import APIStatusError, ConnectError, HFClientError, RateLimitError, ServerError
from hfclient.events import Usage
from hfclient.transport.response import Headers
from hfclient.transport.retry_after import used_up
from hfclient.types import Reply

REFUSED = RateLimitError("too many requests", status_code=429)


@define
class Simulation:
    """A server and the pace of one client, in simulated seconds.

    Attributes:
        items: How many.
        latency: Seconds that an answer takes, on average.
        limit: Requests in *window* seconds, sliding; None for no limit.
        concurrent: Requests at a time, refused with a 503; None for any number.
        told: Whether a 429 says how long to wait, in whole seconds.
        out: Begin and end of an outage, in which connections are refused.
    """

    items: int = 2000
    latency: float = 0.05
    limit: int | None = None
    window: float = 1.0
    concurrent: int | None = None
    told: bool = True
    out: tuple[float, float] = (0.0, 0.0)
    workers: int = 64
    now: float = 1000.0
    answered: collections.Counter[int] = field(factory=collections.Counter)
    refused: int = 0
    unreachable: int = 0
    most_running: int = 0
    _running: int = 0
    _admitted: collections.deque[float] = field(factory=collections.deque)
    _events: list[tuple[float, int, Any]] = field(factory=list)
    _order: Any = field(factory=itertools.count)
    _random: random.Random = field(factory=lambda: random.Random(1))

    def run(self, **options: Any) -> float:
        """Return the seconds that all items take."""
        began = self.now
        pace = Pace(self.workers, clock=lambda: self.now, draw=self._random.random, **options)
        pace.submit(Job(number, Item(number, f"prompt {number}"), "") for number in range(self.items))
        wake: float | None = None
        while sum(self.answered.values()) < self.items:
            found = pace.next()
            if isinstance(found, Job):
                self._ask(found)
                continue
            if found is not None and (wake is None or not self.now < wake <= self.now + found + 1e-5):
                wake = self.now + found + 1e-6
                self._at(found + 1e-6, None)
            self.now, _, ended = heapq.heappop(self._events)
            if ended is None:
                continue
            job, error = ended
            job.error = error
            if error is None:
                self._running -= 1
                self.answered[job.number] += 1
            assert pace.ended(job) == (error is not None), pace.failure
        return self.now - began

    def _at(self, seconds: float, ended: tuple[Job, HFClientError | None] | None) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), ended))

    def _ask(self, job: Job) -> None:
        error = self._error()
        if error is not None:
            self._at(0.001, (job, error))
            return
        self._running += 1
        self.most_running = max(self.most_running, self._running)
        self._at(self.latency * (0.7 + 0.6 * self._random.random()), (job, None))

    def _error(self) -> HFClientError | None:
        if self.out[0] <= self.now - 1000.0 < self.out[1]:
            self.unreachable += 1
            return ConnectError("connection refused", sent=False)
        if self.concurrent is not None and self._running >= self.concurrent:
            self.refused += 1
            return ServerError("busy", status_code=503)
        if self.limit is None:
            return None
        while self._admitted and self._admitted[0] <= self.now - self.window:
            self._admitted.popleft()
        if len(self._admitted) < self.limit:
            self._admitted.append(self.now)
            return None
        self.refused += 1
        wait = int(self._admitted[0] + self.window - self.now) + 1
        return RateLimitError("too many", status_code=429, retry_after=wait if self.told else None)


@pytest.mark.parametrize(
    ("server", "least", "most_refused"),
    [
        (Simulation(10_000, limit=20), 0.9, 30),
        (Simulation(10_000, limit=20, latency=0.005), 0.9, 30),
        (Simulation(10_000, limit=20, latency=2.0), 0.85, 30),
        (Simulation(10_000, limit=20, told=False), 0.9, 700),
        (Simulation(10_000, limit=600, window=60.0, latency=0.5), 0.9, 100),
    ],
    ids=["20/s", "quick", "slow", "without a time", "600/min"],
)
@pytest.mark.timeout(240)  # much work for a slow machine
def test_rates(server: Simulation, least: float, most_refused: int) -> None:
    """A limit of requests in a window is found and used: 10,000 items take hardly longer than it demands, and few are refused."""
    seconds = server.run()
    assert len(server.answered) == server.items
    assert server.limit is not None
    ideal = (server.items / server.limit - 1) * server.window
    assert ideal / seconds >= least
    assert server.refused <= most_refused


@pytest.mark.parametrize("concurrent", [8, 40])
def test_requests_at_a_time(concurrent: int) -> None:
    """A limit of requests at a time is found and used, and the server does not get 64 at once."""
    server = Simulation(3000, latency=1.0, concurrent=concurrent)
    seconds = server.run()
    assert server.items / concurrent / seconds >= 0.85
    assert server.refused < 150


def test_without_limits() -> None:
    """Without a limit all workers are used after a few rounds."""
    server = Simulation(3000, latency=1.0)
    assert server.items / 64 / server.run() >= 0.9
    assert server.most_running == 64


def test_outage() -> None:
    """In an outage of ten minutes a server is asked now and then, one request at a time, and no item fails."""
    server = Simulation(2000, latency=0.5, out=(5.0, 595.0))
    assert server.run() < 700
    assert server.unreachable < 64 + 100


def test_outage_without_end() -> None:
    """When the patience ends, not after a longer pause, the batch stops with the error of the connection, and says so."""
    server = Simulation(2000, latency=0.5, out=(5.0, 9999.0))
    with pytest.raises(AssertionError, match=r"has not answered for .* \(patience=60\)"):
        server.run(patience=60)
    assert server.unreachable < 100
    assert server.now < 1000 + 5 + 60 + 1


# The queue


def pace_of(clock: list[float], **options: Any) -> Pace:
    return Pace(64, clock=lambda: clock[0], draw=lambda: 0.5, **options)


def jobs_of(count: int, **options: Any) -> list[Job]:
    return [Job(number, Item(number, "hi", dict(options)), "") for number in range(count)]


def start(pace: Pace) -> list[Job]:
    """Start all jobs that may."""
    started = []
    while isinstance(job := pace.next(), Job):
        started.append(job)
    return started


def end(pace: Pace, job: Job, error: HFClientError | None = None) -> bool:
    job.error = error
    return pace.ended(job)


def test_begins_gently() -> None:
    """Four requests begin; each round has twice as many."""
    clock = [0.0]
    pace = pace_of(clock)
    pace.submit(jobs_of(200))
    rounds = []
    for _ in range(6):
        started = start(pace)
        rounds.append(len(started))
        clock[0] += 0.1
        for job in started:
            end(pace, job)
    assert rounds == [4, 8, 16, 32, 64, 64]


def test_long_answers() -> None:
    """While nothing has ended and nothing was refused, the requests double each quarter of a second; a refusal ends that."""
    clock = [0.0]
    pace = pace_of(clock)
    pace.submit(jobs_of(200))
    running = [len(start(pace))]
    for _ in range(5):
        wait = pace.next()
        assert wait is None or 0 < wait <= 0.25  # type: ignore[operator]
        clock[0] += 0.251
        running.append(running[-1] + len(start(pace)))
    assert running == [4, 8, 16, 32, 64, 64]

    refused = pace_of(clock)
    refused.submit(jobs_of(200))
    first = start(refused)
    end(refused, first[0], ServerError("busy", status_code=503))
    clock[0] += 60
    assert len(start(refused)) <= 4


def test_refused_is_put_back() -> None:
    """A refusal with a time holds all requests until then; the refused job is the first one after it."""
    clock = [0.0]
    pace = pace_of(clock)
    pace.submit(jobs_of(10))
    started = start(pace)
    assert end(pace, started[0], RateLimitError("no", status_code=429, retry_after=7.0))
    assert not end(pace, started[1])
    assert 7.0 <= (pace.next() or 0) <= 7.7  # type: ignore[operator]
    assert pace.held() >= 7.0
    clock[0] = 7.8
    assert pace.next() is started[0]


@pytest.mark.parametrize(
    ("error", "message", "state"),
    [
        (RateLimitError("too many", status_code=429, retry_after=3.0), "refuses requests for its limits: too many", "limit, next in 3 s"),
        (RateLimitError("too many", status_code=429, retry_after=20.0), "refuses requests for its limits: too many", "limit, next in 21 s"),
        (ConnectError("refused"), "does not answer: refused", "no answer for"),
        (ServerError("broken", status_code=500), "does not answer: broken", "no answer for"),
    ],
)
def test_a_quiet_server(caplog: pytest.LogCaptureFixture, error: HFClientError, message: str, state: str) -> None:
    """If nothing is answered, the log says why, once, within about ten seconds; the text of a bar says so all the time."""
    clock = [100.0]
    pace = pace_of(clock, patience=600)
    pace.submit(jobs_of(200))
    said = None
    while clock[0] < 220:
        for job in start(pace):
            end(pace, job, error)
        if said is None and caplog.records:
            said = clock[0] - 100
            assert pace.state().startswith(state)
        clock[0] += 0.5
    assert said is not None
    assert said <= 13
    assert [record.getMessage() for record in caplog.records if message not in record.getMessage()] == []
    assert len(caplog.records) == 1
    assert pace.state()
    clock[0] += 60
    end(pace, start(pace)[0])
    assert pace.state() == ""


def test_providers() -> None:
    """The second provider gets items only when the first one has refused one, and its hold does not hold the second one."""
    clock = [0.0]
    pace = pace_of(clock, options={"model": "m", "provider": ["a", "b"]})
    pace.submit(jobs_of(20))
    started = start(pace)
    assert [job.asked.options["provider"] for job in started] == ["a"] * 4
    assert end(pace, started[0], RateLimitError("no", status_code=429, retry_after=60.0))
    assert [job.asked.options["provider"] for job in start(pace)] == ["b"] * 4
    assert started[0].item.options == {}


def test_models_of_items() -> None:
    """Each model has its own limit: items of one do not wait for the other."""
    clock = [0.0]
    pace = pace_of(clock)
    pace.submit([*jobs_of(5, model="a"), *jobs_of(5, model="b")])
    started = start(pace)
    assert sorted(job.item.options["model"] for job in started) == ["a"] * 4 + ["b"] * 4
    first = next(job for job in started if job.item.options["model"] == "a")
    end(pace, first, RateLimitError("no", status_code=429, retry_after=60.0))
    other = next(job for job in started if job.item.options["model"] == "b")
    end(pace, other)
    assert [job.item.options["model"] for job in start(pace)] == ["b"]


def test_failures_that_pass() -> None:
    """A failure of the server is retried after growing pauses, five times for one item; then it is the item's error."""
    clock = [0.0]
    pace = pace_of(clock)
    (job,) = jobs_of(1)
    other = jobs_of(100)
    pace.submit([job])
    for attempt in range(5):
        while (found := pace.next()) is not job:
            assert isinstance(found, float)
            clock[0] += found
        assert end(pace, job, ServerError("broken", status_code=500)) == (attempt < 4)
        pace.submit([other.pop()])  # others are answered, so this is not an outage
        (answered,) = start(pace)
        end(pace, answered)
    assert 3 < clock[0] < 15


def test_no_second_charge() -> None:
    """Where a request must not be sent twice, only those are repeated that the server refused or did not receive."""
    clock = [0.0]
    pace = pace_of(clock, repeats=False)
    pace.submit(jobs_of(4))
    started = start(pace)
    assert not end(pace, started[0], ServerError("broken", status_code=500))
    assert not end(pace, started[1], ConnectError("reset"))
    assert end(pace, started[2], ConnectError("refused", sent=False))
    partial = RateLimitError("no", status_code=429)
    partial.partial = Reply(text="functions have run")
    assert not end(pace, started[3], partial)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (REFUSED, "limited"),
        (RateLimitError(status_code=429, code="insufficient_quota"), "lasting"),
        (RateLimitError(status_code=429, retry_after=9e5), "lasting"),
        (errors.ConversationLimit(status_code=429), "lasting"),
        (errors.CreditsExhausted(status_code=402), "lasting"),
        (errors.AuthenticationError(status_code=401), "lasting"),
        (errors.ModelNotFound(status_code=404), "lasting"),
        (errors.NotFoundError(status_code=404), "lasting"),
        (errors.PermissionDeniedError("no access to this model", status_code=403), "lasting"),
        (errors.PermissionDeniedError("your input was flagged by moderation", status_code=403), "own"),
        (errors.BadRequestError(status_code=400), "own"),
        (errors.RequestTooLargeError(status_code=413), "own"),
        (ServerError(status_code=503), "limited"),
        (ServerError(status_code=500), "passing"),
        (APIStatusError(status_code=501), "own"),
        (ConnectError("refused", sent=False), "passing"),
        (ConnectError("TLS failed: the certificate cannot be verified", sent=False), "lasting"),
        (errors.TransportTimeout(deadline="first_token"), "passing"),
        (errors.TransportTimeout(deadline="total"), "own"),
        (errors.ProtocolError(), "passing"),
        (errors.GenerationError(status_code=429), "limited"),
        (errors.GenerationError(status_code=402), "lasting"),
        (errors.ParseError(), "own"),
    ],
)
def test_kinds(error: HFClientError, kind: str) -> None:
    """What waiting resolves waits, what a retry may resolve is retried, and what no item would pass stops."""
    assert kind_of(error) == kind


# The caller's own limits


def test_budgets() -> None:
    """Short windows are spread evenly; a long one may be used up at its beginning, and never has more than its amount."""
    even = Budget(20, 1.0)
    even.use(1, 0.0)
    assert even.wait(0.0) == pytest.approx(0.05, abs=0.021)
    day = Budget(100, 86400.0)
    for _ in range(100):
        assert day.wait(5.0) == 0
        day.use(1, 5.0)
    assert day.wait(5.0) == pytest.approx(86400.0)
    assert day.wait(86405.0) == 0


def test_tokens_are_corrected() -> None:
    """The tokens of an answer are estimated before, and counted as they were after."""
    allowance = Allowances(tokens="1000/minute").of(None)
    assert allowance is not None
    reserved = allowance.start(100.0, 0.0)
    assert allowance.wait(0.0) == pytest.approx(36.0, abs=0.1)  # 100 and 500 of an answer
    allowance.end(reserved, Usage(prompt_tokens=40, completion_tokens=10, total_tokens=50), 1.0)
    assert allowance.wait(1.0) == pytest.approx(2.0, abs=0.1)


def test_providers_have_budgets() -> None:
    """A mapping names limits of providers; the others have none."""
    allowances = Allowances({"groq": "20/second"})
    assert allowances.of("groq") is not None
    assert allowances.of("novita") is None


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "3s"}, 3.0),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "3s"}, None),
        ({"ratelimit": '"default";r=0;t=7'}, 7.0),
        ({"ratelimit": '"default";r=4;t=7'}, None),
        ({"ratelimit-reset": "7"}, None),
        ({"content-type": "application/json"}, None),
    ],
)
def test_used_up(fields: dict[str, str], seconds: float | None) -> None:
    """A successful answer holds only if it says that nothing is left."""
    assert used_up(Headers(list(fields.items()))) == seconds


def test_absurd_reports_of_tokens() -> None:
    """A report of more tokens than any model reads does not hold the batch for years."""
    allowance = Allowances(tokens="1000/minute").of(None)
    assert allowance is not None
    reserved = allowance.start(100.0, 0.0)
    allowance.end(reserved, Usage(prompt_tokens=10**30, completion_tokens=10**30, total_tokens=10**30), 1.0)
    assert allowance.wait(0.0) == pytest.approx(36.0, abs=0.1)
    assert allowance.start(100.0, 60.0) == reserved
