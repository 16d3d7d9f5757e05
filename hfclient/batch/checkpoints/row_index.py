"""`RowIndex`: numbers by key, for any number of rows in a few megabytes of memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from hfclient.batch.errors import CheckpointError

__all__ = ["RowIndex", "storable"]

_CACHE = -8000  # kB of memory; the rest is in a temporary file, which SQLite deletes
_RECENT = 4096  # rows that are put together
_AT_ONCE = 300  # rows in a statement, with three of its at most 999 parameters each; see `hfclient.batch.checkpoints.sqlite`
_BITS = 2**26  # of the filter, 8 MB: a new key needs no look into the table, nearly always up to ten million


class RowIndex:
    """A temporary table of keys, each with two numbers. Looking up one key takes about 3 µs, whether there are ten or ten million.

    It is made when the first key is put. A new key, which is the usual case, takes 1 µs (a Bloom filter).
    """

    def __init__(self) -> None:
        self._database: Any = None
        self._recent: dict[str, tuple[int, int]] = {}  # not in the table yet
        self._filter = bytearray()

    def __del__(self) -> None:
        self.close()

    def get(self, key: str) -> tuple[int, int] | None:
        """Return the numbers of *key*, or None."""
        if (known := self._recent.get(key)) is not None:
            return known
        if self._database is None or not self._filter or not self._may_have(key):
            return None
        with _translated():
            found: tuple[int, int] | None = self._database.execute("SELECT a, b FROM rows WHERE key = ?", (storable(key),)).fetchone()
            return found

    def put(self, key: str, a: int, b: int = 0) -> None:
        """Set the numbers of *key*."""
        self._recent[key] = a, b
        if len(self._recent) >= _RECENT:
            self._write_recent()

    def put_all(self, rows: Iterable[tuple[str, int, int]]) -> None:
        """Set the numbers of many keys."""
        self._write_recent()
        self._insert((self._note(key), a, b) for key, a, b in rows)

    def count(self, condition: str = "1") -> int:
        """Return the number of keys for which the SQL expression *condition* of ``a`` and ``b`` holds."""
        self._write_recent()
        if self._database is None:
            return 0
        with _translated():
            count: int = self._database.execute(f"SELECT count(*) FROM rows WHERE {condition}").fetchone()[0]  # noqa: S608 (ours)
            return count

    def in_order(self, *, below_zero: bool = False) -> Iterator[tuple[int, int]]:
        """Yield the numbers of all keys, sorted; with *below_zero* of those whose second number is."""
        if self._database is None:
            yield from sorted(numbers for numbers in self._recent.values() if numbers[1] < 0 or not below_zero)
            return
        self._write_recent()
        condition = "b < 0" if below_zero else "1"
        with _translated():
            yield from self._database.execute(f"SELECT a, b FROM rows WHERE {condition} ORDER BY a, b")  # noqa: S608 (ours)

    def close(self) -> None:
        """Delete the table."""
        self._recent, self._filter = {}, bytearray()
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _note(self, key: str) -> str:
        """Note in the filter that *key* is in the table; return it."""
        bits = self._filter = self._filter or bytearray(_BITS // 8)
        one, two = _places(key)
        bits[one >> 3] |= 1 << (one & 7)
        bits[two >> 3] |= 1 << (two & 7)
        return key

    def _may_have(self, key: str) -> bool:
        bits = self._filter
        one, two = _places(key)
        return bool(bits[one >> 3] >> (one & 7) & bits[two >> 3] >> (two & 7) & 1)

    def _write_recent(self) -> None:
        if recent := self._recent:
            self._insert((self._note(key), a, b) for key, (a, b) in recent.items())
            self._recent = {}

    def _insert(self, rows: Iterable[tuple[str, int, int]]) -> None:
        rest = iter(rows)
        with _translated():
            while values := [value for key, a, b in itertools.islice(rest, _AT_ONCE) for value in (storable(key), a, b)]:
                marks = ",".join(["(?,?,?)"] * (len(values) // 3))
                self._table().execute(f"INSERT OR REPLACE INTO rows VALUES {marks}", values)  # noqa: S608 (question marks)

    def _table(self) -> Any:
        if self._database is None:
            import sqlite3

            self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # "": in a temporary file
            for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = {_CACHE}"):
                self._database.execute(f"PRAGMA {setting}")
            self._database.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, a INTEGER, b INTEGER) WITHOUT ROWID")
            self._database.execute("BEGIN")  # for all: a transaction for each row takes twice the time
        return self._database


def _places(key: str) -> tuple[int, int]:
    """Return the two bits of *key* in the filter."""
    code = hash(key)
    return code % _BITS, (code >> 32) % _BITS


def storable(key: str) -> str:
    """Return *key* without half surrogates, which SQLite cannot store."""
    return key if key.isascii() else key.encode("utf-8", "backslashreplace").decode()


class _translated:  # noqa: N801 (a function, but faster)
    """Raise errors of SQLite as `CheckpointError`."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None and type(error).__module__ == "sqlite3":
            text = f"the temporary index of a batch cannot be written ({error}); the variable SQLITE_TMPDIR names another folder for it"
            raise CheckpointError(text) from error
