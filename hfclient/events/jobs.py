"""Events of long-running inference: jobs in a queue, and failovers to other providers."""

from __future__ import annotations

from attrs import define

from hfclient.events.base import Event

__all__ = ["Failover", "JobProgress"]


@define(eq=False, repr=False)
class JobProgress(Event):
    """The state of a job in a provider's queue, as of the last poll.

    Wire: fal-ai ``status`` and ``queue_position``; replicate, together and wavespeed ``status``; zai-org ``task_status``;
    novita ``task.status``.

    Attributes:
        provider: The provider of the job.
        job_id: The provider's id of the job.
        state: ``"queued"`` or ``"running"``.
        position: The number of jobs before it in the queue, or None.
        progress: The completed part, 0 to 1, or None.
        message: The provider's text, or None.
        elapsed: Seconds since the job was submitted.
    """

    provider: str
    job_id: str
    state: str
    position: int | None = None
    progress: float | None = None
    message: str | None = None
    elapsed: float = 0.0


@define(eq=False, repr=False)
class Failover(Event):
    """A provider failed before it sent any content, and the next provider is tried.

    Wire: none; hfclient makes this event when it can use several providers.

    Attributes:
        provider: The provider that failed.
        to: The next provider.
        reason: The reason, in one sentence.
        status_code: The HTTP status of the failure, or None without an answer.
    """

    provider: str
    to: str
    reason: str
    status_code: int | None = None
