"""A real failover: Redis Sentinel promotes the replica of a server that was killed, and the store continues there."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest

redis = pytest.importorskip("redis")

from hfclient.web.errors import StoreUnavailable  # noqa: E402 (after the check)
from hfclient.web.relay.redis_store import RedisStore  # noqa: E402
from hfclient.web.relay.store import Batch, Bounds, Record, Write  # noqa: E402
from tests.chat.replay import wait_until  # noqa: E402
from tests.services import RedisServer  # noqa: E402

BOUNDS = Bounds(ttl=60, keep=60, max_events=1000, max_bytes=100_000)


class SentinelServer(RedisServer):
    """A Redis Sentinel that watches one master."""

    name = "sentinel"

    def __init__(self, master: RedisServer) -> None:
        super().__init__()
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds main 60000\nsentinel failover-timeout main 3000\n"
        )

    def command(self) -> list[str]:
        return [self._program, str(self.folder / "sentinel.conf"), "--sentinel"]

    def look(self) -> None:
        """From now on take the master for down after half a second of silence. A slow master is not down before."""
        with redis.Redis(port=self.port) as client:
            client.execute_command("SENTINEL", "SET", "main", "down-after-milliseconds", 500)


@pytest.fixture
def servers() -> Iterator[tuple[RedisServer, RedisServer, SentinelServer]]:
    """A master, its replica, and the Sentinel that knows both."""
    with contextlib.ExitStack() as stack:
        master = stack.enter_context(RedisServer())
        replica = stack.enter_context(RedisServer("--replicaof", "127.0.0.1", str(master.port)))
        sentinel = stack.enter_context(SentinelServer(master))
        client = redis.Redis(port=sentinel.port, decode_responses=True)
        plain = redis.Redis(port=replica.port, decode_responses=True)
        wait_until(lambda: plain.info("replication")["master_link_status"] == "up")
        wait_until(lambda: len(client.sentinel_slaves("main")) == 1)
        client.close()
        plain.close()
        yield master, replica, sentinel


def test_a_failover(servers: tuple[RedisServer, RedisServer, SentinelServer]) -> None:
    """After the failover the same store writes to the new master, and a watch in another store gets the rest."""
    master, _, sentinel = servers
    clients = [redis.Sentinel([("127.0.0.1", sentinel.port)], socket_timeout=20).master_for("main", socket_timeout=20) for _ in range(2)]
    writer, follower = map(RedisStore, clients)
    news: list[Any] = []
    writer.create("run", key="k", owner=None, state=None, lease=30, bounds=BOUNDS)
    follower.watch("run", news.append)
    wait_until(lambda: None in news)

    def write(number: int) -> Record | None:
        with contextlib.suppress(StoreUnavailable):
            return writer.write([Write(run_id="run", fence=1, batches=[Batch(number, 1, b"x")], lease=30)], BOUNDS)[0]
        return None

    assert write(1) is not None
    wait_until(lambda: Batch(1, 1, b"x") in news)
    before = len(news)
    client = redis.Redis(port=master.port)
    client.wait(1, 5000)  # the replica has it
    client.close()
    master.stop(signal.SIGKILL)
    assert write(2) is None  # StoreUnavailable, and no other exception
    sentinel.look()
    records: list[Record] = []
    wait_until(lambda: (record := write(2)) is not None and records.append(record) is None)
    assert records[0].last == 2
    wait_until(lambda: None in news[before:] or Batch(2, 1, b"x") in news)  # it reads the new master, from the newest entry on
    assert write(3) is not None
    wait_until(lambda: Batch(3, 1, b"x") in news)
    for store in (writer, follower):
        store.close()
    for client in clients:
        client.close()


def test_a_master_that_became_a_replica(servers: tuple[RedisServer, RedisServer, SentinelServer]) -> None:
    """A connection to a server that is a replica now fails once with StoreUnavailable; the next call finds the new master."""
    _, replica, sentinel = servers
    client = redis.Sentinel([("127.0.0.1", sentinel.port)], socket_timeout=20).master_for("main", socket_timeout=20)
    store = RedisStore(client)
    store.create("run", key="k", owner=None, state=None, lease=30, bounds=BOUNDS)
    watcher = redis.Redis(port=sentinel.port, decode_responses=True)
    watcher.execute_command("SENTINEL", "FAILOVER", "main")
    wait_until(lambda: int(watcher.sentinel_master("main")["port"]) == replica.port)

    def alive() -> bool:
        with contextlib.suppress(StoreUnavailable):
            store.attend("run")
            return True
        return False

    wait_until(alive)
    record = store.stop("run")
    assert record is not None
    assert record.stop
    watcher.close()
    store.close()
    client.close()
