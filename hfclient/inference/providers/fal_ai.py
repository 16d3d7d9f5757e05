"""fal-ai: everything through its queue."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from hfclient.inference.providers.addresses import Target
from hfclient.inference.providers.base import (
    MediaRequest,
    Provider,
    QueuedJob,
    id_path,
    word,
)
from hfclient.inference.providers.parameters import IMAGE_SEGMENTATION, IMAGE_TO_IMAGE
from hfclient.inference.providers.results import Answer, MediaResult, find_result, result_in
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

    def build(self, wanted: MediaRequest, target: Target) -> Request:
        settings = self.settings(wanted)
        scale = settings.pop("lora_scale", 1)
        body: dict[str, Any] = {"prompt": wanted.prompt or None}
        if wanted.image is not None:
            url = wanted.image.as_url()
            body["image_url"] = url
            if wanted.task == IMAGE_TO_IMAGE:
                body["image_urls"] = [url]
            if wanted.task == IMAGE_SEGMENTATION:
                body["sync_mode"] = True  # the mask itself, not a link to it
        if (width := settings.pop("width", None)) is not None:
            settings["image_size"] = {"width": width, "height": settings.pop("height")}
        if wanted.entry.adapter == "lora":
            body |= _lora(wanted, scale)
        # Through the router this path *is* the id that it looks up: nothing may be added to it.
        url = _queued(target.url(f"/{id_path(wanted.entry.provider_id)}", queue=True), target)
        return self.post(url, {**body, **settings, **wanted.extra})

    def decode(self, wanted: MediaRequest, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        data = answer.json()
        is_job = "response_url" in data
        if (found := find_result(data, is_job=is_job)) is not None:  # done at once
            return found
        if not is_job:
            return result_in(data)
        # The path of the link, not of the model: what comes after the app's name is left out there.
        result = target.resolve_link(data.get("response_url"), queue=True)
        queued = QueuedJob(
            provider=self.name,
            id=self.job_id(data, "request_id"),
            url=_queued(result + "/status", target),
            result_url=_queued(result, target),
            cancel=("PUT", _queued(result + "/cancel", target)),
        )
        return queued.waiting("queued", position=data.get("queue_position"))

    def decode_poll(self, queued: QueuedJob, target: Target, answer: Answer) -> MediaResult | QueuedJob:
        data = answer.json()
        if queued.is_done:
            if (found := find_result(data)) is None and "detail" in data:
                self.failed({"detail": data["detail"]}, "the job failed")
            return found or result_in(data)
        state = word(data, "status")
        if state == "COMPLETED":
            return find_result(data, is_job=True) or queued.fetch()
        found = self.found(data, state, done=(), waiting=_STATES, why=data.get("detail"))
        if found is not None:
            return found
        logs = data.get("logs")
        last = logs[-1] if isinstance(logs, list) and logs else None
        message = last.get("message") if isinstance(last, dict) else None
        return queued.waiting(_STATES.get(state, "running"), position=data.get("queue_position"), message=message)


def _queued(url: str, target: Target) -> str:
    return f"{url}{'&' if '?' in url else '?'}_subdomain=queue" if target.routed else url


def _lora(wanted: MediaRequest, scale: float) -> dict[str, Any]:
    entry = wanted.entry
    path = entry.model  # fal-ai finds an adapter by its name, too, but not which of several files is meant
    if entry.adapter_weights:
        path = f"https://huggingface.co/{entry.model}/resolve/main/{quote(entry.adapter_weights)}"
    base = {"model_name": _SDXL} if entry.provider_id == "fal-ai/lora" else {}
    return {"loras": [{"path": path, "scale": scale}], **base}
