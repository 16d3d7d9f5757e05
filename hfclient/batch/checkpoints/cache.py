"""The cache: answers by question, shared by all batches that name it. It is a checkpoint of any kind without numbers of items."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import evolve

from hfclient.batch.checkpoints import Checkpoint, OnChange, Record, open_checkpoint
from hfclient.batch.checkpoints.files import with_files
from hfclient.batch.checkpoints.keys import content_key
from hfclient.batch.checkpoints.runs import describe
from hfclient.batch.errors import CheckpointError

if TYPE_CHECKING:
    from hfclient.batch.calls import Call

__all__ = ["CachedCheckpoint", "open_store"]

def open_store(
    call: Call,
    checkpoint: str | os.PathLike[str] | Checkpoint | None,
    cache: str | os.PathLike[str] | Checkpoint | bool | None,
    on_change: OnChange,
) -> Checkpoint | None:
    """Return the store of a batch: its checkpoint, its cache, both as one, or None.

    Raises:
        InvalidInputError: Another kind of file, or other options than before; see `Checkpoint.begin`.
        CheckpointError: It cannot be opened.
    """
    store = open_checkpoint(checkpoint)
    if call.has_files:
        store = with_files(store, checkpoint)
    try:
        if store is not None:
            store.begin(describe(call.shared_settings()), on_change)
        if cache is None or cache is False:
            return store
        return CachedCheckpoint(store, _open_cache(call, cache))
    except BaseException:
        if store is not None:
            store.close()
        raise


def _open_cache(call: Call, cache: str | os.PathLike[str] | Checkpoint | bool) -> Checkpoint:
    if cache is True:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hfclient"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"the folder of the cache, {folder}, cannot be made: {error.strerror or error}") from error
        cache = folder / "answers.sqlite"
    opened = open_checkpoint(None if cache is False else cache, "cache")
    if call.has_files:
        opened = with_files(opened, cache)
    assert opened is not None  # the caller has excluded None
    try:
        opened.begin({"call": "cache"}, "redo")
    except BaseException:
        opened.close()
        raise
    return opened


class CachedCheckpoint:
    """A checkpoint, or none, that asks a cache for what it does not have; see `Checkpoint`.

    Equal questions are asked once, also in one input: the second one waits for the answer to the first. Errors are not cached.
    """

    def __init__(self, checkpoint: Checkpoint | None, cache: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._cache = cache
        self._asked: set[str] = set()  # questions in flight
        self._found: set[str] = set()  # keys of answers that the cache had, until they are saved

    def begin(self, run: Mapping[str, Any], on_change: OnChange = "raise") -> None:
        if self._checkpoint is not None:
            self._checkpoint.begin(run, on_change)

    def claim(self, keys: Sequence[str]) -> list[Record | Literal["mine", "taken"]]:
        claims: list[Record | Literal["mine", "taken"]] = ["mine"] * len(keys)
        if self._checkpoint is not None:
            claims = self._checkpoint.claim(keys)
        wanted = [at for at, claim in enumerate(claims) if claim == "mine"]
        for at, cached in zip(wanted, self._cache.claim([content_key(keys[at]) for at in wanted]), strict=True):
            question = content_key(keys[at])
            if isinstance(cached, Record):
                claims[at] = evolve(cached, key=keys[at])
                self._found.add(keys[at])
            elif cached == "taken" or question in self._asked:
                claims[at] = "taken"
            else:
                self._asked.add(question)
        return claims

    def save(self, records: Iterable[Record]) -> None:
        records = list(records)
        if self._checkpoint is not None:
            self._checkpoint.save(records)
        new = [record for record in records if record.key not in self._found]
        self._found.difference_update(record.key for record in records)
        self._cache.save(evolve(record, key=content_key(record.key), index=-1, id=None) for record in new if record.error is None)
        self._cache.release(content_key(record.key) for record in new if record.error is not None)
        self._asked.difference_update(content_key(record.key) for record in new)

    def note(self, key: str, data: Mapping[str, Any] | None) -> None:
        if self._checkpoint is not None:
            self._checkpoint.note(key, data)

    def notes(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        return {} if self._checkpoint is None else self._checkpoint.notes(keys)

    def release(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        questions = [content_key(key) for key in keys]
        self._asked.difference_update(questions)
        self._cache.release(questions)
        if self._checkpoint is not None:
            self._checkpoint.release(keys)

    def runs(self) -> list[Mapping[str, Any]]:
        return (self._cache if self._checkpoint is None else self._checkpoint).runs()

    def records(self) -> Iterator[Record]:
        return (self._cache if self._checkpoint is None else self._checkpoint).records()

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._cache.close)
            if self._checkpoint is not None:
                stack.callback(self._checkpoint.close)
