"""What the tests of all engines share: prompts, their server, a worker that is killed in the middle."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from hfclient.batch import BatchCall
from tests.batch.fault_server import FaultServer
from tests.services import RedisServer

WORKERS = 4
"""Calls in flight in each worker."""
PROMPTS = [f"prompt {number}" for number in range(240)]
ANSWERS = {prompt: prompt.upper() for prompt in PROMPTS}


@contextlib.contextmanager
def killing(server: FaultServer, pids: Callable[[], list[int]], redis: RedisServer | None = None) -> Iterator[list[int]]:
    """Kill (SIGKILL) one of the workers when the server has answered a quarter of the prompts; yield the list of those killed.

    The server does it, between two answers, so the work cannot end before. In *redis* the lease of that worker has ended then.
    """
    killed: list[int] = []

    def seconds() -> float:
        if not killed and sum(server.answered.values()) >= len(PROMPTS) // 4:
            killed.append(pids()[0])
            os.kill(killed[0], signal.SIGKILL)
            if redis is not None:
                _end_lease(redis, killed[0])
        return 0.01

    server.seconds = seconds
    yield killed


def _end_lease(redis: RedisServer, process: int) -> None:
    import redis as library

    with library.Redis.from_url(redis.url) as client:
        for key in client.keys(f"*:holder:{process}-*"):
            client.delete(key)


def check(rows: list[dict[str, Any]], server: FaultServer, *, deaths: int) -> None:
    """Each prompt is answered exactly once in the output; those in flight in a worker that died were asked twice, at most."""
    assert {row["prompt"]: row["answer"] for row in rows} == ANSWERS
    assert len(rows) == len(PROMPTS)
    assert [row["error"] for row in rows] == [None] * len(rows)
    asked = Counter(server.asked)
    assert set(asked) == set(PROMPTS)
    again = asked - Counter(PROMPTS)
    assert again.total() <= deaths * WORKERS
    assert max(asked.values()) <= 1 + deaths


class Marked:
    """A `BatchCall` that writes the number of its process to a folder, so that a test can kill it."""

    def __init__(self, folder: str, **options: Any) -> None:
        self._folder = folder
        self._call = BatchCall(**options)

    def __call__(self, batch: Any) -> Any:
        with open(os.path.join(self._folder, str(os.getpid())), "w"):
            return self._call(batch)
