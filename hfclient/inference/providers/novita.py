"""novita: videos as jobs."""

from __future__ import annotations

from typing import Any

from hfclient.inference.providers.addresses import Target
from hfclient.inference.providers.base import MediaRequest, Provider, QueuedJob, child, id_path, word
from hfclient.inference.providers.results import Answer, MediaResult, find_result
from hfclient.transport import Request

__all__ = ["Novita"]

_STATES: dict[str | None, str] = {"TASK_STATUS_QUEUED": "queued", "TASK_STATUS_PROCESSING": "running"}


class Novita(Provider):
    """``POST /v3/async/{model}``, then ``GET /v3/async/task-result``.

    There is also a route without a job; a video takes longer than gateways wait.

    Reference: docs/protocol/inference ("queued jobs").
    """

    name = "novita"

    def build(self, wanted: MediaRequest, target: Target) -> Request:
        body: dict[str, Any] = {"prompt": wanted.prompt, **self.settings(wanted), **wanted.extra}
        return self.post(target.url(f"/v3/async/{id_path(wanted.entry.provider_id)}"), body)

    def decode(self, wanted: MediaRequest, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        data = answer.json()
        if (found := find_result(data, is_job="task_id" in data)) is not None:
            return found
        job = self.job_id(data, "task_id")
        return QueuedJob(provider=self.name, id=job, url=target.url("/v3/async/task-result") + f"?task_id={job}")

    def decode_poll(self, queued: QueuedJob, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        data = answer.json()
        job = child(data, "task")
        state = word(job, "status")
        found = self.found(data, state, done=("TASK_STATUS_SUCCEED",), waiting=_STATES, why=job.get("reason"))
        if found is not None:
            return found
        percent = job.get("progress_percent")
        progress = percent / 100 if isinstance(percent, (int, float)) and 0 <= percent <= 100 else None
        return queued.waiting(_STATES.get(state, "running"), progress=progress)
