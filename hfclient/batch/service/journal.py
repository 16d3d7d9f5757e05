"""The jobs of a batch service in the checkpoint of a batch: what was submitted, so that the next run finds it.

A job has two notes. The first is written before the job exists: its mark, its file, and which items are in it. The second has the
job's id. If a process ends between the two, the next run looks for the mark and the file among the server's jobs.
"""

from __future__ import annotations

import base64
import hashlib
from array import array
from collections.abc import Iterable
from typing import Any

from attrs import field, frozen

from hfclient.batch.checkpoints import Checkpoint
from hfclient.errors import InvalidInputError

__all__ = ["Journal", "JournalEntry", "digest"]

_KEY = "batch-service-job-"  # the keys of these notes begin with it; those of items are hashes
_AT_ONCE = 64  # keys that are looked up together


def digest(key: str) -> int:
    """Return 64 bits that stand for the key of an item."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8], "big")


@frozen
class JournalEntry:
    """What is known of a job that an earlier run submitted.

    Attributes:
        number: Of the job in the checkpoint, from 0.
        mark: The text in the job's metadata.
        file_id: Id of its file of requests.
        digests: Its items, in the order of the lines.
        job_id: The server's id; None if that run ended before it had it.
        was_fetched: Whether its answers were read: then a failed item is asked again.
    """

    number: int
    mark: str
    file_id: str
    digests: array[int] = field(repr=False)
    job_id: str | None = None
    was_fetched: bool = False


class Journal:
    """The jobs in a checkpoint; without a checkpoint nothing is kept.

    Args:
        checkpoint: Of the batch.
    """

    def __init__(self, checkpoint: Checkpoint | None) -> None:
        self._checkpoint = checkpoint
        self._next = 0

    def load(self) -> list[JournalEntry]:
        """Return the jobs of earlier runs, in the order of their submission."""
        found: list[JournalEntry] = []
        if self._checkpoint is None:
            return found
        while True:
            numbers = range(self._next, self._next + _AT_ONCE)
            notes = self._checkpoint.notes([f"{_KEY}{number}{end}" for number in numbers for end in ("", "-state")])
            known = [number for number in numbers if f"{_KEY}{number}" in notes]
            found += [_entry(number, notes[f"{_KEY}{number}"], notes.get(f"{_KEY}{number}-state") or {}) for number in known]
            if not known:
                return found
            self._next = known[-1] + 1

    def add(self, mark: str, file_id: str, digests: Iterable[int]) -> int:
        """Store a job that will be submitted, and return its number."""
        members = array("Q", digests)
        number = self._next
        if self._checkpoint is not None:
            while self._checkpoint.claim([f"{_KEY}{number}"])[0] != "mine":  # another process has this number
                number += 1
            data = base64.b64encode(members.tobytes()).decode()
            self._checkpoint.note(f"{_KEY}{number}", {"mark": mark, "file": file_id, "requests": len(members), "items": data})
        self._next = number + 1
        return number

    def note(self, number: int, job_id: str, *, was_fetched: bool = False) -> None:
        """Store the id of a job, or that its answers were read."""
        if self._checkpoint is not None:
            self._checkpoint.note(f"{_KEY}{number}-state", {"id": job_id, "fetched": was_fetched})


def _entry(number: int, value: Any, state: Any) -> JournalEntry:
    try:
        members = array("Q")
        members.frombytes(base64.b64decode(value["items"]))
        return JournalEntry(number, value["mark"], value["file"], members, state.get("id"), bool(state.get("fetched")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInputError(f"the note {_KEY}{number} in the checkpoint cannot be read: {error}") from error
