"""What all measurements share: workers that take turns, figures with their spread, tables of them."""

from __future__ import annotations

import contextlib
import json
import random
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, field

from benchmarks import wires
from benchmarks.clients import CLIENTS
from benchmarks.server import ReplayServer

__all__ = ["FLOOR", "PLAIN", "Bench", "Figure", "Section", "Skipped", "Worker", "check", "turns"]

FLOOR = "floor (attrs)"
PLAIN = ("requests, iter_lines", "requests, pieces", "requests")


class Skipped(Exception):
    """A client is not installed, or cannot do this."""


@define
class Figure:
    """One cell: the values of all rounds, and round by round what they are of the floor's and of plain requests'."""

    values: list[float]
    of_floor: list[float] = field(factory=list)
    of_plain: list[float] = field(factory=list)


@define
class Section:
    """One table.

    Attributes:
        title: What was measured.
        unit: Of all cells; empty if the columns say it.
        columns: Their names, in order.
        rows: A row a client: its figures by column.
        notes: Sentences to read with it.
        digits: Behind the point.
        more_is_better: A rate, not a cost.
    """

    title: str
    unit: str
    columns: list[str]
    rows: dict[str, dict[str, Figure]] = field(factory=dict)
    notes: list[str] = field(factory=list)
    digits: int = 2
    more_is_better: bool = False

    def add(self, row: str, column: str, value: float) -> None:
        """Note what a round brought."""
        self.rows.setdefault(row, {}).setdefault(column, Figure([])).values.append(float(f"{value:.4g}"))

    def forget_first(self) -> Section:
        """Drop the first round, in which connections were opened and modules loaded."""
        for row in self.rows.values():
            for figure in row.values():
                figure.values[:1] = []
        return self

    def sort(self, order: Iterable[str]) -> Section:
        """Put the rows into *order*; leave out those that are not in it."""
        self.rows = {name: self.rows[name] for name in order if name in self.rows}
        return self

    def compare(self, *columns: str) -> Section:
        """Fill in the ratios of *columns* (None given: of all), round by round.

        Plain requests is whichever way of using it does better in the column.
        """
        for column in columns or self.columns:
            plain = [self.rows[name][column] for name in PLAIN if column in self.rows.get(name, {})]
            best = (max if self.more_is_better else min)(
                plain, key=lambda figure: statistics.median(figure.values), default=None
            )
            floor = self.rows.get(FLOOR, {}).get(column)
            for row in self.rows.values():
                if column in row:
                    row[column].of_floor = _ratios(row[column], floor)
                    row[column].of_plain = _ratios(row[column], best)
        return self


def _ratios(figure: Figure, base: Figure | None) -> list[float]:
    if base is None or len(figure.values) != len(base.values):
        return []
    return [float(f"{a / b:.4g}") for a, b in zip(figure.values, base.values, strict=True) if b]


class Worker:
    """A client in a process of its own."""

    def __init__(self, name: str, origin: str) -> None:
        command = [sys.executable, "-m", "benchmarks.worker", name, origin]
        self.name = name
        # What the neighbours say while they are imported is of no interest here.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        said = self._read()
        if "missing" in said:
            self.close()
            raise Skipped(f"{name}: does not start here ({said['missing']})")

    def ask(self, do: str, **job: Any) -> dict[str, Any]:
        """Have it do something and return what came of it; raises Skipped if it failed."""
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
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Bench:
    """The server, the clients that are there, and how long to take.

    Args:
        server: The replay server.
        only: Names of clients; empty for all. The floor with objects always takes part.
        quick: A fraction of the rounds, for a look.
    """

    def __init__(self, server: ReplayServer, *, only: Iterable[str] = (), quick: bool = False) -> None:
        self.server = server
        self.quick = quick
        self.skipped: list[str] = []
        self.workers: dict[str, Worker] = {}
        for name in CLIENTS:
            if not only or name in only or name == FLOOR:
                try:
                    self.workers[name] = Worker(name, server.origin)
                except Skipped as reason:
                    self.skip(reason)

    def close(self) -> None:
        """End all clients."""
        for worker in self.workers.values():
            worker.close()

    @contextlib.contextmanager
    def fresh(self, name: str) -> Iterator[Worker]:
        """Start another worker for *name*, while the ``with`` lasts."""
        worker = Worker(name, self.server.origin)
        try:
            yield worker
        finally:
            worker.close()

    def on(self, wire: str) -> list[str]:
        """Return the names of the clients that know *wire*."""
        return [name for name in self.workers if wire in self.kind(name).wires]

    def able(self, what: str) -> list[str]:
        """Return the names of the clients that have a method *what*."""
        return [name for name in self.workers if hasattr(self.kind(name), what)]

    @staticmethod
    def kind(name: str) -> Any:
        """Return the class of the client called *name*."""
        return CLIENTS[name][0]

    def say(self, text: str) -> None:
        """Write the name of the current measurement to the terminal."""
        print(f"  {text}", file=sys.stderr, flush=True)

    def skip(self, reason: Skipped, name: str | None = None) -> None:
        """Go on without *name*; the report says why."""
        self.skipped.append(str(reason))
        if name is not None:
            self.workers.pop(name).close()

    def each(self, names: Iterable[str], rounds: int) -> Iterator[str]:
        """Yield *names* round by round, in another order each time, without those that failed meanwhile."""
        for order in turns(names, rounds):
            yield from (name for name in order if name in self.workers)

    @contextlib.contextmanager
    def turn_of(self, name: str) -> Iterator[None]:
        """Go on without *name* if it fails."""
        try:
            yield
        except Skipped as reason:
            self.skip(reason, name)

    def rounds(self, usual: int) -> int:
        """Return how many rounds to make."""
        return max(3, usual // 4) if self.quick else usual

    def drain(self, name: str, wire: str, form: str, count: int, times: int = 1, **how: Any) -> dict[str, Any]:
        """Let *name* read an answer and check that it found everything in it."""
        url = self.server.url(wire, form, count)
        answer = self.workers[name].ask("drain", wire=wire, url=url, times=times, **how)
        check(name, answer, count * times, wires.characters(count) * times)
        return answer


def check(name: str, answer: dict[str, Any], events: int, characters: int) -> None:
    """End the run if a client did not find all events and all characters."""
    if (answer["events"], answer["characters"]) != (events, characters):
        raise SystemExit(
            f"{name} found {answer['events']} events with {answer['characters']} characters, "
            f"not {events} with {characters}: what it took says nothing"
        )


def turns(names: Iterable[str], rounds: int) -> Iterator[list[str]]:
    """Yield *names* in another order for each round."""
    order = list(names)
    for _ in range(rounds):
        random.shuffle(order)
        yield list(order)
