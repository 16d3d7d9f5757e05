"""`read_results`: the results in a checkpoint, without asking anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from hfclient.batch.calls import read_value
from hfclient.batch.checkpoints import open_records
from hfclient.batch.checkpoints.files import with_files
from hfclient.batch.results import BatchResult
from hfclient.errors import from_dict
from hfclient.types import Reply

__all__ = ["read_results"]


def read_results(checkpoint: str | os.PathLike[str]) -> Iterator[BatchResult]:
    """Yield the results in a checkpoint without asking anything, about in the order in which they were stored; in Redis in any order.

        for result in read_results("out.jsonl"):
            print(result.index, result.value.text if result.ok else result.error)

    It works while a batch writes the file, also in another process. Of an item that failed and was asked again, the last result
    counts. An item that was asked with several options (``on_change="redo"``) has a result for each of them. Inputs are not stored:
    ``index`` and ``id`` say which items they are. Values are those of the call; only the objects of `parse` are as JSON, because
    their class is not in the file.

    Args:
        checkpoint: A path or a URL, as for ``checkpoint=`` of `InferenceClient.map`.

    Raises:
        InvalidInputError: It does not exist or is not a checkpoint.
        CheckpointError: It cannot be read, or has a line that is not one of a checkpoint; the message has its number.
    """
    store = with_files(open_records(checkpoint), checkpoint)
    try:
        runs = store.runs()
        call = str(runs[-1].get("call")) if runs else "chat"
        for record in store.records():
            yield BatchResult(
                index=record.index,
                id=record.id,
                value=None if record.error is not None else _value(call, record.value),
                error=None if record.error is None else from_dict(dict(record.error)),
                attempts=record.attempts,
                seconds=record.seconds,
                stored=True,
                reply=None if record.reply is None else Reply.from_dict(dict(record.reply)),
            )
    finally:
        store.close()


def _value(call: str, data: Any) -> Any:
    try:
        return read_value(call, data)
    except (ValueError, KeyError, TypeError):  # of a newer version, or another program
        return data
