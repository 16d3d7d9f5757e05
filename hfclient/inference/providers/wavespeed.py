"""wavespeed: every result is a job."""

from __future__ import annotations

from typing import Any

from hfclient.decoding.frames import excerpt
from hfclient.errors import ProtocolError
from hfclient.inference.providers.addresses import Target
from hfclient.inference.providers.base import (
    MediaRequest,
    Provider,
    QueuedJob,
    child,
    id_path,
    word,
)
from hfclient.inference.providers.results import Answer, MediaResult, find_result
from hfclient.transport import Request

__all__ = ["Wavespeed"]

_STATES: dict[str | None, str] = {"created": "queued", "queued": "queued", "processing": "running"}


class Wavespeed(Provider):
    """``POST /api/v3/{model}``, then ``GET`` on the path of ``data.urls.get``.

    Reference: docs/protocol/inference ("queued jobs").
    """

    name = "wavespeed"

    def build(self, wanted: MediaRequest, target: Target) -> Request:
        settings = self.settings(wanted)
        scale = settings.pop("lora_scale", 1)
        body: dict[str, Any] = {"prompt": wanted.prompt or None}
        if wanted.image is not None:
            body["image"] = wanted.image.as_url()
        if "width" in settings:  # some of its models have two numbers, most have one text
            settings["size"] = f"{settings['width']}*{settings['height']}"
        if wanted.entry.adapter == "lora":
            body["loras"] = [{"path": wanted.entry.model, "scale": scale}]
        return self.post(target.url(f"/api/v3/{id_path(wanted.entry.provider_id)}"), {**body, **settings, **wanted.extra})

    def decode(self, wanted: MediaRequest, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        job = self._job(answer)
        if "id" not in job and (found := find_result(job)) is not None:
            return found
        name = self.job_id(job, "id")
        url = target.resolve_link(child(job, "urls").get("get") or f"/api/v3/predictions/{name}/result")
        return self.decode_poll(QueuedJob(provider=self.name, id=name, url=url), target, answer)

    def decode_poll(self, queued: QueuedJob, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        job = self._job(answer)
        state = word(job, "status")
        found = self.found({"outputs": [], **job}, state, done=("completed",), waiting=_STATES, why=job.get("error"))
        return found or queued.waiting(_STATES.get(state, "running"))

    def _job(self, answer: Answer) -> dict[str, Any]:
        data = answer.json()
        if data.get("code") not in (None, 200, "200"):  # a failure inside an HTTP 200
            self.failed(data, "the job was refused")
        job = data.get("data")
        if not isinstance(job, dict):
            raise ProtocolError("wavespeed's answer holds no job", frame=excerpt(answer.body))
        return job
