"""A checkpoint of columns: a folder of Parquet files that pandas, polars, DuckDB and datasets read as one table (extra: parquet).

    >>> pandas.read_parquet("out.parquet")[["index", "text"]]

    out.parquet/part-00000.parquet    10,000 answers
    out.parquet/part-00001.parquet    ...
    out.parquet/_journal.jsonl        the run, failed items, and answers that are not in a part yet

A Parquet file cannot grow, so each answer is first a line of the journal, a checkpoint of JSON lines. A part is written under another
name, renamed when it is complete and on the disk, and then its answers leave the journal. A process that is killed in between
leaves answers in both places; the part counts.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from hfclient.batch.checkpoints import OnChange, Record
from hfclient.batch.checkpoints.encoding import decode, decode_into, encode
from hfclient.batch.checkpoints.jsonl import JsonLinesCheckpoint, StoredAnswer
from hfclient.batch.checkpoints.row_index import RowIndex, storable
from hfclient.batch.errors import CheckpointError
from hfclient.errors import InvalidInputError, MissingDependencyError
from hfclient.files.saving import sync_folder

__all__ = ["ParquetCheckpoint"]

_MOST = 2**63  # of a column of integers; the whole number is in the column "value"
_ROWS = 10_000  # of a part
_KEPT = 2  # parts in memory: answers that are read come from neighbouring rows
_JOURNAL = "_journal.jsonl"  # readers of folders skip names with an underscore
_PART = re.compile(r"part-(\d+)\.parquet")
_USAGE = ("prompt_tokens", "completion_tokens")
_STORED = ("key", "index", "id", "value", "vector", "attempts", "seconds", "reply")


class ParquetCheckpoint:
    """A folder of Parquet files; see `Checkpoint`. One process at a time can write it.

    The columns are index, id, text (of a reply, or the value if it is text), vector (of an embedding), model, finish_reason,
    prompt_tokens, completion_tokens, attempts, seconds, key, and value and reply, all of an answer as JSON.

    Args:
        path: The folder. It is created for the owner alone.
        read_only: Only for :meth:`records`.
    """

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        self._pyarrow, self._parquet = _imported()
        self._path = path
        self._folder = Path(path)
        self._index = RowIndex()  # number of the part, and of the row in it, of each key (as parts have it)
        self._tables: dict[int, Any] = {}  # the parts that were read last
        self._unwritten = 0  # answers in the journal
        self._journal: JsonLinesCheckpoint | None = None
        _check_folder(self._folder, read_only=read_only)
        # The journal first: an answer that leaves it meanwhile is in a part then.
        journal = self._journal = JsonLinesCheckpoint(str(self._folder / _JOURNAL), read_only=read_only)
        try:
            if not read_only:
                for rest in self._folder.glob("_part-*"):
                    rest.unlink()
            self._parts = sorted(int(match[1]) for file in self._folder.iterdir() if (match := _PART.fullmatch(file.name)))
            for part in self._parts:
                keys = self._read_part(part, ["key"]).column("key").to_pylist()
                self._index.put_all((key, part, row) for row, key in enumerate(keys))
            self._unwritten = journal.answers
            journal.answers = self._index.count() + sum(1 for _ in self._new_answers())
        except BaseException:
            self._close_files()
            raise

    def __del__(self) -> None:
        self._close_files()

    def begin(self, run: Mapping[str, Any], on_change: OnChange = "raise") -> None:
        self._open().begin(run, on_change)

    def claim(self, keys: Sequence[str]) -> list[Record | Literal["mine", "taken"]]:
        claims = self._open().claim(keys)
        return [claim if (place := self._index.get(storable(key))) is None else self._record(*place) for key, claim in zip(keys, claims, strict=True)]

    def save(self, records: Iterable[Record]) -> None:
        records = list(records)
        try:
            self._open().save(records)
        except CheckpointError:
            self._unwritten = 0  # closing writes no part then; the next process does
            raise
        self._unwritten += sum(record.error is None for record in records)
        if self._unwritten >= _ROWS:
            self._write_part()

    def note(self, key: str, data: Mapping[str, Any] | None) -> None:
        self._open().note(key, data)

    def notes(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        return self._open().notes([key for key in keys if self._index.get(storable(key)) is None])

    def release(self, keys: Iterable[str]) -> None:
        """Nothing is claimed: the lock keeps other processes away."""

    def runs(self) -> list[Mapping[str, Any]]:
        return self._open().runs()

    def records(self) -> Iterator[Record]:
        for part, row in self._index.in_order():
            yield self._record(part, row)
        for record in self._open().records():
            if self._index.get(storable(record.key)) is None:
                yield record

    def close(self) -> None:
        """Write the last part, and close it."""
        try:
            unwritten, self._unwritten = self._unwritten, 0  # after Ctrl-C the next process writes the part
            if unwritten and self._journal is not None and not self._journal.is_read_only:
                self._write_part()
        finally:
            self._close_files()

    # Parts

    def _open(self) -> JsonLinesCheckpoint:
        if self._journal is None:
            raise CheckpointError(f"the checkpoint {self._path} is closed")
        return self._journal

    def _close_files(self) -> None:
        journal = getattr(self, "_journal", None)
        if journal is not None:
            journal.close()
            self._index.close()
            self._tables.clear()
            self._journal = None  # at the end: after Ctrl-C in the middle it is closed again

    def _new_answers(self) -> Iterator[StoredAnswer]:
        """Yield the answers of the journal that are in no part."""
        for answer in self._open().stored_answers():
            if self._index.get(storable(answer.key)) is None:
                yield answer

    def _write_part(self) -> None:
        journal = self._open()
        rows = {answer.key: _row(answer) for answer in self._new_answers()}
        number = self._parts[-1] + 1 if self._parts else 0
        if rows:
            name = f"part-{number:05}.parquet"
            part = self._folder / f"_{name}"
            with self._translated(f"{name} cannot be written"):
                schema = self._schema(journal.runs())
                columns = zip(*rows.values(), strict=True)  # by column, which takes half the time of Table.from_pylist
                arrays = [self._pyarrow.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
                table = self._pyarrow.Table.from_arrays(arrays, schema=schema)
                file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
                with open(file, "wb") as stream:  # noqa: PTH123 (a descriptor)
                    self._parquet.write_table(table, stream, compression="zstd")
                    stream.flush()
                    os.fsync(file)
                part.replace(self._folder / name)
                sync_folder(self._folder)
            self._parts.append(number)
            for row, key in enumerate(rows):
                self._index.put(storable(key), number, row)
        journal.drop_answers()
        self._unwritten = 0

    def _schema(self, runs: Sequence[Mapping[str, Any]]) -> Any:
        pa = self._pyarrow
        kinds = {
            "index": pa.int64(), "id": pa.string(), "text": pa.string(), "vector": pa.list_(pa.float64()), "model": pa.string(),
            "finish_reason": pa.string(), "prompt_tokens": pa.int64(), "completion_tokens": pa.int64(), "attempts": pa.int32(),
            "seconds": pa.float64(), "key": pa.string(), "value": pa.string(), "reply": pa.string(),
        }  # fmt: skip
        return pa.schema(list(kinds.items()), metadata={"hfclient_checkpoint": "1", "run": encode(runs[-1] if runs else {})})

    def _read_part(self, part: int, columns: list[str]) -> Any:
        name = f"part-{part:05}.parquet"
        with self._translated(f"{name} cannot be read"), (self._folder / name).open("rb") as file:
            return self._parquet.read_table(file, columns=columns)

    def _record(self, part: int, row: int) -> Record:
        table = self._tables.get(part)
        if table is None:
            table = self._tables[part] = self._read_part(part, list(_STORED))
            while len(self._tables) > _KEPT:
                del self._tables[next(iter(self._tables))]
        key, index, name, value, vector, attempts, seconds, reply = (table.column(column)[row].as_py() for column in _STORED)
        answer = vector if vector is not None else None if value is None else decode(value)
        return Record(key, index, name, answer, None, attempts, seconds, None if reply is None else decode(reply))

    @contextlib.contextmanager
    def _translated(self, problem: str) -> Iterator[None]:
        try:
            yield
        except (OSError, self._pyarrow.ArrowException) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CheckpointError(f"{self._path}: {problem}: {reason}. The answers in {_JOURNAL} are complete") from error


def _imported() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingDependencyError('a checkpoint that ends in ".parquet" needs pyarrow: pip install "hfclient[parquet]"') from None
    return pyarrow, pyarrow.parquet


def _check_folder(folder: Path, *, read_only: bool) -> None:
    """Make the folder, unless it is there and has a checkpoint."""
    foreign = InvalidInputError(f"{folder} is not a checkpoint of hfclient, and is not changed; give the name of a new folder")
    try:
        if not read_only:
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                sync_folder(folder.parent)
        if not folder.exists():
            raise InvalidInputError(f"{folder} does not exist")
        if not folder.is_dir():
            raise foreign
        names = {file.name for file in folder.iterdir()}
    except FileNotFoundError as error:
        raise CheckpointError(f"the folder of {folder} does not exist") from error
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be opened: {error.strerror or error}") from error
    if _JOURNAL not in names and (read_only or names - {f"{_JOURNAL}.lock"}):
        raise foreign


class _Fields(msgspec.Struct, gc=False):
    """What has columns of a reply."""

    text: Any = None
    model: Any = None
    finish_reason: Any = None
    usage: Any = None


_fields = msgspec.json.Decoder(_Fields)
_NULL = b"null"


def _row(answer: StoredAnswer) -> tuple[Any, ...]:
    """Return the values of *answer* in the order of the columns. What has no column is not decoded, which takes half of the time."""
    value, reply = bytes(answer.value), bytes(answer.reply)
    is_object = value.startswith(b"{")
    fields = decode_into(_fields, value) if is_object else _Fields(text=decode(value) if value.startswith((b"[", b'"')) else None)
    vector = fields.text if not is_object and isinstance(fields.text, list) else None
    if not vector or not all(type(number) is float for number in vector):
        vector = None
    rest = fields if reply in (_NULL, b"{}") else decode_into(_fields, reply)
    usage = rest.usage if isinstance(rest.usage, dict) else {}
    return (
        answer.index,
        None if answer.id is None else storable(answer.id),
        _text(fields.text),
        vector,
        _text(rest.model),
        _text(rest.finish_reason),
        *(count if type(count := usage.get(name)) is int and count < _MOST else None for name in _USAGE),
        answer.attempts,
        answer.seconds,
        storable(answer.key),
        None if vector is not None or value == _NULL else value.decode(),
        None if reply == _NULL else reply.decode(),
    )


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return value if value.isascii() else value.encode("utf-8", "replace").decode()
