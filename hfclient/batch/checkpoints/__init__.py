"""Checkpoints: answers on disk, or in a shared store, before they are handed out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from attrs import frozen

from hfclient.errors import InvalidInputError

__all__ = ["Checkpoint", "OnChange", "Record", "open_checkpoint", "open_records"]

OnChange = Literal["raise", "redo"]


@frozen
class Record:
    """What is stored of an item that has ended.

    Attributes:
        key: The item's key.
        index, id: As in `BatchResult`; the index is -1 in a cache.
        value: The value as JSON; None if it failed.
        error: The error as from `HFClientError.to_dict`; None without one.
        attempts, seconds: As in `BatchResult`.
        reply: What the answer had besides the value, as JSON, such as the tokens; None if the value has all.
    """

    key: str
    index: int
    id: str | None = None
    value: Any = None
    error: Mapping[str, Any] | None = None
    attempts: int = 1
    seconds: float = 0.0
    reply: Mapping[str, Any] | None = None


class Checkpoint(Protocol):
    """Stores answers by key. All methods but `note` are called by one thread."""

    def begin(self, run: Mapping[str, Any], on_change: OnChange = "raise") -> None:
        """Check that *run* (the call, the server and the options of the batch) is one that the checkpoint knows.

        A new checkpoint stores it. With ``on_change="redo"`` a changed one is stored, too; answers with other keys stay.

        Raises:
            InvalidInputError: It is another one; the message says what has changed, and how many answers would be asked again.
            CheckpointError: The checkpoint cannot be written.
        """

    def claim(self, keys: Sequence[str]) -> list[Record | Literal["mine", "taken"]]:
        """Return for each key its record, or "mine" (ask it: no other process does), or "taken" (another process asks it).

        A key whose record is an error is "mine". So is a key that was claimed before by this object.
        """

    def save(self, records: Iterable[Record]) -> None:
        """Store *records*. When it returns, a crash of process or machine loses none of them.

        Raises:
            CheckpointError: They cannot be stored; none of them is, and the same call may be repeated.
        """

    def note(self, key: str, data: Mapping[str, Any] | None) -> None:
        """Store *data* of an item that has begun, such as the id of its conversation; None removes it.

        When it returns, a crash does not lose it. Any thread may call it.
        """

    def notes(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return what was noted last, by key, of the items that have no value."""

    def release(self, keys: Iterable[str]) -> None:
        """Give up claims of items that were not asked."""

    def runs(self) -> list[Mapping[str, Any]]:
        """Return the runs that it knows, oldest first."""

    def records(self) -> Iterator[Record]:
        """Yield the last record of each key; an answer rather than an error."""

    def close(self) -> None:
        """Close it and give up all claims; the next process may open it. It may be called twice."""


def open_checkpoint(target: str | os.PathLike[str] | Checkpoint | None, option: str = "checkpoint") -> Checkpoint | None:
    """Return the checkpoint for a path or URL: ``.jsonl``, ``.sqlite``, ``.parquet``, ``redis://...``.

    Raises:
        InvalidInputError: There is no store of that kind, or the file is not a checkpoint; it is not changed.
        CheckpointError: It cannot be opened, or another process uses it and cannot share it.
        MissingDependencyError: Its package is not installed.
    """
    if isinstance(target, (str, os.PathLike)):
        return _open(os.fspath(target), read_only=False, option=option)
    if target is not None and not hasattr(target, "claim"):
        raise InvalidInputError(f'{option}= is a path such as "answers.jsonl", a URL of Redis or a Checkpoint, not {target!r}')
    return target


def open_records(target: str | os.PathLike[str]) -> Checkpoint:
    """Return the checkpoint for reading `Checkpoint.records`, also while a batch writes it. Its other methods do not work.

    Raises:
        InvalidInputError: It does not exist or is not a checkpoint.
    """
    return _open(os.fspath(target), read_only=True, option="checkpoint")


def _open(target: str, *, read_only: bool, option: str) -> Checkpoint:
    if target.startswith(("redis://", "rediss://", "unix://")):
        from hfclient.batch.checkpoints.redis import RedisCheckpoint

        return RedisCheckpoint(target)
    if "\0" in target:
        raise InvalidInputError(f"{option}={target!r} has the character NUL, which no path has")
    path = str(Path(target).expanduser())
    ending = Path(target).suffix.lower()
    if ending in (".jsonl", ".ndjson"):
        from hfclient.batch.checkpoints.jsonl import JsonLinesCheckpoint

        return JsonLinesCheckpoint(path, read_only=read_only)
    if ending in (".sqlite", ".sqlite3", ".db"):
        from hfclient.batch.checkpoints.sqlite import SqliteCheckpoint

        return SqliteCheckpoint(path, read_only=read_only)
    if ending == ".parquet":
        from hfclient.batch.checkpoints.parquet import ParquetCheckpoint

        return ParquetCheckpoint(path, read_only=read_only)
    raise InvalidInputError(
        f'{option}={target!r} has no known ending: ".jsonl" or ".ndjson" (a readable file), ".sqlite" or ".db" (shared by processes '
        f'of one machine), ".parquet" (a folder of columns), or a URL that begins with "redis://" (shared by machines)'
    )
