"""`Notes`: what a checkpoint knows of an item that has begun, such as the id of its conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfclient.batch.checkpoints import Checkpoint

__all__ = ["Notes"]


class Notes:
    """The notes of one item. A call that finds some continues where an earlier run, or an earlier attempt, was.

    Without a checkpoint they only reach the next attempt.

    Attributes:
        last: What was noted last; None if nothing was.
    """

    def __init__(self, checkpoint: Checkpoint | None = None, key: str = "", last: Mapping[str, Any] | None = None) -> None:
        self._checkpoint = checkpoint
        self._key = key
        self.last = last

    @property
    def are_stored(self) -> bool:
        """Whether there is a checkpoint, so that a later run gets them."""
        return self._checkpoint is not None

    def note(self, data: Mapping[str, Any] | None) -> None:
        """Store *data*, which replaces the earlier note; None removes it. When this returns, a crash does not lose it."""
        if self._checkpoint is not None:
            self._checkpoint.note(self._key, data)
        self.last = data
