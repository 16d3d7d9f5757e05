"""Processes that are killed in the middle of a batch: each answer is there once, and only what was in flight is asked twice."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hfclient.batch import read_results
from tests.batch.fault_server import FaultServer
from tests.batch.prompts_in_a_process import prompts

WORKERS = 16
KILLS = 6


class _Held(FaultServer):
    """A server that gives no more answers once so many prompts have one.

    Attributes:
        most: That number; None for no limit.
        held: Set by a request that gets no answer.
    """

    most: int | None = None

    def __init__(self, **options: Any) -> None:
        self.held = threading.Event()
        super().__init__(**options)

    def _finish(self, *args: Any) -> None:
        if self.most is not None and len(self.answered) >= self.most:
            self.running -= 1
            self.held.set()
        else:
            super()._finish(*args)


def start(server: FaultServer, path: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.batch.prompts_in_a_process", server.url, str(path), str(count), str(WORKERS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_and_restart(path: Path, *, kills: int, count: int, seed: int) -> tuple[int, int]:
    """Kill the batch *kills* times, run it to its end, check all, and return the number of kills and of prompts asked again."""
    choose = random.Random(seed)
    killed = 0
    with _Held(seconds=0.002) as server:
        while True:
            server.held.clear()
            more = choose.randrange(1, 2 * count // (kills + 1))  # answers until the kill
            server.most = len(server.answered) + more if killed < kills else None
            process = start(server, path, count)
            with process:
                while process.poll() is None and not server.held.wait(0.01):
                    pass
                if server.held.is_set():
                    process.kill()
                said, errors = process.communicate()
            assert errors == ""
            if not server.held.is_set():
                assert said.split() == [*map(str, range(count)), "done"]
                break
            killed += 1
        results = list(read_results(path))
        assert sorted(result.index for result in results) == list(range(count))
        assert {result.index: result.get().text for result in results} == {number: f"PROMPT {number}" for number in range(count)}
        assert set(server.asked) == set(prompts(count))
        asked = sum(server.asked.values())
        assert asked - count <= killed * WORKERS
        assert max(Counter(server.asked).values()) <= killed + 1
    return killed, asked - count


@pytest.mark.timeout(240)  # it starts seven processes
@pytest.mark.parametrize("ending", [".jsonl", ".sqlite"])
def test_a_batch_that_is_killed_again_and_again(tmp_path: Path, ending: str) -> None:
    """Each prompt is exactly once in the output, and at most those in flight at a kill are asked again."""
    killed, _ = kill_and_restart(tmp_path / f"out{ending}", kills=KILLS, count=300, seed=1)
    assert killed == KILLS
