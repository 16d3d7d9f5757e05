"""``service="batch"`` when the process is killed at each step: no prompt is submitted twice, and none is lost."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.batch import BatchService
from tests.batch.service_server import Pause, ServiceServer
from tests.server import PATIENCE, Recorded

PROMPTS = [f"prompt {number}" for number in range(20)]

CHILD = """
import sys
from hfclient import Client
from hfclient.batch import BatchService

url, checkpoint, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Client("http://127.0.0.1:9", token="", cookies="", session="", inference_url=url) as client:
    options = BatchService(poll=0.03, max_requests=size)
    prompts = [f"prompt {number}" for number in range(20)]
    for result in client.inference.map(prompts, model="m", service=options, checkpoint=checkpoint):
        print(result.value.text, flush=True)
"""


@pytest.fixture
def service() -> Iterator[ServiceServer]:
    with ServiceServer() as server:
        yield server


class _Held(ServiceServer):
    """A server whose answer to request number `hold` waits; the request is done.

    Attributes:
        held: Set when that answer waits.
        go_on: Ends the wait.
    """

    def __init__(self) -> None:
        self.hold = 0
        self.held, self.go_on = threading.Event(), threading.Event()
        super().__init__()

    def _handle(self, request: Recorded) -> bytes:
        answer = super()._handle(request)
        if len(self.requests) == self.hold:
            self.held.set()
            self.go_on.wait(PATIENCE)
        return answer


def start(service: ServiceServer, checkpoint: Path, size: int = 50) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CHILD, service.url, str(checkpoint), str(size)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(service: ServiceServer, checkpoint: Path, size: int = 50) -> list[str]:
    """Run the same batch to its end, in this process."""
    with Client("http://127.0.0.1:9", token="", cookies="", session="", inference_url=service.url) as client:
        options = BatchService(poll=0.03, max_requests=size)
        batch = client.inference.map(PROMPTS, model="m", service=options, checkpoint=checkpoint)
        return [result.get().text for result in batch]


STEPS = [
    ("POST /v1/files", "before"),
    ("POST /v1/files", "after"),
    ("POST /v1/batches", "before"),
    ("POST /v1/batches", "after"),
    ("POST /v1/batches", "never"),
    ("GET /v1/batches/", "before"),
    ("GET /v1/batches/", "half"),
    ("GET /v1/files//content", "before"),
    ("GET /v1/files//content", "half"),
]


@pytest.mark.parametrize(("what", "where"), STEPS)
def test_killed_at_a_step(service: ServiceServer, tmp_path: Path, what: str, where: str) -> None:
    """SIGKILL while this request is on its way; the next run submits what is missing, and nothing else."""
    pause = Pause(where)
    service.faults[what].append(pause)
    child = start(service, tmp_path / "out.jsonl")
    try:
        assert pause.reached.wait(PATIENCE)
    finally:
        child.kill()
        child.wait()
    pause.go_on.set()
    if what == "POST /v1/batches" and where != "never":
        end = time.monotonic() + PATIENCE
        while not service.jobs and time.monotonic() < end:
            time.sleep(0.01)
    assert finish(service, tmp_path / "out.jsonl") == [prompt.upper() for prompt in PROMPTS]
    assert service.submitted == Counter(PROMPTS)
    assert len(service.jobs) == 1


@pytest.mark.timeout(240)  # it starts seven processes
def test_killed_again_and_again(tmp_path: Path) -> None:
    """SIGKILL at different requests of a batch of several jobs, until one run comes to its end."""
    kills = 0
    with _Held() as service:
        for service.hold in (2, 3, 4, 6, 9, 12, 14):
            service.requests.clear()
            child = start(service, tmp_path / "out.jsonl", size=6)
            try:
                while not service.held.wait(0.01) and child.poll() is None:
                    pass
                kills += service.held.is_set()
            finally:
                child.kill()
                child.wait()
            service.go_on.set()
            service._server.wait_until_closed()
            service.held.clear()
            service.go_on.clear()
        service.hold = 0
        assert finish(service, tmp_path / "out.jsonl", size=6) == [prompt.upper() for prompt in PROMPTS]
    assert kills >= 3
    assert service.submitted == Counter(PROMPTS)


@pytest.mark.parametrize("changed", [PROMPTS[::-1], PROMPTS[5:], ["new", *PROMPTS]])
def test_other_items_after_a_kill(service: ServiceServer, tmp_path: Path, changed: list[str]) -> None:
    """Items are found in the job that runs by their content, also in another order, or beside new ones."""
    pause = Pause("before")
    service.faults["GET /v1/batches/"].append(pause)
    child = start(service, tmp_path / "out.jsonl")
    try:
        assert pause.reached.wait(PATIENCE)
    finally:
        child.kill()
        child.wait()
    pause.go_on.set()
    with Client("http://127.0.0.1:9", token="", cookies="", session="", inference_url=service.url) as client:
        results: list[Any] = list(
            client.inference.map(changed, model="m", service=BatchService(poll=0.03), checkpoint=tmp_path / "out.jsonl")
        )
    assert [result.get().text for result in results] == [prompt.upper() for prompt in changed]
    assert service.submitted == Counter({*PROMPTS, *changed})
