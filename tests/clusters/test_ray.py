"""`BatchCall` and `RayExecutor` on a Ray cluster of several processes."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.batch import BatchCall, RayExecutor
from tests.batch.fault_server import FaultServer
from tests.clusters.workload import ANSWERS, PROMPTS, WORKERS, Marked, check, killing
from tests.services import RedisServer

ray: Any = pytest.importorskip("ray", reason="Ray is not installed")
pytest.importorskip("ray.data", reason="Ray Data is not installed")
pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore")]


def start() -> None:
    """Start Ray. Its processes have 30 seconds, and end themselves otherwise: up to three times."""
    for attempt in range(3):
        try:
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, object_store_memory=80 << 20)
        except Exception as error:  # it has no class of its own
            ray.shutdown()
            if attempt == 2 or "timed out during startup" not in str(error):
                raise
        else:
            return


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A cluster on this machine: its own processes for scheduling, objects and workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else it is in a file of the user, and each test has another home
        start()
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        yield
        ray.shutdown()


def dataset(blocks: int = 4) -> Any:
    return ray.data.from_items([{"prompt": prompt} for prompt in PROMPTS], override_num_blocks=blocks)


@pytest.mark.parametrize("form", ["numpy", "pandas", "pyarrow"])
def test_forms(server: FaultServer, form: str) -> None:
    """As an instance, in tasks: rows with an error and rows without, in blocks with all, none and some of them."""
    server.seconds = 0
    ask = BatchCall(inference_url=server.url, model="m", workers=WORKERS, template=lambda row: row["prompt"] or None)
    rows = ray.data.from_items([{"prompt": prompt} for prompt in ("a", "b", "c", "", "", "d")], override_num_blocks=3)
    found = rows.map_batches(ask, batch_size=2, batch_format=form).to_pandas()
    assert sorted(zip(found["answer"].fillna(""), found["tokens"], strict=True)) == [("", 0), ("", 0), ("A", 8), ("B", 8), ("C", 8), ("D", 8)]
    assert found["error"].notna().sum() == 2


def test_a_worker_dies(server: FaultServer, redis: RedisServer, checkpoint: str, tmp_path: Path) -> None:
    """An actor is killed in the middle; Ray runs its batch again, and the answers that it had stored are not asked again."""
    options = {"folder": str(tmp_path), "inference_url": server.url, "model": "m", "workers": WORKERS, "checkpoint": checkpoint}
    with killing(server, lambda: [int(path.name) for path in tmp_path.iterdir()], redis) as killed:
        rows = dataset().map_batches(
            Marked, fn_constructor_kwargs=options, batch_size=30, compute=ray.data.ActorPoolStrategy(size=2), num_cpus=0.5
        ).take_all()
    assert len(killed) == 1
    assert len(list(tmp_path.iterdir())) >= 2
    check(rows, server, deaths=1)


def test_executor(server: FaultServer, tmp_path: Path) -> None:
    """The same batch on the cluster: results in order, the checkpoint in this process."""
    server.seconds = 0
    with Client(server.url, token="", cookies="", session="", inference_url=server.url) as client, RayExecutor(num_cpus=0.5) as executor:
        batch = client.inference.map(PROMPTS, model="m", workers=WORKERS, executor=executor, checkpoint=tmp_path / "out.jsonl")
        assert [result.get().text for result in batch] == list(ANSWERS.values())
    assert set(server.asked.values()) == {1}
