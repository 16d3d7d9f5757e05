"""Everything that the server remembers, in one SQLite file: conversations, files, shares, settings, event logs.

One connection for all threads, behind one lock: the statements are short, and SQLite writes one at a time anyway. The
file is locked for this process alone, because a second server would take this one's running answers for dead ones.
Ids and file names that clients send are values in here and never paths.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from hfclient.errors import LocalServerError
from hfclient.local import wire
from hfclient.local.records import Conversation, Message, Run, StoredFile, now

__all__ = ["Store", "default_path"]

PAGE = 30
_KEEP_EVENTS = 24 * 3600 * 1000
_KEEP_RUNS = 7 * 24 * 3600 * 1000

_SCHEMA = """
CREATE TABLE conversations (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL, model TEXT NOT NULL, preprompt TEXT NOT NULL,
    root_id TEXT NOT NULL, updated_at INTEGER NOT NULL, from_share TEXT
);
CREATE INDEX conversations_of ON conversations (owner, updated_at DESC);
CREATE TABLE messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    id TEXT NOT NULL, parent_id TEXT, role TEXT NOT NULL, content TEXT NOT NULL, files TEXT NOT NULL,
    updates TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, interrupted INTEGER,
    generation_id TEXT, materialized INTEGER, UNIQUE (conversation_id, id)
);
CREATE TABLE files (
    holder TEXT NOT NULL, sha TEXT NOT NULL, mime TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (holder, sha)
);
CREATE TABLE shares (id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, document TEXT NOT NULL);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    generation_id TEXT NOT NULL, message_id TEXT NOT NULL, status TEXT NOT NULL, started_at INTEGER NOT NULL,
    ended_at INTEGER, UNIQUE (conversation_id, generation_id)
);
CREATE TABLE events (
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE, number INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE TABLE settings (owner TEXT PRIMARY KEY, document TEXT NOT NULL);
PRAGMA user_version = 1;
"""


def default_path(environ: dict[str, str] | None = None) -> Path:
    """Return where ``hfclient serve`` keeps its conversations: below ``XDG_DATA_HOME``, or else ``~/.local/share``."""
    env = os.environ if environ is None else environ
    base = env.get("XDG_DATA_HOME") or ""
    folder = Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "share"
    return folder / "hfclient" / "chats.sqlite3"


def _prepare(path: Path) -> None:
    """Make the folder and the file so that only their owner can read them."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


class Store:
    """The server's memory.

    Args:
        path: The SQLite file, made if it does not exist; None keeps everything in memory.

    Raises:
        LocalServerError: The file cannot be used: no permission, no database, or another process has it.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        place = ":memory:" if path is None else os.fspath(path)
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._lasting = True
        try:
            if place != ":memory:":
                _prepare(Path(place).expanduser())
                place = os.fspath(Path(place).expanduser())
            self._db = sqlite3.connect(place, timeout=0.2, isolation_level=None, check_same_thread=False)
            self._open(self._db)
        except (sqlite3.Error, OSError, ValueError) as error:  # ValueError: half a character, or a NUL, in the name
            self.close()
            why = "another server is using it" if "locked" in str(error) else str(error)
            raise LocalServerError(
                f"the conversations cannot be kept in {place}: {why}; name another file with database= (--database)"
            ) from error

    def _open(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > 1:
            raise sqlite3.DatabaseError("a newer release of hfclient wrote it")
        if version == 0:
            db.executescript(f"BEGIN EXCLUSIVE; {_SCHEMA} COMMIT;")
        with self._writing():
            self._mend(db)
            self._forget(db)

    def close(self) -> None:
        """Close the file; what is asked afterwards raises ``sqlite3.ProgrammingError``."""
        with self._lock:
            if self._db is not None:
                self._db.close()

    @contextlib.contextmanager
    def _writing(self, *, lasting: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction, alone.

        Args:
            lasting: It outlives the machine's end, not the process's alone: that waits for the disk.
        """
        assert self._db is not None
        with self._lock:
            if lasting is not self._lasting:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
                self._lasting = lasting
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _all(self, sql: str, *values: Any) -> list[Any]:
        assert self._db is not None
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    # After a restart

    def _mend(self, db: sqlite3.Connection) -> None:
        """Mark answers whose server died as interrupted; the log has what was generated until then."""
        dead = db.execute("SELECT number, conversation_id, message_id FROM runs WHERE status = 'running'").fetchall()
        for number, conversation_id, message_id in dead:
            rows = db.execute("SELECT number, data FROM events WHERE run = ? ORDER BY number", (number,)).fetchall()
            events = [msgspec.json.decode(data) for _, data in rows]
            text = "".join(event["token"] for event in events if event["type"] == "stream")
            db.execute(
                "UPDATE messages SET content = ?, updates = ?, interrupted = 1, materialized = ? "
                "WHERE conversation_id = ? AND id = ?",
                (text, _json([wire.marker(event) for event in events]), len(rows), conversation_id, message_id),
            )
            db.execute("UPDATE runs SET status = 'interrupted', ended_at = ? WHERE number = ?", (now(), number))

    def _forget(self, db: sqlite3.Connection) -> None:
        """Drop logs that are too old; their messages stay."""
        db.execute("DELETE FROM runs WHERE ended_at < ?", (now() - _KEEP_RUNS,))
        db.execute(
            "DELETE FROM events WHERE run IN (SELECT number FROM runs WHERE ended_at < ?)", (now() - _KEEP_EVENTS,)
        )

    # Conversations

    def create(self, owner: str, conversation: Conversation) -> None:
        """Store a new conversation with all its messages."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO conversations VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    conversation.id,
                    owner,
                    conversation.title,
                    conversation.model,
                    conversation.preprompt,
                    conversation.root_id,
                    conversation.updated_at,
                    conversation.from_share,
                ),
            )
            for message in conversation.messages:
                _insert_message(db, conversation.id, message)

    def conversation(self, conversation_id: str, owner: str) -> Conversation | None:
        """Return *owner*'s conversation with its messages; None if there is none."""
        with self._lock:
            rows = self._all(
                "SELECT id, title, model, preprompt, root_id, updated_at, from_share FROM conversations "
                "WHERE id = ? AND owner = ?",
                conversation_id,
                owner,
            )
            if not rows:
                return None
            keys = ("id", "title", "model", "preprompt", "root_id", "updated_at", "from_share")
            found = Conversation(**dict(zip(keys, rows[0], strict=True)))
            found.messages = [
                _message(row)
                for row in self._all(
                    "SELECT id, role, parent_id, content, files, updates, created_at, updated_at, interrupted, "
                    "generation_id, materialized FROM messages WHERE conversation_id = ? ORDER BY number",
                    conversation_id,
                )
            ]
            return found

    def exists(self, conversation_id: str) -> bool:
        """Tell whether anybody has a conversation with that id."""
        return bool(self._all("SELECT 1 FROM conversations WHERE id = ?", conversation_id))

    def owns(self, owner: str, conversation_id: str) -> bool:
        """Tell whether the conversation is *owner*'s."""
        return self.title(owner, conversation_id) is not None

    def title(self, owner: str, conversation_id: str) -> str | None:
        """Return the title of *owner*'s conversation; None if there is none."""
        rows = self._all("SELECT title FROM conversations WHERE id = ? AND owner = ?", conversation_id, owner)
        return rows[0][0] if rows else None

    def page(self, owner: str, page: int) -> tuple[list[Conversation], bool]:
        """Return up to 30 conversations without their messages, newest first, and whether more follow."""
        rows = self._all(
            "SELECT id, title, model, updated_at FROM conversations WHERE owner = ? "
            "ORDER BY updated_at DESC, rowid DESC LIMIT ? OFFSET ?",
            owner,
            PAGE + 1,
            page * PAGE,
        )
        found = [
            Conversation(id=key, title=title, model=model, preprompt="", root_id="", updated_at=updated)
            for key, title, model, updated in rows[:PAGE]
        ]
        return found, len(rows) > PAGE

    def imported(self, owner: str, share_id: str) -> str | None:
        """Return the id of *owner*'s conversation that was imported from a share, if there is one."""
        rows = self._all("SELECT id FROM conversations WHERE owner = ? AND from_share = ?", owner, share_id)
        return rows[0][0] if rows else None

    def change(self, conversation_id: str, *, title: str | None = None, model: str | None = None) -> None:
        """Give a conversation another title or model, or both."""
        with self._writing() as db:
            db.execute(
                "UPDATE conversations SET title = COALESCE(?, title), model = COALESCE(?, model) WHERE id = ?",
                (title, model, conversation_id),
            )

    def delete(self, owner: str, conversation_id: str | None = None) -> int:
        """Delete one conversation of *owner*, or all; return how many there were."""
        with self._writing() as db:
            which, values = "owner = ?", [owner]
            if conversation_id is not None:
                which, values = which + " AND id = ?", [owner, conversation_id]
            db.execute(f"DELETE FROM files WHERE holder IN (SELECT id FROM conversations WHERE {which})", values)  # noqa: S608 (two constants)
            return db.execute(f"DELETE FROM conversations WHERE {which}", values).rowcount  # noqa: S608 (the same)

    # Messages

    def add_turn(self, conversation_id: str, messages: Iterable[Message], generation_id: str) -> int:
        """Store the messages of a new turn, the answer last, and begin its run; return the run's number."""
        with self._writing() as db:
            added = list(messages)
            for message in added:
                _insert_message(db, conversation_id, message)
            started = added[-1].created_at
            self._forget(db)
            db.execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (started, conversation_id))
            # A client that uses a generation's id twice loses the log of the first one.
            db.execute(
                "DELETE FROM runs WHERE conversation_id = ? AND generation_id = ?", (conversation_id, generation_id)
            )
            run = db.execute(
                "INSERT INTO runs (conversation_id, generation_id, message_id, status, started_at) "
                "VALUES (?, ?, ?, 'running', ?)",
                (conversation_id, generation_id, added[-1].id, started),
            )
            assert run.lastrowid is not None
            return run.lastrowid

    def delete_message(self, conversation_id: str, message_id: str) -> bool:
        """Delete a message and all below it; False if it does not exist."""
        with self._writing() as db:
            db.execute(
                "WITH RECURSIVE below (id) AS (VALUES (?) UNION SELECT messages.id FROM messages, below "
                "WHERE messages.conversation_id = ? AND messages.parent_id = below.id) "
                "DELETE FROM messages WHERE conversation_id = ? AND id IN below",
                (message_id, conversation_id, conversation_id),
            )
            gone: int = db.execute("SELECT changes()").fetchone()[
                0
            ]  # rowcount knows no statement that begins with WITH
            return gone > 0

    # Runs and their logs

    def log(self, run: int, number: int, event: bytes) -> None:
        """Write an event of the log of a run, in the place of an earlier state of it.

        Dropped if its conversation was deleted meanwhile.
        """
        with contextlib.suppress(sqlite3.IntegrityError), self._writing(lasting=False) as db:
            db.execute("INSERT OR REPLACE INTO events VALUES (?, ?, ?)", (run, number, event))

    def finish(self, run: int, message: Message, conversation_id: str, status: str) -> None:
        """Store the answer as the run leaves it."""
        with self._writing() as db:
            db.execute(
                "UPDATE messages SET content = ?, updates = ?, updated_at = ?, interrupted = ?, materialized = ? "
                "WHERE conversation_id = ? AND id = ?",
                (
                    message.content,
                    _json(message.updates),
                    message.updated_at,
                    None if message.interrupted is None else int(message.interrupted),
                    message.materialized,
                    conversation_id,
                    message.id,
                ),
            )
            db.execute("UPDATE runs SET status = ?, ended_at = ? WHERE number = ?", (status, now(), run))
            db.execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (message.updated_at, conversation_id))

    def run(self, conversation_id: str, generation_id: str | None) -> Run | None:
        """Return a run of a conversation, the newest if *generation_id* is None; None if there is no such run."""
        rows = self._all(
            "SELECT number, conversation_id, generation_id, message_id, status FROM runs WHERE conversation_id = ? "
            "AND generation_id = COALESCE(?, generation_id) ORDER BY number DESC LIMIT 1",
            conversation_id,
            generation_id,
        )
        if not rows:
            return None
        keys = ("number", "conversation_id", "generation_id", "message_id", "status")
        return Run(**dict(zip(keys, rows[0], strict=True)))

    def events(self, run: int, after: int) -> list[tuple[int, bytes]]:
        """Return the numbered events of a run that come after number *after*."""
        return self._all("SELECT number, data FROM events WHERE run = ? AND number > ? ORDER BY number", run, after)

    # Files

    def add_file(self, holder: str, sha: str, mime: str, data: bytes) -> None:
        """Keep a file for a conversation; the same content is kept once."""
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?)", (holder, sha, mime, data))

    def file(self, holder: str, sha: str) -> tuple[str, bytes] | None:
        """Return type and content of a file of a conversation or share; None if there is none."""
        rows = self._all("SELECT mime, data FROM files WHERE holder = ? AND sha = ?", holder, sha)
        return rows[0] if rows else None

    def copy_files(self, source: str, target: str) -> None:
        """Give *target* all files of *source*."""
        with self._writing() as db:
            db.execute(
                "INSERT OR IGNORE INTO files SELECT ?, sha, mime, data FROM files WHERE holder = ?", (target, source)
            )

    # Shares and settings

    def share(self, fingerprint: str, document: str) -> tuple[str, bool]:
        """Keep a snapshot; return its id, and whether it is a new one. The same fingerprint gives the same id."""
        with self._writing() as db:
            known = db.execute("SELECT id FROM shares WHERE fingerprint = ?", (fingerprint,)).fetchone()
            if known:
                return known[0], False
            share_id = secrets.token_urlsafe(8)[:7]
            db.execute("INSERT INTO shares VALUES (?, ?, ?)", (share_id, fingerprint, document))
            return share_id, True

    def shared(self, share_id: str) -> str | None:
        """Return the snapshot with that id, or None."""
        rows = self._all("SELECT document FROM shares WHERE id = ?", share_id)
        return rows[0][0] if rows else None

    def knows(self, owner: str) -> bool:
        """Tell whether *owner* has conversations or settings here."""
        return bool(
            self._all(
                "SELECT 1 FROM conversations WHERE owner = ? UNION SELECT 1 FROM settings WHERE owner = ?", owner, owner
            )
        )

    def settings(self, owner: str) -> dict[str, Any]:
        """Return what *owner* has set; empty if nothing."""
        rows = self._all("SELECT document FROM settings WHERE owner = ?", owner)
        return msgspec.json.decode(rows[0][0]) if rows else {}

    def set_settings(self, owner: str, settings: dict[str, Any]) -> None:
        """Replace all settings of *owner*."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (owner, _json(settings)))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _insert_message(db: sqlite3.Connection, conversation_id: str, message: Message) -> None:
    db.execute(
        "INSERT INTO messages (conversation_id, id, parent_id, role, content, files, updates, created_at, updated_at, "
        "interrupted, generation_id, materialized) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            conversation_id,
            message.id,
            message.parent_id,
            message.role,
            message.content,
            _json([msgspec.to_builtins(file) for file in message.files]),
            _json(message.updates),
            message.created_at,
            message.updated_at,
            None if message.interrupted is None else int(message.interrupted),
            message.generation_id,
            message.materialized,
        ),
    )


def _message(row: Any) -> Message:
    key, role, parent, content, files, updates, created, updated, interrupted, generation, materialized = row
    return Message(
        id=key,
        role=role,
        parent_id=parent,
        content=content,
        files=tuple(msgspec.json.decode(files, type=list[StoredFile])),
        updates=msgspec.json.decode(updates),
        created_at=created,
        updated_at=updated,
        interrupted=None if interrupted is None else bool(interrupted),
        generation_id=generation,
        materialized=materialized,
    )
