"""Notes of items that have begun, and the tokens of values that do not hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hfclient.batch.batch import Batch
from hfclient.batch.checkpoints import open_checkpoint
from hfclient.batch.items import Item, read_items
from hfclient.batch.jobs import Outcome
from hfclient.errors import RateLimitError, TransportError
from hfclient.events import Usage
from hfclient.types import Reply
from tests.batch.local_call import LocalCall


class Counting(LocalCall):
    """A call that notes each attempt, and answers at the second one."""

    keeps_notes = True
    has_files = False

    def run(self, item: Item) -> Any:
        assert item.notes is not None
        count = (item.notes.last or {"count": 0})["count"] + 1
        item.notes.note({"count": count})
        if count == 1:
            raise TransportError("the first attempt fails")
        return Outcome([item.input, count], Reply(usage=Usage(1, 2, 3)))


def ask(path: Path, items: list[str]) -> Batch:
    return Batch(Counting(), read_items(items), workers=3, checkpoint=lambda: open_checkpoint(path))


def test_a_later_run_gets_the_notes(tmp_path: Path) -> None:
    """What a call notes of an item is there for the next run that asks it again, and the tokens are stored with the value."""
    path = tmp_path / "out.jsonl"
    items = [f"item {number}" for number in range(10)]
    assert not any(result.ok for result in ask(path, items))
    for stored in (False, True):
        results = ask(path, items).results()
        assert [result.value for result in results] == [[item, 2] for item in items]
        assert {result.stored for result in results} == {stored}
        assert all(result.usage == Usage(1, 2, 3) for result in results)


def test_an_attempt_gets_the_notes_of_the_one_before(tmp_path: Path) -> None:
    """An item that goes back for a limit keeps its notes."""

    class Limited(Counting):
        def run(self, item: Item) -> Any:
            try:
                return super().run(item)
            except TransportError:
                raise RateLimitError("later", status_code=429, retry_after=0.0) from None

    with Batch(Limited(), read_items(["a"]), workers=1, checkpoint=lambda: open_checkpoint(tmp_path / "out.jsonl")) as batch:
        assert next(batch).get() == ["a", 2]
        with pytest.raises(StopIteration):
            next(batch)
