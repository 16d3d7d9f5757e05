"""Answers in several real worker processes on one Redis: followed, stopped, killed, paused, and Redis itself restarted."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

redis = pytest.importorskip("redis")

from tests.chat.replay import FINISHED, STARTED, final, log_of, token, wait_until  # noqa: E402 (after the check)
from tests.deploy.redis_servers import expire_lease  # noqa: E402
from tests.deploy.relay_worker import Followed, Worker  # noqa: E402
from tests.processes.helpers import PromptedChatUI, text_for  # noqa: E402
from tests.services import RedisServer  # noqa: E402

LEASE = 100.0


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One Redis for the tests that do not stop it."""
    with RedisServer() as running:
        yield running


@pytest.fixture
def chat() -> Iterator[PromptedChatUI]:
    """The chat server."""
    with PromptedChatUI() as ui:
        yield ui


@pytest.fixture
def workers(server: RedisServer, chat: PromptedChatUI) -> Iterator[Callable[..., list[Worker]]]:
    """Return a function that starts worker processes."""
    with contextlib.ExitStack() as stack:

        def start(count: int, redis_server: RedisServer = server, **options: Any) -> list[Worker]:
            options = {"lease": LEASE, **options}
            return [stack.enter_context(Worker(redis_server.url, chat.url, **options)) for _ in range(count)]

        yield start


def complete(followed: Followed, prompt: str) -> bool:
    """Whether a follower got the whole answer, each event once and in order."""
    return followed.text == text_for(prompt) and followed.numbers == [*range(followed.numbers[0], followed.numbers[-1] + 1)]


def test_any_worker_follows_from_any_event(workers: Callable[..., list[Worker]], chat: PromptedChatUI) -> None:
    """A run of one worker is followed live in two others, from its start and from its middle; the prompt is sent once."""
    first, second, third = workers(3)
    run = first.start("hold a")
    live, own = second.follow(run), first.follow(run)
    chat.wait_for_prompt("hold a")
    wait_until(lambda: len(live.entries) >= 20)
    middle = live.entries[9][0]
    late = third.follow(run, middle)
    wait_until(lambda: len(late.entries) >= 10)
    assert third.ask("running", key="thread") == {"run": run}
    assert third.ask("start", prompt="count b", key="thread")["error"] == "RunBusy"
    chat.go.set()
    for followed in (live, own, late):
        followed.wait()
    assert (live.end, own.end, late.end) == ("completed",) * 3
    assert complete(live, "hold a")
    assert own.events == live.events
    assert late.entries == live.entries[10:]
    again = third.follow(run, live.entries[-1][0]).wait()
    assert (again.entries, again.end) == ([], "completed")
    assert chat.count("send") == 1
    assert second.ask("running", key="thread") == {"run": None}


def test_a_third_worker_stops_the_run(workers: Callable[..., list[Worker]], chat: PromptedChatUI) -> None:
    """A stop in a worker that neither generates nor follows ends the run everywhere, and on the chat server."""
    first, second, third = workers(3)
    run = first.start("endless c")
    live = second.follow(run)
    wait_until(lambda: len(live.entries) > 3)
    third.ask("stop", run=run)
    live.wait()
    assert (live.end, live.error) == ("interrupted", None)
    wait_until(lambda: chat.stops_for("endless c") != [])
    assert third.ask("get", run=run)["status"] == "interrupted"


def test_a_killed_generator_has_a_clear_end(server: RedisServer, workers: Callable[..., list[Worker]], chat: PromptedChatUI) -> None:
    """Without `recover`, followers of a worker that was killed get an error soon, and the key is free again."""
    first, second = workers(2)
    run = first.start("hold d")
    live = second.follow(run)
    wait_until(lambda: len(live.entries) >= 20)
    first.kill()
    expire_lease(server.url)
    live.wait()
    assert live.error == "RunFailed"
    reply = second.ask("get", run=run)
    assert (reply["status"], reply["problem"]["code"]) == ("failed", "generator-lost")
    assert live.text in text_for("hold d")
    other = second.start("count e")
    assert complete(second.follow(other).wait(), "count e")


def test_a_killed_generator_is_replaced(server: RedisServer, workers: Callable[..., list[Worker]], chat: PromptedChatUI) -> None:
    """With `recover`, another worker continues from the chat server's log: the same text, and one prompt upstream."""
    first, second, third = workers(3, recover=True)
    run = first.start("hold f")
    followed = [second.follow(run), third.follow(run)]
    for one in followed:
        wait_until(lambda one=one: len(one.entries) >= 20)
    words = [word + " " for word in text_for("hold f").split(" ")[:-1]]
    log = log_of(STARTED, *map(token, words), final(text_for("hold f")), FINISHED)
    for answer in chat.chat.answers.values():
        answer.log = log
    first.kill()
    expire_lease(server.url)
    for one in followed:
        one.wait()
        assert (one.error, one.end) == (None, "completed")
        assert complete(one, "hold f")
    assert followed[0].events == followed[1].events
    assert chat.count("send") == 1
    assert second.ask("get", run=run)["status"] == "completed"


def test_a_paused_generator_is_fenced(server: RedisServer, workers: Callable[..., list[Worker]], chat: PromptedChatUI) -> None:
    """A worker that is stopped for longer than its lease, and then continues, writes nothing into the run that another one took."""
    first, second = workers(2)
    run = first.start("hold g")
    live, own = second.follow(run), first.follow(run)
    wait_until(lambda: len(live.entries) >= 20 and len(own.entries) >= 20)
    first.kill(signal.SIGSTOP)
    expire_lease(server.url)
    live.wait()
    assert live.error == "RunFailed"
    last = second.ask("get", run=run)["last"]
    chat.go.set()
    first.kill(signal.SIGCONT)
    own.wait()  # either has it read the rest before its lease was refused, or it got the end of the other one
    assert own.error == "RunFailed" or complete(own, "hold g")
    wait_until(lambda: first.ask("get", run=run)["status"] == "failed")  # it has seen that it lost the run
    reply = second.ask("get", run=run)
    assert (reply["status"], reply["last"]) == ("failed", last)
    again = second.follow(run).wait()
    assert (again.entries, again.error) == (live.entries, "RunFailed")


@pytest.mark.parametrize("persistent", [True, False])
def test_redis_is_killed_in_mid_answer(
    persistent: bool, workers: Callable[..., list[Worker]], chat: PromptedChatUI
) -> None:
    """Redis is killed and started again, with its data or without: all followers get the whole answer, each event once."""
    with RedisServer(persistent=persistent) as server:
        first, second = workers(2, server, lease=60.0)
        run = first.start("hold h")
        live, own = second.follow(run), first.follow(run)
        wait_until(lambda: len(live.entries) >= 20 and len(own.entries) >= 20)
        server.stop(signal.SIGKILL)
        time.sleep(0.3)
        late = first.follow(run)
        wait_until(lambda: len(late.entries) >= 20)  # this process has the answer, without Redis
        assert second.ask("get", run=run)["error"] == "StoreUnavailable"
        assert second.ask("start", prompt="count i", key="other")["error"] == "StoreUnavailable"
        server.start()
        chat.go.set()
        for followed in (live, own, late):
            followed.wait()
            assert (followed.error, followed.end) == (None, "completed")
            assert complete(followed, "hold h")
        wait_until(lambda: second.ask("get", run=run).get("status") == "completed")
        again = second.follow(run).wait()
        assert complete(again, "hold h")
        assert first.ask("running", key="thread") == {"run": None}
        assert chat.count("send") == 1


def test_redis_hangs_in_mid_answer(workers: Callable[..., list[Worker]], chat: PromptedChatUI) -> None:
    """While Redis does not answer, followers in the generating process get the rest; those in others get it afterwards."""
    with RedisServer() as server:
        first, second = workers(2, server, lease=60.0, timeout=3.0)
        run = first.start("hold m")
        live, own = second.follow(run), first.follow(run)
        wait_until(lambda: len(live.entries) >= 20 and len(own.entries) >= 20)
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            chat.go.set()
            own.wait()
            assert complete(own, "hold m")
            assert second.ask("get", run=run)["error"] == "StoreUnavailable"
            assert not live.over
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        live.wait()
        assert (live.error, live.end) == (None, "completed")
        assert complete(live, "hold m")


def test_two_workers_with_two_hundred_followers(server: RedisServer, workers: Callable[..., list[Worker]], chat: PromptedChatUI) -> None:
    """100 followers in each of two workers, of runs of both: flat memory, few threads beside their own, few connections."""
    pair = workers(2)
    plain = redis.Redis(port=server.port)
    others = len(plain.client_list())
    runs = [pair[number % 2].start(f"hold j{number}", key=f"k{number}") for number in range(10)]
    followed = [worker.follow(run) for worker in pair for run in runs for _ in range(10)]
    for one in followed:
        wait_until(lambda one=one: len(one.entries) >= 20)
    before = [worker.ask("info") for worker in pair]
    assert len(plain.client_list()) <= others + 2 * 8
    for _ in range(3):  # readers that come and go
        readers = [worker.follow(run) for worker in pair for run in runs]
        for one in readers:
            wait_until(lambda one=one: len(one.entries) >= 20)
        followed += readers
    chat.go.set()
    for one in followed:
        one.wait()
        assert (one.error, one.end) == (None, "completed")
        assert len(one.text) == len(text_for("hold j0"))
    after = [worker.ask("info") for worker in pair]
    assert chat.count("send") == 10
    assert all(new["rss"] < old["rss"] * 1.3 + 4096 for old, new in zip(before, after, strict=True))
    assert len(plain.client_list()) <= others + 2 * 8
    plain.close()


def test_what_a_killed_worker_leaves_expires(server: RedisServer, workers: Callable[..., list[Worker]], chat: PromptedChatUI) -> None:
    """Every key that a killed worker has written has a time to live."""
    (first,) = workers(1)
    first.start("hold k", key="expiring", idempotency_key="once")
    chat.wait_for_prompt("hold k")
    first.kill()
    plain = redis.Redis(port=server.port)
    assert plain.dbsize() >= 4
    assert [key for key in plain.keys("*") if plain.pttl(key) == -1] == []
    plain.close()


def test_a_shutdown_hands_the_run_over(workers: Callable[..., list[Worker]], chat: PromptedChatUI) -> None:
    """A worker that is shut down in mid-answer gives its lease back: another one continues at once, without waiting for it."""
    first, second = workers(2, recover=True, lease=60.0)
    run = first.start("hold l")
    live = second.follow(run)
    wait_until(lambda: len(live.entries) >= 20)
    words = [word + " " for word in text_for("hold l").split(" ")[:-1]]
    for answer in chat.chat.answers.values():
        answer.log = log_of(STARTED, *map(token, words), final(text_for("hold l")), FINISHED)
    os.kill(first.process.pid, signal.SIGTERM)
    live.wait()
    assert (live.error, live.end) == (None, "completed")
    assert complete(live, "hold l")
    assert chat.count("send") == 1
