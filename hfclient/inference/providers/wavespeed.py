"""wavespeed: every result is a job."""

from __future__ import annotations

from typing import Any

from hfclient.decoding.frames import excerpt
from hfclient.errors import ProtocolError
from hfclient.inference.providers.base import (
    Provider,
    Ticket,
    Work,
    child,
    id_path,
    word,
)
from hfclient.inference.providers.places import Target
from hfclient.inference.providers.results import Answer, Outcome, found_in
from hfclient.transport import Request

__all__ = ["Wavespeed"]

_STATES: dict[str | None, str] = {"created": "queued", "queued": "queued", "processing": "running"}


class Wavespeed(Provider):
    """``POST /api/v3/{model}``, then ``GET`` on the path of ``data.urls.get``.

    Reference: docs/protocol/inference ("queued jobs").
    """

    name = "wavespeed"

    def build(self, work: Work, target: Target) -> Request:
        settings = self.settings(work)
        scale = settings.pop("lora_scale", 1)
        body: dict[str, Any] = {"prompt": work.prompt or None}
        if work.image is not None:
            body["image"] = work.image.as_url()
        if "width" in settings:  # some of its models have two numbers, most have one text
            settings["size"] = f"{settings['width']}*{settings['height']}"
        if work.entry.adapter == "lora":
            body["loras"] = [{"path": work.entry.model, "scale": scale}]
        return self.post(target.url(f"/api/v3/{id_path(work.entry.provider_id)}"), {**body, **settings, **work.extra})

    def decode(self, work: Work, target: Target, answer: Answer) -> Outcome | Ticket:
        job = self._job(answer)
        if "id" not in job and (found := found_in(job)) is not None:
            return found
        name = self.job_id(job, "id")
        url = target.follow(child(job, "urls").get("get") or f"/api/v3/predictions/{name}/result")
        return self.follow(Ticket(provider=self.name, id=name, url=url), target, answer)

    def follow(self, ticket: Ticket, target: Target, answer: Answer) -> Outcome | Ticket:
        job = self._job(answer)
        state = word(job, "status")
        found = self.found({"outputs": [], **job}, state, done=("completed",), waiting=_STATES, why=job.get("error"))
        return found or ticket.waiting(_STATES.get(state, "running"))

    def _job(self, answer: Answer) -> dict[str, Any]:
        data = answer.json()
        if data.get("code") not in (None, 200, "200"):  # a failure inside an HTTP 200
            self.failed(data, "the job was refused")
        job = data.get("data")
        if not isinstance(job, dict):
            raise ProtocolError("wavespeed's answer holds no job", frame=excerpt(answer.body))
        return job
