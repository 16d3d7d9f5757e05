"""The measurements: clients take turns, round by round, so that whatever the machine does besides hits all of them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from benchmarks import wires
from benchmarks.clients import IMPORTS, WIRES
from benchmarks.server import ReplayServer

__all__ = ["MEASUREMENTS", "Bench", "Figure", "Section", "Skipped"]

FLOOR = "floor (attrs)"
PLAIN = "requests + json"


class Skipped(Exception):
    """A client is not installed, or cannot do this."""


@define
class Figure:
    """One cell: values of all rounds, and round by round what they are of the floor's and of plain requests'."""

    values: list[float]
    of_floor: list[float] = field(factory=list)
    of_plain: list[float] = field(factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The middle half of the values."""
        if len(self.values) < 3:
            return min(self.values), max(self.values)
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high


@define
class Section:
    """One table: rows are clients, columns are what was measured."""

    name: str
    title: str
    unit: str
    columns: list[str]
    rows: dict[str, dict[str, Figure]]
    notes: list[str] = field(factory=list)
    digits: int = 2


class Worker:
    """A client in a process of its own."""

    def __init__(self, name: str, origin: str) -> None:
        command = [sys.executable, "-m", "benchmarks.worker", name, origin]
        self.name = name
        # What the neighbours say while they are imported is of no interest here.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        said = self._read()
        if "missing" in said:
            self.close()
            raise Skipped(f"{name}: not installed ({said['missing']})")

    def ask(self, do: str, **job: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, "client": self.name, **job}) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        if "failed" in answer:
            raise Skipped(f"{self.name}: {answer['failed']}")
        return answer

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"missing": "its process ended", "failed": "its process ended"}

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Bench:
    """What all measurements share: the server, the clients that are there, and how long to take.

    Args:
        server: The replay server.
        only: Names of clients; empty for all.
        quick: A tenth of the work, for a look.
    """

    def __init__(self, server: ReplayServer, *, only: Iterable[str] = (), quick: bool = False) -> None:
        self.server = server
        self.quick = quick
        self.skipped: list[str] = []
        self.workers: dict[str, Worker] = {}
        for name in WIRES:
            if not only or name in only or name == FLOOR:
                try:
                    self.workers[name] = Worker(name, server.origin)
                except Skipped as reason:
                    self.skipped.append(str(reason))

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()

    def fresh(self, name: str) -> Worker:
        """Return another worker for *name*, which the caller closes."""
        return Worker(name, self.server.origin)

    def on(self, wire: str) -> list[str]:
        """Return the names of the clients that know *wire*."""
        return [name for name in self.workers if wire in WIRES[name]]

    def say(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    def skip(self, reason: Skipped, name: str | None = None) -> None:
        self.skipped.append(str(reason))
        if name is not None:
            self.workers.pop(name).close()

    def rounds(self, usual: int) -> int:
        return max(3, usual // 4) if self.quick else usual

    def drain(self, name: str, wire: str, form: str, count: int, times: int = 1) -> dict[str, Any]:
        """Let *name* read an answer and check that it found everything in it."""
        answer = self.workers[name].ask("drain", wire=wire, url=self.server.url(wire, form, count), times=times)
        _check(name, answer, count * times, wires.characters(count) * times)
        return answer


def _check(name: str, answer: dict[str, Any], events: int, characters: int) -> None:
    if (answer["events"], answer["characters"]) != (events, characters):
        raise SystemExit(
            f"{name} found {answer['events']} events with {answer['characters']} characters, "
            f"not {events} with {characters}: what it took says nothing"
        )


def _turns(names: Sequence[str], rounds: int) -> Iterable[list[str]]:
    """Yield *names* in another order for each round."""
    order = list(names)
    for _ in range(rounds):
        random.shuffle(order)
        yield list(order)


def _add_ratios(rows: dict[str, dict[str, Figure]]) -> None:
    """Fill in the ratios, and put the rows into the order of the clients."""
    order = ["(bare Python)", *WIRES, *IMPORTS]
    for name in sorted(rows, key=order.index):
        rows[name] = rows.pop(name)
    for row in rows.values():
        for column, figure in row.items():
            for base, ratios in ((FLOOR, figure.of_floor), (PLAIN, figure.of_plain)):
                others = rows.get(base, {}).get(column)
                if others is not None:
                    ratios += [a / b for a, b in zip(figure.values, others.values, strict=True) if b]


def per_event(bench: Bench) -> Section:
    """CPU for each event of a long answer."""
    rows: dict[str, dict[str, Figure]] = {}
    columns = []
    for wire, form in [(wire, form) for wire in ("chat", "sse") for form in ("framed", "big", "each")] + [
        ("tgi", "framed")
    ]:
        column = f"{wire} {form}"
        columns.append(column)
        bench.say(f"CPU per event, {column}")
        counts = {}
        for name in bench.on(wire):
            try:
                bench.drain(name, wire, form, 1000)
                cost = bench.drain(name, wire, form, 1000)["cpu"] / 1000
            except Skipped as reason:
                bench.skip(reason, name)
                continue
            counts[name] = 20_000 if cost < 30e-6 else 2_000  # enough for what the request costs not to show
            for _ in range(2):
                bench.drain(name, wire, form, counts[name])
        for names in _turns(list(counts), bench.rounds(15)):
            for name in names:
                cost = bench.drain(name, wire, form, counts[name])["cpu"] / counts[name] * 1e6
                rows.setdefault(name, {}).setdefault(column, Figure([])).values.append(cost)
    _add_ratios(rows)
    return Section("per_event", "CPU for each event of a long answer", "µs", columns, rows)


def delay(bench: Bench) -> Section:
    """From the server's write to the consumer's hands, an event every 5 ms."""
    rows: dict[str, dict[str, Figure]] = {}
    count = 60 if bench.quick else 100
    for wire in ("chat", "sse"):
        bench.say(f"delay, {wire}")
        for names in _turns(bench.on(wire), bench.rounds(7) + 1):
            for name in names:
                answer = bench.workers[name].ask("delays", wire=wire, url=bench.server.url(wire, "paced", count))
                assert len(answer["delays"]) == count, name
                middle = statistics.median(answer["delays"]) / 1e3
                rows.setdefault(name, {}).setdefault(wire, Figure([])).values.append(middle)
    for row in rows.values():
        for figure in row.values():
            del figure.values[0]  # a connection was opened and modules were loaded
    _add_ratios(rows)
    return Section("delay", "Delay of an event (p50), one every 5 ms", "µs", ["chat", "sse"], rows, digits=0)


def small(bench: Bench) -> Section:
    """What a short answer costs as a whole."""
    rows: dict[str, dict[str, Figure]] = {}
    times = 20 if bench.quick else 50
    for wire in ("chat", "sse"):
        bench.say(f"a small request, {wire}")
        for names in _turns(bench.on(wire), bench.rounds(11) + 1):
            for name in names:
                cost = bench.drain(name, wire, "framed", 10, times)["cpu"] / times * 1e3
                rows.setdefault(name, {}).setdefault(wire, Figure([])).values.append(cost)
    for row in rows.values():
        for figure in row.values():
            del figure.values[0]
    _add_ratios(rows)
    notes = ["On chat, hfclient and g4f look up the message that a new one hangs from: two requests for one answer."]
    return Section("small", "A whole answer of 10 tokens, CPU", "ms", ["chat", "sse"], rows, notes)


def threads(bench: Bench) -> Section:
    """How much 32 threads get through."""
    rows: dict[str, dict[str, Figure]] = {}
    number = 32
    for wire in ("chat", "sse"):
        bench.say(f"32 threads, {wire}")
        names = [name for name in bench.on(wire) if name != "g4f"]
        for order in _turns(names, bench.rounds(7) + 1):
            for name in order:
                count = 200 if name in ("openai", "huggingface_hub") else 1000 if bench.quick else 2000
                answer = bench.workers[name].ask(
                    "threads", wire=wire, url=bench.server.url(wire, "framed", count), threads=number,
                    origin=bench.server.origin, own=name.startswith("floor") or name == "hugchat",
                )  # fmt: skip
                _check(name, answer, count * number, wires.characters(count) * number)
                rate = answer["events"] / answer["wall"] / 1e3
                rows.setdefault(name, {}).setdefault(wire, Figure([])).values.append(rate)
    for row in rows.values():
        for figure in row.values():
            del figure.values[0]
    _add_ratios(rows)
    notes = [
        "Thousands of events a second on the clock; more is better. The floors and hugchat have a client for each thread."
    ]
    return Section("threads", "32 threads, an answer each", "1000/s", ["chat", "sse"], rows, notes, digits=0)


_IMPORT = """
import time
{statement}
took = time.process_time()
import sys
try:
    with open("/proc/self/status") as status:
        memory = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
except OSError:
    memory = 0  # only Linux says it without a further import
print(took, memory / 1024, len(sys.modules))
"""


def imports(bench: Bench) -> Section:
    """What importing costs, in fresh processes."""
    bench.say("imports")
    rows: dict[str, dict[str, Figure]] = {}
    statements = {"(bare Python)": "pass", **IMPORTS}
    cache = tempfile.TemporaryDirectory()  # compiled files for all of them, whatever was installed how
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "PYTHONPYCACHEPREFIX": cache.name}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    wanted = [name for name in statements if name.split(",")[0] in bench.workers or name == "(bare Python)"]
    for names in _turns(wanted, bench.rounds(15) + 1):
        for name in names:
            code = _IMPORT.format(statement=statements[name])
            run = subprocess.run(
                [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment
            )
            if run.returncode:
                bench.skip(Skipped(f"{name}: its import failed"))
                continue
            cpu, memory, modules = run.stdout.split()[-3:]
            values = {"CPU, ms": float(cpu) * 1e3, "memory, MiB": float(memory), "modules": float(modules)}
            for column, value in values.items():
                rows.setdefault(name, {}).setdefault(column, Figure([])).values.append(value)
    for row in rows.values():
        for figure in row.values():
            del figure.values[0]  # everything was compiled
    cache.cleanup()
    bare = rows["(bare Python)"]["CPU, ms"]
    for row in rows.values():
        row["over bare, ms"] = Figure([a - b for a, b in zip(row["CPU, ms"].values, bare.values, strict=True)])
    columns = ["CPU, ms", "over bare, ms", "memory, MiB", "modules"]
    _add_ratios(rows)
    return Section("imports", "Import, in a fresh process", "", columns, rows, digits=0)


def memory(bench: Bench) -> Section:
    """Whether memory grows with the stream."""
    bench.say("memory over a long stream")
    rows: dict[str, dict[str, Figure]] = {}
    count, step = 100_000, 10_000
    for name in ("hfclient", "hfclient, curl_cffi"):
        if name not in bench.workers:
            continue
        for wire in ("chat", "sse"):
            for _ in range(bench.rounds(3)):
                worker = bench.fresh(name)
                worker.ask("drain", wire=wire, url=bench.server.url(wire, "framed", 1000))
                answer = worker.ask("memory", wire=wire, url=bench.server.url(wire, "framed", count), step=step)
                worker.close()
                seen = answer["resident"]
                assert answer["events"] >= count, name
                grown = (seen[8] - seen[0]) / 2**20  # before the final answer, which holds the whole text once more
                rows.setdefault(name, {}).setdefault(wire, Figure([])).values.append(grown)
    text = wires.characters(80_000) / 2**20
    notes = [
        f"From event 10,000 to event 90,000. The text that comes meanwhile, which a reply needs, has {text:.2f} million "
        "characters (2^20)."
    ]
    return Section("memory", "Memory gained over 80,000 events that nobody keeps", "MiB", ["chat", "sse"], rows, notes)


def connections(bench: Bench) -> Section:
    """Whether connections are used again."""
    bench.say("connections")
    rows: dict[str, dict[str, Figure]] = {}
    for wire in ("chat", "sse"):
        for name in bench.on(wire):
            bench.drain(name, wire, "framed", 10)
            worker = bench.fresh(name)
            before = bench.server.connections()
            worker.ask("drain", wire=wire, url=bench.server.url(wire, "framed", 50), times=20)
            opened = bench.server.connections() - before
            worker.close()
            rows.setdefault(name, {})[wire] = Figure([float(opened)])
    return Section("connections", "Connections opened by 20 answers in a row", "", ["chat", "sse"], rows, digits=0)


def upload(bench: Bench) -> Section:
    """What a file of 10 MiB takes on its way out."""
    bench.say("upload")
    rows: dict[str, dict[str, Figure]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.txt")  # hfclient sends what the server shows to models: pictures and text
        path.write_text(os.urandom(5 * 2**20).hex())
        for names in _turns(
            [n for n in ("hfclient", "hfclient, curl_cffi", PLAIN) if n in bench.workers], bench.rounds(5)
        ):
            for name in names:
                worker = bench.fresh(name)
                answer = worker.ask("upload", url=bench.server.url("chat", "framed", 10), path=str(path))
                worker.close()
                row = rows.setdefault(name, {})
                row.setdefault("memory, MiB", Figure([])).values.append(answer["extra"] / 2**20)
                row.setdefault("CPU, ms", Figure([])).values.append(answer["cpu"] * 1e3)
    _add_ratios(rows)
    notes = ["hfclient writes it as base64, as the server wants it; plain requests sends it raw."]
    return Section("upload", "A file of 10 MiB, sent with a message", "", ["memory, MiB", "CPU, ms"], rows, notes)


MEASUREMENTS = {
    "per_event": per_event,
    "delay": delay,
    "small": small,
    "threads": threads,
    "imports": imports,
    "memory": memory,
    "connections": connections,
    "upload": upload,
}
