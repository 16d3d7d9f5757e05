"""The simulation of a cluster follows from its rules; its numbers are not tested."""

from __future__ import annotations

import random

import pytest
from attrs import evolve

from benchmarks.cluster_simulation import PAGE, Cluster, Measured, clusters, read_measured, schedule, simulate, table

EQUAL = Measured(seconds=[1.0, 1.0], cpu=0.0001, record_bytes=500, shared_items=1e6)
SMALL = Cluster(prompts=8_000, machines=2, processes=1, workers=10, partition=1_000, life=1e9)


def test_without_chance() -> None:
    """With equal times and no deaths, the time is the number of prompts divided by the requests in flight."""
    assert schedule(1_000, 10, EQUAL, random.Random(1)) == pytest.approx(100)
    found = simulate(SMALL, EQUAL)
    assert found.hours * 3600 == pytest.approx(400)
    assert (found.twice, found.deaths) == (0, 0)
    assert found.limits[0] == ("in flight", pytest.approx(20))


def test_a_limit_holds() -> None:
    """The provider's limit decides, however many machines there are."""
    for machines in (2, 50):
        found = simulate(evolve(SMALL, machines=machines, requests=60), EQUAL)
        assert found.rate == pytest.approx(1, rel=0.01)
    assert found.limits[0][0] == "provider, requests"


def test_cpu_is_a_limit() -> None:
    """Answers that come at once take the CPU time of the process."""
    fast = evolve(EQUAL, seconds=[0.0, 0.0], cpu=0.01)
    assert schedule(1_000, 10, fast, random.Random(1)) == pytest.approx(10)


def test_deaths() -> None:
    """Each death costs at most what was in flight; without a checkpoint it costs what the process had answered."""
    mortal = evolve(SMALL, prompts=80_000, life=0.05)
    kept, lost = simulate(mortal, EQUAL), simulate(evolve(mortal, has_checkpoint=False), EQUAL)
    assert 0 < kept.twice <= kept.deaths * mortal.workers
    assert lost.twice > 10 * kept.twice
    assert kept.wasted < lost.wasted
    assert simulate(mortal, EQUAL) == kept  # the same seed


def test_table() -> None:
    """The clusters of the documentation, made small, are a table with the measured values."""
    rows = [(name, evolve(cluster, prompts=100_000)) for name, cluster in clusters() if cluster.partition <= 10_000]
    assert len(table(rows, read_measured()).splitlines()) == len(rows) + 1


def test_the_page_has_these_clusters() -> None:
    """The table in the documentation has a line for each cluster."""
    lines = PAGE.read_text("utf-8").splitlines()
    assert [line[:40].rstrip() for line in lines[1:]] == [name for name, _ in clusters()]
