"""zai-org (Z.ai): images as jobs."""

from __future__ import annotations

from typing import Any

from hfclient.inference.providers.addresses import Target
from hfclient.inference.providers.base import MediaRequest, Provider, QueuedJob, size_text, word
from hfclient.inference.providers.results import Answer, MediaResult, find_result
from hfclient.transport import Request

__all__ = ["ZaiOrg"]

_ROOT = "/api/paas/v4"


class ZaiOrg(Provider):
    """``POST /api/paas/v4/async/images/generations``, then ``GET /api/paas/v4/async-result/{id}``.

    Of our settings its API has the size only.

    Reference: docs/protocol/inference ("queued jobs").
    """

    name = "zai-org"

    def build(self, wanted: MediaRequest, target: Target) -> Request:
        settings = self.settings(wanted)
        size = size_text(settings)
        body: dict[str, Any] = {"model": wanted.entry.provider_id, "prompt": wanted.prompt, "size": size, **settings}
        return self.post(target.url(f"{_ROOT}/async/images/generations"), {**body, **wanted.extra})

    def decode(self, wanted: MediaRequest, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        data = answer.json()
        if (found := find_result(data, is_job="task_status" in data)) is not None:
            return found
        job = self.job_id(data, "id")
        queued = QueuedJob(provider=self.name, id=job, url=target.url(f"{_ROOT}/async-result/{job}"), every=5.0)
        return self.decode_poll(queued, target, answer)

    def decode_poll(self, queued: QueuedJob, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        data = answer.json()
        state = word(data, "task_status")
        why = data.get("message") or data.get("msg")
        found = self.found(data, state, done=("SUCCESS",), waiting=("PROCESSING",), why=why)
        return found or queued.waiting("running")
