"""How long a very large batch takes on a cluster, what it costs, and what limits it: a simulation with measured times.

    $ python -m benchmarks.cluster_simulation                                  # 100 million prompts, several clusters
    $ python -m benchmarks.cluster_simulation --machines 40 --requests 200000  # one cluster; requests a minute of the provider
    $ python -m benchmarks.cluster_simulation --times answers.jsonl            # times from a checkpoint of your own
    $ python -m benchmarks.cluster_simulation --check                          # a real batch beside the model
    $ python -m benchmarks.cluster_simulation --measure                        # writes the measured values again

The measured values are in ``cluster_simulation.json``: the seconds of single answers as quantiles, the CPU time of an item with a
checkpoint, the bytes of a record, and the items that a Redis checkpoint claims and saves in a second.

The model. Prompts are in partitions; a process takes one partition after the other and has *workers* requests in flight. The time of a
partition is a schedule of its answers on these workers, drawn from the measured times, so the slow answers at its end count. A
process cannot be faster than its CPU time allows. A limit of the provider slows all processes in the same proportion. A process dies
after a random time. Its partition is taken over when the lease of its claims ends, and continues after the answers that are stored:
what was in flight is asked again. Without a checkpoint the whole partition is.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, field, frozen

from benchmarks.clusters import server
from hfclient import Client
from hfclient.batch import read_results
from hfclient.batch.checkpoints import Record, open_checkpoint
from tests.batch.fault_server import FaultServer
from tests.services import RedisServer

VALUES = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "performance" / "cluster_simulation.txt"
_LOCAL, _MEASURED = 60, 6_400
_SCHEDULES = 20  # partitions that are scheduled answer by answer; the others repeat their times


@frozen(kw_only=True)
class Measured:
    """Values of a real machine.

    Attributes:
        seconds: Quantiles of the time of one answer, evenly spaced.
        cpu: Seconds of CPU of an item, with the checkpoint.
        record_bytes: Of an item in the checkpoint.
        shared_items: Items that one Redis server claims and saves in a second.
    """

    seconds: list[float]
    cpu: float
    record_bytes: float
    shared_items: float

    def draw(self, rng: random.Random) -> float:
        """Return the time of one answer."""
        place = rng.random() * (len(self.seconds) - 1)
        low = int(place)
        return self.seconds[low] + (self.seconds[low + 1] - self.seconds[low]) * (place - low)


@frozen(kw_only=True)
class Cluster:
    """What runs the batch.

    Attributes:
        prompts: Number of prompts.
        machines: Number of machines; each has *processes*.
        processes: Processes of a machine, one for each core.
        workers: Requests in flight of a process.
        partition: Prompts of a partition.
        requests: Requests a minute that the provider allows; None without a limit.
        tokens: Tokens a minute that it allows.
        life: Hours that a machine lives on average.
        restart: Seconds until a new machine works.
        lease: Seconds until the claims of a dead process are free.
        has_checkpoint: Whether stored answers survive the process.
        prompt_tokens, completion_tokens: Of one item.
        prompt_price, completion_price: US dollars for a million tokens.
    """

    prompts: int = 100_000_000
    machines: int = 20
    processes: int = 4
    workers: int = 64
    partition: int = 10_000
    requests: float | None = None
    tokens: float | None = None
    life: float = 24.0
    restart: float = 180.0
    lease: float = 60.0
    has_checkpoint: bool = True
    prompt_tokens: int = 300
    completion_tokens: int = 150
    prompt_price: float = 0.10
    completion_price: float = 0.30


@frozen(kw_only=True)
class Outcome:
    """What the simulation found.

    Attributes:
        hours: From the first request to the last answer.
        rate: Answers a second, on average.
        twice: Prompts that were asked again because a process died.
        deaths: Number of dead processes.
        tail: Share of the time in which some processes had nothing left to do.
        cost: US dollars of all answers, also of those that were asked again.
        wasted: US dollars of the latter.
        gigabytes: Of the checkpoint.
        limits: Answers a second that each part allows, the lowest first.
    """

    hours: float
    rate: float
    twice: int
    deaths: int
    tail: float
    cost: float
    wasted: float
    gigabytes: float
    limits: list[tuple[str, float]] = field(factory=list)


def schedule(items: int, workers: int, measured: Measured, rng: random.Random) -> float:
    """Return the seconds of one partition: each worker takes the next item when it is free."""
    free = [0.0] * min(workers, items)
    for _ in range(items):
        heapq.heapreplace(free, free[0] + measured.draw(rng))
    return max(*free, items * measured.cpu)


def simulate(cluster: Cluster, measured: Measured, seed: int = 1) -> Outcome:
    """Run the model; time jumps from one event to the next."""
    rng = random.Random(seed)
    size = cluster.partition
    times = [schedule(size, cluster.workers, measured, rng) for _ in range(_SCHEDULES)]
    left = math.ceil(cluster.prompts / size)  # partitions that are not taken
    processes = cluster.machines * cluster.processes
    limits = _limits(cluster, measured, statistics.mean(times))
    allowed = min((rate for name, rate in limits if name.startswith("provider") or name == "checkpoint"), default=math.inf)
    now = work = 0.0  # work is the time of processes that no limit slows
    idle_from = 0.0
    twice = deaths = 0
    speed = 0.0  # answers a second of all processes without a limit
    running: dict[int, tuple[float, float]] = {}  # process: the work at which its partition ends, seconds of a partition
    ends: list[tuple[float, int]] = []  # the same as a heap; may have old entries
    returned: list[tuple[float, float]] = []  # when a dead process's partition is free, and the share that is left
    absent: list[tuple[float, int]] = []  # when a process is back
    dies = [(rng.expovariate(1 / (cluster.life * 3600)), number) for number in range(processes)]
    heapq.heapify(dies)
    idle = list(range(processes))
    while left or running or returned:
        while idle and (left or (returned and returned[0][0] <= now)):
            number = idle.pop()
            if returned and returned[0][0] <= now:
                share = heapq.heappop(returned)[1]
            else:
                left -= 1
                share = 1.0
            seconds = rng.choice(times)
            running[number] = (work + share * seconds, seconds)
            heapq.heappush(ends, (work + share * seconds, number))
            speed += size / seconds
        if idle and not left and not idle_from:
            idle_from = now
        factor = min(1.0, allowed / speed) if running else 1.0
        while ends and running.get(ends[0][1], (None,))[0] != ends[0][0]:
            heapq.heappop(ends)  # of a process that has died
        events = [
            (now + (ends[0][0] - work) / factor if ends else math.inf, "end"),
            (dies[0][0] if dies else math.inf, "death"),
            (absent[0][0] if absent else math.inf, "back"),
            (returned[0][0] if returned and idle else math.inf, "free"),
        ]
        at, event = min(events)
        work += (at - now) * factor
        now = at
        if event == "end":
            number = heapq.heappop(ends)[1]
            speed -= size / running.pop(number)[1]
            idle.append(number)
        elif event == "death":
            number = heapq.heappop(dies)[1]
            deaths += 1
            if number in running:
                end, seconds = running.pop(number)
                speed -= size / seconds
                share = min(1.0, max(0.0, (end - work) / seconds))
                done = round((1 - share) * size)
                twice += min(cluster.workers, size - done) if cluster.has_checkpoint else done
                heapq.heappush(returned, (now + cluster.lease, share if cluster.has_checkpoint else 1.0))
            else:
                idle.remove(number)
            heapq.heappush(absent, (now + cluster.restart, number))
        elif event == "back":
            number = heapq.heappop(absent)[1]
            heapq.heappush(dies, (now + rng.expovariate(1 / (cluster.life * 3600)), number))
            idle.append(number)
    each = (cluster.prompt_tokens * cluster.prompt_price + cluster.completion_tokens * cluster.completion_price) / 1e6
    return Outcome(
        hours=now / 3600,
        rate=cluster.prompts / now,
        twice=twice,
        deaths=deaths,
        tail=(now - idle_from) / now if idle_from else 0.0,
        cost=(cluster.prompts + twice) * each,
        wasted=twice * each,
        gigabytes=cluster.prompts * measured.record_bytes / 1e9 if cluster.has_checkpoint else 0.0,
        limits=limits,
    )


def _limits(cluster: Cluster, measured: Measured, seconds: float) -> list[tuple[str, float]]:
    """Return how many answers a second each part allows, the lowest first."""
    processes = cluster.machines * cluster.processes
    found = {
        "in flight": processes * cluster.partition / seconds,
        "CPU of the machines": processes / measured.cpu,
        "checkpoint": measured.shared_items if cluster.has_checkpoint else math.inf,
        "provider, requests": math.inf if cluster.requests is None else cluster.requests / 60,
        "provider, tokens": math.inf
        if cluster.tokens is None
        else cluster.tokens / 60 / (cluster.prompt_tokens + cluster.completion_tokens),
    }
    return sorted(((name, rate) for name, rate in found.items() if rate < math.inf), key=lambda entry: entry[1])


def read_measured(times: str | None = None) -> Measured:
    """Return the measured values; the times of answers from the checkpoint *times* if it is given."""
    values = json.loads(VALUES.read_text("utf-8"))
    if times is not None:
        seconds = sorted(result.seconds for result in read_results(times) if result.ok)
        values["seconds"] = _quantiles(seconds)
    return Measured(**{name: value for name, value in values.items() if name != "about"})


def _quantiles(seconds: list[float], count: int = 101) -> list[float]:
    return [round(seconds[round(place * (len(seconds) - 1) / (count - 1))], 4) for place in range(count)]


def table(rows: list[tuple[str, Cluster]], measured: Measured) -> str:
    """Return a table with a line for each cluster."""
    lines = [f"{'cluster':40} {'hours':>6} {'again':>10} {'tail':>6} {'dollars':>8} {'wasted':>7}  first limit"]
    for name, cluster in rows:
        found = simulate(cluster, measured)
        lines.append(
            f"{name:40} {found.hours:6.1f} {found.twice:10,} {found.tail:6.1%} {found.cost:8,.0f} {found.wasted:7,.2f}  {found.limits[0][0]}"
        )
    return "\n".join(lines)


def clusters() -> list[tuple[str, Cluster]]:
    """Return the clusters of the page in the documentation."""
    base = Cluster()
    return [
        ("1 machine, 4 processes, 64 in flight", evolve(base, machines=1)),
        ("20 machines", base),
        ("20 machines, 256 in flight", evolve(base, workers=256)),
        ("100 machines, 256 in flight", evolve(base, machines=100, workers=256)),
        ("20 machines, 30,000 requests a minute", evolve(base, requests=30_000)),
        ("100 machines, 30,000 requests a minute", evolve(base, machines=100, requests=30_000)),
        ("20 machines, 10 million tokens a minute", evolve(base, tokens=10_000_000)),
        ("20 machines, spot (a life of 2 hours)", evolve(base, life=2.0)),
        ("20 machines, spot, no checkpoint", evolve(base, life=2.0, has_checkpoint=False)),
        ("20 machines, partitions of 1,000,000", evolve(base, partition=1_000_000)),
        ("20 machines, partitions of 1,000", evolve(base, partition=1_000)),
    ]


def check(measured: Measured, items: int = 1_500, workers: int = 64) -> tuple[float, float]:
    """Run a real batch against a server whose answers take the measured times; return its seconds and those of the model."""
    rng = random.Random(2)
    with FaultServer(seconds=lambda: measured.draw(rng)) as fault_server, _client(fault_server.url) as client:
        started = time.monotonic()
        for result in client.inference.map(_prompts(items), model="m", workers=workers, ordered=False, progress=False):
            result.get()
        real = time.monotonic() - started
    return real, statistics.mean(schedule(items, workers, measured, random.Random(seed)) for seed in range(10))


def measure() -> Measured:
    """Measure all values on this machine and write them to the file."""
    with tempfile.TemporaryDirectory() as folder:
        with Client.local() as local:
            asked = [f"Write {4 + number % 30} words about the number {number}." for number in range(_LOCAL)]
            seconds = sorted(result.seconds for result in local.inference.map(asked, workers=2, progress=False) if result.ok)
        path = Path(folder, "out.jsonl")
        with server() as url, _client(url) as client:  # another process, so that its CPU time does not count
            begin = time.process_time()
            for result in client.inference.map(_prompts(_MEASURED), model="m", checkpoint=path, progress=False):
                result.get()
            cpu = (time.process_time() - begin) / _MEASURED
        record_bytes = path.stat().st_size / _MEASURED
    with RedisServer() as redis:
        store = open_checkpoint(f"{redis.url}?run=measure")
        assert store is not None
        begin = time.monotonic()
        for first in range(0, _MEASURED, 64):
            keys = [f"{number:032x}" for number in range(first, first + 64)]
            store.claim(keys)
            store.save([Record(key=key, index=0, value={"text": "x" * round(record_bytes / 2)}) for key in keys])
        shared_items = _MEASURED / (time.monotonic() - begin)
        store.close()
    measured = Measured(
        seconds=_quantiles(seconds), cpu=round(cpu, 6), record_bytes=round(record_bytes), shared_items=round(shared_items)
    )
    about = f"{_LOCAL} answers of SmolLM2-135M through llama.cpp, two at a time; {_MEASURED} items against a loopback server; Redis on loopback"
    VALUES.write_text(json.dumps({"about": about, **asdict(measured)}, indent=1) + "\n", "utf-8")
    return measured


def _client(url: str) -> Client:
    return Client(url, token="", cookies="", session="", inference_url=url)


def _prompts(count: int) -> list[str]:
    return [f"What is the sum of {number} and {number + 1}?" for number in range(count)]


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="A very large batch on a cluster, simulated with measured times.")
    for one in Cluster.__attrs_attrs__:
        if one.name != "has_checkpoint":
            parser.add_argument(f"--{one.name.replace('_', '-')}", type=float if one.type not in (int, "int") else int)
    parser.add_argument("--times", help="a checkpoint whose answers' times are taken")
    parser.add_argument("--check", action="store_true", help="run a real batch beside the model")
    parser.add_argument("--measure", action="store_true", help="measure the values on this machine, and write them")
    parser.add_argument("--write-docs", action="store_true", help="write the table that the documentation includes")
    given = vars(parser.parse_args(arguments))
    write_docs = given.pop("write_docs")
    if given.pop("measure"):
        print(measure())
        return
    measured = read_measured(given.pop("times"))
    if given.pop("check"):
        real, model = check(measured)
        print(f"a real batch: {real:.1f} s; the model: {model:.1f} s ({real / model:.2f} times)")
        return
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    rows = [("as given", evolve(Cluster(), **chosen))] if chosen else clusters()
    print(shown := table(rows, measured))
    if write_docs:
        PAGE.write_text(shown + "\n", "utf-8")
    last = simulate(rows[-1][1], measured)
    print(f"\nThe last one: {last.rate:,.0f} answers a second, {last.deaths} dead processes, {last.gigabytes:.0f} GB of checkpoint")
    print("Answers a second that each part allows:")
    for name, rate in last.limits:
        print(f"  {name:24} {rate:12,.0f}")


if __name__ == "__main__":
    sys.exit(main())
