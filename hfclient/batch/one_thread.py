"""`by_one_thread`: a batch that a second thread uses meanwhile says so."""

from __future__ import annotations

from types import TracebackType

from hfclient.errors import InvalidInputError

__all__ = ["by_one_thread"]


class _ByOneThread:
    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        # Of the generator itself, not of one of the caller's inside it.
        if kind is ValueError and traceback is not None and traceback.tb_next is None:
            text = "the batch is being read, by another thread or by code of its own items: one thread reads and closes a batch"
            raise InvalidInputError(text) from None


by_one_thread = _ByOneThread()
"""Around the use of a generator: translates the error of one that runs already."""
