"""`BatchCall` and ``executor=`` on a Dask cluster of several processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.batch import BatchCall
from tests.batch.fault_server import FaultServer
from tests.clusters.workload import ANSWERS, PROMPTS, WORKERS, check, killing
from tests.services import RedisServer

dask: Any = pytest.importorskip("dask", reason="Dask is not installed")
distributed: Any = pytest.importorskip("distributed", reason="dask.distributed is not installed")
pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A scheduler and two worker processes on this machine."""
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0) as local,
        distributed.Client(local) as client,
    ):
        yield client


def ask(server: FaultServer, **options: Any) -> BatchCall:
    return BatchCall(inference_url=server.url, model="m", workers=WORKERS, **options)


def test_bag_and_delayed(cluster: Any, server: FaultServer) -> None:
    """Partitions of a bag are lists of strings; a delayed call takes any batch."""
    import dask.bag

    server.seconds = 0
    rows = dask.bag.from_sequence(PROMPTS, npartitions=4).map_partitions(ask(server)).compute()
    assert [(row["prompt"], row["answer"]) for row in rows] == list(ANSWERS.items())
    delayed = [dask.delayed(ask(server))([prompt]) for prompt in PROMPTS[:3]]
    assert [rows[0]["answer"] for rows in dask.compute(*delayed)] == list(ANSWERS.values())[:3]


def test_dataframe(cluster: Any, server: FaultServer) -> None:
    """Partitions of a DataFrame; with meta= Dask asks nothing before compute()."""
    pandas = pytest.importorskip("pandas")
    frames: Any = pytest.importorskip("dask.dataframe")
    server.seconds = 0
    frame = frames.from_pandas(pandas.DataFrame({"prompt": PROMPTS, "n": range(len(PROMPTS))}), npartitions=4)
    call = ask(server)
    answered = frame.map_partitions(call, meta=call.meta(frame))
    assert not server.asked
    found = answered.compute()
    assert dict(zip(found["prompt"], found["answer"], strict=True)) == ANSWERS
    assert list(found.columns) == ["prompt", "n", "answer", "error", "tokens"]


def test_a_worker_dies(cluster: Any, server: FaultServer, redis: RedisServer, checkpoint: str) -> None:
    """A worker process is killed in the middle; Dask runs its partitions again, and stored answers are not asked again."""
    import dask.bag

    bag = dask.bag.from_sequence(PROMPTS, npartitions=8).map_partitions(ask(server, checkpoint=checkpoint))
    pids = list(cluster.run(os.getpid).values())
    with killing(server, lambda: pids, redis) as killed:
        rows = bag.compute()
    assert len(killed) == 1
    check(rows, server, deaths=1)


def test_executor(cluster: Any, server: FaultServer, tmp_path: Path) -> None:
    """``client.get_executor()``: a worker is killed in the middle; Dask runs its chunk again, and each item has one answer, in order."""
    pids = list(cluster.run(os.getpid).values())
    with Client(server.url, token="", cookies="", session="", inference_url=server.url) as client, killing(server, lambda: pids):
        batch = client.inference.map(PROMPTS, model="m", workers=WORKERS, executor=cluster.get_executor(), checkpoint=tmp_path / "out.jsonl")
        assert [result.get().text for result in batch] == list(ANSWERS.values())
    assert sum(server.asked.values()) <= len(PROMPTS) + 2 * WORKERS
