"""Checkpoints in Redis: claims with leases, machines that share a run, servers that restart."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from hfclient import Client
from hfclient.batch import BatchCall, CheckpointError, read_results
from hfclient.batch.checkpoints import Checkpoint, Record, open_checkpoint
from hfclient.errors import InvalidInputError
from tests.batch.fault_server import FaultServer
from tests.server import PATIENCE
from tests.services import RedisServer

pytest.importorskip("redis")
PROMPTS = [f"prompt {number}" for number in range(40)]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def url(redis: RedisServer, request: pytest.FixtureRequest) -> str:
    return f"{redis.url}?run={request.node.name}"


@contextlib.contextmanager
def holder(redis: RedisServer, url: str) -> Iterator[tuple[Any, bytes]]:
    """Yield a client of Redis and the key of the only holder of claims in a run."""
    import redis as library

    with library.Redis.from_url(redis.url) as client:
        (found,) = client.keys(f"*:{url.partition('run=')[2]}}}:holder:*")
        yield client, found


@contextlib.contextmanager
def opened(url: str, **run: Any) -> Iterator[Checkpoint]:
    checkpoint = open_checkpoint(url)
    assert checkpoint is not None
    try:
        checkpoint.begin(run or {"call": "chat"})
        yield checkpoint
    finally:
        checkpoint.close()


def until(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_claims_and_records(url: str) -> None:
    """A claim is for one holder; its answer is for all; an error is asked again; the first answer stays."""
    with opened(url) as one, opened(url) as other:
        assert one.claim(["a", "b", "c"]) == ["mine", "mine", "mine"]
        assert one.claim(["a"]) == ["mine"]
        assert other.claim(["a", "d"]) == ["taken", "mine"]
        answer = Record("a", 0, value={"text": "\ud800 é"}, attempts=2)
        one.save([answer, Record("b", 1, error={"error": "ServerError", "message": "m"})])
        one.release(["c", "d"])
        assert other.claim(["a", "b", "c", "d"]) == [answer, "mine", "mine", "mine"]
        other.save([Record("a", 7, value=1), Record("b", 1, value=2)])
        assert one.claim(["a"]) == [answer]
        assert sorted(record.key for record in one.records()) == ["a", "b"]


def test_a_lease_is_renewed_while_its_holder_lives(redis: RedisServer, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease of a holder begins again and again while it lives; after its close its claims are free at once."""
    monkeypatch.setattr("hfclient.batch.checkpoints.redis._RENEWALS", 600)
    with opened(url) as other:
        with opened(url) as one:
            one.claim(["a"])
            with holder(redis, url) as (client, key):
                client.delete(key)  # as at the end of the lease
                until(lambda: client.exists(key))
                assert client.pttl(key) > 1000
            assert other.claim(["a"]) == ["taken"]
        assert other.claim(["a"]) == ["mine"]


def test_claims_of_a_process_that_was_killed(redis: RedisServer, url: str) -> None:
    """They are free when its lease has ended."""
    code = (
        "import sys, time\nfrom hfclient.batch.checkpoints import open_checkpoint\n"
        "checkpoint = open_checkpoint(sys.argv[1])\ncheckpoint.begin({'call': 'chat'})\ncheckpoint.claim(['a'])\n"
        "print('claimed', flush=True)\ntime.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        with holder(redis, url) as (client, key), opened(url) as other:
            assert other.claim(["a"]) == ["taken"]
            process.kill()
            process.wait()
            assert other.claim(["a"]) == ["taken"]
            client.pexpire(key, 1)
            until(lambda: other.claim(["a"]) == ["mine"])


def test_notes(url: str) -> None:
    """Notes of items that have begun are found by the next process."""
    with opened(url) as one:
        one.note("a", {"conversation": "1"})
        one.note("b", {"conversation": "2"})
        one.note("b", None)
    with opened(url) as other:
        assert other.notes(["a", "b"]) == {"a": {"conversation": "1"}}
        assert other.notes([]) == {}


def test_another_run(url: str) -> None:
    """Changed options are refused once there are answers, with what has changed."""
    with opened(url, model="a") as one:
        one.save([Record("a", 0, value=1)])
    with pytest.raises(InvalidInputError, match=r'model was "a" and is now "b"'), opened(url, model="b"):
        pass


def test_expiry(redis: RedisServer) -> None:
    """With expire= answers, notes and the run itself are removed after that time; without it they stay."""
    import redis as library

    with opened(f"{redis.url}?run=gone&expire=7d") as one, opened(f"{redis.url}?run=kept") as other:
        for checkpoint in (one, other):
            checkpoint.claim(["claimed"])
            checkpoint.save([Record("saved", 0, value=1)])
            checkpoint.note("noted", {})
        with library.Redis.from_url(redis.url) as client:
            assert all(client.pttl(key) > 0 for key in client.scan_iter("*:gone}*"))
            assert {client.pttl(key) for key in client.scan_iter("*:kept}*") if b":holder:" not in key} == {-1}
            assert len(list(client.scan_iter("*:kept}*"))) == 5


def test_urls(redis: RedisServer) -> None:
    """A URL that cannot be used, and a server that is not there, give clear errors without the password."""
    with pytest.raises(InvalidInputError, match="lease='fast'"):
        open_checkpoint(f"{redis.url}?lease=fast")
    with pytest.raises(InvalidInputError, match="the checkpoint cannot use this URL"):
        open_checkpoint("redis://:secretsecret@localhost:port/0")
    gone = open_checkpoint("redis://:secretsecret@127.0.0.1:1/0")
    assert gone is not None
    with pytest.raises(CheckpointError, match=r"Redis at 127\.0\.0\.1:1") as caught:
        gone.begin({})
    assert "secretsecret" not in str(caught.value)
    gone.close()


def test_machines_share_a_run(url: str) -> None:
    """Two clients with the same input: each prompt is asked once, and both have all answers in order."""
    with FaultServer(seconds=0.01) as server:
        found: list[list[str]] = []

        def run() -> None:
            with Client(server.url, token="", cookies="", session="", inference_url=server.url) as client:
                found.append([result.get().text for result in client.inference.map(PROMPTS, model="m", workers=4, checkpoint=url)])

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert found == [[prompt.upper() for prompt in PROMPTS]] * 2
        assert server.asked == Counter(PROMPTS)
        assert len(list(read_results(url))) == len(PROMPTS)


def test_redis_restarts() -> None:
    """While Redis is away the batch waits; nothing that was received is lost or asked again."""
    with RedisServer(persistent=True) as redis, FaultServer() as server:
        with Client(server.url, token="", cookies="", session="", inference_url=server.url) as client:
            batch = client.inference.map(PROMPTS * 3, model="m", workers=4, checkpoint=f"{redis.url}?run=r", timeouts=None)
            received = [next(batch).get().text for _ in range(5)]
            redis.stop(signal.SIGKILL)
            timer = threading.Timer(0.5, redis.start)
            timer.start()
            received += [result.get().text for result in batch]
            timer.join()
        assert received == [prompt.upper() for prompt in PROMPTS * 3]
        assert set(server.asked.values()) == {3}


def test_a_full_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stays without memory ends the batch with a clear error; so does an answer that no value can hold."""
    monkeypatch.setattr("hfclient.batch.checkpoints.redis._PATIENCE", 0.2)
    with RedisServer("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as redis, opened(redis.url) as one:
        one.claim(["a"])
        with pytest.raises(CheckpointError, match="OutOfMemory"):
            one.save(Record(f"a{number}", number, value="x" * 500_000) for number in range(20))
        monkeypatch.setattr("hfclient.batch.checkpoints.redis._LARGEST", 1000)
        with pytest.raises(CheckpointError, match=r"item 3 has .* bytes"):
            one.save([Record("a", 3, value="x" * 1000)])


def test_batch_calls_share_it(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`BatchCall` takes the URL from a variable; a second batch with the same rows asks nothing."""
    monkeypatch.setenv("CHECKPOINT", f"{redis.url}?run=calls")
    with FaultServer() as server:
        ask = BatchCall(inference_url=server.url, model="m", checkpoint="env:CHECKPOINT")
        assert ask(PROMPTS) == ask(PROMPTS)
        ask.close()
        assert server.asked == Counter(PROMPTS)
