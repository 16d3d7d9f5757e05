"""Events of inference that takes its time: jobs in a queue, and providers that take over from each other."""

from __future__ import annotations

from attrs import define

from hfclient.events.base import Event

__all__ = ["Failover", "JobProgress"]


@define
class JobProgress(Event):
    """A job in a provider's queue: what the last look at it showed.

    Wire: fal-ai ``status`` and ``queue_position``; replicate, together and wavespeed ``status``; zai-org ``task_status``;
    novita ``task.status``.

    Attributes:
        provider: Who works on it.
        job_id: The provider's id of it.
        state: ``"queued"`` or ``"running"``.
        position: How many jobs are in front of it, or None.
        progress: Done so far, 0 to 1, or None.
        message: The provider's words, or None.
        elapsed: Seconds since it was submitted.
    """

    provider: str
    job_id: str
    state: str
    position: int | None = None
    progress: float | None = None
    message: str | None = None
    elapsed: float = 0.0


@define
class Failover(Event):
    """A provider failed before anything had come from it, and the next one is asked.

    Wire: none; hfclient's own doing, with several providers to choose from.

    Attributes:
        provider: Who failed.
        to: Who is asked now.
        reason: Why, in one sentence.
        status: The HTTP status of the failure, or None if there was no answer.
    """

    provider: str
    to: str
    reason: str
    status: int | None = None
