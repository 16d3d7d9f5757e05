"""The outcome of a job: as a result, as a record of a checkpoint, and a record as a result again."""

from __future__ import annotations

from hfclient.batch.calls import Call
from hfclient.batch.checkpoints import Record
from hfclient.batch.items import Item
from hfclient.batch.jobs import Job
from hfclient.batch.results import BatchResult
from hfclient.errors import from_dict
from hfclient.types import Reply

__all__ = ["record_of", "result_of", "stored_result"]


def result_of(job: Job) -> BatchResult:
    """Return the result of *job*, which has ended."""
    item = job.item
    return BatchResult(
        index=item.index,
        id=item.id,
        input=item.input,
        value=job.value,
        error=job.error,
        reply=job.reply,
        attempts=job.attempts,
        seconds=job.seconds,
        source=item.source,
    )


def record_of(job: Job, call: Call) -> Record:
    """Return what a checkpoint stores of *job*, which has ended."""
    item, error = job.item, job.error
    return Record(
        key=job.key,
        index=item.index,
        id=item.id,
        value=None if error is not None else call.encode(job.value),
        error=None if error is None else error.to_dict(),
        attempts=job.attempts,
        seconds=job.seconds,
        reply=None if job.reply is None else job.reply.to_dict(),
    )


def stored_result(item: Item, record: Record, call: Call) -> BatchResult:
    """Return the result of *item* from the record of an earlier run."""
    return BatchResult(
        index=item.index,
        id=item.id,
        input=item.input,
        value=None if record.error is not None else call.decode(record.value),
        error=None if record.error is None else from_dict(dict(record.error)),
        attempts=0,
        seconds=record.seconds,
        stored=True,
        source=item.source,
        reply=None if record.reply is None else Reply.from_dict(dict(record.reply)),
    )
