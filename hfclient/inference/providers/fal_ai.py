"""fal-ai: everything through its queue."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from hfclient.inference.providers.base import (
    Provider,
    Ticket,
    Work,
    id_path,
    word,
)
from hfclient.inference.providers.parameters import IMAGE_SEGMENTATION, IMAGE_TO_IMAGE
from hfclient.inference.providers.places import Target
from hfclient.inference.providers.results import Answer, Outcome, found_in, outcome_in
from hfclient.transport import Request

__all__ = ["FalAI"]

_STATES: dict[str | None, str] = {"IN_QUEUE": "queued", "IN_PROGRESS": "running"}
_SDXL = "stabilityai/stable-diffusion-xl-base-1.0"


class FalAI(Provider):
    """``POST /{model}`` puts a job into the queue; its status, its result and its end have URLs of their own.

    fal-ai answers small jobs directly, too, but a job in the queue survives a broken connection and can be cancelled.

    Reference: docs/protocol/inference ("queued jobs").
    """

    name = "fal-ai"

    def build(self, work: Work, target: Target) -> Request:
        settings = self.settings(work)
        scale = settings.pop("lora_scale", 1)
        body: dict[str, Any] = {"prompt": work.prompt or None}
        if work.image is not None:
            url = work.image.as_url()
            body["image_url"] = url
            if work.task == IMAGE_TO_IMAGE:
                body["image_urls"] = [url]
            if work.task == IMAGE_SEGMENTATION:
                body["sync_mode"] = True  # the mask itself, not a link to it
        if (width := settings.pop("width", None)) is not None:
            settings["image_size"] = {"width": width, "height": settings.pop("height")}
        if work.entry.adapter == "lora":
            body |= _lora(work, scale)
        # Through the router this path *is* the id that it looks up: nothing may be added to it.
        url = _queued(target.url(f"/{id_path(work.entry.provider_id)}", queue=True), target)
        return self.post(url, {**body, **settings, **work.extra})

    def decode(self, work: Work, target: Target, answer: Answer) -> Outcome | Ticket:
        data = answer.json()
        is_job = "response_url" in data
        if (found := found_in(data, is_job=is_job)) is not None:  # done at once
            return found
        if not is_job:
            return outcome_in(data)
        # The path of the link, not of the model: what comes after the app's name is left out there.
        result = target.follow(data.get("response_url"), queue=True)
        ticket = Ticket(
            provider=self.name,
            id=self.job_id(data, "request_id"),
            url=_queued(result + "/status", target),
            result_url=_queued(result, target),
            cancel=("PUT", _queued(result + "/cancel", target)),
        )
        return ticket.waiting("queued", position=data.get("queue_position"))

    def follow(self, ticket: Ticket, target: Target, answer: Answer) -> Outcome | Ticket:
        data = answer.json()
        if ticket.is_done:
            if (found := found_in(data)) is None and "detail" in data:
                self.failed({"detail": data["detail"]}, "the job failed")
            return found or outcome_in(data)
        state = word(data, "status")
        if state == "COMPLETED":
            return found_in(data, is_job=True) or ticket.fetch()
        found = self.found(data, state, done=(), waiting=_STATES, why=data.get("detail"))
        if found is not None:
            return found
        logs = data.get("logs")
        last = logs[-1] if isinstance(logs, list) and logs else None
        message = last.get("message") if isinstance(last, dict) else None
        return ticket.waiting(_STATES.get(state, "running"), position=data.get("queue_position"), message=message)


def _queued(url: str, target: Target) -> str:
    return f"{url}{'&' if '?' in url else '?'}_subdomain=queue" if target.routed else url


def _lora(work: Work, scale: float) -> dict[str, Any]:
    entry = work.entry
    path = entry.model  # fal-ai finds an adapter by its name, too, but not which of several files is meant
    if entry.adapter_weights:
        path = f"https://huggingface.co/{entry.model}/resolve/main/{quote(entry.adapter_weights)}"
    base = {"model_name": _SDXL} if entry.provider_id == "fal-ai/lora" else {}
    return {"loras": [{"path": path, "scale": scale}], **base}
