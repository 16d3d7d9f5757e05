"""Commands on real Redis servers: each protocol and client of redis-py, a cluster, failures, secrets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

redis = pytest.importorskip("redis")

from hfclient.web.errors import StoreUnavailable  # noqa: E402 (after the check)
from hfclient.web.relay.redis_commands import RedisCommands, Script  # noqa: E402
from tests.deploy.redis_servers import cluster  # noqa: E402
from tests.server import PATIENCE  # noqa: E402
from tests.services import RedisServer, free_port  # noqa: E402

ADD = Script("return redis.call('XADD', KEYS[1], ARGV[1], 'data', ARGV[2])")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One Redis for the tests that do not stop it."""
    with RedisServer() as running:
        yield running


@pytest.fixture(scope="module")
def clustered() -> Iterator[RedisServer]:
    """A cluster of one server."""
    with cluster() as running:
        yield running


def _clients(server: RedisServer, clustered: RedisServer) -> dict[str, Any]:
    return {
        "url": server.url,
        "RESP 2": redis.Redis(port=server.port, protocol=2),
        "RESP 3": redis.Redis(port=server.port, protocol=3),
        "decoding": redis.Redis(port=server.port, decode_responses=True),
        "decoding, RESP 3": redis.Redis(port=server.port, decode_responses=True, protocol=3),
        "cluster": redis.RedisCluster("127.0.0.1", clustered.port),
        "cluster, RESP 3": redis.RedisCluster("127.0.0.1", clustered.port, protocol=3),
    }


def test_every_client_reads_the_same(server: RedisServer, clustered: RedisServer) -> None:
    """Entries are the same with each protocol, with decoding clients and in a cluster."""
    for name, client in _clients(server, clustered).items():
        commands = RedisCommands(client)
        first, second = f"{{{name}}}1", f"{{{name}}}2"
        commands.run(ADD, [first], "1-0", "é")
        commands.run(ADD, [first], "2-0", b"two")
        commands.run(ADD, [second], "7-0", "seven")
        found = commands.read({first: "0-0", second: "0-0"}, 0)
        texts = {key: [(number, fields[b"data"]) for number, fields in entries] for key, entries in found.items()}
        assert texts == {first: [("1-0", "é".encode()), ("2-0", b"two")], second: [("7-0", b"seven")]}, name
        assert commands.read({first: "2-0"}, 0) == {}, name
        assert commands.read({first: "2-0"}, 0.05) == {}, name
        assert list(commands.read({first: "0-0"}, 0, count=1)) == [first], name
        commands.close()
        if not isinstance(client, str):
            client.close()


def test_a_blocked_read_returns_when_an_entry_is_added(server: RedisServer) -> None:
    """The read ends with the entry, not with its time."""
    commands = RedisCommands(server.url)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(commands.read({"blocked": "0-0"}, 30)))
    thread.start()
    time.sleep(0.1)
    commands.run(ADD, ["blocked"], "1-0", "x")
    thread.join(30)
    assert [*found[0]] == ["blocked"]
    commands.close()


def test_a_blocking_read_ends_before_the_clients_own_timeout(server: RedisServer) -> None:
    """A client with a short timeout does not fail while nothing is added."""
    client = redis.Redis(port=server.port, socket_timeout=2.0)
    commands = RedisCommands(client)
    assert commands.longest_wait == pytest.approx(1.0)
    assert commands.read({"quiet": "0-0"}, 30) == {}
    client.close()


def test_keys_of_two_slots_are_refused_by_a_cluster(clustered: RedisServer) -> None:
    """The server of these tests checks slots as a real cluster does."""
    plain = redis.Redis(port=clustered.port)
    with pytest.raises(StoreUnavailable, match=r"CrossSlot|CROSSSLOT"):
        RedisCommands(plain).read({"{a}": "0-0", "{b}": "0-0"}, 0)
    plain.close()


def test_failures_are_store_unavailable(server: RedisServer) -> None:
    """A server that is down, loads nothing, refuses the login or has no memory left: one exception, with the address."""
    nowhere = RedisCommands(f"redis://127.0.0.1:{free_port()}/0", timeout=1)
    with pytest.raises(StoreUnavailable, match=r"Redis at 127\.0\.0\.1:\d+ .*ConnectionError"):
        nowhere.run(ADD, ["x"], "1-0", "x")
    login = RedisCommands(f"redis://user:pass-word@127.0.0.1:{server.port}/0")
    with pytest.raises(StoreUnavailable) as caught:
        login.run(ADD, ["x"], "1-0", "x")
    assert "pass-word" not in str(caught.value) + repr(caught.value) + repr(login) + str(caught.value.__cause__)
    with RedisServer("--maxmemory", "1mb", "--maxmemory-policy", "noeviction") as full:
        commands = RedisCommands(full.url)
        with pytest.raises(StoreUnavailable, match=r"OutOfMemory|OOM"):
            _fill(commands)
        commands.close()
    with RedisServer("--replicaof", "127.0.0.1", str(server.port)) as replica:
        commands = RedisCommands(replica.url)
        with pytest.raises(StoreUnavailable, match=r"ReadOnly|MASTERDOWN|Loading"):
            commands.run(ADD, ["y"], "1-0", "x")
        commands.close()
    for commands in (nowhere, login):
        commands.close()


def _fill(commands: RedisCommands) -> None:
    for number in range(1, 500):
        commands.run(ADD, ["x"], f"{number}-0", "x" * 20_000)


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    """A stopped server process, which still accepts connections, ends in a timeout."""
    with RedisServer() as server:
        patient, commands = RedisCommands(server.url, timeout=PATIENCE), RedisCommands(server.url, timeout=0.5)
        patient.run(ADD, ["x"], "1-0", "x")
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable, match="Timeout"):
                commands.run(ADD, ["x"], "2-0", "x")
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        commands.close()
        patient.close()


def test_a_restarted_server_needs_no_attention() -> None:
    """Scripts are loaded again and idle connections replaced."""
    with RedisServer() as server:
        commands = RedisCommands(server.url)
        commands.run(ADD, ["x"], "1-0", "x")
        server.stop(signal.SIGKILL)
        server.start()
        commands.run(ADD, ["x"], "1-0", "x")
        commands.close()


def test_connections_are_bounded(server: RedisServer) -> None:
    """Many threads share a few connections; the answer to "all in use" names the option."""
    watcher = redis.Redis(port=server.port)
    open_before = len(watcher.client_list()) - 1
    pool = redis.BlockingConnectionPool(port=server.port, max_connections=3, timeout=PATIENCE, socket_timeout=PATIENCE)
    commands = RedisCommands(redis.Redis(connection_pool=pool))
    threads = [threading.Thread(target=commands.run, args=(ADD, [f"k{number}"], "1-0", "x")) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(watcher.client_list()) <= 1 + 3 + open_before
    blocked = [threading.Thread(target=commands.read, args=({f"b{number}": "0-0"}, 10)) for number in range(3)]
    for thread in blocked:
        thread.start()
    while sum("xread" in client["cmd"] for client in watcher.client_list()) < 3:
        time.sleep(0.02)
    pool.timeout = 0.1
    with pytest.raises(StoreUnavailable, match="`connections`"):
        commands.run(ADD, ["k"], "2-0", "x")
    for number in range(3):
        watcher.xadd(f"b{number}", {"data": "x"})
    for thread in blocked:
        thread.join()
    watcher.close()
    pool.disconnect()


def test_a_fork_has_connections_of_its_own(server: RedisServer) -> None:
    """Parent and child use the same object at the same time, and each gets its own answers."""
    code = f"""
import os, sys
from hfclient.web.relay.redis_commands import RedisCommands, Script
commands = RedisCommands({server.url!r})
echo = Script("return ARGV[1]")
assert commands.run(echo, ["a"], "before") == b"before"
child = os.fork()
name = "child" if child == 0 else "parent"
wrong = [1 for number in range(300) if commands.run(echo, ["a"], f"{{name}}{{number}}") != f"{{name}}{{number}}".encode()]
if child == 0:
    os._exit(len(wrong))
assert not wrong and os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("url", ["redis://:hush/hush@127.0.0.1:1/0", "http://127.0.0.1/hush", "redis://127.0.0.1:hush/0"])
def test_a_url_that_cannot_be_used_is_not_repeated(url: str) -> None:
    """The error says what is wrong without any part of the URL, which may hold a password."""
    with pytest.raises(ValueError, match="RedisStore cannot use this URL") as caught:
        RedisCommands(url)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_other_clients_are_refused() -> None:
    """An asynchronous client, or any other object, is a TypeError that names what is needed."""
    import redis.asyncio

    with pytest.raises(TypeError, match=r"needs a URL, a redis\.Redis or a redis\.RedisCluster, not Redis"):
        RedisCommands(redis.asyncio.Redis())
