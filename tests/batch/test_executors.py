"""``executor=``: chunks of a batch in threads and processes, workers that die, secrets."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hfclient import Client
from hfclient.errors import CredentialsError, HFClientError, InvalidInputError
from tests.batch.fault_server import FaultServer

PROMPTS = [f"prompt {number}" for number in range(60)]
ANSWERS = [prompt.upper() for prompt in PROMPTS]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def client(server: FaultServer) -> Iterator[Client]:
    with Client(server.url, token="", cookies="", session="", inference_url=server.url) as made:
        yield made


def processes(method: str = "spawn", workers: int = 2) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["threads", "spawn", pytest.param("fork", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"))])
def test_order_and_checkpoint(client: Client, server: FaultServer, method: str, tmp_path: Path) -> None:
    """Results come in order with their values; the checkpoint in this process has all of them, for any engine."""
    server.seconds = 0.002
    with ThreadPoolExecutor(2) if method == "threads" else processes(method) as executor:
        batch = client.inference.map(PROMPTS, model="m", workers=4, executor=executor, checkpoint=tmp_path / "out.jsonl")
        results = batch.results()
    assert [result.value.text for result in results] == ANSWERS
    assert {result.attempts for result in results} == {1}
    assert batch.usage.total_tokens == 8 * len(PROMPTS)
    stored = client.inference.map(PROMPTS, model="m", checkpoint=tmp_path / "out.jsonl").results()
    assert [result.value.text for result in stored] == ANSWERS
    assert set(server.asked.values()) == {1}


def test_reads_ahead_a_little(client: Client) -> None:
    """Items are read when the workers need them: an endless input is possible."""
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"prompt {read}"

    with ThreadPoolExecutor(2) as executor, client.inference.map(endless(), model="m", workers=4, executor=executor) as batch:
        for _ in range(100):
            next(batch)
    assert read <= 100 + 4 * 2 * 4


def test_the_clients_own_key_in_threads(server: FaultServer) -> None:
    """Threads of this process use the client itself, with whatever key it has."""
    server.keys = {"secretsecret"}
    with (
        Client(server.url, token="", cookies="", session="", inference_url=server.url, inference_key="secretsecret") as client,
        ThreadPoolExecutor(2) as executor,
    ):
        assert [result.get().text for result in client.inference.map(PROMPTS, model="m", executor=executor)] == ANSWERS


def test_keys_of_processes(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process gets the name of the environment variable that has the key; without one the batch says so and sends nothing."""
    server.keys = {"secretsecret"}
    with (
        Client(server.url, token="", cookies="", session="", inference_url=server.url, inference_key="secretsecret") as client,
        processes(workers=1) as executor,
    ):
        with pytest.raises(CredentialsError, match=r"no environment variable has the key.*each worker") as caught:
            client.inference.map(PROMPTS, model="m", executor=executor).results()
        assert "secretsecret" not in str(caught.value)
        monkeypatch.setenv("ANY_NAME", "secretsecret")  # before the process starts
        assert client.inference.worker_options()["inference_key"] == "env:ANY_NAME"
        assert [result.get().text for result in client.inference.map(PROMPTS, model="m", executor=executor)] == ANSWERS


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_worker_dies(client: Client, server: FaultServer, tmp_path: Path) -> None:
    """With a function that makes the pool, the chunks of a dead worker run in a new one: each item has one answer."""
    pools: list[ProcessPoolExecutor] = []

    def new() -> Executor:
        pools.append(processes())
        return pools[-1]

    server.seconds = 0.02
    answers = []
    with client.inference.map(PROMPTS * 4, model="m", workers=4, executor=new, checkpoint=tmp_path / "out.jsonl") as batch:
        for result in batch:
            answers.append(result.get().text)
            if len(answers) == 20:
                os.kill(next(iter(pools[0]._processes)), signal.SIGKILL)
    assert answers == ANSWERS * 4
    assert len(pools) == 2
    # What both workers of the broken pool had: two chunks of four each, one that ran and one that waited there.
    assert sum(server.asked.values()) <= len(PROMPTS) * 4 + 2 * 2 * 4
    for pool in pools:
        pool.shutdown()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_worker_of_the_callers_pool_dies(client: Client, server: FaultServer) -> None:
    """Without such a function the error says what to do, and what was received is kept."""
    server.seconds = 0.02
    with processes(workers=1) as executor:
        batch = client.inference.map(PROMPTS, model="m", workers=4, executor=executor)
        received = [next(batch).get().text]
        os.kill(next(iter(executor._processes)), signal.SIGKILL)
        with pytest.raises(HFClientError, match="executor=lambda: ProcessPoolExecutor"):
            received += [result.get().text for result in batch]
    assert received == ANSWERS[: len(received)]


class Failing(Executor):
    """An executor whose tasks fail, as those of a cluster may."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(self._error)
        return future


def test_foreign_errors(client: Client) -> None:
    """A failure of the executor is the error of each item of its chunk, as an error of hfclient."""
    results = client.inference.map(["a", "b"], model="m", executor=Failing(OSError("lost"))).results()
    assert [str(result.error) for result in results] == ["the executor failed: OSError: lost"] * 2


def test_mistakes(client: Client, server: FaultServer) -> None:
    """Something else than an executor, one that was shut down, and a limit of one process are refused before anything is sent."""
    with pytest.raises(InvalidInputError, match="executor= is an executor"):
        client.inference.map(PROMPTS, model="m", executor=lambda: 3).results()
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(InvalidInputError, match="takes no more work"):
        client.inference.map(PROMPTS, model="m", executor=executor).results()
    assert not server.asked


def test_leaving_early(client: Client, server: FaultServer) -> None:
    """Chunks that have not started are cancelled; the executor stays usable."""
    server.seconds = 0.01
    with ThreadPoolExecutor(1) as executor:
        with client.inference.map(PROMPTS, model="m", workers=2, executor=executor) as batch:
            next(batch)
        asked = executor.submit(lambda: sum(server.asked.values())).result()
        assert asked < len(PROMPTS)


def test_a_refused_executor_leaves_the_checkpoint_free(client: Client, tmp_path: Path) -> None:
    """After an error of the executor itself the next batch can open the checkpoint."""
    path = tmp_path / "out.jsonl"
    batch = client.inference.map(PROMPTS[:2], model="m", executor=lambda: 3, checkpoint=path)
    with pytest.raises(InvalidInputError, match="executor= is an executor"):
        next(batch)
    assert len(client.inference.map(PROMPTS[:2], model="m", checkpoint=path).results()) == 2
