"""`BatchCall` in `datasets.Dataset.map` with two processes."""

from __future__ import annotations

from typing import Any

import pytest

from hfclient.batch import BatchCall
from tests.batch.fault_server import FaultServer
from tests.clusters.workload import ANSWERS, PROMPTS, WORKERS, check

datasets: Any = pytest.importorskip("datasets", reason="datasets is not installed")
pytestmark = [pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore")]


def test_map(server: FaultServer) -> None:
    """Two processes answer their halves, in order, in the form of lists and of Arrow."""
    server.seconds = 0
    datasets.disable_progress_bars()
    ask = BatchCall(inference_url=server.url, model="m", workers=WORKERS)
    rows = datasets.Dataset.from_dict({"prompt": PROMPTS, "n": list(range(len(PROMPTS)))})
    found = rows.map(ask, batched=True, batch_size=50, num_proc=2, keep_in_memory=True)
    assert found.column_names == ["prompt", "n", "answer", "error", "tokens"]
    assert found["answer"][:] == list(ANSWERS.values())
    check(list(found), server, deaths=0)
    again = rows.with_format("arrow").map(ask, batched=True, batch_size=50, keep_in_memory=True).with_format(None)
    assert again["answer"][:] == list(ANSWERS.values())
