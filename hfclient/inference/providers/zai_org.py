"""zai-org (Z.ai): images as jobs."""

from __future__ import annotations

from typing import Any

from hfclient.inference.providers.base import Provider, Ticket, Work, size_text, word
from hfclient.inference.providers.places import Target
from hfclient.inference.providers.results import Answer, Outcome, found_in
from hfclient.transport import Request

__all__ = ["ZaiOrg"]

_ROOT = "/api/paas/v4"


class ZaiOrg(Provider):
    """``POST /api/paas/v4/async/images/generations``, then ``GET /api/paas/v4/async-result/{id}``.

    Its API knows a prompt and a size, nothing else that we have a name for.

    Reference: docs/protocol/inference ("queued jobs").
    """

    name = "zai-org"

    def build(self, work: Work, target: Target) -> Request:
        settings = self.settings(work)
        size = size_text(settings, "x")
        body: dict[str, Any] = {"model": work.entry.provider_id, "prompt": work.prompt, "size": size, **settings}
        return self.post(target.url(f"{_ROOT}/async/images/generations"), {**body, **work.extra})

    def decode(self, work: Work, target: Target, answer: Answer) -> Outcome | Ticket:
        data = answer.json()
        if (found := found_in(data, is_job="task_status" in data)) is not None:
            return found
        job = self.job_id(data, "id")
        ticket = Ticket(provider=self.name, id=job, url=target.url(f"{_ROOT}/async-result/{job}"), every=5.0)
        return self.follow(ticket, target, answer)

    def follow(self, ticket: Ticket, target: Target, answer: Answer) -> Outcome | Ticket:
        data = answer.json()
        state = word(data, "task_status")
        why = data.get("message") or data.get("msg")
        found = self.found(data, state, done=("SUCCESS",), waiting=("PROCESSING",), why=why)
        return found or ticket.waiting("running")
