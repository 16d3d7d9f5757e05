"""Events that a follower in the generating process had before the store had them, when another process continues the run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from hfclient.events import AnyEvent, FinalAnswer, Reasoning, Title, Token, ToolCall
from hfclient.web.errors import InvalidRequest
from hfclient.web.relay import MemoryStore, Relay
from hfclient.web.relay.follower import Follower
from tests.chat.replay import wait_until
from tests.clock import FakeTime
from tests.web.relay_sources import Partition, Scripted, read, take, texts

LEASE = 0.5


class Workers:
    """Two relays on one store. What the first one writes can be held back; the second one continues its runs with *replay*."""

    def __init__(self) -> None:
        self.clock = FakeTime()  # of the leases
        store = MemoryStore(clock=self.clock.monotonic)
        self.replay = Scripted()
        self.view: Any = Partition(store)
        self.first = Relay(self.view, lease=LEASE, coalesce=0.005, recover=lambda run: Scripted(None))
        self.second = Relay(Partition(store), lease=LEASE, coalesce=0.005, recover=lambda run: self.replay)  # type: ignore[arg-type]

    def started(self, stored: list[AnyEvent], shown: list[AnyEvent]) -> tuple[str, Follower, list[Any]]:
        """Start a run whose process dies after it has shown events that the store does not have."""
        source = Scripted(*stored)
        run = self.first.start("k", source.open, state={"g": 1})
        wait_until(lambda: self.second.get(run.id).last == len(stored))
        follower = self.first.follow(run.id)
        entries = take(follower, len(stored))
        self.view.down = True
        source.send(*shown)
        entries += take(follower, len(shown))
        self.clock.advance(LEASE)
        return run.id, follower, entries


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    workers.view._down = False
    workers.first.close(0)
    workers.second.close(0)


def test_a_reader_continues_behind_what_was_not_stored(workers: Workers) -> None:
    """The process that takes over cuts the text into other events; a reader of the first one gets the rest of the text, once."""
    run_id, _, entries = workers.started([Token("a"), Token("b")], [Token("c"), Token("d"), Token("e")])
    assert [entry.id for entry in entries[:2]] == [f"{run_id}:1", f"{run_id}:2"]
    assert entries[-1].id == f"{run_id}.5.0.0:5"
    workers.replay.send("ab", "cdefg", "hi", None)
    rest = read(workers.second, run_id, entries[-1].id)
    assert texts(entries + rest) == "abcdefghi"
    assert texts(read(workers.second, run_id)) == "abcdefghi"
    for number, entry in enumerate(rest):  # and from there on
        assert texts(read(workers.second, run_id, entry.id)) == texts(rest[number + 1 :])


def test_a_reader_that_had_more_than_the_new_events(workers: Workers) -> None:
    """The number of the reader's last event is beyond the last one of the continued run, whose end is not lost."""
    shown: list[AnyEvent] = [Token(letter) for letter in "bcdefgh"]
    run_id, _, entries = workers.started([Token("a")], shown)
    workers.replay.send("a", "bcdefghi", FinalAnswer("abcdefghi"), None)
    rest = read(workers.second, run_id, entries[-1].id)
    assert [entry.event for entry in rest] == [Token("i"), FinalAnswer("abcdefghi")]


def test_a_reader_comes_back_before_and_after_the_takeover(workers: Workers) -> None:
    """Before the lease has expired the reader waits, and then gets the same as one that comes when the run has ended."""
    run_id, _, entries = workers.started([Reasoning("r"), Token("a")], [Token("b"), Token("c")])
    early = workers.second.follow(run_id, entries[-1].id)
    workers.replay.send(Reasoning("r"), "abcd", "e", None)
    assert texts(list(early)) == "de"
    assert texts(read(workers.second, run_id, entries[-1].id)) == "de"


def test_a_paused_process_shows_the_rest_of_the_other_one(workers: Workers) -> None:
    """A follower of a process that was cut off gets what the process that took over has, from where it is."""
    run_id, follower, entries = workers.started([Token("a"), Token("b")], [Token("c"), Token("d")])
    workers.replay.send("ab", "cde", "f", None)
    assert texts(read(workers.second, run_id)) == "abcdef"
    workers.view.down = False
    assert texts(entries + list(follower)) == "abcdef"
    assert follower.status == "completed"


def test_other_events_are_not_repeated(workers: Workers) -> None:
    """Events without text that were shown and not stored come once."""
    call = ToolCall("1", "search")
    run_id, _, entries = workers.started([Title("t"), Token("a")], [Token("b"), call])
    workers.replay.send(Title("t"), "ab", call, "c", FinalAnswer("abc"), None)
    rest = [entry.event for entry in read(workers.second, run_id, entries[-1].id)]
    assert rest == [Token("c"), FinalAnswer("abc")]


def test_a_run_that_its_process_has_ended(workers: Workers) -> None:
    """The id of an event that was not stored when it was shown, and is now, is that of the event: what follows comes once, of the last one the end."""
    source = Scripted(Title("t"), "a")
    run = workers.first.start("k", source.open)
    follower = workers.first.follow(run.id)
    workers.view.down = True
    entries = take(follower, 2)
    source.send("b", FinalAnswer("ab"), None)
    entries += list(follower)
    assert entries[-1].id == f"{run.id}.2.0.2:4"
    workers.view.down = False
    wait_until(lambda: workers.second.get(run.id).ended)
    for number, entry in enumerate(entries):
        rest = read(workers.second, run.id, entry.id)
        assert [other.event for other in rest] == [other.event for other in entries[number + 1 :]]
    assert workers.second.follow(run.id, entries[-1].id).at_end


@pytest.mark.parametrize("seed", range(4))
def test_random_cuts(workers: Workers, seed: int) -> None:
    """Whatever was shown and however the text is cut, each id that a reader can have is followed by the rest of the text."""
    rnd = random.Random(seed)
    text = "".join(chr(97 + number % 26) for number in range(200))

    def pieces(most: int) -> list[AnyEvent]:
        found: list[AnyEvent] = []
        at = 0
        while at < len(text):
            size = rnd.randint(1, most)
            found.append(Token(text[at : at + size]))
            at += size
        return found

    live = pieces(3)
    stored = rnd.randint(1, 40)
    run_id, _, entries = workers.started(live[:stored], live[stored : stored + rnd.randint(1, 40)])
    workers.replay.send(*pieces(9), None)
    whole = read(workers.second, run_id)
    assert texts(whole) == text
    had = ""
    for entry in entries:
        had += texts([entry])
        assert had + texts(read(workers.second, run_id, entry.id)) == text


def test_ids_with_a_wrong_position(workers: Workers) -> None:
    """A malformed position is refused; one beyond the answer is followed by nothing but the end."""
    run = workers.second.start("k", Scripted("a", None).open)
    assert texts(read(workers.second, run.id)) == "a"
    wait_until(lambda: workers.first.get(run.id).ended)
    for wrong in (".1.0:1", ".1.0.0.0:1", ".-1.0.0:1", ".1.0.x:1", "...:1", ".٣.0.0:1", ".1.0.0:", ".0.0.01:1"):
        with pytest.raises(InvalidRequest):
            workers.first.follow(run.id, run.id + wrong)
    assert read(workers.first, run.id, f"{run.id}.99.99.99:7") == []
    assert texts(read(workers.first, run.id, f"{run.id}.0.0.0:7")) == "a"
