"""Limits in a real Redis, shared by several processes."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hfclient.events import Token, Usage
from hfclient.web import Guard
from hfclient.web.errors import LimitExceeded, StoreUnavailable
from tests.processes.helpers import Script, in_child, needs_fork, run_script, succeeded
from tests.services import RedisServer
from tests.web.test_guard import Answer, read, used

pytest.importorskip("limits")
redis = pytest.importorskip("redis")

HITS = """
import redis
from concurrent.futures import ThreadPoolExecutor
from hfclient.web import Guard
from hfclient.web.errors import LimitExceeded

guard = Guard({url}, requests="25/day", total={"tokens": "1000000/day"})
with redis.Redis.from_url({url}) as start:
    print("ready", flush=True)
    start.blpop("start", 30)

def one(_):
    try:
        with guard.admit("ann") as admission:
            admission.count(tokens=7)
        return True
    except LimitExceeded:
        return False

with ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(one, range(20))))
"""


def test_processes_share_the_limits(redis_server: RedisServer) -> None:
    """Four processes with eight threads each ask for eighty requests at once: exactly the limit passes, exactly its use counts."""
    with contextlib.ExitStack() as stack:
        scripts = [stack.enter_context(Script(HITS, url=redis_server.url)) for _ in range(4)]
        assert [script.line() for script in scripts] == ["ready"] * 4
        with contextlib.closing(redis.Redis.from_url(redis_server.url)) as client:
            client.rpush("start", 1, 2, 3, 4)
        results = [script.end() for script in scripts]
    assert [status for status, _, _ in results] == [0] * 4, results
    assert sum(int(out) for _, out, _ in results) == 25
    guard = Guard(redis_server.url, requests="25/day", total={"tokens": "1000000/day"})
    assert used(guard) == {"user requests": 25, "total tokens": 175}


@needs_fork
def test_forked_workers(redis_server: RedisServer) -> None:
    """A guard that was used before the fork, as with --preload, counts in both processes."""
    guard = Guard(redis_server.url, requests="3/day")
    read(guard, Token("a"))
    children = [in_child(lambda: read(guard, Token("a"))) for _ in range(2)]
    assert succeeded(*children)
    with pytest.raises(LimitExceeded):
        read(guard, Token("a"))


def test_a_killed_worker(redis_server: RedisServer) -> None:
    """The reservation of a worker that is killed in mid-answer remains counted."""
    code = """
from hfclient.web import Guard
from hfclient.events import Token
from tests.web.test_guard import Answer
guard = Guard({url}, tokens="5000/day")
stream = iter(guard.watch(lambda: Answer(Token("a")), user="ann"))
next(stream)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run_script(code, url=redis_server.url)[0] == -signal.SIGKILL
    assert used(Guard(redis_server.url, tokens="5000/day")) == {"user tokens": 1000}


def test_keys_in_redis(redis_server: RedisServer) -> None:
    """All keys expire, are short, and hold one value each, so that a cluster can spread them."""
    guard = Guard(redis_server.url, requests="5/minute; 9/day", tokens="5000/day", total={"requests": "9/hour"}, prefix="shop")
    for user in range(3):
        read(guard, Token("a"), user=f"user {user} " + "x" * 5000)
    with contextlib.closing(redis.Redis.from_url(redis_server.url)) as client:
        keys = client.keys()
        assert len(keys) == 10
        assert all(b"shop" in key and len(key) < 100 for key in keys)
        assert all(0 < client.ttl(key) <= 86_400 for key in keys)
        guard.reset("user 1 " + "x" * 5000)
        assert len(client.keys()) == 7


def test_redis_restarts(redis_server: RedisServer) -> None:
    """While Redis is down requests are admitted uncounted, or refused; afterwards they count again, without a new guard."""
    open_guard = Guard(redis_server.url, requests="2/day", tokens="9000/day")
    closed_guard = Guard(redis_server.url, requests="2/day", tokens="9000/day", on_store_error="refuse")
    during = iter(open_guard.watch(lambda: Answer(Token("a"), Usage(1, 1, 2)), user="ann"))
    next(during)
    closed_guard.admit("bob").close()
    redis_server.stop(signal.SIGKILL)
    assert list(during) == [Usage(1, 1, 2)]
    for _ in range(3):
        read(open_guard, Token("a"))
        with pytest.raises(StoreUnavailable):
            closed_guard.admit("bob")
    redis_server.start()
    for guard in (open_guard, closed_guard):
        guard.store._down_until = 0.0
        assert guard.admit("ann").counted
    with pytest.raises(LimitExceeded):
        open_guard.admit("ann")


def test_a_restart_between_two_requests(redis_server: RedisServer) -> None:
    """A connection that Redis closed while it was idle is opened again, and the request is counted once."""
    guard = Guard(redis_server.url, requests="9/day", on_store_error="refuse")
    guard.admit("ann").close()
    redis_server.stop()
    redis_server.start()
    guard.admit("ann").close()
    assert used(guard) == {"user requests": 1}


def test_a_counter_that_was_lost(redis_server: RedisServer) -> None:
    """A correction after Redis has lost its data does not leave a negative counter, which would be a gift."""
    guard = Guard(redis_server.url, tokens="5000/day")
    admission = guard.admit("ann")
    with contextlib.closing(redis.Redis.from_url(redis_server.url)) as client:
        client.flushall()
    admission.close()
    assert used(guard) == {"user tokens": 0}


def test_a_full_redis(redis_server: RedisServer) -> None:
    """A Redis that refuses to write is a store that is down."""
    guard = Guard(redis_server.url, requests="5/day", on_store_error="refuse")
    with contextlib.closing(redis.Redis.from_url(redis_server.url)) as client:
        client.config_set("maxmemory", "1")
    with pytest.raises(StoreUnavailable):
        guard.admit("ann")


def test_a_redis_that_does_not_answer() -> None:
    """A connection that accepts and is silent costs one wait of two seconds, and the requests of the next second none."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        guard = Guard(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", requests="5/day", tokens="5000/day")
        assert not guard.admit("ann").counted
        assert not guard.admit("ann").counted
        silent.settimeout(5)
        accepted = [silent.accept()[0]]
        silent.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            accepted.append(silent.accept()[0])
        for connection in accepted:
            connection.close()
    assert len(accepted) == 1


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import gevent
from gevent.pool import Pool
from hfclient.web import Guard
from hfclient.web.errors import LimitExceeded

guard = Guard({url}, requests="50/day", tokens="1000000/day", on_store_error="refuse")

def one(_):
    try:
        admission = guard.admit("ann")
    except LimitExceeded:
        return 0
    gevent.sleep(0.01)
    admission.close()
    return 1

print(sum(Pool(300).imap_unordered(one, range(300))), [left.used for left in guard.usage("ann")])
"""


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_three_hundred_greenlets(store: str, redis_server: RedisServer) -> None:
    """Three hundred greenlets at once use a few connections: more than the pool of redis-py has would look like a store that is down."""
    pytest.importorskip("gevent")
    done = run_script(GREENLETS, url=redis_server.url if store == "redis" else "memory://")
    assert done[:2] == (0, "50 [50, 0]\n"), done
    assert "does not answer" not in done[2]


def test_two_hundred_threads(redis_server: RedisServer) -> None:
    """So do two hundred threads."""
    guard = Guard(redis_server.url, requests="50/day", on_store_error="refuse")
    barrier = threading.Barrier(200)

    def admit(_: int) -> bool:
        barrier.wait()
        try:
            guard.admit("ann").close()
        except LimitExceeded:
            return False
        return True

    with ThreadPoolExecutor(200) as pool:
        assert sum(pool.map(admit, range(200))) == 50
