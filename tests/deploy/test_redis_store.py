"""`RedisStore` on real servers: keys that expire, clusters, lost data, one connection for all followers."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

redis = pytest.importorskip("redis")

from hfclient.web.errors import StoreUnavailable  # noqa: E402 (after the check)
from hfclient.web.relay.redis_store import RedisStore  # noqa: E402
from hfclient.web.relay.store import Batch, Bounds, Write  # noqa: E402
from tests.chat.replay import wait_until  # noqa: E402
from tests.deploy.redis_servers import cluster  # noqa: E402
from tests.services import RedisServer  # noqa: E402

BOUNDS = Bounds(ttl=60, keep=60, max_events=1000, max_bytes=100_000)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One Redis for the tests that do not stop it."""
    with RedisServer() as running:
        yield running


@pytest.fixture
def open_store() -> Iterator[Callable[..., RedisStore]]:
    """Return a function that opens a store; all are closed at the end."""
    with contextlib.ExitStack() as stack:

        def opened(*args: Any, **options: Any) -> RedisStore:
            store = RedisStore(*args, **options)
            stack.callback(store.close)
            return store

        yield opened


def create(store: RedisStore, run_id: str, **options: Any) -> Any:
    return store.create(run_id, **{"key": "k", "owner": None, "state": None, "lease": 30, "bounds": BOUNDS, **options})


def batch(number: int, count: int = 1, size: int = 5) -> Batch:
    return Batch(number, count, bytes(number % 256 for _ in range(size)))


def write(store: RedisStore, run_id: str, *batches: Batch, fence: int = 1, lease: float = 30, **fields: Any) -> Any:
    [record] = store.write([Write(run_id=run_id, fence=fence, batches=batches, lease=lease, **fields)], fields.pop("bounds", BOUNDS))
    return record


def follow(store: RedisStore, run_id: str) -> list[Batch | None]:
    """Watch a run of another store; return what comes once the reading has begun (then there is a first None)."""
    news: list[Batch | None] = []
    store.watch(run_id, news.append)
    wait_until(lambda: None in news)
    return news


def new_id() -> str:
    return f"r{random.randrange(10**12)}"


def test_every_key_expires_from_its_first_write(server: RedisServer, open_store: Callable[..., RedisStore]) -> None:
    """After each kind of operation, each key of the store has a time to live."""
    store, plain = open_store(server.url, "expiring"), redis.Redis(port=server.port)
    run_id = new_id()

    def lasting() -> list[bytes]:
        return [key for key in plain.keys("*expiring*") if plain.pttl(key) == -1]  # -2: expired meanwhile

    for step in (
        lambda: create(store, run_id, state=b"s", owner="o"),
        lambda: store.stop(run_id),  # before the log exists
        lambda: write(store, run_id, batch(1), status="running"),
        lambda: store.attend(run_id),
        lambda: store.join("key", run_id, limit=3, ttl=5),
        lambda: store.claim("name", run_id, ttl=5),
        lambda: open_store(server.url, "expiring").stop(run_id),
        lambda: write(store, run_id, lease=0),
        lambda: open_store(server.url, "expiring").take_over(run_id, lease=5),
        lambda: write(store, run_id, batch(2), fence=2, status="completed", end=b"{}"),
    ):
        step()
        assert lasting() == []
    assert len(plain.keys("*expiring*")) >= 6
    plain.close()


def test_what_a_dead_process_leaves_disappears(server: RedisServer, open_store: Callable[..., RedisStore]) -> None:
    """The log goes after the time to live, the tombstone after its own; then nothing of the run is left."""
    store, plain = open_store(server.url, "leaving"), redis.Redis(port=server.port)

    def written(keep: float) -> str:
        run_id = new_id()
        create(store, run_id, state=b"s")
        store.write([Write(run_id=run_id, fence=1, batches=[batch(1)], lease=1)], Bounds(ttl=0.2, keep=keep, max_events=10, max_bytes=1000))
        return run_id

    run_id = written(60)
    wait_until(lambda: store.get(run_id).gone)
    record, batches = store.read(run_id, 0, 1000) or (None, None)
    assert (record.status, record.state, record.first, record.last, batches) == ("queued", None, 2, 1, [])
    forgotten = written(0.4)
    wait_until(lambda: store.get(forgotten) is None)
    wait_until(lambda: plain.keys("*leaving*" + forgotten) == [])
    plain.close()


def test_followers_share_one_connection(server: RedisServer, open_store: Callable[..., RedisStore]) -> None:
    """200 watches of 100 runs in one process: one waiting connection, and each gets all batches in order."""
    writer, follower, plain = open_store(server.url), open_store(server.url), redis.Redis(port=server.port)
    before = len(plain.client_list())
    runs = [new_id() for _ in range(100)]
    seen: dict[int, list[int]] = {number: [] for number in range(200)}
    for run_id in runs:
        create(writer, run_id)
    watches = [follower.watch(runs[number % 100], lambda news, got=seen[number]: got.append(news.first if news else 0)) for number in range(200)]
    wait_until(lambda: all(seen[number] for number in range(100)))  # the reading of each run has begun
    for number in range(1, 21):
        writer.write([Write(run_id=run_id, fence=1, batches=[batch(number)], lease=30) for run_id in runs], BOUNDS)
    wait_until(lambda: all(got[-1:] == [20] for got in seen.values()))
    assert all([number for number in got if number] == [*range(1, 21)] for got in seen.values())
    assert len([client for client in plain.client_list() if client["cmd"] == "xread"]) == 1
    assert len(plain.client_list()) <= before + 4
    for watch in watches:
        watch.close()
    plain.close()


def test_a_stop_reaches_the_generating_process(server: RedisServer, open_store: Callable[..., RedisStore]) -> None:
    """The holder of a run does not read its log, and is notified of a stop by another process, and of its own."""
    holder, other = open_store(server.url), open_store(server.url)
    run_id, news = new_id(), []
    create(holder, run_id)
    holder.watch(run_id, news.append)
    write(holder, run_id, batch(1), status="running")
    assert news == [batch(1), None]
    other.watch(run_id, lambda _: None)
    other.stop(run_id)
    wait_until(lambda: len(news) == 3)
    assert holder.get(run_id).stop
    other.stop(run_id)  # again, in case the first signal was lost
    wait_until(lambda: len(news) == 4)
    holder.stop(run_id)
    wait_until(lambda: len(news) == 5)
    assert news[2:] == [None] * 3


def test_a_holder_that_lost_the_run_follows_it(server: RedisServer, open_store: Callable[..., RedisStore]) -> None:
    """After another store has taken the run over, the watches of the first one get the batches of the second."""
    first, second = open_store(server.url), open_store(server.url)
    run_id, news = new_id(), []
    create(first, run_id, lease=0.01)
    first.watch(run_id, news.append)
    wait_until(lambda: first.get(run_id).lease_left == 0)
    taken = second.take_over(run_id, lease=30)
    assert (taken.fence, second.take_over(run_id, lease=30)) == (2, None)
    refused = write(first, run_id, batch(1), status="running")
    assert (refused.fence, refused.last, refused.status) == (2, 0, "queued")
    wait_until(lambda: None in news)
    write(second, run_id, batch(1), fence=2, status="running")
    wait_until(lambda: batch(1) in news)


@pytest.mark.parametrize("persistent", [True, False])
def test_a_restart_of_redis(persistent: bool, open_store: Callable[..., RedisStore]) -> None:
    """Watches are notified when Redis is back; a run that it lost is unknown, and can be created again where it was."""
    with RedisServer(persistent=persistent) as server:
        writer, follower = open_store(server.url, timeout=2), open_store(server.url, timeout=2)
        run_id, own = new_id(), []
        create(writer, run_id)
        writer.watch(run_id, own.append)
        news = follow(follower, run_id)
        write(writer, run_id, batch(1, 5), status="running")
        wait_until(lambda: batch(1, 5) in news)
        server.stop(signal.SIGKILL)
        with pytest.raises(StoreUnavailable):
            write(writer, run_id, batch(6))
        del news[:], own[:]
        server.start()
        wait_until(lambda: None in news and None in own)
        record = write(writer, run_id, batch(6))
        if persistent:
            assert (record.first, record.last, record.status) == (1, 6, "running")
        else:
            assert record is None
            restored = create(writer, run_id, fence=1, last=5)
            assert (restored.first, restored.last) == (6, 5)
            assert write(writer, run_id, batch(6), status="running").last == 6
        wait_until(lambda: batch(6) in news)
        write(writer, run_id, status="completed", end=b"e")
        wait_until(lambda: follower.get(run_id).ended)
        wait_until(lambda: news[-1] is None)


@pytest.mark.parametrize("given", ["url", "client"])
def test_a_lost_connection_is_noticed(given: str, server: RedisServer, open_store: Callable[..., RedisStore]) -> None:
    """A follower whose connection is replaced at once looks anew: behind it may be older data, where its position is ahead."""
    plain = redis.Redis(port=server.port)
    client = redis.Redis(port=server.port, client_name="follower")
    follower = open_store(f"{server.url}?client_name=follower" if given == "url" else client, "replaced")
    writer, run_id = open_store(server.url, "replaced"), new_id()
    create(writer, run_id)
    news = follow(follower, run_id)
    for _ in range(3):
        del news[:]
        write(writer, run_id, status="running")
        wait_until(lambda: None in news)
    wait_until(lambda: len(reading(plain)) == 1)
    plain.delete(*plain.keys("*replaced*" + run_id))
    create(writer, run_id)
    write(writer, run_id, status="completed", end=b"e")  # an earlier position than that of the third change
    del news[:]
    plain.client_kill_filter(_id=reading(plain)[0])
    wait_until(lambda: None in news)
    assert follower.get(run_id).ended
    client.close()
    plain.close()


def reading(plain: Any) -> list[str]:
    """Return the ids of the connections named "follower" that wait for entries."""
    return [each["id"] for each in plain.client_list() if each["name"] == "follower" and each["cmd"] == "xread"]


def test_many_slots_of_one_server(server: RedisServer, open_store: Callable[..., RedisStore]) -> None:
    """Each group of keys has a waiting connection, however many there are: none waits for that of another."""
    store, follower = (open_store(server.url, "slots", slots=8, timeout=1) for _ in range(2))
    runs = [new_id() for _ in range(40)]
    for run_id in runs:
        create(store, run_id)
    seen = [follow(follower, run_id) for run_id in runs]
    plain = redis.Redis(port=server.port)
    wait_until(lambda: len([each for each in plain.client_list() if each["cmd"] == "xread"]) >= len({store._slot(run_id) for run_id in runs}))
    store.write([Write(run_id=run_id, fence=1, batches=[batch(1)], lease=9) for run_id in runs], BOUNDS)
    wait_until(lambda: all(batch(1) in news for news in seen))
    plain.close()


def test_keys_of_a_cluster(open_store: Callable[..., RedisStore]) -> None:
    """All operations work in a cluster, whose server refuses scripts and reads of two slots; any text is a key."""
    with cluster() as server:
        client = redis.RedisCluster("127.0.0.1", server.port)
        for store in (open_store(client, "pre:fix"), open_store(client, "one", slots=1), open_store(client, "many", slots=64)):
            news: list[Any] = []
            runs = [new_id() for _ in range(20)]
            for run_id in runs:
                create(store, run_id, key="{a}b", owner="{c}", state=b"\0\xff")
                store.watch(run_id, news.append)
                store.join("{a}b", run_id, limit=100, ttl=9)
                assert store.claim("{}" + run_id, run_id, ttl=9) == run_id
            records = store.write([Write(run_id=run_id, fence=1, batches=[batch(1)], lease=9, status="running") for run_id in runs], BOUNDS)
            assert [record.id for record in records] == runs
            assert store.queue("{a}b") == tuple(runs)
            assert store.active()[-20:] == runs
            record, batches = store.read(runs[0], 0, 1000)
            assert (record.key, record.owner, record.state, batches) == ("{a}b", "{c}", b"\0\xff", [batch(1)])
            wait_until(lambda news=news: news.count(batch(1)) == 20)
            other = open_store(client, store._prefix, slots=store._slots)
            seen = [follow(other, run_id) for run_id in runs]
            del news[:]
            for run_id in runs:
                other.stop(run_id)
            wait_until(lambda news=news: len(news) >= 20)
            store.write([Write(run_id=run_id, fence=1, batches=[batch(2)], lease=0, status="completed") for run_id in runs], BOUNDS)
            wait_until(lambda seen=seen: all(batch(2) in got for got in seen))
            assert store.active() == []
            store.close()
            other.close()
        client.close()


def test_a_full_server(open_store: Callable[..., RedisStore]) -> None:
    """Without memory left Redis refuses writes: StoreUnavailable, and what it has can be read."""
    with RedisServer("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server:
        store = open_store(server.url)
        run_id, bounds = new_id(), Bounds(ttl=60, keep=60, max_events=10**6, max_bytes=10**9)
        create(store, run_id)
        writes = [[Write(run_id=run_id, fence=1, batches=[batch(number, size=20_000)], lease=9)] for number in range(1, 300)]
        with pytest.raises(StoreUnavailable, match="OutOfMemory"):
            all(store.write(write, bounds) for write in writes)
        record, batches = store.read(run_id, 0, 50_000)
        assert record.last > 20
        assert [item.first for item in batches] == [1, 2]


def test_an_evicted_log_is_a_trimmed_log(server: RedisServer, open_store: Callable[..., RedisStore]) -> None:
    """A server that evicts keys may remove the log and keep the record: the events are gone, and the run continues."""
    store, plain = open_store(server.url, "evicted"), redis.Redis(port=server.port)
    run_id = new_id()
    create(store, run_id)
    write(store, run_id, batch(1, 3), status="running")
    plain.delete(*plain.keys("*evicted*log*"))
    record, batches = store.read(run_id, 0, 1000)
    assert (record.first, record.last, batches) == (4, 3, [])
    record = write(store, run_id, batch(4, 2))
    assert (record.first, record.last) == (4, 5)
    plain.close()


def test_a_decoding_client_gets_any_bytes(server: RedisServer, open_store: Callable[..., RedisStore]) -> None:
    """Bytes that are not text arrive unchanged through a client that decodes, with RESP 2 and RESP 3."""
    for protocol in (2, 3):
        client = redis.Redis(port=server.port, decode_responses=True, protocol=protocol)
        store, other = open_store(client), open_store(client)
        run_id = new_id()
        create(store, run_id, state=b"\xff", owner="é", key="\ud800")
        news = follow(other, run_id)
        write(store, run_id, Batch(1, 1, b"\xff\0"), status="running")
        wait_until(lambda news=news: Batch(1, 1, b"\xff\0") in news)
        record, batches = other.read(run_id, 0, 99)
        assert (record.state, record.owner, record.key, batches) == (b"\xff", "é", "\ud800", [Batch(1, 1, b"\xff\0")])
        for opened in (store, other):
            opened.close()
        client.close()


def test_a_fork_has_a_store_of_its_own(server: RedisServer) -> None:
    """A child watches and writes with the store of its parent, while the parent does, and does not hold the parent's runs."""
    code = f"""
import os, threading
from hfclient.web.relay.redis_store import RedisStore
from hfclient.web.relay.store import Batch, Bounds, Write
store, bounds = RedisStore({server.url!r}, "forked"), Bounds(ttl=60, keep=60, max_events=100, max_bytes=1000)
store.create("parents", key="k", owner=None, state=None, lease=30, bounds=bounds)
came = threading.Event()
store.watch("parents", lambda batch: came.set() if batch is None or batch.first == 1 else None)
child = os.fork()
if child == 0:
    begun, done = threading.Event(), threading.Event()
    store.watch("parents", lambda batch: done.set() if batch == Batch(1, 1, b"x") else begun.set())
    begun.wait(30)
    store.stop("parents")
    os._exit(0 if done.wait(30) else 1)
assert came.wait(30)
import time
end = time.monotonic() + 60
while not store.get("parents").stop:
    assert time.monotonic() < end
    time.sleep(0.02)
store.write([Write(run_id="parents", fence=1, batches=[Batch(1, 1, b"x")], lease=30)], bounds)
assert os.waitpid(child, 0)[1] == 0
store.close()
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], check=True, timeout=100)


def test_gevent(server: RedisServer) -> None:
    """In a process that gevent has patched, followers are greenlets, and the blocked read does not block them."""
    pytest.importorskip("gevent")
    code = f"""
from gevent import monkey; monkey.patch_all()
import gevent, time
from hfclient.events import Token
from hfclient.web import Relay, RedisStore
class Source:
    def ticks(self, seconds):
        for number in range(50):
            time.sleep(0.01)
            yield Token(str(number))
    def close(self): pass
stores = [RedisStore({server.url!r}, "green") for _ in range(2)]
first, second = map(Relay, stores)
runs = [first.start(number, Source) for number in range(5)]
beats = []
beat = gevent.spawn(lambda: [(time.sleep(0.01), beats.append(1)) for _ in range(1000)])
followers = [gevent.spawn(lambda run=run: [e.event.text for e in second.follow(run.id)]) for run in runs for _ in range(20)]
gevent.joinall(followers, timeout=60)
assert all(f.value == [str(number) for number in range(50)] for f in followers), [f.value for f in followers]
assert len(beats) > 10
beat.kill()
for relay, store in zip((first, second), stores):
    relay.close(5)
    store.close()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=90)


def test_a_failing_watch_does_not_harm_others(server: RedisServer, open_store: Callable[..., RedisStore]) -> None:
    """An exception of a callback is logged, and the other callbacks are called."""
    store, other = open_store(server.url), open_store(server.url)
    run_id = new_id()
    create(store, run_id)

    def fail(_: object) -> None:
        raise RuntimeError("a callback")

    other.watch(run_id, fail)
    news = follow(other, run_id)
    write(store, run_id, batch(1))
    wait_until(lambda: batch(1) in news)


def test_close_ends_the_thread(server: RedisServer) -> None:
    """After close there is no thread and no connection, and every call raises."""
    store, plain = RedisStore(server.url), redis.Redis(port=server.port)
    before = len(plain.client_list())
    watch = store.watch("any", lambda _: None)
    wait_until(lambda: any(client["cmd"] == "xread" for client in plain.client_list()))
    store.close()
    store.close()
    watch.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "hfclient-redis"]
    wait_until(lambda: len(plain.client_list()) <= before)
    for call in (lambda: store.get("x"), lambda: store.watch("x", print), store.active, lambda: store.write([], BOUNDS)):
        with pytest.raises(StoreUnavailable, match="closed"):
            call()
    plain.close()


@pytest.mark.parametrize(("options", "message"), [({"prefix": "a{b}"}, "braces"), ({"prefix": ""}, "braces"), ({"slots": 0}, "slots")])
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """A prefix that would select a slot of its own is refused before anything is sent."""
    with pytest.raises(ValueError, match=message):
        RedisStore("redis://127.0.0.1:1/0", **options)


def test_no_secret_is_shown() -> None:
    """The password of the URL is in neither the representation nor an error."""
    store = RedisStore("redis://user:pass-word@127.0.0.1:1/0", timeout=1)
    assert repr(store) == "<RedisStore 127.0.0.1:1 prefix='hfclient'>"
    with pytest.raises(StoreUnavailable) as caught:
        store.get("x")
    assert "pass-word" not in f"{caught.value!r} {caught.value.__cause__!r}"
    store.close()
