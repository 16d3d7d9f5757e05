"""Checkpoints and caches of whole batches: several processes, caches, full disks, changed options."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.batch import BatchResult, CheckpointError, read_results
from hfclient.batch.checkpoints import jsonl
from hfclient.batch.engines import Engine
from hfclient.batch.jobs import Job
from hfclient.batch.maps import map_inference
from hfclient.errors import InvalidInputError
from hfclient.inference import InferenceClient
from tests.batch.fault_server import FaultServer
from tests.batch.prompts_in_a_process import prompts


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def inference(server: FaultServer) -> Iterator[InferenceClient]:
    with Client(token="", cookies="", session="", inference_url=server.url) as client:
        yield client.inference


def texts(results: list[BatchResult]) -> list[str]:
    return [result.get().text for result in results]


def start(server: FaultServer, path: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.batch.prompts_in_a_process", server.url, str(path), str(count), "4"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_share_the_work(tmp_path: Path, server: FaultServer) -> None:
    """Three processes with one database: each hands out all results, and each item is asked once."""
    server.seconds = 0.01
    processes = [start(server, tmp_path / "out.sqlite", 300) for _ in range(3)]
    outputs = [process.communicate() for process in processes]
    assert [errors for _, errors in outputs] == ["", "", ""]
    assert {output for output, _ in outputs} == {"".join(f"{number}\n" for number in range(300)) + "done\n"}
    assert server.asked == Counter(prompts(300))


def test_a_process_that_dies_leaves_its_work_to_the_others(tmp_path: Path, server: FaultServer) -> None:
    """What a killed process had claimed is asked by the other one, without waiting for its lease."""
    server.seconds = 0.05
    path = tmp_path / "out.sqlite"
    first, second = start(server, path, 60), start(server, path, 60)
    with first, second:
        assert first.stdout is not None
        first.stdout.readline()
        first.kill()
        output, errors = second.communicate()
    assert errors == ""
    assert output.endswith("59\ndone\n")
    assert sum(server.asked.values()) <= 64
    assert len(list(read_results(path))) == 60


def test_threads_share_the_work(tmp_path: Path, server: FaultServer, inference: InferenceClient) -> None:
    """Batches in several threads with one database ask each item once."""
    server.seconds = 0.01
    found: list[list[str]] = []

    def run() -> None:
        found.append(texts(inference.map(prompts(100), model="m", workers=4, checkpoint=tmp_path / "out.db").results()))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[prompt.upper() for prompt in prompts(100)]] * 3
    assert server.asked == Counter(prompts(100))


def test_an_error_is_not_asked_by_each_process(tmp_path: Path, server: FaultServer, inference: InferenceClient) -> None:
    """A batch that waits for another one's item gets its error, too; the next run asks again."""
    server.seconds, server.faults = 0.3, {"400": 1.0}
    found: list[list[BatchResult]] = []

    def run() -> None:
        found.append(inference.map(["a", "b"], model="m", workers=2, checkpoint=tmp_path / "out.db").results())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[result.ok for result in results] for results in found] == [[False, False]] * 2
    assert sum(server.asked.values()) <= 4
    server.faults = {}
    assert texts(inference.map(["a", "b"], model="m", checkpoint=tmp_path / "out.db").results()) == ["A", "B"]


def test_cache(tmp_path: Path, server: FaultServer, inference: InferenceClient) -> None:
    """Equal questions are asked once, in one batch and in the next one; errors are not cached."""
    cache = tmp_path / "answers.sqlite"
    options: dict[str, Any] = {"model": "m", "cache": cache}
    first = inference.map(["a", "b", "a", {"input": "a", "id": "x"}], **options).results()
    assert texts(first) == ["A", "B", "A", "A"]
    assert [result.stored for result in first] == [False, False, True, True]
    second = inference.map(["b", "c", "a"], checkpoint=tmp_path / "out.jsonl", **options).results()
    assert [result.stored for result in second] == [True, False, True]
    assert server.asked == Counter("abc")
    stored = {result.index: result.get().text for result in read_results(tmp_path / "out.jsonl")}
    assert stored == {0: "B", 1: "C", 2: "A"}
    server.faults = {"400": 1.0}
    assert [result.ok for result in inference.map(["d", "d", "a"], **options)] == [False, False, True]
    server.faults = {}
    assert texts(inference.map(["d", "a"], temperature=1, **options).results()) == ["D", "A"]
    assert server.asked["a"] == 2


def test_the_cache_of_the_user(tmp_path: Path, server: FaultServer, inference: InferenceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """cache=True is a file for the user alone; without the option nothing is cached."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert texts(inference.map(["a", "a"], model="m").results()) == ["A", "A"]
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):
        assert texts(inference.map(["a", "a"], model="m", cache=True).results()) == ["A", "A"]
    assert server.asked == {"a": 3}
    assert (tmp_path / "hfclient" / "answers.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("ending", [".jsonl", ".sqlite"])
def test_changed_options(tmp_path: Path, server: FaultServer, inference: InferenceClient, ending: str) -> None:
    """Other options are refused before anything is asked. With on_change="redo" only items that they concern are asked again."""
    path = tmp_path / f"out{ending}"
    items: list[Any] = ["a", {"input": "b", "temperature": 0.5}, "a"]
    inference.map(items, model="m", temperature=0, checkpoint=path).results()
    with pytest.raises(InvalidInputError, match=r"temperature was 0 and is now 1.* 3 stored answers"):
        inference.map(items, model="m", temperature=1, checkpoint=path)
    assert server.asked == {"a": 2, "b": 1}
    redone = inference.map(items, model="m", temperature=1, checkpoint=path, on_change="redo").results()
    assert [result.stored for result in redone] == [False, True, False]
    assert server.asked == {"a": 4, "b": 1}
    assert all(result.stored for result in inference.map(items, model="m", temperature=0, checkpoint=path))


def test_secrets_are_not_in_the_file(tmp_path: Path, server: FaultServer) -> None:
    """Neither keys of the client nor secrets in options are in a checkpoint."""
    path = tmp_path / "out.jsonl"
    with Client(token="hf_" + "s" * 34, cookies="", session="", inference_url=server.url, inference_key="sk-0123456789abcdef") as client:
        extra = {"api_key": "another-secret", "token": "hf_" + "s" * 34, "tenant": "t"}
        client.inference.map(["a"], model="m", extra_body=extra, checkpoint=path).results()
    content = path.read_text("utf-8")
    assert '"tenant":"t"' in content
    for secret in ("s" * 34, "sk-0123456789abcdef", "another-secret"):
        assert secret not in content


def test_a_full_disk_loses_nothing(tmp_path: Path, server: FaultServer, inference: InferenceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was received and cannot be stored is in the error and in unread; the next batch has all that was stored before."""
    path = tmp_path / "out.jsonl"
    syncs = 0

    def fdatasync(file: int) -> None:
        nonlocal syncs
        syncs += 1
        if syncs > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(jsonl, "_fdatasync", fdatasync)
    batch = inference.map(prompts(100), model="m", workers=4, checkpoint=path)
    handed_out: list[BatchResult] = []
    with pytest.raises(CheckpointError, match="No space left on device") as caught:
        handed_out.extend(batch)
    stored = {result.index for result in read_results(path)}
    unstored = {result.index for result in caught.value.completed}
    assert unstored
    assert not unstored & stored
    assert {result.index for result in handed_out} <= stored
    assert {result.index for result in [*handed_out, *batch.unread]} >= stored | unstored
    assert sum(server.answered.values()) <= len(stored | {result.index for result in batch.unread}) + 4
    monkeypatch.undo()
    results = inference.map(prompts(100), model="m", workers=4, checkpoint=path).results()
    assert texts(results) == [prompt.upper() for prompt in prompts(100)]
    assert {result.index for result in results if result.stored} == stored


class AllOrSome:
    """An engine that waits for all of its jobs when it is asked for what has ended by now."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running = 0

    def submit(self, jobs: Iterable[Job]) -> None:
        jobs = list(jobs)
        self._running += len(jobs)
        self._engine.submit(jobs)

    def finished(self, seconds: float | None = None) -> list[Job]:
        ended = self._engine.finished(None)
        while seconds == 0 and len(ended) < self._running:
            ended += self._engine.finished(None)
        self._running -= len(ended)
        return ended

    def close(self) -> list[Job]:
        return self._engine.close()


def test_a_slow_reader_does_not_keep_answers_from_the_disk(
    tmp_path: Path, server: FaultServer, inference: InferenceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers that end while the caller works on a result are stored when it asks for the next one."""
    monkeypatch.setattr("hfclient.batch.batch._STORE_EVERY", -1.0)
    path = tmp_path / "out.jsonl"
    options = {"model": "m", "workers": 20, "checkpoint": path, "ordered": False}
    with map_inference(inference, prompts(20), "chat", options, engine=lambda own: AllOrSome(own())) as batch:
        for _ in range(2):
            next(batch)
        assert len(list(read_results(path))) == 20
