"""A checkpoint in a database of SQLite. Several processes and threads of one machine share its work.

    $ sqlite3 out.sqlite 'SELECT "index", id, json_extract(value, "$.text") FROM answers ORDER BY "index"'

An item is asked by the process that claims it first; the others wait for its answer. A claim belongs to an owner, which proves every
few seconds that it lives; the claims of one that has ended, or that has been silent for a minute, are free again.

Few statements take many rows each: every call of SQLite releases Python's lock, and then waits for the thread of the requests. So
new items are claimed with one statement, and answers are stored with one; claims of answered items say nothing and are deleted later.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hfclient.batch.checkpoints import OnChange, Record
from hfclient.batch.checkpoints.encoding import decode, encode
from hfclient.batch.checkpoints.file_lock import is_alive, this_process
from hfclient.batch.checkpoints.row_index import storable
from hfclient.batch.checkpoints.runs import is_new_run
from hfclient.batch.errors import CheckpointError
from hfclient.errors import InvalidInputError

__all__ = ["SqliteCheckpoint"]

_APPLICATION = 0x68664370  # "hfCp": https://sqlite.org/pragma.html#pragma_application_id
_VERSION = 1
_HEADER = b"SQLite format 3\0"
_LEASE = 60.0  # seconds of silence after which an owner counts as dead
_BEAT = 15.0  # seconds between two signs of life
_BUSY = 60.0  # seconds to wait for another process's transaction, which takes milliseconds
_PAGE = 500  # records that are read at a time
_AT_ONCE = 100  # rows in a statement: of at most 999 parameters each has nine
_SCHEMA = """
CREATE TABLE runs (number INTEGER PRIMARY KEY, run TEXT NOT NULL);
CREATE TABLE answers (
    key TEXT PRIMARY KEY, "index" INTEGER, id TEXT, value TEXT, error TEXT, attempts INTEGER, seconds REAL, reply TEXT, stored REAL
);
CREATE TABLE notes (key TEXT PRIMARY KEY, note TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE owners (owner TEXT PRIMARY KEY, process TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID
"""
_COLUMNS = 'key, "index", id, value, error, attempts, seconds, reply'
_SAVE = f"INSERT INTO answers ({_COLUMNS}, stored) VALUES"
_UNLESS_ANSWERED = """ON CONFLICT (key) DO UPDATE SET "index" = excluded."index",
id = excluded.id, value = excluded.value, error = excluded.error, attempts = excluded.attempts, seconds = excluded.seconds,
reply = excluded.reply, stored = excluded.stored WHERE excluded.error IS NULL OR answers.error IS NOT NULL
"""
_CLAIM = "INSERT OR IGNORE INTO claims SELECT column1, column2 FROM (VALUES"
_NEW = ") WHERE NOT EXISTS (SELECT 1 FROM answers WHERE key = column1 AND error IS NULL)"
_FIND = f"SELECT {_COLUMNS}, stored FROM answers WHERE key IN"  # noqa: S608 (constants)
_READ = f"SELECT rowid, {_COLUMNS} FROM answers WHERE rowid > ? ORDER BY rowid LIMIT {_PAGE}"  # noqa: S608 (constants)
_of_parents: list[sqlite3.Connection] = []  # of a forked process: closing them here would remove files that the parent uses


class SqliteCheckpoint:
    """A database file; see `Checkpoint`.

    Args:
        path: The file. It is created for the owner alone (mode 600).
        read_only: Only for :meth:`records`.
    """

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        self._path = path
        self._owner = uuid.uuid4().hex
        self._process = os.getpid()
        self._taken: set[str] = set()  # keys that another owner asks
        self._answered: list[str] = []  # keys whose claims are to be deleted
        self._since = time.time()
        self._mutex = threading.RLock()  # notes come from other threads
        self._closing = threading.Event()
        self._heart: threading.Thread | None = None
        self._database: sqlite3.Connection | None = None
        self._is_durable: bool | None = None  # how the database writes now, if that is known
        with self._translated("opened"):
            self._database = _connected(path, read_only=read_only)
        self._inode = Path(path).stat().st_ino

    def __del__(self) -> None:
        self.close()

    def begin(self, run: Mapping[str, Any], on_change: OnChange = "raise") -> None:
        with self._transaction() as database:
            answers = database.execute("SELECT count(*) FROM answers WHERE error IS NULL").fetchone()[0]
            if is_new_run(self._path, self._runs(database), run, on_change, answers):
                database.execute("INSERT INTO runs (run) VALUES (?)", (encode(run),))

    def claim(self, keys: Sequence[str]) -> list[Record | Literal["mine", "taken"]]:
        names = [storable(key) for key in keys]
        rows = [(name, self._owner) for name in names]
        if self._heart is not None and self._taken.isdisjoint(keys):
            with self._writing(durable=False) as database:
                if _insert(database, _CLAIM, rows, _NEW) == len(rows):
                    return ["mine"] * len(rows)
        with self._translated("read"):
            claims = self._stored(self._open(), keys)
        if "mine" not in claims:
            return claims
        with self._transaction(durable=False) as database:
            self._live(database)
            claims = self._stored(database, keys)  # another owner may have stored answers meanwhile
            _insert(database, _CLAIM, rows, _NEW)
            others = set(_found(database, "SELECT key FROM claims WHERE owner != ? AND key IN", names, self._owner))
            for at, claim in enumerate(claims):
                if claim == "mine" and (names[at],) in others:
                    claims[at] = "taken"
                    self._taken.add(keys[at])
        return claims

    def save(self, records: Iterable[Record]) -> None:
        now = time.time()
        rows = [(*_row(record), now) for record in records]
        answered = [row[0] for row in rows]
        has_errors = any(row[4] is not None for row in rows)
        if len(rows) <= _AT_ONCE and not has_errors and len(self._answered) < _PAGE:
            with self._writing() as database:
                _insert(database, _SAVE, rows, _UNLESS_ANSWERED)
            self._answered += answered
            return
        with self._transaction() as database:
            _insert(database, _SAVE, rows, _UNLESS_ANSWERED)
            for _ in _found(database, "DELETE FROM claims WHERE key IN", [*self._answered, *answered]):
                pass  # a statement without rows
        self._answered = []

    def note(self, key: str, data: Mapping[str, Any] | None) -> None:
        with self._writing() as database:
            if data is None:
                database.execute("DELETE FROM notes WHERE key = ?", (storable(key),))
            else:
                database.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (storable(key), encode(data)))

    def notes(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        query = "SELECT note FROM notes WHERE key = ?1 AND NOT EXISTS (SELECT 1 FROM answers WHERE key = ?1 AND error IS NULL)"
        with self._translated("read"):
            found = {key: self._open().execute(query, (storable(key),)).fetchone() for key in keys}
        return {key: decode(row[0]) for key, row in found.items() if row is not None}

    def release(self, keys: Iterable[str]) -> None:
        with self._transaction(durable=False) as database:
            rows = [(storable(key), self._owner) for key in keys]
            database.executemany("DELETE FROM claims WHERE key = ? AND owner = ?", rows)

    def runs(self) -> list[Mapping[str, Any]]:
        with self._translated("read"):
            return self._runs(self._open())

    def records(self) -> Iterator[Record]:
        last = 0
        while True:
            with self._translated("read"):
                rows = self._open().execute(_READ, (last,)).fetchall()
            if not rows:
                return
            for last, *row in rows:  # noqa: B007 (the place for the next page)
                yield _record(row)

    def close(self) -> None:
        database = getattr(self, "_database", None)
        if database is None:
            return
        if os.getpid() != self._process:
            _of_parents.append(database)
            self._database = None
            return
        self._closing.set()
        if self._heart is not None and self._heart is not threading.current_thread():
            with contextlib.suppress(RuntimeError):  # Ctrl-C has come before it ran: it ends when it does
                self._heart.join()
        if self._heart is not None:
            with contextlib.suppress(sqlite3.Error):  # a claim that stays is free when this process has ended
                database.execute("DELETE FROM claims WHERE owner = ?", (self._owner,))
                database.execute("DELETE FROM owners WHERE owner = ?", (self._owner,))
        with contextlib.suppress(sqlite3.Error):
            database.close()
        self._database = None  # at the end: after Ctrl-C in the middle it is closed again

    # Owners

    def _live(self, database: sqlite3.Connection) -> None:
        """Sign that this owner lives, and free the claims of those that do not."""
        now = time.time()
        if self._heart is None:
            database.execute("INSERT INTO owners VALUES (?, ?, ?)", (self._owner, json.dumps(this_process()), now + _LEASE))
            # A weak reference, so that a batch that is forgotten is closed.
            self._heart = threading.Thread(
                target=_beat, args=(weakref.ref(self), self._closing), name="hfclient-checkpoint", daemon=True
            )
            self._heart.start()
        for owner, process, until in database.execute("SELECT owner, process, until FROM owners").fetchall():
            if owner != self._owner and (until < now or is_alive(json.loads(process)) is False):
                database.execute("DELETE FROM claims WHERE owner = ?", (owner,))
                database.execute("DELETE FROM owners WHERE owner = ?", (owner,))

    def _renew(self) -> None:
        # If the database is busy or full, the next beat is early enough.
        with contextlib.suppress(CheckpointError), self._transaction(durable=False) as database:
            row = (self._owner, json.dumps(this_process()), time.time() + _LEASE)
            database.execute("INSERT OR REPLACE INTO owners VALUES (?, ?, ?)", row)

    # Reading and writing

    def _stored(self, database: sqlite3.Connection, keys: Sequence[str]) -> list[Record | Literal["mine", "taken"]]:
        """Return the answer to each key, or "mine".

        An error counts only if another owner has asked meanwhile, for which this one has waited.
        """
        names = [storable(key) for key in keys]
        found = {row[0]: row for row in _found(database, _FIND, names)}
        claims: list[Record | Literal["mine", "taken"]] = []
        for key, name in zip(keys, names, strict=True):
            row = found.get(name)
            if row is None or (row[4] is not None and (row[-1] < self._since or key not in self._taken)):
                claims.append("mine")
            else:
                self._taken.discard(key)
                claims.append(_record([key, *row[1:-1]]))
        return claims

    def _runs(self, database: sqlite3.Connection) -> list[Mapping[str, Any]]:
        return [decode(run) for (run,) in database.execute("SELECT run FROM runs ORDER BY number")]

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            raise CheckpointError(f"the checkpoint {self._path} is closed")
        if os.getpid() != self._process:
            raise CheckpointError(f"the checkpoint {self._path} was opened by another process; open it again in this one")
        return self._database

    @contextlib.contextmanager
    def _writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Yield the database for one statement, or for one transaction."""
        with self._mutex, self._translated("written"):
            database = self._open()
            try:
                is_there = os.stat(self._path).st_ino == self._inode  # noqa: PTH116 (a Path takes longer than the call)
            except OSError:
                is_there = False
            if not is_there:
                raise CheckpointError(f"{self._path} was deleted while a batch wrote it; its answers are lost unless they were read")
            if database.in_transaction:  # Ctrl-C came before its end
                database.execute("ROLLBACK")
            if self._is_durable is not durable:
                self._is_durable = None
                database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")  # FULL writes through to the disk
                self._is_durable = durable
            yield database

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        with self._writing(durable=durable) as database:
            try:
                database.execute("BEGIN IMMEDIATE")  # Ctrl-C may come while another process writes
                yield database
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            text = f"{self._path} cannot be {action}: {error}. The answers that it has are complete"
            if "locked" in str(error):
                text = f"{self._path} cannot be {action}: another program has locked it for a minute"
            elif "malformed" in str(error):
                text = f"{self._path} is damaged ({error}); sqlite3 {self._path} .recover writes what is left as SQL"
            raise CheckpointError(text) from error


def _beat(checkpoint: weakref.ref[SqliteCheckpoint], closing: threading.Event) -> None:
    """Sign that the owner lives until it is closed or forgotten."""
    while not closing.wait(_BEAT) and (found := checkpoint()) is not None:
        found._renew()
        del found


def _insert(database: sqlite3.Connection, start: str, rows: Sequence[tuple[Any, ...]], end: str = "") -> int:
    """Insert *rows* with a statement that begins and ends so; return how many there are new or changed."""
    changed = 0
    for at in range(0, len(rows), _AT_ONCE):
        page = rows[at : at + _AT_ONCE]
        values = ",".join(f"({_marks(row)})" for row in page)
        changed += database.execute(f"{start} {values} {end}", list(itertools.chain.from_iterable(page))).rowcount
    return changed


def _found(database: sqlite3.Connection, start: str, keys: Sequence[str], *values: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a statement whose last word is IN, for *keys*; *values* are those of its other question marks."""
    for at in range(0, len(keys), _PAGE):
        page = keys[at : at + _PAGE]
        yield from database.execute(f"{start} ({_marks(page)})", [*values, *page]).fetchall()


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))


def _connected(path: str, *, read_only: bool) -> sqlite3.Connection:
    """Return a connection to a checkpoint at *path*, which is made if it is not there."""
    try:
        if not read_only:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600))
        with Path(path).open("rb") as file:
            start = file.read(len(_HEADER))
    except FileNotFoundError as error:
        if read_only:
            raise InvalidInputError(f"{path} does not exist") from error
        raise CheckpointError(f"the folder of {path} does not exist") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened: {error.strerror or error}") from error
    if start not in (b"", _HEADER):
        raise _foreign(path)
    database = sqlite3.connect(
        f"{Path(path).absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
        uri=True,
        timeout=_BUSY,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        if not read_only:
            _initialize(database, path)
        application, version = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if application != _APPLICATION:
            raise _foreign(path)
        if version > _VERSION:
            raise InvalidInputError(f"{path} was written by a newer version of hfclient; update hfclient")
    except BaseException:
        database.close()
        raise
    return database


def _initialize(database: sqlite3.Connection, path: str) -> None:
    """Make the tables, unless another process does so at the same time."""
    try:
        database.execute("BEGIN IMMEDIATE")
        if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {_VERSION}")
        elif database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise _foreign(path)
        database.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise
    end = time.monotonic() + _BUSY
    while database.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            database.execute("PRAGMA journal_mode = WAL")  # readers and one writer at a time do not wait for each other
        except sqlite3.OperationalError:  # this statement does not wait for other processes
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def _foreign(path: str) -> InvalidInputError:
    return InvalidInputError(f"{path} is not a checkpoint of hfclient, and is not changed; give the name of a new file")


def _row(record: Record) -> tuple[Any, ...]:
    value, error, reply = (None if data is None else encode(data) for data in (record.value, record.error, record.reply))
    name = None if record.id is None else storable(record.id)
    return storable(record.key), record.index, name, value, error, record.attempts, record.seconds, reply


def _record(row: Sequence[Any]) -> Record:
    key, index, name, value, error, attempts, seconds, reply = row
    value, error, reply = (None if text is None else decode(text) for text in (value, error, reply))
    return Record(key, index, name, value, error, attempts, seconds, reply)
