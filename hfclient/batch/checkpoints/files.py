"""`FilesCheckpoint`: the content of images and audio is stored in files beside a checkpoint, not in its lines."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from attrs import evolve

from hfclient.batch.checkpoints import Checkpoint, OnChange, Record
from hfclient.batch.errors import CheckpointError
from hfclient.files.media_types import SUFFIXES, sniff
from hfclient.files.saving import sync_folder

__all__ = ["FilesCheckpoint", "with_files"]

_FILE, _SHA256 = "$file", "sha256"  # an object with these stands for bytes


class FilesCheckpoint:
    """A checkpoint whose values may have bytes; see `Checkpoint`. A file is named for its content and written before its record.

    Args:
        checkpoint: Stores the rest.
        path: The checkpoint's path; the folder is ``<path>.files``.
    """

    def __init__(self, checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
        self._checkpoint = checkpoint
        self._folder = Path(f"{os.fspath(path)}.files").expanduser()

    def begin(self, run: Mapping[str, Any], on_change: OnChange = "raise") -> None:
        self._checkpoint.begin(run, on_change)

    def claim(self, keys: Sequence[str]) -> list[Record | Literal["mine", "taken"]]:
        """Return what the checkpoint has; a record whose file is missing or changed is asked again."""
        claims = self._checkpoint.claim(keys)
        return [self._with_bytes(claim) or "mine" if isinstance(claim, Record) else claim for claim in claims]

    def save(self, records: Iterable[Record]) -> None:
        records = list(records)
        try:
            if any(_has_bytes(record.value) for record in records):
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                records = [evolve(record, value=self._without_bytes(record.value)) for record in records]
                for folder in (self._folder, self._folder.parent):
                    sync_folder(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise CheckpointError(f"a file in {self._folder} cannot be written: {reason}. The answers that it has are complete") from error
        self._checkpoint.save(records)

    def note(self, key: str, data: Mapping[str, Any] | None) -> None:
        self._checkpoint.note(key, data)

    def notes(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        return self._checkpoint.notes(keys)

    def release(self, keys: Iterable[str]) -> None:
        self._checkpoint.release(keys)

    def runs(self) -> list[Mapping[str, Any]]:
        return self._checkpoint.runs()

    def records(self) -> Iterator[Record]:
        for record in self._checkpoint.records():
            yield self._with_bytes(record) or record

    def close(self) -> None:
        self._checkpoint.close()

    def _without_bytes(self, value: Any) -> Any:
        if isinstance(value, bytes):
            return self._store(value)
        if isinstance(value, Mapping):
            return {key: self._without_bytes(item) for key, item in value.items()}
        return [self._without_bytes(item) for item in value] if isinstance(value, list) else value

    def _store(self, content: bytes) -> dict[str, str]:
        """Write the file of *content*, also over one that was changed; its name appears once it is complete."""
        digest = hashlib.sha256(content).hexdigest()
        suffix = SUFFIXES.get(sniff(content) or "", (".bin",))[0]
        path = self._folder / f"{digest[:32]}{suffix}"
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=suffix)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return {_FILE: path.name, _SHA256: digest}

    def _with_bytes(self, record: Record) -> Record | None:
        """Return *record* with the content of its files; None if one is missing or changed."""
        if not _has_files(record.value):
            return record
        try:
            return evolve(record, value=self._read(record.value))
        except (OSError, ValueError):
            return None

    def _read(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if value.keys() == {_FILE, _SHA256}:
                content = (self._folder / Path(str(value[_FILE])).name).read_bytes()
                if hashlib.sha256(content).hexdigest() != value[_SHA256]:
                    raise ValueError("the file was changed")
                return content
            return {key: self._read(item) for key, item in value.items()}
        return [self._read(item) for item in value] if isinstance(value, list) else value


_PLAIN = frozenset((str, int, float, bool, type(None)))


def _has_bytes(value: Any) -> bool:
    inner: Any
    if isinstance(value, list):  # a vector is a list of numbers
        inner = value if value and not isinstance(value[0], (float, int, str)) else ()
    elif isinstance(value, dict):
        inner = value.values()
    else:
        return isinstance(value, bytes)
    for item in inner:  # without a call for each text and number, and for what is empty
        kind = type(item)
        if kind is bytes or (kind not in _PLAIN and item and _has_bytes(item)):
            return True
    return False


def _has_files(value: Any) -> bool:
    if isinstance(value, dict):
        return _FILE in value or any(map(_has_files, value.values()))
    return isinstance(value, list) and bool(value) and isinstance(value[0], (dict, list)) and any(map(_has_files, value))


@overload
def with_files(checkpoint: Checkpoint, target: Any) -> Checkpoint: ...


@overload
def with_files(checkpoint: Checkpoint | None, target: Any) -> Checkpoint | None: ...


def with_files(checkpoint: Checkpoint | None, target: Any) -> Checkpoint | None:
    """Return *checkpoint* with files beside it, if *target* is its path; in other stores bytes are a part of the record."""
    if checkpoint is None or not isinstance(target, (str, os.PathLike)) or "://" in os.fspath(target):
        return checkpoint
    return FilesCheckpoint(checkpoint, target)
