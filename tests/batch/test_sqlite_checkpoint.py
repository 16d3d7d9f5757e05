"""The database of SQLite: claims of several owners, and how few statements a group of answers takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hfclient.batch.checkpoints import Checkpoint
from hfclient.batch.checkpoints.sqlite import SqliteCheckpoint
from tests.batch.test_checkpoints import RUN, answer, failure, keys


@pytest.fixture
def owners(tmp_path: Path) -> Iterator[list[Checkpoint]]:
    """Two objects with the same file, as in two processes."""
    opened: list[Checkpoint] = [SqliteCheckpoint(str(tmp_path / "out.sqlite")) for _ in range(2)]
    for one in opened:
        one.begin(RUN)
    yield opened
    for one in opened:
        one.close()


def test_what_another_owner_may_ask(owners: list[Checkpoint]) -> None:
    """Another owner gets answers at once, waits for what is in flight, and gets the error of what it has waited for."""
    one, other = owners
    assert one.claim(keys(1)) == ["mine"]
    assert one.claim(keys(2, 3, 4)) == ["mine"] * 3
    assert other.claim(keys(1, 3)) == ["taken", "taken"]
    one.save([answer(1), answer(2)])
    assert other.claim(keys(1, 2, 3, 4, 5)) == [answer(1), answer(2), "taken", "taken", "mine"]
    assert one.claim(keys(1, 5)) == [answer(1), "taken"]
    one.save([failure(3)])
    assert other.claim(keys(3)) == [failure(3)]
    assert other.claim(keys(3, 5)) == ["mine", "mine"]
    one.release(keys(4))
    assert other.claim(keys(4)) == ["mine"]


def test_a_group_takes_few_statements(owners: list[Checkpoint]) -> None:
    """New items are claimed with one statement and answers are stored with one, however many they are, and old claims are deleted."""
    one = owners[0]
    assert isinstance(one, SqliteCheckpoint)
    one.claim(keys(0))
    statements: list[str] = []
    database = one._open()
    database.set_trace_callback(statements.append)
    for first in range(1, 2001, 50):
        group = range(first, first + 50)
        one.claim(keys(*group))
        one.save([answer(number) for number in group])
    database.set_trace_callback(None)
    assert len(statements) <= 40 * 5
    assert database.execute("SELECT count(*) FROM claims").fetchone()[0] <= 600
