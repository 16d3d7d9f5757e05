"""novita: videos as jobs."""

from __future__ import annotations

from typing import Any

from hfclient.inference.providers.base import Provider, Ticket, Work, child, id_path, word
from hfclient.inference.providers.places import Target
from hfclient.inference.providers.results import Answer, Outcome, found_in
from hfclient.transport import Request

__all__ = ["Novita"]

_STATES: dict[str | None, str] = {"TASK_STATUS_QUEUED": "queued", "TASK_STATUS_PROCESSING": "running"}


class Novita(Provider):
    """``POST /v3/async/{model}``, then ``GET /v3/async/task-result``.

    There is a route that answers at once as well; a video takes longer than gateways wait.

    Reference: docs/protocol/inference ("queued jobs").
    """

    name = "novita"

    def build(self, work: Work, target: Target) -> Request:
        body: dict[str, Any] = {"prompt": work.prompt, **self.settings(work), **work.extra}
        return self.post(target.url(f"/v3/async/{id_path(work.entry.provider_id)}"), body)

    def decode(self, work: Work, target: Target, answer: Answer) -> Outcome | Ticket:
        data = answer.json()
        if (found := found_in(data, is_job="task_id" in data)) is not None:
            return found
        job = self.job_id(data, "task_id")
        return Ticket(provider=self.name, id=job, url=target.url("/v3/async/task-result") + f"?task_id={job}")

    def follow(self, ticket: Ticket, target: Target, answer: Answer) -> Outcome | Ticket:
        data = answer.json()
        job = child(data, "task")
        state = word(job, "status")
        found = self.found(data, state, done=("TASK_STATUS_SUCCEED",), waiting=_STATES, why=job.get("reason"))
        if found is not None:
            return found
        percent = job.get("progress_percent")
        progress = percent / 100 if isinstance(percent, (int, float)) and 0 <= percent <= 100 else None
        return ticket.waiting(_STATES.get(state, "running"), progress=progress)
