"""`Relay` with several relays on one store, as in several workers: following, stopping, leases, takeovers, a store that is down."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hfclient import Client, Reply, errors, events
from hfclient.web import Guard, sse
from hfclient.web.errors import RunBusy, RunFailed, RunGone, RunNotFound, StoreUnavailable
from hfclient.web.relay import Batch, MemoryStore, Relay, Run, Write
from hfclient.web.relay.encoding import Encoder, decode
from hfclient.web.relay.replay import Replay
from tests.chat.recordings import RECORDINGS, Recording, joined
from tests.chat.replay import FINISHED, JSONL, STARTED, ChatUI, final, lines, log_of, token, wait_until
from tests.clock import FakeTime
from tests.processes.helpers import PromptedChatUI, Script, in_child, needs_fork, needs_signals, succeeded
from tests.server import LAST_CHUNK, PATIENCE, chunk, head
from tests.web.relay_sources import Partition, Scripted, numbers, read, take, texts

LEASE = 0.5


class Workers:
    """Relays on one store, each with its own view of it.

    The time of the store stands still: a lease ends when the test says so, however slow the machine is.
    """

    def __init__(self, count: int = 2, clock: FakeTime | None = None, **options: Any) -> None:
        self.clock = clock or FakeTime()
        self.store = MemoryStore(clock=self.clock.monotonic)
        self.views: list[Any] = [Partition(self.store) for _ in range(count)]
        self.relays = [Relay(view, **{"lease": LEASE, "coalesce": 0.005, **options}) for view in self.views]

    def lose(self) -> None:
        """Cut the first worker off from the store, and let its leases expire."""
        self.views[0].down = True
        self.clock.advance(LEASE)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for view in self.views:
            view._down = False
        for relay in self.relays:
            relay.close(0)


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers() as workers:
        yield workers


# Following


def test_another_worker_follows(workers: Workers) -> None:
    """A worker follows a run of another one live, from any event, to its end and afterwards."""
    a, b = workers.relays
    source = Scripted(*"abc")
    run = a.start("k", source.open)
    wait_until(lambda: b.get(run.id).last == 3)
    follower = b.follow(run.id)
    assert texts(take(follower, 3)) == "abc"
    for text in "defgh":
        source.send(text)
        assert texts(take(follower, 1)) == text
    second = b.follow(run.id, f"{run.id}:2")
    assert texts(take(second, 6)) == "cdefgh"
    source.send("i", None)
    assert texts(list(follower)) == texts(list(second)) == "i"
    assert follower.status == "completed"
    wait_until(lambda: b.get(run.id).ended)
    assert texts(read(b, run.id)) == "abcdefghi"
    wait_until(lambda: not b.mirrors)


def test_nothing_is_kept_for_followers_that_are_gone(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has followed a run, to its end or not, keeps nothing of it, also if the run had just ended."""
    monkeypatch.setattr("hfclient.web.relay.mirror._LINGER", 0.1)
    a, b = workers.relays
    for how in ("read", "left", "dropped", "body") * 5:
        source = Scripted("a", "b")
        run = a.start("k", source.open, busy="queue")
        wait_until(lambda run=run: b.get(run.id).last == 2)
        follower = b.follow(run.id)
        source.send(None)
        match how:
            case "read":
                assert texts(list(follower)) == "ab"
            case "left":
                take(follower, 1)
                follower.close()
            case "dropped":
                take(follower, 1)
            case "body":
                b"".join(sse(follower))
        del follower
    gc.collect()
    wait_until(lambda: not b.mirrors)


def test_many_followers_share_one_reader(workers: Workers) -> None:
    """Followers in one worker read the store once for all of them."""
    a, b = workers.relays
    source = Scripted()
    run = a.start("k", source.open)
    followers = [b.follow(run.id) for _ in range(30)]
    results: list[str] = []
    threads = [threading.Thread(target=lambda f=f: results.append(texts(list(f)))) for f in followers]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    wait_until(lambda: (mirror := b.mirrors.get(run.id)) is not None and mirror.log.waiting)
    before = workers.views[1].calls.count("read")
    for _ in range(20):
        source.send("x")
        wait_until(source._queue.empty)
    source.send(None)
    for thread in threads:
        thread.join(PATIENCE)
    assert results == ["x" * 20] * 30
    assert workers.views[1].calls.count("read") - before < 30


def test_a_follower_that_is_far_behind_reads_the_store(workers: Workers) -> None:
    """A follower that begins before the window of its worker, or is slow, gets every event once."""
    a, b = workers.relays
    source = Scripted()
    run = a.start("k", source.open)
    slow = b.follow(run.id)
    for start in range(0, 20_000, 2000):
        source.send(*(f"{number} " for number in range(start, start + 2000)))
    wait_until(lambda: b.get(run.id).last == 20_000)
    fast = b.follow(run.id)
    source.send("end", None)
    expected = list(range(1, 20_002))
    assert numbers(list(slow)) == expected
    assert numbers(list(fast)) == expected
    assert texts(read(b, run.id, f"{run.id}:19999")) == "19999 end"


def test_a_failed_run_fails_in_every_worker(workers: Workers) -> None:
    """A follower in another worker gets the problem of the run."""
    a, b = workers.relays
    source = Scripted("a", errors.CreditsExhausted("pay", status_code=402))
    run = a.start("k", source.open)
    wait_until(lambda: b.get(run.id).ended)
    follower = b.follow(run.id)
    assert texts(take(follower, 1)) == "a"
    with pytest.raises(RunFailed) as caught:
        list(follower)
    assert (caught.value.problem["status"], caught.value.problem["code"]) == (402, "credits-exhausted")


def test_rights_in_another_worker(workers: Workers) -> None:
    """The owner is checked in every worker."""
    a, b = workers.relays
    run = a.start("k", Scripted("a").open, owner="u")
    for call in (b.follow, b.get, b.stop):
        with pytest.raises(RunNotFound):
            call(run.id, owner="other")
    assert b.get(run.id, owner="u").status in ("queued", "running")  # its first step may not have come


def test_keys_and_requests_across_workers(workers: Workers) -> None:
    """One run at a time, and one for each idempotency key, in all workers."""
    a, b = workers.relays
    source = Scripted("a")
    run = a.start("k", source.open, idempotency_key="m")
    with pytest.raises(RunBusy) as caught:
        b.start("k", source.open)
    assert caught.value.run_id == run.id
    assert b.start("k", source.open, idempotency_key="m").id == run.id
    running = b.running("k")
    assert running is not None
    assert running.id == run.id
    source.send(None)
    wait_until(lambda: b.get(run.id).ended)
    assert b.start("k", source.open, idempotency_key="m").id == run.id
    other = Scripted("b", None)
    second = b.start("k", other.open)
    assert texts(read(a, second.id)) == "b"
    assert source.opened == 1


def test_a_queue_across_workers(workers: Workers) -> None:
    """Queued runs of several workers take turns."""
    a, b = workers.relays
    sources = [Scripted() for _ in range(4)]
    runs = [(a, b)[index % 2].start("k", source.open, busy="queue") for index, source in enumerate(sources)]
    for index, source in enumerate(sources):
        wait_until(lambda source=source: source.opened == 1)  # type: ignore[misc]
        assert sum(s.opened for s in sources) == index + 1
        source.send(str(index), None)
    assert [texts(read(a, run.id)) for run in runs] == ["0", "1", "2", "3"]


def test_a_stop_from_another_worker(workers: Workers) -> None:
    """stop() in any worker ends the run in the one that generates it."""
    a, b = workers.relays
    source = Scripted("a", "b")
    run = a.start("k", source.open)
    follower = b.follow(run.id)
    assert texts(take(follower, 2)) == "ab"
    b.stop(run.id)
    assert list(follower) == []
    assert follower.status == "interrupted"
    assert a.get(run.id).status == "interrupted"
    assert b.stop(run.id).status == "interrupted"
    wait_until(lambda: source.stopped == 1)
    assert source.cancelled == 1


def test_a_stop_of_a_queued_run_from_another_worker(workers: Workers) -> None:
    """A queued run of another worker is stopped without being opened."""
    a, b = workers.relays
    a.start("k", Scripted("a").open)
    second = Scripted("b")
    run = a.start("k", second.open, busy="queue")
    b.stop(run.id)
    wait_until(lambda: b.get(run.id).status == "interrupted")
    assert second.opened == 0


def test_followers_elsewhere_keep_a_run(still: FakeTime) -> None:
    """With on_leave="stop" a follower in another worker counts; when it has left, the run is stopped."""
    with Workers(clock=still, on_leave="stop", grace=0.4, lease=60.0) as workers:
        a, b = workers.relays
        run = a.start("k", Scripted("a").open)
        follower = b.follow(run.id)
        take(follower, 1)
        for _ in range(5):
            still.advance(0.3)
            wait_until(lambda: (record := workers.store.get(run.id)) is not None and record.attended == 0)
        assert b.get(run.id).status == "running"
        follower.close()

        def interrupted() -> bool:
            still.advance(0.5)
            return b.get(run.id).status == "interrupted"

        wait_until(interrupted)


# Lost processes


def test_a_lost_generator_ends_its_run(workers: Workers) -> None:
    """When the generating process is gone, followers elsewhere get a clear end within the lease, and the key is free."""
    a, b = workers.relays
    run = a.start("k", Scripted("a", "b").open)
    wait_until(lambda: b.get(run.id).last == 2)
    follower = b.follow(run.id)
    workers.lose()
    found: list[Any] = []
    with pytest.raises(RunFailed) as caught:
        found.extend(follower)
    assert texts(found) == "ab"
    assert caught.value.problem["code"] == "generator-lost"
    assert b.get(run.id).status == "failed"
    with pytest.raises(RunFailed):
        read(b, run.id)
    assert texts(read(b, b.start("k", Scripted("c", None).open).id)) == "c"


def test_a_start_does_not_wait_for_a_lost_run(workers: Workers) -> None:
    """A key whose process is gone is free once the lease has expired, also without a follower."""
    a, b = workers.relays
    a.start("k", Scripted("a").open)
    workers.lose()
    started: list[Run] = []

    def start() -> bool:
        try:
            started.append(b.start("k", Scripted("b", None).open))
        except RunBusy:
            return False
        return True

    wait_until(start)
    assert texts(read(b, started[0].id)) == "b"


def test_a_queue_behind_a_lost_run(workers: Workers) -> None:
    """A queued run starts when the process of the one before it is gone."""
    a, b = workers.relays
    a.start("k", Scripted("a").open)
    run = b.start("k", Scripted("b", None).open, busy="queue")
    workers.lose()
    assert texts(read(b, run.id)) == "b"


def test_a_stop_of_a_lost_run(workers: Workers) -> None:
    """A stop of a run whose process is gone ends it as interrupted."""
    a, b = workers.relays
    run = a.start("k", Scripted("a").open)
    wait_until(lambda: b.get(run.id).last == 1)
    workers.lose()
    follower = b.follow(run.id)
    b.stop(run.id)
    assert texts(list(follower)) == "a"
    assert b.get(run.id).status == "interrupted"


def test_on_end_of_a_lost_run() -> None:
    """The worker that ends a lost run calls the on_end of its relay with what the store has, once."""
    calls: list[Any] = []

    def on_end(run: Run, reply: Reply, error: BaseException | None) -> None:
        calls.append((run.status, reply.text, type(error)))

    with Workers(3, on_end=on_end) as workers:
        a, *others = workers.relays
        run = a.start("k", Scripted("a", "b").open, on_end=lambda *args: None)
        wait_until(lambda: others[0].get(run.id).last == 2)
        workers.lose()
        followers = [other.follow(run.id) for other in others]
        for follower in followers:
            with pytest.raises(RunFailed):
                list(follower)
    assert calls == [("failed", "ab", RunFailed)]


def test_another_worker_continues_a_lost_run() -> None:
    """With recover= one other worker continues the run behind what is stored: followers see one answer, without gap or repetition."""
    answer = ["one ", "two ", "three ", "four ", "five"]
    recovered: list[tuple[int, Run]] = []
    replays = Scripted(*answer[:3])

    def recover(run: Run) -> Any:
        recovered.append((1, run))
        return replays

    with Workers(4, recover=recover) as workers:
        a, *others = workers.relays
        source = Scripted(*answer[:2])
        run = a.start("k", source.open, state={"generation": "g"}, owner="u")
        wait_until(lambda: others[0].get(run.id, owner="u").last == 2)
        followers = [other.follow(run.id, owner="u") for other in others for _ in range(3)]
        workers.lose()
        results: list[Any] = []
        threads = [threading.Thread(target=lambda f=f: results.append(list(f))) for f in followers]  # type: ignore[misc]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(recovered) == 1)
        replays.send(*answer[3:], None)
        for thread in threads:
            thread.join(PATIENCE)
        assert [texts(result) for result in results] == ["".join(answer)] * len(followers)
        assert [numbers(result) for result in results] == [[1, 2, 3, 4, 5]] * len(followers)
        assert recovered[0][1].state == {"generation": "g"}
        assert len(recovered) == 1
        wait_until(lambda: others[0].get(run.id, owner="u").status == "completed")
        assert texts(read(others[0], run.id, owner="u")) == "".join(answer)
        # The one that had it sees that, and writes nothing more
        workers.views[0].down = False
        source.send("late")
        wait_until(lambda: run.id not in a.writer.generations)
        wait_until(lambda: source.detached == 1)
        assert source.stopped == 0
        assert texts(read(a, run.id, owner="u")) == "".join(answer)


def test_followers_move_to_the_worker_that_continues() -> None:
    """A follower in a process that has lost its lease continues with the run of the other process."""
    replays = Scripted("a", "b", "c")
    with Workers(recover=lambda run: replays) as workers:
        a, b = workers.relays
        source = Scripted("a", "b")
        run = a.start("k", source.open, state={"g": 1})
        wait_until(lambda: b.get(run.id).last == 2)
        here = a.follow(run.id)
        assert texts(take(here, 2)) == "ab"
        workers.lose()
        there = b.follow(run.id)
        assert texts(take(there, 3)) == "abc"
        workers.views[0].down = False
        assert texts(take(here, 1)) == "c"
        replays.send("d", None)
        assert texts(list(here)) == texts(list(there)) == "d"


def test_recover_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """If the application cannot continue the run, it ends as lost."""

    def recover(run: Run) -> Any:
        raise errors.NotFoundError("no log", status_code=404)

    with Workers(recover=recover) as workers:
        a, b = workers.relays
        run = a.start("k", Scripted("a").open, state={"g": 1})
        wait_until(lambda: b.get(run.id).last == 1)
        follower = b.follow(run.id)
        workers.lose()
        with pytest.raises(RunFailed) as caught:
            list(follower)
        assert caught.value.problem["code"] == "generator-lost"


def test_a_run_without_state_is_not_continued() -> None:
    """A run whose process was gone before it had a state ends as lost: nothing is known about its answer."""
    with Workers(recover=lambda run: Scripted("never", None)) as workers:
        a, b = workers.relays
        hanging = threading.Event()

        def hang() -> Any:
            hanging.wait(PATIENCE)
            return Scripted(None)

        run = a.start("k", hang, state=lambda source: {"g": 1})
        follower = b.follow(run.id)
        workers.lose()
        with pytest.raises(RunFailed):
            list(follower)
        hanging.set()


def test_lost_runs_are_found_without_followers() -> None:
    """recover_lost() continues the runs that have no follower, for a worker that has just started."""
    replays = Scripted("a", "b", None)
    with Workers(recover=lambda run: replays) as workers:
        a, b = workers.relays
        run = a.start("k", Scripted("a").open, state={"g": 1})
        assert b.recover_lost() == 0
        wait_until(lambda: b.get(run.id).last == 1)
        workers.lose()
        wait_until(lambda: b.recover_lost() == 1)
        wait_until(lambda: b.get(run.id).status == "completed")
        assert texts(read(b, run.id)) == "ab"


@pytest.mark.parametrize("found", [item for item in RECORDINGS if item.version == "0.20" and item.log], ids=str)
def test_a_recorded_answer_is_continued_at_every_event(found: Recording) -> None:
    """The replay of a recorded answer, cut into other pieces, adds exactly what is missing behind any event."""
    with ChatUI() as ui, Client(ui.url, token="", cookies={"hf-chat": "c"}) as client:
        ui.says(found)
        conversation = client.conversation()
        stream = conversation.send("hi")
        answer: list[events.AnyEvent] = []
        log: list[events.AnyEvent] = []
        with contextlib.suppress(errors.HFClientError):
            answer.extend(stream)
        with contextlib.suppress(errors.HFClientError):
            log.extend(conversation.attach(stream.generation_id))
    whole, whole_events, others = texts(answer), joined(answer), without_text(answer)
    pieces: list[events.AnyEvent] = []
    for event in answer:
        if isinstance(event, (events.Token, events.Reasoning)):
            pieces += [type(event)(event.text[at : at + 3]) for at in range(0, len(event.text), 3)]
        else:
            pieces.append(event)
    for count in range(len(answer) + 1):
        delivered = answer[:count]
        # The same pieces, and pieces of three characters
        assert delivered + list(Replay(delivered).new(answer)) == answer
        again = delivered + list(Replay(delivered).new(log))
        assert joined(again) == whole_events
        more = list(Replay(delivered).new(pieces))
        assert texts(delivered + more) == whole
        assert without_text(delivered + more) == others


def without_text(answer: list[events.AnyEvent]) -> list[events.AnyEvent]:
    return [event for event in answer if not isinstance(event, (events.Token, events.Reasoning))]


def test_a_replay_of_whole_numbers() -> None:
    """Numbers that a server writes without a point, as chat-ui 0.20 does for the progress of a tool, are the same after the store."""
    answer: list[events.AnyEvent] = [events.ToolEta("u", 10), events.ToolProgress("u", 1, 3), events.ToolProgress("u", 2, 3)]
    stored = decode(Encoder().batch(1, answer[:2]).data)
    assert list(Replay(stored).new(answer)) == answer[2:]


def test_a_replay_with_another_text() -> None:
    """An answer that was generated anew does not continue the old text: the whole new text replaces it at the end."""
    delivered: list[events.AnyEvent] = [events.Token("Hello "), events.Token("wor")]
    new = list(Replay(delivered).new([events.Token("Hello there, "), events.Token("you")]))
    assert new == [events.FinalAnswer("Hello there, you")]
    new = list(Replay(delivered).new([events.Token("Hi"), events.FinalAnswer("Hi!")]))
    assert new == [events.FinalAnswer("Hi!")]


def test_a_replay_behind_trimmed_events() -> None:
    """Of a trimmed answer only the lengths are known; the replay continues behind them."""
    answer: list[events.AnyEvent] = [events.Status("started"), events.Token("abcdef"), events.Token("ghi"), events.Title("t")]
    new = list(Replay([events.Token("def")], text=3).new(answer))
    assert new == [events.Token("ghi"), events.Title("t")]


@pytest.mark.parametrize("kind", ["a client", "a function", "a guarded call"])
def test_a_run_on_a_chat_server_is_continued(kind: str) -> None:
    """The run has what is needed to attach: the server's log continues the answer, its prompt is sent once, no gap and no repetition."""
    words = [f"word{number} " for number in range(30)]
    updates = [STARTED, *map(token, words), final("".join(words)), FINISHED]
    held = threading.Event()
    with ChatUI() as ui, Client(ui.url, token="", cookies={"hf-chat": "c"}) as client:
        live = [head(200, JSONL, "Transfer-Encoding: chunked"), chunk(lines(*updates[:11])), held, LAST_CHUNK]
        ui.says(lines(*updates), live, log=log_of(*updates), stored={})  # type: ignore[arg-type]
        recover: Any = (lambda run: run.attach(client)) if kind == "a function" else client
        with Workers(recover=recover) as workers:
            a, b = workers.relays
            conversation = client.conversation()
            call: Any = lambda: conversation.send("hi")  # noqa: E731
            if kind == "a guarded call":
                call = Guard(requests="9/minute").watch(call, user="u")
            run = a.start("k", call, state={"page": 1})
            wait_until(lambda: b.get(run.id).last == 11)
            follower = b.follow(run.id)
            workers.lose()
            found = list(follower)
            assert texts(found) == "".join(words)
            assert numbers(found) == list(range(1, len(found) + 1))
            assert follower.status == "completed"
            ended = b.get(run.id)
            assert ended.chat is not None
            assert (ended.state, ended.chat["conversation"]["id"]) == ({"page": 1}, conversation.id)
            workers.views[0].down = False
            wait_until(lambda: run.id not in a.writer.generations)
            held.set()
        assert ui.count("send") == 1
        assert ui.stops == []


# Shutdown


def test_a_shutdown_hands_over() -> None:
    """close() gives runs with a state to another worker at once; local followers end without an end, and continue there."""
    replays = Scripted("a", "b", "c")
    with Workers(recover=lambda run: replays, lease=60.0) as workers:
        a, b = workers.relays
        source = Scripted("a", "b")
        run = a.start("k", source.open, state={"g": 1})
        wait_until(lambda: b.get(run.id).last == 2)
        here, there = a.follow(run.id), b.follow(run.id)
        body = sse(a.follow(run.id))
        a.close(0)
        assert texts(list(here)) == "ab"
        assert here.status == "running"
        text = b"".join(body).decode()
        assert "event: end" not in text
        replays.send("d", None)
        assert texts(list(there)) == "abcd"
        assert texts(read(b, run.id, here.last_id)) == "cd"
        assert source.stopped == 0
        wait_until(lambda: source.detached == 1)


def test_a_shutdown_hands_over_what_it_has_just_taken() -> None:
    """A run that a relay takes over while it shuts down is handed over by the shutdown; afterwards the relay takes nothing."""
    sources = [Scripted("a"), Scripted("a", "b", None)]
    with Workers(3, recover=lambda run: sources.pop(0), lease=60.0) as workers:
        a, b, c = workers.relays
        run = a.start("k", Scripted("a").open, state={"g": 1})
        wait_until(lambda: b.get(run.id).last == 1)
        a.close(0)
        go, taken, take_over = threading.Event(), threading.Event(), workers.views[1].take_over

        def slowly(*args: Any, **options: Any) -> Any:
            record = take_over(*args, **options)
            taken.set()
            assert go.wait(PATIENCE)
            return record

        workers.views[1].take_over = slowly
        with ThreadPoolExecutor(2) as pool:
            pool.submit(b.recover_lost)
            assert taken.wait(PATIENCE)
            closed = pool.submit(b.close, 0)
            wait_until(lambda: b.closing)
            go.set()
            closed.result(PATIENCE)
        record = workers.store.get(run.id)
        assert record is not None
        assert (record.ended, record.lease_left <= 0) == (False, True)
        assert b.recover_lost() == 0
        assert c.recover_lost() == 1
        assert texts(read(c, run.id)) == "ab"


def test_a_shutdown_ends_what_has_just_begun() -> None:
    """A run that starts while the relay shuts down is ended by the shutdown, not left to its lease."""
    with Workers(lease=60.0) as workers:
        a, b = workers.relays
        go, begun, create = threading.Event(), threading.Event(), workers.views[0].create

        def slowly(*args: Any, **options: Any) -> Any:
            begun.set()
            assert go.wait(PATIENCE)
            return create(*args, **options)

        workers.views[0].create = slowly
        with ThreadPoolExecutor(2) as pool:
            started = pool.submit(a.start, "k", Scripted("a").open)
            assert begun.wait(PATIENCE)
            closed = pool.submit(a.close, 0)
            wait_until(lambda: a.closing)
            go.set()
            closed.result(PATIENCE)
            run = started.result(PATIENCE)
        assert b.get(run.id).status == "interrupted"


def test_a_shutdown_without_recover_ends_its_runs(workers: Workers) -> None:
    """Without recover= what is left after the timeout ends as interrupted, in every worker."""
    a, b = workers.relays
    run = a.start("k", Scripted("a").open)
    wait_until(lambda: b.get(run.id).last == 1)
    follower = b.follow(run.id)
    a.close(0)
    assert texts(list(follower)) == "a"
    assert follower.status == "interrupted"


def test_a_client_recovers_chats_only() -> None:
    """With recover=client, a run that is not a chat is not handed over: it ends as interrupted, with the text so far."""
    with Client("http://127.0.0.1:9", token="", session="private") as client, Workers(recover=client) as workers:
        a, b = workers.relays
        run = a.start("k", Scripted("a").open, state={"page": 1})
        wait_until(lambda: b.get(run.id).last == 1)
        a.close(0)
        assert b.get(run.id).status == "interrupted"
        with pytest.raises(errors.InvalidInputError, match="not an answer of a chat"):
            b.get(run.id).attach(client)


def test_a_wrong_recover() -> None:
    """recover= that is neither a client nor a function is refused when the relay is made."""
    with pytest.raises(errors.InvalidInputError, match="recover="):
        Relay(recover="client")  # type: ignore[arg-type]


# A store that is down


def test_a_store_that_is_down_does_not_touch_this_process(workers: Workers) -> None:
    """Followers in the process that generates get everything while the store is down; when it is back it gets all, in order."""
    a, b = workers.relays
    source = Scripted("a")
    run = a.start("k", source.open)
    wait_until(lambda: b.get(run.id).last == 1)
    workers.views[0].down = True
    follower = a.follow(run.id)
    source.send(*"bcd")
    assert texts(take(follower, 4)) == "abcd"
    threading.Event().wait(0.1)
    workers.views[0].down = False
    wait_until(lambda: b.get(run.id).last == 4)
    source.send("e", None)
    assert texts(list(follower)) == "e"
    wait_until(lambda: b.get(run.id).ended)
    assert texts(read(b, run.id)) == "abcde"


def test_a_run_ends_while_the_store_is_down(workers: Workers) -> None:
    """The end is kept until the store is back; the lease of another process does not matter if none has taken the run."""
    a, b = workers.relays
    source = Scripted("a")
    run = a.start("k", source.open)
    wait_until(lambda: b.get(run.id).last == 1)
    workers.lose()
    follower = a.follow(run.id)
    source.send("b", None)
    assert texts(list(follower)) == "ab"
    assert texts(read(a, run.id)) == "ab"
    workers.views[0].down = False
    wait_until(lambda: b.get(run.id).status == "completed")
    assert texts(read(b, run.id)) == "ab"


def test_a_store_that_is_down_refuses_others(workers: Workers) -> None:
    """Without the store a worker can neither start nor follow runs of others: 503."""
    a, b = workers.relays
    run = a.start("k", Scripted("a").open)
    workers.views[1].down = True
    source = Scripted(None)
    for call in (
        lambda: b.start("l", source.open),
        lambda: b.start("l", source.open, idempotency_key="m"),
        lambda: b.follow(run.id),
        lambda: b.get(run.id),
        lambda: b.stop(run.id),
        lambda: b.running("k"),
        b.recover_lost,
    ):
        with pytest.raises(StoreUnavailable):
            call()  # type: ignore[no-untyped-call]
    assert source.opened == 0


def test_a_follower_waits_for_a_store_that_returns() -> None:
    """A short outage of the store does not end a follower in another process."""
    with Workers(lease=60.0) as workers:
        a, b = workers.relays
        source = Scripted("a")
        run = a.start("k", source.open)
        follower = b.follow(run.id)
        assert texts(take(follower, 1)) == "a"
        workers.views[1].down = True
        source.send("b")
        wait_until(lambda: a.get(run.id).last == 2)
        mirror = b.mirrors.get(run.id)
        assert mirror is not None
        mirror._notified(None)
        wait_until(lambda: mirror._failures > 0)
        workers.views[1].down = False
        assert texts(take(follower, 1)) == "b"


def test_a_follower_does_not_wait_for_ever(workers: Workers) -> None:
    """A follower whose store does not return gets StoreUnavailable."""
    a, b = workers.relays
    source = Scripted("a")
    run = a.start("k", source.open)
    follower = b.follow(run.id)
    take(follower, 1)
    workers.views[1]._down = True
    mirror = b.mirrors.get(run.id)
    assert mirror is not None
    mirror._notified(None)
    with pytest.raises(StoreUnavailable):
        list(follower)
    assert a.get(run.id).status == "running"


def test_a_run_in_memory_only() -> None:
    """With memory_only=True a run starts while the store is down, and reaches the store when it is back."""
    with Workers(memory_only=True) as workers:
        a, b = workers.relays
        workers.views[0].down = True
        source = Scripted("a", "b")
        run = a.start("k", source.open, idempotency_key="m", owner="u")
        assert a.start("k", source.open, idempotency_key="m", owner="u").id == run.id
        with pytest.raises(RunBusy):
            a.start("k", source.open)
        running = a.running("k")
        assert running is not None
        assert running.id == run.id
        follower = a.follow(run.id, owner="u")
        assert texts(take(follower, 2)) == "ab"
        with pytest.raises(RunNotFound):
            b.follow(run.id, owner="u")
        workers.views[0].down = False
        wait_until(lambda: workers.store.get(run.id) is not None)
        source.send("c", None)
        assert texts(list(follower)) == "c"
        wait_until(lambda: b.get(run.id, owner="u").ended)
        assert texts(read(b, run.id, owner="u")) == "abc"
        assert source.opened == 1


def test_a_store_that_has_lost_a_run(workers: Workers) -> None:
    """A store that was emptied gets the whole run again, with its state, and another worker can follow it."""
    a, b = workers.relays
    source = Scripted("a", "b")
    run = a.start("k", source.open, state={"g": 1}, owner="u")
    wait_until(lambda: b.get(run.id, owner="u").last == 2)
    workers.store._runs.clear()
    source.send("c")
    wait_until(lambda: (record := workers.store.get(run.id)) is not None and record.last == 3)
    assert texts(take(b.follow(run.id, owner="u"), 3)) == "abc"
    assert b.get(run.id, owner="u").state == {"g": 1}
    source.send("d", None)
    wait_until(lambda: b.get(run.id, owner="u").status == "completed")
    assert texts(read(b, run.id, owner="u")) == "abcd"


def test_a_store_that_has_lost_the_newest_events(workers: Workers) -> None:
    """A store that was restored from an older copy gets what it lacks, in order."""
    a, b = workers.relays
    source = Scripted()
    run = a.start("k", source.open)
    for count, text in enumerate("abcdef", 1):
        source.send(text)
        wait_until(lambda count=count: b.get(run.id).last == count)  # type: ignore[misc]
    stored = workers.store._runs[run.id]
    stored.batches = [batch for batch in stored.batches if batch.last <= 3]
    stored.last = stored.batches[-1].last
    source.send("g", "h")
    wait_until(lambda: b.get(run.id).last == 8)
    source.send(None)
    wait_until(lambda: b.get(run.id).ended)
    assert texts(read(b, run.id)) == "abcdefgh"
    assert numbers(read(b, run.id)) == list(range(1, 9))


# Forks


@needs_fork
def test_a_relay_made_before_a_fork() -> None:
    """A child of a process with runs, followers and threads uses the same relay for its own runs."""
    relay = Relay()
    source = Scripted("a")
    run = relay.start("k", source.open)
    follower = relay.follow(run.id)
    take(follower, 1)

    def child() -> None:
        assert relay.writer.generations == {}
        with pytest.raises(RunNotFound):
            relay.follow(run.id)
        mine = relay.start("k", Scripted("x", "y", None).open)
        assert texts(read(relay, mine.id)) == "xy"
        relay.close(5.0)
        assert relay.get(mine.id).status == "completed"

    children = [in_child(child) for _ in range(3)]
    assert succeeded(*children)
    source.send("b", None)
    assert texts(list(follower)) == "b"
    relay.close(5.0)
    assert os.getpid() not in children


# Encoding


def test_every_event_survives_a_store() -> None:
    """All kinds of events are the same after a batch; text with half a surrogate pair, too."""
    everything: list[events.AnyEvent] = [
        events.Token("a"), events.Token(""), events.Token("\N{GRINNING FACE}é"), events.Reasoning("r"), events.Reasoning("s"),
        events.Token("b", id=3, logprob=-0.5, special=False), events.Token("c", extra={"x": 1}), events.Token("d"),
        events.Title("t"), events.ToolCall("u", "n", {"a": [1, None, {"b": "c"}]}), events.FinalAnswer("whole", interrupted=True),
        events.Sources((events.Source("http://x", "t"),)), events.Usage(1, 2, 3), events.Unknown("odd", {"type": "odd", "x": None}),
    ]  # fmt: skip
    encoder = Encoder()
    batch = encoder.batch(5, everything)
    assert (batch.first, batch.last) == (5, 4 + len(everything))
    assert decode(batch.data) == everything
    assert (encoder.text, encoder.reasoning) == (len("a\N{GRINNING FACE}ébcd"), 2)
    odd: list[events.AnyEvent] = [events.Token("x\ud800"), events.Token("\udc00y")]
    assert decode(Encoder().batch(1, odd).data) == odd
    newer = Batch(1, 1, b'[0,0,0,[{"event":"Hologram","depth":3}]]')
    assert decode(newer.data) == [events.Unknown("Hologram", {"event": "Hologram", "depth": 3})]


def test_a_run_that_is_gone_ends_its_followers(workers: Workers) -> None:
    """A follower of a run whose time has passed in the store gets RunGone, not silence."""
    a, b = workers.relays
    source = Scripted("a")
    run = a.start("k", source.open)
    follower = b.follow(run.id)
    take(follower, 1)
    stored = workers.store._runs[run.id]
    stored.expires = 0.0
    mirror = b.mirrors.get(run.id)
    assert mirror is not None
    mirror._notified(None)
    with pytest.raises(RunGone):
        list(follower)


def test_a_foreign_write_is_refused(workers: Workers) -> None:
    """Only the holder of the lease writes: the fence of another one changes nothing."""
    a, _ = workers.relays
    run = a.start("k", Scripted("a").open)
    wait_until(lambda: (record := workers.store.get(run.id)) is not None and record.last == 1)
    (record,) = workers.store.write([Write(run_id=run.id, fence=9, batches=[Batch(2, 1, b"[0,0,[]]")], lease=1.0)], a.bounds)
    assert record is not None
    assert record.last == 1


def test_a_prompt_is_sent_once(workers: Workers) -> None:
    """However often workers ask for one message, its prompt reaches the server once."""
    a, b = workers.relays
    with PromptedChatUI() as ui, Client(ui.url, token="", cookies={"hf-chat": "c"}) as client:
        ids = [relay.start("k", lambda: client.chat("count x"), idempotency_key="m").id for relay in (a, b, a, b)]
        assert len(set(ids)) == 1
        texts_ = {texts(read(relay, ids[0])) for relay in (a, b)}
        wait_until(lambda: b.get(ids[0]).ended)
        assert b.start("k", lambda: client.chat("count x"), idempotency_key="m").status == "completed"
        assert len(texts_) == 1
        assert ui.count("send") == 1


def test_memory_is_bounded_while_the_store_is_down() -> None:
    """A long answer during an outage keeps its newest events; when the store is back it is left alone, and nothing stays in memory."""
    with Workers(max_events=50, lease=60.0) as workers:
        a, b = workers.relays
        source = Scripted("a")
        run = a.start("k", source.open)
        wait_until(lambda: b.get(run.id).last == 1)
        generation = a.writer.generations[run.id]
        workers.views[0]._down = True
        for _ in range(20):
            source.send(*("x" for _ in range(50)))
            wait_until(source._queue.empty)
            wait_until(lambda: len(generation.log.events) <= 101)
        wait_until(lambda: sum(batch.count for batch in generation._pending) <= 150)
        source.send("y", None)
        follower = a.follow(run.id, f"{run.id}:1001")
        assert texts(list(follower)) == "y"
        workers.views[0].down = False
        wait_until(lambda: a.writer.generations == {})


def test_a_slow_store_slows_the_reader_down() -> None:
    """Events wait for a store that is slow, within the bounds of a run; none is lost."""
    with Workers(1, max_events=100) as workers:
        (a,) = workers.relays
        slow = threading.Event()
        write = workers.views[0].write

        def slowly(*args: Any) -> Any:
            slow.wait(0.05)
            return write(*args)

        workers.views[0].write = slowly
        source = Scripted(*("x" for _ in range(2000)), None)
        run = a.start("k", source.open)
        log = a.writer.generations[run.id].log
        most = 0
        while log.end is None:
            most = max(most, len(log.events))
        assert most <= 202
        wait_until(lambda: a.get(run.id).ended)
        assert a.get(run.id).last == 2000


@needs_signals
def test_sigterm_ends_the_runs_of_a_process() -> None:
    """After SIGTERM a process ends its runs as interrupted, and stops their generation, before it exits."""
    code = """
import os, signal, sys, threading
from hfclient import Client
from hfclient.web import Relay
client = Client({url}, token="", cookies={"hf-chat": "c"})
relay = Relay(on_end=lambda run, reply, error: print(run.status, len(reply.text) > 0, flush=True))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
relay.close_on_sigterm(0.1)
run = relay.start("k", lambda: client.chat("endless x"))
for index, entry in enumerate(relay.follow(run.id)):
    if index == 5:
        print("going", flush=True)
print("ended", flush=True)
"""
    with PromptedChatUI() as ui, Script(code, url=ui.url) as script:
        assert script.line() == "going"
        script.process.send_signal(signal.SIGTERM)
        assert script.line() == "interrupted True"
        status, _, err = script.end()
        assert status in (0, 143)
        assert "Traceback" not in err
        wait_until(lambda: len(ui.stops_for("endless x")) >= 1)


@needs_signals
def test_a_second_sigterm_does_not_end_the_shutdown() -> None:
    """A process whose main thread has ended waits for the shutdown that SIGTERM has begun, also if the signal comes again."""
    code = """
import os, signal, threading, time
from hfclient.web import Relay
from hfclient.web.relay.shutdown import on_sigterm
def close():
    while signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    print("closed", flush=True)
on_sigterm(close)
os.kill(os.getpid(), signal.SIGTERM)
threading.Event().wait()
"""
    with Script(code) as script:
        assert script.end() == (143, "closed\n", "")


@needs_signals
def test_the_end_of_a_process_ends_its_runs() -> None:
    """A process that ends without closing its relay still ends its runs, within two seconds."""
    code = """
from hfclient import Client
from hfclient.web import Relay
client = Client({url}, token="", cookies={"hf-chat": "c"})
relay = Relay(on_end=lambda run, reply, error: print(run.status, flush=True))
run = relay.start("k", lambda: client.chat("endless x"))
next(iter(relay.follow(run.id)))
"""
    with PromptedChatUI() as ui, Script(code, url=ui.url) as script:
        assert script.line() == "interrupted"
        status, _, err = script.end()
        assert (status, err) == (0, "")
        wait_until(lambda: len(ui.stops_for("endless x")) >= 1)


def test_many_greenlets_follow_under_gevent() -> None:
    """Under gevent runs, followers and the writer are greenlets of one thread."""
    pytest.importorskip("gevent")
    code = """
from gevent import monkey
monkey.patch_all()
import gevent, threading
from hfclient import Client
from hfclient.web import Relay, sse
client = Client({url}, token="", cookies={"hf-chat": "c"})
relay = Relay()
run = relay.start("k", lambda: client.chat("hold one"))
jobs = [gevent.spawn(lambda: b"".join(sse(relay.follow(run.id)))) for _ in range(100)]
gevent.sleep(0.2)
print("ready", flush=True)
gevent.joinall(jobs, timeout=30)
bodies = {job.value for job in jobs}
print(len(bodies), bodies.pop().count(b"Token"), flush=True)
other = relay.start("l", lambda: client.chat("endless two"))
follower = relay.follow(other.id)
next(iter(follower))
print(relay.stop(other.id).status, flush=True)
relay.close(5)
print(relay.get(run.id).status, relay, flush=True)
"""
    with PromptedChatUI() as ui, Script(code, url=ui.url) as script:
        assert script.line() == "ready"
        ui.go.set()
        assert script.line() == "1 40"
        assert script.line() == "interrupted"
        assert script.line().startswith("completed <Relay with 0 runs")
        assert script.end()[0] == 0
