"""A `Guard` in Redis whose limit the processes of a cluster share."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest

from hfclient.batch import BatchCall
from hfclient.web import Guard
from tests.batch.fault_server import FaultServer
from tests.clusters.workload import ANSWERS, PROMPTS, WORKERS
from tests.services import RedisServer

pytestmark = pytest.mark.timeout(120)
HALVES = PROMPTS[:25], PROMPTS[25:50]


def test_two_processes(server: FaultServer, redis: RedisServer) -> None:
    """Two processes send ten requests a second together: fifty need five windows of the clock, however fast they are."""
    server.seconds = 0
    guard = Guard(redis.url, total={"requests": "10/second; 1000/year"}, prefix="test-guard")
    ask = BatchCall(inference_url=server.url, model="m", workers=WORKERS, guard=guard)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        began = int(time.time())
        answered = [row for half in pool.map(ask, HALVES) for row in half]
        assert int(time.time()) - began >= 4
    assert [row["answer"] for row in answered] == list(ANSWERS.values())[:50]
    assert server.asked == Counter(PROMPTS[:50])
    assert [left.used for left in guard.usage("map") if left.window > 1] == [50]
