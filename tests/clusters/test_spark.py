"""`BatchCall.map_in_pandas` on a local Spark with two threads and their Python processes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient.batch import BatchCall
from tests.batch.fault_server import FaultServer
from tests.clusters.workload import PROMPTS, WORKERS, check

sql: Any = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
pytest.importorskip("pandas")
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed"),
]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.driver.memory", "512m")
    spark = builder.config("spark.sql.warehouse.dir", str(tmp_path)).config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    yield spark
    spark.stop()


def test_map_in_pandas(session: Any, server: FaultServer) -> None:
    """Each partition is an iterator of DataFrames."""
    server.seconds = 0
    ask = BatchCall(inference_url=server.url, model="m", workers=WORKERS)
    frame = session.createDataFrame([(prompt,) for prompt in PROMPTS], "prompt string").repartition(4)
    answered = frame.mapInPandas(ask.map_in_pandas, "prompt string, answer string, error string, tokens long")
    check([row.asDict() for row in answered.collect()], server, deaths=0)
