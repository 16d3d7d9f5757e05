r"""A checkpoint of JSON lines: the first line describes the run, each other line is an answer.

    {"hfclient_checkpoint":1,"run":{"call":"chat","server":"https://router.huggingface.co/v1","model":"Qwen/Qwen3-8B"}}
    {"index":0,"key":"5f2b…","value":{"text":"Paris","usage":{"prompt_tokens":10,"completion_tokens":2}},"attempts":1,"seconds":0.31}
    {"index":1,"key":"91ac…","error":{"error":"ServerError","message":"…","status_code":500},"attempts":3,"seconds":2.5}

All that has ended is appended with one write and one fsync. A process that is killed in the middle leaves a line without its
end, which the next one cuts off: it was not handed out. An item that failed and was asked again has two lines; the last one counts.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from hfclient.batch.checkpoints import OnChange, Record
from hfclient.batch.checkpoints.encoding import decode_into, encode
from hfclient.batch.checkpoints.file_lock import FileLock
from hfclient.batch.checkpoints.row_index import RowIndex
from hfclient.batch.checkpoints.runs import is_new_run
from hfclient.batch.errors import CheckpointError
from hfclient.errors import InvalidInputError
from hfclient.files.saving import sync_folder

__all__ = ["JsonLinesCheckpoint", "StoredAnswer"]

_START = b'{"hfclient_checkpoint":'
_VERSION = 1
_T = TypeVar("_T")
_fdatasync = getattr(os, "fdatasync", os.fsync)


_NO_NOTE = "-"  # a note is an object or null


class _Head(msgspec.Struct, gc=False):
    """What the index needs of a line; the rest is checked to be JSON and skipped."""

    key: str = ""
    error: Any = None
    note: Any = _NO_NOTE
    hfclient_checkpoint: int = 0
    run: dict[str, Any] | None = None


class _Line(msgspec.Struct, omit_defaults=True):
    index: int
    key: str
    id: str | None = None
    value: Any = None
    error: dict[str, Any] | None = None
    attempts: int = msgspec.field(default=-1)
    seconds: float = msgspec.field(default=-1.0)
    reply: dict[str, Any] | None = None


class StoredAnswer(msgspec.Struct, gc=False):
    """A line whose value and reply stay JSON."""

    key: str = ""
    index: int = -1
    id: str | None = None
    value: msgspec.Raw = msgspec.Raw(b"null")
    attempts: int = -1
    seconds: float = -1.0
    reply: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None
    note: Any = _NO_NOTE


_head = msgspec.json.Decoder(_Head)
_line = msgspec.json.Decoder(_Line)
_stored = msgspec.json.Decoder(StoredAnswer)


class JsonLinesCheckpoint:
    """A file with a line of JSON for each answer; see `Checkpoint`. One process at a time can write it.

    Args:
        path: The file. It is created for the owner alone (mode 600).
        read_only: Only for :meth:`records`; without a lock.

    Attributes:
        answers: How many answers there are, without errors.
        is_read_only: Whether it was opened for reading.
    """

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        self._path = path
        self._file = -1
        self._lock: FileLock | None = None
        self._index = RowIndex()  # place and length of the last line of each key; the length of an error is negative
        self._notes = RowIndex()  # place and length of the last note of each key; a length of 0 if it was removed
        self._appending = threading.RLock()  # notes come from other threads
        self._runs: list[dict[str, Any]] = []
        self.answers = 0
        self.is_read_only = read_only
        self._size = self._inode = 0
        try:
            if not read_only:
                self._lock = FileLock(path)
            self._open(read_only)
        except BaseException:
            self.close()
            raise

    def __del__(self) -> None:
        self.close()

    def begin(self, run: Mapping[str, Any], on_change: OnChange = "raise") -> None:
        if is_new_run(self._path, self._runs, run, on_change, self.answers):
            self._append(_encode({"hfclient_checkpoint": _VERSION, "run": run}))
            self._runs.append(dict(run))

    def claim(self, keys: Sequence[str]) -> list[Record | Literal["mine", "taken"]]:
        places = [self._index.get(key) for key in keys]
        return [self._read(place, key) if place and place[1] > 0 else "mine" for key, place in zip(keys, places, strict=True)]

    def save(self, records: Iterable[Record]) -> None:
        keys: list[str] = []
        lengths: list[int] = []  # negative ones of errors
        lines: list[bytes] = []
        for record in records:
            line = _encode_record(record)
            keys.append(record.key)
            lengths.append(len(line) if record.error is None else -len(line))
            lines.append(line)
        place = self._append(b"".join(lines))
        for key, length in zip(keys, lengths, strict=True):
            self._add(key, place, length)
            place += abs(length)

    def note(self, key: str, data: Mapping[str, Any] | None) -> None:
        line = _encode({"key": key, "note": data})
        with self._appending:
            self._notes.put(key, self._append(line), len(line) if data is not None else 0)

    def notes(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        found = {}
        for key in keys:
            with self._appending:
                place = self._notes.get(key)
            if place and place[1] and not self._is_answered(key):
                with self._translated("be read"):
                    found[key] = self._decoded(_head, self._bytes(*place)).note
        return found

    def release(self, keys: Iterable[str]) -> None:
        """Nothing is claimed: the lock keeps other processes away."""

    def runs(self) -> list[Mapping[str, Any]]:
        return list(self._runs)

    def records(self) -> Iterator[Record]:
        for place in self._index.in_order():
            yield self._read(place)

    def stored_answers(self) -> Iterator[StoredAnswer]:
        """Yield all answers in the order of the file. It reads the file from its beginning to its end, without the index."""
        place = 0
        with self._translated("be read"), Path(self._path).open("rb", buffering=1 << 20) as file:
            for line in file:
                place += len(line)
                if place > self._size:
                    return
                try:
                    answer = _stored.decode(line)
                except ValueError:  # half a surrogate; see `decode_into`
                    answer = self._decoded(_head, line)  # type: ignore[assignment]
                if answer.key and answer.error is None and answer.note == _NO_NOTE:
                    yield answer if isinstance(answer, StoredAnswer) else _stored_answer(self._decoded(_line, line))

    def close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
        self._index.close()
        self._notes.close()
        if self._lock is not None:
            self._lock.release()

    # Reading

    def _open(self, read_only: bool) -> None:
        flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT | os.O_APPEND
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.open(self._path, flags, 0o600)
            self._inode = os.fstat(self._file).st_ino
            with open(self._file, "rb", closefd=False) as file:
                start = file.read(len(_START))
        except FileNotFoundError as error:
            raise InvalidInputError(f"{self._path} does not exist") from error
        except OSError as error:
            raise CheckpointError(f"{self._path} cannot be opened: {error.strerror or error}") from error
        if not _START.startswith(start):
            text = f"{self._path} is not a checkpoint of hfclient, and is not changed; give the name of a new file"
            raise InvalidInputError(text)
        self._index.put_all(self._lines())
        self.answers = self._index.count("b > 0")
        if not read_only:
            self._repair()

    def _lines(self) -> Iterator[tuple[str, int, int]]:
        """Yield key, place and length of each line, a negative one of an error; stop at a line without its end."""
        with open(os.dup(self._file), "rb", buffering=1 << 20) as file:  # noqa: PTH123 (a descriptor)
            file.seek(0)
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    head = decode_into(_head, line)
                except ValueError as error:
                    raise self._garbage(number, f" ({error})") from error
                if head.hfclient_checkpoint > _VERSION:
                    raise InvalidInputError(f"{self._path} was written by a newer version of hfclient; update hfclient")
                if head.note != _NO_NOTE and head.key:
                    self._notes.put(head.key, self._size, len(line) if head.note else 0)
                elif head.key:
                    yield head.key, self._size, len(line) if head.error is None else -len(line)
                elif head.run is not None:
                    self._runs.append(head.run)
                elif not head.hfclient_checkpoint:
                    raise self._garbage(number)
                self._size += len(line)

    def _garbage(self, number: int, reason: str = "") -> CheckpointError:
        return CheckpointError(
            f"line {number} of {self._path} is not a line of a checkpoint{reason}. The file is not changed. Delete that line "
            f"(sed -i '{number}d' {self._path}) and start again: only its item is asked again"
        )

    def _repair(self) -> None:
        """Cut off the line that a killed process did not finish. It is kept if only its newline is missing."""
        place = self._size
        with self._translated("be repaired"):
            length = os.fstat(self._file).st_size - place + 1
            if length == 1:
                return
            try:
                head = decode_into(_head, self._bytes(place, length))
            except ValueError:
                head = _Head()
            if head.key and head.note == _NO_NOTE:
                os.write(self._file, b"\n")
                self._size += length
            else:
                os.ftruncate(self._file, place)
            os.fsync(self._file)
        if self._size > place:
            self._add(head.key, place, length if head.error is None else -length)

    def _is_answered(self, key: str) -> bool:
        place = self._index.get(key)
        return place is not None and place[1] > 0

    def _add(self, key: str, place: int, length: int) -> None:
        self._index.put(key, place, length)
        self.answers += length > 0

    def _read(self, place: tuple[int, int], key: str | None = None) -> Record:
        with self._translated("be read"):
            data = self._bytes(place[0], abs(place[1]))
        line = self._decoded(_line, data)
        if key is not None and line.key != key:
            raise self._changed()
        return Record(line.key, line.index, line.id, line.value, line.error, line.attempts, line.seconds, line.reply)

    def _decoded(self, decoder: msgspec.json.Decoder[_T], data: bytes) -> _T:
        try:
            return decode_into(decoder, data)
        except ValueError as error:
            raise self._changed() from error

    def _bytes(self, place: int, length: int) -> bytes:
        with self._appending:  # Windows has no pread
            os.lseek(self._file, place, os.SEEK_SET)
            return os.read(self._file, length)

    # Writing

    def _append(self, data: bytes) -> int:
        """Append *data*, durably, all of it or nothing; return its place."""
        if not self._size and not data.startswith(_START):
            self._append(_encode({"hfclient_checkpoint": _VERSION}))
        with self._appending, self._translated("be written"):
            if self._file < 0:
                raise CheckpointError(f"the checkpoint {self._path} is closed")
            self._check()
            size = self._size
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self._file, rest) :]
                _fdatasync(self._file)
                if not size:
                    sync_folder(Path(self._path).parent)
                self._size = size + len(data)
            except BaseException:  # a full disk, or Ctrl-C
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, size)
                self._size = size
                raise
            return size

    def _check(self) -> None:
        """Raise if the file is not there any more, or has been changed."""
        try:
            state = os.stat(self._path)  # noqa: PTH116 (a Path takes longer than the call)
        except OSError:
            state = None
        if state is None or state.st_ino != self._inode:
            raise CheckpointError(f"{self._path} was deleted while a batch wrote it; earlier answers are lost unless they were read")
        if state.st_size != self._size:
            raise self._changed()

    def drop_answers(self) -> None:
        """Remove all answers, because they are elsewhere now, and their notes. Runs, errors and other notes stay.

        A crash leaves all or none of the answers.
        """
        part = f"{self._path}.part"
        with self._appending, self._translated("be written"):
            file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
            try:
                with open(file, "wb", closefd=False) as stream:
                    stream.writelines(_encode({"hfclient_checkpoint": _VERSION, "run": run}) for run in self._runs)
                    stream.writelines(self._bytes(place, -length) for place, length in self._index.in_order(below_zero=True))
                    notes = (self._bytes(*place) for place in self._notes.in_order() if place[1])
                    stream.writelines(line for line in notes if not self._is_answered(self._decoded(_head, line).key))
                os.fsync(file)
                Path(part).replace(self._path)
                sync_folder(Path(self._path).parent)
            finally:
                os.close(file)
            os.close(self._file)
            self._file = -1
            for index in (self._index, self._notes):
                index.close()
            self._runs, self._size = [], 0
            self._open(read_only=False)

    def _changed(self) -> CheckpointError:
        return CheckpointError(
            f"{self._path} was changed by another program while a batch used it; what it has now is not touched. "
            f"Start the batch again: complete lines that are there are used"
        )

    @contextlib.contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise CheckpointError(f"{self._path} cannot {action}: {reason}. The answers that it has are complete") from error


def _stored_answer(line: _Line) -> StoredAnswer:
    value, reply = (msgspec.Raw(encode(data).encode()) for data in (line.value, line.reply))
    return StoredAnswer(line.key, line.index, line.id, value, line.attempts, line.seconds, reply)


def _encode_record(record: Record) -> bytes:
    error, reply = (None if data is None else dict(data) for data in (record.error, record.reply))
    seconds = round(record.seconds, 3)
    return _encode(_Line(record.index, record.key, record.id, record.value, error, record.attempts, seconds, reply))


def _encode(value: Any) -> bytes:
    return encode(value).encode() + b"\n"
