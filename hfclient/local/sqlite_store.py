"""The SQLite store of the server: conversations, messages, files, shares, settings, event logs.

All threads share one connection behind one lock: the statements are short, and SQLite has one writer at a time. The process
locks the file, because a second server would mark this one's running generations as interrupted. Ids and file names from
clients are values in the database, never paths. A row of the table ``runs`` is a generation.
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
from attrs import asdict, fields

from hfclient.errors import LocalServerError
from hfclient.local import event_encoding
from hfclient.local.records import ConversationRecord, FileRecord, GenerationRecord, MessageRecord, now

__all__ = ["Store", "default_path"]

_PAGE_SIZE = 30
_EVENTS_MAX_AGE = 24 * 3600 * 1000  # milliseconds
_GENERATIONS_MAX_AGE = 7 * 24 * 3600 * 1000

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

_MESSAGE_FIELDS = [field.name for field in fields(MessageRecord)]
_MESSAGE_COLUMNS = ", ".join(_MESSAGE_FIELDS)


def default_path(environ: dict[str, str] | None = None) -> Path:
    """Return the default database of ``hfclient serve``, in ``XDG_DATA_HOME`` or ``~/.local/share``."""
    env = os.environ if environ is None else environ
    base = env.get("XDG_DATA_HOME") or ""
    folder = Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "share"
    return folder / "hfclient" / "chats.sqlite3"


def _create_private(path: Path) -> None:
    """Create the folder and the file, readable by their owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


class Store:
    """Conversations and everything else that the server stores.

    Args:
        path: The SQLite file, created if it does not exist; None stores everything in memory.

    Raises:
        LocalServerError: The file cannot be used: no permission, not a database, or locked by another process.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        target = ":memory:" if path is None else os.fspath(path)
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._durable = True
        try:
            if target != ":memory:":
                target = os.fspath(Path(target).expanduser())
                _create_private(Path(target))
            self._db = sqlite3.connect(target, timeout=0.2, isolation_level=None, check_same_thread=False)
            self._open(self._db)
        except (sqlite3.Error, OSError, ValueError) as error:  # ValueError: a lone surrogate or a NUL in the path
            self.close()
            why = "another server is using it" if "locked" in str(error) else str(error)
            raise LocalServerError(
                f"conversations cannot be stored in {target}: {why}; choose another file with database= (--database)"
            ) from error

    def _open(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > 1:
            raise sqlite3.DatabaseError("it was written by a newer release of hfclient")
        if version == 0:
            db.executescript(f"BEGIN EXCLUSIVE; {_SCHEMA} COMMIT;")
        with self._transaction():
            self._mark_interrupted(db)
            self._delete_old(db)

    def close(self) -> None:
        """Close the file; calls after that raise ``sqlite3.ProgrammingError``."""
        with self._lock:
            if self._db is not None:
                self._db.close()

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One write transaction.

        Args:
            durable: Wait for the disk, so that it survives a power failure; False survives the end of the process only.
        """
        assert self._db is not None
        with self._lock:
            if durable is not self._durable:
                self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
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

    def _mark_interrupted(self, db: sqlite3.Connection) -> None:
        """Mark the generations of a killed server as interrupted; their text so far comes from the log."""
        running = db.execute("SELECT number, conversation_id, message_id FROM runs WHERE status = 'running'").fetchall()
        for number, conversation_id, message_id in running:
            rows = db.execute("SELECT number, data FROM events WHERE run = ? ORDER BY number", (number,)).fetchall()
            events = [msgspec.json.decode(data) for _, data in rows]
            text = "".join(event["token"] for event in events if event["type"] == "stream")
            db.execute(
                "UPDATE messages SET content = ?, updates = ?, interrupted = 1, materialized = ? "
                "WHERE conversation_id = ? AND id = ?",
                (text, _json([event_encoding.stored_update(event) for event in events]), len(rows), conversation_id, message_id),
            )
            db.execute("UPDATE runs SET status = 'interrupted', ended_at = ? WHERE number = ?", (now(), number))

    def _delete_old(self, db: sqlite3.Connection) -> None:
        """Delete old logs; their messages stay."""
        db.execute("DELETE FROM runs WHERE ended_at < ?", (now() - _GENERATIONS_MAX_AGE,))
        db.execute(
            "DELETE FROM events WHERE run IN (SELECT number FROM runs WHERE ended_at < ?)", (now() - _EVENTS_MAX_AGE,)
        )

    # Conversations

    def create(self, owner: str, conversation: ConversationRecord) -> None:
        """Store a new conversation with its messages."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO conversations VALUES (:id, :owner, :title, :model, :preprompt, :root_id, :updated_at, :from_share)",
                asdict(conversation, recurse=False) | {"owner": owner},
            )
            for message in conversation.messages:
                _insert_message(db, conversation.id, message)

    def conversation(self, conversation_id: str, owner: str) -> ConversationRecord | None:
        """Return *owner*'s conversation with its messages, or None."""
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
            found = ConversationRecord(**dict(zip(keys, rows[0], strict=True)))
            found.messages = [
                _message(row)
                for row in self._all(
                    f"SELECT {_MESSAGE_COLUMNS} FROM messages WHERE conversation_id = ? ORDER BY number",  # noqa: S608 (a constant)
                    conversation_id,
                )
            ]
            return found

    def exists(self, conversation_id: str) -> bool:
        """Return whether any owner has a conversation with that id."""
        return bool(self._all("SELECT 1 FROM conversations WHERE id = ?", conversation_id))

    def owns(self, owner: str, conversation_id: str) -> bool:
        """Return whether *owner* has the conversation."""
        return self.title(owner, conversation_id) is not None

    def title(self, owner: str, conversation_id: str) -> str | None:
        """Return the title of *owner*'s conversation, or None."""
        rows = self._all("SELECT title FROM conversations WHERE id = ? AND owner = ?", conversation_id, owner)
        return rows[0][0] if rows else None

    def page(self, owner: str, page: int) -> tuple[list[ConversationRecord], bool]:
        """Return up to 30 conversations without their messages, newest first, and whether there are more."""
        rows = self._all(
            "SELECT id, title, model, updated_at FROM conversations WHERE owner = ? "
            "ORDER BY updated_at DESC, rowid DESC LIMIT ? OFFSET ?",
            owner,
            _PAGE_SIZE + 1,
            page * _PAGE_SIZE,
        )
        found = [
            ConversationRecord(id=key, title=title, model=model, preprompt="", root_id="", updated_at=updated)
            for key, title, model, updated in rows[:_PAGE_SIZE]
        ]
        return found, len(rows) > _PAGE_SIZE

    def imported(self, owner: str, share_id: str) -> str | None:
        """Return the id of *owner*'s conversation that was imported from a share, or None."""
        rows = self._all("SELECT id FROM conversations WHERE owner = ? AND from_share = ?", owner, share_id)
        return rows[0][0] if rows else None

    def update(self, conversation_id: str, *, title: str | None = None, model: str | None = None) -> None:
        """Set title, model or both of a conversation."""
        with self._transaction() as db:
            db.execute(
                "UPDATE conversations SET title = COALESCE(?, title), model = COALESCE(?, model) WHERE id = ?",
                (title, model, conversation_id),
            )

    def delete(self, owner: str, conversation_id: str | None = None) -> int:
        """Delete one conversation of *owner*, or all; return the number of deleted ones."""
        with self._transaction() as db:
            which, values = "owner = ?", [owner]
            if conversation_id is not None:
                which, values = which + " AND id = ?", [owner, conversation_id]
            db.execute(f"DELETE FROM files WHERE holder IN (SELECT id FROM conversations WHERE {which})", values)  # noqa: S608 (two constants)
            return db.execute(f"DELETE FROM conversations WHERE {which}", values).rowcount  # noqa: S608 (the same)

    # Messages

    def add_messages(self, conversation_id: str, messages: Iterable[MessageRecord], generation_id: str) -> int:
        """Store a new prompt and its answer (the last one), and start a generation; return its number."""
        with self._transaction() as db:
            added = list(messages)
            for message in added:
                _insert_message(db, conversation_id, message)
            started = added[-1].created_at
            self._delete_old(db)
            db.execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (started, conversation_id))
            # A client that uses a generation id twice loses the log of the first generation.
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
        """Delete a message and its descendants; False if it does not exist."""
        with self._transaction() as db:
            db.execute(
                "WITH RECURSIVE below (id) AS (VALUES (?) UNION SELECT messages.id FROM messages, below "
                "WHERE messages.conversation_id = ? AND messages.parent_id = below.id) "
                "DELETE FROM messages WHERE conversation_id = ? AND id IN below",
                (message_id, conversation_id, conversation_id),
            )
            # rowcount is -1 for a statement that begins with WITH
            return bool(db.execute("SELECT changes()").fetchone()[0])

    # Generations and their logs

    def log(self, run: int, number: int, event: bytes) -> None:
        """Store entry *number* of the log of generation *run*, or replace it; ignored if the conversation was deleted."""
        with contextlib.suppress(sqlite3.IntegrityError), self._transaction(durable=False) as db:
            db.execute("INSERT OR REPLACE INTO events VALUES (?, ?, ?)", (run, number, event))

    def finish(self, run: int, message: MessageRecord, conversation_id: str, status: str) -> None:
        """Store the answer of generation *run*, which has ended."""
        with self._transaction() as db:
            db.execute(
                "UPDATE messages SET content = :content, updates = :updates, updated_at = :updated_at, "
                "interrupted = :interrupted, materialized = :materialized WHERE conversation_id = :conversation_id AND id = :id",
                asdict(message, recurse=False)
                | {"conversation_id": conversation_id, "updates": _json(message.updates)},
            )
            db.execute("UPDATE runs SET status = ?, ended_at = ? WHERE number = ?", (status, now(), run))
            db.execute("UPDATE conversations SET updated_at = ? WHERE id = ?", (message.updated_at, conversation_id))

    def generation(self, conversation_id: str, generation_id: str | None) -> GenerationRecord | None:
        """Return a generation of a conversation, the newest if *generation_id* is None; None if it does not exist."""
        rows = self._all(
            "SELECT number, status FROM runs WHERE conversation_id = ? "
            "AND generation_id = COALESCE(?, generation_id) ORDER BY number DESC LIMIT 1",
            conversation_id,
            generation_id,
        )
        return GenerationRecord(number=rows[0][0], status=rows[0][1]) if rows else None

    def events(self, run: int, after: int) -> list[tuple[int, bytes]]:
        """Return the numbered log entries of generation *run* after number *after*."""
        return self._all("SELECT number, data FROM events WHERE run = ? AND number > ? ORDER BY number", run, after)

    # Files

    def add_file(self, holder: str, sha: str, mime: str, data: bytes) -> None:
        """Store a file of a conversation; the same content is stored once."""
        with self._transaction() as db:
            db.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?)", (holder, sha, mime, data))

    def file(self, holder: str, sha: str) -> tuple[str, bytes] | None:
        """Return media type and content of a file of a conversation or share, or None."""
        rows = self._all("SELECT mime, data FROM files WHERE holder = ? AND sha = ?", holder, sha)
        return rows[0] if rows else None

    def copy_files(self, source: str, target: str) -> None:
        """Copy all files of *source* to *target*."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO files SELECT ?, sha, mime, data FROM files WHERE holder = ?", (target, source)
            )

    # Shares and settings

    def share(self, fingerprint: str, document: str) -> tuple[str, bool]:
        """Store a snapshot; return its id, and whether it is new. The same fingerprint gives the same id."""
        with self._transaction() as db:
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
        """Return whether *owner* has conversations or settings."""
        return bool(
            self._all(
                "SELECT 1 FROM conversations WHERE owner = ? UNION SELECT 1 FROM settings WHERE owner = ?", owner, owner
            )
        )

    def settings(self, owner: str) -> dict[str, Any]:
        """Return the settings of *owner*; empty if nothing was set."""
        rows = self._all("SELECT document FROM settings WHERE owner = ?", owner)
        return msgspec.json.decode(rows[0][0]) if rows else {}

    def set_settings(self, owner: str, settings: dict[str, Any]) -> None:
        """Replace all settings of *owner*."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (owner, _json(settings)))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _insert_message(db: sqlite3.Connection, conversation_id: str, message: MessageRecord) -> None:
    values = asdict(message, recurse=False) | {"files": _json(message.files), "updates": _json(message.updates)}
    db.execute(
        f"INSERT INTO messages (conversation_id, {_MESSAGE_COLUMNS}) VALUES (?{', ?' * len(values)})",  # noqa: S608 (a constant)
        (conversation_id, *values.values()),
    )


def _message(row: Any) -> MessageRecord:
    message = MessageRecord(**dict(zip(_MESSAGE_FIELDS, row, strict=True)))
    message.files = tuple(msgspec.json.decode(row[_MESSAGE_FIELDS.index("files")], type=list[FileRecord]))
    message.updates = msgspec.json.decode(row[_MESSAGE_FIELDS.index("updates")])
    message.interrupted = None if message.interrupted is None else bool(message.interrupted)
    return message
