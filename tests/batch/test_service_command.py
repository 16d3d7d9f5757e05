"""``hfclient batch --service batch``: the provider's batch service from the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch.service_server import ServiceServer
from tests.server import PATIENCE

pytest.importorskip("click")
pytestmark = pytest.mark.timeout(240)  # many new interpreters


@pytest.fixture
def service() -> Iterator[ServiceServer]:
    with ServiceServer(states=("validating",)) as server:
        yield server


def start(service: ServiceServer, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hfclient", "batch", "in.txt", "-o", "out.jsonl", "-m", "m", "--inference-url", service.url]
    return subprocess.Popen([*command, "--service", "batch", *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_asked(service: ServiceServer, child: subprocess.Popen[str]) -> None:
    """Wait until the child asks for its job."""
    while not service.count("GET /v1/batches/"):
        assert child.poll() is None
        time.sleep(0.01)


def answers(folder: Path) -> list[str | None]:
    return [json.loads(line)["answer"] for line in (folder / "out.jsonl").read_text().splitlines()]


def test_ctrl_c_and_resume(service: ServiceServer, tmp_path: Path) -> None:
    """Ctrl-C leaves the job at the server; --resume fetches its answers, and nothing is submitted twice."""
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    service.states = ("validating", *["in_progress"] * 10_000)
    child = start(service, tmp_path)
    until_asked(service, child)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=2 * PATIENCE)
    assert child.returncode == 130, err
    assert "--resume continues" in err
    assert "keep running at the server: batch-" in err
    service.states = ("validating",)
    child = start(service, tmp_path, "--resume")
    _, err = child.communicate(timeout=2 * PATIENCE)
    assert child.returncode == 0, err
    assert answers(tmp_path) == ["ONE", "TWO"]
    assert service.submitted == Counter(["one", "two"])


def test_cancel(service: ServiceServer, tmp_path: Path) -> None:
    """--cancel ends the jobs and writes what is done."""
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    child = start(service, tmp_path, "--cancel")
    assert "--cancel needs --service batch and --resume" in child.communicate(timeout=2 * PATIENCE)[1]
    service.states = ("validating", *["in_progress"] * 10_000)
    child = start(service, tmp_path)
    until_asked(service, child)
    child.kill()
    child.communicate()
    child = start(service, tmp_path, "--resume", "--cancel")
    _, err = child.communicate(timeout=2 * PATIENCE)
    assert child.returncode == 1
    assert "1 of 2 answered, 1 failed" in err
    assert [job["status"] for job in service.jobs.values()] == ["cancelled"]
