"""The benchmarks measure what they claim: all clients find the same in all forms, and the page shows the measurements.

The speed itself is not tested here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import wires
from benchmarks.bench import Bench, Section, Skipped, Worker, check, turns
from benchmarks.clients import make
from benchmarks.page import page, picture
from benchmarks.report import Results, marks, tables
from benchmarks.server import ReplayServer

ROOT = Path(__file__).parent.parent
CLIENTS = (
    "floor (structs)",
    "floor (attrs)",
    "hfclient",
    "hfclient, curl_cffi",
    "requests, iter_lines",
    "requests, pieces",
)


@pytest.fixture(scope="module")
def replay() -> Iterator[ReplayServer]:
    """One replay server for all tests."""
    with ReplayServer() as running:
        yield running


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("wire", wires.WIRES)
def test_all_clients_find_the_same(replay: ReplayServer, name: str, wire: str) -> None:
    """Floors, hfclient and plain requests find all events and all characters, in all forms, on one connection."""
    client = make(name, replay.origin)
    before = replay.connections()
    try:
        for form in ("big", "framed", "each"):
            # 700 events are more than one read of a socket; the second answer uses the same connection.
            for count in (700, 3):
                found = client.drain(wire, replay.url(wire, form, count))
                assert found == (count, wires.characters(count)), form
    finally:
        client.close()
    opened = replay.connections() - before
    # hfclient and requests use other URLs of one origin; hfclient has a client for each of them.
    assert opened <= (6 if name.startswith("hfclient") else 1)


@pytest.mark.parametrize("name", CLIENTS)
def test_paced_events_are_timed(replay: ReplayServer, name: str) -> None:
    """Each paced event has the time of its writing, and arrives later."""
    client = make(name, replay.origin)
    try:
        for wire in ("chat", "sse"):
            pace = client.paced(wire, replay.url(wire, "paced", 4))
            assert len(pace.delays) == 4
            assert all(0 < delay < 30e9 for delay in pace.delays)
            assert pace.cpu > 0
    finally:
        client.close()


@pytest.mark.parametrize("name", ["floor (attrs)", "hfclient", "requests, iter_lines"])
def test_downloads_are_complete(replay: ReplayServer, name: str, tmp_path: Path) -> None:
    """A downloaded file has the requested size."""
    client = make(name, replay.origin)
    try:
        client.download(replay.url("chat", "big", 200_001), tmp_path / "file")
    finally:
        client.close()
    assert (tmp_path / "file").stat().st_size == 200_001


def test_a_lost_event_ends_the_run() -> None:
    """A client that does not find all events is an error."""
    check("all", {"events": 5, "characters": 9}, 5, 9)
    with pytest.raises(SystemExit, match="says nothing"):
        check("hasty", {"events": 4, "characters": 9}, 5, 9)
    with pytest.raises(SystemExit, match="says nothing"):
        check("hasty", {"events": 5, "characters": 8}, 5, 9)


def test_a_client_that_does_not_start_is_left_out(replay: ReplayServer) -> None:
    """Its process ends, and the reason is reported."""
    with pytest.raises(Skipped, match="unknown: does not start here"):
        Worker("unknown", replay.origin)


def test_a_client_that_fails_is_dropped(replay: ReplayServer) -> None:
    """The others continue, and the reason is reported."""
    bench = Bench(replay, only=["hfclient"])
    try:
        assert sorted(bench.each(bench.on("sse"), 2)) == ["floor (attrs)"] * 2 + ["hfclient"] * 2
        with bench.turn_of("hfclient"):
            bench.workers["hfclient"].ask("drain", wire="none", url=replay.url("none", "big", 1))
        assert list(bench.each([*bench.on("sse"), "hfclient"], 2)) == ["floor (attrs)"] * 2
        assert bench.skipped[0].startswith("hfclient: ")
    finally:
        bench.close()


def test_order_varies() -> None:
    """Each round has all clients once, and the order varies."""
    rounds = list(turns("abcdef", 20))
    assert [sorted(order) for order in rounds] == [list("abcdef")] * 20
    assert len(set(map(tuple, rounds))) > 1


def test_ratios_are_taken_round_by_round() -> None:
    """A slow round does not change ratios; plain requests counts with its faster variant."""
    section = Section("costs", "µs", ["a"])
    for slow in (1, 1, 10):
        for name, cost in (("hfclient", 3), ("floor (attrs)", 2), ("requests, iter_lines", 8), ("requests, pieces", 6)):
            section.add(name, "a", cost * slow)
    section.sort(CLIENTS).compare()
    assert list(section.rows) == ["floor (attrs)", "hfclient", "requests, iter_lines", "requests, pieces"]
    assert section.rows["hfclient"]["a"].of_floor == [1.5] * 3
    assert section.rows["hfclient"]["a"].of_plain == [0.5] * 3
    assert "3.00 (3.00-16.50)" in tables(section)


def test_the_command_runs(tmp_path: Path) -> None:
    """``python -m benchmarks`` measures in processes of its own, and shows the stored results."""
    command = [sys.executable, "-m", "benchmarks", "--client", "hfclient"]
    stored = tmp_path / "results.json"
    subprocess.run(
        [*command, "--only", "connections", "--json", str(stored)], check=True, cwd=ROOT, capture_output=True
    )
    sections = Results.from_dict(json.loads(stored.read_text("utf-8"))).sections
    assert sections["connections"].rows["hfclient"]["sse"].values == [1.0]
    assert "reached" in marks(sections)
    shown = subprocess.run([*command, "--from", str(stored)], check=True, cwd=ROOT, capture_output=True).stdout.decode()
    assert tables(sections["connections"]) in shown


def test_the_page_shows_what_was_measured() -> None:
    """Tables and plot of the documentation are made from benchmarks/results.json only."""
    results = Results.from_dict(json.loads((ROOT / "benchmarks" / "results.json").read_text("utf-8")))
    how = "python -m benchmarks --from benchmarks/results.json --write-docs makes them anew"
    made = page(results)
    assert {path.stem for path in (ROOT / "docs" / "performance").glob("*.inc")} == set(made), how
    for name, text in made.items():
        assert (ROOT / "docs" / "performance" / f"{name}.inc").read_text("utf-8") == text, how
    assert (ROOT / "docs" / "images" / "performance.svg").read_text("utf-8") == picture(results), how
