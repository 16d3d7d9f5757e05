"""`Relay` with runs of one process: starting, following, keys, rights, stopping, bounds."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from hfclient import Client, Reply, errors, events
from hfclient.web import sse
from hfclient.web.errors import InvalidRequest, RunBusy, RunFailed, RunGone, RunNotFound, TooManyRuns
from hfclient.web.relay import MemoryStore, Relay, Run, registration
from tests.chat.replay import wait_until
from tests.clock import FakeTime
from tests.processes.helpers import PromptedChatUI, text_for
from tests.server import PATIENCE
from tests.web.relay_sources import Scripted, numbers, read, take, texts


@pytest.fixture
def relay() -> Iterator[Relay]:
    relay = Relay()
    yield relay
    relay.close(0)


@pytest.fixture
def ui() -> Iterator[PromptedChatUI]:
    with PromptedChatUI() as ui:
        yield ui


@pytest.fixture
def client(ui: PromptedChatUI) -> Iterator[Client]:
    with Client(ui.url, token="", cookies={"hf-chat": "c"}) as client:
        yield client


def ended(relay: Relay, run_id: str, **options: Any) -> Run:
    """Wait until the run has ended in the store."""
    wait_until(lambda: run_id not in relay.writer.generations)
    return relay.get(run_id, **options)


# Following


def test_an_answer_outlives_its_request(relay: Relay, ui: PromptedChatUI, client: Client) -> None:
    """A run is read to its end without a follower, and followed from any event, while it runs and afterwards."""
    run = relay.start("thread", lambda: client.chat("hold one"))
    assert run.status == "running"
    ui.wait_for_prompt("hold one")
    follower = relay.follow(run.id)
    first = take(follower, 10)
    follower.close()
    ui.go.set()
    rest = read(relay, run.id, first[-1].id)
    assert numbers(first + rest) == list(range(1, len(first + rest) + 1))
    assert texts(first + rest) == text_for("hold one")
    assert ended(relay, run.id).status == "completed"
    assert read(relay, run.id) == first + rest
    assert read(relay, run.id, first[3].id) == (first + rest)[4:]
    assert read(relay, run.id, rest[-1].id) == []
    assert ui.count("send") == 1


def test_followers_of_one_run_get_the_same(relay: Relay) -> None:
    """Any number of followers at any position get the same events."""
    source = Scripted(*"abcdef")
    run = relay.start("k", source.open)
    results: list[Any] = [None] * 20

    def follow(index: int) -> None:
        results[index] = read(relay, run.id, f"{run.id}:{index % 5}")

    threads = [threading.Thread(target=follow, args=(index,)) for index in range(20)]
    for thread in threads:
        thread.start()
    source.send(*"ghij", None)
    for thread in threads:
        thread.join(PATIENCE)
    assert [texts(result) for result in results] == ["abcdefghij"[index % 5 :] for index in range(20)]
    assert source.opened == 1


def test_events_come_at_once(relay: Relay) -> None:
    """A follower in the same process gets an event before it is written: without the store."""
    source = Scripted()
    relay = Relay(coalesce=3600.0)
    run = relay.start("k", source.open)
    wait_until(lambda: (record := relay.store.get(run.id)) is not None and record.status == "running")  # that is written at once
    follower = relay.follow(run.id)
    for text in ("a", "b", "c"):
        source.send(text)
        assert texts(take(follower, 1)) == text
    record = relay.store.get(run.id)
    assert record is not None
    assert record.last == 0
    source.send(None)
    assert list(follower) == []
    relay.close(PATIENCE)
    record = relay.store.get(run.id)
    assert record is not None
    assert (record.last, record.status) == (3, "completed")


def test_ticks_of_a_follower(relay: Relay) -> None:
    """None comes each time that nothing has come, and no event is lost."""
    source = Scripted("a")
    run = relay.start("k", source.open)
    ticks = relay.follow(run.id).ticks(0.02)
    assert texts([next(entry for entry in ticks if entry is not None)]) == "a"  # perhaps not in the first 0.02 seconds
    assert [next(ticks) for _ in range(2)] == [None, None]
    source.send("b", None)
    assert texts([entry for entry in ticks if entry is not None]) == "b"


def test_a_body_reads_a_follower(relay: Relay) -> None:
    """The body of a response has the ids of the events, and the end of the run."""
    source = Scripted("Hello ", "world")
    run = relay.start("k", source.open)
    source.send(None)
    body = b"".join(sse(relay.follow(run.id))).decode()
    assert f"id: {run.id}:1\n" in body
    assert f"id: {run.id}:2\n" in body
    assert body.rstrip().endswith('{"status":"completed"}') or '"completed"' in body.rsplit("event: end", 1)[1]
    again = b"".join(sse(relay.follow(run.id, f"{run.id}:2"))).decode()
    assert "Token" not in again
    assert "event: end" in again


def test_a_follower_is_closed_from_another_thread(relay: Relay) -> None:
    """close() ends a reader that waits; the run continues."""
    source = Scripted()
    run = relay.start("k", source.open)
    follower = relay.follow(run.id)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(follower))
    thread.start()
    wait_until(lambda: relay.writer.generations[run.id].log.waiting)
    follower.close()
    follower.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    source.send("a", None)
    assert texts(read(relay, run.id)) == "a"
    assert found == []


@pytest.mark.parametrize("after", [None, "", " ", "{id}:0"])
def test_from_the_start(relay: Relay, after: str | None) -> None:
    """None, an empty id and number 0 give the answer from its start."""
    run = relay.start("k", Scripted("a", "b", None).open)
    assert texts(read(relay, run.id, after and after.format(id=run.id))) == "ab"


@pytest.mark.parametrize(
    "after",
    ["-1", "1", "x", "null", "undefined", "{id}", "{id}:", "{id}:-1", "{id}:1.5", "{id}:1e3", "{id}:٣", "{id}:01", "{id}:1:1", ":1",
     "{id}:" + "9" * 5000, "\N{SNOWMAN}", "AAAAAAAAAAAAAAAAAAAAAAAA:1", "{id}x:1", "{id}:1\n2"],
)  # fmt: skip
def test_an_id_that_is_none_of_this_run(relay: Relay, after: str) -> None:
    """Any other Last-Event-ID is refused: nothing is replayed, nothing is generated."""
    source = Scripted("a", "b", None)
    run = relay.start("k", source.open)
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            relay.follow(run.id, after.format(id=run.id))
        ended(relay, run.id)
    assert source.opened == 1


def test_a_number_beyond_the_end(relay: Relay) -> None:
    """A number beyond the end gives the end of the run, or the events behind it as they come."""
    source = Scripted("a", "b")
    run = relay.start("k", source.open)
    follower = relay.follow(run.id, f"{run.id}:3")
    source.send("c", "d", None)
    assert texts(list(follower)) == "d"
    ended(relay, run.id)
    assert read(relay, run.id, f"{run.id}:99") == []


# Rights


def test_only_the_owner_follows(relay: Relay) -> None:
    """A run of another user does not exist for the caller, with the same error as an unknown id."""
    run = relay.start("k", Scripted("a", None).open, owner=7)
    assert texts(read(relay, run.id, owner="7")) == "a"
    for ended_too in (False, True):
        if ended_too:
            ended(relay, run.id, owner=7)
        messages = set()
        for run_id, options in [
            (run.id, {"owner": 8}), (run.id, {}), (run.id, {"owner": ""}), (run.id, {"allowed": lambda run: False}),
            ("A" * 24, {"owner": 7}), ("", {}), ("../x", {}), ("x" * 5000, {}), ("a:b", {}),
        ]:  # fmt: skip
            if options.get("owner") == "":
                continue
            for call in (relay.follow, relay.get, relay.stop):
                with pytest.raises(RunNotFound) as caught:
                    call(run_id, **options)
                messages.add(str(caught.value))
        assert len(messages) == 1
    assert relay.get(run.id, allowed=lambda run: run.key == "k").status == "completed"


def test_a_run_without_owner_is_not_for_owners(relay: Relay) -> None:
    """An owner does not get a run that belongs to none: the application has forgotten it in one of the two calls."""
    run = relay.start("k", Scripted("a", None).open)
    with pytest.raises(RunNotFound):
        relay.follow(run.id, owner="u")


def test_rights_come_first(relay: Relay) -> None:
    """A caller without the right does not learn whether an id of an event is valid."""
    run = relay.start("k", Scripted("a", None).open, owner="u")
    with pytest.raises(RunNotFound):
        relay.follow(run.id, "nonsense", owner="other")


def test_ids_cannot_be_guessed(relay: Relay) -> None:
    """Ids are random, with 144 bits."""
    ids = {relay.start(number, Scripted(None).open).id for number in range(20)}
    assert len(ids) == 20
    assert all(len(run_id) == 24 for run_id in ids)


# Keys


def test_one_run_at_a_time(relay: Relay) -> None:
    """A second run of a key is refused with the id of the first, until that has ended."""
    source = Scripted("a")
    first = relay.start("k", source.open)
    for _ in range(3):
        with pytest.raises(RunBusy) as caught:
            relay.start("k", source.open)
        assert caught.value.run_id == first.id
    other = relay.start("other", Scripted(None).open)
    assert other.id != first.id
    running = relay.running("k")
    assert running is not None
    assert running.id == first.id
    source.send(None)
    ended(relay, first.id)
    assert relay.running("k") is None
    second = relay.start("k", Scripted("b", None).open)
    assert texts(read(relay, second.id)) == "b"
    assert source.opened == 1


def test_one_of_many_starts(relay: Relay) -> None:
    """Of many starts with one key at once exactly one is generated."""
    source = Scripted("a")
    barrier = threading.Barrier(8)
    results: list[Any] = []

    def start() -> None:
        barrier.wait()
        try:
            results.append(relay.start("k", source.open).id)
        except RunBusy as error:
            results.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [result for result in results if isinstance(result, str)]
    assert len(ids) == 1
    assert len(results) == 8
    assert {error.run_id for error in results if isinstance(error, RunBusy)} == set(ids)
    wait_until(lambda: source.opened == 1)


def test_queued_runs_take_turns(relay: Relay) -> None:
    """With busy="queue" each run starts when those before it have ended, in their order."""
    sources = [Scripted() for _ in range(4)]
    runs = [relay.start("k", source.open, busy="queue") for source in sources]
    assert [run.status for run in runs] == ["running", "queued", "queued", "queued"]
    follower = relay.follow(runs[3].id)
    for index, source in enumerate(sources):
        wait_until(lambda source=source: source.opened == 1)  # type: ignore[misc]
        assert [s.opened for s in sources] == [1] * (index + 1) + [0] * (3 - index)
        source.send(str(index), None)
    assert texts(list(follower)) == "3"
    assert [texts(read(relay, run.id)) for run in runs] == ["0", "1", "2", "3"]


def test_a_queue_is_bounded() -> None:
    """More runs than max_queue are refused."""
    relay = Relay(busy="queue", max_queue=2)
    source = Scripted()
    for _ in range(3):
        relay.start("k", source.open)
    with pytest.raises(RunBusy):
        relay.start("k", source.open)
    relay.close(0)


def test_a_queued_run_is_stopped(relay: Relay) -> None:
    """A queued run that is stopped is never opened, and does not stop the queue."""
    sources = [Scripted("a"), Scripted("b"), Scripted("c", None)]
    runs = [relay.start("k", source.open, busy="queue") for source in sources]
    assert relay.stop(runs[1].id).status == "interrupted"
    assert read(relay, runs[1].id) == []
    sources[0].send(None)
    assert texts(read(relay, runs[2].id)) == "c"
    assert sources[1].opened == 0


# Idempotency


def test_the_same_request_gets_the_same_run(relay: Relay) -> None:
    """A repeated idempotency key returns the run, while it runs and afterwards; nothing is generated twice."""
    source = Scripted("a")
    run = relay.start("k", source.open, idempotency_key="message-1", owner="u")
    assert relay.start("k", source.open, idempotency_key="message-1", owner="u").id == run.id
    source.send(None)
    ended(relay, run.id, owner="u")
    again = relay.start("k", source.open, idempotency_key="message-1", owner="u")
    assert (again.id, again.status) == (run.id, "completed")
    assert source.opened == 1
    other = Scripted(None)
    assert relay.start("k", other.open, idempotency_key="message-1", owner="other").id != run.id
    with pytest.raises(InvalidRequest):
        relay.start("another", source.open, idempotency_key="message-1", owner="u")
    assert source.opened == 1


def test_equal_requests_while_the_key_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is repeated while the first one is about to be refused is refused, too: it does not get a run that never starts."""
    monkeypatch.setattr(registration, "_JOINING", PATIENCE)
    found: list[str | None] = []

    class Slow(MemoryStore):
        def join(self, key: str, run_id: str, **options: Any) -> tuple[str, ...]:
            line = super().join(key, run_id, **options)
            if line[0] != run_id:
                refusing.set()
                wait_until(lambda: len(found) >= 3)  # the others have seen the name of this one
            return line

        def find(self, name: str) -> str | None:
            found.append(super().find(name))
            return found[-1]

    refusing = threading.Event()
    relay = Relay(Slow())
    relay.start("k", Scripted("a").open)
    outcomes: list[object] = []

    def start() -> None:
        try:
            outcomes.append(relay.start("k", Scripted(None).open, idempotency_key="m"))
        except RunBusy as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=start) for _ in range(3)]
    threads[0].start()
    assert refusing.wait(PATIENCE)
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert outcomes == [RunBusy] * 3
    relay.close(0)


def test_many_equal_requests_at_once(relay: Relay) -> None:
    """Of many equal requests at once one is generated, and all get its run."""
    source = Scripted("a")
    barrier = threading.Barrier(8)
    ids: list[str] = []

    def start() -> None:
        barrier.wait()
        ids.append(relay.start("k", source.open, idempotency_key="m").id)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1
    wait_until(lambda: source.opened == 1)


def test_a_refused_request_may_be_repeated(relay: Relay) -> None:
    """A request that was refused because the key was busy does not keep its idempotency key."""
    source = Scripted("a")
    relay.start("k", source.open)
    with pytest.raises(RunBusy):
        relay.start("k", source.open, idempotency_key="m")
    source.send(None)
    wait_until(lambda: relay.running("k") is None)
    other = Scripted("b", None)
    assert texts(read(relay, relay.start("k", other.open, idempotency_key="m").id)) == "b"


@pytest.mark.parametrize("key", ["", "x" * 501, 5, None.__class__, b"a"])
def test_a_bad_idempotency_key(relay: Relay, key: Any) -> None:
    """An idempotency key from a browser that cannot be one is a bad request."""
    with pytest.raises(InvalidRequest):
        relay.start("k", Scripted(None).open, idempotency_key=key)


def test_an_old_answer_is_gone_and_never_new() -> None:
    """After the time to live the run is gone, also under its idempotency key; later it is unknown."""
    clock = [0.0]
    store = MemoryStore(clock=lambda: clock[0])
    relay = Relay(store, ttl=600, tombstone=3600)
    source = Scripted("a", None)
    run = relay.start("k", source.open, idempotency_key="m", owner="u")
    ended(relay, run.id, owner="u")
    clock[0] = 601.0
    for call in (relay.follow, relay.get, relay.stop):
        with pytest.raises(RunGone):
            call(run.id, owner="u")
        with pytest.raises(RunNotFound):
            call(run.id, owner="other")
    with pytest.raises(RunGone):
        relay.start("k", source.open, idempotency_key="m", owner="u")
    assert source.opened == 1
    clock[0] = 5000.0
    with pytest.raises(RunNotFound):
        relay.get(run.id, owner="u")
    relay.close(0)


# Ends


def test_an_error_before_the_answer(relay: Relay) -> None:
    """With wait= the error of the call is raised in the view; the followers get its problem."""

    def refuse() -> Any:
        raise errors.RateLimitError("slow down", status_code=429, retry_after=7)

    with pytest.raises(errors.RateLimitError):
        relay.start("k", refuse, wait=PATIENCE, idempotency_key="m")
    run = relay.start("k", refuse, idempotency_key="m")
    assert run.status == "failed"
    for _ in range(2):
        with pytest.raises(RunFailed) as caught:
            read(relay, run.id)
        assert caught.value.problem["code"] == "rate-limited"
        assert caught.value.problem["retry_after"] == 7
        ended(relay, run.id)
    shown = relay.get(run.id).problem
    assert {**(shown or {}), "detail": caught.value.problem["detail"]} == caught.value.problem
    assert "slow down" not in str(shown)
    body = b"".join(sse(relay.follow(run.id)))
    assert b"rate-limited" in body
    assert b"slow down" not in body


def test_wait_returns_when_the_answer_begins(relay: Relay) -> None:
    """wait= returns as soon as the stream is open, although no event has come."""
    source = Scripted()
    run = relay.start("k", source.open, wait=PATIENCE)
    assert run.status == "running"
    source.send(None)


def test_an_error_in_mid_answer(relay: Relay, ui: PromptedChatUI, client: Client) -> None:
    """A run that fails has its events, and then the error, in every process."""
    run = relay.start("k", lambda: client.chat("fail x"))
    found: list[Any] = []
    with pytest.raises(RunFailed) as caught:
        found.extend(relay.follow(run.id))
    assert texts(found).startswith("fail-x.0 ")
    assert caught.value.problem["code"] == "generation-failed"
    assert isinstance(caught.value.__cause__, errors.GenerationError)
    assert ended(relay, run.id).status == "failed"
    again: list[Any] = []
    with pytest.raises(RunFailed):
        again.extend(relay.follow(run.id))
    assert again == found


@pytest.mark.parametrize("broken", [lambda: 1 / 0, lambda: None, lambda: 5, lambda: Scripted(ZeroDivisionError("x"))])
def test_a_broken_function(relay: Relay, broken: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An error of the application's own function fails the run as an internal error, and is logged."""
    run = relay.start("k", broken)
    with pytest.raises(RunFailed) as caught:
        read(relay, run.id)
    assert caught.value.problem["status"] == 500
    wait_until(lambda: any("failed" in record.message for record in caplog.records))


def test_on_end_has_the_answer_before_followers_see_the_end(relay: Relay, client: Client) -> None:
    """on_end gets the run and the whole reply, once, before the end is visible."""
    calls: list[tuple[Run, Reply, BaseException | None]] = []
    seen: list[str] = []

    def on_end(run: Run, reply: Reply, error: BaseException | None) -> None:
        seen.append(follower.status)
        calls.append((run, reply, error))

    release = threading.Event()

    def ask() -> Any:
        release.wait(PATIENCE)
        return client.chat("count x")

    run = relay.start("k", ask, on_end=on_end)
    follower = relay.follow(run.id)
    release.set()
    list(follower)
    ((ended_run, reply, error),) = calls
    assert (ended_run.id, ended_run.status, reply.text, error) == (run.id, "completed", text_for("count x"), None)
    assert seen == ["running"]


def test_on_end_of_a_failed_and_a_stopped_run(relay: Relay) -> None:
    """on_end gets the error with a failed run, and the partial answer with both; its own exception is logged."""
    calls: list[Any] = []

    def on_end(run: Run, reply: Reply, error: BaseException | None) -> None:
        calls.append((run.status, reply.text, type(error)))
        raise ZeroDivisionError

    failing = Scripted("a", errors.StreamInterrupted("broken"))
    run = relay.start("k", failing.open, on_end=on_end)
    with pytest.raises(RunFailed):
        read(relay, run.id)
    stopping = Scripted("b", "c")
    run = relay.start("l", stopping.open, on_end=on_end)
    take(relay.follow(run.id), 2)
    relay.stop(run.id)
    assert calls == [("failed", "a", errors.StreamInterrupted), ("interrupted", "bc", type(None))]


def test_a_state_that_json_does_not_have(relay: Relay) -> None:
    """It is refused at once, and the key stays free."""
    with pytest.raises(errors.InvalidInputError, match="plain JSON types"):
        relay.start("key", Scripted("text", None).open, state=object())
    assert relay.running("key") is None


def test_the_state_and_the_usage_of_a_run(relay: Relay) -> None:
    """state= is called when the stream opens and when the run ends; the run has its result, and the usage."""
    source = Scripted("a", events.Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7))
    run = relay.start("k", source.open, state=lambda source: {"sent": len(source.sent)}, wait=PATIENCE)
    wait_until(lambda: (record := relay.store.get(run.id)) is not None and record.state is not None)
    state = relay.get(run.id).state
    assert state["sent"] <= 2
    source.send(None)
    assert ended(relay, run.id).state == {"sent": 2}


def test_a_stop_is_immediate(relay: Relay, ui: PromptedChatUI, client: Client) -> None:
    """stop() ends the run with what it has, stops the generation on the server, and can be repeated."""
    run = relay.start("k", lambda: client.chat("endless x"))
    follower = relay.follow(run.id)
    found = take(follower, 5)
    assert relay.stop(run.id).status == "interrupted"
    found += list(follower)
    assert follower.status == "interrupted"
    assert relay.stop(run.id).status == "interrupted"
    assert ended(relay, run.id).status == "interrupted"
    assert relay.stop(run.id).status == "interrupted"
    assert read(relay, run.id) == found
    wait_until(lambda: len(ui.stops_for("endless x")) >= 1)


def test_a_stop_while_the_server_is_silent(relay: Relay, ui: PromptedChatUI, client: Client) -> None:
    """A stop before the head of the answer ends the run at once, and cancels the call."""
    run = relay.start("k", lambda: client.chat("mute x"))
    ui.wait_for_prompt("mute x")
    assert relay.stop(run.id).status == "interrupted"
    assert read(relay, run.id) == []
    wait_until(lambda: relay.writer.count() == 0)


def test_a_stop_of_a_detached_stream(relay: Relay, ui: PromptedChatUI, client: Client) -> None:
    """A stream with on_close="detach" is stopped on the server, too, when its run is stopped."""
    conversation = client.conversation()
    run = relay.start("k", lambda: conversation.send("endless x", on_close="detach"))
    take(relay.follow(run.id), 5)
    relay.stop(run.id)
    wait_until(lambda: len(ui.stops_for("endless x")) >= 1)


def test_a_run_without_followers_is_stopped(still: FakeTime) -> None:
    """With on_leave="stop" a run ends after the grace, if its followers have left or none ever came."""
    relay = Relay(on_leave="stop", grace=0.3)
    sources = [Scripted("a"), Scripted("b"), Scripted("c")]
    runs = [relay.start(index, source.open) for index, source in enumerate(sources)]
    followers = [relay.follow(runs[0].id), relay.follow(runs[1].id)]
    for follower in followers:
        take(follower, 1)
    followed = relay.writer.generations[runs[1].id]
    followers[0].close()
    still.advance(1.0)
    wait_until(lambda: relay.get(runs[0].id).ended)
    wait_until(lambda: relay.get(runs[2].id).ended)
    wait_until(lambda: followed.alone_since == still.monotonic())  # it was looked at, and has a follower
    assert [relay.get(run.id).status for run in runs] == ["interrupted", "running", "interrupted"]
    assert texts(read(relay, runs[0].id)) == "a"
    del follower, followers
    gc.collect()  # a follower that was not closed

    def over() -> bool:
        still.advance(1.0)
        return relay.get(runs[1].id).ended

    wait_until(over)
    relay.close(0)


def test_a_run_without_followers_finishes(relay: Relay) -> None:
    """By default a run does not need a follower."""
    source = Scripted("a")
    run = relay.start("k", source.open)
    follower = relay.follow(run.id)
    take(follower, 1)
    follower.close()
    source.send("b", None)
    assert ended(relay, run.id).status == "completed"


# Bounds


def test_the_number_of_runs_is_bounded() -> None:
    """More than max_runs are refused; a run whose call cannot be ended counts until it has left its thread."""
    relay = Relay(max_runs=2)
    hanging = threading.Event()

    def hang() -> Any:
        hanging.wait(PATIENCE)
        return Scripted(None)

    first = relay.start("a", hang)
    relay.start("b", Scripted().open)
    with pytest.raises(TooManyRuns):
        relay.start("c", Scripted(None).open)
    assert relay.stop(first.id).status == "interrupted"
    ended(relay, first.id)
    with pytest.raises(TooManyRuns):
        relay.start("c", Scripted(None).open)
    hanging.set()
    wait_until(lambda: relay.writer.count() == 1)
    relay.start("c", Scripted(None).open)
    relay.close(0)


def test_the_number_of_followers_is_bounded() -> None:
    """More than max_followers of one run are refused."""
    relay = Relay(max_followers=2)
    run = relay.start("k", Scripted("a").open)
    followers = [relay.follow(run.id) for _ in range(2)]
    with pytest.raises(TooManyRuns):
        relay.follow(run.id)
    followers.pop().close()
    relay.follow(run.id).close()
    relay.close(0)


def test_a_long_answer_is_trimmed() -> None:
    """Of a run that is too long the newest events are kept, in memory and in the store; what needs older ones is gone."""
    relay = Relay(max_events=50, coalesce=0.001)
    source = Scripted()
    run = relay.start("k", source.open)
    slow = relay.follow(run.id)
    take_one = slow.ticks(PATIENCE)
    source.send("x")
    next(take_one)
    generation = relay.writer.generations[run.id]
    for start in range(0, 1000, 10):
        source.send(*(f"{number} " for number in range(start, start + 10)))
        wait_until(lambda start=start: len(source.sent) == start + 11)  # type: ignore[misc]
    wait_until(lambda: generation.log.last == 1001 and len(generation.log.events) <= 120)
    last = f"{run.id}:1000"
    assert texts(take(relay.follow(run.id, last), 1)) == "999 "
    for after in (None, f"{run.id}:3"):
        with pytest.raises(RunGone):
            relay.follow(run.id, after)
    with pytest.raises(RunGone):
        list(slow)
    source.send(None)
    assert ended(relay, run.id).status == "completed"
    assert texts(read(relay, run.id, last)) == "999 "
    with pytest.raises(RunGone):
        relay.follow(run.id)
    relay.close(0)


def test_memory_is_flat() -> None:
    """Runs that have ended leave nothing but their bytes in the store: neither threads nor events."""
    relay = Relay()

    def one(number: int) -> None:
        source = Scripted(*("word " for _ in range(50)), None)
        run = relay.start(number, source.open)
        read(relay, run.id)
        ended(relay, run.id)
        wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("hfclient-run")])
        wait_until(lambda: not relay.writer.generations)  # its end is written

    one(-1)
    gc.collect()
    before = sum(isinstance(item, events.Token) for item in gc.get_objects())
    for number in range(8):
        one(number)

    def is_flat() -> bool:  # a thread that ends may hold its last events for a moment
        gc.collect()
        return sum(isinstance(item, events.Token) for item in gc.get_objects()) <= before + 5

    wait_until(is_flat)
    assert relay.writer.generations == {}
    assert not relay.mirrors
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("hfclient-run")]
    relay.close(0)


@pytest.mark.parametrize(
    "arguments",
    [{"ttl": 0}, {"lease": -1}, {"max_runs": True}, {"on_leave": "detach"}, {"busy": "wait"}, {"coalesce": "x"}, {"max_bytes": None}],
)
def test_bad_arguments_of_a_relay(arguments: dict[str, Any]) -> None:
    """Arguments are checked when the relay is made."""
    with pytest.raises(errors.InvalidInputError) as caught:
        Relay(**arguments)
    assert next(iter(arguments)) in str(caught.value)


def test_bad_arguments_of_a_start(relay: Relay) -> None:
    """A key is a text or a number, and a call is a function."""
    for key in (None, "", 1.5, True, "x" * 501, b"k"):
        with pytest.raises(errors.InvalidInputError):
            relay.start(key, Scripted(None).open)
    with pytest.raises(errors.InvalidInputError):
        relay.start("k", Scripted(None))  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidInputError):
        relay.start("k", Scripted(None).open, owner=[1])


def test_a_uuid_as_a_key(relay: Relay) -> None:
    """A UUID, as databases have for keys, is the same as its text."""
    key, owner = UUID(int=7), UUID(int=8)
    run = relay.start(key, Scripted("a", None).open, owner=owner)
    assert (run.key, run.owner) == (str(key), str(owner))
    assert texts(read(relay, run.id, owner=owner)) == "a"


def test_a_follower_at_the_end(relay: Relay) -> None:
    """at_end is true when nothing follows: not while the run continues, nor for one that failed, whose error is still to come."""
    source = Scripted("a")
    run = relay.start("k", source.open)
    follower = relay.follow(run.id)
    assert texts(take(follower, 1)) == "a"
    assert not follower.at_end
    source.send(None)
    assert list(follower) == []
    assert follower.at_end
    assert relay.follow(run.id, follower.last_id).at_end
    assert not relay.follow(run.id).at_end
    failed = relay.start("f", Scripted("a", errors.ServerError("no", status_code=500)).open)
    with pytest.raises(RunFailed):
        read(relay, failed.id)
    assert not relay.follow(failed.id, f"{failed.id}:1").at_end


# Shutdown


def test_close_waits_for_runs(relay: Relay) -> None:
    """close() starts nothing new and waits for the runs."""
    source = Scripted("a")
    run = relay.start("k", source.open)
    closing = threading.Thread(target=relay.close, args=(PATIENCE,))
    closing.start()
    wait_until(lambda: relay.closing)
    with pytest.raises(TooManyRuns):
        relay.start("l", source.open)
    source.send("b", None)
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert relay.get(run.id).status == "completed"
    assert texts(read(relay, run.id)) == "ab"


def test_close_ends_what_is_left(relay: Relay, ui: PromptedChatUI, client: Client) -> None:
    """Runs that take longer end as interrupted, with what they have, and are stopped on the server."""
    run = relay.start("k", lambda: client.chat("endless x"))
    queued = relay.start("k", lambda: client.chat("endless y"), busy="queue")
    take(relay.follow(run.id), 5)
    relay.close(0)
    assert relay.get(run.id).status == "interrupted"
    assert relay.get(queued.id).status == "interrupted"
    wait_until(lambda: len(ui.stops_for("endless x")) >= 1)
    assert ui.count("send") == 1


def test_a_relay_logs_no_text(relay: Relay, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of an answer is logged."""
    caplog.set_level(logging.DEBUG, "hfclient")
    run = relay.start("k", lambda: client.chat("count secret"))
    read(relay, run.id)
    ended(relay, run.id)
    assert "count-secret.3" not in caplog.text


def test_names_of_the_package() -> None:
    """The public names are those of the package."""
    import hfclient.web

    assert hfclient.web.Relay is Relay
    assert hfclient.web.MemoryStore is MemoryStore
    assert hfclient.web.Run is Run


def test_sigterm_outside_of_the_main_thread() -> None:
    """Only the main thread can set the handler; in another one the error says so."""
    relay = Relay()
    with ThreadPoolExecutor(1) as pool, pytest.raises(errors.InvalidInputError, match="main thread"):
        pool.submit(relay.close_on_sigterm).result()
